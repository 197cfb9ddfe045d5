"""Looking at single paths: MLST; or SIZE, MDTM and CWD; or the listing of the directory above."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.ftp.control import fit_together
from symsync.remotes.ftp.crew import Desk
from symsync.remotes.ftp.errors import ConnectionLost
from symsync.remotes.ftp.manners import Way
from symsync.remotes.ftp.names import unsendable
from symsync.remotes.ftp.replies import Reply, modification_time, reason_of, size
from symsync.remotes.ftp.session import Session
from symsync.remotes.ftp.ways import (
    file_stamp,
    learn_dots,
    mlst_row,
    stat_commands,
    timed,
    told_by_stat,
    with_times,
    without_times,
)
from symsync_protocol.names import basename, parent
from symsync_protocol.stamps import Kind, Stamp

PIECE = 128
"""As many paths are looked at over one connection before another one takes its share."""

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


@dataclass(frozen=True, slots=True)
class Looks:
    """Looking at some paths by commands that all go out in one write, whatever the server's way."""

    session: Session
    paths: tuple[str, ...]
    """Those that commands can name, but for the root."""
    parents: tuple[str, ...] = ()
    """The directories whose listings tell of them, where the way is STAT."""
    present: bool = False
    """Whether nothing is asked only to be certain of what is not there."""

    @classmethod
    def at(cls, session: Session, paths: Iterable[str], *, present: bool = False) -> "Looks":
        """Looks at each of `paths` once."""
        asked = tuple(path for path in dict.fromkeys(paths) if path and not unsendable(path))
        if session.manners.way is Way.LIST:
            return cls(session, ())
        parents = tuple(dict.fromkeys(map(parent, asked))) if session.manners.way is Way.STAT else ()
        return cls(session, asked, parents, present)

    @property
    def orders(self) -> list[tuple[str, ...]]:
        """The commands, in groups whose replies go to `told`."""
        session, places = self.session, [self.session.place(path) for path in self.paths]
        match session.manners.way:
            case Way.MLSD:
                word = session.manners.tells_absence
                before = () if self.present or word in (None, "MLST") else (word,)
                if before == ("RNFR",):
                    return [(*unrenamed(place), f"MLST {place}") for place in places]
                return [tuple(f"{command} {place}" for command in (*before, "MLST")) for place in places]
            case Way.STAT:
                times = [(f"MDTM {place}",) for place in places] if session.manners.mdtm else []
                return [*(stat_commands(session, directory) for directory in self.parents), *times]
            case _:
                return [_questions(place) for place in places]

    def told(self, answers: Sequence[Sequence[Reply]]) -> dict[str, Look]:
        """What the replies leave no doubt about; a group without replies tells nothing. Raises ConnectionLost."""
        if self.session.manners.way is Way.STAT:
            listings, times = answers[: len(self.parents)], answers[len(self.parents) :]
            return dict(self._listed(listings, times or [()] * len(self.paths)))
        found: dict[str, Look] = {}
        for path, replies in zip(self.paths, answers, strict=True):
            entry = self._seen(path, replies)
            if entry is not None or any(reply.says_absent for reply in replies):
                found[path] = entry
        return found

    def _seen(self, path: str, replies: Sequence[Reply]) -> Found | None:
        if not replies:
            return None
        if self.session.manners.way is Way.MLSD:
            return seen(path, replies[-1:])
        return _answered(path, replies)

    def _listed(
        self, listings: Sequence[Sequence[Reply]], times: Sequence[Sequence[Reply]]
    ) -> Iterator[tuple[str, Look]]:
        whole: dict[str, dict[str, Found]] = {}
        for directory, replies in zip(self.parents, listings, strict=True):
            listing = told_by_stat(self.session, directory, *replies) if replies else None
            if listing is not None and listing.problem is None:
                learn_dots(self.session, listing)
                whole[directory] = {entry.path: entry for entry in listing.entries}
        for path, replies in zip(self.paths, times, strict=True):
            entries = whole.get(parent(path))
            if entries is None or (path not in entries and _may_be_hidden(self.session, path)):
                continue
            entry = entries.get(path)
            yield path, timed(entry, replies[0]) if entry is not None and replies else entry


def stat(session: Session, paths: Sequence[str]) -> list[Look]:
    """Each path's entry, None where there is certainly nothing, a Problem where that can't be told."""
    looks = Looks.at(session, paths)
    replies = session.control.pipeline(command for group in looks.orders for command in group)
    answers = [[next(replies) for _ in group] for group in looks.orders]
    collections.deque(replies, maxlen=0)  # to its end
    found: dict[str, Look] = {path: problem for path in paths if (problem := unsendable(path))}
    found.update(looks.told(answers))
    # Listings tell links and modes besides, and, if they are whole, certainly what is not there.
    found.update(_by_parents(session, [path for path in dict.fromkeys(paths) if path not in found]))
    return [found[path] for path in paths]


def pieces(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Many paths as jobs for `look_jobs`."""
    return (paths[start : start + PIECE] for start in range(0, len(paths), PIECE))


def look_jobs(session: Session, desk: Desk[Sequence[str], dict[str, Look]]) -> None:
    """A worker's part of many looks (see `crew.work_off`)."""
    while (paths := desk.take()) is not None:
        desk.done(dict(zip(paths, stat(session, paths), strict=True)))


def lost_looks(paths: Sequence[str], error: ConnectionLost) -> dict[str, Look]:
    """The looks over which the connection broke too often."""
    return {path: Problem(path, Reason.LOST, str(error)) for path in paths}


def stat_before(
    session: Session, paths: Sequence[str], transfer: Callable[[Sequence[str]], Sequence[Reply]]
) -> list[Look]:
    """`stat`, and then a transfer: `transfer` sends the commands that it gets along with its own, and returns their
    replies. More than fit into one write go ahead, and what takes data connections itself."""
    looks = Looks.at(session, paths)
    lines = [command for group in looks.orders for command in group]
    if session.manners.way is Way.LIST or not fit_together(lines):
        found = stat(session, paths)
        transfer([])
        return found
    replies = iter(transfer(lines))
    known = looks.told([list(itertools.islice(replies, len(group))) for group in looks.orders])
    rest = [path for path in dict.fromkeys(paths) if path not in known]
    known.update(zip(rest, stat(session, rest) if rest else [], strict=True))
    return [known[path] for path in paths]


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


def _questions(place: str) -> tuple[str, ...]:
    """The commands that any server has, whose replies go to `_answered`."""
    return f"SIZE {place}", f"MDTM {place}", f"CWD {place}"


def _answered(path: str, replies: Sequence[Reply]) -> Found | None:
    return Found(path, Stamp(Kind.DIRECTORY)) if replies[2].ok else seen(path, replies[:2])


def _by_questions(session: Session, paths: Sequence[str]) -> Iterator[tuple[str, Look]]:
    """By SIZE, MDTM and CWD, three commands a path in one pipeline; nothing for those that all three leave open."""
    places = [session.place(path) for path in paths]
    replies = session.control.pipeline(command for place in places for command in _questions(place))
    for path, *answers in zip(paths, replies, replies, replies, strict=False):
        entry = _answered(path, answers)
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
            elif _may_be_hidden(session, path):
                hidden.append(path)
            else:
                yield path, None
    if session.manners.tells_absence is None or session.manners.way is not Way.MLSD:
        open_ones |= _unrenamable(session, list(open_ones))
    yield from open_ones.items()
    # Such a name may be left out of listings; three refusals say that it is not there.
    yield from {**dict.fromkeys(hidden), **dict(_by_questions(session, hidden))}.items()


def _may_be_hidden(session: Session, path: str) -> bool:
    """Whether listings may leave out this name."""
    return basename(path).startswith(".") and session.manners.hides_dots is not False


def _unrenamable(session: Session, paths: Sequence[str]) -> dict[str, Look]:
    """What is certainly not there: Pure-FTPd, whose listings end after 10,000 entries, says so neither to MLST nor to
    SIZE, and takes seconds for each CWD that it refuses. What is there is accepted, and renamed to its own name."""
    places = [session.place(path) for path in paths]
    replies = session.control.pipeline(command for place in places for command in unrenamed(place))
    return {path: None for path, reply, _end in zip(paths, replies, replies, strict=False) if reply.says_absent}


def unrenamed(place: str) -> tuple[str, str]:
    """The commands that ask RNFR whether there is anything at all. RNTO must follow, to the very same name, which
    changes nothing (rename(2)): Pure-FTPd and pyftpdlib keep what RNFR has accepted, and where a later RNFR is refused,
    the RNTO behind that renames the former."""
    return f"RNFR {place}", f"RNTO {place}"


def _no_root(reply: Reply) -> Look:
    """The hub's own directory can't be entered: gone, or why not."""
    reason = reason_of(reply)
    return None if reason is Reason.ABSENT else Problem("", reason, reply.text)
