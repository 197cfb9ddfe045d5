"""The door: how many connections there may be, in all and from one address, and what a wrong password costs.

One door serves all listeners of a hub, whatever they speak.
"""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What the hub allows. Times are in seconds."""

    connections: int = 200
    """At once, in all."""
    per_address: int = 50
    """At once, from one address: several nodes may share one behind a router, each with eight connections."""
    login_tries: int = 3
    """Wrong passwords on one connection before it is closed."""
    login_delay: float = 1.0
    """After the first wrong password from an address; doubles with each further one. 0 switches it off."""
    login_delay_most: float = 30.0
    failures: int = 20
    """Wrong passwords from one address within `failure_window` before it is not let in at all."""
    failure_window: float = 600.0
    idle: float = 300.0
    """Silence on a connection before it is closed."""


class Door:
    """Counts who is in and who failed to get in. Safe to use from many threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self._failures: dict[str, deque[float]] = {}

    def enter(self, address: str) -> str | None:
        """Let a connection in, or say why not. Who was let in must `leave`."""
        with self._lock:
            if self._inside.total() >= self.limits.connections:
                return "Too many connections"
            if self._inside[address] >= self.limits.per_address:
                return "Too many connections from your address"
            if self.limits.login_delay > 0 and len(self._recent(address)) >= self.limits.failures:
                return "Too many wrong passwords from your address, try again later"
            self._inside[address] += 1
            return None

    def leave(self, address: str) -> None:
        """A connection that was let in has ended."""
        with self._lock:
            self._inside[address] -= 1
            if not self._inside[address]:
                del self._inside[address]

    def failed(self, address: str) -> float:
        """Note a wrong password. Returns the seconds to wait before saying so."""
        with self._lock:
            recent = self._recent(address)
            recent.append(time.monotonic())
            self._failures[address] = recent
            return min(self.limits.login_delay * 2.0 ** (len(recent) - 1), self.limits.login_delay_most)

    def _recent(self, address: str) -> deque[float]:
        """The failures that still count. Whoever has none left is forgotten, so that memory stays bounded."""
        begin = time.monotonic() - self.limits.failure_window
        for known in [known for known, times in self._failures.items() if times[-1] < begin]:
            del self._failures[known]
        recent = self._failures.get(address, deque())
        while recent and recent[0] < begin:
            recent.popleft()
        return recent
