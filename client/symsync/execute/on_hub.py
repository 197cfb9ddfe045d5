"""The hub's part of an execution: everything in batches, each a stream of requests that waits for no reply."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from symsync.core.commit import Fresh
from symsync.core.steps import Adjust, Decision, Done, MakeDirectory, Move, Remove, RemoveDirectory, Step, Transfer
from symsync.core.values import Found, Problem, Reason, Side
from symsync.execute.work import Arrived, Work, Workload, readable
from symsync.fence import Displaced, Fence
from symsync.folder import is_same
from symsync.remotes.base import Attributes, Outcomes, Remote, Request
from symsync_protocol.names import parent
from symsync_protocol.stamps import Kind, Stamp
from symsync_protocol.state import link_digest

BATCH = 64
"""How many versions are replaced at a time, to begin with: each is off its name until the next batch has gone."""

_BATCH_SECONDS = 0.1
"""As long as a batch takes less than this, the next one is twice as large: round trips count for less then."""


Upload = tuple[Work, Transfer]

Displacing = tuple[Work, Transfer | Remove, Found]
"""A step that replaces or removes a version, and that as the plan saw it."""

Reader = Callable[[Sequence[Found]], Mapping[str, bytes]]
"""Reads files on the hub: the digests of those that could be read whole, by path."""

Target = tuple[Work, Step, str, Found | None]
"""A step, the path where it acts, and what the plan saw there."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What is asked on the hub before anything takes a place, and who takes the answers."""

    requests: Sequence[Request]
    take: Callable[[Sequence[Outcomes]], None]
    """Fails the steps that are no longer as the plan saw them. Raises HubError where nothing must be done at all."""


class OnHub:
    """The hub's part: everything in batches, each a stream of requests that waits for no reply."""

    def __init__(
        self,
        load: Workload,
        remote: Remote,
        fence: Fence,
        directory_mode: int | None,
        fresh: Callable[[], Fresh],
        read: Reader,
    ) -> None:
        """`directory_mode`: the bits of what is made, None: as the hub makes it. `fresh`: which stamps an edit may hide
        under since the plan was made; `read` tells what files on the hub hold."""
        self._load = load
        self._remote = remote
        self._fence = fence
        self._directory_mode = directory_mode
        self._fresh_stamps = fresh
        self._read = read
        self._new = {step.path for _, step in load.steps(Side.THERE, MakeDirectory)}
        """Directories that are not there before this run makes them, and so are known to be empty."""
        self._judged: set[tuple[int, str]] = set()
        self._displaced: set[int] = set()
        """The steps whose versions were displaced, by identity."""

    def clears_way(self) -> bool:
        """Whether `make_way` has anything to do."""
        steps = self._load.steps(Side.THERE, Remove, RemoveDirectory)
        return any(isinstance(step, Remove | RemoveDirectory) and step.early for _, step in steps)

    def make_way(self) -> None:
        """What comes before the second look: what stands in the way goes."""
        self._remove(early=True)
        self._remove_directories(early=True)

    def ahead(self) -> list[Target]:
        """Those targets that are looked at once more when they are displaced, so that a look may come before the
        announcement; and uploads in doubt."""
        return [*((work, step, step.path, expected) for work, step, expected in self._alone()), *self._doubtful()]

    def _doubtful(self) -> list[Target]:
        """Uploads that the server may have begun with anew since they were verified. In the lock's folder, under
        another name, it does no more."""
        uploads = [(work, step, self._load.arrived(step)) for work, step in self._load.transfers(Side.THERE)]
        return [
            (work, step, self._fence.held(arrived.staged), arrived.found)
            for work, step, arrived in uploads
            if arrived is not None and arrived.doubtful and arrived.staged is not None
        ]

    def _alone(self) -> list[Displacing]:
        """What is displaced by decisions that consist of nothing else: nothing has to come before it."""
        found: list[Displacing] = []
        for work, step in self._load.steps(Side.THERE, Transfer, Remove):
            if len(work.decision.steps) > 1 or work.decision.after is not None:
                continue
            match step:
                case Transfer() if self._load.arrived(step) is not None and step.replaces is not None:
                    found.append((work, step, step.replaces))
                case Remove() if not step.early:
                    found.append((work, step, step.found))
        return found

    def apply(self, second: SecondLook) -> None:
        """All else, for the steps that the `second` look leaves. It goes with the first displacement, as far as what is
        displaced then was looked at before."""
        free = self._begin(second)
        if free and self._load.steps(Side.THERE, MakeDirectory, Move):
            self._take_places(free)  # which would else be missing for longer
            free = []
        self._make_directories()
        late = self.targets()
        if late:  # below directories that somebody has made meanwhile
            self.judge(late, self._remote.stat([path for _, _, path, _ in late]))
        self._move()
        self._put(free)
        self._adjust()
        self._remove(early=False)
        self._remove_directories(early=False)

    def _begin(self, second: SecondLook) -> list[Upload]:
        """The second look, and the first displacement. Returns the uploads whose places are free now."""
        batch = [one for one in self._alone() if (id(one[1]), one[1].path) in self._judged][:BATCH]
        if not batch:
            second.take(self._remote.together(second.requests) if second.requests else [])
            return []
        return self._exchange([], batch, second)

    def _make_directories(self) -> None:
        steps = self._load.steps(Side.THERE, MakeDirectory)
        # Where one is not to be made any more, somebody else's may be in its place.
        self._new.intersection_update([step.path for _, step in steps])
        if not steps:
            return
        problems = self._remote.make_directories([step.path for _, step in steps], self._directory_mode)
        again = [
            (w, s) for (w, s), p in zip(steps, problems, strict=True) if p is not None and p.reason is Reason.EXISTS
        ]
        there = (
            dict(zip((s.path for _, s in again), self._remote.stat([s.path for _, s in again]), strict=True))
            if again
            else {}
        )
        for (work, step), problem in zip(steps, problems, strict=True):
            if problem is None:
                work.done.append(Done(step, _directory(step.path)))
                continue
            self._new.discard(step.path)
            if problem.reason is Reason.EXISTS:
                now = there.get(step.path)
                if not isinstance(now, Found) or now.kind is not Kind.DIRECTORY:
                    self._load.fail(
                        work, step, Problem(step.path, Reason.CHANGED, "appeared while it was synchronised")
                    )
                    continue
            else:
                self._load.fail(work, step, problem)
                continue
            work.done.append(Done(step, _directory(step.path)))

    def targets(self) -> list[Target]:
        """What the second look is for, as far as it was not asked yet: each must still be what the plan saw."""
        wanted = self._doubtful()
        for work, step in self._load.steps(Side.THERE, Transfer, Move, Remove, Adjust):
            match step:
                case Transfer() if self._load.arrived(step) is not None or step.source.kind is Kind.LINK:
                    if not self._is_new(step.path) and not _vacated(work.decision, step):
                        wanted.append((work, step, step.path, step.replaces))
                case Move():
                    wanted.append((work, step, step.source.path, step.source))
                    if not self._is_new(step.path):
                        wanted.append((work, step, step.path, None))
                case Adjust():
                    wanted.append((work, step, step.path, step.found))
                case Remove() if not step.early:
                    wanted.append((work, step, step.path, step.found))
        return [target for target in wanted if (id(target[1]), target[2]) not in self._judged]

    def judge(self, targets: Sequence[Target], found: Sequence[Found | Problem | None]) -> None:
        """Give up what the second look shows to be another than the plan saw."""
        self._judged.update((id(step), path) for _, step, path, _ in targets)
        for (work, step, _, expected), now in zip(targets, found, strict=True):
            if isinstance(now, Problem):
                self._load.fail(work, step, replace(now, path=step.path))
            elif isinstance(step, Remove) and now is None:
                continue
            elif (now is None) is not (expected is None) or (expected is not None and not _is_as_seen(expected, now)):
                self._load.fail(
                    work, step, Problem(step.path, Reason.CHANGED, "changed on the hub while it was synchronised")
                )

    def _is_new(self, path: str) -> bool:
        """Whether what lies at `path` is known, for its directory comes with this run."""
        return parent(path) in self._new

    def _move(self) -> None:
        """A file passes through the lock's folder, for many servers overwrite on a rename: who has lost the lock must
        not take a place that somebody else has filled."""
        steps = [(work, step) for work, step in self._load.steps(Side.THERE, Move) if isinstance(step, Move)]
        if not steps:
            return
        sources = [step.source.path for _, step in steps]
        self._fence.make_room(sources)
        between = [self._fence.displaced(path) for path in sources]
        away, into = zip(sources, between, strict=True), zip(between, (step.path for _, step in steps), strict=True)
        problems = self._fence.rename([pair for both in zip(away, into, strict=True) for pair in both])
        back: list[tuple[str, str]] = []
        for (work, step), left, problem in zip(steps, problems[::2], problems[1::2], strict=True):
            if left is None and problem is None:
                work.done.append(Done(step, replace(step.source, path=step.path)))
                continue
            self._load.fail(work, step, replace(left or problem or _unknown(step), path=step.path))
            if left is None:
                back.append((self._fence.displaced(step.source.path), step.source.path))
        if back:
            self._fence.rename(back)

    def _put(self, free: Sequence[Upload]) -> None:
        """Let uploads take their places, those that are `free` already first."""
        steps = [
            (work, step)
            for work, step in self._load.steps(Side.THERE, Transfer)
            if isinstance(step, Transfer) and (self._load.arrived(step) is not None or step.source.kind is Kind.LINK)
        ]
        self._link([(work, step) for work, step in steps if step.source.kind is Kind.LINK])
        steps = [(work, step) for work, step in steps if work.open(step)]
        replacing: list[Displacing] = [
            (work, step, step.replaces)
            for work, step in steps
            if step.replaces is not None and id(step) not in self._displaced
        ]
        self._take_places(self._replace([*free, *(one for one in steps if one[1].replaces is None)], replacing))

    def _replace(self, places: Sequence[Upload], replacing: Sequence[Displacing]) -> Sequence[Upload]:
        """Let uploads take `places` that are free, and displace version after version for the others: returns those
        whose places are free in the end."""
        start, batch = 0, BATCH
        while start < len(replacing):
            began = time.monotonic()
            places = self._exchange(places, replacing[start : start + batch])
            start += batch
            if time.monotonic() - began < _BATCH_SECONDS:
                batch *= 2
        return places

    def _exchange(
        self, places: Sequence[Upload], batch: Sequence[Displacing], second: SecondLook | None = None
    ) -> list[Upload]:
        """Let uploads take `places` that are free, and rename a batch of versions into the lock's folder; one that is
        not what the plan saw goes back. Returns the uploads whose places are free then.

        A put never goes with its own displacement, which may fail: many servers overwrite on a rename.
        """
        paths = [expected.path for _, _, expected in batch]
        self._fence.make_room(paths)
        self._displaced.update(id(step) for _, step, _ in batch)
        put, displaced, told = self._fence.exchange(
            self._renames(places), paths, second.requests if second is not None else ()
        )
        self._took(places, put)
        if second is not None:
            second.take(told)
        free: list[Upload] = []
        back: list[tuple[str, str]] = []
        edited = self._edited(batch, displaced)
        for (work, step, expected), (problem, now) in zip(batch, displaced, strict=True):
            if problem is not None and problem.reason is not Reason.ABSENT:
                self._load.fail(work, step, replace(problem, path=step.path))
            elif problem is None and (expected.path in edited or self._is_another(expected, now)):
                back.append((self._fence.displaced(expected.path), expected.path))
                changed = Problem(step.path, Reason.CHANGED, "changed on the hub while it was synchronised")
                self._load.fail(work, step, changed)
            elif isinstance(step, Transfer):
                free.append((work, step))
            else:
                work.done.append(Done(step))
        if back:
            self._fence.rename(back)
        return free

    def _edited(
        self,
        steps: Sequence[Displacing],
        displaced: Displaced,
    ) -> set[str]:
        """The paths whose displaced versions hold something else than the plan knows, under a stamp whose tick lasts
        longer than it took us to come here: an edit in the same minute shows in nothing else."""
        doubtful: dict[str, tuple[Found, bytes]] = {}
        fresh = self._fresh_stamps()
        for (work, _, expected), (problem, now) in zip(steps, displaced, strict=True):
            known = _known_digest(work.decision, expected.path)
            if problem is None and isinstance(now, Found) and known and fresh.covers(now.stamp):
                doubtful[expected.path] = (now, known)
        digests = self._read([now for now, _ in doubtful.values()]) if doubtful else {}
        return {path for path, (now, known) in doubtful.items() if digests.get(now.path, known) != known}

    @staticmethod
    def _is_another(expected: Found, displaced: Found | Problem | None) -> bool:
        """Whether what was displaced is not what the plan saw."""
        return displaced is not None and not _is_as_seen(expected, displaced)

    def _take_places(self, places: Sequence[Upload]) -> None:
        """Rename staged files to names that are free."""
        if places:
            self._took(places, self._fence.rename(self._renames(places)))

    def _renames(self, places: Sequence[Upload]) -> list[tuple[str, str]]:
        return [(self._fence.held(self._staged(step)), step.path) for _, step in places]

    def _took(self, places: Sequence[Upload], problems: Sequence[Problem | None]) -> None:
        """What came of it. Where it failed, what was displaced for it goes back."""
        back: list[tuple[str, str]] = []
        for (work, step), problem in zip(places, problems, strict=True):
            if problem is None:
                arrived = self._load.arrived(step)
                staged = arrived.found if arrived is not None else None
                found = replace(staged, path=step.path) if staged is not None else None
                work.done.append(Done(step, found, step.source, arrived.digest if arrived is not None else None))
                continue
            self._load.fail(work, step, replace(problem, path=step.path))
            if step.replaces is not None:
                back.append((self._fence.displaced(step.path), step.path))
        if back:
            self._fence.rename(back)

    def _staged(self, step: Transfer) -> str:
        arrived = self._load.arrived(step)
        return arrived.staged or "" if arrived is not None else ""

    def _link(self, steps: list[tuple[Work, Transfer]]) -> None:
        """Links cost no bytes: they are made in the lock's own folder and take their places like files."""
        if not steps:
            return
        names = [f"{self._fence.folder}/link-{number}" for number in range(len(steps))]
        problems = self._remote.make_links([(n, s.source.target or "") for n, (_, s) in zip(names, steps, strict=True)])
        made = self._remote.stat(names)
        for (work, step), name, problem, found in zip(steps, names, problems, made, strict=True):
            if problem is not None or not isinstance(found, Found):
                self._load.fail(work, step, replace(problem or _unknown(step), path=step.path))
                continue
            digest = link_digest(step.source.target or "")
            self._load.arrive(step, Arrived(digest, 0, staged=name, found=found))

    def _adjust(self) -> None:
        """Permission bits of files that stay as they are. That the hub refuses them is no problem, as with a put."""
        steps = [(work, step) for work, step in self._load.steps(Side.THERE, Adjust) if isinstance(step, Adjust)]
        if not steps:
            return
        self._remote.set_attributes([Attributes(step.path, mode=readable(step.meta.mode)) for _, step in steps])
        for (work, step), now in zip(steps, self._remote.stat([step.path for _, step in steps]), strict=True):
            # What somebody has put there meanwhile is the next run's affair.
            work.done.append(Done(step, now if isinstance(now, Found) and _is_as_seen(step.found, now) else step.found))

    def _remove(self, *, early: bool) -> None:
        batch: list[Displacing] = [
            (work, step, step.found)
            for work, step in self._load.steps(Side.THERE, Remove)
            if isinstance(step, Remove) and step.early is early and id(step) not in self._displaced
        ]
        if batch:
            self._exchange([], batch)

    def _remove_directories(self, *, early: bool) -> None:
        steps = [
            (work, step)
            for work, step in self._load.steps(Side.THERE, RemoveDirectory)
            if isinstance(step, RemoveDirectory) and step.early is early
        ]
        steps.reverse()  # what a directory holds comes before it
        if not steps:
            return
        for (work, step), problem in zip(
            steps, self._remote.remove_directories([step.path for _, step in steps]), strict=True
        ):
            # One that is not empty stays, and leaves the state; what stays in it was never ours to remove.
            work.done.append(Done(step))
            if problem is not None and early:
                self._load.fail(work, step, problem)


def displaced_by(decisions: Iterable[Decision]) -> list[str]:
    """The paths on the hub from which a plan moves versions aside."""
    paths: list[str] = []
    for step in (step for decision in decisions for step in decision.steps if step.on is Side.THERE):
        match step:
            case Move():
                paths.append(step.source.path)
            case Remove():
                paths.append(step.path)
            case Transfer() if step.replaces is not None:
                paths.append(step.path)
    return paths


def _known_digest(decision: Decision, path: str) -> bytes | None:
    """What the plan knows of the content at `path` on the hub, which is the decision's own or that of its copy."""
    pair = decision.pair
    if path == pair.path:
        return pair.there.digest
    copy = pair.conflict.copy_there if pair.conflict is not None else None
    return copy.digest if copy is not None and copy.path == path else None


def _vacated(decision: Decision, step: Transfer) -> bool:
    """Whether another step of the decision empties the place first, and looks at what it displaces."""
    return any(
        other is not step
        and other.on is step.on
        and (
            (isinstance(other, Remove | RemoveDirectory) and other.path == step.path)
            or (isinstance(other, Move) and other.source.path == step.path)
        )
        for other in decision.steps
    )


def _is_as_seen(expected: Found, now: Found | Problem | None) -> bool:
    """Whether a second look shows what the plan saw. A link's stamp tells no more than how long its target is."""
    return isinstance(now, Found) and is_same(expected.stamp, now) and expected.target == now.target


def _directory(path: str) -> Found:
    return Found(path, Stamp(Kind.DIRECTORY))


def _unknown(step: Step) -> Problem:
    return Problem(step.path, Reason.OTHER, "the hub did not do what it was asked")
