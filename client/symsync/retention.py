"""How long displaced versions stay in the trash: by age and by size, run by run, the oldest first.

Each run's displaced versions lie in one folder of `.sync.trash/`, named after the run: `20261120T093015Z-NODE-TOKEN`.
"""

import calendar
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_FORMAT = "%Y%m%dT%H%M%SZ"
_STAMP_LENGTH = 16
_LABEL = re.compile(r"(\d{8}T\d{6}Z)-([A-Za-z0-9-]+)-([A-Za-z0-9]+?)(?:r\d+)?")
_DAY = 86_400

SPARED = _DAY
"""Seconds for which nothing goes for its size alone: whoever has just removed half of a tree may want it back."""


def run_label(node: str, now: float, token: str) -> str:
    """The name of a run that began at `now` (seconds since 1970)."""
    return f"{time.strftime(_FORMAT, time.gmtime(now))}-{node}-{token}"


def owner(label: str) -> str:
    """The node in a run's label, in lower case, for names are compared without case."""
    return "-".join(label.split("-")[1:-1]).lower()


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """What a run's label tells, in the order in which runs began, as far as their nodes' clocks agree."""

    began: int
    """Seconds since 1970."""
    label: str
    node: str
    token: str
    """The label's last part, which tells it from all others, but for the number of a later attempt of the same run."""

    def is_of(self, other: "Run") -> bool:
        """Whether it is another attempt of that run, or the same."""
        return (self.began, self.node, self.token) == (other.began, other.node, other.token)


def run_of(label: str) -> Run | None:
    """The run that `label` names, None where it is no run's label: it may come from a hub, and be anything."""
    match = _LABEL.fullmatch(label)
    if match is None:
        return None
    try:
        began = calendar.timegm(time.strptime(match[1], _FORMAT))
    except ValueError:
        return None
    return Run(began, label, match[2], match[3])


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days, and up to how many bytes in all, displaced versions are kept."""

    days: int
    size: int

    def outlived(self, labels: Iterable[str], now: float, size_of: Callable[[str], int]) -> list[str]:
        """Which runs' trash goes, oldest first. What is not named like a run is never touched.

        `size_of` tells the bytes in a run's folder; it is asked only where the sum matters.
        """
        runs = sorted(label for label in labels if label[_STAMP_LENGTH : _STAMP_LENGTH + 1] == "-")
        limit, spared = _stamp(now - self.days * _DAY), _stamp(now - SPARED)
        gone = [label for label in runs if label < limit]
        kept = [label for label in runs if label >= limit]
        if any(label < spared for label in kept):
            total = sum(size_of(label) for label in kept)
            for label in kept:
                if total <= self.size or label >= spared:
                    break
                total -= size_of(label)
                gone.append(label)
        return gone


def _stamp(now: float) -> str:
    return time.strftime(_FORMAT, time.gmtime(now))
