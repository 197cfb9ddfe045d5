"""What was reached is folded into what was known; nothing is stated that no outcome observed."""

from dataclasses import replace

import pytest

from core_values import (
    ABSENT,
    COPY_HERE,
    COPY_THERE,
    DELETED,
    DIRECTORY,
    MINE,
    OPEN,
    THEIRS,
    changed,
    copy,
    digest,
    directory,
    entry,
    file,
    link,
    met,
    scan,
    stamp,
    unchanged,
    version,
)
from symsync.core.commit import Agreement, Fresh, commit
from symsync.core.compare import Base
from symsync.core.modes import Action
from symsync.core.steps import Decision, Done, Failed, Move, Outcome, Pair, Remove, Step, Then, Transfer
from symsync.core.values import Found, Problem, Reason, Side
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Conflict, Copy, Entry, Meta

HERE, THERE = Side.HERE, Side.THERE
OLD, NEW = file("f", "old", 1), file("f", "new", 5)
KNOWN = Base({"f": entry("old")})
META = Meta(0o640, SECOND, 2, "pc")
GET = Transfer(HERE, "f", NEW, OLD, digest("new"))


def failed(step: Step) -> Failed:
    return Failed(step, Problem(step.path, Reason.DENIED))


def arrived(step: Transfer, at: int, content: str) -> Done:
    """`step` done: what it brought has that side's own time."""
    found = Found(step.path, replace(step.source.stamp, mtime_ns=at * SECOND))
    return Done(step, found, step.source, digest(content))


def got() -> Decision:
    """The hub's new version is to replace the node's old one."""
    return Decision("f", Action.GET, Pair("f", unchanged(OLD), changed(NEW), entry()), Then.AGREE, (GET,), meta=META)


def test_a_transfer_is_recorded_as_each_side_shows_it() -> None:
    """Here as it was placed, there as it was read; the digest is that of what came over."""
    expected = Agreement({"f": Entry(stamp("new", 7), stamp("new", 5), digest("new"), None, META)}, {}, True)
    assert expected == commit(KNOWN, [Outcome(got(), (arrived(GET, 7, "new"),))])


def test_a_failed_step_keeps_the_old_entry() -> None:
    """The next run sees the same difference, and tries again."""
    assert Agreement(KNOWN.entries, {}, False) == commit(KNOWN, [Outcome(got(), (), (failed(GET),))])


def test_one_failure_leaves_the_others_alone() -> None:
    """What was reached elsewhere counts."""
    other = Decision("g", Action.REMOVE, Pair("g", DELETED, DELETED, entry()), Then.FORGET)
    base = Base({"f": entry("old"), "g": entry("old")})
    assert Agreement(KNOWN.entries, {}, True) == commit(base, [Outcome(got(), (), (failed(GET),)), Outcome(other)])


def test_half_of_a_decision_is_none() -> None:
    """A settled conflict whose copy could not be taken away stays open: the next run ends it."""
    put, away = Transfer(THERE, "f", MINE, THEIRS), Remove(THERE, "f.pc", COPY_THERE)
    pair = Pair("f", unchanged(MINE, "mine"), unchanged(THEIRS, "theirs"), conflict=OPEN, copy_there=COPY_THERE)
    decision = Decision("f", Action.PUT, pair, Then.AGREE, (put, away))
    outcome = Outcome(decision, (arrived(put, 9, "mine"),), (failed(away),))
    assert Agreement({}, {"f": OPEN}, False) == commit(Base(conflicts={"f": OPEN}), [outcome])


def test_a_copy_that_the_run_itself_took_away_was_removed_by_nobody() -> None:
    """The conflict's end was cut off after it: the copy leaves the record, so that its absence decides nothing."""
    base = Base(conflicts={"f": OPEN})
    decision = met(base, scan(COPY_HERE), scan(THEIRS, COPY_THERE))["f"]
    bring, _, away = decision.steps
    outcome = Outcome(decision, (Done(away),), (failed(bring),))
    assert Agreement({}, {"f": replace(OPEN, copy_there=None)}, True) == commit(base, [outcome])


def test_agreement_without_steps() -> None:
    """Two equal files that meet are recorded, each in its own stamp."""
    theirs = file("f", "old", 9)
    decision = Decision("f", Action.NOTHING, Pair("f", changed(OLD, "old"), changed(theirs, "old")), Then.AGREE)
    assert Agreement({"f": entry("old", 1, 9)}, {}, True) == commit(Base(), [Outcome(decision)])


@pytest.mark.parametrize(
    ("then", "expected"), [(Then.KEEP, Agreement(KNOWN.entries, {}, False)), (Then.FORGET, Agreement({}, {}, True))]
)
def test_keep_and_forget(then: Then, expected: Agreement) -> None:
    """What is left alone stays as it was recorded; what is gone leaves the state."""
    decision = Decision("f", Action.IGNORE, Pair("f", DELETED, DELETED, entry()), then)
    assert expected == commit(KNOWN, [Outcome(decision)])


def test_forgetting_what_nobody_knew_is_no_change() -> None:
    """Nothing is written for nothing."""
    decision = Decision("f", Action.IGNORE, Pair("f", ABSENT, ABSENT), Then.FORGET)
    assert Agreement({}, {}, False) == commit(Base(), [Outcome(decision)])


def test_nothing_happened() -> None:
    """A run over unchanged sides says what the state said, though the hub now tells finer times than before."""
    fine = Found("f", Stamp(Kind.FILE, 3, SECOND + 5, 1))
    base = Base({"d": DIRECTORY, "f": entry("old")}, {"g": OPEN})
    here, there = scan(directory("d", 0o700), OLD), scan(directory("d"), fine)
    decisions = met(Base(base.entries), here, there)
    assert Agreement(base.entries, base.conflicts, False) == commit(base, map(Outcome, decisions.values()))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (replace(stamp("old", 1), ctime_ns=1), replace(stamp("old", 1), ctime_ns=2)),
        (stamp("old", 1), replace(stamp("old", 1), ctime_ns=2)),
        (stamp("old", 1), stamp("old", 4)),
        (stamp("old", 1).unsettled(), stamp("old", 1)),
        (stamp("old", 1), stamp("old", 1).unsettled()),
    ],
)
def test_a_new_stamp_of_the_same_content_is_recorded(before: Stamp, now: Stamp) -> None:
    """Else the file would be read again in every run, or an edit in its tick be missed."""
    known = replace(entry("old"), here=before)
    decision = Decision("f", Action.NOTHING, Pair("f", unchanged(Found("f", now)), unchanged(OLD), known), Then.AGREE)
    expected = Agreement({"f": replace(known, here=now)}, {}, True)
    assert expected == commit(Base({"f": known}), [Outcome(decision)])


def test_a_directory_s_stamp_is_plain() -> None:
    """Its time and inode change with what it holds, and say nothing."""
    busy = Found("d", Stamp(Kind.DIRECTORY, 4096, 5 * SECOND, 1, 12, 7), 0o700)
    decision = Decision("d", Action.NOTHING, Pair("d", changed(busy), changed(busy)), Then.AGREE)
    assert Agreement({"d": DIRECTORY}, {}, True) == commit(Base(), [Outcome(decision)])


def test_a_link_s_target_is_recorded() -> None:
    """So that it can be restored where the hub can't hold links."""
    one = link("f", "x")
    decision = Decision("f", Action.NOTHING, Pair("f", changed(one, "x"), changed(one, "x")), Then.AGREE)
    assert Entry(one.stamp, one.stamp, digest("x"), "x") == commit(Base(), [Outcome(decision)]).entries["f"]


def moved() -> tuple[Decision, Decision, Move]:
    move = Move(HERE, "g", OLD)
    went = Decision("f", Action.REMOVE, Pair("f", unchanged(OLD), DELETED, entry()), Then.FORGET, after="g")
    came = Decision("g", Action.GET, Pair("g", ABSENT, changed(file("g", "old"), "old")), Then.AGREE, (move,))
    return went, came, move


def test_a_move() -> None:
    """Both ends are recorded together."""
    went, came, move = moved()
    outcomes = [Outcome(went), Outcome(came, (Done(move, file("g", "old")),))]
    assert Agreement({"g": entry("old")}, {}, True) == commit(KNOWN, outcomes)


def test_a_failed_move_has_no_end() -> None:
    """The old name is still there, so the state still says so."""
    went, came, move = moved()
    assert Agreement(KNOWN.entries, {}, False) == commit(KNOWN, [Outcome(went), Outcome(came, (), (failed(move),))])


def opened(base: Base) -> Decision:
    return met(base, scan(MINE), scan(THEIRS))["f"]


def both_copied(decision: Decision) -> tuple[Done, Done]:
    to_here, to_there = decision.steps
    assert isinstance(to_here, Transfer) and isinstance(to_there, Transfer)
    return arrived(to_here, 4, "theirs"), arrived(to_there, 4, "mine")


def test_a_conflict_replaces_the_entry() -> None:
    """Both versions and both copies are recorded with the digests of what was sent."""
    decision = opened(KNOWN)
    assert Agreement({}, {"f": OPEN}, True) == commit(KNOWN, [Outcome(decision, both_copied(decision))])


def test_a_conflict_with_one_copy_failed() -> None:
    """It is open all the same, without that copy; and what could not be read is not claimed to be known."""
    decision = opened(KNOWN)
    to_here, _ = both_copied(decision)
    expected = Conflict(replace(version("mine", 2), digest=b""), OPEN.there, OPEN.copy_here, None)
    outcome = Outcome(decision, (to_here,), (failed(decision.steps[1]),))
    assert Agreement({}, {"f": expected}, True) == commit(KNOWN, [outcome])


def test_a_missing_copy_is_made_in_the_next_run() -> None:
    """That a copy could not be stored is no decision."""
    base = Base(conflicts={"f": replace(OPEN, copy_there=None)})
    decision = met(base, scan(MINE, COPY_HERE), scan(THEIRS))["f"]
    (step,) = decision.steps
    assert isinstance(step, Transfer)
    assert (THERE, "f.pc", MINE) == (step.on, step.path, step.source)
    outcome = Outcome(decision, (arrived(step, 4, "mine"),))
    assert Agreement({}, {"f": OPEN}, True) == commit(base, [outcome])


def test_a_failed_refresh_is_tried_again_and_decides_nothing() -> None:
    """The old copy lies there still: its removal is no word against the version that it does not hold."""
    base, newer = Base(conflicts={"f": OPEN}), file("f", "theirs again", 8)
    decision = met(base, scan(MINE, COPY_HERE), scan(newer, COPY_THERE))["f"]
    after = replace(base, conflicts=commit(base, [Outcome(decision, (), tuple(map(failed, decision.steps)))]).conflicts)
    again = met(after, scan(MINE, COPY_HERE), scan(newer, COPY_THERE))["f"]
    assert [("f.server", newer, COPY_HERE)] == [
        (step.path, step.source, step.replaces) for step in again.steps if isinstance(step, Transfer)
    ]
    removed = met(after, scan(MINE), scan(newer, COPY_THERE))["f"]
    assert (Then.CONFLICT, ["f.server"]) == (removed.then, [step.path for step in removed.steps])


def test_a_refreshed_copy() -> None:
    """Digest and stamp are the new copy's, and so is the version it was made from."""
    base, newer = Base(conflicts={"f": OPEN}), file("f", "theirs again", 8)
    decision = met(base, scan(MINE, COPY_HERE), scan(newer, COPY_THERE))["f"]
    (step,) = decision.steps
    assert isinstance(step, Transfer)
    expected = replace(OPEN, there=version("theirs again", 8), copy_here=copy("f.server", "theirs again", 9))
    outcome = Outcome(decision, (arrived(step, 9, "theirs again"),))
    assert Agreement({}, {"f": expected}, True) == commit(base, [outcome])


LOST = Base(lost={"f": replace(OPEN, copy_here=Copy("f.server", digest("theirs")))}, decisions=False)


def test_a_conflict_whose_lost_version_came_back() -> None:
    """The version is recorded as it lies here now. The copy here is to be laid, and decides nothing until it was."""
    decision = met(LOST, scan(), scan(THEIRS, COPY_THERE))["f"]
    (step,) = decision.steps
    assert isinstance(step, Transfer)
    expected = replace(OPEN, here=version("mine", 9), copy_here=Copy("f.server", digest("theirs")))
    assert Agreement({}, {"f": expected}, True) == commit(LOST, [Outcome(decision, (arrived(step, 9, "mine"),))])
    opened_again = Base(conflicts={"f": expected})
    again = met(opened_again, scan(file("f", "mine", 9)), scan(THEIRS, COPY_THERE))["f"]
    assert (Then.CONFLICT, ["f.server"]) == (again.then, [step.path for step in again.steps])


def test_a_conflict_whose_lost_version_did_not_come_back() -> None:
    """It is no more, and its copy a file like any other: an absence here would be taken for a deletion."""
    decision = met(LOST, scan(), scan(THEIRS, COPY_THERE))["f"]
    assert {} == commit(LOST, [Outcome(decision, (), tuple(map(failed, decision.steps)))]).conflicts
    assert {} == commit(LOST, []).conflicts


def test_a_directory_in_conflict_is_recorded_plainly() -> None:
    """Its stamp says nothing; only the file has a copy."""
    decision = met(Base(), scan(MINE), scan(Found("f", Stamp(Kind.DIRECTORY, 4096, SECOND))))["f"]
    (step,) = decision.steps
    assert isinstance(step, Transfer)
    conflict = commit(Base(), [Outcome(decision, (arrived(step, 4, "mine"),))]).conflicts["f"]
    assert (Stamp(Kind.DIRECTORY), None, Copy("f.pc", digest("mine"), stamp("mine", 4))) == (
        conflict.there.stamp,
        conflict.copy_here,
        conflict.copy_there,
    )


def test_an_end_to_a_conflict() -> None:
    """Settled: the path has an entry again."""
    base = Base(conflicts={"f": OPEN})
    decision = met(base, scan(COPY_HERE), scan(THEIRS))["f"]
    bring, away = decision.steps
    assert isinstance(bring, Transfer)
    outcome = Outcome(decision, (arrived(bring, 9, "theirs"), Done(away)))
    expected = Entry(stamp("theirs", 9), stamp("theirs", 3), digest("theirs"), None, decision.meta)
    assert Agreement({"f": expected}, {}, True) == commit(base, [outcome])


def test_what_no_outcome_speaks_of_stays() -> None:
    """Unknown paths have no pair, and keep what the state says of them."""
    base = Base({"f": entry()}, {"g": OPEN})
    assert Agreement(base.entries, base.conflicts, False) == commit(base, [])


LATE = file("f", "new", 5)
ALWAYS = Fresh(0, 1 << 62)
UPLOAD = Transfer(THERE, "f", NEW, OLD, digest("new"))


@pytest.mark.parametrize(
    ("fresh", "settled"),
    [
        (None, True),
        (Fresh(7 * SECOND, 9 * SECOND), True),
        (Fresh(6 * SECOND, 9 * SECOND), True),
        (Fresh(6 * SECOND - 1, 9 * SECOND), False),
        (Fresh(5 * SECOND, 9 * SECOND), False),
        (Fresh(0, 2 * SECOND), True),
    ],
)
def test_what_was_just_written_on_the_hub_is_doubted(fresh: Fresh | None, settled: bool) -> None:
    """A later edit may hide in the tick of its stamp, so that the next run verifies it; not one in the far future."""
    recorded = commit(KNOWN, [Outcome(got(), (arrived(GET, 7, "new"),))], fresh).entries["f"].there
    assert replace(LATE.stamp, settled=settled) == recorded


@pytest.mark.parametrize(
    ("decision", "done"),
    [
        (Decision("f", Action.NOTHING, Pair("f", unchanged(OLD), unchanged(OLD), entry()), Then.AGREE), ()),
        (
            Decision("f", Action.PUT, Pair("f", changed(NEW), unchanged(OLD), entry()), Then.AGREE, (UPLOAD,)),
            (arrived(UPLOAD, 8, "new"),),
        ),
        (
            Decision("f", Action.NOTHING, Pair("f", unchanged(OLD), changed(OLD, "old"), meta=META), Then.AGREE),
            (),
        ),
        (
            Decision("f", Action.NOTHING, Pair("f", changed(directory("f")), changed(directory("f"))), Then.AGREE),
            (),
        ),
    ],
    ids=["unchanged", "our own upload", "another node's", "a directory"],
)
def test_nothing_else_is_doubted(decision: Decision, done: tuple[Done, ...]) -> None:
    """Own and other nodes' uploads never bear the stamp of what they replace."""
    assert commit(KNOWN, [Outcome(decision, done)], ALWAYS).entries["f"].there.settled


def test_a_time_that_the_hub_does_not_tell_is_doubted() -> None:
    """Without a time nothing says when it was written."""
    timeless = Found("f", Stamp(Kind.FILE, 3, None))
    decision = Decision("f", Action.NOTHING, Pair("f", changed(NEW, "new"), changed(timeless, "new")), Then.AGREE)
    assert timeless.stamp.unsettled() == commit(Base(), [Outcome(decision)], ALWAYS).entries["f"].there
