"""What goes wrong on an SFTP connection, before it is told as a Problem of one path or ends the run.

    HubUnreachable
    └── ConnectionLost      this connection is of no more use; another may be
    RefusedError                 one request was refused; the connection is in order

What hangs under another is one of that kind.
"""

from symsync.remotes.sftp.wire import Status
from symsync_protocol.errors import HubUnreachable


class ConnectionLost(HubUnreachable):
    """A connection broke, timed out or fell out of step. What was asked last may have been done or not."""


class RefusedError(Exception):
    """A request got a status other than the hoped-for reply; the connection can go on."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.text)
        self.status = status
