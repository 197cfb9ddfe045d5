"""Small files whole, as the states are: read, written anew, appended to."""

from dataclasses import dataclass

from symsync.core.values import Found, Reason
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import RefusedError
from symsync.remotes.sftp.fetch import Reading
from symsync.remotes.sftp.session import Session, done, found, handle, reason_of, refused
from symsync.remotes.sftp.wire import Code, Op, Open, Status
from symsync_protocol.stamps import Kind


async def read(session: Session, path: str, offset: int, limit: int | None) -> bytes | None:
    """At most `limit` bytes of a file from `offset`, None where there is none. Raises RefusedError, ConnectionLost."""
    looking = await session.line.post(session.looking(path))
    opening = await session.line.post(wire.open_file(session.place(path), Open.READ))
    there = session.seen(path, await looking)
    try:
        opened = handle(await opening)
    except RefusedError as refusal:
        if reason_of(refusal.status) is Reason.ABSENT:
            return None
        raise
    try:
        if not isinstance(there, Found) or there.kind is not Kind.FILE:
            raise RefusedError(Status(Code.FAILURE, "it is not a regular file"))
        end = there.stamp.size if limit is None else min(there.stamp.size, offset + limit)
        return b"".join([block async for block in Reading(session, opened, offset, end).blocks()])
    finally:
        session.line.tell(wire.close(opened))


async def write(session: Session, path: str, data: bytes) -> int:
    """Make or overwrite a file; its size then. Raises RefusedError, ConnectionLost."""
    opening = wire.open_file(session.place(path), Open.WRITE | Open.CREATE | Open.TRUNCATE)
    return await _put(session, path, handle(await session.line.ask(opening)), 0, data)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is open for appending."""

    handle: bytes
    size: int
    """What it had then; where a server knows no APPEND, that is where the appended goes."""


async def open_to_append(session: Session, path: str, *, make: bool = True) -> Opened:
    """Open a file for `append`; with `make` one that is missing is made. Raises RefusedError, ConnectionLost."""
    looking = await session.line.post(session.looking(path))
    flags = Open.WRITE | Open.APPEND | (Open.CREATE if make else Open(0))
    opening = await session.line.post(wire.open_file(session.place(path), flags))
    there = session.seen(path, await looking)
    return Opened(handle(await opening), there.stamp.size if isinstance(there, Found) else 0)


async def append(session: Session, path: str, data: bytes, opened: Opened | None = None) -> tuple[int, int]:
    """Append to a file, made where missing, or `opened` for it before; its sizes before and after. Raises RefusedError,
    ConnectionLost."""
    opened = opened or await open_to_append(session, path)
    return opened.size, await _put(session, path, opened.handle, opened.size, data)


async def close(session: Session, opened: Opened) -> None:
    """Close a file to which nothing is appended after all."""
    session.line.tell(wire.close(opened.handle))


async def _put(session: Session, path: str, opened: bytes, start: int, data: bytes) -> int:
    """Write at `start` and close; the size then."""
    line, block = session.line, session.limits.block
    writes = [
        await line.post(wire.write(opened, start + at, data[at : at + block])) for at in range(0, len(data), block)
    ]
    looking = await line.post(wire.fstat(opened))
    closing = await line.post(wire.close(opened))
    for one in writes:
        done(await one)
    there = await looking
    if there.op != Op.ATTRS:
        raise refused(there)
    done(await closing)
    return found(path, there.attributes()).stamp.size
