"""The hub's state folder, seen in odd moments."""

import time
from collections.abc import Iterator, Sequence

import pytest

from symsync.core.values import Listing, Problem, Reason
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync.statestore import HubStore
from symsync_protocol.errors import HubError
from symsync_protocol.names import STATE_DIR


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
