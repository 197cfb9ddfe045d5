"""The FTP remote keeps the contract of all remotes, in each of its ways to list, against a server in this process."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from contract.bench import Expects, Hub
from contract.contract import RemoteContract
from symsync.remotes.ftp import FtpRemote, Way
from unit.ftp_server import running

REFUSED = {
    "new\nline": "FTP's commands are lines",
    os.fsdecode(b"latin-\xe9\xff"): "pyftpdlib puts question marks in the place of what is not UTF-8",
}
SUPERUSER = "pyftpdlib writes with the rights of whoever runs the tests"


@pytest.fixture(autouse=True)
def quiet() -> None:
    """pyftpdlib logs each command."""
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)


class FtpContract(RemoteContract):
    way: Way
    without: tuple[str, ...] = ()

    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterable[Hub]:
        root = tmp_path / "root"
        root.mkdir()
        with running(root, without=self.without) as server:
            location = server.location()
            yield Hub(
                lambda: FtpRemote.open(location, way=self.way),
                Expects(refused_names=REFUSED, root_may_all=SUPERUSER),
            )


class TestMlsd(FtpContract):
    way = Way.MLSD


class TestStat(FtpContract):
    way = Way.STAT
    without = ("MLSD", "MLST")


class TestList(FtpContract):
    way = Way.LIST
    without = ("MLSD", "MLST", "STAT", "EPSV")


class TestNlst(FtpContract):
    way = Way.NLST
    without = ("MLSD", "MLST", "STAT", "LIST", "MFMT")
