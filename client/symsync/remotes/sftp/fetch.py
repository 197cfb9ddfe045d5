"""Bringing files: two round trips each, many under way at once, size and time verified at the end."""

import hashlib
from collections import deque
from collections.abc import AsyncIterator

from symsync.core.values import Found, Problem, Reason
from symsync.local_files import open_target, problem_of_transfer
from symsync.remotes.base import Fetch, Fetched, Progress
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import RefusedError
from symsync.remotes.sftp.line import CONTENT_WINDOW, Pending
from symsync.remotes.sftp.session import Session, found, handle, lost, refused
from symsync.remotes.sftp.wire import Code, Op, Open, Reply
from symsync_protocol.stamps import Kind

Outcome = Fetched | tuple[Fetch, Problem]


def lost_fetch(job: Fetch) -> Outcome:
    """The outcome of a job over which the connection broke twice."""
    return job, lost(job.path)


async def fetch(session: Session, job: Fetch, arrived: dict[Fetch, int], progress: Progress) -> Outcome:
    """Bring one file, from where an earlier attempt came to, by `arrived`, which is told how far this one comes."""
    looking = await session.line.post(session.looking(job.path))
    opening = await session.line.post(wire.open_file(session.place(job.path), Open.READ))
    there = session.seen(job.path, await looking)
    try:
        opened = handle(await opening)
    except RefusedError as refusal:
        return job, session.problem(job.path, refusal.status)
    try:
        if not isinstance(there, Found) or there.kind is not Kind.FILE:
            return job, Problem(job.path, Reason.KIND, "it is not a regular file")
        if there.stamp.size < arrived.get(job, job.offset):
            return job, Problem(job.path, Reason.CHANGED, f"it is shorter than before: {there.stamp.size} bytes")
        return await _receive(session, job, opened, there, arrived, progress)
    except RefusedError as refusal:
        return job, session.problem(job.path, refusal.status)
    except OSError as error:
        return job, problem_of_transfer(job.path, job.target, error)
    finally:
        session.line.tell(wire.close(opened))


async def _receive(
    session: Session, job: Fetch, opened: bytes, there: Found, arrived: dict[Fetch, int], progress: Progress
) -> Outcome:
    digest = hashlib.sha256()
    count = arrived.get(job, job.offset)
    reading = Reading(session, opened, count, there.stamp.size)
    with open_target(job.target, count, digest) as target:
        async for block in reading.blocks():
            target.write(block)
            digest.update(block)
            count += len(block)
            arrived[job] = count
            progress(len(block))
    after = await reading.after()
    if found(job.path, after).stamp != there.stamp:
        return job, Problem(job.path, Reason.CHANGED, "it changed while it was fetched")
    if count != there.stamp.size:
        return job, Problem(job.path, Reason.CUT, f"{count} of {there.stamp.size} bytes arrived")
    return Fetched(job, count, digest.digest())


class Reading:
    """An open file that is read from `start` to `end`, or to where it ends before. Everything raises RefusedError."""

    def __init__(self, session: Session, opened: bytes, start: int, end: int) -> None:
        self._session = session
        self._opened = opened
        self._asked = start
        self._end = end
        self._after: Pending | None = None

    async def blocks(self) -> AsyncIterator[memoryview]:
        """The bytes, block by block."""
        under_way: deque[tuple[range, Pending]] = deque()
        while under_way or self._asked < self._end:
            # What has arrived is used before more is asked for, or a large file would gather in memory.
            while self._wants_more(len(under_way)) and not (under_way and under_way[0][1].reply):
                wanted = range(self._asked, min(self._asked + self._session.limits.block, self._end))
                under_way.append((wanted, await self._ask(wanted)))
                self._asked = wanted.stop
            if self._asked == self._end and self._after is None:
                # Right behind the last block: to wait for that first would be one round trip more.
                self._after = await self._session.line.post(wire.fstat(self._opened))
            wanted, pending = under_way.popleft()
            while wanted:
                data = _data(await pending)
                if not data:
                    return
                if len(data) > len(wanted):
                    raise wire.MalformedError(f"{len(data)} bytes of a file where {len(wanted)} were asked for")
                yield data
                wanted = wanted[len(data) :]
                if wanted:  # a server may give less than it was asked for (section 6.4)
                    pending = await self._ask(wanted)

    async def after(self) -> wire.Attributes:
        """The file's attributes once everything has been asked for."""
        pending = self._after or await self._session.line.post(wire.fstat(self._opened))
        reply = await pending
        if reply.op != Op.ATTRS:
            raise refused(reply)
        return reply.attributes()

    def _wants_more(self, under_way: int) -> bool:
        return self._asked < self._end and under_way * self._session.limits.block < CONTENT_WINDOW

    async def _ask(self, wanted: range) -> Pending:
        return await self._session.line.post(wire.read(self._opened, wanted.start, len(wanted)))


def _data(reply: Reply) -> memoryview:
    """A piece of a file, empty at its end."""
    if reply.op != Op.STATUS:
        return reply.data()
    if reply.status().code == Code.EOF:
        return memoryview(b"")
    raise refused(reply)
