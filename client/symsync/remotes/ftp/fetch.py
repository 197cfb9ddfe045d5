"""Bringing files: three round trips each, with size and digest verified."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from symsync.core.values import Problem, Reason
from symsync.local_files import open_target, problem_of_transfer
from symsync.remotes.base import Fetch, Fetched, Progress
from symsync.remotes.ftp.crew import Desk
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync.remotes.ftp.look import explained, stat
from symsync.remotes.ftp.names import unsendable
from symsync.remotes.ftp.replies import size
from symsync.remotes.ftp.session import Session
from symsync_protocol.names import shown

Outcome = Fetched | tuple[Fetch, Problem]


def lost_fetch(job: Fetch, error: ConnectionLost) -> Outcome:
    """The outcome of a job over which the connection broke twice."""
    return job, Problem(job.path, Reason.LOST, str(error))


def fetcher(progress: Progress) -> Callable[[Session, Desk[Fetch, Outcome]], None]:
    """A worker that fetches files (see `crew.work_off`)."""

    arrived: dict[Fetch, int] = {}

    def work(session: Session, desk: Desk[Fetch, Outcome]) -> None:
        while session.control.alive and (job := desk.take()) is not None:
            # Where the connection broke in the middle of it, the next one goes on.
            desk.done(_fetch(session, job, arrived, progress))
            arrived.pop(job, None)

    return work


@dataclass(frozen=True, slots=True)
class _Start:
    """What the server says before a transfer: the file's size, None if it does not tell; where it will begin."""

    size: int | None
    offset: int


def _prepare(session: Session, path: str, offset: int) -> _Start:
    """Ask for the size, a data connection and the offset in one write. Raises RefusedError, ConnectionLost."""
    rest = [f"REST {offset}"] if offset else []
    told, prepared, *resumed = session.control.batch(f"SIZE {session.place(path)}", session.data.command(), *rest)
    session.data.prepared(prepared)
    if rest and not prepared.ok:
        resumed = session.control.batch(*rest)  # something came between REST and RETR, which some servers forget over
    start = _Start(size(told), offset if resumed and resumed[0].more else 0)
    if start.offset and start.size is not None and start.offset >= start.size:
        session.control.ask("REST 0")  # there will be no RETR, and a STOR must not begin there instead
    return start


def _fetch(session: Session, job: Fetch, arrived: dict[Fetch, int], progress: Progress) -> Outcome:
    """Bring a file, from where `arrived` says that an earlier attempt came to, and which is told how far this comes."""
    offset = arrived.get(job, job.offset)
    if problem := unsendable(job.path):
        return job, problem
    digest = hashlib.sha256()
    try:
        start = _prepare(session, job.path, offset)
        if start.size is not None and offset > start.size:
            return job, Problem(job.path, Reason.CHANGED, f"it is shorter than before: {start.size} bytes")
        # A server that can't begin in the middle sends all again.
        with open_target(job.target, start.offset, digest) as target:
            received = arrived[job] = start.offset
            if not start.offset or start.offset != start.size:
                transfer = session.data.open(f"RETR {session.place(job.path)}")
                for block in transfer.receive():
                    target.write(block)
                    digest.update(block)
                    received += len(block)
                    arrived[job] = received
                    progress(len(block))
                reply = transfer.finish()
                if not reply.ok:
                    return job, Problem(job.path, Reason.CUT, reply.text)
    except RefusedError as refusal:
        return job, explained(session, job.path, refusal.reply)
    except OSError as error:
        session.close()  # bytes may still be on their way; the next job gets a fresh connection
        return job, problem_of_transfer(job.path, job.target, error)
    if start.size is not None and received != start.size:
        reason = Reason.CUT if received < start.size else Reason.CHANGED
        return job, Problem(job.path, reason, f"{received} of {start.size} bytes arrived")
    return Fetched(job, received, digest.digest())


def read_bytes(session: Session, path: str, offset: int, limit: int | None) -> bytes | None:
    """At most `limit` bytes of a file from `offset`, None where there is none. Raises RefusedError, HubUnreachable."""
    if unsendable(path):
        return None
    start = _prepare(session, path, offset)
    if start.size is None:
        if start.offset:
            session.control.ask("REST 0")  # what comes next may be a STOR, and some servers forget it over the look
            start = _Start(None, 0)
        if stat(session, [path])[0] is None:
            return None
    if start.size is not None and offset >= start.size:
        return b""
    end = None if limit is None else offset - start.offset + limit
    transfer = session.data.open(f"RETR {session.place(path)}")
    data = bytearray()
    for block in transfer.receive():
        data += block
        if end is not None and len(data) >= end:
            transfer.abandon()
            break
    else:
        reply = transfer.finish()
        if not reply.ok or (start.size is not None and start.offset + len(data) < start.size):
            raise session.control.lost(f"{len(data)} bytes of {shown(path)} came, then {reply.text}")
    return bytes(data[offset - start.offset : end])
