"""Many histories from one seed, by one process or by several, and what came of them."""

import os
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from simulation.history import History, Profile, draw, shrink
from simulation.mutations import MUTATIONS
from simulation.oracles import Violation
from simulation.world import World

RAM_DISK = Path("/dev/shm")  # noqa: S108 - what lies there is in directories with random names
_ROOM = 64 << 20
"""Free bytes below which a RAM disk is left to others: a world takes some hundred kilobytes, and each job has one."""
_PART = 20
"""Histories that a job plays at a time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a history showed."""

    kind: str
    """Two failures are the same one if their kinds are: an oracle's name, or an exception and where it was raised."""
    text: str


@dataclass(slots=True)
class Tally:
    """Histories that were played, and how much happened in them."""

    histories: int = 0
    operations: int = 0
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Those that were met, by name: many a fault is due at an effect that its run never comes to."""
    broken_locks: int = 0
    """How often a node took the lock of another away, which it thought dead; a sleeper wakes up after that."""
    seconds: float = 0.0
    """Of a processor, over all jobs."""
    failures: int = 0

    def add(self, other: "Tally") -> None:
        """Count the histories of `other`, too."""
        self.histories += other.histories
        self.operations += other.operations
        self.runs += other.runs
        self.faults += other.faults
        self.broken_locks += other.broken_locks
        self.seconds += other.seconds
        self.failures += other.failures


@dataclass(frozen=True, slots=True)
class Found:
    """A history that failed."""

    profile: Profile
    number: int
    history: History
    failure: Failure


@dataclass(frozen=True, slots=True)
class Part:
    """What a job has played: histories of one profile."""

    profile: Profile
    tally: Tally
    found: list[Found]


_workshop: Path | None = None
"""Where the worlds of a campaign are made; None: each by itself."""


@contextmanager
def workshop() -> Iterator[Path]:
    """A directory for the worlds of all jobs, which goes when the campaign ends, however it does."""
    with tempfile.TemporaryDirectory(dir=_fast_disk(), prefix="symsync-campaign-") as directory:
        yield Path(directory)


def _work_in(directory: Path) -> None:
    global _workshop
    _workshop = directory


def _fast_disk() -> Path | None:
    usable = RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free > _ROOM
    return RAM_DISK if usable else None


def replay(history: History) -> Failure | None:
    """What goes wrong in a history, None where nothing does."""
    return play(history, Tally())


def play(history: History, tally: Tally) -> Failure | None:
    """The same, counted in `tally`."""
    with tempfile.TemporaryDirectory(dir=_workshop or _fast_disk(), prefix="symsync-world-") as directory:
        world = World(history.setting, Path(directory))
        failure = None
        with world.engine():
            try:
                world.play(history)
            except Violation as violation:
                failure = Failure(violation.oracle, str(violation))
            except Exception as error:  # whatever the engine raises here, no person should ever see
                frame = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{type(error).__name__} in {os.path.basename(frame.filename)}:{frame.name}"
                failure = Failure(where, "".join(traceback.format_exception(error)))
    tally.add(Tally(1, len(history.ops), world.runs, world.met, world.broken_locks, failures=failure is not None))
    return failure


def nth(seed: int, number: int, profile: Profile) -> History:
    """The history of this number in a campaign."""
    return draw(random.Random(f"{seed} {number} {profile}"), profile)


def shrunk(history: History, failure: Failure) -> History:
    """The smallest history to be found that fails in the same way."""

    def fails(candidate: History) -> bool:
        again = replay(candidate)
        return again is not None and again.kind == failure.kind

    return shrink(history, fails)


def play_part(seed: int, profile: Profile, numbers: Sequence[int], mutation: str | None = None) -> Part:
    """Play the histories of these numbers, by an engine that lacks a protection where `mutation` names one."""
    tally, found = Tally(), []
    began = time.process_time()
    with MUTATIONS[mutation].applied() if mutation else _unchanged():
        for number in numbers:
            history = nth(seed, number, profile)
            failure = play(history, tally)
            if failure is not None:
                found.append(Found(profile, number, history, failure))
    tally.seconds = time.process_time() - began
    return Part(profile, tally, found)


@contextmanager
def _unchanged() -> Iterator[None]:
    yield


def campaign(
    seed: int,
    profiles: Sequence[Profile],
    numbers: range,
    *,
    jobs: int = 1,
    mutation: str | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Iterator[Part]:
    """Play the histories of these numbers of each profile, and yield what came of them part by part, until it is
    `enough`."""
    parts = (
        (profile, numbers[start : start + _PART]) for start in range(0, len(numbers), _PART) for profile in profiles
    )
    with workshop() as directory:
        if jobs == 1:
            _work_in(directory)
            for profile, some in parts:
                if enough():
                    return
                yield play_part(seed, profile, some, mutation)
            return
        with ProcessPoolExecutor(jobs, initializer=_work_in, initargs=(directory,)) as pool:
            pending: set[Future[Part]] = set()
            while True:
                while len(pending) < 2 * jobs and not enough() and (part := next(parts, None)) is not None:
                    pending.add(pool.submit(play_part, seed, *part, mutation))
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
