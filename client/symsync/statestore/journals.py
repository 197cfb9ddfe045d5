"""The journal of a run as bytes: what it was about to do when it was ended."""

from dataclasses import replace

import msgpack

from symsync.core.generations import Journal
from symsync_protocol import statefile
from symsync_protocol.errors import StateDamaged
from symsync_protocol.names import is_safe
from symsync_protocol.state import PairState

PREFIX = "_journal."
"""What the journal of a run is called, with the other side's name behind it."""


def encode(journal: Journal, state: PairState) -> bytes:
    """The bytes of a journal; `state` tells whose run it is, and which generation."""
    puts = replace(state, entries=journal.puts, conflicts=journal.conflicts)
    gets = replace(state, entries=journal.gets, conflicts={})
    files = [statefile.encode_file(puts, rewrites=0), statefile.encode_file(gets, rewrites=0)]
    data: bytes = msgpack.packb(
        [*files, journal.acted, sorted(journal.gone), journal.silent], unicode_errors="surrogateescape"
    )
    return data


def decode(data: bytes, what: str) -> Journal | None:
    """A journal from its bytes, None where they are none."""
    try:
        puts, gets, acted, gone, silent = msgpack.unpackb(data, unicode_errors="surrogateescape")
        sent, received = statefile.decode(puts, what).state, statefile.decode(gets, what).state
        paths = frozenset(path for path in gone if isinstance(path, str) and is_safe(path))
    except (ValueError, TypeError, StateDamaged, msgpack.UnpackException):
        return None
    if sent is None or received is None:
        return None
    generation = sent.generation
    return Journal(
        generation.id,
        sent.entries,
        received.entries,
        sent.conflicts,
        acted is True,
        paths,
        silent is True,
        generation.number,
    )
