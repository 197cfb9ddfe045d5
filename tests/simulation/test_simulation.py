"""The whole engine against random histories: half of them the same every time, half of them fresh."""

import os
import random
from pathlib import Path

import pytest

from simulation.campaign import Tally, nth, play, replay, shrunk
from simulation.faults import Fault
from simulation.history import History, Profile, shrink
from simulation.places import visible
from simulation.regressions import REGRESSIONS
from simulation.world import World
from symsync.events import Phase

FIXED_SEED = 1
FRESH_SEED = int(os.environ.get("SIMULATION_SEED", random.SystemRandom().randrange(2**32)))
"""A failure names its seed, with which it comes again."""

HISTORIES = 12
"""In each part, so that several workers can share them."""
PARTS = range(10)
"""For each profile, from either seed: 2,160 histories in all."""
LONG = 2_500
"""Histories of each profile in the long run: 22,500 in all."""


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


DELETED_SINCE = {
    "renamed on the hub": "a write f 1 | a sync | b sync | a rename f g | a sync crash {} | a delete g | a sync",
    "put in a new directory": "a sync | b sync | a write d/f 1 | a sync crash {} | a rmtree d | a sync",
    "received in a new directory": "a sync | b sync | hub write d/f 1 | a sync crash {} | a rmtree d | a sync",
}


@pytest.mark.parametrize("story", DELETED_SINCE.values(), ids=DELETED_SINCE)
def test_what_an_ended_run_had_brought_and_somebody_deleted_since(story: str, tmp_path: Path) -> None:
    """It stays deleted, the directories that were made for it included, wherever the run was ended. Only what had not
    been received yet could not be deleted."""
    for point in range(1, 40):
        history = History.parse("nodes=ab\n" + story.format(point).replace(" | ", "\n"))
        (directory := tmp_path / str(point)).mkdir()
        world = World(history.setting, directory)
        with world.engine():
            world.play(history)
        if world.met[Fault.CRASH]:
            left = {tuple(sorted(visible(place.tree()))) for place in world.places.values()}
            assert left == {()} or (left == {("d", "d/f")} and "hub write" in story), f"ended at {point}"


def test_a_mirror_keeps_what_another_run_has_only_moved_aside(tmp_path: Path) -> None:
    """Wherever that was ended: a mirror waits for no lock, and does not take for removed what comes back."""
    story = "a write f 1 | a write g 2 | a sync | b sync | b write f 3 | b write g 4 | b sync crash {} | a mirror"
    for point in range(1, 25):
        history = History.parse("nodes=ab\n" + story.format(point).replace(" | ", "\n"))
        (directory := tmp_path / str(point)).mkdir()
        world = World(history.setting, directory)
        with world.engine():
            for op in history.ops:
                world.do(op)
        assert {"f", "g"} == visible(world.nodes["a"].tree()).keys(), f"ended at {point}"


class _Listening(World):
    """A world in which somebody writes down when each run came to what."""

    def __init__(self, history: History, directory: Path) -> None:
        super().__init__(history.setting, directory)
        self.heard: list[tuple[int, Phase, str]] = []
        with self.engine():
            self.play(history)

    def phase(self, phase: Phase, detail: str = "") -> None:
        self.heard.append((self.clock.time_ns(), phase, detail.replace(str(self.nodes["a"].root.parent), "")))


AT_THE_SAME_TIME = History.parse("""
    nodes=abc
    a write f 1
    b write f 2
    c write g 3
    world together 5 a sync | b sync | c sync | hub write d/f 4
""")


def test_runs_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    """Runs that alternate meet a live lock, wait for it, and break none; each plans while another is at work."""
    world = _Listening(AT_THE_SAME_TIME, tmp_path)
    phases = [phase for _, phase, _ in world.heard]
    first_committed = phases.index(Phase.COMMITTING)
    assert Phase.WAITING in phases
    assert 3 == phases[:first_committed].count(Phase.COMPARING)
    assert 0 == world.broken_locks


def test_runs_at_the_same_time_take_turns_alike_every_time(tmp_path: Path) -> None:
    """Who goes on when is the seed's affair, not that of the threads."""
    heard = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        heard.append(_Listening(AT_THE_SAME_TIME, tmp_path / name).heard)
    assert heard[0] == heard[1]


@pytest.mark.parametrize("profile", [Profile.TOGETHER, Profile.FAULTS])
def test_what_happens_together_shrinks(profile: Profile) -> None:
    """A failure that needs but one of many things at the same time is shrunk to that one."""
    history = next(
        h for h in (nth(FIXED_SEED, n, profile) for n in range(100)) if any(len(op.parts) > 2 for op in h.ops)
    )
    part = next(op.parts[1] for op in history.ops if len(op.parts) > 2)
    smallest = shrink(history, lambda candidate: any(part in op.parts for op in candidate.ops))
    assert (part,) == smallest.ops


def test_a_history_is_played_alike_every_time() -> None:
    """A seed stands for one history and one outcome, whatever it is."""
    history = nth(FIXED_SEED, 3, Profile.RESTORES)
    first, second = replay(history), replay(history)
    assert (first and first.kind) == (second and second.kind)
