"""Several nodes and one hub: what somebody changes in one place is everywhere after each node's next runs."""

import time
from itertools import permutations

import pytest

from integration.scenarios import DIRECTORY, HUB, Fleet, Tree
from symsync_protocol.stamps import SECOND

NODES = ("paris", "oslo", "tehran")

TIME = 1_577_934_245_678_901_234
"""2020-01-02 03:04:05.678901234 UTC: finer than any server tells."""

START: Tree = {
    "kept": b"kept",
    "edited": b"old",
    "deleted": b"to go",
    "renamed": b"moves on",
    "d/deep/er/file": b"far down",
    "empty": DIRECTORY,
    "a b": b"blank",
    ".dot": b"dot",
    "\u0633\u0644\u0627\u0645": b"salaam",
}


@pytest.fixture
def met(fleet: Fleet) -> Fleet:
    """Three nodes that hold the same."""
    fleet.join(*NODES)
    fleet["paris"].fill(START)
    fleet.sync_all()
    return fleet


def test_three_nodes_come_to_hold_the_same(met: Fleet) -> None:
    """Files, deep trees, empty directories, dots, blanks and letters of all scripts are everywhere."""
    assert met.all_hold(START) == met.trees()


def test_a_run_with_nothing_to_do_writes_nothing(met: Fleet) -> None:
    """Neither transfers nor states: every byte in every place is as before."""
    before = met.everything()
    results = met.sync_all().values()
    assert before == met.everything()
    assert [(0, 0, 0)] * 3 == [(result.exit_status, result.files, len(result.outcomes)) for result in results]


@pytest.mark.parametrize("order", list(permutations(NODES)), ids="-".join)
def test_changes_arrive_in_all_orders_of_syncing(met: Fleet, order: tuple[str, ...]) -> None:
    """Each node edits, deletes, renames and makes something before anybody synchronises: two runs of each suffice."""
    paris, oslo, tehran = (met[name] for name in NODES)
    paris.write("edited", b"new version")
    oslo.remove("deleted")
    oslo.write("d/deep/of oslo", b"o")
    tehran.rename("renamed", "d/moved")
    tehran.remove("empty")
    tehran.make_directory("other/empty")
    met.sync_all(*order)
    met.sync_all(*order)
    expected: Tree = {
        "kept": b"kept",
        "edited": b"new version",
        "d/deep/er/file": b"far down",
        "d/deep/of oslo": b"o",
        "d/moved": b"moves on",
        "other/empty": DIRECTORY,
        "a b": b"blank",
        ".dot": b"dot",
        "\u0633\u0644\u0627\u0645": b"salaam",
    }
    assert met.all_hold(expected) == met.trees()


def test_changes_on_the_hub_arrive(met: Fleet) -> None:
    """Whoever works on the hub itself, past symsync, is a person like any other."""
    met.hub.place.write("edited", b"by the webmaster")
    met.hub.place.remove("deleted")
    met.hub.place.rename("renamed", "d/moved")
    met.hub.place.write("fresh/file", b"new")
    met.sync_all()
    expected = {**START, "edited": b"by the webmaster", "d/moved": b"moves on", "fresh/file": b"new"}
    del expected["deleted"], expected["renamed"]
    assert met.all_hold(expected) == met.trees()


def test_what_was_renamed_is_not_sent_again(met: Fleet) -> None:
    """A file and a whole directory move on the hub and on the other nodes; no content goes over the wire."""
    met["paris"].rename("renamed", "new name")
    met["paris"].rename("d", "moved/d")
    results = met.sync_all()
    expected = {**START, "new name": b"moves on", "moved/d/deep/er/file": b"far down"}
    del expected["renamed"], expected["d/deep/er/file"]
    assert met.all_hold(expected) == met.trees()
    assert dict.fromkeys(NODES, 0) == {name: result.files for name, result in results.items()}


def test_what_was_renamed_on_the_hub_moves(met: Fleet) -> None:
    """Who tidies up on the hub itself moves the files on all nodes, and nothing is left under the old names."""
    met.hub.place.rename("renamed", "new name")
    met.hub.place.rename("d", "moved/d")
    met.sync_all()
    expected = {**START, "new name": b"moves on", "moved/d/deep/er/file": b"far down"}
    del expected["renamed"], expected["d/deep/er/file"]
    assert met.all_hold(expected) == met.trees()


def test_a_renamed_and_edited_file_is_both(met: Fleet) -> None:
    """What does not match any more is an upload and a removal."""
    met["paris"].rename("renamed", "new name")
    met["paris"].write("new name", b"moved, then edited")
    met.sync_all()
    expected = {**START, "new name": b"moved, then edited"}
    del expected["renamed"]
    assert met.all_hold(expected) == met.trees()


def test_two_files_exchange_their_names(met: Fleet) -> None:
    """Both contents are where they belong, everywhere."""
    met["paris"].rename("kept", "x")
    met["paris"].rename("edited", "kept")
    met["paris"].rename("x", "edited")
    met.sync_all()
    assert met.all_hold({**START, "kept": b"old", "edited": b"kept"}) == met.trees()


@pytest.mark.parametrize("order", [("paris", "oslo"), ("oslo", "paris")], ids="-".join)
def test_an_edit_beats_a_deletion(met: Fleet, order: tuple[str, ...]) -> None:
    """Whoever synchronises first, the edited file is back for all."""
    met["paris"].remove("deleted")
    met["oslo"].write("deleted", b"no, still needed")
    met.sync_all(*order)
    met.sync_all()
    assert met.all_hold({**START, "deleted": b"no, still needed"}) == met.trees()


@pytest.mark.parametrize("order", [("paris", "oslo"), ("oslo", "paris")], ids="-".join)
def test_an_edit_below_a_deleted_directory_keeps_it(met: Fleet, order: tuple[str, ...]) -> None:
    """The directory stays with what was edited in it, and nothing else."""
    met["paris"].write("d/other", b"goes")
    met.sync_all()
    met["paris"].remove("d")
    met["oslo"].write("d/deep/er/file", b"edited meanwhile")
    met.sync_all(*order)
    met.sync_all()
    assert met.all_hold({**START, "d/deep/er/file": b"edited meanwhile"}) == met.trees()


def test_a_deleted_file_made_anew_is_new(met: Fleet) -> None:
    """A name may be used again after everybody has forgotten it."""
    met["paris"].remove("deleted")
    met.sync_all()
    met["tehran"].write("deleted", b"another life")
    met.sync_all("tehran", "paris", "oslo")
    assert met.all_hold({**START, "deleted": b"another life"}) == met.trees()


def test_a_file_becomes_a_directory_and_back(met: Fleet) -> None:
    """With nobody else at work on it the kind simply changes everywhere."""
    met["paris"].remove("kept")
    met["paris"].write("kept/inside", b"i")
    met.sync_all()
    expected = {**START, "kept/inside": b"i"}
    del expected["kept"]
    assert met.all_hold(expected) == met.trees()
    met["oslo"].remove("kept")
    met["oslo"].write("kept", b"a file again")
    met.sync_all("oslo", "paris", "tehran")
    assert met.all_hold({**START, "kept": b"a file again"}) == met.trees()


@pytest.mark.parametrize("place", ["paris", HUB])
def test_an_edit_that_leaves_the_size_alone_is_seen(met: Fleet, place: str) -> None:
    """Right after a run, on either side."""
    where = met.hub.place if place == HUB else met[place]
    where.write("edited", b"OLD")
    met.sync_all()
    assert met.all_hold({**START, "edited": b"OLD"}) == met.trees()


def test_a_file_from_the_future_is_at_rest(met: Fleet) -> None:
    """Somebody's clock was wrong: the file travels once, and then no run has anything to do."""
    met.hub.place.write("edited", b"by a traveller")
    met.hub.place.set_time("edited", time.time_ns() + 86_400 * SECOND)
    met.sync_all()
    met.sync_all()
    before = met.everything()
    met.sync_all()
    assert before == met.everything()
    assert met.all_hold({**START, "edited": b"by a traveller"}) == met.trees()


def test_equal_edits_are_no_conflict(met: Fleet) -> None:
    """Two people who made the same of a file agree, and nothing is kept twice."""
    met["paris"].write("edited", b"the same")
    met["oslo"].write("edited", b"the same")
    results = met.sync_all()
    assert met.all_hold({**START, "edited": b"the same"}) == met.trees()
    assert {"paris": 1, "oslo": 0, "tehran": 1} == {name: result.files for name, result in results.items()}


def test_bits_and_times_travel(met: Fleet) -> None:
    """Through a hub that can't hold them, too."""
    made = met["paris"].root / "edited"
    made.write_bytes(b"#!/bin/sh\n")
    made.chmod(0o750)
    met["paris"].set_time("edited", TIME)
    met.sync_all()
    assert dict.fromkeys(NODES, (0o100750, TIME)) == {
        name: (status.st_mode, status.st_mtime_ns) for name in NODES for status in [(met[name].root / "edited").stat()]
    }


def test_bits_alone_travel(met: Fleet) -> None:
    """`chmod` without an edit sends no bytes."""
    (met["paris"].root / "edited").chmod(0o700)
    results = met.sync_all()
    assert dict.fromkeys(NODES, 0o100700) == {name: (met[name].root / "edited").stat().st_mode for name in NODES}
    assert dict.fromkeys(NODES, 0) == {name: result.files for name, result in results.items()}
