"""The check between plan and execution: a plan that looks like an accident stops the run, and nothing is done."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from symsync.core.compare import Base
from symsync.core.plan import removals, removes
from symsync.core.steps import Decision, Remove
from symsync.core.values import Scan, Side
from symsync_protocol.errors import Stopped
from symsync_protocol.names import shown
from symsync_protocol.stamps import Kind


@dataclass(frozen=True, slots=True)
class MaxDelete:
    """How many removals a run may plan: a count, or a percentage of the files known.

    No more than `floor` removals never stop a run; the default has a floor, what the user wrote has none.
    """

    count: int | None = None
    percent: float | None = None
    floor: int = 0

    def exceeded(self, removed: int, known: int) -> bool:
        """Whether `removed` of `known` files are too many."""
        if removed <= self.floor:
            return False
        if self.count is not None:
            return removed > self.count
        return self.percent is not None and removed > known * self.percent / 100

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


DEFAULT_MAXDELETE = MaxDelete(percent=50.0, floor=10)

EMPTIED_FLOOR = 5
"""Who had only a handful of files may well have removed them all by hand."""


def check(
    base: Base, here: Scan, there: Scan, decisions: Sequence[Decision], limit: MaxDelete, allowed: Collection[str]
) -> None:
    """Raise Stopped where the plan looks like an accident that `allowed` does not name."""
    planned = removals(decisions)
    if not planned or ("emptied" in allowed and "deletes" in allowed):
        return
    known = sum(entry.here.kind is not Kind.DIRECTORY for entry in base.entries.values())
    for side, scan, place in ((Side.HERE, here, "this directory"), (Side.THERE, there, "the hub")):
        empty = not any(found.kind is not Kind.DIRECTORY for found in scan.entries.values())
        on_other = any(
            removes(decision) and isinstance(step, Remove) and step.on is side.other
            for decision in decisions
            for step in decision.steps
        )
        if empty and on_other and known >= EMPTIED_FLOOR and "emptied" not in allowed:
            raise Stopped(
                f"{place} holds no files any more, but held {known}; removing them from the other side may be "
                "an accident. If it is meant: --allow emptied",
                "emptied",
            )
        if empty and on_other and "emptied" in allowed:
            return
    if "deletes" not in allowed and limit.exceeded(planned, known):
        first = next(decision.path for decision in decisions if removes(decision))
        raise Stopped(
            f"this run would remove {planned} of {known} files ({shown(first)}, ...), more than maxdelete {limit} "
            "allows. If it is meant: --allow deletes",
            "deletes",
        )
