"""All that a tree holds arrives as it is, through each kind of server; what one can't store is named and left."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from integration.conftest import SIX_HUBS
from integration.odd_tree import NAMES, Description, described, generated_names, odd_tree, plant
from integration.scenarios import DIRECTORY, Fleet, Hub, command
from symsync.events import Result

PARIS, *OTHERS = NODES = ("paris", "oslo", "tehran")
CONNECTIONS = 4

_LINE_ENDS = r"[\r\n]"
REFUSABLE = {
    "bundled": _LINE_ENDS,
    "bundled-sftp": r"(?!)",
    "vsftpd": _LINE_ENDS,
    # It makes no directories with a star, and takes what looks like Telnet's commands out of names.
    "proftpd": rf"{_LINE_ENDS}|\*|\udcff[\udcf0-\udcfe]",
    # It turns outer blanks and control characters into "_", and forbids the backslash.
    "pure-ftpd": rf"{_LINE_ENDS}|\\|[\x00-\x1f\x7f-\x9f]|(^|/) | (/|$)",
    "openssh": r"(?!)",
}
"""By kind of hub: what no path may hold that it can refuse."""


@pytest.fixture
def wide(hub: Hub, base: Path) -> Fleet:
    """Three nodes with several connections each."""
    fleet = Fleet(replace(hub, location=replace(hub.location, connections=CONNECTIONS)), base)
    fleet.join(*NODES)
    return fleet


def named(result: Result) -> dict[str, str]:
    """The paths that the run's user is told of as left behind, and why."""
    failed = [failure.problem for outcome in result.outcomes for failure in outcome.failed]
    return {problem.path: str(problem) for problem in (*failed, *result.problems)}


def planted(fleet: Fleet, names: Sequence[str]) -> dict[str, Description]:
    """What paris holds, once an odd tree of these names grows there."""
    root = fleet[PARIS].root
    plant(root, odd_tree(names))
    return described(root)


def assert_it_arrives(fleet: Fleet, expected: dict[str, Description]) -> None:
    """Bring it to all nodes: what arrives is as it was, the rest is named, and then there is nothing more to do."""
    first = fleet.sync_all()
    left = named(first[PARIS])
    assert {} == {path: why for path, why in left.items() if not re.search(REFUSABLE[fleet.hub.kind], path)}
    arrived = {path: what for path, what in expected.items() if path not in left}
    assert [arrived] * 2 == [described(fleet[name].root) for name in OTHERS]
    assert expected == described(fleet[PARIS].root)
    assert [int(bool(left)), 0, 0] == [result.exit_status for result in first.values()]

    again = fleet.sync_all()
    assert [left.keys(), set(), set()] == [named(result).keys() for result in again.values()]
    done = [outcome.decision.path for result in again.values() for outcome in result.outcomes if not outcome.failed]
    assert [] == done


@pytest.mark.parametrize("make_hub", SIX_HUBS, indirect=True)
def test_an_odd_tree_arrives_as_it_is(wide: Fleet) -> None:
    """Bytes, names, times, bits and links, whatever the server makes of them."""
    assert_it_arrives(wide, planted(wide, NAMES))


@pytest.mark.parametrize(
    ("make_hub", "name"), [("bundled", "new\nline"), ("pure-ftpd", "behind ")], indirect=["make_hub"]
)
def test_what_a_server_cannot_store_is_not_sent(wide: Fleet, name: str) -> None:
    """Neither a name that FTP can't carry nor one that the server would alter costs its bytes first."""
    wide[PARIS].fill({"fine": b"f", name: b"n", "d/" + name: b"n"})
    result = wide.sync(PARIS)
    assert (1, 1, {name, "d/" + name}) == (result.exit_status, result.files, set(named(result)))


@pytest.mark.parametrize("make_hub", ["bundled"], indirect=True)
def test_what_a_server_cannot_store_is_named_at_the_command_line(wide: Fleet) -> None:
    """Exit status 1, a line for each such path, and the rest arrives."""
    wide[PARIS].fill({"fine": b"f", "new\nline": b"n", "d/return\rhere": b"r"})
    done = command("symsync", str(wide[PARIS].root))
    problems = [line for line in done.err.splitlines() if line.startswith("problem: ")]
    detail = "FTP can't carry a name that holds a line end (on the hub)"
    assert (1, [rf"problem: d/return\rhere: {detail}", rf"problem: new\nline: {detail}"]) == (done.status, problems)
    assert {"fine": b"f", "d": DIRECTORY} == wide.hub.place.tree()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make_hub", SIX_HUBS, indirect=True)
def test_a_library_and_many_odd_names_arrive_as_they_are(wide: Fleet, library: Path) -> None:
    """Python's own library and 1,500 odd names."""
    shutil.copytree(library, wide[PARIS].root, symlinks=True, dirs_exist_ok=True)
    assert_it_arrives(wide, planted(wide, generated_names(1_500)))
