"""Which state counts when a run begins, and what may be believed of it."""

from dataclasses import replace

import pytest

from core_values import COPY_HERE, COPY_THERE, DIRECTORY, OPEN, digest, directory, entry, file, scan, stamp
from symsync.core.compare import Base, Learnt, compare
from symsync.core.conflicts import Names
from symsync.core.generations import Ground, Journal, Standing, base_of, next_generation, resume, stand
from symsync.core.modes import Action, Status
from symsync.core.plan import Rules, plan
from symsync.core.values import Found, Scan
from symsync_protocol.state import ANCESTORS_KEPT, Conflict, Copy, Entry, Generation, Identity, PairState


def state(number: int, token: bytes, *ancestors: bytes) -> PairState:
    return PairState(
        Identity("pc", b"p" * 16),
        Identity("server", b"s" * 16),
        Generation(number, token),
        ancestors,
        {"f": entry(), "d": DIRECTORY},
        {"g": OPEN},
    )


A1 = state(1, b"a")
B2 = state(2, b"b", b"a")
C3 = state(3, b"c", b"b", b"a")
OTHER = state(7, b"x", b"y")

AS_LEFT = {
    "the hub's is older, for this node's last runs recorded nothing there": (C3, A1, None, False, Standing.NORMAL, C3),
    "nothing was ever recorded on the hub": (C3, None, None, False, Standing.NORMAL, C3),
    "nothing was ever recorded on the hub, and the directory is another": (
        C3,
        None,
        None,
        True,
        Standing.TAKEN_BACK,
        C3,
    ),
    "another directory, whose last runs recorded nothing on the hub": (C3, A1, None, True, Standing.TAKEN_BACK, C3),
}


@pytest.mark.parametrize(("local", "hub", "fulfilled", "moved", "standing", "counts"), AS_LEFT.values(), ids=AS_LEFT)
def test_standing_as_the_last_run_left_it(
    local: PairState,
    hub: PairState | None,
    fulfilled: bytes | None,
    moved: bool,
    standing: Standing,
    counts: PairState,
) -> None:
    """A hub that legitimately lags behind was not restored: the node's own state counts."""
    ground = stand(local, hub, fulfilled, moved, as_left=True)
    assert (standing, counts) == (ground.standing, ground.state)


STANDINGS = {
    "neither has a state": (None, None, None, False, Standing.FIRST, None),
    "neither, and moved": (None, None, None, True, Standing.FIRST, None),
    "in step": (B2, B2, None, False, Standing.NORMAL, B2),
    "the hub has a later one": (A1, C3, None, False, Standing.OLDER, A1),
    "the node has a later one": (C3, A1, None, False, Standing.OLDER, A1),
    "nothing in common": (B2, OTHER, None, False, Standing.UNION, None),
    "the hub recorded what the node was about to": (B2, C3, b"c", False, Standing.NORMAL, C3),
    "the hub did not get that far": (B2, B2, b"c", False, Standing.NORMAL, B2),
    "the hub has another than the node was about to record": (B2, OTHER, b"c", False, Standing.UNION, None),
    "the first record was cut off on the node": (None, A1, b"a", False, Standing.NORMAL, A1),
    "the first record was cut off, and the directory is another": (None, A1, b"a", True, Standing.TAKEN_BACK, A1),
    "the node's is lost": (None, B2, None, False, Standing.TAKEN_BACK, B2),
    "the hub's is lost": (B2, None, None, False, Standing.UNION, None),
    "another directory in step": (B2, B2, None, True, Standing.TAKEN_BACK, B2),
    "another directory with an older state": (A1, B2, None, True, Standing.UNION, None),
    "another directory, and the hub's is lost": (B2, None, None, True, Standing.UNION, None),
}


@pytest.mark.parametrize(
    ("local", "hub", "fulfilled", "moved", "standing", "counts"), STANDINGS.values(), ids=STANDINGS
)
def test_standing(
    local: PairState | None,
    hub: PairState | None,
    fulfilled: bytes | None,
    moved: bool,
    standing: Standing,
    counts: PairState | None,
) -> None:
    """The state that claims less is believed, and where there is nothing in common, none."""
    ground = stand(local, hub, fulfilled, moved)
    assert (standing, counts) == (ground.standing, ground.state)


@pytest.mark.parametrize(
    ("local", "hub", "expected"),
    [
        (None, None, (1, ())),
        (B2, B2, (3, (b"b", b"a"))),
        (A1, C3, (4, (b"c", b"a", b"b"))),
        (C3, A1, (4, (b"c", b"a", b"b"))),
        (B2, OTHER, (8, (b"x", b"b", b"y", b"a"))),
        (B2, None, (3, (b"b", b"a"))),
        (None, B2, (3, (b"b", b"a"))),
    ],
)
def test_the_next_generation_exceeds_and_descends_from_both(
    local: PairState | None, hub: PairState | None, expected: tuple[int, tuple[bytes, ...]]
) -> None:
    """So that whichever state comes back later is recognised as an older one."""
    ground = stand(local, hub, None, False)
    generation = next_generation(ground, b"new")
    assert (Generation(expected[0], b"new"), expected[1]) == (generation, ground.lineage)


def test_both_generations_are_remembered_before_their_ancestors() -> None:
    """The lineage is cut at its end, where the oldest are."""
    long = state(100, b"n", *(f"old{number}".encode() for number in range(ANCESTORS_KEPT)))
    ground = stand(long, A1, None, False)
    assert ((b"n", b"a"), ANCESTORS_KEPT) == (ground.lineage[:2], len(ground.lineage))


@pytest.mark.parametrize(
    ("local", "pending", "expected"), [(B2, None, True), (None, None, False), (None, b"b", False), (A1, b"b", False)]
)
def test_only_a_directorys_own_state_came_along_with_its_files(
    local: PairState | None, pending: bytes | None, expected: bool
) -> None:
    """What is taken back from the hub tells nothing of the times that the files here should have."""
    ground = stand(local, B2, pending, moved=True)
    assert (Standing.TAKEN_BACK, expected) == (ground.standing, ground.copied)


UNSEEN = replace(OPEN, copy_here=Copy(COPY_HERE.path, digest("theirs")))
HERE = scan(file("f", "old", 9), directory("d"))
DIGESTS = {"f": digest("old")}


@pytest.mark.parametrize(
    ("ground", "expected"),
    [
        (Ground(Standing.FIRST), Base(decisions=False)),
        (Ground(Standing.NORMAL, B2), Base(B2.entries, B2.conflicts)),
        (Ground(Standing.OLDER, B2), Base(B2.entries, removals=False, decisions=False)),
        (Ground(Standing.UNION), Base(removals=False, decisions=False)),
        (
            Ground(Standing.TAKEN_BACK, B2),
            Base({"f": Entry(stamp("old", 9), stamp("old", 1), digest("old"))}, decisions=False, lost={"g": UNSEEN}),
        ),
    ],
    ids=lambda value: value.standing.value if isinstance(value, Ground) else "",
)
def test_base(ground: Ground, expected: Base) -> None:
    """All of it in step; its entries alone when it is older; what still has the recorded content when taken back."""
    assert expected == base_of(ground, HERE, DIGESTS)


@pytest.mark.parametrize("digests", [{}, {"f": digest("edited")}], ids=["unread", "edited"])
def test_taken_back_believes_only_the_recorded_content(digests: dict[str, bytes]) -> None:
    """Everything else on the node has no base, so that this run replaces and removes nothing on the hub."""
    assert {} == base_of(Ground(Standing.TAKEN_BACK, B2), HERE, digests).entries


DOUBTED = replace(entry(), here=stamp("old", 1).unsettled())


@pytest.mark.parametrize(
    ("time", "expected"), [(2, {"f": DOUBTED}), (1, {}), (0, {})], ids=["later", "same", "earlier"]
)
def test_an_edit_in_a_copied_directory_is_one(time: int, expected: dict[str, Entry]) -> None:
    """Where the state came along with the files, what is later than it says was edited; an older version was not."""
    ground = Ground(Standing.TAKEN_BACK, B2, copied=True)
    assert expected == base_of(ground, scan(file("f", "edited", time)), {}).entries
    assert {} == base_of(replace(ground, copied=False), scan(file("f", "edited", time)), {}).entries


MINE = file("g", "mine", 9)
AT_G = {"g": digest("mine"), COPY_HERE.path: digest("theirs")}
EDITED = replace(OPEN.here, stamp=OPEN.here.stamp.unsettled())


@pytest.mark.parametrize(
    ("here", "digests", "copied", "expected"),
    [
        (scan(MINE, COPY_HERE), AT_G, False, {"g": replace(OPEN, here=replace(OPEN.here, stamp=MINE.stamp))}),
        (scan(MINE), AT_G, False, {"g": replace(UNSEEN, here=replace(OPEN.here, stamp=MINE.stamp))}),
        (scan(file("g", "edited", 9)), {}, False, {"g": replace(UNSEEN, here=EDITED, copy_there=None)}),
        (scan(file("g", "edited", 9)), {}, True, {"g": replace(UNSEEN, here=EDITED)}),
        (scan(directory("g")), {}, False, {}),
    ],
    ids=["as recorded", "without its copy", "another version", "edited since it was copied", "a directory"],
)
def test_taken_back_keeps_conflicts_open(
    here: Scan, digests: dict[str, bytes], copied: bool, expected: dict[str, Conflict]
) -> None:
    """With its copies, but for the one on the hub where that may be all there is left of a version."""
    ground = Ground(Standing.TAKEN_BACK, replace(B2, entries={}), copied=copied)
    assert Base({}, expected, decisions=False) == base_of(ground, here, digests)


@pytest.mark.parametrize(("here", "expected"), [(scan(), UNSEEN), (scan(COPY_HERE), OPEN)], ids=["empty", "a copy"])
def test_taken_back_knows_of_conflicts_what_was_lost(here: Scan, expected: Conflict) -> None:
    """Where the node has nothing under the name, that was nobody's decision: the version may come back."""
    base = base_of(Ground(Standing.TAKEN_BACK, replace(B2, entries={})), here, AT_G)
    assert Base({}, {}, decisions=False, lost={"g": expected}) == base


def test_taken_back_knows_nothing_of_what_is_gone() -> None:
    """What the new directory lacks was perhaps never deleted."""
    assert {} == base_of(Ground(Standing.TAKEN_BACK, B2), scan(), DIGESTS).entries


BEFORE = Base({"f": entry("old")})
AFTER = entry("new", 5, 6)


@pytest.mark.parametrize(
    ("there", "expected"), [(file("f", "new", 6), AFTER), (file("f", "old", 1), entry("old")), (None, entry("old"))]
)
def test_an_upload_that_an_ended_run_had_done_counts(there: Found | None, expected: Entry) -> None:
    """It counts where it lies on the hub as it was to be recorded; else the old agreement stands."""
    hub = scan(*[there] if there else [])
    assert expected == resume(BEFORE, Journal(b"g", puts={"f": AFTER}), scan(), hub, {}).entries["f"]


def test_a_download_that_an_ended_run_had_done_counts() -> None:
    """It counts where it lies on the node, in the stamp that it has there now."""
    journal = Journal(b"g", gets={"f": AFTER})
    placed = Found("f", replace(stamp("new", 5), inode=7, ctime_ns=8))
    assert (
        replace(AFTER, here=placed.stamp)
        == resume(BEFORE, journal, scan(placed), scan(), {"f": digest("new")}).entries["f"]
    )
    assert BEFORE == resume(BEFORE, journal, scan(file("f", "old", 1)), scan(), {"f": digest("old")})


def test_a_download_that_was_edited_since_does_not_count() -> None:
    """A file of the same size and time that holds other bytes is a user's edit."""
    placed = Found("f", replace(stamp("new", 5), inode=7, ctime_ns=8))
    journal = Journal(b"g", gets={"f": AFTER})
    assert BEFORE == resume(BEFORE, journal, scan(placed), scan(), {"f": digest("odd")})


def test_a_run_that_had_done_everything_counts_whole() -> None:
    """What the sides hold now may be later edits: they are compared with what the run came to."""
    journal = Journal(b"g", puts={"f": AFTER}, conflicts={"c": OPEN}, acted=True)
    base = replace(BEFORE, conflicts={"f": OPEN}, entries={"c": entry("old"), **BEFORE.entries})
    assert Base({"f": AFTER}, {"c": OPEN}) == resume(base, journal, scan(), scan(), {})


ENDED = Journal(b"g", puts={"p": AFTER}, gets={"f": AFTER}, conflicts={"c": OPEN})


def test_the_other_side_sees_what_an_ended_run_had_done() -> None:
    """What it brought to one side was put by the other; what it came to counts on either side."""
    swapped = AFTER.swapped()
    expected = Journal(b"g", puts={"f": swapped}, gets={"p": swapped}, conflicts={"c": OPEN.swapped()})
    assert (expected, ENDED) == (ENDED.swapped(), ENDED.swapped().swapped())
    acted = Journal(b"g", puts={"f": AFTER}, acted=True)
    assert Journal(b"g", puts={"f": swapped}, acted=True) == acted.swapped()


@pytest.mark.parametrize("content", ["new", "odd"])
def test_what_the_hub_s_own_run_received_is_known_by_its_content(content: str) -> None:
    """It bears the time of its source, and so may an edit of it, or what it was to replace. It is read again as long as
    the tick lasts."""
    journal = Journal(b"g", puts={"f": AFTER})
    lying = journal.lying(scan(file("f", "new", 6)))
    assert [file("f", "new", 6)] == lying
    expected = {"f": replace(AFTER, there=stamp("new", 6).unsettled())} if content == "new" else {}
    assert expected == journal.verified(lying, {"f": digest(content)}).puts
    assert [] == journal.lying(scan(file("f", "new", 7)))


def test_only_what_looks_as_before_is_doubtful() -> None:
    """A node's puts bear times like no other's, but perhaps that of the version that they were to replace."""
    lying = [file("f", "new", 6), COPY_THERE]
    same = Base({"f": replace(AFTER, there=stamp("odd", 6))}, {"c": OPEN})
    assert lying == Journal(b"g").doubtful(lying, same)
    other = Base({"f": replace(AFTER, there=stamp("new", 5))}, {"c": replace(OPEN, copy_there=None)})
    assert [] == Journal(b"g").doubtful(lying, other)
    journal = Journal(b"g", puts={"f": AFTER, "g": AFTER}, conflicts={"c": OPEN})
    assert journal == journal.verified([], {})
    assert {"g"} == journal.verified([file("f", "odd", 6)], {"f": digest("odd")}).puts.keys()


@pytest.mark.parametrize(
    ("content", "copy"),
    [("mine", Copy("f.pc", digest("mine"), COPY_THERE.stamp.unsettled())), ("odd", Copy("f.pc", digest("mine")))],
)
def test_a_copy_that_the_hub_s_own_run_laid_is_known_by_its_content(content: str, copy: Copy) -> None:
    """One that was edited since was never seen."""
    journal = Journal(b"g", conflicts={"f": OPEN})
    lying = journal.lying(scan(COPY_THERE))
    verified = journal.verified(lying, {"f.pc": digest(content)})
    assert {"f": replace(OPEN, copy_there=copy)} == verified.conflicts
    resumed = resume(BEFORE, verified, scan(COPY_HERE), scan(COPY_THERE), {})
    assert {"f": replace(OPEN, copy_there=copy)} == resumed.conflicts


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (scan(COPY_HERE), scan(COPY_THERE), Base(conflicts={"f": OPEN})),
        (scan(COPY_HERE), scan(), Base(conflicts={"f": replace(OPEN, copy_there=Copy("f.pc", digest("mine")))})),
        (scan(), scan(COPY_THERE), Base(conflicts={"f": replace(OPEN, copy_here=Copy("f.server", digest("theirs")))})),
        (scan(), scan(), BEFORE),
        (scan(file("f.server", "a user's", 9)), scan(), BEFORE),
    ],
    ids=["both copies", "only here", "only there", "neither", "another file"],
)
def test_a_conflict_that_an_ended_run_had_begun(here: Scan, there: Scan, expected: Base) -> None:
    """It is open where one of its copies lies; the other was never seen, so that its absence decides nothing."""
    assert expected == resume(BEFORE, Journal(b"g", conflicts={"f": OPEN}), here, there, {})


@pytest.mark.parametrize("way", ["put", "get"])
def test_copies_that_an_ended_run_had_not_taken_away(way: str) -> None:
    """The conflict that it had settled is none any more; what is left of it goes as what the other side has removed."""
    lying_here, lying_there = file("f", "new", 5), file("f", "new", 6)
    agreed = {"puts" if way == "put" else "gets": {"f": AFTER}}
    journal = Journal(b"g", **agreed)
    open_one = Base(conflicts={"f": OPEN})
    base = resume(open_one, journal, scan(lying_here, COPY_HERE), scan(lying_there, COPY_THERE), {"f": digest("new")})
    assert {"f"} == base.entries.keys() - {"f.server", "f.pc"}
    assert {} == base.conflicts
    pairs = compare(base, scan(lying_here, COPY_HERE), scan(lying_there, COPY_THERE), Learnt())
    actions = {
        decision.path: decision.action for decision in plan(pairs, Rules(), Names("pc", "server", lambda _path: False))
    }
    assert {"f": Action.NOTHING, "f.pc": Action.REMOVE, "f.server": Action.REMOVE} == actions


def test_a_copy_that_was_edited_since_its_conflict_was_settled_stays() -> None:
    """It is a user's file: what the ended run itself had brought across of it counts first."""
    edited = Found("f.server", replace(stamp("other", 9), inode=7))
    journal = Journal(b"g", puts={"f": AFTER, "f.server": entry("other", 9, 9)})
    base = resume(Base(conflicts={"f": OPEN}), journal, scan(edited), scan(file("f", "new", 6), edited), {})
    assert entry("other", 9, 9) == base.entries["f.server"]
    base = resume(
        Base(conflicts={"f": OPEN}), Journal(b"g", puts={"f": AFTER}), scan(edited), scan(file("f", "new", 6)), {}
    )
    (pair,) = (pair for pair in compare(base, scan(edited), scan(), Learnt()) if pair.path == "f.server")
    assert (Status.CHANGED, Status.DELETED) == (pair.here.status, pair.there.status)


@pytest.mark.parametrize(
    ("here", "expected"),
    [(scan(COPY_HERE), OPEN.copy_here), (scan(), Copy("f.server", digest("newer")))],
    ids=["lies there still", "gone"],
)
def test_a_copy_that_an_ended_run_had_not_brought_up_to_date(here: Scan, expected: Copy) -> None:
    """It is the copy of before, which holds an older version and decides nothing; one that is gone was never seen."""
    newer = replace(OPEN, copy_here=Copy("f.server", digest("newer"), stamp("newer", 9)))
    base = resume(Base(conflicts={"f": OPEN}), Journal(b"g", conflicts={"f": newer}), here, scan(COPY_THERE), {})
    assert {"f": replace(newer, copy_here=expected)} == base.conflicts
