"""The other side's view of what the core is given and of what it decides: swapping the roles must give the mirror."""

from collections.abc import Callable
from dataclasses import replace

from symsync.core.compare import Base
from symsync.core.modes import TABLES, Mode, dual, swap
from symsync.core.plan import newer_side
from symsync.core.steps import Decision, MakeDirectory, Pair, Step, Transfer
from symsync.core.values import Side
from symsync_protocol.state import Meta

PLACES = {"removed on the hub": "removed here", "decided on the hub": "decided here"}
PLACES |= {there: here for here, there in PLACES.items()}


def mirrored_step(step: Step) -> Step:
    """Bits and times are the node's alone, for many hubs can't hold them: they are no part of the comparison."""
    step = replace(step, on=step.on.other)
    return replace(step, meta=Meta()) if isinstance(step, Transfer | MakeDirectory) else step


def mirrored_pair(pair: Pair) -> Pair:
    return replace(
        pair,
        here=pair.there,
        there=pair.here,
        before=pair.before.swapped() if pair.before else None,
        conflict=pair.conflict.swapped() if pair.conflict else None,
        copy_here=pair.copy_there,
        copy_there=pair.copy_here,
        edited=frozenset(side.other for side in pair.edited),
    )


def mirrored(decision: Decision) -> Decision:
    """The same decision as the other side would tell it."""
    reason = decision.reason
    for one, other in PLACES.items():
        if one in decision.reason:
            reason = decision.reason.replace(one, other)
    return replace(
        decision,
        action=swap(decision.action),
        pair=mirrored_pair(decision.pair),
        steps=tuple(mirrored_step(step) for step in decision.steps),
        conflict=decision.conflict.swapped() if decision.conflict else None,
        meta=Meta(),
        reason=reason,
    )


def as_told(decision: Decision) -> Decision:
    """A decision without what `mirrored` leaves out, its steps in an order that prefers no side."""
    steps = (
        replace(step, meta=Meta()) if isinstance(step, Transfer | MakeDirectory) else step for step in decision.steps
    )
    return replace(decision, meta=Meta(), steps=tuple(sorted(steps, key=_rank)))


def _rank(step: Step) -> tuple[str, str, str]:
    return step.path, type(step).__name__, step.on


def swapped(base: Base) -> Base:
    return replace(
        base,
        entries={path: entry.swapped() for path, entry in base.entries.items()},
        conflicts={path: conflict.swapped() for path, conflict in base.conflicts.items()},
    )


Winner = Callable[[Pair], Side | None] | None
WINNERS: list[tuple[Winner, Winner]] = [
    (None, None),
    (newer_side, newer_side),
    (lambda _: Side.HERE, lambda _: Side.THERE),
    (lambda _: Side.THERE, lambda _: Side.HERE),
]
"""The rules of who wins, each with the one that says the same of swapped sides."""

DUALS = [(mode, other) for mode in Mode for other in Mode if TABLES[other] == dual(TABLES[mode])]
