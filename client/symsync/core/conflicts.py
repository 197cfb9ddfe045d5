"""Open conflicts: how one begins, is kept up to date, is decided by somebody, and ends.

The rules are DESIGN.md's ("Conflicts"); each was attacked with random models. Both sides are treated alike: every
function here speaks of a side and its other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from symsync.core.modes import Action, Status
from symsync.core.steps import Decision, Pair, Remove, Sight, Step, Then, Transfer
from symsync.core.values import Found, Side
from symsync_protocol.names import copy_path
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Conflict, Copy, Meta, Version


@dataclass(frozen=True, slots=True)
class Names:
    """The names of both directories, which copies carry, and which paths are taken on either side."""

    here: str
    there: str
    taken: Callable[[str], bool]

    def free(self, path: str, owner: str, promised: set[str]) -> str:
        """The first free name for `owner`'s version of `path`."""
        number = 1
        while True:
            candidate = copy_path(path, owner, number)
            if not self.taken(candidate) and candidate not in promised:
                promised.add(candidate)
                return candidate
            number += 1


def equal(pair: Pair) -> bool:
    """Whether both sides are known to hold the same."""
    mine, theirs = pair.here, pair.there
    if mine.found is None or theirs.found is None or mine.found.kind != theirs.found.kind:
        return False
    if mine.found.kind is Kind.LINK and mine.found.target is not None and theirs.found.target is not None:
        return mine.found.target == theirs.found.target
    return mine.digest is not None and mine.digest == theirs.digest


def duplicate(pair: Pair, names: Names, promised: set[str], reason: str = "") -> Decision:
    """Both sides keep their own; each receives the other's beside it, unless it has that version there already."""
    old = pair.conflict
    steps: list[Step] = []
    copies: dict[Side, Copy | None] = {}
    for side in Side:
        theirs = pair.sight(side.other)
        lying = pair.copy_here if side is Side.HERE else pair.copy_there
        slot = None if old is None else old.copy_here if side is Side.HERE else old.copy_there
        if theirs.found is None or theirs.found.kind is Kind.DIRECTORY:
            copies[side] = None
            if lying is not None:
                steps.append(Remove(side, lying.path, lying))
            continue
        if slot is not None and lying is not None and theirs.digest is not None and slot.digest == theirs.digest:
            copies[side] = Copy(slot.path, slot.digest, lying.stamp)
            continue
        reuse = slot is not None and (lying is not None or not names.taken(slot.path))
        path = (
            slot.path
            if slot is not None and reuse
            else names.free(pair.path, names.there if side is Side.HERE else names.here, promised)
        )
        copies[side] = Copy(path, theirs.digest or b"")
        steps.append(Transfer(side, path, theirs.found, replaces=lying if reuse else None, digest=theirs.digest))
    conflict = Conflict(_version(pair.here), _version(pair.there), copies[Side.HERE], copies[Side.THERE])
    return Decision(pair.path, Action.DUPLICATE, pair, Then.CONFLICT, tuple(steps), conflict, reason=reason)


def bring_back(pair: Pair, lost: Conflict, copy: Copy, lying: Found) -> Decision:
    """The version that went with the node's disk comes back from its copy on the hub, and the conflict is open as
    before. What else became of it is for a run to say in which the node has its version."""
    as_recorded = copy.digest == lost.here.digest and lost.here.stamp.kind is Kind.FILE
    meta = Meta(mtime_ns=lost.here.stamp.mtime_ns if as_recorded else None)
    step = Transfer(Side.HERE, pair.path, lying, digest=copy.digest, meta=meta)
    conflict = replace(
        lost, here=Version(lying.stamp, copy.digest, lying.target), copy_there=replace(copy, stamp=lying.stamp)
    )
    reason = "lost here: brought back from its copy"
    return Decision(pair.path, Action.GET, pair, Then.CONFLICT, (step,), conflict, meta, reason)


def _version(sight: Sight) -> Version:
    if sight.found is None:
        raise ValueError("a conflict needs a version on either side")
    return Version(sight.found.stamp, sight.digest or b"", sight.found.target)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an open conflict: decided for a side's version (`winner`), else still open."""

    winner: Side | None = None
    settled: bool = False
    """Both sides hold the same, or nobody holds anything: there is nothing to transfer."""
    ask_again: bool = False
    """Still open, but the copies are no longer what they should be."""
    reason: str = ""


def judge(pair: Pair) -> Verdict:
    """What the two sides' users did about the open conflict of `pair`."""
    conflict = pair.conflict
    mine, theirs = pair.here, pair.there
    if conflict is None or equal(pair):
        return Verdict(settled=True, reason="settled: both sides hold the same")
    if mine.found is None and theirs.found is None:
        return Verdict(settled=True, reason="settled: removed on both sides")
    if theirs.found is None:
        return Verdict(Side.HERE, reason="settled: removed on the hub")
    if mine.found is None:
        return Verdict(Side.THERE, reason="settled: removed here")
    if not pair.copies_known:
        return Verdict()
    here_decided = _removed(pair, Side.HERE, conflict.copy_here, conflict.there)
    there_decided = _removed(pair, Side.THERE, conflict.copy_there, conflict.here)
    here_stands = mine.status is Status.UNCHANGED
    there_stands = theirs.status is Status.UNCHANGED
    if here_decided and not there_decided and there_stands:
        return Verdict(Side.HERE, reason="settled: decided here")
    if there_decided and not here_decided and here_stands:
        return Verdict(Side.THERE, reason="settled: decided on the hub")
    complete = _stands(conflict.copy_here, pair.copy_here, conflict.there) and _stands(
        conflict.copy_there, pair.copy_there, conflict.here
    )
    return Verdict(ask_again=not (here_stands and there_stands and complete))


def _removed(pair: Pair, side: Side, copy: Copy | None, held: Version) -> bool:
    """A copy is gone by somebody's decision only if it had been seen, held the version that is recorded of the other
    side, and is missing now, not edited."""
    if copy is None or copy.stamp is None or copy.digest != held.digest or side in pair.edited:
        return False
    return (pair.copy_here if side is Side.HERE else pair.copy_there) is None


def _stands(copy: Copy | None, found: Found | None, version: Version) -> bool:
    """Whether a side has the version of the other beside its own. Directories have no copies."""
    if version.stamp.kind is Kind.DIRECTORY:
        return True
    return copy is not None and found is not None and copy.digest == version.digest


def take_copies_away(pair: Pair) -> tuple[Step, ...]:
    """The steps that end a conflict: the copies as symsync made them go, edited ones are users' files and stay."""
    return tuple(
        Remove(side, found.path, found)
        for side, found in ((Side.HERE, pair.copy_here), (Side.THERE, pair.copy_there))
        if found is not None
    )
