"""Renaming, making and removing: many commands in one write, strictly in order, each reply told as a Problem."""

import contextlib
import itertools
from collections.abc import Sequence

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.ftp.attributes import mode_line
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync.remotes.ftp.look import stat
from symsync.remotes.ftp.names import Names, unsendable
from symsync.remotes.ftp.replies import Reply, reason_of
from symsync.remotes.ftp.session import Session
from symsync.remotes.ftp.ways import list_one
from symsync_protocol.names import is_reserved, parent
from symsync_protocol.stamps import Kind

Problems = list[Problem | None]
_Order = tuple[str, ...] | Problem
"""The commands for one path, or why there are none."""


def _in_order(session: Session, orders: Sequence[_Order]) -> list[Reply | Problem | None]:
    """What came of each order: the first refusal, or the last reply where there was none.

    None from where the connection broke on: nobody knows whether those were carried out.
    """
    return [
        next((reply for reply in answers if reply.refused), answers[-1]) if isinstance(answers, list) else answers
        for answers in _answers(session, orders)
    ]


def _answers(session: Session, orders: Sequence[_Order]) -> list[list[Reply] | Problem | None]:
    """The replies to each order. What prepares a data connection may go with them, and is forgotten where anything was
    refused: nobody knows when the next one is wanted then."""
    lines = (line for order in orders if isinstance(order, tuple) for line in order)
    preparing = [session.data.command()] if session.prepares else []
    session.prepares = False
    replies = session.control.pipeline(itertools.chain(lines, preparing))
    outcomes: list[list[Reply] | Problem | None] = []
    broken = False
    for order in orders:
        if isinstance(order, Problem):
            outcomes.append(order)
            continue
        answers: list[Reply] = []
        try:
            while not broken and len(answers) < len(order):
                answers.append(next(replies))
        except ConnectionLost:
            broken = True
        outcomes.append(None if broken else answers)
    if preparing:
        # Where it fails, the next transfer finds out, and says what is wrong.
        with contextlib.suppress(ConnectionLost, RefusedError):
            if not broken:
                session.data.prepared(next(replies))
        if any(not isinstance(answers, list) or any(reply.refused for reply in answers) for answers in outcomes):
            session.data.close()
    return outcomes


def _lost(path: str) -> Problem:
    return Problem(path, Reason.LOST, "the connection broke; whether it was done is not known")


def _told(names: Names, path: str, problem: Problem | None) -> Problem | None:
    return names.told(path, problem) if problem is not None else None


def _look(session: Session, paths: Sequence[str]) -> list[Found | Problem | None]:
    """What lies there, or that nobody can look any more."""
    if not session.control.alive:
        return [_lost(path) for path in paths]
    try:
        return stat(session, paths)
    except ConnectionLost:
        return [_lost(path) for path in paths]


def rename(session: Session, names: Names, pairs: Sequence[tuple[str, str]]) -> Problems:
    """RNFR and RNTO for each pair (RFC 959)."""
    bad = names.check(session, [new for _old, new in pairs])
    orders: list[_Order] = [
        unsendable(old) or bad.get(new) or (f"RNFR {session.place(old)}", f"RNTO {session.place(new)}")
        for old, new in pairs
    ]
    return [
        _told(names, new, _rename_outcome(session, old, new, outcome))
        for (old, new), outcome in zip(pairs, _in_order(session, orders), strict=True)
    ]


def _rename_outcome(session: Session, old: str, new: str, outcome: Reply | Problem | None) -> Problem | None:
    if outcome is None:
        return _lost(old)
    if isinstance(outcome, Problem):
        return outcome
    if outcome.ok:
        return None
    reason = reason_of(outcome)
    # The words of a refusal may be about either name.
    source, target = _look(session, [old, new])
    if source is None:
        reason = Reason.ABSENT
    elif isinstance(target, Found):
        reason = Reason.EXISTS
        if target.kind is Kind.FILE:
            session.manners.replaces = False
    elif reason in (Reason.ABSENT, Reason.EXISTS, Reason.OTHER):
        reason = _why_not(session, new)
    return Problem(old if reason is Reason.ABSENT else new, reason, outcome.text)


def _why_not(session: Session, path: str) -> Reason:
    """Why nothing can be made at `path`, where the server has no word for it."""
    directory = parent(path)
    if directory and _look(session, [directory]) == [None]:
        return Reason.ABSENT
    return Reason.DENIED


def make_directories(session: Session, names: Names, paths: Sequence[str], mode: int | None) -> Problems:
    """MKD for each path; 2xx is given to exactly one of those who try at once (measured on all common servers)."""
    bad = names.check(session, paths)
    # Our own folders get their mode in the same breath; a user's that was there already is left alone.
    ours = [path for path in paths if mode is not None and session.manners.sets_modes and is_reserved(path)]
    chmods = {path: mode_line(session, path, mode) for path in ours if mode is not None}
    orders: list[_Order] = [
        bad.get(path) or (f"MKD {session.place(path)}", *([chmods[path]] if path in chmods else [])) for path in paths
    ]
    told = _answers(session, orders)
    problems = [
        _told(names, path, _made(session, path, answers[0] if isinstance(answers, list) else answers))
        for path, answers in zip(paths, told, strict=True)
    ]
    replies = [reply for answers in told if isinstance(answers, list) for reply in answers[1:]]
    if mode is not None and session.manners.sets_modes and session.control.alive:
        later = [p for p, problem in zip(paths, problems, strict=True) if problem is None and p not in chmods]
        replies += session.control.pipeline(mode_line(session, path, mode) for path in later)
    if any(reply.unknown_command for reply in replies):
        session.manners.sets_modes = False
    return problems


def _made(session: Session, path: str, outcome: Reply | Problem | None) -> Problem | None:
    if outcome is None:
        return _lost(path)
    if isinstance(outcome, Problem):
        return outcome
    if outcome.ok and not outcome.says_exists:
        return None
    reason = reason_of(outcome)
    if reason not in (Reason.EXISTS, Reason.FULL):
        there = _look(session, [path])[0]
        if isinstance(there, Found):
            reason = Reason.EXISTS
        elif reason is not Reason.DENIED:
            reason = _why_not(session, path)
    return Problem(path, reason, outcome.text)


def remove_files(session: Session, paths: Sequence[str]) -> Problems:
    """DELE for each path."""
    orders: list[_Order] = [unsendable(path) or (f"DELE {session.place(path)}",) for path in paths]
    outcomes = _in_order(session, orders)
    return [_removed(session, path, outcome) for path, outcome in zip(paths, outcomes, strict=True)]


def remove_directories(session: Session, paths: Sequence[str]) -> Problems:
    """RMD for each path."""
    orders: list[_Order] = [unsendable(path) or (f"RMD {session.place(path)}",) for path in paths]
    outcomes = _in_order(session, orders)
    problems = []
    for path, outcome in zip(paths, outcomes, strict=True):
        problem = _removed(session, path, outcome)
        doubtful = problem is not None and problem.reason in (Reason.DENIED, Reason.OTHER) and session.control.alive
        if problem is not None and doubtful and list_one(session, path).entries:
            problem = Problem(path, Reason.NOT_EMPTY, problem.detail)
        problems.append(problem)
    return problems


def _removed(session: Session, path: str, outcome: Reply | Problem | None) -> Problem | None:
    if outcome is None:
        return _lost(path)
    if isinstance(outcome, Problem):
        return outcome
    if outcome.ok:
        return None
    reason = reason_of(outcome)
    if reason is Reason.OTHER:
        there = _look(session, [path])[0]
        reason = Reason.ABSENT if there is None else Reason.DENIED if isinstance(there, Found) else Reason.OTHER
    return Problem(path, reason, outcome.text)
