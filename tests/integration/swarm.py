"""Many nodes at once as real processes that are killed at random moments, and people who edit in between.

A member is one node: its person edits, then `symsync` runs, perhaps to its end, and so on until the time is up. What
the people did is in the ledger, which is exact, for nobody edits while the node's own process lives.
"""

import os
import random
import re
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from integration.killable import Killable
from integration.scenarios import HUB, Fleet, LocalPlace, Tree, begin
from simulation.ledger import Ledger
from symsync_protocol.names import LOCK_DIR, STATE_DIR

PATHS = [f"{directory:02}/{number:02}" for directory in range(10) for number in range(20)]
"""What everybody works on."""

COPY = f".{HUB}"
"""Behind the name of a conflict's copy on a node; a number may follow."""

ENDS = (0, 1, 3)
"""With which a run may end that nobody killed."""

SIZES = (0, 10, 1000, 100_000)

_LONGEST_RUN = 240.0
"""Seconds; a run that has not ended by then hangs."""

_ASKS_FOR_LOCK = re.compile(rf"> RNTO .*{re.escape(LOCK_DIR)}$", re.M)
_ANNOUNCES = re.compile(rf"> (APPE .*{re.escape(STATE_DIR)}|STOR .*{re.escape(LOCK_DIR)}/[^/]+)/", re.M)
"""The first thing that is done under the lock."""
_LEAVES_LOCK = re.compile(rf"> RMD .*{re.escape(LOCK_DIR)}$", re.M)


@dataclass
class Figures:
    """What a swarm came to."""

    ends: Counter[int] = field(default_factory=Counter)
    """Runs that nobody killed, by exit status."""
    kills: Counter[str] = field(default_factory=Counter)
    """By what the run was doing."""
    restarts: int = 0
    decisions: int = 0
    """Conflicts that people decided."""

    def __str__(self) -> str:
        runs = self.ends.total() + self.kills.total()
        return (
            f"{runs} runs, of which {self.ends.total()} ended by themselves (by exit status: {dict(self.ends)}) and "
            f"{self.kills.total()} were killed ({dict(self.kills)}); {self.restarts} restarts of the hub; "
            f"{self.decisions} conflicts decided"
        )


class Person:
    """Who works in one node's directory while no run of it is at work."""

    def __init__(self, name: str, place: LocalPlace, ledger: Ledger, lock: threading.Lock, seed: int) -> None:
        self.chance = random.Random(f"{name} {seed}")
        self._name = name
        self._place = place
        self._ledger = ledger
        self._lock = lock
        self._count = 0

    def work(self) -> None:
        """A few edits."""
        for _ in range(self.chance.randint(1, 5)):
            path = self.chance.choice(PATHS)
            act = self.chance.choice([self._write, self._write, self._write, self._delete, self._rename])
            act(path)

    def decide(self, every: bool) -> int:
        """Decide conflicts, all of them or some, for one version or the other; returns how many."""
        copies = [path for path in self._copies() if every or self.chance.random() < 0.3]
        for copy in copies:
            original = copy.partition(COPY)[0]
            with self._lock:
                content = self._place.read(copy)
                if self.chance.random() < 0.5:
                    self._place.remove(copy)
                    self._ledger.removed(copy, content)
                else:
                    over = self._content(original)
                    self._place.rename(copy, original)
                    self._ledger.moved(original, content, over)
        return len(copies)

    def _write(self, path: str) -> None:
        self._count += 1
        size = self.chance.choice(SIZES)
        content = f"{self._name} {self._count}\n".encode() + self.chance.randbytes(size)
        with self._lock:
            before = self._content(path)
            self._place.write(path, content)
            self._ledger.written(path, content, before)

    def _delete(self, path: str) -> None:
        with self._lock:
            content = self._content(path)
            if content is not None:
                self._place.remove(path)
                self._ledger.removed(path, content)

    def _rename(self, path: str) -> None:
        new = self.chance.choice(PATHS)
        with self._lock:
            content = self._content(path)
            if content is not None and new != path:
                over = self._content(new)
                self._place.rename(path, new)
                self._ledger.moved(new, content, over)

    def _content(self, path: str) -> bytes | None:
        file = self._place.root / path
        return file.read_bytes() if file.is_file() else None

    def _copies(self) -> list[str]:
        root = self._place.root
        return sorted(str(path.relative_to(root)) for path in root.glob(f"[!.]*/*{COPY}*") if path.is_file())


class Swarm:
    """All nodes of a fleet, at work at once until a time is up."""

    def __init__(self, fleet: Fleet, server: Killable, seed: int) -> None:
        self.ledger = Ledger()
        self.figures = Figures()
        self._fleet = fleet
        self._server = server
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._people = {name: Person(name, place, self.ledger, self._lock, seed) for name, place in fleet.nodes.items()}
        self._typical = 1.0
        """Seconds that a run takes from its first word with the hub."""
        self._failed = threading.Event()

    def live(self, seconds: float, *, at_least: int, kills: float, restart_every: float) -> None:
        """Work for so long, and until so many runs have been killed; every run is with this probability. The hub is
        restarted again and again."""
        until = time.monotonic() + seconds

        def is_over() -> bool:
            return self._failed.is_set() or (time.monotonic() >= until and self.figures.kills.total() >= at_least)

        with ThreadPoolExecutor(len(self._people)) as pool:
            lives = [pool.submit(self._life, name, is_over, kills) for name in self._people]
            while not self._failed.wait(restart_every) and not is_over():
                self._server.restart()
                self.figures.restarts += 1
            for life in lives:
                life.result()

    def _life(self, name: str, is_over: Callable[[], bool], kills: float) -> None:
        person = self._people[name]
        try:
            while not is_over():
                person.work()
                self._count_decisions(person.decide(every=False))
                self._run(name, kills)
        except BaseException:
            self._failed.set()
            raise

    def _count_decisions(self, count: int) -> None:
        with self._lock:
            self.figures.decisions += count

    def _run(self, name: str, kills: float) -> None:
        chance = self._people[name].chance
        with tempfile.TemporaryFile("w+") as told:
            process = begin("symsync", str(self._fleet[name].root), "--debug", "--no-progress", told=told)
            killed = False
            try:
                _wait_until_it_speaks(process, told)
                began = time.monotonic()
                if chance.random() < kills:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(chance.uniform(0, 1.2) * self._typical)
                    killed = process.poll() is None
                    process.kill()
                status = process.wait(_LONGEST_RUN)
            finally:
                process.kill()
                process.wait()
            told.seek(0)
            said = told.read()
        with self._lock:
            if killed and status < 0:
                self.figures.kills[_doing(said)] += 1
                return
            self.figures.ends[status] += 1
            self._typical += (time.monotonic() - began - self._typical) / 8
        assert status in ENDS and "Traceback" not in said, f"{name} ended with {status}: {said[-2000:]}"

    def settle(self) -> list[str]:
        """Nobody edits any more; people decide what is open until nothing is. Returns who is in step then."""
        for _ in range(10):
            results = {name: self._fleet.sync(name) for name in self._people}
            decided = sum(person.decide(every=True) for person in self._people.values())
            self.figures.decisions += decided
            if not decided and not any(result.conflicts for result in results.values()):
                break
        self._fleet.sync_all()
        results = self._fleet.sync_all()
        return [name for name, result in results.items() if result.exit_status == 0 and not result.outcomes]

    def lost(self) -> list[str]:
        """Versions that nobody overwrote or deleted and that are not where people see them; where they lie instead."""
        missing = self.ledger.numbers.keys() - self.ledger.dead
        elsewhere: dict[bytes, list[str]] = {content: [] for content in missing}
        for place, tree in self._everything():
            for path, item in tree.items():
                if not isinstance(item, bytes) or item not in elsewhere:
                    continue
                if path.startswith(f"{LOCK_DIR}/") or not path.startswith(".sync."):
                    missing.discard(item)
                else:
                    elsewhere[item].append(f"{place}: {path}")
        return sorted(
            f"{content.splitlines()[0].decode()} ({', '.join(elsewhere[content]) or 'nowhere'})" for content in missing
        )

    def torn(self) -> list[str]:
        """What people see and nobody wrote."""
        return [
            path
            for tree in self._fleet.trees().values()
            for path, item in tree.items()
            if isinstance(item, bytes) and item not in self.ledger.numbers
        ]

    def _everything(self) -> Iterator[tuple[str, Tree]]:
        """Each place's name, and all that lies there."""
        for name, place in {"hub": self._fleet.hub.place, **self._fleet.nodes}.items():
            yield name, place.everything()


def _wait_until_it_speaks(process: subprocess.Popen[str], told: IO[str]) -> None:
    """Until the first word has been exchanged with the hub: starting up is half of a run, and no phase to be hit."""
    while process.poll() is None and not os.fstat(told.fileno()).st_size:
        time.sleep(0.01)


def _doing(said: str) -> str:
    """What a run was doing that was killed after it had said all this."""
    if _LEAVES_LOCK.search(said):
        return "after the lock"
    if _ANNOUNCES.search(said):
        return "under the lock"
    if _ASKS_FOR_LOCK.search(said):
        return "waiting for the lock"
    return "before the lock" if "> " in said else "before it was connected"
