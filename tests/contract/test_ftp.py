"""FTP keeps the contract, in each way to list directories, against a server in this process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.bench import Expects, Hub
from contract.contract import RemoteContract
from symsync.remotes.ftp import FtpRemote
from symsync.remotes.ftp.manners import Way
from unit.ftp_server import running

REFUSED_NAMES = {
    "new\nline": "a command is one line (RFC 959, 5.3.1)",
    os.fsdecode(b"latin-\xe9\xff"): "pyftpdlib takes commands for UTF-8 and refuses what is none",
}


class TestFtp(RemoteContract):
    @pytest.fixture(params=[Way.MLSD, Way.LIST, Way.NLST])
    def hub(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
        """A client that is held to one way. pyftpdlib knows no `STAT -a`: that way is tried on real servers."""
        directory = tmp_path / "served"
        directory.mkdir()
        with running(directory) as server:
            yield Hub(
                lambda: FtpRemote.open(server.location(), way=request.param),
                Expects(refused_names=REFUSED_NAMES, root_may_all="pyftpdlib runs as whoever runs the tests"),
            )
