"""The values that a pair remembers."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given

from protocol_values import CONFLICTS, ENTRIES, GENERATIONS, states
from symsync_protocol.state import Conflict, Entry, Generation, PairState


@given(states())
def test_swapping_twice_changes_nothing(state: PairState) -> None:
    """The view from the other side's other side is the own one."""
    assert state == state.swapped().swapped()


@given(states())
def test_swapping_exchanges_the_sides_and_nothing_else(state: PairState) -> None:
    """What belongs to the pair stays, what belongs to a side goes to the other."""
    swapped = state.swapped()
    assert (state.there, state.here) == (swapped.here, swapped.there)
    assert (state.there_place, state.here_place) == (swapped.here_place, swapped.there_place)
    assert (state.generation, state.ancestors, state.allowed) == (
        swapped.generation,
        swapped.ancestors,
        swapped.allowed,
    )
    assert (list(state.entries), list(state.conflicts)) == (list(swapped.entries), list(swapped.conflicts))


@given(ENTRIES)
def test_swapped_entry(entry: Entry) -> None:
    """The stamps change places; content, target and metadata are the pair's."""
    assert Entry(entry.there, entry.here, entry.digest, entry.target, entry.meta) == entry.swapped()


@given(CONFLICTS)
def test_swapped_conflict(conflict: Conflict) -> None:
    """Versions and copies change places together."""
    assert Conflict(conflict.there, conflict.here, conflict.copy_there, conflict.copy_here) == conflict.swapped()


@given(states(), GENERATIONS)
def test_descent(state: PairState, generation: Generation) -> None:
    """A state descends from the generations whose ids it names, whatever their numbers, and not from its own."""
    assert all(state.descends_from(Generation(0, name)) for name in state.ancestors)
    assert (generation.id in state.ancestors) == state.descends_from(generation)


@given(states())
def test_values_only(state: PairState) -> None:
    """A changed state is a new one."""
    with pytest.raises(FrozenInstanceError):
        state.allowed = ()  # type: ignore[misc]  # that it can't be done is the point
