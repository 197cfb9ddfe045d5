"""msgpack as the state file uses it: rows and columns, with a limit on everything, for what is read may be hostile.

A row is an array. A column, of any number of values, is an array packed by itself, which lies as `bin` in the row that
holds it: so no array within an array can be long, and none at all can be in a column. An unbounded reader would set
aside memory for the length that each of five hundred nested arrays claims.
"""

from collections.abc import Sequence
from typing import Any

import msgpack

TEXT_LIMIT = 16_384
"""Most characters of a path, a link's target or a name; systems end at 4096 bytes (PATH_MAX)."""
COLUMN_LIMIT = 4_000_000
"""Most values of a column."""
ROW_LIMIT = 128
"""Most fields of a row."""
PLAIN_LIMIT = 512 * 2**20
"""Most bytes of a row with all its columns: some four million entries."""
SHORT_LIMIT = 64
"""Most bytes of a binary value in a column: digests have 32."""

WIDE_INTEGER = 1
"""msgpack extension type of whole numbers beyond 64 bits: big-endian two's complement."""
WIDE_SIZES = range(9, 17)
"""Bytes of a wide integer."""
WIDE_LIMIT = 2**127 - 1

_UTF8_BYTES = 4
"""Most bytes of a character in UTF-8 (RFC 3629)."""
_ERRORS = "surrogateescape"
"""Names on disk need not be UTF-8 (PEP 383)."""


class Malformed(Exception):
    """What was read (or is about to be written) is not what the format allows. The message says what, not where."""


def pack(row: Sequence[object]) -> bytes:
    """A row of plain values. Raises Malformed for what msgpack can't hold, or no reader would accept."""
    packed = _pack(row)
    if len(packed) > PLAIN_LIMIT:
        raise Malformed("it is too large")
    return packed


def pack_column(values: Sequence[object]) -> bytes:
    """A column of plain values. Raises Malformed as `pack` does."""
    if len(values) > COLUMN_LIMIT:
        raise Malformed("it has too many entries")
    return _pack(values)


def unpack(payload: bytes) -> object:
    """What `pack` was given, in tuples. Raises Malformed for anything else."""
    try:
        return msgpack.unpackb(
            payload,
            use_list=False,
            unicode_errors=_ERRORS,
            ext_hook=_narrow,
            max_str_len=_UTF8_BYTES * TEXT_LIMIT,
            max_bin_len=PLAIN_LIMIT,
            max_array_len=ROW_LIMIT,
            max_map_len=0,
            max_ext_len=WIDE_SIZES[-1],
        )
    except _MSGPACK_ERRORS:
        raise Malformed("a record is no msgpack, or beyond the limits") from None


def unpack_column(column: object) -> tuple[Any, ...]:
    """What `pack_column` was given. Raises Malformed for anything else."""
    if type(column) is not bytes:
        raise Malformed("a column is missing")
    unpacker = msgpack.Unpacker(
        use_list=False,
        unicode_errors=_ERRORS,
        ext_hook=_narrow,
        max_buffer_size=PLAIN_LIMIT,
        max_str_len=_UTF8_BYTES * TEXT_LIMIT,
        max_bin_len=SHORT_LIMIT,
        max_array_len=0,
        max_map_len=0,
        max_ext_len=WIDE_SIZES[-1],
    )
    try:
        unpacker.feed(column)
        length = unpacker.read_array_header()
        if length > COLUMN_LIMIT:
            raise Malformed("there are too many entries")
        values = tuple(unpacker)
    except _MSGPACK_ERRORS:
        raise Malformed("a column is no msgpack, or beyond the limits") from None
    if len(values) != length or unpacker.tell() != len(column):
        raise Malformed("a column is cut short, or longer than it says")
    return values


_MSGPACK_ERRORS = (ValueError, msgpack.UnpackException, RecursionError)
"""FormatError, ExtraData, StackError and what the limits refuse are ValueErrors."""


def _pack(values: Sequence[object]) -> bytes:
    try:
        packed: bytes = msgpack.packb(values, default=_widen, unicode_errors=_ERRORS)
    except UnicodeEncodeError:
        raise Malformed("a text holds characters that no name can have") from None
    return packed


def _widen(value: object) -> msgpack.ExtType:
    """msgpack asks for what it can't pack: whole numbers beyond 64 bits."""
    if type(value) is not int or abs(value) > WIDE_LIMIT:
        raise Malformed("a field has the wrong type")
    return msgpack.ExtType(WIDE_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _narrow(code: int, data: bytes) -> int:
    if code != WIDE_INTEGER or len(data) not in WIDE_SIZES:
        raise Malformed("a field has an unknown type")
    return int.from_bytes(data, "big", signed=True)
