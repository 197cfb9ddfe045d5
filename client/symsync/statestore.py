"""Where states lie: under `.sync.state/` of node and hub, one file for each pair, named after the other side.

The node's store is plain files. The hub's is reached through a Remote; what it held when we last looked is remembered
on the node (`_met.HUB`), so that a run in which nothing changed reads none of it: a state file only grows, and one that
is written anew never has a size it had before, so an equal size means an equal file.
"""

import hashlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgpack

from symsync.core.generations import Journal
from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import Outcomes, Remote
from symsync_protocol.errors import HubError, HubRefused, NodeError, StateDamaged, StateTooNew
from symsync_protocol.names import IDENTITY_FILE, LINKS_FILE, RUN_LOCK_FILE, STATE_DIR, basename, is_safe
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Identity, Intent, PairState, Place
from symsync_protocol.statefile import (
    SIZE_LIMIT,
    StateFile,
    decode,
    decode_identity,
    decode_tail,
    encode_change,
    encode_file,
    encode_identity,
    encode_intent,
    worth_rewriting,
)

_MOST_PARTS = 16
"""In so many files beside the first one a state may lie on a hub before it is written anew."""

_TRIES = 5
"""How often a state is read that is written anew meanwhile."""

_STAGED = "state"
"""What a state file that is written anew is called before it takes its place."""

T = TypeVar("T")

_JOURNAL = "_journal."
"""What the journal of a run is called, with the other side's name behind it."""

DENY_ALL = b"Require all denied\n"
"""For hubs that are web space: an Apache that honours it keeps our folders to itself."""


def place_of(root: Path) -> Place:
    """Where `root` is: this machine's id, hashed, and the directory's inode."""
    machine = socket.gethostname()
    for source in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError):
            machine = Path(source).read_text(encoding="ascii", errors="replace").strip() or machine
            break
    return Place(hashlib.sha256(b"symsync " + machine.encode()).digest()[:16], root.stat().st_ino)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One state file as it lies there: what it holds, or (`state` None) only its shape."""

    size: int
    rewrites: int
    base_size: int
    torn: bool = False
    parts: int = 0

    @classmethod
    def of(cls, file: StateFile) -> "Recorded":
        return cls(file.size, file.rewrites, file.base_size, file.torn, file.parts)

    def disowned(self) -> "Recorded":
        """As one to be written anew, in a size that nobody remembers: it is older than what others have read, so that
        to count on would lead to the sizes of then."""
        return replace(self, rewrites=_first_rewrite(), torn=True)


@dataclass(frozen=True, slots=True)
class Other:
    """What another node's state file on the hub held when it was last read."""

    size: int
    copies: tuple[str, ...] = ()
    """Conflict copies on the hub that it announces."""


@dataclass(frozen=True, slots=True)
class Met:
    """What the node remembers of a hub's state folder."""

    hub: bytes = b""
    """The hub's id; empty while it has none."""
    own: Recorded | None = None
    """This node's state file there, as this node left it."""
    generation: bytes = b""
    """The id of the generation that lies in it; empty where the node never recorded anything there."""
    local: bytes = b""
    """The id of the generation that the node recorded of its own in the same run: another one where the run's mode
    records nothing on the hub. The node's state may be a later one's by now, one by the hub itself in the node's role.
    Empty where nothing is known."""
    others: Mapping[str, Other] = field(default_factory=dict)
    clock_offset_ns: int = 0
    """The hub's clock minus this machine's, when it was last read."""
    appends: bool = True
    """Whether the hub could append to files when it was last tried."""
    pruned: int = 0
    """When this node last looked through the hub's trash, in seconds since 1970."""


def unless_damaged(read: Callable[[], Identity | None]) -> Identity | None:
    """An identity, None also for one that is damaged. Raises StateTooNew: what is only newer must not be replaced."""
    try:
        return read()
    except StateTooNew:
        raise
    except StateDamaged:
        return None


class NodeStore:
    """`.sync.state/` of the node's own directory."""

    def __init__(self, root: Path) -> None:
        self._dir = root / STATE_DIR

    def is_new(self) -> bool:
        """Whether no run has ever left anything here, not even one that was ended."""
        return not self._dir.is_dir() or all(path.name == RUN_LOCK_FILE for path in self._dir.iterdir())

    def identity(self) -> Identity | None:
        """This directory's own name and id, None before its first run. Raises StateDamaged."""
        path = self._dir / IDENTITY_FILE
        try:
            return decode_identity(path.read_bytes(), str(path))
        except FileNotFoundError:
            return None

    def save_identity(self, identity: Identity, before: Identity | None) -> bool:
        """Record this directory's identity in the place of `before`, or of a damaged one; False where another node,
        whose hub it is, has just given it one."""
        if unless_damaged(self.identity) != before:
            return False
        if identity != before:
            self._replace(self._dir / IDENTITY_FILE, encode_identity(identity))
        return True

    def load(self, hub: str) -> StateFile | None:
        """The state with `hub`, None where there is none. Raises StateDamaged or StateTooNew."""
        path = self._dir / hub
        files = self._read(hub)
        if files:
            return replace(decode(b"".join(files), str(path)), parts=len(files) - 1)
        # Written anew by the other side, which had this directory as its hub, and not yet renamed when it was ended;
        # one that is not whole never counted.
        new = path.with_name(f"{hub}.new")
        with suppress(FileNotFoundError, StateDamaged):
            return replace(decode(new.read_bytes(), str(new)), torn=True)
        return None

    def _read(self, hub: str) -> list[bytes]:
        """The files in which the state with `hub` lies, none where there is none; all of one moment."""
        files: list[bytes] = []
        for _ in range(_TRIES):
            shape = self.shape(hub)
            files = list(_chain(lambda name: _unless_missing((self._dir / name).read_bytes), hub, len))
            if self.shape(hub) == shape:
                break
        return files

    def set_aside(self, hub: str) -> Path:
        """Rename a damaged state, so that it is not in the way but can be looked at."""
        names = itertools.chain([f"_damaged.{hub}"], (f"_damaged.{hub}.{number}" for number in itertools.count(2)))
        aside = next(path for path in map(self._dir.joinpath, names) if not path.exists())
        (self._dir / hub).rename(aside)
        return aside

    def shape(self, hub: str) -> object:
        """What changes whenever anybody records a state with `hub`: None while there is none."""
        files = list(_chain(lambda name: _unless_missing((self._dir / name).stat), hub, lambda file: file.st_size))
        return (files[0].st_ino, sum(file.st_size for file in files)) if files else None

    def announce(self, hub: str, before: StateFile | None, intent: Intent) -> StateFile:
        """Append `intent` to the state with `hub`; the file as it is then."""
        path = self._dir / hub
        if before is None or before.torn or before.parts:
            rewrites = before.rewrites + 1 if before else _first_rewrite()
            state = before.state if before else None
            self._rewrite(hub, encode_file(state, rewrites=rewrites, intent=intent))
            return decode(path.read_bytes(), str(path))
        change = encode_intent(intent, rewrites=before.rewrites, offset=before.size)
        self._extend(path, change)
        return replace(before, size=before.size + len(change))

    def names(self) -> list[str]:
        """The other directories that this one keeps a state with."""
        if not self._dir.is_dir():
            return []
        # One that was being written anew may have only its new name yet.
        names = {name.removesuffix(".new") for name in os.listdir(self._dir) if not name.startswith("_")}
        return sorted(name for name in names if "." not in name)

    def save(self, hub: str, before: StateFile | None, state: PairState, shape: object) -> bool:
        """Record `state`: appended in proportion to the change, now and then written anew. On disk when it returns.
        False where somebody else has recorded one since the file was of this `shape`: who slept must not write over
        it."""
        if self.shape(hub) != shape:
            return False
        path = self._dir / hub
        if before is None or before.state is None or before.parts or worth_rewriting(before):
            rewrites = before.rewrites + 1 if before else _first_rewrite()
            announced = before.intent if before else None  # by a run of the other side's, which was ended since
            later = announced is not None and announced.generation.number > state.generation.number
            self._rewrite(hub, encode_file(state, rewrites=rewrites, intent=announced if later else None))
        else:
            self._extend(path, encode_change(before.state, state, rewrites=before.rewrites, offset=before.size))
        return True

    def journal(self, hub: str) -> Journal | None:
        """What a run was about to do when it was ended. One that can't be read does not count."""
        path = self._dir / f"{_JOURNAL}{hub}"
        try:
            return _decode_journal(path.read_bytes(), str(path))
        except OSError:
            return None

    def begin(self, hub: str, state: PairState, journal: Journal) -> None:
        """Note what this run is about to do before it does, and again what it came to before that is recorded; `state`
        tells whose run and which generation."""
        puts = replace(state, entries=journal.puts, conflicts=journal.conflicts)
        gets = replace(state, entries=journal.gets, conflicts={})
        files = [encode_file(puts, rewrites=0), encode_file(gets, rewrites=0)]
        data = msgpack.packb([*files, journal.acted, sorted(journal.gone)], unicode_errors="surrogateescape")
        self._replace(self._dir / f"{_JOURNAL}{hub}", data)

    def end(self, hub: str) -> None:
        """The run has recorded what it did."""
        (self._dir / f"{_JOURNAL}{hub}").unlink(missing_ok=True)

    def staging(self, hub: str) -> bool:
        """Note that from now on something of this run may be left on the hub; whether something of an earlier may."""
        marker = self._dir / f"_staged.{hub}"
        with _writing(marker):
            left = marker.exists()
            self._dir.mkdir(exist_ok=True)
            marker.touch()
        return left

    def swept(self, hub: str) -> None:
        """Nothing is left there."""
        (self._dir / f"_staged.{hub}").unlink(missing_ok=True)

    def met(self, hub: str) -> Met:
        """What is remembered of the hub's state folder. A cache: where it is unreadable everything is read again."""
        try:
            raw = msgpack.unpackb((self._dir / f"_met.{hub}").read_bytes(), strict_map_key=False)
            own = Recorded(*raw["own"]) if raw["own"] else None
            others = {str(n): Other(int(size), tuple(copies)) for n, (size, copies) in raw["others"].items()}
            offset, pruned = int(raw["offset"]), int(raw["pruned"])
            generation, local = bytes(raw["generation"]), bytes(raw["local"])
            appends = bool(raw["appends"])
            return Met(bytes(raw["hub"]), own, generation, local, others, offset, appends, pruned)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
            return Met()

    def remember(self, hub: str, met: Met) -> None:
        own = astuple(met.own) if met.own else None
        others = {name: (other.size, other.copies) for name, other in met.others.items()}
        table = {
            "hub": met.hub,
            "own": own,
            "generation": met.generation,
            "local": met.local,
            "others": others,
            "offset": met.clock_offset_ns,
            "appends": met.appends,
            "pruned": met.pruned,
        }
        self._replace(self._dir / f"_met.{hub}", msgpack.packb(table, unicode_errors="surrogateescape"))

    def led_to(self, address: str) -> Identity | None:
        """The hub that an address led to when this node last met one there. A cache: unreadable, it tells of none."""
        known = self._addresses().get(address)
        return Identity(*known) if known is not None else None

    def remember_address(self, address: str, hub: Identity) -> None:
        """From now on `address` is where this hub is."""
        known = self._addresses()
        if known.get(address) != (hub.name, hub.id):
            table = {**known, address: (hub.name, hub.id)}
            self._replace(self._dir / "_addresses", msgpack.packb(table, unicode_errors="surrogateescape"))

    def _addresses(self) -> dict[str, tuple[str, bytes]]:
        try:
            raw = msgpack.unpackb((self._dir / "_addresses").read_bytes(), unicode_errors="surrogateescape")
            return {str(address): (str(name), bytes(key)) for address, (name, key) in raw.items()}
        except (OSError, ValueError, TypeError, AttributeError, msgpack.UnpackException):
            return {}

    def cached(self, hub: str, name: str) -> StateFile | None:
        """Another node's state file as it was last read from the hub."""
        try:
            return decode((self._dir / f"_cache.{hub}.{name}").read_bytes(), name)
        except (OSError, StateDamaged):
            return None

    def met_at(self, hub: str) -> list[Identity]:
        """The other nodes whose states were read at a hub."""
        prefix = f"_cache.{hub}."
        names = [name.removeprefix(prefix) for name in os.listdir(self._dir) if name.startswith(prefix)]
        files = [self.cached(hub, name) for name in names]
        return [file.state.there for file in files if file is not None and file.state is not None]

    def cache(self, hub: str, name: str, data: bytes, *, append: bool) -> None:
        path = self._dir / f"_cache.{hub}.{name}"
        with _writing(path), path.open("ab" if append else "wb") as file:
            file.write(data)

    def _rewrite(self, hub: str, data: bytes) -> None:
        """Write the state with `hub` anew, in one file."""
        self._replace(self._dir / hub, data)
        for name in os.listdir(self._dir):
            if _is_part(name, hub):
                (self._dir / name).unlink(missing_ok=True)

    def _extend(self, path: Path, data: bytes) -> None:
        with _writing(path), path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f"_new.{path.name}")
        with _writing(path):
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def _decode_journal(data: bytes, what: str) -> Journal | None:
    """A journal from its bytes, None where they are none."""
    try:
        puts, gets, acted, gone = msgpack.unpackb(data, unicode_errors="surrogateescape")
        sent, received = decode(puts, what).state, decode(gets, what).state
        paths = frozenset(path for path in gone if isinstance(path, str) and is_safe(path))
    except (ValueError, TypeError, StateDamaged, msgpack.UnpackException):
        return None
    if sent is None or received is None:
        return None
    return Journal(sent.generation.id, sent.entries, received.entries, sent.conflicts, acted is True, paths)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise NodeError(f"{path}: can't be written: {reason}; what was done is found again by the next run") from error


def _chain(read: Callable[[str], T | None], node: str, size: Callable[[T], int]) -> Iterator[T]:
    """What `read` gives for the files in which a state lies: the first, and each further one is called by where it
    begins. An empty one is the last."""
    begins, more = 0, 1
    file = read(node)
    while file is not None and more:
        yield file
        more = size(file)
        begins += more
        file = read(f"{node}.{begins}")


def _is_part(name: str, node: str) -> bool:
    """Whether a file's name is that of a further part of the state called `node`."""
    whole, dot, begins = name.partition(".")
    return whole == node and bool(dot) and begins.isdecimal()


def _unless_missing(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except FileNotFoundError:
        return None


Look = Callable[[Sequence[str]], list[Found | Problem | None]]
"""As `Remote.stat`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A path on the hub that is to be looked at soon, along with others, and who wants to know what lies there."""

    path: str
    answer: Callable[[Found | Problem | None], None]
    """Raises HubError where it is not as it should be."""
    new: str | None = None
    """What is to be renamed to `path` first."""
    replace: Callable[[], None] = lambda: None
    """Does that in steps, where the hub has refused the rename. Raises HubError."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """What a hub's `.sync.state/` holds."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """The nodes' states, by node, with their sizes, all parts together."""
    files: Mapping[str, int] = field(default_factory=dict)
    """All files, by name, with their sizes."""
    has_identity: bool = False
    has_links: bool = False
    journals: frozenset[str] = frozenset()
    """The directories with which a run of the hub's own was begun, and perhaps ended before it was done."""


class _WrittenAnewError(Exception):
    """A part of a state is gone: it was written anew while it was read."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written of a node's state on the hub."""

    file: Recorded
    """Its shape then."""
    path: str
    """The file that was written."""
    check: Callable[[Found | Problem | None], None]
    """Raises HubError unless this shows that all is there."""
    looks: Outcomes
    """What had been looked at before."""


class HubStore:
    """`.sync.state/` of the hub."""

    def __init__(self, remote: Remote, *, appends: bool = True, folder: StateFolder | None = None) -> None:
        """`appends`: whether it is worth trying to append. `folder`: what it held a moment ago, if that is known."""
        self._remote = remote
        self._tries_append = appends
        self._files: Mapping[str, int] | None = folder.files if folder is not None else None
        """What the folder held when it was last listed."""
        self._useless: set[str] = set()
        """The parts of what has been written anew."""
        self.clock_offset_ns: int | None = None
        """The hub's clock minus this machine's, known once something was written."""

    @property
    def appends(self) -> bool:
        """Whether this hub can append, as far as known now."""
        return self._tries_append and self._remote.traits.appends

    def identity(self) -> Identity | None:
        """The hub's name and id, None before its first meeting. Raises StateDamaged."""
        data = self._remote.read(f"{STATE_DIR}/{IDENTITY_FILE}", limit=4096)
        return None if data is None else decode_identity(data, f"the hub's {STATE_DIR}/{IDENTITY_FILE}")

    def stage_identity(self, identity: Identity, folder: str) -> tuple[str, str]:
        """Make the state folder and write the hub's identity into `folder`; returns the rename that makes it count."""
        self.make_private(STATE_DIR)
        (found,) = self._remote.stat([STATE_DIR])
        if isinstance(found, Found) and found.kind is not Kind.DIRECTORY:
            raise HubError(f"the hub's {STATE_DIR} is no directory, and symsync needs one of that name: rename it")
        staged = f"{folder}/{IDENTITY_FILE}"
        self._remote.write(staged, encode_identity(identity))
        return staged, f"{STATE_DIR}/{IDENTITY_FILE}"

    def make_private(self, directory: str) -> None:
        """Make one of our own folders, closed to others where the server can, and to web servers."""
        (problem,) = self._remote.make_directories([directory], mode=0o700)
        if problem is None:
            with suppress(HubError):
                self._remote.write(f"{directory}/.htaccess", DENY_ALL)
        elif problem.reason is not Reason.EXISTS:
            way = "; who may only read there sets mode mirror" if problem.reason is Reason.DENIED else ""
            raise HubError(f"the hub does not let us make {directory}: {problem.detail}{way}")

    def folder(self) -> StateFolder:
        """What the state folder holds, found by listing it. Raises HubError where that can't be told."""
        (listing,) = self._remote.listings([STATE_DIR])
        if listing.problem is not None and listing.problem.reason is not Reason.ABSENT:
            (listing,) = self._remote.listings([STATE_DIR])  # another node may have made it in this very moment
        if listing.problem is not None:
            if listing.problem.reason is Reason.ABSENT:
                self._files = {}
                return StateFolder()
            raise HubError(f"the hub's {STATE_DIR} can't be listed: {listing.problem.detail or listing.problem.reason}")
        found = {basename(entry.path): entry.stamp.size for entry in listing.entries}
        names = {name.removesuffix(".new") for name in found if not name.startswith((".", "_"))}
        sizes = {
            name: sum(_chain(found.get, name, int)) if name in found else found.get(f"{name}.new", 0)
            for name in names
            if "." not in name
        }
        self._files = found
        has_links = LINKS_FILE in found or f"{LINKS_FILE}.new" in found
        journals = frozenset(name.removeprefix(_JOURNAL) for name in found if name.startswith(_JOURNAL))
        return StateFolder(sizes, found, IDENTITY_FILE in found, has_links, journals)

    def load(self, node: str) -> StateFile | None:
        """A node's state file, in the hub's view. Raises StateDamaged, StateTooNew, HubError."""
        return self._while_it_lasts(node, lambda: self._load(node))

    def _load(self, node: str) -> StateFile | None:
        path = f"{STATE_DIR}/{node}"
        for place in self._places(node):
            data = self._remote.read(place, 0, SIZE_LIMIT)
            if data is not None and place == path:
                parts = self._further(node, len(data))
                return replace(decode(b"".join([data, *parts]), f"the hub's {path}"), parts=len(parts))
            # Written anew, but not yet renamed when the run was ended: nothing can be appended to it under its name.
            # One that is not whole never counted.
            with suppress(StateDamaged):
                if data is not None:
                    return replace(decode(data, f"the hub's {place}"), torn=True)
        return None

    @staticmethod
    def _places(node: str) -> tuple[str, ...]:
        """Where a node's state file may lie, in the order in which to look: it may be renamed between two looks."""
        path = f"{STATE_DIR}/{node}"
        return path, f"{path}.new", path

    def journal(self, node: str) -> Journal | None:
        """What the hub's own run, with `node` as its hub, was about to do when it was ended, in the node's view."""
        path = f"{STATE_DIR}/{_JOURNAL}{node}"
        data = self._remote.read(path, 0, SIZE_LIMIT)
        journal = None if data is None else _decode_journal(data, f"the hub's {path}")
        return None if journal is None else journal.swapped()

    def _while_it_lasts(self, node: str, read: Callable[[], T]) -> T:
        """What `read` gives; once more where the state was just written anew, and lies in other files."""
        for _ in range(_TRIES):
            try:
                return read()
            except _WrittenAnewError:
                self.folder()
        raise HubRefused(f"the hub's {STATE_DIR}/{node} is written anew again and again; run again")

    def _further(self, node: str, size: int) -> list[bytes]:
        """The parts of a node's state that follow the first `size` bytes, as far as they were listed. Raises
        _WrittenAnewError where one is gone."""
        parts: list[bytes] = []
        while (name := f"{node}.{size}") in self._listed():
            part = self._remote.read(f"{STATE_DIR}/{name}", 0, SIZE_LIMIT)
            if part is None:
                raise _WrittenAnewError
            if not part:
                break
            parts.append(part)
            size += len(part)
        return parts

    def _listed(self) -> Mapping[str, int]:
        if self._files is None:
            self.folder()
        return self._files or {}

    def raw(self, node: str, offset: int = 0) -> bytes | None:
        """The bytes of a node's state from `offset`, none where it is not as long any more."""
        return self._while_it_lasts(node, lambda: self._raw(node, offset))

    def _raw(self, node: str, offset: int) -> bytes | None:
        begins = 0
        for size in _chain(self._listed().get, node, int):
            if begins + size == offset and f"{node}.{offset}" in self._listed():
                return b"".join(self._further(node, offset))
            begins += size
        found = (self._remote.read(place, offset, SIZE_LIMIT) for place in self._places(node))
        data = next((data for data in found if data is not None), None)
        return b"".join([data, *self._further(node, offset + len(data))]) if data else data

    def growing(self, node: str, file: Recorded | None) -> str | None:
        """The node's state file, which lies there as `file`, if `announce` is going to append to it."""
        grows = file is not None and not file.torn and not file.parts and self.appends
        return f"{STATE_DIR}/{node}" if grows else None

    def announce(
        self,
        node: str,
        intent: Intent,
        held: PairState | None,
        file: Recorded | None,
        folder: str,
        paths: Sequence[str] = (),
    ) -> tuple[Recorded, Question, Outcomes]:
        """Append `intent` to the node's state file, which is made where there is none, and look at `paths` before.

        `held` is the state in it, in the node's view. `folder`: where only the lock's holder can have anything, for
        what is written anew. What was written is still to be looked at before anything is done, and perhaps to be
        renamed before that.
        """
        if file is not None and not file.torn:
            change = encode_intent(intent, rewrites=file.rewrites, offset=file.size)
            written = self._append(node, file, change, paths)
            if written is not None:
                return written.file, Question(written.path, written.check), written.looks
        path = f"{STATE_DIR}/{node}"
        written = self._write_new(node, held, file, intent, folder, paths)
        if not self._remote.traits.replaces:
            self._replace(path, written.path)
            return written.file, Question(path, written.check), written.looks
        put = partial(self._replace, path, written.path)
        return written.file, Question(path, written.check, written.path, put), written.looks

    def record(
        self, node: str, held: PairState | None, state: PairState, file: Recorded | None, folder: str, look: Look
    ) -> Recorded:
        """Record `state`, in the node's view, swapped: appended where the hub can and it is worth it, else anew, by way
        of `folder`, as with `announce`.

        `held` is the state in the file, None where the new one does not follow from it. `look` is how the file is
        looked at then: it may bring along what else is to be done at the end.
        """
        written = None
        if file is not None and held is not None and not _worth(file):
            change = encode_change(held, state, rewrites=file.rewrites, offset=file.size, swapped=True)
            written = self._append(node, file, change)
        path = written.path if written is not None else f"{STATE_DIR}/{node}"
        if written is None:
            written = self._write_new(node, state, file, None, folder)
            self._replace(path, written.path)
        if self._useless:
            self._remote.remove_files(sorted(self._useless))
        first = f"{STATE_DIR}/{node}"
        found, whole = look([path, first])
        written.check(found)
        if written.file.parts and self._files and node in self._files:
            self._grew(first, self._files[node], whole)  # else the part belongs to nothing any more
        return written.file

    def _append(self, node: str, file: Recorded, data: bytes, paths: Sequence[str] = ()) -> "_Written | None":
        """Look at `paths`, and append, in a further part where this hub can't, which may show itself only now. None
        where a state lies in too many parts."""
        path = f"{STATE_DIR}/{node}"
        if self.appends and not file.parts:
            try:
                looks = self._remote.look_and_append(paths, path, data)
            except HubRefused:
                if self.appends:
                    raise
            else:
                file = replace(file, size=file.size + len(data))
                return _Written(file, path, partial(self._grew, path, file.size), looks)
        if file.parts >= _MOST_PARTS:
            return None
        name = f"{node}.{file.size}"
        path = f"{STATE_DIR}/{name}"
        self._useless.discard(path)
        self._files = {**(self._files or {}), name: len(data)}
        try:
            looks = self._remote.look_and_append(paths, path, data)  # which needs no look at its size at once
        except HubRefused:
            looks = self._write(paths, path, data)
        file = replace(file, size=file.size + len(data), parts=file.parts + 1)
        return _Written(file, path, partial(self._grew, path, len(data)), looks)

    def _write_new(
        self,
        node: str,
        state: PairState | None,
        file: Recorded | None,
        intent: Intent | None,
        folder: str,
        paths: Sequence[str] = (),
    ) -> "_Written":
        """Look at `paths`, and write a node's state file anew in `folder`: no reader sees half of it, and nobody who
        has lost the lock can put it over a later one."""
        rewrites = file.rewrites + 1 if file else _first_rewrite()
        data = encode_file(state.swapped() if state else None, rewrites=rewrites, intent=intent)
        new = f"{folder}/{_STAGED}"
        looks = self._write(paths, new, data)
        parts = (name for name in self._files or () if _is_part(name, node))
        self._useless.update(f"{STATE_DIR}/{name}" for name in parts)
        self._files = {**(self._files or {}), node: len(data)}
        check = partial(self._grew, f"{STATE_DIR}/{node}", len(data))
        return _Written(Recorded(len(data), rewrites, len(data)), new, check, looks)

    def _write(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        try:
            return self._remote.look_and_write(paths, path, data)
        except HubRefused:
            self._remote.remove_files([path])  # a try that was cut off left it, and not every hub writes over a file
            return self._remote.look_and_write(paths, path, data)

    def _grew(self, path: str, size: int, found: Found | Problem | None) -> None:
        """Verify the size of what was just written, and read the hub's clock off it."""
        if not isinstance(found, Found) or found.stamp.size != size:
            raise HubError(f"the hub's {path} did not grow as it should; the next run sorts this out")
        if found.stamp.mtime_ns is not None:
            self.clock_offset_ns = found.stamp.mtime_ns - time.time_ns()

    def _replace(self, path: str, new: str) -> None:
        """Let a new file take the place of that at `path`, in one rename where the hub can."""
        (problem,) = self._remote.rename([(new, path)])
        if problem is not None and problem.reason is Reason.EXISTS:
            # Meanwhile it is found as .new. Who has lost the lock can't take the old one away, nor replace a later one.
            spare, old = f"{path}.new", f"{new}.old"
            self._remote.remove_files([spare])
            (problem,) = self._remote.rename([(new, spare)])
            if problem is None:
                _, problem = self._remote.rename([(path, old), (spare, path)])
            if problem is None:
                self._remote.remove_files([old])
        if problem is not None:
            raise HubRefused(f"the hub's {path} can't be replaced: {problem.detail or problem.reason}")


def _first_rewrite() -> int:
    """Where the count of rewritings begins: at random, for an earlier file of this name may have been lost."""
    return int.from_bytes(os.urandom(4), "big")


def _worth(file: Recorded) -> bool:
    return worth_rewriting(StateFile(None, None, file.rewrites, file.size, file.torn, file.base_size, frozenset()))


def refreshed(store: NodeStore, hub: HubStore, hub_name: str, node: str, known: Other | None) -> StateFile | None:
    """Another node's state file, brought up to date: what was appended since it was last read, else the whole.

    None where it is gone. Raises StateDamaged and HubRefused where it can't be used or read.
    """
    old = store.cached(hub_name, node) if known else None
    if old is not None:
        tail = hub.raw(node, old.size)
        if tail:  # none: it was written anew, and shorter
            with suppress(StateDamaged):
                after = decode_tail(old, tail, node)
                if after is not None:
                    store.cache(hub_name, node, tail, append=True)
                    return after
    data = hub.raw(node)
    if data is None:
        return None
    file = decode(data, f"the hub's {STATE_DIR}/{node}")
    store.cache(hub_name, node, data, append=False)
    return file


def announced(file: StateFile) -> tuple[str, ...]:
    """The conflict copies on the side that keeps `file`, recorded or about to be made."""
    recorded: Iterable[str] = ()
    if file.state is not None:
        recorded = (c.copy_here.path for c in file.state.conflicts.values() if c.copy_here)
    return tuple(dict.fromkeys([*recorded, *(file.intent.copies if file.intent else ())]))
