"""What this computer's file system is asked for, beyond what `os` offers: shared by the node's own folder and by hubs
that are directories.

Names are `str` with undecodable bytes as surrogates, as `os.fsdecode` gives them. Everything raises OSError, which
`problem_from` turns into a value:

    OSError
    ├── ChangedError             the bytes read may belong to no single version of the file
    ├── NotAFileError            a directory, link, socket, device or fifo where a regular file was meant
    └── RenameUnsupportedError   this system or this file system has no such rename
"""

import ctypes
import errno
import functools
import hashlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from symsync.core.values import Problem, Reason, Side
from symsync_protocol.stamps import Kind, Stamp

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

BLOCK = 1 << 20
"""Bytes read at once: large enough that system calls cost nothing beside SHA-256."""

CLOCK_STEP_NS = 10_000_000
"""Two writes closer than this may carry one mtime: the kernel stamps files with the time of its last tick, at most
10 ms ago (CONFIG_HZ=100), however finely the file system stores it."""

NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
"""For `os.open`: a link as the last component is an error (ELOOP), where the system can tell."""
NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
"""For `os.open`: else opening a fifo waits for a writer for ever."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2

_REASONS = {
    errno.ENOENT: Reason.ABSENT,
    errno.EEXIST: Reason.EXISTS,
    errno.ENOTEMPTY: Reason.NOT_EMPTY,
    errno.EACCES: Reason.DENIED,
    errno.EPERM: Reason.DENIED,
    errno.EROFS: Reason.DENIED,
    errno.ENOSPC: Reason.FULL,
    errno.EDQUOT: Reason.FULL,
    errno.EILSEQ: Reason.NAME,
    errno.ENAMETOOLONG: Reason.NAME,
    # FAT, SMB and sshfs answer EINVAL to a name that they can't hold; nothing else that we ask earns it.
    errno.EINVAL: Reason.NAME,
    errno.ENOTDIR: Reason.KIND,
    errno.EISDIR: Reason.KIND,
    errno.ELOOP: Reason.KIND,  # what O_NOFOLLOW answers to a link
    errno.ENOTCONN: Reason.LOST,  # a FUSE mount whose program has ended
    errno.ESTALE: Reason.LOST,
    errno.ETIMEDOUT: Reason.LOST,
    errno.EHOSTDOWN: Reason.LOST,
}


class ChangedError(OSError):
    """A file's size or time changed between opening it and reading its end."""


class NotAFileError(OSError):
    """A regular file was meant, and something else lies there."""


class RenameUnsupportedError(OSError):
    """This system or file system has no such rename; nothing was done."""


def problem_from(path: str, error: OSError) -> Problem:
    """`error` as a value. `path` is the one the user knows, which may differ from the one that was opened."""
    match error:
        case ChangedError():
            reason = Reason.CHANGED
        case NotAFileError():
            reason = Reason.KIND
        case _:
            reason = _REASONS.get(error.errno or 0, Reason.OTHER)
    return Problem(path, reason, error.strerror or str(error))


def problem_of_transfer(path: str, local: Path, error: OSError) -> Problem:
    """The failure of a transfer between `path` on the hub and `local`; names the latter where it was the one."""
    problem = problem_from(path, error)
    if error.filename != str(local):
        return problem
    return replace(problem, detail=f"{local}: {problem.detail}", side=Side.HERE)


def kind_of(mode: int) -> Kind:
    """The kind that `st_mode` tells."""
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of an entry on this computer's own file system: nanoseconds, inode and ctime count.

    Sizes of directories say how the file system stores them, not what is in them, and are left out.
    """
    kind = kind_of(status.st_mode)
    size = status.st_size if kind in (Kind.FILE, Kind.LINK) else 0
    return Stamp(kind, size, status.st_mtime_ns, 1, status.st_ino, status.st_ctime_ns)


def mounted_stamp_of(status: os.stat_result, tick_ns: int) -> Stamp:
    """The stamp of an entry in a directory that may be a mount: inode and ctime are left out, for network and FAT
    mounts make them up anew."""
    kind = kind_of(status.st_mode)
    size = status.st_size if kind in (Kind.FILE, Kind.LINK) else 0
    return Stamp(kind, size, status.st_mtime_ns, tick_ns)


def rename_exchange(one: str | Path, other: str | Path) -> None:
    """Swap two entries of one file system in a single step (renameat2(2), RENAME_EXCHANGE).

    Raises RenameUnsupportedError where that can't be had, with nothing done: no sequence of other calls is the same.
    """
    _renameat2(one, other, None, None, _RENAME_EXCHANGE)


def rename_noreplace(
    source: str | Path, target: str | Path, *, source_dir: int | None = None, target_dir: int | None = None
) -> None:
    """Rename, or raise FileExistsError where `target` is taken. The descriptors are those of `dir_fd` in `os`.

    renameat2(2) with RENAME_NOREPLACE; where there is none, a link under the new name and the old one's removal. On
    file systems without hard links too (FAT), an empty file claims the name first: there alone, what somebody writes
    into that empty file before the rename is lost.
    """
    try:
        _renameat2(source, target, source_dir, target_dir, _RENAME_NOREPLACE)
    except RenameUnsupportedError:
        _rename_claimed(source, target, source_dir, target_dir)


def _renameat2(
    source: str | Path, target: str | Path, source_dir: int | None, target_dir: int | None, flags: int
) -> None:
    function = _libc_function("renameat2")
    if function is None:
        raise RenameUnsupportedError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(source), None, str(target))
    failed = function(
        ctypes.c_int(_AT_FDCWD if source_dir is None else source_dir),
        ctypes.c_char_p(os.fsencode(source)),
        ctypes.c_int(_AT_FDCWD if target_dir is None else target_dir),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(flags),
    )
    if failed:
        number = ctypes.get_errno()
        # EINVAL is a file system's way to say that it does not know the flag.
        unsupported = number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
        error = RenameUnsupportedError if unsupported else OSError
        raise error(number, os.strerror(number), str(source), None, str(target))


def _rename_claimed(source: str | Path, target: str | Path, source_dir: int | None, target_dir: int | None) -> None:
    """Rename onto a name that one atomic call has claimed before: link, mkdir, or an exclusive open."""
    if sys.platform == "win32":
        Path(source).rename(target)  # MoveFile refuses to replace
        return
    if stat.S_ISDIR(os.stat(source, dir_fd=source_dir, follow_symlinks=False).st_mode):
        os.mkdir(target, dir_fd=target_dir)
        try:
            os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
        except OSError:
            os.rmdir(target, dir_fd=target_dir)
            raise
        return
    try:
        os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=target_dir))
        os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
    else:
        os.unlink(source, dir_fd=source_dir)


def boot() -> str | None:
    """What tells this start of the computer from all others, None where nothing does. What was written under the same
    one can be read back, on disk or not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def sync_filesystem(directory: str | Path | int) -> None:
    """Wait until everything written so far to the file system that holds `directory` (a path or a descriptor) is on
    disk: syncfs(2), which also reports a failed write-back (Linux 5.8), else sync(2), which does not."""
    function = _libc_function("syncfs")
    if function is None:
        if hasattr(os, "sync"):
            os.sync()
        return
    # An O_PATH descriptor can't be synced, so the directory is opened anew even where there is one already.
    path, dir_fd = (".", directory) if isinstance(directory, int) else (directory, None)
    opened = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    try:
        if function(ctypes.c_int(opened)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(opened)


@functools.cache
def _libc_function(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where it has none by this name. `ctypes.get_errno()` says why it failed."""
    if sys.platform == "win32":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


class Digest(Protocol):
    """What of `hashlib`'s objects is needed here."""

    def update(self, data: memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Copied:
    """What went through a copy: bytes, and their SHA-256."""

    size: int
    digest: bytes


def _ignored(_count: int) -> None:
    pass


class NamedFile(io.FileIO):
    """An open file whose every error bears its name, as only those of opening do else: a disk that is full or broken
    shows itself while bytes are read and written, and where a transfer joins two sides, somebody must tell whose."""

    def __init__(self, file: str | Path | int, mode: str, path: str | Path) -> None:
        """`path` is the name; `file` may be a descriptor."""
        super().__init__(file, mode)
        self._path = str(path)

    def read(self, size: int | None = -1, /) -> bytes:
        with self._named():
            return super().read(size)

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        with self._named():
            return super().readinto(buffer)

    def write(self, data: "ReadableBuffer", /) -> int:
        with self._named():
            return super().write(data)

    def close(self) -> None:
        with self._named():  # network file systems may tell only now that there was no room
            super().close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self._path
            raise


def open_regular(path: str | Path, dir_fd: int | None = None) -> io.FileIO:
    """A regular file, open for reading without a buffer; its last component is not followed where it is a link.

    Raises NotAFileError for anything else.
    """
    flags = os.O_RDONLY | NO_FOLLOW | NO_WAIT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(errno.EINVAL, "not a regular file", str(path))
    return NamedFile(descriptor, "rb", path)


@contextmanager
def open_unchanged(path: str | Path, dir_fd: int | None = None) -> Iterator[io.FileIO]:
    """Like `open_regular`, and raises ChangedError where size or time have moved by the end of the block."""
    with open_regular(path, dir_fd) as file:
        before = os.fstat(file.fileno())
        yield file
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangedError(errno.EBUSY, "it changed while it was read", str(path))


def blocks(source: io.FileIO, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
    """A file's bytes from `start` to `end`, or to where it ends at this moment: one that keeps growing has an end, too.

    They come in views of one buffer, each valid until the next is drawn.
    """
    left = (os.fstat(source.fileno()).st_size if end is None else end) - start
    buffer = memoryview(bytearray(min(BLOCK, max(left, 0))))
    source.seek(start)
    while left > 0 and (count := source.readinto(buffer[:left])):
        left -= count
        yield buffer[:count]


def pump(
    source: Iterable[memoryview], target: BinaryIO, digest: Digest, progress: Callable[[int], None] = _ignored
) -> int:
    """Copy blocks to `target` and into `digest`; returns the number of bytes."""
    total = 0
    for block in source:
        digest.update(block)
        target.write(block)
        total += len(block)
        progress(len(block))
    return total


def open_target(target: Path, offset: int, digest: Digest) -> BinaryIO:
    """A file that receives bytes from `offset` on, with `digest` brought up to there: made anew where `offset` is 0,
    else cut to that size. Raises ChangedError where it holds less."""
    if not offset:
        return io.BufferedWriter(NamedFile(target, "wb", target))
    with open_regular(target) as held:
        for block in blocks(held, end=offset):
            digest.update(block)
        short = held.tell() < offset
    if short:
        raise ChangedError(errno.EINVAL, f"it holds less than the {offset} bytes to go on from", str(target))
    writer = io.BufferedWriter(NamedFile(target, "r+b", target))
    writer.truncate(offset)
    writer.seek(offset)
    return writer


def copy_file(source: Path, target: Path, progress: Callable[[int], None] = _ignored) -> Copied:
    """Copy the bytes of `source`, a regular file, to `target`, which must not exist yet. What a failed copy leaves
    there is unspecified."""
    digest = hashlib.sha256()
    with open_unchanged(source) as reader, target.open("xb") as writer:
        size = pump(blocks(reader), writer, digest, progress)
    return Copied(size, digest.digest())


def hash_file(path: str | Path) -> bytes:
    """The SHA-256 of a regular file's content."""
    digest = hashlib.sha256()
    with open_unchanged(path) as file:
        for block in blocks(file):
            digest.update(block)
    return digest.digest()
