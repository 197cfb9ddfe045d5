"""No side is preferred: swapping the roles of the two sides gives the mirrored plan (invariant 3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_mirror import DUALS, WINNERS, Winner, as_told, mirrored, mirrored_pair, swapped
from core_values import digest
from symsync.core.compare import Base, Learnt, compare
from symsync.core.conflicts import Names
from symsync.core.modes import Mode
from symsync.core.plan import Rules, plan
from symsync.core.values import Found, Scan
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Conflict, Copy, Entry, Version

PATHS = ["d", "d/e", "d/e/x", "d/y", "f", "f.pc", "f.server", "g"]

FILE_STAMPS = st.builds(
    Stamp, st.just(Kind.FILE), st.integers(1, 2), st.integers(1, 3).map(SECOND.__mul__), st.just(SECOND)
)
STAMPS = FILE_STAMPS | st.just(Stamp(Kind.DIRECTORY))
CONTENTS = st.sampled_from([digest("one"), digest("two")])


def trees() -> st.SearchStrategy[dict[str, Found]]:
    """Some of PATHS, each in a directory."""

    def grown(stamps: dict[str, Stamp]) -> dict[str, Found]:
        tree: dict[str, Found] = {}
        for path in sorted(stamps):
            up = path.rpartition("/")[0]
            if not up or (up in tree and tree[up].kind is Kind.DIRECTORY):
                tree[path] = Found(path, stamps[path])
        return tree

    return st.dictionaries(st.sampled_from(PATHS), STAMPS).map(grown)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    if draw(st.booleans()):
        return Entry(Stamp(Kind.DIRECTORY), Stamp(Kind.DIRECTORY))
    return Entry(draw(FILE_STAMPS), draw(FILE_STAMPS), draw(CONTENTS))


COPIES = {
    owner: st.none() | st.builds(Copy, st.just(f"f.{owner}"), CONTENTS, st.none() | FILE_STAMPS)
    for owner in ("pc", "server")
}
VERSIONS = st.builds(Version, FILE_STAMPS, CONTENTS) | st.just(Version(Stamp(Kind.DIRECTORY)))
CONFLICTS = st.builds(Conflict, VERSIONS, VERSIONS, COPIES["server"], COPIES["pc"])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Base, Scan, Scan, Learnt]:
    """A state, two trees, and the digests of some of their files."""
    known = draw(st.dictionaries(st.sampled_from(PATHS), entries()))
    conflicts = {"f": draw(CONFLICTS)} if draw(st.booleans()) else {}
    here, there = draw(trees()), draw(trees())
    unknown = draw(st.frozensets(st.sampled_from(PATHS), max_size=1))
    base = Base({path: entry for path, entry in known.items() if path not in conflicts}, conflicts)
    read_here, read_there = (
        draw(st.dictionaries(st.sampled_from(sorted(tree)), CONTENTS)) if tree else {} for tree in (here, there)
    )
    return base, Scan(here, unknown), Scan(there), Learnt(read_here, read_there)


@given(situations())
def test_the_comparison_is_symmetric(situation: tuple[Base, Scan, Scan, Learnt]) -> None:
    """What happened does not depend on which side looks."""
    base, here, there, learnt = situation
    other = compare(swapped(base), there, here, Learnt(learnt.there, learnt.here))
    assert [mirrored_pair(pair) for pair in compare(base, here, there, learnt)] == other


@given(
    situations(),
    st.sampled_from(DUALS),
    st.sampled_from(WINNERS),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_the_plan_is_symmetric(
    situation: tuple[Base, Scan, Scan, Learnt],
    modes: tuple[Mode, Mode],
    winners: tuple[Winner, Winner],
    options: list[bool],
) -> None:
    """Swapped pairs, names and winner under the dual mode give the mirrored decisions."""
    base, here, there, learnt = situation
    pairs = compare(base, here, there, learnt)
    taken = {*here.entries, *there.entries, *base.entries}.__contains__
    *chosen, removals = options
    rules, mirror = (
        Rules(mode, winner, *chosen, removals=removals) for mode, winner in zip(modes, winners, strict=True)
    )
    ours = plan(pairs, rules, Names("pc", "server", taken))
    theirs = plan([mirrored_pair(pair) for pair in pairs], mirror, Names("server", "pc", taken))
    assert [as_told(mirrored(decision)) for decision in ours] == [as_told(decision) for decision in theirs]


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_has_its_dual(mode: Mode) -> None:
    """So that a server can become the client with nothing else changed."""
    assert mode in [one for one, _ in DUALS]


@given(situations(), st.sampled_from(DUALS))
def test_mirroring_twice_changes_nothing(situation: tuple[Base, Scan, Scan, Learnt], modes: tuple[Mode, Mode]) -> None:
    """The mirror of these tests is a true one."""
    pairs = compare(*situation)
    for decision in plan(pairs, Rules(modes[0]), Names("pc", "server", lambda _: False)):
        assert as_told(decision) == as_told(mirrored(mirrored(decision)))
