"""Every kind of hub behind one interface. `open_remote` is the door; `base` says what it gives."""

from collections.abc import Callable
from pathlib import Path

from symsync.remotes.base import Remote
from symsync.remotes.location import Location, Protocol

Conversation = Callable[[str], None]
"""Called with each line of the protocol's conversation, passwords left out (option -d)."""


def open_remote(location: Location, conversation: Conversation | None = None, *, create: bool = False) -> Remote:
    """Connect to the hub at `location`; with `create` its directory is made where it is missing.

    Raises HubUnreachable or HubRefused with the one line that helps.
    """
    # Each remote is imported only where it is used: paramiko alone costs 0.13 s.
    if location.protocol is Protocol.FILE:
        from symsync.remotes.directory import DirectoryRemote

        return DirectoryRemote.open(location, create=create)
    if location.protocol in (Protocol.FTP, Protocol.FTPS):
        from symsync.remotes.ftp import FtpRemote

        return FtpRemote.open(location, conversation, create=create)
    from symsync.remotes.sftp import SftpRemote

    return SftpRemote.open(location, conversation, create=create)


def open_own(directory: Path) -> Remote:
    """A run's own directory, as the nodes see it whose hub it is. Raises HubRefused."""
    from symsync.remotes.directory import DirectoryRemote

    return DirectoryRemote.open(Location(Protocol.FILE, directory=str(directory.absolute()), connections=1))
