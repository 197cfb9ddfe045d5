"""One run, and the one place that knows its order.

pair      connect, see who the hub is, and weigh the two sides' states     meeting
survey    scan both sides, compare with the state, plan                    survey, core
check     stop what looks like an accident                                 core
execute   transfers without a lock, then renames under it                  execute, fence
commit    fold what was reached into the state; on the hub, then here      core, statestore
"""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from symsync.core.commit import Agreement, Fresh, commit
from symsync.core.compare import Base
from symsync.core.generations import Journal, Standing, next_generation
from symsync.core.modes import writes
from symsync.core.safety import check
from symsync.core.steps import Decision, Outcome, Then, Transfer
from symsync.core.values import Found, Problem, Scan, Side
from symsync.events import Audience, Phase, Result
from symsync.execute import FRESH_NS, Execution
from symsync.execute.on_hub import displaced_by
from symsync.fence import Fence, LockLostError
from symsync.folder import Folder
from symsync.local_files import CLOCK_STEP_NS
from symsync.meeting import Meeting, Pairing, meet, pair
from symsync.remotes import Conversation, open_own, open_remote
from symsync.remotes.base import Remote
from symsync.remotes.links import with_noted
from symsync.retention import Retention, run_label
from symsync.settings import Settings
from symsync.statestore import HubStore, Met, NodeStore, Question, Recorded, unless_damaged
from symsync.survey import View, survey
from symsync_protocol.errors import HubError, HubRefused, Stopped
from symsync_protocol.names import LOCK_DIR, TEMPORARY_DIR
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Conflict, Generation, Intent, PairState

__all__ = ["Meeting", "meet", "preview", "run"]

_DAY = 86_400

ROUNDS = 3
"""How often a run plans anew what moved while it was at work."""

_TRIES = 12
"""How often a run plans because it was overtaken. The hub's own run with this node does so by each of its rounds, and
before each by picking up what an ended one had done."""


def run(settings: Settings, audience: Audience, *, conversation: Conversation | None = None) -> Result:
    """Synchronise once. Raises SymsyncError where the run as a whole could not be done."""
    return _with_both(settings, audience, conversation, _Session.synchronise)


def preview(settings: Settings, audience: Audience, *, conversation: Conversation | None = None) -> Result:
    """Plan and stop: nothing is changed on either side."""
    return _with_both(settings, audience, conversation, _Session.preview)


def _with_both(
    settings: Settings,
    audience: Audience,
    conversation: Conversation | None,
    work: "Callable[[_Session], Result]",
) -> Result:
    started = time.monotonic()
    label = run_label(settings.node, time.time(), os.urandom(4).hex())
    folder = Folder(settings.directory, label, settings.links)
    with folder.locked():
        audience.phase(Phase.CONNECTING, settings.location.shown)
        with open_remote(settings.location, conversation) as remote:
            result = work(_Session(settings, audience, folder, remote, label))
        folder.clear()
    return replace(result, seconds=time.monotonic() - started)


class _Overtaken(HubRefused):
    """The hub is not the one that the plan was made for: another node was the first to meet it, or broke off in the
    middle and left something to put back."""


class _NotAnnouncedError(_Overtaken):
    """What was announced on the hub is not there as it should be. Perhaps nobody overtook, and it never will be."""


class _Session:
    def __init__(self, settings: Settings, audience: Audience, folder: Folder, remote: Remote, label: str) -> None:
        self._settings = settings
        self._audience = audience
        self._folder = folder
        self._remote = remote
        self._label = label
        self._labels = _labels(label)
        self._nodes = NodeStore(settings.directory)
        self._writes_hub = writes(settings.mode)[1]
        self._records_on_hub = settings.symsync and self._writes_hub
        self._waited = False
        self._noted: frozenset[str] = frozenset()
        """The links that are only noted in this directory, for they can't be made real."""

    def preview(self) -> Result:
        pairing = pair(self._settings, self._nodes, self._remote, self._audience, only_look=True)
        view = survey(self._settings, pairing, self._folder, self._nodes, self._audience)
        stopped = None
        try:
            self._check(view)
        except Stopped as why:
            stopped = why
        return replace(_result(pairing, view, None, [], None), stopped=stopped)

    def _check(self, view: View) -> None:
        """Raises Stopped where the plan looks like an accident that nobody allowed."""
        settings = self._settings
        check(view.base, view.here, view.there, view.decisions, settings.maxdelete, settings.allow | view.allowed)

    def synchronise(self) -> Result:
        """Rounds, until nothing failed only because the world went on meanwhile."""
        result, again = self._round()
        for _ in range(ROUNDS - 1):
            if not again:
                break
            later, again = self._round()
            result = _joined(result, later)
        return result

    def _make_links_real(self) -> None:
        """Nodes whose hub this directory is may only have noted their links here: from now on they lie in it, where its
        owner can change and remove them."""
        self._noted = self._noted_now()
        if not self._noted:
            return
        root = self._settings.directory
        with with_noted(open_own(root), root) as own:
            fence = Fence(own, f"{self._label}l", self._audience, "in this directory")
            fence.prepare(self._settings.node, sweep=False)
            try:
                fence.acquire()
                own.refresh()
                own.make_real()
            finally:
                with suppress(HubError):
                    fence.release()
        self._noted = self._noted_now()

    def _noted_now(self) -> frozenset[str]:
        """The links that are only noted in this directory, as far as this run writes in it."""
        if not writes(self._settings.mode)[0]:
            return frozenset()
        root = self._settings.directory
        with with_noted(open_own(root), root) as own:
            return frozenset(found.path for found in own.noted())

    def _round(self) -> tuple[Result, bool]:
        """Plan and act, anew where the plan was overtaken. Returns whether a new round may help."""
        doubts = 0
        for _ in range(_TRIES - 1):
            try:
                return self._attempt()
            except _NotAnnouncedError:
                doubts += 1
                if doubts > ROUNDS:
                    raise
            except _Overtaken:
                continue
        return self._attempt()

    def _attempt(self) -> tuple[Result, bool]:
        settings = self._settings
        self._label = next(self._labels)
        self._make_links_real()
        pairing = pair(settings, self._nodes, self._remote, self._audience)
        view = survey(settings, pairing, self._folder, self._nodes, self._audience)
        if pairing.journal is not None:
            self._pick_up(pairing, view, pairing.journal)
            return self._attempt()
        try:
            self._check(view)
        except Stopped:
            if self._waited or not self._wait_for_others(pairing):
                raise
            return self._attempt()
        if not self._anything(pairing, view):
            if view.met != pairing.met:
                self._nodes.remember(pairing.there.name, view.met)
            self._remember_address(pairing)
            return _result(pairing, view, None, [], 0), False
        self._announce_plan(view.decisions)
        store = self._hub_store(pairing)
        with self._fenced(pairing, view.decisions) as fence, self._own_lock() as own:
            execution = Execution(
                view.decisions,
                self._folder,
                pairing.remote,
                fence,
                self._audience,
                view.recorded,
                origin=settings.location.shown,
                fresh=lambda: _fresh(view.began, _clock_offset(store, pairing)),
                noted=lambda: self._noted_now() - self._noted,
                filemode=settings.filemode,
                dirmode=settings.dirmode,
            )
            execution.transfer()
            agreement, outcomes = self._commit(pairing, view, store, execution, fence, own)
        self._tidy(view, fence)
        for outcome in outcomes:
            if outcome.decision.touches or outcome.failed:
                self._audience.finished(outcome)
        result = _result(pairing, view, execution, outcomes, pairing.ground.newest + 1, agreement)
        return result, execution.unfinished

    def _wait_for_others(self, pairing: Pairing) -> bool:
        """Whether a node was at work on the hub, or had died there; it is over now. What it had moved aside looked as
        if somebody had removed it."""
        (locked,) = pairing.remote.stat([LOCK_DIR]) if self._writes_hub else [None]
        if locked is None:
            return False
        self._waited = True
        with self._fenced(pairing) as fence:
            if fence is not None:
                fence.acquire()
        return True

    @contextmanager
    def _fenced(self, pairing: Pairing, decisions: Sequence[Decision] = ()) -> Iterator[Fence | None]:
        """This run's staging folder and lock on the hub for these decisions, None where nothing is written there."""
        if not self._writes_hub:
            yield None
            return
        fence, hub = Fence(pairing.remote, self._label, self._audience), pairing.there.name
        left = self._nodes.staging(hub) or pairing.ground.standing is not Standing.NORMAL
        try:
            displaces = displaced_by(decisions)
            fence.prepare(self._settings.node, sweep=left, uploads=any(map(_uploads, decisions)), displaces=displaces)
            yield fence
        finally:
            with suppress(HubError):
                if fence.release():
                    self._nodes.swept(hub)

    @contextmanager
    def _own_lock(self) -> Iterator[Fence]:
        """The lock on this directory that nodes take which have it as their hub."""
        root = self._settings.directory
        with with_noted(open_own(root), root) as remote:
            own = Fence(remote, f"{self._label}o", self._audience, "in this directory")
            (root / TEMPORARY_DIR).mkdir(mode=0o700, exist_ok=True)
            own.prepare(self._settings.node, sweep=False)
            try:
                yield own
            finally:
                with suppress(HubError):
                    own.release()

    def _take_locks(self, pairing: Pairing, fence: Fence | None, own: Fence) -> None:
        """Both directories' locks, in the order of the ids: the two sides of a pair may run at once, each itself, and
        one of them comes second. Raises _Overtaken where it is this one."""
        locks = [(pairing.here.id, own), *([(pairing.there.id, fence)] if fence is not None else [])]
        first, *further = [lock for _, lock in sorted(locks, key=lambda one: one[0])]
        restored = first.acquire()
        for lock in further:
            restored = lock.acquire() or restored
            if lock.waited:
                first.verify()  # a lock whose holder only waits looks left behind
        if restored:
            raise _Overtaken("what a run that had broken off displaced was put back; run again")
        if self._nodes.shape(pairing.there.name) != pairing.node_shape or self._was_halfway(pairing):
            raise _Overtaken(f"{pairing.there.name}, running itself, has just synchronised with this node; run again")

    def _was_halfway(self, pairing: Pairing) -> bool:
        """Whether the hub, running itself, had recorded its run only here when both states were read, so that its own
        seemed to be older, or had not even begun its journal when those were looked for. Asked only where the two
        states differed, or where a run had announced itself."""
        state, on_hub = pairing.node_file.state if pairing.node_file else None, pairing.hub_state
        agreed = state is not None and on_hub is not None and state.generation == on_hub.generation
        settled = agreed and not pairing.announced
        if not self._records_on_hub or pairing.ground.standing is Standing.FIRST or settled:
            return False
        node, seen, now = self._settings.node, pairing.folder, HubStore(pairing.remote).folder()
        return (seen.sizes.get(node), node in seen.journals) != (now.sizes.get(node), node in now.journals)

    def _pick_up(self, pairing: Pairing, view: View, journal: Journal) -> None:
        """Record what an ended run had done, as the generation that it had announced, before anything else is begun:
        the journal counts only as long as the hub shows no other intent."""
        state = self._state(pairing, Generation(pairing.ground.newest + 1, journal.generation))
        state = replace(state, entries=view.base.entries, conflicts=view.base.conflicts)
        with self._fenced(pairing) as fence, self._own_lock() as own:
            self._take_locks(pairing, fence, own)
            if own.waited:
                raise _Overtaken(f"{pairing.there.name}, running itself, was still at work when this began; run again")
            self._introduce(pairing)
            before = pairing.ground.state
            base = Base(before.entries, before.conflicts) if before is not None else Base()
            # As the other one's journal tells of its run only as long as nothing of it is recorded.
            self._begin(pairing.there.name, state, _came_to(base, state))
            own.verify()
            self._record(pairing, self._hub_store(pairing), fence, state, pairing.hub_file, view.met)

    def _anything(self, pairing: Pairing, view: View) -> bool:
        """Whether there is anything to do or to record."""
        if any(decision.touches for decision in view.decisions) or pairing.ground.standing is not Standing.NORMAL:
            return True
        if pairing.known_here != pairing.here or (self._records_on_hub and pairing.new_hub):
            return True  # an identity that was lost
        state, on_hub = pairing.ground.state, pairing.hub_state
        if self._records_on_hub and state is not None and (on_hub is None or on_hub.generation != state.generation):
            return True  # runs in another mode have left the hub's behind
        if state is not None and (view.base.entries, view.base.conflicts) != (state.entries, state.conflicts):
            return True  # a path became excluded
        return commit(view.base, map(Outcome, view.decisions), _fresh(view.began, pairing.met.clock_offset_ns)).changed

    def _announce_plan(self, decisions: list[Decision]) -> None:
        transfers = [step for decision in decisions for step in decision.steps if isinstance(step, Transfer)]
        self._audience.planned(decisions, len(transfers), sum(step.source.stamp.size for step in transfers))
        self._audience.phase(Phase.TRANSFERRING)

    def _commit(
        self, pairing: Pairing, view: View, store: HubStore, execution: Execution, fence: Fence | None, own: Fence
    ) -> tuple[Agreement, list[Outcome]]:
        """Take the locks, announce, act, and record: on the hub, then here."""
        hub = pairing.there.name
        generation = next_generation(pairing.ground, os.urandom(16))
        if fence is not None and self._records_on_hub:
            fence.appends_to = store.growing(self._settings.node, pairing.hub_file)
        self._take_locks(pairing, fence, own)
        if fence is not None:
            pairing.remote.refresh()
            self._audience.phase(Phase.COMMITTING)
        file = pairing.hub_file
        announced: Question | None = None
        if fence is not None and self._records_on_hub:
            file, announced = self._announce(store, pairing, view, generation, fence, execution)
        self._introduce(pairing)
        if _copies(_planned(view.decisions), Side.HERE):  # nodes whose hub this is must not take them for files
            copies = _copies(_all_open(view), Side.HERE)
            node_file = self._nodes.announce(hub, pairing.node_file, Intent(generation, (), copies))
            pairing = replace(pairing, node_file=node_file, node_shape=self._nodes.shape(hub))
        state = self._state(pairing, generation)
        self._begin(hub, state, execution.journal(generation.id))
        execution.apply([announced] if announced is not None else [])
        outcomes = execution.outcomes
        offset = _clock_offset(store, pairing)
        agreement = commit(view.base, outcomes, _fresh(view.began, offset))
        state = replace(state, entries=agreement.entries, conflicts=agreement.conflicts)
        if fence is not None:
            fence.settle(keep_trash=self._settings.trash.keep)
        # Only now, for until then what was removed may be put back by whoever finds this run ended.
        self._begin(hub, state, _came_to(view.base, state))
        own.verify()
        pruned = int(time.time()) if self._prunes(view, fence) else view.met.pruned
        met = replace(view.met, clock_offset_ns=offset, appends=store.appends, pruned=pruned)
        self._record(pairing, store, fence, state, file, met)
        return agreement, outcomes

    def _begin(self, hub: str, state: PairState, journal: Journal) -> None:
        self._nodes.begin(hub, state, replace(journal, silent=not self._records_on_hub))

    def _hub_store(self, pairing: Pairing) -> HubStore:
        """The hub's states; once a day it is tried again whether the hub can append by now."""
        appends = pairing.met.appends or time.time() - pairing.met.pruned >= _DAY
        return HubStore(pairing.remote, appends=appends, folder=pairing.folder)

    def _record(
        self,
        pairing: Pairing,
        store: HubStore,
        fence: Fence | None,
        state: PairState,
        file: Recorded | None,
        met: Met,
    ) -> None:
        """Record `state` on the hub, in `file` as it lies there, and then here."""
        hub = pairing.there.name
        normal = pairing.ground.standing is Standing.NORMAL
        met = replace(met, local=state.generation.id if pairing.tracked else b"")
        if fence is not None and self._records_on_hub:
            # The change is that against what lies there, which may be older than what counts here.
            # The last act under the lock, which nobody else need wait for any more.
            held = pairing.hub_state if normal else None
            with _under(fence):
                file = store.record(self._settings.node, held, state, file, fence.folder, fence.leave)
            token = state.generation.id
            met = replace(met, hub=pairing.there.id, own=file, generation=token, local=token)
        if not self._nodes.save(hub, pairing.node_file if normal else None, state, pairing.node_shape):
            raise LockLostError("in this directory")
        self._nodes.remember(hub, met)
        self._nodes.end(hub)
        self._remember_address(pairing)

    def _remember_address(self, pairing: Pairing) -> None:
        """Where the hub was met: the next run asks before it joins another one there."""
        if self._settings.symsync and (self._records_on_hub or not pairing.new_hub):
            self._nodes.remember_address(self._settings.location.shown, pairing.there)

    def _introduce(self, pairing: Pairing) -> None:
        """Record who this directory is, before any state says so."""
        if not self._nodes.save_identity(pairing.here, pairing.known_here):
            raise _Overtaken("another node, whose hub this directory is, has just given it an identity; run again")

    def _announce(
        self,
        store: HubStore,
        pairing: Pairing,
        view: View,
        generation: Generation,
        fence: Fence,
        execution: Execution,
    ) -> tuple[Recorded, Question]:
        """Under the lock, before anything is done: who we are, which paths we touch, which copies we will make; and
        what is still to be asked about that. What can be looked at before goes with it."""
        if pairing.new_hub:
            self._name_hub(store, pairing, fence)
        intent = Intent(generation, *_announcement(view))
        held, lying = pairing.hub_state, pairing.hub_file
        with _under(fence):
            file, written, looks = store.announce(
                self._settings.node, intent, held, lying, fence.folder, execution.ahead()
            )
        execution.seen_ahead(looks)
        return file, replace(written, answer=_or_overtaken(written.answer))

    def _name_hub(self, store: HubStore, pairing: Pairing, fence: Fence) -> None:
        """Give the hub its identity, unless another node was the first."""
        anew = "identity" in self._settings.allow
        now = unless_damaged(store.identity) if anew else store.identity()
        if now is not None:
            raise _Overtaken(f"another node met this hub at the same time and called it {now.name}; run again")
        with _under(fence):
            staged, identity = store.stage_identity(pairing.there, fence.folder)
        if anew:
            pairing.remote.remove_files([identity])  # not every hub would replace a damaged one
        (problem,) = fence.rename([(staged, identity)])
        if problem is not None:
            raise HubRefused(f"the hub does not take its identity: {problem.detail or problem.reason}; run again")

    def _state(self, pairing: Pairing, generation: Generation) -> PairState:
        """The state that this run will record, still without what it says of any path."""
        ground = pairing.ground
        return PairState(
            pairing.here,
            pairing.there,
            generation,
            ground.lineage,
            here_place=pairing.place,
            there_place=ground.state.there_place if ground.state else None,
            allowed=tuple(sorted(self._settings.allow)),
        )

    def _tidy(self, view: View, fence: Fence | None) -> None:
        trash = self._settings.trash
        if not trash.keep:
            self._folder.finish(None)  # what ended runs left stays for its time
        sizes = {Side.HERE: _size(view.here), Side.THERE: _size(view.there)}
        limits = {
            side: trash.size if trash.size is not None else int(n * trash.percent / 100) for side, n in sizes.items()
        }
        self._folder.finish(Retention(trash.days, limits[Side.HERE]))
        if fence is not None and self._prunes(view, fence):
            fence.prune_trash(Retention(trash.days, limits[Side.THERE]))

    def _prunes(self, view: View, fence: Fence | None) -> bool:
        """Whether the hub's trash is looked through: when something was added to it, else once a day."""
        return fence is not None and (fence.added_to_trash or time.time() - view.met.pruned >= _DAY)


@contextmanager
def _under(fence: Fence) -> Iterator[None]:
    """What the hub refuses is told as the loss of the lock where that is why."""
    try:
        yield
    except HubRefused:
        fence.verify()
        raise


def _labels(label: str) -> Iterator[str]:
    """What a run's attempts are called on the hub, each otherwise: what one of them could not put back or take away is
    no part of the next one's."""
    yield label
    for number in itertools.count(2):
        yield f"{label}r{number:02}"


def _clock_offset(store: HubStore, pairing: Pairing) -> int:
    """The hub's clock minus this machine's, in ns: as of this run's announcement, or else as remembered."""
    return pairing.met.clock_offset_ns if store.clock_offset_ns is None else store.clock_offset_ns


def _fresh(began: int, offset: int) -> Fresh:
    """What the hub's clock told, at the earliest, when the first content was read, and tells at the latest now.

    It was read off a stamp, so that it may be later by a tick, which `Fresh` allows for.
    """
    return Fresh(began + offset - CLOCK_STEP_NS, time.time_ns() + offset + FRESH_NS)


def _size(scan: Scan) -> int:
    return sum(found.stamp.size for found in scan.entries.values())


def _came_to(base: Base, state: PairState) -> Journal:
    """What a run changed in the state, for the journal: should it be ended before it is recorded."""
    entries = {path: entry for path, entry in state.entries.items() if base.entries.get(path) is not entry}
    conflicts = {path: c for path, c in state.conflicts.items() if base.conflicts.get(path) is not c}
    known = base.entries.keys() | base.conflicts.keys()
    gone = frozenset(known - state.entries.keys() - state.conflicts.keys())
    return Journal(state.generation.id, puts=entries, conflicts=conflicts, acted=True, gone=gone)


def _or_overtaken(answer: Callable[[Found | Problem | None], None]) -> Callable[[Found | Problem | None], None]:
    """What was announced is not there as it should be: who slept in a record of his own has just ended it, or the hub
    took only a part. Nothing was done yet, so that a new plan is no risk."""

    def checked(found: Found | Problem | None) -> None:
        try:
            answer(found)
        except HubError as error:
            raise _NotAnnouncedError(str(error)) from error

    return checked


def _uploads(decision: Decision) -> bool:
    """Whether a decision sends a file to the hub."""
    return any(
        isinstance(step, Transfer) and step.on is Side.THERE and step.source.kind is Kind.FILE
        for step in decision.steps
    )


def _announcement(view: View) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths that a plan touches, and the copies that lie on the hub or will: it takes the place of an ended run's,
    of which perhaps nothing else there tells."""
    paths = tuple(decision.path for decision in view.decisions if decision.touches)
    return paths, _copies(_all_open(view), Side.THERE)


def _planned(decisions: Iterable[Decision]) -> list[Conflict]:
    """The conflicts for which a plan lays or leaves copies, as it does something for them."""
    return [
        decision.conflict
        for decision in decisions
        if decision.touches and decision.then is Then.CONFLICT and decision.conflict
    ]


def _all_open(view: View) -> list[Conflict]:
    """The conflicts that a plan makes or continues, and those that are open already."""
    made = [decision.conflict for decision in view.decisions if decision.then is Then.CONFLICT and decision.conflict]
    return [*made, *view.base.conflicts.values()]


def _copies(conflicts: Iterable[Conflict], side: Side) -> tuple[str, ...]:
    copies = (conflict.copy_here if side is Side.HERE else conflict.copy_there for conflict in conflicts)
    return tuple(dict.fromkeys(copy.path for copy in copies if copy is not None))


def _result(
    pairing: Pairing,
    view: View,
    execution: Execution | None,
    outcomes: list[Outcome],
    generation: int | None,
    agreement: Agreement | None = None,
) -> Result:
    """`generation` is the one just recorded, 0 where there was nothing to record, None where the run only listed."""
    state = pairing.ground.state
    return Result(
        node=pairing.here.name,
        hub=pairing.there.name,
        decisions=tuple(view.decisions),
        outcomes=tuple(outcome for outcome in outcomes if outcome.decision.touches or outcome.failed),
        problems=view.problems,
        conflicts=tuple(sorted((agreement.conflicts if agreement else view.base.conflicts).items())),
        generation=generation or (state.generation.number if state else 0),
        files=execution.files if execution else 0,
        size=execution.size if execution else 0,
        listed=generation is None,
    )


def _joined(first: Result, second: Result) -> Result:
    """What two rounds of one run came to: the later one's word counts for each path."""
    done = {outcome.decision.path: outcome for outcome in (*first.outcomes, *second.outcomes)}
    return replace(
        second, outcomes=tuple(done.values()), files=first.files + second.files, size=first.size + second.size
    )
