"""Renaming, making and removing: many commands in one write, strictly in order, each reply told as a Problem."""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import MakeDirectories, Outcomes, RemoveDirectories, Rename, Request, Stat
from symsync.remotes.ftp.attributes import mode_line
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync.remotes.ftp.look import Looks, stat, unrenamed
from symsync.remotes.ftp.manners import Way
from symsync.remotes.ftp.names import Names, unsendable
from symsync.remotes.ftp.replies import Reply, reason_of
from symsync.remotes.ftp.session import Session
from symsync.remotes.ftp.ways import list_one
from symsync_protocol.names import is_reserved, parent
from symsync_protocol.stamps import Kind

Problems = list[Problem | None]
_Order = tuple[str, ...] | Problem
"""The commands for one path, or why there are none."""

_Answer = list[Reply] | Problem | None
"""The replies to an order, None from where the connection broke on."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What is to be sent for one request, and how the replies are told: one for each of its paths."""

    orders: list[_Order]
    told: Callable[[Sequence[_Answer]], Outcomes]


def together(session: Session, names: Names, requests: Sequence[Request]) -> list[Outcomes]:
    """All commands of all requests in one write, strictly in this order. LIST tells nothing without data connections,
    so that there each request waits for the one before."""
    if session.manners.way is Way.LIST and len(requests) > 1:
        return [outcomes for request in requests for outcomes in together(session, names, [request])]
    parts = [_part(session, names, request) for request in requests]
    answers = iter(_answers(session, [order for part in parts for order in part.orders]))
    return [part.told(list(itertools.islice(answers, len(part.orders)))) for part in parts]


def _part(session: Session, names: Names, request: Request) -> _Part:
    match request:
        case MakeDirectories():
            return _making(session, names, request.paths, request.mode)
        case RemoveDirectories():
            return _removing_directories(session, request.paths)
        case Rename():
            return _renaming(session, names, request.pairs)
        case Stat():
            return _looking(session, request.paths, present=request.present)


def _all_of(session: Session, part: _Part) -> Problems:
    outcomes = part.told(_answers(session, part.orders))
    return [outcome if isinstance(outcome, Problem) else None for outcome in outcomes]


def _outcome(answer: _Answer) -> Reply | Problem | None:
    """What came of an order: the first refusal, or the last reply where there was none. None where the connection broke
    before: nobody knows whether it was carried out."""
    if not isinstance(answer, list):
        return answer
    return next((reply for reply in answer if reply.refused), answer[-1])


def _answers(session: Session, orders: Sequence[_Order]) -> list[_Answer]:
    """The replies to each order. What prepares a data connection may go with them, and is forgotten where anything was
    refused: nobody knows when the next one is wanted then."""
    lines = (line for order in orders if isinstance(order, tuple) for line in order)
    preparing = [session.data.command()] if session.prepares else []
    session.prepares = False
    replies = session.control.pipeline(itertools.chain(lines, preparing))
    outcomes: list[_Answer] = []
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
    return _all_of(session, _renaming(session, names, pairs))


def _renaming(session: Session, names: Names, pairs: Sequence[tuple[str, str]]) -> _Part:
    bad = names.check(session, [new for _old, new in pairs])

    def told(answers: Sequence[_Answer]) -> Outcomes:
        return [
            _told(names, new, _rename_outcome(session, old, new, _outcome(answer)))
            for (old, new), answer in zip(pairs, answers, strict=True)
        ]

    return _Part(
        [
            unsendable(old) or bad.get(new) or (f"RNFR {session.place(old)}", f"RNTO {session.place(new)}")
            for old, new in pairs
        ],
        told,
    )


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
    return _all_of(session, _making(session, names, paths, mode))


def _making(session: Session, names: Names, paths: Sequence[str], mode: int | None) -> _Part:
    bad = names.check(session, paths)
    # Our own folders get their mode in the same breath; a user's that was there already is left alone.
    ours = [path for path in paths if mode is not None and session.manners.sets_modes and is_reserved(path)]
    chmods = {path: mode_line(session, path, mode) for path in ours if mode is not None}
    manners = session.manners
    tried = ours[-1:] if manners.way is Way.MLSD and manners.tells_absence is None and manners.tries_rnfr else ()
    trials = {path: unrenamed(session.place(path)) for path in tried}

    def told(answers: Sequence[_Answer]) -> Outcomes:
        for path, answer in zip(paths, answers, strict=True):
            if path in trials and isinstance(answer, list) and answer[-2].more:
                _learn_rnfr(session, answer[-1])
        problems: Outcomes = [
            _told(names, path, _made(session, path, answer[0] if isinstance(answer, list) else answer))
            for path, answer in zip(paths, answers, strict=True)
        ]
        heard = {path: answer for path, answer in zip(paths, answers, strict=True) if isinstance(answer, list)}
        replies = [answer[1] for path, answer in heard.items() if path in chmods]
        if mode is not None and session.manners.sets_modes and session.control.alive:
            later = [p for p, problem in zip(paths, problems, strict=True) if problem is None and p not in chmods]
            replies += session.control.pipeline(mode_line(session, path, mode) for path in later)
        if any(reply.unknown_command for reply in replies):
            session.manners.sets_modes = False
        return problems

    return _Part(
        [
            bad.get(path)
            or (f"MKD {session.place(path)}", *([chmods[path]] if path in chmods else []), *trials.get(path, ()))
            for path in paths
        ],
        told,
    )


def _learn_rnfr(session: Session, ending: Reply) -> None:
    """Whether RNFR, which has the word for what is not there, may also be asked of what is: it was accepted for a
    folder of ours, and this is the reply to its RNTO."""
    session.manners.tries_rnfr = False
    if ending.ok:
        session.manners.tells_absence = "RNFR"
    else:
        session.close()  # it may still wait for one


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

    def told(answers: Sequence[_Answer]) -> Outcomes:
        return [_removed(session, path, _outcome(answer)) for path, answer in zip(paths, answers, strict=True)]

    return _all_of(session, _Part([unsendable(path) or (f"DELE {session.place(path)}",) for path in paths], told))


def remove_directories(session: Session, paths: Sequence[str]) -> Problems:
    """RMD for each path."""
    return _all_of(session, _removing_directories(session, paths))


def _removing_directories(session: Session, paths: Sequence[str]) -> _Part:
    def told(answers: Sequence[_Answer]) -> Outcomes:
        return [_gone(session, path, _outcome(answer)) for path, answer in zip(paths, answers, strict=True)]

    return _Part([unsendable(path) or (f"RMD {session.place(path)}",) for path in paths], told)


def _gone(session: Session, path: str, outcome: Reply | Problem | None) -> Problem | None:
    problem = _removed(session, path, outcome)
    doubtful = problem is not None and problem.reason in (Reason.DENIED, Reason.OTHER) and session.control.alive
    if problem is not None and doubtful and list_one(session, path).entries:
        return Problem(path, Reason.NOT_EMPTY, problem.detail)
    return problem


def _looking(session: Session, paths: Sequence[str], *, present: bool) -> _Part:
    """A look along with others; what it leaves open is looked at in its own way afterwards."""
    looks = Looks.at(session, paths, present=present)

    def told(answers: Sequence[_Answer]) -> Outcomes:
        known = looks.told([answer if isinstance(answer, list) else [] for answer in answers])
        rest = [path for path in dict.fromkeys(paths) if path not in known]
        known.update(zip(rest, _look(session, rest), strict=True))
        return [known[path] for path in paths]

    return _Part([*looks.orders], told)


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
