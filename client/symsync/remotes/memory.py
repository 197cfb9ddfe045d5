"""A hub in memory, shared by many connected remotes: the reference for what `base.Remote` promises.

It is deterministic: jobs are done one at a time in their order, listings are sorted, and the time is what the clock
that was passed in says. Servers differ in what they can do; `Traits` and a capacity make this hub like any of them.
"""

import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.local_files import blocks, open_target, open_unchanged, problem_of_transfer, pump
from symsync.remotes.base import (
    Attributes,
    Fetch,
    Fetched,
    Progress,
    Remote,
    Store,
    Stored,
    Traits,
    no_progress,
)
from symsync_protocol.errors import HubRefused, HubUnreachable
from symsync_protocol.names import NAME_LIMIT, basename, is_safe, join, parent
from symsync_protocol.stamps import Kind, Stamp

P = ParamSpec("P")

_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_LINK_MODE = 0o777
_OWNER_READS = 0o400
_OWNER_WRITES = 0o200


class _RefusedError(Exception):
    """The hub says no to one path; `_attempt` and its kin make a Problem of it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def problem(self, path: str) -> Problem:
        return Problem(path, self.reason, str(self))


@dataclass(slots=True)
class _Node:
    """One entry. `content` is a file's bytes, `target` where a link points, `children` what a directory holds."""

    kind: Kind
    mode: int
    mtime_ns: int
    content: bytes = b""
    target: str | None = None
    children: dict[str, "_Node"] = field(default_factory=dict)


class MemoryHub:
    """What the server of a `MemoryRemote` holds. Safe to be used from many threads, each call atomic.

    `clock` tells the server's time in nanoseconds since 1970. `traits` say what it can do; one that sets no times keeps
    the time of the upload, one that hides dots leaves such names out of listings. With a `capacity` in bytes, what
    doesn't fit any more is refused as FULL. Permission bits count as they do for a file's owner.
    """

    def __init__(self, clock: Callable[[], int], traits: Traits | None = None, capacity: int | None = None) -> None:
        self.traits = traits or Traits()
        self._clock = clock
        self._capacity = capacity
        self._lock = threading.RLock()
        self._root = _Node(Kind.DIRECTORY, _DIRECTORY_MODE, self._now())

    # What can be seen.

    def found(self, path: str) -> Found:
        with self._lock:
            return self._shown(path, self._node(path))

    def entries(self, directory: str) -> tuple[Found, ...]:
        with self._lock:
            node = self._directory(directory)
            if not node.mode & _OWNER_READS:
                raise _RefusedError(Reason.DENIED, "Permission denied")
            return tuple(
                self._shown(join(directory, name), child)
                for name, child in sorted(node.children.items())
                if not (self.traits.hides_dots and name.startswith("."))
            )

    def content(self, path: str) -> bytes:
        with self._lock:
            node = self._node(path)
            if node.kind is not Kind.FILE:
                raise _RefusedError(Reason.KIND, "not a regular file")
            if not node.mode & _OWNER_READS:
                raise _RefusedError(Reason.DENIED, "Permission denied")
            return node.content

    # What can be done.

    def make_file(self, path: str, content: bytes, mtime_ns: int | None, mode: int | None) -> Found:
        with self._lock:
            self._check_space(len(content))
            node = self._add(path, _Node(Kind.FILE, _FILE_MODE, self._now(), content))
            self._set(node, mtime_ns, mode)
            return self._shown(path, node)

    def part(self, path: str) -> int:
        """Take away a file that will be stored whole; its size, 0 where there is none or no way to go on with it."""
        with self._lock:
            if path not in self:
                return 0
            size = len(self._writable_file(path).content)
            self._drop(path)
            return size if self.traits.appends else 0

    def make_directory(self, path: str, mode: int | None) -> None:
        with self._lock:
            node = self._add(path, _Node(Kind.DIRECTORY, _DIRECTORY_MODE, self._now()))
            self._set(node, None, mode)

    def make_link(self, path: str, target: str) -> None:
        with self._lock:
            if not self.traits.links:
                raise _RefusedError(Reason.KIND, "symbolic links can't be made there")
            self._add(path, _Node(Kind.LINK, _LINK_MODE, self._now(), target=target))

    def overwrite(self, path: str, content: bytes) -> None:
        """Make a file or replace its content."""
        with self._lock:
            if path not in self:
                self.make_file(path, content, None, None)
                return
            node = self._writable_file(path)
            self._check_space(len(content) - len(node.content))
            node.content, node.mtime_ns = content, self._now()

    def extend(self, path: str, content: bytes) -> None:
        """Append to a file, which is made where missing."""
        with self._lock:
            if not self.traits.appends and path in self:  # as ProFTPD without AllowStoreRestart has it
                raise _RefusedError(Reason.OTHER, "appending is not offered")
            self.overwrite(path, (self._node(path).content if path in self else b"") + content)

    def rename(self, old: str, new: str) -> None:
        """Like rename(2) where `traits.replaces`; else a taken name is refused."""
        with self._lock:
            node = self._node(old)
            source, target = self._changeable(old), self._changeable(new)
            there = target.children.get(basename(new))
            if there is not None and not self._gives_way(there, node):
                raise _RefusedError(Reason.EXISTS, "File exists")
            if new.startswith(f"{old}/"):
                raise _RefusedError(Reason.OTHER, "a directory can't be moved into itself")
            del source.children[basename(old)]
            target.children[basename(new)] = node
            source.mtime_ns = target.mtime_ns = self._now()

    def remove_file(self, path: str) -> None:
        with self._lock:
            if self._node(path).kind is Kind.DIRECTORY:
                raise _RefusedError(Reason.KIND, "Is a directory")
            self._drop(path)

    def remove_directory(self, path: str) -> None:
        with self._lock:
            node = self._node(path)
            if node.kind is not Kind.DIRECTORY:
                raise _RefusedError(Reason.KIND, "Not a directory")
            if node.children:
                raise _RefusedError(Reason.NOT_EMPTY, "Directory not empty")
            self._drop(path)

    def set_attributes(self, path: str, mtime_ns: int | None, mode: int | None) -> None:
        with self._lock:
            self._set(self._node(path), mtime_ns, mode)

    # How it is kept.

    def __contains__(self, path: str) -> bool:
        node: _Node | None = self._root
        for name in path.split("/") if path else ():
            node = node.children.get(name) if node else None
        return node is not None

    def _now(self) -> int:
        return self._clock() // self.traits.tick_ns * self.traits.tick_ns

    def _node(self, path: str) -> _Node:
        """What lies at `path`. Links are not followed: nothing lies below one, nor below a file."""
        _check_name(path)
        node = self._root
        for name in path.split("/") if path else ():
            if name not in node.children:
                raise _RefusedError(Reason.ABSENT, "No such file or directory")
            node = node.children[name]
        return node

    def _directory(self, path: str) -> _Node:
        node = self._node(path)
        if node.kind is not Kind.DIRECTORY:
            raise _RefusedError(Reason.ABSENT, "Not a directory")
        return node

    def _changeable(self, path: str) -> _Node:
        """The directory that holds `path`, in which names may be made and removed."""
        _check_name(path)
        if not path:
            raise _RefusedError(Reason.EXISTS, "that is the root")
        directory = self._directory(parent(path))
        if not directory.mode & _OWNER_WRITES:
            raise _RefusedError(Reason.DENIED, "Permission denied")
        return directory

    def _writable_file(self, path: str) -> _Node:
        node = self._node(path)
        if node.kind is not Kind.FILE:
            raise _RefusedError(Reason.KIND, "not a regular file")
        if not node.mode & _OWNER_WRITES:
            raise _RefusedError(Reason.DENIED, "Permission denied")
        return node

    def _add(self, path: str, node: _Node) -> _Node:
        directory = self._changeable(path)
        if basename(path) in directory.children:
            raise _RefusedError(Reason.EXISTS, "File exists")
        directory.children[basename(path)] = node
        directory.mtime_ns = self._now()
        return node

    def _drop(self, path: str) -> None:
        directory = self._changeable(path)
        del directory.children[basename(path)]
        directory.mtime_ns = self._now()

    def _set(self, node: _Node, mtime_ns: int | None, mode: int | None) -> None:
        if mtime_ns is not None and self.traits.sets_times:
            node.mtime_ns = mtime_ns // self.traits.tick_ns * self.traits.tick_ns
        if mode is not None and self.traits.sets_modes:
            node.mode = mode

    def _gives_way(self, there: _Node, node: _Node) -> bool:
        """Whether a rename of `node` may replace what is `there`. An empty directory gives way to another one, as POSIX
        has it and the common servers do."""
        if not self.traits.replaces or (there.kind is Kind.DIRECTORY) != (node.kind is Kind.DIRECTORY):
            return False
        return not there.children

    def _check_space(self, more: int) -> None:
        if self._capacity is not None and _size(self._root) + more > self._capacity:
            raise _RefusedError(Reason.FULL, "No space left on device")

    def _shown(self, path: str, node: _Node) -> Found:
        size = len(node.content) if node.target is None else len(_encoded(node.target))
        return Found(path, Stamp(node.kind, size, node.mtime_ns, self.traits.tick_ns), node.mode, node.target)


class MemoryRemote(Remote):
    """One connection to a `MemoryHub`. Once closed, everything raises HubUnreachable."""

    def __init__(self, hub: MemoryHub) -> None:
        self._connected: MemoryHub | None = hub
        self._traits = hub.traits

    @property
    def traits(self) -> Traits:
        return self._traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for directory in directories:
            try:
                yield Listing(directory, self._hub.entries(directory))
            except _RefusedError as refusal:
                yield Listing(directory, (), refusal.problem(directory))

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        return [self._stat(path) for path in paths]

    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        for job in jobs:
            yield self._fetch(job, progress)

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        for job in jobs:
            yield self._store(job, progress)

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [_attempt(self._hub.rename, old, new) for old, new in pairs]

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        return [_attempt(self._hub.make_directory, path, mode) for path in paths]

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [_attempt(self._hub.make_link, path, target) for path, target in links]

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        return [_attempt(self._hub.remove_file, path) for path in paths]

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        return [_attempt(self._hub.remove_directory, path) for path in paths]

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        return [_attempt(self._hub.set_attributes, job.path, job.mtime_ns, job.mode) for job in jobs]

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        try:
            content = self._hub.content(path)
        except _RefusedError as refusal:
            if refusal.reason is Reason.ABSENT:
                return None
            raise HubRefused(str(refusal.problem(path))) from refusal
        return content[offset:] if limit is None else content[offset : offset + limit]

    def write(self, path: str, data: bytes) -> None:
        self._insist(self._hub.overwrite, path, data)

    def append(self, path: str, data: bytes) -> None:
        self._insist(self._hub.extend, path, data)

    def close(self) -> None:
        self._connected = None

    @property
    def _hub(self) -> MemoryHub:
        if self._connected is None:
            raise HubUnreachable("the connection to the hub in memory was closed")
        return self._connected

    def _stat(self, path: str) -> Found | Problem | None:
        try:
            return self._hub.found(path)
        except _RefusedError as refusal:
            return None if refusal.reason is Reason.ABSENT else refusal.problem(path)

    def _fetch(self, job: Fetch, progress: Progress) -> Fetched | tuple[Fetch, Problem]:
        digest = hashlib.sha256()
        try:
            content = self._hub.content(job.path)
            if len(content) < job.offset:
                raise _RefusedError(Reason.CHANGED, f"it has only {len(content)} bytes, fewer than were fetched before")
            with open_target(job.target, job.offset, digest) as target:
                pump([memoryview(content)[job.offset :]], target, digest, progress)
        except _RefusedError as refusal:
            return job, refusal.problem(job.path)
        except OSError as error:
            return job, problem_of_transfer(job.path, job.target, error)
        return Fetched(job, len(content), digest.digest())

    def _store(self, job: Store, progress: Progress) -> Stored | tuple[Store, Problem]:
        digest = hashlib.sha256()
        content = io.BytesIO()
        try:
            offset = self._hub.part(job.path) if job.resume else 0
            with open_unchanged(job.source) as source:
                pump(blocks(source, 0, offset), content, digest)
                pump(blocks(source, offset), content, digest, progress)
            found = self._hub.make_file(job.path, content.getvalue(), job.mtime_ns, job.mode)
        except _RefusedError as refusal:
            return job, refusal.problem(job.path)
        except OSError as error:
            return job, problem_of_transfer(job.path, job.source, error)
        return Stored(job, found, digest.digest())

    def _insist(self, act: Callable[[str, bytes], None], path: str, data: bytes) -> None:
        """What is written this way are states: a refusal is the run's failure."""
        try:
            act(path, data)
        except _RefusedError as refusal:
            raise HubRefused(str(refusal.problem(path))) from refusal


def _attempt(act: Callable[Concatenate[str, P], None], path: str, *args: P.args, **kwargs: P.kwargs) -> Problem | None:
    """Do it, and tell a refusal as a value."""
    try:
        act(path, *args, **kwargs)
    except _RefusedError as refusal:
        return refusal.problem(path)
    return None


def _check_name(path: str) -> None:
    if path and not is_safe(path):
        raise _RefusedError(Reason.NAME, "not a path that can be used")
    if any(len(_encoded(name)) > NAME_LIMIT for name in path.split("/")):
        raise _RefusedError(Reason.NAME, "File name too long")


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _RefusedError(Reason.NAME, "a name that has no bytes") from error


def _size(node: _Node) -> int:
    return len(node.content) + sum(_size(child) for child in node.children.values())
