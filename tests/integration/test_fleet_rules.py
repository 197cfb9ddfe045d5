"""What takes part and what is left alone; what several hubs, the trash, permission bits and links come to."""

import os
import time

import pytest

from integration.conftest import HubMaker
from integration.scenarios import DIRECTORY, HUB, Fleet, Tree, configure
from symsync.core.values import Found
from symsync.remotes import open_remote
from symsync.retention import run_label
from symsync.rules import Links
from symsync.settings import Trash
from symsync_protocol.names import TRASH_DIR

NODES = ("paris", "oslo")
IGNORE = ".sync.ignore"


@pytest.fixture
def met(fleet: Fleet) -> Fleet:
    """Two nodes."""
    fleet.join(*NODES)
    return fleet


# .sync.ignore, dots and blanks


def test_an_ignore_file_travels_and_counts_everywhere(met: Fleet) -> None:
    """What it excludes is touched on no side, however it got there; later changes to it count, too."""
    met["paris"].fill({IGNORE: b"*.log\n/build/\n", "f": b"f", "a.log": b"of paris", "build/out": b"b"})
    met.hub.place.write("hub.log", b"the hub's own")
    met["oslo"].fill({"a.log": b"of oslo", "sub/build/kept": b"k"})
    met.sync_all("paris", "oslo", "paris")
    shared: Tree = {IGNORE: b"*.log\n/build/\n", "f": b"f", "sub/build/kept": b"k"}
    assert {
        HUB: {**shared, "hub.log": b"the hub's own"},
        "paris": {**shared, "a.log": b"of paris", "build/out": b"b"},
        "oslo": {**shared, "a.log": b"of oslo"},
    } == met.trees()


def test_what_becomes_excluded_is_left_alone(met: Fleet) -> None:
    """It stays on all sides, each may do with it as it likes, and it is met anew when it is let in again."""
    met["paris"].fill({"f": b"f", "note.tmp": b"shared"})
    met.sync_all()
    met["oslo"].write(IGNORE, b"*.tmp\n")
    met.sync_all("oslo", "paris")
    met["paris"].remove("note.tmp")
    met["oslo"].write("note.tmp", b"edited by oslo")
    met.sync_all("paris", "oslo")
    assert {
        HUB: {"f": b"f", IGNORE: b"*.tmp\n", "note.tmp": b"shared"},
        "paris": {"f": b"f", IGNORE: b"*.tmp\n"},
        "oslo": {"f": b"f", IGNORE: b"*.tmp\n", "note.tmp": b"edited by oslo"},
    } == met.trees()
    met["paris"].remove(IGNORE)
    met.sync_all("paris", "paris")
    assert {"f": b"f", "note.tmp": b"shared"} == met["paris"].tree()
    met.sync_all("oslo", "oslo")
    assert {"f": b"f", "note.tmp": b"edited by oslo", "note.tmp.hub": b"shared"} == met["oslo"].tree()


def test_old_and_new_rules_hold_in_the_run_that_changes_them(met: Fleet) -> None:
    """Oslo hears of a new rule in the very run that would have sent what it excludes."""
    met["paris"].write("f", b"f")
    met.sync_all()
    met["paris"].write(IGNORE, b"*.secret\n")
    met["oslo"].write("key.secret", b"stays here")
    met.sync_all()
    assert {"f": b"f", IGNORE: b"*.secret\n"} == met.hub.place.tree()


def test_excluded_content_keeps_its_directory(met: Fleet) -> None:
    """A directory that one side removes stays where something excluded lies in it, and comes back with its content."""
    met["paris"].fill({IGNORE: b"*.log\n", "d/f": b"f"})
    met.sync_all()
    met["oslo"].write("d/own.log", b"of oslo")
    met["paris"].remove("d")
    met.sync_all()
    assert {IGNORE: b"*.log\n"} == met.hub.place.tree()
    assert {IGNORE: b"*.log\n", "d/own.log": b"of oslo"} == met["oslo"].tree()


@pytest.mark.parametrize(
    ("key", "left_out"), [("includedots", (".dot", ".d/f")), ("allowblanks", ("a blank", "b c/f"))]
)
def test_dots_and_blanks_only_where_they_are_wanted(met: Fleet, key: str, left_out: tuple[str, ...]) -> None:
    """Names that a node's configuration leaves out stay on the side where they are."""
    tree: Tree = {".dot": b".", ".d/f": b"d", "a blank": b"a", "b c/f": b"b", "f": b"f"}
    met["paris"].fill(tree)
    met.sync("paris")
    met.configure("oslo", **{key: "no"})
    met["oslo"].fill(dict.fromkeys(left_out, b"oslo's own"))
    assert 0 == met.sync("oslo").exit_status
    assert tree == met.hub.place.tree()
    assert tree | dict.fromkeys(left_out, b"oslo's own") == met["oslo"].tree()


def test_reserved_names_never_travel(met: Fleet) -> None:
    """At any depth: other hubs' configurations hold passwords."""
    met["paris"].fill({"d/.sync.conf": b"password x", ".sync-other.conf": b"password y", "d/.sync_old": b"z"})
    met.sync_all()
    assert met.all_hold({"d": DIRECTORY}) == met.trees()
    assert not [path for path in met.hub.place.everything() if path.endswith((".conf", ".sync_old"))]


# Several hubs


def test_a_directory_with_two_hubs_passes_changes_on(make_hub: HubMaker, fleet: Fleet) -> None:
    """Paris synchronises with both; oslo and tehran, who never meet, get each other's files, removals and moves."""
    second = make_hub()
    fleet.join("paris", "oslo", "tehran")
    usual = {"includedots": "yes", "allowblanks": "yes"}
    configure(fleet["paris"].root, {"nodename": "paris", "peer": "second", **second.lines(), **usual}, "second")
    fleet.configure("tehran", **second.lines(), peer="second")
    everybody = (("oslo", None), ("paris", None), ("paris", "second"), ("tehran", None))

    def there_and_back() -> None:
        for name, server in (*everybody, *reversed(everybody)):
            fleet.sync(name, server)

    fleet["oslo"].fill({"f": b"of oslo", "d/moves": b"m"})
    fleet["tehran"].write("g", b"of tehran")
    there_and_back()
    expected: Tree = {"f": b"of oslo", "d/moves": b"m", "g": b"of tehran"}
    assert fleet.all_hold(expected) == fleet.trees()
    fleet["tehran"].rename("d/moves", "moved")
    fleet["oslo"].remove("g")
    there_and_back()
    expected = {"f": b"of oslo", "d": DIRECTORY, "moved": b"m"}
    assert fleet.all_hold(expected) == fleet.trees()
    assert expected == second.place.tree()


def test_copies_of_one_hub_stay_away_from_the_other(make_hub: HubMaker, fleet: Fleet) -> None:
    """A conflict with the first hub is no business of the second."""
    second = make_hub()
    fleet.join(*NODES)
    configure(fleet["paris"].root, {"nodename": "paris", "peer": "second", **second.lines()}, "second")
    fleet["oslo"].write("f", b"of oslo")
    fleet["paris"].write("f", b"paris's own")
    fleet.sync("oslo")
    assert 1 == fleet.sync("paris").exit_status
    assert {"f": b"paris's own", "f.hub": b"of oslo"} == fleet["paris"].tree()
    assert 0 == fleet.sync("paris", "second").exit_status
    assert {"f": b"paris's own"} == second.place.tree()


# The trash


def test_the_trash_of_each_side_holds_what_was_displaced_there(met: Fleet) -> None:
    """What was replaced and what was removed, by others and by whoever works on the hub."""
    met["paris"].fill({"f": b"first", "d/gone": b"gone"})
    met.sync_all()
    met["paris"].write("f", b"second one")
    met["paris"].remove("d")
    met.sync_all()
    met.hub.place.write("f", b"the third version")
    met.sync_all()
    assert [[b"first"], [b"gone"]] == [met.hub.place.kept(path) for path in ("f", "d/gone")]
    assert [[b"second one"], []] == [met["paris"].kept(path) for path in ("f", "d/gone")]
    assert [[b"first", b"second one"], [b"gone"]] == [met["oslo"].kept(path) for path in ("f", "d/gone")]


def test_without_trash_nothing_is_kept(met: Fleet) -> None:
    """`trash no`: displaced versions are gone when the run ends, also out of the folders in between."""
    met["paris"].write("f", b"first")
    met.sync_all()
    met["paris"].write("f", b"second one")
    for name in NODES:
        met.sync(name, trash=Trash(keep=False))
    assert met.all_hold({"f": b"second one"}) == met.trees()
    left = [path for tree in met.everything().values() for path, item in tree.items() if item == b"first"]
    assert [] == left


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_past_its_time_goes_from_both_sides_trash(met: Fleet, keep: bool) -> None:
    """With `trash no`, too: ended runs have left it there."""
    old, young = "20200101T000000Z-paris-0123abcd", run_label("paris", time.time(), "0123abcd")
    for place in (met["paris"], met.hub.place):
        place.fill({f"{TRASH_DIR}/{label}/f": b"kept" for label in (old, young)})
    met["paris"].write("f", b"first")
    met.sync("paris", trash=Trash(keep=keep, days=30))
    trees = met.everything()
    left = {name: [path for path in tree if path.endswith("-paris-0123abcd/f")] for name, tree in trees.items()}
    assert [f"{TRASH_DIR}/{young}/f"] == left["paris"] == left[HUB]


# Permission bits and links


def test_bits_for_the_web_server_arrive_on_the_hub(met: Fleet) -> None:
    """`filemode` and `dirmode` give what arrives there these bits, and the nodes keep their own."""
    met.configure("paris", filemode="640", dirmode="750")
    met["paris"].fill({"d/f": b"f", "d/e/g": b"g"})
    (met["paris"].root / "d/f").chmod(0o600)
    met.sync_all()
    places = {"d": 0o750, "d/e": 0o750, "d/f": 0o640, "d/e/g": 0o640}
    assert places == {path: met.hub.place.mode(path) for path in places}
    assert (0o600, 0o600) == (met["paris"].mode("d/f"), met["oslo"].mode("d/f"))
    met["oslo"].write("d/f", b"edited")
    met.sync_all("oslo", "paris")
    assert (0o600, 0o600) == (met["paris"].mode("d/f"), met["oslo"].mode("d/f"))


def test_bits_of_an_old_file_reach_the_hub(met: Fleet) -> None:
    """A key that others may no longer read, a script that is to be started: nothing is sent, no time is changed."""
    met["paris"].fill({"key": b"secret", "script": b"#!/bin/sh"})
    met.sync_all()
    with open_remote(met.hub.location) as remote:
        before = [found.stamp for found in remote.stat(["key", "script"]) if isinstance(found, Found)]
    (met["paris"].root / "key").chmod(0o600)
    (met["oslo"].root / "script").chmod(0o755)
    results = met.sync_all("paris", "oslo", "paris")
    assert [(0, 0)] * len(results) == [(result.exit_status, result.size) for result in results.values()]
    for mode in (met.hub.place.mode, met["paris"].mode, met["oslo"].mode):
        assert (0o600, 0o755) == (mode("key"), mode("script"))
    with open_remote(met.hub.location) as remote:
        assert before == [found.stamp for found in remote.stat(["key", "script"]) if isinstance(found, Found)]
    resting = met.everything()
    met.sync_all()
    assert resting == met.everything()


def test_bits_for_the_web_server_stay(met: Fleet) -> None:
    """Where `filemode` says what the hub's bits are, a node's own don't matter."""
    met.configure("paris", filemode="640")
    met["paris"].write("f", b"f")
    met.sync("paris")
    (met["paris"].root / "f").chmod(0o600)
    met.sync_all()
    assert (0o640, 0o600) == (met.hub.place.mode("f"), met["oslo"].mode("f"))


def link(fleet: Fleet, name: str, path: str, target: str) -> None:
    """Make a link, or point it elsewhere."""
    place = fleet[name].root / path
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def test_links_travel_through_every_hub(met: Fleet) -> None:
    """To files, to directories, and to nowhere; also through hubs that can't hold any."""
    met["paris"].fill({"f": b"f", "d/g": b"g"})
    for path, target in (("to f", "f"), ("d/up", "../f"), ("to d", "d"), ("dangling", "no such file")):
        link(met, "paris", path, target)
    met.sync_all()
    expected: Tree = {"f": b"f", "d/g": b"g", "to f": "f", "d/up": "../f", "to d": "d", "dangling": "no such file"}
    assert dict.fromkeys(NODES, expected) == {name: met[name].tree() for name in NODES}
    files = {path: item for path, item in expected.items() if met.hub.holds_links or isinstance(item, bytes)}
    assert files == met.hub.place.tree()
    before = met.everything()
    assert [(0, 0)] * 2 == [(result.exit_status, result.files) for result in met.sync_all().values()]
    assert before == met.everything()


def test_links_change_and_go(met: Fleet) -> None:
    """Pointed elsewhere by one node, removed by the other, replaced by a file."""
    for path in ("changes", "goes", "becomes a file"):
        link(met, "paris", path, "somewhere")
    met.sync_all()
    link(met, "paris", "changes", "elsewhere")
    met["oslo"].remove("goes")
    met["oslo"].remove("becomes a file")
    met["oslo"].write("becomes a file", b"now")
    met.sync_all("paris", "oslo", "paris")
    expected: Tree = {"changes": "elsewhere", "becomes a file": b"now"}
    assert dict.fromkeys(NODES, expected) == {name: met[name].tree() for name in NODES}


def test_links_of_two_nodes_are_a_conflict(met: Fleet) -> None:
    """Both are kept, as links."""
    link(met, "paris", "l", "of paris")
    link(met, "oslo", "l", "oslo's own")
    met.sync("paris")
    assert 1 == met.sync("oslo").exit_status
    assert {"l": "oslo's own", "l.hub": "of paris"} == met["oslo"].tree()
    met["oslo"].remove("l.hub")
    met.sync_all("oslo", "paris")
    assert [{"l": "oslo's own"}] * 2 == [met[name].tree() for name in NODES]


def test_followed_links_arrive_as_what_they_point_to(met: Fleet) -> None:
    """`links follow`: the hub and the other nodes get files and directories."""
    met["paris"].fill({"f": b"f", "d/g": b"g"})
    link(met, "paris", "to f", "f")
    link(met, "paris", "e/to d", "../d")
    met.sync("paris", links=Links.FOLLOW)
    met.sync("oslo")
    expected: Tree = {"f": b"f", "d/g": b"g", "to f": b"f", "e/to d/g": b"g"}
    assert [expected] * 2 == [met.hub.place.tree(), met["oslo"].tree()]


def test_what_arrives_takes_the_place_of_a_followed_link(met: Fleet) -> None:
    """`links follow`: what others edit or remove is the link here, which goes to the trash; what it points to stays."""
    met["paris"].fill({"f": b"f", "d/g": b"g"})
    for path, target in (("edited", "f"), ("removed", "f"), ("e/removed", "../d/g")):
        link(met, "paris", path, target)
    met.sync("paris", links=Links.FOLLOW)
    met.sync("oslo")
    met["oslo"].write("edited", b"by oslo")
    met["oslo"].remove("removed")
    met["oslo"].remove("e/removed")
    met.sync("oslo")
    assert 0 == met.sync("paris", links=Links.FOLLOW).exit_status
    expected: Tree = {"f": b"f", "d/g": b"g", "edited": b"by oslo", "e": DIRECTORY}
    assert [expected] * 2 == [met["paris"].tree(), met["oslo"].tree()]
    kept = [path for path in (met["paris"].root / ".sync.trash").rglob("*") if path.is_symlink()]
    assert {("edited", "f"), ("removed", "f"), ("removed", "../d/g")} == {(k.name, str(k.readlink())) for k in kept}


def test_skipped_links_stay_where_they_are(met: Fleet) -> None:
    """`links skip`: nothing of them arrives, and nothing happens to them."""
    met["paris"].write("f", b"f")
    link(met, "paris", "l", "f")
    met.sync("paris", links=Links.SKIP)
    met.sync("oslo")
    result = met.sync("paris", links=Links.SKIP)
    assert (0, ()) == (result.exit_status, result.problems)  # what the user asked for is not worth a line
    assert {"f": b"f", "l": "f"} == met["paris"].tree()
    assert [{"f": b"f"}] * 2 == [met.hub.place.tree(), met["oslo"].tree()]


def test_what_is_neither_file_nor_directory_is_named(met: Fleet) -> None:
    """A fifo is skipped and named, which is no failure; all else goes on."""
    met["paris"].write("f", b"f")
    os.mkfifo(met["paris"].root / "pipe")
    result = met.sync("paris")
    assert (0, ["pipe"]) == (result.exit_status, [problem.path for problem in result.problems])
    assert {"f": b"f"} == met.hub.place.tree()


def test_an_empty_directory_is_kept_apart_from_an_absent_one(met: Fleet) -> None:
    """Emptied, it stays everywhere; removed, it goes everywhere."""
    met["paris"].fill({"d/f": b"f", "e/f": b"f"})
    met.sync_all()
    met["paris"].remove("d/f")
    met["paris"].remove("e")
    met.sync_all()
    assert met.all_hold({"d": DIRECTORY}) == met.trees()
