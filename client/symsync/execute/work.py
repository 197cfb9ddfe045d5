"""Decisions on their way to outcomes, and what the parts of an execution share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_IRUSR

from symsync.core.steps import Decision, Done, Failed, Outcome, Step, Then, Transfer
from symsync.core.values import Found, Problem, Reason, Side
from symsync_protocol.stamps import Kind


@dataclass(slots=True)
class Arrived:
    """A transfer's content, on its own side of the wire but not yet in place."""

    digest: bytes
    size: int
    local: Path | None = None
    staged: str | None = None
    found: Found | None = None
    """For an upload: the hub's stamp of it, which a rename does not change."""
    doubtful: bool = False
    """Whether the server may begin with it anew, for a connection broke over it."""


@dataclass(slots=True)
class Work:
    """One decision on its way to an outcome."""

    decision: Decision
    done: list[Done] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def open(self, step: Step) -> bool:
        """Whether `step` should still be tried: copies of a conflict stand alone, all else fails together."""
        if self.decision.then is Then.CONFLICT:
            return all(failed.step is not step for failed in self.failed)
        return not self.failed

    def outcome(self) -> Outcome:
        return Outcome(self.decision, tuple(self.done), tuple(self.failed))


class Workload:
    """All decisions of a plan on their way, and the contents that have arrived for them."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.works = [Work(decision) for decision in decisions]
        self._arrived: dict[int, Arrived] = {}

    @property
    def outcomes(self) -> list[Outcome]:
        return [work.outcome() for work in self.works]

    def arrive(self, step: Step, content: Arrived) -> None:
        """The content for `step` is across."""
        self._arrived[id(step)] = content

    def arrived(self, step: Step) -> Arrived | None:
        """The content for `step`, None where it did not arrive or there is none."""
        return self._arrived.get(id(step))

    def arrivals(self) -> list[Arrived]:
        return list(self._arrived.values())

    def fail(self, work: Work, step: Step, problem: Problem, at: Side = Side.THERE) -> None:
        """`step` could not be done, as the side `at` answered unless the problem says another."""
        if problem.reason is not Reason.CHANGED:  # which our own words tell of, with the side
            problem = replace(problem, side=problem.side or at)
        work.failed.append(Failed(step, problem))

    def steps(self, on: Side, *kinds: type) -> list[tuple[Work, Step]]:
        """The steps of these kinds that are still to be done on a side, in the order of their paths."""
        return [
            (work, step)
            for work in self.works
            for step in work.decision.steps
            if step.on is on and isinstance(step, kinds) and work.open(step)
        ]

    def transfers(self, on: Side) -> list[tuple[Work, Transfer]]:
        """The transfers of files to a side, those that failed already left out."""
        return [
            (work, step)
            for work in self.works
            for step in work.decision.steps
            if isinstance(step, Transfer) and step.on is on and step.source.kind is Kind.FILE and work.open(step)
        ]


def readable(mode: int | None) -> int | None:
    """The hub's owner, whose login all nodes share, must be able to read it; the exact bits are in the state."""
    return None if mode is None else mode | S_IRUSR
