"""Renaming, making and removing: many requests on their way, strictly in order, each outcome told as a Problem.

SSH_FX_FAILURE may mean anything, so what it was about is looked at.
"""

import itertools
from collections.abc import Sequence

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import (
    Attributes,
    MakeDirectories,
    Outcomes,
    RemoveDirectories,
    Rename,
    Request,
    Stat,
)
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import ConnectionLost
from symsync.remotes.sftp.look import Look, listing, with_targets
from symsync.remotes.sftp.session import Session, lost, reason_of
from symsync.remotes.sftp.wire import Code, Reply, Status
from symsync_protocol.names import is_reserved
from symsync_protocol.stamps import SECOND, Kind

Problems = list[Problem | None]


async def _look(session: Session, path: str) -> Look:
    """What lies there, or that nobody can look any more."""
    try:
        return await session.look(path)
    except ConnectionLost:
        return lost(path)


async def why_not_made(session: Session, path: str, status: Status) -> Problem:
    """Why nothing could be made at `path`: what the status says, or what looking shows. Raises ConnectionLost."""
    problem = session.problem(path, status)
    if problem.reason is not Reason.OTHER or status.code == Code.OP_UNSUPPORTED:
        return problem
    there = await session.look(path)
    if there is not None:
        return Problem(path, Reason.EXISTS, "something lies there already")
    if await session.is_full():
        return Problem(path, Reason.FULL, f"no space left on the server ({status.text})")
    return problem


async def together(session: Session, requests: Sequence[Request]) -> list[Outcomes]:
    """All of these, sent without waiting: the results are the same as if each had waited for the one before
    (draft-ietf-secsh-filexfer-02, 6.1)."""
    sent = [_wire_requests(session, request) for request in requests]
    replies = iter(await session.replies([one for group in sent for one in group]))
    return [
        await _outcomes(session, request, list(itertools.islice(replies, len(group))))
        for request, group in zip(requests, sent, strict=True)
    ]


def _wire_requests(session: Session, request: Request) -> list[wire.Request]:
    match request:
        case MakeDirectories():
            return _mkdirs(session, request.paths, request.mode)
        case RemoveDirectories():
            return [wire.rmdir(session.place(path)) for path in request.paths]
        case Rename():
            return [wire.rename(session.place(old), session.place(new)) for old, new in request.pairs]
        case Stat():
            return [session.looking(path) for path in request.paths]


async def _outcomes(session: Session, request: Request, replies: Sequence[Reply | None]) -> Outcomes:
    match request:
        case MakeDirectories():
            return [*await _made(session, request.paths, replies)]
        case RemoveDirectories():
            return [await _rmdir_outcome(session, p, reply) for p, reply in zip(request.paths, replies, strict=True)]
        case Rename():
            return [*await _renamed(session, request.pairs, replies)]
        case Stat():
            return [await _looked(session, p, reply) for p, reply in zip(request.paths, replies, strict=True)]


async def _looked(session: Session, path: str, reply: Reply | None) -> Look:
    if reply is None:
        return lost(path)
    seen = session.seen(path, reply)
    if not isinstance(seen, Found) or seen.kind is not Kind.LINK:
        return seen
    try:
        (link,) = await with_targets(session, [seen])
    except ConnectionLost:
        return lost(path)
    return link


async def rename(session: Session, pairs: Sequence[tuple[str, str]]) -> Problems:
    """SSH_FXP_RENAME for each pair, which refuses to replace anything."""
    return await _renamed(session, pairs, await session.replies(_wire_requests(session, Rename(pairs))))


async def _renamed(session: Session, pairs: Sequence[tuple[str, str]], replies: Sequence[Reply | None]) -> Problems:
    problems: Problems = []
    repeat = False
    for (old, new), reply in zip(pairs, replies, strict=True):
        if repeat and reply is not None and not reply.status().ok:
            # It was refused while something stood in its way that has now gone.
            (reply,) = await session.replies([wire.rename(session.place(old), session.place(new))])
        problem = await _rename_outcome(session, old, new, reply)
        if problem is not None and problem.reason is Reason.DENIED and await _moved(session, old, new):
            problem, repeat = None, True
        problems.append(problem)
    return problems


async def _rename_outcome(session: Session, old: str, new: str, reply: Reply | None) -> Problem | None:
    if reply is None:
        return lost(old)
    status = reply.status()
    if status.ok:
        return None
    reason = reason_of(status)
    if reason is Reason.ABSENT:
        return Problem(old, reason, f"{status.text}, or no directory for {new}")
    if reason is not Reason.OTHER:
        return Problem(old, reason, status.text)
    source, target = await _look(session, old), await _look(session, new)
    if source is None:
        return Problem(old, Reason.ABSENT, "nothing lies there")
    if isinstance(source, Problem):
        return source
    if target is not None:
        return Problem(new, Reason.EXISTS, "something lies there already")
    return session.problem(new, status)


async def _moved(session: Session, old: str, new: str) -> bool:
    """Rename in the way of rename(2) what OpenSSH would not link under its new name.

    It renames files by link(2), which Linux denies for files of others (fs.protected_hardlinks), such as those that a
    web server wrote, even where the directory is ours.
    """
    if wire.POSIX_RENAME not in session.extensions or await _look(session, new) is not None:
        return False
    (reply,) = await session.replies([wire.posix_rename(session.place(old), session.place(new))])
    return reply is not None and reply.status().ok


async def make_directories(session: Session, paths: Sequence[str], mode: int | None) -> Problems:
    """SSH_FXP_MKDIR for each path, which succeeds for exactly one of those who try at once (measured)."""
    problems = await _made(session, paths, await session.replies(_mkdirs(session, paths, mode)))
    if mode is not None and session.manners.sets_modes:
        # The server's umask may have taken bits away; from our own folders it takes none that they need.
        made = [p for p, problem in zip(paths, problems, strict=True) if problem is None and not is_reserved(p)]
        await session.replies([wire.setstat(session.place(path), mode) for path in made])
    return problems


def _mkdirs(session: Session, paths: Sequence[str], mode: int | None) -> list[wire.Request]:
    return [wire.mkdir(session.place(path), mode) for path in paths]


async def _made(session: Session, paths: Sequence[str], replies: Sequence[Reply | None]) -> Problems:
    return [await _mkdir_outcome(session, path, reply) for path, reply in zip(paths, replies, strict=True)]


async def _mkdir_outcome(session: Session, path: str, reply: Reply | None) -> Problem | None:
    problem = await _make_outcome(session, path, reply)
    if reply is None or problem is None or problem.reason is not Reason.OTHER or reply.status().code != Code.FAILURE:
        return problem
    # Nothing else is left: it lay there, and went before we could look. Locks come and go like that.
    return Problem(path, Reason.EXISTS, "something lay there already")


async def _make_outcome(session: Session, path: str, reply: Reply | None) -> Problem | None:
    if reply is None:
        return lost(path)
    status = reply.status()
    if status.ok:
        return None
    try:
        return await why_not_made(session, path, status)
    except ConnectionLost:
        return lost(path)


async def make_links(session: Session, links: Sequence[tuple[str, str]]) -> Problems:
    """SSH_FXP_SYMLINK for each (path, target)."""
    replies = await session.replies([wire.symlink(target, session.place(path)) for path, target in links])
    problems: Problems = []
    for (path, _target), reply in zip(links, replies, strict=True):
        problem = await _make_outcome(session, path, reply)
        if reply is not None and reply.status().code == Code.OP_UNSUPPORTED:
            session.manners.links = False
            problem = Problem(path, Reason.KIND, "the server makes no symbolic links")
        problems.append(problem)
    return problems


async def remove_files(session: Session, paths: Sequence[str]) -> Problems:
    """SSH_FXP_REMOVE for each path."""
    replies = await session.replies([wire.remove(session.place(path)) for path in paths])
    return [await _removal_outcome(session, path, reply) for path, reply in zip(paths, replies, strict=True)]


async def _removal_outcome(session: Session, path: str, reply: Reply | None) -> Problem | None:
    if reply is None:
        return lost(path)
    status = reply.status()
    if status.ok:
        return None
    problem = session.problem(path, status)
    if problem.reason is Reason.OTHER:
        there = await _look(session, path)
        if there is None:
            return Problem(path, Reason.ABSENT, "nothing lies there")
        if isinstance(there, Found) and there.kind is Kind.DIRECTORY:
            return Problem(path, Reason.KIND, "it is a directory")
    return problem


async def remove_directories(session: Session, paths: Sequence[str]) -> Problems:
    """SSH_FXP_RMDIR for each path."""
    replies = await session.replies(_wire_requests(session, RemoveDirectories(paths)))
    return [await _rmdir_outcome(session, path, reply) for path, reply in zip(paths, replies, strict=True)]


async def _rmdir_outcome(session: Session, path: str, reply: Reply | None) -> Problem | None:
    if reply is None:
        return lost(path)
    status = reply.status()
    if status.ok:
        return None
    problem = session.problem(path, status)
    if problem.reason not in (Reason.OTHER, Reason.ABSENT):
        return problem
    there = await _look(session, path)
    if there is None:
        return Problem(path, Reason.ABSENT, "nothing lies there")
    if isinstance(there, Problem):
        return there
    if there.kind is not Kind.DIRECTORY:
        return Problem(path, Reason.KIND, "it is no directory")
    try:
        content = await listing(session, path)
    except ConnectionLost:
        return problem
    if content.entries:
        return Problem(path, Reason.NOT_EMPTY, "it is not empty")
    return problem


async def set_attributes(session: Session, jobs: Sequence[Attributes]) -> Problems:
    """Times and permission bits, never of what a link points to. Raises ConnectionLost."""
    pending = [
        None if _wishes(session, job) == (None, None) else await session.line.post(_setting(session, job))
        for job in jobs
    ]
    return [
        None if one is None else await _set_outcome(session, job, (await one).status())
        for job, one in zip(jobs, pending, strict=True)
    ]


def _wishes(session: Session, job: Attributes) -> tuple[int | None, int | None]:
    mode = job.mode if session.manners.sets_modes else None
    return mode, job.mtime_ns // SECOND if job.mtime_ns is not None and session.manners.sets_times else None


def _setting(session: Session, job: Attributes) -> wire.Request:
    mode, mtime = _wishes(session, job)
    make = wire.lsetstat if wire.LSETSTAT in session.extensions else wire.setstat
    return make(session.place(job.path), mode, mtime)


async def _set_outcome(session: Session, job: Attributes, status: Status) -> Problem | None:
    if status.ok:
        return None
    if status.code == Code.OP_UNSUPPORTED and wire.LSETSTAT not in session.extensions:
        session.manners.sets_times = session.manners.sets_modes = False
        return None
    there = await session.look(job.path)
    if isinstance(there, Found) and there.kind is not Kind.LINK and wire.LSETSTAT in session.extensions:
        # OpenSSH in a chroot without /proc can't set the bits of what it was told not to follow.
        mode, mtime = _wishes(session, job)
        status = (await session.line.ask(wire.setstat(session.place(job.path), mode, mtime))).status()
    return None if status.ok else session.problem(job.path, status)
