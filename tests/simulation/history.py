"""Histories: what happens in a simulated world, drawn from a seed, written as text, and shrunk when they fail.

A history is a line with the world's setting and a line for each operation, `PLACE VERB ARGUMENT ...`:

    nodes=ab tick=1000 times=no          what is not said is as in `Setting`
    a write d/f 7              a person writes version 7
    a same f 7                 ... the content of version 7 once more
    a unpack f 7               ... out of an archive, where every version has the same time
    hub delete f               ... deletes a file; rmtree: a file or directory with all that is in it
    a rename f d/f             ... over another file, too
    a mkdir d, a rmdir d, a touch f, a chmod f 600
    a link f 7                 ... makes a symbolic link to nothing, which is version 7
    a ignore f 8               ... writes version 8 of .sync.ignore, with f as its only pattern
    a drop 0                   ... removes the copy that lies on the node in its first open conflict
    a drop-there 0             ... removes that on the hub
    a take 0, a take-there 0   ... renames the copy over the version beside it
    a edit-copy 0 8            ... writes version 8 into the copy; edit-copy-there
    a touch-copy 0             ... gives the copy the time of now; touch-copy-there
    a sync                     the node a synchronises
    a sync crash 5             ... and meets a fault at its fifth effect: see `faults.Fault`
    a sync meanwhile 5 b sync  ... at which somebody else does something
    a sync late 5 12           ... that is carried out late, after so many more uses of the hub
    a sync2                    ... with its second hub
    a swap                     the hub, a directory too, synchronises with a's directory as its hub; faults as above
    a mirror                   the node a runs in this mode; original, master, slave; faults as above
    hub clock -3600            the clock of a place is off by so many seconds from now on
    hub zone 7200              the hub shows all its times by so many seconds later than they are
    a backup, a restore        a backup comes back; move: on another disk; lose: there is no backup
    world wait 1500            milliseconds pass
    world together 5 a sync | b sync crash 7 | hub write f 8
                               all of these at the same time: now one goes on, now another, as the seed 5 has it

An operation that makes no sense (any more) does nothing, so that every part of a history is one.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TypeVar

from simulation.faults import Fault
from simulation.places import HUBS
from symsync.core.modes import Mode
from symsync.remotes.base import Traits

WORLD = "world"
RUNS = ("sync", "sync2", "swap")
"""The verbs that take a fault."""
TOGETHER = "together"
COPIES = ("drop", "take", "edit-copy", "touch-copy")
"""What people do with a conflict's copy on the node, or, with `-there` behind it, with that on the hub."""

_T = TypeVar("_T")

_MS = 1_000_000
"""Nanoseconds in a millisecond."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The world in which a history takes place: the nodes' names, a letter each, and what the hub can do."""

    nodes: str = "a"
    tick: int = 0
    """The resolution of the hub's clock in milliseconds; 0 is as fine as can be."""
    times: bool = True
    modes: bool = True
    appends: bool = True
    replaces: bool = True
    links: bool = True
    hides: bool = False
    """Whether listings of the hub leave out names with a dot, which take part all the same."""
    disk: bool = False
    """Whether the hub is a directory of this computer, which can be a node itself; then it can do what that can."""
    strict: bool = False
    """Whether every removal has to be allowed by the user (`maxdelete 0`)."""
    mixed: bool = False
    """Whether every other node comes by a protocol that makes no links, though the hub holds them."""
    hubs: bool = False
    """Whether there are two hubs: the first node synchronises with both, the others with one or the other."""

    @property
    def traits(self) -> Traits:
        return Traits(
            tick_ns=self.tick * _MS or 1,
            sets_times=self.times,
            sets_modes=self.modes,
            appends=self.appends,
            replaces=self.replaces,
            links=self.links,
            hides_dots=self.hides,
        )

    def __str__(self) -> str:
        plain = Setting()
        words = [f"nodes={self.nodes}", *([f"tick={self.tick}"] if self.tick else [])]
        for name in FLAGS:
            if (value := getattr(self, name)) != getattr(plain, name):
                words.append(f"{name}={'yes' if value else 'no'}")
        return " ".join(words)

    @classmethod
    def parse(cls, line: str) -> "Setting":
        words = dict(field.split("=") for field in line.split())
        flags = {name: words[name] == "yes" for name in FLAGS if name in words}
        return cls(words["nodes"], int(words.get("tick", 0)), **flags)


FLAGS = tuple(field.name for field in fields(Setting) if field.type is bool)


@dataclass(frozen=True, slots=True)
class Op:
    """One thing that somebody does."""

    place: str
    verb: str
    args: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.place, self.verb, *self.args))

    @classmethod
    def parse(cls, line: str) -> "Op":
        place, verb, *args = line.split()
        return cls(place, verb, tuple(args))

    @classmethod
    def together(cls, seed: str, parts: "Sequence[Op]") -> "Op":
        """All of these at the same time."""
        return cls(WORLD, TOGETHER, (seed, *" | ".join(map(str, parts)).split()))

    @property
    def parts(self) -> "tuple[Op, ...]":
        """What happens at the same time: this alone, unless it is `together`."""
        if self.verb != TOGETHER:
            return (self,)
        return tuple(map(Op.parse, " ".join(self.args[1:]).split("|")))


@dataclass(frozen=True, slots=True)
class History:
    """A setting, and what happens in it."""

    setting: Setting
    ops: tuple[Op, ...]

    def __str__(self) -> str:
        return "\n".join([str(self.setting), *map(str, self.ops)])

    @classmethod
    def parse(cls, text: str) -> "History":
        first, *rest = [line.strip() for line in text.strip().splitlines()]
        return cls(Setting.parse(first), tuple(map(Op.parse, rest)))


class Profile(StrEnum):
    """What a history is mostly about."""

    PLAIN = "plain"
    """Several nodes that take turns, and people at the hub."""
    CONFLICTS = "conflicts"
    """The same, with copies that are decided, taken and edited."""
    FAULTS = "faults"
    """Runs that end in the middle, lose the connection, or meet others at work."""
    RESTORES = "restores"
    """Backups that come back, lost disks, and all of the above."""
    ROLES = "roles"
    """The hub is a directory, and now and then its machine is the one that runs; with faults."""
    MODES = "modes"
    """One-way runs between the others, some where roles swap; with faults in them."""
    TREES = "trees"
    """Two hubs with one node between them; with faults."""
    CLOCKS = "clocks"
    """Clocks that are set, on hub and nodes, and hubs that change their time zone; with faults."""
    TOGETHER = "together"
    """Runs at the same time, each of which goes on in the middle of the others."""


PATHS = (("f", "g"), ("f", "d/f"), ("d/f", "d/g", "d"), ("d", "d/f", "f"), ("d", "d/e", "d/e/f", "f"))
"""Few names, so that histories meet; `d` is a file here and a directory there."""
DOTTED = ((".f", "g"), ("d/.f", "d/f"), (".d/f", ".f", "d"))

_EDITS = {
    "write": 10,
    "same": 2,
    "unpack": 2,
    "delete": 4,
    "rename": 3,
    "mkdir": 1,
    "rmdir": 1,
    "rmtree": 1,
    "touch": 1,
    "chmod": 1,
    "link": 1,
    "ignore": 0.3,
}
_COPIES = {
    "drop": 3,
    "drop-there": 2,
    "take": 2,
    "take-there": 1,
    "edit-copy": 1,
    "edit-copy-there": 1,
    "touch-copy": 0.5,
    "touch-copy-there": 0.5,
}
_DISASTERS = {"backup": 3, "restore": 3, "move": 1, "lose": 1}
_WITHOUT_FAULTS = (Profile.PLAIN, Profile.CONFLICTS, Profile.MODES, Profile.TOGETHER)
_ONE_WAY = (Mode.MIRROR, Mode.ORIGINAL, Mode.MASTER, Mode.SLAVE)
_WAITS = (10, 400, 1_000, 2_500, 61_000, 3_600_000)
_MODES = ("600", "644", "755")
_SHIFTS = (0, 1, -1, 30, -30, 3_600, -3_600, 7_200, -86_400)
"""Seconds by which a clock is off."""

_ZONES = (0, 3_600, -3_600, 7_200, -18_000, 20_700, 50_400)
"""Seconds by which a hub may show its times later than they are: zones differ by quarters of an hour."""


def draw(rng: random.Random, profile: Profile) -> History:
    """A random history."""
    setting = Setting("abcd"[: rng.choice((1, 2, 2, 2, 3, 4))])
    if rng.random() < 0.5:
        setting = replace(
            setting,
            tick=rng.choice((0, 1, 1_000, 60_000)),
            times=rng.random() < 0.7,
            modes=rng.random() < 0.8,
            appends=rng.random() < 0.8,
            replaces=rng.random() < 0.8,
            links=rng.random() < 0.8,
            hides=rng.random() < 0.2,
            strict=rng.random() < 0.2,
        )
    setting = replace(setting, mixed=rng.random() < 0.3)
    if profile is Profile.ROLES or (profile is Profile.MODES and rng.random() < 0.3):
        setting = Setting(setting.nodes, disk=True, strict=setting.strict, mixed=setting.mixed)
    if profile is Profile.TREES:
        setting = replace(setting, hubs=True)
    if profile is Profile.TOGETHER and len(setting.nodes) == 1:
        setting = replace(setting, nodes="ab")
    return History(setting, tuple(_Drawer(rng, profile, setting).ops(rng.randint(3, 24))))


class _Drawer:
    def __init__(self, rng: random.Random, profile: Profile, setting: Setting) -> None:
        self._rng = rng
        self._profile = profile
        self._nodes = setting.nodes
        self._swaps = setting.disk
        self._hubs = HUBS if setting.hubs else HUBS[:1]
        self._paths = rng.choice((*PATHS, *DOTTED) if setting.hides else PATHS)
        self._versions = 0

    def ops(self, count: int) -> list[Op]:
        ops: list[Op] = []
        while len(ops) < count:
            op = self._op()
            for part in op.parts:
                if part.verb in RUNS and op.args and self._rng.random() < 0.6:
                    ops.append(self._edit())  # a run with nothing to do meets no fault, and nobody else
            ops.append(op)
        return ops

    def _op(self) -> Op:
        groups: dict[Callable[[], Op], float] = {self._edit: 10, self._sync: 9, self._wait: 2}
        if self._profile is not Profile.PLAIN:
            groups[self._copy] = 3
        if self._profile is Profile.RESTORES:
            groups[self._disaster] = 3
        if self._profile is Profile.MODES:
            groups[self._one_way] = 4
        if self._profile is Profile.CLOCKS:
            groups[self._clock] = 3
        if self._profile is Profile.TOGETHER or self._has_faults:
            groups[self._together] = 6 if self._profile is Profile.TOGETHER else 2
        return self._pick(groups)()

    def _edit(self) -> Op:
        place = self._rng.choice((*self._nodes, *self._nodes, *self._hubs))
        verb = self._pick(_EDITS)
        path = self._rng.choice(self._paths)
        match verb:
            case "write" | "unpack" | "link" | "ignore":
                return Op(place, verb, (path, self._fresh()))
            case "same":
                return Op(place, verb, (path, str(self._rng.randint(0, self._versions))))
            case "rename":
                return Op(place, verb, (path, self._rng.choice(self._paths)))
            case "chmod":
                return Op(place, verb, (path, self._rng.choice(_MODES)))
            case _:
                return Op(place, verb, (path,))

    def _copy(self) -> Op:
        verb = self._pick(_COPIES)
        number = str(self._rng.choice((0, 0, 0, 1)))
        args = (number, self._fresh()) if verb.startswith("edit") else (number,)
        return Op(self._rng.choice(self._nodes), verb, args)

    def _sync(self) -> Op:
        node = self._rng.choice(self._nodes)
        verb = "sync"
        other = "swap" if self._swaps else "sync2" if len(self._hubs) > 1 else None
        if other is not None and self._rng.random() < 0.4:
            verb = other
            node = self._nodes[0] if verb == "sync2" else node
        return self._perhaps_faulty(Op(node, verb))

    @property
    def _has_faults(self) -> bool:
        return self._profile not in _WITHOUT_FAULTS

    def _perhaps_faulty(self, run: Op) -> Op:
        if not self._has_faults or self._rng.random() < 0.5:
            return run
        fault = self._rng.choice(tuple(Fault))
        at = str(self._rng.randint(1, self._rng.choice((4, 12, 30))))
        if fault is Fault.LATE:
            return replace(run, args=(fault, at, self._delay()))
        if fault is not Fault.MEANWHILE:
            return replace(run, args=(fault, at))
        inner = self._sync() if self._rng.random() < 0.5 else self._edit()
        return replace(run, args=(fault, at, *str(inner).split()))

    def _together(self) -> Op:
        """Runs of several machines at the same time, now and then with somebody who edits."""
        nodes = self._rng.sample(self._nodes, min(len(self._nodes), self._rng.choice((2, 2, 3))))
        runs = [Op(node, "sync") for node in nodes]
        if self._profile is Profile.TREES and nodes[0] == self._nodes[0] and self._rng.random() < 0.5:
            runs[0] = replace(runs[0], verb="sync2")
        if self._profile is Profile.ROLES and self._rng.random() < 0.7:
            runs = [*runs[: self._rng.choice((1, 2))], Op(self._rng.choice(nodes), "swap")]
        parts = [self._perhaps_faulty(run) for run in runs]
        if len(parts) == 1 or self._rng.random() < 0.3:
            parts.append(self._edit())
        return Op.together(str(self._rng.randrange(1_000)), parts)

    def _one_way(self) -> Op:
        mode = self._rng.choice(_ONE_WAY)
        if self._rng.random() < 0.7:
            return Op(self._rng.choice(self._nodes), mode)
        fault = self._rng.choice([fault for fault in Fault if fault is not Fault.MEANWHILE])
        further = (self._delay(),) if fault is Fault.LATE else ()
        return Op(self._rng.choice(self._nodes), mode, (fault, str(self._rng.randint(1, 20)), *further))

    def _delay(self) -> str:
        """How often the hub is used before it goes on with what it has from a broken connection."""
        return str(self._rng.randint(0, self._rng.choice((3, 12, 60))))

    def _clock(self) -> Op:
        """A clock is set, or (zone) a hub shows its times otherwise: the tutorials' servers tell local time."""
        if self._rng.random() < 0.5:
            return Op(self._rng.choice(self._hubs), "zone", (str(self._rng.choice(_ZONES)),))
        return Op(self._rng.choice((*self._nodes, *self._hubs)), "clock", (str(self._rng.choice(_SHIFTS)),))

    def _wait(self) -> Op:
        return Op(WORLD, "wait", (str(self._rng.choice(_WAITS)),))

    def _disaster(self) -> Op:
        return Op(self._rng.choice((*self._nodes, *self._hubs)), self._pick(_DISASTERS))

    def _fresh(self) -> str:
        self._versions += 1
        return str(self._versions)

    def _pick(self, weights: Mapping[_T, float]) -> _T:
        (picked,) = self._rng.choices(list(weights), list(weights.values()))
        return picked


def shrink(history: History, fails: Callable[[History], bool]) -> History:
    """A smaller history that still fails: greedily without operations, without faults, in a simpler world."""
    while True:
        smaller = next((candidate for candidate in _smaller(history) if fails(candidate)), None)
        if smaller is None:
            return history
        history = smaller


def _smaller(history: History) -> list[History]:
    ops, setting = history.ops, history.setting
    candidates = [History(setting, shorter) for shorter in _without(ops)]
    candidates += [
        History(setting, (*ops[:i], simpler, *ops[i + 1 :])) for i, op in enumerate(ops) for simpler in _simpler(op)
    ]
    used = "".join(node for node in setting.nodes if any(node in _places(op) for op in ops))
    plain = Setting(setting.nodes)
    settings = [replace(setting, nodes=used or setting.nodes[0]), plain]
    settings += [replace(setting, **{name: getattr(plain, name)}) for name in ("tick", *FLAGS)]
    return candidates + [History(simpler, ops) for simpler in settings if simpler != setting]


def _simpler(op: Op) -> list[Op]:
    """It with one thing less at the same time, or without a fault."""
    if op.verb != TOGETHER:
        return [Op(op.place, op.verb)] if op.verb in RUNS and op.args else []
    seed, parts = op.args[0], op.parts
    fewer = [(*parts[:i], *parts[i + 1 :]) for i in range(len(parts))]
    fewer += [(*parts[:i], simpler, *parts[i + 1 :]) for i, part in enumerate(parts) for simpler in _simpler(part)]
    return [Op.together(seed, some) if len(some) > 1 else some[0] for some in fewer]


def _places(op: Op) -> set[str]:
    return {place for part in op.parts for place in (part.place, *(part.args[2:3] if part.verb in RUNS else ()))}


def _without(ops: Sequence[Op]) -> list[tuple[Op, ...]]:
    """`ops` without each of their halves, quarters, ..., and without each single one."""
    shorter: list[tuple[Op, ...]] = []
    size = len(ops) // 2
    while size >= 1:
        shorter += [(*ops[:start], *ops[start + size :]) for start in range(0, len(ops), size)]
        size //= 2
    return shorter
