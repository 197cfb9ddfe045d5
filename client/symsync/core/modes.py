"""The five modes as tables: local status by remote status gives the action.

Everything that makes one mode differ from another stands here. The words are those of the ancestor's text. In the
earlier state and not there now is *deleted*; new is *changed*; in neither is *absent*.
"""

from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from types import MappingProxyType


class Status(StrEnum):
    """What happened to a path on one side since both sides were last in agreement."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    DELETED = "deleted"
    ABSENT = "absent"


class Action(StrEnum):
    """What is to be done, as the node that runs the program sees it."""

    NOTHING = "nothing"
    GET = "get"
    """The hub's version goes to the node."""
    PUT = "put"
    """The node's version goes to the hub."""
    REMOVE = "remove"
    """It goes from the side that still has it."""
    DUPLICATE = "duplicate"
    """Both sides keep their own and receive the other's beside it."""
    IGNORE = "ignore"


class Mode(StrEnum):
    """Which table a run follows."""

    SYNC = "sync"
    """Two-way: no side is preferred."""
    MASTER = "master"
    """A backup onto the hub: what the hub lost or changed is refreshed."""
    SLAVE = "slave"
    """A backup of the hub, master's dual."""
    ORIGINAL = "original"
    """One-way, local to hub."""
    MIRROR = "mirror"
    """One-way, hub to local; nothing at all is written on the hub."""


Table = Mapping[tuple[Status, Status], Action]
"""(local, remote) -> action, all sixteen cells."""


def _table(grid: str) -> Table:
    return MappingProxyType(dict(zip(product(Status, Status), map(Action, grid.split()), strict=True)))


TABLES: Mapping[Mode, Table] = MappingProxyType(
    {
        # Rows: local unchanged, changed, deleted, absent. Columns: remote, in the same order.
        Mode.SYNC: _table("""
            nothing   get        remove   put
            put       duplicate  put      put
            remove    get        ignore   ignore
            get       get        ignore   ignore
        """),
        Mode.MASTER: _table("""
            nothing   get        put      put
            put       put        put      put
            remove    get        ignore   ignore
            get       get        ignore   ignore
        """),
        Mode.SLAVE: _table("""
            nothing   get        remove   put
            put       get        put      put
            get       get        ignore   ignore
            get       get        ignore   ignore
        """),
        Mode.ORIGINAL: _table("""
            nothing   put        put      put
            put       put        put      put
            remove    remove     ignore   ignore
            ignore    ignore     ignore   ignore
        """),
        Mode.MIRROR: _table("""
            nothing   get        remove   ignore
            get       get        remove   ignore
            get       get        ignore   ignore
            get       get        ignore   ignore
        """),
    }
)

_SWAPPED = {Action.GET: Action.PUT, Action.PUT: Action.GET}


def swap(action: Action) -> Action:
    """The same action as the other side would name it."""
    return _SWAPPED.get(action, action)


def dual(table: Table) -> Table:
    """The same table with the roles of the two sides swapped: transposed, get and put exchanged."""
    return MappingProxyType({(here, there): swap(table[there, here]) for here, there in product(Status, Status)})


def writes(mode: Mode) -> tuple[bool, bool]:
    """Whether a mode may write on the node, and on the hub."""
    actions = set(TABLES[mode].values())
    removes = Action.REMOVE in actions
    gets, puts = Action.GET in actions, Action.PUT in actions
    return gets or (removes and not puts), puts or (removes and not gets)
