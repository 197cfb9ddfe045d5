"""Where states lie: under `.sync.state/` of node and hub, one file for each pair, named after the other side.

The node's store is plain files. The hub's is reached through a Remote; what it held when we last looked is remembered
on the node (`_met.HUB`), so that a run in which nothing changed reads none of it: a state file only grows, and one that
is written anew never has a size it had before, so an equal size means an equal file.

Reading order: `parts` (the files in which one state lies), `memory` (what is remembered of a hub's), `journals`,
`node`, `hub`, `others` (what other nodes have recorded there).
"""

from symsync.statestore.hub import HubStore, Question
from symsync.statestore.memory import Met, Other, Recorded, StateFolder
from symsync.statestore.node import NodeStore, place_of, unless_damaged
from symsync.statestore.others import announced, refreshed

__all__ = [
    "HubStore",
    "Met",
    "NodeStore",
    "Other",
    "Question",
    "Recorded",
    "StateFolder",
    "announced",
    "place_of",
    "refreshed",
    "unless_damaged",
]
