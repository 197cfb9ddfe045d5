"""What a run tells while it goes on, and what it comes to: the seam between the session and whoever shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from symsync.core.steps import Decision, Outcome
from symsync.core.values import Problem, Reason
from symsync_protocol.errors import Stopped
from symsync_protocol.state import Conflict


class Phase(StrEnum):
    """Where a run is."""

    CONNECTING = "connecting"
    SCANNING = "scanning"
    COMPARING = "comparing"
    TRANSFERRING = "transferring"
    WAITING = "waiting for the lock"
    COMMITTING = "committing"


class Audience:
    """Hears what a run does. Every method may be called from any thread; this one listens and says nothing."""

    def phase(self, phase: Phase, detail: str = "") -> None:
        """The run has come to `phase`; `detail` is for a person (whose lock is waited for, say)."""

    def planned(self, decisions: Sequence[Decision], files: int, size: int) -> None:
        """The plan stands: so many files and bytes will be transferred."""

    def transferred(self, size: int) -> None:
        """So many more bytes went over the wire."""

    def arrived(self, path: str) -> None:
        """One file's content is across."""

    def finished(self, outcome: Outcome) -> None:
        """What came of one decision is certain."""

    def note(self, text: str) -> None:
        """One line the user should read (a union run, a hub met for the first time, ...)."""

    def problem(self, problem: Problem) -> None:
        """Something about one path kept it from being synchronised; the run goes on."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    node: str
    hub: str
    decisions: tuple[Decision, ...]
    """Every path of the plan, also those with nothing to do."""
    outcomes: tuple[Outcome, ...]
    """Of the decisions with steps, or with something new for the state. Empty where the run only listed."""
    problems: tuple[Problem, ...]
    conflicts: tuple[tuple[str, Conflict], ...]
    """Open after this run, by path."""
    generation: int
    """The number of the agreement that both sides now hold, 0 before the first."""
    files: int = 0
    """Files whose content went over the wire."""
    size: int = 0
    """Bytes that went over the wire for them: fewer than they have where some had been cut off in an earlier run."""
    seconds: float = 0.0
    listed: bool = False
    """Whether the run stopped after the plan (`-l`, `status`)."""
    stopped: Stopped | None = None
    """With `listed`: the check that would stop a run of this plan."""

    @property
    def exit_status(self) -> int:
        """0 in step; 1 done, but conflicts are open or files were left; with `listed`: there is something to do, or,
        as a run would end, 4: a check would stop it.

        Sockets, devices and fifos can't be synchronised at all: they are named, but they are not left behind.
        """
        if self.stopped is not None:
            return self.stopped.exit_status
        waiting = self.listed and any(decision.touches for decision in self.decisions)
        failed = any(not outcome.whole for outcome in self.outcomes)
        left = any(problem.reason is not Reason.KIND for problem in self.problems)
        return 1 if self.conflicts or left or waiting or failed else 0
