"""From steps to outcomes: transfers without a lock, then renames under it, on the hub and on the node alike.

A failed step is a value and leaves the others alone. What is no longer as the plan saw it fails with `Reason.CHANGED`
and is planned anew by the session. `on_hub` and `on_node` have what is done under the lock, `work` what they share.
"""

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from symsync.core.commit import Fresh, as_seen, conflict_as_seen
from symsync.core.generations import Journal
from symsync.core.modes import Action
from symsync.core.steps import (
    Decision,
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
from symsync.core.values import Found, Problem, Reason, Side
from symsync.events import Audience
from symsync.execute.on_hub import OnHub, SecondLook
from symsync.execute.on_node import OnNode
from symsync.execute.work import Arrived, Work, Workload, readable
from symsync.fence import Fence
from symsync.folder import Folder, is_same
from symsync.local_files import boot, stamp_of
from symsync.remotes.base import Fetch, Fetched, Outcomes, Remote, Rename, Request, Stat, Store, Stored
from symsync.statestore import Question
from symsync_protocol.names import PART_PREFIX
from symsync_protocol.stamps import SECOND, Kind, Stamp, same
from symsync_protocol.state import Conflict, Entry, link_digest

_DIRECTORY = Stamp(Kind.DIRECTORY)

FRESH_NS = 2 * SECOND
"""How much earlier than now a time on the hub still counts as fresh: the two clocks may differ by so much."""

SHORT_TICK_NS = 2 * SECOND
"""A clock this fine is waited for where a put would else look like the version that it replaces."""


LARGE = 8 << 20
"""Bytes from which on a file that was cut off goes on where it was, in this run or in the next one."""

TRIES = 3
"""How often a run goes about a large file that is cut off again and again, beyond what the remote itself does."""


class Execution:
    """Carries out one plan. `transfer` first, without the lock; then `apply`, under it."""

    def __init__(
        self,
        decisions: Sequence[Decision],
        folder: Folder,
        remote: Remote,
        fence: Fence | None,
        audience: Audience,
        recorded: Callable[[str], Iterable[Stamp]],
        *,
        origin: str,
        fresh: Callable[[], Fresh],
        noted: Callable[[], Collection[str]],
        filemode: int | None = None,
        dirmode: int | None = None,
    ) -> None:
        """`fence` is None where nothing may be written on the hub. `recorded` tells the stamps that other nodes' states
        hold of a path on the hub. `origin` tells the hub from all others, `fresh` which of its stamps do not yet vouch
        for a content, as its clock is known by then, `noted` which links were noted in the node's directory since the
        plan was made. `filemode` and `dirmode` are the bits of what arrives there, None: as on the node, and as the hub
        makes directories."""
        self._load = Workload(decisions)
        self._folder = folder
        self._remote = remote
        self._fence = fence
        self._filemode = filemode
        self._dirmode = dirmode
        self._audience = audience
        self._recorded = recorded
        self._origin = origin
        self._fresh = fresh
        self._noted = noted
        self._zone_ns = 0
        self._parts: dict[str, Transfer] = {}
        self._hub: OnHub | None = None
        """The hub's part, once all is across."""
        self._numbers = itertools.count(1)
        self._counting = threading.Lock()
        self.files = 0
        self.size = 0
        """Bytes of content that went over the wire."""

    @property
    def outcomes(self) -> list[Outcome]:
        """What has come of each decision so far."""
        return self._load.outcomes

    @property
    def unfinished(self) -> bool:
        """Whether another round may do better at once: something failed only because the world went on or a connection
        broke among the renames, the loser of a conflict has just become a file of its own, which has yet to travel, or
        a version has come back from its copy, and has yet to get the other's."""
        return any(
            (outcome.decision.pair.lost is not None and outcome.decision.then is Then.CONFLICT)
            or any(failed.problem.reason is Reason.CHANGED or self._was_lost(failed) for failed in outcome.failed)
            or any(_stepped_aside(outcome.decision, done.step) for done in outcome.done)
            for outcome in self.outcomes
        )

    def _was_lost(self, failed: Failed) -> bool:
        """Whether nobody knows if a step was done on the hub: a new plan sees. What did not even arrive was tried often
        enough."""
        step = failed.step
        arrived = not isinstance(step, Transfer) or self._load.arrived(step) is not None
        return arrived and step.on is Side.THERE and failed.problem.reason is Reason.LOST

    # Transfers

    def transfer(self) -> None:
        """Bring all content across, into this run's temporary files on either side."""
        self._check_names()
        self._upload(self._load.transfers(Side.THERE))
        self._download(self._load.transfers(Side.HERE))
        if any(arrived.local is not None for arrived in self._load.arrivals()):
            self._folder.make_durable()  # in its place a file is never without its bytes, even after a power cut
        self._let_clock_tick()
        if self._fence is not None:
            self._hub = OnHub(self._load, self._remote, self._fence, self._dirmode, self._fresh, self._read)

    def _check_names(self) -> None:
        """What the hub can't hold under its name is not sent in vain."""
        if self._fence is None:
            return
        new = [
            (work, step)
            for work, step in self._load.steps(Side.THERE, Transfer, MakeDirectory, Move)
            if not (isinstance(step, Transfer) and step.source.kind is Kind.LINK)
        ]
        for (work, step), problem in zip(new, self._remote.unstorable([step.path for _, step in new]), strict=True):
            if problem is not None:
                self._load.fail(work, step, problem)

    def _download(self, wanted: list[tuple[Work, Transfer]]) -> None:
        for left in reversed(range(TRIES)):
            wanted = self._fetch(wanted, last=not left)
            if not wanted:
                return

    def _fetch(self, wanted: list[tuple[Work, Transfer]], *, last: bool) -> list[tuple[Work, Transfer]]:
        """Download; returns what was cut off and can go on at once, unless it is the `last` try."""
        owners: dict[Path, tuple[Work, Transfer]] = {}
        again: list[tuple[Work, Transfer]] = []

        def jobs() -> Iterator[Fetch]:
            for work, step in wanted:
                name = self._part(step)
                target, offset = self._folder.part(name) if name else (self._folder.temporary(), 0)
                owners[target] = (work, step)
                yield Fetch(step.source.path, target, offset)

        for outcome in self._remote.fetch(jobs(), self._transferred):
            job, problem = (outcome.job, None) if isinstance(outcome, Fetched) else outcome
            work, step = owners[job.target]
            if isinstance(outcome, Fetched):
                if not _is_whole(step, outcome.size):
                    problem = Problem(step.path, Reason.CHANGED, "changed while it was received")
                elif job.offset and step.digest and step.digest != outcome.digest:
                    problem = Problem(step.path, Reason.CHANGED, "what had been received of it before is of no use")
                else:
                    self._load.arrive(step, Arrived(outcome.digest, outcome.size, local=job.target))
                    self._count(step)
                    continue
            if problem is None:
                continue
            if problem.reason in _CUT_OFF and self._part(step):
                if not last:
                    again.append((work, step))
                    continue
            else:
                job.target.unlink(missing_ok=True)  # on a full disk the others need its room
            self._load.fail(work, step, replace(problem, path=step.path))
        return again

    def _upload(self, wanted: list[tuple[Work, Transfer]]) -> None:
        fence = self._fence
        if fence is None:
            return
        fence.adopt({name for _, step in wanted if (name := self._part(step))})
        twins: list[tuple[Work, Transfer]] = []
        for left in reversed(range(TRIES)):
            more, wanted = self._store(fence, wanted, last=not left, once_more=left < TRIES - 1)
            twins += more
            if not wanted:
                break
        if twins:
            # The hub can't be told the time, or shows it by a zone that was not known yet.
            time.sleep(SHORT_TICK_NS / SECOND)
            fence.drop([fence.part(name) for _, step in twins if (name := self._part(step))])
            for _, step in self._store(fence, twins, last=True, anew=True)[0]:
                arrived = self._load.arrived(step)
                if arrived is not None and arrived.found is not None:
                    arrived.found = replace(arrived.found, stamp=arrived.found.stamp.unsettled())

    def _store(
        self,
        fence: Fence,
        wanted: list[tuple[Work, Transfer]],
        *,
        last: bool,
        once_more: bool = False,
        anew: bool = False,
    ) -> tuple[list[tuple[Work, Transfer]], list[tuple[Work, Transfer]]]:
        """Upload; returns those that can't be told from another version of theirs on the hub, and those that were cut
        off and can go on at once, unless it is the `last` try. With `once_more`, all of these were cut off before."""
        owners: dict[str, tuple[Work, Transfer]] = {}
        twins: list[tuple[Work, Transfer]] = []
        again: list[tuple[Work, Transfer]] = []
        useless: list[str] = []

        def jobs() -> Iterator[Store]:
            for work, step in wanted:
                name = None if anew else self._part(step)
                path = fence.part(name) if name else fence.staged(next(self._numbers))
                owners[path] = (work, step)
                mode = self._filemode if self._filemode is not None else readable(step.meta.mode)
                when = self._time_for(work.decision, step)
                source = self._folder.path(step.source.path)
                yield Store(source, path, when, mode, resume=name is not None, again=once_more)

        for outcome in self._remote.store(jobs(), self._transferred):
            if not isinstance(outcome, Stored):
                job, problem = outcome
                work, step = owners[job.path]
                if job.resume and problem.reason not in _CUT_OFF:
                    useless.append(job.path)  # on a full disk the others need its room
                elif job.resume and not last:
                    again.append((work, step))
                    continue
                self._load.fail(work, step, replace(problem, path=step.path))
                continue
            work, step = owners[outcome.job.path]
            now = self._folder.look(step.source.path)
            if not is_same(step.source.stamp, now) or not _is_whole(step, outcome.found.stamp.size):
                self._load.fail(work, step, Problem(step.path, Reason.CHANGED, "changed while it was sent"))
                continue
            size = step.source.stamp.size
            job, found = outcome.job, outcome.found
            self._load.arrive(step, Arrived(outcome.digest, size, staged=job.path, found=found, doubtful=job.again))
            self._count(step)
            self._learn_zone(outcome)
            if any(same(stamp, outcome.found.stamp) for stamp in self._taken(work.decision, step)):
                twins.append((work, step))
        fence.drop(useless)
        return twins, again

    def _part(self, step: Transfer) -> str | None:
        """The name under which a large file is on its way: whoever finds it knows of what it is the beginning. None
        where that can't be said for certain, and for small ones."""
        name = _part_name(step, self._origin, self._fresh())
        # Two steps of one name would write into one file.
        return name if name is not None and self._parts.setdefault(name, step) is step else None

    def _time_for(self, decision: Decision, step: Transfer) -> int | None:
        """The time a put carries: the source's, unless another version may be taken for it by that time.

        Not the tick of any version that somebody recorded under this path; and not a tick that the hub's clock has not
        left, in which somebody else's edit would look the same.
        """
        mtime = step.meta.mtime_ns if step.meta.mtime_ns is not None else step.source.stamp.mtime_ns
        if mtime is None:
            return None
        stamps = self._taken(decision, step)
        tick = max(self._remote.traits.tick_ns, 1, *(stamp.tick_ns for stamp in stamps))
        taken = {stamp.mtime_ns // tick for stamp in stamps if stamp.mtime_ns is not None}
        mtime = min(mtime, time.time_ns() - 2 * tick - FRESH_NS)
        while (mtime + self._zone_ns) // tick in taken:
            mtime -= tick
        return mtime

    def _taken(self, decision: Decision, step: Transfer) -> list[Stamp]:
        """The stamps on the hub that anybody has recorded of other versions under this path."""
        before = decision.pair.before if step.path == decision.path else None
        own = [step.replaces.stamp if step.replaces else None, before.there if before else None]
        return [*(stamp for stamp in own if stamp is not None), *self._recorded(step.path)]

    def _learn_zone(self, stored: Stored) -> None:
        """By how much the hub shows times later than it was told: some tell local time for UTC."""
        told, shown = stored.job.mtime_ns, stored.found.stamp.mtime_ns
        if told is not None and shown is not None and self._remote.traits.sets_times:
            tick = max(stored.found.stamp.tick_ns, 1)
            self._zone_ns = (shown - told + tick - 1) // tick * tick

    def _transferred(self, size: int) -> None:
        with self._counting:
            self.size += size
        self._audience.transferred(size)

    def _count(self, step: Transfer) -> None:
        self.files += 1
        self._audience.arrived(step.path)

    # Under the lock

    def ahead(self) -> list[str]:
        """The paths on the hub that may be looked at before the announcement: they are looked at again."""
        return [path for _, _, path, _ in self._hub.ahead()] if self._hub is not None else []

    def seen_ahead(self, found: Outcomes) -> None:
        """What lies at the paths of `ahead`."""
        if self._hub is not None:
            self._hub.judge(self._hub.ahead(), found)

    def apply(self, also: Sequence[Question] = ()) -> None:
        """Put everything into its place. The fence, where there is one, holds the lock. What is `also` to be asked on
        the hub is asked before anything takes a place."""
        hub = self._hub
        if hub is not None and hub.clears_way():
            also = self._put_announced(also)
            hub.make_way()
        second = self._second_look(also)
        if hub is not None:
            hub.apply(second)
        elif second.requests:
            second.take(self._remote.together(second.requests))
        OnNode(self._load, self._folder, self._noted).apply()
        if any(arrived.local is not None for arrived in self._load.arrivals()):
            self._folder.make_durable()

    def _read(self, wanted: Sequence[Found]) -> dict[str, bytes]:
        """The digests of files on the hub, as far as they can be read whole."""
        digests: dict[str, bytes] = {}
        sizes = {found.path: found.stamp.size for found in wanted}
        for outcome in self._remote.fetch((Fetch(path, self._folder.temporary()) for path in sizes), self._transferred):
            if isinstance(outcome, Fetched) and outcome.size == sizes[outcome.job.path]:
                digests[outcome.job.path] = outcome.digest
                outcome.job.target.unlink(missing_ok=True)
        return digests

    def journal(self, generation: bytes) -> Journal:
        """What the state will say of everything that has been transferred, once it is in place."""
        fresh = self._fresh()
        puts: dict[str, Entry] = {}
        gets: dict[str, Entry] = {}
        conflicts: dict[str, Conflict] = {}
        for work in self._load.works:
            decision = work.decision
            for step in decision.steps:
                if isinstance(step, MakeDirectory) and work.open(step):
                    coming_there = puts if step.on is Side.THERE else gets
                    coming_there[step.path] = Entry(_DIRECTORY, _DIRECTORY, b"", None, step.meta)
                    continue
                if isinstance(step, Move) and work.open(step):
                    if (entry := _moved(decision, step)) is not None:
                        puts[step.path] = entry
                    continue
                coming = self._coming(step) if isinstance(step, Transfer) and work.open(step) else None
                if not isinstance(step, Transfer) or coming is None:
                    continue
                if decision.conflict is not None and step.path == decision.path:
                    continue  # a version that comes back from its copy: no journal counts in such a run
                stamp, digest = coming
                target = step.source.target
                if decision.conflict is not None:
                    conflict = conflicts.get(decision.path) or conflict_as_seen(decision, decision.conflict, fresh)
                    conflicts[decision.path] = _with_copy(conflict, step.on, stamp, digest)
                elif step.on is Side.THERE:
                    puts[step.path] = Entry(step.source.stamp, stamp, digest, target, decision.meta)
                else:
                    seen = as_seen(decision, step.source.stamp, fresh)
                    gets[step.path] = Entry(stamp, seen, digest, target, decision.meta)
        return Journal(generation, puts, gets, conflicts)

    def _coming(self, step: Transfer) -> tuple[Stamp, bytes] | None:
        """The stamp and digest of what a transfer will put into its place: a rename changes nothing but the change
        time. None where nothing has arrived."""
        if step.source.kind is Kind.LINK:
            target = step.source.target or ""
            return Stamp(Kind.LINK, len(os.fsencode(target))), link_digest(target)
        arrived = self._load.arrived(step)
        if arrived is None:
            return None
        if arrived.local is None:
            return (arrived.found.stamp, arrived.digest) if arrived.found is not None else None
        stamp = replace(stamp_of(arrived.local.lstat()), ctime_ns=None)
        return (stamp if step.meta.mtime_ns is None else replace(stamp, mtime_ns=step.meta.mtime_ns)), arrived.digest

    def _let_clock_tick(self) -> None:
        """Where the hub can't be told the time, uploads carry its own: no later edit may fall into the same tick."""
        uploads = [arrived for arrived in self._load.arrivals() if arrived.found is not None]
        traits = self._remote.traits
        if not uploads or traits.sets_times:
            return
        if traits.tick_ns <= SHORT_TICK_NS:
            time.sleep(2 * traits.tick_ns / SECOND)
            return
        for arrived in uploads:
            if arrived.found is not None:
                arrived.found = replace(arrived.found, stamp=arrived.found.stamp.unsettled())

    def _put_announced(self, also: Sequence[Question]) -> list[Question]:
        """Rename what is to be renamed before anything is done, and see that it was; what is left to ask."""
        renamed = [question for question in also if question.new is not None]
        if renamed:
            paths = [question.path for question in renamed]
            looks = self._looks(renamed, paths, self._remote.together(_asking(renamed, paths)))
            for question, now in zip(renamed, looks, strict=True):
                question.answer(now)
        return [question for question in also if question.new is None]

    def _second_look(self, also: Sequence[Question]) -> SecondLook:
        """All in one. What was received must still be what the hub holds, or the state would claim what nobody saw;
        what goes here because it was missing there must still be missing, for another node may have been about to
        replace it; and what is written on the hub takes the place of what the plan saw there."""
        missing = [
            (work, step, path)
            for work, step in self._load.steps(Side.HERE, Remove, RemoveDirectory, Move)
            if (path := _gone_there(work.decision, step)) is not None
        ]
        wanted = [
            (work, step) for work, step in self._load.transfers(Side.HERE) if self._load.arrived(step) is not None
        ]
        hub = self._hub
        targets = hub.targets() if hub is not None else []
        asked = [
            *(question.path for question in also),
            *(path for _, _, path in missing),
            *(step.source.path for _, step in wanted),
            *(path for _, _, path, _ in targets),
        ]

        def take(outcomes: Sequence[Outcomes]) -> None:
            found = iter(self._looks(also, asked, outcomes) if outcomes else ())
            for question, now in zip(also, found, strict=False):
                question.answer(now)
            for (work, step, path), now in zip(missing, found, strict=False):
                if now is not None:
                    self._load.fail(work, step, Problem(path, Reason.CHANGED, "is on the hub again"))
            for (work, step), now in zip(wanted, found, strict=False):
                if not is_same(step.source.stamp, now):
                    self._load.fail(
                        work, step, Problem(step.path, Reason.CHANGED, "changed on the hub while it was received")
                    )
            if hub is not None:
                hub.judge(targets, list(found))

        return SecondLook(_asking(also, asked), take)

    def _looks(self, questions: Sequence[Question], paths: Sequence[str], outcomes: Sequence[Outcomes]) -> Outcomes:
        """What lies at `paths`, from what came of `_asking`."""
        *renamed, looks = outcomes
        doubtful = any(isinstance(look, Problem) for look in looks)
        if renamed:
            news = (question for question in questions if question.new is not None)
            for question, problem in zip(news, renamed[0], strict=True):
                if isinstance(problem, Problem) and problem.reason is not Reason.LOST:  # else the look tells
                    question.replace()
                    doubtful = True
        return self._remote.stat(paths) if doubtful else looks


def _asking(questions: Sequence[Question], paths: Sequence[str]) -> list[Request]:
    """What is to be renamed for the questions, and then a look at `paths`."""
    renames = [(question.new, question.path) for question in questions if question.new is not None]
    return [*([Rename(renames)] if renames else []), *([Stat(paths)] if paths else [])]


_CUT_OFF = (Reason.CUT, Reason.LOST)


def _part_name(step: Transfer, origin: str, fresh: Fresh) -> str | None:
    """What the content of a large file is called, by what is certain of it before it is read.

    On the node a stamp is: inode and change time are in it. The hub's is not, as long as it is fresh; and what arrives
    here may be lost where the computer stops before it is on the disk. A digest settles both, for it is compared.
    """
    stamp = step.source.stamp
    if stamp.size < LARGE or (step.on is Side.THERE and stamp.ctime_ns is None):
        return None
    facts: tuple[object, ...]
    if step.on is Side.THERE:
        facts = (step.source.path, stamp.size, stamp.mtime_ns, stamp.inode, stamp.ctime_ns)
    elif step.digest:
        facts = (step.source.path, step.digest)
    else:
        started = boot()
        if started is None or fresh.covers(stamp):
            return None
        facts = (origin, step.source.path, stamp.size, stamp.mtime_ns, stamp.tick_ns, started)
    return PART_PREFIX + hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _is_whole(step: Transfer, size: int) -> bool:
    """Whether as many bytes arrived as the plan saw: a server may report success for half a file."""
    return size == step.source.stamp.size


def _moved(decision: Decision, step: Move) -> Entry | None:
    """What the state will say of a file that is renamed on the hub, as it was here; None of other moves. Its time there
    stays, its change time does not."""
    found, digest = decision.pair.here.found, decision.pair.here.digest
    if step.on is not Side.THERE or step.path != decision.path or found is None or digest is None:
        return None
    return Entry(found.stamp, replace(step.source.stamp, ctime_ns=None), digest, None, decision.meta)


def _with_copy(conflict: Conflict, side: Side, stamp: Stamp, digest: bytes) -> Conflict:
    """`conflict` with the copy on `side` as it will lie there, and the version that it was made from."""
    copy = conflict.copy_here if side is Side.HERE else conflict.copy_there
    if copy is None:
        return conflict
    copy = replace(copy, stamp=stamp, digest=digest)
    if side is Side.HERE:
        return replace(conflict, copy_here=copy, there=replace(conflict.there, digest=digest))
    return replace(conflict, copy_there=copy, here=replace(conflict.here, digest=digest))


def _gone_there(decision: Decision, step: Step) -> str | None:
    """The path whose absence from the hub is why `step` removes or moves something here."""
    if isinstance(step, Move):
        return step.source.path if step.source.path != decision.path else None
    return step.path if decision.action is Action.REMOVE and step.path == decision.path else None


def _stepped_aside(decision: Decision, step: Step) -> bool:
    return isinstance(step, Move) and step.source.path == decision.path
