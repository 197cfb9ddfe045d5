"""The fence: how several nodes change one dumb server, one after another, and a sleeper who wakes up does no harm.

    .sync.tmp/RUN/RUN/   bytes arrive here without a lock: 1, 2, 3, ..., or part-CONTENT for large files
    .sync.lock/RUN/      the lock: the outer folder, renamed. No rename takes the place of a folder that holds something
                         (rename(2), ENOTEMPTY), so that one run wins, and is in it at once; every put is a rename out
    .sync.lock/RUN/old/  every replaced, removed or moved version is first renamed to here, under its own path

Whoever breaks a lock gives the inner folder a name of his own, which one thief wins, and puts back what was displaced
and not replaced. From then on whatever the old holder sends refers to a folder that is not there; should the thief
fall, too, it still lies in the lock, for the next one to find.
"""

import itertools
import random
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from symsync.core.values import Found, Problem, Reason
from symsync.events import Audience, Phase
from symsync.remotes.base import MakeDirectories, Outcomes, Remote, RemoveDirectories, Rename, Request, Stat
from symsync.remotes.tree import below
from symsync.retention import Retention, owner
from symsync.statestore import HubStore
from symsync_protocol.errors import HubError, HubLocked, HubRefused
from symsync_protocol.names import (
    LOCK_DIR,
    PART_PREFIX,
    TEMPORARY_DIR,
    TRASH_DIR,
    ancestors,
    basename,
    join,
    parent,
    shown,
)
from symsync_protocol.stamps import Kind

STALE_AFTER = 60.0
"""Seconds in which a waiting node must have seen no sign of life before it breaks a lock."""

EMPTY_AFTER = 10.0
"""The same for a lock in which nobody is: whoever left it had only to remove it. Where a server takes a folder over an
empty one, as POSIX has it, nobody waits at all."""

PATIENCE = 900.0
"""Seconds that a node waits for others who do show signs of life."""

DISPLACED = "old"

Displaced = list[tuple[Problem | None, Found | Problem | None]]
"""Why each version could not be displaced, or what shows in its new place."""

_ASIDE = "kept-"

_TRIES = 5
"""How often renames are taken up again over a new connection, and a folder is made that others take away."""


class LockLostError(HubError):
    """Another node took the lock over while this one slept: what was not yet done will be done by the next run."""

    def __init__(self, place: str) -> None:
        super().__init__(f"another node took over the lock {place} while this one was not answering; run again")


class Fence:
    """One run's staging folder and lock on the hub, or in its own directory, which may be others' hub."""

    def __init__(self, remote: Remote, run: str, audience: Audience, place: str = "on the hub") -> None:
        """`place` tells people where this is."""
        self._place = place
        self._remote = remote
        self._store = HubStore(remote)
        self._run = run
        self._audience = audience
        self.appends_to: str | None = None
        """The file that is appended to under the lock, if that is known."""
        self._outer = f"{TEMPORARY_DIR}/{run}"
        self._staging = f"{self._outer}/{run}"
        self._held = f"{LOCK_DIR}/{run}"
        self._folders = [self._outer, self._staging]
        """What has to be made before the lock can be taken, and whether that is still to be done then."""
        self._unmade = False
        self._parts: dict[str, str] = {}
        """What ended runs left of large files on their way to the hub: where it lies, by name."""
        self._made: set[str] = set()
        self._refused = 0
        self._inside: set[str] = set()
        """The versions that are kept in the lock's folder."""
        self._passing: set[str] = set()
        """Those that were only to pass through it, and are not known to have left it."""
        self._kept = False
        self._to_rescue: list[str] = []
        """What earlier runs had to leave aside."""
        self._has_aside = False
        """Whether anything lies aside that should be in the trash."""
        self._empty: bool | None = None
        """What `release` returns once the lock has been left."""
        self.holding = False
        self.waited = False
        """Whether the lock was not to be had at once."""
        self.added_to_trash = False
        """Whether this run's displaced versions are in the hub's trash."""

    @property
    def folder(self) -> str:
        """Where this run's bytes are now."""
        return self._held if self.holding else self._staging

    def prepare(self, node: str, *, sweep: bool, uploads: bool = True, displaces: Iterable[str] = ()) -> None:
        """Make the staging folder, with room for the versions at the paths that the run `displaces`; where nothing
        `uploads`, only when the lock is taken, in one breath. `sweep`: remove what ended runs of this node left, but
        for parts of large files."""
        self._folders += self._rooms(displaces, self._staging)
        self._unmade = not (uploads or sweep)
        if self._unmade:
            return
        self._remote.expect_write()
        self._make_staging()
        if not sweep:
            return
        names = [basename(entry.path) for entry in self._entries(TEMPORARY_DIR)]
        mine = [join(TEMPORARY_DIR, name) for name in names if owner(name) == node.lower() and name != self._run]
        self._parts = self._sweep(mine)
        self._to_rescue = [name for name in names if name.startswith(_ASIDE)]

    def _make_staging(self) -> None:
        """Make the staging folder, closed to others already, for it will be the lock."""
        problems = self._remote.make_directories(self._folders, mode=0o700)
        for _ in range(_TRIES):
            if not any(map(_is_trouble, problems)):
                break
            # Whoever synchronises this directory itself takes the folder away when nothing lies in it.
            self._store.make_private(TEMPORARY_DIR)
            problems = self._remote.make_directories(self._folders, mode=0o700)
        for problem in problems:
            if problem is not None and _is_trouble(problem):
                raise HubError(f"{problem.path} can't be made {self._place}: {problem.detail or problem.reason}")

    def _rescue(self) -> None:
        """What the trash could not take, or lay hidden in a broken lock, goes there as soon as it can."""
        if not self._to_rescue:
            return
        self._store.make_private(TRASH_DIR)
        pairs = [(join(TEMPORARY_DIR, name), join(TRASH_DIR, name.removeprefix(_ASIDE))) for name in self._to_rescue]
        self._has_aside = any(self._remote.rename(pairs)) or self._has_aside

    def _aside(self, label: str) -> str:
        """A folder beside those of runs, for what has no other place; a later run finds it."""
        self._has_aside = True
        return f"{TEMPORARY_DIR}/{_ASIDE}{label}"

    def _sweep(self, folders: Sequence[str]) -> dict[str, str]:
        """Remove staging folders with all that lies in them, but for parts of large files: where those lie, by name."""
        tree, _ = below(self._remote, folders)
        inner = {join(folder, basename(folder)) for folder in folders}
        parts = {basename(path): path for path, entry in tree.items() if _is_part(entry) and parent(path) in inner}
        keeping = {up for path in parts.values() for up in ancestors(path)}
        kept = set(parts.values())
        files = [path for path, entry in tree.items() if entry.kind is not Kind.DIRECTORY and path not in kept]
        emptied = [path for path, entry in tree.items() if entry.kind is Kind.DIRECTORY]
        if files:
            self._remote.remove_files(files)
        gone = {*emptied, *folders} - keeping
        if gone:
            self._remote.remove_directories(sorted(gone, reverse=True))
        return parts

    def adopt(self, names: Collection[str]) -> None:
        """Take over what ended runs of this node left of large files, as far as they are to be sent now and bear one of
        these names; the rest goes. One that can't be had is sent anew."""
        found, self._parts = self._parts, {}
        wanted = [(path, self.part(name)) for name, path in found.items() if name in names]
        moves = [(path, target) for path, target in wanted if path != target]
        if moves:
            self._remote.rename(moves)
        self.drop([path for name, path in found.items() if name not in names])
        emptied = {up for path in found.values() for up in ancestors(path)}
        emptied -= {TEMPORARY_DIR, self._outer, self._staging}
        if emptied:
            self._remote.remove_directories(sorted(emptied, reverse=True))

    def drop(self, staged: Sequence[str]) -> None:
        """Remove staged files that are of no use any more."""
        if staged:
            self._remote.remove_files(staged)

    def part(self, name: str) -> str:
        """The path of a large file on its way."""
        return f"{self._staging}/{name}"

    def staged(self, number: int) -> str:
        """The path of the `number`th file on its way."""
        return f"{self._staging}/{number}"

    def held(self, staged: str) -> str:
        """Where a staged file lies once the lock is held."""
        return f"{self._held}/{basename(staged)}"

    def displaced(self, path: str) -> str:
        """Where the version that lay at `path` is kept."""
        return f"{self._held}/{DISPLACED}/{path}"

    def acquire(self) -> bool:
        """Wait for the lock and take it. Raises HubLocked when another node is at work for too long.

        Returns whether versions that a dead node had displaced were put back: the hub is not as it was seen before.
        """
        started = seen_alive = time.monotonic()
        last: object = None
        tried: set[str] = set()
        restored = False
        pause = 0.1
        while not self._try():
            self.waited = True
            holder, sign = self._signs()
            if holder == self._run:
                continue  # what an earlier try asked for was done late
            now = time.monotonic()
            if now - started > PATIENCE:
                raise HubLocked(
                    f"{_who(holder)} has held the lock {self._place} for {now - started:.0f} s; try again later"
                )
            if sign != last:
                last, seen_alive = sign, now
            # The local lock lets only one run of this node live, and that is this one.
            mine = holder is not None and owner(holder) == owner(self._run) and holder not in tried
            if mine or now - seen_alive > (STALE_AFTER if holder is not None else min(STALE_AFTER, EMPTY_AFTER)):
                tried.add(holder or "")
                restored = self._break(holder, len(tried)) or restored
                last = object()  # unlike any sign: whoever is in it then is watched anew
                continue
            if holder is not None:
                what = f"{_who(holder)} is at work {self._place}"
            else:
                what = f"the lock {self._place} is not to be had"
            self._audience.phase(Phase.WAITING, f"{what}, waiting for {now - started:.0f} s")
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 5.0)
        return restored

    def _try(self) -> bool:
        self._remote.expect_write(self.appends_to)
        making = [MakeDirectories(self._folders, 0o700)] if self._unmade else []
        *made, (problem,) = self._remote.together([*making, Rename([(self._outer, LOCK_DIR)])])
        self._unmade = False
        outcomes = zip(self._folders, itertools.chain.from_iterable(made), strict=False)
        refused = {folder for folder, outcome in outcomes if _is_trouble(outcome)}
        if refused and not self._is_whole(problem):
            self._make_staging()
            return self._try()
        if isinstance(problem, Problem):
            lock, held, outer = self._remote.stat([LOCK_DIR, self._held, self._outer])
            if isinstance(held, Found) and isinstance(outer, Found):
                self._sweep([self._outer])  # made once more, for nobody knew
            if not isinstance(held, Found):  # it is where the reply alone was lost
                if isinstance(lock, Found):
                    self._refused = 0
                    return False
                if lock is None and isinstance(outer, Found) and self._refused < _TRIES:
                    self._refused += 1  # whoever held it has perhaps left since
                    return False
                raise HubError(
                    f"{self._outer} can't be renamed to {LOCK_DIR} {self._place}: {problem.detail or problem.reason}"
                )
        self.holding = True
        rooms = [folder for folder in self._folders[2:] if folder not in refused]
        self._made.update(self._held + folder.removeprefix(self._staging) for folder in rooms)
        return True

    def _is_whole(self, problem: object) -> bool:
        """Whether a lock that was taken with its folders has them, whatever was said of those; an empty one is left."""
        if problem is not None:
            return False
        (held,) = self._remote.stat([self._held])
        if held is None:
            self._remote.remove_directories([LOCK_DIR])
        return isinstance(held, Found)

    def _signs(self) -> tuple[str | None, object]:
        """Who holds the lock, and whatever changes while he is alive."""
        holders = [entry for entry in self._entries(LOCK_DIR) if _is_run(entry)]
        if not holders:
            return None, None
        holder = basename(holders[0].path)
        content = self._entries(join(LOCK_DIR, holder))
        sizes = self._store.folder().sizes
        return holder, (holder, frozenset(entry.path for entry in content), tuple(sorted(sizes.items())))

    def _entries(self, directory: str) -> Sequence[Found]:
        (listing,) = self._remote.listings([directory])
        return listing.entries

    def _break(self, holder: str | None, number: int) -> bool:
        """Take a dead node's lock away, the `number`th; returns whether anything he had displaced was put back."""
        restored = False
        if holder is not None:
            # Still one of this node's labels, so that its next run need not wait for this one.
            loot = f"{self._run}x{number}"
            (problem,) = self._remote.rename([(join(LOCK_DIR, holder), join(LOCK_DIR, loot))])
            if problem is not None:
                return False
            restored = self._put_back(join(LOCK_DIR, loot), loot)
            if owner(holder) == owner(self._run):
                self._save_parts(join(LOCK_DIR, loot))
            self._remove_tree(join(LOCK_DIR, loot))
            # What no listing shows (names with a dot, on some hubs) stays in it, and must not keep the lock for ever.
            (problem,) = self._remote.rename([(join(LOCK_DIR, loot), f"{TEMPORARY_DIR}/{_ASIDE}{loot}")])
            self._has_aside = self._has_aside or problem is None
            self._audience.note(f"the lock of {_who(holder)} was left behind and has been taken away")
        else:
            self._clear_strays(number)
        self._remote.remove_directories([LOCK_DIR])
        return restored

    def _clear_strays(self, number: int) -> None:
        """Move out of a lock in which nobody is what no run has put there. Raises HubError where the lock itself is
        nothing of the kind."""
        (lock,) = self._remote.stat([LOCK_DIR])
        if isinstance(lock, Found) and lock.kind is not Kind.DIRECTORY:
            raise HubLocked(f"{LOCK_DIR} {self._place} is no directory, so no run made it; move it away by hand")
        entries = self._entries(LOCK_DIR)
        strays = [entry.path for entry in entries]
        if strays and not any(map(_is_run, entries)):  # else somebody has just taken it
            aside = self._aside(f"{self._run}x{number}")
            self._remote.make_directories([aside], mode=0o700)
            self._remote.rename([(path, f"{aside}/{basename(path)}") for path in strays])
            names = ", ".join(shown(basename(path)) for path in strays)
            self._audience.note(f"{names}: no run has put that into {LOCK_DIR} {self._place}, it lies in {aside} now")

    def _save_parts(self, folder: str) -> bool:
        """Large files that arrived and did not take their places go back to where this node's next plan finds them, but
        for those that this run has sent itself. Whether there are any."""
        parts = [entry.path for entry in self._entries(folder) if _is_part(entry)]
        if parts:
            self._remote.make_directories([self._outer, self._staging], mode=0o700)
            sent = {basename(entry.path) for entry in self._entries(self._staging)}
            self._remote.rename([(path, self.part(basename(path))) for path in parts if basename(path) not in sent])
        return bool(parts)

    def _put_back(self, folder: str, label: str) -> bool:
        """What was displaced into a lock folder and not replaced goes back to its name, the rest to the trash; returns
        whether anything went back."""
        old = f"{folder}/{DISPLACED}"
        tree, problems = below(self._remote, [old])
        if problems:
            raise HubRefused(f"the hub's {old} can't be listed, where versions wait to be put back; run again")
        files = [path for path, entry in tree.items() if entry.kind is not Kind.DIRECTORY]
        targets = [path[len(old) + 1 :] for path in files]
        present = self._remote.stat(targets) if targets else []
        back = [(path, target) for path, target, now in zip(files, targets, present, strict=True) if now is None]
        refused = self._remote.rename(back) if back else []
        for problem in refused:
            if problem is not None:
                self._audience.problem(problem)
        if any(refused) or len(back) < len(files):
            self._keep(old, label)
        return not all(refused)

    def _remove_tree(self, top: str) -> None:
        tree, _ = below(self._remote, [top])
        files = [path for path, entry in tree.items() if entry.kind is not Kind.DIRECTORY]
        folders = [path for path, entry in tree.items() if entry.kind is Kind.DIRECTORY]
        if files:
            self._remote.remove_files(files)
        self._remote.remove_directories([*sorted(folders, reverse=True), top])

    @staticmethod
    def _rooms(paths: Iterable[str], top: str) -> list[str]:
        """The folders below `top` that hold what is displaced from `paths`."""
        kept = [f"{top}/{DISPLACED}/{path}" for path in paths]
        return sorted({up for path in kept for up in ancestors(path) if len(up) > len(top)})

    def make_room(self, paths: Sequence[str]) -> None:
        """Make the folders for versions that were not announced to `prepare`."""
        folders = [folder for folder in self._rooms(paths, self._held) if folder not in self._made]
        if folders:
            problems = self._remote.make_directories(folders)
            failed = next((p for p in problems if p is not None and p.reason is not Reason.EXISTS), None)
            if failed is not None:
                self.verify()
                raise HubRefused(f"the hub does not let us make {failed.path}: {failed.detail or failed.reason}")
            self._made.update(folders)

    def exchange(
        self, pairs: Sequence[tuple[str, str]], paths: Sequence[str], first: Sequence[Request] = ()
    ) -> tuple[list[Problem | None], Displaced, list[Outcomes]]:
        """In one breath: what comes `first`, then the renames of `pairs`, then the versions at `paths` are renamed into
        the lock's folder and looked at there; what comes of each. Raises LockLostError where that was taken away."""
        away = [(path, self.displaced(path)) for path in paths]
        kept = [new for _, new in away]
        *others, outcomes, looks = self._remote.together([*first, Rename([*pairs, *away]), Stat(kept, present=True)])
        problems = [outcome if isinstance(outcome, Problem) else None for outcome in outcomes]
        renamed, displaced = problems[: len(pairs)], problems[len(pairs) :]
        self._inside.update(new for new, problem in zip(kept, displaced, strict=True) if not _is_undone(problem))
        renamed = self._rename_again(pairs, renamed)
        self._see([*pairs, *away], [*renamed, *displaced])
        doubtful = (look is None and not _is_undone(problem) for look, problem in zip(looks, displaced, strict=True))
        if any(isinstance(look, Problem) for look in looks) or any(doubtful):
            looks = self._remote.stat(kept)
        for number, (new, problem, look) in enumerate(zip(kept, displaced, looks, strict=True)):
            if problem is not None and problem.reason is Reason.LOST:
                if isinstance(look, Found):
                    displaced[number] = None
                else:
                    self._passing.add(new)  # it may come there yet, and nobody has looked at it
        return renamed, list(zip(displaced, looks, strict=True)), others

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        """Renames under the lock. Raises LockLostError where the folder was taken away."""
        problems = self._rename_again(pairs, self._remote.rename(pairs))
        self._see(pairs, problems)
        return problems

    def _see(self, pairs: Sequence[tuple[str, str]], problems: Sequence[Problem | None]) -> None:
        """Keep account of what lies in the lock's folder. Raises LockLostError where that was taken away."""
        for (old, new), problem in zip(pairs, problems, strict=True):
            if problem is None:
                self._inside.discard(old)
                self._passing.discard(old)
            if new.startswith(f"{self._held}/{DISPLACED}/") and new not in self._inside and not _is_undone(problem):
                self._passing.add(new)
        if any(problem is not None and problem.reason in (Reason.ABSENT, Reason.LOST) for problem in problems):
            self.verify()

    def _rename_again(
        self, pairs: Sequence[tuple[str, str]], problems: Sequence[Problem | None]
    ) -> list[Problem | None]:
        """Where the connection broke: what was uploaded into this run's own folder is either gone from there, and so
        was renamed, or renamed now. All else is left: the server may still have the old connection's commands before
        it, and displace what took the place since."""
        outcomes = list(problems)
        for _ in range(_TRIES):
            lost = [
                number
                for number, ((old, _), problem) in enumerate(zip(pairs, outcomes, strict=True))
                if problem is not None and problem.reason is Reason.LOST and parent(old) == self._held
            ]
            if not lost:
                break
            there = self._remote.stat([pairs[number][0] for number in lost])
            self.verify()  # after the look: what a thief took away was not renamed
            for number in [number for number, now in zip(lost, there, strict=True) if now is None]:
                outcomes[number] = None
            again = [number for number, now in zip(lost, there, strict=True) if isinstance(now, Found)]
            for number, problem in zip(again, self._remote.rename([pairs[n] for n in again]), strict=True):
                late = problem is not None and problem.reason is Reason.ABSENT  # done meanwhile, by the old connection
                outcomes[number] = replace(problem, reason=Reason.LOST) if late and problem else problem
        return outcomes

    def verify(self) -> None:
        """Raise LockLostError unless the lock is still ours."""
        (found,) = self._remote.stat([self._held])
        if not isinstance(found, Found):
            self.holding = False
            raise LockLostError(self._place)

    def settle(self, *, keep_trash: bool) -> None:
        """All is in its place, and nobody will put back what was displaced: it goes to the trash, if there is one.
        Raises LockLostError where somebody has put it back already."""
        self._rescue()
        if self._inside or self._passing:
            old = f"{self._held}/{DISPLACED}"
            if keep_trash or self._passing:
                self._remote.expect_write(self.appends_to)
                self._keep(old, self._run)
                self.added_to_trash = True
            else:
                self.rename([(old, self._outer)])
                self._remove_tree(self._outer)
            self._made.clear()
        self._kept = True

    def leave(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        """Let the next node in, once all is settled, and look at `paths` in the same breath."""
        looks, problems = self._remote.together([Stat(paths), RemoveDirectories(self._own_folders())])
        self._left(problems)
        return self._remote.stat(paths) if any(isinstance(look, Problem) for look in looks) else looks

    def release(self) -> bool:
        """Let the next node in; where all was not settled, what was displaced and not replaced goes back first. Returns
        whether nothing is left that a later run could use or would have to remove."""
        if self._empty is not None:
            return self._empty
        if not self.holding:
            return self._unmade or not self._sweep([self._outer])
        if self._made and not self._kept:
            self._put_back(self._held, self._run)
        return self._left(self._remote.remove_directories(self._own_folders()))

    def _own_folders(self) -> list[str]:
        """All that is to be removed when the lock is left, and can be where nothing lies in it."""
        return [*sorted(self._made, reverse=True), self._held, LOCK_DIR]

    def _left(self, problems: Sequence[object]) -> bool:
        """The lock's folders were told to go; see to what keeps them. Returns what `release` does."""
        *_, problem, _ = problems
        left = isinstance(problem, Problem) and problem.reason is not Reason.ABSENT
        if left:
            if not self._kept:  # what a broken connection still had under way has come into it
                self._put_back(self._held, self._run)
            left = self._save_parts(self._held)
            self._remove_tree(self._held)
            self._remote.remove_directories([LOCK_DIR])
        self.holding = False
        self._empty = not (left or self._has_aside)
        return self._empty

    def _keep(self, folder: str, label: str) -> None:
        """Move displaced versions to the trash, or aside where the hub's trash can't take them."""
        target = f"{TRASH_DIR}/{label}"
        (problem,) = self._remote.rename([(folder, target)])
        if problem is not None:
            self._store.make_private(TRASH_DIR)
            (problem,) = self._remote.rename([(folder, target)])
        if problem is not None and self.holding:
            self.verify()
        if problem is not None:
            aside = self._aside(label)
            self._remote.rename([(folder, aside)])
            self._audience.note(f"the hub's trash can't take {target}, it stays in {aside}: {problem.detail}")

    def prune_trash(self, retention: Retention) -> None:
        """Remove from the hub's trash what has outlived its time; sizes are asked for only if this run added to it."""
        labels = [basename(entry.path) for entry in self._entries(TRASH_DIR)]
        for label in retention.outlived(labels, time.time(), self._size_of if self.added_to_trash else lambda _: 0):
            self._remove_tree(join(TRASH_DIR, label))

    def _size_of(self, label: str) -> int:
        tree, _ = below(self._remote, [join(TRASH_DIR, label)])
        return sum(entry.stamp.size for entry in tree.values())


def _is_trouble(problem: object) -> bool:
    """Whether a folder could not be made for another reason than that it is there."""
    return isinstance(problem, Problem) and problem.reason is not Reason.EXISTS


def _is_undone(problem: Problem | None) -> bool:
    """Whether a rename has certainly not taken place."""
    return problem is not None and problem.reason is not Reason.LOST


def _is_run(entry: Found) -> bool:
    return entry.kind is Kind.DIRECTORY


def _is_part(entry: Found) -> bool:
    return entry.kind is Kind.FILE and basename(entry.path).startswith(PART_PREFIX)


def _who(run: str | None) -> str:
    if run is None:
        return "somebody"
    began, _, _ = run.partition("-")
    return f"{shown(owner(run))} (since {began})"
