"""The next state: what was reached is folded into what was known, a failed step keeps the old entry."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from symsync.core.compare import Base
from symsync.core.modes import Status
from symsync.core.steps import Adjust, Decision, Done, Move, Outcome, Remove, Then, Transfer
from symsync.core.values import Found, Side
from symsync_protocol.stamps import Kind, Stamp, same
from symsync_protocol.state import Conflict, Copy, Entry, Version


@dataclass(frozen=True, slots=True)
class Agreement:
    """All entries and open conflicts after a run."""

    entries: Mapping[str, Entry]
    conflicts: Mapping[str, Conflict]
    changed: bool
    """Whether it says anything else than the state did before."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The hub's times, in ns, in which a later edit may hide under a stamp that this run saw."""

    since: int
    until: int

    def covers(self, stamp: Stamp) -> bool:
        """Whether the content behind `stamp` may have changed since it was read."""
        if stamp.kind is not Kind.FILE:
            return False
        return stamp.mtime_ns is None or self.since < stamp.mtime_ns + stamp.tick_ns <= self.until + 2 * stamp.tick_ns


def commit(base: Base, outcomes: Iterable[Outcome], fresh: Fresh | None = None) -> Agreement:
    """Fold `outcomes` into `base`. States nothing that no outcome observed.

    What somebody else wrote on the hub in a time that is still `fresh` is recorded as unsettled, and verified in the
    next run.
    """
    outcomes = list(outcomes)
    broken = {outcome.decision.path for outcome in outcomes if not outcome.whole}
    entries, conflicts = dict(base.entries), dict(base.conflicts)
    changed = False
    for outcome in outcomes:
        decision = outcome.decision
        path = decision.path
        if decision.then is Then.KEEP or (decision.after is not None and decision.after in broken):
            continue
        if decision.then is Then.CONFLICT:
            conflict = _conflict(decision, outcome, fresh)
            if conflict is not None and conflicts.get(path) != conflict:
                conflicts[path] = conflict
                changed = True
            if conflict is not None:
                changed = entries.pop(path, None) is not None or changed
            continue
        if not outcome.whole:
            kept = _still_copied(conflicts.get(path), outcome.done)
            if kept is not None and kept != conflicts[path]:
                conflicts[path] = kept
                changed = True
            continue
        changed = conflicts.pop(path, None) is not None or changed
        entry = _entry(decision, outcome.done, fresh) if decision.then is Then.AGREE else None
        if entry is None:
            changed = entries.pop(path, None) is not None or changed
        elif entries.get(path) != entry:
            entries[path] = entry
            changed = True
    return Agreement(entries, conflicts, changed)


def _entry(decision: Decision, done: tuple[Done, ...], fresh: Fresh | None) -> Entry | None:
    here = _lies(decision, done, Side.HERE)
    there = _lies(decision, done, Side.THERE)
    if here is None or there is None:
        return None
    before = decision.pair.before
    done_there = [d.step for d in done if d.step.on is Side.THERE and d.step.path == decision.path]
    moved = any(isinstance(step, Move) for step in done_there)  # which leaves it the time that somebody else gave it
    put_there = any(not isinstance(step, Adjust) for step in done_there)
    foreign = moved or (_foreign(decision) and not put_there and there.path == decision.path)
    digest = next((d.digest for d in done if d.digest is not None and d.step.path == decision.path), None)
    if digest is None:
        digest = decision.pair.here.digest or decision.pair.there.digest or b""
    stamp = there.stamp
    if foreign and fresh is not None and fresh.covers(stamp):
        stamp = stamp.unsettled()
    return Entry(
        _kept(before.here if before else None, here.stamp),
        _kept(before.there if before else None, stamp),
        digest,
        here.target if here.target is not None else there.target,
        decision.meta,
    )


def as_seen(decision: Decision, stamp: Stamp, fresh: Fresh | None) -> Stamp:
    """The hub's `stamp` as it is to be recorded: unsettled where this run saw it first, and an edit may hide in it."""
    hides = _foreign(decision) and fresh is not None and fresh.covers(stamp)
    return stamp.unsettled() if hides else stamp


def conflict_as_seen(decision: Decision, planned: Conflict, fresh: Fresh | None) -> Conflict:
    """The same for a conflict that `decision` makes or continues."""
    old = decision.pair.conflict
    there = replace(planned.there, stamp=as_seen(decision, planned.there.stamp, fresh))
    copy = _still_doubtful(planned.copy_there, old.copy_there if old else None, fresh)
    return replace(planned, there=there, copy_there=copy)


def _foreign(decision: Decision) -> bool:
    """Whether what lies on the hub was seen there under this stamp in this run for the first time, or was in doubt, and
    no other node's state vouches for it."""
    before, conflict = decision.pair.before, decision.pair.conflict
    recorded = before.there if before else conflict.there.stamp if conflict else None
    found = decision.pair.there.found
    read = recorded is not None and found is not None and not same(recorded, found.stamp)
    doubtful = read or (recorded is not None and not recorded.settled)
    seen_anew = decision.pair.there.status is Status.CHANGED or doubtful
    return seen_anew and decision.pair.meta is None


def _lies(decision: Decision, done: tuple[Done, ...], side: Side) -> Found | None:
    """What lies at the decision's path on `side` now, as it was last seen."""
    for result in reversed(done):
        if result.step.on is side and result.step.path == decision.path and result.found is not None:
            return result.found
    for result in reversed(done):
        step = result.step
        if isinstance(step, Transfer) and step.on is side.other and step.path == decision.path and result.source:
            return result.source
    return decision.pair.sight(side).found


def _kept(before: Stamp | None, now: Stamp) -> Stamp:
    """The stamp to record: the old one where it says the same, so that nothing is written for nothing."""
    if now.kind is Kind.DIRECTORY:
        return Stamp(Kind.DIRECTORY)
    if before is not None and before.settled == now.settled and same(before, now) and before.ctime_ns == now.ctime_ns:
        return before
    return now


def _conflict(decision: Decision, outcome: Outcome, fresh: Fresh | None) -> Conflict | None:
    """The conflict as far as it was carried out: a copy that could not be stored leaves it open without that copy."""
    planned, old = decision.conflict, decision.pair.conflict or decision.pair.lost
    if planned is None:
        return None
    here, there = planned.here, planned.there
    if decision.pair.lost is not None:
        back = next((d for d in outcome.done if d.step.path == decision.path), None)
        if back is None or back.found is None:
            return None  # whose absence would else be taken for a deletion
        here = replace(here, stamp=back.found.stamp, digest=back.digest or here.digest)
    copies: dict[Side, Copy | None] = {}
    for side in Side:
        copy = planned.copy_here if side is Side.HERE else planned.copy_there
        version = there if side is Side.HERE else here
        transfers = (step for step in decision.steps if isinstance(step, Transfer) and step.on is side)
        steps = [step for step in transfers if step.path != decision.path]
        slot = None if old is None else old.copy_here if side is Side.HERE else old.copy_there
        if copy is None or not steps:
            copies[side] = _still_doubtful(copy, slot, fresh) if side is Side.THERE else copy
            continue
        result = next((d for d in outcome.done if d.step is steps[0]), None)
        if result is None or result.found is None:
            lying = decision.pair.copy_here if side is Side.HERE else decision.pair.copy_there
            copies[side] = slot if lying is not None else None
            continue
        digest = result.digest or copy.digest
        copies[side] = Copy(copy.path, digest, result.found.stamp)
        version = _seen(version, result, digest)
        here, there = (here, version) if side is Side.HERE else (version, there)
    there = replace(there, stamp=as_seen(decision, there.stamp, fresh))
    return Conflict(_plain(here), _plain(there), copies[Side.HERE], copies[Side.THERE])


def _still_doubtful(copy: Copy | None, slot: Copy | None, fresh: Fresh | None) -> Copy | None:
    """A copy that had to be read, for its stamp was too fresh or another: it still is in doubt where the tick lasts."""
    if copy is None or copy.stamp is None or slot is None or slot.stamp is None:
        return copy
    read = not slot.stamp.settled or not same(slot.stamp, copy.stamp)
    return replace(copy, stamp=copy.stamp.unsettled()) if read and fresh and fresh.covers(copy.stamp) else copy


def _still_copied(conflict: Conflict | None, done: tuple[Done, ...]) -> Conflict | None:
    """An open conflict whose end was cut off: a copy that this run took away was removed by nobody."""
    if conflict is None:
        return None
    removed = {(d.step.on, d.step.path) for d in done if isinstance(d.step, Remove)}
    mine, theirs = conflict.copy_here, conflict.copy_there
    return replace(
        conflict,
        copy_here=None if mine and (Side.HERE, mine.path) in removed else mine,
        copy_there=None if theirs and (Side.THERE, theirs.path) in removed else theirs,
    )


def _seen(version: Version, result: Done, digest: bytes) -> Version:
    stamp = result.source.stamp if result.source is not None else version.stamp
    return replace(version, stamp=stamp, digest=digest)


def _plain(version: Version) -> Version:
    return replace(version, stamp=Stamp(Kind.DIRECTORY)) if version.stamp.kind is Kind.DIRECTORY else version
