"""From pairs to steps: every cell of every table, kinds, directories, moves and the options."""

from dataclasses import replace
from itertools import product

import pytest

from core_values import (
    ABSENT,
    DELETED,
    DIRECTORY,
    HUB,
    NODE,
    changed,
    copy,
    digest,
    directory,
    entry,
    file,
    link,
    met,
    planned,
    scan,
    stamp,
    unchanged,
    version,
)
from symsync.core.compare import Base
from symsync.core.modes import TABLES, Action, Mode, Status, writes
from symsync.core.plan import Rules, newer_side, removals
from symsync.core.steps import (
    Adjust,
    MakeDirectory,
    Move,
    Pair,
    Remove,
    RemoveDirectory,
    Sight,
    Step,
    Then,
    Transfer,
)
from symsync.core.values import Found, Side
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Conflict, Entry, Meta

HERE, THERE = Side.HERE, Side.THERE
OLD, MINE, THEIRS = file("f", "old", 1), file("f", "mine", 2), file("f", "theirs", 3)
TWO_WAY = (Mode.SYNC, Mode.MASTER, Mode.SLAVE)


def sight(status: Status, new: Found, content: str) -> Sight:
    """One side of the cell: the old version, a new one, or nothing."""
    if status is Status.UNCHANGED:
        return unchanged(OLD)
    return changed(new, content) if status is Status.CHANGED else Sight(status)


def cell(here: Status, there: Status) -> Pair:
    known = {here, there} & {Status.UNCHANGED, Status.DELETED}
    return Pair("f", sight(here, MINE, "mine"), sight(there, THEIRS, "theirs"), before=entry("old") if known else None)


def expected_steps(pair: Pair, action: Action) -> list[tuple[object, ...]]:
    """The steps of an action as (kind, side, path, what comes or goes, what it replaces)."""
    mine, theirs = pair.here.found, pair.there.found
    match action:
        case Action.GET:
            return [(Transfer, HERE, "f", theirs, mine)]
        case Action.PUT:
            return [(Transfer, THERE, "f", mine, theirs)]
        case Action.REMOVE:
            return [(Remove, HERE, "f", mine, None) if mine else (Remove, THERE, "f", theirs, None)]
        case Action.DUPLICATE:
            return [(Transfer, HERE, "f.server", theirs, None), (Transfer, THERE, "f.pc", mine, None)]
        case Action.NOTHING | Action.IGNORE:
            return []


def told(step: Step) -> tuple[object, ...]:
    match step:
        case Transfer():
            return Transfer, step.on, step.path, step.source, step.replaces
        case Remove():
            return Remove, step.on, step.path, step.found, None
        case _:
            raise AssertionError(step)


THEN = {
    Action.NOTHING: Then.AGREE,
    Action.GET: Then.AGREE,
    Action.PUT: Then.AGREE,
    Action.REMOVE: Then.FORGET,
    Action.DUPLICATE: Then.CONFLICT,
}


@pytest.mark.parametrize(("mode", "here", "there"), list(product(Mode, Status, Status)))
def test_cell(mode: Mode, here: Status, there: Status) -> None:
    """Every cell of every mode becomes the steps that its word says, and what the state will say follows."""
    pair = cell(here, there)
    action = TABLES[mode][here, there]
    decision = planned([pair], Rules(mode))["f"]
    gone = pair.here.found is None and pair.there.found is None
    then = THEN.get(action, Then.FORGET if gone else Then.KEEP)
    assert (action, then) == (decision.action, decision.then)
    assert expected_steps(pair, action) == [told(step) for step in decision.steps]
    assert all(step.digest == pair.sight(step.on.other).digest for step in decision.steps if isinstance(step, Transfer))


@pytest.mark.parametrize(
    ("mode", "rules"),
    [
        (mode, rules)
        for mode in Mode
        for rules in (
            Rules(mode),
            Rules(mode, delete=True),
            Rules(mode, only_newer=True),
            Rules(mode, size_only=True),
            Rules(mode, removals=False),
            Rules(mode, delete=True, removals=False),
        )
    ],
)
def test_nothing_is_written_where_the_mode_does_not_write(mode: Mode, rules: Rules) -> None:
    """A mirror writes nothing at all on the hub, an original nothing on the node, whatever the options."""
    steps = [s for h, t in product(Status, Status) for d in planned([cell(h, t)], rules).values() for s in d.steps]
    allowed = {side for side, may in zip(Side, writes(mode), strict=True) if may}
    assert allowed == {step.on for step in steps}


@pytest.mark.parametrize("mode", Mode)
def test_equal_content_is_never_a_conflict(mode: Mode) -> None:
    """A first meeting of two equal files transfers nothing in any mode."""
    pair = Pair("f", changed(OLD, "old"), changed(file("f", "old", 9), "old"))
    decision = planned([pair], Rules(mode))["f"]
    assert (Action.NOTHING, Then.AGREE, ()) == (decision.action, decision.then, decision.steps)


@pytest.mark.parametrize(("target", "action"), [("x", Action.NOTHING), ("y", Action.DUPLICATE)])
def test_links_are_equal_by_their_targets(target: str, action: Action) -> None:
    """Nothing has to be read of a link."""
    pair = Pair("f", changed(link("f", "x")), changed(link("f", target, 5)))
    assert action == planned([pair])["f"].action


def test_a_link_against_a_file_is_a_conflict_with_two_copies() -> None:
    """Neither holds anything else, so each lies beside the other."""
    pair = Pair("f", changed(link("f", "x")), changed(THEIRS, "theirs"))
    steps = planned([pair])["f"].steps
    assert [(Transfer, HERE, "f.server", THEIRS, None), (Transfer, THERE, "f.pc", link("f", "x"), None)] == [
        told(step) for step in steps
    ]


def test_two_directories_are_one() -> None:
    """They have no content of their own to differ in."""
    decision = planned([Pair("d", changed(directory("d")), changed(directory("d")))])["d"]
    assert (Action.NOTHING, Then.AGREE) == (decision.action, decision.then)


@pytest.mark.parametrize(("side", "action"), [(HERE, Action.GET), (THERE, Action.PUT)])
def test_an_empty_directory_travels(side: Side, action: Action) -> None:
    """A directory is an entry of its own."""
    new = changed(directory("d"))
    decision = planned([Pair("d", ABSENT, new) if side is HERE else Pair("d", new, ABSENT)])["d"]
    (step,) = decision.steps
    assert action == decision.action
    assert (MakeDirectory, side, "d") == (type(step), step.on, step.path)


def test_a_removed_directory_goes_with_what_it_held() -> None:
    """Nothing in it stays, so neither does it."""
    base = Base({"d": DIRECTORY, "d/x": entry()})
    here = scan(directory("d"), file("d/x", "old"))
    decisions = met(base, here, scan())
    assert (RemoveDirectory(HERE, "d"),) == decisions["d"].steps
    assert (Remove(HERE, "d/x", file("d/x", "old")),) == decisions["d/x"].steps
    assert 1 == removals(decisions.values())


def test_a_removed_directory_comes_back_for_an_edit_in_it() -> None:
    """An edit beats a deletion, so the directory that holds it stands on both sides again; its other files are gone."""
    base = Base({"d": DIRECTORY, "d/e": DIRECTORY, "d/e/x": entry(), "d/y": entry()})
    here = scan(directory("d"), directory("d/e"), file("d/e/x", "edited", 2), file("d/y", "old"))
    decisions = met(base, here, scan())
    assert [MakeDirectory(THERE, "d"), MakeDirectory(THERE, "d/e")] == [
        step for path in ("d", "d/e") for step in decisions[path].steps
    ]
    assert [Action.PUT, Action.PUT, Action.PUT, Action.REMOVE] == [d.action for d in decisions.values()]
    assert [Then.AGREE, Then.AGREE, Then.AGREE, Then.FORGET] == [d.then for d in decisions.values()]


def test_file_against_directory_gives_only_the_file_a_copy() -> None:
    """Below the path nothing is planned until somebody decides."""
    here, there = scan(file("d", "mine", 2)), scan(directory("d"), file("d/x", "theirs"), file("dd", "1"))
    decisions = met(Base(), here, there)
    decision, conflict = decisions["d"], decisions["d"].conflict
    assert [(Transfer, THERE, "d.pc", file("d", "mine", 2), None)] == [told(step) for step in decision.steps]
    assert conflict is not None
    assert (None, "d.pc") == (conflict.copy_here, conflict.copy_there and conflict.copy_there.path)
    assert (Action.IGNORE, Then.KEEP, ()) == (decisions["d/x"].action, decisions["d/x"].then, decisions["d/x"].steps)
    assert Action.GET == decisions["dd"].action


def test_a_directory_replaces_a_file() -> None:
    """Who replaced a file by a directory gets it on the other side: the file goes first."""
    base = Base({"f": entry()})
    decisions = met(base, scan(OLD), scan(directory("f"), file("f/x", "new")))
    assert (Remove(HERE, "f", OLD, early=True), MakeDirectory(HERE, "f", Meta())) == decisions["f"].steps
    assert 0 == removals(decisions.values())
    assert Action.GET == decisions["f/x"].action


def test_a_file_replaces_a_directory() -> None:
    """What lay in the directory is cleared away before the file comes."""
    base = Base({"d": DIRECTORY, "d/e": DIRECTORY, "d/e/x": entry()})
    here = scan(directory("d"), directory("d/e"), file("d/e/x", "old"))
    decisions = met(base, here, scan(file("d", "new", 5)))
    first, second = decisions["d"].steps
    assert RemoveDirectory(HERE, "d", early=True) == first
    assert (Transfer, HERE, "d", file("d", "new", 5), None) == told(second)
    assert (RemoveDirectory(HERE, "d/e", early=True),) == decisions["d/e"].steps
    assert (Remove(HERE, "d/e/x", file("d/e/x", "old"), early=True),) == decisions["d/e/x"].steps


@pytest.mark.parametrize(
    "below", [(entry(), file("d/x", "edited", 5)), (None, file("d/x", "new", 5))], ids=["edited", "new"]
)
def test_a_file_does_not_overrun_an_edit_below_the_directory(below: tuple[Entry | None, Found]) -> None:
    """A directory in which anything changed has changed, so that the two are a conflict."""
    known, found = below
    base = Base({"d": DIRECTORY} | ({"d/x": known} if known else {}))
    decisions = met(base, scan(directory("d"), found), scan(file("d", "new", 5)))
    assert (Action.DUPLICATE, Action.IGNORE) == (decisions["d"].action, decisions["d/x"].action)
    assert (0, Then.KEEP) == (len(decisions["d/x"].steps), decisions["d/x"].then)


def test_a_file_does_not_overrun_an_open_conflict_below_the_directory() -> None:
    """Somebody's version waits there for a decision; it would otherwise be put below a file for ever."""
    conflict = Conflict(
        version("mine", 2), version("theirs", 3), copy("d/x.server", "theirs", 4), copy("d/x.pc", "mine", 4)
    )
    base = Base({"d": DIRECTORY}, {"d/x": conflict})
    here = scan(directory("d"), file("d/x", "mine", 2), file("d/x.server", "theirs", 4))
    decisions = met(base, here, scan(file("d", "new", 5)))
    assert (Action.DUPLICATE, Action.IGNORE) == (decisions["d"].action, decisions["d/x"].action)


def test_where_something_stays_the_directory_does() -> None:
    """A mirror's file waits where a file that only the node has lies in the directory in its place."""
    base = Base({"d": DIRECTORY})
    decisions = met(base, scan(directory("d"), file("d/own", "1")), scan(file("d", "new", 5)), rules=Rules(Mode.MIRROR))
    assert (Action.IGNORE, Then.KEEP, ()) == (decisions["d"].action, decisions["d"].then, decisions["d"].steps)
    assert "a directory that is in use lies there" == decisions["d"].reason
    assert () == decisions["d/own"].steps


def test_a_move_is_not_sent_again() -> None:
    """The content that goes under one name and comes under another is renamed; nothing counts as removed."""
    pairs = [
        Pair("a", unchanged(file("a", "old")), DELETED, before=entry()),
        Pair("b", ABSENT, changed(file("b", "old", 1), "old")),
    ]
    decisions = planned(pairs)
    assert (Move(HERE, "b", file("a", "old")),) == decisions["b"].steps
    assert ((), "b", Then.FORGET) == (decisions["a"].steps, decisions["a"].after, decisions["a"].then)
    assert ("moved to b", "moved from a") == (decisions["a"].reason, decisions["b"].reason)
    assert 0 == removals(decisions.values())


def test_each_removal_serves_one_move() -> None:
    """Of two files with the content of the one that went, one is renamed and one is sent."""
    pairs = [
        Pair("a", unchanged(file("a", "old")), DELETED, before=entry()),
        Pair("b", ABSENT, changed(file("b", "old", 1), "old")),
        Pair("c", ABSENT, changed(file("c", "old", 1), "old")),
    ]
    assert [(), (Move,), (Transfer,)] == [tuple(map(type, d.steps)) for d in planned(pairs).values()]


@pytest.mark.parametrize(
    "other",
    [
        Pair("b", ABSENT, changed(file("b", "new", 1), "new")),
        Pair("b", ABSENT, changed(file("b", "old", 1))),
        Pair("b", unchanged(file("b", "was"), "was"), changed(file("b", "old", 1), "old"), before=entry("was")),
        Pair("b", changed(file("b", "old", 1), "old"), ABSENT),
    ],
    ids=["other content", "content not known", "a name in use", "the other direction"],
)
def test_what_does_not_match_is_sent(other: Pair) -> None:
    """A move never decides correctness."""
    decisions = planned([Pair("a", unchanged(file("a", "old")), DELETED, before=entry()), other])
    assert [(Remove,), (Transfer,)] == [tuple(map(type, d.steps)) for d in decisions.values()]


@pytest.mark.parametrize(
    ("mode", "here", "there", "removed_on"),
    [
        (Mode.MIRROR, MINE, None, HERE),
        (Mode.ORIGINAL, None, THEIRS, THERE),
        (Mode.SYNC, MINE, None, None),
    ],
)
def test_delete(mode: Mode, here: Found | None, there: Found | None, removed_on: Side | None) -> None:
    """With --delete a one-way mode removes from the target what the source does not have, even if it never had it."""
    pair = Pair("f", changed(here) if here else ABSENT, changed(there) if there else ABSENT)
    (step,) = planned([pair], Rules(mode, delete=True))["f"].steps
    assert (Remove if removed_on else Transfer, removed_on or THERE) == (type(step), step.on)


@pytest.mark.parametrize(
    ("mode", "here", "there", "action"),
    [
        (Mode.MIRROR, 5, 3, Action.IGNORE),
        (Mode.MIRROR, 3, 5, Action.GET),
        (Mode.MIRROR, 3, 3, Action.GET),
        (Mode.ORIGINAL, 3, 5, Action.IGNORE),
        (Mode.ORIGINAL, 5, 3, Action.PUT),
        (Mode.SYNC, 5, 3, Action.DUPLICATE),
    ],
)
def test_only_newer(mode: Mode, here: int, there: int, action: Action) -> None:
    """--only-newer leaves alone what is newer on the target of a one-way mode, and bears on no other."""
    pair = Pair("f", changed(file("f", "mine", here), "mine"), changed(file("f", "theirs", there), "theirs"))
    decision = planned([pair], Rules(mode, only_newer=True))["f"]
    assert (action, action is Action.IGNORE) == (decision.action, decision.then is Then.KEEP)


@pytest.mark.parametrize(("size_only", "action"), [(True, Action.NOTHING), (False, Action.DUPLICATE)])
def test_size_only(size_only: bool, action: Action) -> None:
    """Two full sides meet for the first time: equal sizes are believed by who can't wait."""
    pair = Pair("f", changed(file("f", "mine", 2)), changed(file("f", "hers", 3)))
    assert action == planned([pair], Rules(size_only=size_only))["f"].action


def test_size_only_believes_no_other_size_and_no_other_kind() -> None:
    """Only two files of one size are taken for equal."""
    pairs = [Pair("f", changed(MINE), changed(THEIRS)), Pair("g", changed(file("g", "x")), changed(link("g", "y")))]
    assert [Action.DUPLICATE] * 2 == [d.action for d in planned(pairs, Rules(size_only=True)).values()]


@pytest.mark.parametrize(("winner", "loser"), [(HERE, THERE), (THERE, HERE)])
def test_a_winner_without_anybody_to_ask(winner: Side, loser: Side) -> None:
    """`conflict local|hub`: that side's version has the name, the loser's lies beside it as an ordinary file."""
    decision = planned([cell(Status.CHANGED, Status.CHANGED)], Rules(winner=lambda _: winner))["f"]
    won, lost = (MINE, THEIRS) if winner is HERE else (THEIRS, MINE)
    aside, bring = decision.steps
    beside = f"f.{HUB if winner is HERE else NODE}"
    assert Move(loser, beside, lost) == aside
    assert (Transfer, loser, "f", won, None) == told(bring)
    assert (Then.AGREE, None) == (decision.then, decision.conflict)
    assert beside in decision.reason


def test_newer_with_equal_times_stays_open() -> None:
    """`conflict newer` decides nothing where neither is."""
    pair = Pair("f", changed(file("f", "mine", 3)), changed(file("f", "theirs", 3)))
    assert Action.DUPLICATE == planned([pair], Rules(winner=newer_side))["f"].action


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (stamp("a", 2), stamp("a", 1), HERE),
        (stamp("a", 1), stamp("a", 2), THERE),
        (stamp("a", 1), stamp("a", 1), None),
        (Stamp(Kind.FILE, 1, 59 * SECOND), Stamp(Kind.FILE, 1, 0, 60 * SECOND), None),
        (Stamp(Kind.FILE, 1, 60 * SECOND), Stamp(Kind.FILE, 1, 0, 60 * SECOND), HERE),
        (Stamp(Kind.FILE, 1, None), stamp("a", 1), None),
        (stamp("a", 1), Stamp(Kind.FILE, 1, None), None),
    ],
)
def test_newer_side(here: Stamp, there: Stamp, expected: Side | None) -> None:
    """Times compare at the coarser resolution, and unknown ones decide nothing."""
    assert expected == newer_side(Pair("f", changed(Found("f", here)), changed(Found("f", there))))


def test_nobody_is_newer_than_nothing() -> None:
    """There is no later version where there is only one."""
    assert [None, None] == [
        newer_side(Pair("f", changed(MINE), DELETED)),
        newer_side(Pair("f", DELETED, changed(MINE))),
    ]


def test_a_winner_against_a_directory_stays_open() -> None:
    """A file and what lies in a directory can't lie beside each other under one name."""
    pair = Pair("f", changed(MINE, "mine"), changed(directory("f")))
    assert Action.DUPLICATE == planned([pair], Rules(winner=lambda _: HERE))["f"].action


@pytest.mark.parametrize(("mode", "here", "there"), list(product(Mode, Status, Status)))
def test_after_a_restored_backup_nothing_is_removed(mode: Mode, here: Status, there: Status) -> None:
    """What would be removed is brought back instead where the mode may write that side, all else is as ever."""
    pair = cell(here, there)
    action = TABLES[mode][here, there]
    if action is Action.REMOVE:
        action = Action.PUT if pair.here.found else Action.GET
        if mode not in TWO_WAY:
            action = Action.IGNORE
    decision = planned([pair], Rules(mode, removals=False))["f"]
    assert (action, expected_steps(pair, action)) == (decision.action, [told(step) for step in decision.steps])


def test_a_restored_backup_brings_directories_back_whole() -> None:
    """The directory and all that it held."""
    base = Base({"d": DIRECTORY, "d/x": entry()})
    decisions = met(base, scan(directory("d"), file("d/x", "old")), scan(), rules=Rules(removals=False))
    assert [(MakeDirectory,), (Transfer,)] == [tuple(map(type, d.steps)) for d in decisions.values()]
    assert {THERE} == {step.on for d in decisions.values() for step in d.steps}


def test_what_another_node_recorded_of_bits_and_time_follows() -> None:
    """The hub can't hold them; the highest counter wins, and only the node is adjusted."""
    newer = Meta(0o755, 9 * SECOND, 4, "laptop")
    found = file("f", "old", 1, 0o644)
    pair = Pair("f", unchanged(found), unchanged(OLD), before=entry(meta=Meta(0o644, SECOND, 3, NODE)), meta=newer)
    decision = planned([pair])["f"]
    assert ((Adjust(HERE, "f", found, newer),), newer) == (decision.steps, decision.meta)


@pytest.mark.parametrize(
    ("rules", "known", "now", "expected"),
    [
        (Rules(modes_there=True), 0o644, 0o600, [Adjust(THERE, "f", OLD, Meta(0o600))]),
        (Rules(modes_there=True), 0o644, 0o644, []),
        (Rules(modes_there=True), None, 0o600, []),
        (Rules(), 0o644, 0o600, []),
        (Rules(Mode.MIRROR, modes_there=True), 0o644, 0o600, []),
        (Rules(Mode.ORIGINAL, modes_there=True), 0o644, 0o600, [Adjust(THERE, "f", OLD, Meta(0o600))]),
    ],
)
def test_bits_changed_on_the_node_reach_the_hubs_file(
    rules: Rules, known: int | None, now: int, expected: list[Adjust]
) -> None:
    """Where it holds any, and where it may be written; bits that were not known before are no change."""
    found = file("f", "old", 1, now)
    found = replace(found, stamp=replace(found.stamp, ctime_ns=9))
    before = entry(meta=Meta(known, SECOND, 3, NODE))
    before = replace(before, here=replace(found.stamp, ctime_ns=8))
    decision = planned([Pair("f", unchanged(found), unchanged(OLD), before=before)], rules)["f"]
    assert (expected, now) == (list(decision.steps), decision.meta.mode)


def test_an_older_record_of_bits_and_time_does_nothing() -> None:
    """A lower counter, or the same one by a lesser name, has been overtaken."""
    mine = Meta(0o644, SECOND, 3, NODE)
    for counter, author in ((2, "zeta"), (3, "laptop"), (3, NODE)):
        pair = Pair(
            "f",
            unchanged(file("f", "old", 1, 0o644)),
            unchanged(OLD),
            before=entry(meta=mine),
            meta=Meta(0o755, 9 * SECOND, counter, author),
        )
        decision = planned([pair])["f"]
        assert ((), mine) == (decision.steps, decision.meta)


def test_what_the_user_set_rises_above_what_was_known() -> None:
    """New bits on the node count one higher, and carry its name."""
    known = Meta(0o644, SECOND, 3, "laptop")
    pair = Pair("f", unchanged(file("f", "old", 2, 0o600)), unchanged(OLD), before=entry(meta=known))
    assert Meta(0o600, 2 * SECOND, 4, NODE) == planned([pair])["f"].meta


def test_removals_count_files_and_links_but_nothing_replaced() -> None:
    """Directories, moves and plain edits are no removals."""
    pairs = [
        Pair("a", unchanged(file("a", "old")), DELETED, before=entry()),
        Pair("b", unchanged(link("b", "x")), DELETED, before=entry("x")),
        Pair("d", unchanged(directory("d")), DELETED, before=DIRECTORY),
        Pair("e", unchanged(file("e", "old")), changed(file("e", "new", 5), "new"), before=entry()),
        Pair("k", unchanged(file("k", "old")), changed(directory("k")), before=entry()),
    ]
    assert 2 == removals(planned(pairs).values())


def test_the_digest_travels_with_the_transfer() -> None:
    """Who carries it out can verify what arrives."""
    (step,) = planned([cell(Status.UNCHANGED, Status.CHANGED)])["f"].steps
    assert isinstance(step, Transfer)
    assert digest("theirs") == step.digest
