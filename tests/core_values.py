"""Short ways to say what lies where, for the tests of the core. Times are whole seconds, contents are texts."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from symsync.core.compare import Base, Learnt, compare, questions
from symsync.core.conflicts import Names
from symsync.core.modes import Status
from symsync.core.plan import Rules, one_way, plan
from symsync.core.steps import Decision, Pair, Sight
from symsync.core.values import Found, Scan
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Conflict, Copy, Entry, Meta, Version

NODE, HUB = "pc", "server"


def digest(content: str) -> bytes:
    return sha256(content.encode()).digest()


def stamp(content: str, at: int) -> Stamp:
    return Stamp(Kind.FILE, len(content), at * SECOND, SECOND)


def file(path: str, content: str, at: int = 1, mode: int | None = None) -> Found:
    return Found(path, stamp(content, at), mode)


def directory(path: str, mode: int | None = None) -> Found:
    return Found(path, Stamp(Kind.DIRECTORY), mode)


def link(path: str, target: str, at: int = 1) -> Found:
    return Found(path, Stamp(Kind.LINK, len(target), at * SECOND, SECOND), target=target)


def scan(*found: Found, unknown: Iterable[str] = ()) -> Scan:
    return Scan({one.path: one for one in found}, frozenset(unknown))


def entry(content: str = "old", here: int = 1, there: int = 1, meta: Meta = Meta()) -> Entry:  # noqa: B008 - frozen
    """Both sides have `content`, since these times."""
    return Entry(stamp(content, here), stamp(content, there), digest(content), meta=meta)


DIRECTORY = Entry(Stamp(Kind.DIRECTORY), Stamp(Kind.DIRECTORY))
"""Both sides have a directory."""

ABSENT, DELETED = Sight(Status.ABSENT), Sight(Status.DELETED)


def unchanged(found: Found, content: str = "old") -> Sight:
    return Sight(Status.UNCHANGED, found, b"" if found.kind is Kind.DIRECTORY else digest(content))


def changed(found: Found, content: str | None = None) -> Sight:
    """`content` where it is known unread."""
    if found.kind is Kind.DIRECTORY:
        return Sight(Status.CHANGED, found, b"")
    return Sight(Status.CHANGED, found, None if content is None else digest(content))


def version(content: str, at: int) -> Version:
    return Version(stamp(content, at), digest(content))


def copy(path: str, content: str, at: int) -> Copy:
    return Copy(path, digest(content), stamp(content, at))


MINE, THEIRS = file("f", "mine", 2), file("f", "theirs", 3)
COPY_HERE, COPY_THERE = file("f.server", "theirs", 4), file("f.pc", "mine", 4)
OPEN = Conflict(version("mine", 2), version("theirs", 3), copy("f.server", "theirs", 4), copy("f.pc", "mine", 4))
"""The open conflict of `f` as it stands when nobody has touched anything since: MINE and THEIRS, each beside the
other's copy, COPY_HERE and COPY_THERE."""


def names(*taken: str) -> Names:
    return Names(NODE, HUB, set(taken).__contains__)


def planned(pairs: Iterable[Pair], rules: Rules = Rules(), *taken: str) -> dict[str, Decision]:  # noqa: B008 - frozen
    """The plan by path; names that a pair has, and those of `taken`, are taken."""
    pairs = sorted(pairs, key=lambda pair: pair.path)
    decisions = plan(pairs, rules, names(*taken, *(pair.path for pair in pairs)))
    assert [pair.path for pair in pairs] == [decision.path for decision in decisions]
    return {decision.path: decision for decision in decisions}


def met(
    base: Base,
    here: Scan,
    there: Scan,
    contents_here: Mapping[str, str] | None = None,
    contents_there: Mapping[str, str] | None = None,
    *,
    rules: Rules = Rules(),  # noqa: B008 - frozen
) -> dict[str, Decision]:
    """Compare, read what is asked for, compare again and plan, as a run does. Who asks for a content that the test does
    not name has asked for too much."""
    asked = questions(compare(base, here, there, Learnt()), one_way=one_way(rules.mode), size_only=rules.size_only)
    learnt = Learnt(
        {path: digest((contents_here or {})[path]) for path in asked.here},
        {path: digest((contents_there or {})[path]) for path in asked.there},
    )
    return planned(compare(base, here, there, learnt), rules, *here.entries, *there.entries)
