"""Real processes that are killed at random moments, on servers that fall over: nothing is lost, all become equal."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.killable import KILLABLE, Killable
from integration.scenarios import Fleet
from integration.swarm import Swarm
from symsync import fence

ServerMaker = Callable[[str], Killable]


@pytest.fixture
def make_fleet(request: pytest.FixtureRequest, base: Path) -> Iterator[Callable[[str, int], tuple[Fleet, Killable]]]:
    """Starts a server of the kind that is named, and makes so many nodes around it."""
    with ExitStack() as stack:

        def make(kind: str, count: int) -> tuple[Fleet, Killable]:
            if kind != "bundled":
                request.getfixturevalue("docker_services")  # they build its image
            server = KILLABLE[kind](base)
            fleet = Fleet(server.hub(stack), base)
            fleet.join(*(f"node-{number}" for number in range(1, count + 1)), connections="2")
            return fleet, server

        yield make


def survived(swarm: Swarm, nodes: int, capsys: pytest.CaptureFixture[str]) -> None:
    """People rest: nothing is lost or torn, neither now nor after all conflicts are decided, and all are equal."""
    assert [] == swarm.lost()
    in_step = swarm.settle()
    assert [] == swarm.lost()
    assert [] == swarm.torn()
    assert nodes == len(in_step)
    with capsys.disabled():
        print(f"\n{swarm.figures}; {len(swarm.ledger.numbers)} versions written")


@pytest.mark.parametrize("kind", ["bundled"])
def test_killed_processes_lose_nothing(
    make_fleet: Callable[[str, int], tuple[Fleet, Killable]],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Four nodes on the same two hundred paths, every other run killed, the hub twice."""
    fleet, server = make_fleet(kind, 4)
    swarm = Swarm(fleet, server, seed=1)
    swarm.live(15, at_least=10, kills=0.7, restart_every=7)
    monkeypatch.setattr(fence, "STALE_AFTER", 0.5)
    survived(swarm, 4, capsys)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bundled", pytest.param("vsftpd", marks=pytest.mark.docker)])
@pytest.mark.timeout(1800)
def test_five_minutes_of_kills_lose_nothing(
    make_fleet: Callable[[str, int], tuple[Fleet, Killable]],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Eight nodes, three hundred kills at the least, and the hub every forty seconds."""
    fleet, server = make_fleet(kind, 8)
    swarm = Swarm(fleet, server, seed=1)
    swarm.live(300, at_least=300, kills=0.85, restart_every=40)
    monkeypatch.setattr(fence, "STALE_AFTER", 0.5)
    survived(swarm, 8, capsys)
