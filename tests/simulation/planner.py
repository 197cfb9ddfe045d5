"""The planner alone: random situations of the core, and what must hold of every plan, whoever carries it out.

There is no world here: a situation is a state, two scans and what was read, drawn without regard to whether people and
runs could have brought it about. So it reaches what no history does.
"""

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace

from core_mirror import DUALS, WINNERS, Winner, as_told, mirrored, mirrored_pair
from core_values import digest
from symsync.core.compare import Base, Known, Learnt, compare
from symsync.core.conflicts import Names, equal
from symsync.core.modes import Action, Mode, Status, writes
from symsync.core.plan import Rules, one_way, plan
from symsync.core.steps import (
    Adjust,
    Decision,
    MakeDirectory,
    Move,
    Pair,
    Remove,
    RemoveDirectory,
    Step,
    Then,
    Transfer,
)
from symsync.core.values import Found, Scan, Side
from symsync_protocol.names import parent
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Conflict, Copy, Entry, Meta, Version

PATHS = ("d", "d/e", "d/e/x", "d/y", "f", "f.pc", "f.server", "g", "h")
"""Parents before what they hold; a conflict's copies have names of their own."""
HERE, THERE = "pc", "server"
_PART = 2_000
"""Cases that a job checks at a time."""
_CONTENTS = (digest("one"), digest("two"))
_DIRECTORY = Stamp(Kind.DIRECTORY)


class Wrong(AssertionError):
    """A plan breaks a rule."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a plan is made of."""

    base: Base
    here: Scan
    there: Scan
    learnt: Learnt
    rules: Rules
    dual: Mode
    """The mode that says the same of swapped sides, and its winner."""
    dual_winner: Winner

    def pairs(self) -> list[Pair]:
        return compare(self.base, self.here, self.there, self.learnt)

    def __str__(self) -> str:
        return "\n".join(f"{field.name}: {getattr(self, field.name)}" for field in fields(self))


def draw(rng: random.Random) -> Situation:
    """A random situation."""
    mode, dual = rng.choice(DUALS)
    winner, dual_winner = rng.choice(WINNERS) if rng.random() < 0.4 else WINNERS[0]
    here, there = _tree(rng), _tree(rng)
    removals = rng.random() < 0.8
    conflicts = {"f": _conflict(rng)} if removals and rng.random() < 0.5 else {}  # an older state has none
    entries = {path: _entry(rng) for path in PATHS if path not in conflicts and rng.random() < 0.5}
    base = Base(entries, conflicts, removals=removals, decisions=rng.random() < 0.8)
    chosen = [rng.random() < 0.2 for _ in range(3)]
    return Situation(
        base,
        Scan(here, _unknown(rng)),
        Scan(there, _unknown(rng)),
        Learnt(_read(rng, here), _read(rng, there), _known(rng, there)),
        Rules(mode, winner, *chosen, removals=base.removals),
        dual,
        dual_winner,
    )


def _stamp(rng: random.Random) -> Stamp:
    return Stamp(Kind.FILE, rng.randint(1, 2), rng.randint(1, 3) * SECOND, SECOND, settled=rng.random() < 0.9)


def _found(rng: random.Random, path: str) -> Found:
    kind = rng.random()
    if kind < 0.3:
        return Found(path, _DIRECTORY)
    if kind < 0.35:
        return Found(path, Stamp(Kind.LINK, 3, rng.randint(1, 2) * SECOND, SECOND), target=rng.choice(("one", "two")))
    return Found(path, replace(_stamp(rng), settled=True))


def _tree(rng: random.Random) -> dict[str, Found]:
    tree: dict[str, Found] = {}
    for path in PATHS:
        up = parent(path)
        if rng.random() < 0.6 and (not up or (up in tree and tree[up].kind is Kind.DIRECTORY)):
            tree[path] = _found(rng, path)
    return tree


def _entry(rng: random.Random) -> Entry:
    meta = Meta(0o644, counter=rng.randint(0, 2), author=rng.choice(("a", "b")))  # no time: it is the node's alone
    if rng.random() < 0.3:
        return Entry(_DIRECTORY, _DIRECTORY)
    return Entry(_stamp(rng), _stamp(rng), rng.choice(_CONTENTS), meta=meta)


def _version(rng: random.Random) -> Version:
    return Version(_stamp(rng), rng.choice(_CONTENTS)) if rng.random() < 0.8 else Version(_DIRECTORY)


def _copy(rng: random.Random, owner: str) -> Copy | None:
    if rng.random() < 0.2:
        return None
    return Copy(f"f.{owner}", rng.choice(_CONTENTS), _stamp(rng) if rng.random() < 0.8 else None)


def _conflict(rng: random.Random) -> Conflict:
    return Conflict(_version(rng), _version(rng), _copy(rng, THERE), _copy(rng, HERE))


def _unknown(rng: random.Random) -> frozenset[str]:
    return frozenset([rng.choice((*PATHS, ""))]) if rng.random() < 0.15 else frozenset()


def _read(rng: random.Random, tree: dict[str, Found]) -> dict[str, bytes]:
    return {p: rng.choice(_CONTENTS) for p, f in tree.items() if f.kind is Kind.FILE and rng.random() < 0.3}


def _known(rng: random.Random, tree: dict[str, Found]) -> dict[str, Known]:
    """What other nodes' states tell of the hub's files; in the mirrored world it is of the node's."""
    return {
        path: Known(found.stamp, rng.choice(_CONTENTS), Meta(0o600, counter=rng.randint(0, 3), author="c"))
        for path, found in tree.items()
        if found.kind is Kind.FILE and rng.random() < 0.2
    }


def check(situation: Situation) -> int:
    """Raise Wrong where a plan breaks a rule; returns how many decisions it made."""
    pairs, rules = situation.pairs(), situation.rules
    taken = {*situation.here.entries, *situation.there.entries, *situation.base.entries}

    def is_taken(path: str) -> bool:
        return path in taken or not (situation.here.knows(path) and situation.there.knows(path))

    decisions = plan(pairs, rules, Names(HERE, THERE, is_taken))
    theirs = plan(
        [mirrored_pair(pair) for pair in pairs],
        replace(rules, mode=situation.dual, winner=situation.dual_winner),
        Names(THERE, HERE, is_taken),
    )
    if [as_told(mirrored(decision)) for decision in decisions] != [as_told(decision) for decision in theirs]:
        raise Wrong("swapped roles do not give the mirrored plan")
    if [pair.path for pair in pairs] != [decision.path for decision in decisions]:
        raise Wrong("not every path is decided, or not once")
    places: set[tuple[Side, str]] = set()
    vacated = {(s.on, p) for d in decisions for s in d.steps if (p := _vacates(s)) is not None}
    for decision in decisions:
        _check_decision(situation, decision)
        for step in decision.steps:
            _check_step(situation, decision, step, vacated)
            if isinstance(step, Transfer | MakeDirectory | Move):
                if (step.on, step.path) in places:
                    raise Wrong(f"{step.path} is written twice on {step.on}")
                places.add((step.on, step.path))
    return len(decisions)


def _vacates(step: Step) -> str | None:
    """The path that lies free after a step, before files arrive."""
    if isinstance(step, Move):
        return step.source.path
    return step.path if isinstance(step, Remove | RemoveDirectory) and step.early else None


def _check_decision(situation: Situation, decision: Decision) -> None:
    pair, rules = decision.pair, situation.rules
    if decision.then is Then.CONFLICT and (equal(pair) or one_way(rules.mode)):
        raise Wrong(f"{decision.path}: a conflict of equal contents, or in a one-way mode")
    if decision.action is Action.REMOVE and not rules.removals:
        raise Wrong(f"{decision.path}: a removal in a run that must not remove")
    if one_way(rules.mode):
        return
    if decision.action is Action.REMOVE and Status.CHANGED in (pair.here.status, pair.there.status):
        raise Wrong(f"{decision.path}: a deletion beats an edit")


def _check_step(situation: Situation, decision: Decision, step: Step, vacated: set[tuple[Side, str]]) -> None:
    scan = situation.here if step.on is Side.HERE else situation.there
    if not writes(situation.rules.mode)[step.on is Side.THERE]:
        raise Wrong(f"{step.path}: {situation.rules.mode} writes on its source")
    displaced = _displaces(step)
    # A copy of this conflict was seen, and need not be known on the other side.
    own_copy = displaced is not None and displaced in (decision.pair.copy_here, decision.pair.copy_there)
    if not own_copy and not (situation.here.knows(step.path) and situation.there.knows(step.path)):
        raise Wrong(f"{step.path}: about what is unknown nothing may be done")
    if displaced is not None:
        if scan.entries.get(displaced.path) != displaced:
            raise Wrong(f"{displaced.path}: the plan speaks of what nobody saw")
        _check_displaced(situation, decision, step, displaced)
    lying = scan.entries.get(step.path)
    in_the_way = isinstance(step, Transfer | MakeDirectory | Move) and lying is not None and displaced is not lying
    if in_the_way and (step.on, step.path) not in vacated:
        raise Wrong(f"{step.path}: something lies there on {step.on}, and nothing takes it away")


def _displaces(step: Step) -> Found | None:
    match step:
        case Transfer():
            return step.replaces
        case Remove() | Adjust():
            return step.found
        case Move():
            return step.source
    return None


def _check_displaced(situation: Situation, decision: Decision, step: Step, displaced: Found) -> None:
    """In a two-way mode only what is as the state has it, or is on the other side, too, may go from its name."""
    pair = decision.pair
    if one_way(situation.rules.mode) or situation.rules.mode is not Mode.SYNC or isinstance(step, Adjust | Move):
        return
    if displaced.path != decision.path:
        if displaced not in (pair.copy_here, pair.copy_there) and not isinstance(step, Move):
            raise Wrong(f"{displaced.path}: no copy of this conflict")
        return
    if pair.sight(step.on).status is not Status.UNCHANGED and not equal(pair):
        raise Wrong(f"{displaced.path}: an edit is overrun on {step.on}")


def play(seed: int, first: int, cases: int) -> tuple[int, list[str]]:
    """Check so many cases from number `first` on; returns the decisions made, and what went wrong."""
    decisions, wrong = 0, []
    for number in range(first, first + cases):
        situation = draw(random.Random(f"{seed} {number}"))
        try:
            decisions += check(situation)
        except Exception as error:  # whatever the core raises, no input may make it
            wrong.append(f"seed {seed}, case {number}: {type(error).__name__}: {error}\n{situation}")
    return decisions, wrong


def campaign(seed: int, cases: int, jobs: int) -> Iterator[tuple[int, list[str]]]:
    """`play` so many cases by several processes, part by part."""
    starts = range(0, cases, _PART)
    sizes = [min(_PART, cases - start) for start in starts]
    if jobs == 1:
        yield from map(play, [seed] * len(starts), starts, sizes)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(play, [seed] * len(starts), starts, sizes)
