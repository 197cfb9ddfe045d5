"""Damaged and hostile state files: an error in one line, or one of the states that were written."""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol_samples import ENTRY, FILE, VERSION, generation, state
from protocol_values import ANY_PATHS, histories, states
from symsync_protocol import packing, payloads, records, statefile, tables
from symsync_protocol.errors import StateDamaged, StateTooNew
from symsync_protocol.records import RecordKind, encode_record
from symsync_protocol.state import (
    ANCESTORS_KEPT,
    Conflict,
    Copy,
    Generation,
    Identity,
    Intent,
    Meta,
    PairState,
    Place,
)
from symsync_protocol.statefile import (
    decode,
    encode_change,
    encode_file,
    encode_intent,
)

HEAD = statefile.MAGIC + bytes([statefile.VERSION])


def packed(value: object) -> bytes:
    """Any value as msgpack, unchecked."""
    encoded: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return encoded


def framed(payload: bytes) -> bytes:
    """A file whose base holds any payload, its checksum right."""
    return HEAD + encode_record(RecordKind.BASE, payload, rewrites=0, offset=len(HEAD))


def damaged(data: bytes) -> str:
    """What `decode` says of these bytes."""
    with pytest.raises(StateDamaged, match=r"^the file is damaged: [^\n]+$") as caught:
        decode(data, "the file")
    return str(caught.value)


@given(histories(), st.data())
def test_a_damaged_byte_never_makes_a_wrong_state(history: list[PairState], data: st.DataObject) -> None:
    """Any bytes changed anywhere: an error, or one of the states that were written, never another."""
    whole = bytearray(encode_file(history[0], rewrites=1))
    for before, after in pairwise(history):
        whole += encode_change(before, after, rewrites=1, offset=len(whole))
    flips = st.dictionaries(st.integers(0, len(whole) - 1), st.integers(1, 255), min_size=1, max_size=3)
    for position, flipped in data.draw(flips).items():
        whole[position] ^= flipped
    try:
        file = decode(bytes(whole), "x")
    except StateDamaged:
        return
    assert file.state in history
    assert file.torn


@given(states(), st.data())
def test_a_file_cut_short_never_makes_a_wrong_state(whole: PairState, data: st.DataObject) -> None:
    """Cut within the first record it is damaged; behind it, it is the state."""
    encoded = encode_file(whole, rewrites=0)
    longer = encoded + encode_intent(Intent(generation(9)), rewrites=0, offset=len(encoded))
    length = data.draw(st.integers(0, len(longer) - 1))
    if length < len(encoded):
        damaged(longer[:length])
    else:
        assert whole == decode(longer[:length], "x").state


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Bytes from anywhere, with or without our beginning, are damaged."""
    damaged(data)
    damaged(HEAD + data)


@given(st.sampled_from([RecordKind.CHANGE, RecordKind.INTENT]), st.binary(max_size=200))
def test_any_payload(kind: RecordKind, payload: bytes) -> None:
    """A right checksum over nonsense is damaged too, wherever it stands."""
    damaged(framed(payload))
    start = encode_file(state(), rewrites=0)
    damaged(start + encode_record(kind, payload, rewrites=0, offset=len(start)))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | ANY_PATHS | st.floats(),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(ANY_PATHS, inner, max_size=2),
)


def replaced(row: object, way: Sequence[int], new: object) -> object:
    """`row` with what lies at the end of `way` replaced; columns are opened on the way."""
    if isinstance(row, bytes) and way:
        try:
            return packing.pack_column(replaced(packing.unpack_column(row), way, new))  # type: ignore[arg-type]  # any
        except packing.Malformed:
            return new
    if not isinstance(row, tuple) or not row or not way:
        return new
    index = way[0] % len(row)
    return (*row[:index], replaced(row[index], way[1:], new), *row[index + 1 :])


def sample() -> bytes:
    """The payload of a state that has something of everything."""
    conflict = Conflict(VERSION, VERSION, Copy("c.server", b"c" * 32), Copy("c.laptop", b"c" * 32, FILE))
    whole = state(3, conflicts={"c": conflict}, here_place=Place(b"m", 1), allowed=("deletes",))
    assert whole == decode(framed(payloads.pack_base(whole)), "x").state
    return payloads.pack_base(whole)


@given(st.lists(st.integers(0, 50), max_size=4), ANYTHING)
def test_any_field_of_a_base(way: list[int], new: object) -> None:
    """Anything at any place of a state's payload: an error in one line, or a state that can be written again."""
    data = framed(packed(replaced(packing.unpack(sample()), way, new)))
    try:
        read = decode(data, "x").state
    except StateDamaged as error:
        assert "\n" not in str(error)
    else:
        assert read == decode(encode_file(read, rewrites=0), "x").state


HOSTILE: dict[str, Callable[[], PairState]] = {
    "path out of the directory": lambda: state(entries={"../f": ENTRY}),
    "absolute path": lambda: state(entries={"/f": ENTRY}),
    "reserved path": lambda: state(entries={"a/.sync.conf": ENTRY}),
    "reserved conflict": lambda: state(entries={}, conflicts={".sync_x": Conflict(VERSION, VERSION)}),
    "reserved copy": lambda: state(conflicts={"c": Conflict(VERSION, VERSION, Copy(".sync.conf", b""))}),
    "entry and conflict": lambda: state(conflicts={"a/f": Conflict(VERSION, VERSION)}),
    "long path": lambda: state(entries={"x" * (packing.TEXT_LIMIT + 1): ENTRY}),
    "short digest": lambda: state(entries={"f": replace(ENTRY, digest=b"d")}),
    "negative size": lambda: state(entries={"f": replace(ENTRY, here=replace(FILE, size=-1))}),
    "no size": lambda: state(entries={"f": replace(ENTRY, here=replace(FILE, size=None))}),  # type: ignore[arg-type]  # hostile
    "size of another type": lambda: state(entries={"f": replace(ENTRY, here=replace(FILE, size=True))}),
    "endless tick": lambda: state(entries={"f": replace(ENTRY, here=replace(FILE, tick_ns=2**62))}),
    "mode with a type": lambda: state(entries={"f": replace(ENTRY, meta=Meta(mode=0o100644))}),
    "author": lambda: state(entries={"f": replace(ENTRY, meta=Meta(author="a b"))}),
    "unknown kind": lambda: state(entries={"f": replace(ENTRY, here=replace(FILE, kind="x"))}),  # type: ignore[arg-type]  # hostile
    "time beyond all": lambda: state(entries={"f": replace(ENTRY, here=replace(FILE, mtime_ns=2**127))}),
    "NUL in a target": lambda: state(entries={"f": replace(ENTRY, target="a\0b")}),
    "no characters": lambda: state(entries={"\ud800": ENTRY}),
    "name": lambda: state(here=Identity("../x", b"L" * 16)),
    "id": lambda: state(here=Identity("x", b"L" * 15)),
    "generation": lambda: state(generation=Generation(-1, b"g" * 16)),
    "ancestors": lambda: state(ancestors=(b"a" * 16,) * (ANCESTORS_KEPT + 1)),
    "ancestor": lambda: state(ancestors=(b"a",)),
    "place": lambda: state(here_place=Place(b"m" * 65, 1)),
    "allowed": lambda: state(allowed=("x",) * (payloads.ALLOWED_LIMIT + 1)),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_what_could_not_be_read_is_not_written(hostile: Callable[[], PairState]) -> None:
    """The checks on reading stand before writing too, whole or as a change."""
    with pytest.raises(StateDamaged, match=r"^the state can't be written: "):
        encode_file(hostile(), rewrites=0)
    before = state(entries={}, ancestors=(b"z" * 16,))
    with pytest.raises(StateDamaged, match=r"^the changed state can't be written: "):
        encode_change(before, hostile(), rewrites=0, offset=0)


WAYS = {name: index for index, (name, _) in enumerate([("path", None), *tables.ENTRY.columns()])}


@pytest.mark.parametrize(
    ("way", "new", "reason"),
    [
        ((2, WAYS["path"], 0), "../f", "leads out of the directory"),
        ((2, WAYS["path"], 0), "a/.sync.conf", "is reserved"),
        ((2, WAYS["path"], 0), "c", "both in agreement and in conflict"),
        ((2, WAYS["path"], 0), b"f", "wrong type"),
        ((2, WAYS["path"], 0), "x" * 16_385, "too long"),
        ((2, WAYS["path"]), packed(["f", "f"]), "differ in length"),
        ((2, WAYS["path"]), None, "a column is missing"),
        ((2, WAYS["path"]), packed(["f"]) + b"\xc0", "longer than it says"),
        ((2, WAYS["path"]), packed(["f"] * 5)[:-1], "cut short"),
        ((2, WAYS["path"]), packed([["f"]]), "beyond the limits"),
        ((2, WAYS["path"]), b"\xdd\xff\xff\xff\xff", "too many entries"),
        ((2, WAYS["path"]), b"\xc1", "no msgpack"),
        ((2, WAYS["here.kind"], 0), "x", "unknown kind"),
        ((2, WAYS["here.size"], 0), -1, "out of range"),
        ((2, WAYS["here.size"], 0), True, "wrong type"),
        ((2, WAYS["here.size"], 0), 2**63, "out of range"),
        ((2, WAYS["here.mtime_ns"], 0), 1.5, "wrong type"),
        ((2, WAYS["here.mtime_ns"], 0), msgpack.ExtType(2, b"123456789"), "unknown type"),
        ((2, WAYS["here.mtime_ns"], 0), msgpack.ExtType(1, b"1"), "unknown type"),
        ((2, WAYS["here.mtime_ns"], 0), msgpack.ExtType(1, b"1" * 17), "beyond the limits"),
        ((2, WAYS["here.mtime_ns"], 0), msgpack.Timestamp(1), "wrong type"),
        ((2, WAYS["there.tick_ns"], 0), 2**62, "out of range"),
        ((2, WAYS["digest"], 0), b"d", "digest has the wrong length"),
        ((2, WAYS["digest"], 0), b"d" * 65, "beyond the limits"),
        ((2, WAYS["target"], 0), "a\0b", "NUL"),
        ((2, WAYS["meta.mode"], 0), 0o100644, "out of range"),
        ((2, WAYS["meta.author"], 0), "a b", "characters that no name may have"),
        ((2,), (), "lacks columns"),
        ((2,), "f", "lacks columns"),
        ((3,), None, "belongs to no conflict"),
        ((3, 0, 0), "other", "belongs to no conflict"),
        ((4, 1), packed([True, True]), "there twice"),
        ((0, 0, 0), "../x", "characters that no name may have"),
        ((0, 0, 1), b"id", "id has the wrong length"),
        ((0, 0), ("laptop",), "row lacks fields"),
        ((0, 2, 0), 2**63, "out of range"),
        ((0, 3, 0), b"m" * 65, "hash is too long"),
        ((0, 5), ("x",) * 65, "list is missing or too long"),
        ((0,), None, "row lacks fields"),
        ((1,), (b"a" * 16,) * 65, "list is missing or too long"),
        ((1, 0), b"a", "id has the wrong length"),
        ((), {}, "row lacks fields"),
        ((), {"a": 1}, "beyond the limits"),
        ((), ("x",) * 129, "beyond the limits"),
    ],
)
def test_hostile_fields(way: tuple[int, ...], new: object, reason: str) -> None:
    """Whoever can write on the hub can write a right checksum over any of these."""
    assert reason in damaged(framed(packed(replaced(packing.unpack(sample()), way, new))))


def test_a_path_twice() -> None:
    """Nobody could tell which of the two counts."""
    row = packing.unpack(sample())
    assert isinstance(row, tuple)
    table = tuple(packed(2 * packing.unpack_column(column)) for column in row[2])
    assert "a path is there twice" in damaged(framed(packed((*row[:2], table, *row[3:]))))


def test_what_a_later_version_adds_is_ignored() -> None:
    """Fields behind the known ones of a row, and columns behind those of a table, are room for a version vector."""
    base = packing.unpack(sample())
    assert isinstance(base, tuple)
    head, ancestors, entries, conflicts, copies = base
    later = (
        (*((*row, "new") if isinstance(row, tuple) else row for row in head[:-1]), head[-1], "new"),
        ancestors,
        (*entries, packed([{"vector": 1}])),
        (*conflicts, b""),
        (*copies, None),
        "new",
    )
    assert decode(framed(sample()), "x").state == decode(framed(packed(later)), "x").state


@pytest.mark.parametrize("levels", [100, 2000, 100_000])
def test_nesting(levels: int) -> None:
    """Arrays in arrays without end, each of which claims to be long, cost neither memory nor a crash."""
    damaged(framed(b"\xdc\x00\x80" * levels))
    damaged(framed(packed(replaced(packing.unpack(sample()), (2, 0), b"\xdd\x00\x10\x00\x00" * levels))))


def test_a_bomb_is_not_unpacked() -> None:
    """Zeros that compress a thousandfold are refused before they fill the memory."""
    bomb = zlib.compress(bytes(records.RATIO_LIMIT * 100_000), 9)
    record = records.Record(RecordKind.BASE, records.Coding.ZLIB, 0, b"", memoryview(bomb), 0, len(bomb))
    with pytest.raises(packing.Malformed, match="larger, unpacked"):
        record.payload()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body[:-4], "cut short"),
        (lambda body: body + b"x", "cut short or larger"),
        (lambda body: b"x" + body, "can't be decompressed"),
    ],
)
def test_bad_compression(change: Callable[[bytes], bytes], reason: str) -> None:
    """A compressed body is one stream of zlib, whole, and nothing else."""
    body = change(zlib.compress(bytes(500)))
    record = records.Record(RecordKind.BASE, records.Coding.ZLIB, 0, b"", memoryview(body), 0, len(body))
    with pytest.raises(packing.Malformed, match=reason):
        record.payload()


def test_what_compresses_too_well_is_stored_plain() -> None:
    """So no honest file is ever refused as a bomb."""
    same_times = {f"{number:05}": ENTRY for number in range(20_000)}
    for payload in (bytes(100_000), payloads.pack_base(state(entries=same_times))):
        data = encode_record(RecordKind.BASE, payload, rewrites=0, offset=0)
        ((record,), torn) = records.scan(data, 0)
        assert (payload, False) == (record.payload(), torn)


def test_false_markers_do_not_take_for_ever() -> None:
    """A file full of records that claim to reach to its end would be hashed once for each."""
    header = encode_record(RecordKind.INTENT, bytes(2**16), rewrites=0, offset=0)[:16]
    with pytest.raises(packing.Malformed, match="full of false records"):
        records.scan((header + bytes(32)) * 4000, 0)


def test_a_change_that_removes_what_is_not_there() -> None:
    """It was not made from the state it names."""
    data = encode_file(state(1), rewrites=0)
    without = state(1, entries={"b": ENTRY})
    data += encode_change(without, state(2, entries={}), rewrites=0, offset=len(data))
    assert "removes what is not there" in damaged(data)


def test_newer_versions_are_refused() -> None:
    """A newer file, a record of a new kind or a new coding: never misread, and the message says what to do."""
    newer_file = statefile.MAGIC + bytes([statefile.VERSION + 1]) + encode_file(state(), rewrites=0)[8:]
    record = bytearray(encode_intent(Intent(generation(2)), rewrites=0, offset=0))
    for data in (newer_file, *(_with_byte(record, position) for position in (4, 5))):
        with pytest.raises(StateTooNew, match=r"^the file: a newer symsync wrote it; update symsync"):
            decode(data, "the file")


def _with_byte(record: bytearray, position: int) -> bytes:
    changed = record.copy()
    changed[position] = 99
    covered, body = changed[4:32], changed[48:]
    changed[32:48] = hashlib.sha256(covered + body).digest()[:16]
    return HEAD + bytes(changed)


@pytest.mark.parametrize("version", [b"", b"\0"])
def test_versions_that_never_were(version: bytes) -> None:
    """A file that ends in its beginning is damaged."""
    damaged(statefile.MAGIC + version)


def test_a_text_transfer_is_noticed() -> None:
    """A server that changes line ends has changed the first bytes."""
    data = encode_file(state(), rewrites=0)
    assert "not transferred as binary" in damaged(data.replace(b"\r\n", b"\n"))
