"""A directory with more entries than a server lists: Pure-FTPd ends its listings after 10,000, as Debian sets it up."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.conftest import in_container
from integration.scenarios import Fleet, command
from real_servers import SERVERS
from symsync.core.values import Reason
from symsync.events import Result
from symsync.remotes.location import Location

COUNT = 25_000

PURE_FTPD = SERVERS["pure-ftpd"]

MAKE = f'cd "$1" && mkdir many && cd many && for i in {{1..{COUNT}}}; do echo $i > $i; done'

SOME = ("1", "77", "9999", "10001", "12345", "20202", "24999")
"""Names all over the directory: which of them a listing shows is the server's business."""


def cut_listings(result: Result) -> list[tuple[str, Reason]]:
    """Which listings were not whole, as the user is told."""
    return [(problem.path, problem.reason) for problem in result.problems if "truncated to 10000" in problem.detail]


def numbers(paths: list[str]) -> set[str]:
    """The names below `many/`."""
    return {path.rpartition("/")[2] for path in paths}


@pytest.mark.docker
def test_nothing_is_deleted_beyond_the_limit(servers: Callable[[str], Location], base: Path) -> None:
    """25,000 files: all stay, and the user is told why each run ends with 1. What is known is synchronised all the
    same, changes on either side included."""
    location = servers("pure-ftpd")
    there = f"{location.directory}/many"
    PURE_FTPD.run("bash", "-c", MAKE, "make", location.directory)
    with ExitStack() as stack:
        fleet = Fleet(in_container("pure-ftpd", location, stack), base)
        fleet.join("paris")
        paris = fleet["paris"]
        for number in range(1, COUNT + 1):
            paris.write(f"many/{number}", b"%d\n" % number)

        def listed() -> set[str]:
            return set(PURE_FTPD.run("ls", there).split())

        everything = {str(number) for number in range(1, COUNT + 1)}
        first = fleet.sync("paris", size_only=True)
        assert (1, 0, [("many", Reason.CUT)]) == (first.exit_status, first.files, cut_listings(first))
        assert () == first.outcomes
        assert everything == listed()

        again = command("symsync", str(paris.root))
        assert (1, [True]) == (again.status, ["many" in line for line in again.err.splitlines() if "truncated" in line])
        assert everything == listed()

        for number in SOME[:3]:
            paris.write(f"many/{number}", b"edited here")
        paris.remove(f"many/{SOME[3]}")
        paris.write("many/new", b"new")
        for number in SOME[4:6]:
            PURE_FTPD.run("bash", "-c", f"echo edited there > {there}/{number}")
        PURE_FTPD.run("rm", f"{there}/{SOME[6]}")
        changed = fleet.sync("paris")
        assert (1, [("many", Reason.CUT)]) == (changed.exit_status, cut_listings(changed))
        print([(o.decision.path, o.decision.action, o.failed, o.problem if hasattr(o,"problem") else "", o.decision.pair) for o in changed.outcomes][:14])
        touched = numbers([outcome.decision.path for outcome in changed.outcomes])
        assert {*SOME, "new"} == touched
        expected = everything - {SOME[3], SOME[6]} | {"new"}
        assert expected == listed() == {path.name for path in (paris.root / "many").iterdir()}
        assert "edited there\n" == paris.read(f"many/{SOME[4]}").decode()
        assert "edited here" == PURE_FTPD.run("cat", f"{there}/{SOME[2]}")

        quiet = fleet.sync("paris")
        assert (1, (), [("many", Reason.CUT)]) == (quiet.exit_status, quiet.outcomes, cut_listings(quiet))
