"""Open conflicts: how one begins, is kept up to date, is decided and ends; each rule of the design as cases."""

from dataclasses import replace

import pytest

from core_values import (
    COPY_HERE,
    COPY_THERE,
    MINE,
    OPEN,
    THEIRS,
    copy,
    digest,
    directory,
    entry,
    file,
    met,
    scan,
    version,
)
from symsync.core.compare import Base, Learnt, compare
from symsync.core.conflicts import Names
from symsync.core.modes import Action, Mode, writes
from symsync.core.plan import Rules, plan
from symsync.core.steps import Decision, Remove, Step, Then, Transfer
from symsync.core.values import Found, Scan, Side
from symsync_protocol.names import NAME_LIMIT
from symsync_protocol.state import Conflict, Copy, Meta, Version

HERE, THERE = Side.HERE, Side.THERE
BASE = Base(conflicts={"f": OPEN})
MINE_2, THEIRS_2 = file("f", "mine again", 7), file("f", "theirs again", 8)


def to(side: Side, path: str, source: Found, replaces: Found | None = None) -> tuple[object, ...]:
    return Transfer, side, path, source, replaces


def away(side: Side, found: Found) -> tuple[object, ...]:
    return Remove, side, found.path, found


def told(step: Step) -> tuple[object, ...]:
    match step:
        case Transfer():
            return Transfer, step.on, step.path, step.source, step.replaces
        case Remove():
            return Remove, step.on, step.path, step.found
        case _:
            raise AssertionError(step)


def decide(here: Scan, there: Scan, base: Base = BASE) -> Decision:
    return met(base, here, there)["f"]


def test_how_one_begins() -> None:
    """Both sides keep their own version, and each receives the other's beside it."""
    decision = decide(scan(MINE), scan(THEIRS), Base({"f": entry()}))
    assert [to(HERE, "f.server", THEIRS), to(THERE, "f.pc", MINE)] == [told(step) for step in decision.steps]
    assert (Action.DUPLICATE, Then.CONFLICT) == (decision.action, decision.then)
    announced = decision.conflict
    assert announced is not None
    assert (MINE.stamp, THEIRS.stamp) == (announced.here.stamp, announced.there.stamp)
    assert (Copy("f.server", b""), Copy("f.pc", b"")) == (announced.copy_here, announced.copy_there)


def test_what_is_known_of_the_versions_is_announced() -> None:
    """Name and digest of a copy stand in the record before the copy is made."""
    learnt = Learnt({"f": digest("mine")}, {"f": digest("theirs")})
    (decision,) = plan(compare(Base(), scan(MINE), scan(THEIRS), learnt), Rules(), Names("pc", "server", str.isupper))
    expected = Conflict(
        version("mine", 2),
        version("theirs", 3),
        Copy("f.server", digest("theirs")),
        Copy("f.pc", digest("mine")),
    )
    assert expected == decision.conflict


def test_nothing_happens_while_nobody_decides() -> None:
    """The path is pinned: no side's version is overwritten by the other, and nothing is written."""
    decision = decide(scan(MINE, COPY_HERE), scan(THEIRS, COPY_THERE))
    assert (Action.NOTHING, Then.KEEP, ()) == (decision.action, decision.then, decision.steps)


REFRESHED = [
    ("here", MINE_2, THEIRS, [to(THERE, "f.pc", MINE_2, COPY_THERE)]),
    ("there", MINE, THEIRS_2, [to(HERE, "f.server", THEIRS_2, COPY_HERE)]),
    ("both", MINE_2, THEIRS_2, [to(HERE, "f.server", THEIRS_2, COPY_HERE), to(THERE, "f.pc", MINE_2, COPY_THERE)]),
]


@pytest.mark.parametrize(("mine", "theirs", "steps"), [case[1:] for case in REFRESHED], ids=[c[0] for c in REFRESHED])
def test_an_edit_refreshes_only_its_copy(mine: Found, theirs: Found, steps: list[object]) -> None:
    """If one side edits its version again, its copy on the other side is brought up to date, and the conflict stays."""
    decision = decide(scan(mine, COPY_HERE), scan(theirs, COPY_THERE))
    assert (Then.CONFLICT, steps) == (decision.then, [told(step) for step in decision.steps])
    assert decision.conflict is not None
    assert (mine.stamp, theirs.stamp) == (decision.conflict.here.stamp, decision.conflict.there.stamp)


def test_the_copy_that_stands_is_recorded_as_it_lies() -> None:
    """What needs no refreshing keeps its digest and stamp, so that its absence still means something."""
    conflict = decide(scan(MINE_2, COPY_HERE), scan(THEIRS, COPY_THERE)).conflict
    assert conflict is not None
    assert (OPEN.copy_here, Copy("f.pc", b"")) == (conflict.copy_here, conflict.copy_there)


DECIDED = {
    "here": (
        scan(MINE),
        scan(THEIRS, COPY_THERE),
        [to(THERE, "f", MINE, THEIRS), away(THERE, COPY_THERE)],
    ),
    "here, with an edit of the own version": (
        scan(MINE_2),
        scan(THEIRS, COPY_THERE),
        [to(THERE, "f", MINE_2, THEIRS), away(THERE, COPY_THERE)],
    ),
    "there": (
        scan(MINE, COPY_HERE),
        scan(THEIRS),
        [to(HERE, "f", THEIRS, MINE), away(HERE, COPY_HERE)],
    ),
    "there, with an edit of the own version": (
        scan(MINE, COPY_HERE),
        scan(THEIRS_2),
        [to(HERE, "f", THEIRS_2, MINE), away(HERE, COPY_HERE)],
    ),
    "f deleted here": (
        scan(COPY_HERE),
        scan(THEIRS, COPY_THERE),
        [to(HERE, "f", THEIRS), away(HERE, COPY_HERE), away(THERE, COPY_THERE)],
    ),
    "f deleted there": (
        scan(MINE, COPY_HERE),
        scan(COPY_THERE),
        [to(THERE, "f", MINE), away(HERE, COPY_HERE), away(THERE, COPY_THERE)],
    ),
    "f and its copy deleted here": (scan(), scan(THEIRS, COPY_THERE), [to(HERE, "f", THEIRS), away(THERE, COPY_THERE)]),
    "f deleted here, edited there": (
        scan(COPY_HERE),
        scan(THEIRS_2, COPY_THERE),
        [to(HERE, "f", THEIRS_2), away(HERE, COPY_HERE), away(THERE, COPY_THERE)],
    ),
}


@pytest.mark.parametrize(("here", "there", "steps"), DECIDED.values(), ids=DECIDED)
def test_a_decision(here: Scan, there: Scan, steps: list[object]) -> None:
    """Who removes the copy beside a version decides for that version, and what was deleted on one side is decided for
    the other's; the copies go."""
    decision = decide(here, there)
    assert (Then.AGREE, steps) == (decision.then, [told(step) for step in decision.steps])
    assert decision.reason.startswith("settled: ")


ASKED_ANEW = {
    "decided here against an outdated copy": (
        scan(MINE),
        scan(THEIRS_2, COPY_THERE),
        [to(HERE, "f.server", THEIRS_2)],
    ),
    "decided there against an outdated copy": (
        scan(MINE_2, COPY_HERE),
        scan(THEIRS),
        [to(THERE, "f.pc", MINE_2)],
    ),
    "both copies gone": (scan(MINE), scan(THEIRS), [to(HERE, "f.server", THEIRS), to(THERE, "f.pc", MINE)]),
    "both copies gone, both edited": (
        scan(MINE_2),
        scan(THEIRS_2),
        [to(HERE, "f.server", THEIRS_2), to(THERE, "f.pc", MINE_2)],
    ),
}


@pytest.mark.parametrize(("here", "there", "steps"), ASKED_ANEW.values(), ids=ASKED_ANEW)
def test_asked_anew(here: Scan, there: Scan, steps: list[object]) -> None:
    """A decision counts only against the version that the removed copy held, and two decisions are none."""
    decision = decide(here, there)
    assert (Then.CONFLICT, steps) == (decision.then, [told(step) for step in decision.steps])


def test_a_copy_that_holds_another_version_decides_nothing() -> None:
    """The removed copy held what the other side no longer had when it was recorded: a refresh that failed."""
    outdated = replace(OPEN, there=version("theirs again", 8))
    decision = decide(scan(MINE), scan(THEIRS_2, COPY_THERE), Base(conflicts={"f": outdated}))
    assert (Then.CONFLICT, [to(HERE, "f.server", THEIRS_2)]) == (decision.then, [told(s) for s in decision.steps])


def test_an_announced_copy_decides_nothing() -> None:
    """A copy that was never seen was not removed by anybody."""
    announced = replace(OPEN, copy_here=Copy("f.server", digest("theirs")))
    decision = decide(scan(MINE), scan(THEIRS, COPY_THERE), Base(conflicts={"f": announced}))
    assert (Then.CONFLICT, [to(HERE, "f.server", THEIRS)]) == (decision.then, [told(s) for s in decision.steps])


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (scan(MINE, unknown=["f.server"]), scan(THEIRS, COPY_THERE)),
        (scan(MINE, COPY_HERE), scan(THEIRS, unknown=["f.pc"])),
    ],
    ids=["here", "there"],
)
def test_an_unseen_copy_decides_nothing(here: Scan, there: Scan) -> None:
    """Only an absence from a complete listing is a decision; and nothing is put where something may lie."""
    decision = decide(here, there)
    assert (Then.KEEP, ()) == (decision.then, decision.steps)


EQUAL = {
    "mv f.server f": (scan(file("f", "theirs", 9)), scan(THEIRS, COPY_THERE), [away(THERE, COPY_THERE)]),
    "the same on the hub": (scan(MINE, COPY_HERE), scan(file("f", "mine", 9)), [away(HERE, COPY_HERE)]),
    "cp f.server f": (
        scan(file("f", "theirs", 9), COPY_HERE),
        scan(THEIRS, COPY_THERE),
        [away(HERE, COPY_HERE), away(THERE, COPY_THERE)],
    ),
}


@pytest.mark.parametrize(("here", "there", "steps"), EQUAL.values(), ids=EQUAL)
def test_both_hold_the_same(here: Scan, there: Scan, steps: list[object]) -> None:
    """Settled, however it came about; no content is sent."""
    taken_here = here.entries["f"] != MINE
    learnt = Learnt({"f": digest("theirs")}) if taken_here else Learnt(there={"f": digest("mine")})
    pairs = compare(BASE, here, there, learnt)
    (decision,) = plan(pairs, Rules(), Names("pc", "server", str.isupper))
    assert (Then.AGREE, steps) == (decision.then, [told(step) for step in decision.steps])


def test_what_could_be_the_same_is_read() -> None:
    """`cp f.pc f` on the hub is noticed in the same run, without another copy of the same bytes."""
    decision = met(BASE, scan(MINE, COPY_HERE), scan(file("f", "mine", 9), COPY_THERE), None, {"f": "mine"})["f"]
    assert (Then.AGREE, [away(HERE, COPY_HERE), away(THERE, COPY_THERE)]) == (
        decision.then,
        [told(step) for step in decision.steps],
    )


def test_deleted_on_both_sides() -> None:
    """Nobody holds anything: forgotten, with its copies."""
    decision = decide(scan(COPY_HERE), scan(COPY_THERE))
    assert (Then.FORGET, [away(HERE, COPY_HERE), away(THERE, COPY_THERE)]) == (
        decision.then,
        [told(step) for step in decision.steps],
    )


TOUCHED_HERE, TOUCHED_THERE = file("f.server", "theirs", 9), file("f.pc", "mine", 9)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (scan(MINE, TOUCHED_HERE), scan(THEIRS, COPY_THERE), replace(OPEN, copy_here=copy("f.server", "theirs", 9))),
        (scan(MINE, COPY_HERE), scan(THEIRS, TOUCHED_THERE), replace(OPEN, copy_there=copy("f.pc", "mine", 9))),
    ],
    ids=["here", "there"],
)
def test_a_touched_copy_is_still_the_copy(here: Scan, there: Scan, expected: Conflict) -> None:
    """Its time is another, be it only that the hub shows times by another zone: it is read, and recorded anew."""
    decisions = met(BASE, here, there, {"f.server": "theirs"}, {"f.pc": "mine"})
    assert ["f"] == list(decisions)
    assert ((), Then.CONFLICT, expected) == (decisions["f"].steps, decisions["f"].then, decisions["f"].conflict)


def test_a_decision_stands_in_another_zone() -> None:
    """The version that loses is the recorded one, though the hub shows its time otherwise."""
    there = scan(file("f", "theirs", 7203), file("f.pc", "mine", 7204))
    decision = met(BASE, scan(MINE), there, None, {"f": "theirs", "f.pc": "mine"})["f"]
    expected = [to(THERE, "f", MINE, there.entries["f"]), away(THERE, there.entries["f.pc"])]
    assert expected == [told(step) for step in decision.steps]


LOST = Base(lost={"f": OPEN}, decisions=False)
AGAIN = Transfer(HERE, "f", COPY_THERE, digest=digest("mine"), meta=Meta(mtime_ns=MINE.stamp.mtime_ns))


@pytest.mark.parametrize("there", [scan(THEIRS, COPY_THERE), scan(COPY_THERE), scan(THEIRS_2, COPY_THERE)])
def test_what_was_lost_comes_back_from_its_copy(there: Scan) -> None:
    """The node's own version first, whatever became of the hub's; the conflict is open as before."""
    decisions = met(LOST, scan(), there)
    assert ["f"] == list(decisions)
    expected = replace(OPEN, here=Version(COPY_THERE.stamp, digest("mine")))
    assert ((AGAIN,), Then.CONFLICT, expected) == (
        decisions["f"].steps,
        decisions["f"].then,
        decisions["f"].conflict,
    )


def test_what_was_lost_comes_back_from_a_touched_copy() -> None:
    """Its time is another, but it holds what it held."""
    decisions = met(LOST, scan(), scan(THEIRS, TOUCHED_THERE), None, {"f.pc": "mine"})
    assert [to(HERE, "f", TOUCHED_THERE)] == [told(step) for step in decisions["f"].steps]


def test_a_lost_version_without_a_copy_is_no_more() -> None:
    """Somebody removed or edited the copy: the hub's version comes, and nothing is removed anywhere."""
    assert [to(HERE, "f", THEIRS)] == [told(step) for step in met(LOST, scan(), scan(THEIRS))["f"].steps]
    decisions = met(LOST, scan(), scan(THEIRS, EDITED_THERE), None, {"f.pc": "edited"})
    steps = [told(step) for decision in decisions.values() for step in decision.steps]
    assert [to(HERE, "f", THEIRS), to(HERE, "f.pc", EDITED_THERE)] == steps


def test_nothing_is_planned_below_a_lost_file() -> None:
    """It stood against a directory on the hub, and does again."""
    there = scan(directory("f"), file("f/x", "new"), COPY_THERE)
    decisions = met(LOST, scan(), there)
    assert [to(HERE, "f", COPY_THERE)] == [told(step) for decision in decisions.values() for step in decision.steps]


EDITED_HERE, EDITED_THERE = file("f.server", "edited", 9), file("f.pc", "edited", 9)


@pytest.mark.parametrize(
    ("here", "there", "edited", "fresh"),
    [
        (scan(MINE, EDITED_HERE), scan(THEIRS, COPY_THERE), "f.server", to(HERE, "f.server.2", THEIRS)),
        (scan(MINE, COPY_HERE), scan(THEIRS, EDITED_THERE), "f.pc", to(THERE, "f.pc.2", MINE)),
    ],
    ids=["here", "there"],
)
def test_an_edited_copy_is_a_user_s_file(here: Scan, there: Scan, edited: str, fresh: object) -> None:
    """It is synchronised like any other, the conflict stays open, and a new copy lies beside it."""
    decisions = met(BASE, here, there, {"f.server": "edited"})
    assert (Then.CONFLICT, [fresh]) == (decisions["f"].then, [told(step) for step in decisions["f"].steps])
    assert (Then.AGREE, [(Transfer, edited)]) == (
        decisions[edited].then,
        [(type(step), step.path) for step in decisions[edited].steps],
    )


def test_an_edited_copy_stays_when_the_conflict_ends() -> None:
    """What is a user's own is not taken away with the copies."""
    decisions = met(BASE, scan(MINE, EDITED_HERE), scan(THEIRS), {"f.server": "edited"})
    assert [to(HERE, "f", THEIRS, MINE)] == [told(step) for step in decisions["f"].steps]
    assert [to(THERE, "f.server", EDITED_HERE)] == [told(step) for step in decisions["f.server"].steps]


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ((), (), ("f.server", "f.pc")),
        (("f.server",), (), ("f.server.2", "f.pc")),
        ((), ("f.server",), ("f.server.2", "f.pc")),
        (("f.pc",), ("f.pc", "f.pc.2"), ("f.server", "f.pc.3")),
    ],
)
def test_a_taken_name_gets_a_number(here: tuple[str, ...], there: tuple[str, ...], expected: tuple[str, str]) -> None:
    """A name that either side uses is not free."""
    theirs = [file(path, "their own") for path in there]
    own = [file(path, "their own") for path in here]
    contents = dict.fromkeys((*here, *there), "their own")
    decision = met(Base(), scan(MINE, *own), scan(THEIRS, *theirs), contents, contents)["f"]
    assert expected == tuple(step.path for step in decision.steps)


def test_two_conflicts_do_not_promise_one_name() -> None:
    """`f` and `f.server` may both be in conflict; their copies lie apart."""
    here = scan(MINE, file("f.server", "one", 2))
    there = scan(THEIRS, file("f.server", "another", 3))
    steps = [step.path for decision in met(Base(), here, there).values() for step in decision.steps]
    assert ["f.server.2", "f.pc", "f.server.server", "f.server.pc"] == steps


def test_a_name_too_long_is_shortened() -> None:
    """The copy's name fits, and still says whose version it is."""
    long = "x" * NAME_LIMIT
    decision = met(Base(), scan(file(long, "mine", 2)), scan(file(long, "theirs", 3)))[long]
    assert [NAME_LIMIT, NAME_LIMIT] == [len(step.path) for step in decision.steps]
    assert ["server", "pc"] == [step.path.rpartition(".")[2] for step in decision.steps]


def test_a_conflict_is_each_node_s_own() -> None:
    """Another pair's copies are neither planned nor taken for names that are free."""
    foreign = "f.laptop"
    here, there = scan(MINE, COPY_HERE), scan(THEIRS, COPY_THERE, file(foreign, "laptop's", 5))
    pairs = compare(BASE, here, there, Learnt(), [foreign])
    assert ["f"] == [pair.path for pair in pairs]
    (decision,) = plan(pairs, Rules(), Names("pc", "server", str.isupper))
    assert (Then.KEEP, ()) == (decision.then, decision.steps)


def test_a_third_node_meets_a_conflict_s_version_as_any_file() -> None:
    """What lies under the name on the hub is the hub's version; the others follow it."""
    there = scan(THEIRS, COPY_THERE)
    pairs = compare(Base({"f": entry()}), scan(file("f", "old", 1)), there, Learnt(), ["f.pc"])
    (decision,) = plan(pairs, Rules(), Names("laptop", "server", str.isupper))
    assert (Action.GET, [to(HERE, "f", THEIRS, file("f", "old", 1))]) == (
        decision.action,
        [told(step) for step in decision.steps],
    )


SITUATIONS = {
    "undecided": (scan(MINE, COPY_HERE), scan(THEIRS, COPY_THERE)),
    "decided here": (scan(MINE), scan(THEIRS, COPY_THERE)),
    "decided there": (scan(MINE, COPY_HERE), scan(THEIRS)),
    "both copies gone": (scan(MINE), scan(THEIRS)),
}


@pytest.mark.parametrize(("here", "there"), SITUATIONS.values(), ids=SITUATIONS)
@pytest.mark.parametrize(
    ("mode", "target", "source", "replaced"),
    [(Mode.MIRROR, HERE, THEIRS, MINE), (Mode.ORIGINAL, THERE, MINE, THEIRS)],
)
def test_a_one_way_mode_settles_by_its_direction(
    mode: Mode, target: Side, source: Found, replaced: Found, here: Scan, there: Scan
) -> None:
    """Whatever the users did about it, the source's version stands, and the source is not written."""
    decision = met(BASE, here, there, rules=Rules(mode))["f"]
    assert (Then.AGREE, to(target, "f", source, replaced)) == (decision.then, told(decision.steps[0]))
    assert {target} == {step.on for step in decision.steps}


@pytest.mark.parametrize("mode", [Mode.MIRROR, Mode.ORIGINAL])
@pytest.mark.parametrize(("here", "there"), [(scan(COPY_HERE), scan(THEIRS)), (scan(MINE), scan(COPY_THERE))])
def test_a_one_way_mode_never_writes_its_source(mode: Mode, here: Scan, there: Scan) -> None:
    """Not even where one side deleted its version of a conflict."""
    steps = met(BASE, here, there, rules=Rules(mode))["f"].steps
    allowed = {side for side, may in zip(Side, writes(mode), strict=True) if may}
    assert {step.on for step in steps} <= allowed


@pytest.mark.parametrize(("mode", "winner"), [(Mode.MASTER, HERE), (Mode.SLAVE, THERE)])
def test_master_and_slave_settle_what_nobody_decided(mode: Mode, winner: Side) -> None:
    """Their tables know no open conflict: the preferred side's version stands."""
    decision = met(BASE, scan(MINE, COPY_HERE), scan(THEIRS, COPY_THERE), rules=Rules(mode))["f"]
    expected = to(THERE, "f", MINE, THEIRS) if winner is HERE else to(HERE, "f", THEIRS, MINE)
    assert [expected, away(HERE, COPY_HERE), away(THERE, COPY_THERE)] == [told(step) for step in decision.steps]


def test_file_against_directory_is_decided_like_any_other() -> None:
    """Only the file has a copy; who removes it decides for the directory."""
    dir_version = replace(OPEN.there, stamp=directory("f").stamp, digest=b"")
    base = Base(conflicts={"f": Conflict(OPEN.here, dir_version, None, copy("f.pc", "mine", 4))})
    kept = met(base, scan(MINE), scan(directory("f"), COPY_THERE))["f"]
    assert (Then.KEEP, ()) == (kept.then, kept.steps)
    decided = met(base, scan(MINE), scan(directory("f"), file("f/x", "1")))
    assert [Remove, "MakeDirectory"] == [
        type(s) if isinstance(s, Remove) else type(s).__name__ for s in decided["f"].steps
    ]
    assert Action.GET == decided["f/x"].action
