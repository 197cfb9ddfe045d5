"""The two kinds of directories in a simulated world, as the people who work in them see and change them.

Everything a person does is done past symsync: on the node by the file system, on the hub by the server's own means.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from symsync.core.values import Found, Listing, Problem
from symsync.local_files import kind_of
from symsync.remotes.base import Progress, Remote, Store, Stored, Traits, no_progress
from symsync.remotes.directory import DirectoryRemote
from symsync.remotes.links import LinkTable, with_noted
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync_protocol.names import LINKS_FILE, STATE_DIR, is_reserved
from symsync_protocol.stamps import Kind

HUB = "hub"
"""The hub's name, as place and as peer."""
HUBS = (HUB, "hub2")


@dataclass(frozen=True, slots=True)
class Item:
    """One entry as it lies in a place."""

    kind: Kind
    content: bytes = b""
    """A link's is its target."""
    mtime_ns: int | None = None
    mode: int | None = None


PRIVATE = ".sync-private"
"""A file in every place, each with content of its own, that no run may touch: its name is reserved."""

Tree = Mapping[str, Item]
"""Every entry of a place by its path, what symsync keeps for itself included, directories before what they hold."""


class Place(ABC):
    """A directory that people work in. The methods do as told; whether it makes sense is the caller's business."""

    def __init__(self, name: str, right_now: Callable[[], int]) -> None:
        self.name = name
        self._right_now = right_now
        self.clock_off_ns = 0
        """How far this place's clock is off."""

    def now(self) -> int:
        """The time, as the clock here has it."""
        return self._right_now() + self.clock_off_ns

    @abstractmethod
    def tree(self) -> dict[str, Item]:
        """All there is."""

    def shown(self) -> dict[str, Item]:
        """What the people here see of it."""
        return self.tree()

    @abstractmethod
    def item(self, path: str) -> Item | None:
        """What they see at one path."""

    @property
    def makes_links(self) -> bool:
        """Whether people here can make symbolic links."""
        return True

    @abstractmethod
    def link(self, path: str, target: str) -> None:
        """Make a symbolic link where nothing lies."""

    @abstractmethod
    def write(self, path: str, content: bytes, *, anew: bool, mtime_ns: int | None = None) -> None:
        """Write a file: into the one that is there, or (`anew`) one that takes its place. Its time is now's, or
        `mtime_ns`, where the place lets people set it."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""

    @abstractmethod
    def rename(self, old: str, new: str) -> None:
        """Rename, over a file that lies at `new`."""

    @abstractmethod
    def make_directory(self, path: str) -> None:
        """Make a directory, whose parent is there."""

    @abstractmethod
    def touch(self, path: str) -> None:
        """Give a file the time of now."""

    @abstractmethod
    def chmod(self, path: str, mode: int) -> None:
        """Give an entry these permission bits."""

    @abstractmethod
    def backup(self) -> Callable[[bool], None]:
        """Keep all there is now; the function returned brings it back, on another disk (True) or the same one."""


def visible(tree: Tree) -> dict[str, Item]:
    """What of a tree is synchronised."""
    return {path: item for path, item in tree.items() if not is_reserved(path)}


class Served(Place):
    """A place that others can reach as their hub."""

    @abstractmethod
    def remote(self) -> Remote:
        """A connection to it."""


class NodePlace(Served):
    """A node's directory, on this computer's own file system. Others may use it as a hub."""

    def __init__(self, name: str, root: Path, now: Callable[[], int]) -> None:
        super().__init__(name, now)
        self.root = root
        self._backups = 0
        root.mkdir()

    def tree(self) -> dict[str, Item]:
        with with_noted(self.remote(), self.root) as remote:
            noted = {found.path: Item(Kind.LINK, os.fsencode(found.target or "")) for found in remote.noted()}
        return {**noted, **self.shown()}

    def shown(self) -> dict[str, Item]:
        return dict(_walk(self.root))

    def item(self, path: str) -> Item | None:
        try:
            return _item(os.path.join(self.root, path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remote(self) -> Remote:
        return DirectoryRemote(self.root, workers=1)

    def link(self, path: str, target: str) -> None:
        (self.root / path).symlink_to(target)

    def write(self, path: str, content: bytes, *, anew: bool, mtime_ns: int | None = None) -> None:
        target = self.root / path
        written = target.with_name(target.name + ".editor") if anew else target
        written.write_bytes(content)
        # A virtual time, unlike all before: the kernel's own ticks are `Folder.scan`'s affair and take real time.
        time_ns = self.now() if mtime_ns is None else mtime_ns
        os.utime(written, ns=(time_ns, time_ns))
        written.replace(target)

    def remove(self, path: str) -> None:
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            target.rmdir()
        else:
            target.unlink()

    def rename(self, old: str, new: str) -> None:
        (self.root / old).rename(self.root / new)

    def make_directory(self, path: str) -> None:
        (self.root / path).mkdir()

    def touch(self, path: str) -> None:
        os.utime(self.root / path, ns=(self.now(), self.now()))

    def chmod(self, path: str, mode: int) -> None:
        (self.root / path).chmod(mode)

    def backup(self) -> Callable[[bool], None]:
        self._backups += 1
        kept = self.root.with_name(f"{self.name}.backup{self._backups}")
        shutil.copytree(self.root, kept, symlinks=True)

        def bring_back(another_disk: bool) -> None:
            if another_disk:
                self.lose()
            else:
                self.empty()
            shutil.copytree(kept, self.root, symlinks=True, dirs_exist_ok=True)

        return bring_back

    def empty(self) -> None:
        """Remove all there is."""
        for entry in os.scandir(self.root):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()

    def lose(self) -> None:
        """The disk is gone, and an empty directory of the same name is on the new one."""
        fresh = self.root.with_name(f"{self.name}.fresh")
        fresh.mkdir()  # before the old one goes, so that the two can't have one inode
        shutil.rmtree(self.root)
        fresh.rename(self.root)


def _walk(root: Path, directory: str = "") -> Iterator[tuple[str, Item]]:
    for entry in sorted(os.scandir(root / directory), key=lambda entry: entry.name):
        path = f"{directory}/{entry.name}" if directory else entry.name
        item = _item(entry.path)
        yield path, item
        if item.kind is Kind.DIRECTORY:
            yield from _walk(root, path)


def _item(path: str) -> Item:
    status = os.lstat(path)
    kind = kind_of(status.st_mode)
    content = b""
    if kind is Kind.FILE:
        with open(path, "rb", buffering=0) as file:
            content = file.read()
    elif kind is Kind.LINK:
        content = os.fsencode(Path(path).readlink())
    return Item(kind, content, status.st_mtime_ns, status.st_mode & 0o777)


class DiskHubPlace(NodePlace):
    """A directory of this computer that is a hub, or may be one."""

    def write(self, path: str, content: bytes, *, anew: bool, mtime_ns: int | None = None) -> None:
        del mtime_ns  # see HubPlace
        super().write(path, content, anew=anew)


class ZonedRemote(MemoryRemote):
    """A server that shows times by its own zone, and takes them over as they are meant."""

    def __init__(self, place: "HubPlace") -> None:
        super().__init__(place.hub)
        self._place = place

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for listing in super().listings(directories):
            yield replace(listing, entries=tuple(map(self._zoned, listing.entries)))

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        return [self._zoned(found) if isinstance(found, Found) else found for found in super().stat(paths)]

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        for outcome in super().store(jobs, progress):
            yield replace(outcome, found=self._zoned(outcome.found)) if isinstance(outcome, Stored) else outcome

    def _zoned(self, found: Found) -> Found:
        if not self._place.zone_ns or found.stamp.mtime_ns is None:
            return found
        return replace(found, stamp=replace(found.stamp, mtime_ns=found.stamp.mtime_ns + self._place.zone_ns))


class HubPlace(Served):
    """The hub, as its administrator and other programs on the server work in it."""

    def __init__(self, name: str, now: Callable[[], int], traits: Traits) -> None:
        super().__init__(name, now)
        self.hub = MemoryHub(self.now, traits)
        self.zone_ns = 0
        """By how much it shows its times later than they are."""

    def connection(self) -> Remote:
        """One as nodes have it."""
        return ZonedRemote(self)

    def remote(self) -> Remote:
        table = f"{STATE_DIR}/{LINKS_FILE}"
        return LinkTable(self.connection(), exists=table in self.hub or f"{table}.new" in self.hub)

    def tree(self) -> dict[str, Item]:
        return self._all(self.remote())

    def shown(self) -> dict[str, Item]:
        return self._all(self.connection())

    def _all(self, remote: Remote) -> dict[str, Item]:
        """Everything, also what listings over the wire leave out."""
        traits = self.hub.traits
        self.hub.traits = replace(traits, hides_dots=False)
        try:
            return dict(self._walk(remote, ""))
        finally:
            self.hub.traits = traits

    def item(self, path: str) -> Item | None:
        (found,) = self.connection().stat([path])
        return self._as_item(found) if isinstance(found, Found) else None

    @property
    def makes_links(self) -> bool:
        return self.hub.traits.links

    def link(self, path: str, target: str) -> None:
        self.hub.make_link(path, target)

    def _walk(self, remote: Remote, directory: str) -> Iterator[tuple[str, Item]]:
        (listing,) = remote.listings([directory])
        for found in sorted(listing.entries, key=lambda found: found.path):
            yield found.path, self._as_item(found)
            if found.kind is Kind.DIRECTORY:
                yield from self._walk(remote, found.path)

    def _as_item(self, found: Found) -> Item:
        content = self.hub.content(found.path) if found.kind is Kind.FILE else (found.target or "").encode()
        return Item(found.kind, content, found.stamp.mtime_ns, found.mode)

    def write(self, path: str, content: bytes, *, anew: bool, mtime_ns: int | None = None) -> None:
        del mtime_ns  # on the hub there is nothing but stamps to tell versions apart, so here nobody plays with them
        if anew and path in self.hub:
            self.hub.remove_file(path)
        self.hub.overwrite(path, content)

    def remove(self, path: str) -> None:
        if self.hub.found(path).kind is Kind.DIRECTORY:
            self.hub.remove_directory(path)
        else:
            self.hub.remove_file(path)

    def rename(self, old: str, new: str) -> None:
        if new in self.hub:
            self.hub.remove_file(new)
        self.hub.rename(old, new)

    def make_directory(self, path: str) -> None:
        self.hub.make_directory(path, None)

    def touch(self, path: str) -> None:
        self.hub.set_attributes(path, self.now(), None)

    def chmod(self, path: str, mode: int) -> None:
        self.hub.set_attributes(path, None, mode)

    def backup(self) -> Callable[[bool], None]:
        kept = self.shown()

        def bring_back(another_disk: bool) -> None:
            del another_disk  # a server's disks don't show
            for path in reversed(self.shown()):
                self.remove(path)
            for path, item in kept.items():
                if item.kind is Kind.DIRECTORY:
                    self.hub.make_directory(path, item.mode)
                elif item.kind is Kind.LINK:
                    self.hub.make_link(path, item.content.decode())
                else:
                    self.hub.make_file(path, item.content, item.mtime_ns, item.mode)

        return bring_back
