"""A proxy between symsync and a real server that breaks what goes through it, at a chosen step or byte.

    with Proxy(host, port, ftp=True) as proxy:
        proxy.arm(Fault(Act.CUT, Point.REPLY, 12))
        ...                                     # whatever connects to proxy.port
        proxy.fired, proxy.traffic

A *command* and its reply are FTP's; they are counted over all control connections since `arm`. FTP is understood as far
as that needs it, and data connections go through the proxy, too, for 227 and 229 are told anew. With TLS, and over
SFTP, there are only bytes.
"""

import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"

_BLOCK = 64 * 1024
_ENDLESS = 1 << 30
"""Commands that never pass."""

_ANSWER_SECONDS = 2.0
"""How long a server has for commands that come late; it answers none that waits for a data connection."""
_PASSIVE = re.compile(rb"227 [^(]*\((?:\d+,){4}(\d+),(\d+)\)")
_EXTENDED = re.compile(rb"229 [^(]*\(\|\|\|(\d+)\|\)")
_FINAL = re.compile(rb"[2-5]\d\d(?: |\r?\n)")
_MULTILINE = re.compile(rb"(\d\d\d)-")


class Act(StrEnum):
    """What happens to a connection."""

    CUT = "cut"
    """The client gets a reset; the server sees the end of what it was sent."""
    STALL = "stall"
    """Nothing passes any more, and nobody is told."""
    LATE = "late"
    """The client gets a reset; the server gets what it was sent then, commands only, when some others have passed."""
    TRUNCATE = "truncate"
    """The rest of a data connection vanishes, and it ends as if that was all: the server says 226."""


class Point(StrEnum):
    """Where it happens."""

    COMMAND = "command"
    """Before a command reaches the server."""
    REPLY = "reply"
    """Instead of a command's last reply: the server did what it was asked, and nobody hears of it."""
    UP = "up"
    """After so many bytes to the server, over all connections but FTP's data connections."""
    DOWN = "down"
    """The same for what the server sends."""
    DATA = "data"
    """After `offset` bytes, of either direction, of a data connection."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` at the `number`th command, reply, byte or data connection since the proxy was armed."""

    act: Act
    point: Point
    number: int
    offset: int = 0
    """Bytes of a data connection; of LATE, how many commands pass before."""
    lasting: bool = False
    """All connections share the fate, and so do all that are opened from then on: the cable is out."""


@dataclass(slots=True)
class Traffic:
    """What went through since the proxy was armed."""

    commands: int = 0
    up: int = 0
    down: int = 0
    data: list[int] = field(default_factory=list)
    """The bytes of each data connection."""


def draw(chance: random.Random, traffic: Traffic, acts: tuple[Act, ...] = tuple(Act)) -> Fault:
    """A fault that falls into a run with this traffic."""
    unfit = {Act.LATE: not traffic.commands, Act.TRUNCATE: not traffic.data}
    act = chance.choice([act for act in acts if not unfit.get(act)])
    if act is Act.LATE:
        number = chance.randint(1, traffic.commands)
        return Fault(act, Point.COMMAND, number, chance.randint(0, chance.choice([5, 30])))
    lasting = act is not Act.TRUNCATE and chance.random() < 0.5
    if act is Act.TRUNCATE or (traffic.data and chance.random() < 0.4):
        number = chance.randrange(len(traffic.data))
        return Fault(act, Point.DATA, number + 1, chance.randint(0, traffic.data[number]), lasting)
    if traffic.commands:
        return Fault(act, chance.choice([Point.COMMAND, Point.REPLY]), chance.randint(1, traffic.commands), 0, lasting)
    point = chance.choice([Point.UP, Point.DOWN])
    return Fault(act, point, chance.randint(1, traffic.up if point is Point.UP else traffic.down), 0, lasting)


class Proxy:
    """Listens on a free port and passes everything on to one server. Use as a context manager."""

    def __init__(self, host: str, port: int, *, ftp: bool) -> None:
        """`ftp`: what goes through is FTP in the clear."""
        self.server = (host, port)
        self._ftp = ftp
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.pace = 0.0
        """Seconds that each command to the server (of SFTP: each half a kilobyte) waits."""
        self.heed: Callable[[bytes], None] = lambda _command: None
        """Called with each FTP command before it passes."""
        self.traffic = Traffic()
        self.fired: list[Fault] = []
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._wires: set[_Wire] = set()
        self._late: list[tuple[_Control, int]] = []
        """The connections that have something for the server, and at which command."""
        self._flowing = threading.Event()
        self._flowing.set()
        self._over = threading.Event()
        """Ends all stalls; each arming has its own."""
        self._down: Act | None = None

    @property
    def reads_commands(self) -> bool:
        """Whether `heed` is called."""
        return self._ftp

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.arm()

    def arm(self, *faults: Fault) -> None:
        """End what is still open, count from zero, and let these faults happen, each once."""
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            wire.close()
        self._over.set()
        self.resume()
        with self._lock:
            self._faults = list(faults)
            self._late = []
            self._down = None
            self._over = threading.Event()
            self.traffic, self.fired = Traffic(), []

    def strike(self, act: Act) -> None:
        """`act` at the next command: called by `heed`, at the one that it was called with."""
        with self._lock:
            self._faults.append(Fault(act, Point.COMMAND, self.traffic.commands + 1, offset=_ENDLESS))

    def deliver(self) -> None:
        """Let the server have what is late, and wait until it has answered."""
        with self._lock:
            late, self._late = self._late, []
        for wire, _ in late:
            wire.deliver()

    def hold(self) -> None:
        """Pass nothing more to the server until `resume`: it is still to come."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on what was held."""
        self._flowing.set()

    def flow(self) -> None:
        """Wait while everything is held, and for as long as `pace` says."""
        self._flowing.wait()
        if self.pace:
            time.sleep(self.pace)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            if self._down is Act.CUT:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self.server)
            except OSError:
                _reset(client)
                continue
            _Control(self, client, server).start() if self._ftp else _Plain(self, client, server).start()

    # For the wires

    def joined(self, wire: "_Wire") -> int:
        """A new wire; returns the number it has where it is a data connection."""
        with self._lock:
            self._wires.add(wire)
            if isinstance(wire, _Data):
                self.traffic.data.append(0)
            return len(self.traffic.data)

    def left(self, wire: "_Wire") -> None:
        """A wire is gone."""
        with self._lock:
            self._wires.discard(wire)

    def command(self) -> tuple[Fault | None, Fault | None]:
        """One more command: the faults that happen before it, and instead of its reply."""
        with self._lock:
            self.traffic.commands += 1
            number = self.traffic.commands
            due = any(at <= number for _, at in self._late)
        if due:
            self.deliver()
        with self._lock:
            return self._fault(Point.COMMAND, number), self._fault(Point.REPLY, number)

    def _fault(self, point: Point, number: int) -> Fault | None:
        return next((fault for fault in self._faults if (fault.point, fault.number) == (point, number)), None)

    def bytes_pass(self, point: Point, size: int) -> tuple[int, Fault | None]:
        """`size` more bytes of a plain connection: how many of them pass, and what happens then."""
        with self._lock:
            before = self.traffic.up if point is Point.UP else self.traffic.down
            if point is Point.UP:
                self.traffic.up += size
            else:
                self.traffic.down += size
            for fault in self._faults:
                if fault.point is point and before < fault.number <= before + size:
                    return fault.number - before, fault
        return size, None

    def data_pass(self, number: int, size: int) -> tuple[int, Fault | None]:
        """The same for the `number`th data connection."""
        with self._lock:
            before = self.traffic.data[number - 1]
            self.traffic.data[number - 1] += size
            for fault in self._faults:
                if (fault.point, fault.number) == (Point.DATA, number) and before <= fault.offset <= before + size:
                    return fault.offset - before, fault
        return size, None

    def happen(self, fault: Fault, wire: "_Wire") -> None:
        """`fault` has come to its point on `wire`."""
        with self._lock:
            if fault not in self._faults:
                return
            self._faults.remove(fault)
            self.fired.append(fault)
            over = self._over
            if fault.lasting:
                self._down = fault.act
            others = [other for other in self._wires if fault.lasting and other is not wire]
        for other in (*others, wire):
            if fault.act is Act.CUT:
                other.cut()
            elif fault.act is Act.STALL:
                other.stalled = over
            elif fault.act is Act.LATE and isinstance(other, _Control):
                other.leave_behind()
                with self._lock:
                    self._late.append((other, fault.number + fault.offset + 1))

    @property
    def stalled(self) -> threading.Event | None:
        """What a new connection has to wait for."""
        with self._lock:
            return self._over if self._down is Act.STALL else None


class _Wire:
    """A connection from the client and the one to the server that belongs to it, and a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._ended = 0
        self._lock = threading.Lock()
        self.stalled = proxy.stalled
        self._number = proxy.joined(self)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Begin to pass on."""
        for work, source, target in (
            (self._upward, self._client, self._server),
            (self._downward, self._server, self._client),
        ):
            threading.Thread(target=self._pump, args=(work, source, target), daemon=True).start()

    def _pump(self, work: Callable[[bytes], None], source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # closed by a fault, or by the other side: there is no more to pass on
            while block := source.recv(_BLOCK):
                work(block)
            self._wait_out()
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            self._ended += 1
            both = self._ended == 2
        if both:
            self.close()
            self._proxy.left(self)

    def _upward(self, block: bytes) -> None:
        raise NotImplementedError

    def _downward(self, block: bytes) -> None:
        raise NotImplementedError

    def _send(self, target: socket.socket, data: bytes) -> None:
        self._wait_out()
        target.sendall(data)

    def _wait_out(self) -> None:
        """Where this connection stalls, until it ends."""
        if self.stalled is not None:
            self.stalled.wait()
            raise BrokenPipeError

    def cut(self) -> None:
        """The client gets a reset; the server sees the end of what it was sent."""
        _reset(self._client)
        self._end(self._server)

    def close(self) -> None:
        """Close both sides."""
        self._end(self._client)
        self._end(self._server)

    @staticmethod
    def _end(sock: socket.socket) -> None:
        with suppress(OSError):  # not connected any more
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def _reset(sock: socket.socket) -> None:
    """Close so that the other end hears of it as of an error."""
    with suppress(OSError):  # closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)
    sock.close()


class _Plain(_Wire):
    """Bytes that mean nothing here."""

    def _upward(self, block: bytes) -> None:
        step = 512 if self._proxy.pace else len(block)
        for start in range(0, len(block), step):
            self._proxy.flow()
            self._pass(Point.UP, self._server, block[start : start + step])

    def _downward(self, block: bytes) -> None:
        self._pass(Point.DOWN, self._client, block)

    def _pass(self, point: Point, target: socket.socket, block: bytes) -> None:
        passing, fault = self._proxy.bytes_pass(point, len(block))
        self._send(target, block[:passing])
        if fault is not None:
            self._proxy.happen(fault, self)
            self._send(target, block[passing:])


class _Control(_Wire):
    """An FTP control connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(proxy, client, server)
        self._rest_up = self._rest_down = b""
        self._sent = 0
        self._answered = -1  # the greeting answers nothing
        self._within: bytes | None = None
        self._unheard: dict[int, Fault] = {}
        self._behind: list[bytes] | None = None
        """What the server has yet to get, where the client is gone."""
        self._answers = threading.Semaphore(0)
        self._harbour: socket.socket | None = None

    def _upward(self, block: bytes) -> None:
        *lines, self._rest_up = (self._rest_up + block).split(b"\n")
        for line in lines:
            self._proxy.heed(line)
            self._proxy.flow()
            before, instead = self._proxy.command()
            if before is not None:
                self._proxy.happen(before, self)
            self._sent += 1
            if instead is not None:
                self._unheard[self._sent] = instead
            if self._behind is None:
                self._send(self._server, line + b"\n")
            else:
                self._behind.append(line + b"\n")

    def leave_behind(self) -> None:
        """The client gets a reset; what it has sent and the server has not got yet is kept."""
        self._behind = []
        _reset(self._client)

    def deliver(self) -> None:
        """Let the server have that, one after the other, and then see that the client is gone."""
        with suppress(OSError):  # it has given up
            for line in self._behind or ():
                self._server.sendall(line)
                self._answers.acquire(timeout=_ANSWER_SECONDS)
        self.close()

    def _downward(self, block: bytes) -> None:
        if self._behind is not None:
            self._answers.release(len(re.findall(rb"(?m)^\d\d\d ", block)))
            return
        passing, fault = self._proxy.bytes_pass(Point.DOWN, len(block))
        if fault is not None:
            self._send(self._client, block[:passing])
            self._proxy.happen(fault, self)
        *lines, self._rest_down = (self._rest_down + block).split(b"\n")
        told: list[bytes] = []
        for line in lines:
            line += b"\n"
            if self._ends_reply(line):
                self._answered += 1
                if (fault := self._unheard.pop(self._answered, None)) is not None:
                    self._send(self._client, b"".join(told))
                    told.clear()
                    self._proxy.happen(fault, self)
            told.append(self._with_own_port(line))
        self._send(self._client, b"".join(told))

    def _ends_reply(self, line: bytes) -> bool:
        """Whether with this line the answer to a command is complete."""
        if self._within is not None:
            if not line.startswith(self._within + b" "):
                return False
            self._within = None
        elif match := _MULTILINE.match(line):
            self._within = match[1]
            return False
        return _FINAL.match(line) is not None

    def _with_own_port(self, line: bytes) -> bytes:
        """A reply that names a port for data, with one of the proxy's instead."""
        passive, extended = _PASSIVE.match(line), _EXTENDED.match(line)
        if passive is None and extended is None:
            return line
        self._leave_harbour()
        self._harbour = harbour = socket.create_server((HOST, 0), backlog=1)
        mine = harbour.getsockname()[1]
        port = int(extended[1]) if extended else int(passive[1]) * 256 + int(passive[2]) if passive else 0
        threading.Thread(target=self._carry, args=(harbour, port), daemon=True).start()
        if extended:
            return b"229 Entering Extended Passive Mode (|||%d|)\r\n" % mine
        return b"227 Entering Passive Mode (127,0,0,1,%d,%d)\r\n" % (mine // 256, mine % 256)

    def _carry(self, harbour: socket.socket, port: int) -> None:
        """Wait for the client's data connection and carry it on."""
        try:
            client, _address = harbour.accept()
        except OSError:  # another port is wanted, or the connection is over
            return
        try:
            server = socket.create_connection((self._proxy.server[0], port))
        except OSError:
            _reset(client)
            return
        _Data(self._proxy, client, server).start()

    def _leave_harbour(self) -> None:
        if self._harbour is not None:
            self._end(self._harbour)

    def cut(self) -> None:
        super().cut()
        self._leave_harbour()

    def close(self) -> None:
        super().close()
        self._leave_harbour()


class _Data(_Wire):
    """An FTP data connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(proxy, client, server)
        self._vanishing = False

    def _upward(self, block: bytes) -> None:
        self._pass(self._server, block)

    def _downward(self, block: bytes) -> None:
        self._pass(self._client, block)

    def _pass(self, target: socket.socket, block: bytes) -> None:
        if self._vanishing:
            return
        passing, fault = self._proxy.data_pass(self._number, len(block))
        self._send(target, block[:passing])
        if fault is None:
            return
        self._vanishing = fault.act is Act.TRUNCATE
        self._proxy.happen(fault, self)
        if not self._vanishing:
            self._send(target, block[passing:])
