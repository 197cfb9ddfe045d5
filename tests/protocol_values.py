"""Random values of the protocol, for tests that say what must hold for all of them."""

from hypothesis import strategies as st

from symsync_protocol.names import is_reserved, is_safe
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import (
    ANCESTORS_KEPT,
    DIGEST_SIZE,
    Conflict,
    Copy,
    Entry,
    Generation,
    Identity,
    Intent,
    Meta,
    PairState,
    Place,
    Version,
)

IDS = st.binary(min_size=16, max_size=16)
DIGESTS = st.just(b"") | st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE)
NODE_NAMES = st.from_regex(r"[A-Za-z0-9-]{1,63}", fullmatch=True)

COMPONENTS = (
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
    | st.sampled_from(
        [".", "..", ".sync.conf", ".sync_x", ".sync-y", ".sync", ".syncing", "...", "ملف", "文件", "a b\n"]
    )
)
ANY_PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
"""Paths as somebody may send them, most of them good."""
PATHS = ANY_PATHS.filter(lambda path: is_safe(path) and not is_reserved(path))

TIMES = st.none() | st.integers(-(2**70), 2**70)
STAMPS = st.builds(
    Stamp,
    kind=st.sampled_from(Kind),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=TIMES,
    tick_ns=st.sampled_from([1, 100, SECOND, 60 * SECOND, 86_400 * SECOND]),
    inode=st.none() | st.integers(0, 2**100),
    ctime_ns=TIMES,
    settled=st.booleans(),
)
TARGETS = st.none() | ANY_PATHS.filter(lambda path: "\0" not in path)
METAS = st.builds(
    Meta,
    mode=st.none() | st.integers(0, 0o7777),
    mtime_ns=TIMES,
    counter=st.integers(0, 2**63 - 1),
    author=st.just("") | NODE_NAMES,
)
ENTRIES = st.builds(Entry, here=STAMPS, there=STAMPS, digest=DIGESTS, target=TARGETS, meta=METAS)
VERSIONS = st.builds(Version, stamp=STAMPS, digest=DIGESTS, target=TARGETS)
COPIES = st.none() | st.builds(Copy, path=PATHS, digest=DIGESTS, stamp=st.none() | STAMPS)
CONFLICTS = st.builds(Conflict, here=VERSIONS, there=VERSIONS, copy_here=COPIES, copy_there=COPIES)
IDENTITIES = st.builds(Identity, name=NODE_NAMES, id=IDS)
GENERATIONS = st.builds(Generation, number=st.integers(0, 2**63 - 1), id=IDS)
PLACES = st.none() | st.builds(Place, machine=st.binary(max_size=64), inode=st.integers(0, 2**100))
INTENTS = st.builds(
    Intent,
    generation=GENERATIONS,
    paths=st.lists(PATHS, max_size=3).map(tuple),
    copies=st.lists(PATHS, max_size=3).map(tuple),
)


@st.composite
def states(draw: st.DrawFn) -> PairState:
    """A state of a pair: what is in conflict has no entry."""
    entries = draw(st.dictionaries(PATHS, ENTRIES, max_size=3))
    conflicts = draw(st.dictionaries(PATHS.filter(lambda path: path not in entries), CONFLICTS, max_size=2))
    return PairState(
        here=draw(IDENTITIES),
        there=draw(IDENTITIES),
        generation=draw(GENERATIONS),
        ancestors=tuple(draw(st.lists(IDS, max_size=4))),
        entries=entries,
        conflicts=conflicts,
        here_place=draw(PLACES),
        there_place=draw(PLACES),
        allowed=tuple(draw(st.lists(st.sampled_from(["deletes", "emptied", "identity"]), max_size=3))),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[PairState]:
    """A state and some that came after it, each from the one before by a few changes."""
    history = [draw(states())]
    for _ in range(draw(st.integers(0, 3))):
        before, after = history[-1], draw(states())
        kept = draw(st.sets(st.sampled_from(sorted(before.entries)))) if before.entries else set()
        entries = {path: before.entries[path] for path in kept} | dict(after.entries)
        lineage = (before.generation.id, *before.ancestors)[:ANCESTORS_KEPT]
        history.append(
            PairState(
                here=after.here,
                there=before.there,
                generation=draw(GENERATIONS.filter(lambda one: one.id not in {old.generation.id for old in history})),
                ancestors=draw(st.sampled_from([lineage, after.ancestors])),
                entries={path: entry for path, entry in entries.items() if path not in after.conflicts},
                conflicts=after.conflicts,
                here_place=after.here_place,
                there_place=before.there_place,
                allowed=after.allowed,
            )
        )
    return history
