"""One control connection: commands out, replies in, many commands on their way at once."""

import collections
import contextlib
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from symsync.remotes.ftp.errors import ConnectionLost
from symsync.remotes.ftp.replies import Reply

WINDOW_BYTES = 4 * 1024
"""Commands on their way at once. So few bytes always fit into the two sockets' buffers: writing them can't block, and
so we are always back to read before replies, however long, could block the server. ProFTPD (1.3.8) reads 4,102 bytes at
a time, and takes two commands for one where a read ends between CR and LF: no read of these can, unless the wire cuts
there."""

_PIECE_BYTES = 1200
"""Commands written at once, whole ones, so that the wire cuts between two: they fit into one packet (RFC 8200, 5)."""

_PACKET_END = socket.MSG_EOR if sys.platform == "linux" else 0
"""Has Linux put nothing that is written later into the same packet, as it would with what had to wait (send(2);
tcp_autocorking in its ip-sysctl.txt). Elsewhere this flag is refused for a stream."""

WINDOW_COMMANDS = 128

_LONGEST_LINE = 64 * 1024
_RECEIVE = 64 * 1024
_LINE = re.compile(r"(\d{3})([ -]|$)(.*)", re.S)
_NEGOTIATION = re.compile(rb"\A(?:\xff[\xfb-\xfe].)+", re.S)
"""Telnet's answers (RFC 854) to what a server took for Telnet's commands in a name; they stand before a reply."""
_SECRET = re.compile(r"PASS ", re.I)


class Control:
    """A control connection (RFC 959, RFC 4217). Not for two threads at once.

    Lines are UTF-8, undecodable bytes kept as surrogates. `conversation`, if there is one, is called with each line,
    passwords masked.
    All methods raise ConnectionLost when the connection breaks, is silent for `timeout` seconds, or gets 421.
    """

    def __init__(
        self, sock: socket.socket, host: str, timeout: float, conversation: Callable[[str], None] | None
    ) -> None:
        self._sock = sock
        self._host = host
        self._timeout = timeout
        self._conversation = conversation
        self._lines: collections.deque[bytes] = collections.deque()
        self._rest = b""
        self._peeked: Reply | None = None
        self.alive = True
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def here(self) -> str:
        """Our own address on this connection."""
        return str(self._sock.getsockname()[0])

    @property
    def there(self) -> str:
        """The server's address, to which data connections go too."""
        return str(self._sock.getpeername()[0])

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session, which servers want to see again on data connections."""
        return self._sock.session if isinstance(self._sock, ssl.SSLSocket) else None

    @property
    def tls_version(self) -> str | None:
        """As Python's ssl names it, None without TLS."""
        return self._sock.version() if isinstance(self._sock, ssl.SSLSocket) else None

    def encrypt(self, wrap: Callable[[socket.socket], ssl.SSLSocket]) -> None:
        """Go on with TLS. What came in the clear before the handshake must not be taken for the server's word after."""
        if self._lines or self._rest:
            raise self.lost("it sent something between AUTH and the TLS handshake")
        self._sock = wrap(self._sock)

    def fileno(self) -> int:
        """For selectors."""
        return self._sock.fileno()

    def lost(self, why: object) -> ConnectionLost:
        """Close the connection, and the error that says so."""
        self.close()
        return ConnectionLost(f"{self._host}: the connection was lost ({why}); run it again")

    def close(self) -> None:
        """Close without a word; safe to call twice, and from another thread to end what is under way."""
        self.alive = False
        with contextlib.suppress(OSError):  # not connected any more: all that is wanted
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def send(self, *commands: str) -> None:
        """Send commands, many in one write. Their replies have to be read, in this order."""
        if self._conversation is not None:
            for command in commands:
                self._conversation("> PASS ****" if _SECRET.match(command) else f"> {command}")
        piece = b""
        try:
            for line in map(_line_of, commands):
                if piece and len(piece) + len(line) > _PIECE_BYTES:
                    self._send_packet(piece)
                    piece = b""
                piece += line
            self._send_packet(piece)
        except OSError as error:
            raise self.lost(error) from error

    def _send_packet(self, piece: bytes) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.sendall(piece)  # a record of TLS, which is read whole
        else:
            self._sock.sendall(piece, _PACKET_END)

    def peek(self) -> Reply:
        """The next reply, which stays the next one."""
        if self._peeked is None:
            self._peeked = self._read_reply()
        return self._peeked

    def reply(self) -> Reply:
        """The next reply, several lines taken together (RFC 959, 4.2)."""
        reply, self._peeked = self._peeked, None
        return reply or self._read_reply()

    def _read_reply(self) -> Reply:
        first = self._line()
        match = _LINE.fullmatch(first)
        if match is None:
            raise self.lost(f"it answered out of step: {first[:80]!r}")
        code, lines = match[1], [match[3]]
        if match[2] == "-":
            end = f"{code} "
            while not (line := self._line()).startswith(end) and line != code:
                lines.append(line)
            lines.append(line[4:])
        reply = Reply(int(code), tuple(lines))
        if self._conversation is not None:
            self._conversation(f"< {reply.text}" if len(lines) < 4 else f"< {code} ({len(lines)} lines)")
        if reply.code == 421 or (reply.code == 500 and reply.lines[0].startswith("OOPS:")):
            # vsftpd says OOPS when one of its processes gives up, and hangs up.
            raise self.lost(reply.text)
        return reply

    def ask(self, command: str) -> Reply:
        """Send one command and read its reply."""
        self.send(command)
        return self.reply()

    def batch(self, *commands: str) -> list[Reply]:
        """A few commands in one write, and their replies."""
        self.send(*commands)
        return [self.reply() for _ in commands]

    def pipeline(self, commands: Iterable[str]) -> Iterator[Reply]:
        """Any number of commands without data connections, in order, many on their way at once; their replies in order.

        To be read to the end, or the connection is out of step.
        """
        source = iter(commands)
        under_way: collections.deque[int] = collections.deque()
        held: str | None = next(source, None)
        in_flight = 0
        while under_way or held is not None:
            # Refill only when half the window is empty: fewer and larger packets.
            if in_flight <= WINDOW_BYTES // 2 and len(under_way) <= WINDOW_COMMANDS // 2:
                write = []
                while held is not None and len(under_way) < WINDOW_COMMANDS:
                    cost = len(_line_of(held))
                    if under_way and in_flight + cost > WINDOW_BYTES:
                        break
                    write.append(held)
                    under_way.append(cost)
                    in_flight += cost
                    held = next(source, None)
                if write:
                    self.send(*write)
            yield self.reply()
            in_flight -= under_way.popleft()

    def _line(self) -> str:
        while not self._lines:
            try:
                chunk = self._sock.recv(_RECEIVE)
            except TimeoutError as error:
                raise self.lost(f"no answer for {self._timeout:g} s") from error
            except OSError as error:
                raise self.lost(error) from error
            if not chunk:
                raise self.lost("closed by the server")
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(whole)
            if len(self._rest) > _LONGEST_LINE:
                raise self.lost("it sends a line without end")
        line = _NEGOTIATION.sub(b"", self._lines.popleft()).removesuffix(b"\r")
        return line.decode("utf-8", "surrogateescape")


def fit_together(commands: Sequence[str]) -> bool:
    """Whether these may all be on their way at once, and one more."""
    return len(commands) < WINDOW_COMMANDS and sum(len(_line_of(command)) for command in commands) <= WINDOW_BYTES // 2


def _line_of(command: str) -> bytes:
    return f"{command}\r\n".encode("utf-8", "surrogateescape")
