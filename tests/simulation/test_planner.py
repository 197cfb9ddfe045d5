"""The planner alone, in random situations: half of them the same every time, half of them fresh."""

import os
import random

import pytest

from simulation.mutations import MUTATIONS
from simulation.planner import play

FIXED_SEED = 1
FRESH_SEED = int(os.environ.get("SIMULATION_SEED", random.SystemRandom().randrange(2**32)))
"""A failure names its seed, with which it comes again."""
CASES = 1_000
PARTS = range(3)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("seed", [FIXED_SEED, FRESH_SEED], ids=["fixed", "fresh"])
def test_every_plan_keeps_the_rules(seed: int, part: int) -> None:
    """Symmetric, each path decided once, nothing written on a source or done about the unknown, no edit overrun."""
    decisions, wrong = play(seed, part * CASES, CASES)
    assert [] == wrong
    assert decisions > CASES


@pytest.mark.parametrize("name", ["edit-beats-deletion", "one-way-source", "decision-stands"])
def test_a_plan_without_a_protection_is_seen(name: str) -> None:
    """The rules that are checked are the ones that matter."""
    with MUTATIONS[name].applied():
        assert [] != play(FIXED_SEED, 0, CASES)[1]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_plans_keep_the_rules() -> None:
    """The same, a million times."""
    assert [] == play(FRESH_SEED + 1, 0, 1_000_000)[1]
