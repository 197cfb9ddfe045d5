"""Which state counts when a run begins: the node's, the hub's, the older one, or none.

Both sides keep the same agreement. After a crash, a restored backup or a lost disk they do not, and then the state that
claims less is believed, and less is done: DESIGN.md ("Generations"), attacked with random models.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from symsync.core.compare import Base
from symsync.core.values import Found, Scan
from symsync_protocol.stamps import Kind, Stamp, same
from symsync_protocol.state import ANCESTORS_KEPT, Conflict, Copy, Entry, Generation, PairState, link_digest


@dataclass(frozen=True, slots=True)
class Journal:
    """What a run was about to bring about when it was ended. Counts only while the hub shows its intent.

    Each entry and conflict is as the state would have recorded it; whether it came to that is seen from the side that
    was written.
    """

    generation: bytes
    """The id of the generation that was to be recorded."""
    puts: Mapping[str, Entry] = field(default_factory=dict)
    gets: Mapping[str, Entry] = field(default_factory=dict)
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)
    acted: bool = False
    """Whether everything was done, and only the record was missing: then `puts` and `conflicts` are what it came to."""
    gone: frozenset[str] = frozenset()
    """Then these are the paths of which the state would say nothing any more."""
    silent: bool = False
    """Whether its run announces and records nothing on the hub, as its mode has it."""
    number: int = 0
    """That generation's number, in a journal that was read: where a state has as high a one, it was recorded since."""

    def swapped(self) -> "Journal":
        """The same as the other side sees it: what was brought here was put by it."""
        puts = {path: entry.swapped() for path, entry in self.puts.items()}
        gets = {path: entry.swapped() for path, entry in self.gets.items()}
        conflicts = {path: conflict.swapped() for path, conflict in self.conflicts.items()}
        if self.acted:
            return replace(self, puts=puts, conflicts=conflicts)
        return replace(self, puts=gets, gets=puts, conflicts=conflicts)

    def _coming(self) -> dict[str, Stamp]:
        """The stamps that puts and copies were to have on the hub."""
        copies = (conflict.copy_there for conflict in self.conflicts.values())
        coming = {path: entry.there for path, entry in self.puts.items()}
        coming |= {copy.path: copy.stamp for copy in copies if copy is not None and copy.stamp is not None}
        return coming

    def lying(self, there: Scan) -> list[Found]:
        """What lies on the hub as if this run had brought it there, directories aside, which have no content."""
        files = ((path, stamp) for path, stamp in self._coming().items() if stamp.kind is not Kind.DIRECTORY)
        return [found for path, stamp in files if (found := _lies(there, path, stamp)) is not None]

    def shown_otherwise(self, there: Scan) -> list[Found]:
        """What lies on the hub in the places of puts and copies with just their sizes, under other stamps: perhaps they
        were only touched, or are shown in another time zone."""
        lying = ((stamp, there.entries.get(path)) for path, stamp in self._coming().items())
        return [
            found
            for stamp, found in lying
            if found is not None
            and found.kind is Kind.FILE
            and (stamp.kind, stamp.size) == (Kind.FILE, found.stamp.size)
            and not same(stamp, found.stamp)
        ]

    def unless_others(self, contents: Mapping[str, bytes]) -> "Journal":
        """Without the puts in whose places others have put something else since, whose `contents` are known: by chance
        the stamps may be the same."""
        if self.acted:
            return self
        puts = {path: entry for path, entry in self.puts.items() if contents.get(path, entry.digest) == entry.digest}
        return replace(self, puts=puts)

    def doubtful(self, lying: Iterable[Found], base: Base, others: Collection[str] = ()) -> list[Found]:
        """What of this may as well be something else: the version that was to be replaced, which looked just so, or
        what another node has put there. Of that nobody's state tells for certain as long as the stamp is unsettled, or
        as the other's run was ended, too: `others` are the paths that such runs announced."""
        before = {path: entry.there for path, entry in base.entries.items()}
        for path, conflict in base.conflicts.items():
            before[path] = conflict.there.stamp
            if conflict.copy_there is not None and conflict.copy_there.stamp is not None:
                before[conflict.copy_there.path] = conflict.copy_there.stamp
        unsettled = {path for path, entry in self.puts.items() if not entry.there.settled}
        return [
            found
            for found in lying
            if found.path in unsettled
            or found.path in others
            or (found.path in before and same(before[found.path], found.stamp))
        ]

    def verified(self, doubtful: Iterable[Found], digests: Mapping[str, bytes]) -> "Journal":
        """Without what only looks as if this run had brought it to the hub, for it holds something else; the rest is
        known by the stamps of now."""
        now = {found.path: found.stamp.unsettled() for found in doubtful}
        puts = {
            path: replace(entry, there=now.get(path, entry.there))
            for path, entry in self.puts.items()
            if path not in now or digests.get(path) == entry.digest
        }
        conflicts = {}
        for path, conflict in self.conflicts.items():
            copy = conflict.copy_there
            if copy is not None and copy.path in now:
                # One that could not be read now is read again before anything is made of it.
                whole = digests.get(copy.path, copy.digest) == copy.digest
                copy = replace(copy, stamp=now[copy.path] if whole else None)
            conflicts[path] = replace(conflict, copy_there=copy)
        return replace(self, puts=puts, conflicts=conflicts)


class Standing(StrEnum):
    """How the two sides' states stand to each other."""

    FIRST = "first"
    """Neither side has one: they meet for the first time."""
    NORMAL = "normal"
    OLDER = "older"
    """A backup came back on one side: the older state is the base, and nothing is removed."""
    TAKEN_BACK = "taken back"
    """The node lost its state or is another directory now: only what still has the recorded content has a base."""
    UNION = "union"
    """Nothing in common: no base, nothing is removed."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What this run starts from."""

    standing: Standing
    state: PairState | None = None
    """The agreement that counts, in the node's view; None where there is none."""
    newest: int = 0
    """The highest generation number that either side knows; the next one exceeds it."""
    lineage: tuple[bytes, ...] = ()
    """The ids of all generations that either side knows, newest first."""
    copied: bool = False
    """Whether a view taken back is not the hub's but the node's own, which came along when the directory was copied or
    moved, and is in step with the hub."""


def stand(
    local: PairState | None, hub: PairState | None, pending: bytes | None, moved: bool, as_left: bool = False
) -> Ground:
    """Weigh the node's state against the hub's (in the node's view).

    `pending` is the id of the generation that this node was about to record when it was ended: where the hub has it,
    the hub's state is ours. `moved`: the directory is not the one that the node's state was written in. `as_left`: the
    last run left both sides with just these states, the hub's older or missing: one of the node's, whose mode records
    nothing there, or one of the hub's own, which was ended after it had recorded here.
    """
    states = [state for state in (local, hub) if state is not None]
    newest = max((state.generation.number for state in states), default=0)
    lineage = _lineage(states)
    recovered = hub is not None and hub.generation.id == pending
    if recovered:
        local = hub
    if local is None and hub is None:
        return Ground(Standing.FIRST)
    in_step = as_left or (local is not None and hub is not None and hub.generation.id == local.generation.id)
    if local is None or (moved and in_step):
        return Ground(Standing.TAKEN_BACK, local or hub, newest, lineage, copied=local is not None and not recovered)
    if in_step:
        return Ground(Standing.NORMAL, local, newest, lineage)
    if hub is None or moved:
        return Ground(Standing.UNION, None, newest, lineage)
    if hub.descends_from(local.generation):
        return Ground(Standing.OLDER, local, newest, lineage)
    if local.descends_from(hub.generation):
        return Ground(Standing.OLDER, hub, newest, lineage)
    return Ground(Standing.UNION, None, newest, lineage)


def _lineage(states: list[PairState]) -> tuple[bytes, ...]:
    ids: dict[bytes, None] = {}
    for state in sorted(states, key=lambda s: s.generation.number, reverse=True):
        ids.setdefault(state.generation.id)
    for state in sorted(states, key=lambda s: s.generation.number, reverse=True):
        for ancestor in state.ancestors:
            ids.setdefault(ancestor)
    return tuple(ids)[:ANCESTORS_KEPT]


def next_generation(ground: Ground, token: bytes) -> Generation:
    """The agreement that this run will record; its number exceeds both sides'."""
    return Generation(ground.newest + 1, token)


def base_of(ground: Ground, here: Scan, digests: Mapping[str, bytes]) -> Base:
    """What may be believed of the state that counts. `digests`: of local files, read where it was taken back."""
    state = ground.state
    if state is None:
        return Base(removals=ground.standing is Standing.FIRST, decisions=False)
    if ground.standing is Standing.NORMAL:
        return Base(state.entries, state.conflicts)
    if ground.standing is Standing.OLDER:
        return Base(state.entries, {}, removals=False, decisions=False)
    kept = {path: again for path, entry in state.entries.items() if (again := _again(path, entry, here, digests))}
    if ground.copied:
        edited = (path for path, entry in state.entries.items() if _later(entry.here, here.entries.get(path)))
        kept = {**{path: _doubted(state.entries[path]) for path in edited}, **kept}
    conflicts: dict[str, Conflict] = {}
    lost: dict[str, Conflict] = {}
    for path, conflict in state.conflicts.items():
        found = here.entries.get(path)
        known = replace(conflict, copy_here=_whole(conflict.copy_here, here, digests))
        if found is None:
            lost[path] = known
        elif found.kind is not Kind.DIRECTORY:
            conflicts[path] = _still_open(known, found, digests.get(path), ground.copied)
    return Base(kept, conflicts, decisions=False, lost=lost)


def _whole(copy: Copy | None, here: Scan, digests: Mapping[str, bytes]) -> Copy | None:
    """A copy on the node counts as seen where it lies there whole."""
    if copy is None:
        return None
    lying = here.entries.get(copy.path)
    whole = lying is not None and digests.get(copy.path) == copy.digest
    return replace(copy, stamp=lying.stamp if lying is not None and whole else None)


def _still_open(conflict: Conflict, found: Found, digest: bytes | None, copied: bool) -> Conflict:
    """An open conflict where the node has something under the name. Its copy on the hub is a user's file from now on
    where the node's own is perhaps not a later version."""
    if digest == conflict.here.digest:
        return replace(conflict, here=replace(conflict.here, stamp=found.stamp))
    doubted = replace(conflict.here, stamp=conflict.here.stamp.unsettled())
    follows = copied and _later(conflict.here.stamp, found)
    return replace(conflict, here=doubted, copy_there=conflict.copy_there if follows else None)


def _again(path: str, entry: Entry, here: Scan, digests: Mapping[str, bytes]) -> Entry | None:
    found = here.entries.get(path)
    if found is None or found.kind is Kind.DIRECTORY or digests.get(path) != entry.digest:
        return None
    return replace(entry, here=found.stamp)


def _doubted(known: Entry) -> Entry:
    """What was known of a file that holds something else now: no stamp, be it as coarse as that, vouches for it."""
    return replace(known, here=known.here.unsettled())


def _later(recorded: Stamp, found: Found | None) -> bool:
    """Whether a file that came with its state is of a later time than that has: edited since, no older version."""
    if found is None or found.kind is not Kind.FILE or recorded.kind is not Kind.FILE:
        return False
    before, now = recorded.mtime_ns, found.stamp.mtime_ns
    return before is not None and now is not None and now > before


def resume(
    base: Base, journal: Journal, here: Scan, there: Scan, digests: Mapping[str, bytes], *, one_way: bool = False
) -> Base:
    """What an ended run had done already counts as agreed, so that no later edit turns it into a conflict.

    `digests` are those of the local files that the run may have received. `one_way`: a conflict that it had settled is
    still open, for the mode settles it by its direction, and takes the copies away, which would else be files to it.
    """
    entries, conflicts = dict(base.entries), dict(base.conflicts)
    if journal.acted:
        for path in journal.puts:
            conflicts.pop(path, None)
        for path in journal.conflicts:
            entries.pop(path, None)
        for path in journal.gone:
            entries.pop(path, None)
            conflicts.pop(path, None)
        return replace(base, entries={**entries, **journal.puts}, conflicts={**conflicts, **journal.conflicts})
    left: dict[str, Entry] = {}
    for path, entry in journal.puts.items():
        if one_way and path in conflicts:
            continue
        found = _lies(there, path, entry.there)
        if found is not None and found.target == entry.target:
            entries[path] = entry
            left |= _left(conflicts.pop(path, None), here, there)
    for path, entry in journal.gets.items():
        if one_way and path in conflicts:
            continue
        found = _lies(here, path, entry.here)
        if found is not None and (found.kind is Kind.DIRECTORY or digests.get(path) == entry.digest):
            entries[path] = replace(entry, here=found.stamp)
            left |= _left(conflicts.pop(path, None), here, there)
    for path, conflict in journal.conflicts.items():
        mine, theirs = _seen(conflict.copy_here, here, digests), _seen(conflict.copy_there, there)
        if any(copy is not None and copy.stamp is not None for copy in (mine, theirs)):
            if (old := conflicts.get(path)) is not None:
                mine = _or_as_before(mine, old.copy_here, here)
                theirs = _or_as_before(theirs, old.copy_there, there)
            conflicts[path] = replace(conflict, copy_here=mine, copy_there=theirs)
            entries.pop(path, None)
    return replace(base, entries={**left, **entries}, conflicts=conflicts)


def _left(settled: Conflict | None, here: Scan, there: Scan) -> dict[str, Entry]:
    """The copies that an ended run, having settled their conflict, had yet to take away: as if both sides had had them
    and the other had removed them. So they go as other files do, unless somebody has edited them."""
    if settled is None:
        return {}
    mine, theirs = _remains(settled.copy_here, here), _remains(settled.copy_there, there)
    return {**mine, **{path: entry.swapped() for path, entry in theirs.items()}}


def _remains(copy: Copy | None, scan: Scan) -> dict[str, Entry]:
    """A copy that lies on this side, as one that the other side has no more."""
    found = scan.entries.get(copy.path) if copy is not None else None
    if copy is None or copy.stamp is None or found is None or found.kind is not copy.stamp.kind:
        return {}
    if found.target is not None and link_digest(found.target) != copy.digest:
        return {}
    return {copy.path: Entry(copy.stamp, copy.stamp.unsettled(), copy.digest, found.target)}


def _lies(scan: Scan, path: str, stamp: Stamp) -> Found | None:
    found = scan.entries.get(path)
    return found if found is not None and same(stamp, found.stamp) else None


def _seen(copy: Copy | None, scan: Scan, digests: Mapping[str, bytes] | None = None) -> Copy | None:
    """A copy that was about to be made: seen where it lies there, else still only announced."""
    if copy is None or copy.stamp is None:
        return copy
    found = _lies(scan, copy.path, copy.stamp)
    if found is None and digests is not None and digests.get(copy.path) == copy.digest:
        found = scan.entries[copy.path]
    if found is None or (found.target is not None and link_digest(found.target) != copy.digest):
        return replace(copy, stamp=None)
    return replace(copy, stamp=replace(found.stamp, settled=copy.stamp.settled))


def _or_as_before(copy: Copy | None, before: Copy | None, scan: Scan) -> Copy | None:
    """A copy that was only to be brought up to date, and was not, is what it was before: else it would be a file."""
    if copy is None or copy.stamp is not None or before is None or before.path != copy.path:
        return copy
    return before if before.path in scan.entries else copy
