"""Tables: many values of one kind as columns.

Equal fields lie side by side, which compresses well; they are checked and made into values as a whole, which is fast;
and a later version may add a column at the end, which an earlier one ignores.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field, dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from symsync_protocol.checks import (
    KINDS,
    MODE_LIMIT,
    NUMBER_LIMIT,
    TICK_LIMIT,
    Check,
    authors,
    digests,
    flags,
    hashes,
    identifiers,
    kinds,
    node_names,
    optional,
    paths,
    strings,
    whole,
)
from symsync_protocol.packing import WIDE_LIMIT, Malformed, pack_column, unpack_column
from symsync_protocol.stamps import Kind, Stamp
from symsync_protocol.state import Entry, Generation, Identity, Meta, Place, Version


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Made = TypeVar("Made", bound=_Dataclass)


@dataclass(frozen=True, slots=True)
class Column:
    """One field of all rows: what may stand in it, and how what was read becomes what is used."""

    check: Check
    convert: Callable[[Sequence[Any]], Sequence[Any]] | None = None


class Shape(Generic[Made]):
    """How the values of a frozen dataclass with slots lie in columns: a column for each field, or again a shape."""

    def __init__(self, made: type[Made], **fields: "Column | Shape[Any]") -> None:
        if fields.keys() != made.__dataclass_fields__.keys():
            raise TypeError(f"not all fields of {made.__name__}, or others, have a column")
        self._made = made
        self._fields = fields

    def columns(self) -> Iterator[tuple[str, Column]]:
        """All columns in their order, each with its dotted name as seen from the value."""
        for name, part in self._fields.items():
            if isinstance(part, Column):
                yield name, part
            else:
                yield from ((f"{name}.{inner}", column) for inner, column in part.columns())

    def to_table(self, values: Iterable[Made]) -> list[bytes] | None:
        """The values' fields, a packed column for each; None for no values. Raises Malformed for what can't be read."""
        rows = list(values)
        return [pack_column(field) for field in self._spread(rows)] if rows else None

    def from_table(self, table: object) -> list[Made]:
        """The values of a table. Raises Malformed where it is none; columns beyond the known ones are left out."""
        if table is None:
            return []
        checks = [column.check for _, column in self.columns()]
        if type(table) is not tuple or len(table) < len(checks):
            raise Malformed("a table lacks columns")
        known: tuple[object, ...] = table[: len(checks)]
        return self._checked_and_gathered([unpack_column(packed) for packed in known])

    def to_row(self, value: Made) -> list[Any]:
        """The fields of one value, as they are."""
        return [field for (field,) in self._spread([value])]

    def from_row(self, row: object) -> Made:
        """The value of a row. Raises Malformed where it is none; fields beyond the known ones are left out."""
        width = sum(1 for _ in self.columns())
        if type(row) is not tuple or len(row) < width:
            raise Malformed("a row lacks fields")
        known: tuple[object, ...] = row[:width]
        (value,) = self._checked_and_gathered([(field,) for field in known])
        return value

    def _spread(self, rows: list[Made]) -> Iterator[list[Any]]:
        for name, part in self._fields.items():
            field = list(map(attrgetter(name), rows))
            if isinstance(part, Column):
                part.check(field)
                yield field
            else:
                yield from part._spread(field)

    def _checked_and_gathered(self, columns: Sequence[tuple[Any, ...]]) -> list[Made]:
        for (_, column), values in zip(self.columns(), columns, strict=True):
            column.check(values)
        if len(set(map(len, columns))) > 1:
            raise Malformed("the columns of a table differ in length")
        with _without_collection():
            return self._gather(len(columns[0]), iter(columns))

    def _gather(self, count: int, columns: Iterator[Sequence[Any]]) -> list[Made]:
        """The slots are filled a column at a time, past `__init__`: half the time of a hundred thousand calls."""
        values: list[Made] = list(map(object.__new__, repeat(self._made, count)))
        for name, part in self._fields.items():
            if isinstance(part, Column):
                field = next(columns)
                if part.convert is not None:
                    field = part.convert(field)
            else:
                field = part._gather(count, columns)
            deque(map(getattr(self._made, name).__set__, values, field), maxlen=0)
        return values


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for reference cycles: among so many new values, none in a cycle, it would take a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def to_mapping_table(shape: Shape[Made], mapping: Mapping[str, Made]) -> list[bytes] | None:
    """A table whose first column are the paths; None for an empty mapping."""
    table = shape.to_table(mapping.values())
    return None if table is None else [to_column(paths, list(mapping)), *table]


def from_mapping_table(shape: Shape[Made], table: object) -> dict[str, Made]:
    """The mapping of a table. Raises Malformed where it is none, or where a path is there twice."""
    if table is None:
        return {}
    if type(table) is not tuple or not table:
        raise Malformed("a table lacks columns")
    named = from_column(paths, table[0])
    values = shape.from_table(table[1:])
    if len(named) != len(values):
        raise Malformed("the columns of a table differ in length")
    mapping = dict(zip(named, values, strict=True))
    if len(mapping) != len(named):
        raise Malformed("a path is there twice")
    return mapping


def to_column(check: Check, values: Sequence[Any]) -> bytes:
    """A packed column. Raises Malformed for what could not be read again."""
    check(values)
    return pack_column(values)


def from_column(check: Check, packed: object) -> tuple[Any, ...]:
    """The values of a packed column. Raises Malformed where `check` does."""
    values = unpack_column(packed)
    check(values)
    return values


def _as_kinds(letters: Sequence[str]) -> list[Kind]:
    return [KINDS[letter] for letter in letters]


@dataclass(frozen=True, slots=True)
class Versions:
    """Both sides' versions of a path in conflict."""

    here: Version
    there: Version


@dataclass(frozen=True, slots=True)
class Laid:
    """One copy of a conflict, and where it belongs. Unless it was seen, the stamp means nothing."""

    conflict: str
    here: bool
    path: str
    digest: bytes
    seen: bool
    stamp: Stamp


# Some file systems hold times, here in nanoseconds, beyond 64 bits (the year 2554), and inodes of 128 bits.
_TIME = Column(optional(whole(-WIDE_LIMIT, WIDE_LIMIT)))
_TARGET = Column(optional(strings))

_PATH = Column(paths)
_FLAG = Column(flags)
_DIGEST = Column(digests)
_ID = Column(identifiers)

_STAMP = Shape(
    Stamp,
    kind=Column(kinds, _as_kinds),
    size=Column(whole(0, NUMBER_LIMIT)),
    mtime_ns=_TIME,
    tick_ns=Column(whole(0, TICK_LIMIT)),
    inode=Column(optional(whole(0, WIDE_LIMIT))),
    ctime_ns=_TIME,
    settled=_FLAG,
)

_META = Shape(
    Meta,
    mode=Column(optional(whole(0, MODE_LIMIT))),
    mtime_ns=_TIME,
    counter=Column(whole(0, NUMBER_LIMIT)),
    author=Column(authors),
)

ENTRY = Shape(Entry, here=_STAMP, there=_STAMP, digest=_DIGEST, target=_TARGET, meta=_META)

_VERSION = Shape(Version, stamp=_STAMP, digest=_DIGEST, target=_TARGET)

VERSIONS = Shape(Versions, here=_VERSION, there=_VERSION)

LAID = Shape(Laid, conflict=_PATH, here=_FLAG, path=_PATH, digest=_DIGEST, seen=_FLAG, stamp=_STAMP)

IDENTITY = Shape(Identity, name=Column(node_names), id=_ID)

GENERATION = Shape(Generation, number=Column(whole(0, NUMBER_LIMIT)), id=_ID)

PLACE = Shape(Place, machine=Column(hashes), inode=Column(whole(0, WIDE_LIMIT)))
