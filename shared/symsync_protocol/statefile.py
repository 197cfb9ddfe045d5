"""The state file: the bytes that keep a `PairState`, and the intent of the run that is about to change it.

    file    = magic, version, first record, further records
    first   = a base (the whole state), or an intent where the pair has never agreed yet
    further = changes (from one generation to the next) and intents

A run appends what it changed; now and then the file is written anew (`worth_rewriting`). `records` has the frame that
lets a reader skip what is torn, `payloads` what the records say. What is read may come from anybody who can write on
the hub: whatever is wrong with it is StateDamaged. docs/protocol.md describes every byte.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from symsync_protocol.errors import StateDamaged, StateTooNew, UsageError
from symsync_protocol.names import check_name
from symsync_protocol.packing import Malformed
from symsync_protocol.payloads import (
    Change,
    check_state,
    pack_base,
    pack_change,
    pack_intent,
    unpack_base,
    unpack_change,
    unpack_intent,
)
from symsync_protocol.records import Coding, Record, RecordKind, encode_record, scan
from symsync_protocol.state import Identity, Intent, PairState

MAGIC = b"\x8fSYNC\r\n"
"""The bytes beyond ASCII and the line end show a transfer that was not binary."""
VERSION = 1
SIZE_LIMIT = 2**30
"""Most bytes of a state file. Who fetches one need not fetch more."""

APPENDED_FLOOR = 64 * 1024
"""Appended bytes that are never worth a rewriting."""

_HEAD = MAGIC + bytes([VERSION])

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class StateFile:
    """What a state file holds, and what is to know before appending to it."""

    state: PairState | None
    """None where the pair has never agreed yet."""
    intent: Intent | None
    """Announced by a run that has not recorded its end; None where the state is that end."""
    rewrites: int
    """How often the file was written anew: to be given on appending, and one more on writing anew."""
    size: int
    """Bytes of the file: the offset of what is appended next."""
    torn: bool
    """Whether there are bytes that do not count: appended in part, damaged, or left over."""
    base_size: int
    """Bytes up to the end of the first record."""
    record_ids: frozenset[bytes]
    """The records that count."""
    parts: int = 0
    """In how many files beside the first it lies, because a server could not append."""

    @property
    def records(self) -> int:
        """How many records count."""
        return len(self.record_ids)


def encode_file(state: PairState | None, *, rewrites: int, intent: Intent | None = None) -> bytes:
    """A whole new file. `rewrites` is one more than in the file that it replaces, so that no two have one size.

    Without a state there must be an intent. Raises StateDamaged for a state that nobody could read again.
    """
    if state is None and intent is None:
        raise ValueError("a state file holds a state, an intent or both")
    data = _HEAD
    with _translated("the state can't be written"):
        if state is not None:
            data += encode_record(RecordKind.BASE, pack_base(state), rewrites=rewrites, offset=len(data))
        if intent is not None:
            data += encode_record(RecordKind.INTENT, pack_intent(intent), rewrites=rewrites, offset=len(data))
    return data


def encode_change(before: PairState, after: PairState, *, rewrites: int, offset: int, swapped: bool = False) -> bytes:
    """The bytes that, appended at `offset` to a file whose state is `before`, make it one whose state is `after`.

    `swapped` makes them for the other side's file, which holds both states swapped, without the cost of swapping
    them. Raises StateDamaged for a state that nobody could read again.
    """
    lineage = (before.generation.id, *before.ancestors)
    fresh, kept = _descent(after.ancestors, lineage)
    change = Change(
        head=replace(after, ancestors=(), entries={}, conflicts={}),
        parent=before.generation.id,
        fresh=fresh,
        kept=kept,
        entries=_changed(before.entries, after.entries),
        removed_entries=_removed(before.entries, after.entries),
        conflicts=_changed(before.conflicts, after.conflicts),
        removed_conflicts=_removed(before.conflicts, after.conflicts),
    )
    with _translated("the changed state can't be written"):
        check_state(after)
        payload = pack_change(change.swapped() if swapped else change)
        return encode_record(RecordKind.CHANGE, payload, rewrites=rewrites, offset=offset)


def encode_intent(intent: Intent, *, rewrites: int, offset: int) -> bytes:
    """The bytes that, appended at `offset`, announce `intent`."""
    with _translated("the run can't be announced"):
        return encode_record(RecordKind.INTENT, pack_intent(intent), rewrites=rewrites, offset=offset)


def decode(data: bytes, what: str) -> StateFile:
    """What the file `data` holds; `what` names it in errors.

    Raises StateTooNew where a newer symsync wrote it, StateDamaged where its first record is not intact or anything
    else is not as the format has it. Damage behind the first record costs what lies there, and shows in `torn`.
    """
    with _translated(f"{what} is damaged"):
        if len(data) > SIZE_LIMIT:
            raise Malformed("it is larger than any state")
        _check_head(data, what)
        records, torn = scan(data, len(_HEAD))
        if not records or records[0].start != len(_HEAD):
            raise Malformed("its first record is cut short or its checksum is wrong")
        start = StateFile(None, None, records[0].rewrites, len(data), torn, records[0].end, frozenset())
        return _read(start, records, what)


def decode_tail(previous: StateFile, tail: bytes, what: str) -> StateFile | None:
    """What the file holds after `tail` was appended to `previous`; None where the whole must be read again.

    Raises StateTooNew and StateDamaged as `decode` does.
    """
    if previous.torn:
        return None
    with _translated(f"{what} is damaged"):
        if previous.size + len(tail) > SIZE_LIMIT:
            raise Malformed("it is larger than any state")
        records, torn = scan(tail, 0)
        if torn:
            return None
        after = _read(replace(previous, size=previous.size + len(tail)), records, what)
    return None if after.torn else after


def worth_rewriting(file: StateFile) -> bool:
    """Whether the next run should write the file anew: it is torn, or more was appended than it began with."""
    return file.torn or file.size - file.base_size > max(file.base_size, APPENDED_FLOOR)


def _check_head(data: bytes, what: str) -> None:
    if not data.startswith(MAGIC) or len(data) < len(_HEAD):
        raise Malformed("it is no state file, or was not transferred as binary")
    if data[len(MAGIC)] > VERSION:
        raise StateTooNew(_too_new(what))
    if data[len(MAGIC)] < VERSION:
        raise Malformed("it has a version that never was")


def _too_new(what: str) -> str:
    return f"{what}: a newer symsync wrote it; update symsync on this computer"


_KNOWN_KINDS = frozenset(RecordKind)
_KNOWN_CODINGS = frozenset(Coding)


def _read(file: StateFile, records: list[Record], what: str) -> StateFile:
    """`file` after these records."""
    state, intent, torn, counted = file.state, file.intent, file.torn, set(file.record_ids)
    for record in records:
        if record.id in counted:
            continue  # Appended again after a lost reply.
        if record.rewrites != file.rewrites:
            torn = True  # Left over from a longer file that this one was written over.
            continue
        if record.kind not in _KNOWN_KINDS or record.coding not in _KNOWN_CODINGS:
            raise StateTooNew(_too_new(what))
        if record.kind == RecordKind.INTENT:
            intent = unpack_intent(record.payload())
        elif record.kind == RecordKind.BASE and not counted:
            state = unpack_base(record.payload())
        elif record.kind == RecordKind.CHANGE and state is not None:
            change = unpack_change(record.payload())
            if change.parent != state.generation.id:
                torn = True  # What led to it is lost.
                continue
            state = _applied(state, change, in_place=state is not file.state)
        else:
            torn = True
            continue
        counted.add(record.id)
        if intent is not None and state is not None and _is_fulfilled(intent, state):
            intent = None
    if state is not None:
        check_state(state)
    return replace(file, state=state, intent=intent, torn=torn, record_ids=frozenset(counted))


def _is_fulfilled(intent: Intent, state: PairState) -> bool:
    return intent.generation.id == state.generation.id or state.descends_from(intent.generation)


def _applied(state: PairState, change: Change, *, in_place: bool) -> PairState:
    """The state after `change`. `in_place` takes over the mappings of `state`: copying them would cost the most."""
    lineage = (state.generation.id, *state.ancestors)
    return replace(
        change.head,
        ancestors=(*change.fresh, *lineage[: change.kept]),
        entries=_merged(state.entries, change.entries, change.removed_entries, in_place),
        conflicts=_merged(state.conflicts, change.conflicts, change.removed_conflicts, in_place),
    )


def _merged(
    mapping: Mapping[str, _Value], changed: Mapping[str, _Value], removed: Sequence[str], in_place: bool
) -> dict[str, _Value]:
    merged = mapping if in_place and isinstance(mapping, dict) else dict(mapping)
    for path in removed:
        if merged.pop(path, None) is None:
            raise Malformed("a change removes what is not there")
    merged.update(changed)
    return merged


def _descent(ancestors: tuple[bytes, ...], lineage: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], int]:
    """`ancestors` as some fresh ids and the number of ids from the beginning of `lineage` that follow them."""
    for fresh in range(len(ancestors)):
        kept = len(ancestors) - fresh
        if ancestors[fresh:] == lineage[:kept]:
            return ancestors[:fresh], kept
    return ancestors, 0


def _changed(before: Mapping[str, _Value], after: Mapping[str, _Value]) -> dict[str, _Value]:
    if before is after:
        return {}
    known = before.get
    # Most values of a new state are the very objects of the old one: `is` spares comparing them field by field.
    return {path: value for path, value in after.items() if (old := known(path)) is not value and old != value}


def _removed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [] if before is after else [path for path in before if path not in after]


_IDENTITY_TITLE = "symsync identity"
_IDENTITY_LIMIT = 1024
_SUM_SIZE = 16
"""Hexadecimal digits."""
_IDENTITY_ADVICE = "put it back from a backup, or let `symsync sync --allow identity` write it anew"


def encode_identity(identity: Identity) -> bytes:
    """The identity file: four lines of ASCII that a person can read too."""
    text = f"{_IDENTITY_TITLE} {VERSION}\nname {identity.name}\nid {identity.id.hex()}\n".encode("ascii")
    return text + b"sum %s\n" % _identity_sum(text)


def decode_identity(data: bytes, what: str) -> Identity:
    """The identity that a file holds; `what` names it in errors. Raises StateTooNew and StateDamaged."""
    with _translated(f"{what} is damaged", _IDENTITY_ADVICE):
        if len(data) > _IDENTITY_LIMIT or not data.isascii():
            raise Malformed("it is no identity file")
        lines = data.decode("ascii").splitlines()
        title, _, version = lines[0].rpartition(" ") if lines else ("", "", "")
        if title != _IDENTITY_TITLE or not version.isdigit():
            raise Malformed("it is no identity file")
        if int(version) > VERSION:
            raise StateTooNew(_too_new(what))
        fields = dict(line.split(" ", 1) for line in lines[1:] if " " in line)
        identity = _identity(fields.get("name", ""), fields.get("id", ""))
        if identity is None or encode_identity(identity) != data:
            raise Malformed("its lines do not match its sum")
        return identity


def _identity(name: str, key: str) -> Identity | None:
    try:
        return Identity(check_name(name, "name"), bytes.fromhex(key))
    except (UsageError, ValueError):
        return None


def _identity_sum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_SUM_SIZE].encode("ascii")


@contextmanager
def _translated(happened: str, advice: str = "") -> Iterator[None]:
    """Malformed becomes the one line that a user sees."""
    try:
        yield
    except Malformed as error:
        raise StateDamaged(f"{happened}: {error}" + (f"; {advice}" if advice else "")) from None
