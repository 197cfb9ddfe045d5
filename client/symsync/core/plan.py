"""The plan: from pairs to decisions, by the mode's table and the few rules that no table can hold."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from symsync.core.conflicts import Names, bring_back, duplicate, equal, judge, take_copies_away
from symsync.core.modes import TABLES, Action, Mode, Status, writes
from symsync.core.steps import (
    Adjust,
    Decision,
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
from symsync_protocol.names import ancestors
from symsync_protocol.stamps import Kind, same
from symsync_protocol.state import Copy, Meta, Version


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user chose that bears on the plan."""

    mode: Mode = Mode.SYNC
    winner: Callable[[Pair], Side | None] | None = None
    """Who wins a conflict where nobody is there to decide; None keeps it open."""
    delete: bool = False
    only_newer: bool = False
    size_only: bool = False
    shift_ns: int = 0
    """How far the hub's clock is off (a server that tells local time for UTC, say)."""
    modes_there: bool = False
    """Whether the hub's files get the permission bits that the node's have."""
    removals: bool = True
    """False after a restored backup: what would be removed is brought back instead."""


def one_way(mode: Mode) -> bool:
    """Whether the mode settles by its direction what both sides changed."""
    return TABLES[mode][Status.CHANGED, Status.CHANGED] is not Action.DUPLICATE


def newer_side(pair: Pair, shift_ns: int = 0) -> Side | None:
    """The side with the later version, None where the times are equal or unknown (`conflict newer`).

    `shift_ns` is how far the hub's clock is off, which stamped what was edited there.
    """
    mine, theirs = pair.here.found, pair.there.found
    if mine is None or theirs is None or mine.stamp.mtime_ns is None or theirs.stamp.mtime_ns is None:
        return None
    tick = max(mine.stamp.tick_ns, theirs.stamp.tick_ns, 1)
    here, there = mine.stamp.mtime_ns // tick, _time_there(pair, theirs.stamp.mtime_ns - shift_ns) // tick
    return None if here == there else Side.HERE if here > there else Side.THERE


def _time_there(pair: Pair, edited: int) -> int:
    """When the hub's version was made: exact where a node put it there, else as the hub's clock stamped it."""
    meta = pair.meta or (pair.before.meta if pair.before and pair.there.status is Status.UNCHANGED else None)
    return meta.mtime_ns if meta is not None and meta.mtime_ns is not None else edited


def plan(pairs: Sequence[Pair], rules: Rules, names: Names) -> list[Decision]:
    """A decision for every pair, in the order of the paths. Pure and symmetric: swapped pairs give the swapped plan."""
    pairs = _kinds_settled(pairs)
    promised: set[str] = set()
    pinned: list[str] = []
    decisions: list[Decision] = []
    for pair in pairs:
        if any(pair.path.startswith(prefix) for prefix in pinned):
            decisions.append(Decision(pair.path, Action.IGNORE, pair, Then.KEEP, reason="below an open conflict"))
            continue
        decision = _decide(pair, rules, names, promised)
        if not _may_write(rules.mode, Side.HERE):
            decision = _left_as_it_is(decision, names)
        if decision.then is Then.CONFLICT and (_kinds_differ(pair) or (pair.lost and _is_directory(pair.there))):
            pinned.append(pair.path + "/")
        decisions.append(decision)
    decisions = _directories_needed(decisions, rules.mode)
    decisions = _cleared_first(decisions)
    return _moved(decisions)


def _decide(pair: Pair, rules: Rules, names: Names, promised: set[str]) -> Decision:
    action = TABLES[rules.mode][pair.here.status, pair.there.status]
    if pair.lost is not None and pair.lost.copy_there is not None and pair.copy_there is not None:
        return bring_back(pair, pair.lost, pair.lost.copy_there, pair.copy_there)
    if pair.conflict is not None:
        return _decide_open(pair, rules, names, promised)
    if equal(pair) or (rules.size_only and _same_size(pair)):
        return _mode_followed(_agree(pair, names), rules)
    if action is Action.IGNORE and rules.delete and one_way(rules.mode):
        action = _deletion(pair, rules.mode)
    if action is Action.REMOVE and not rules.removals:
        back = Side.THERE if pair.here.found else Side.HERE
        restored = Action.PUT if back is Side.THERE else Action.GET
        action = restored if _may_write(rules.mode, back) else Action.IGNORE
    if rules.only_newer and one_way(rules.mode) and _target_is_newer(pair, action, rules.shift_ns):
        return Decision(pair.path, Action.IGNORE, pair, Then.KEEP, reason="newer on the target")
    if action is Action.DUPLICATE and rules.winner is not None and (winner := rules.winner(pair)) is not None:
        return _won(pair, winner, names, promised)
    return _carried_out(pair, action, names, promised)


def _decide_open(pair: Pair, rules: Rules, names: Names, promised: set[str]) -> Decision:
    if not pair.copies_listed:  # what can't be taken away would be a file from then on
        return Decision(pair.path, Action.NOTHING, pair, Then.KEEP, reason="undecided")
    if one_way(rules.mode):
        return _decide_by_direction(pair, rules, names, promised)
    verdict = judge(pair)
    away = take_copies_away(pair)
    if verdict.settled:
        if equal(pair):
            return replace(_agree(pair, names), steps=away, reason=verdict.reason)
        return Decision(pair.path, Action.NOTHING, pair, Then.FORGET, away, reason=verdict.reason)
    if verdict.winner is not None:
        decision = _bring(pair, verdict.winner.other, names)
        return replace(decision, steps=decision.steps + away, reason=verdict.reason)
    if verdict.ask_again:
        return duplicate(pair, names, promised, reason="still undecided")
    return _undecided(pair)


def _undecided(pair: Pair) -> Decision:
    """Nothing happens to an open conflict; what had to be read to know it is recorded with its new stamp."""
    conflict = pair.conflict
    read = conflict and replace(
        conflict,
        here=_read(conflict.here, pair.here),
        there=_read(conflict.there, pair.there),
        copy_here=_read_copy(conflict.copy_here, pair.copy_here),
        copy_there=_read_copy(conflict.copy_there, pair.copy_there),
    )
    then = Then.KEEP if read == conflict else Then.CONFLICT
    return Decision(pair.path, Action.NOTHING, pair, then, conflict=read, reason="undecided")


def _read(version: Version, sight: Sight) -> Version:
    found = sight.found
    if found is None or sight.status is not Status.UNCHANGED:
        return version
    return (
        version if version.stamp.settled and same(version.stamp, found.stamp) else replace(version, stamp=found.stamp)
    )


def _read_copy(copy: Copy | None, found: Found | None) -> Copy | None:
    if copy is None or copy.stamp is None or found is None:
        return copy
    return copy if copy.stamp.settled and same(copy.stamp, found.stamp) else replace(copy, stamp=found.stamp)


def _decide_by_direction(pair: Pair, rules: Rules, names: Names, promised: set[str]) -> Decision:
    """A one-way mode settles an open conflict by its table, whatever was decided, and writes only where it may."""
    mine, theirs = (
        replace(sight, status=Status.CHANGED if sight.found else Status.DELETED) for sight in (pair.here, pair.there)
    )
    if equal(pair):
        decision = _agree(pair, names)
    else:
        action = TABLES[rules.mode][mine.status, theirs.status]
        decision = _carried_out(replace(pair, here=mine, there=theirs), action, names, promised)
    if decision.then is Then.KEEP:
        return decision
    away = tuple(step for step in take_copies_away(pair) if _may_write(rules.mode, step.on))
    return replace(decision, pair=pair, steps=decision.steps + away, reason="settled by the mode's direction")


def _may_write(mode: Mode, side: Side) -> bool:
    here, there = writes(mode)
    return here if side is Side.HERE else there


def _carried_out(pair: Pair, action: Action, names: Names, promised: set[str]) -> Decision:
    if action is Action.NOTHING:
        return _agree(pair, names)
    if action is Action.GET and pair.there.found is not None:
        return _bring(pair, Side.HERE, names)
    if action is Action.PUT and pair.here.found is not None:
        return _bring(pair, Side.THERE, names)
    if action is Action.REMOVE:
        return _remove(pair)
    if action is Action.DUPLICATE:
        return duplicate(pair, names, promised)
    gone = pair.here.found is None and pair.there.found is None
    return Decision(pair.path, Action.IGNORE, pair, Then.FORGET if gone else Then.KEEP)


def _agree(pair: Pair, names: Names) -> Decision:
    """Both sides hold the same content; only permission bits and time may still have to follow."""
    newest = pair.meta if pair.meta and pair.before and _newer(pair.meta, pair.before.meta) else None
    if newest is not None and pair.here.found is not None and _differs(newest, pair.here.found):
        step = Adjust(Side.HERE, pair.path, pair.here.found, newest)
        return Decision(pair.path, Action.NOTHING, pair, Then.AGREE, (step,), meta=newest, reason="mode or time")
    if newest is None and pair.before is None and pair.meta is not None and pair.here.found is not None:
        newest = pair.meta  # a first meeting: what the others recorded stands
        if _differs(newest, pair.here.found):
            step = Adjust(Side.HERE, pair.path, pair.here.found, newest)
            return Decision(pair.path, Action.NOTHING, pair, Then.AGREE, (step,), meta=newest, reason="mode or time")
    return Decision(pair.path, Action.NOTHING, pair, Then.AGREE, meta=newest or _own_meta(pair, names))


def _mode_followed(decision: Decision, rules: Rules) -> Decision:
    """Permission bits that were changed on the node go to the hub's file, too; its times are its own. Bits that the
    state did not know before are no change: the hub's may be somebody's there."""
    pair = decision.pair
    found, before, mode = pair.there.found, pair.before, decision.meta.mode
    if before is None or found is None or found.kind is not Kind.FILE or decision.steps:
        return decision
    known = before.meta.mode
    if not rules.modes_there or not _may_write(rules.mode, Side.THERE) or None in (mode, known) or mode == known:
        return decision
    step = Adjust(Side.THERE, pair.path, found, Meta(mode))
    return replace(decision, steps=(step,), reason="mode")


def _left_as_it_is(decision: Decision, names: Names) -> Decision:
    """Where nothing may be written on the node, its own permission bits and time stand."""
    if not any(isinstance(step, Adjust) and step.on is Side.HERE for step in decision.steps):
        return decision
    return replace(decision, steps=(), meta=_own_meta(decision.pair, names), reason="")


def _bring(pair: Pair, to: Side, names: Names) -> Decision:
    """The version of the other side goes to side `to`."""
    source, target = pair.sight(to.other).found, pair.sight(to).found
    if source is None:
        raise ValueError(f"{pair.path}: nothing to bring")
    action = Action.GET if to is Side.HERE else Action.PUT
    meta = _own_meta(pair, names) if to is Side.THERE else pair.meta or Meta(None, _time(source))
    steps: list[Step] = []
    if source.kind is Kind.DIRECTORY:
        if target is not None and target.kind is not Kind.DIRECTORY:
            steps.append(Remove(to, pair.path, target, early=True))
        if target is None or target.kind is not Kind.DIRECTORY:
            steps.append(MakeDirectory(to, pair.path, meta))
    else:
        if target is not None and target.kind is Kind.DIRECTORY:
            steps.append(RemoveDirectory(to, pair.path, early=True))
            target = None
        steps.append(Transfer(to, pair.path, source, target, pair.sight(to.other).digest, meta))
    return Decision(pair.path, action, pair, Then.AGREE, tuple(steps), meta=meta)


def _remove(pair: Pair) -> Decision:
    steps: list[Step] = []
    for side in Side:
        found = pair.sight(side).found
        if found is not None:
            directory = found.kind is Kind.DIRECTORY
            steps.append(RemoveDirectory(side, pair.path) if directory else Remove(side, pair.path, found))
    # In a one-way run only the target is written; the other side has nothing left by then.
    return Decision(pair.path, Action.REMOVE, pair, Then.FORGET, tuple(steps))


def _won(pair: Pair, winner: Side, names: Names, promised: set[str]) -> Decision:
    """The winner's version under the name, the loser's beside it as an ordinary file, which travels like any other."""
    loser = winner.other
    lost = pair.sight(loser).found
    decision = _bring(pair, loser, names)
    if lost is None or _kinds_differ(pair):
        return duplicate(pair, names, promised)
    owner = names.here if loser is Side.HERE else names.there
    beside = names.free(pair.path, owner, promised)
    fresh = tuple(replace(step, replaces=None) if isinstance(step, Transfer) else step for step in decision.steps)
    return replace(
        decision, steps=(Move(loser, beside, lost), *fresh), reason=f"conflict: the other version is {beside}"
    )


def _deletion(pair: Pair, mode: Mode) -> Action:
    """`--delete`: the target loses what the source does not have."""
    direction = TABLES[mode][Status.CHANGED, Status.CHANGED]
    source, target = (pair.there, pair.here) if direction is Action.GET else (pair.here, pair.there)
    return Action.REMOVE if source.found is None and target.found is not None else Action.IGNORE


def _target_is_newer(pair: Pair, action: Action, shift_ns: int) -> bool:
    if action not in (Action.GET, Action.PUT):
        return False
    if not all(found is not None and found.kind is Kind.FILE for found in (pair.here.found, pair.there.found)):
        return False
    source = Side.HERE if action is Action.PUT else Side.THERE
    return newer_side(pair, shift_ns) is source.other


def _same_size(pair: Pair) -> bool:
    mine, theirs = pair.here.found, pair.there.found
    changed = pair.here.status is Status.CHANGED and pair.there.status is Status.CHANGED
    return bool(
        changed and mine and theirs and mine.kind is theirs.kind is Kind.FILE and mine.stamp.size == theirs.stamp.size
    )


def _own_meta(pair: Pair, names: Names) -> Meta:
    """Bits and time as the node has them now; the counter rises only where they are not what was known."""
    found = pair.here.found
    known = pair.before.meta if pair.before else pair.meta
    if found is None:
        return known or Meta()
    if known is not None and not (pair.before and _touched(pair, found)) and not _differs(known, found):
        return known
    if known is not None and pair.before is not None and not _touched(pair, found):
        return known
    counter = max((meta.counter for meta in (pair.before and pair.before.meta, pair.meta) if meta), default=0)
    return Meta(found.mode, _time(found), counter + 1, names.here)


def _time(found: Found) -> int | None:
    return None if found.kind is Kind.DIRECTORY else found.stamp.mtime_ns


def _touched(pair: Pair, found: Found) -> bool:
    """Whether the node's own entry was touched since: its change time or its time moved."""
    if pair.before is None:
        return True
    old = pair.before.here
    if found.kind is Kind.DIRECTORY:
        return pair.before.meta.mode is not None and pair.before.meta.mode != found.mode
    return (old.mtime_ns, old.ctime_ns) != (found.stamp.mtime_ns, found.stamp.ctime_ns)


def _differs(meta: Meta, found: Found) -> bool:
    if meta.mode is not None and found.mode is not None and meta.mode != found.mode and found.kind is not Kind.LINK:
        return True
    return found.kind is Kind.FILE and meta.mtime_ns is not None and meta.mtime_ns != found.stamp.mtime_ns


def _newer(one: Meta, other: Meta) -> bool:
    return (one.counter, one.author) > (other.counter, other.author)


def _kinds_differ(pair: Pair) -> bool:
    mine, theirs = pair.here.found, pair.there.found
    return mine is not None and theirs is not None and (mine.kind is Kind.DIRECTORY) != (theirs.kind is Kind.DIRECTORY)


def _is_directory(sight: Sight) -> bool:
    return sight.found is not None and sight.found.kind is Kind.DIRECTORY


def _kinds_settled(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """A directory that stands against a file counts as changed when anything below it was, or is undecided: an edit
    there must not be overrun by the file, so the two are a conflict."""
    mixed = [index for index, pair in enumerate(pairs) if _kinds_differ(pair)]
    if not mixed:
        return pairs
    paths = [pair.path for pair in pairs]
    settled = list(pairs)
    for index in mixed:
        pair = pairs[index]
        side = Side.HERE if pair.here.found and pair.here.found.kind is Kind.DIRECTORY else Side.THERE
        prefix = pair.path + "/"
        below = pairs[bisect_left(paths, prefix) : bisect_left(paths, pair.path + chr(ord("/") + 1))]
        if any(child.conflict is not None or child.sight(side).status is Status.CHANGED for child in below):
            changed = replace(pair.sight(side), status=Status.CHANGED)
            settled[index] = replace(pair, here=changed) if side is Side.HERE else replace(pair, there=changed)
    return settled


def _stays(decision: Decision, side: Side) -> bool:
    """Whether the path will exist on `side` once the decision is carried out."""
    removed = False
    for step in decision.steps:
        if step.on is side and step.path == decision.path:
            if isinstance(step, Transfer | MakeDirectory | Move):
                return True
            removed = removed or isinstance(step, Remove | RemoveDirectory)
    return decision.pair.sight(side).found is not None and not removed


def _directories_needed(decisions: list[Decision], mode: Mode) -> list[Decision]:
    """A directory that one side removed comes back where something in it stays: an edit beats a deletion. Where nothing
    may be written, it only stays."""
    removed = {
        decision.path: index
        for index, decision in enumerate(decisions)
        if decision.action is Action.REMOVE and any(isinstance(step, RemoveDirectory) for step in decision.steps)
    }
    if not removed:
        return decisions
    needed: set[str] = set()
    for decision in decisions:
        if decision.path not in removed and any(_stays(decision, side) for side in Side):
            needed.update(up for up in ancestors(decision.path) if up in removed)
    kept = list(decisions)
    for path in needed:
        decision = decisions[removed[path]]
        pair = decision.pair
        lacking = Side.HERE if pair.here.found is None else Side.THERE
        if not _may_write(mode, lacking):
            kept[removed[path]] = replace(decision, action=Action.IGNORE, steps=())
            continue
        action = Action.GET if lacking is Side.HERE else Action.PUT
        meta = pair.before.meta if pair.before else Meta()
        steps: tuple[Step, ...] = (MakeDirectory(lacking, path, meta),) if pair.sight(lacking).found is None else ()
        kept[removed[path]] = replace(decision, action=action, then=Then.AGREE, steps=steps, meta=meta)
    return kept


def _cleared_first(decisions: list[Decision]) -> list[Decision]:
    """What lies in a directory that a file is to replace goes before the file comes; where something stays, so does the
    directory, and the file is told about."""
    cleared = {
        (step.on, decision.path): index
        for index, decision in enumerate(decisions)
        for step in decision.steps
        if isinstance(step, RemoveDirectory) and step.early
    }
    if not cleared:
        return decisions
    result = list(decisions)
    for index, decision in enumerate(decisions):
        for side in Side:
            above = [up for up in ancestors(decision.path) if (side, up) in cleared]
            if not above:
                continue
            if _stays(decision, side):
                for up in above:
                    owner = decisions[cleared[side, up]]
                    result[cleared[side, up]] = replace(
                        owner,
                        action=Action.IGNORE,
                        then=Then.KEEP,
                        steps=(),
                        reason="a directory that is in use lies there",
                    )
            else:
                steps = tuple(
                    replace(step, early=True)
                    if isinstance(step, Remove | RemoveDirectory) and step.on is side
                    else step
                    for step in decision.steps
                )
                result[index] = replace(result[index], steps=steps)
    return result


def _moved(decisions: list[Decision]) -> list[Decision]:
    """An upload and a removal of the same content on one side become one rename. Never decides correctness: whatever
    does not match stays an upload and a removal."""
    gone: dict[tuple[Side, bytes], list[int]] = {}
    for index, decision in enumerate(decisions):
        before = decision.pair.before
        if decision.action is not Action.REMOVE or before is None or len(decision.steps) != 1 or not before.digest:
            continue
        step = decision.steps[0]
        as_known = decision.pair.sight(step.on).status is Status.UNCHANGED  # a one-way mode removes edited files, too
        if as_known and isinstance(step, Remove) and step.found.kind is Kind.FILE and not step.early:
            gone.setdefault((step.on, before.digest), []).append(index)
    if not gone:
        return decisions
    result = list(decisions)
    for index, decision in enumerate(decisions):
        if decision.pair.before is not None or len(decision.steps) != 1 or decision.then is not Then.AGREE:
            continue
        step = decision.steps[0]
        if (
            not isinstance(step, Transfer)
            or step.replaces is not None
            or not step.digest
            or step.source.kind is not Kind.FILE
        ):
            continue
        candidates = gone.get((step.on, step.digest))
        if not candidates:
            continue
        old = candidates.pop(0)
        removal = decisions[old].steps[0]
        if not isinstance(removal, Remove):
            continue
        result[index] = replace(
            decision, steps=(Move(step.on, decision.path, removal.found),), reason=f"moved from {decisions[old].path}"
        )
        result[old] = replace(decisions[old], steps=(), after=decision.path, reason=f"moved to {decision.path}")
    return result


def removals(decisions: Iterable[Decision]) -> int:
    """Files and links that a plan removes, moves and replaced versions not counted."""
    return sum(removes(decision) for decision in decisions)


def removes(decision: Decision) -> bool:
    """Whether a decision removes a file or link, conflict copies not counted."""
    if decision.action is not Action.REMOVE:
        return False
    return any(isinstance(step, Remove) and step.path == decision.path for step in decision.steps)
