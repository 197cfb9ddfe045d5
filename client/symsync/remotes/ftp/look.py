"""Looking at single paths: MLST; or SIZE, MDTM and CWD; or the listing of the directory above."""

from collections.abc import Iterable, Iterator, Sequence

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.ftp.manners import Way
from symsync.remotes.ftp.names import unsendable
from symsync.remotes.ftp.replies import Reply, modification_time, reason_of, size
from symsync.remotes.ftp.session import Session
from symsync.remotes.ftp.ways import file_stamp, mlst_row, with_times, without_times
from symsync_protocol.names import basename, parent
from symsync_protocol.stamps import Kind, Stamp

Look = Found | Problem | None
"""What `stat` gives for a path."""


def look_commands(session: Session, path: str) -> tuple[str, ...]:
    """The commands that tell a file's stamp as a listing would. Their replies go to `seen`."""
    place = session.place(path)
    if session.manners.way is Way.MLSD:
        return (f"MLST {place}",)
    return (f"SIZE {place}", f"MDTM {place}")


def seen(path: str, replies: Sequence[Reply]) -> Found | None:
    """The file or directory that the replies to `look_commands` show, None where they show none."""
    if len(replies) == 1:
        row = mlst_row(replies[0])
        return Found(path, row.stamp, row.mode, row.target) if row is not None else None
    told_size = size(replies[0])
    return None if told_size is None else Found(path, file_stamp(told_size, modification_time(replies[1])))


def stat(session: Session, paths: Sequence[str]) -> list[Look]:
    """Each path's entry, None where there is certainly nothing, a Problem where that can't be told."""
    found: dict[str, Look] = {path: problem for path in paths if (problem := unsendable(path))}
    asked = [path for path in dict.fromkeys(paths) if path not in found]
    if session.manners.way is Way.MLSD:
        found.update(_by_mlst(session, asked))
        found.update(_unrenamable(session, [path for path in asked if path not in found]))
    elif session.manners.way is Way.NLST:
        found.update(_by_questions(session, asked))
    # Listings tell links and modes besides, and, if they are whole, certainly what is not there.
    found.update(_by_parents(session, [path for path in asked if path not in found]))
    return [found[path] for path in paths]


def is_absent(session: Session, path: str) -> bool:
    """Whether there is certainly nothing at `path`."""
    return stat(session, [path]) == [None]


def explained(session: Session, path: str, reply: Reply) -> Problem:
    """Why `path` was refused: what the server says, or what looking shows where it says nothing of use."""
    reason = reason_of(reply)
    if reason is Reason.OTHER and not reply.unknown_command:
        there = stat(session, [path])[0]
        reason = Reason.ABSENT if there is None else Reason.DENIED
    return Problem(path, reason, reply.text)


def _by_mlst(session: Session, paths: Sequence[str]) -> Iterator[tuple[str, Look]]:
    replies = session.control.pipeline(f"MLST {session.place(path)}" for path in paths)
    for path, reply in zip(paths, replies, strict=True):
        entry = seen(path, [reply])
        if entry is not None or reply.says_absent:
            yield path, entry


def _by_questions(session: Session, paths: Sequence[str]) -> Iterator[tuple[str, Look]]:
    """By SIZE, MDTM and CWD, three commands a path in one pipeline; nothing for those that all three leave open."""
    places = [session.place(path) for path in paths]
    replies = session.control.pipeline(
        command for place in places for command in (f"SIZE {place}", f"MDTM {place}", f"CWD {place}")
    )
    for path, *answers in zip(paths, replies, replies, replies, strict=False):
        entry = Found(path, Stamp(Kind.DIRECTORY)) if answers[2].ok else seen(path, answers[:2])
        if entry is not None or any(answer.says_absent for answer in answers):
            yield path, entry


def _by_parents(session: Session, paths: Iterable[str]) -> Iterator[tuple[str, Look]]:
    """What the listings of the directories above show."""
    by_parent: dict[str, list[str]] = {}
    for path in paths:
        if path:
            by_parent.setdefault(parent(path), []).append(path)
        else:
            entered = session.control.ask(f"CWD {session.place('')}")
            yield path, Found(path, Stamp(Kind.DIRECTORY)) if entered.ok else _no_root(entered)
    wanted = {path for group in by_parent.values() for path in group}
    hidden = []
    open_ones: dict[str, Look] = {}
    for listing in with_times(session, without_times(session, list(by_parent)), wanted.__contains__):
        entries = {entry.path: entry for entry in listing.entries}
        for path in by_parent[listing.directory]:
            if path in entries:
                yield path, entries[path]
            elif listing.problem is not None and listing.problem.reason is not Reason.ABSENT:
                open_ones[path] = Problem(path, listing.problem.reason, listing.problem.detail)
            elif basename(path).startswith(".") and session.manners.hides_dots is not False:
                hidden.append(path)
            else:
                yield path, None
    if session.manners.way is not Way.MLSD:  # where they have been asked for already
        open_ones |= _unrenamable(session, list(open_ones))
    yield from open_ones.items()
    # Such a name may be left out of listings; three refusals say that it is not there.
    yield from {**dict.fromkeys(hidden), **dict(_by_questions(session, hidden))}.items()


def _unrenamable(session: Session, paths: Sequence[str]) -> dict[str, Look]:
    """What is certainly not there: Pure-FTPd, whose listings end after 10,000 entries, says so neither to MLST nor to
    SIZE, and takes seconds for each CWD that it refuses. What is there is accepted, which the next command revokes."""
    replies = session.control.pipeline(f"RNFR {session.place(path)}" for path in paths)
    return {path: None for path, reply in zip(paths, replies, strict=True) if reply.says_absent}


def _no_root(reply: Reply) -> Look:
    """The hub's own directory can't be entered: gone, or why not."""
    reason = reason_of(reply)
    return None if reason is Reason.ABSENT else Problem("", reason, reply.text)
