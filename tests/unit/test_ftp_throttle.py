"""The limit on bytes per second, with a clock of its own."""

from symsync.remotes.throttle import LARGEST_BLOCK, Throttle


class Clock:
    """Stands still but for sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_rate() -> None:
    """Ten thousand bytes at a thousand per second take until the tenth second begins."""
    clock = Clock()
    throttle = Throttle(1000, clock, clock.sleep)
    for _ in range(10):
        throttle.take(1000)
    assert 109.0 == clock.now


def test_a_pause_is_not_made_up_for() -> None:
    """After a quiet time the rate is the same as before: no burst."""
    clock = Clock()
    throttle = Throttle(1000, clock, clock.sleep)
    throttle.take(1000)
    clock.now += 1000
    throttle.take(1000)
    throttle.take(1000)
    assert 1101.0 == clock.now


def test_without_a_limit() -> None:
    """Nobody waits, and blocks are the largest."""
    clock = Clock()
    throttle = Throttle(None, clock, clock.sleep)
    throttle.take(10**12)
    assert (100.0, LARGEST_BLOCK) == (clock.now, throttle.block)


def test_blocks_go_with_the_rate() -> None:
    """A slow line is used evenly, by small blocks, but not by single bytes."""
    assert (125_000, 512, LARGEST_BLOCK) == (
        Throttle(1_000_000).block,
        Throttle(10).block,
        Throttle(10**9).block,
    )


def test_who_does_not_sleep() -> None:
    """It is told when more may go, and that its bytes count for all who come later."""
    clock = Clock()
    throttle = Throttle(1000, clock, clock.sleep)
    assert (0.0, 0.0) == (throttle.due(), throttle.book(2000))
    assert 2.0 == throttle.due()
    clock.now += 0.5
    assert (1.5, 1.5, 2.5) == (throttle.due(), throttle.book(1000), throttle.due())
    assert (0.0, 0.0) == (Throttle(None).due(), Throttle(None).book(10**9))
