"""What the scenarios are made of: a hub, any number of nodes, and people who work in each of these places.

Place    a directory and what a person does in it, past symsync
Hub      where all nodes meet: how it is reached, and the place behind it
Fleet    one hub and its nodes, each with its own configuration; synchronised in this process or by the real command
"""

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_IMODE
from typing import IO, Any

from symsync import session
from symsync.config import load
from symsync.core.values import Found, Problem
from symsync.events import Audience, Result
from symsync.remotes.base import Attributes, Remote
from symsync.remotes.location import Location, Protocol
from symsync_protocol.names import ancestors, basename, is_reserved, parent
from symsync_protocol.stamps import Kind

Item = bytes | str | None
"""What lies at a path: a file's content, a link's target, or a directory."""

DIRECTORY: Item = None

_REMEMBERED = (".sync.state/_cache.", ".sync.state/_met.")

Tree = dict[str, Item]
"""All files, links and empty directories of a place; directories that hold something are known by what they hold."""

HUB = "hub"
"""How all hubs are called here, so that copies have the same names everywhere."""


class Place(ABC):
    """A directory, and what a person does in it. Whatever goes wrong is an error of the test."""

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Make or overwrite a file; directories are made where they are missing."""

    @abstractmethod
    def make_directory(self, path: str) -> None:
        """Make a directory, and those above it where they are missing."""

    @abstractmethod
    def rename(self, old: str, new: str) -> None:
        """As `mv` does: what lies at `new` is replaced."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that is in it."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """A file's content."""

    @abstractmethod
    def set_time(self, path: str, mtime_ns: int) -> None:
        """Give a file this time, in ns since 1970."""

    @abstractmethod
    def mode(self, path: str) -> int:
        """Permission bits."""

    @abstractmethod
    def everything(self) -> Tree:
        """What lies here, symsync's own folders included."""

    def tree(self) -> Tree:
        """What lies here for people."""
        entries = {path: item for path, item in self.everything().items() if not is_reserved(path)}
        filled = {up for path in entries for up in ancestors(path)}
        return {path: item for path, item in entries.items() if path not in filled}

    def fill(self, tree: Mapping[str, Item]) -> None:
        """Make these files and directories."""
        for path, item in tree.items():
            if isinstance(item, bytes):
                self.write(path, item)
            else:
                self.make_directory(path)

    def kept(self, path: str) -> list[bytes]:
        """The versions of `path` in this side's trash, sorted."""
        runs = (entry for entry in self.everything().items() if entry[0].startswith(".sync.trash/"))
        return sorted(item for name, item in runs if isinstance(item, bytes) and name.split("/", 2)[2:] == [path])


class LocalPlace(Place):
    """A directory on this computer."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def make_directory(self, path: str) -> None:
        (self.root / path).mkdir(parents=True, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).replace(self.root / new)

    def remove(self, path: str) -> None:
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def mode(self, path: str) -> int:
        return S_IMODE((self.root / path).stat().st_mode)

    def set_time(self, path: str, mtime_ns: int) -> None:
        os.utime(self.root / path, ns=(mtime_ns, mtime_ns))

    def everything(self) -> Tree:
        return {str(path.relative_to(self.root)): _item(path) for path in sorted(self.root.rglob("*"))}


def _item(path: Path) -> Item:
    if path.is_symlink():
        return str(path.readlink())
    return DIRECTORY if path.is_dir() else path.read_bytes()


class RemotePlace(Place):
    """A directory on a server, seen over its protocol."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def write(self, path: str, content: bytes) -> None:
        self._make_all(ancestors(path))
        self._remote.write(path, content)

    def make_directory(self, path: str) -> None:
        self._make_all([*ancestors(path), path])

    def rename(self, old: str, new: str) -> None:
        self._make_all(ancestors(new))
        if isinstance(self._look(new), Found):
            self.remove(new)
        assert [None] == self._remote.rename([(old, new)])

    def remove(self, path: str) -> None:
        found = self._look(path)
        assert found is not None
        if found.kind is Kind.DIRECTORY:
            below = {path: DIRECTORY, **self._below(path)}
            directories = [name for name, item in below.items() if item is DIRECTORY]
            files = [name for name, item in below.items() if item is not DIRECTORY]
            problems = self._remote.remove_files(files) + self._remote.remove_directories(sorted(directories)[::-1])
        else:
            problems = self._remote.remove_files([path])
        assert not any(problems)

    def read(self, path: str) -> bytes:
        content = self._remote.read(path)
        assert content is not None
        return content

    def set_time(self, path: str, mtime_ns: int) -> None:
        assert [None] == self._remote.set_attributes([Attributes(path, mtime_ns)])

    def mode(self, path: str) -> int:
        (listing,) = self._remote.listings([parent(path)])
        (mode,) = (found.mode for found in listing.entries if found.path == path)
        assert mode is not None
        return mode

    def everything(self) -> Tree:
        return self._below("")

    def _below(self, top: str) -> Tree:
        found: Tree = {}
        files: list[str] = []
        level = [top]
        while level:
            listings = list(self._remote.listings(level))
            assert not [listing.problem for listing in listings if listing.problem]
            entries = [entry for listing in listings for entry in listing.entries]
            found |= {entry.path: DIRECTORY if entry.kind is Kind.DIRECTORY else entry.target for entry in entries}
            files += [entry.path for entry in entries if entry.kind is Kind.FILE]
            level = [entry.path for entry in entries if entry.kind is Kind.DIRECTORY]
        return dict(sorted({**found, **{path: self.read(path) for path in files}}.items()))

    def _look(self, path: str) -> Found | None:
        self._remote.refresh()
        (found,) = self._remote.stat([path])
        assert not isinstance(found, Problem)
        return found

    def _make_all(self, directories: list[str]) -> None:
        self._remote.refresh()
        for directory, found in zip(directories, self._remote.stat(directories), strict=True):
            if found is None:
                assert [None] == self._remote.make_directories([directory])


@dataclass(frozen=True)
class Hub:
    """One kind of hub, empty at first."""

    kind: str
    location: Location
    place: Place
    forbid_writing: Callable[[], AbstractContextManager[Location]]
    """While it lasts nobody may change anything there who comes in this way."""
    holds_links: bool = False
    """Whether a symbolic link can lie there as one."""

    def lines(self) -> dict[str, str]:
        """How a configuration tells the way to it."""
        return lines_of(self.location)


def lines_of(location: Location) -> dict[str, str]:
    """The keys of a configuration that lead to `location`."""
    if location.protocol is Protocol.FILE:
        return {"protocol": "file", "dir": location.directory}
    lines = {
        "protocol": location.protocol.value,
        "server": location.host,
        "port": str(location.port),
        "login": location.login,
        "password": location.password or "",
        "dir": location.directory,
        "tls": location.tls.value if location.protocol is not Protocol.SFTP else "",
        "tlsfingerprint": location.tls_fingerprint or "",
        "hostkey": location.host_key or "",
        "connections": str(location.connections),
    }
    return {key: value for key, value in lines.items() if value}


def configure(directory: Path, lines: Mapping[str, str], server: str | None = None) -> None:
    """Write a configuration as a person does, for nobody else's eyes."""
    file = directory / (".sync.conf" if server is None else f".sync-{server}.conf")
    file.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    file.chmod(0o600)


@dataclass
class Notes(Audience):
    """Hears what a run tells its user."""

    texts: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of content that went over the wire, for whatever purpose."""

    def transferred(self, size: int) -> None:
        self.size += size

    def note(self, text: str) -> None:
        self.texts.append(text)


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    status: int
    out: str
    err: str


_RUN = """
import sys
from symsync.cli import main, ftpsync_main
sys.exit({"symsync": main, "ftpsync": ftpsync_main}[sys.argv.pop(1)]())
"""

_WITHOUT_POWERS = """
import ctypes, os, sys
if os.geteuid() == 0:
    for power in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7)
        if ctypes.CDLL(None, use_errno=True).prctl(24, power, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Permission bits do not bind the superuser; without these capabilities they do."""


def command(*arguments: str, password: str | None = None, bound: bool = False, home: Path | None = None) -> Done:
    """Run `symsync` or `ftpsync` (the first argument) in a process of its own, for a user without keyring and netrc.

    `bound`: permission bits bind it even where the tests run as the superuser. `home`: the user's; there is none
    unless it is given.
    """
    before = [sys.executable, "-c", _WITHOUT_POWERS] if bound else [sys.executable]
    done = subprocess.run(
        [*before, "-c", _RUN, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=_environment(password, home),
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def begin(*arguments: str, told: IO[str] | int = subprocess.PIPE, **variables: str) -> subprocess.Popen[str]:
    """The same, still at work: to be waited for, or ended, by its caller. `told`: where what it says goes; `variables`
    are further ones of its environment."""
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, *arguments],
        stdout=told,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
        env=_environment() | variables,
    )


def _environment(password: str | None = None, home: Path | None = None) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name not in ("SYMSYNC_PASSWORD", "SSH_AUTH_SOCK")},
        **({"SYMSYNC_PASSWORD": password} if password is not None else {}),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "HOME": str(home) if home is not None else "/nonexistent",
    }


class Fleet:
    """One hub and its nodes."""

    def __init__(self, hub: Hub, base: Path) -> None:
        """`base` is where the nodes' directories are made."""
        self.hub = hub
        self.base = base
        self.nodes: dict[str, LocalPlace] = {}
        self.told = Notes()
        """What the last run told."""

    def join(self, *names: str, **lines: str) -> None:
        """Make nodes with empty directories; `lines` are further keys of their configurations."""
        for name in names:
            root = self.base / name
            root.mkdir()
            self.nodes[name] = LocalPlace(root)
            self.configure(name, **lines)

    def configure(self, name: str, **lines: str) -> None:
        """Write a node's configuration; the last word on a key counts."""
        usual = {"nodename": name, "peer": HUB, **self.hub.lines(), "includedots": "yes", "allowblanks": "yes"}
        configure(self[name].root, usual | lines)

    def __getitem__(self, name: str) -> LocalPlace:
        return self.nodes[name]

    def sync(self, name: str, server: str | None = None, **changes: Any) -> Result:
        """One run of a node, as its configuration says; `changes` are to its Settings, as options would make them."""
        settings = replace(load(self[name].root, server), **changes)
        self.told = Notes()
        return session.run(settings, self.told)

    def sync_all(self, *names: str) -> dict[str, Result]:
        """One run of each of these nodes in this order, of all of them where none is named."""
        return {name: self.sync(name) for name in names or self.nodes}

    def trees(self) -> dict[str, Tree]:
        """What people see in each place."""
        return {HUB: self.hub.place.tree(), **{name: place.tree() for name, place in self.nodes.items()}}

    def everything(self) -> dict[str, Tree]:
        """All that lies in each place, but for what a node remembers of the other nodes' states, which is no state."""
        places = {HUB: self.hub.place, **self.nodes}
        return {
            name: {path: item for path, item in place.everything().items() if not path.startswith(_REMEMBERED)}
            for name, place in places.items()
        }

    def all_hold(self, tree: Tree) -> dict[str, Tree]:
        """What `trees` must be where all sides are in step."""
        return dict.fromkeys((HUB, *self.nodes), tree)


def versions(tree: Tree, path: str) -> list[bytes]:
    """The contents in `tree` of `path` and of all that is named after it, sorted."""
    names = (name for name in tree if basename(name) == path or basename(name).startswith(f"{path}."))
    return sorted(item for name in names if isinstance(item := tree[name], bytes))


def differing(expected: Tree, actual: Tree) -> list[str]:
    """What the two do not have in common, in lines short enough to be read."""
    absent = "nothing"
    return [
        f"{path}: {_shown(expected.get(path, absent))}, but {_shown(actual.get(path, absent))}"
        for path in sorted({*expected, *actual})
        if expected.get(path, absent) != actual.get(path, absent)
    ]


def _shown(item: Item) -> str:
    return f"{len(item)} bytes {item[:20]!r}" if isinstance(item, bytes) else item or "a directory"
