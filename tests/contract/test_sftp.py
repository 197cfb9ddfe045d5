"""SFTP keeps the contract, against a server in this process and against OpenSSH's."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.bench import Expects, Hub, Sources, get, only, put, reason
from contract.contract import RemoteContract
from real_servers import HOME, SERVERS, docker
from symsync.core.values import Reason
from symsync.remotes.base import Store
from symsync.remotes.location import Location
from symsync.remotes.sftp import SftpRemote
from unit.sftp_server import running

SUPERUSER = "" if os.geteuid() else "the server runs as whoever runs the tests, the superuser"


class TestSftp(RemoteContract):
    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterator[Hub]:
        directory = tmp_path / "served"
        directory.mkdir()
        with running(directory) as server:
            yield Hub(lambda: SftpRemote.open(server.location()), Expects(root_may_all=SUPERUSER))


class TestOpenSsh(RemoteContract):
    @pytest.fixture
    def hub(self, servers: Callable[[str], Location]) -> Hub:
        location = servers("openssh")
        return Hub(lambda: SftpRemote.open(location))

    def test_files_of_others(self, servers: Callable[[str], Location], sources: Sources) -> None:
        """A file that a web server wrote into our directory can be moved, and another put in its place.

        OpenSSH renames by link(2), which Linux does not allow for files of others; the pair after it waits for it.
        """
        location = servers("openssh")
        server = SERVERS["openssh"]
        with SftpRemote.open(location) as remote:
            put(remote, sources, "new", b"new version")
            put(remote, sources, "taken", b"stays")
            theirs = f"{location.directory}/page"
            docker("exec", server.container, "sh", "-c", f"cd {HOME} && echo old >{theirs} && chmod 644 {theirs}")
            outcomes = remote.rename([("page", "taken"), ("page", "aside"), ("new", "page")])
            assert [Reason.EXISTS, None, None] == [problem.reason if problem else None for problem in outcomes]
            contents = [get(remote, sources, name) for name in ("taken", "aside", "page")]
            assert [b"stays", b"old\n", b"new version"] == contents

    def test_compression(self, servers: Callable[[str], Location], sources: Sources) -> None:
        """Compression is agreed on where it is wished, and only there; the best cipher in any case."""
        location = servers("openssh")
        for wish, compression in ((True, "zlib@openssh.com"), (False, "none")):
            said: list[str] = []
            with SftpRemote.open(replace(location, compress=wish), said.append) as remote:
                put(remote, sources, f"f-{wish}", b"content" * 10_000)
                assert b"content" * 10_000 == get(remote, sources, f"f-{wish}")
            assert said[0].endswith(f", aes128-gcm@openssh.com, compression {compression}")

    def test_full_disk(self, servers: Callable[[str], Location], sources: Sources) -> None:
        """Where there is no space left, OpenSSH only says "Failure", and we say what it means."""
        location = replace(servers("openssh"), directory="/dev/shm")  # noqa: S108 - the container's, of 64 MiB
        size = int(SERVERS["openssh"].run("sh", "-c", "df --output=avail -B1 /dev/shm | tail -1"))
        name = f"symsync-{os.urandom(8).hex()}"
        with SftpRemote.open(location) as remote:
            file = sources.file(b"")
            os.truncate(file, size + 1)
            try:
                assert Reason.FULL is reason(only(remote.store([Store(file, name)])))
            finally:
                assert [None] == remote.remove_files([name])
