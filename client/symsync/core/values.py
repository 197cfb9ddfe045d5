"""The values that pass between scanning, deciding and acting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from symsync_protocol.names import ancestors, shown
from symsync_protocol.stamps import Kind, Stamp


class Side(StrEnum):
    """One of the two directories of a run."""

    HERE = "here"
    """The node: the directory on this computer."""
    THERE = "there"
    """The hub."""

    @property
    def other(self) -> "Side":
        return Side.THERE if self is Side.HERE else Side.HERE


class Reason(StrEnum):
    """Why something could not be done with one path."""

    ABSENT = "absent"
    EXISTS = "exists"
    DENIED = "denied"
    """No permission."""
    FULL = "full"
    """No space left, or over a quota."""
    NAME = "name"
    """The other side can't store this name, or stores it as another."""
    CHANGED = "changed"
    """It is no longer what the plan saw."""
    NOT_EMPTY = "not-empty"
    KIND = "kind"
    """Sockets, devices, fifos, or a link where links can't be kept."""
    CUT = "cut"
    """A listing or a transfer was cut short or contradicts itself."""
    LOST = "lost"
    """The connection went away; whether it was done is not known."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong with one path. A value, not an exception: the rest of the run goes on.

    `detail` is what the system or the server said, never a traceback.
    """

    path: str
    reason: Reason
    detail: str = ""
    side: Side | None = field(default=None, compare=False)
    """Whose system or server said so, where `detail` does not tell."""

    def __str__(self) -> str:
        place = {None: "", Side.HERE: " (here)", Side.THERE: " (on the hub)"}[self.side]
        return f"{shown(self.path)}: {self.detail or self.reason.value}{place}"


@dataclass(frozen=True, slots=True)
class Found:
    """One entry as a listing or a stat shows it."""

    path: str
    stamp: Stamp
    mode: int | None = None
    """Permission bits (at most 0o7777), where the side tells them."""
    target: str | None = None
    """Where a symbolic link points."""

    @property
    def kind(self) -> Kind:
        return self.stamp.kind


@dataclass(frozen=True, slots=True)
class Listing:
    """What a side shows of one directory ("" is the root).

    With a `problem` nothing may be concluded from what is *not* in `entries`: the directory is unknown. A directory
    that is certainly not there has a problem of reason ABSENT.
    """

    directory: str
    entries: tuple[Found, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What one side holds, as far as it could be seen. Excluded and reserved names are not in it."""

    entries: Mapping[str, Found] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    """Paths about which, and below which, nothing may be concluded; "" is the whole side."""
    problems: tuple[Problem, ...] = ()

    def knows(self, path: str) -> bool:
        """Whether the absence of `path` from `entries` means that it is not there."""
        if not self.unknown:
            return True
        return not ("" in self.unknown or path in self.unknown or any(up in self.unknown for up in ancestors(path)))
