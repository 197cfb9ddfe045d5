"""Looking: single paths and whole directories, many at once, links not followed."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import RefusedError
from symsync.remotes.sftp.line import Pending, Work
from symsync.remotes.sftp.session import Session, found, handle, lost, refused
from symsync.remotes.sftp.wire import Code, Op, Reply
from symsync_protocol.names import join
from symsync_protocol.stamps import Kind

R = TypeVar("R")

Look = Found | Problem | None
"""What `stat` gives for a path."""

_MOST_READDIRS = 16
"""Pieces of one listing on their way at once. OpenSSH puts 100 entries into each."""


async def stat(session: Session, paths: Sequence[str]) -> list[Look]:
    """Each path's entry, None where there is certainly nothing. Raises ConnectionLost."""
    return await _told(session, paths, [await session.line.post(session.looking(path)) for path in paths])


async def stat_before(session: Session, paths: Sequence[str], act: Callable[[], Work[R]]) -> tuple[list[Look], R]:
    """`stat`, and what is done after that: nobody waits for the one before he asks for the other. Raises what both
    raise."""
    pending = [await session.line.post(session.looking(path)) for path in paths]
    result = await act()
    return await _told(session, paths, pending), result


async def _told(session: Session, paths: Sequence[str], pending: Sequence[Pending]) -> list[Look]:
    looks = [session.seen(path, await one) for path, one in zip(paths, pending, strict=True)]
    links = [look for look in looks if isinstance(look, Found) and look.kind is Kind.LINK]
    targets = iter(await with_targets(session, links))
    return [next(targets) if isinstance(look, Found) and look.kind is Kind.LINK else look for look in looks]


async def with_targets(session: Session, links: Sequence[Found]) -> list[Look]:
    """Links with where they point; one that went meanwhile is None."""
    pending = [await session.line.post(wire.readlink(session.place(link.path))) for link in links]
    return [_with_target(session, link, await one) for link, one in zip(links, pending, strict=True)]


def _with_target(session: Session, link: Found, reply: Reply) -> Look:
    if reply.op == Op.STATUS:
        return session.seen(link.path, reply)
    names = reply.names()
    if len(names) != 1:
        raise wire.MalformedError(f"a link that points to {len(names)} places")
    return replace(link, target=names[0].name)


def lost_listing(directory: str) -> Listing:
    """The outcome for a directory over which the connection broke twice."""
    return Listing(directory, (), lost(directory))


async def listing(session: Session, directory: str) -> Listing:
    """One directory. What can't be read whole carries a problem."""
    looking = await session.line.post(session.looking(directory))
    opening = await session.line.post(wire.opendir(session.place(directory)))
    there = session.seen(directory, await looking)
    try:
        opened = handle(await opening)
    except RefusedError as refusal:
        return Listing(directory, (), session.problem(directory, refusal.status))
    try:
        if isinstance(there, Found) and there.kind is Kind.LINK:
            return Listing(directory, (), Problem(directory, Reason.KIND, "a symbolic link, which is not followed"))
        names = await _names(session, opened)
    except RefusedError as refusal:
        return Listing(directory, (), Problem(directory, Reason.CUT, f"its listing broke off ({refusal})"))
    finally:
        session.line.tell(wire.close(opened))
    return await _listing(session, directory, names)


async def _names(session: Session, opened: bytes) -> list[wire.Name]:
    """All pieces of a listing; twice as many are asked for at once with each that comes. Raises RefusedError."""
    names: list[wire.Name] = []
    under_way: deque[Pending] = deque()
    wanted = 2
    ended = False
    while under_way or not ended:
        while not ended and len(under_way) < wanted:
            under_way.append(await session.line.post(wire.readdir(opened)))
        reply = await under_way.popleft()
        if reply.op == Op.NAME:
            names += reply.names()
            wanted = min(wanted * 2, _MOST_READDIRS)
        elif reply.status().code == Code.EOF:
            ended = True
        else:
            raise refused(reply)
    return names


async def _listing(session: Session, directory: str, names: Sequence[wire.Name]) -> Listing:
    names = [name for name in names if name.name not in (".", "..")]
    entries = {name.name: found(join(directory, name.name), name.attributes) for name in names}
    bad = next((name for name in entries if not name or "/" in name or "\0" in name), None)
    if bad is not None or len(entries) != len(names):
        detail = "its listing names something twice" if bad is None else f"its listing has the name {bad!r}"
        return Listing(directory, (), Problem(directory, Reason.CUT, detail))
    links = [entry for entry in entries.values() if entry.kind is Kind.LINK]
    problem = None
    for link, look in zip(links, await with_targets(session, links), strict=True):
        name = link.path.rpartition("/")[2]
        if isinstance(look, Found):
            entries[name] = look
        else:
            del entries[name]
            problem = look or problem
    return Listing(directory, tuple(entries.values()), problem)
