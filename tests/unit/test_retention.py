"""How long displaced versions stay in the trash."""

import pytest

from symsync.retention import SPARED, Retention, owner, run_label

NOW = 1_800_000_000.0
DAY = 86_400


def label(days_ago: float, node: str = "pc") -> str:
    return run_label(node, NOW - days_ago * DAY, "ab12cd34")


def refuses(_label: str) -> int:
    raise AssertionError("no size is needed here")


def test_what_is_too_old_goes() -> None:
    """The age alone decides, whatever the sizes."""
    labels = [label(31), label(29), label(0)]
    assert [label(31)] == Retention(30, 100).outlived(labels, NOW, lambda _: 1)


def test_the_oldest_goes_where_the_sum_is_too_large() -> None:
    """Only as much as must go, and never what is younger than a day."""
    labels = [label(3), label(5), label(4), label(0.5)]
    assert [label(5), label(4)] == Retention(30, 20).outlived(labels, NOW, lambda _: 10)
    assert [label(5), label(4), label(3)] == Retention(30, 0).outlived(labels, NOW, lambda _: 10)
    assert [] == Retention(30, 40).outlived(labels, NOW, lambda _: 10)


def test_sizes_are_asked_only_where_they_matter() -> None:
    """What is younger than a day stays anyhow."""
    assert [] == Retention(30, 0).outlived([label(0.5), label(SPARED / DAY / 2)], NOW, refuses)


@pytest.mark.parametrize("name", ["notes", "2026", "20200101T000000Z", ".htaccess", ""])
def test_what_is_not_a_run_is_never_touched(name: str) -> None:
    """Somebody may keep things of his own there."""
    assert [] == Retention(0, 0).outlived([name], NOW, refuses)


def test_whose_run() -> None:
    """Names may hold dashes, and are compared without case."""
    assert "my-old-pc" == owner(run_label("My-old-PC", NOW, "ab12cd34"))
