"""A session: a line to a server, where the hub lies on it, and what it can do."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from symsync.core.values import Found, Problem, Reason
from symsync.local_files import kind_of
from symsync.remotes.base import Traits
from symsync.remotes.sftp import wire
from symsync.remotes.sftp.errors import ConnectionLost, RefusedError
from symsync.remotes.sftp.line import Line, Pending
from symsync.remotes.sftp.wire import Code, Op, Reply, Request, Status
from symsync_protocol.names import NAME_LIMIT, basename
from symsync_protocol.stamps import SECOND, Kind, Stamp

LARGEST_BLOCK = 255 << 10
"""Bytes asked for or sent by one request where the server allows them: OpenSSH's own limit, measured to cost a fifth
less processor time than 128 KiB."""
SAFE_BLOCK = 32 << 10
"""What every server takes (section 3 of the draft: packets of 34,000 bytes)."""

MOST_JOBS = 128
"""Files or directories under way at once, each with one handle open on the server."""
SAFE_JOBS = 64
"""The same where the server does not say how many handles it gives."""

_REASONS: dict[int, Reason] = {
    Code.NO_SUCH_FILE: Reason.ABSENT,
    Code.NO_SUCH_PATH: Reason.ABSENT,
    Code.PERMISSION_DENIED: Reason.DENIED,
    Code.WRITE_PROTECT: Reason.DENIED,
    Code.FILE_ALREADY_EXISTS: Reason.EXISTS,
    Code.NO_SPACE_ON_FILESYSTEM: Reason.FULL,
    Code.QUOTA_EXCEEDED: Reason.FULL,
    Code.DIR_NOT_EMPTY: Reason.NOT_EMPTY,
    Code.NOT_A_DIRECTORY: Reason.KIND,
    Code.FILE_IS_A_DIRECTORY: Reason.KIND,
    Code.INVALID_FILENAME: Reason.NAME,
}


@dataclass
class Manners:
    """What was learnt of a server by trying; all sessions of a remote share it."""

    sets_times: bool = True
    sets_modes: bool = True
    links: bool = True
    appends: bool = True

    @property
    def traits(self) -> Traits:
        """Times are whole seconds (section 5), and a rename replaces nothing (section 6.5)."""
        return Traits(SECOND, self.sets_times, self.sets_modes, self.links, self.appends, replaces=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may carry, and how many jobs may be under way at once."""

    block: int = SAFE_BLOCK
    jobs: int = SAFE_JOBS

    @classmethod
    def told(cls, numbers: tuple[int, ...]) -> "Limits":
        """From the reply to limits@openssh.com; 0 is no limit."""
        _packet, reading, writing, handles = (number or wire.LONGEST_PACKET for number in numbers[:4])
        # A listing or transfer that has just ended may still have its handle open for a moment.
        return cls(min(LARGEST_BLOCK, reading, writing), max(1, min(MOST_JOBS, handles // 2)))


@dataclass(frozen=True, slots=True)
class Session:
    """One logged-in connection. Paths given to it are relative to the hub's root, as everywhere."""

    line: Line
    root: str
    extensions: frozenset[str] = frozenset()
    limits: Limits = Limits()
    manners: Manners = field(default_factory=Manners)

    def place(self, path: str) -> str:
        """`path` as the server names it."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    async def replies(self, requests: Sequence[Request]) -> list[Reply | None]:
        """The replies to many requests, which leave in this order; None from where the connection broke on."""
        pending: list[Pending] = []
        replies: list[Reply | None] = []
        with contextlib.suppress(ConnectionLost):
            for request in requests:
                pending.append(await self.line.post(request))
        with contextlib.suppress(ConnectionLost):
            for one in pending:
                replies.append(await one)
        return replies + [None] * (len(requests) - len(replies))

    async def look(self, path: str) -> Found | Problem | None:
        """What lies at `path`, links not followed; None where there is certainly nothing."""
        return self.seen(path, await self.line.ask(self.looking(path)))

    def looking(self, path: str) -> Request:
        """The request whose reply goes to `seen`. The root itself may be a link that the user set up."""
        return wire.lstat(self.place(path)) if path else wire.stat(self.root)

    def seen(self, path: str, reply: Reply) -> Found | Problem | None:
        """What the reply to `looking` shows. A link's target is not known yet."""
        if reply.op == Op.ATTRS:
            return found(path, reply.attributes())
        status = reply.status()
        return None if reason_of(status) is Reason.ABSENT else self.problem(path, status)

    def problem(self, path: str, status: Status) -> Problem:
        """A refusal about `path`, as its status tells it."""
        reason = reason_of(status)
        # OpenSSH's BAD_MESSAGE is ENAMETOOLONG or EINVAL, its FAILURE may be anything.
        too_long = len(basename(path).encode("utf-8", "surrogateescape")) > NAME_LIMIT
        if too_long and reason is Reason.OTHER:
            reason = Reason.NAME
        return Problem(path, reason, status.text)

    async def is_full(self, size: int = 0) -> bool:
        """Whether the server says that less than `size` bytes, or nothing at all, can be stored any more."""
        if wire.STATVFS not in self.extensions:
            return False
        reply = await self.line.ask(wire.statvfs(self.root))
        if reply.op != Op.EXTENDED_REPLY:
            return False
        numbers = reply.numbers()
        if len(numbers) < 8:
            return False
        _size, fragment, _blocks, _free, available, files, _free_files, available_files = numbers[:8]
        return available * fragment < max(size, 1) or (files > 0 and available_files == 0)


def reason_of(status: Status) -> Reason:
    """What a status says; OTHER where it could be anything."""
    return _REASONS.get(status.code, Reason.OTHER)


def refused(reply: Reply) -> RefusedError:
    """The error of a status where something better was hoped for."""
    return RefusedError(reply.status())


def done(reply: Reply) -> None:
    """Raise RefusedError unless the request succeeded."""
    status = reply.status()
    if not status.ok:
        raise RefusedError(status)


def handle(reply: Reply) -> bytes:
    """The handle that was opened. Raises RefusedError."""
    if reply.op == Op.STATUS:
        raise refused(reply)
    return reply.handle()


def found(path: str, attributes: wire.Attributes, target: str | None = None) -> Found:
    """An entry, from what the server tells of it. Sizes of directories say how it stores them, and are left out."""
    kind = Kind.OTHER if attributes.mode is None else kind_of(attributes.mode)
    size = attributes.size or 0 if kind in (Kind.FILE, Kind.LINK) else 0
    mtime_ns = None if attributes.mtime is None else attributes.mtime * SECOND
    mode = None if attributes.mode is None else attributes.mode & 0o7777
    return Found(path, Stamp(kind, size, mtime_ns, SECOND), mode, target)


def lost(path: str) -> Problem:
    """What is told of everything that was under way when the connection broke."""
    return Problem(path, Reason.LOST, "the connection broke; whether it was done is not known")
