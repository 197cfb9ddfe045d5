"""`.sync.state/` of the hub, reached through a Remote."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from symsync.core.generations import Journal
from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import Outcomes, Remote
from symsync.statestore import journals, memory
from symsync.statestore.memory import Met, Recorded, StateFolder
from symsync.statestore.parts import MOST_PARTS, TRIES, chain, first_rewrite, is_part
from symsync_protocol.errors import HubError, HubRefused, StateDamaged
from symsync_protocol.names import IDENTITY_FILE, LINKS_FILE, STATE_DIR, basename
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Identity, Intent, PairState
from symsync_protocol.statefile import (
    SIZE_LIMIT,
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

_STAGED = "state"
"""What a state file that is written anew is called, with a number, before it takes its place."""

DENY_ALL = b"Require all denied\n"
"""For hubs that are web space: an Apache that honours it keeps our folders to itself."""

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
        self._numbers = itertools.count(1)
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
        staged, _ = self._remote.stage(f"{folder}/{IDENTITY_FILE}", encode_identity(identity))
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
            name: sum(chain(found.get, name, int)) if name in found else found.get(f"{name}.new", 0)
            for name in names
            if "." not in name
        }
        self._files = found
        has_links = LINKS_FILE in found or f"{LINKS_FILE}.new" in found
        begun = (name for name in found if name.startswith(journals.PREFIX))
        with_journals = frozenset(name.removeprefix(journals.PREFIX) for name in begun)
        return StateFolder(sizes, found, IDENTITY_FILE in found, has_links, with_journals)

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
        path = f"{STATE_DIR}/{journals.PREFIX}{node}"
        data = self._remote.read(path, 0, SIZE_LIMIT)
        journal = None if data is None else journals.decode(data, f"the hub's {path}")
        return None if journal is None else journal.swapped()

    def met(self, node: str) -> Met:
        """What the hub, running itself, remembers of `node` as its hub."""
        data = self._remote.read(f"{STATE_DIR}/{memory.PREFIX}{node}", 0, SIZE_LIMIT)
        return Met() if data is None else Met.decode(data)

    def _while_it_lasts(self, node: str, read: Callable[[], T]) -> T:
        """What `read` gives; once more where the state was just written anew, and lies in other files."""
        for _ in range(TRIES):
            try:
                return read()
            except _WrittenAnewError:
                self.folder()
        raise HubRefused(f"the hub's {STATE_DIR}/{node} is written anew again and again; run again")

    def _further(self, node: str, size: int) -> list[bytes]:
        """The parts of a node's state after the first `size` bytes. Raises _WrittenAnewError where one is gone."""
        parts: list[bytes] = []
        # One more than is listed: a listing that leaves one out makes a backup of a hub.
        while (name := f"{node}.{size}") in self._listed() or self._keeps_parts():
            part = self._remote.read(f"{STATE_DIR}/{name}", 0, SIZE_LIMIT)
            if part is None and name in self._listed():
                raise _WrittenAnewError
            if not part:
                break
            parts.append(part)
            size += len(part)
        return parts

    def _keeps_parts(self) -> bool:
        return not self.appends or any(is_part(name, name.partition(".")[0]) for name in self._listed())

    def _listed(self) -> Mapping[str, int]:
        if self._files is None:
            self.folder()
        return self._files or {}

    def raw(self, node: str, offset: int = 0) -> bytes | None:
        """The bytes of a node's state from `offset`, none where it is not as long any more."""
        return self._while_it_lasts(node, lambda: self._raw(node, offset))

    def _raw(self, node: str, offset: int) -> bytes | None:
        begins = 0
        for size in chain(self._listed().get, node, int):
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
        if file.parts >= MOST_PARTS:
            return None
        name = f"{node}.{file.size}"
        path = f"{STATE_DIR}/{name}"
        self._useless.discard(path)
        self._files = {**(self._files or {}), name: len(data)}
        try:
            looks = self._remote.look_and_append(paths, path, data)  # which needs no look at its size at once
        except HubRefused:
            looks = self._clearing(path, lambda: self._remote.look_and_write(paths, path, data))
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
        rewrites = file.rewrites + 1 if file else first_rewrite()
        data = encode_file(state.swapped() if state else None, rewrites=rewrites, intent=intent)
        # Each time under another name: a connection that broke may have left a command that empties the last one.
        new = f"{folder}/{_STAGED}{next(self._numbers)}"
        new, looks = self._clearing(new, lambda: self._remote.stage(new, data, paths))
        parts = (name for name in self._files or () if is_part(name, node))
        self._useless.update(f"{STATE_DIR}/{name}" for name in parts)
        self._files = {**(self._files or {}), node: len(data)}
        check = partial(self._grew, f"{STATE_DIR}/{node}", len(data))
        return _Written(Recorded(len(data), rewrites, len(data)), new, check, looks)

    def _clearing(self, path: str, write: Callable[[], T]) -> T:
        try:
            return write()
        except HubRefused:
            self._remote.remove_files([path])  # a try that was cut off left it, and not every hub writes over a file
            return write()

    def _grew(self, path: str, size: int, found: Found | Problem | None) -> None:
        """Verify the size of what was just written, and read the hub's clock off it."""
        if not isinstance(found, Found) or found.stamp.size != size:
            raise HubError(f"the hub's {path} did not grow as it should; the next run sorts this out")
        if found.stamp.mtime_ns is not None:
            self.clock_offset_ns = found.stamp.mtime_ns - time.time_ns()

    def _replace(self, path: str, new: str) -> None:
        """Let a new file take the place of that at `path`. Who has lost the lock can't take the old one away, nor
        replace a later one."""
        problem = self._remote.replace(new, path)
        if problem is not None:
            raise HubRefused(f"the hub's {path} can't be replaced: {problem.detail or problem.reason}")


def _worth(file: Recorded) -> bool:
    return worth_rewriting(StateFile(None, None, file.rewrites, file.size, file.torn, file.base_size, frozenset()))
