"""pyftpdlib's view of a user's files: what its command handlers ask of a filesystem, answered by a `Root`."""

import io
import os
import posixpath
import secrets

from symsync_hub.root import Root

_FLAGS = {
    "rb": os.O_RDONLY,
    "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "ab": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "r+b": os.O_RDWR,
}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Files:
    """One session's filesystem. Paths are virtual throughout: the user's home is "/", which `Root` keeps him in.

    The names of most methods are pyftpdlib's (`AbstractedFS`).
    """

    root = "/"

    def __init__(self, root: Root) -> None:
        self.inner = root
        self.cwd = "/"
        self.cmd_channel: object = None
        """pyftpdlib clears it when the session ends."""

    def ftp2fs(self, path: str) -> str:
        """An absolute path without `.` and `..`, which are taken as text and so never lead above the home."""
        return "/" + posixpath.normpath(posixpath.join(self.cwd, path)).lstrip("/")

    def fs2ftp(self, path: str) -> str:
        return path

    def realpath(self, path: str) -> str:
        """pyftpdlib compares it with the root, which must not be renamed or removed."""
        return path

    def open(self, path: str, mode: str) -> io.FileIO:
        """Unbuffered: blocks come large from the wire, and a full disk shows where it can still be reported."""
        return _file(path, mode, self.inner.open(path, _FLAGS[mode]))

    def mkstemp(self, *, prefix: str, dir: str) -> io.FileIO:
        """A new file with a unique name (STOU)."""
        path = posixpath.join(dir, prefix + secrets.token_hex(8))
        return _file(path, "wb", self.inner.open(path, _NEW))

    def getsize(self, path: str) -> int:
        return self.inner.status(path).st_size

    def lexists(self, path: str) -> bool:
        try:
            self.inner.entry(path)
        except OSError:
            return False
        return True

    def mkdir(self, path: str) -> None:
        self.inner.make_directory(path)

    def rmdir(self, path: str) -> None:
        self.inner.remove_directory(path)

    def remove(self, path: str) -> None:
        self.inner.remove_file(path)

    def rename(self, old: str, new: str) -> None:
        self.inner.rename(old, new)

    def chmod(self, path: str, mode: int) -> None:
        self.inner.set_mode(path, mode)


def _file(path: str, mode: str, fd: int) -> io.FileIO:
    return io.FileIO(path, mode.replace("b", ""), opener=lambda _path, _flags: fd)
