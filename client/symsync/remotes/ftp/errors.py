"""What goes wrong on an FTP connection, before it is told as a Problem of one path or ends the run.

    HubUnreachable
    └── ConnectionLost      this connection is of no more use; another may be
    HubRefused
    └── NoRoom              the server wants no further connection from us (421, or 530 on a later login)
    RefusedError                 one command was refused; the connection is in order

What hangs under another is one of that kind.
"""

from symsync.remotes.ftp.replies import Reply
from symsync_protocol.errors import HubRefused, HubUnreachable


class ConnectionLost(HubUnreachable):
    """A connection broke, timed out or fell out of step. What was asked last may have been done or not."""


class NoRoom(HubRefused):
    """The server accepts no further connection now."""


class RefusedError(Exception):
    """A command got a negative reply; the connection can go on."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply
