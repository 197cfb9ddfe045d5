"""FTP keeps the contract against the servers that people run, in whatever way to list each of them has."""

from collections.abc import Callable

import pytest

from contract.bench import Expects, Hub
from contract.contract import RemoteContract
from symsync.remotes.ftp import FtpRemote
from symsync.remotes.location import Location

NO_LINE_END = {"new\nline": "a command is one line (RFC 959, 5.3.1)"}
REFUSED_NAMES = {
    "vsftpd": NO_LINE_END,
    "proftpd": NO_LINE_END,
    "pure-ftpd": NO_LINE_END
    | dict.fromkeys(["trailing blank ", "tab\tname", "del\x7f"], "Pure-FTPd stores another character instead")
    | {"back\\slash": "Pure-FTPd refuses it"},
}
"""What each server can't store as it is sent."""
REFUSED_DIRECTORIES = {"proftpd": {"star*?[x]{y}": "MKD of a name with * is 550 Invalid directory name"}}

BEGINS_ANEW = {"proftpd": "AllowStoreRestart is off unless its owner says otherwise"}


class TestFtpServers(RemoteContract):
    @pytest.fixture(params=["vsftpd", "proftpd", "pure-ftpd"])
    def hub(self, request: pytest.FixtureRequest, servers: Callable[[str], Location]) -> Hub:
        location = servers(request.param)
        server = request.param
        return Hub(
            lambda: FtpRemote.open(location),
            Expects(
                refused_names=REFUSED_NAMES[server],
                refused_directories=REFUSED_DIRECTORIES.get(server, {}),
                begins_anew=BEGINS_ANEW.get(server, ""),
            ),
        )
