"""One SFTP session: requests in, replies out, one after another in the order in which they came."""

import errno
import logging
import os
import posixpath
import stat
from collections.abc import Callable
from typing import TypeAlias

import paramiko

from symsync_hub.accounts import Account
from symsync_hub.root import Root
from symsync_hub.sftp import wire
from symsync_hub.sftp.handles import HANDLES, Directory, File, Handles
from symsync_hub.sftp.stream import Channel, Stream
from symsync_hub.sftp.wire import Attributes, Fields, MalformedError, Open, Status, Type
from symsync_protocol.names import shown
from symsync_protocol.stamps import SECOND

EXTENSIONS = {
    "posix-rename@openssh.com": b"1",
    "statvfs@openssh.com": b"2",
    "fsync@openssh.com": b"1",
    "lsetstat@openssh.com": b"1",
    "limits@openssh.com": b"1",
}
"""Names and versions of what goes beyond the draft (OpenSSH's PROTOCOL, 4.3, 4.4 and 4.6 to 4.8)."""

_log = logging.getLogger("symsync_hub")

Handler: TypeAlias = "Callable[[Session, int, Fields], bytes]"
"""Carries out one request, of a number and with its fields, and returns the reply. May raise OSError."""


class Session:
    """What one account may do in its home, by SFTP. Paths are virtual: the home is "/", which `Root` keeps it in."""

    def __init__(self, channel: Channel, account: Account, client: str) -> None:
        """`client` is what logs call the other end."""
        self._stream = Stream(channel)
        self._root = Root(account.home)
        self._writable = account.writable
        self._client = client
        self._handles = Handles()
        self._asked = 0
        """The type of the request at hand, for the log."""

    def serve(self) -> None:
        """Answer until the client leaves, falls silent, or breaks the protocol."""
        try:
            while (packet := self._stream.request()) is not None:
                self._stream.reply(self._answer(packet))
        except MalformedError as error:
            _log.warning(
                "%s: the SFTP session ends, for the client does not keep to the protocol: %s", self._client, error
            )
        except (OSError, EOFError, paramiko.SSHException) as error:
            # Silence for too long, or a connection that was lost, of which paramiko speaks in all three ways.
            _log.debug("%s: the SFTP session ends: %s", self._client, error)
        finally:
            self._handles.close_all()

    def _answer(self, packet: memoryview) -> bytes:
        fields = Fields(packet[1:])
        kind = packet[0]
        number = fields.number()
        if kind == Type.INIT:
            names = (wire.encoded(name) + wire.string(version) for name, version in EXTENSIONS.items())
            return wire.packet(Type.VERSION, wire.VERSION, *names)
        handler = _HANDLERS.get(kind, Session._unsupported)
        self._asked = kind
        try:
            return handler(self, number, fields)
        except OSError as error:
            return wire.failure(number, error)
        except MalformedError as error:
            return wire.status(number, Status.BAD_MESSAGE, str(error))

    def _path(self, fields: Fields) -> str:
        """An absolute path without `.` and `..`, which are taken as text, as over FTP, and so never lead above the
        home. REALPATH resolves links first, so that `..` behind a link is where a person expects it."""
        path = "/" + posixpath.normpath("/" + fields.text()).lstrip("/")
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %s %s", self._client, Type(self._asked).name, shown(path))
        return path

    def _check_writable(self) -> None:
        if not self._writable:
            raise OSError(errno.EACCES, "this user may only read")

    def _unsupported(self, number: int, _fields: Fields) -> bytes:
        return wire.status(number, Status.OP_UNSUPPORTED)

    # --- files

    def _open(self, number: int, fields: Fields) -> bytes:
        path, how, wanted = self._path(fields), fields.number(), fields.attributes()
        if how & ~Open.READ:
            self._check_writable()
        self._handles.check_room()
        fd = self._root.open(path, _flags(how), 0o666 if wanted.mode is None else wanted.mode & 0o777)
        return wire.packet(Type.HANDLE, number, wire.string(self._handles.add(File(fd, bool(how & Open.APPEND)))))

    def _close(self, number: int, fields: Fields) -> bytes:
        self._handles.close(fields.string())
        return wire.status(number, Status.OK)

    def _read(self, number: int, fields: Fields) -> bytes:
        handle, offset, length = fields.string(), fields.offset(), fields.number()
        data = self._handles.get(handle, File).read(offset, min(length, wire.DATA_LIMIT))
        if not data and length:
            return wire.status(number, Status.EOF)
        return wire.packet(Type.DATA, number, wire.LENGTH.pack(len(data)), data)

    def _write(self, number: int, fields: Fields) -> bytes:
        self._handles.get(fields.string(), File).write(fields.offset(), fields.string())
        return wire.status(number, Status.OK)

    def _fsync(self, number: int, fields: Fields) -> bytes:
        self._handles.get(fields.string(), File).synchronise()
        return wire.status(number, Status.OK)

    # --- attributes

    def _stat(self, number: int, fields: Fields) -> bytes:
        return wire.packet(Type.ATTRS, number, wire.attributes(self._root.status(self._path(fields))))

    def _lstat(self, number: int, fields: Fields) -> bytes:
        return wire.packet(Type.ATTRS, number, wire.attributes(self._root.entry(self._path(fields)).status))

    def _fstat(self, number: int, fields: Fields) -> bytes:
        return wire.packet(Type.ATTRS, number, wire.attributes(self._handles.get(fields.string(), File).status()))

    def _setstat(self, number: int, fields: Fields) -> bytes:
        path, wanted = self._path(fields), fields.attributes()
        self._check_change(wanted)
        if wanted.size is not None:
            fd = self._root.open(path, os.O_WRONLY)
            try:
                os.ftruncate(fd, wanted.size)
            finally:
                os.close(fd)
        if wanted.mode is not None:
            self._root.set_mode(path, wanted.mode)
        if wanted.mtime is not None:
            self._root.set_mtime(path, wanted.mtime * SECOND)
        return wire.status(number, Status.OK)

    def _lsetstat(self, number: int, fields: Fields) -> bytes:
        path, wanted = self._path(fields), fields.attributes()
        self._check_change(wanted)
        if wanted.size is not None:
            raise OSError(errno.ENOTSUP, "lsetstat sets no sizes")
        if wanted.mode is not None:
            if stat.S_ISLNK(self._root.entry(path).status.st_mode):
                raise OSError(errno.ENOTSUP, "links have no permission bits here")
            self._root.set_mode(path, wanted.mode)
        if wanted.mtime is not None:
            self._root.set_mtime(path, wanted.mtime * SECOND, follow=False)
        return wire.status(number, Status.OK)

    def _fsetstat(self, number: int, fields: Fields) -> bytes:
        handle, wanted = self._handles.get(fields.string(), File), fields.attributes()
        self._check_change(wanted)
        handle.change(wanted)
        return wire.status(number, Status.OK)

    def _check_change(self, wanted: Attributes) -> None:
        self._check_writable()
        if wanted.owned:
            raise OSError(errno.EPERM, "all files belong to the account that the hub runs under")

    # --- directories

    def _opendir(self, number: int, fields: Fields) -> bytes:
        path = self._path(fields)
        self._handles.check_room()
        handle = self._handles.add(Directory(self._root.entries(path)))
        return wire.packet(Type.HANDLE, number, wire.string(handle))

    def _readdir(self, number: int, fields: Fields) -> bytes:
        entries = self._handles.get(fields.string(), Directory).names()
        return wire.names(number, entries) if entries else wire.status(number, Status.EOF)

    def _mkdir(self, number: int, fields: Fields) -> bytes:
        path, wanted = self._path(fields), fields.attributes()
        self._check_writable()
        self._root.make_directory(path, 0o777 if wanted.mode is None else wanted.mode)
        return wire.status(number, Status.OK)

    def _rmdir(self, number: int, fields: Fields) -> bytes:
        self._check_writable()
        self._root.remove_directory(self._path(fields))
        return wire.status(number, Status.OK)

    # --- names

    def _remove(self, number: int, fields: Fields) -> bytes:
        self._check_writable()
        self._root.remove_file(self._path(fields))
        return wire.status(number, Status.OK)

    def _rename(self, number: int, fields: Fields) -> bytes:
        """The draft's own rename replaces nothing (6.5)."""
        self._check_writable()
        self._root.rename_to_free_name(self._path(fields), self._path(fields))
        return wire.status(number, Status.OK)

    def _posix_rename(self, number: int, fields: Fields) -> bytes:
        self._check_writable()
        self._root.rename(self._path(fields), self._path(fields))
        return wire.status(number, Status.OK)

    def _realpath(self, number: int, fields: Fields) -> bytes:
        path = self._root.resolved(self._path(fields))
        return wire.names(number, [_bare(path)])

    def _readlink(self, number: int, fields: Fields) -> bytes:
        target = self._root.entry(self._path(fields)).target
        if target is None:
            raise OSError(errno.EINVAL, "this is no link")
        return wire.names(number, [_bare(target)])

    def _symlink(self, number: int, fields: Fields) -> bytes:
        """The target comes first, as OpenSSH and its clients have it (PROTOCOL, 4.1), not as the draft has."""
        self._check_writable()
        target = fields.text()
        self._root.make_link(target, self._path(fields))
        return wire.status(number, Status.OK)

    # --- beyond the draft

    def _extended(self, number: int, fields: Fields) -> bytes:
        return _EXTENDED.get(fields.text(), Session._unsupported)(self, number, fields)

    def _statvfs(self, number: int, fields: Fields) -> bytes:
        return wire.space(number, self._root.space(self._path(fields)))

    def _limits(self, number: int, _fields: Fields) -> bytes:
        return wire.limits(number, HANDLES)


def _flags(how: int) -> int:
    """open(2)'s flags, one for each of the draft's (6.3)."""
    flags = os.O_RDWR if how & Open.READ and how & Open.WRITE else os.O_WRONLY if how & Open.WRITE else os.O_RDONLY
    flags |= os.O_APPEND if how & Open.APPEND else 0
    flags |= os.O_CREAT if how & Open.CREATE else 0
    flags |= os.O_TRUNC if how & Open.TRUNCATE else 0
    return flags | (os.O_EXCL if how & Open.EXCLUSIVE else 0)


def _bare(name: str) -> bytes:
    """A name without attributes, as REALPATH and READLINK tell it: twice, and the attributes are empty."""
    return wire.encoded(name) * 2 + wire.LENGTH.pack(0)


_HANDLERS: dict[int, Handler] = {
    Type.OPEN: Session._open,
    Type.CLOSE: Session._close,
    Type.READ: Session._read,
    Type.WRITE: Session._write,
    Type.LSTAT: Session._lstat,
    Type.FSTAT: Session._fstat,
    Type.SETSTAT: Session._setstat,
    Type.FSETSTAT: Session._fsetstat,
    Type.OPENDIR: Session._opendir,
    Type.READDIR: Session._readdir,
    Type.REMOVE: Session._remove,
    Type.MKDIR: Session._mkdir,
    Type.RMDIR: Session._rmdir,
    Type.REALPATH: Session._realpath,
    Type.STAT: Session._stat,
    Type.RENAME: Session._rename,
    Type.READLINK: Session._readlink,
    Type.SYMLINK: Session._symlink,
    Type.EXTENDED: Session._extended,
}

_EXTENDED: dict[str, Handler] = {
    "posix-rename@openssh.com": Session._posix_rename,
    "statvfs@openssh.com": Session._statvfs,
    "fsync@openssh.com": Session._fsync,
    "lsetstat@openssh.com": Session._lsetstat,
    "limits@openssh.com": Session._limits,
}
