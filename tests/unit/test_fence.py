"""The fence where the connection breaks amid renames: what was uploaded takes its place once, and only once."""

from collections.abc import Sequence

import pytest

from symsync.core.values import Problem, Reason
from symsync.events import Audience
from symsync.fence import Fence, LockLostError
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync_protocol.names import LOCK_DIR

RUN = "20261120T120000Z-paris-00000001"


class Breaking(MemoryRemote):
    """Its connection breaks once amid renames: `done` of them were done, and `heard` replies were read."""

    done = heard = 0
    broken = False

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if self.broken or len(pairs) < 3:
            return super().rename(pairs)
        self.broken = True
        outcomes = super().rename(pairs[: self.done])
        lost = [Problem(old, Reason.LOST, "the connection broke") for old, _new in pairs[self.heard :]]
        return outcomes[: self.heard] + lost


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub(lambda: 0)


@pytest.fixture
def remote(hub: MemoryHub) -> Breaking:
    return Breaking(hub)


@pytest.fixture
def fence(remote: Breaking) -> Fence:
    """Three uploads, and the lock."""
    fence = Fence(remote, RUN, Audience())
    fence.prepare("paris", sweep=True)
    for number in range(3):
        remote.write(fence.staged(number), b"%d" % number)
    fence.acquire()
    return fence


def puts(fence: Fence) -> list[tuple[str, str]]:
    return [(fence.held(fence.staged(number)), f"f{number}") for number in range(3)]


@pytest.mark.parametrize(("done", "heard"), [(0, 0), (1, 0), (2, 1), (3, 1), (3, 2)])
def test_puts_go_on_where_the_connection_broke(
    hub: MemoryHub, remote: Breaking, fence: Fence, done: int, heard: int
) -> None:
    """Whatever had been done, and whatever of it had been heard."""
    remote.done, remote.heard = done, heard
    assert [None] * 3 == fence.rename(puts(fence))
    assert [b"0", b"1", b"2"] == [hub.content(f"f{number}") for number in range(3)]


def test_what_was_displaced_stays_in_doubt(hub: MemoryHub, remote: Breaking, fence: Fence) -> None:
    """Its commands may still be before the server: asked for again, they would displace what came since."""
    for number in range(3):
        remote.write(f"f{number}", b"before")
    fence.make_room([f"f{number}" for number in range(3)])
    outcomes = fence.rename([(f"f{number}", fence.displaced(f"f{number}")) for number in range(3)])
    assert [Reason.LOST] * 3 == [problem.reason for problem in outcomes if problem is not None]
    assert b"before" == hub.content("f0")


def test_a_folder_that_a_thief_took_away_does_not_count_as_renamed(remote: Breaking, fence: Fence) -> None:
    """All that was in it is gone from there, but nothing of it was put."""
    MemoryRemote.rename(remote, [(f"{LOCK_DIR}/{RUN}", f"{LOCK_DIR}/{RUN}x1")])
    with pytest.raises(LockLostError):
        fence.rename(puts(fence))
