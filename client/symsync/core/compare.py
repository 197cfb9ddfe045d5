"""From the earlier state and two scans to pairs: what happened to each path on each side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from symsync.core.modes import Status
from symsync.core.steps import Pair, Sight
from symsync.core.values import Found, Scan, Side
from symsync_protocol.stamps import Kind, Stamp, same
from symsync_protocol.state import Conflict, Copy, Entry, Meta

_TWINS = 16
"""How many files of one size and time on the hub are read where another of them has left its place."""


@dataclass(frozen=True, slots=True)
class Base:
    """The agreement that this run starts from, and how far it may be trusted."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)
    removals: bool = True
    """False after a restored backup: what is missing was perhaps never deleted, so nothing is removed."""
    decisions: bool = True
    """Whether an absent copy is a decision: only in a run whose generations agree."""
    lost: Mapping[str, Conflict] = field(default_factory=dict)
    """Open conflicts whose version here went with the node's disk. They stay open where it comes back in this run, from
    its copy on the hub; else they are no more, and the copy is a file like any other."""

    @property
    def copied(self) -> Mapping[str, Conflict]:
        """All conflicts that have copies."""
        return {**self.conflicts, **self.lost} if self.lost else self.conflicts


@dataclass(frozen=True, slots=True)
class Known:
    """What another node's state says of a file on the hub: this stamp stands for this content."""

    stamp: Stamp
    digest: bytes
    meta: Meta = Meta()


@dataclass(frozen=True, slots=True)
class Learnt:
    """Contents known beyond the pair's own state."""

    here: Mapping[str, bytes] = field(default_factory=dict)
    """Digests of local files, read in this run."""
    there: Mapping[str, bytes] = field(default_factory=dict)
    """Digests of the hub's files, read in this run."""
    others: Mapping[str, Known] = field(default_factory=dict)
    """What other nodes recorded of the hub."""


def compare(base: Base, here: Scan, there: Scan, learnt: Learnt, left_out: Iterable[str] = ()) -> list[Pair]:
    """One pair for each path that either side or the state knows, by path, directories before what they hold.

    `left_out` are the copies that other states announce: on neither side looked at. Paths about which either side
    knows nothing are no pairs: the state keeps what it says of them.
    """
    copies = _own_copies(base.copied, here, there, learnt)
    skipped = {*left_out, *copies.here, *copies.there}
    paths = set(here.entries) | set(there.entries) | set(base.entries) | set(base.copied)
    pairs: list[Pair] = []
    for path in sorted(paths):
        if path in skipped or not (here.knows(path) and there.knows(path)):
            continue
        pair = _pair(path, base, here, there, learnt, copies)
        if pair is not None:
            pairs.append(pair)
    return pairs


def _pair(path: str, base: Base, here: Scan, there: Scan, learnt: Learnt, copies: "_Copies") -> Pair | None:
    found_here, found_there = here.entries.get(path), there.entries.get(path)
    entry = base.entries.get(path)
    conflict, lost = base.conflicts.get(path), base.lost.get(path)
    if found_here is None and found_there is None and entry is None and conflict is None and lost is None:
        return None
    other = learnt.others.get(path)
    if other is not None and (found_there is None or not _vouches(other.stamp, found_there)):
        other = None
    digest_there = learnt.there.get(path) or (other.digest if other else None)
    if conflict is None:
        return Pair(
            path,
            _sight(entry.here if entry else None, entry, found_here, learnt.here.get(path)),
            _sight(entry.there if entry else None, entry, found_there, digest_there),
            before=entry,
            lost=lost,
            copy_there=copies.found(Side.THERE, lost.copy_there, there) if lost else None,
            edited=copies.edited(lost, here, there),
            meta=other.meta if other else None,
        )
    listed = all(copy is None or scan.knows(copy.path) for copy, scan in _placed(conflict, here, there))
    return Pair(
        path,
        _version(conflict.here.stamp, conflict.here.digest, found_here, learnt.here.get(path)),
        _version(conflict.there.stamp, conflict.there.digest, found_there, digest_there),
        conflict=conflict,
        copy_here=copies.found(Side.HERE, conflict.copy_here, here),
        copy_there=copies.found(Side.THERE, conflict.copy_there, there),
        copies_known=base.decisions and listed,
        copies_listed=listed,
        edited=copies.edited(conflict, here, there),
        meta=other.meta if other else None,
    )


def _sight(stamp: Stamp | None, entry: Entry | None, found: Found | None, digest: bytes | None) -> Sight:
    if found is None:
        return Sight(Status.DELETED if entry else Status.ABSENT)
    if entry is None or stamp is None:
        return Sight(Status.CHANGED, found, _content(found, digest))
    if _as_recorded(stamp, entry.digest, found, digest) and entry.target == found.target:
        return Sight(Status.UNCHANGED, found, entry.digest)
    if digest is not None and digest == entry.digest and stamp.kind == found.kind:
        return Sight(Status.UNCHANGED, found, digest)
    return Sight(Status.CHANGED, found, _content(found, digest))


def _version(stamp: Stamp, recorded: bytes, found: Found | None, digest: bytes | None) -> Sight:
    """One side of an open conflict: unchanged means that it still holds the version that the conflict records."""
    if found is None:
        return Sight(Status.DELETED)
    if _as_recorded(stamp, recorded, found, digest):
        return Sight(Status.UNCHANGED, found, recorded)
    if digest is not None and digest == recorded and stamp.kind == found.kind:
        return Sight(Status.UNCHANGED, found, digest)
    return Sight(Status.CHANGED, found, _content(found, digest))


def _as_recorded(stamp: Stamp, recorded: bytes, found: Found, digest: bytes | None) -> bool:
    """Whether the stamp vouches for the recorded content, and nobody knows better (`digest`)."""
    known_better = digest is not None and digest != recorded and found.kind is not Kind.DIRECTORY
    return stamp.settled and same(stamp, found.stamp) and not known_better


def _content(found: Found, digest: bytes | None) -> bytes | None:
    """Directories have no content, so theirs is always known."""
    return b"" if found.kind is Kind.DIRECTORY else digest


def _vouches(stamp: Stamp, found: Found) -> bool:
    timed = stamp.mtime_ns is not None or found.kind is Kind.DIRECTORY
    return stamp.settled and timed and same(stamp, found.stamp)


def _placed(conflict: Conflict, here: Scan, there: Scan) -> tuple[tuple[Copy | None, Scan], ...]:
    return (conflict.copy_here, here), (conflict.copy_there, there)


@dataclass(frozen=True, slots=True)
class _Copies:
    """Paths on each side that hold a conflict copy as symsync made it. An edited copy is a user's file, not here."""

    here: frozenset[str]
    there: frozenset[str]

    def found(self, side: Side, copy: Copy | None, scan: Scan) -> Found | None:
        if copy is None or copy.path not in (self.here if side is Side.HERE else self.there):
            return None
        return scan.entries.get(copy.path)

    def edited(self, conflict: Conflict | None, here: Scan, there: Scan) -> frozenset[Side]:
        """The sides on which something else lies where the conflict's copy was."""
        if conflict is None:
            return frozenset()
        return frozenset(
            side
            for side, (copy, scan) in zip(Side, _placed(conflict, here, there), strict=True)
            if copy is not None and copy.path in scan.entries and self.found(side, copy, scan) is None
        )


def _own_copies(conflicts: Mapping[str, Conflict], here: Scan, there: Scan, learnt: Learnt) -> _Copies:
    def untouched(copy: Copy | None, scan: Scan, digests: Mapping[str, bytes]) -> bool:
        found = scan.entries.get(copy.path) if copy else None
        if copy is None or found is None or copy.stamp is None or copy.stamp.kind != found.kind:
            return False
        known = digests.get(copy.path)
        return same(copy.stamp, found.stamp) if known is None else known == copy.digest

    mine = (c.copy_here for c in conflicts.values())
    theirs = (c.copy_there for c in conflicts.values())
    return _Copies(
        frozenset(copy.path for copy in mine if copy and untouched(copy, here, learnt.here)),
        frozenset(copy.path for copy in theirs if copy and untouched(copy, there, learnt.there)),
    )


@dataclass(frozen=True, slots=True)
class Questions:
    """Files whose content must be known before anything can be decided."""

    here: frozenset[str]
    there: frozenset[str]


def questions(pairs: Sequence[Pair], *, one_way: bool, size_only: bool, gone: Iterable[Stamp] = ()) -> Questions:
    """Which files to read before planning: on the node whatever may only have been touched or moved, on the hub only
    what could else be a false conflict or undo a deletion. `size_only`: equal sizes are believed, nothing is read.
    `gone` are the stamps of what is not in its place on the hub any more and is in no pair: others' copies."""
    here: set[str] = set()
    there: set[str] = set()
    gone_here = _gone_here(pairs)
    for pair in pairs:
        mine, theirs = pair.here, pair.there
        if mine.status is Status.CHANGED and mine.found and mine.digest is None:
            recorded = pair.before.here if pair.before else pair.conflict.here.stamp if pair.conflict else None
            if recorded is not None:
                if recorded.size == mine.found.stamp.size:
                    here.add(pair.path)
            elif _is_one_of(gone_here, mine.found.stamp):
                here.add(pair.path)
        if pair.conflict is not None and mine.found and _alike(mine.found, theirs.found):
            # Somebody may have settled it by hand: mv f.HUB f
            here.add(pair.path)
            there.add(pair.path)
            continue
        if _in_doubt(pair) and theirs.found and theirs.digest is None:
            there.add(pair.path)
            continue
        if not (theirs.status is Status.CHANGED and theirs.found and theirs.digest is None):
            equal_known = theirs.found is not None and theirs.digest is not None
            if equal_known and mine.found and mine.status is Status.CHANGED and _alike(mine.found, theirs.found):
                here.add(pair.path)
            continue
        if mine.found is None:
            recorded = pair.before.there if pair.before else None
            if mine.status is Status.DELETED and recorded and recorded.size == theirs.found.stamp.size and not one_way:
                there.add(pair.path)
        elif mine.status is Status.CHANGED and _alike(mine.found, theirs.found) and not size_only:
            here.add(pair.path)
            there.add(pair.path)
        elif (mine.status is Status.CHANGED or pair.conflict) and not one_way and _same_size_as_recorded(pair):
            there.add(pair.path)  # perhaps only touched on the hub
    regular = {pair.path: pair for pair in pairs if pair.path in here or pair.path in there}
    return Questions(
        frozenset(p for p in here if _readable(regular[p].here)) | _doubtful_copies(pairs, Side.HERE),
        frozenset(p for p in there if _readable(regular[p].there))
        | _doubtful_copies(pairs, Side.THERE)
        | (frozenset() if size_only else _doubtful_twins(pairs, gone)),
    )


def _doubtful_twins(pairs: Sequence[Pair], more: Iterable[Stamp]) -> frozenset[str]:
    """Files on the hub that bear the recorded stamp, which something had there, too, that is not in its place any more:
    it may have been renamed over them. Files out of one archive often have one time, but seldom one size as well; of
    more than `_TWINS` that have both none is read, for each deletion among them would read them all."""
    moved = (pair for pair in pairs if pair.there.found is None or pair.there.status is Status.CHANGED)
    gone = {*map(_recorded_key, moved), *map(_key, more)}
    gone.discard(None)
    twins: dict[tuple[int, int], list[str]] = {}
    for pair in pairs if gone else ():
        key = _recorded_key(pair)
        if key is not None and key in gone and pair.there.found is not None and pair.there.status is Status.UNCHANGED:
            twins.setdefault(key, []).append(pair.path)
    return frozenset(path for paths in twins.values() if len(paths) <= _TWINS for path in paths)


def _recorded_key(pair: Pair) -> tuple[int, int] | None:
    stamp = pair.before.there if pair.before else pair.conflict.there.stamp if pair.conflict else None
    return _key(stamp)


def _key(stamp: Stamp | None) -> tuple[int, int] | None:
    """All that the stamp recorded of a file on the hub tells, None where there is none, or where an inode tells more
    (and empty files don't differ)."""
    if stamp is None or stamp.kind is not Kind.FILE or stamp.inode is not None or stamp.size == 0:
        return None
    return stamp.size, -1 if stamp.mtime_ns is None else stamp.mtime_ns // stamp.tick_ns


def _doubtful_copies(pairs: Sequence[Pair], side: Side) -> frozenset[str]:
    """Conflict copies that bear the recorded stamp, which was too fresh then to vouch for the content, or another with
    the recorded size: they were perhaps only touched, or are shown in another time zone."""
    doubtful: set[str] = set()
    changed: dict[str, Stamp] = {}
    for pair in pairs:
        copy, lying = _copy_on(pair, side)
        if copy is None or copy.stamp is None:
            continue
        if side in pair.edited:
            changed[copy.path] = copy.stamp
        elif lying is not None and not copy.stamp.settled:
            doubtful.add(copy.path)
    for pair in pairs if changed else ():
        found, stamp = pair.sight(side).found, changed.get(pair.path)
        if stamp is not None and found is not None and (found.kind, found.stamp.size) == (Kind.FILE, stamp.size):
            doubtful.add(pair.path)
    return frozenset(doubtful)


def _copy_on(pair: Pair, side: Side) -> tuple[Copy | None, Found | None]:
    """The copy that a conflict has on a side, as it is recorded and as it lies there."""
    conflict = pair.conflict or pair.lost
    if conflict is None:
        return None, None
    return (conflict.copy_here, pair.copy_here) if side is Side.HERE else (conflict.copy_there, pair.copy_there)


def _same_size_as_recorded(pair: Pair) -> bool:
    recorded = pair.before.there if pair.before else pair.conflict.there.stamp if pair.conflict else None
    found = pair.there.found
    return recorded is not None and found is not None and recorded.size == found.stamp.size


def _in_doubt(pair: Pair) -> bool:
    """Whether the hub's stamp is the recorded one, but was too fresh then to vouch for the content."""
    recorded = pair.before.there if pair.before else pair.conflict.there.stamp if pair.conflict else None
    found = pair.there.found
    return recorded is not None and found is not None and not recorded.settled and same(recorded, found.stamp)


def _alike(one: Found, other: Found | None) -> bool:
    return other is not None and one.kind == other.kind and one.stamp.size == other.stamp.size


def _readable(sight: Sight) -> bool:
    return sight.found is not None and sight.found.kind in (Kind.FILE, Kind.LINK) and sight.digest is None


def _gone_here(pairs: Iterable[Pair]) -> Mapping[int, Sequence[Stamp]]:
    """By size, the stamps of files that the node had under names which it has no more: what may have been moved."""
    gone: dict[int, list[Stamp]] = {}
    for pair in pairs:
        if pair.here.found is None and pair.before is not None and pair.before.here.kind is Kind.FILE:
            gone.setdefault(pair.before.here.size, []).append(pair.before.here)
    return gone


def _is_one_of(gone: Mapping[int, Sequence[Stamp]], stamp: Stamp) -> bool:
    """Whether a new file bears the time, and as far as both are known the inode, of one that is gone. What was recorded
    over the wire, when this side was the hub, has no inode."""
    moved = replace(stamp, ctime_ns=None)  # renaming sets it
    return any(same(old, moved) for old in gone.get(stamp.size, ()))
