"""What a run shows: a line for each path, problems, a summary; a progress bar on a terminal; or one JSON document."""

from collections.abc import Sequence
from contextlib import suppress
from enum import Enum

from symsync.core.modes import Action
from symsync.core.steps import Decision, Outcome, Then
from symsync.core.values import Problem
from symsync.events import Audience, Phase, Result
from symsync.report.document import of_error, of_result
from symsync.report.screen import FAINT, GREEN, RED, YELLOW, Screen
from symsync.report.words import advice, conflict_line, line, summary
from symsync_protocol.names import shown

__all__ = ["Detail", "Document", "Lines", "Screen", "of_error"]


class Detail(Enum):
    """How much is told."""

    QUIET = 0
    """Problems and conflicts only, on standard error."""
    NORMAL = 1
    """A line for each path that is written on either side, and the summary."""
    VERBOSE = 2
    """Also what the run is doing."""


class Lines(Audience):
    """A run as lines of text, with a progress bar where `progress` says so and standard error is a terminal."""

    def __init__(
        self, screen: Screen, *, detail: Detail = Detail.NORMAL, everything: bool = False, progress: bool = False
    ) -> None:
        """`everything`: a line for every path, also where there is nothing to do (option -a)."""
        self._screen = screen
        self._detail = detail
        self._everything = everything
        self._told: set[str] = set()
        self._conflicts_told: set[str] = set()
        if progress and screen.err.isatty():
            from symsync.report.progress import Bar

            screen.bar = Bar()
            screen.bar.start()

    def phase(self, phase: Phase, detail: str = "") -> None:
        text = f"{phase}: {shown(detail)}" if detail else str(phase)
        if self._screen.bar is not None:
            self._screen.bar.phase(text)
        elif self._detail is Detail.VERBOSE or phase is Phase.WAITING:
            self._screen.complaint(text, FAINT)

    def planned(self, decisions: Sequence[Decision], files: int, size: int) -> None:  # noqa: ARG002 - only the bar hears it
        if self._screen.bar is not None:
            self._screen.bar.plan(files, size)

    def transferred(self, size: int) -> None:
        if self._screen.bar is not None:
            self._screen.bar.transferred(size)

    def arrived(self, path: str) -> None:  # noqa: ARG002 - only the bar hears it
        if self._screen.bar is not None:
            self._screen.bar.arrived()

    def finished(self, outcome: Outcome) -> None:
        for failure in outcome.failed:
            self.problem(failure.problem)
        if outcome.whole and outcome.decision.touches:
            self._tell(outcome.decision)

    def note(self, text: str) -> None:
        if self._detail is not Detail.QUIET:
            self._screen.complaint(f"note: {shown(text)}", FAINT)

    def problem(self, problem: Problem) -> None:
        text = str(problem)
        if text not in self._told:
            self._told.add(text)
            self._screen.complaint(f"problem: {shown(text)}", RED)

    def end(self, result: Result | None) -> None:
        """The run is over: take the bar away and, unless it was broken off (None), tell what it came to."""
        if self._screen.bar is not None:
            bar, self._screen.bar = self._screen.bar, None
            with suppress(OSError):  # the terminal may be gone
                bar.stop()
        if result is None:
            return
        for decision in result.decisions:
            # What was carried out has been told when it was finished.
            if result.listed if decision.touches else self._everything:
                self._tell(decision)
        for problem in result.problems:
            self.problem(problem)
        for path, conflict in result.conflicts:
            if path not in self._conflicts_told:
                self._say_conflict(conflict_line(path, conflict, undecided=True))
        if result.stopped is not None:
            self._screen.complaint(f"a run would stop: {shown(str(result.stopped))}", RED)
        if self._detail is Detail.QUIET:
            return
        for text in advice(conflict for _, conflict in result.conflicts):
            self._screen.line(text, FAINT)
        self._screen.line(summary(result), GREEN if result.exit_status == 0 else YELLOW)

    def _tell(self, decision: Decision) -> None:
        text = line(decision)
        if decision.then is Then.CONFLICT:
            self._conflicts_told.add(decision.path)
            self._say_conflict(text)
        elif self._detail is not Detail.QUIET and decision.after is None:
            colour = FAINT if not decision.touches else YELLOW if decision.action is Action.REMOVE else None
            self._screen.line(text, colour)

    def _say_conflict(self, text: str) -> None:
        say = self._screen.complaint if self._detail is Detail.QUIET else self._screen.line
        say(text, YELLOW)


class Document(Audience):
    """A run as one JSON document on standard output."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._notes: list[str] = []

    def note(self, text: str) -> None:
        self._notes.append(text)

    def end(self, result: Result | None) -> None:
        """The run is over; where it was broken off (None), the error has its own document."""
        if result is not None:
            self._screen.document(of_result(result, self._notes))
