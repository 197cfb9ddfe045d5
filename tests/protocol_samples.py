"""Small fixed values of the protocol."""

from dataclasses import replace

from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import ANCESTORS_KEPT, Entry, Generation, Identity, Meta, PairState, Version

LAPTOP = Identity("laptop", b"L" * 16)
SERVER = Identity("server", b"S" * 16)
FILE = Stamp(Kind.FILE, 5, 7 * SECOND, 1, 3, 9)
ENTRY = Entry(FILE, replace(FILE, tick_ns=SECOND, inode=None), b"d" * 32, None, Meta(0o644, 7, 1, "laptop"))
VERSION = Version(FILE, b"v" * 32)


def generation(number: int) -> Generation:
    """The generation of this number."""
    return Generation(number, number.to_bytes(16, "big"))


def state(number: int = 1, **fields: object) -> PairState:
    """A small state of generation `number`, whose ancestors are the numbers before."""
    ancestors = tuple(generation(earlier).id for earlier in range(number - 1, 0, -1))[:ANCESTORS_KEPT]
    small = PairState(LAPTOP, SERVER, generation(number), ancestors, {"a/f": ENTRY})
    return replace(small, **fields)  # type: ignore[arg-type]  # the tests name real fields
