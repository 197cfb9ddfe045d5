"""What a run is asked to do: the configuration and the command line, checked and in one value."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from symsync.core.modes import Mode
from symsync.core.safety import DEFAULT_MAXDELETE, MaxDelete
from symsync.remotes.location import Location
from symsync.rules import Links


class ConflictRule(StrEnum):
    """Who wins where both sides changed a file."""

    KEEP = "keep"
    """Nobody: it stays open until somebody decides."""
    NEWER = "newer"
    LOCAL = "local"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class Trash:
    """What becomes of displaced versions: kept for so many days, within so many percent of the tree's size."""

    keep: bool = True
    days: int = 30
    percent: float = 10.0
    size: int | None = None
    """Bytes, where the user wrote a size instead of a percentage."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How changes are followed while they happen: seconds to wait, and the user's own programs to start."""

    delay: float = 5.0
    """After a local event, so that several travel together."""
    interval: float = 30.0
    """Between two looks at the hub."""
    maxprocesses: int = 2
    onchange: str | None = None
    onconflict: str | None = None
    onerror: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one run needs to know, besides the two directories themselves."""

    directory: Path
    node: str
    location: Location
    peer: str | None = None
    """The hub's name as configured, None: take the hub's own."""
    mode: Mode = Mode.SYNC
    symsync: bool = True
    """Whether the state is swapped onto the hub."""
    includedots: bool = False
    allowblanks: bool = False
    conflict: ConflictRule = ConflictRule.KEEP
    trash: Trash = Trash()
    maxdelete: MaxDelete = DEFAULT_MAXDELETE
    links: Links = Links.KEEP
    filemode: int | None = None
    dirmode: int | None = None
    hubedits: bool = True
    watch: Watch = Watch()
    delete: bool = False
    """One-way modes: also remove from the target what the source does not have."""
    only_newer: bool = False
    """One-way modes: leave alone what is newer on the target."""
    size_only: bool = False
    """First meeting: take files of the same size for equal, unread."""
    allow: frozenset[str] = frozenset()
    """Checks that the user lets pass this once (`deletes`, `emptied`, `identity`, ...)."""
    replace: bool = False
    """Take over the node's name from another machine or directory."""
    password_from: str = field(default="", compare=False)
    """Where the location's password was found, for who learns that it is refused."""
