"""`.sync.state/` of the node: plain files, on disk when a call returns."""

import hashlib
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgpack

from symsync.core.generations import Journal
from symsync.statestore import journals, memory
from symsync.statestore.memory import Met
from symsync.statestore.parts import TRIES, chain, first_rewrite, is_part
from symsync_protocol.errors import NodeError, StateDamaged, StateTooNew
from symsync_protocol.names import IDENTITY_FILE, RUN_LOCK_FILE, STATE_DIR
from symsync_protocol.state import Identity, Intent, PairState, Place
from symsync_protocol.statefile import (
    StateFile,
    decode,
    decode_identity,
    encode_change,
    encode_file,
    encode_identity,
    encode_intent,
    worth_rewriting,
)

T = TypeVar("T")


def place_of(root: Path) -> Place:
    """Where `root` is: this machine's id, hashed, and the directory's inode."""
    machine = socket.gethostname()
    for source in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError):
            machine = Path(source).read_text(encoding="ascii", errors="replace").strip() or machine
            break
    return Place(hashlib.sha256(b"symsync " + machine.encode()).digest()[:16], root.stat().st_ino)


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
        for _ in range(TRIES):
            shape = self.shape(hub)
            files = list(chain(lambda name: _unless_missing((self._dir / name).read_bytes), hub, len))
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
        files = list(chain(lambda name: _unless_missing((self._dir / name).stat), hub, lambda file: file.st_size))
        return (files[0].st_ino, sum(file.st_size for file in files)) if files else None

    def announce(self, hub: str, before: StateFile | None, intent: Intent) -> StateFile:
        """Append `intent` to the state with `hub`; the file as it is then."""
        path = self._dir / hub
        if before is None or before.torn or before.parts:
            rewrites = before.rewrites + 1 if before else first_rewrite()
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
            rewrites = before.rewrites + 1 if before else first_rewrite()
            announced = before.intent if before else None  # by a run of the other side's, which was ended since
            later = announced is not None and announced.generation.number > state.generation.number
            self._rewrite(hub, encode_file(state, rewrites=rewrites, intent=announced if later else None))
        else:
            self._extend(path, encode_change(before.state, state, rewrites=before.rewrites, offset=before.size))
        return True

    def journal(self, hub: str) -> Journal | None:
        """What a run was about to do when it was ended. One that can't be read does not count."""
        path = self._dir / f"{journals.PREFIX}{hub}"
        try:
            return journals.decode(path.read_bytes(), str(path))
        except OSError:
            return None

    def begin(self, hub: str, state: PairState, journal: Journal) -> None:
        """Note what this run is about to do before it does, and again what it came to before that is recorded; `state`
        tells whose run and which generation."""
        self._replace(self._dir / f"{journals.PREFIX}{hub}", journals.encode(journal, state))

    def end(self, hub: str) -> None:
        """The run has recorded what it did."""
        (self._dir / f"{journals.PREFIX}{hub}").unlink(missing_ok=True)

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
        """What is remembered of the hub's state folder."""
        with suppress(OSError):
            return Met.decode((self._dir / f"{memory.PREFIX}{hub}").read_bytes())
        return Met()

    def remember(self, hub: str, met: Met) -> None:
        self._replace(self._dir / f"{memory.PREFIX}{hub}", met.encode())

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
            if is_part(name, hub):
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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise NodeError(f"{path}: can't be written: {reason}; what was done is found again by the next run") from error


def _unless_missing(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except FileNotFoundError:
        return None
