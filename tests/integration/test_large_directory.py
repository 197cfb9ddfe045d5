"""A directory with more entries than a server lists: Pure-FTPd ends its listings after 10,000, as Debian sets it up."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from integration.conftest import in_container
from integration.scenarios import DIRECTORY, HUB, Fleet, command
from real_servers import SERVERS
from symsync.core.modes import Action
from symsync.core.values import Listing, Problem, Reason
from symsync.events import Result
from symsync.remotes.directory import DirectoryRemote
from symsync.remotes.location import Location

COUNT = 25_000

PURE_FTPD = SERVERS["pure-ftpd"]

MAKE = f'cd "$1" && mkdir many && cd many && for i in {{1..{COUNT}}}; do echo $i > $i; done'

SOME = ("1", "77", "9999", "10001", "12345", "20202", "24999")
"""Names all over the directory: which of them a listing shows is the server's business."""


def cut_listings(result: Result) -> list[tuple[str, Reason]]:
    """Which listings were not whole, as the user is told."""
    return [(problem.path, problem.reason) for problem in result.problems if "truncated to 10000" in problem.detail]


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
        first = command("symsync", str(paris.root), "--size-only")
        assert (1, [True]) == (first.status, ["many" in line for line in first.err.splitlines() if "truncated" in line])
        assert everything == listed()
        again = fleet.sync("paris")
        assert (1, (), [("many", Reason.CUT)]) == (again.exit_status, again.outcomes, cut_listings(again))
        assert everything == listed()

        for name in SOME[:3]:
            paris.write(f"many/{name}", b"edited here")
        paris.remove(f"many/{SOME[3]}")
        paris.write("many/new", b"new")
        for name in SOME[4:6]:
            PURE_FTPD.run("bash", "-c", f"echo edited there > {there}/{name}")
        PURE_FTPD.run("rm", f"{there}/{SOME[6]}")
        changed = fleet.sync("paris")
        assert (1, [("many", Reason.CUT)]) == (changed.exit_status, cut_listings(changed))
        done = {outcome.decision.path.rpartition("/")[2]: outcome.decision.action for outcome in changed.outcomes}
        gone = {SOME[3]: Action.REMOVE, SOME[6]: Action.REMOVE}
        assert {**dict.fromkeys((*SOME[:3], "new"), Action.PUT), **dict.fromkeys(SOME[4:6], Action.GET), **gone} == done
        expected = everything - {SOME[3], SOME[6]} | {"new"}
        assert expected == listed() == {path.name for path in (paris.root / "many").iterdir()}
        assert "edited there\n" == paris.read(f"many/{SOME[4]}").decode()
        assert "edited here" == PURE_FTPD.run("cat", f"{there}/{SOME[2]}")


LIMIT = 3


@pytest.fixture
def short_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory as hub whose listings end after a few entries, the last in the alphabet first, and say so."""
    whole = DirectoryRemote.listings

    def listings(self: DirectoryRemote, directories: Sequence[str]) -> Iterator[Listing]:
        for listing in whole(self, directories):
            if listing.directory.startswith(".sync.") or len(listing.entries) <= LIMIT:
                yield listing
                continue
            shown = sorted(listing.entries, key=lambda entry: entry.path, reverse=True)[:LIMIT]
            cut = Problem(listing.directory, Reason.CUT, "truncated to 10000")
            yield replace(listing, entries=tuple(shown), problem=cut)

    monkeypatch.setattr(DirectoryRemote, "listings", listings)


@pytest.mark.parametrize("make_hub", ["directory"], indirect=True)
@pytest.mark.usefixtures("short_listings")
def test_what_a_cut_listing_lacks_is_asked_for(fleet: Fleet) -> None:
    """Beyond the limit lie a directory with files, an edit, a removal, a file whose name is new here as well, and one
    that only the hub has: this is not seen, and not touched; all else goes on."""
    fleet.join("paris", "oslo")
    paris, oslo, hub = fleet["paris"], fleet["oslo"], fleet.hub.place
    paris.fill({f"many/{letter}": letter.encode() for letter in "abcdefgh"})
    paris.write("many/a directory/below", b"far down")
    fleet.sync("paris")
    for name in ("paris", "oslo"):
        result = fleet.sync(name)
        assert (1, [("many", Reason.CUT)]) == (result.exit_status, cut_listings(result))
    assert paris.tree() == oslo.tree()  # what the listing lacks is in the state of paris
    hub.write("many/b", b"edited there")
    hub.remove("many/c")
    hub.write("many/aa", b"of nobody")
    paris.write("many/d", b"edited here")
    paris.remove("many/e")
    paris.write("many/ab", b"new")
    fleet.sync("paris")
    fleet.sync("paris")
    seen = {"many/a": b"a", "many/a directory/below": b"far down", "many/ab": b"new", "many/b": b"edited there"}
    seen |= {"many/d": b"edited here", **{f"many/{letter}": letter.encode() for letter in "fgh"}}
    trees = fleet.trees()
    assert seen == trees["paris"]
    assert {**seen, "many/aa": b"of nobody"} == trees[HUB]
    assert DIRECTORY not in trees[HUB].values()
