"""What the contract's tests work with: a hub under test, and short words for what they do with it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import Fetch, Fetched, Remote, Store, Stored
from symsync_protocol.names import basename
from symsync_protocol.stamps import SECOND

One = TypeVar("One")

TIME = 1_234_567_890 * SECOND + 123_456_789
"""A time with a fraction that every resolution cuts elsewhere."""


@dataclass(frozen=True)
class Expects:
    """What `Traits` don't say and a hub may do differently; each difference with its reason."""

    refused_names: dict[str, str] = field(default_factory=dict)
    """Names that this hub can't store, with the reason why: they are a Problem and not listed."""
    refused_directories: dict[str, str] = field(default_factory=dict)
    """Names that only a directory can't have here."""
    root_may_all: str = ""
    """Why permission bits don't bind here; empty where they do."""
    begins_anew: str = ""
    """Why a store that was cut off can't go on here; empty where it can."""
    silent_on_directories: str = ""
    """Why the hub can't tell what kept it from removing a directory; empty where it can."""


@dataclass(frozen=True)
class Hub:
    """A hub under test: each call of `connect` is one more client of the same, at first empty, directory."""

    connect: Callable[[], Remote]
    expects: Expects = Expects()


@dataclass(frozen=True)
class Sources:
    """Makes local files to be stored, each with its own name."""

    directory: Path
    numbers: "count[int]" = field(default_factory=count)

    def file(self, content: bytes) -> Path:
        path = self.directory / f"source-{next(self.numbers)}"
        path.write_bytes(content)
        return path

    def free(self) -> Path:
        """A name without a file."""
        return self.directory / f"target-{next(self.numbers)}"


class Bench:
    """Fixtures of all parts of the contract. A remote's test class gives the fixture `hub`."""

    @pytest.fixture
    def remote(self, hub: Hub) -> Iterable[Remote]:
        with hub.connect() as remote:
            yield remote

    @pytest.fixture
    def sources(self, tmp_path: Path) -> Sources:
        directory = tmp_path / "sources"
        directory.mkdir()
        return Sources(directory)


def only(outcomes: Iterable[One]) -> One:
    """The one outcome that is expected."""
    [outcome] = outcomes
    return outcome


def put(remote: Remote, sources: Sources, path: str, content: bytes = b"content") -> Stored:
    """A file on the hub."""
    outcome = only(remote.store([Store(sources.file(content), path)]))
    assert isinstance(outcome, Stored), outcome
    return outcome


def get(remote: Remote, sources: Sources, path: str) -> bytes:
    """What a file on the hub holds."""
    outcome = only(remote.fetch([Fetch(path, sources.free())]))
    assert isinstance(outcome, Fetched), outcome
    return outcome.job.target.read_bytes()


def make(remote: Remote, *directories: str) -> None:
    assert [None] * len(directories) == remote.make_directories(directories)


def listed(remote: Remote, directory: str = "") -> dict[str, Found]:
    """The entries of a directory by path, from a listing without problems."""
    listing = only(remote.listings([directory]))
    assert (directory, None) == (listing.directory, listing.problem)
    found = {entry.path: entry for entry in listing.entries}
    assert len(listing.entries) == len(found)
    return found


def names(remote: Remote, directory: str = "") -> set[str]:
    """The paths of a directory's entries, from a listing without problems."""
    return set(listed(remote, directory))


def is_listed(remote: Remote, path: str) -> bool:
    """Whether listings of this hub can be expected to show `path`, if it is there."""
    return not (remote.traits.hides_dots and basename(path).startswith("."))


def there(remote: Remote, path: str) -> Found:
    """The entry at a path, which is expected to be there."""
    found = only(remote.stat([path]))
    assert isinstance(found, Found), found
    return found


def reason(outcome: object) -> Reason:
    """Why something failed, where it was expected to."""
    problem = outcome[1] if isinstance(outcome, tuple) else outcome
    assert isinstance(problem, Problem), outcome
    return problem.reason


def reasons(outcomes: Iterable[Problem | None]) -> list[Reason | None]:
    return [problem.reason if problem else None for problem in outcomes]


def floor(time_ns: int, tick_ns: int) -> int:
    return time_ns // tick_ns * tick_ns
