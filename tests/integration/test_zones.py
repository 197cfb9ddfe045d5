"""Clocks that are set for summer and winter, and computers that travel: nothing is sent again, nothing is in conflict.

The server tells times in `LIST` only, to the minute and in its own zone, as the poorest servers do. It runs in this
process, whose zone is therefore the server's; the node runs in a process and a zone of its own.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from integration.killable import never_asked
from integration.scenarios import HUB, Fleet, Hub, LocalPlace, Tree, begin
from symsync.remotes.location import Tls
from symsync_protocol.stamps import SECOND
from unit.ftp_server import running

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
SHIFTED = "CEST-2"
"""What a server tells that calls all times by the offset of today."""
ELSEWHERE = ("UTC0", "<+1345>-13:45", "<-11>11")

TELLS_TIME = ("MLSD", "MLST", "MDTM", "MFMT", "STAT", "SITE")
"""Commands that tell times better than LIST does, or set them."""

Clock = Callable[[str], None]


@pytest.fixture
def server_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Sets the zone of this process, in which the server is."""

    def put(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def poor_fleet(base: Path, server_zone: Clock) -> Iterator[Fleet]:
    """Two nodes, and a server that tells nothing but what LIST does."""
    server_zone(BERLIN)
    directory = base / "served"
    directory.mkdir()
    with running(directory, without=TELLS_TIME, use_gmt_times=False) as server:
        hub = Hub("poor", server.location(tls=Tls.NO), LocalPlace(directory), never_asked)
        fleet = Fleet(hub, base)
        fleet.join("paris", "oslo")
        yield fleet


def moments() -> dict[str, int]:
    """Times that a zone can mistake, in ns since 1970: winter, summer, the hour that comes twice, the last minutes."""
    now = datetime.now(UTC)
    october = datetime(now.year - (now.month < 11), 10, 31, 0, 30, tzinfo=UTC)
    twice = october - timedelta(days=october.isoweekday() % 7)
    known = {"winter": datetime(2020, 1, 15, 12, tzinfo=UTC), "summer": datetime(2020, 7, 15, 12, tzinfo=UTC)}
    known |= {"first half past two": twice, "second half past two": twice + timedelta(hours=1)}
    known |= {"an hour ago": now - timedelta(hours=1), "last month": now - timedelta(days=30)}
    return {name: int(moment.timestamp()) * SECOND for name, moment in known.items()}


def run(fleet: Fleet, node: str, zone: str) -> tuple[int, list[str]]:
    """One run of a node whose computer is in `zone`: the exit status, and what was done, without sizes and seconds."""
    process = begin("symsync", str(fleet[node].root), "--all", TZ=zone)
    told, _ = process.communicate()
    *done, summary = told.splitlines()
    return process.returncode, sorted(line for line in done if not line.startswith("same ")) or [summary]


NOTHING = (0, [f"nothing to do: in step with {HUB}"])


def test_nothing_is_sent_again_in_another_zone(poor_fleet: Fleet) -> None:
    """Two nodes travel around the world; the server tells each file's time by the clock of that day."""
    paris, oslo = poor_fleet["paris"], poor_fleet["oslo"]
    for name, moment in moments().items():
        paris.write(name, name.encode())
        paris.set_time(name, moment)
    assert 0 == run(poor_fleet, "paris", BERLIN)[0]
    assert 0 == run(poor_fleet, "oslo", "UTC0")[0]
    assert paris.tree() == oslo.tree()
    before = poor_fleet.everything()
    for zone in ELSEWHERE:
        assert [NOTHING, NOTHING] == [run(poor_fleet, node, zone) for node in poor_fleet.nodes]
    assert before == poor_fleet.everything()


def test_a_server_that_changes_its_zone_causes_no_conflict(poor_fleet: Fleet, server_zone: Clock) -> None:
    """All its times move by an hour: what nobody edited is received once more, at worst, and an edit is only sent."""
    paris, oslo = poor_fleet["paris"], poor_fleet["oslo"]
    for name, moment in moments().items():
        paris.write(name, name.encode())
        paris.set_time(name, moment)
    poor_fleet.sync_all()
    server_zone(SHIFTED)
    paris.write("winter", b"edits")
    oslo.write("summer", b"edited")
    status, done = run(poor_fleet, "paris", BERLIN)
    assert (0, ["put  winter"]) == (status, [line for line in done if not line.startswith("get ")])
    assert {"paris": 0, "oslo": 0} == {name: result.exit_status for name, result in poor_fleet.sync_all().items()}
    poor_fleet.sync_all()
    expected: Tree = {**{name: name.encode() for name in moments()}, "winter": b"edits", "summer": b"edited"}
    assert poor_fleet.all_hold(expected) == poor_fleet.trees()
    assert [NOTHING, NOTHING] == [run(poor_fleet, node, BERLIN) for node in poor_fleet.nodes]
