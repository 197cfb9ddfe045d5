"""The node's own directory: scanned, read, and changed so that every displaced version ends in the trash.

Whatever replaces or removes something looks at what it really displaced, and puts it back if that is not what the plan
saw (`Reason.CHANGED`). No link that lies in the tree is followed when writing.
"""

import errno
import fcntl
import functools
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from symsync.core.values import Found, Problem, Reason, Scan
from symsync.local_files import (
    CLOCK_STEP_NS,
    RenameUnsupportedError,
    copy_file,
    hash_file,
    problem_from,
    rename_exchange,
    rename_noreplace,
    stamp_of,
    sync_filesystem,
)
from symsync.retention import Retention, owner
from symsync.rules import Links, Rules
from symsync_protocol.errors import Stopped, UsageError
from symsync_protocol.names import (
    PART_PREFIX,
    RUN_LOCK_FILE,
    STATE_DIR,
    TEMPORARY_DIR,
    TRASH_DIR,
    ancestors,
    is_safe,
    parent,
)
from symsync_protocol.stamps import SECOND, Kind, Stamp, same
from symsync_protocol.state import Meta, link_digest

_PRIVATE = 0o700

KEPT_PARTS = 7 * 86_400
"""Seconds after which a part of a large file that no run went on with is removed."""


class Folder:
    """One directory on this computer."""

    def __init__(self, root: Path, run: str, links: Links = Links.KEEP) -> None:
        """`run` labels this run's temporary files and its part of the trash."""
        self.root = root
        self._links = links
        self._run = run
        self._tmp = root / TEMPORARY_DIR / run
        self._trash = root / TRASH_DIR / run
        self._checked: set[str] = set()
        self._count = 0
        self._parts: dict[str, Path] = {}
        """What ended runs left of large files on their way in, by name."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other run out of this directory. Raises Stopped where one is at work already."""
        state = self.root / STATE_DIR
        try:
            if state.exists() and not state.is_dir():
                raise UsageError(f"{state}: this is no directory, and symsync needs one of that name: rename it")
            state.mkdir(mode=_PRIVATE, exist_ok=True)
            handle = os.open(state / RUN_LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(f"{self.root}: can't be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Stopped(f"{self.root}: another symsync is at work in this directory; wait for its end") from error
            self._sweep()
            yield
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        """Remove what ended runs of this node left, but for parts of large files: whoever holds the lock is the only
        one. Other nodes' files lie here too where this directory is their hub."""
        tmp = self.root / TEMPORARY_DIR
        for label in os.listdir(tmp) if tmp.is_dir() else ():
            if owner(label) == owner(self._run):
                self._parts |= _clear(tmp / label)

    def scan(self, rules: Rules) -> Scan:
        """All entries that take part, with their stamps. What can't be read is unknown, never absent."""
        entries: dict[str, Found] = {}
        unknown: set[str] = set()
        problems: list[Problem] = []
        newest = 0
        pending = [("", frozenset([self._identity(self.root)]))]
        while pending:
            directory, above = pending.pop()
            try:
                listing = list(os.scandir(self.root / directory if directory else self.root))
            except OSError as error:
                if not directory:
                    raise Stopped(f"{self.root}: can't be read: {error.strerror}") from error
                unknown.add(directory)
                problems.append(problem_from(directory, error))
                continue
            for item in listing:
                path = f"{directory}/{item.name}" if directory else item.name
                try:
                    status = item.stat(follow_symlinks=False)
                    if stat.S_ISLNK(status.st_mode) and self._links is Links.FOLLOW:
                        status = self._followed(item, above)
                    isdir = stat.S_ISDIR(status.st_mode)
                    if rules.excludes(path, directory=isdir):
                        continue
                    found = self._found(path, status)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    unknown.add(path)
                    problems.append(problem_from(path, error))
                    continue
                if found.kind is Kind.LINK and self._links is Links.SKIP:
                    unknown.add(path)  # as its owner asked: nothing to tell
                    continue
                if found.kind is Kind.OTHER:
                    unknown.add(path)
                    problems.append(Problem(path, Reason.KIND, "neither file, directory nor link: skipped"))
                    continue
                entries[path] = found
                newest = max(newest, found.stamp.ctime_ns or 0)
                if isdir:
                    pending.append((path, above | {(status.st_dev, status.st_ino)}))
        if time.time_ns() - newest < CLOCK_STEP_NS:
            # Once the clock has left the newest stamp's tick, no later edit can hide under it: contents are read after.
            time.sleep(CLOCK_STEP_NS / SECOND)
        return Scan(entries, frozenset(unknown), tuple(problems))

    @staticmethod
    def _followed(item: os.DirEntry[str], above: frozenset[tuple[int, int]]) -> os.stat_result:
        """What a link points to. Raises OSError where that is nothing, or a directory that the link lies in."""
        try:
            status = item.stat()
        except FileNotFoundError as error:
            raise OSError(errno.ELOOP, "a symbolic link that points nowhere") from error
        if (status.st_dev, status.st_ino) in above:
            raise OSError(errno.ELOOP, "a symbolic link to a directory above it")
        return status

    def _found(self, path: str, status: os.stat_result, lying: str | Path | None = None) -> Found:
        # A Path would change the text of "./x".
        target = os.readlink(lying or self._at(path)) if stat.S_ISLNK(status.st_mode) else None  # noqa: PTH115 - a string
        return Found(path, stamp_of(status), stat.S_IMODE(status.st_mode) & 0o777, target)

    @staticmethod
    def _identity(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_dev, status.st_ino

    def _at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def path(self, path: str) -> Path:
        """The file itself, for reading; where links are followed, the one that a link points to."""
        path_here = self.root / path
        return path_here.resolve() if self._links is Links.FOLLOW else path_here

    def look(self, path: str) -> Found | Problem | None:
        """What lies at `path` now."""
        try:
            following = self._links is Links.FOLLOW
            return self._found(path, os.stat(self._at(path), follow_symlinks=following))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return problem_from(path, error)

    def digests(self, found: Iterable[Found]) -> tuple[dict[str, bytes], list[Problem]]:
        """The digest of each file's content, or of a link's target; problems where one can't be read."""
        digests: dict[str, bytes] = {}
        problems: list[Problem] = []
        for item in found:
            try:
                digests[item.path] = (
                    link_digest(item.target or "") if item.kind is Kind.LINK else hash_file(self.path(item.path))
                )
            except OSError as error:
                problems.append(problem_from(item.path, error))
        return digests, problems

    def temporary(self) -> Path:
        """A fresh name for a file on its way in, in a directory that exists."""
        if not self._count:
            self._tmp.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        self._count += 1
        return self._tmp / str(self._count)

    def part(self, name: str) -> tuple[Path, int]:
        """The file for a large file on its way in, and how many of its bytes are there: what was cut off under the same
        name, in this run or an earlier one."""
        self._tmp.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        target = self._tmp / name
        left = self._parts.pop(name, None)
        if left is not None:
            left.replace(target)
        return target, target.stat().st_size if target.exists() else 0

    def make_durable(self) -> None:
        """Wait until what arrived is on disk, before any state claims it."""
        sync_filesystem(self.root)

    # What follows changes the tree. Each returns what lies there now, or the problem.

    def place(
        self, path: str, temporary: Path, replaces: Found | None, meta: Meta, default_mode: int
    ) -> Found | Problem:
        """Move a file that has arrived into place."""
        try:
            self._guard(path)
            temporary.chmod(meta.mode if meta.mode is not None else default_mode)
            if meta.mtime_ns is not None:
                os.utime(temporary, ns=(meta.mtime_ns, meta.mtime_ns))
            return self._put(path, temporary, replaces)
        except OSError as error:
            return self._problem(path, error)

    def link(self, path: str, target: str, replaces: Found | None) -> Found | Problem:
        """Make a symbolic link."""
        try:
            self._guard(path)
            temporary = self.temporary()
            temporary.symlink_to(target)
            return self._put(path, temporary, replaces)
        except OSError as error:
            return self._problem(path, error)

    def _put(self, path: str, temporary: Path, replaces: Found | None) -> Found | Problem:
        target = self.root / path
        temporary = self._beside(temporary, target)
        coming = self._found(path, os.lstat(temporary), temporary)
        if replaces is None:
            rename_noreplace(temporary, target)
        elif not self._exchange(temporary, target, replaces):
            return Problem(path, Reason.CHANGED, "changed while it was synchronised")
        return self._placed(coming)

    def _beside(self, temporary: Path, target: Path) -> Path:
        """`temporary`, on the file system of its target: a mount in the tree gets a temporary name of its own."""
        if os.lstat(temporary).st_dev == os.lstat(target.parent).st_dev:
            return temporary
        near = target.parent / f".sync.tmp-{self._run}-{temporary.name}"
        if temporary.is_symlink():
            near.symlink_to(temporary.readlink())
        else:
            copy_file(temporary, near)
            shutil.copystat(temporary, near)
        return near

    def _exchange(self, temporary: Path, target: Path, expected: Found) -> bool:
        """Put `temporary` in the place of `expected`, which goes to the trash. False, and all as before,
        where something else lies there."""
        kept = self._trash_place(expected.path)
        waiting = temporary
        if os.lstat(temporary).st_dev == os.lstat(kept.parent).st_dev:
            # From the trash, so that what it displaces lies there at once: the next run sweeps temporary files away.
            waiting = kept
            rename_noreplace(temporary, kept)
        try:
            rename_exchange(waiting, target)
        except RenameUnsupportedError:
            return self._replace(waiting, target, expected)
        if not self._was(waiting, expected):
            rename_exchange(waiting, target)
            waiting.unlink()
            return False
        if waiting is not kept:
            self._displace(waiting, kept)
        return True

    def _replace(self, waiting: Path, target: Path, expected: Found) -> bool:
        """`_exchange` in two steps, for file systems that have no such rename."""
        kept = self._trash_place(expected.path)
        self._displace(target, kept)
        if not self._was(kept, expected):
            rename_noreplace(kept, target)
            return False
        rename_noreplace(waiting, target)
        return True

    def _was(self, path: Path, expected: Found) -> bool:
        """Whether a displaced entry is the one the plan saw. A rename moves the change time, so that does not count."""
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and self._links is Links.FOLLOW:
            # Seen was what it points to, from where it lay. A Path would change the text of "./x".
            target = os.path.join(self._at(parent(expected.path)), os.readlink(path))  # noqa: PTH115 - a string
            try:
                status = os.stat(target)
            except OSError:
                return False
        stamp = replace(stamp_of(status), ctime_ns=None)
        return same(stamp, expected.stamp)

    def _displace(self, source: Path, kept: Path) -> None:
        try:
            rename_noreplace(source, kept)
        except OSError:
            if os.lstat(source).st_dev == os.lstat(kept.parent).st_dev:
                raise
            shutil.move(source, kept)

    def _trash_place(self, path: str) -> Path:
        kept = self._trash / path
        kept.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        number = 1
        while os.path.lexists(kept):
            number += 1
            kept = kept.with_name(f"{kept.name}.{number}")
        return kept

    def remove(self, path: str, expected: Found) -> Problem | None:
        """Displace a file or link into the trash."""
        try:
            self._guard(path)
            kept = self._trash_place(path)
            try:
                self._displace(self.root / path, kept)
            except FileNotFoundError:
                return None  # somebody else removed it meanwhile, which is what was wanted
            if not self._was(kept, expected):
                rename_noreplace(kept, self.root / path)
                return Problem(path, Reason.CHANGED, "changed while it was synchronised")
        except OSError as error:
            return self._problem(path, error)
        return None

    def move(self, old: Found, path: str) -> Found | Problem:
        """Rename `old` to `path`, which must be free."""
        try:
            self._guard(old.path)
            self._guard(path)
            now = self.look(old.path)
            if not isinstance(now, Found) or not same(now.stamp, old.stamp):
                return Problem(path, Reason.CHANGED, f"{old.path} changed while it was synchronised")
            rename_noreplace(self.root / old.path, self.root / path)
            return self._placed(replace(old, path=path))
        except OSError as error:
            return self._problem(path, error)

    def make_directory(self, path: str, mode: int | None) -> Found | Problem:
        """Make a directory; one that is there already will do."""
        try:
            self._guard(path)
            try:
                (self.root / path).mkdir(0o777 if mode is None else mode | stat.S_IRWXU)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(self._at(path)).st_mode):
                    return Problem(path, Reason.CHANGED, "changed while it was synchronised")
            return self._seen(path)
        except OSError as error:
            return self._problem(path, error)

    def remove_directory(self, path: str) -> Problem | None:
        """Remove a directory if it is empty of everything; one that is not, or is gone, is no problem."""
        try:
            self._guard(path)
            place = self.root / path
            if self._links is Links.FOLLOW and place.is_symlink():
                if not os.listdir(place):
                    self._displace(place, self._trash_place(path))
                return None
            place.rmdir()
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = self._problem(path, error)
            return None if problem.reason in (Reason.NOT_EMPTY, Reason.EXISTS) else problem
        return None

    def adjust(self, expected: Found, meta: Meta) -> Found | Problem:
        """Set permission bits and time of what lies there, if it is still what the plan saw."""
        path = expected.path
        try:
            self._guard(path)
            if not is_same(expected.stamp, self.look(path)):
                return Problem(path, Reason.CHANGED, "changed while it was synchronised")
            if meta.mode is not None and expected.kind is not Kind.LINK:
                (self.root / path).chmod(meta.mode)
            if meta.mtime_ns is not None and expected.kind is Kind.FILE:
                os.utime(self._at(path), ns=(meta.mtime_ns, meta.mtime_ns))
            return self._seen(path)
        except OSError as error:
            return self._problem(path, error)

    def settle_directories(self, modes: Iterable[tuple[str, int]]) -> None:
        """Give directories their exact bits once their contents are in place: one may forbid writing in it."""
        for path, mode in sorted(modes, reverse=True):
            try:
                self._guard(path)
                (self.root / path).chmod(mode)
            except OSError:
                continue  # the next scan sees the difference

    def _seen(self, path: str) -> Found | Problem:
        now = self.look(path)
        return now if now is not None else Problem(path, Reason.CHANGED, "vanished while it was synchronised")

    def _placed(self, coming: Found) -> Found:
        """What was put into place, with its new change time; where somebody was there meanwhile, as it was before."""
        before = replace(coming, stamp=replace(coming.stamp, ctime_ns=None))
        now = self.look(coming.path)
        return now if isinstance(now, Found) and same(before.stamp, now.stamp) else before

    def _guard(self, path: str) -> None:
        """Refuse a hostile path, and one that leads through a symbolic link out of the tree."""
        if not is_safe(path):
            raise OSError(0, "not a path inside the directory")
        if parent(path) in self._checked:
            return
        for up in ancestors(path):
            if (
                up not in self._checked
                and stat.S_ISLNK(os.lstat(self._at(up)).st_mode)
                and self._links is not Links.FOLLOW
            ):
                raise OSError(0, f"{up} is a symbolic link")
            self._checked.add(up)

    def _problem(self, path: str, error: OSError) -> Problem:
        if isinstance(error, FileExistsError):
            return Problem(path, Reason.CHANGED, "appeared while it was synchronised")
        return problem_from(path, error)

    def clear(self) -> None:
        """Remove this run's temporary files, but for parts of large files that were cut off."""
        _clear(self._tmp)
        with suppress(OSError):
            self._tmp.parent.rmdir()

    def finish(self, retention: Retention | None) -> None:
        """Remove trash past its time; with `retention` None all that this run displaced."""
        trash = self.root / TRASH_DIR
        if retention is None:
            shutil.rmtree(self._trash, ignore_errors=True)
            with suppress(OSError):
                trash.rmdir()
            return
        if trash.is_dir():
            sizes = functools.cache(lambda label: _bytes_below(trash / label))
            for label in retention.outlived(os.listdir(trash), time.time(), sizes):
                shutil.rmtree(trash / label, ignore_errors=True)


def _clear(folder: Path) -> dict[str, Path]:
    """Remove a run's temporary files, and the folder if nothing stays: the parts of large files, by name."""
    parts: dict[str, Path] = {}
    with suppress(OSError):
        # Where this directory is a hub, too, others can lay links here.
        entries = [] if folder.is_symlink() else list(folder.iterdir())
        parts = {entry.name: entry for entry in entries if entry.name.startswith(PART_PREFIX) and _is_young(entry)}
        for entry in entries if parts else ():
            if entry.name not in parts:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    if not parts:
        shutil.rmtree(folder, ignore_errors=True)
    return parts


def _is_young(part: Path) -> bool:
    """Whether a run may still go on with it."""
    status = part.lstat()
    return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime < KEPT_PARTS


def _bytes_below(top: Path) -> int:
    total = 0
    for directory, _, names in os.walk(top):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total


def is_same(stamp: Stamp, found: Found | Problem | None) -> bool:
    """Whether a second look shows what the plan saw."""
    return isinstance(found, Found) and same(stamp, found.stamp)
