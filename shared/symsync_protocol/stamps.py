"""Stamps: what a side tells cheaply of an entry, and when two of them speak of the same content."""

from dataclasses import dataclass, replace
from enum import StrEnum

SECOND = 1_000_000_000
"""One second in nanoseconds, the unit of all times here."""


class Kind(StrEnum):
    """What an entry is."""

    FILE = "f"
    DIRECTORY = "d"
    LINK = "l"
    OTHER = "o"
    """Sockets, devices and fifos: skipped and named."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Kind, size and modification time of one entry on one side, as that side tells them.

    `mtime_ns` is counted from 1970 in the side's own idea of UTC and is None where the side tells none; `tick_ns` is
    the resolution it is told with. `inode` and `ctime_ns` are there where the side has them. A stamp is `settled`
    when the clock had left its tick before the content was taken for known: an unsettled one may hide a later edit of
    the same size, and is verified by content.
    """

    kind: Kind
    size: int = 0
    mtime_ns: int | None = None
    tick_ns: int = 1
    inode: int | None = None
    ctime_ns: int | None = None
    settled: bool = True

    def unsettled(self) -> "Stamp":
        """The same stamp, marked as one that may hide an edit."""
        return replace(self, settled=False)


def same(one: Stamp, other: Stamp) -> bool:
    """Whether both stamps may be taken for the same content.

    Stamps taken in different ways compare at the coarser resolution; what only one of them knows does not count.
    Directories have no content of their own, so any two are the same.
    """
    if one.kind != other.kind:
        return False
    if one.kind is Kind.DIRECTORY:
        return True
    if one.size != other.size:
        return False
    if one.mtime_ns is not None and other.mtime_ns is not None:
        tick = max(one.tick_ns, other.tick_ns, 1)
        if one.mtime_ns // tick != other.mtime_ns // tick:
            return False
    if one.inode is not None and other.inode is not None and one.inode != other.inode:
        return False
    return one.ctime_ns is None or other.ctime_ns is None or one.ctime_ns == other.ctime_ns
