"""What other nodes have recorded on the hub."""

from collections.abc import Iterable
from contextlib import suppress

from symsync.statestore.hub import HubStore
from symsync.statestore.memory import Other
from symsync.statestore.node import NodeStore
from symsync_protocol.errors import StateDamaged
from symsync_protocol.names import STATE_DIR
from symsync_protocol.statefile import StateFile, decode, decode_tail


def refreshed(store: NodeStore, hub: HubStore, hub_name: str, node: str, known: Other | None) -> StateFile | None:
    """Another node's state file, brought up to date: what was appended since it was last read, else the whole.

    None where it is gone. Raises StateDamaged and HubRefused where it can't be used or read.
    """
    old = store.cached(hub_name, node) if known else None
    if old is not None:
        tail = hub.raw(node, old.size)
        if tail:  # none: it was written anew, and shorter
            with suppress(StateDamaged):
                after = decode_tail(old, tail, node)
                if after is not None:
                    store.cache(hub_name, node, tail, append=True)
                    return after
    data = hub.raw(node)
    if data is None:
        return None
    file = decode(data, f"the hub's {STATE_DIR}/{node}")
    store.cache(hub_name, node, data, append=False)
    return file


def announced(file: StateFile) -> tuple[str, ...]:
    """The conflict copies on the side that keeps `file`, recorded or about to be made."""
    recorded: Iterable[str] = ()
    if file.state is not None:
        recorded = (c.copy_here.path for c in file.state.conflicts.values() if c.copy_here)
    return tuple(dict.fromkeys([*recorded, *(file.intent.copies if file.intent else ())]))
