"""The hub's part of an execution: everything in batches, each a stream of requests that waits for no reply."""

from dataclasses import replace

from symsync.core.steps import Adjust, Decision, Done, MakeDirectory, Move, Remove, RemoveDirectory, Step, Transfer
from symsync.core.values import Found, Problem, Reason, Side
from symsync.execute.work import Arrived, Looks, Work, Workload, readable
from symsync.fence import Fence
from symsync.folder import is_same, link_digest
from symsync.remotes.base import Attributes, Remote
from symsync_protocol.names import ancestors
from symsync_protocol.stamps import Kind, Stamp

BATCH = 64
"""How many versions are replaced at a time: each is off its name for two round trips, whatever the size of the run."""


class OnHub:
    """The hub's part: everything in batches, each a stream of requests that waits for no reply."""

    def __init__(
        self, load: Workload, remote: Remote, fence: Fence, looks: Looks, directory_mode: int | None
    ) -> None:
        """`directory_mode`: the bits of what is made, None: as the hub makes it."""
        self._load = load
        self._remote = remote
        self._fence = fence
        self._looks = looks
        self._directory_mode = directory_mode
        self._displaced: list[tuple[Work, Step, Found]] = []
        self._fresh: set[str] = set()

    def apply(self) -> None:
        self._remove(early=True)
        self._verify()  # before anything takes their places, for then they could not go back
        self._remove_directories(early=True)
        self._make_directories()
        self._look()
        self._move()
        self._put()
        self._adjust()
        self._remove(early=False)
        self._verify()
        self._remove_directories(early=False)

    def _make_directories(self) -> None:
        steps = self._load.steps(Side.THERE, MakeDirectory)
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
                self._fresh.add(step.path)
            elif problem.reason is Reason.EXISTS:
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

    def _look(self) -> None:
        """The second look: each target must still be what the plan saw. Directories just made are known to be empty."""
        wanted: list[tuple[Work, Step, str, Found | None]] = []
        for work, step in self._load.steps(Side.THERE, Transfer, Move, Remove, Adjust):
            match step:
                case Transfer() if self._load.arrived(step) is not None or step.source.kind is Kind.LINK:
                    if not self._freshly_made(step.path) and not _vacated(work.decision, step):
                        wanted.append((work, step, step.path, step.replaces))
                case Move():
                    wanted.append((work, step, step.source.path, step.source))
                    if not self._freshly_made(step.path):
                        wanted.append((work, step, step.path, None))
                case Adjust():
                    wanted.append((work, step, step.path, step.found))
                case Remove() if not step.early:
                    wanted.append((work, step, step.path, step.found))
        for (work, step, _, expected), now in zip(
            wanted, self._looks.at([path for _, _, path, _ in wanted]), strict=True
        ):
            if isinstance(now, Problem):
                self._load.fail(work, step, replace(now, path=step.path))
            elif isinstance(step, Remove) and now is None:
                continue
            elif (now is None) is not (expected is None) or (expected is not None and not _is_as_seen(expected, now)):
                self._load.fail(
                    work, step, Problem(step.path, Reason.CHANGED, "changed on the hub while it was synchronised")
                )

    def _freshly_made(self, path: str) -> bool:
        return any(up in self._fresh for up in ancestors(path))

    def _move(self) -> None:
        """A file passes through the lock's folder, for many servers overwrite on a rename: who has lost the lock must
        not take a place that somebody else has filled."""
        steps = [(work, step) for work, step in self._load.steps(Side.THERE, Move) if isinstance(step, Move)]
        if not steps:
            return
        sources = [step.source.path for _, step in steps]
        self._fence.make_room(sources, passing=True)
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

    def _put(self) -> None:
        steps = [
            (work, step)
            for work, step in self._load.steps(Side.THERE, Transfer)
            if isinstance(step, Transfer) and (self._load.arrived(step) is not None or step.source.kind is Kind.LINK)
        ]
        self._link([(work, step) for work, step in steps if step.source.kind is Kind.LINK])
        steps = [(work, step) for work, step in steps if work.open(step)]
        if not steps:
            return
        self._take_places([(work, step) for work, step in steps if step.replaces is None])
        replacing = [(work, step) for work, step in steps if step.replaces is not None]
        self._fence.make_room([step.path for _, step in replacing])
        for start in range(0, len(replacing), BATCH):
            self._take_places(self._displace(replacing[start : start + BATCH]))

    def _displace(self, steps: list[tuple[Work, Transfer]]) -> list[tuple[Work, Transfer]]:
        """Rename the versions that will be replaced into the lock folder; returns the steps whose places are free now.

        In a call of its own: many servers overwrite on a rename, so a put must never follow a displacement that failed.
        """
        ready: list[tuple[Work, Transfer]] = []
        problems = self._fence.rename([(step.path, self._fence.displaced(step.path)) for _, step in steps])
        for (work, step), problem in zip(steps, problems, strict=True):
            if problem is not None and problem.reason is not Reason.ABSENT:
                self._load.fail(work, step, replace(problem, path=step.path))
                continue
            if problem is None and step.replaces is not None:
                self._displaced.append((work, step, step.replaces))
            ready.append((work, step))
        return ready

    def _take_places(self, steps: list[tuple[Work, Transfer]]) -> None:
        """Rename staged files to names that are free. Where that fails, what was displaced for it goes back."""
        if not steps:
            return
        problems = self._fence.rename([(self._fence.held(self._staged(step)), step.path) for _, step in steps])
        back: list[tuple[str, str]] = []
        for (work, step), problem in zip(steps, problems, strict=True):
            if problem is None:
                arrived = self._load.arrived(step)
                staged = arrived.found if arrived is not None else None
                found = replace(staged, path=step.path) if staged is not None else None
                work.done.append(Done(step, found, step.source, arrived.digest if arrived is not None else None))
                continue
            self._load.fail(work, step, replace(problem, path=step.path))
            if any(other is step for _, other, _ in self._displaced):
                back.append((self._fence.displaced(step.path), step.path))
                self._displaced = [entry for entry in self._displaced if entry[1] is not step]
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
        steps = [
            (work, step)
            for work, step in self._load.steps(Side.THERE, Remove)
            if isinstance(step, Remove) and step.early is early
        ]
        if not steps:
            return
        self._fence.make_room([step.path for _, step in steps])
        problems = self._fence.rename([(step.path, self._fence.displaced(step.path)) for _, step in steps])
        for (work, step), problem in zip(steps, problems, strict=True):
            if problem is not None and problem.reason is not Reason.ABSENT:
                self._load.fail(work, step, replace(problem, path=step.path))
                continue
            if problem is None:
                self._displaced.append((work, step, step.found))
            work.done.append(Done(step))

    def _verify(self) -> None:
        """A displaced version that is not what the plan saw goes back, and what took its place goes away."""
        if not self._displaced:
            return
        kept = [self._fence.displaced(expected.path) for _, _, expected in self._displaced]
        displaced, self._displaced = self._displaced, []
        for (work, step, expected), place, now in zip(displaced, kept, self._remote.stat(kept), strict=True):
            if now is None or _is_as_seen(expected, now):
                continue
            undone = [(expected.path, f"{place}.undone")] if isinstance(step, Transfer) else []
            self._fence.rename([*undone, (place, expected.path)])
            work.done = [done for done in work.done if done.step is not step]
            self._load.fail(
                work, step, Problem(step.path, Reason.CHANGED, "changed on the hub while it was synchronised")
            )

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
