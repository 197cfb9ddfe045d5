"""The state: what a pair of directories looked like when they were last in agreement.

A state is a view: `here` is the directory that keeps it, `there` is the other one. `swapped()` gives the view from the
other side, and the two files that a run writes are each other's swapped view; hence the name of the project.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from symsync_protocol.stamps import Stamp

DIGEST_SIZE = 32
"""Bytes in a digest: SHA-256 of a file's content or of a link's target; empty for directories."""

ANCESTORS_KEPT = 64
"""How many earlier generations a state names."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A directory that takes part: its name, as others call it, and its random id (16 bytes), which never changes."""

    name: str
    id: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a directory was when the state was written: a hash of the machine's id and the root's inode.

    A cloned disk or a restored backup shows itself by another place.
    """

    machine: bytes
    inode: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One agreement: a number that only rises and a random id (16 bytes) that tells two of the same number apart."""

    number: int
    id: bytes


@dataclass(frozen=True, slots=True)
class Meta:
    """Permission bits and exact time of an entry, kept for servers that can't hold them.

    The highest `counter` wins wherever two states speak of the same content; ties go by the `author`'s name.
    """

    mode: int | None = None
    mtime_ns: int | None = None
    counter: int = 0
    author: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A path that both sides have with the same content: each side in its own stamp."""

    here: Stamp
    there: Stamp
    digest: bytes = b""
    target: str | None = None
    """Where a symbolic link points."""
    meta: Meta = Meta()

    def swapped(self) -> "Entry":
        return Entry(self.there, self.here, self.digest, self.target, self.meta)


def link_digest(target: str) -> bytes:
    """What stands for a symbolic link's content: the SHA-256 of its target."""
    return hashlib.sha256(target.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Version:
    """What one side of an open conflict holds under the path."""

    stamp: Stamp
    digest: bytes = b""
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """The other side's version, laid beside this side's own.

    `stamp` is None while the copy is only announced; once it was seen its absence from a complete listing means that
    somebody removed it, and so decided.
    """

    path: str
    digest: bytes
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path that was changed on both sides and that nobody has decided yet."""

    here: Version
    there: Version
    copy_here: Copy | None = None
    """Lies on this side and holds the other side's version."""
    copy_there: Copy | None = None

    def swapped(self) -> "Conflict":
        return Conflict(self.there, self.here, self.copy_there, self.copy_here)


@dataclass(frozen=True, slots=True)
class PairState:
    """All that a pair remembers. Values only: a changed state is a new one."""

    here: Identity
    there: Identity
    generation: Generation
    ancestors: tuple[bytes, ...] = ()
    """The ids of the generations before this one, newest first, at most `ANCESTORS_KEPT`."""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)
    """Open conflicts. Their paths have no entry."""
    here_place: Place | None = None
    there_place: Place | None = None
    allowed: tuple[str, ...] = ()
    """What the user who ran this generation allowed (`deletes`, `emptied`, ...); others accept it."""

    def swapped(self) -> "PairState":
        """The same agreement as the other side sees it. `state.swapped().swapped() == state`."""
        return replace(
            self,
            here=self.there,
            there=self.here,
            here_place=self.there_place,
            there_place=self.here_place,
            entries={path: entry.swapped() for path, entry in self.entries.items()},
            conflicts={path: conflict.swapped() for path, conflict in self.conflicts.items()},
        )

    def descends_from(self, generation: Generation) -> bool:
        """Whether `generation` is among the ancestors of this state."""
        return generation.id in self.ancestors


@dataclass(frozen=True, slots=True)
class Intent:
    """Announced on the hub before a run acts: the generation it will become, the paths it will touch, its copies.

    `copies` are the paths, on the side that keeps the file, of conflict copies about to be made: nobody else
    synchronises them.
    """

    generation: Generation
    paths: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
