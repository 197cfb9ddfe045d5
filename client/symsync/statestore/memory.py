"""What a node knows of the files in a hub's state folder, and remembers of them."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace

import msgpack

from symsync.statestore.parts import first_rewrite
from symsync_protocol.statefile import StateFile

PREFIX = "_met."
"""What the memory of a hub is called, with its name behind it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One state file as it lies there: what it holds, or (`state` None) only its shape."""

    size: int
    rewrites: int
    base_size: int
    torn: bool = False
    parts: int = 0

    @classmethod
    def of(cls, file: StateFile) -> "Recorded":
        return cls(file.size, file.rewrites, file.base_size, file.torn, file.parts)

    def disowned(self) -> "Recorded":
        """As one to be written anew, in a size that nobody remembers: it is older than what others have read, so that
        to count on would lead to the sizes of then."""
        return replace(self, rewrites=first_rewrite(), torn=True)


@dataclass(frozen=True, slots=True)
class Other:
    """What another node's state file on the hub held when it was last read."""

    size: int
    copies: tuple[str, ...] = ()
    """Conflict copies on the hub that it announces."""


@dataclass(frozen=True, slots=True)
class Met:
    """What the node remembers of a hub's state folder."""

    hub: bytes = b""
    """The hub's id; empty while it has none."""
    own: Recorded | None = None
    """This node's state file there, as this node left it."""
    generation: bytes = b""
    """The id of the generation that lies in it; empty where the node never recorded anything there."""
    local: bytes = b""
    """The id of the generation that the node recorded of its own in the same run: another one where the run's mode
    records nothing on the hub. The node's state may be a later one's by now, one by the hub itself in the node's role.
    Empty where nothing is known."""
    others: Mapping[str, Other] = field(default_factory=dict)
    clock_offset_ns: int = 0
    """The hub's clock minus this machine's, when it was last read."""
    appends: bool = True
    """Whether the hub could append to files when it was last tried."""
    pruned: int = 0
    """When this node last looked through the hub's trash, in seconds since 1970."""

    def encode(self) -> bytes:
        """Its bytes; `Met.decode` reads them."""
        table = {
            "hub": self.hub,
            "own": astuple(self.own) if self.own else None,
            "generation": self.generation,
            "local": self.local,
            "others": {name: (other.size, other.copies) for name, other in self.others.items()},
            "offset": self.clock_offset_ns,
            "appends": self.appends,
            "pruned": self.pruned,
        }
        data: bytes = msgpack.packb(table, unicode_errors="surrogateescape")
        return data

    @classmethod
    def decode(cls, data: bytes) -> "Met":
        """What the bytes tell. A cache: of unreadable ones nothing, and everything is read again."""
        try:
            raw = msgpack.unpackb(data, strict_map_key=False)
            own = Recorded(*raw["own"]) if raw["own"] else None
            others = {str(n): Other(int(size), tuple(copies)) for n, (size, copies) in raw["others"].items()}
            offset, pruned = int(raw["offset"]), int(raw["pruned"])
            generation, local = bytes(raw["generation"]), bytes(raw["local"])
            return cls(bytes(raw["hub"]), own, generation, local, others, offset, bool(raw["appends"]), pruned)
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
            return cls()


@dataclass(frozen=True, slots=True)
class StateFolder:
    """What a hub's `.sync.state/` holds."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """The nodes' states, by node, with their sizes, all parts together."""
    files: Mapping[str, int] = field(default_factory=dict)
    """All files, by name, with their sizes."""
    has_identity: bool = False
    has_links: bool = False
    journals: frozenset[str] = frozenset()
    """The directories with which a run of the hub's own was begun, and perhaps ended before it was done."""
