"""Conflicts of two and of three nodes: both versions are kept on both sides until somebody decides, in whatever way."""

from collections.abc import Callable
from itertools import permutations

import pytest

from integration.scenarios import HUB, Fleet, Tree
from symsync.settings import ConflictRule

NODES = ("paris", "oslo", "tehran")
OLD, PARIS, OSLO, TEHRAN = b"old", b"of paris, first", b"oslo's own", b"what tehran thinks"
OF_HUB, OF_OSLO, OF_TEHRAN = "f.hub", "f.oslo", "f.tehran"
"""Copies of f, named after whose version they hold."""


@pytest.fixture
def met(fleet: Fleet) -> Fleet:
    """Three nodes that hold the same file."""
    fleet.join(*NODES)
    fleet["paris"].write("f", OLD)
    fleet.sync_all()
    return fleet


@pytest.fixture
def undecided(met: Fleet) -> Fleet:
    """Paris was first, and oslo has an open conflict with the hub."""
    met["paris"].write("f", PARIS)
    met["oslo"].write("f", OSLO)
    met.sync_all("paris", "oslo")
    return met


def test_both_sides_keep_both_versions(undecided: Fleet) -> None:
    """Under the name each side has its own, beside it the other's; nobody else sees the copies."""
    undecided.sync_all("paris", "tehran")
    assert {
        HUB: {"f": PARIS, OF_OSLO: OSLO},
        "paris": {"f": PARIS},
        "oslo": {"f": OSLO, OF_HUB: PARIS},
        "tehran": {"f": PARIS},
    } == undecided.trees()


def test_an_open_conflict_is_told_and_rests(undecided: Fleet) -> None:
    """Each further run says that the conflict is open (status 1) and writes nothing."""
    before = undecided.everything()
    result = undecided.sync("oslo")
    assert (1, ["f"], 0) == (result.exit_status, [path for path, _ in result.conflicts], result.files)
    assert before == undecided.everything()


Act = Callable[[Fleet], None]


def join_by_hand(fleet: Fleet) -> None:
    """Two people agree on what the file should be."""
    for name in ("oslo", "paris"):
        fleet[name].write("f", b"joined")


DECISIONS: dict[str, tuple[Act, bytes]] = {
    "oslo-removes-the-copy": (lambda fleet: fleet["oslo"].remove(OF_HUB), OSLO),
    "oslo-takes-the-copy": (lambda fleet: fleet["oslo"].rename(OF_HUB, "f"), PARIS),
    "oslo-removes-its-own": (lambda fleet: fleet["oslo"].remove("f"), PARIS),
    "hub-removes-the-copy": (lambda fleet: fleet.hub.place.remove(OF_OSLO), PARIS),
    "hub-takes-the-copy": (lambda fleet: fleet.hub.place.rename(OF_OSLO, "f"), OSLO),
    "hub-removes-its-own": (lambda fleet: fleet.hub.place.remove("f"), OSLO),
    "both-write-the-same": (join_by_hand, b"joined"),
}
"""What somebody does about the conflict, and which version then stands."""


@pytest.mark.parametrize(("act", "winner"), DECISIONS.values(), ids=DECISIONS)
def test_who_decides_is_heard(undecided: Fleet, act: Act, winner: bytes) -> None:
    """The version that was decided for is everywhere, and all copies are gone."""
    act(undecided)
    undecided.sync_all()
    results = undecided.sync_all()
    assert undecided.all_hold({"f": winner}) == undecided.trees()
    assert dict.fromkeys(NODES, 0) == {name: result.exit_status for name, result in results.items()}


def test_both_copies_gone_is_asked_anew(undecided: Fleet) -> None:
    """Each side decided for itself, which is no decision: the copies come back."""
    undecided["oslo"].remove(OF_HUB)
    undecided.hub.place.remove(OF_OSLO)
    result = undecided.sync("oslo")
    assert 1 == result.exit_status
    assert {"f": OSLO, OF_HUB: PARIS} == undecided["oslo"].tree()
    assert {"f": PARIS, OF_OSLO: OSLO} == undecided.hub.place.tree()


def test_all_gone_is_gone(undecided: Fleet) -> None:
    """The file deleted on both sides is deleted, and the copies go with it."""
    undecided["oslo"].remove("f")
    undecided.hub.place.remove("f")
    undecided.sync_all("oslo", "paris", "tehran")
    assert undecided.all_hold({}) == undecided.trees()


@pytest.mark.parametrize("side", ["oslo", HUB])
def test_an_edit_of_an_open_conflict_brings_its_copy_up_to_date(undecided: Fleet, side: str) -> None:
    """Neither version is overrun; the copy on the other side follows."""
    edited = b"edited once more"
    if side == HUB:
        undecided["paris"].write("f", edited)
        undecided.sync("paris")
    else:
        undecided["oslo"].write("f", edited)
    undecided.sync("oslo")
    oslo, hub = (OSLO, edited) if side == HUB else (edited, PARIS)
    assert {"f": oslo, OF_HUB: hub} == undecided["oslo"].tree()
    assert {"f": hub, OF_OSLO: oslo} == undecided.hub.place.tree()


def test_a_decision_counts_only_against_what_was_seen(undecided: Fleet) -> None:
    """Oslo removes the copy of a version that paris has edited meanwhile: nobody has decided against that one."""
    undecided["oslo"].remove(OF_HUB)
    undecided["paris"].write("f", b"edited meanwhile")
    undecided.sync_all("paris", "oslo")
    assert {"f": OSLO, OF_HUB: b"edited meanwhile"} == undecided["oslo"].tree()
    assert {"f": b"edited meanwhile", OF_OSLO: OSLO} == undecided.hub.place.tree()


@pytest.mark.parametrize("side", ["oslo", HUB])
def test_an_edited_copy_is_a_users_file(undecided: Fleet, side: str) -> None:
    """It travels like any other, stays when the conflict is decided, and its edit is not lost."""
    where, path = (undecided.hub.place, OF_OSLO) if side == HUB else (undecided["oslo"], OF_HUB)
    where.write(path, b"merged by hand")
    assert 1 == undecided.sync("oslo").exit_status
    undecided.sync_all("paris", "tehran")
    assert dict.fromkeys(NODES, b"merged by hand") == {name: undecided[name].tree()[path] for name in NODES}
    undecided["oslo"].write("f", PARIS)
    undecided.sync_all("oslo", "paris", "tehran", "oslo")
    assert undecided.all_hold({"f": PARIS, path: b"merged by hand"}) == undecided.trees()


@pytest.mark.parametrize("order", list(permutations(NODES)), ids="-".join)
def test_three_versions_in_all_orders_of_syncing(met: Fleet, order: tuple[str, ...]) -> None:
    """The first is the hub's; each of the others has its own conflict; then one after another decides for the hub's."""
    own = {"paris": PARIS, "oslo": OSLO, "tehran": TEHRAN}
    for name, content in own.items():
        met[name].write("f", content)
    met.sync_all(*order)
    first, second, third = order
    assert {
        HUB: {"f": own[first], f"f.{second}": own[second], f"f.{third}": own[third]},
        first: {"f": own[first]},
        second: {"f": own[second], OF_HUB: own[first]},
        third: {"f": own[third], OF_HUB: own[first]},
    } == met.trees()
    met[second].rename(OF_HUB, "f")
    met.sync(second)
    assert {"f": own[first], f"f.{third}": own[third]} == met.hub.place.tree()
    met.hub.place.remove(f"f.{third}")
    met.sync_all(third, second, first)
    assert met.all_hold({"f": own[first]}) == met.trees()


def test_the_decision_of_one_leaves_the_others_conflict_open(met: Fleet) -> None:
    """Oslo's version goes to the hub; tehran, who was undecided against paris's, now is against oslo's."""
    for name, content in (("paris", PARIS), ("oslo", OSLO), ("tehran", TEHRAN)):
        met[name].write("f", content)
    met.sync_all()
    met["oslo"].remove(OF_HUB)
    met.sync_all()
    assert {
        HUB: {"f": OSLO, OF_TEHRAN: TEHRAN},
        "paris": {"f": PARIS},
        "oslo": {"f": OSLO},
        "tehran": {"f": TEHRAN, OF_HUB: OSLO},
    } == met.trees()
    met["tehran"].remove(OF_HUB)
    met.sync_all("tehran", "oslo", "paris")
    assert met.all_hold({"f": TEHRAN}) == met.trees()


def test_a_new_file_of_two_nodes_is_a_conflict(met: Fleet) -> None:
    """Neither knew of the other's: both are kept."""
    met["paris"].write("new", PARIS)
    met["oslo"].write("new", OSLO)
    met.sync_all("paris", "oslo")
    assert {"f": OLD, "new": OSLO, "new.hub": PARIS} == met["oslo"].tree()


def test_a_taken_name_is_left_alone(met: Fleet) -> None:
    """Somebody's own file named like a copy stays what it is; the copy gets the next name."""
    met["oslo"].write(OF_HUB, b"oslo's own hub file")
    met.sync_all("oslo", "paris", "tehran")
    met["paris"].write("f", PARIS)
    met["oslo"].write("f", OSLO)
    met.sync_all("paris", "oslo")
    assert {"f": OSLO, OF_HUB: b"oslo's own hub file", "f.hub.2": PARIS} == met["oslo"].tree()
    assert {"f": PARIS, OF_HUB: b"oslo's own hub file", OF_OSLO: OSLO} == met.hub.place.tree()


@pytest.mark.parametrize("rule", [ConflictRule.LOCAL, ConflictRule.HUB, ConflictRule.NEWER])
def test_a_rule_decides_where_nobody_is_there(met: Fleet, rule: ConflictRule) -> None:
    """The winner has the name, the loser stays beside it as an ordinary file, for all."""
    met["paris"].write("f", PARIS)
    met["paris"].set_time("f", 1_700_000_000_000_000_000)
    met["oslo"].write("f", OSLO)
    met["oslo"].set_time("f", 1_700_000_100_000_000_000)
    met.sync("paris")
    assert 0 == met.sync("oslo", conflict=rule).exit_status
    met.sync_all("oslo", "paris", "tehran")
    expected: Tree = {"f": PARIS, OF_OSLO: OSLO} if rule is ConflictRule.HUB else {"f": OSLO, OF_HUB: PARIS}
    assert met.all_hold(expected) == met.trees()


def test_newer_with_equal_times_keeps_the_conflict(met: Fleet) -> None:
    """Where the times tell nothing somebody has to decide."""
    for name, content in (("paris", PARIS), ("oslo", OSLO)):
        met[name].write("f", content)
        met[name].set_time("f", 1_700_000_000_000_000_000)
    met.sync("paris")
    assert 1 == met.sync("oslo", conflict=ConflictRule.NEWER).exit_status
    assert {"f": OSLO, OF_HUB: PARIS} == met["oslo"].tree()


# A file against a directory


@pytest.fixture
def mixed(met: Fleet) -> Fleet:
    """On the hub f is a directory with a file in it, for oslo it is an edited file."""
    met["paris"].remove("f")
    met["paris"].write("f/inside", PARIS)
    met["oslo"].write("f", OSLO)
    met.sync_all("paris", "oslo")
    return met


def test_a_file_against_a_directory(mixed: Fleet) -> None:
    """Only the file gets a copy; what is in the directory stays where it is."""
    assert {"f/inside": PARIS, OF_OSLO: OSLO} == mixed.hub.place.tree()
    assert {"f": OSLO} == mixed["oslo"].tree()


def test_the_directory_is_decided_for(mixed: Fleet) -> None:
    """Oslo removes its file, and gets the directory."""
    mixed["oslo"].remove("f")
    mixed.sync_all("oslo", "paris", "tehran", "oslo")
    assert mixed.all_hold({"f/inside": PARIS}) == mixed.trees()


def test_the_file_is_decided_for(mixed: Fleet) -> None:
    """The directory is removed on the hub, and the file takes its name everywhere."""
    mixed.hub.place.remove("f")
    mixed.sync_all("oslo", "paris", "tehran", "oslo")
    assert mixed.all_hold({"f": OSLO}) == mixed.trees()


def test_the_copy_of_the_file_is_removed(mixed: Fleet) -> None:
    """Whoever removes it on the hub decides for the hub's directory."""
    mixed.hub.place.remove(OF_OSLO)
    mixed.sync_all("oslo", "oslo", "paris", "tehran")
    assert mixed.all_hold({"f/inside": PARIS}) == mixed.trees()
