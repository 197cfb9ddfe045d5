"""A limit on bytes per second, shared by all connections of a remote."""

import threading
import time
from collections.abc import Callable

LARGEST_BLOCK = 256 * 1024
"""Bytes moved at a time without a limit: measured the fastest over FTP, plain and with TLS."""

_BLOCKS_PER_SECOND = 8
"""With a limit: how often a second a block goes out, so that the line is used evenly."""

_SMALLEST_BLOCK = 512


class Throttle:
    """A token bucket: `take(n)` returns when n more bytes may go, at most `rate` bytes per second on average.

    Without a rate it never waits. `clock` tells seconds and only rises; `sleep` waits for seconds.
    """

    def __init__(
        self,
        rate: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()
        self.block = LARGEST_BLOCK
        """How many bytes to move at a time."""
        if rate is not None:
            self.block = max(_SMALLEST_BLOCK, min(LARGEST_BLOCK, rate // _BLOCKS_PER_SECOND))

    def due(self) -> float:
        """The seconds until more bytes may go."""
        if self._rate is None:
            return 0.0
        with self._lock:
            return max(0.0, self._free_at - self._clock())

    def book(self, count: int) -> float:
        """Count `count` bytes as gone. In so many seconds from now they may; whoever comes later comes after them."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + count / self._rate
            return start - now

    def take(self, count: int) -> None:
        """Wait until `count` bytes may go."""
        wait = self.book(count)
        if wait > 0:
            self._sleep(wait)
