"""FTP at one address: a listener whose conversations are FTP sessions."""

import logging
import socket
import threading
from dataclasses import dataclass

from OpenSSL import SSL
from pyftpdlib.ioloop import IOLoop

from symsync_hub.accounts import Accounts
from symsync_hub.door import Door
from symsync_hub.ftp.session import Session
from symsync_hub.listener import BACKLOG, Address, Listener

# Else pyftpdlib sets up logging of its own the first time it runs.
logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class FtpOptions:
    """How FTP is spoken."""

    implicit: bool = False
    """TLS from the first byte, as on port 990."""
    require_tls: bool = False
    plain_from_anywhere: bool = False
    """Take passwords in the clear from other machines too."""
    passive_ports: range | None = None
    """Ports for data connections, any free one when None."""
    masquerade: str | None = None
    """The IPv4 address that PASV tells, for servers behind a router."""


class FtpServer:
    """Serves FTP from `start` to `close`. Raises HubError where it can't listen."""

    backlog = BACKLOG
    ip_map: tuple[str, ...] = ()

    def __init__(
        self, address: Address, accounts: Accounts, door: Door, tls: SSL.Context | None, options: FtpOptions
    ) -> None:
        self.accounts = accounts
        self.door = door
        self.tls = tls
        self.implicit = options.implicit
        self.require_tls = options.require_tls
        self.plain_from_anywhere = options.plain_from_anywhere
        self.passive_ports = options.passive_ports
        self.masquerade = options.masquerade
        self._listener = Listener(address, door, self._refusal)
        self.socket = self._listener.socket
        self.address = self._listener.address

    def start(self) -> None:
        self._listener.start(self._converse)

    def close(self) -> None:
        self._listener.close()

    def _refusal(self, reason: str) -> bytes:
        return b"" if self.implicit else f"421 {reason}.\r\n".encode()

    def _converse(self, connection: socket.socket, stopping: threading.Event) -> None:
        with IOLoop() as loop:
            Session(connection, self, loop, stopping).serve()

    def _accept_new_cons(self) -> bool:
        """Asked by pyftpdlib before each data connection: the door has let this session in, which is enough."""
        return True
