"""A bare SFTP client: packets as the test words them, as many in flight as it likes."""

import struct
from dataclasses import dataclass, field
from itertools import count

import paramiko

from symsync_hub import RunningHub

OK, EOF, NO_SUCH_FILE, DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
INIT, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
MKDIR, REALPATH, STAT, RENAME, READLINK, EXTENDED, STATUS, NAME = 14, 16, 17, 18, 19, 200, 101, 104
READING, WRITING, APPENDING, CREATING, TRUNCATING, EXCLUSIVE = 1, 2, 4, 8, 16, 32

NO_ATTRIBUTES = struct.pack(">I", 0)


def transport(hub: RunningHub, login: str | None = None, password: str | None = None) -> paramiko.Transport:
    """An SSH connection that is logged in."""
    assert hub.sftp_port is not None
    connection = paramiko.Transport((hub.host, hub.sftp_port))
    try:
        connection.connect(username=login or hub.login, password=password or hub.password)
    except paramiko.SSHException:
        connection.close()
        raise
    return connection


def string(value: bytes) -> bytes:
    """A string field."""
    return struct.pack(">I", len(value)) + value


@dataclass(frozen=True)
class Reply:
    """One reply: its type, its request's number, and the rest."""

    kind: int
    number: int
    body: bytes

    @property
    def code(self) -> int:
        """A status's code."""
        assert self.kind == STATUS, self
        return int.from_bytes(self.body[:4])

    @property
    def text(self) -> bytes:
        """A status's text."""
        assert self.kind == STATUS, self
        return self.body[8 : 8 + int.from_bytes(self.body[4:8])]

    @property
    def string(self) -> bytes:
        """The one string of HANDLE and DATA."""
        assert self.kind != STATUS, self.text
        assert int.from_bytes(self.body[:4]) == len(self.body) - 4
        return self.body[4:]

    @property
    def names(self) -> list[bytes]:
        """The names of NAME; each has a long form and, if any, attributes in full behind it."""
        assert self.kind == NAME, self
        found, at = [], 4
        for _ in range(int.from_bytes(self.body[:4])):
            strings = []
            for _ in range(2):
                end = at + 4 + int.from_bytes(self.body[at : at + 4])
                strings.append(self.body[at + 4 : end])
                at = end
            found.append(strings[0])
            at += 32 if int.from_bytes(self.body[at : at + 4]) else 4
        return found


@dataclass
class Client:
    """One session, without INIT sent."""

    channel: paramiko.Channel
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    received: bytes = b""

    @classmethod
    def over(cls, connection: paramiko.Transport) -> "Client":
        """A further session of a connection."""
        channel = connection.open_session(window_size=1 << 20, timeout=20)
        channel.settimeout(20)
        channel.invoke_subsystem("sftp")
        return cls(channel)

    def send(self, kind: int, *fields: bytes) -> int:
        """Send a request and return its number; bytes are fields as they are."""
        number = next(self.numbers)
        body = struct.pack(">BI", kind, number) + b"".join(fields)
        self.channel.sendall(string(body))
        return number

    def reply(self) -> Reply:
        """The next reply."""
        size = int.from_bytes(self._take(4))
        packet = self._take(size)
        return Reply(packet[0], int.from_bytes(packet[1:5]), packet[5:])

    def ask(self, kind: int, *fields: bytes) -> Reply:
        """A request and its reply."""
        number = self.send(kind, *fields)
        reply = self.reply()
        assert number == reply.number
        return reply

    def open(self, name: bytes, flags: int) -> bytes:
        """A file's handle, as a field."""
        return string(self.ask(OPEN, string(name), struct.pack(">I", flags), NO_ATTRIBUTES).string)

    def names(self, directory: bytes) -> list[bytes]:
        """All names in a directory."""
        handle = string(self.ask(OPENDIR, string(directory)).string)
        found: list[bytes] = []
        while (reply := self.ask(READDIR, handle)).kind == NAME:
            found += reply.names
        assert EOF == reply.code
        assert OK == self.ask(CLOSE, handle).code
        return found

    def _take(self, size: int) -> bytes:
        while len(self.received) < size:
            more = self.channel.recv(1 << 20)
            if not more:
                raise EOFError
            self.received += more
        taken, self.received = self.received[:size], self.received[size:]
        return taken
