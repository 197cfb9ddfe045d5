"""Faults: what can happen to a run before and after each of its effects, on the hub as on the node.

An *effect* is the smallest thing that a run changes: one rename, one file stored, one state written. They are counted
from 1 in the order in which the run comes to them; a fault is due at one number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.folder import Folder
from symsync.local_files import rename_exchange, rename_noreplace
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
    CUT = "cut"
    """The connection is lost before it; only effects on the hub count."""
    UNANSWERED = "unanswered"
    """The connection is lost after it, and with it the reply; only effects on the hub count."""
    REFUSED = "refused"
    """The hub says no to it, for no reason that lasts; only effects on the hub count."""
    SHORT = "short"
    """Not an effect but a listing is due: it lacks its last entry, and says that it is cut short."""
    MEANWHILE = "meanwhile"
    """Somebody else does something before it."""


_ON_HUB_ONLY = (Fault.CUT, Fault.UNANSWERED, Fault.REFUSED)


@dataclass
class Faults:
    """What is to happen to one run, and how far it has come."""

    fault: Fault | None = None
    at: int = 0
    meanwhile: Callable[[], None] = lambda: None
    count: int = 0
    log: list[str] = field(default_factory=list)
    """Every effect so far, for who wants to know what a number stood for."""
    happened: bool = False
    """Whether the fault was met: runs with fewer effects end as if there were none."""
    _listings: int = 0
    _ended: bool = False
    _cut: bool = False

    def check_connection(self) -> None:
        """Raise what a run meets on any use of the hub from now on."""
        self.check_alive()
        if self._cut:
            raise HubUnreachable("the connection to the simulated hub was lost")

    def check_alive(self) -> None:
        """Raise Crash again where something in a `finally` still wants to have an effect."""
        if self._ended:
            raise Crash

    @contextmanager
    def on_hub(self, what: str) -> Iterator[Fault | None]:
        """One effect on the hub; yields TORN where only half of it shall be done, and REFUSED where nothing shall."""
        self.check_connection()
        due = self._is_due(what)
        if due and self.fault is Fault.CUT:
            self._cut = True
            self.check_connection()
        with self._on_either(due) as part:
            yield Fault.REFUSED if due and self.fault is Fault.REFUSED else part
        if due and self.fault is Fault.UNANSWERED:
            self._cut = True
            self.check_connection()

    @contextmanager
    def on_node(self, what: str) -> Iterator[None]:
        """One effect on the node."""
        self.check_alive()
        if self.fault in _ON_HUB_ONLY:
            yield
            return
        with self._on_either(self._is_due(what)):
            yield

    def seen(self, listing: Listing) -> Listing:
        """A listing as the run gets to see it."""
        self._listings += 1
        if self.fault is not Fault.SHORT or self._listings != self.at:
            return listing
        self.happened = True
        problem = Problem(listing.directory, Reason.CUT, "the simulated listing was cut short")
        return replace(listing, entries=listing.entries[:-1], problem=listing.problem or problem)

    def _is_due(self, what: str) -> bool:
        self.count += 1
        self.log.append(f"{self.count} {what}")
        due = self.fault not in (None, Fault.SHORT) and self.count == self.at
        self.happened = self.happened or due
        return due

    @contextmanager
    def _on_either(self, due: bool) -> Iterator[Fault | None]:
        if due and self.fault is Fault.CRASH:
            self._ended = True
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

    def __init__(self, inner: Remote, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for directory in directories:
            self._faults.check_connection()
            for listing in self._inner.listings([directory]):
                yield self._faults.seen(listing)

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
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
            yield from outcomes

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        for job in jobs:
            with self._faults.on_hub(f"store {job.path}") as part:
                refused = part is Fault.REFUSED
                outcomes = [(job, _refusal(job.path))] if refused else list(self._inner.store([job], progress))
            yield from outcomes

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [self._one(f"rename {old} {new}", self._inner.rename, (old, new)) for old, new in pairs]

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        return [self._one(f"mkdir {path}", self._inner.make_directories, path, mode) for path in paths]

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [self._one(f"link {link[0]}", self._inner.make_links, link) for link in links]

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        return [self._one(f"remove {path}", self._inner.remove_files, path) for path in paths]

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        return [self._one(f"rmdir {path}", self._inner.remove_directories, path) for path in paths]

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        return [self._one(f"attributes {job.path}", self._inner.set_attributes, job) for job in jobs]

    def _one(self, what: str, act: Callable[..., list[Problem | None]], job: object, *rest: object) -> Problem | None:
        with self._faults.on_hub(what) as part:
            if part is Fault.REFUSED:
                return _refusal(what)
            (problem,) = act([job], *rest)
        return problem

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        self._faults.check_connection()
        return self._inner.read(path, offset, limit)

    def write(self, path: str, data: bytes) -> None:
        with self._faults.on_hub(f"write {path}") as part:
            self._inner.write(path, _part(data, part))

    def append(self, path: str, data: bytes) -> None:
        with self._faults.on_hub(f"append {path}") as part:
            self._inner.append(path, _part(data, part))

    def refresh(self) -> None:
        self._inner.refresh()

    def close(self) -> None:
        self._inner.close()


def _part(data: bytes, part: Fault | None) -> bytes:
    if part is Fault.REFUSED:
        raise HubRefused("the simulated hub said no")
    return data[: len(data) // 2] if part is Fault.TORN else data


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

    store = type("FaultyNodeStore", (NodeStore,), {n: guarded(f"state {n}", getattr(NodeStore, n)) for n in _WRITES})
    folder = type("FaultyFolder", (Folder,), {n: guarded(n, getattr(Folder, n)) for n in _CHANGES})
    return {
        "symsync.session.NodeStore": store,
        "symsync.session.Folder": folder,
        "symsync.folder.rename_exchange": guarded("exchange", rename_exchange),
        "symsync.folder.rename_noreplace": guarded("rename", rename_noreplace),
    }


_WRITES = ("save", "begin", "end", "save_identity", "remember", "cache")
_CHANGES = ("link", "make_directory", "remove_directory", "adjust", "settle_directories", "finish", "clear")
"""`place`, `remove` and `move` consist of renames, each of which is an effect of its own."""


def _shown(value: object) -> str:
    return value.name if isinstance(value, Path) else value if isinstance(value, str) else ""
