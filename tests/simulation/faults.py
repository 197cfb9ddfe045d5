"""Faults: what can happen to a run before and after each of its effects, on the hub as on the node.

An *effect* is the smallest thing that a run changes: one rename, one file stored, one state written. They are counted
from 1 in the order in which the run comes to them; a fault is due at one number. `SHORT`, `SILENT` and `UNLISTED`
count listings.
"""

import hashlib
import itertools
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.folder import Folder
from symsync.local_files import rename_exchange, rename_noreplace
from symsync.remotes.base import (
    Attributes,
    Fetch,
    Fetched,
    Outcomes,
    Progress,
    Remote,
    Request,
    Store,
    Stored,
    Traits,
    no_progress,
)
from symsync.statestore import NodeStore
from symsync_protocol.errors import HubRefused, HubUnreachable


class Crash(BaseException):
    """The program ends here: no handler and no `finally` has an effect any more, as none has in a power cut."""


class Fault(StrEnum):
    """What happens at the effect for which it is due."""

    CRASH = "crash"
    """The program ends before it."""
    TORN = "torn"
    """The program ends in the middle of it, where it has one: half the bytes are written. Else right after it."""
    POWER = "power"
    """The power fails before it: what the run wrote on its node, or in a directory that is its hub, and did not sync is
    cut off."""
    CUT = "cut"
    """The connection is lost before it; only effects on the hub count."""
    UNANSWERED = "unanswered"
    """The connection is lost after it, and with it the reply; only effects on the hub count."""
    LOST = "lost"
    """The connection breaks at it, and what was to follow in one breath is lost with it; another connection is to be
    had at once, over which a file is sent once more. Only effects on the hub count."""
    LATE = "late"
    """The same, but the hub carries out all of it, while the other connection is already in use."""
    REFUSED = "refused"
    """The hub says no to it, for no reason that lasts; only effects on the hub count."""
    SHORT = "short"
    """Not an effect but a listing is due: it lacks its last entry, and says that it is cut short."""
    SILENT = "silent"
    """The same, but it does not say so."""
    UNLISTED = "unlisted"
    """A listing is refused."""
    HALF = "half"
    """Half of a transfer arrives, and the hub reports success; only transfers and appended records have halves."""
    MEANWHILE = "meanwhile"
    """Somebody else does something before it."""


_ENDLESS = 20_000
"""Uses of either side after which a run will never end: the longest that do take some hundred."""

_BREAKS = (Fault.LOST, Fault.LATE)
_ON_HUB_ONLY = (Fault.CUT, Fault.UNANSWERED, *_BREAKS, Fault.REFUSED, Fault.HALF)
_OF_LISTINGS = (Fault.SHORT, Fault.SILENT, Fault.UNLISTED)


class Disk:
    """What of some directories would outlast a power cut: names and attributes at once, bytes when they were synced."""

    def __init__(self, *roots: Path) -> None:
        self._roots = roots
        self._synced: dict[int, int] = {}
        self.sync()

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        for directory, _, names in itertools.chain.from_iterable(map(os.walk, self._roots)):
            for name in names:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield path, status

    def sync(self) -> None:
        """All bytes are on the disk now: syncfs(2)."""
        self._synced = {status.st_ino: status.st_size for _, status in self._files()}

    def sync_file(self, descriptor: int) -> None:
        """One file's are: fsync(2)."""
        status = os.fstat(descriptor)
        self._synced[status.st_ino] = status.st_size

    def power_cut(self) -> None:
        """What is not on the disk is gone."""
        for path, status in list(self._files()):
            lasting = self._synced.get(status.st_ino, 0)
            if lasting < status.st_size:
                os.truncate(path, lasting)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class Backlog:
    """What a hub has read from connections that broke, and has yet to carry out: one after the other, between what
    comes over other connections."""

    def __init__(self) -> None:
        self._acts: deque[Callable[[], object]] = deque()
        self._rest = 0
        self.done = 0
        """How much has been carried out."""

    def __bool__(self) -> bool:
        return bool(self._acts)

    def add(self, act: Callable[[], object], delay: int = 0) -> None:
        """Carry this out last; `delay`: how often the hub is used before it begins with the first."""
        if not self._acts:
            self._rest = delay
        self._acts.append(act)

    def tick(self) -> None:
        """The hub is used."""
        if not self._acts:
            return
        if self._rest:
            self._rest -= 1
        else:
            self._carry_out()

    def catch_up(self) -> None:
        """The hub carries out all of it."""
        while self._acts:
            self._carry_out()

    def _carry_out(self) -> None:
        self._acts.popleft()()
        self.done += 1


@dataclass
class Faults:
    """What is to happen to one run, and how far it has come."""

    fault: Fault | None = None
    at: int = 0
    meanwhile: Callable[[], None] = lambda: None
    count: int = 0
    log: list[str] = field(default_factory=list)
    """Every effect so far, for who wants to know what a number stood for."""
    disk: Disk | None = None
    """What loses its bytes where the power is to fail."""
    happened: bool = False
    """Whether the fault was met: runs with fewer effects end as if there were none."""
    point: Callable[[], None] = lambda: None
    """Called before all that others who are at work may see or disturb: they may go on first."""
    backlog: Backlog = field(default_factory=Backlog)
    """What the hub has yet to carry out, of this and other runs."""
    delay: int = 0
    """How often the hub is used, where the fault is LATE, before it goes on with the broken connection."""
    _listings: int = 0
    _asked: int = 0
    _ended: bool = False
    _cut: bool = False

    def check_connection(self) -> None:
        """Raise what a run meets on any use of the hub from now on."""
        self.check_alive()
        if self._cut:
            raise HubUnreachable("the connection to the simulated hub was lost")
        self.point()
        self.backlog.tick()

    def check_alive(self) -> None:
        """Raise Crash again where something in a `finally` still wants to have an effect."""
        if self._ended:
            raise Crash
        self._asked += 1
        assert self._asked < _ENDLESS, "a run that never ends"

    def look_at_node(self) -> None:
        """The run looks at something on the node, where others may be at work."""
        self.check_alive()
        self.point()

    @contextmanager
    def on_hub(self, what: str) -> Iterator[Fault | None]:
        """One effect on the hub; yields TORN or HALF where half of it shall be done, REFUSED where nothing shall, and
        how the connection breaks where it does."""
        self.check_connection()
        due = self._is_due(what)
        if due and self.fault is Fault.CUT:
            self._cut = True
            self.check_connection()
        with self._on_either(due) as part:
            yield self.fault if due and self.fault in (Fault.REFUSED, Fault.HALF, *_BREAKS) else part
        if due and self.fault is Fault.UNANSWERED:
            self._cut = True
            self.check_connection()

    @contextmanager
    def on_node(self, what: str) -> Iterator[None]:
        """One effect on the node."""
        self.look_at_node()
        if self.fault in _ON_HUB_ONLY:
            yield
            return
        with self._on_either(self._is_due(what)):
            yield

    def synced(self, descriptor: int | None = None) -> None:
        """A file's bytes, or all, are on the node's disk now."""
        if self.disk is None:
            return
        if descriptor is None:
            self.disk.sync()
        else:
            self.disk.sync_file(descriptor)

    def seen(self, listing: Listing) -> Listing:
        """A listing as the run gets to see it."""
        self._listings += 1
        if self.fault not in _OF_LISTINGS or self._listings != self.at:
            return listing
        self.happened = True
        if self.fault is Fault.UNLISTED:
            return Listing(listing.directory, (), listing.problem or _refusal(listing.directory))
        short = replace(listing, entries=listing.entries[:-1])
        if self.fault is Fault.SILENT:
            return short
        problem = Problem(listing.directory, Reason.CUT, "the simulated listing was cut short")
        return replace(short, problem=listing.problem or problem)

    def _is_due(self, what: str) -> bool:
        self.count += 1
        self.log.append(f"{self.count} {what}")
        due = self.fault is not None and self.fault not in _OF_LISTINGS and self.count == self.at
        self.happened = self.happened or due
        return due

    @contextmanager
    def _on_either(self, due: bool) -> Iterator[Fault | None]:
        if due and self.fault in (Fault.CRASH, Fault.POWER):
            self._ended = True
            if self.fault is Fault.POWER and self.disk is not None:
                self.disk.power_cut()
            self.check_alive()
        if due and self.fault is Fault.MEANWHILE:
            self.meanwhile()
        torn = due and self.fault is Fault.TORN
        yield Fault.TORN if torn else None
        if torn:
            self._ended = True
            self.check_alive()


class FaultyRemote(Remote):
    """A remote to which faults happen. Batches are done one by one, for a fault may come between any two."""

    def __init__(self, inner: Remote, faults: Faults, *, makes_links: bool = True) -> None:
        """`makes_links`: whether the protocol can, if the hub can."""
        self._inner = inner
        self._faults = faults
        self._makes_links = makes_links
        self._broke: Fault | None = None
        """How the connection broke over which the current batch goes."""
        self._batches = 0

    @contextmanager
    def _batch(self) -> Iterator[None]:
        """What goes over one connection, in one breath."""
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1
            if not self._batches:
                self._broke = None

    @property
    def traits(self) -> Traits:
        traits = self._inner.traits
        return traits if self._makes_links else replace(traits, links=False)

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for directory in directories:
            self._faults.check_connection()
            for listing in self._inner.listings([directory]):
                yield self._faults.seen(listing)

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        if self._broke is not None:
            return [_lost(path) for path in paths]
        self._faults.check_connection()
        return self._inner.stat(paths)

    def unstorable(self, paths: Sequence[str]) -> list[Problem | None]:
        self._faults.check_connection()
        return self._inner.unstorable(paths)

    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        for job in jobs:
            with self._faults.on_hub(f"fetch {job.path}") as part:
                refused = part is Fault.REFUSED
                outcomes = [(job, _refusal(job.path))] if refused else list(self._inner.fetch([job], progress))
            for outcome in outcomes:
                yield _half_fetched(outcome) if part is Fault.HALF and isinstance(outcome, Fetched) else outcome

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        for job in jobs:
            with self._faults.on_hub(f"store {job.path}") as part:
                refused = part is Fault.REFUSED
                if part in _BREAKS:
                    job = replace(job, again=True)
                outcomes = [(job, _refusal(job.path))] if refused else list(self._inner.store([job], progress))
                if part is Fault.LATE:
                    self._faults.backlog.add(partial(self._begin_anew, job.path), self._faults.delay)
            for outcome in outcomes:
                yield self._half_stored(outcome) if part is Fault.HALF and isinstance(outcome, Stored) else outcome

    def _begin_anew(self, path: str) -> None:
        """The hub comes to a store that the broken connection had asked for: it empties the file first of all."""
        with suppress(HubRefused):  # there is no such directory any more
            self._inner.write(path, b"")

    def _half_stored(self, stored: Stored) -> Stored:
        """As if only half of the file had come through, for which the hub reports success."""
        path = stored.job.path
        data = self._inner.read(path) or b""
        self._inner.write(path, data[: len(data) // 2])
        (now,) = self._inner.stat([path])
        return replace(stored, found=now) if isinstance(now, Found) else stored

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        with self._batch():
            return [self._one(f"rename {old} {new}", self._inner.rename, (old, new)) for old, new in pairs]

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        with self._batch():
            return [self._one(f"mkdir {path}", self._inner.make_directories, path, mode) for path in paths]

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if not self._makes_links:
            return [Problem(path, Reason.KIND, "the simulated protocol makes no links") for path, _ in links]
        with self._batch():
            return [self._one(f"link {link[0]}", self._inner.make_links, link) for link in links]

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        with self._batch():
            return [self._one(f"remove {path}", self._inner.remove_files, path) for path in paths]

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        with self._batch():
            return [self._one(f"rmdir {path}", self._inner.remove_directories, path) for path in paths]

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        return [self._one(f"attributes {job.path}", self._inner.set_attributes, job) for job in jobs]

    def together(self, requests: Sequence[Request]) -> list[Outcomes]:
        with self._batch():
            return super().together(requests)

    def _one(self, what: str, act: Callable[..., list[Problem | None]], job: object, *rest: object) -> Problem | None:
        with self._faults.on_hub(what) as part:
            if part is Fault.REFUSED:
                return _refusal(what)
            if part in _BREAKS and self._batches:  # else it is tried again
                self._broke = part
            if self._broke is Fault.LATE:
                self._faults.backlog.add(partial(act, [job], *rest), self._faults.delay)
            if self._broke is not None:
                return _lost(what)
            (problem,) = act([job], *rest)
        return problem

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        self._faults.check_connection()
        return self._inner.read(path, offset, limit)

    def write(self, path: str, data: bytes) -> None:
        with self._faults.on_hub(f"write {path}") as part:
            if part is Fault.LATE:
                self._faults.backlog.add(partial(self._begin_anew, path), self._faults.delay)
            if part in _BREAKS and self._batches:  # else it is tried again
                self._broke = part
                return
            self._inner.write(path, _part(data, part))
            if part is Fault.HALF:
                raise HubRefused("the simulated hub holds only half of what was written")

    def look_and_write(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        with self._batch():
            looks = self.stat(paths)
            self.write(path, data)
            if self._broke is not None:
                raise HubUnreachable("the connection broke while the simulated hub was written to")
        return looks

    def append(self, path: str, data: bytes) -> None:
        with self._faults.on_hub(f"append {path}") as part:
            if part is Fault.LATE:
                self._faults.backlog.add(partial(self._inner.append, path, data), self._faults.delay)
            if part in _BREAKS:
                raise HubUnreachable("the connection broke while the simulated hub was appended to")
            self._inner.append(path, _part(data, part))

    def refresh(self) -> None:
        self._inner.refresh()

    def close(self) -> None:
        if self._faults.backlog:
            self._faults.backlog.add(self._inner.close)  # on the server's side it ends last
        else:
            self._inner.close()


class Uncounted(Faults):
    """What happens to a run where nothing is counted: it can be over, and no more."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(point=faults.point)
        self._faults = faults

    def check_alive(self) -> None:
        self._faults.check_alive()


def _part(data: bytes, part: Fault | None) -> bytes:
    if part is Fault.REFUSED:
        raise HubRefused("the simulated hub said no")
    return data[: len(data) // 2] if part in (Fault.TORN, Fault.HALF) else data


def _half_fetched(fetched: Fetched) -> Fetched:
    """As if only half of the file had come through, for which the hub reports success."""
    data = fetched.job.target.read_bytes()
    data = data[: len(data) // 2]
    fetched.job.target.write_bytes(data)
    return replace(fetched, size=len(data), digest=hashlib.sha256(data).digest())


def _lost(path: str) -> Problem:
    return Problem(path, Reason.LOST, "the connection broke; whether the simulated hub has done it is not known")


def _refusal(path: str) -> Problem:
    return Problem(path, Reason.DENIED, "the simulated hub said no")


def faulty_node(faults: Callable[[], Faults]) -> dict[str, Any]:
    """What to put in the place of names in `symsync.session` and `symsync.folder`, so that faults happen on nodes, too.

    `faults` tells those of the run that is at work: one may go on in the middle of another.
    """

    def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*args: Any, **kwargs: Any) -> Any:
            with faults().on_node(f"{name} {' '.join(_shown(arg) for arg in args)}"):
                return function(*args, **kwargs)

        return effect

    def looking(function: Callable[..., Any]) -> Callable[..., Any]:
        def look(*args: Any, **kwargs: Any) -> Any:
            faults().look_at_node()
            return function(*args, **kwargs)

        return look

    store = {name: guarded(f"state {name}", getattr(NodeStore, name)) for name in _WRITES}
    store |= {name: looking(getattr(NodeStore, name)) for name in _READS}
    folder = {name: guarded(name, getattr(Folder, name)) for name in _CHANGES}
    folder |= {name: looking(getattr(Folder, name)) for name in _LOOKS}
    return {
        "symsync.session.NodeStore": type("FaultyNodeStore", (NodeStore,), store),
        "symsync.session.Folder": type("FaultyFolder", (Folder,), folder),
        "symsync.folder.sync_filesystem": lambda _root: faults().synced(),
        "symsync.remotes.directory.sync_filesystem": lambda _root: faults().synced(),
        "os.fsync": lambda descriptor: faults().synced(descriptor),
        "symsync.folder.rename_exchange": guarded("exchange", rename_exchange),
        "symsync.folder.rename_noreplace": guarded("rename", rename_noreplace),
    }


_WRITES = ("announce", "save", "begin", "end", "save_identity", "remember", "cache")
_READS = ("identity", "load", "shape", "names", "journal", "met", "cached")
_CHANGES = ("link", "make_directory", "remove_directory", "adjust", "settle_directories", "finish", "clear")
"""`place`, `remove` and `move` consist of renames, each of which is an effect of its own."""
_LOOKS = ("scan", "look", "digests")


def _shown(value: object) -> str:
    return value.name if isinstance(value, Path) else value if isinstance(value, str) else ""
