"""The bytes of SFTP, version 3: numbers and fields of requests and replies (draft-ietf-secsh-filexfer-02)."""

import errno
import os
import struct
from dataclasses import dataclass
from enum import IntEnum

VERSION = 3

PACKET_LIMIT = 256 * 1024
"""Most bytes of a packet without its length, as OpenSSH has it (sftp-common.h); more ends the session."""

DATA_LIMIT = PACKET_LIMIT - 1024
"""Most bytes of a file in one packet, as OpenSSH has it: a handle and some numbers lie beside them."""

LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">I")
_LONG = struct.Struct(">Q")
_HEAD = struct.Struct(">IBI")
_LONGEST_OFFSET = 2**63 - 1
"""What off_t holds."""

_ATTRIBUTES = struct.Struct(">IQIIIII")
_LATEST_TIME = 2**32 - 1


class Type(IntEnum):
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


class Status(IntEnum):
    """What became of a request (section 7)."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


class Open(IntEnum):
    """How a file is opened: bits (section 6.3). No IntFlag, whose operators cost more than most requests."""

    READ = 1
    WRITE = 2
    APPEND = 4
    CREATE = 8
    TRUNCATE = 16
    EXCLUSIVE = 32


class _Has(IntEnum):
    """Which attributes are there: bits (section 5)."""

    SIZE = 1
    OWNER = 2
    MODE = 4
    TIMES = 8
    EXTENDED = 0x80000000


_ALL = _Has.SIZE | _Has.OWNER | _Has.MODE | _Has.TIMES

# As in OpenSSH, whose habits clients know (errno_to_portable); but a circle of links is not "no such file".
_STATUSES = {
    errno.ENOENT: Status.NO_SUCH_FILE,
    errno.ENOTDIR: Status.NO_SUCH_FILE,
    errno.EACCES: Status.PERMISSION_DENIED,
    errno.EPERM: Status.PERMISSION_DENIED,
    errno.EROFS: Status.PERMISSION_DENIED,
    errno.EINVAL: Status.BAD_MESSAGE,
    errno.ENAMETOOLONG: Status.BAD_MESSAGE,
    errno.ENOSYS: Status.OP_UNSUPPORTED,
    errno.ENOTSUP: Status.OP_UNSUPPORTED,
}


class MalformedError(Exception):
    """A request is not what the protocol allows."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a client says of a file; None is left alone. The time is in seconds since 1970."""

    size: int | None = None
    owned: bool = False
    """Whether an owner and a group are given."""
    mode: int | None = None
    mtime: int | None = None


class Fields:
    """Reads the fields of a packet one after another. Raises MalformedError where it ends too soon."""

    def __init__(self, packet: memoryview) -> None:
        self._packet = packet
        self._at = 0

    def number(self) -> int:
        return self._unpacked(_NUMBER)

    def offset(self) -> int:
        """A size or a place in a file."""
        if (value := self._unpacked(_LONG)) > _LONGEST_OFFSET:
            raise MalformedError("an offset is too large for any file")
        return value

    def string(self) -> memoryview:
        begin = self._at + _NUMBER.size
        end = begin + self.number()
        if end > len(self._packet):
            raise MalformedError("a string ends behind its packet")
        self._at = end
        return self._packet[begin:end]

    def text(self) -> str:
        """A name, a path or a link's target; undecodable bytes as surrogates."""
        raw = self.string().tobytes()
        if b"\0" in raw:
            raise MalformedError("a name holds a NUL")
        return raw.decode("utf-8", "surrogateescape")

    def attributes(self) -> Attributes:
        has = self.number()
        size = self.offset() if has & _Has.SIZE else None
        if has & _Has.OWNER:
            self.number(), self.number()
        mode = self.number() if has & _Has.MODE else None
        mtime = None
        if has & _Has.TIMES:
            _access, mtime = self.number(), self.number()
        if has & _Has.EXTENDED:
            raise MalformedError("extended attributes are unknown here")
        return Attributes(size, bool(has & _Has.OWNER), mode, mtime)

    def _unpacked(self, form: struct.Struct) -> int:
        try:
            value: int = form.unpack_from(self._packet, self._at)[0]
        except struct.error:
            raise MalformedError("a packet is cut short") from None
        self._at += form.size
        return value


def string(value: bytes) -> bytes:
    return _NUMBER.pack(len(value)) + value


def encoded(name: str) -> bytes:
    """The bytes of a name, as a string."""
    return string(name.encode("utf-8", "surrogateescape"))


def attributes(status: os.stat_result) -> bytes:
    """All that version 3 can tell of a file: times are whole seconds from 1970 to 2106."""
    times = (min(max(seconds, 0), _LATEST_TIME) for seconds in (int(status.st_atime), int(status.st_mtime)))
    return _ATTRIBUTES.pack(_ALL, status.st_size, status.st_uid, status.st_gid, status.st_mode, *times)


def packet(kind: Type, number: int, *body: bytes) -> bytes:
    """A whole packet. `number` is the request's, and in VERSION the protocol's."""
    size = _HEAD.size - LENGTH.size + sum(map(len, body))
    return b"".join((_HEAD.pack(size, kind, number), *body))


def status(number: int, code: Status, text: str = "") -> bytes:
    """A status, with a text for people."""
    return packet(Type.STATUS, number, _NUMBER.pack(code), string((text or code.name).encode()), string(b"en"))


def failure(number: int, error: OSError) -> bytes:
    """What the system refused. Version 3 has few codes; the text tells the rest."""
    return status(number, _STATUSES.get(error.errno or 0, Status.FAILURE), error.strerror or str(error))


def names(number: int, entries: list[bytes]) -> bytes:
    """Entries of a directory, or the one answer to REALPATH and READLINK."""
    return packet(Type.NAME, number, _NUMBER.pack(len(entries)), *entries)


def space(number: int, found: os.statvfs_result) -> bytes:
    """The reply to statvfs@openssh.com: the numbers of statvfs(3) in the order of OpenSSH's PROTOCOL, 4.4."""
    readonly, nosuid = (flag if found.f_flag & system else 0 for flag, system in ((1, os.ST_RDONLY), (2, os.ST_NOSUID)))
    sizes = (found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail)
    files = (found.f_files, found.f_ffree, found.f_favail)
    return _numbers(number, *sizes, *files, found.f_fsid, readonly | nosuid, found.f_namemax)


def limits(number: int, handles: int) -> bytes:
    """The reply to limits@openssh.com: most bytes of a packet, of a READ and of a WRITE, and how many handles."""
    return _numbers(number, PACKET_LIMIT, DATA_LIMIT, DATA_LIMIT, handles)


def _numbers(number: int, *values: int) -> bytes:
    return packet(Type.EXTENDED_REPLY, number, *map(_LONG.pack, values))
