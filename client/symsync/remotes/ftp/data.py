"""Data connections: how they come about (EPSV, PASV, EPRT, PORT), what goes through them, how they end."""

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from symsync.remotes.ftp.control import Control
from symsync.remotes.ftp.errors import RefusedError
from symsync.remotes.ftp.manners import Manners
from symsync.remotes.ftp.replies import Reply, extended_port, passive_port
from symsync.remotes.ftp.tls import Encryption, say_goodbye
from symsync.remotes.throttle import Throttle

FITS_BUFFERS = 64 * 1024
"""So many bytes can be sent before the server's first reply is known: they fit into the sockets' buffers, so sending
them can't block on a server that refused and does not read."""

_NO_SECURE_DATA = (425, 522)
"""With which servers refuse a data connection whose TLS session is not the one of the control connection."""

_ANOTHER_PORT = 3
"""How often another port is asked for, where that of a refused transfer is offered again; some servers have but one."""

_NOOP_DONE = (200, 250)
"""Codes with which servers answer NOOP, none of which ends a transfer that was cut off."""

_EPRT_FAMILY = {socket.AF_INET: 1, socket.AF_INET6: 2}
"""Address families as RFC 2428 numbers them."""


@dataclass(slots=True)
class Harbour:
    """What `DataConnections` needs to know of its connection and server."""

    control: Control
    manners: Manners
    throttle: Throttle
    encryption: Encryption | None
    active: bool
    timeout: float


class DataConnections:
    """The data connections of one control connection, one after another.

    `command()` goes out in any batch, its reply goes to `prepared()`; then `open()` starts a transfer.
    """

    def __init__(self, harbour: Harbour) -> None:
        self._harbour = harbour
        self._listener: socket.socket | None = None
        self._port: int | None = None
        self._transfer: Transfer | None = None

    def abort(self) -> None:
        """End what is under way, from another thread, too: a server may look at nothing else before it has ended
        (vsftpd)."""
        self.close()
        if self._transfer is not None:
            self._transfer.abort()

    def close(self) -> None:
        """Forget what was prepared."""
        self._port = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def command(self) -> str:
        """The command that prepares the next data connection."""
        self.close()
        if not self._harbour.active:
            return "EPSV" if self._harbour.manners.extended else "PASV"
        here = self._harbour.control.here
        family = socket.AF_INET6 if ":" in here else socket.AF_INET
        self._listener = socket.create_server((here, 0), family=family, backlog=1)
        self._listener.settimeout(self._harbour.timeout)
        port = self._listener.getsockname()[1]
        if self._harbour.manners.extended:
            return f"EPRT |{_EPRT_FAMILY[family]}|{here}|{port}|"
        return f"PORT {here.replace('.', ',')},{port // 256},{port % 256}"

    def prepared(self, reply: Reply) -> None:
        """Take in the reply to `command()`; where the server lacks EPSV or EPRT, ask again with PASV or PORT.

        Raises RefusedError when the server prepares no data connection at all.
        """
        if self._take(reply):
            return
        self._harbour.manners.extended = False
        reply = self._harbour.control.ask(self.command())
        if not self._take(reply):
            raise RefusedError(reply)

    def _take(self, reply: Reply) -> bool:
        if self._harbour.active:
            return reply.ok
        self._port = extended_port(reply) or passive_port(reply)
        return self._port is not None

    def open(self, command: str, before: Sequence[str] = ()) -> "Transfer":
        """Send the command of a transfer (RETR, STOR, ...) and connect, both at once. A few commands may go out
        `before` it, in the same write.

        Raises RefusedError, ConnectionLost.
        """
        control = self._harbour.control
        port, self._port = self._port, None
        if port is None and self._listener is None:
            self.prepared(control.ask(self.command()))
            port, self._port = self._port, None
        for _ in range(_ANOTHER_PORT):
            if port is None or self._transfer is None or port != self._transfer.refused_at:
                break
            self.prepared(control.ask(self.command()))
            port, self._port = self._port, None
        control.send(*before, command)
        self._transfer = transfer = Transfer(self._harbour)
        try:
            transfer.connect(self._connect, port, len(before))
        finally:
            self.close()
        return transfer

    def resume(self, command: str, offset: int) -> "Transfer":
        """Like `open`, for a transfer that begins at `offset`. Raises RefusedError where the server can't do that."""
        control = self._harbour.control
        if self._port is None and self._listener is None:
            self.prepared(control.ask(self.command()))
        reply = control.ask(f"REST {offset}")  # right before its command, for some servers forget it over any other
        if not reply.more:
            raise RefusedError(reply)
        return self.open(command)

    def _connect(self, port: int | None, hear: Callable[[], None]) -> socket.socket:
        """Connect, and meanwhile `hear` what is said to the commands that came first."""
        if self._listener is not None:
            hear()
            self._wait_for_server(self._listener)
            sock, _address = self._listener.accept()
        else:
            try:
                sock = socket.create_connection((self._harbour.control.there, port), self._harbour.timeout)
            finally:
                hear()
        sock.settimeout(self._harbour.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _wait_for_server(self, listener: socket.socket) -> None:
        """Until the server connects; one that refuses the transfer never does. Raises RefusedError, TimeoutError."""
        control, deadline = self._harbour.control, time.monotonic() + self._harbour.timeout
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(control, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _events in selector.select(max(0.0, deadline - time.monotonic()))]
                if listener in ready:
                    return
                if not ready:
                    raise TimeoutError("the server did not connect to us; try without `active`")
                if control.peek().refused:
                    raise RefusedError(control.reply())
                selector.unregister(control)


class Transfer:
    """One transfer under way: a data connection and the replies that belong to it.

    To be ended by `finish`, or by closing the control connection.
    """

    def __init__(self, harbour: Harbour) -> None:
        self._harbour = harbour
        self._sock: socket.socket | None = None
        self._port: int | None = None
        self._closing: Reply | None = None
        self._started = False
        self.before: list[Reply] = []
        """The replies to the commands that went out before its own."""
        self.refused_at: int | None = None
        """The port where the server, refusing, left our connection unanswered. A proxy in between (Docker's) may bring
        that one to whatever listens there next, and the next transfer's would wait for ever."""

    def connect(
        self, connector: Callable[[int | None, Callable[[], None]], socket.socket], port: int | None, before: int
    ) -> None:
        """Make the data connection; `before`: how many replies come before the transfer's. Raises RefusedError where
        the server refused the transfer instead."""
        harbour = self._harbour

        def hear() -> None:
            self.before = [harbour.control.reply() for _ in range(before)]

        try:
            sock = connector(port, hear)
            self._port = port
            try:
                if harbour.encryption is not None:
                    sock = harbour.encryption.wrap_data(sock, harbour.control, harbour.timeout)
            except BaseException:
                sock.close()
                raise
            self._sock = sock
        except RefusedError as refusal:
            self._without_tls13(refusal.reply.code in _NO_SECURE_DATA)
            raise
        except OSError as error:
            self._explain(error)

    def _explain(self, error: OSError) -> None:
        """A data connection that failed: the server's reply says why, if it says anything."""
        self._without_tls13(isinstance(error, ssl.SSLError))
        reply = self.finish()
        if reply.refused:
            raise RefusedError(reply) from error
        raise self._harbour.control.lost(f"no data connection: {error}") from error

    def start(self) -> None:
        """Wait until the server says that the transfer runs. Raises RefusedError where it does not."""
        if self._started or self._closing is not None:
            return
        reply = self._harbour.control.reply()
        if reply.preliminary:
            self._started = True
            return
        self._end(reply)
        if reply.refused:
            raise RefusedError(reply)

    def _end(self, reply: Reply) -> None:
        """The server's last word on this transfer. Closed only now: what the server sent and nobody read (TLS tickets)
        would make close() a reset."""
        self._closing = reply
        self.refused_at = self._port if reply.refused and not self._started else None
        self._close()
        self._without_tls13(reply.code in _NO_SECURE_DATA)

    def _without_tls13(self, failed: bool) -> None:
        """Where data connections do not come about with TLS 1.3: many a server can't take up its sessions again."""
        encryption, control = self._harbour.encryption, self._harbour.control
        if failed and encryption is not None and control.tls_version == "TLSv1.3" and encryption.allows_tls13:
            encryption.without_tls13()
            raise control.lost("no data connection with TLS 1.3; TLS 1.2 is tried instead")

    def receive(self) -> Iterator[bytes]:
        """All bytes until the server ends the data connection. Raises RefusedError, ConnectionLost."""
        self.start()
        sock, throttle = self._sock, self._harbour.throttle
        if sock is None:
            return
        try:
            while block := sock.recv(throttle.block):
                throttle.take(len(block))
                yield block
        except OSError as error:
            raise self._harbour.control.lost(f"in the middle of a transfer: {error}") from error

    def send(self, block: bytes) -> bool:
        """Send a block. False when the server takes no more; `finish` has its reason."""
        if self._sock is None:
            return False
        self._harbour.throttle.take(len(block))
        try:
            self._sock.sendall(block)
        except OSError:
            return False
        return True

    def finish(self) -> Reply:
        """End the data connection and read the closing reply, refused or not. Raises ConnectionLost."""
        sock = self._sock
        if sock is not None:
            if isinstance(sock, ssl.SSLSocket):
                say_goodbye(sock, self._harbour.timeout)
            with contextlib.suppress(OSError):  # the server closed first, as it does after RETR
                sock.shutdown(socket.SHUT_WR)
        while self._closing is None:
            reply = self._harbour.control.reply()
            if reply.preliminary:
                self._started = True
            else:
                self._end(reply)
        return self._closing

    def abort(self) -> None:
        """Break the data connection off at once: whoever sends or receives in another thread fails."""
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """End the transfer before its end. Servers call that 226, 426 or 451, and some say it twice."""
        self._close()
        control = self._harbour.control
        while control.reply().preliminary:
            pass
        control.send("NOOP")
        while control.reply().code not in _NOOP_DONE:
            pass

    def _close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
