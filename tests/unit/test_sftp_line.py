"""One SFTP conversation, against a server that is a socket in the test's hand."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from symsync.remotes.sftp import line as module
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import ConnectionLost
from symsync.remotes.sftp.line import CONTENT_WINDOW, WINDOW, Line, Task
from symsync.remotes.throttle import Throttle


class Channel:
    """A socket as the line's channel."""

    closed = False
    eof_received = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes) -> int:
        return self._sock.send(data)

    def recv(self, count: int) -> bytes:
        data = self._sock.recv(count)
        self.eof_received = not data
        return data

    def recv_ready(self) -> bool:
        return not self.eof_received and bool(select.select([self._sock], [], [], 0)[0])

    def recv_stderr(self, count: int) -> bytes:
        raise AssertionError(f"nothing is ready, and {count} bytes are read")

    def recv_stderr_ready(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._sock.fileno()


class Peer:
    """The other end: reads requests and sends replies when told to."""

    def __init__(self, sock: socket.socket, near: socket.socket) -> None:
        self.sock = sock
        self.near = near
        self._file = sock.makefile("rb")

    def request(self) -> tuple[int, int]:
        """The kind and the number of the next request."""
        length, op, number = struct.unpack(">IBI", self._file.read(9))
        self._file.read(length - 5)
        return op, number

    def rest(self) -> bytes:
        """All that still comes until the line is closed."""
        return self._file.read()

    def reply(self, number: int, code: int = wire.Code.OK) -> None:
        self.sock.sendall(struct.pack(">IBIII", 13, wire.Op.STATUS, number, code, 0))


@pytest.fixture
def ends() -> Iterator[tuple[Line, Peer]]:
    near, far = socket.socketpair()
    with near, far:
        line = Line(Channel(near), "hub", timeout=5.0)
        yield line, Peer(far, near)
        line.close()


async def look(line: Line, name: str = "f") -> int:
    return (await line.ask(wire.lstat(name))).status().code


def test_replies_in_any_order(ends: tuple[Line, Peer]) -> None:
    """Each task gets the reply to its own request, whatever the order in which they come."""
    line, peer = ends
    ended: list[Task[int]] = []
    all_ended = threading.Semaphore(0)

    def done(task: Task[int]) -> None:
        ended.append(task)
        all_ended.release()

    tasks = [line.start(look(line), done) for _ in range(3)]
    numbers = [peer.request()[1] for _ in tasks]
    for number, code in reversed(list(zip(numbers, (2, 3, 4), strict=True))):
        peer.reply(number, code)
    for _ in tasks:
        assert all_ended.acquire(timeout=10)
    assert [2, 3, 4] == [task.result for task in tasks]
    assert tasks[::-1] == ended


async def nothing() -> None:
    """Ends at once: who waits for it knows that all tasks given before have done what they could."""


def last(line: Line, peer: Peer) -> bytes:
    """What the line had still sent, before it is closed here."""
    line.run(nothing())
    line.close()
    peer.near.shutdown(socket.SHUT_RDWR)
    return peer.rest()


def test_window_of_requests(ends: tuple[Line, Peer]) -> None:
    """So many requests are on their way and no more; each reply makes room for the next."""
    line, peer = ends

    async def many() -> None:
        for pending in [await line.post(wire.lstat("f")) for _ in range(WINDOW + 2)]:
            await pending

    line.start(many(), lambda _task: None)
    numbers = [peer.request()[1] for _ in range(WINDOW)]
    peer.reply(numbers[0])
    numbers.append(peer.request()[1])
    assert (WINDOW + 1, b"") == (len(set(numbers)), last(line, peer))


class Interrupted:
    """A socket at whose first use somebody presses Ctrl-C."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._first = True

    def send(self, data: bytes) -> int:
        if self._first:
            self._first = False
            raise KeyboardInterrupt
        return self._sock.send(data)

    def close(self) -> None:
        self._sock.close()


def test_an_interrupt_at_the_bell(ends: tuple[Line, Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that Ctrl-C has kept from being rung for keeps no later one from it."""
    line, _peer = ends
    monkeypatch.setattr(line, "_button", Interrupted(line._button))
    work = nothing()
    with pytest.raises(KeyboardInterrupt):
        line.start(work, lambda _task: None)
    closing = threading.Thread(target=line.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()


def test_work_that_is_given_to_a_line_that_is_over(ends: tuple[Line, Peer]) -> None:
    """It ends at once, and its end is told once."""
    line, _peer = ends
    line.close()
    ended: list[Task[int]] = []
    line.start(look(line), ended.append)
    assert 1 == len(ended)
    with pytest.raises(ConnectionLost):
        _ = ended[0].result


class BusyChannel(Channel):
    """Always has something to read: who reads it to its end never gets there."""

    busy = True

    def recv_ready(self) -> bool:
        return self.busy or super().recv_ready()


def test_orders_while_replies_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are given, and taken, while the line never comes to the end of what it receives."""
    monkeypatch.setattr(module, "_LINGER_SECONDS", -1.0)
    orders = 1000  # Linux holds some 300 bytes that were sent through a socket one by one
    near, far = socket.socketpair()
    with near, far:
        channel = BusyChannel(near)
        line, peer = Line(channel, "hub", timeout=5.0), Peer(far, near)
        ended = threading.Semaphore(0)

        async def ask_on() -> None:
            while channel.busy:
                await look(line)

        def answer() -> None:
            with contextlib.suppress(struct.error, OSError):  # there is no more to read
                while True:
                    peer.reply(peer.request()[1])

        def order() -> None:
            for _ in range(orders):
                line.start(nothing(), lambda _task: ended.release())
                ended.acquire(timeout=10)

        line.start(ask_on(), lambda _task: None)
        ordering = threading.Thread(target=order, daemon=True)
        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        ordering.start()
        ordering.join(20)
        assert not ordering.is_alive()
        channel.busy = False
        line.run(nothing())
        line.close()
        near.shutdown(socket.SHUT_RDWR)
        answering.join()


def test_window_of_names(ends: tuple[Line, Peer]) -> None:
    """Replies with long lists of names are asked for as long as the channel certainly takes them all, and no more."""
    line, peer = ends
    asking = wire.readdir(b"h")

    async def many() -> None:
        for pending in [await line.post(asking) for _ in range(WINDOW)]:
            await pending

    line.start(many(), lambda _task: None)
    room = CONTENT_WINDOW // asking.cost
    assert room < WINDOW
    numbers = {peer.request()[1] for _ in range(room)}
    assert (room, b"") == (len(numbers), last(line, peer))


@pytest.mark.parametrize(
    ("asking", "waits"), [(wire.readdir(b"h"), False), (wire.read(b"h", 0, 9), True), (wire.write(b"h", 0, b"x"), True)]
)
def test_only_content_is_throttled(asking: wire.Request, waits: bool) -> None:
    """A limit is one of content: listings go on as fast as they come, and pass content that waits."""
    near, far = socket.socketpair()
    now = 100.0
    with near, far:
        line, peer = Line(Channel(near), "hub", 5.0, Throttle(1, lambda: now)), Peer(far, near)
        for _ in range(2):
            line.start(line.ask(asking), lambda _task: None)
        line.start(look(line), lambda _task: None)
        expected = [asking.op, wire.Op.LSTAT, asking.op] if waits else [asking.op, asking.op, wire.Op.LSTAT]
        assert expected[:2] == [peer.request()[0] for _ in range(2)]
        now = 200.0
        line.run(nothing())
        assert expected[2] == peer.request()[0]
        line.close()


def test_a_limit_keeps_nobody_from_an_end() -> None:
    """Who waits for a limit is cancelled, and the line closed, at once (Ctrl-C)."""
    near, far = socket.socketpair()
    ended: list[Task[None]] = []

    async def write(line: Line) -> None:
        for at in range(100):
            await line.post(wire.write(b"h", at, b"x"))

    with near, far:
        line, peer = Line(Channel(near), "hub", 5.0, Throttle(1, lambda: 100.0)), Peer(far, near)
        line.start(write(line), ended.append)
        assert wire.Op.WRITE == peer.request()[0]
        line.close()
        (task,) = ended
        with pytest.raises(ConnectionLost):
            _ = task.result


def test_window_of_content(ends: tuple[Line, Peer]) -> None:
    """Content waits for room, and a single piece that is larger than all the room goes alone."""
    line, peer = ends

    async def read() -> None:
        for pending in [await line.post(wire.read(b"h", 0, CONTENT_WINDOW * 2)) for _ in range(3)]:
            await pending

    line.start(read(), lambda _task: None)
    _op, number = peer.request()
    peer.reply(number)
    assert (wire.Op.READ, number + 1) == peer.request()
    assert b"" == last(line, peer)


def test_cancelled_before_its_handle_came(ends: tuple[Line, Peer]) -> None:
    """A handle that arrives for a task which is no more is closed, for the server has only so many."""
    line, peer = ends
    task = line.start(line.ask(wire.opendir("d")), lambda _task: None)
    _op, number = peer.request()
    line.cancel(task)
    # What is asked after the cancelling shows that it has been seen to.
    line.start(look(line), lambda _task: None)
    assert wire.Op.LSTAT == peer.request()[0]
    peer.sock.sendall(struct.pack(">IBII", 10, wire.Op.HANDLE, number, 1) + b"h")
    assert wire.Op.CLOSE == peer.request()[0]


def test_work_that_fails(ends: tuple[Line, Peer]) -> None:
    """What a task raises is raised where its result is read, and the line goes on."""
    line, peer = ends

    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        line.run(fail())
    answering = threading.Thread(target=lambda: peer.reply(peer.request()[1], 2))
    answering.start()
    assert 2 == line.run(look(line))
    answering.join()


@pytest.mark.parametrize(
    "said",
    [
        struct.pack(">IBIII", 13, wire.Op.STATUS, 999, 0, 0),
        struct.pack(">IBI", 5, wire.Op.HANDLE, 1),
        struct.pack(">IBIII", 13, wire.Op.ATTRS, 1, 0x7FFFFFFF, 0),
        b"\xff\xff\xff\xff\x65",
        b"\0\0\0\1\x65",
        b"Last login: yesterday\n",
    ],
    ids=["never asked", "not a status", "attributes cut", "too long", "too short", "text"],
)
def test_server_out_of_step(ends: tuple[Line, Peer], said: bytes) -> None:
    """A server that says what makes no sense is not listened to any longer."""
    line, peer = ends
    peer.sock.sendall(said)
    with pytest.raises(ConnectionLost, match="out of step"):
        line.run(look(line))
    assert not line.alive


def test_server_hangs_up(ends: tuple[Line, Peer]) -> None:
    """Everybody who waits is told, and so is who comes later."""
    line, peer = ends
    ended: list[Task[int]] = []
    both = threading.Semaphore(0)

    def done(task: Task[int]) -> None:
        ended.append(task)
        both.release()

    for _ in range(2):
        line.start(look(line), done)
    for _ in range(2):
        peer.request()
    peer.sock.shutdown(socket.SHUT_RDWR)
    for _ in range(2):
        assert both.acquire(timeout=10)
    for task in ended:
        with pytest.raises(ConnectionLost, match=r"^hub: .*run it again"):
            _ = task.result
    with pytest.raises(ConnectionLost):
        line.run(look(line))


def test_silent_server() -> None:
    """A server that owes a reply for too long is given up."""
    near, far = socket.socketpair()
    with near, far:
        line = Line(Channel(near), "hub", timeout=0.1)
        with pytest.raises(ConnectionLost, match=r"no answer for 0\.1 s"):
            line.run(look(line))
        line.close()


def test_conversation() -> None:
    """Each request and each reply is one line, and no name can break it."""
    near, far = socket.socketpair()
    said: list[str] = []
    with near, far:
        line = Line(Channel(near), "hub", timeout=5.0, conversation=said.append)
        peer = Peer(far, near)
        answering = threading.Thread(target=lambda: peer.reply(peer.request()[1], 2))
        answering.start()
        line.run(look(line, "new\nline"))
        answering.join()
        line.close()
    assert ["> 1 LSTAT new\\nline", "< 1 2"] == said


def test_closing_ends_all(ends: tuple[Line, Peer]) -> None:
    """Closing twice does nothing more, and nothing begins any more."""
    line, _peer = ends
    ended: list[Task[int]] = []
    task = line.start(look(line), ended.append)
    line.close()
    line.close()
    assert [task] == ended
    with pytest.raises(ConnectionLost):
        line.run(look(line))
