"""What a plan is made of: a decision for each path, the steps that carry it out, and what came of them."""

from dataclasses import dataclass, field
from enum import StrEnum

from symsync.core.modes import Action, Status
from symsync.core.values import Found, Problem, Side
from symsync_protocol.state import Conflict, Entry, Meta


@dataclass(frozen=True, slots=True)
class Sight:
    """One side of one path: what happened to it, what lies there, and its digest where that is known unread."""

    status: Status
    found: Found | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One path, seen on both sides and in the state."""

    path: str
    here: Sight
    there: Sight
    before: Entry | None = None
    conflict: Conflict | None = None
    copy_here: Found | None = None
    """What lies where the conflict's copy on the node is recorded."""
    copy_there: Found | None = None
    copies_known: bool = True
    """Whether an absent copy was looked for in a complete listing, in a run whose generations agree."""
    copies_listed: bool = True
    """Whether it was looked for in a complete listing, whatever the generations."""
    edited: frozenset[Side] = frozenset()
    """Sides whose copy was edited: it is a user's file now."""
    meta: Meta | None = None
    """What another node's state tells of the hub's current content."""
    lost: Conflict | None = None
    """An open conflict whose version here went with the node's disk; `copy_there` is where it may come back from."""

    def sight(self, side: Side) -> Sight:
        return self.here if side is Side.HERE else self.there


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bring `source` from the other side to `path` on side `on`, in place of `replaces` (None: nothing lies there).

    For a conflict copy `path` differs from `source.path`.
    """

    on: Side
    path: str
    source: Found
    replaces: Found | None = None
    digest: bytes | None = None
    """What the content should be, where that is known."""
    meta: Meta = Meta()


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    on: Side
    path: str
    meta: Meta = Meta()


@dataclass(frozen=True, slots=True)
class Remove:
    """Displace a file or link into the trash of its side. `early`: it stands in the way of what this run puts there."""

    on: Side
    path: str
    found: Found
    early: bool = False


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """Remove a directory when it is empty of everything; else it stays, and leaves the state."""

    on: Side
    path: str
    early: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """Rename `source` to `path` on side `on`, instead of sending it again."""

    on: Side
    path: str
    source: Found


@dataclass(frozen=True, slots=True)
class Adjust:
    """Set permission bits and time of what lies at `path`, those that are told; its content is right already."""

    on: Side
    path: str
    found: Found
    meta: Meta


Step = Transfer | MakeDirectory | Remove | RemoveDirectory | Move | Adjust


class Then(StrEnum):
    """What the state will say of a path once its steps are done."""

    KEEP = "keep"
    """What it said before."""
    AGREE = "agree"
    """Both sides have it, with the same content."""
    FORGET = "forget"
    CONFLICT = "conflict"
    """Both sides keep their own."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done for one path, why, and what the state will say then."""

    path: str
    action: Action
    pair: Pair
    then: Then
    steps: tuple[Step, ...] = ()
    conflict: Conflict | None = None
    """For CONFLICT: both versions, and each copy as far as it lies there already; the steps bring the rest."""
    meta: Meta = Meta()
    reason: str = ""
    """For a person: why, where the action's name does not say it (`moved from ...`, `settled: ...`)."""
    after: str | None = None
    """Counts only once the decision for this other path was carried out (the two ends of a move)."""

    @property
    def touches(self) -> bool:
        """Whether anything is written on either side, the state aside."""
        return bool(self.steps)


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was carried out. `found` is what now lies at its path, `source` what it was made from."""

    step: Step
    found: Found | None = None
    source: Found | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A step that was not, and why. `moved`: the world is no longer what the plan saw; a new plan may do better."""

    step: Step
    problem: Problem

    @property
    def path(self) -> str:
        return self.step.path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one decision."""

    decision: Decision
    done: tuple[Done, ...] = ()
    failed: tuple[Failed, ...] = field(default=())

    @property
    def whole(self) -> bool:
        return not self.failed
