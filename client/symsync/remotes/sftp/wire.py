"""Requests and replies as bytes: draft-ietf-secsh-filexfer-02 (version 3), OpenSSH's extensions (its file PROTOCOL).

Pure. Names are `str` with undecodable bytes as surrogates. Whatever a server sends is hostile input: everything that
takes bytes apart raises MalformedError where they are not what they should be.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

VERSION = 3
LONGEST_PACKET = 1 << 20
"""Bytes of a packet that are believed: four times what OpenSSH sends at most (SFTP_MAX_MSG_LENGTH)."""

LIMITS = "limits@openssh.com"
LSETSTAT = "lsetstat@openssh.com"
POSIX_RENAME = "posix-rename@openssh.com"
STATVFS = "statvfs@openssh.com"

_NAMES = 32 << 10
"""Bytes of a listing that one reply brings, or somewhat more: OpenSSH answers with 100 entries."""

_LATEST_TIME = 0xFFFFFFFF
"""Seconds since 1970 that fit (section 5); the year 2106."""


class Op(IntEnum):
    """What a packet is (section 3)."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Open(IntFlag):
    """How a file is opened (section 6.3)."""

    READ = 0x01
    WRITE = 0x02
    APPEND = 0x04
    CREATE = 0x08
    TRUNCATE = 0x10
    EXCLUSIVE = 0x20


class Code(IntEnum):
    """What a status says. Up to 8: section 7; the others come from later drafts, and some servers send them anyway."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8
    NO_SUCH_PATH = 10
    FILE_ALREADY_EXISTS = 11
    WRITE_PROTECT = 12
    NO_SPACE_ON_FILESYSTEM = 14
    QUOTA_EXCEEDED = 15
    DIR_NOT_EMPTY = 18
    NOT_A_DIRECTORY = 19
    INVALID_FILENAME = 20
    FILE_IS_A_DIRECTORY = 24


class _Has(IntEnum):
    """Which attributes follow (section 5)."""

    SIZE = 0x01
    OWNER = 0x02
    MODE = 0x04
    TIMES = 0x08
    EXTENDED = 0x80000000


class MalformedError(ValueError):
    """The bytes are no packet of this protocol."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a request ended."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        return self.code == Code.OK


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a server tells of an entry; None where it does not. `mode` is the whole st_mode; `mtime` in seconds."""

    size: int | None = None
    mode: int | None = None
    mtime: int | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """One entry of a directory."""

    name: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its id. `about` is what the conversation shows of it."""

    op: Op
    body: bytes
    about: str
    cost: int = 0
    """Bytes of content or names that it carries, or asks for."""

    def packet(self, number: int) -> bytes:
        """The bytes that go out; the reply to them will bear the same `number`."""
        return struct.pack(">IBI", len(self.body) + 5, self.op, number) + self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request; `body` is what follows the packet's kind."""

    op: int
    body: bytes

    @property
    def number(self) -> int:
        """The id of the request that it answers."""
        return _Fields(self.body).uint32()

    def __str__(self) -> str:
        """As the conversation shows it."""
        if self.op != Op.STATUS:
            return Op(self.op).name if self.op in set(Op) else f"packet {self.op}"
        status = self.status()
        return f"{status.code} {status.text}".rstrip()

    def status(self) -> Status:
        """Section 7. Early servers leave out the text (section 3 of version 2)."""
        self._expect(Op.STATUS)
        fields = self._fields()
        code = fields.uint32()
        return Status(code, _decode(fields.string()) if fields.left else "")

    def handle(self) -> bytes:
        self._expect(Op.HANDLE)
        return self._fields().string()

    def data(self) -> memoryview:
        self._expect(Op.DATA)
        return self._fields().view()

    def attributes(self) -> Attributes:
        self._expect(Op.ATTRS)
        return self._fields().attributes()

    def names(self) -> list[Name]:
        self._expect(Op.NAME)
        fields = self._fields()
        names = []
        for _ in range(fields.uint32()):
            name = _decode(fields.string())
            fields.string()  # as `ls -l` would show it, for people
            names.append(Name(name, fields.attributes()))
        return names

    def numbers(self) -> tuple[int, ...]:
        """The 64-bit numbers of an extension's reply."""
        self._expect(Op.EXTENDED_REPLY)
        return self._fields().numbers()

    def _fields(self) -> "_Fields":
        fields = _Fields(self.body)
        fields.uint32()
        return fields

    def _expect(self, op: Op) -> None:
        if self.op != op:
            raise MalformedError(f"a packet of kind {self.op} where {op.name} was due")


class _Fields:
    """Takes a packet's body apart."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def uint32(self) -> int:
        return self._numbers(">I")[0]

    def string(self) -> bytes:
        return bytes(self.view())

    def view(self) -> memoryview:
        """A string, not copied."""
        length = self.uint32()
        start = self._at
        self._skip(length)
        return memoryview(self._body)[start : self._at]

    def numbers(self) -> tuple[int, ...]:
        """All that is left, as 64-bit numbers."""
        return self._numbers(f">{self.left // 8}Q")

    def attributes(self) -> Attributes:
        """Section 5."""
        has = self.uint32()
        size = mode = mtime = None
        if has & _Has.SIZE:
            (size,) = self._numbers(">Q")
        if has & _Has.OWNER:
            self._skip(8)
        if has & _Has.MODE:
            mode = self.uint32()
        if has & _Has.TIMES:
            _atime, mtime = self._numbers(">II")
        if has & _Has.EXTENDED:
            for _ in range(self.uint32() * 2):
                self.string()
        return Attributes(size, mode, mtime)

    def _numbers(self, form: str) -> tuple[int, ...]:
        start = self._at
        self._skip(struct.calcsize(form))
        return struct.unpack_from(form, self._body, start)

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._body):
            raise MalformedError("a packet ends in the middle")


def packets(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take all whole packets off the front of `received`: their kinds, and what follows the kind."""
    while len(received) >= 5:
        length, op = struct.unpack_from(">IB", received)
        if not 1 <= length <= LONGEST_PACKET:
            raise MalformedError(f"a packet of {length} bytes")
        if len(received) < 4 + length:
            return
        body = bytes(memoryview(received)[5 : 4 + length])
        del received[: 4 + length]
        yield op, body


def greeting() -> bytes:
    """The first packet, which has no id (section 4)."""
    return struct.pack(">IBI", 5, Op.INIT, VERSION)


def greeted(op: int, body: bytes) -> frozenset[str]:
    """The names of the extensions that the server's greeting lists (section 4)."""
    if op != Op.VERSION:
        raise MalformedError(f"a packet of kind {op} where VERSION was due")
    fields = _Fields(body)
    if (version := fields.uint32()) < VERSION:
        raise MalformedError(f"it speaks version {version} of the protocol, {VERSION} is needed")
    extensions = set()
    while fields.left:
        extensions.add(_decode(fields.string()))
        fields.string()
    return frozenset(extensions)


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _string(value: str | bytes) -> bytes:
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return struct.pack(">I", len(raw)) + raw


def fits(mtime: int) -> bool:
    """Whether a time, in seconds since 1970, can be sent."""
    return 0 <= mtime <= _LATEST_TIME


def _attributes(mode: int | None = None, mtime: int | None = None) -> bytes:
    """Times that don't fit are left out. Only both times together can be set; the last access becomes the same."""
    if mtime is not None and not fits(mtime):
        mtime = None
    has = (_Has.MODE if mode is not None else 0) | (_Has.TIMES if mtime is not None else 0)
    raw = struct.pack(">I", has)
    if mode is not None:
        raw += struct.pack(">I", mode)
    if mtime is not None:
        raw += struct.pack(">II", mtime, mtime)
    return raw


def open_file(place: str, flags: Open) -> Request:
    return Request(Op.OPEN, _string(place) + struct.pack(">I", flags) + _attributes(), place)


def close(handle: bytes) -> Request:
    return Request(Op.CLOSE, _string(handle), handle.hex())


def read(handle: bytes, offset: int, length: int) -> Request:
    body = _string(handle) + struct.pack(">QI", offset, length)
    return Request(Op.READ, body, f"{handle.hex()} {offset} {length}", length)


def write(handle: bytes, offset: int, data: bytes) -> Request:
    body = b"".join((_string(handle), struct.pack(">QI", offset, len(data)), data))
    return Request(Op.WRITE, body, f"{handle.hex()} {offset} {len(data)}", len(data))


def lstat(place: str) -> Request:
    return Request(Op.LSTAT, _string(place), place)


def stat(place: str) -> Request:
    """Like `lstat`, but of what a link points to."""
    return Request(Op.STAT, _string(place), place)


def fstat(handle: bytes) -> Request:
    return Request(Op.FSTAT, _string(handle), handle.hex())


def setstat(place: str, mode: int | None = None, mtime: int | None = None) -> Request:
    return Request(Op.SETSTAT, _string(place) + _attributes(mode, mtime), place)


def fsetstat(handle: bytes, mode: int | None = None, mtime: int | None = None) -> Request:
    return Request(Op.FSETSTAT, _string(handle) + _attributes(mode, mtime), handle.hex())


def lsetstat(place: str, mode: int | None = None, mtime: int | None = None) -> Request:
    """Like `setstat`, but a link itself is meant."""
    body = _string(LSETSTAT) + _string(place) + _attributes(mode, mtime)
    return Request(Op.EXTENDED, body, f"{LSETSTAT} {place}")


def opendir(place: str) -> Request:
    return Request(Op.OPENDIR, _string(place), place)


def readdir(handle: bytes) -> Request:
    return Request(Op.READDIR, _string(handle), handle.hex(), _NAMES)


def remove(place: str) -> Request:
    return Request(Op.REMOVE, _string(place), place)


def mkdir(place: str, mode: int | None = None) -> Request:
    return Request(Op.MKDIR, _string(place) + _attributes(mode), place)


def rmdir(place: str) -> Request:
    return Request(Op.RMDIR, _string(place), place)


def realpath(place: str) -> Request:
    return Request(Op.REALPATH, _string(place), place)


def rename(old: str, new: str) -> Request:
    """Refuses to replace anything (section 6.5)."""
    return Request(Op.RENAME, _string(old) + _string(new), f"{old} {new}")


def posix_rename(old: str, new: str) -> Request:
    """Replaces a file that lies at `new`, as rename(2) does."""
    return Request(Op.EXTENDED, _string(POSIX_RENAME) + _string(old) + _string(new), f"{POSIX_RENAME} {old} {new}")


def readlink(place: str) -> Request:
    return Request(Op.READLINK, _string(place), place)


def symlink(target: str, place: str) -> Request:
    """OpenSSH has the two the other way round than the draft says (its PROTOCOL, 4.1), and everybody follows it."""
    return Request(Op.SYMLINK, _string(target) + _string(place), f"{target} {place}")


def limits() -> Request:
    """Asks for: longest packet, longest read, longest write, handles open at once; 0 is no limit."""
    return Request(Op.EXTENDED, _string(LIMITS), LIMITS)


def statvfs(place: str) -> Request:
    """Asks for the numbers of statvfs(3)."""
    return Request(Op.EXTENDED, _string(STATVFS) + _string(place), f"{STATVFS} {place}")
