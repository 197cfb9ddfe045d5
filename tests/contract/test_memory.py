"""The hub in memory keeps the contract, and so do hubs in memory that can do less."""

from collections.abc import Iterator
from itertools import count

import pytest

from contract.bench import Hub, Sources, make, only, put, reason
from contract.contract import RemoteContract
from symsync.core.values import Reason
from symsync.remotes.base import Store, Traits
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync_protocol.errors import HubUnreachable
from symsync_protocol.stamps import SECOND

ABLE = Traits()
POOR = Traits(
    tick_ns=60 * SECOND,
    sets_times=False,
    sets_modes=False,
    links=False,
    appends=False,
    replaces=False,
    hides_dots=True,
)


@pytest.fixture
def seconds() -> Iterator[int]:
    """A clock: each look at it is a second later."""
    return count(1_700_000_000 * SECOND, SECOND)


class TestMemory(RemoteContract):
    @pytest.fixture(params=[ABLE, POOR], ids=["able", "poor"])
    def hub(self, request: pytest.FixtureRequest, seconds: Iterator[int]) -> Hub:
        memory = MemoryHub(lambda: next(seconds), request.param)
        return Hub(lambda: MemoryRemote(memory))


def test_full(seconds: Iterator[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """What doesn't fit is refused as FULL, and fits again once something went."""
    sources = Sources(tmp_path_factory.mktemp("sources"))
    with MemoryRemote(MemoryHub(lambda: next(seconds), capacity=10)) as remote:
        put(remote, sources, "f", b"123456")
        job = Store(sources.file(b"12345"), "g")
        assert Reason.FULL is reason(only(remote.store([job])))
        assert [None] == remote.remove_files(["f"])
        put(remote, sources, "g", b"12345")


def test_closed(seconds: Iterator[int]) -> None:
    """A closed connection reaches nothing; the hub itself goes on."""
    memory = MemoryHub(lambda: next(seconds))
    closed, open_one = MemoryRemote(memory), MemoryRemote(memory)
    closed.close()
    with pytest.raises(HubUnreachable):
        closed.stat([""])
    make(open_one, "d")


def test_time_is_the_clock(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The hub's times come from its clock alone, cut to its tick."""
    sources = Sources(tmp_path_factory.mktemp("sources"))
    with MemoryRemote(MemoryHub(lambda: 125 * SECOND, Traits(tick_ns=60 * SECOND))) as remote:
        assert 120 * SECOND == put(remote, sources, "f").found.stamp.mtime_ns
