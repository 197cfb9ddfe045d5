"""Fixtures for tests against a real FTP or SFTP server: `hub` and `hub_factory`.

    def test_upload(hub):
        ftp = ftplib.FTP()
        ftp.connect(hub.host, hub.port)
        ftp.login(hub.login, hub.password)
        ...
        assert (hub.directory / "name").read_bytes() == b"content"

pytest loads this module in every run wherever symsync is installed, so the server is imported by who uses a fixture.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from symsync_hub.accounts import Login
    from symsync_hub.hub import RunningHub


class HubFactory(Protocol):
    """Starts a hub that runs until the test ends; the arguments are those of `symsync_hub.running`.

    Without a directory each hub gets a new one.
    """

    def __call__(
        self,
        directory: Path | None = None,
        *,
        users: Sequence[Login] = (),
        tls: bool = False,
        require_tls: bool = False,
        sftp: bool = False,
        anonymous: bool = False,
    ) -> RunningHub: ...


@pytest.fixture
def hub_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubFactory]:
    """Any number of hubs, each at its own loopback port."""
    from symsync_hub.hub import running

    with ExitStack() as stack:

        def start(
            directory: Path | None = None,
            *,
            users: Sequence[Login] = (),
            tls: bool = False,
            require_tls: bool = False,
            sftp: bool = False,
            anonymous: bool = False,
        ) -> RunningHub:
            served = directory or tmp_path_factory.mktemp("hub")
            return stack.enter_context(
                running(served, users=users, tls=tls, require_tls=require_tls, sftp=sftp, anonymous=anonymous)
            )

        yield start


@pytest.fixture
def hub(hub_factory: HubFactory) -> RunningHub:
    """One hub over an empty directory, plain FTP at a loopback port, one user with a random password."""
    return hub_factory()
