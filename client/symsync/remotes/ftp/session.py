"""A session: one control connection, logged in, and how it gets there."""

import ipaddress
import itertools
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from symsync.remotes.ftp.control import Control
from symsync.remotes.ftp.data import DataConnections, Harbour
from symsync.remotes.ftp.errors import ConnectionLost, NoRoom
from symsync.remotes.ftp.manners import Manners
from symsync.remotes.ftp.replies import Reply, working_directory
from symsync.remotes.ftp.tls import Encryption, UnknownCertificate
from symsync.remotes.location import DEFAULT_PORTS, IMPLICIT_TLS_PORT, Location, Protocol, Tls
from symsync.remotes.throttle import Throttle
from symsync_protocol.errors import HubRefused, HubUnreachable, LoginRefused
from symsync_protocol.names import shown

_ALIVE_SECONDS = 30.0
"""After so long without a command a connection is asked whether it still lives, before anything depends on it."""

_WISHES = ("OPTS UTF8 ON", "OPTS MLST type;size;modify;unix.mode;unique;", "TYPE I")
"""Asked of every connection in one write; only TYPE I (SIZE and transfers byte by byte) has to succeed."""


class Session:
    """One logged-in connection. Paths given to it are relative to the hub's root, as everywhere."""

    def __init__(self, control: Control, harbour: Harbour, root: str) -> None:
        self.control = control
        self.data = DataConnections(harbour)
        self.manners = harbour.manners
        self.throttle = harbour.throttle
        self.prepares = False
        """Whether the next orders bring along what prepares a data connection."""
        self._root = root
        self._last_used = time.monotonic()

    def place(self, path: str) -> str:
        """`path` as commands name it: from the server's own root, so that no name begins with a blank or a dash."""
        if not path:
            return self._root
        return f"{self._root.rstrip('/')}/{path}"

    def rest(self) -> None:
        """Called when nobody uses it any more for now."""
        self._last_used = time.monotonic()

    def usable(self) -> bool:
        """Whether it still lives, asked where it rested for long."""
        if not self.control.alive:
            return False
        if time.monotonic() - self._last_used < _ALIVE_SECONDS:
            return True
        try:
            return self.control.ask("NOOP").ok
        except ConnectionLost:
            return False

    def close(self) -> None:
        """Close at once, in the middle of a transfer, too; the server notices."""
        self.data.abort()
        self.control.close()


@dataclass
class Gate:
    """Opens sessions to one location, all alike. `root` is known once the first is open."""

    location: Location
    manners: Manners
    throttle: Throttle
    conversation: Callable[[str], None] | None
    create: bool = False
    encryption: Encryption | None = None
    root: str | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def _tls(self) -> Tls:
        if self.location.protocol is Protocol.FTPS and self.location.tls is Tls.IF_OFFERED:
            return Tls.EXPLICIT
        return self.location.tls

    @property
    def _port(self) -> int:
        if self.location.port:
            return self.location.port
        return IMPLICIT_TLS_PORT if self._tls is Tls.IMPLICIT else DEFAULT_PORTS[Protocol.FTP]

    def open(self) -> Session:
        """Connect, encrypt, log in, go to the root.

        Raises HubUnreachable, HubRefused; NoRoom where the server wants no further connection.
        """
        try:
            return self._open()
        except UnknownCertificate as error:
            raise HubRefused(
                f"{self.location.host}: its certificate can't be verified ({error}). If the SHA-256 fingerprint is "
                f"the one its owner gives you, pin it: tlsfingerprint {self._fingerprint()}"
            ) from error

    def _open(self) -> Session:
        control = self._connect()
        try:
            self._encrypt(control)
            self._log_in(control)
            harbour = Harbour(
                control, self.manners, self.throttle, self.encryption, self.location.active, self.location.timeout
            )
            session = Session(control, harbour, self._enter(control))
        except BaseException:
            control.close()
            raise
        return session

    def _connect(self) -> Control:
        host, port = self.location.host, self._port
        try:
            sock = socket.create_connection((host, port), self.location.timeout)
        except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name that the DNS could hold
            why = error.strerror if isinstance(error, socket.gaierror) else error
            raise HubUnreachable(f"{host}: unknown host ({why}); check `server`") from error
        except TimeoutError as error:
            raise HubUnreachable(
                f"{host}, port {port}: no answer for {self.location.timeout:g} s; is the address right, is it up?"
            ) from error
        except OSError as error:
            raise HubUnreachable(
                f"{host}, port {port}: {error.strerror or error}; is an FTP server running there?"
            ) from error
        number = next(self._numbers)
        say = self.conversation
        log = (lambda line: say(f"{number} {line}")) if say is not None else None
        return Control(sock, host, self.location.timeout, log)

    def _encrypt(self, control: Control) -> None:
        """The greeting, and TLS as the location demands it."""
        if self._tls is Tls.IMPLICIT:
            self._handshake(control)
        self._greet(control)
        if self._tls in (Tls.NO, Tls.IMPLICIT):
            return
        reply = control.ask("AUTH TLS")
        if reply.code == 234:
            self._handshake(control)
            return
        host = self.location.host
        if self._tls is Tls.EXPLICIT or self.encryption is not None:
            raise HubRefused(f"{host}: it offers no TLS ({reply.text}); is it `tls implicit`, or really `tls no`?")
        if not ipaddress.ip_address(control.there.partition("%")[0]).is_loopback:
            raise HubRefused(
                f"{host}: it offers no TLS ({reply.text}), and the password would go over the wire in the clear; "
                "where that is acceptable, say `tls no`"
            )

    def _greet(self, control: Control) -> None:
        try:
            reply = control.reply()
            while reply.preliminary:  # 120: ready in some minutes
                reply = control.reply()
        except ConnectionLost as error:
            raise NoRoom(str(error)) from error
        if not reply.ok:
            raise NoRoom(f"{self.location.host}: it turned us away ({reply.text}); try again later")

    def _handshake(self, control: Control) -> None:
        if self.encryption is None:
            self.encryption = Encryption(self.location.host, self.location.tls_fingerprint)
        try:
            control.encrypt(self.encryption.wrap)
        except (ssl.SSLError, OSError) as error:
            raise HubRefused(
                f"{self.location.host}: the TLS handshake failed ({error}); check `tls` and `port`"
            ) from error

    def _fingerprint(self) -> str:
        """What the certificate is that could not be verified: asked on a connection of its own, without a login."""
        control = self._connect()
        seen = ""

        def look(sock: socket.socket) -> ssl.SSLSocket:
            nonlocal seen
            wrapped, seen = Encryption.look(sock, self.location.host)
            return wrapped

        try:
            if self._tls is not Tls.IMPLICIT:
                self._greet(control)
                control.ask("AUTH TLS")
            control.encrypt(look)
        except OSError as error:
            raise HubUnreachable(f"{self.location.host}: the TLS handshake failed ({error})") from error
        finally:
            control.close()
        return seen

    def _log_in(self, control: Control) -> None:
        location = self.location
        if "\r" in location.login + (location.password or "") or "\n" in location.login + (location.password or ""):
            raise HubRefused(f"{location.host}: login and password can't hold line ends")
        if self.encryption is not None:
            _pbsz, prot = control.batch("PBSZ 0", "PROT P")
            if not prot.ok:
                raise HubRefused(f"{location.host}: it does not encrypt data connections ({prot.text})")
        reply = self._login_step(control, f"USER {location.login}")
        if reply.code == 331:
            reply = self._login_step(control, f"PASS {location.password or ''}")
        if reply.ok:
            return
        if reply.code == 332:
            raise HubRefused(f"{location.host}: it wants an account besides the password (ACCT); that is not supported")
        # 530 says "wrong password" as well as "too many connections"; who was let in before takes it for the latter.
        kind = NoRoom if self.root is not None else LoginRefused
        raise kind(f"{location.host}: it refused the login {location.login!r} ({reply.text}); check login and password")

    def _login_step(self, control: Control, command: str) -> Reply:
        try:
            return control.ask(command)
        except ConnectionLost as error:
            raise NoRoom(f"{self.location.host}: it closed the connection at the login: {error}") from error

    def _enter(self, control: Control) -> str:
        """Set the manner of the session; find, or on the first connection enter, the root."""
        *_wishes, binary = control.batch(*_WISHES)
        if not binary.ok:
            raise HubRefused(f"{self.location.host}: it refused binary transfers ({binary.text})")
        if self.root is None:
            if self.location.directory:
                self._go_to(control, self.location.directory)
            reply = control.ask("PWD")
            root = working_directory(reply)
            if not root:
                raise HubRefused(f"{self.location.host}: it does not tell its directory ({reply.text})")
            self.root = root
        return self.root

    def _go_to(self, control: Control, directory: str) -> None:
        if any(character in directory for character in "\r\n\0"):
            raise HubRefused(f"{self.location.host}: {shown(directory)!r} can't be the name of a directory")
        reply = control.ask(f"CWD {directory}")
        if not reply.ok and self.create:
            parts = directory.rstrip("/").split("/")
            for depth in range(1, len(parts) + 1):
                if parent := "/".join(parts[:depth]):
                    made = control.ask(f"MKD {parent}")
            reply = control.ask(f"CWD {directory}")
            if not reply.ok:
                raise HubRefused(f"{self.location.host}: the directory {shown(directory)} can't be made ({made.text})")
        if not reply.ok:
            raise HubRefused(
                f"{self.location.host}: there is no directory {shown(directory)} for {self.location.login} "
                f"({reply.text}); check `dir`, or let `symsync init` make it"
            )
