"""What the SFTP remote does when a server refuses, lies or hangs up in the middle."""

import os
from collections.abc import Callable
from itertools import count, islice
from pathlib import Path
from typing import Any

import paramiko
import pytest

from contract.bench import Sources, get, make, only, put, reason, reasons
from symsync.core.values import Found, Reason
from symsync.remotes.base import Attributes, Fetch, Fetched, Store, Stored
from symsync.remotes.sftp import SftpRemote
from symsync.remotes.sftp.session import SAFE_BLOCK
from symsync.remotes.sftp.wire import Code, Op
from symsync_protocol.errors import HubError, HubRefused, HubUnreachable
from symsync_protocol.stamps import SECOND
from unit import sftp_server
from unit.sftp_server import Running, Whim, running

THREE_BLOCKS = os.urandom(SAFE_BLOCK * 2 + 1)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    directory = tmp_path / "sources"
    directory.mkdir()
    return Sources(directory)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    directory = tmp_path / "served"
    directory.mkdir()
    return directory


def at(op: Op, verdict: int | bool, nth: int = 1, times: int = 1) -> Whim:
    """A whim at the `nth` request of a kind, and at those that follow, so many `times` in all."""
    numbers = count(1)

    def whim(asked: Op, _path: str) -> int | bool | None:
        return verdict if asked == op and nth <= next(numbers) < nth + times else None

    return whim


def asked(server: Running, *ops: Op) -> list[Op]:
    """Those of the requests that are of these kinds."""
    return [op for op, _path in server.requests if op in ops]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_refused_block(served: Path, sources: Sources, nth: int) -> None:
    """A block that is refused is noticed, though it was on its way together with others."""
    with running(served, at(Op.WRITE, Code.FAILURE, nth)) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.OTHER is reason(only(remote.store([Store(sources.file(THREE_BLOCKS), "f")])))


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("act", [SftpRemote.write, SftpRemote.append])
def test_refused_state(served: Path, act: Callable[[SftpRemote, str, bytes], None], nth: int) -> None:
    """The same for states, where it ends the run."""
    with (
        running(served, at(Op.WRITE, Code.FAILURE, nth)) as server,
        SftpRemote.open(server.location()) as remote,
        pytest.raises(HubRefused, match=r": f can't be "),
    ):
        act(remote, "f", THREE_BLOCKS)


@pytest.mark.parametrize(
    ("op", "code", "expected"),
    [
        (Op.OPEN, Code.PERMISSION_DENIED, Reason.DENIED),
        (Op.OPEN, Code.NO_SPACE_ON_FILESYSTEM, Reason.FULL),
        (Op.WRITE, Code.QUOTA_EXCEEDED, Reason.FULL),
        (Op.OPEN, Code.INVALID_FILENAME, Reason.NAME),
        (Op.CLOSE, Code.FAILURE, Reason.OTHER),
        (Op.LSTAT, Code.NO_SUCH_FILE, Reason.NAME),
    ],
)
def test_refused_store(served: Path, sources: Sources, op: Op, code: Code, expected: Reason) -> None:
    """What a status says is what the problem says, and the next file is stored."""
    with running(served, at(op, code)) as server, SftpRemote.open(server.location()) as remote:
        assert expected is reason(only(remote.store([Store(sources.file(b"x"), "f")])))
        put(remote, sources, "g")


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("op", [Op.OPEN, Op.WRITE, Op.FSETSTAT, Op.CLOSE, Op.LSTAT])
def test_store_goes_on(served: Path, sources: Sources, op: Op, done: bool) -> None:
    """A connection that breaks costs nothing but time: each file is stored over another one."""
    with running(served, at(op, done, 3)) as server, SftpRemote.open(server.location()) as remote:
        jobs = [Store(sources.file(THREE_BLOCKS + b"%d" % i), f"f{i}", 5 * SECOND) for i in range(6)]
        assert set(jobs) == {outcome.job for outcome in remote.store(jobs) if isinstance(outcome, Stored)}
        assert (2, {job.path: job.source.read_bytes() for job in jobs}) == (
            len(server.logins),
            {path.name: path.read_bytes() for path in served.iterdir()},
        )


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("op", [Op.LSTAT, Op.OPEN, Op.READ, Op.FSTAT])
def test_fetch_goes_on(served: Path, sources: Sources, op: Op, done: bool) -> None:
    """The same for fetching."""
    for i in range(6):
        (served / f"f{i}").write_bytes(THREE_BLOCKS + b"%d" % i)
    with running(served, at(op, done, 3)) as server, SftpRemote.open(server.location()) as remote:
        jobs = [Fetch(f"f{i}", sources.free()) for i in range(6)]
        assert set(jobs) == {outcome.job for outcome in remote.fetch(jobs) if isinstance(outcome, Fetched)}
        assert 2 == len(server.logins)
    assert [THREE_BLOCKS + b"%d" % i for i in range(6)] == [job.target.read_bytes() for job in jobs]


def test_looking_goes_on(served: Path) -> None:
    """Whatever changes nothing is asked once more over another connection."""
    (served / "d").mkdir()
    (served / "f").write_bytes(b"content")
    for op in (Op.LSTAT, Op.OPENDIR, Op.READDIR, Op.OPEN, Op.READ):
        with running(served, at(op, False)) as server, SftpRemote.open(server.location()) as remote:
            (found,) = remote.stat(["f"])
            (listing,) = remote.listings(["d"])
            assert (True, None, b"content", 2) == (
                isinstance(found, Found),
                listing.problem,
                remote.read("f"),
                len(server.logins),
            )


def test_lost_for_good(served: Path, sources: Sources) -> None:
    """A job over which two connections break is given up, and the next one is done."""
    (served / "f").write_bytes(b"x")
    with running(served, at(Op.OPEN, False, times=4)) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.LOST is reason(only(remote.store([Store(sources.file(b"x"), "g")])))
        assert Reason.LOST is reason(only(remote.fetch([Fetch("f", sources.free())])))
        assert b"x" == get(remote, sources, "f")
        assert 5 == len(server.logins)


def test_lost_listing(served: Path) -> None:
    """A directory at whose listing the server always hangs up is unknown, not empty."""
    with running(served, at(Op.READDIR, False, times=99)) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.LOST is reason(only(remote.listings([""])).problem)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_lost_renames(served: Path, done: bool) -> None:
    """From the one at whose reply the connection broke nobody knows which took place, and none is repeated."""
    for name in "abc":
        (served / name).touch()
    with running(served, at(Op.RENAME, done, 2)) as server, SftpRemote.open(server.location()) as remote:
        outcomes = reasons(remote.rename([(name, f"new-{name}") for name in "abc"]))
        assert ([None, Reason.LOST, Reason.LOST], 2) == (outcomes, len(asked(server, Op.RENAME)))
        assert {"new-a", "new-b" if done else "b", "c"} == {path.name for path in served.iterdir()}
        # The next call finds a connection again.
        assert [None] == remote.rename([("c", "d")])


@pytest.mark.parametrize(
    ("op", "act"),
    [
        (Op.MKDIR, lambda remote: remote.make_directories(["new"])),
        (Op.SYMLINK, lambda remote: remote.make_links([("new", "target")])),
        (Op.REMOVE, lambda remote: remote.remove_files(["f"])),
        (Op.RMDIR, lambda remote: remote.remove_directories(["d"])),
    ],
)
def test_lost_changes(served: Path, op: Op, act: Callable[[SftpRemote], list[Any]]) -> None:
    """What may have taken effect is not tried again."""
    (served / "d").mkdir()
    (served / "f").touch()
    with running(served, at(op, True)) as server, SftpRemote.open(server.location()) as remote:
        assert ([Reason.LOST], [op]) == (reasons(act(remote)), asked(server, op))


def test_nobody_to_return_to(served: Path, sources: Sources) -> None:
    """When there is no server any more the run ends, with its address."""
    with running(served, at(Op.WRITE, False)) as server:
        remote = SftpRemote.open(server.location())
        outcomes = remote.store(Store(sources.file(b"x"), f"f{i}") for i in count())
        server.stop_listening()
        with pytest.raises(HubUnreachable, match=rf"127\.0\.0\.1, port {server.port}"):
            list(outcomes)
        remote.close()


def test_closed_remote(served: Path) -> None:
    """A closed remote opens no connection again."""
    with running(served) as server:
        remote = SftpRemote.open(server.location())
        remote.close()
        with pytest.raises(HubError, match="was closed"):
            remote.stat([""])
        assert 1 == len(server.logins)


def test_listing_that_breaks_off(served: Path) -> None:
    """A listing that ends with an error instead of its end carries a problem, whatever came before."""
    for i in range(100):
        (served / f"f{i}").touch()
    with running(served, at(Op.READDIR, Code.FAILURE, 3)) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.CUT is reason(only(remote.listings([""])).problem)
        listing = only(remote.listings([""]))
        assert (100, None) == (len(listing.entries), listing.problem)


@pytest.mark.parametrize("names", [[b"../f"], [b""], [b"a\0b"], [b"twice", b"twice"]])
def test_listing_that_lies(served: Path, monkeypatch: pytest.MonkeyPatch, names: list[bytes]) -> None:
    """Names that can't be, or that come twice, make a listing worthless."""
    entries = []
    for name in names:
        entries.append(paramiko.SFTPAttributes.from_stat(os.stat(served)))
        entries[-1].filename = name
    monkeypatch.setattr(sftp_server.Directory, "list_folder", lambda _self, _path: entries)
    with running(served) as server, SftpRemote.open(server.location()) as remote:
        listing = only(remote.listings([""]))
        assert (Reason.CUT, ()) == (reason(listing.problem), listing.entries)


def test_linked_directory_is_not_listed(served: Path, tmp_path: Path) -> None:
    """Nothing behind a link is shown."""
    (served / "link").symlink_to(tmp_path)
    with running(served) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.KIND is reason(only(remote.listings(["link"])).problem)


def test_linked_file_is_not_fetched(served: Path, sources: Sources) -> None:
    """Nor brought."""
    (served / "link").symlink_to(__file__)
    with running(served) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.KIND is reason(only(remote.fetch([Fetch("link", sources.free())])))
        with pytest.raises(HubRefused, match="not a regular file"):
            remote.read("link")


@pytest.mark.parametrize("most", [1000, SAFE_BLOCK - 1])
def test_short_reads(served: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """A server that gives less than it was asked for is asked for the rest."""
    read = sftp_server.File.read
    monkeypatch.setattr(sftp_server.File, "read", lambda self, offset, length: read(self, offset, min(length, most)))
    (served / "f").write_bytes(THREE_BLOCKS)
    with running(served) as server, SftpRemote.open(server.location()) as remote:
        assert THREE_BLOCKS == get(remote, sources, "f")
        assert THREE_BLOCKS[5:-5] == remote.read("f", 5, len(THREE_BLOCKS) - 10)


def test_file_that_ends_early(served: Path, sources: Sources) -> None:
    """A file that has fewer bytes than the server said is no file that arrived."""
    (served / "f").write_bytes(THREE_BLOCKS)
    with running(served, at(Op.READ, Code.EOF, 2)) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.CUT is reason(only(remote.fetch([Fetch("f", sources.free())])))


def test_file_that_changes(served: Path, sources: Sources) -> None:
    """A file that is written to while it is read belongs to no version."""
    file = served / "f"
    file.write_bytes(THREE_BLOCKS)

    def whim(op: Op, _path: str) -> None:
        if op is Op.FSTAT:
            file.write_bytes(THREE_BLOCKS[:-1])

    with running(served, whim) as server, SftpRemote.open(server.location()) as remote:
        assert Reason.CHANGED is reason(only(remote.fetch([Fetch("f", sources.free())])))


def test_name_that_came_and_went(served: Path) -> None:
    """A directory that could not be made, though nothing lies there now, was another's a moment ago."""
    with running(served, at(Op.MKDIR, Code.FAILURE)) as server, SftpRemote.open(server.location()) as remote:
        assert [Reason.EXISTS, None] == [*reasons(remote.make_directories(["d"])), *remote.make_directories(["d"])]


@pytest.mark.parametrize("verdict", [Code.OK, Code.FAILURE])
def test_time_set_by_name(served: Path, sources: Sources, verdict: Code) -> None:
    """A server that sets nothing on an open file, silently or not, is asked again by name."""
    with running(served, at(Op.FSETSTAT, verdict)) as server, SftpRemote.open(server.location()) as remote:
        stored = only(remote.store([Store(sources.file(b"x"), "f", 5 * SECOND, 0o640)]))
        assert isinstance(stored, Stored)
        assert (5 * SECOND, 0o640, True, True) == (
            stored.found.stamp.mtime_ns,
            stored.found.mode,
            remote.traits.sets_times,
            remote.traits.sets_modes,
        )


@pytest.mark.parametrize("verdict", [Code.OK, Code.OP_UNSUPPORTED])
def test_nothing_can_be_set(served: Path, sources: Sources, verdict: Code) -> None:
    """A server that sets nothing at all is asked no more, and that is no problem."""
    whim: Whim = lambda op, _path: verdict if op in (Op.SETSTAT, Op.FSETSTAT) else None  # noqa: E731
    with running(served, whim) as server, SftpRemote.open(server.location()) as remote:
        for name in "fg":
            assert isinstance(only(remote.store([Store(sources.file(b"x"), name, 5 * SECOND, 0o640)])), Stored)
        assert (False, False) == (remote.traits.sets_times, remote.traits.sets_modes)
        assert [None] == remote.set_attributes([Attributes("f", 5 * SECOND, 0o640)])
        assert 1 == len(asked(server, Op.FSETSTAT))


def test_attributes_unsupported(served: Path, sources: Sources) -> None:
    """The same where they are set by themselves."""
    with running(served, at(Op.SETSTAT, Code.OP_UNSUPPORTED)) as server, SftpRemote.open(server.location()) as remote:
        put(remote, sources, "f")
        assert [None] == remote.set_attributes([Attributes("f", 5 * SECOND)])
        assert not remote.traits.sets_times


def test_no_links(served: Path) -> None:
    """A server without links has the trait, and each link is a problem of its kind."""
    with running(served, at(Op.SYMLINK, Code.OP_UNSUPPORTED)) as server, SftpRemote.open(server.location()) as remote:
        assert [Reason.KIND] == reasons(remote.make_links([("link", "target")]))
        assert not remote.traits.links


def test_no_appending(served: Path) -> None:
    """A server that can't append is not asked to again."""
    with running(served, at(Op.OPEN, Code.OP_UNSUPPORTED)) as server, SftpRemote.open(server.location()) as remote:
        with pytest.raises(HubRefused, match="appended"):
            remote.append("f", b"x")
        assert not remote.traits.appends


def test_outcomes_left_unread(served: Path, sources: Sources) -> None:
    """Who reads no further outcomes leaves no file open on the server."""
    with running(served) as server, SftpRemote.open(server.location()) as remote:
        source = sources.file(THREE_BLOCKS)
        outcomes = remote.store(Store(source, f"f{i}") for i in count())
        assert [True] * 3 == [isinstance(outcome, Stored) for outcome in islice(outcomes, 3)]
        outcomes.close()  # type: ignore[attr-defined] # what `store` gives is a generator
        # What is asked now is served after all that was on its way; what it opens late is closed before the second.
        for _ in range(2):
            make(remote, f"d{len(asked(server, Op.MKDIR))}")
        opened = asked(server, Op.OPEN)
        assert len(opened) == len(asked(server, Op.CLOSE))


def test_bandwidth(served: Path, sources: Sources) -> None:
    """With a limit the blocks are smaller, so that the line is used evenly."""
    with running(served) as server, SftpRemote.open(server.location(bandwidth=80_000)) as remote:
        put(remote, sources, "f", b"x" * 25_000)
        assert [Op.WRITE] * 3 == asked(server, Op.WRITE)


def test_what_is_appended_to_is_open_already(served: Path) -> None:
    """An append that was expected needs no OPEN of its own; what is not used is closed."""
    (served / "a").write_text("a")
    (served / "log").write_text("1")
    with running(served) as server, SftpRemote.open(server.location()) as remote:
        remote.expect_write("log")
        remote.rename([("a", "b")])
        remote.stat([""])  # after all that was sent before
        server.requests.clear()
        remote.append("log", b"2")
        assert [Op.WRITE, Op.FSTAT, Op.CLOSE] == [op for op, _path in server.requests]
        remote.expect_write("log")
        remote.rename([("b", "a")])
        remote.write("log", b"anew")
        remote.stat([""])  # after all that was sent before
        assert asked(server, Op.OPEN).count(Op.OPEN) == asked(server, Op.CLOSE).count(Op.CLOSE) - 1
    assert "anew" == (served / "log").read_text()


def test_a_line_that_breaks_over_what_was_opened(served: Path) -> None:
    """What was opened in advance is of no use on another line: the append opens it anew."""
    (served / "a").write_text("a")
    (served / "log").write_text("1")
    with running(served, at(Op.RMDIR, False)) as server, SftpRemote.open(server.location()) as remote:
        remote.expect_write("log")
        remote.rename([("a", "b")])
        assert [Reason.LOST] == reasons(remote.remove_directories(["d"]))
        remote.append("log", b"2")
    assert "12" == (served / "log").read_text()
