"""A run in words: one line for each path, one line for the whole. Pure: values in, text out."""

from collections import Counter
from collections.abc import Iterable, Iterator

from symsync.core.modes import Action
from symsync.core.steps import (
    Adjust,
    Decision,
    MakeDirectory,
    Move,
    Remove,
    RemoveDirectory,
    Step,
    Then,
    Transfer,
)
from symsync.core.values import Problem, Side
from symsync.events import Result
from symsync_protocol.names import shown
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Conflict

SIDES = {Side.HERE: "here", Side.THERE: "hub"}

DECIDE = "to decide: remove the copy to keep your version, or rename the copy over it to keep theirs; then sync"
"""What to do about open conflicts, in one line."""

DECIDE_DIRECTORY = (
    "to decide against a directory: remove or rename yours to get theirs, or remove theirs on the hub; then sync"
)
"""The same where theirs is a directory, of which there is no copy here."""


def advice(conflicts: Iterable[Conflict]) -> list[str]:
    """How these conflicts are decided, each way once."""
    bare = [conflict.copy_here is None and conflict.there.stamp.kind is Kind.DIRECTORY for conflict in conflicts]
    ways = {DECIDE: not all(bare), DECIDE_DIRECTORY: any(bare)}
    return [text for text, needed in ways.items() if needed]


def line(decision: Decision) -> str:
    """What is done for one path, in plain words."""
    path = shown(decision.path) + ("/" if _is_directory(decision) else "")
    why = f" ({shown(decision.reason)})" if decision.reason else ""
    if decision.then is Then.CONFLICT and decision.conflict is not None:
        return conflict_line(decision.path, decision.conflict)
    if (move := moved(decision)) is not None:
        return f"moved {shown(move.source.path)} -> {path}"
    if not decision.touches:
        return f"same {path}" if decision.then is Then.AGREE else f"ignore {path}{why}"
    match decision.action:
        case Action.GET:
            return f"get  {path}{why}"
        case Action.PUT:
            return f"put  {path}{why}"
        case Action.REMOVE:
            return f"remove {removed_on(decision)} {path}{why}"
    if any(isinstance(step, Adjust) for step in decision.steps):
        return f"touch {path}{why}"
    return f"settle {path}{why}"


def conflict_line(path: str, conflict: Conflict, undecided: bool = False) -> str:
    """Where both versions of an open conflict are. `undecided`: it is not new."""
    begin = f"conflict {shown(path)} (" + ("undecided: " if undecided else "")
    if conflict.copy_here is not None:
        return f"{begin}yours stays, theirs is {shown(conflict.copy_here.path)})"
    if conflict.there.stamp.kind is Kind.DIRECTORY:
        return f"{begin}yours stays, theirs is a directory)"
    return f"{begin}yours stays, theirs stays on the hub)"


def moved(decision: Decision) -> Move | None:
    """The step that renames another path to this one, if the decision is to do so."""
    # Where a conflict rule decided, a Move lays the loser aside: its target is another path.
    return next((step for step in decision.steps if isinstance(step, Move) and step.path == decision.path), None)


def removed_on(decision: Decision) -> str:
    """The side or sides that a removal acts on."""
    sides = {step.on for step in decision.steps if isinstance(step, Remove | RemoveDirectory)}
    return " and ".join(name for side, name in SIDES.items() if side in sides)


def summary(result: Result) -> str:
    """The one line at the end of a run."""
    counts = _counts(result)
    left = left_behind(result)
    trouble = [
        text
        for number, text in (
            (len(result.conflicts), plural(len(result.conflicts), "conflict") + " open"),
            (len(left), plural(len(left), "path") + " not synchronised"),
        )
        if number
    ]
    if result.listed:
        planned = ", ".join(f"{number} {_PLANNED[what]}" for what, number in counts)
        if not planned and not trouble:
            return f"nothing to do: in step with {result.hub}"
        would_stop = ["a run would stop"] if result.stopped is not None else []
        return "; ".join([planned or "nothing to do", *would_stop, *trouble, "nothing was done"])
    done = ", ".join(f"{number} {what}" for what, number in counts)
    if not done and not trouble:
        return f"nothing to do: in step with {result.hub}"
    if done and result.size:
        done += f", {size(result.size)}"
    if done:
        done += f" in {duration(result.seconds)}"
    end = trouble or [f"in step with {result.hub} (generation {result.generation})"]
    return "; ".join([done or "nothing to do", *end])


def left_behind(result: Result) -> list[Problem]:
    """What could not be synchronised, each path once."""
    failed = (failure.problem for outcome in result.outcomes for failure in outcome.failed)
    return list({problem.path: problem for problem in (*result.problems, *failed)}.values())


def size(count: int) -> str:
    """Bytes for a person: `812 B`, `12.3 MB` (decimal, as the SI has it)."""
    if count < 1000:
        return f"{count} B"
    for power, unit in enumerate(("kB", "MB", "GB"), start=1):
        # Below what would be rounded to 1000.0.
        if (value := count / 1000**power) < 999.95:
            return f"{value:.1f} {unit}"
    return f"{count / 1000**4:.1f} TB"


def duration(seconds: float) -> str:
    """A time for a person: `0.04 s`, `2.1 s`, `3 min 4 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


_PLANNED = {
    "received": "to get",
    "sent": "to put",
    "removed": "to remove",
    "moved": "to move",
    "settled": "to settle",
    "adjusted": "to adjust",
}
"""What is counted after a run, and how it is called before it."""


def _counts(result: Result) -> list[tuple[str, int]]:
    counted = Counter(_counted(result))
    return [(what, counted[what]) for what in _PLANNED if counted[what]]


def _counted(result: Result) -> Iterator[str]:
    acts: Iterable[tuple[Decision, list[Step]]]
    if result.listed:
        acts = ((decision, list(decision.steps)) for decision in result.decisions)
    else:
        acts = ((outcome.decision, [done.step for done in outcome.done]) for outcome in result.outcomes)
    for decision, steps in acts:
        yield from (what for step in steps if (what := _word(decision, step)))
        if steps and decision.pair.conflict is not None and decision.then is not Then.CONFLICT:
            yield "settled"


def _word(decision: Decision, step: Step) -> str | None:
    match step:
        case Transfer() | MakeDirectory():
            return "received" if step.on is Side.HERE else "sent"
        case Move():
            return "moved"
        case Adjust():
            return "adjusted"
    # Copies of a settled conflict, and what makes room for something else, are no removals to the user.
    return "removed" if decision.action is Action.REMOVE else None


def plural(count: int, what: str) -> str:
    """So many of what has a name in the singular."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _is_directory(decision: Decision) -> bool:
    pair = decision.pair
    found = pair.there.found if decision.action is Action.GET else pair.here.found
    found = found or pair.here.found or pair.there.found
    return found is not None and found.kind is Kind.DIRECTORY
