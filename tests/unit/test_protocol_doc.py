"""docs/protocol.md says what the code does."""

import re
import struct
from pathlib import Path

import pytest

from symsync_protocol import names, packing, payloads, records, statefile, tables
from symsync_protocol.state import ANCESTORS_KEPT, Identity

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

FIELDS = {
    "stamp": [name.removeprefix("stamp.") for name, _ in tables.LAID.columns() if name.startswith("stamp.")],
    "base": [*payloads.BaseRow._fields],
    "change": [*payloads.ChangeRow._fields],
    "intent": [*payloads.IntentRow._fields],
    "head": [*payloads.HeadRow._fields],
    "entries": ["path", *(name for name, _ in tables.ENTRY.columns())],
    "conflicts": ["path", *(name for name, _ in tables.VERSIONS.columns())],
    "copies": [name for name, _ in tables.LAID.columns()],
}


def table(title: str) -> list[list[str]]:
    """The cells of the rows of the table whose head begins with `title`."""
    _, _, rest = TEXT.partition(f"\n| {title} |")
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("block", FIELDS)
def test_fields(block: str) -> None:
    """Each list of fields names all of them in their order."""
    (listed,) = re.findall(rf"```text {block}\n(.*?)```", TEXT, re.DOTALL)
    assert FIELDS[block] == listed.split()


def test_every_field_is_explained() -> None:
    """The table of values has a row for the last part of each column's name, and for nothing else."""
    shapes = (tables.ENTRY, tables.VERSIONS, tables.LAID, tables.IDENTITY, tables.GENERATION, tables.PLACE)
    leaves = {name.rpartition(".")[2] for shape in shapes for name, _ in shape.columns()}
    assert leaves == {name for row in table("field") for name in re.findall("`([a-z_]+)`", row[0])}


def test_header() -> None:
    """Offsets and sizes of a record's header are those that a record has."""
    rows = [(int(offset), int(size)) for offset, size, _ in table("offset")[:-1]]
    sizes = [size for _, size in rows]
    assert [sum(sizes[:index]) for index in range(len(sizes))] == [offset for offset, _ in rows]
    assert sum(sizes) == records.HEADER_SIZE
    record = records.encode_record(records.RecordKind.INTENT, b"payload", rewrites=3, offset=0)
    marker, kind, coding, padding, rewrites, length = struct.unpack_from(">4sBBHII", record)
    assert (marker, kind, coding, rewrites) == (records.MARKER, 3, 0, 3)
    assert (b"payload" + bytes(padding), len(record)) == (record[48:], 48 + length)


def test_magic() -> None:
    """The bytes a file begins with."""
    assert statefile.MAGIC.hex(" ").upper() in TEXT
    assert records.MARKER.hex(" ").upper() in TEXT
    assert f"with the version, {statefile.VERSION}." in TEXT


def test_limits() -> None:
    """The numbers a reader refuses to go beyond."""
    limits = [
        statefile.SIZE_LIMIT,
        packing.PLAIN_LIMIT,
        records.RATIO_LIMIT,
        packing.COLUMN_LIMIT,
        packing.ROW_LIMIT,
        packing.TEXT_LIMIT,
        packing.SHORT_LIMIT,
        ANCESTORS_KEPT,
        payloads.ALLOWED_LIMIT,
        records.HASHING_LIMIT,
    ]
    assert limits == [int(value) for _, value in table("limit")]
    assert f"more than {statefile.APPENDED_FLOOR} bytes" in " ".join(TEXT.split())


NAMES = (names.IGNORE_FILE, names.IDENTITY_FILE, names.PART_PREFIX)


def test_names() -> None:
    """The directories, the reserved prefixes and the identity file's name."""
    assert {f"`{name}/`" for name in names.OWN_DIRS} == {row[0] for row in table("directory")}
    assert all(f"`{prefix}`" in TEXT for prefix in (*names.RESERVED_PREFIXES, *NAMES))


def test_identity_example() -> None:
    """The example is a good identity file, and the very one that is written."""
    (example,) = re.findall(r"```text\n(symsync identity.*?)```", TEXT, re.DOTALL)
    assert example.encode() == statefile.encode_identity(Identity("server", b"S" * 16))
