"""No side is preferred: node and hub with their roles exchanged come to the mirrored result."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from integration.conftest import HubMaker
from integration.scenarios import DIRECTORY, Hub, LocalPlace, Place, Tree, configure
from symsync import session
from symsync.config import load
from symsync.core.modes import Mode
from symsync.events import Audience, Result

ONE, TWO = "one", "two"

BEFORE: Tree = {"f": b"old", "g": b"gone", "d/x": b"x", "moves": b"m", "k": b"kind", "empty": DIRECTORY}

Edits = Mapping[str, bytes | None]
"""What a person writes; None: removes."""

EDITS: dict[str, tuple[Edits, Edits]] = {
    "nothing": ({}, {}),
    "edits": ({"f": b"of one"}, {"d/x": b"of two"}),
    "conflict": ({"f": b"of one"}, {"f": b"also two"}),
    "deletion": ({"g": None}, {}),
    "deletion-against-edit": ({"g": None}, {"g": b"still needed"}),
    "directory-against-edit": ({"d": None}, {"d/x": b"still needed"}),
    "move": ({"moves": None, "moved": b"m"}, {}),
    "file-against-directory": ({"k": None, "k/in": b"i"}, {"k": b"still a file"}),
    "both-new": ({"new": b"1"}, {"new": b"22"}),
    "both-removed": ({"g": None}, {"g": None}),
}
"""What is done on side one and on side two."""


class Pair:
    """Two places that synchronise; the first is the node, the second the hub."""

    def __init__(self, hub: Hub, node: Path, names: tuple[str, str]) -> None:
        node.mkdir()
        self.node, self.hub = LocalPlace(node), hub.place
        usual = {"nodename": names[0], "peer": names[1], "includedots": "yes", "allowblanks": "yes"}
        configure(node, usual | hub.lines())

    def run(self) -> Result:
        return session.run(load(self.node.root), Audience())

    def places(self) -> tuple[Place, Place]:
        return self.node, self.hub


def edit(place: Place, edits: Edits) -> None:
    for path, content in edits.items():
        if content is None:
            place.remove(path)
        else:
            place.write(path, content)


@pytest.mark.parametrize(("by_one", "by_two"), EDITS.values(), ids=EDITS)
def test_the_mirrored_run_gives_the_mirrored_result(
    make_hub: HubMaker, base: Path, by_one: Edits, by_two: Edits
) -> None:
    """Once one is the node and two the hub, once the other way round: both times each side ends with the same."""
    ends = []
    for names in ((ONE, TWO), (TWO, ONE)):
        pair = Pair(make_hub(), base / names[0], names)
        place = dict(zip(names, pair.places(), strict=True))
        place[ONE].fill(BEFORE)
        pair.run()
        edit(place[ONE], by_one)
        edit(place[TWO], by_two)
        result = pair.run()
        ends.append((place[ONE].tree(), place[TWO].tree(), result.exit_status))
    assert ends[0] == ends[1]


def test_a_hub_that_becomes_a_node_knows_all(base: Path) -> None:
    """The state is on both sides: a directory that was the hub runs as the node, and has nothing to ask or to send."""
    one, two = base / ONE, base / TWO
    for directory, other, names in ((one, two, (ONE, TWO)), (two, one, (TWO, ONE))):
        directory.mkdir()
        configure(directory, {"nodename": names[0], "peer": names[1], "protocol": "file", "dir": str(other)})
    LocalPlace(one).fill(BEFORE)
    session.run(load(one), Audience())
    second = session.run(load(two), Audience())
    assert (0, 0, ()) == (second.exit_status, second.files, second.outcomes)
    LocalPlace(two).remove("g")
    LocalPlace(one).write("f", b"new")
    third = session.run(load(two), Audience())
    fourth = session.run(load(one), Audience())
    expected = {**BEFORE, "f": b"new"}
    del expected["g"]
    assert (expected, expected) == (LocalPlace(one).tree(), LocalPlace(two).tree())
    assert (0, 1, 0, 0) == (third.exit_status, third.files, fourth.exit_status, fourth.files)


def test_a_conflict_may_be_decided_from_the_other_side(base: Path) -> None:
    """Opened by a run of one, settled by a run of two."""
    one, two = base / ONE, base / TWO
    for directory, other, names in ((one, two, (ONE, TWO)), (two, one, (TWO, ONE))):
        directory.mkdir()
        configure(directory, {"nodename": names[0], "peer": names[1], "protocol": "file", "dir": str(other)})
    LocalPlace(one).write("f", b"old")
    session.run(load(one), Audience())
    LocalPlace(one).write("f", b"of one")
    LocalPlace(two).write("f", b"two's version")
    session.run(load(one), Audience())
    assert {"f": b"two's version", "f.one": b"of one"} == LocalPlace(two).tree()
    LocalPlace(two).remove("f.one")
    assert 0 == session.run(load(two), Audience()).exit_status
    assert [{"f": b"two's version"}] * 2 == [LocalPlace(one).tree(), LocalPlace(two).tree()]


def test_master_and_slave_mirror_each_other(make_hub: HubMaker, base: Path) -> None:
    """A backup made from the one side is a backup made from the other."""
    ends = []
    for names, mode in (((ONE, TWO), Mode.MASTER), ((TWO, ONE), Mode.SLAVE)):
        pair = Pair(make_hub(), base / names[0], names)
        place = dict(zip(names, pair.places(), strict=True))
        place[ONE].fill(BEFORE)
        settings = replace(load(pair.node.root), mode=mode)
        session.run(settings, Audience())
        edit(place[TWO], {"f": b"damaged", "g": None, "extra": b"new there"})
        session.run(settings, Audience())
        ends.append((place[ONE].tree(), place[TWO].tree()))
    assert ends[0] == ends[1]
