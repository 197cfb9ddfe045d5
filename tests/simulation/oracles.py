"""What must hold, whatever happened: DESIGN.md's invariants, held against the whole world and the ledger of what
people did."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from simulation.ledger import Ledger
from simulation.places import HUB, PRIVATE, Item, NodePlace, Served, Tree, visible
from symsync.core.modes import Mode
from symsync.folder import Folder, is_same
from symsync.rules import Rules
from symsync.statestore import HubStore, NodeStore
from symsync_protocol.names import IGNORE_FILE, LOCK_DIR, TEMPORARY_DIR, TRASH_DIR, ancestors, basename
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Conflict, Copy, PairState

_KEPT = tuple(f"{directory}/" for directory in (LOCK_DIR, TEMPORARY_DIR, TRASH_DIR))
_BEING_EXCHANGED = f"{LOCK_DIR}/"


class Violation(AssertionError):
    """The engine broke a promise. `oracle` names which: two failures are of one kind if it is the same."""

    def __init__(self, oracle: str, text: str) -> None:
        super().__init__(f"{oracle}: {text}")
        self.oracle = oracle


class Oracles:
    """The judges of one world. Each method raises Violation."""

    def __init__(self, ledger: Ledger, places: Mapping[str, Served], *, includes_dots: bool) -> None:
        self._ledger = ledger
        self._places = places
        self._includes_dots = includes_dots

    def nothing_lost_or_torn(self) -> None:
        """Invariant 1, and more: a version that nobody overwrote or deleted is not only kept, but where people see it,
        or on its way there; and what people see was written by somebody, whole. Invariant 6: what is excluded stays."""
        ledger = self._ledger
        kept: set[bytes] = set()
        seen: set[bytes] = set()
        for name, place in self._places.items():
            tree = place.tree()
            if PRIVATE not in tree or tree[PRIVATE].content != name.encode():
                raise Violation("excluded", f"{PRIVATE} on {name} was touched")
            for path, item in tree.items():
                if item.kind is Kind.DIRECTORY:
                    continue
                if path.startswith(_KEPT):
                    kept.add(item.content)
                    if path.startswith(_BEING_EXCHANGED):
                        seen.add(item.content)
            for path, item in visible(tree).items():
                if item.kind is not Kind.DIRECTORY:
                    seen.add(item.content)
                    if item.content not in ledger.numbers:
                        raise Violation("torn", f"{path} on {name} holds what nobody wrote: {item.content!r}")
        alive = ledger.numbers.keys() - ledger.dead
        if gone := alive - kept - seen:
            raise Violation("lost", f"nowhere any more: {_shown(gone)}")
        if not ledger.overridden and (gone := alive - seen):
            raise Violation("overrun", f"nobody overwrote or deleted it, and it is only in a trash: {_shown(gone)}")

    def excluded(self, node: str, hub: str) -> dict[tuple[str, str], Item]:
        """What `node` and `hub` hold that a run of the two leaves alone, whichever `.sync.ignore` it goes by."""
        if not self._ledger.ignores:
            return {}
        trees = {name: visible(self._places[name].tree()) for name in (node, hub)}
        texts = [tree[IGNORE_FILE].content.decode() for tree in trees.values() if IGNORE_FILE in tree]
        rules = self._rules(texts)
        return {
            (name, path): item
            for name, tree in trees.items()
            for path, item in tree.items()
            if item.kind is not Kind.DIRECTORY and rules.excludes_wholly(path, directory=False)
        }

    def excluded_untouched(self, node: str, before: Mapping[tuple[str, str], Item]) -> None:
        """Invariant 6: what was excluded before a run is there after it, as it was; a link that was only noted may have
        been made real."""
        for (name, path), item in before.items():
            now = self._places[name].tree().get(path)
            if now != item and not (
                now is not None and now.kind is item.kind is Kind.LINK and now.content == item.content
            ):
                raise Violation("excluded", f"{path} on {name} was touched by a run of {node}")

    def alike(self, node: str, hub: str, conflicts: Mapping[str, Conflict]) -> dict[str, Item]:
        """What both sides of a pair hold alike, the copies of the node's open conflicts left out: they are its own."""
        copies = {conflict.copy_here.path for conflict in conflicts.values() if conflict.copy_here is not None}
        mine, theirs = (visible(self._places[name].tree()) for name in (node, hub))
        return {
            path: item
            for path, item in mine.items()
            if path in theirs.keys() - copies and (item.kind, item.content) == (theirs[path].kind, theirs[path].content)
        }

    def still_alike(self, node: str, hub: str, before: Mapping[str, Item]) -> None:
        """What both sides held alike before a run of theirs, both hold after it, however it ended."""
        now = self.alike(node, hub, {})
        if gone := before.keys() - now.keys():
            raise Violation("taken", f"{node} and {hub} held it alike, and a run took it away: {sorted(gone)}")

    def copies_stay(self, node: str, state: PairState, others: Iterable[PairState]) -> None:
        """Conflict copies are the conflict's own: no other node synchronises them."""
        copies = {c.copy_there.path for other in others for c in other.conflicts.values() if c.copy_there}
        if spread := copies & state.entries.keys():
            raise Violation("spread", f"{node} synchronises what is another's copy: {sorted(spread)}")

    def laid(self, node: str, hub: str, conflicts: Mapping[str, Conflict]) -> dict[tuple[str, bool], Copy]:
        """The copies of open conflicts that were seen, and hold what they are recorded to hold: by the conflict's path,
        and whether they lie on the node."""
        trees = {here: self._places[node if here else hub].tree() for here in (True, False)}
        return {
            (path, here): copy
            for path, conflict in conflicts.items()
            for here, copy in ((True, conflict.copy_here), (False, conflict.copy_there))
            if copy is not None and copy.stamp is not None and copy.path in trees[here]
            if hashlib.sha256(trees[here][copy.path].content).digest() == copy.digest
        }

    def still_laid(self, laid: Mapping[tuple[str, bool], Copy], conflicts: Mapping[str, Conflict]) -> None:
        """A copy that nobody edited, whatever its time, is the copy as long as its conflict is open."""
        if self._ledger.disaster:
            return
        for (path, here), copy in laid.items():
            conflict = conflicts.get(path)
            now = conflict and (conflict.copy_here if here else conflict.copy_there)
            if now is not None and now.path != copy.path:
                raise Violation("copy", f"{copy.path} was one, and is a file now that {now.path} is")

    def copies_on(self, hub: str, node: str) -> set[str]:
        """The copies on a hub of its conflicts with a node, by the state that it keeps with it."""
        with self._places[hub].remote() as remote:
            file = HubStore(remote).load(node)
        conflicts = file.state.conflicts.values() if file is not None and file.state is not None else ()
        return {conflict.copy_here.path for conflict in conflicts if conflict.copy_here is not None}

    def lost(self, node: str, hub: str) -> dict[str, bytes]:
        """The versions in open conflicts that a node lost with its disk, by path, of which the hub has the copies."""
        with self._places[hub].remote() as remote:
            file = HubStore(remote).load(node)
        own = NodeStore(self._root(node))
        if file is None or file.state is None or own.load(hub) is not None or own.journal(hub) is not None:
            return {}  # with a journal, it was only ended before it had recorded anything
        mine, theirs = (visible(self._places[name].tree()) for name in (node, hub))
        rules = self._rules([tree[IGNORE_FILE].content.decode() for tree in (mine, theirs) if IGNORE_FILE in tree])
        in_the_way = {path for path, item in mine.items() if item.kind is not Kind.DIRECTORY}
        return {
            path: theirs[copy.path].content
            for path, conflict in file.state.conflicts.items()
            if (copy := conflict.copy_here) is not None and copy.stamp is not None and copy.path in theirs
            if hashlib.sha256(theirs[copy.path].content).digest() == copy.digest
            if path not in mine and in_the_way.isdisjoint(ancestors(path))
            if not rules.excludes_wholly(path, directory=False)
        }

    def brought_back(self, node: str, hub: str, lost: Mapping[str, bytes], conflicts: Mapping[str, Conflict]) -> None:
        """What a node lost with its disk while a conflict was open it has again, and the conflict is open as before."""
        mine, theirs = (self._places[name].tree() for name in (node, hub))
        for path, content in lost.items():
            if path not in mine or mine[path].content != content:
                raise Violation("forgotten", f"{path} on {node} was lost in an open conflict, and did not come back")
            if path not in conflicts and (path not in theirs or theirs[path].content != content):
                raise Violation("forgotten", f"the conflict of {path} on {node} is not open any more")
            if path not in conflicts or path not in theirs or theirs[path].kind is Kind.DIRECTORY:
                continue
            copy = conflicts[path].copy_here
            if copy is None or copy.path not in mine or mine[copy.path].content != theirs[path].content:
                raise Violation("forgotten", f"{node} did not get the hub's {path} beside its own")

    def after_run(self, node: str, hub: str, conflicts_before: Mapping[str, Conflict]) -> None:
        """What holds at the end of a run in which nothing went wrong and nobody interfered."""
        state = self._same_state_on_both_sides(node, hub)
        if state is None:
            return
        self._state_is_true(node, hub, state)
        if not self._ledger.disaster:
            for path, conflict in state.conflicts.items():
                if path not in conflicts_before:
                    self._true_conflict(node, path, conflict)

    def _root(self, node: str) -> Path:
        place = self._places[node]
        if not isinstance(place, NodePlace):
            raise TypeError(f"{node} is no node")
        return place.root

    def _same_state_on_both_sides(self, node: str, hub: str) -> PairState | None:
        mine = NodeStore(self._root(node)).load(hub)
        with self._places[hub].remote() as remote:
            theirs = HubStore(remote).load(node)
        here = mine.state if mine else None
        there = theirs.state.swapped() if theirs and theirs.state else None
        if here != there:
            raise Violation("state", f"{node} and {hub} record different things: {here} and {there}")
        return here

    def _state_is_true(self, node: str, hub: str, state: PairState) -> None:
        """Invariant 5: where a recorded stamp is the current one, and counts, the recorded digest is the content's."""
        folder = Folder(self._root(node), "oracle")
        trees = {side: self._places[side].tree() for side in (node, hub)}
        with self._places[hub].remote() as remote:
            there = dict(zip(state.entries, remote.stat(list(state.entries)), strict=True))
        for path, entry in state.entries.items():
            now = {node: folder.look(path), hub: there[path]}
            for side, stamp in ((node, entry.here), (hub, entry.there)):
                found, item = now[side], trees[side].get(path)
                if item is None or item.kind is not Kind.FILE or stamp.kind is not Kind.FILE or not stamp.settled:
                    continue
                if is_same(stamp, found) and hashlib.sha256(item.content).digest() != entry.digest:
                    raise Violation("untrue", f"{node}'s state claims what {path} on {side} is not: {item.content!r}")

    def _true_conflict(self, node: str, path: str, conflict: Conflict) -> None:
        """No conflict where the one version was made out of the other."""
        ledger = self._ledger
        contents = {hashlib.sha256(content).digest(): content for content in ledger.numbers}
        here, there = contents.get(conflict.here.digest), contents.get(conflict.there.digest)
        if here is None or there is None or {here, there} & ledger.reused:
            return
        if self._rules(ledger.ignores).excludes_wholly(path, directory=False):
            return
        if here == there or ledger.is_ancestor(here, there) or ledger.is_ancestor(there, here):
            raise Violation("false conflict", f"{path} on {node}: {_shown({here, there})}")

    def _synchronised(self, tree: Tree) -> dict[str, tuple[Kind, bytes]]:
        rules = self._rules([tree[IGNORE_FILE].content.decode()] if IGNORE_FILE in tree else [])
        return {
            path: (item.kind, item.content)
            for path, item in tree.items()
            if not rules.excludes_wholly(path, directory=item.kind is Kind.DIRECTORY)
        }

    def _rules(self, texts: Iterable[str]) -> Rules:
        return Rules(includedots=self._includes_dots, allowblanks=False, ignores=tuple(texts))

    def all_equal(self, pairs: Iterable[tuple[str, str]]) -> bool:
        """Invariant 2: at rest all sides hold the same, but for what can't make room. Returns whether all do."""
        shown = {name: self._synchronised(visible(place.tree())) for name, place in self._places.items()}
        equal = True
        for name, hub in pairs:
            if shown[name] != shown[hub]:
                differing = {
                    path: (shown[name].get(path), shown[hub].get(path))
                    for path in shown[name].keys() | shown[hub].keys()
                    if shown[name].get(path) != shown[hub].get(path)
                    and not any(self._can_not_make_room(place, shown[place], path) for place in (name, hub))
                    and not (path in self._ledger.unseen and path not in shown[name])
                }
                if differing:
                    raise Violation("unequal", f"{name} and {hub} differ at rest: {differing}")
                equal = False
        return equal

    def _can_not_make_room(self, place: str, shown: Mapping[str, tuple[Kind, bytes]], path: str) -> bool:
        """Whether a directory must stay where the other side has a file, for it holds what is excluded. Runs say so."""
        if path not in shown or shown[path][0] is not Kind.DIRECTORY:
            return False
        return any(inner.startswith(f"{path}/") and inner not in shown for inner in visible(self._places[place].tree()))

    def nothing_resurrected(self) -> None:
        """What people deleted, and no disaster brought back, is not there again."""
        ledger = self._ledger
        if ledger.disaster:
            return
        for name, path, item in self._taking_part():
            if item.content not in ledger.reused and (path, item.content) in ledger.deleted:
                raise Violation("resurrected", f"{path} on {name}: {item.content!r}")

    def no_copy_left(self) -> None:
        """What only a run can have laid beside a file is gone with the conflict."""
        ledger = self._ledger
        if ledger.disaster or ledger.copied:
            return
        for name, path, item in self._taking_part():
            owner = re.sub(r"[.][0-9]+\Z", "", basename(path)).rpartition(".")[2]
            if item.kind is not Kind.DIRECTORY and owner in self._places and path not in ledger.made:
                raise Violation("stray", f"{path} on {name} is nobody's file: {item.content!r}")

    def _taking_part(self) -> Iterator[tuple[str, str, Item]]:
        """All that people see anywhere, by place and path, and no `.sync.ignore` ever left out."""
        left_out = self._rules(self._ledger.ignores)
        for name, place in self._places.items():
            for path, item in visible(place.tree()).items():
                if not left_out.excludes_wholly(path, directory=False):
                    yield name, path, item

    def nothing_done(self, before: Mapping[str, Tree], after: Mapping[str, Tree]) -> None:
        """A run that a check stopped has changed nothing that people see."""
        if any(visible(before[name]) != visible(after[name]) for name in before):
            raise Violation("stopped", f"a run that was stopped changed {_difference(before, after)}")

    def source_untouched(self, node: str, mode: Mode, before: Mapping[str, Tree], after: Mapping[str, Tree]) -> None:
        """A mirror's run writes nothing at all on the hub, an original's nothing that people see on the node."""
        if mode is Mode.MIRROR and before[HUB] != after[HUB]:
            raise Violation("source", f"a mirror's run changed {_difference(before, after)}")
        if mode is Mode.ORIGINAL and visible(before[node]) != visible(after[node]):
            raise Violation("source", f"an original's run changed {_difference(before, after)}")

    def nothing_written(self, before: Mapping[str, object], after: Mapping[str, object]) -> None:
        """Invariant 2: a run with nothing to do writes nothing, states and stamps included."""
        if before != after:
            raise Violation("restless", f"a run at rest changed {_difference(before, after)}")


def _shown(contents: set[bytes]) -> str:
    return ", ".join(sorted(content.decode().strip() for content in contents))


def _difference(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    changed = []
    for name, tree in before.items():
        other = after[name]
        if isinstance(tree, Mapping) and isinstance(other, Mapping):
            changed += [f"{name}:{path}" for path in tree.keys() | other.keys() if tree.get(path) != other.get(path)]
    return sorted(changed)
