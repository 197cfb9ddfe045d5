"""What every kind of hub can do: one small interface that speaks of many things at once.

An interface of one file at a time can't be fast over a wire: each call here takes many paths or jobs, and a remote
sends them as its protocol allows: in one write, over several connections, in a window of requests.

Terms: a *path* is relative to the hub's root, `/`-separated, undecodable bytes as surrogates ("surrogateescape");
"" is the root. Every method may raise `HubError` where the whole connection is gone for good; what goes wrong with one
path is returned as a `Problem` in that path's place. Results come in the order of the arguments unless said otherwise.
No method follows a symbolic link out of the root, and none retries what may already have taken effect.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from symsync.core.values import Found, Listing, Problem, Reason
from symsync_protocol.errors import HubUnreachable

Progress = Callable[[int], None]
"""Called with the number of bytes that went over the wire since the last call, from any thread."""

_TRIES = 3
"""How often a rename is tried whose reply was lost."""


def no_progress(_count: int) -> None:
    """For who does not watch."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What this hub can do, found by trying where that costs nothing, refined as the run meets refusals."""

    tick_ns: int = 1
    """Resolution of the times that listings and stats tell."""
    sets_times: bool = True
    sets_modes: bool = True
    links: bool = True
    """Whether symbolic links can be made and read."""
    appends: bool = True
    replaces: bool = True
    """Whether `rename` onto an existing file replaces it."""
    hides_dots: bool = False
    """Whether listings leave out names that begin with a dot; `stat` still finds them."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring `path` into the local file `target`, which is made anew (its directory exists).

    With `offset`, `target` already holds the first `offset` bytes and the rest is appended.
    """

    path: str
    target: Path
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that arrived whole: its size and SHA-256, of all bytes now in `job.target`, counted here."""

    job: Fetch
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """Put the local file `source` at `path`, which does not exist yet (its directory does).

    `mtime_ns` and `mode` are set where the hub can; that it can't is no problem.

    With `resume`, a file may lie at `path`: what an earlier store of this very content left that was cut off. The
    remote goes on from where it is certain of every byte before, and anew where it can't be.

    `again`: a connection broke over it before, and the server may have yet to read what that one asked for. The remote
    sets it where it tries once more by itself.
    """

    source: Path
    path: str
    mtime_ns: int | None = None
    mode: int | None = None
    resume: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that lies on the hub whole: the hub's own stamp of it, read back, and the SHA-256 of what was sent.

    The size that the hub told has been compared with what was sent; where they differ the outcome is a Problem (CUT).
    With `job.again` that may be true no more: the server may begin with it anew as long as it lies at this path.
    """

    job: Store
    found: Found
    digest: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """Times and permission bits to set; None leaves alone."""

    path: str
    mtime_ns: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class MakeDirectories:
    """`Remote.make_directories`, to be done together with others."""

    paths: Sequence[str]
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class RemoveDirectories:
    """`Remote.remove_directories`, likewise."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rename:
    """`Remote.rename`, likewise."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Stat:
    """`Remote.stat`, likewise."""

    paths: Sequence[str]
    present: bool = False
    """Whether something most likely lies at each: that nothing does may take another round trip to tell."""


Request = MakeDirectories | RemoveDirectories | Rename | Stat

Outcomes = list[Found | Problem | None]
"""What a request came to, as its method returns it: something found is only in a `Stat`'s."""


class Remote(ABC):
    """One hub, connected. Use as a context manager; `close` is safe to call twice."""

    @property
    @abstractmethod
    def traits(self) -> Traits:
        """What this hub can do, as far as known now."""

    @abstractmethod
    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        """One Listing for each directory, in any order, as they come in. Links are not followed.

        A cut or failed listing carries its problem; a missing directory carries reason ABSENT.
        """

    @abstractmethod
    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        """Each path's entry, None where there is certainly nothing, a Problem where that can't be told."""

    def unstorable(self, paths: Sequence[str]) -> list[Problem | None]:
        """Why files or directories can't be made under these names, as far as that shows before anything is sent; a
        name that is refused later is a Problem then."""
        return [None for _ in paths]

    @abstractmethod
    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        """Bring files, several at a time; outcomes in any order, one for each job. Jobs are drawn as needed."""

    @abstractmethod
    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        """Put files, several at a time; outcomes in any order, one for each job. Jobs are drawn as needed.

        What a failed job leaves at its path is unspecified.
        """

    @abstractmethod
    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        """Rename files or directories, strictly one after another in this order.

        A file that lies at the new name may be replaced or the rename refused (EXISTS): see `traits.replaces`. A
        missing old name is ABSENT; after LOST it is unknown whether the rename took place.
        """

    @abstractmethod
    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        """Make directories in this order. EXISTS where anything lies there already: exactly one of several clients that
        make the same directory at once gets None. Parents are not made. `mode` is set where the hub can; one of
        symsync's own directories that is there already may get it, too."""

    @abstractmethod
    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        """Make symbolic links from (path, target). KIND where `traits.links` is false, EXISTS where it is taken."""

    @abstractmethod
    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        """Remove files and links. ABSENT where there is nothing."""

    @abstractmethod
    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        """Remove empty directories, in this order. ABSENT or NOT_EMPTY where that is the reason, DENIED or OTHER where
        the hub does not say."""

    @abstractmethod
    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        """Set times and permission bits where the hub can; a Problem where it refused this path."""

    @abstractmethod
    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        """At most `limit` bytes of a file from `offset`, None where there is none. Raises HubError otherwise."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Make or overwrite a file with `data`, its size verified. Raises HubError where that did not succeed, also
        over a second connection where the first broke."""

    @abstractmethod
    def append(self, path: str, data: bytes) -> None:
        """Append to a file, which is made where missing. Raises HubError; what arrived then is unspecified, and
        whether all arrived where it does not is for the caller to see (`stat`)."""

    def together(self, requests: Sequence[Request]) -> list[Outcomes]:
        """All of these in this order, in one round trip where the protocol allows it: each is done whatever came of
        those before it. What a reply leaves in doubt is looked at when all is done, and told as it is then."""
        return [self._one_of(request) for request in requests]

    def _one_of(self, request: Request) -> Outcomes:
        match request:
            case MakeDirectories():
                return [*self.make_directories(request.paths, request.mode)]
            case RemoveDirectories():
                return [*self.remove_directories(request.paths)]
            case Rename():
                return [*self.rename(request.pairs)]
            case Stat():
                return self.stat(request.paths)

    def stage(self, path: str, data: bytes, paths: Sequence[str] = ()) -> tuple[str, Outcomes]:
        """Write a file that is to be renamed then, and look at `paths` before. Returns where it lies, too: beside
        `path` where the connection broke, for the server may yet come to what that one asked for, and empty it."""
        try:
            return path, self.look_and_write(paths, path, data)
        except HubUnreachable:
            beside = f"{path}.again"
            return beside, self.look_and_write(paths, beside, data)

    def replace(self, staged: str, path: str) -> Problem | None:
        """Let a file out of a folder that only this run has take the place of what lies at `path`, if anything: in one
        rename where the hub can; else it is at `path.new` for a moment, and the old one in that folder.

        Where a reply was lost it may be that it is not there after all: for the caller to see (`stat`).
        """
        problem = self._rename_once(staged, path)
        if problem is None or problem.reason is not Reason.EXISTS:
            return problem
        spare, old, aside = f"{path}.new", f"{staged}.old", f"{staged}.aside"
        problem = self._rename_once(staged, spare)
        if problem is not None and problem.reason is Reason.EXISTS:  # an ended run has left it
            # No removal: a late one would take the next.
            (problem,) = self.rename([(spare, aside)])
            problem = problem or self._rename_once(staged, spare)
        if problem is None:
            _, problem = self.rename([(path, old), (spare, path)])
        if problem is None:
            self.remove_files([old, aside])
        return problem

    def _rename_once(self, old: str, new: str) -> Problem | None:
        """Rename what only this run can have there: what is gone where the connection broke was renamed."""
        lost = False
        for _ in range(_TRIES):
            (problem,) = self.rename([(old, new)])
            if problem is None or problem.reason is not Reason.LOST:
                break
            lost = True
        return None if lost and problem is not None and problem.reason is Reason.ABSENT else problem

    def look_and_write(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        """`stat`, and then `write`, in one breath where the protocol allows it, and over one connection."""
        looks = self.stat(paths)
        self.write(path, data)
        return looks

    def look_and_append(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        """The same, with `append`."""
        looks = self.stat(paths)
        self.append(path, data)
        return looks

    def expect_write(self, append_to: str | None = None) -> None:  # noqa: B027 - most remotes need no preparation
        """The next call makes or renames something, and then a file is written, by appending to `append_to` if that is
        known: what it takes in advance may go with the call."""

    def refresh(self) -> None:  # noqa: B027 - most remotes remember nothing, and have nothing to do
        """Forget what is remembered of the hub's content: the lock was just taken, and others may have changed it."""

    @abstractmethod
    def close(self) -> None:
        """End all connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
