"""The hub's state folder, seen in odd moments."""

import time
from collections.abc import Iterator, Sequence

import pytest

from symsync.core.values import Listing, Problem, Reason
from symsync.remotes.base import Traits
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync.statestore import HubStore, Recorded
from symsync_protocol.errors import HubError, HubRefused
from symsync_protocol.names import LOCK_DIR, STATE_DIR
from symsync_protocol.state import Generation, Identity, PairState

MINE = f"{LOCK_DIR}/paris-1"


class _Refuses(MemoryRemote):
    """Refuses the first listings: a server that knows only one word for what is missing and what is forbidden."""

    def __init__(self, hub: MemoryHub, times: int) -> None:
        super().__init__(hub)
        self._times = times

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        if self._times:
            self._times -= 1
            return iter([Listing(path, problem=Problem(path, Reason.DENIED, "no")) for path in directories])
        return super().listings(directories)


def test_a_folder_that_is_made_in_this_very_moment() -> None:
    """Another node makes it between two looks: that it could not be listed at first is no reason to stop."""
    hub = MemoryHub(time.time_ns)
    MemoryRemote(hub).make_directories([STATE_DIR])
    assert {} == HubStore(_Refuses(hub, 1)).folder().sizes
    with pytest.raises(HubError, match="can't be listed: no"):
        HubStore(_Refuses(hub, 2)).folder()


class _Robbed(MemoryRemote):
    """Whose lock is taken away before a rename, once it is `due`."""

    due = False

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if self.due:
            self.due = False
            super().rename([(MINE, f"{LOCK_DIR}/thief")])
        return super().rename(pairs)


@pytest.mark.parametrize("replaces", [True, False])
def test_who_has_lost_the_lock_replaces_no_state(replaces: bool) -> None:
    """What he had written anew went with the lock's folder: the state that is there stays."""
    hub = MemoryHub(time.time_ns, Traits(appends=False, replaces=replaces))
    remote = _Robbed(hub)
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    store = HubStore(remote)

    def record(number: int, file: Recorded | None) -> Recorded:
        token = bytes([number]) * 16
        state = PairState(Identity("paris", token), Identity("hub", token), Generation(number, token))
        return store.record("paris", None, state, file, MINE, remote.stat)

    recorded = record(2, record(1, None))
    before = remote.read(f"{STATE_DIR}/paris")
    remote.due = True
    with pytest.raises(HubRefused, match="can't be replaced"):
        record(3, recorded)
    with pytest.raises(HubRefused):
        record(3, recorded)
    assert before == remote.read(f"{STATE_DIR}/paris")
    assert {"paris"} == store.folder().sizes.keys() and f"{STATE_DIR}/paris.new" not in hub
