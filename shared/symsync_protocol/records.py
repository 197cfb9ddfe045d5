"""Records: how changes are appended to a state file so that torn, damaged and repeated ones are recognised.

A record is a header and a body: the payload, compressed where that pays, and padding. The header's fields, all
big-endian: marker, kind, coding, number of padding bytes at the end of the body, the file's rewrite counter, length of
the body, random id, and the first 16 bytes of the SHA-256 over the header (without marker and checksum) and the body.
"""

import hashlib
import secrets
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from symsync_protocol.checks import ID_SIZE
from symsync_protocol.packing import PLAIN_LIMIT, Malformed

MARKER = b"\xfeSR\xff"
"""Begins each record; 0xFE and 0xFF occur in no UTF-8 text."""

CHECKSUM_SIZE = 16
SIZE_STEP = 256
"""The size of a file after each record is congruent to its rewrite counter modulo this."""

REWRITES_MODULUS = 2**32

RATIO_LIMIT = 32
"""How many times larger than its body a payload may be. States compress three- to sixfold; what compresses better
is stored as it is."""
HASHING_LIMIT = 8
"""How many times its size may be hashed in search of a damaged file's intact records."""

_COMPRESSION_LEVEL = 1
"""Half of a state are digests, which do not compress; higher levels cost four times the time for two per cent."""
_COMPRESSION_FLOOR = 256
"""Bytes of payload; padding makes less worthless."""

_HEADER = struct.Struct(f">4sBBHII{ID_SIZE}s{CHECKSUM_SIZE}s")
_COVERED = slice(len(MARKER), _HEADER.size - CHECKSUM_SIZE)

HEADER_SIZE = _HEADER.size


class RecordKind(IntEnum):
    """What a record's payload is."""

    BASE = 1
    CHANGE = 2
    INTENT = 3


class Coding(IntEnum):
    """How a record's body holds its payload."""

    PLAIN = 0
    ZLIB = 1
    """RFC 1950."""


@dataclass(frozen=True, slots=True)
class Record:
    """An intact record: one whose marker, length and checksum agree. `kind` and `coding` may still be unknown."""

    kind: int
    coding: int
    rewrites: int
    id: bytes
    body: memoryview
    """Without the padding."""
    start: int
    end: int
    """Where in the file's bytes the record begins, and where the next would."""

    def payload(self) -> bytes:
        """The plain payload. Raises Malformed beyond the limits on its size, and where it is not what `coding` says."""
        if self.coding == Coding.PLAIN:
            if len(self.body) > PLAIN_LIMIT:
                raise Malformed("a record is too large")
            return bytes(self.body)
        limit = min(PLAIN_LIMIT, RATIO_LIMIT * len(self.body))
        inflater = zlib.decompressobj()
        try:
            plain = inflater.decompress(self.body, limit)
        except zlib.error:
            raise Malformed("a record can't be decompressed") from None
        if not inflater.eof or inflater.unused_data:
            raise Malformed("a record is cut short or larger, unpacked, than is allowed")
        return plain


def encode_record(kind: RecordKind, payload: bytes, *, rewrites: int, offset: int) -> bytes:
    """A record to write at `offset` in a file."""
    coding, body = _compressed(payload)
    padding = (rewrites - offset - HEADER_SIZE - len(body)) % SIZE_STEP
    body += bytes(padding)
    head = _HEADER.pack(
        MARKER,
        kind,
        coding,
        padding,
        rewrites % REWRITES_MODULUS,
        len(body),
        secrets.token_bytes(ID_SIZE),
        bytes(CHECKSUM_SIZE),
    )
    return head[:-CHECKSUM_SIZE] + _checksum(head, body) + body


def scan(data: bytes, start: int) -> tuple[list[Record], bool]:
    """The intact records of `data` from `start` on, and whether there is anything else between or behind them.

    After a damaged or torn stretch the next marker with a matching checksum counts. Raises Malformed where so many
    false markers lie in the way that the search would take too long.
    """
    records: list[Record] = []
    torn = False
    budget = HASHING_LIMIT * len(data)
    position = start
    while position < len(data):
        header = _header_at(data, position)
        if header is not None:
            budget -= header.end - header.start
            if budget < 0:
                raise Malformed("it is full of false records")
            if _is_intact(data, header):
                records.append(header)
                position = header.end
                continue
        torn = True
        position = data.find(MARKER, position + 1)
        if position < 0:
            break
    return records, torn


def _compressed(payload: bytes) -> tuple[Coding, bytes]:
    if len(payload) >= _COMPRESSION_FLOOR:
        packed = zlib.compress(payload, _COMPRESSION_LEVEL)
        if len(packed) < len(payload) <= RATIO_LIMIT * len(packed):
            return Coding.ZLIB, packed
    return Coding.PLAIN, payload


def _header_at(data: bytes, position: int) -> Record | None:
    """The record that seems to begin at `position`, None where none can."""
    if len(data) - position < HEADER_SIZE:
        return None
    marker, kind, coding, padding, rewrites, length, name, _ = _HEADER.unpack_from(data, position)
    body = position + HEADER_SIZE
    end = body + length
    if marker != MARKER or end > len(data) or padding > length:
        return None
    return Record(kind, coding, rewrites, name, memoryview(data)[body : end - padding], position, end)


def _is_intact(data: bytes, record: Record) -> bool:
    view = memoryview(data)
    head = view[record.start : record.start + HEADER_SIZE]
    return _checksum(head, view[record.start + HEADER_SIZE : record.end]) == head[-CHECKSUM_SIZE:]


def _checksum(head: bytes | memoryview, body: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(head[_COVERED])
    digest.update(body)
    return digest.digest()[:CHECKSUM_SIZE]
