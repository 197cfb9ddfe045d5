"""One script of many nodes gives the same end on every kind of server, and the mirrored script the mirrored end.

All hubs are compared with one expectation that is written down here, and so with each other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from integration.conftest import SIX_HUBS, HubMaker
from integration.scenarios import DIRECTORY, HUB, Fleet, Place, Tree

WITH_TLS = pytest.param("vsftpd-tls", marks=pytest.mark.docker)

ON_EACH = pytest.mark.parametrize("make_hub", [*SIX_HUBS, WITH_TLS], indirect=True)

BIG = bytes(range(256)) * 2048

BEFORE: Tree = {
    "letters/to ada": b"Dear Ada",
    "letters/نامه": b"salaam",
    "both": b"first",
    "kind": b"a file",
    "gone": b"soon",
    "kept": b"edited against a removal",
    "photos/beach": BIG,
    "empty": DIRECTORY,
}


def settled(fleet: Fleet) -> list[int]:
    """Run all nodes twice, which is enough once nobody edits; the exit statuses and files of a third run of each."""
    fleet.sync_all()
    fleet.sync_all()
    results = fleet.sync_all().values()
    assert not [outcome for result in results for outcome in result.outcomes]
    assert 0 == sum(result.files for result in results)
    return [result.exit_status for result in results]


@ON_EACH
def test_the_script_ends_the_same(fleet: Fleet) -> None:
    """Edits, moves, removals and their clashes, a conflict that is decided on a node and one decided on the hub."""
    hub, names = fleet.hub.place, ("paris", "oslo", "tehran")
    fleet.join(*names)
    paris, oslo, tehran = (fleet[name] for name in names)
    paris.fill(BEFORE)
    oslo.fill({"both": b"first", "letters/to ada": b"Dear Ada"})
    assert [0, 0, 0] == settled(fleet)
    assert fleet.all_hold(BEFORE) == fleet.trees()

    paris.rename("photos", "pictures/of paris")
    paris.remove("gone")
    paris.remove("kept")
    oslo.write("both", b"of oslo")
    oslo.write("kept", b"still needed")
    tehran.write("both", b"tehran's")
    tehran.remove("kind")
    tehran.write("kind/in", b"now a directory")
    hub.write("letters/to ada", b"Dear Ada, from the hub")
    assert [0, 0, 1] == settled(fleet)
    shared: Tree = {
        "letters/to ada": b"Dear Ada, from the hub",
        "letters/نامه": b"salaam",
        "kind/in": b"now a directory",
        "kept": b"still needed",
        "pictures/of paris/beach": BIG,
        "empty": DIRECTORY,
    }
    assert {
        HUB: {**shared, "both": b"of oslo", "both.tehran": b"tehran's"},
        "paris": {**shared, "both": b"of oslo"},
        "oslo": {**shared, "both": b"of oslo"},
        "tehran": {**shared, "both": b"tehran's", "both.hub": b"of oslo"},
    } == fleet.trees()

    tehran.remove("both.hub")
    assert [0, 0, 0] == settled(fleet)
    assert fleet.all_hold({**shared, "both": b"tehran's"}) == fleet.trees()

    oslo.write("both", b"oslo again")
    paris.write("both", b"paris too")
    fleet.sync_all("oslo", "paris")
    hub.rename("both.paris", "both")
    assert [0, 0, 0] == settled(fleet)
    assert fleet.all_hold({**shared, "both": b"paris too"}) == fleet.trees()


ONE, TWO = "one", "two"

Script = Callable[[Place, Place], None]


def _edits(one: Place, two: Place) -> None:
    one.write("both", b"of one")
    two.write("both", b"two's version")
    one.remove("gone")
    two.remove("kept")
    one.write("kept", b"edited by one")
    two.rename("photos/beach", "coast")
    one.remove("kind")
    one.write("kind/in", b"a directory")
    two.write("letters/new", b"of two")
    two.make_directory("empty/no more")


def _decisions(one: Place, two: Place) -> None:
    two.remove("both.one")
    one.write("letters/new", b"edited by one")
    two.remove("empty")


@ON_EACH
def test_the_mirrored_script_ends_mirrored(make_hub: HubMaker, base: Path) -> None:
    """What one did as the node it does as the hub, and the other way round: each of them ends with the same."""
    ends = [_played(make_hub, base, names) for names in ((ONE, TWO), (TWO, ONE))]
    assert ends[0] == ends[1]
    after_edits, after_decisions = ends[0]
    assert b"of one" == after_edits[ONE]["both"] == after_edits[TWO]["both.one"]
    assert b"two's version" == after_edits[TWO]["both"] == after_edits[ONE]["both.two"]
    assert after_decisions[ONE] == after_decisions[TWO]
    assert b"two's version" == after_decisions[ONE]["both"]


def _played(make_hub: HubMaker, base: Path, names: Sequence[str]) -> list[dict[str, Tree]]:
    """The trees of ONE and TWO after each part of the script, the first of `names` being the node."""
    hub = make_hub()
    node, peer = names
    fleet = Fleet(hub, base)
    fleet.join(node, peer=peer)
    places: dict[str, Place] = {node: fleet[node], peer: hub.place}
    places[ONE].fill(BEFORE)
    fleet.sync(node)
    trees = []
    for script in (_edits, _decisions):
        script(places[ONE], places[TWO])
        fleet.sync(node)
        fleet.sync(node)
        trees.append({name: place.tree() for name, place in places.items()})
    return trees
