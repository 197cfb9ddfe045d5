"""Who moves when: a virtual clock, and runs that are at work at the same time.

Each goes in a thread of its own, but only the one whose turn it is moves. It comes to a *point* before each of its
effects and before all that it looks at where others may be at work; there a scheduler that is drawn from a seed decides
who goes on. So whatever happens depends on the seed alone, never on the threads.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from simulation.faults import Faults
from symsync_protocol.stamps import SECOND

_BEGINNING = 1_700_000_000 * SECOND
_PACES = (0.03, 0.1, 0.3, 0.6)
"""How likely it is at a point that somebody else goes on."""
_POINT_TAKES = (0.0, 0.0, 0.001, 0.3)
"""Seconds; as everywhere in these worlds, it may be none at all."""
_LID_CLOSES = 0.25
"""In how many cases one of those at work sleeps for so long, in the middle, that others may take him for dead."""
_LID_POINTS = 150
_LID_SECONDS = (50.0, 75.0)
"""It is opened before, while or after a node that waits breaks the lock."""
_GIVES_WAY = 0.9
"""How likely it is that somebody else goes on while one sleeps by himself, as who waits for a lock does."""


class Clock:
    """Stands in for the system's clocks: waiting costs nothing. It is right; those of the places may be off."""

    def __init__(self) -> None:
        self._now = _BEGINNING

    def time_ns(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return (self._now - _BEGINNING) / SECOND

    def sleep(self, seconds: float) -> None:
        self._now += int(seconds * SECOND)

    def reach(self, time_ns: int) -> None:
        """Let it be that time, unless it is later."""
        self._now = max(self._now, time_ns)


@dataclass(frozen=True, slots=True)
class Run:
    """A run at work."""

    node: str
    """The place whose machine it is on."""
    faults: Faults


@dataclass(eq=False)
class Lane:
    """What happens in one thread."""

    task: Callable[[], None]
    runs: list[Run] = field(default_factory=list)
    """Those at work in it: one may go on in the middle of another."""
    until_ns: int = 0
    """When it has slept enough."""
    closed: bool = False
    """Whether its lid is: nothing wakes it before. Whoever else sleeps may wake up at once, if the others are slow."""
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Turns:
    """Lanes that take turns, from their beginning to the end of the last of them."""

    def __init__(self, clock: Clock, seed: str, tasks: Sequence[Callable[[], None]]) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self.lanes = list(map(Lane, tasks))
        """Those that are not over."""
        self.current = self._random.choice(self.lanes)
        self._pace = self._random.choice(_PACES)
        self._takes = self._random.choice(_POINT_TAKES)
        closes = self._random.random() < _LID_CLOSES
        self._points_left = self._random.randint(1, _LID_POINTS) if closes else 0
        self.overslept = False
        """Whether one of them slept for so long that others might take him for dead."""
        self._errors: list[BaseException] = []
        self._all_over = threading.Semaphore(0)

    def play(self) -> None:
        """Let all of it happen. Raises what the first of the lanes raised that did."""
        threads = [threading.Thread(target=self._live, args=(lane,), daemon=True) for lane in self.lanes]
        for thread in threads:
            thread.start()
        self.current.turn.release()
        self._all_over.acquire()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _live(self, lane: Lane) -> None:
        lane.turn.acquire()
        try:
            lane.task()
        except BaseException as error:
            self._errors.append(error)
        self.lanes.remove(lane)
        if self.lanes:
            self._give_turn(self._random.choice(self._awake(self.lanes) or [min(self.lanes, key=_wakes)]))
        else:
            self._all_over.release()

    def point(self) -> None:
        """Who moves comes to something that others may see or disturb: perhaps another goes on first."""
        self._clock.sleep(self._takes)
        self._points_left -= 1
        if self._points_left == 0:
            self.overslept = self.current.closed = True
            self._sleep(self._random.uniform(*_LID_SECONDS), 1.0)
            self.current.closed = False
        elif self._random.random() < self._pace:
            self._change()

    def sleep(self, seconds: float) -> None:
        """Who moves sleeps."""
        self._sleep(seconds, _GIVES_WAY)

    def _sleep(self, seconds: float, gives_way: float) -> None:
        me = self.current
        me.until_ns = self._clock.time_ns() + int(seconds * SECOND)
        if self._random.random() < gives_way:
            self._change()
        self._clock.reach(me.until_ns)

    def _change(self) -> None:
        """Another lane goes on, if any can, until it is this one's turn again."""
        me = self.current
        others = self._awake([lane for lane in self.lanes if lane is not me])
        if others:
            self._give_turn(self._random.choice(others))
            me.turn.acquire()

    def _awake(self, lanes: Sequence[Lane]) -> list[Lane]:
        return [lane for lane in lanes if not lane.closed or lane.until_ns <= self._clock.time_ns()]

    def _give_turn(self, lane: Lane) -> None:
        self.current = lane
        lane.turn.release()


def _wakes(lane: Lane) -> int:
    return lane.until_ns
