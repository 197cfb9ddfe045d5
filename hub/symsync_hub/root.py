"""A user's directory, which nobody gets out of: the same rules for every protocol that the hub speaks.

Paths here are virtual: absolute, `/`-separated, "/" is the user's home, undecodable bytes as surrogates. Each operation
walks from the home one component at a time by directory descriptors, so that a link which is put in the way between
check and use leads nowhere. Symbolic links are followed where they stay inside; one that leads out is refused.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from symsync_hub.renaming import rename_to_free_name

LINKS_FOLLOWED = 40
"""How many links one path may pass through: Linux's own limit (path_resolution(7))."""

# O_PATH needs no right to read a directory, only to pass through it; where there is none (macOS) reading has to do.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a fifo must not wait for its other end.
_FINAL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory: what lstat(2) says and, for a symbolic link, where it points."""

    name: str
    status: os.stat_result
    target: str | None = None


class _Step(NamedTuple):
    """One directory on the way to a path; a NamedTuple, for every request makes some and nothing is faster made."""

    name: str
    fd: int


class Root:
    """All that may be done in one home directory. Every method raises OSError as the system does.

    What lies outside raises PermissionError (EACCES); a link that turns in circles raises ELOOP.
    """

    def __init__(self, home: Path) -> None:
        self.home = os.path.realpath(home)

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        """A descriptor of a regular file. Anything else is refused: EISDIR for a directory, EACCES for the rest."""
        with self._located(path) as (directory, name):
            fd = os.open(name, flags | _FINAL, mode, dir_fd=directory)
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind):
            os.close(fd)
            raise _error(errno.EISDIR if stat.S_ISDIR(kind) else errno.EACCES, path)
        return fd

    def status(self, path: str) -> os.stat_result:
        """What stat(2) says, links followed inside the home."""
        with self._located(path) as (directory, name):
            return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def space(self, path: str) -> os.statvfs_result:
        """What statvfs(3) says of the file system that holds `path`."""
        with self._located(path) as (directory, name):
            fd = os.open(name, getattr(os, "O_PATH", os.O_RDONLY) | _FINAL, dir_fd=directory)
        try:
            return os.statvfs(fd)
        finally:
            os.close(fd)

    def entry(self, path: str) -> Entry:
        """The path itself, which may be a link."""
        with self._located(path, follow=False) as (directory, name):
            return _entry(directory, name)

    def entries(self, path: str) -> Generator[Entry, None, None]:
        """What lies in a directory, in no order. What vanishes meanwhile is left out."""
        with self._located(path) as (directory, name):
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FINAL, dir_fd=directory)
        return _scan(fd)

    def names(self, path: str) -> list[str]:
        """The names in a directory, in no order."""
        with self._located(path) as (directory, name):
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FINAL, dir_fd=directory)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def check_directory(self, path: str) -> None:
        """Raise what keeps `path` from being entered: it is missing, no directory, or closed to us."""
        with self._located(path) as (directory, name):
            os.close(os.open(name, _PASS, dir_fd=directory))

    def resolved(self, path: str) -> str:
        """The same place without links; the last component need not exist."""
        with self._walked(path) as (opened, name):
            return "/" + "/".join([*(step.name for step in opened[1:]), *([] if name == "." else [name])])

    def make_directory(self, path: str, mode: int = 0o777) -> None:
        """With what the umask leaves of `mode`."""
        with self._located(path, follow=False) as (directory, name):
            os.mkdir(name, mode & 0o777, dir_fd=directory)

    def make_link(self, target: str, path: str) -> None:
        """A symbolic link to any `target`, even outside: who follows it here is stopped at the root."""
        with self._located(path, follow=False) as (directory, name):
            os.symlink(target, name, dir_fd=directory)

    def remove_directory(self, path: str) -> None:
        with self._located(path, follow=False) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    def remove_file(self, path: str) -> None:
        """A link is removed itself."""
        with self._located(path, follow=False) as (directory, name):
            os.unlink(name, dir_fd=directory)

    def rename(self, old: str, new: str) -> None:
        """As rename(2): what lies at the new name is replaced where the kinds allow it."""
        with (
            self._located(old, follow=False) as (old_directory, old_name),
            self._located(new, follow=False) as (new_directory, new_name),
        ):
            os.rename(old_name, new_name, src_dir_fd=old_directory, dst_dir_fd=new_directory)

    def rename_to_free_name(self, old: str, new: str) -> None:
        """The same, but FileExistsError where anything lies at the new name."""
        with (
            self._located(old, follow=False) as (old_directory, old_name),
            self._located(new, follow=False) as (new_directory, new_name),
        ):
            rename_to_free_name(old_name, new_name, old_directory=old_directory, new_directory=new_directory)

    def set_mode(self, path: str, mode: int) -> None:
        """Only the nine permission bits: a set-user-id file would lend the hub's own rights to whoever runs it."""
        with self._located(path) as (directory, name):
            try:
                fd = os.open(name, os.O_RDONLY | _FINAL, dir_fd=directory)
            except PermissionError:
                # Unreadable, but perhaps ours: an O_PATH descriptor can be changed by its name in /proc (open(2)).
                fd = os.open(name, getattr(os, "O_PATH", os.O_WRONLY) | _FINAL, dir_fd=directory)
                target: int | str = f"/proc/self/fd/{fd}"
            else:
                target = fd
        try:
            os.chmod(target, mode & 0o777)  # noqa: PTH101 - pathlib knows no descriptors
        finally:
            os.close(fd)

    def set_mtime(self, path: str, mtime_ns: int, follow: bool = True) -> None:
        """Modification and access time, in nanoseconds since 1970. Without `follow` a link's own."""
        with self._located(path, follow) as (directory, name):
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)

    @contextmanager
    def _located(self, path: str, follow: bool = True) -> Iterator[tuple[int, str]]:
        """The descriptor of the directory that holds `path`, and the name there, which no longer is a link if `follow`.

        The name is "." where the path comes down to a directory already opened.
        """
        with self._walked(path, follow) as (opened, name):
            yield opened[-1].fd, name

    @contextmanager
    def _walked(self, path: str, follow: bool = True) -> Iterator[tuple[list[_Step], str]]:
        """The directories from the home to the one that holds `path`, opened, and the name there."""
        opened = [_Step("", os.open(self.home, _PASS))]
        try:
            yield opened, self._descend(opened, path, follow)
        finally:
            for step in opened:
                os.close(step.fd)

    def _descend(self, opened: list[_Step], path: str, follow: bool) -> str:
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(opened) == 1:
                    raise _error(errno.EACCES, path)
                os.close(opened.pop().fd)
                continue
            last = not any(pending)
            if last and not follow:
                return part
            target = _link(opened[-1].fd, part) if last else self._enter(opened, part)
            if target is None:
                if last:
                    return part
                continue
            links += 1
            if links > LINKS_FOLLOWED:
                raise _error(errno.ELOOP, path)
            if target.startswith("/"):
                target = self._inside(target, path)
                while len(opened) > 1:
                    os.close(opened.pop().fd)
            pending.extend(target.split("/")[::-1])
        return "."

    @staticmethod
    def _enter(opened: list[_Step], name: str) -> str | None:
        """Open the directory `name`, or return the target where it is a link instead."""
        directory = opened[-1].fd
        try:
            opened.append(_Step(name, os.open(name, _PASS, dir_fd=directory)))
        except OSError as error:
            # Systems differ in what they say of a link where a directory was asked for.
            target = _link(directory, name) if error.errno in (errno.ENOTDIR, errno.ELOOP) else None
            if target is None:
                raise
            return target
        return None

    def _inside(self, target: str, path: str) -> str:
        """An absolute link target, made relative to the home; refused where it lies elsewhere."""
        home = self.home.rstrip("/")
        if target != home and not target.startswith(home + "/"):
            raise _error(errno.EACCES, path)
        return target[len(home) :]


def _link(directory: int, name: str) -> str | None:
    """Where the link `name` points, None where it is none or is not there."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _entry(directory: int, name: str) -> Entry:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(status.st_mode) else None
    return Entry(name, status, target)


def _scan(fd: int) -> Generator[Entry, None, None]:
    try:
        for name in os.listdir(fd):
            try:
                yield _entry(fd, name)
            except FileNotFoundError:
                continue
    finally:
        os.close(fd)


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
