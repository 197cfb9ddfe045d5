"""Putting files: two round trips each, whatever is to be set and verified, and many under way at once."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from symsync.core.values import Found, Problem, Reason
from symsync.local_files import blocks, open_unchanged, problem_of_transfer
from symsync.remotes.base import Progress, Store, Stored
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.changes import why_not_made
from symsync.remotes.sftp.errors import RefusedError
from symsync.remotes.sftp.line import CONTENT_WINDOW, Pending
from symsync.remotes.sftp.look import Look
from symsync.remotes.sftp.session import Session, done, handle, lost
from symsync.remotes.sftp.wire import Code, Open
from symsync_protocol.stamps import SECOND, Kind

Outcome = Stored | tuple[Store, Problem]


def lost_store(job: Store) -> Outcome:
    """The outcome of a job over which the connection broke twice."""
    return job, lost(job.path)


async def store(session: Session, job: Store, progress: Progress, *, again: bool) -> Outcome:
    """Put one file. `again`: an earlier try was cut off, and what it left is in the way."""
    digest = hashlib.sha256()
    try:
        with open_unchanged(job.source) as source:
            offset = await _left(session, job, _size_of(job)) if job.resume else 0
            if again and not offset:
                # What the broken connection still delivers then ends in a file without a name.
                await session.line.ask(wire.remove(session.place(job.path)))
            try:
                opened = handle(await session.line.ask(_opening(session, job, offset)))
            except RefusedError as refusal:
                return job, await why_not_made(session, job.path, refusal.status)
            for block in blocks(source, 0, offset):
                digest.update(block)
            source.seek(offset)
            try:
                size, look = await _Upload(session, job, opened, progress).send(source, offset, digest.update)
            except RefusedError as refusal:
                return job, await _why_not_written(session, job, refusal)
    except OSError as error:
        return job, problem_of_transfer(job.path, job.source, error)
    look = await _settled(session, job, look)
    if isinstance(look, Problem):
        return job, look
    if look is None:
        return job, Problem(job.path, Reason.NAME, "it was sent, but is not there under this name")
    if look.kind is not Kind.FILE or look.stamp.size != size:
        return job, Problem(job.path, Reason.CUT, f"{size} bytes were sent, {look.stamp.size} arrived")
    return Stored(job, look, digest.digest())


async def _left(session: Session, job: Store, whole: int) -> int:
    """From where to go on with what a cut-off store may have left; 0 where that is of no use, and it is gone then.

    Some servers work on a handle's requests in another order, but at every time all but the last `CONTENT_WINDOW` bytes
    had been acknowledged. What the server may still be doing for the broken connection puts the same bytes into the
    same places.
    """
    there = await session.look(job.path)
    if not isinstance(there, Found) or there.kind is not Kind.FILE:
        return 0
    if CONTENT_WINDOW < there.stamp.size <= whole:
        return there.stamp.size - CONTENT_WINDOW
    await session.line.ask(wire.remove(session.place(job.path)))
    return 0


def _opening(session: Session, job: Store, offset: int) -> wire.Request:
    return wire.open_file(session.place(job.path), Open.WRITE if offset else Open.WRITE | Open.CREATE | Open.EXCLUSIVE)


@dataclass
class _Upload:
    """One file on its way, open on the server as `opened`."""

    session: Session
    job: Store
    opened: bytes
    progress: Progress

    async def send(self, source: io.FileIO, offset: int, update: Callable[[bytes], None]) -> tuple[int, Look]:
        """All of `source` from `offset` on, as it is now; how many bytes it has, and what lies there then.

        Raises RefusedError where any of it was refused, and what reading raises.
        """
        line = self.session.line
        under_way: deque[tuple[Pending, int]] = deque()
        try:
            size = await self._write(source, offset, update, under_way)
            setting = [await line.post(request) for request in self._settings()]
            closing = await line.post(wire.close(self.opened))
        except BaseException:  # also when the task is cancelled: the handle must not stay open
            line.tell(wire.close(self.opened))
            raise
        looking = await line.post(self.session.looking(self.job.path))
        while under_way:
            await self._acknowledged(under_way)
        for one in setting:
            if (await one).status().code == Code.OP_UNSUPPORTED:
                self.session.manners.sets_times = self.session.manners.sets_modes = False
        done(await closing)
        return size, self.session.seen(self.job.path, await looking)

    async def _write(
        self, source: io.FileIO, offset: int, update: Callable[[bytes], None], under_way: deque[tuple[Pending, int]]
    ) -> int:
        """Post the file's bytes up to its present size, for one that grows all the time has no end."""
        size = os.fstat(source.fileno()).st_size
        count = offset
        while block := source.read(min(self.session.limits.block, size - count)):
            update(block)
            under_way.append((await self.session.line.post(wire.write(self.opened, count, block)), len(block)))
            count += len(block)
            while under_way[0][0].reply is not None and len(under_way) > 1:
                await self._acknowledged(under_way)
        return count

    async def _acknowledged(self, under_way: deque[tuple[Pending, int]]) -> None:
        pending, count = under_way.popleft()
        done(await pending)
        self.progress(count)

    def _settings(self) -> list[wire.Request]:
        mtime, mode = _wishes(self.session, self.job)
        return [] if mtime is None and mode is None else [wire.fsetstat(self.opened, mode, mtime)]


def _wishes(session: Session, job: Store) -> tuple[int | None, int | None]:
    """The time, in seconds, and the permission bits that are to be set."""
    mtime = job.mtime_ns // SECOND if job.mtime_ns is not None and session.manners.sets_times else None
    return mtime, job.mode if session.manners.sets_modes else None


async def _settled(session: Session, job: Store, look: Look) -> Look:
    """Set once more, by name, what was not taken on: some servers work on a handle's requests in another order, others
    set nothing on handles. What then is still not as it should be they can't do."""
    if not isinstance(look, Found) or look.kind is not Kind.FILE or _as_wished(session, job, look) == (True, True):
        return look
    mtime, mode = _wishes(session, job)
    await session.line.ask(wire.setstat(session.place(job.path), mode, mtime))
    look = await session.look(job.path)
    if isinstance(look, Found):
        timed, permitted = _as_wished(session, job, look)
        session.manners.sets_times &= timed
        session.manners.sets_modes &= permitted
    return look


def _as_wished(session: Session, job: Store, look: Found) -> tuple[bool, bool]:
    """Whether time and permission bits are as they should be, as far as anything can be asked for."""
    mtime, mode = _wishes(session, job)
    timed = mtime is None or not wire.fits(mtime) or look.stamp.mtime_ns == mtime * SECOND
    return timed, mode is None or look.mode == mode


async def _why_not_written(session: Session, job: Store, refusal: RefusedError) -> Problem:
    problem = session.problem(job.path, refusal.status)
    if problem.reason is Reason.OTHER and await session.is_full(_size_of(job)):
        problem = Problem(job.path, Reason.FULL, f"no space left on the server ({problem.detail})")
    return problem


def _size_of(job: Store) -> int:
    try:
        return job.source.stat().st_size
    except OSError:
        return 0
