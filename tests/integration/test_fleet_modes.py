"""What each mode does to what was edited, deleted and made on either side; and the one-way modes' options."""

import shutil
import time

import pytest

from integration.scenarios import HUB, Fleet, Tree, lines_of
from symsync.core.modes import Mode
from symsync_protocol.errors import Stopped
from symsync_protocol.names import STATE_DIR
from symsync_protocol.stamps import SECOND

NODE = "paris"
OLDER = "one side's state is older than the other's (a backup came back?): nothing is removed in this run"

START: Tree = {
    "both edited": b"0",
    "deleted here": b"1",
    "deleted on hub": b"2",
    "edited here": b"3",
    "edited on hub": b"4",
    "kept": b"5",
}
AT_NODE: Tree = {"both edited": b"of paris", "edited here": b"33", "new here": b"n"}
AT_HUB: Tree = {"both edited": b"hub's own", "edited on hub": b"44", "new on hub": b"nn"}


@pytest.fixture
def met(fleet: Fleet) -> Fleet:
    """One node in step with the hub."""
    fleet.join(NODE)
    fleet[NODE].fill(START)
    fleet.sync(NODE)
    return fleet


@pytest.fixture
def apart(met: Fleet) -> Fleet:
    """On both sides something was edited, deleted and made since."""
    for place, edits, gone in ((met[NODE], AT_NODE, "deleted here"), (met.hub.place, AT_HUB, "deleted on hub")):
        place.fill(edits)
        place.remove(gone)
    return met


MERGED: Tree = {"kept": b"5", "edited here": b"33", "edited on hub": b"44", "new here": b"n", "new on hub": b"nn"}
BACKED_UP: Tree = MERGED | {"both edited": b"of paris", "deleted on hub": b"2"}
FETCHED: Tree = MERGED | {"both edited": b"hub's own", "deleted here": b"1"}
OF_NODE: Tree = {
    "both edited": b"of paris",
    "deleted on hub": b"2",
    "edited here": b"33",
    "edited on hub": b"4",
    "kept": b"5",
    "new here": b"n",
}
OF_HUB: Tree = {
    "both edited": b"hub's own",
    "deleted here": b"1",
    "edited here": b"3",
    "edited on hub": b"44",
    "kept": b"5",
    "new on hub": b"nn",
}

ENDS: dict[Mode, tuple[Tree, Tree]] = {
    Mode.SYNC: (
        MERGED | {"both edited": b"of paris", "both edited.hub": b"hub's own"},
        MERGED | {"both edited": b"hub's own", "both edited.paris": b"of paris"},
    ),
    Mode.MASTER: (BACKED_UP, BACKED_UP),
    Mode.SLAVE: (FETCHED, FETCHED),
    Mode.ORIGINAL: (OF_NODE, OF_NODE | {"new on hub": b"nn"}),
    Mode.MIRROR: (OF_HUB | {"new here": b"n"}, OF_HUB),
}
"""The node and the hub after a run in each mode, from the tables' prose."""


@pytest.mark.parametrize("mode", Mode)
def test_a_mode_does_what_its_table_says(apart: Fleet, mode: Mode) -> None:
    """All kinds of edits on both sides at once, then one run; a second one finds nothing to do."""
    apart.sync(NODE, mode=mode)
    at_node, at_hub = ENDS[mode]
    assert {HUB: at_hub, NODE: at_node} == apart.trees()
    apart.sync(NODE, mode=mode)
    before = apart.everything()
    assert 0 == apart.sync(NODE, mode=mode).files
    assert before == apart.everything()


@pytest.mark.parametrize("mode", [Mode.ORIGINAL, Mode.MIRROR])
def test_delete_removes_what_the_source_lacks(apart: Fleet, mode: Mode) -> None:
    """With --delete the target is what the source is."""
    apart.sync(NODE, mode=mode, delete=True)
    at_node, at_hub = ENDS[mode]
    assert apart.all_hold(at_node if mode is Mode.ORIGINAL else at_hub) == apart.trees()


@pytest.mark.parametrize("mode", [Mode.MASTER, Mode.SLAVE, Mode.ORIGINAL, Mode.MIRROR])
def test_a_one_way_mode_settles_an_open_conflict(apart: Fleet, mode: Mode) -> None:
    """By its direction; nothing is open any more."""
    assert 1 == apart.sync(NODE).exit_status
    assert 0 == apart.sync(NODE, mode=mode).exit_status
    expected = b"of paris" if mode in (Mode.MASTER, Mode.ORIGINAL) else b"hub's own"
    sides = [apart[NODE], apart.hub.place]
    targets = sides[1:] if mode in (Mode.ORIGINAL, Mode.MASTER) else sides[:1]
    assert [expected] * len(targets) == [place.read("both edited") for place in targets]


@pytest.mark.parametrize("mode", [Mode.ORIGINAL, Mode.MIRROR])
def test_only_newer_leaves_alone_what_is_newer_on_the_target(met: Fleet, mode: Mode) -> None:
    """The times of both sides are compared, however the hub tells its own."""
    hour = 3600 * SECOND
    met[NODE].write("kept", b"of paris")
    met.hub.place.write("kept", b"hub's own")
    met[NODE].set_time("kept", time.time_ns() + (hour if mode is Mode.MIRROR else -hour))
    before = met.trees()
    met.sync(NODE, mode=mode, only_newer=True)
    assert before == met.trees()


def test_mirror_writes_nothing_where_nothing_may_be_written(met: Fleet) -> None:
    """A login that may only read is enough, for several nodes, changes and deletions; nothing is left on the hub."""
    met.hub.place.write("edited on hub", b"44")
    met.hub.place.remove("deleted on hub")
    before = met.hub.place.everything()
    with met.hub.forbid_writing() as way:
        met.configure(NODE, **lines_of(way), mode="mirror")
        met.join("oslo", **lines_of(way), mode="mirror")
        met.sync_all(NODE, "oslo")
        again = met.sync_all(NODE, "oslo")
        after = met.hub.place.everything()
    assert before == after
    assert met.all_hold(met.hub.place.tree()) == met.trees()
    assert [(0, 0)] * 2 == [(result.exit_status, result.files) for result in again.values()]


def test_mirror_of_what_was_never_synchronised(fleet: Fleet) -> None:
    """A server's directory that knows nothing of symsync is mirrored, and stays without any trace of it."""
    fleet.hub.place.fill(START)
    before = fleet.hub.place.everything()
    fleet.join(NODE, mode="mirror")
    with fleet.hub.forbid_writing() as way:
        fleet.configure(NODE, **lines_of(way), mode="mirror")
        assert 0 == fleet.sync(NODE).exit_status
    fleet.configure(NODE, mode="mirror")
    fleet.hub.place.write("kept", b"newer")
    fleet.hub.place.remove("edited here")
    fleet.sync(NODE)
    expected = {**START, "kept": b"newer"}
    del expected["edited here"]
    assert fleet.all_hold(expected) == fleet.trees()
    assert before.keys() - {"edited here"} == fleet.hub.place.everything().keys()


def test_without_symsync_no_state_is_on_the_hub(fleet: Fleet) -> None:
    """`symsync no`: the ancestor's way, with the local state alone; deletions and conflicts work all the same."""
    fleet.join(NODE, "oslo", symsync="no")
    fleet[NODE].fill(START)
    fleet.sync_all()
    assert fleet.all_hold(START) == fleet.trees()
    fleet[NODE].remove("deleted here")
    fleet[NODE].write("both edited", b"of paris")
    fleet["oslo"].write("both edited", b"oslo's own")
    fleet.sync_all()
    expected = {**START, "both edited": b"of paris"}
    del expected["deleted here"]
    assert expected == fleet[NODE].tree()
    assert {**expected, "both edited": b"oslo's own", "both edited.hub": b"of paris"} == fleet["oslo"].tree()
    assert not [path for path in fleet.hub.place.everything() if path.startswith(".sync.state")]


# A mode that records nothing on the hub, between runs that do


@pytest.fixture
def mirrored(met: Fleet) -> Fleet:
    """In step, and then a mirror's run has brought something that the hub's state of the node does not know."""
    met.hub.place.write("new on hub", b"nn")
    assert 1 == met.sync(NODE, mode=Mode.MIRROR).files
    return met


def test_what_happens_after_a_mirrors_run_travels(mirrored: Fleet) -> None:
    """Edits and deletions on either side, time and again; the hub was not restored, though its state is the older."""
    expected = {**START, "new on hub": b"nn"}
    for number in range(2):
        mirrored[NODE].remove(gone_here := ("deleted here", "kept")[number])
        mirrored.hub.place.remove(gone_there := ("deleted on hub", "new on hub")[number])
        mirrored[NODE].write("edited here", mine := b"mine %d" % number)
        mirrored.hub.place.write("edited on hub", theirs := b"their own %d" % number)
        assert 0 == mirrored.sync(NODE).exit_status
        assert [] == mirrored.told.texts
        for path in (gone_here, gone_there):
            del expected[path]
        expected |= {"edited here": mine, "edited on hub": theirs}
        assert mirrored.all_hold(expected) == mirrored.trees()
        assert 0 == mirrored.sync(NODE).files  # what was in doubt, as the hub's tick had not passed, is settled
        before = mirrored.everything()
        assert 0 == mirrored.sync(NODE).files
        assert before == mirrored.everything()
        mirrored.hub.place.write("later", b"later %d" % number)
        assert 1 == mirrored.sync(NODE, mode=Mode.MIRROR).files
        expected["later"] = b"later %d" % number


def test_what_both_edit_after_a_mirrors_run_is_a_conflict(mirrored: Fleet) -> None:
    """Nothing else is; and other nodes leave its copies out, for they read of them in what was appended."""
    mirrored[NODE].write("both edited", b"of paris")
    mirrored.hub.place.write("both edited", b"hub's own")
    assert ["both edited"] == [path for path, _ in mirrored.sync(NODE).conflicts]
    mirrored.join("oslo")
    mirrored.sync("oslo")
    assert {**START, "new on hub": b"nn", "both edited": b"hub's own"} == mirrored["oslo"].tree()


def test_a_hub_restored_after_a_mirrors_run_removes_nothing(met: Fleet) -> None:
    """The backup is older than what this node recorded there."""
    backup = {path: item for path, item in met.hub.place.everything().items() if isinstance(item, bytes)}
    met[NODE].write("new here", b"n")
    met.sync(NODE)
    met.hub.place.write("new on hub", b"nn")
    met.sync(NODE, mode=Mode.MIRROR)
    restore(met, backup)
    met.sync(NODE)
    assert [OLDER] == met.told.texts
    assert met.all_hold({**START, "new here": b"n", "new on hub": b"nn"}) == met.trees()


def test_a_hub_restored_to_what_a_node_last_recorded_removes_nothing(met: Fleet) -> None:
    """A mirror's run saw what another node put there since; that node's state, too, is older now."""
    met.join("oslo")
    met.sync_all("oslo", NODE)
    backup = {path: item for path, item in met.hub.place.everything().items() if isinstance(item, bytes)}
    met["oslo"].write("new here", b"n")
    met.sync("oslo")
    met.sync(NODE, mode=Mode.MIRROR)
    restore(met, backup)
    met.sync(NODE)
    assert [OLDER] == met.told.texts
    met.sync("oslo")
    assert met.all_hold({**START, "new here": b"n"}) == met.trees()


def test_a_node_restored_after_a_mirrors_run_removes_nothing(mirrored: Fleet) -> None:
    """The hub has what this node recorded since."""
    backup = mirrored.base / "backup"
    shutil.copytree(mirrored[NODE].root, backup)
    mirrored[NODE].write("new here", b"n")
    mirrored.sync(NODE)
    for path in (*mirrored[NODE].tree(), STATE_DIR):
        mirrored[NODE].remove(path)
    shutil.copytree(backup, mirrored[NODE].root, dirs_exist_ok=True)
    mirrored.sync(NODE)
    assert [OLDER] == mirrored.told.texts
    assert mirrored.all_hold({**START, "new on hub": b"nn", "new here": b"n"}) == mirrored.trees()


def test_who_forgot_what_a_mirrors_run_left_removes_nothing(mirrored: Fleet) -> None:
    """Without `_met` nothing tells a hub that lags behind from a restored one, neither in this run nor after more
    such ones."""
    mirrored[NODE].remove(f"{STATE_DIR}/_met.{HUB}")
    mirrored.hub.place.write("later", b"later")
    mirrored.sync(NODE, mode=Mode.MIRROR)
    mirrored[NODE].remove("kept")
    mirrored.sync(NODE)
    assert [OLDER] == mirrored.told.texts
    assert mirrored.all_hold({**START, "new on hub": b"nn", "later": b"later"}) == mirrored.trees()


def test_who_was_always_a_mirror_may_synchronise(met: Fleet) -> None:
    """On a hub that others named: what happened since its last run travels both ways."""
    met.join("oslo")
    met.sync("oslo", mode=Mode.MIRROR)
    met["oslo"].remove("deleted here")
    met.hub.place.remove("deleted on hub")
    met["oslo"].write("edited here", b"33")
    assert 0 == met.sync("oslo").exit_status
    assert [] == met.told.texts
    met.sync(NODE)
    expected = {**START, "edited here": b"33"}
    del expected["deleted here"], expected["deleted on hub"]
    assert met.all_hold(expected) == met.trees()


@pytest.mark.parametrize("named", [False, True], ids=["by nobody", "by another node since"])
def test_who_was_always_a_mirror_may_name_the_hub(fleet: Fleet, named: bool) -> None:
    """A hub that had no identity has lost none."""
    fleet.hub.place.fill(START)
    fleet.join(NODE, "oslo")
    fleet.sync(NODE, mode=Mode.MIRROR)
    if named:
        fleet.sync("oslo")
        fleet.sync(NODE, mode=Mode.MIRROR)
    assert 0 == fleet.sync(NODE).exit_status
    fleet[NODE].remove("kept")
    fleet.sync_all(NODE, "oslo", NODE)
    assert fleet.all_hold({path: item for path, item in START.items() if path != "kept"}) == fleet.trees()


def test_a_hub_that_lost_its_identity_after_a_mirrors_run_stops(met: Fleet) -> None:
    """It had one when the mirror's run met it."""
    met.join("oslo")
    met.sync("oslo", mode=Mode.MIRROR)
    met.hub.place.remove(STATE_DIR)
    with pytest.raises(Stopped, match="lost its identity"):
        met.sync("oslo")


def restore(fleet: Fleet, backup: Tree) -> None:
    """Put `backup` in the place of all that is on the hub."""
    for path in {path.partition("/")[0] for path in (*fleet.hub.place.tree(), f"{STATE_DIR}/")}:
        fleet.hub.place.remove(path)
    fleet.hub.place.fill(backup)
