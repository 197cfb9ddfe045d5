"""Payloads: what the records of a state file say, as rows and columns of msgpack.

Everything here raises Malformed, and nothing else, for whatever bytes, and for states that could not be read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from symsync_protocol.checks import Check, identifiers, paths, strings, whole
from symsync_protocol.packing import COLUMN_LIMIT, Malformed, pack, unpack
from symsync_protocol.stamps import Kind, Stamp
from symsync_protocol.state import ANCESTORS_KEPT, Conflict, Copy, Entry, Intent, PairState, Place
from symsync_protocol.tables import (
    ENTRY,
    GENERATION,
    IDENTITY,
    LAID,
    PLACE,
    VERSIONS,
    Laid,
    Versions,
    from_column,
    from_mapping_table,
    to_column,
    to_mapping_table,
)

ALLOWED_LIMIT = 64
"""Most words in `allowed`."""


class HeadRow(NamedTuple):
    """A state without its ancestors, entries and conflicts."""

    here: object
    there: object
    generation: object
    here_place: object
    there_place: object
    allowed: object


class BaseRow(NamedTuple):
    """A whole state."""

    head: object
    ancestors: object
    entries: object
    conflicts: object
    copies: object


class ChangeRow(NamedTuple):
    """From one state of a pair to the next."""

    head: object
    parent: object
    fresh: object
    kept: object
    entries: object
    removed_entries: object
    conflicts: object
    copies: object
    removed_conflicts: object


class IntentRow(NamedTuple):
    """What a run announces."""

    generation: object
    paths: object
    copies: object


@dataclass(frozen=True, slots=True)
class Change:
    """From one state of a pair to the next, in proportion to what changed.

    The new ancestors are `fresh`, then the first `kept` of the parent's id and its ancestors.
    """

    head: PairState
    """The new state without ancestors, entries and conflicts."""
    parent: bytes
    fresh: tuple[bytes, ...]
    kept: int
    entries: Mapping[str, Entry]
    removed_entries: Sequence[str]
    conflicts: Mapping[str, Conflict]
    removed_conflicts: Sequence[str]

    def swapped(self) -> "Change":
        """The same change as the other side sees it."""
        return replace(
            self,
            head=self.head.swapped(),
            entries={path: entry.swapped() for path, entry in self.entries.items()},
            conflicts={path: conflict.swapped() for path, conflict in self.conflicts.items()},
        )


def pack_base(state: PairState) -> bytes:
    """The payload that holds a whole state."""
    check_state(state)
    return pack(
        BaseRow(
            head=_head(state),
            ancestors=_short(identifiers, ANCESTORS_KEPT, state.ancestors),
            entries=to_mapping_table(ENTRY, state.entries),
            conflicts=_conflicts(state.conflicts),
            copies=_copies(state.conflicts),
        )
    )


def unpack_base(payload: bytes) -> PairState:
    """The state that `pack_base` was given."""
    row = _row(BaseRow, unpack(payload))
    state = _read_head(
        row.head,
        ancestors=_short(identifiers, ANCESTORS_KEPT, row.ancestors),
        entries=from_mapping_table(ENTRY, row.entries),
        conflicts=_read_conflicts(row.conflicts, row.copies),
    )
    check_state(state)
    return state


def pack_change(change: Change) -> bytes:
    """The payload that holds a change."""
    return pack(
        ChangeRow(
            head=_head(change.head),
            parent=_checked(identifiers, change.parent),
            fresh=_short(identifiers, ANCESTORS_KEPT, change.fresh),
            kept=_checked(_KEPT, change.kept),
            entries=to_mapping_table(ENTRY, change.entries),
            removed_entries=to_column(paths, change.removed_entries),
            conflicts=_conflicts(change.conflicts),
            copies=_copies(change.conflicts),
            removed_conflicts=to_column(paths, change.removed_conflicts),
        )
    )


def unpack_change(payload: bytes) -> Change:
    """The change that `pack_change` was given."""
    row = _row(ChangeRow, unpack(payload))
    return Change(
        head=_read_head(row.head),
        parent=_checked(identifiers, row.parent),
        fresh=_short(identifiers, ANCESTORS_KEPT, row.fresh),
        kept=_checked(_KEPT, row.kept),
        entries=from_mapping_table(ENTRY, row.entries),
        removed_entries=from_column(paths, row.removed_entries),
        conflicts=_read_conflicts(row.conflicts, row.copies),
        removed_conflicts=from_column(paths, row.removed_conflicts),
    )


def pack_intent(intent: Intent) -> bytes:
    """The payload that holds an intent."""
    return pack(
        IntentRow(
            generation=GENERATION.to_row(intent.generation),
            paths=to_column(paths, intent.paths),
            copies=to_column(paths, intent.copies),
        )
    )


def unpack_intent(payload: bytes) -> Intent:
    """The intent that `pack_intent` was given."""
    row = _row(IntentRow, unpack(payload))
    return Intent(
        generation=GENERATION.from_row(row.generation),
        paths=from_column(paths, row.paths),
        copies=from_column(paths, row.copies),
    )


def check_state(state: PairState) -> None:
    """What no field can tell alone: how many there are, and that an open conflict has no entry."""
    if len(state.ancestors) > ANCESTORS_KEPT:
        raise Malformed("there are too many ancestors")
    if len(state.entries) > COLUMN_LIMIT or len(state.conflicts) > COLUMN_LIMIT:
        raise Malformed("there are too many entries")
    if any(path in state.entries for path in state.conflicts):
        raise Malformed("a path is both in agreement and in conflict")


_Row = TypeVar("_Row", BaseRow, ChangeRow, HeadRow, IntentRow)

_KEPT = whole(0, ANCESTORS_KEPT)


def _row(form: type[_Row], value: object) -> _Row:
    """A row that was read; what a later version added behind its fields is left out."""
    width = len(form._fields)
    if type(value) is not tuple or len(value) < width:
        raise Malformed("a row lacks fields")
    return form(*value[:width])


def _checked(check: Check, value: Any) -> Any:
    check((value,))
    return value


def _short(check: Check, limit: int, values: object) -> tuple[Any, ...]:
    """A list within a row."""
    if type(values) is not tuple or len(values) > limit:
        raise Malformed("a list is missing or too long")
    check(values)
    return values


def _head(state: PairState) -> HeadRow:
    return HeadRow(
        here=IDENTITY.to_row(state.here),
        there=IDENTITY.to_row(state.there),
        generation=GENERATION.to_row(state.generation),
        here_place=_place(state.here_place),
        there_place=_place(state.there_place),
        allowed=_short(strings, ALLOWED_LIMIT, state.allowed),
    )


def _read_head(
    value: object,
    ancestors: tuple[bytes, ...] = (),
    entries: Mapping[str, Entry] = MappingProxyType({}),
    conflicts: Mapping[str, Conflict] = MappingProxyType({}),
) -> PairState:
    row = _row(HeadRow, value)
    return PairState(
        here=IDENTITY.from_row(row.here),
        there=IDENTITY.from_row(row.there),
        generation=GENERATION.from_row(row.generation),
        ancestors=ancestors,
        entries=entries,
        conflicts=conflicts,
        here_place=_read_place(row.here_place),
        there_place=_read_place(row.there_place),
        allowed=_short(strings, ALLOWED_LIMIT, row.allowed),
    )


def _place(place: Place | None) -> list[Any] | None:
    return None if place is None else PLACE.to_row(place)


def _read_place(value: object) -> Place | None:
    return None if value is None else PLACE.from_row(value)


def _conflicts(conflicts: Mapping[str, Conflict]) -> list[bytes] | None:
    versions = {path: Versions(conflict.here, conflict.there) for path, conflict in conflicts.items()}
    return to_mapping_table(VERSIONS, versions)


def _copies(conflicts: Mapping[str, Conflict]) -> list[bytes] | None:
    return LAID.to_table(
        Laid(path, here, copy.path, copy.digest, copy.stamp is not None, copy.stamp or _UNSEEN)
        for path, conflict in conflicts.items()
        for here, copy in ((True, conflict.copy_here), (False, conflict.copy_there))
        if copy is not None
    )


_UNSEEN = Stamp(Kind.FILE)
"""Stands where a copy that is only announced has no stamp."""


def _read_conflicts(conflicts: object, copies: object) -> dict[str, Conflict]:
    versions = from_mapping_table(VERSIONS, conflicts)
    rows = LAID.from_table(copies)
    laid = {(row.conflict, row.here): Copy(row.path, row.digest, row.stamp if row.seen else None) for row in rows}
    if len(laid) != len(rows) or not all(row.conflict in versions for row in rows):
        raise Malformed("a copy is there twice, or belongs to no conflict")
    return {
        path: Conflict(both.here, both.there, laid.get((path, True)), laid.get((path, False)))
        for path, both in versions.items()
    }
