"""An SFTP server in this process, for the tests of the SFTP remote: paramiko's, with names as bytes and with whims."""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from symsync.remotes.location import Location, Protocol
from symsync.remotes.sftp.wire import Op

USER, PASSWORD = "paula", "p#ss w@rd"

Whim = Callable[[Op, str], int | bool | None]
"""Asked before each request, with its path ("" where it has none). None: served as usual; a number: refused with this
status; False: the connection is cut before it is served; True: after it was, and before the reply."""


def no_whim(_op: Op, _path: str) -> None:
    """Serves everything."""


@dataclass
class Running:
    """A running server: its port, its directory, its key, and the requests that it received."""

    port: int
    directory: Path
    host_key: paramiko.PKey
    doors: "_Doors"
    listener: socket.socket
    requests: list[tuple[Op, str]] = field(default_factory=list)

    @property
    def logins(self) -> list[str]:
        """How each connection got in."""
        return self.doors.logins

    def stop_listening(self) -> None:
        """Let nobody in any more."""
        with contextlib.suppress(OSError):  # twice
            self.listener.shutdown(socket.SHUT_RDWR)

    def location(self, **changes: Any) -> Location:
        """How to get in."""
        values: dict[str, Any] = {
            "protocol": Protocol.SFTP,
            "host": "127.0.0.1",
            "port": self.port,
            "login": USER,
            "password": PASSWORD,
            "directory": str(self.directory),
            "host_key": str(self.host_key.fingerprint),
            "timeout": 10.0,
        }
        return Location(**{**values, **changes})


@dataclass
class _Doors:
    """What lets somebody in, all of it at once where `steps` has several methods."""

    steps: tuple[str, ...] = ()
    keys: tuple[paramiko.PKey, ...] = ()
    logins: list[str] = field(default_factory=list)


class _Guard(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko has no types
    """Lets one user in: by password, by answering a question with it, or by one of the keys."""

    def __init__(self, doors: _Doors) -> None:
        self._doors = doors
        self._passed: list[str] = []

    def get_allowed_auths(self, _username: str) -> str:
        steps = [step for step in self._doors.steps if step not in self._passed]
        return ",".join(steps or self._methods())

    def _methods(self) -> list[str]:
        return ["password", "keyboard-interactive", "publickey"] if not self._doors.steps else list(self._doors.steps)

    def _step(self, method: str, good: bool) -> int:
        if not good or method not in self._methods():
            return int(paramiko.AUTH_FAILED)
        self._passed.append(method)
        self._doors.logins.append(method)
        if set(self._doors.steps) - set(self._passed):
            return int(paramiko.AUTH_PARTIALLY_SUCCESSFUL)
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._step("password", (username, password) == (USER, PASSWORD))

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._step("publickey", username == USER and key in self._doors.keys)

    def check_auth_interactive(self, username: str, _submethods: str) -> Any:
        if username != USER or "keyboard-interactive" not in self._methods():
            return int(paramiko.AUTH_FAILED)
        return paramiko.InteractiveQuery("", "", ("Password: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return self._step("keyboard-interactive", responses == [PASSWORD])

    def check_channel_request(self, _kind: str, _chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _ByteNames(paramiko.Message):  # type: ignore[misc]  # paramiko has no types
    """A message whose names may be any bytes."""

    def get_text(self) -> str:
        return os.fsdecode(self.get_string())


class Served(paramiko.SFTPServer):  # type: ignore[misc]  # paramiko has no types
    """paramiko's server, which its whim may make refuse or hang up."""

    def __init__(self, channel: Any, name: str, server: Any, sftp_si: Any, running: Running, whim: Whim) -> None:
        super().__init__(channel, name, server, sftp_si)
        self._running = running
        self._whim = whim
        self._gone = False

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        if self._gone:
            return
        op = Op(kind)
        rest = message.get_remainder()
        path = ""
        if op not in (Op.CLOSE, Op.READ, Op.WRITE, Op.FSTAT, Op.FSETSTAT, Op.READDIR, Op.EXTENDED):
            path = _ByteNames(rest).get_text()
        self._running.requests.append((op, path))
        verdict = self._whim(op, path)
        if isinstance(verdict, bool):
            self._gone = True
            if verdict:
                super()._process(kind, number, _ByteNames(rest))
            self.sock.get_transport().sock.shutdown(socket.SHUT_RDWR)
        elif verdict is None:
            super()._process(kind, number, _ByteNames(rest))
        else:
            self._send_status(number, verdict)

    def _send_packet(self, kind: int, packet: paramiko.Message) -> None:
        if not self._gone:
            super()._send_packet(kind, packet)


class File(paramiko.SFTPHandle):  # type: ignore[misc]  # paramiko has no types
    def __init__(self, descriptor: int, flags: int) -> None:
        super().__init__(flags)
        self._descriptor = descriptor
        self._appends = bool(flags & os.O_APPEND)

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> Any:
        return _told(lambda: os.pread(self._descriptor, length, offset))

    def write(self, offset: int, data: bytes) -> Any:
        def put() -> None:
            if self._appends:
                os.write(self._descriptor, data)
            else:
                os.pwrite(self._descriptor, data, offset)

        return _told(put)

    def stat(self) -> Any:
        return _told(lambda: paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor)))

    def chattr(self, attributes: Any) -> Any:
        return _told(lambda: _set(self._descriptor, attributes))


def _told(act: Callable[[], Any]) -> Any:
    """What came of it, or the status that tells why nothing did."""
    try:
        outcome = act()
    except OSError as error:
        return paramiko.SFTPServer.convert_errno(error.errno)
    return paramiko.SFTP_OK if outcome is None else outcome


def _moved(old: str, new: str) -> None:
    Path(old).rename(new)


def _set(what: int | str, attributes: Any) -> None:
    if attributes.st_mode is not None:
        os.chmod(what, stat.S_IMODE(attributes.st_mode))  # noqa: PTH101 - `what` may be a descriptor
    if attributes.st_mtime is not None:
        os.utime(what, (attributes.st_atime, attributes.st_mtime))


class Directory(paramiko.SFTPServerInterface):  # type: ignore[misc]  # paramiko has no types
    """This computer's file system, as OpenSSH shows it."""

    def open(self, path: str, flags: int, _attributes: Any) -> Any:
        return _told(lambda: File(os.open(path, flags, 0o666), flags))

    def list_folder(self, path: str) -> Any:
        def entries() -> list[Any]:
            found = []
            for name in (".", "..", *os.listdir(path)):
                entry = paramiko.SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
                entry.filename = os.fsencode(name)
                found.append(entry)
            return found

        return _told(entries)

    def stat(self, path: str) -> Any:
        return _told(lambda: paramiko.SFTPAttributes.from_stat(os.stat(path)))

    def lstat(self, path: str) -> Any:
        return _told(lambda: paramiko.SFTPAttributes.from_stat(os.lstat(path)))

    def remove(self, path: str) -> Any:
        return _told(lambda: Path(path).unlink())

    def rename(self, old: str, new: str) -> Any:
        if os.path.lexists(old) and os.path.lexists(new):
            return paramiko.SFTP_FAILURE
        return _told(lambda: _moved(old, new))

    def mkdir(self, path: str, attributes: Any) -> Any:
        return _told(lambda: Path(path).mkdir(0o777 if attributes.st_mode is None else attributes.st_mode))

    def rmdir(self, path: str) -> Any:
        return _told(lambda: Path(path).rmdir())

    def chattr(self, path: str, attributes: Any) -> Any:
        return _told(lambda: _set(path, attributes))

    def readlink(self, path: str) -> Any:
        return _told(lambda: os.fsencode(Path(path).readlink()))

    def symlink(self, target: str, path: str) -> Any:
        return _told(lambda: Path(path).symlink_to(target))

    def canonicalize(self, path: str) -> str:
        return os.path.realpath(path)


@contextlib.contextmanager
def running(
    directory: Path,
    whim: Whim = no_whim,
    *,
    steps: tuple[str, ...] = (),
    keys: tuple[paramiko.PKey, ...] = (),
    host_key: paramiko.PKey | None = None,
    subsystem: str = "sftp",
) -> Iterator[Running]:
    """Serve this computer's files on a free port of the loopback; logins land in the current directory.

    `steps`: the methods that must all succeed to log in, any one without; `keys`: those that are accepted.
    """
    host_key = host_key or paramiko.ECDSAKey.generate()
    doors = _Doors(steps, keys)
    transports: list[paramiko.Transport] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Running(listener.getsockname()[1], directory, host_key, doors, listener)

        def serve() -> None:
            while True:
                try:
                    sock, _address = listener.accept()
                except OSError:
                    return  # closed: the end
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else replies wait 40 ms for an ACK
                transport = paramiko.Transport(sock)
                transports.append(transport)
                transport.add_server_key(host_key)
                transport.set_subsystem_handler(subsystem, Served, Directory, server, whim)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(event=threading.Event(), server=_Guard(doors))

        thread = threading.Thread(target=serve, name="sftp-server")
        thread.start()
        try:
            yield server
        finally:
            server.stop_listening()
            thread.join()
            for transport in transports:
                transport.close()
