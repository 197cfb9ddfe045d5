"""The engine against the reference model: as long as nothing goes wrong, it does exactly what the model says."""

import os
import random
import tempfile
from pathlib import Path

import pytest

from simulation.campaign import RAM_DISK
from simulation.history import Op, Setting
from simulation.ledger import content_of
from simulation.mutations import MUTATIONS
from simulation.places import visible
from simulation.reference import HUB, Model
from simulation.world import World

FIXED_SEED = 1
FRESH_SEED = int(os.environ.get("SIMULATION_SEED", random.SystemRandom().randrange(2**32)))
"""A failure names its seed, with which it comes again."""
PATHS = ("f", "g")
ZONES = (0, 3_600, 7_200)
"""Seconds by which the hub shows its times later than they are."""
HISTORIES = 20
PARTS = range(3)


class Pair:
    """A world and the model of it, to which the same happens."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Model()
        self.ops: list[Op] = []

    def do(self, op: Op) -> None:
        """One operation in both."""
        self.ops.append(op)
        self._in_the_model(op)
        self.world.do(op)
        if op.verb == "sync":
            self._compare(op.place)
        if op.verb == "lose":
            self.do(Op(op.place, "sync"))  # before anybody works in the new directory

    def _in_the_model(self, op: Op) -> None:
        model, place = self.model, op.place
        match op.verb, op.args:
            case ("write" | "unpack", (path, number)):
                model.put(place, path, content_of(int(number)))
            case ("same", (path, number)) if content_of(int(number)) in self.world.ledger.numbers:
                model.put(place, path, content_of(int(number)))
            case ("delete", (path,)):
                model.put(place, path, None)
            case ("rename", (old, new)) if old != new:
                model.rename(place, old, new)
            case ("sync", ()):
                model.sync(place)
            case ("lose", ()):
                model.lose(place)
            case ("drop" | "drop-there" | "take" | "take-there", (number,)):
                open_ones = model.conflicts(place)
                if int(number) < len(open_ones):
                    act = model.drop if op.verb.startswith("drop") else model.take
                    act(place, open_ones[int(number)], there=op.verb.endswith("-there"))

    def _compare(self, node: str) -> None:
        """The values at both places, and nothing else but copies; which paths are in conflict; what the copies hold."""
        story = "\n".join(map(str, self.ops))
        conflicts = self.world.conflicts(node, HUB)
        others = [c for one in self.world.nodes for c in self.world.conflicts(one, HUB).values()]
        copies = {
            node: {conflict.copy_here.path for conflict in conflicts.values() if conflict.copy_here},
            HUB: {conflict.copy_there.path for conflict in others if conflict.copy_there},
        }
        for place in (node, HUB):
            items = visible(self.world.places[place].tree())
            values = {path: item.content for path, item in items.items() if path not in copies[place]}
            expected = {path: value for (at, path), value in self.model.seen.items() if at == place}
            assert expected == values, f"{place} after\n{story}"
        assert self.model.conflicts(node) == sorted(conflicts), f"conflicts of {node} after\n{story}"
        for path, conflict in conflicts.items():
            for place, copy, value in (
                (node, conflict.copy_here, self.model.open[node, path].there),
                (HUB, conflict.copy_there, self.model.open[node, path].here),
            ):
                assert copy is not None, f"a copy of {path} on {place} after\n{story}"
                item = self.world.places[place].item(copy.path)
                assert value == (item and item.content), f"{copy.path} on {place} after\n{story}"


def drawn(rng: random.Random, nodes: str, version: int) -> Op:
    """Something that people or nodes do."""
    place, node, path = rng.choice((*nodes, *nodes, HUB)), rng.choice(nodes), rng.choice(PATHS)
    verbs = {"write": 8, "unpack": 2, "same": 2, "delete": 4, "rename": 2, "touch": 1, "sync": 14}
    copies = {"drop": 2, "drop-there": 2, "take": 1, "take-there": 1, "touch-copy": 1, "touch-copy-there": 1}
    (verb,) = rng.choices([*verbs, *copies, "zone", "lose"], [*verbs.values(), *copies.values(), 1, 1])
    match verb:
        case "zone":
            return Op(HUB, verb, (str(rng.choice(ZONES)),))
        case "write" | "unpack":
            return Op(place, verb, (path, str(version)))
        case "same":
            return Op(place, verb, (path, str(rng.randint(0, version))))
        case "rename":
            return Op(place, verb, (path, rng.choice(PATHS)))
        case "sync" | "lose":
            return Op(node, verb)
        case "delete" | "touch":
            return Op(place, verb, (path,))
    return Op(node, verb, (str(rng.choice((0, 0, 1))),))


def compare(seed: int, number: int) -> None:
    """Let one history happen in a world and in its model. AssertionError where they come to differ."""
    rng = random.Random(f"{seed} {number}")
    nodes = "abc"[: rng.randint(1, 3)]
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as directory:
        world = World(Setting(nodes), Path(directory))
        with world.engine():
            pair = Pair(world)
            for version in range(rng.randint(10, 40)):
                pair.do(drawn(rng, nodes, version))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "seed", [pytest.param(FIXED_SEED, id="fixed"), pytest.param(FRESH_SEED, id="fresh", marks=pytest.mark.long)]
)
def test_the_engine_does_what_the_model_says(seed: int, part: int) -> None:
    """After every run node and hub hold what the model holds, and the same paths are in conflict."""
    for number in range(part * HISTORIES, (part + 1) * HISTORIES):
        compare(seed, number)


@pytest.mark.parametrize("name", ["edit-beats-deletion", "decision-stands"])
def test_the_model_sees_another_engine(name: str) -> None:
    """An engine that decides otherwise does not do what the model says."""
    with MUTATIONS[name].applied(), pytest.raises(AssertionError):
        for number in range(2 * HISTORIES):
            compare(FIXED_SEED, number)


def test_the_model_keeps_both_values_of_a_conflict() -> None:
    """The model's own idea of a conflict, from its beginning to its end."""
    model = Model()
    model.put("a", "f", b"mine")
    model.put(HUB, "f", b"theirs")
    model.sync("a")
    assert ["f"] == model.conflicts("a")
    model.put(HUB, "f", b"newer")
    model.drop("a", "f", there=False)
    model.sync("a")
    assert {("a", "f"): b"mine", (HUB, "f"): b"newer"} == model.seen  # decided against another value: asked anew
    model.drop("a", "f", there=False)
    model.sync("a")
    assert {("a", "f"): b"mine", (HUB, "f"): b"mine"} == model.seen
    assert [] == model.conflicts("a")
