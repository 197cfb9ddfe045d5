"""A whole world in miniature: real node directories, a hub in memory, a virtual clock, and the real engine in between.

Only six things are not the real ones: `session.open_remote` gives a `MemoryRemote`, wrapped so that faults can happen;
the clock is virtual, so that nobody waits; random ids come from a seed; both sides are scanned one after the other; a
node's changes are counted as effects; and state files that were decoded once are not decoded again. Where several runs
are at work at the same time, `turns` has it who moves.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from simulation.faults import Backlog, Crash, Disk, Fault, Faults, FaultyRemote, Uncounted, faulty_node
from simulation.history import COPIES, RUNS, TOGETHER, WORLD, History, Op, Setting
from simulation.ledger import Ledger
from simulation.oracles import Oracles, Violation
from simulation.people import Person
from simulation.places import HUB, HUBS, PRIVATE, DiskHubPlace, HubPlace, Item, NodePlace, Served, visible
from simulation.turns import Clock, Run, Turns
from symsync import session
from symsync.core.modes import Mode
from symsync.core.safety import DEFAULT_MAXDELETE, MaxDelete
from symsync.events import Audience, Result
from symsync.fence import LockLostError
from symsync.remotes import open_own
from symsync.remotes.base import Remote
from symsync.remotes.location import Location, Protocol
from symsync.settings import Settings
from symsync.statestore import HubStore, NodeStore
from symsync_protocol import statefile
from symsync_protocol.errors import HubError, HubUnreachable, Stopped
from symsync_protocol.names import LOCK_DIR, STATE_DIR
from symsync_protocol.stamps import SECOND, Kind
from symsync_protocol.state import Conflict
from symsync_protocol.statefile import StateFile

P = ParamSpec("P")
T = TypeVar("T")

_OP_TAKES_NS = 3_000_000
_CACHES = tuple(f"{STATE_DIR}/{name}" for name in ("_cache.", "_met."))
"""What a node remembers of the hub's states: no part of what it agreed on. Their directory's time moves with them."""
_FRESH_FOR = 10.0
"""Seconds after which no stamp is fresh any more, whatever the hub's clock."""
_BREAKS = (Fault.CUT, Fault.UNANSWERED, Fault.LOST, Fault.LATE)
"""Faults for which a run may say that it has lost the hub."""
_LET_FAIL = (
    Fault.MEANWHILE,
    Fault.LOST,
    Fault.LATE,
    Fault.REFUSED,
    Fault.SHORT,
    Fault.SILENT,
    Fault.UNLISTED,
    Fault.HALF,
)
"""Faults for which a run may give up, with an explanation."""
_TAKES_AWAY = ("delete", "rename", "rmtree", "drop-there", "take-there")
_ATTEMPTS = 30
"""Rounds of deciding conflicts after which a world that still has some will never be quiet."""


def _faults_of(op: Op) -> Faults:
    """What is to happen to a run."""
    if not op.args:
        return Faults()
    fault, at, *rest = op.args
    return Faults(Fault(fault), int(at), delay=int(rest[0]) if fault == Fault.LATE else 0)


class _AtOnce(Executor):
    """Does in `submit` what else a thread would do: two scans at once gain nothing here, and would let chance in."""

    def __init__(self, max_workers: int) -> None:
        del max_workers

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = Future[T]()
        future.set_result(fn(*args, **kwargs))
        return future


def _remembering(decode: Callable[[bytes, str], StateFile]) -> Callable[[bytes, str], StateFile]:
    """`decode` without its cost for bytes that it has seen: it was half of a history's time, and states are values."""
    known: dict[bytes, StateFile] = {}

    def remembered(data: bytes, what: str) -> StateFile:
        if data not in known:
            known[data] = decode(data, what)
        return known[data]

    return remembered


class World(Audience):
    """One history's places, and what happens in them. Use as a context manager: inside, the engine is the world's."""

    def __init__(self, setting: Setting, directory: Path) -> None:
        """`directory` is empty, and on a RAM disk if this is to be quick."""
        self.clock = Clock()
        self.ledger = Ledger()
        now = self.clock.time_ns
        self._tick_ns = 1 if setting.disk else setting.traits.tick_ns
        place = DiskHubPlace if setting.disk else NodePlace
        self.nodes = {name: place(name, directory / name, now) for name in setting.nodes}
        self.hubs: dict[str, Served] = {
            name: DiskHubPlace(name, directory / name, now) if setting.disk else HubPlace(name, now, setting.traits)
            for name in (HUBS if setting.hubs else HUBS[:1])
        }
        # The first node has all hubs, each further one the next of them.
        between, *others = self.nodes
        self.pairs = [(between, hub) for hub in self.hubs]
        self.pairs += [(node, list(self.hubs)[number % len(self.hubs)]) for number, node in enumerate(others)]
        self.places: dict[str, Served] = {**self.nodes, **self.hubs}
        for each in self.places.values():
            each.write(PRIVATE, each.name.encode(), anew=False)
        self.runs = 0
        self.met: Counter[str] = Counter()
        """The faults that runs have met."""
        self.broken_locks = 0
        self._backlog = Backlog()
        self._fell: Counter[tuple[str, str]] = Counter()
        """How many runs of each pair have met a fault."""
        self._backups: dict[str, Callable[[bool], None]] = {}
        self._random = random.Random(str(setting))
        self._turns: Turns | None = None
        """Who moves, while several are at work at the same time."""
        self._alone: list[Run] = []
        """The runs at work while none are at the same time."""
        self._linkless = set(setting.nodes[1::2] if setting.mixed else "")
        """The nodes whose protocol makes no links."""
        self._limit = MaxDelete(count=0) if setting.strict else DEFAULT_MAXDELETE
        self._includes_dots = setting.hides
        self._oracles = Oracles(self.ledger, self.places, includes_dots=setting.hides)

    @contextmanager
    def engine(self) -> Iterator[None]:
        """Put the engine into this world."""
        clock = self.clock
        decoding = _remembering(statefile.decode)
        replaced = {
            "symsync.session.open_remote": self._open,
            "symsync.session.open_own": lambda root: FaultyRemote(open_own(root), Uncounted(self._runs[-1].faults)),
            "symsync.fence.random": self._random,
            "symsync.survey.ThreadPoolExecutor": _AtOnce,
            **{f"symsync.statestore.{module}.decode": decoding for module in ("node", "hub", "others")},
            "os.urandom": self._random.randbytes,
            "time.time": lambda: self._time_where_it_runs() / SECOND,
            "time.time_ns": self._time_where_it_runs,
            "time.monotonic": clock.monotonic,
            "time.sleep": self._sleep,
            **faulty_node(self._faults),
        }
        with ExitStack() as stack:
            for name, replacement in replaced.items():
                stack.enter_context(patch(name, replacement))
            yield

    def note(self, text: str) -> None:
        """What a run tells the user."""
        self.broken_locks += text.endswith("was left behind and has been taken away")

    @property
    def _runs(self) -> list[Run]:
        """The runs at work in the thread that moves: one may go on in the middle of another."""
        return self._turns.current.runs if self._turns else self._alone

    def _faults(self) -> Faults:
        """What is to happen to who moves: a run, or the hub, which has something left to do."""
        return self._runs[-1].faults if self._runs else Faults()

    def _is_at_work(self, machine: str) -> bool:
        lanes = [lane.runs for lane in self._turns.lanes] if self._turns else [self._alone]
        return any(run.node == machine for runs in lanes for run in runs)

    def _sleep(self, seconds: float) -> None:
        (self._turns or self.clock).sleep(seconds)

    def _time_where_it_runs(self) -> int:
        return self.clock.time_ns() + (self.places[self._runs[-1].node].clock_off_ns if self._runs else 0)

    def _open(self, location: Location, _conversation: object) -> Remote:
        place = self.places[location.directory]
        # Without the table of links, which the engine has itself.
        remote = place.connection() if isinstance(place, HubPlace) else place.remote()
        run = self._runs[-1]
        return FaultyRemote(remote, run.faults, makes_links=run.node not in self._linkless)

    def play(self, history: History) -> None:
        """Let it all happen, then let the world come to rest. Raises Violation where the engine broke a promise."""
        for op in history.ops:
            before = self.runs
            self.do(op)
            if self.runs > before:  # what people do is in the ledger
                self._oracles.nothing_lost_or_torn()
        self._come_to_rest()

    def do(self, op: Op) -> None:
        """One operation."""
        self.clock.sleep(_OP_TAKES_NS / SECOND)
        match op.verb:
            case "together":
                self._together(op)
            case "wait":
                self.clock.sleep(int(op.args[0]) / 1000)
            case "sync" | "sync2" | "swap":
                self._run_with(op)
            case "mirror" | "original" | "master" | "slave":
                self._one_way(op)
            case "clock":
                self.places[op.place].clock_off_ns = int(op.args[0]) * SECOND
            case "zone" if isinstance(hub := self.places[op.place], HubPlace):
                hub.zone_ns = int(op.args[0]) * SECOND
            case "backup":
                self._backups[op.place] = self.places[op.place].backup()
            case "restore" | "move":
                self._restore(op.place, another_disk=op.verb == "move")
            case "lose":
                self._lose(op.place)
            case _ if op.verb.removesuffix("-there") in COPIES:
                self._decide(op)
            case _ if op.place != WORLD and not (op.place in self.hubs and self._is_beyond(op)):
                Person(self.places[op.place], self.ledger).do(op.verb, op.args)

    def _is_beyond(self, op: Op) -> bool:
        """Whether a person does at a hub what symsync can't see, or not tell from something else."""
        return self._is_hidden(op) or self._waits(op) or self._looks_the_same(op)

    def _is_hidden(self, op: Op) -> bool:
        """Whether this would happen where nobody could see it: what people do there to names with a dot stays there."""
        return self._includes_dots and any(part.startswith(".") for arg in op.args for part in arg.split("/"))

    def _waits(self, op: Op) -> bool:
        """The known limit: whether a person takes away what an ended run has just put, before any node has cleaned up
        after it. Nobody can tell then whether what was displaced was ever replaced, and so it is put back."""
        return op.verb in _TAKES_AWAY and LOCK_DIR in self.places[op.place].tree()

    def _looks_the_same(self, op: Op) -> bool:
        """The known limit: whether one file is renamed over another on a hub that shows times by the minute, where most
        bear the same. It is found by what has gone from the old name, if the node that looks ever saw that."""
        if op.verb != "rename" or self._tick_ns < 60 * SECOND:
            return False
        old, new = (self.places[op.place].item(path) for path in op.args)
        return old is not None and new is not None and len(old.content) == len(new.content)

    # People and conflicts

    def conflicts(self, node: str, hub: str) -> dict[str, Conflict]:
        """The node's open conflicts with this hub, as its own state has them."""
        file = NodeStore(self.nodes[node].root).load(hub)
        return dict(file.state.conflicts) if file and file.state else {}

    def _open_conflicts(self, node: str) -> list[tuple[str, str, Conflict]]:
        """All open conflicts of a node, with hub and path."""
        hubs = [hub for one, hub in self.pairs if one == node]
        return [(hub, path, conflict) for hub in hubs for path, conflict in sorted(self.conflicts(node, hub).items())]

    def _decide(self, op: Op) -> None:
        """What people do about the n-th open conflict of a node."""
        number, *rest = op.args
        conflicts = self._open_conflicts(op.place)
        if int(number) >= len(conflicts):
            return
        hub, path, conflict = conflicts[int(number)]
        there = op.verb.endswith("-there")
        copy = conflict.copy_there if there else conflict.copy_here
        place = self.places[hub if there else op.place]
        person = Person(place, self.ledger)
        if copy is None:
            return
        if op.verb in _TAKES_AWAY and LOCK_DIR in place.tree():
            return  # as in `_waits`
        match op.verb.removesuffix("-there"):
            case "drop":
                person.delete(copy.path)
            case "take":
                person.rename(copy.path, path)
            case "edit-copy" if copy.path in place.shown():
                person.write(copy.path, *rest)
            case "touch-copy":
                person.do("touch", (copy.path,))

    # Disasters

    def _restore(self, place: str, *, another_disk: bool) -> None:
        bring_back = self._backups.get(place)
        if bring_back is not None:
            with self._disaster():
                bring_back(another_disk)

    def _lose(self, place: str) -> None:
        if place in self.nodes:
            with self._disaster():
                self.nodes[place].lose()
                self.nodes[place].write(PRIVATE, place.encode(), anew=False)

    @contextmanager
    def _disaster(self) -> Iterator[None]:
        """What only this disk had is gone by the disaster, not by symsync; what comes back was not brought by it."""
        self._backlog.catch_up()
        before = self.contents()
        yield
        after = self.contents()
        self.ledger.dead |= before - after
        self.ledger.disaster = True

    def contents(self) -> set[bytes]:
        """All contents that people can see, anywhere."""
        return {
            item.content
            for place in self.places.values()
            for item in visible(place.tree()).values()
            if item.kind is not Kind.DIRECTORY
        }

    # Runs

    def _run_with(self, op: Op) -> None:
        hub = HUBS[1] if op.verb == "sync2" else next(hub for node, hub in self.pairs if node == op.place)
        swapped = op.verb == "swap"
        if (op.place, hub) not in self.pairs or (swapped and not isinstance(self.hubs[hub], NodePlace)):
            return
        before = self._oracles.alike(op.place, hub, self.conflicts(op.place, hub))
        inner = Op.parse(" ".join(op.args[2:])) if op.args[:1] == (Fault.MEANWHILE,) and op.args[2:] else None
        faults = replace(_faults_of(op), meanwhile=lambda: self._meanwhile(inner))
        self.sync(op.place, hub, faults, swapped=swapped)
        if inner is None and self._turns is None:
            self._oracles.still_alike(op.place, hub, before)

    def _together(self, op: Op) -> None:
        """Several things happen at the same time."""
        if self._turns is not None or self._runs:
            return  # no more than these
        self.met[TOGETHER] += 1
        self._turns = Turns(self.clock, op.args[0], [partial(self._meanwhile, part) for part in op.parts])
        try:
            self._turns.play()
        finally:
            self._turns = None

    def _meanwhile(self, inner: Op | None) -> None:
        """Somebody else does something while runs are at work."""
        if inner is None:
            return
        if inner.verb in RUNS and self._is_at_work(HUB if inner.verb == "swap" else inner.place):
            return  # a directory lets only one run work in it
        if inner.place in self.hubs and LOCK_DIR in self.hubs[inner.place].tree() and not self._is_edit(inner):
            return  # the known limit: between look and rename, a person can't be told from nobody
        self.do(inner)

    def _is_edit(self, op: Op) -> bool:
        """Whether a person gives a new content to a file that lies there."""
        item = self.places[op.place].item(op.args[0]) if op.verb == "write" else None
        return item is not None and item.kind is Kind.FILE

    def _settings(self, node: str, hub: str, *, swapped: bool = False) -> Settings:
        here, there = (hub, node) if swapped else (node, hub)
        place = self.places[here]
        if not isinstance(place, NodePlace):
            raise TypeError(f"{here} can't run")
        return Settings(
            place.root,
            here,
            Location(Protocol.FILE, directory=there),
            peer=there,
            maxdelete=self._limit,
            includedots=self._includes_dots,
        )

    def _one_way(self, op: Op) -> None:
        """A run that makes one side like the other, and writes nothing on the one that is its source."""
        mode = Mode(op.verb)
        self.ledger.overridden = True
        self.ledger.copied |= mode in (Mode.MIRROR, Mode.ORIGINAL)
        self.ledger.deleted.clear()  # what comes back by it was asked for
        with self.places[HUB].remote() as remote:
            self.ledger.disaster |= HubStore(remote).identity() is None  # whose next run meets it for the first time
        before, copies, done = self._everything(), self._oracles.copies_on(HUB, op.place), self._backlog.done
        faults = _faults_of(op)
        self._run_to_its_end(replace(self._settings(op.place, HUB), mode=mode), faults)
        if self._includes_dots:  # for the hub hides them
            forgotten = copies - self._oracles.copies_on(HUB, op.place)
            self.ledger.unseen.update(path for path in forgotten if any(up.startswith(".") for up in path.split("/")))
        after = self._everything()
        if self._backlog.done == done:  # else it may be another run's late order that changed anything
            self._oracles.source_untouched(op.place, mode, before, after)
        for place in before:
            old, new = visible(before[place]), visible(after[place])
            # Perhaps an older version in the place of a newer one: which is which can't be told any more.
            self.ledger.reused.update(new[p].content for p in old.keys() & new.keys() if old[p] != new[p])

    def sync(self, node: str, hub: str, faults: Faults | None = None, *, swapped: bool = False) -> Result | None:
        """One run of a node, or (`swapped`) of the hub with it; None where the fault that was to happen ended it."""
        faults = faults or Faults()
        settings = self._settings(node, hub, swapped=swapped)
        known, excluded = self.conflicts(node, hub), self._oracles.excluded(node, hub)
        laid, lost = self._oracles.laid(node, hub, known), {} if swapped else self._oracles.lost(node, hub)
        fell = self._fell[node, hub]
        result = self._run_to_its_end(settings, faults)
        self._fell[node, hub] += faults.happened
        # Between its two records a run in the other role has told only one side what they agree on, or was ended there.
        halfway = self._turns is not None and (self._is_at_work(node) or self._is_at_work(hub))
        halfway = halfway or self._fell[node, hub] > fell
        if result is not None and not faults.happened and not halfway:
            if self._turns is None:
                self._oracles.excluded_untouched(node, excluded)
            self._oracles.after_run(node, hub, known)
            self._oracles.still_laid(laid, self.conflicts(node, hub))
            self._oracles.brought_back(node, hub, lost, self.conflicts(node, hub))
            self._copies_stay(node, hub)
        return result

    def _copies_stay(self, node: str, hub: str) -> None:
        files = {one: NodeStore(self.nodes[one].root).load(hub) for one, other in self.pairs if other == hub}
        states = {one: file.state for one, file in files.items() if file is not None and file.state is not None}
        with self.places[hub].remote() as remote:
            recorded = {one: HubStore(remote).load(one) for one in states}
        for one, file in recorded.items():
            if one != node and file is not None and file.state and file.state.generation != states[one].generation:
                del states[one]  # it was ended before it took down here what it had recorded there
        # Who was never shown a state can't know of its copies.
        if node in states and not self.met[Fault.SILENT]:
            self._oracles.copies_stay(node, states.pop(node), states.values())

    def _run_to_its_end(self, settings: Settings, faults: Faults) -> Result | None:
        """Run; None where the fault that was to happen ended it."""
        if self._turns is not None:
            faults.point = self._turns.point
        elif faults.fault is Fault.POWER:  # else it is only a crash: nobody knows which bytes are whose
            hub = self.places[settings.location.directory]
            faults.disk = Disk(settings.directory, *([hub.root] if isinstance(hub, NodePlace) else []))
        faults.backlog = self._backlog
        done = self._backlog.done
        self._runs.append(Run(settings.node, faults))
        try:
            return self._run(settings)
        except Crash:
            return None
        except LockLostError:
            # Who waits for a dead node's second lock looks dead himself under the first one.
            overslept = self._turns is not None and (self._turns.overslept or isinstance(self.hubs[HUB], NodePlace))
            disturbed = self._backlog.done > done  # by a late order, in his own state
            if overslept or disturbed or (faults.fault in _LET_FAIL and faults.happened):
                return None
            raise
        except HubUnreachable:
            if faults.fault in _BREAKS and faults.happened:
                return None
            raise
        except HubError:
            # Who overslept may also be told what it was that he did not find any more.
            overslept = self._turns is not None and self._turns.overslept
            disturbed = self._backlog.done > done
            if overslept or disturbed or (faults.fault in _LET_FAIL and faults.happened):
                return None
            raise
        finally:
            self._runs.pop()
            self._note_ended(settings.node, settings.location.directory)
            if faults.happened and faults.fault is not None:
                self.met[faults.fault] += 1

    def _note_ended(self, node: str, hub: str) -> None:
        """What a run in either role was about to do, where it was ended before it noted what it had done."""
        for one, other in ((node, hub), (hub, node)):
            self.ledger.unsure[f"{one} {other}"] = self._unnoted(one, other)

    def _unnoted(self, node: str, hub: str) -> set[str]:
        place = self.places[node]
        journal = NodeStore(place.root).journal(hub) if isinstance(place, NodePlace) else None
        if journal is None or journal.acted:
            return set()
        with self.places[hub].remote() as remote:
            file = HubStore(remote).load(node)
        return {*journal.puts, *journal.gets, *(file.intent.paths if file and file.intent else ())}

    def _run(self, settings: Settings) -> Result:
        """As a person runs it, who does what the message says where he had to expect it."""
        self.runs += 1
        may_stop = self.ledger.disaster or self.ledger.overridden or settings.maxdelete.count == 0
        before = self._everything() if may_stop else {}
        try:
            return session.run(settings, self)
        except Stopped as stopped:
            if not self.ledger.disaster and not (may_stop and stopped.allow == "deletes"):
                raise
            left_over = any(LOCK_DIR in tree for tree in before.values())  # which is put back before the plan is made
            alone = self._turns is None and not self._runs[-1].faults.happened
            if alone and not left_over:
                self._oracles.nothing_done(before, self._everything())
            if stopped.allow is None:
                return session.run(replace(settings, replace=True), self)
            return session.run(replace(settings, allow=frozenset({stopped.allow})), self)

    # Rest

    def _come_to_rest(self) -> None:
        """Everybody synchronises and decides until nothing is open; then two runs each must make all equal."""
        self._backlog.catch_up()
        for attempt in range(_ATTEMPTS):
            self._all_run()
            if not self._all_open():
                self._let_all_travel()
            open_ones = self._all_open()
            if not open_ones:
                break
            # Each keeps its own, or takes the hub's: settled alike until the end of time would be no test.
            self._settle(open_ones[attempt % len(open_ones)], take=attempt % 2 == 1)
            self._oracles.nothing_lost_or_torn()
        else:
            raise Violation("rest", f"conflicts never end: {open_ones}")
        equal = self._oracles.all_equal(self.pairs)
        self._oracles.nothing_resurrected()
        self._oracles.no_copy_left()
        if equal:
            before = self._everything()
            self._all_run()
            self._oracles.nothing_written(before, self._everything())

    def _let_all_travel(self) -> None:
        """Two runs of everybody, and more where more is between them: a second hub, or a `.sync.ignore`, whose node
        meets what is left out no more in its next run."""
        for number in range(2 * len(self.hubs) + (2 if self.ledger.ignores else 0)):
            if number % 2 == 0:
                # What is fresh is read again, and not told to others: rest begins when nothing is any more.
                self.clock.sleep(2 * self._tick_ns / SECOND + _FRESH_FOR)
            self._all_run()

    def _all_open(self) -> list[str]:
        """The nodes that have open conflicts."""
        return [node for node in self.nodes if self._open_conflicts(node)]

    def _settle(self, node: str, *, take: bool) -> None:
        hub, path, conflict = self._open_conflicts(node)[0]
        copy = conflict.copy_here or conflict.copy_there
        place = self.places[node if conflict.copy_here else hub]
        if copy is not None and copy.path in place.tree() and copy.path not in place.shown():
            Person(self.nodes[node], self.ledger).delete(path)  # a copy that is a link, on a hub that can't show any
            return
        if copy is None or copy.path not in place.shown():
            return  # the next run lays it anew
        person = Person(place, self.ledger)
        if take:
            person.rename(copy.path, path)
        else:
            person.delete(copy.path)

    def _all_run(self) -> None:
        for node, hub in self.pairs:
            self.clock.sleep(_OP_TAKES_NS / SECOND)
            self.sync(node, hub)
        self._oracles.nothing_lost_or_torn()

    def _everything(self) -> dict[str, dict[str, Item]]:
        return {
            name: {
                path: item for path, item in place.tree().items() if path != STATE_DIR and not path.startswith(_CACHES)
            }
            for name, place in self.places.items()
        }
