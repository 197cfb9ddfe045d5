"""The whole engine against random histories: half of them the same every time, half of them fresh."""

import os
import random

import pytest

from simulation.campaign import Tally, nth, play, replay, shrunk
from simulation.history import History, Profile
from simulation.regressions import REGRESSIONS

FIXED_SEED = 1
FRESH_SEED = int(os.environ.get("SIMULATION_SEED", random.SystemRandom().randrange(2**32)))
"""A failure names its seed, with which it comes again."""

HISTORIES = 13
"""In each part, so that several workers can share them."""
PARTS = range(10)
"""For each profile, from either seed: 2,080 histories in all."""
LONG = 2_500
"""Histories of each profile in the long run: 20,000 in all."""


def _none_fails(seed: int, part: int, profile: Profile, histories: int) -> None:
    for number in range(part * histories, (part + 1) * histories):
        history = nth(seed, number, profile)
        failure = replay(history)
        if failure is not None:
            smallest = shrunk(history, failure)
            again = replay(smallest) or failure
            pytest.fail(f"seed {seed}, history {number}, profile {profile}\n{smallest}\n{again.text}", pytrace=False)


@pytest.mark.parametrize("title", REGRESSIONS)
def test_what_once_went_wrong(title: str) -> None:
    """A history that once showed an error shows none."""
    assert None is replay(REGRESSIONS[title])


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("profile", list(Profile))
def test_fixed_histories(profile: Profile, part: int) -> None:
    """Histories that are the same in every run keep all invariants."""
    _none_fails(FIXED_SEED, part, profile, HISTORIES)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("profile", list(Profile))
def test_fresh_histories(profile: Profile, part: int) -> None:
    """Histories that nobody has seen before keep all invariants."""
    _none_fails(FRESH_SEED, part, profile, HISTORIES)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("profile", list(Profile))
def test_many_fresh_histories(profile: Profile) -> None:
    """Thousands of fresh histories keep all invariants."""
    _none_fails(FRESH_SEED + 1, 0, profile, LONG)


@pytest.mark.parametrize("profile", list(Profile))
def test_histories_survive_being_written_down(profile: Profile) -> None:
    """A printed history is the very one that was played."""
    history = nth(FIXED_SEED, 0, profile)
    assert history == History.parse(str(history))


def test_a_sleeper_wakes_up_behind_the_fence() -> None:
    """While one node sleeps under its lock, another waits until it is stale, breaks it and works; the sleeper goes on
    and changes nothing."""
    tally = Tally()
    history = """
        nodes=ab
        a sync
        b sync
        a write f 1
        b write f 2
        a sync meanwhile 9 b sync
    """
    assert None is play(History.parse(history), tally)
    assert (1, 1) == (tally.faults["meanwhile"], tally.broken_locks)


def test_a_history_is_played_alike_every_time() -> None:
    """A seed stands for one history and one outcome, whatever it is."""
    history = nth(FIXED_SEED, 3, Profile.RESTORES)
    first, second = replay(history), replay(history)
    assert (first and first.kind) == (second and second.kind)
