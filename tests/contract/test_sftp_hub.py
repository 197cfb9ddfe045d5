"""SFTP keeps the contract against the bundled hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.bench import Expects, Hub
from contract.contract import RemoteContract
from symsync.remotes.location import Location, Protocol
from symsync.remotes.sftp import SftpRemote
from symsync_hub import running


class TestSftpHub(RemoteContract):
    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterator[Hub]:
        directory = tmp_path / "served"
        directory.mkdir()
        with running(directory, sftp=True) as hub:
            assert hub.sftp_port is not None
            address = (hub.host, hub.sftp_port, hub.login, hub.password)
            location = Location(Protocol.SFTP, *address, host_key=hub.host_key)
            yield Hub(lambda: SftpRemote.open(location), Expects(root_may_all="the hub runs as whoever runs the tests"))
