"""Earlier versions come back from either side's trash, on every kind of hub."""

import itertools
import time
from pathlib import Path

import pytest

from integration.conftest import BUNDLED, BUNDLED_SFTP, IN_CONTAINERS
from integration.scenarios import Fleet, LocalPlace, Tree, command
from symsync import trash
from symsync.config import load
from symsync.core.values import Side
from symsync.events import Audience
from symsync.retention import run_label
from symsync.trash import Restored, Wish
from symsync_protocol.errors import UsageError

ON_EACH = pytest.mark.parametrize("make_hub", ["directory", BUNDLED, BUNDLED_SFTP, *IN_CONTAINERS], indirect=True)

BEFORE: Tree = {"letters/to ada": b"Dear Ada", "letters/.draft": b"Dear", "letters/old/نامه": b"salaam", "plan": b"one"}

ODD_NAMES = [".hidden", "two  blanks", "-rf", "quo\"te's", "سلام", "e\u0301", "per%20cent %s", "a" * 200, "~", "#hash"]


def held(fleet: Fleet, name: str, path: str = "") -> list[tuple[str, Side, str]]:
    """The versions that a node sees, newest first: path, side, and by whom."""
    found = trash.contents(load(fleet[name].root), path)
    assert ((), None) == (found.problems, found.unreached)
    return [(version.path, version.side, version.run.node) for version in found.versions]


def restore(fleet: Fleet, name: str, path: str, to: str | None = None, version: str | None = None) -> Restored:
    return trash.restore(load(fleet[name].root), Wish(path, version, to), Audience())


@pytest.fixture(autouse=True)
def a_second_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels have seconds, and people take longer between two runs than tests. Not long ago, or all is too old."""
    seconds = itertools.count(int(time.time()) - 1000)
    monkeypatch.setattr(
        "symsync.session.run_label", lambda node, _now, token: run_label(node, float(next(seconds)), token)
    )


@pytest.fixture
def pair(fleet: Fleet) -> Fleet:
    """Two nodes in step."""
    fleet.join("paris", "oslo")
    fleet["paris"].fill(BEFORE)
    fleet.sync_all()
    return fleet


@ON_EACH
def test_a_removed_file_comes_back_to_everybody(pair: Fleet) -> None:
    """Who removed it finds it on the hub, who received the removal in his own trash; either way it travels again."""
    for name, side in (("paris", Side.THERE), ("oslo", Side.HERE)):
        pair["paris"].remove("plan")
        pair.sync_all()
        result = restore(pair, name, "plan")
        assert ([("plan", side)], ()) == ([(b.path, b.version.side) for b in result.back], result.problems)
        pair.sync_all()
        pair.sync_all()
        assert pair.all_hold(BEFORE) == pair.trees()


@ON_EACH
def test_a_replaced_file_comes_back_and_goes_again(pair: Fleet) -> None:
    """What it displaces is the newest version then: restoring twice is as if nothing had been done."""
    pair["paris"].write("plan", b"number two")
    pair.sync_all()
    assert [("plan", Side.THERE, "paris")] == held(pair, "paris")
    assert [("plan", Side.HERE, "oslo"), ("plan", Side.THERE, "paris")] == held(pair, "oslo", "plan")
    assert [True] == [back.displaced for back in restore(pair, "paris", "plan").back]
    assert (b"one", [b"number two"]) == (pair["paris"].read("plan"), pair["paris"].kept("plan"))
    restore(pair, "paris", "plan")
    assert (b"number two", [b"number two", b"one"]) == (pair["paris"].read("plan"), pair["paris"].kept("plan"))
    pair.sync_all()
    assert pair.all_hold(BEFORE | {"plan": b"number two"}) == pair.trees()


@ON_EACH
def test_a_directory_comes_back_from_one_run(pair: Fleet) -> None:
    """All that the run removed below it, names with a dot included, and nothing of what other runs displaced there."""
    pair["paris"].write("letters/to ada", b"Dear Ada, again")
    pair.sync("paris")
    pair["paris"].remove("letters")
    pair.sync_all()
    result = restore(pair, "paris", "letters")
    assert ((), {"letters/to ada", "letters/.draft", "letters/old/نامه"}) == (
        result.problems,
        {back.path for back in result.back},
    )
    pair.sync_all()
    assert pair.all_hold(BEFORE | {"letters/to ada": b"Dear Ada, again"}) == pair.trees()
    first = [version for version in trash.contents(load(pair["paris"].root)).versions if version.path.endswith("ada")]
    restore(pair, "paris", "letters/to ada", to="the first", version=first[-1].run.token)
    assert b"Dear Ada" == pair["paris"].read("the first")


@ON_EACH
def test_odd_names_come_back(fleet: Fleet) -> None:
    """Whatever the hub could hold, its trash can give back."""
    fleet.join("paris")
    fleet["paris"].fill({"stays": b"", **{f"odd/{name}": b"content" for name in ODD_NAMES}})
    fleet.sync("paris")
    there = fleet.hub.place.tree()
    fleet["paris"].remove("odd")
    fleet.sync("paris")
    result = restore(fleet, "paris", "odd")
    assert () == result.problems
    assert there == fleet["paris"].tree()


@pytest.mark.parametrize("make_hub", [BUNDLED], indirect=True)
def test_without_the_hub_the_own_trash_is_there(pair: Fleet) -> None:
    """Exit status 3 and a note, and the node's own versions all the same; with --here all is well, restoring too."""
    pair["paris"].remove("plan")
    pair.sync_all()
    root = str(pair["oslo"].root)
    pair.configure("oslo", port="1")
    done = command("symsync", "trash", root)
    assert (3, True, 1) == (done.status, "  here  " in done.out, done.err.count("\n"))
    assert done.err.startswith("symsync: 127.0.0.1, port 1: ")
    assert done.err.endswith("; the hub's trash is not shown\n")
    alone = command("symsync", "trash", "--here", root)
    assert (0, "") == (alone.status, alone.err)
    refused = command("symsync", "restore", f"{root}/plan")
    assert (3, "") == (refused.status, refused.out)
    assert "--here restores from this directory's own trash" in refused.err
    assert 0 == command("symsync", "restore", "--here", f"{root}/plan").status
    assert b"one" == pair["oslo"].read("plan")


@pytest.mark.parametrize("make_hub", ["directory", BUNDLED_SFTP], indirect=True)
def test_what_others_put_into_the_hubs_trash_stays_there(pair: Fleet, base: Path) -> None:
    """Configurations, states, and what lies behind a link out of the tree: nothing of that is a version."""
    outside = base / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"not yours")
    run = ".sync.trash/20200101T000000Z-paris-0badc0de"
    pair.hub.place.fill(
        {
            f"{run}/.sync.conf": b"nodename evil\n",
            f"{run}/.sync.state/hub": b"evil",
            f"{run}/letters/.SYNC.state/x": b"evil",
            ".sync.trash/not a run/plan": b"evil",
            ".sync.trash/20209999T000000Z-paris-0badc0de/plan": b"evil",
        }
    )
    assert isinstance(pair.hub.place, LocalPlace)
    (pair.hub.place.root / run / "out").symlink_to(outside)
    assert [("out", Side.THERE, "paris")] == held(pair, "paris")
    assert [] == held(pair, "paris", "letters")
    before = pair["paris"].everything()
    for path in (".sync.conf", ".sync.state/hub", "letters/.SYNC.state/x", "letters", "out/secret"):
        with pytest.raises(UsageError, match=r"holds no version of "):
            restore(pair, "paris", path)
    restore(pair, "paris", "")
    after = pair["paris"].everything()
    assert str(outside) == after.pop("out")
    assert before == after
