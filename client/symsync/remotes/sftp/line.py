"""One SFTP conversation: many tasks, many requests on their way at once, and one thread that owns it all.

A *task* is a coroutine that knows nothing of the others: it posts requests and awaits replies,

    handle = (await line.ask(wire.opendir(place))).handle()

and while it waits the owner goes on with other tasks. Requests leave in the order in which they are posted.
"""

import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import ConnectionLost
from symsync.remotes.throttle import Throttle
from symsync_protocol.names import shown

R = TypeVar("R")

WINDOW = 1024
"""Requests on their way at once: 2,000 renames take two round trips, and a few hundred KiB."""

CONTENT_WINDOW = 8 << 20
"""Bytes of content and names on their way at once, in both directions together. Well below the SSH channel's own
window, so that the server can always send, hence always read, and writing to it can't block for ever."""

_BATCH = 64 << 10
"""Bytes of requests that are gathered before they go out together."""
_LINGER_SECONDS = 0.002
"""How long they are gathered while there are replies to go on with: those may mean work, such as a file to be made,
and the server shall have something to do meanwhile."""
_PIECE = 64 << 10
"""Bytes given to the channel at once; it takes 32 KiB of them, or what else the server allows."""
_RECEIVE = 1 << 20


class Channel(Protocol):
    """What of paramiko's `Channel` is needed here."""

    def send(self, data: bytes, /) -> int: ...
    def recv(self, count: int, /) -> bytes: ...
    def recv_ready(self) -> bool: ...
    def recv_stderr(self, count: int, /) -> bytes: ...
    def recv_stderr_ready(self) -> bool: ...
    def fileno(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    @property
    def eof_received(self) -> bool: ...


class Pending:
    """A request on its way. Awaiting it gives the reply, or raises ConnectionLost."""

    __slots__ = ("by", "cost", "reply", "waiting")

    def __init__(self, by: "Task[Any] | None", cost: int) -> None:
        self.by = by
        self.cost = cost
        self.reply: wire.Reply | None = None
        self.waiting: Task[Any] | None = None

    def __await__(self) -> Generator["Pending", None, wire.Reply]:
        while self.reply is None:
            yield self
        return self.reply


class _Room:
    """A wish for room in the window. Awaiting it gives the room, to be used at once."""

    __slots__ = ("cost",)

    def __init__(self, cost: int) -> None:
        self.cost = cost

    def __await__(self) -> Generator["_Room", None, None]:
        yield self


class _Turn:
    """Awaited where the limit on bytes per second lets nothing go yet, until it does."""

    __slots__ = ()

    def __await__(self) -> Generator["_Turn", None, None]:
        yield self


Work = Coroutine[Any, None, R]
"""What a task does."""


class Task(Generic[R]):
    """Work that was given to a line. When `done` is called with it, its `result` can be had."""

    def __init__(self, work: Work[R], done: "Callable[[Task[R]], None]") -> None:
        self.work = work
        self.ended = False
        self._done = done
        self._results: list[R] = []
        self._error: BaseException | None = None

    @property
    def result(self) -> R:
        """What the work returned. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    def succeed(self, result: R) -> None:
        self.ended = True
        self._results.append(result)
        self._done(self)

    def fail(self, error: BaseException) -> None:
        self.ended = True
        self._error = error
        self._done(self)


class Line:
    """One connection's conversation, after the greeting. Tasks are given to it by any thread and run in its own.

    `host` is for messages. `timeout`: seconds that the server may be silent while it owes a reply. `throttle`: None
    without a limit.
    """

    def __init__(
        self,
        channel: Channel,
        host: str,
        timeout: float,
        throttle: Throttle | None = None,
        conversation: Callable[[str], None] | None = None,
    ) -> None:
        self._channel = channel
        self._host = host
        self._timeout = timeout
        self._throttle = throttle
        self._say = conversation
        self._tasks: set[Task[Any]] = set()
        self._running: Task[Any] | None = None
        self._under_way: dict[int, Pending] = {}
        self._content_under_way = 0
        self._wishes: deque[tuple[_Room, Task[Any]]] = deque()
        self._slowed: deque[Task[Any]] = deque()
        self._number = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._in = bytearray()
        self._heard = self._flushed = time.monotonic()
        self._lost: ConnectionLost | None = None
        self._door = threading.Lock()
        self._orders: list[Callable[[], object]] = []
        self._over = False
        self._bell, self._button = socket.socketpair()
        self._rung = False
        self._thread = threading.Thread(target=self._own, name="sftp", daemon=True)
        self._thread.start()

    # For any thread.

    @property
    def alive(self) -> bool:
        return self._lost is None

    def start(self, work: Work[R], done: Callable[[Task[R]], None]) -> Task[R]:
        """Begin some work; `done` is called when it has ended, with an error of ConnectionLost if the line broke."""
        task = Task(work, done)
        if not self._order(lambda: self._step(task)):
            work.close()
            task.fail(self._break("it was closed"))
        return task

    def run(self, work: Work[R]) -> R:
        """Do some work and wait for its end. Raises what it raises, and ConnectionLost."""
        ended: queue.SimpleQueue[Task[R]] = queue.SimpleQueue()
        self.start(work, ended.put)
        return ended.get().result

    def cancel(self, task: Task[Any]) -> None:
        """End a task in the middle of what it does, without a word; nothing happens if it has ended."""
        self._order(lambda: self._drop(task))

    def close(self) -> None:
        """End all tasks and the thread; safe to call twice. The channel itself is left alone."""
        self._order(lambda: self._break("it was closed"))
        self._thread.join()

    def _order(self, act: Callable[[], object]) -> bool:
        """Have the owner do something. False where there is none any more, and so nothing that could be done."""
        with self._door:
            if self._over:
                return False
            self._orders.append(act)
            # Not once more before it was heard: the owner also takes orders without listening to it, and where none can
            # be rung any more whoever tries would keep the door shut for ever. Rung first, for Ctrl-C may come between.
            if not self._rung:
                self._button.send(b"!")
                self._rung = True
            return True

    # For tasks.

    async def post(self, request: wire.Request) -> Pending:
        """Send a request as soon as there is room for it; its reply is to be awaited, or left to itself."""
        if self._throttle is not None and request.op in (wire.Op.READ, wire.Op.WRITE):
            # Not by sleeping: this thread has others to see to, Ctrl-C above all.
            if self._lost is None and (self._slowed or self._throttle.due() > 0):
                await _Turn()
            self._throttle.book(request.cost)
        if self._lost is None and (self._wishes or not self._has_room(request.cost)):
            await _Room(request.cost)
        return self._send(request)

    async def ask(self, request: wire.Request) -> wire.Reply:
        """Send a request and wait for its reply."""
        return await (await self.post(request))

    def tell(self, request: wire.Request) -> None:
        """Send a request at once whose reply nobody waits for: also from a task that is being ended."""
        if self._lost is None:
            self._send(request)

    def _has_room(self, cost: int) -> bool:
        if len(self._under_way) >= WINDOW:
            return False
        return not cost or not self._content_under_way or self._content_under_way + cost <= CONTENT_WINDOW

    def _send(self, request: wire.Request) -> Pending:
        if self._lost is not None:
            raise self._lost
        if not self._under_way:
            self._heard = time.monotonic()
        self._number = (self._number + 1) & 0xFFFFFFFF
        if self._say is not None:
            self._say(f"> {self._number} {request.op.name} {shown(request.about)}")
        pending = self._under_way[self._number] = Pending(self._running, request.cost)
        self._content_under_way += request.cost
        self._out.append(request.packet(self._number))
        self._out_bytes += len(self._out[-1])
        if self._out_bytes >= _BATCH:
            self._flush()
        return pending

    # The owner.

    def _own(self) -> None:
        """The thread's whole life."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._channel, selectors.EVENT_READ)
                selector.register(self._bell, selectors.EVENT_READ)
                while self._lost is None:
                    self._turn(selector)
        finally:
            lost = self._break("an error of our own")  # unless it was lost before, as it should be
            with self._door:
                self._over = True
            self._bell.close()
            self._button.close()
            self._take_orders()
            while self._tasks:
                self._step(next(iter(self._tasks)), lost)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Wait until something comes in, and go on with whoever waited for it."""
        waits = []
        if self._under_way:
            waits.append(max(0.0, self._heard + self._timeout - time.monotonic()))
        if self._slowed and self._throttle is not None:
            waits.append(self._throttle.due())
        ready = {key.fileobj for key, _events in selector.select(min(waits, default=None))}
        if self._channel in ready:
            self._heard = time.monotonic()
            self._receive()
        elif self._under_way and time.monotonic() >= self._heard + self._timeout:
            self._break(f"no answer for {self._timeout:g} s")
        if self._bell in ready:
            with self._door:
                self._bell.recv(_RECEIVE)
                self._rung = False
            self._take_orders()
        while self._slowed and self._throttle is not None and self._throttle.due() <= 0:
            self._step(self._slowed.popleft())
        self._flush()

    def _take_orders(self) -> None:
        with self._door:
            orders, self._orders = self._orders, []
        for order in orders:
            order()

    def _break(self, why: object) -> ConnectionLost:
        """From here on nothing can be asked; who waits is told at the end of the owner's turn."""
        if self._lost is None:
            self._lost = ConnectionLost(f"{self._host}: the connection was lost ({why}); run it again")
        return self._lost

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if not self._out or self._lost is not None:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        at = 0
        try:
            while at < len(data):
                # Not all at once: paramiko takes a little, and to cut off the rest again and again would be copying.
                sent = self._channel.send(data[at : at + _PIECE])
                if not sent:
                    raise OSError("closed by the server")
                at += sent
        except OSError as error:  # a timeout is one, too, and has no words
            self._break(error if str(error) else f"it took nothing for {self._timeout:g} s")

    def _receive(self) -> None:
        # Asked before reading: what came before the end is still read.
        ended = self._channel.closed or self._channel.eof_received
        try:
            if self._channel.recv_stderr_ready():
                self._channel.recv_stderr(_RECEIVE)
            while self._lost is None and self._channel.recv_ready():
                self._in += self._channel.recv(_RECEIVE)
                for op, body in wire.packets(self._in):
                    self._take_reply(op, body)
                    if time.monotonic() > self._flushed + _LINGER_SECONDS:
                        self._take_orders()
                        self._flush()
        except wire.MalformedError as error:
            self._break(f"it answered out of step: {error}")
        except OSError as error:
            self._break(error)
        if ended:
            self._break("closed by the server")

    def _take_reply(self, op: int, body: bytes) -> None:
        reply = wire.Reply(op, body)
        pending = self._under_way.pop(reply.number, None)
        if pending is None:
            raise wire.MalformedError(f"a reply to {reply.number}, which was not asked")
        if self._say is not None:
            self._say(f"< {reply.number} {reply}")
        self._content_under_way -= pending.cost
        pending.reply = reply
        if reply.op == wire.Op.HANDLE and pending.by is not None and pending.by.ended:
            self.tell(wire.close(reply.handle()))  # opened for a task that was cancelled meanwhile
        elif pending.waiting is not None:
            self._step(pending.waiting)
        while self._wishes and self._has_room(self._wishes[0][0].cost):
            self._step(self._wishes.popleft()[1])

    def _step(self, task: Task[Any], error: ConnectionLost | None = None) -> None:
        """Let a task go on until it has to wait again."""
        if task.ended:
            return
        self._tasks.add(task)
        self._running = task
        try:
            wish = task.work.throw(error) if error is not None else task.work.send(None)
        except StopIteration as end:
            self._tasks.discard(task)
            task.succeed(end.value)
        # Whatever it is, it is raised again where the result is read: this thread has nobody to raise it to.
        except BaseException as failure:
            self._tasks.discard(task)
            if isinstance(failure, wire.MalformedError):
                failure = self._break(f"it answered out of step: {failure}")
            task.fail(failure)
        else:
            if isinstance(wish, Pending):
                wish.waiting = task
            elif isinstance(wish, _Turn):
                self._slowed.append(task)
            else:
                self._wishes.append((wish, task))

    def _drop(self, task: Task[Any]) -> None:
        if not task.ended:
            task.ended = True
            self._tasks.discard(task)
            task.work.close()
