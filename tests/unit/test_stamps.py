"""When two stamps may be taken for the same content."""

from dataclasses import replace

import pytest
from hypothesis import given

from protocol_values import STAMPS
from symsync_protocol.stamps import SECOND, Kind, Stamp, same

FILE = Stamp(Kind.FILE, 10, 5 * SECOND + 7, 1, inode=3, ctime_ns=9)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (FILE, True),
        (replace(FILE, kind=Kind.LINK), False),
        (replace(FILE, size=11), False),
        (replace(FILE, mtime_ns=5 * SECOND + 8), False),
        (replace(FILE, mtime_ns=None), True),
        (replace(FILE, mtime_ns=5 * SECOND, tick_ns=SECOND), True),
        (replace(FILE, mtime_ns=6 * SECOND, tick_ns=SECOND), False),
        (replace(FILE, mtime_ns=0, tick_ns=60 * SECOND), True),
        (replace(FILE, inode=4), False),
        (replace(FILE, inode=None), True),
        (replace(FILE, ctime_ns=10), False),
        (replace(FILE, ctime_ns=None), True),
        (FILE.unsettled(), True),
    ],
)
def test_same(other: Stamp, expected: bool) -> None:
    """Each field that both know counts, times at the coarser resolution."""
    assert (expected, expected) == (same(FILE, other), same(other, FILE))


def test_times_before_1970_fall_into_one_tick() -> None:
    """Ticks are counted the same way on both sides of 1970: downwards."""
    assert same(Stamp(Kind.FILE, mtime_ns=-1), Stamp(Kind.FILE, mtime_ns=-SECOND, tick_ns=SECOND))
    assert not same(Stamp(Kind.FILE, mtime_ns=-1), Stamp(Kind.FILE, mtime_ns=0, tick_ns=SECOND))


def test_a_tick_of_zero_is_one() -> None:
    """A resolution nobody told is the finest."""
    assert same(Stamp(Kind.FILE, mtime_ns=3, tick_ns=0), Stamp(Kind.FILE, mtime_ns=3, tick_ns=0))


@given(STAMPS, STAMPS)
def test_directories_are_the_same(one: Stamp, other: Stamp) -> None:
    """A directory has no content of its own, whatever its size and times."""
    assert same(replace(one, kind=Kind.DIRECTORY), replace(other, kind=Kind.DIRECTORY))


@given(STAMPS, STAMPS)
def test_same_is_symmetric(one: Stamp, other: Stamp) -> None:
    """No side is preferred."""
    assert same(one, other) == same(other, one)


@given(STAMPS)
def test_a_stamp_is_the_same_as_itself(stamp: Stamp) -> None:
    """Settled or not: being settled is about the clock, not about the content."""
    assert same(stamp, stamp)
    assert same(stamp, stamp.unsettled())
    assert not stamp.unsettled().settled
