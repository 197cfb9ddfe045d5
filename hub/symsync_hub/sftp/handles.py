"""What a client holds open: files and directories behind handles."""

import errno
import os
import time
from collections.abc import Generator
from typing import TypeVar

from symsync_hub.root import Entry
from symsync_hub.sftp import wire
from symsync_hub.sftp.wire import Attributes
from symsync_hub.wording import long_line
from symsync_protocol.stamps import SECOND

HANDLES = 256
"""Most that one client may hold open, as limits@openssh.com tells him: a window of requests over many files needs one
for each, and all clients share the descriptors of one process."""

NAMES_SIZE = 32_000
"""Bytes of names in one reply: every client takes packets of 34,000 (draft-ietf-secsh-filexfer-02, 3)."""


class File:
    """An open file. Every method raises OSError."""

    def __init__(self, fd: int, appends: bool) -> None:
        self._fd = fd
        self._appends = appends

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes; none at the file's end."""
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, data: memoryview) -> None:
        """All of `data`, or what the system says where it wrote no more. Who appends does so wherever `offset` is."""
        while data:
            written = os.write(self._fd, data) if self._appends else os.pwrite(self._fd, data, offset)
            data = data[written:]
            offset += written

    def status(self) -> os.stat_result:
        return os.fstat(self._fd)

    def change(self, wanted: Attributes) -> None:
        if wanted.size is not None:
            os.ftruncate(self._fd, wanted.size)
        if wanted.mode is not None:
            os.fchmod(self._fd, wanted.mode & 0o777)
        if wanted.mtime is not None:
            os.utime(self._fd, ns=(wanted.mtime * SECOND, wanted.mtime * SECOND))

    def synchronise(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class Directory:
    """A directory that is being listed."""

    def __init__(self, entries: Generator[Entry, None, None]) -> None:
        self._entries = entries
        self._now = time.time()
        # Begun at once, for only a generator that has begun closes its descriptor when it is closed.
        self._next = next(entries, None)

    def names(self) -> list[bytes]:
        """The next names with their attributes, none at the end."""
        found: list[bytes] = []
        size = 0
        while self._next is not None and size < NAMES_SIZE:
            found.append(_described(self._next, self._now))
            size += len(found[-1])
            self._next = next(self._entries, None)
        return found

    def close(self) -> None:
        self._next = None
        self._entries.close()


Handle = TypeVar("Handle", File, Directory)


class Handles:
    """All that one client holds open."""

    def __init__(self) -> None:
        self._open: dict[bytes, File | Directory] = {}
        self._made = 0

    def check_room(self) -> None:
        """Raises OSError (EMFILE) where the client holds too much already."""
        if len(self._open) >= HANDLES:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def add(self, handle: File | Directory) -> bytes:
        """Its name on the wire, never used twice."""
        self._made += 1
        name = self._made.to_bytes(8)
        self._open[name] = handle
        return name

    def get(self, name: memoryview, kind: type[Handle]) -> Handle:
        """Raises OSError (EBADF) where there is no such handle of this kind."""
        handle = self._open.get(name.tobytes())
        if not isinstance(handle, kind):
            raise OSError(errno.EBADF, "there is no such handle")
        return handle

    def close(self, name: memoryview) -> None:
        handle = self._open.pop(name.tobytes(), None)
        if handle is None:
            raise OSError(errno.EBADF, "there is no such handle")
        handle.close()

    def close_all(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _described(entry: Entry, now: float) -> bytes:
    line = long_line(entry.name, entry.status, now)
    return wire.encoded(entry.name) + wire.encoded(line) + wire.attributes(entry.status)
