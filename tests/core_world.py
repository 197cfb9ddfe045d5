"""A hub and some nodes in memory, synchronised by the real core: compare, questions, plan and commit.

Each content is a number, so that it can be followed. The executor keeps no trash: what a step displaces is gone, and
so a version that the core gave away is missed at once. A plan that speaks of anything but what lies there fails the
executor's assertions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from symsync.core.commit import commit
from symsync.core.compare import Base, Known, Learnt, compare, questions
from symsync.core.conflicts import Names, equal
from symsync.core.modes import Action
from symsync.core.plan import Rules, plan
from symsync.core.steps import (
    Adjust,
    Decision,
    Done,
    Failed,
    MakeDirectory,
    Move,
    Outcome,
    Remove,
    RemoveDirectory,
    Step,
    Then,
    Transfer,
)
from symsync.core.values import Found, Problem, Reason, Scan, Side
from symsync_protocol.names import ancestors, parent
from symsync_protocol.stamps import SECOND, Kind, Stamp, same
from symsync_protocol.state import Entry

HUB = "hub"
PHASES: tuple[tuple[type, bool | None], ...] = (
    (Remove, True),
    (RemoveDirectory, True),
    (MakeDirectory, None),
    (Move, None),
    (Transfer, None),
    (Adjust, None),
    (Remove, False),
    (RemoveDirectory, False),
)
"""The order in which a side carries out its steps, with `early` where there are two kinds of them."""


def content_digest(version: int) -> bytes:
    """The digest of a version's content."""
    return sha256(str(version).encode()).digest()


@dataclass
class Tree:
    """One directory that takes part. A path holds a version of a file, or 0 where it is a directory."""

    name: str
    inodes: bool
    """Whether the side tells inodes and change times, as a node's own file system does."""
    found: dict[str, Found] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def put(self, path: str, version: int, stamp: Stamp) -> Found:
        """Let `version` lie at `path`."""
        assert not parent(path) or self.found[parent(path)].kind is Kind.DIRECTORY
        self.found[path] = Found(path, stamp)
        self.versions[path] = version
        return self.found[path]

    def take(self, path: str) -> int:
        """Let nothing lie at `path` any more; returns what did."""
        assert not any(other.startswith(path + "/") for other in self.found)
        del self.found[path]
        return self.versions.pop(path)

    def is_directory(self, path: str) -> bool:
        return path in self.found and self.found[path].kind is Kind.DIRECTORY


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in a run: the step of this number fails, and a path on a side can't be seen."""

    step: int | None = None
    unseen: tuple[Side, str] | None = None


@dataclass(frozen=True)
class Ran:
    """What one run did."""

    decisions: list[Decision]
    wrote: bool
    """Whether anything was written on either side, or into the state."""


class World:
    """A hub, some nodes, and what each pair remembers."""

    def __init__(self, nodes: tuple[str, ...], *, keeps_times: bool = False) -> None:
        """`keeps_times`: the hub takes over the times of what it is sent, else each put has its own."""
        self.trees = {name: Tree(name, inodes=name != HUB) for name in (HUB, *nodes)}
        self.states = {name: Base() for name in nodes}
        self.written: set[int] = set()
        self.given_up: set[int] = set()
        """The versions that a user overwrote or deleted himself."""
        self._keeps_times = keeps_times
        self._clock = 0

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.states)

    @property
    def lost(self) -> set[int]:
        """Versions that nobody gave up and that lie nowhere any more."""
        lying = {version for tree in self.trees.values() for version in tree.versions.values()}
        return self.written - self.given_up - lying

    # What users do

    def write(self, name: str, path: str) -> None:
        """A new version, by hand; nothing where a directory stands, or where none stands to hold it."""
        tree = self.trees[name]
        if tree.is_directory(path) or (parent(path) and not tree.is_directory(parent(path))):
            return
        if tree.versions.get(path, 0) != self._copied(name, path):
            # Who edits a conflict's copy decides nothing: the copied version has its name on the other side.
            self.given_up.add(tree.versions.get(path, 0))
        version = len(self.written) + 1
        self.written.add(version)
        tree.put(path, version, self._stamp(tree))

    def make_directory(self, name: str, path: str) -> None:
        tree = self.trees[name]
        if path not in tree.found and (not parent(path) or tree.is_directory(parent(path))):
            tree.put(path, 0, Stamp(Kind.DIRECTORY))

    def delete(self, name: str, path: str) -> None:
        """Remove a file, or a directory with all it holds."""
        tree = self.trees[name]
        for lying in sorted((p for p in tree.found if p == path or p.startswith(path + "/")), reverse=True):
            self.given_up |= {tree.take(lying), self._copied(name, lying)}

    def move(self, name: str, path: str, to: str) -> None:
        """`mv path to`, of files."""
        tree = self.trees[name]
        if path == to or path not in tree.found or tree.is_directory(path) or tree.is_directory(to):
            return
        if parent(to) and not tree.is_directory(parent(to)):
            return
        self.given_up |= {tree.versions.get(to, 0), self._copied(name, path), self._copied(name, to)}
        stamp = tree.found[path].stamp
        if tree.inodes:
            stamp = replace(stamp, ctime_ns=self.now())
        tree.put(to, tree.take(path), stamp)

    def copy(self, name: str, path: str, to: str) -> None:
        """`cp path to`, of files: both hold the same version."""
        tree = self.trees[name]
        if path == to or path not in tree.found or tree.is_directory(path) or tree.is_directory(to):
            return
        if parent(to) and not tree.is_directory(parent(to)):
            return
        self.given_up.add(tree.versions.get(to, 0))
        tree.put(to, tree.versions[path], self._stamp(tree))

    def touch(self, name: str, path: str) -> None:
        """Another time, the same content."""
        tree = self.trees[name]
        if path in tree.found and not tree.is_directory(path):
            tree.put(path, tree.versions[path], self._stamp(tree))

    def _copied(self, name: str, path: str) -> int:
        """The version that a conflict's copy holds which is recorded at `path`, else 0. Who removes it decides against
        that version, even if he had edited the copy before anybody looked."""
        for node, state in self.states.items():
            for conflict in state.conflicts.values():
                copy = conflict.copy_there if name == HUB else conflict.copy_here if name == node else None
                if copy is not None and copy.path == path:
                    return next(version for version in self.written if content_digest(version) == copy.digest)
        return 0

    # What symsync does

    def sync(self, name: str, trouble: Trouble = Trouble()) -> Ran:
        """One run of node `name`."""
        base, left_out = self.states[name], self._announced_by_others(name)
        here, there = self._scan(name, Side.HERE, trouble), self._scan(HUB, Side.THERE, trouble)
        known = self._known_by_others(name, there)
        asked = questions(compare(base, here, there, Learnt(others=known), left_out), one_way=False, size_only=False)
        learnt = Learnt(self._digests(name, asked.here), self._digests(HUB, asked.there), known)
        pairs = compare(base, here, there, learnt, left_out)
        seen = {pair.path for pair in pairs} | set(here.entries) | set(there.entries) | left_out

        def taken(path: str) -> bool:
            return path in seen or not (here.knows(path) and there.knows(path))

        decisions = plan(pairs, Rules(), Names(name, HUB, taken))
        for decision in decisions:
            if decision.action is Action.DUPLICATE:
                self._check_conflict(name, decision)
        outcomes = _Executor(self, name, decisions, trouble.step).run()
        agreement = commit(base, outcomes)
        self.states[name] = replace(base, entries=agreement.entries, conflicts=agreement.conflicts)
        self._check_claims(name, here, there)
        return Ran(decisions, agreement.changed or any(decision.touches for decision in decisions))

    def _check_conflict(self, name: str, decision: Decision) -> None:
        mine, theirs = (self.trees[tree].versions[decision.path] for tree in (name, HUB))
        assert mine != theirs or self.trees[name].is_directory(decision.path) != self.trees[HUB].is_directory(
            decision.path
        ), f"equal content in conflict: {decision.path}"
        assert not equal(decision.pair)

    def _check_claims(self, name: str, here: Scan, there: Scan) -> None:
        """The state never claims an agreement that was not observed."""
        state = self.states[name]
        assert not set(state.entries) & set(state.conflicts)
        for path, entry in state.entries.items():
            if not (here.knows(path) and there.knows(path)) or path in self._announced_by_others(name):
                continue
            claim = f"{name} claims {path}"
            for tree, stamp in ((self.trees[name], entry.here), (self.trees[HUB], entry.there)):
                if path in tree.found and same(stamp, tree.found[path].stamp) and entry.here.kind is Kind.FILE:
                    assert content_digest(tree.versions[path]) == entry.digest, claim

    def _announced_by_others(self, name: str) -> set[str]:
        conflicts = [c for node, state in self.states.items() if node != name for c in state.conflicts.values()]
        return {conflict.copy_there.path for conflict in conflicts if conflict.copy_there}

    def _known_by_others(self, name: str, there: Scan) -> dict[str, Known]:
        known: dict[str, Known] = {}
        for path, entry in self._entries_of_others(name):
            found, old = there.entries.get(path), known.get(path)
            if found is None or not same(entry.there, found.stamp):
                continue
            if old is None or (entry.meta.counter, entry.meta.author) > (old.meta.counter, old.meta.author):
                known[path] = Known(entry.there, entry.digest, entry.meta)
        return known

    def _entries_of_others(self, name: str) -> Iterator[tuple[str, Entry]]:
        for node, state in self.states.items():
            if node != name:
                yield from state.entries.items()

    def _scan(self, name: str, side: Side, trouble: Trouble) -> Scan:
        entries = dict(self.trees[name].found)
        if trouble.unseen is None or trouble.unseen[0] is not side:
            return Scan(entries)
        unseen = trouble.unseen[1]
        seen = {p: found for p, found in entries.items() if p != unseen and unseen not in ancestors(p)}
        return Scan(seen, frozenset([unseen]))

    def _digests(self, name: str, paths: frozenset[str]) -> dict[str, bytes]:
        return {path: content_digest(self.trees[name].versions[path]) for path in paths}

    def now(self) -> int:
        """The next second, in nanoseconds: no two stamps are made at one time."""
        self._clock += 1
        return self._clock * SECOND

    def _stamp(self, tree: Tree, mtime_ns: int | None = None) -> Stamp:
        now = self.now()
        mtime_ns = now if mtime_ns is None else mtime_ns
        if tree.inodes:
            return Stamp(Kind.FILE, 1, mtime_ns, inode=now, ctime_ns=now)
        return Stamp(Kind.FILE, 1, mtime_ns, SECOND)

    def stamp_of_put(self, tree: Tree, step: Transfer) -> Stamp:
        """What a file has that was just put; never the stamp that it replaces."""
        if tree.inodes:
            return self._stamp(tree, step.meta.mtime_ns)
        stamp = self._stamp(tree, step.source.stamp.mtime_ns if self._keeps_times else None)
        while step.replaces is not None and same(stamp, step.replaces.stamp):
            stamp = replace(stamp, mtime_ns=(stamp.mtime_ns or 0) + SECOND)
        return stamp


class _Executor:
    """Carries out a plan: contents first, then one side's steps after the other's, as the engine does."""

    def __init__(self, world: World, node: str, decisions: list[Decision], failing: int | None) -> None:
        self._world = world
        self._trees = {Side.HERE: world.trees[node], Side.THERE: world.trees[HUB]}
        self._decisions = decisions
        steps = [step for decision in decisions for step in decision.steps]
        self._failing = steps[failing % len(steps)] if steps and failing is not None else None
        self._contents = {
            id(step): self._trees[step.on.other].versions[step.source.path]
            for step in steps
            if isinstance(step, Transfer)
        }
        self._done: dict[int, list[Done]] = {id(decision): [] for decision in decisions}
        self._failed: dict[int, list[Failed]] = {id(decision): [] for decision in decisions}

    def run(self) -> list[Outcome]:
        for side in (Side.THERE, Side.HERE):
            for kind, early in PHASES:
                decisions = reversed(self._decisions) if kind is RemoveDirectory else self._decisions
                for decision in decisions:
                    for step in decision.steps:
                        if step.on is side and isinstance(step, kind) and getattr(step, "early", None) is early:
                            self._try(decision, step)
        return [Outcome(d, tuple(self._done[id(d)]), tuple(self._failed[id(d)])) for d in self._decisions]

    def _try(self, decision: Decision, step: Step) -> None:
        failed = self._failed[id(decision)]
        if failed and decision.then is not Then.CONFLICT:
            return
        if step is self._failing or self._stands_on_failure(step):
            failed.append(Failed(step, Problem(step.path, Reason.DENIED)))
            return
        found, source = self._act(decision, step)
        digest = content_digest(self._contents[id(step)]) if isinstance(step, Transfer) else None
        self._done[id(decision)].append(Done(step, found, source, digest))

    def _stands_on_failure(self, step: Step) -> bool:
        """Whether the engine would refuse: no directory to hold it, or something lies in its way after a failure."""
        tree = self._trees[step.on]
        if self._failing is None:
            return False
        if isinstance(step, Transfer | MakeDirectory | Move):
            no_home = bool(parent(step.path)) and not tree.is_directory(parent(step.path))
            in_the_way = step.path in tree.found and not (isinstance(step, Transfer) and step.replaces is not None)
            return no_home or in_the_way
        return False

    def _act(self, decision: Decision, step: Step) -> tuple[Found | None, Found | None]:
        tree = self._trees[step.on]
        match step:
            case Transfer():
                return self._transfer(decision, step), step.source
            case MakeDirectory():
                if not tree.is_directory(step.path):
                    assert step.path not in tree.found, f"something lies where {step.path} is to be made"
                    tree.put(step.path, 0, Stamp(Kind.DIRECTORY))
                return tree.found[step.path], None
            case Move():
                self._expect(tree, step.source.path, step.source)
                assert step.path not in tree.found, f"a move would overwrite {step.path}"
                return tree.put(step.path, tree.take(step.source.path), step.source.stamp), None
            case Remove():
                self._expect(tree, step.path, step.found)
                tree.take(step.path)
            case RemoveDirectory():
                if not any(path.startswith(step.path + "/") for path in tree.found):
                    tree.take(step.path)
            case Adjust():
                self._expect(tree, step.path, step.found)
                now = replace(step.found.stamp, mtime_ns=step.meta.mtime_ns, ctime_ns=self._world.now())
                return tree.put(step.path, tree.versions[step.path], now), None
        return None, None

    def _transfer(self, decision: Decision, step: Transfer) -> Found:
        tree = self._trees[step.on]
        version = self._contents[id(step)]
        vacated = any(
            isinstance(other, Move) and other.source.path == step.path and other.on is step.on
            for other in decision.steps
        )
        if step.replaces is not None:
            self._expect(tree, step.path, step.replaces)
            if step.path == decision.path and tree.versions[step.path] == version and step.on is Side.HERE:
                return tree.found[step.path]
        else:
            assert vacated or step.path not in tree.found, f"{step.path} would be overwritten unseen"
        return tree.put(step.path, version, self._world.stamp_of_put(tree, step))

    def _expect(self, tree: Tree, path: str, found: Found) -> None:
        assert path in tree.found, f"{path} is not there"
        assert same(found.stamp, tree.found[path].stamp), f"{path} is not what the plan saw"
