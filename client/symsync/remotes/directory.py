"""A directory as a hub: on this computer, or mounted from anywhere.

Every path is walked component by component from the root's descriptor without following a link (openat(2) with
O_NOFOLLOW), and no descriptor below the root outlives its call: what another client has renamed away is really gone.
Systems without `dir_fd` get each parent looked at instead.
"""

import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from stat import S_IMODE, S_ISLNK
from typing import BinaryIO, Concatenate, ParamSpec, Self, TypeVar

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.local_files import (
    BLOCK,
    NO_FOLLOW,
    NO_WAIT,
    ChangedError,
    Digest,
    NotAFileError,
    blocks,
    mounted_stamp_of,
    open_regular,
    open_target,
    open_unchanged,
    problem_from,
    problem_of_transfer,
    pump,
    rename_noreplace,
    sync_filesystem,
)
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
from symsync.remotes.location import Location
from symsync_protocol.errors import HubRefused, HubUnreachable
from symsync_protocol.names import ancestors, is_safe, join
from symsync_protocol.stamps import SECOND

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
P = ParamSpec("P")

_HAS_DIR_FD = os.open in os.supports_dir_fd
_BINARY = getattr(os, "O_BINARY", 0)
# O_PATH passes through directories that may be searched but not read.
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
_UTIME_FOLLOWS = os.utime not in os.supports_follow_symlinks

_KNOWN_TICKS_NS = (1, 100, 1_000, 1_000_000, 10_000_000, SECOND, 2 * SECOND)
"""Resolutions that file systems store times with: ext4 1 ns, NTFS and SMB 100 ns, exFAT 10 ms, HFS+ 1 s, FAT 2 s."""

_FAT_EPOCH_NS = 315_532_800 * SECOND
_INT32_END_NS = 2**31 * SECOND


class DirectoryRemote(Remote):
    """A hub that is a directory of this computer's file systems.

    `rename` never replaces, and `store` never overwrites (EXISTS), not even in a race with somebody else.
    """

    def __init__(self, root: Path, workers: int) -> None:
        """`root` is a directory; at most `workers` threads work on it. Raises OSError."""
        self._root = root
        self._fd: int | None = os.open(root, _WALK) if _HAS_DIR_FD else None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="directory")
        self._workers = workers
        self._closed = False
        self._learning = threading.Lock()
        self._traits = Traits(sets_modes=hasattr(os, "fchmod"), replaces=False)
        self._unsynced = False

    @classmethod
    def open(cls, location: Location, create: bool = False) -> Self:
        """The directory at the absolute path `location.directory`, made with its parents where `create` says so.

        Raises HubRefused where it is missing, is no directory, or may not be entered.
        """
        root = Path(location.directory)
        if not root.is_absolute():
            raise HubRefused(f"{location.shown}: a directory as a hub is named by its absolute path")
        try:
            if create:
                root.mkdir(parents=True, exist_ok=True)
            elif not root.is_dir():
                what = "this is no directory" if root.exists() else "there is no such directory; make or mount it first"
                raise HubRefused(f"{location.shown}: {what}")
            return cls(root, location.connections)
        except OSError as error:
            raise HubRefused(f"{location.shown}: can't be used as a hub: {error.strerror}") from error

    @property
    def traits(self) -> Traits:
        return self._traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        return self._in_parallel(self._listing, directories)

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        return [self._stat(path) for path in paths]

    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        return self._in_parallel(lambda job: self._fetch(job, progress), jobs)

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        return self._in_parallel(lambda job: self._store(job, progress), jobs)

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [_attempt(self._rename, old, new) for old, new in pairs]

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        return [_attempt(self._make_directory, path, mode) for path in paths]

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [_attempt(self._make_link, path, target) for path, target in links]

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        return [_attempt(self._remove_file, path) for path in paths]

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        return [_attempt(self._remove_directory, path) for path in paths]

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        return [_attempt(self._set_attributes, job.path, job.mtime_ns, job.mode) for job in jobs]

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        with self._failing_whole(path):
            try:
                # States are read while others append to them: that they change meanwhile is no failure.
                with self._place(path) as (directory, name), open_regular(name, directory) as file:
                    file.seek(offset)
                    return file.read(-1 if limit is None else limit)
            except FileNotFoundError:
                return None

    def write(self, path: str, data: bytes) -> None:
        size = self._write(path, data, os.O_TRUNC)
        if size != len(data):
            raise HubRefused(f"{self._root / path}: {size} bytes lie there after writing {len(data)}; run again")

    def append(self, path: str, data: bytes) -> None:
        self._write(path, data, os.O_APPEND)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._pool.shutdown(cancel_futures=True)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    # One path each. All of these raise OSError, which their callers turn into a value.

    def _listing(self, directory: str) -> Listing:
        found: list[Found] = []
        problem = None
        try:
            with self._opened(directory) as (descriptor, place), os.scandir(place) as entries:
                for entry in entries:
                    path = join(directory, entry.name)
                    try:
                        with suppress(FileNotFoundError):  # removed since the directory was read
                            status = entry.stat(follow_symlinks=False)
                            name = entry.path if descriptor is None else entry.name
                            found.append(self._found(path, status, name, descriptor))
                    except OSError as error:
                        problem = problem_from(path, error)
        except (FileNotFoundError, NotADirectoryError) as error:
            return Listing(directory, (), Problem(directory, Reason.ABSENT, error.strerror or ""))
        except OSError as error:
            problem = problem_from(directory, error)
        return Listing(directory, tuple(found), problem)

    def _stat(self, path: str) -> Found | Problem | None:
        try:
            with self._place(path) as (directory, name):
                return self._found(path, os.stat(name, dir_fd=directory, follow_symlinks=False), name, directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            return problem_from(path, error)

    def _found(self, path: str, status: os.stat_result, name: str, directory: int | None) -> Found:
        target = os.readlink(name, dir_fd=directory) if S_ISLNK(status.st_mode) else None
        return Found(path, mounted_stamp_of(status, self._traits.tick_ns), S_IMODE(status.st_mode), target)

    def _fetch(self, job: Fetch, progress: Progress) -> Fetched | tuple[Fetch, Problem]:
        digest = hashlib.sha256()
        try:
            with self._place(job.path) as (directory, name), open_unchanged(name, directory) as source:
                size = os.fstat(source.fileno()).st_size
                if size < job.offset:
                    raise ChangedError(errno.EINVAL, f"it has only {size} bytes, fewer than were fetched before", name)
                with open_target(job.target, job.offset, digest) as target:
                    arrived = job.offset + pump(blocks(source, job.offset), target, digest, progress)
        except OSError as error:
            return job, problem_of_transfer(job.path, job.target, error)
        if arrived != size:
            return job, Problem(job.path, Reason.CUT, f"{arrived} of {size} bytes arrived")
        return Fetched(job, size, digest.digest())

    def _store(self, job: Store, progress: Progress) -> Stored | tuple[Store, Problem]:
        digest = hashlib.sha256()
        self._unsynced = True
        try:
            with self._place(job.path) as (directory, name):
                with open_unchanged(job.source) as source:
                    offset = _agreed(name, directory, source, digest) if job.resume else 0
                    with _open_new(name, directory, offset) as target:
                        sent = offset + pump(blocks(source, offset), target, digest, progress)
                # By name and after closing: network file systems settle a file's time when it is closed.
                if job.mode is not None:
                    self._set_mode_if_possible(name, directory, job.mode)
                if job.mtime_ns is not None:
                    self._set_time_if_possible(name, directory, job.mtime_ns)
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                found = self._found(job.path, status, name, directory)
        except OSError as error:
            return job, problem_of_transfer(job.path, job.source, error)
        if status.st_size != sent:
            return job, Problem(job.path, Reason.CUT, f"{status.st_size} of {sent} bytes were stored")
        return Stored(job, found, digest.digest())

    def _rename(self, old: str, new: str) -> None:
        with self._place(old) as (old_directory, old_name), self._place(new) as (new_directory, new_name):
            rename_noreplace(old_name, new_name, source_dir=old_directory, target_dir=new_directory)

    def _make_directory(self, path: str, mode: int | None) -> None:
        with self._place(path) as (directory, name):
            os.mkdir(name, dir_fd=directory)
            if mode is not None:
                self._set_mode_if_possible(name, directory, mode)

    def _make_link(self, path: str, target: str) -> None:
        with self._place(path) as (directory, name):
            try:
                os.symlink(target, name, dir_fd=directory)
            except OSError as error:
                if not _lacks(error):
                    raise
                with self._learning:
                    self._traits = replace(self._traits, links=False)
                raise NotAFileError(errno.ENOTSUP, "symbolic links can't be made there", name) from error

    def _remove_file(self, path: str) -> None:
        with self._place(path) as (directory, name):
            os.unlink(name, dir_fd=directory)

    def _remove_directory(self, path: str) -> None:
        with self._place(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    def _set_attributes(self, path: str, mtime_ns: int | None, mode: int | None) -> None:
        with self._place(path) as (directory, name):
            if mode is not None and self._traits.sets_modes:
                self._set_mode(name, directory, mode)
            if mtime_ns is not None and self._traits.sets_times:
                self._set_time(name, directory, mtime_ns)

    def _write(self, path: str, data: bytes, manner: int) -> int:
        """Write to a file that is made where missing, with O_TRUNC or O_APPEND; returns its size afterwards."""
        with self._failing_whole(path):
            if self._unsynced:
                # What is written this way are states, and no state may claim a file that a power cut can still empty.
                sync_filesystem(self._root if self._fd is None else self._fd)
                self._unsynced = False
            with self._place(path) as (directory, name):
                flags = os.O_WRONLY | os.O_CREAT | manner | NO_FOLLOW | _BINARY
                with open(os.open(name, flags, 0o666, dir_fd=directory), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    return os.fstat(file.fileno()).st_size

    # Modes and times.

    def _set_mode(self, name: str, directory: int | None, mode: int) -> None:
        # By descriptor, for chmod(2) follows links.
        descriptor = os.open(name, os.O_RDONLY | NO_FOLLOW | NO_WAIT, dir_fd=directory)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def _set_mode_if_possible(self, name: str, directory: int | None, mode: int) -> None:
        """Set the mode of what was just made here: a refusal can only mean that there are no modes."""
        if not self._traits.sets_modes:
            return
        try:
            self._set_mode(name, directory, mode)
        except OSError as error:
            if not _lacks(error):
                raise
            with self._learning:
                self._traits = replace(self._traits, sets_modes=False)

    def _set_time(self, name: str, directory: int | None, mtime_ns: int) -> None:
        """Set a time and read it back, which is the only way to learn how finely times are stored."""
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=_UTIME_FOLLOWS)
        stored_ns = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns
        tick_ns = next((tick for tick in _KNOWN_TICKS_NS if mtime_ns // tick * tick == stored_ns), None)
        with self._learning:
            if tick_ns is None:
                self._traits = replace(self._traits, sets_times=not _representable(mtime_ns))
            elif tick_ns > self._traits.tick_ns:
                self._traits = replace(self._traits, tick_ns=tick_ns)

    def _set_time_if_possible(self, name: str, directory: int | None, mtime_ns: int) -> None:
        """Set the time of what was just made here: a refusal can only mean that times can't be set."""
        if not self._traits.sets_times:
            return
        try:
            self._set_time(name, directory, mtime_ns)
        except OSError as error:
            if not _lacks(error):
                raise
            with self._learning:
                self._traits = replace(self._traits, sets_times=False)

    # Finding the way.

    @contextmanager
    def _place(self, path: str) -> Iterator[tuple[int | None, str]]:
        """The directory that holds `path`, as `dir_fd` wants it, and the name to use with it.

        Raises FileNotFoundError where something above `path`, or the root itself, is missing or is no directory.
        """
        if self._closed:
            raise HubUnreachable(f"{self._root}: the connection was closed")
        _check_storable(path)
        if not path:
            os.stat(self._root)  # the descriptor would show a root that was removed as an empty one
        *above, name = path.split("/") if path else ["."]
        if self._fd is None:
            if any((self._root / directory).is_symlink() for directory in ancestors(path)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            yield None, str(self._root / path)
            return
        descriptor = self._fd
        try:
            for part in above:
                deeper = _open_directory(part, descriptor)
                if descriptor != self._fd:
                    os.close(descriptor)
                descriptor = deeper
            yield descriptor, name
        finally:
            if descriptor != self._fd:
                os.close(descriptor)

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int | None, int | str]]:
        """A directory to be scanned: its descriptor, None without `dir_fd`, and what `os.scandir` takes."""
        with self._place(path) as (directory, name):
            if directory is None:
                yield None, name
                return
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | NO_FOLLOW, dir_fd=directory)
            try:
                yield descriptor, descriptor
            finally:
                os.close(descriptor)

    # Many at once, and failures.

    def _in_parallel(self, work: Callable[[Job], Outcome], jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Outcomes as they come, with no more jobs drawn than the workers are about to need."""
        pending: set[Future[Outcome]] = set()
        try:
            for job in jobs:
                if len(pending) >= 2 * self._workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
                pending.add(self._pool.submit(work, job))
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in pending:
                future.cancel()

    @contextmanager
    def _failing_whole(self, path: str) -> Iterator[None]:
        """What goes wrong with a state's file is the run's failure, not a value."""
        try:
            yield
        except OSError as error:
            problem = problem_from(path, error)
            failure = HubUnreachable if problem.reason is Reason.LOST else HubRefused
            raise failure(f"{self._root / path}: {problem.detail}") from error


def _attempt(act: Callable[Concatenate[str, P], None], path: str, *args: P.args, **kwargs: P.kwargs) -> Problem | None:
    """Do it, and tell an OSError as a value."""
    try:
        act(path, *args, **kwargs)
    except OSError as error:
        return problem_from(path, error)
    return None


def _check_storable(path: str) -> None:
    """Raise OSError where `path` would leave the root or has no bytes."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), path) from error
    if path and not is_safe(path):
        raise OSError(errno.EILSEQ, "not a path that can be used", path)


def _open_directory(name: str, directory: int) -> int:
    try:
        return os.open(name, _WALK | NO_FOLLOW, dir_fd=directory)
    except NotADirectoryError as error:  # a file, or a link wherever it leads
        raise FileNotFoundError(errno.ENOENT, error.strerror, name) from error


def _agreed(name: str, directory: int | None, source: io.FileIO, digest: Digest) -> int:
    """How many of the first bytes of `source`, which go into `digest`, a cut-off store has left at `name`. Compared,
    for a disk that was pulled out may hold anything; a file that has none of them is removed."""
    count = 0
    with suppress(FileNotFoundError):
        with open_regular(name, directory) as part:
            while (block := part.read(BLOCK)) and source.read(len(block)) == block:
                digest.update(memoryview(block))
                count += len(block)
        if not count:
            os.unlink(name, dir_fd=directory)
    return count


@contextmanager
def _open_new(name: str, directory: int | None, offset: int) -> Iterator[BinaryIO]:
    """A file that did not exist before, or one that is cut to `offset`; where the block fails with an OSError it is
    removed again."""
    flags = os.O_WRONLY | NO_FOLLOW | _BINARY | (0 if offset else os.O_CREAT | os.O_EXCL)
    descriptor = os.open(name, flags, 0o666, dir_fd=directory)
    try:
        with open(descriptor, "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            yield file
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise


def _lacks(error: OSError) -> bool:
    """Whether the file system says that it has no such thing at all (symlink(2), chmod(2) and utimensat(2) on FAT)."""
    return error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def _representable(mtime_ns: int) -> bool:
    """Whether every file system can hold this time: FAT begins in 1980, 32 bits end in 2038."""
    return _FAT_EPOCH_NS <= mtime_ns < _INT32_END_NS
