"""From a location to a session: socket, SSH, greeting, the hub's root. paramiko is imported once the socket is open."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from symsync.core.values import Found, Problem
from symsync.remotes.location import Location
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.address import Door, door_of
from symsync.remotes.sftp.errors import ConnectionLost
from symsync.remotes.sftp.line import Line
from symsync.remotes.sftp.session import Limits, Manners, Session
from symsync.remotes.throttle import Throttle
from symsync_protocol.errors import HubRefused, HubUnreachable
from symsync_protocol.names import ancestors
from symsync_protocol.stamps import Kind

Conversation = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Connection:
    """A session and what has to be closed after it."""

    session: Session
    _transport: Any
    _channel: Any

    def close(self) -> None:
        """Close at once; the server notices."""
        self._transport.close()  # first, for the line may be waiting for it
        self.session.line.close()
        self._channel.close()


class Gate:
    """Opens connections to one location, all alike."""

    def __init__(self, location: Location, conversation: Conversation | None) -> None:
        self._location = location
        self._conversation = conversation
        self._throttle = Throttle(location.bandwidth) if location.bandwidth is not None else None
        self.manners = Manners()

    def open(self, *, create: bool = False) -> Connection:
        """Connect and log in; with `create` a missing directory is made. Raises HubUnreachable, HubRefused."""
        location, say = self._location, self._conversation or _silent
        door = door_of(location)
        sock = _connect(door, location.timeout)
        # paramiko takes 0.13 s to import: meanwhile the server finds its feet.
        from symsync.remotes.sftp.transport import open_channel, told

        transport, channel = open_channel(sock, location, door, say)
        try:
            with told(door):
                extensions = _greet(channel)
            say(f"extensions: {', '.join(sorted(extensions)) or 'none'}")
            line = Line(channel, door.host, location.timeout, self._throttle, self._conversation)
            try:
                session = line.run(_enter(line, location.directory, extensions, self.manners, self._throttle))
                self._check_root(session, door, create=create)
            except BaseException:
                line.close()
                raise
        except BaseException:
            transport.close()
            raise
        return Connection(session, transport, channel)

    def _check_root(self, session: Session, door: Door, *, create: bool) -> None:
        """Raise HubRefused unless the root is a directory; make it, and those above it, with `create`."""
        there = session.line.run(session.look(""))
        if there is None and create:
            session.line.run(_make_root(session))
            there = session.line.run(session.look(""))
        if isinstance(there, Found) and there.kind is Kind.DIRECTORY:
            return
        where = f"{door.host}: {session.root}"
        if there is None:
            raise HubRefused(f"{where} does not exist there; check `dir`, or have it made by symsync init")
        detail = there.detail if isinstance(there, Problem) else "it is no directory"
        raise HubRefused(f"{where} can't be used as the hub's directory ({detail}); check `dir`")


def _silent(_line: str) -> None:
    pass


def _connect(door: Door, timeout: float) -> socket.socket:
    try:
        sock = socket.create_connection((door.host, door.port), timeout)
    except socket.gaierror as error:
        raise HubUnreachable(f"{door.host}: unknown host ({error.strerror}); check `server`") from error
    except TimeoutError as error:
        raise HubUnreachable(
            f"{door.host}, port {door.port}: no answer for {timeout:g} s; is the address right, is it up?"
        ) from error
    except OSError as error:
        raise HubUnreachable(
            f"{door.host}, port {door.port}: {error.strerror or error}; is an SSH server running there?"
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # paramiko writes for ever to a peer that takes nothing; the system gives up only after a quarter of an hour.
    with contextlib.suppress(AttributeError, OSError):  # not on every system
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout * 1000))
    return sock


def _greet(channel: Any) -> frozenset[str]:
    """Exchange versions; the server's extensions. Raises OSError and EOFError where that fails."""
    received = bytearray()
    try:
        channel.send(wire.greeting())
        while True:
            data = channel.recv(wire.LONGEST_PACKET)
            if not data:
                raise EOFError("it closed the channel")
            received += data
            for op, body in wire.packets(received):
                return wire.greeted(op, body)
    except wire.MalformedError as error:
        # What a login script prints arrives here, too.
        raise HubRefused(f"what it sends is no SFTP ({error}); does the login's shell print something?") from error


async def _enter(
    line: Line, directory: str, extensions: frozenset[str], manners: Manners, throttle: Throttle | None
) -> Session:
    """Learn the limits and where the login lands, in one exchange."""
    asking = await line.post(wire.limits()) if wire.LIMITS in extensions else None
    home = (await line.ask(wire.realpath("."))).names()
    limits = Limits()
    if asking is not None and (reply := await asking).op == wire.Op.EXTENDED_REPLY:
        limits = Limits.told(reply.numbers())
    if throttle is not None:
        limits = Limits(min(limits.block, throttle.block), limits.jobs)
    if len(home) != 1:
        raise wire.MalformedError("it does not say where the login lands")
    root = directory if directory.startswith("/") else f"{home[0].name.rstrip('/')}/{directory}"
    return Session(line, root.rstrip("/") or "/", extensions, limits, manners)


async def _make_root(session: Session) -> None:
    """Make the root and what is missing above it; that some of it is there already does not matter."""
    for place in (*(f"/{up}" for up in ancestors(session.root.strip("/"))), session.root):
        await session.line.ask(wire.mkdir(place))


class Link:
    """The connection of one remote, opened anew where it broke."""

    def __init__(self, gate: Gate, connection: Connection) -> None:
        self._gate = gate
        self._connection = connection
        self._closed = False
        self._lock = threading.Lock()

    def session(self) -> Session:
        """A live session. Raises HubUnreachable, HubRefused."""
        with self._lock:
            if self._closed:
                raise ConnectionLost("the connection to the hub was closed")
            if not self._connection.session.line.alive:
                self._connection.close()
                self._connection = self._gate.open()
            return self._connection.session

    def close(self) -> None:
        """Close for good; safe to call twice."""
        with self._lock:
            self._closed = True
            self._connection.close()
