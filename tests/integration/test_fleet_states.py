"""The state on both sides: lost disks, copies, restored backups, damage, taken names, and a hub that is another."""

import hashlib
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from integration.conftest import HubMaker
from integration.scenarios import HUB, Fleet, Hub, LocalPlace, Notes, Tree, command
from symsync import session
from symsync.config import load
from symsync.core.generations import Journal
from symsync.core.modes import Mode
from symsync.statestore import HubStore, NodeStore, StateFolder
from symsync_protocol.errors import StateDamaged, StateTooNew, Stopped
from symsync_protocol.names import IDENTITY_FILE, STATE_DIR
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Entry
from symsync_protocol.statefile import MAGIC, VERSION

NODES = ("paris", "oslo")
START: Tree = {"f": b"first", "d/g": b"second one", "h": b"the third"}
IDENTITY = f"{STATE_DIR}/{IDENTITY_FILE}"


@pytest.fixture
def met(fleet: Fleet) -> Fleet:
    """Two nodes in step."""
    fleet.join(*NODES)
    fleet["paris"].fill(START)
    fleet.sync_all()
    return fleet


def nothing_transferred(fleet: Fleet, name: str, **changes: bool) -> None:
    """A run that ends in step, in which no content crosses the wire."""
    result = fleet.sync(name, None, **changes)
    assert (0, 0, 0) == (result.exit_status, result.files, fleet.told.size)


def new_disk(fleet: Fleet, name: str, *, files: bool) -> None:
    """The node's directory is another one now, with its configuration and, where said so, its files; no state."""
    place = fleet[name]
    lost = place.root.with_name(f"lost-{name}")
    place.root.rename(lost)
    left_out = shutil.ignore_patterns(STATE_DIR) if files else shutil.ignore_patterns(STATE_DIR, *START, "d")
    shutil.copytree(lost, place.root, ignore=left_out)


# Lost and joining


def test_a_lost_disk_takes_its_state_back(met: Fleet) -> None:
    """All files are still there: with `replace` no byte of them is sent again, and all goes on as before."""
    new_disk(met, "paris", files=True)
    nothing_transferred(met, "paris", replace=True)
    assert met.all_hold(START) == met.trees()
    met["paris"].remove("f")
    met["oslo"].write("h", b"edited")
    met.sync_all("paris", "oslo", "paris")
    assert met.all_hold({"d/g": b"second one", "h": b"edited"}) == met.trees()


def test_a_lost_disk_without_files_removes_nothing(met: Fleet) -> None:
    """What the disk no longer has was not deleted by anybody: it comes back from the hub."""
    new_disk(met, "paris", files=False)
    result = met.sync("paris", replace=True)
    assert (0, len(START)) == (result.exit_status, result.files)
    met.sync("oslo")
    assert met.all_hold(START) == met.trees()


def test_a_lost_disk_with_older_files_loses_no_version(met: Fleet) -> None:
    """What differs from the hub without anybody knowing why is a conflict; what is missing comes back."""
    new_disk(met, "paris", files=True)
    met["paris"].write("f", b"another version")
    met["paris"].remove("h")
    assert 1 == met.sync("paris", replace=True).exit_status
    assert {**START, "f": b"another version", "f.hub": b"first"} == met["paris"].tree()
    assert {**START, "f.paris": b"another version"} == met.hub.place.tree()


def test_a_lost_state_alone_is_taken_back_silently(met: Fleet) -> None:
    """Same machine, same directory: nobody is asked, and nothing is transferred."""
    met["paris"].remove(STATE_DIR)
    nothing_transferred(met, "paris")
    assert met.all_hold(START) == met.trees()


def test_a_node_that_joins_with_a_full_copy_transfers_nothing(met: Fleet) -> None:
    """What one node learnt serves all: contents are known by their digests, bits and times follow."""
    (met["paris"].root / "f").chmod(0o640)
    met.sync("paris")
    met.join("tehran")
    for path, item in START.items():
        met["tehran"].fill({path: item})
        met["tehran"].set_time(path, 1_500_000_000_000_000_000)
    nothing_transferred(met, "tehran")
    nothing_transferred(met, "tehran")
    assert met.all_hold(START) == met.trees()

    def attributes(name: str) -> list[tuple[int, int]]:
        status = [(met[name].root / path).stat() for path in START]
        return [(one.st_mode, one.st_mtime_ns) for one in status]

    assert attributes("paris") == attributes("tehran")


def test_a_directory_copied_to_another_disk_goes_on(met: Fleet) -> None:
    """State included, on the same machine: nothing is transferred and nothing removed."""
    old = met["paris"].root
    shutil.copytree(old, old.with_name("copy"), copy_function=shutil.copy2)
    old.rename(old.with_name("old"))
    old.with_name("copy").rename(old)
    nothing_transferred(met, "paris")
    met["oslo"].write("f", b"edited")
    met.sync_all("oslo", "paris")
    assert met.all_hold({**START, "f": b"edited"}) == met.trees()


def test_a_restored_backup_removes_nothing(met: Fleet) -> None:
    """Files and state of yesterday: newer versions come back, and what was deleted since is there again, for all."""
    backup = met.base / "backup"
    shutil.copytree(met["paris"].root, backup)
    met["paris"].write("f", b"newer")
    met["paris"].write("new", b"made since")
    met["paris"].remove("h")
    met.sync_all()
    for path in ("f", "new", "d", STATE_DIR):
        met["paris"].remove(path)
    shutil.copytree(backup, met["paris"].root, dirs_exist_ok=True)
    met.sync("paris")
    assert ["one side's state is older than the other's (a backup came back?): nothing is removed in this run"] == (
        met.told.texts
    )
    met.sync("oslo")
    assert met.all_hold({**START, "f": b"newer", "new": b"made since"}) == met.trees()


def test_a_restored_hub_removes_nothing(met: Fleet) -> None:
    """The provider puts last week's backup of everything in place: the nodes bring it up to date again."""
    backup = LocalPlace(met.base / "backup")
    contents = {path: item for path, item in met.hub.place.everything().items() if isinstance(item, bytes)}
    backup.fill(contents)
    met["paris"].write("f", b"newer")
    met["oslo"].write("new", b"made since")
    met.sync_all("paris", "oslo", "paris")
    for path in ("f", "new", "d", STATE_DIR):
        met.hub.place.remove(path)
    met.hub.place.fill(contents)
    met.sync_all("paris", "oslo", "paris")
    assert met.all_hold({**START, "f": b"newer", "new": b"made since"}) == met.trees()


# Taken names


def test_a_taken_name_is_refused(met: Fleet) -> None:
    """A second directory called paris: one line, status 4, nothing done on any side; `replace` takes the name over."""
    second = met.base / "second"
    second.mkdir()
    shutil.copy(met["paris"].root / ".sync.conf", second)
    LocalPlace(second).write("own", b"of the second")
    before = met.everything()
    done = command("symsync", "sync", str(second))
    assert (4, 1) == (done.status, len(done.err.splitlines()))
    assert done.err.startswith("symsync: the name paris belongs to another machine or directory")
    assert before == met.everything()
    assert 0 == command("symsync", "sync", "--replace", str(second)).status
    assert {**START, "own": b"of the second"} == LocalPlace(second).tree() == met.hub.place.tree()
    with pytest.raises(Stopped, match="was taken over"):
        met.sync("paris")


def test_two_directories_under_one_name_are_told_apart(met: Fleet) -> None:
    """A copy of a directory may go on under its name, and its edits travel; what it is a copy of is stopped then, until
    it takes the name back or gets one of its own."""
    second = LocalPlace(met.base / "second")
    shutil.copytree(met["paris"].root, second.root, copy_function=shutil.copy2)
    second.write("f", b"edited in the copy")
    assert 0 == command("symsync", "sync", str(second.root)).status
    expected: Tree = {**START, "f": b"edited in the copy"}
    assert expected == second.tree() == met.hub.place.tree()
    met["paris"].write("h", b"edited")
    before = met.everything()
    done = command("symsync", "sync", str(met["paris"].root))
    assert (4, 1) == (done.status, len(done.err.splitlines()))
    assert done.err.startswith("symsync: another directory has synchronised as paris since this one did")
    assert before == met.everything()
    assert 0 == met.sync("paris", replace=True).exit_status
    met.sync("oslo")
    assert met.all_hold({**expected, "h": b"edited"}) == met.trees()
    assert 4 == command("symsync", "sync", str(second.root)).status
    met.configure("paris")  # which goes on
    assert 0 == met.sync("paris").exit_status


def test_a_copy_that_only_mirrors_stops_nobody(met: Fleet) -> None:
    """It leaves nothing on the hub under the name."""
    second = met.base / "second"
    shutil.copytree(met["paris"].root, second, copy_function=shutil.copy2)
    met["paris"].write("h", b"edited")
    for place in (str(second), str(met["paris"].root), str(second)):
        assert 0 == command("symsync", "sync", "-s", "mirror", place).status
    assert 0 == met.sync("paris").exit_status


def test_a_journal_that_is_older_than_the_state(met: Fleet) -> None:
    """The hub's own run has gone on since: what the node's own ended run had come to says nothing any more."""
    paris = met["paris"]
    states = NodeStore(paris.root)
    recorded = states.load("hub")
    assert recorded is not None and recorded.state is not None
    seen = Stamp(Kind.FILE, 3, mtime_ns=SECOND)
    entry = Entry(seen, seen, hashlib.sha256(b"old").digest())
    journal = Journal(recorded.state.generation.id, puts={"new": entry}, acted=True)
    states.begin("hub", recorded.state, journal)
    paris.write("new", b"new")
    met.sync("paris", mode=Mode.MIRROR)
    assert {**START, "new": b"new"} == paris.tree()


# Conflicts


@pytest.fixture
def open_conflict(met: Fleet) -> Fleet:
    """Paris and the hub have a version of f each."""
    met["oslo"].write("f", b"of oslo")
    met["paris"].write("f", b"paris's own")
    met.sync("oslo")
    assert 1 == met.sync("paris").exit_status
    return met


@pytest.mark.parametrize("copied", [False, True], ids=["lost", "copied"])
def test_a_conflict_outlives_the_nodes_state(open_conflict: Fleet, copied: bool) -> None:
    """It stays open, its copies stay copies, and it is decided as ever."""
    fleet = open_conflict
    if copied:
        old = fleet["paris"].root
        shutil.copytree(old, old.with_name("copy"), copy_function=shutil.copy2)
        old.rename(old.with_name("old"))
        old.with_name("copy").rename(old)
    else:
        fleet["paris"].remove(STATE_DIR)
    before = fleet.trees()
    for _ in range(2):
        assert ["f"] == [path for path, _ in fleet.sync("paris").conflicts]
        fleet.sync("oslo")
        assert before == fleet.trees()
    fleet["paris"].remove("f.hub")
    fleet.sync_all("paris", "oslo", "paris")
    assert fleet.all_hold({**START, "f": b"paris's own"}) == fleet.trees()


def test_a_conflict_whose_version_was_edited_after_the_state_was_lost_loses_none(open_conflict: Fleet) -> None:
    """The copy on the hub, which may be all that is left of what it holds, becomes everybody's file."""
    fleet = open_conflict
    fleet["paris"].remove(STATE_DIR)
    fleet["paris"].write("f", b"once more")
    fleet.sync_all("paris", "oslo", "paris")
    kept = {**START, "f": b"of oslo", "f.paris": b"paris's own"}
    assert kept == fleet["oslo"].tree()
    assert {**kept, "f.paris.2": b"once more"} == fleet.hub.place.tree()
    assert {**kept, "f": b"once more", "f.hub": b"of oslo"} == fleet["paris"].tree()


def _hide_paris(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no listing of the hub's states shows that of paris."""
    listed = HubStore.folder

    def cut(store: HubStore) -> StateFolder:
        folder = listed(store)
        sizes, files = dict(folder.sizes), dict(folder.files)
        sizes.pop("paris", None)
        files.pop("paris", None)
        return replace(folder, sizes=sizes, files=files)

    monkeypatch.setattr(HubStore, "folder", cut)


@pytest.mark.parametrize("hidden", [False, True])
def test_what_was_allowed_once_is_not_allowed_again(met: Fleet, monkeypatch: pytest.MonkeyPatch, hidden: bool) -> None:
    """What a user allowed has been used up by the others, even where a listing hides in whose state it stands."""
    met["paris"].fill({f"{top}/{number}": b"%d" % number for number in range(30) for top in ("many", "more")})
    met.sync_all()
    met["paris"].remove("many")
    met.sync("paris", allow=frozenset({"deletes"}))
    met.sync_all("oslo", "oslo")
    met.hub.place.remove("more")
    if hidden:
        _hide_paris(monkeypatch)
    with pytest.raises(Stopped):
        met.sync("oslo")


@pytest.mark.parametrize("removed", [False, True])
def test_a_state_that_no_listing_shows(open_conflict: Fleet, monkeypatch: pytest.MonkeyPatch, removed: bool) -> None:
    """Who has met that node asks for it by name, for its copies are nobody else's files; unless it is really gone."""
    fleet = open_conflict
    fleet.sync("oslo")
    _hide_paris(monkeypatch)
    if removed:
        fleet.hub.place.remove(f"{STATE_DIR}/paris")
    fleet["oslo"].write("new", b"new")
    result = fleet.sync("oslo")
    copies = {"f.paris": b"paris's own"} if removed else {}
    assert (0, {**START, "f": b"of oslo", "new": b"new", **copies}) == (result.exit_status, fleet["oslo"].tree())


# Damage


Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "emptied": lambda _data: b"",
    "other-bytes": lambda data: b"\0" * len(data),
    "a-flipped-bit": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "cut-short": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_local_state_is_taken_back_from_the_hub(met: Fleet, damage: Damage) -> None:
    """It is told and kept aside; no file crosses the wire, and nothing is lost."""
    path = f"{STATE_DIR}/{HUB}"
    damaged = damage(met["paris"].read(path))
    met["paris"].write(path, damaged)
    nothing_transferred(met, "paris")
    assert [HUB in text and "taken back" in text for text in met.told.texts][:1] == [True]
    assert damaged == met["paris"].read(f"{STATE_DIR}/_damaged.{HUB}")
    assert met.all_hold(START) == met.trees()
    met["paris"].remove("f")
    met.sync_all()
    assert met.all_hold({"d/g": b"second one", "h": b"the third"}) == met.trees()
    met["paris"].write(path, again := damage(met["paris"].read(path)))
    met.sync("paris")
    aside = [met["paris"].read(f"{STATE_DIR}/_damaged.{HUB}{more}") for more in ("", ".2")]
    assert [damaged, again] == aside


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_hub_state_is_written_anew(met: Fleet, damage: Damage) -> None:
    """By the node whose it is; the others go on without it."""
    path = f"{STATE_DIR}/paris"
    met.hub.place.write(path, damage(met.hub.place.read(path)))
    nothing_transferred(met, "oslo")
    nothing_transferred(met, "paris")
    assert met.all_hold(START) == met.trees()
    met["paris"].write("f", b"edited")
    met["oslo"].remove("h")
    met.sync_all("paris", "oslo", "paris")
    assert met.all_hold({"f": b"edited", "d/g": b"second one"}) == met.trees()


def test_a_torn_tail_of_the_hub_state_is_skipped(met: Fleet) -> None:
    """An append that was cut off on its way counts as not made, and nothing is removed or sent again for it."""
    path = f"{STATE_DIR}/paris"
    met.hub.place.write(path, met.hub.place.read(path) + b"half a record")
    nothing_transferred(met, "paris")
    nothing_transferred(met, "oslo")
    met["paris"].write("f", b"edited")
    met.sync("paris")
    data = met.hub.place.read(path)
    met.hub.place.write(path, data[:-5])
    met.sync_all()
    assert met.all_hold({**START, "f": b"edited"}) == met.trees()


def test_anothers_state_that_can_not_be_read_stops_nobody(met: Fleet) -> None:
    """A directory in its place is noted, and what was last read of it still counts: of oslo's open conflict, whose copy
    on the hub is nobody else's file."""
    met["paris"].write("f", b"edited by paris")
    met["oslo"].write("f", b"edited by oslo")
    met.sync_all("paris", "oslo", "paris")
    state = f"{STATE_DIR}/oslo"
    lost = met.hub.place.read(state)
    met.hub.place.remove(state)
    met.hub.place.fill({f"{state}/in-its-place": b""})
    met["paris"].write("h", b"edited")
    for _ in range(2):
        met.sync("paris")
        assert any("oslo" in text and "goes on to count" in text for text in met.told.texts)
    assert b"edited" == met.hub.place.read("h")
    assert "f.oslo" in met.hub.place.tree()
    assert "f.oslo" not in met["paris"].tree()
    met.hub.place.remove(state)
    met.hub.place.write(state, lost)
    met.sync("paris")
    assert [] == met.told.texts


def test_who_never_read_anothers_state_does_without(met: Fleet) -> None:
    """Nothing is cached of it yet."""
    state = f"{STATE_DIR}/oslo"
    met.hub.place.remove(state)
    met.hub.place.fill({f"{state}/in-its-place": b""})
    met.join("tehran")
    assert 0 == met.sync("tehran").exit_status
    assert [True] == ["done without" in text for text in met.told.texts]
    assert START == met["tehran"].tree()


@pytest.mark.parametrize("side", ["paris", HUB])
def test_a_newer_version_is_never_misread(met: Fleet, side: str) -> None:
    """A state that a newer symsync wrote stops the run; nothing is done, least of all to that file."""
    place, path = (met["paris"], f"{STATE_DIR}/{HUB}") if side != HUB else (met.hub.place, f"{STATE_DIR}/paris")
    data = place.read(path)
    newer = MAGIC + bytes([VERSION + 1]) + data[len(MAGIC) + 1 :]
    # A size that differs, for a node need not read what it wrote itself.
    place.write(path, newer + b"more")
    before = met.everything()
    with pytest.raises(StateTooNew):
        met.sync("paris")
    assert before == met.everything()


@pytest.mark.parametrize("side", ["paris", HUB])
def test_a_damaged_identity_stops_the_run(met: Fleet, side: str) -> None:
    """Who this is can't be told, so nothing is done."""
    (met["paris"] if side != HUB else met.hub.place).write(IDENTITY, b"scribble")
    before = met.everything()
    with pytest.raises(StateDamaged, match=IDENTITY_FILE):
        met.sync("paris")
    assert before == met.everything()


def test_a_look_does_not_record_what_an_ended_run_had_not(met: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that comes makes up for it."""

    def end(*_arguments: object) -> None:
        raise KeyboardInterrupt

    met["paris"].write("g", b"g")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(NodeStore, "save", end)
        met.sync("paris")

    def recorded() -> Tree:
        return {path: item for path, item in met.everything()["paris"].items() if path.startswith(STATE_DIR)}

    before = recorded()
    assert 0 == session.preview(load(met["paris"].root), Notes()).exit_status
    assert before == recorded()
    nothing_transferred(met, "paris")
    assert before != recorded()


@pytest.mark.parametrize("data", [b"", b"scribble"], ids=["emptied", "scribbled"])
@pytest.mark.parametrize("side", ["paris", HUB])
def test_a_damaged_identity_is_written_anew_where_allowed(met: Fleet, side: str, data: bytes) -> None:
    """With the old id: what is known of either side still counts, whatever was edited and removed meanwhile."""
    place = met["paris"] if side != HUB else met.hub.place
    identity = place.read(IDENTITY)
    place.write(IDENTITY, data)
    allowed = frozenset({"identity"})
    assert 0 == met.sync("paris", allow=allowed).exit_status
    assert identity == place.read(IDENTITY)
    place.write(IDENTITY, data)
    met["paris"].remove("f")
    met["oslo"].write("h", b"edited")
    met.sync("paris", allow=allowed)
    met.sync_all("oslo", "paris")
    assert identity == place.read(IDENTITY)
    assert met.all_hold({"d/g": b"second one", "h": b"edited"}) == met.trees()


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "damaged"])
def test_who_only_joins_gives_a_hub_its_old_identity(met: Fleet, lost: bool) -> None:
    """The other nodes' states tell which it was; else all of them would be stopped."""
    identity = met.hub.place.read(IDENTITY)
    if lost:
        met.hub.place.remove(IDENTITY)
    else:
        met.hub.place.write(IDENTITY, b"scribble")
    met.join("tehran")
    met.sync("tehran", allow=frozenset({"identity"}))
    assert identity == met.hub.place.read(IDENTITY)
    met.sync_all()
    assert met.all_hold(START) == met.trees()


@pytest.mark.parametrize("side", ["paris", HUB])
def test_an_identity_of_a_newer_version_is_left_alone(met: Fleet, side: str) -> None:
    """Also where it may be written anew."""
    place = met["paris"] if side != HUB else met.hub.place
    place.write(IDENTITY, b"symsync identity %d\n" % (VERSION + 1))
    before = met.everything()
    with pytest.raises(StateTooNew):
        met.sync("paris", allow=frozenset({"identity"}))
    assert before == met.everything()


# The hub's identity


@pytest.mark.parametrize("lost", [STATE_DIR, IDENTITY], ids=["the-whole-folder", "the-identity-alone"])
def test_a_hub_that_lost_its_identity_stops_all(met: Fleet, lost: str) -> None:
    """Perhaps it is not mounted. What one user then allows brings the identity back for all."""
    identity = met.hub.place.read(IDENTITY)
    met.hub.place.remove(lost)
    before = met.everything()
    for name in NODES:
        with pytest.raises(Stopped, match=rf"lost its identity \({re.escape(lost)} is gone\)"):
            met.sync(name)
    assert before == met.everything()
    assert 0 == met.sync("paris", allow=frozenset({"identity"})).exit_status
    assert 0 == met.sync("oslo").exit_status
    assert identity == met.hub.place.read(IDENTITY)
    assert met.all_hold(START) == met.trees()


def test_another_hub_in_its_place_stops_the_run(met: Fleet, make_hub: HubMaker) -> None:
    """The configuration leads to a hub with the same name but another identity: nothing is done to either side."""
    other = Fleet(make_hub(), met.base / "other")
    other.base.mkdir()
    other.join("tehran")
    other["tehran"].write("x", b"x")
    other.sync("tehran")
    met.configure("paris", **other.hub.lines())
    before = met.everything(), other.everything()
    with pytest.raises(Stopped, match="another hub"):
        met.sync("paris")
    assert before == (met.everything(), other.everything())


def test_what_one_user_allowed_the_others_accept(met: Fleet) -> None:
    """Many removals are allowed once, on one node; the others carry them out without being asked."""
    many = {f"many/{number}": b"%d" % number for number in range(30)}
    met["paris"].fill(many)
    met.sync_all()
    met["paris"].remove("many")
    with pytest.raises(Stopped) as stopped:
        met.sync("paris")
    assert "deletes" == stopped.value.allow
    assert 0 == met.sync("paris", allow=frozenset({"deletes"})).exit_status
    assert 0 == met.sync("oslo").exit_status
    assert met.all_hold(START) == met.trees()


# At once


def test_nodes_that_run_at_once_wait_for_each_other(hub: Hub, base: Path) -> None:
    """Three runs against one hub at the same time: each is done, and two more of each bring all in step."""
    fleet = Fleet(hub, base)
    names = ("paris", "oslo", "tehran")
    fleet.join(*names)
    expected: Tree = {f"{name}/{number}": f"{name} {number}".encode() for name in names for number in range(10)}
    for path, item in expected.items():
        fleet[path.partition("/")[0]].fill({path: item})
    with ThreadPoolExecutor(len(names)) as pool:
        statuses = [result.exit_status for result in pool.map(fleet.sync, names)]
    assert [0] * len(names) == statuses
    fleet.sync_all()
    fleet.sync_all()
    assert fleet.all_hold(expected) == fleet.trees()
