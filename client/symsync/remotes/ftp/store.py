"""Putting files: three round trips each, whatever is to be verified and set.

What was cut off goes on by REST and STOR, which say where each byte belongs, and not by APPE, which puts it wherever
the file ends by then. The server may still be writing what the broken connection delivered: the same bytes at the same
places. That does no harm to the one, but would shift all that the other appends; and were that cut off, too, the size
would tell no more.
"""

import hashlib
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from symsync.core.values import Found, Problem, Reason
from symsync.local_files import blocks, open_unchanged, problem_of_transfer
from symsync.remotes.base import Progress, Store, Stored
from symsync.remotes.ftp.attributes import mode_line, settle_time, time_line
from symsync.remotes.ftp.crew import Desk
from symsync.remotes.ftp.data import FITS_BUFFERS, Transfer
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync.remotes.ftp.look import is_absent, look_commands, seen, stat
from symsync.remotes.ftp.names import Names, unsendable
from symsync.remotes.ftp.replies import Reply, reason_of, size
from symsync.remotes.ftp.session import Session
from symsync_protocol.names import parent
from symsync_protocol.stamps import Kind

Outcome = Stored | tuple[Store, Problem]

STEP_BACK = 1 << 20
"""Bytes at the end of a part that are sent again: a server that fell, too, may have lost what it had just written."""

QUIET_SECONDS = 1.0
"""How long a part must not grow before it counts as left alone."""

_LOOKS = 30
"""How often that is looked at before the part is given up."""


@dataclass(frozen=True, slots=True)
class _Sent:
    size: int
    digest: bytes


def lost_store(job: Store, error: ConnectionLost) -> Outcome:
    """The outcome of a job over which the connection broke twice."""
    return job, Problem(job.path, Reason.LOST, str(error))


def once_more(job: Store) -> Store:
    """A job over which the connection broke. STOR empties a file as soon as the server comes to it, and that may be
    when the next one has long been done: a proxy, or a kernel that still sends, has kept it."""
    return replace(job, again=True)


def storer(names: Names, progress: Progress) -> Callable[[Session, Desk[Store, Outcome]], None]:
    """A worker that stores files (see `crew.work_off`)."""

    stuck: set[str] = set()

    def work(session: Session, desk: Desk[Store, Outcome]) -> None:
        job = desk.take()
        while job is not None:
            outcome = _send(session, names, job, stuck, progress)
            following: Store | None
            if isinstance(outcome, _Sent):
                following, finished = _verify(session, job, outcome, desk)
            else:
                following, finished = desk.take(), (job, names.told(job.path, outcome))
            desk.done(finished)
            job = following

    return work


def _send(session: Session, names: Names, job: Store, stuck: set[str], progress: Progress) -> _Sent | Problem:
    """The bytes, until the server has acknowledged all. `stuck` are files in which the server did not let us go on."""
    if problem := names.check(session, [job.path]).get(job.path):
        return problem
    try:
        with open_unchanged(job.source) as source:
            sent = _send_rest(session, job, source, stuck, progress) if job.resume else None
            if sent is None:
                sent = _send_from(session, job, source, 0, progress)
    except RefusedError as refusal:
        return refused_store(session, job.path, refusal.reply)
    except OSError as error:
        return problem_of_transfer(job.path, job.source, error)
    return refused_store(session, job.path, sent) if isinstance(sent, Reply) else sent


def _send_rest(
    session: Session, job: Store, source: io.FileIO, stuck: set[str], progress: Progress
) -> _Sent | Reply | None:
    """Go on with what a cut-off store has left; None where that can't be, and nothing lies there any more."""

    def went(count: int) -> None:
        stuck.discard(job.path)
        progress(count)

    offset = _left(session, job.path, os.fstat(source.fileno()).st_size, use=job.path not in stuck)
    if not offset:
        return None
    # vsftpd keeps the file locked, and us waiting, until it gives up the broken connection: five minutes, usually.
    stuck.add(job.path)
    try:
        return _send_from(session, job, source, offset, went)
    except RefusedError as refusal:
        if refusal.reply.unknown_command or refusal.reply.code == 451:  # the latter: ProFTPD without AllowStoreRestart
            session.manners.resumes = False
    session.control.ask("REST 0")
    _remove(session, job.path)
    return None


def _left(session: Session, path: str, whole: int, *, use: bool) -> int:
    """From where to go on with what a cut-off store may have left at `path`; 0 where nothing is left that is of use,
    or shall be, and nothing lies there any more."""
    told = size(session.control.ask(f"SIZE {session.place(path)}"))
    if told is None:
        return 0
    if use and session.manners.resumes and STEP_BACK < told <= whole and _is_quiet(session, path, told):
        return told - STEP_BACK
    _remove(session, path)
    return 0


def _is_quiet(session: Session, path: str, told: int) -> bool:
    """Whether the broken connection's bytes have all arrived: the file has stopped growing. Else a server that cuts it
    off where we begin (Pure-FTPd) might have a gap between our bytes and those, should we be cut off once more."""
    for _ in range(_LOOKS):
        time.sleep(QUIET_SECONDS)
        now = size(session.control.ask(f"SIZE {session.place(path)}"))
        if now == told:
            return True
        told = now or 0
    return False


def _remove(session: Session, path: str) -> None:
    """What the broken connection still delivers then ends in a file without a name."""
    session.control.ask(f"DELE {session.place(path)}")


def _send_from(session: Session, job: Store, source: io.FileIO, offset: int, progress: Progress) -> _Sent | Reply:
    """The bytes from `offset` on, and the digest of all; the closing reply where the server did not take them.

    Raises RefusedError where it does not even begin.
    """
    expected = os.fstat(source.fileno()).st_size
    digest = hashlib.sha256()
    for block in blocks(source, 0, offset):
        digest.update(block)
    source.seek(offset)
    command = f"STOR {session.place(job.path)}"
    transfer = session.data.resume(command, offset) if offset else session.data.open(command)
    if expected > FITS_BUFFERS:
        transfer.start()
    try:
        count = _pour(source, expected - offset, transfer, session.throttle.block, digest.update, progress)
    finally:
        reply = transfer.finish()
    if reply.ok and offset + count < expected:
        return Reply(426, (f"the server took only {offset + count} of {expected} bytes",))
    return _Sent(expected, digest.digest()) if reply.ok else reply


def _pour(
    source: io.FileIO,
    size: int,
    transfer: Transfer,
    block_size: int,
    update: Callable[[bytes], None],
    progress: Progress,
) -> int:
    """Send a file's first `size` bytes, for one that grows all the time has no end; how many went out."""
    count = 0
    while block := source.read(min(block_size, size - count)):
        if not transfer.send(block):
            break
        update(block)
        progress(len(block))
        count += len(block)
    return count


def _verify(session: Session, job: Store, sent: _Sent, desk: Desk[Store, Outcome]) -> tuple[Store | None, Outcome]:
    """Set time and mode, read the stamp back, prepare the next transfer: all in one write. (next job, outcome)."""
    manners, control = session.manners, session.control
    following = desk.take()
    setting_time = _time_setting(session, job)
    setting_mode = [mode_line(session, job.path, job.mode)] if job.mode is not None and manners.sets_modes else []
    preparing = [session.data.command()] if following is not None else []
    looking = look_commands(session, job.path)
    replies = iter(control.batch(*setting_time, *setting_mode, *looking, *preparing))
    time_replies = [next(replies) for _line in setting_time]
    mode_replies = [next(replies) for _line in setting_mode]
    if any(reply.refused for reply in mode_replies):
        manners.sets_modes = False
    looked = [next(replies) for _line in looking]
    for reply in replies:
        _prepare(session, reply)
    found = seen(job.path, looked)
    if job.mtime_ns is not None and time_replies and not manners.time_proven:
        found = settle_time(session, job.path, job.mtime_ns, found, time_replies[0])
    if found is not None and not manners.mdtm:
        there = stat(session, [job.path])[0]
        found = there if isinstance(there, Found) else None
    return following, _outcome(job, sent, found, looked[-1])


def _time_setting(session: Session, job: Store) -> list[str]:
    command = session.manners.time_command
    if job.mtime_ns is None or command is None:
        return []
    return [time_line(session, command, job.path, job.mtime_ns)]


def _prepare(session: Session, reply: Reply) -> None:
    try:
        session.data.prepared(reply)
    except RefusedError:
        session.data.close()  # the next transfer asks again, and reports what is wrong


def _outcome(job: Store, sent: _Sent, found: Found | None, last: Reply) -> Outcome:
    if found is None:
        return job, Problem(job.path, Reason.NAME, f"it was sent, but is not there under this name ({last.text})")
    if found.kind is not Kind.FILE or found.stamp.size != sent.size:
        return job, Problem(job.path, Reason.CUT, f"{sent.size} bytes were sent, {found.stamp.size} arrived")
    return Stored(job, found, sent.digest)


def refused_store(session: Session, path: str, reply: Reply) -> Problem:
    """Why a file could not be put: what the server says, or what looking shows where it says nothing of use."""
    reason = reason_of(reply)
    if reason is Reason.OTHER and reply.code in (550, 553):
        directory = parent(path)
        reason = Reason.ABSENT if directory and is_absent(session, directory) else Reason.DENIED
    elif reason is Reason.OTHER and reply.code in (425, 426, 451):
        reason = Reason.CUT
    return Problem(path, reason, reply.text)


def store_bytes(session: Session, command: str, path: str, data: bytes, before: Sequence[str] = ()) -> list[Reply]:
    """Send bytes by STOR or APPE; the replies to a few commands that go out `before` that, in the same write. Raises
    RefusedError, ConnectionLost."""
    if problem := unsendable(path):
        raise RefusedError(Reply(553, (problem.detail,)))
    transfer = session.data.open(f"{command} {session.place(path)}", before)
    if len(data) > FITS_BUFFERS:
        transfer.start()
    for start in range(0, len(data), session.throttle.block):
        if not transfer.send(data[start : start + session.throttle.block]):
            break
    reply = transfer.finish()
    if not reply.ok:
        raise RefusedError(reply)
    return transfer.before
