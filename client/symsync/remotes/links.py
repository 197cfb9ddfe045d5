"""Symbolic links that nodes put on a hub over a protocol that makes none: a table in `.sync.state/_links`, shown as if
the links lay there.

    {path: target}, msgpack, written anew under the lock whenever it changes

It wraps the remote of every node, so that nobody else needs to know where a link is kept: of the nodes of one hub, some
may come by FTP and others by SFTP. Who can make links makes real ones. Where something real lies at a link's name, or
its directory has gone, somebody on the hub has put an end to the link, and the table forgets it.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgpack

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.remotes.base import (
    Attributes,
    Fetch,
    Fetched,
    Outcomes,
    Progress,
    Remote,
    Rename,
    Request,
    Stat,
    Store,
    Stored,
    Traits,
    no_progress,
)
from symsync_protocol.errors import HubError, StateDamaged
from symsync_protocol.names import (
    LINKS_FILE,
    LOCK_DIR,
    STATE_DIR,
    TRASH_DIR,
    ancestors,
    basename,
    is_reserved,
    is_safe,
    join,
    parent,
)
from symsync_protocol.stamps import Kind, Stamp

_PATH = f"{STATE_DIR}/{LINKS_FILE}"
_SPARE = f"{_PATH}.new"
"""Holds the table where a hub that replaces nothing lost its connection between the two steps that it takes."""
_LIMIT = 1 << 26
"""Bytes of a table that are believed."""


class LinkTable(Remote):
    """A remote with the links that nodes put on its hub without being able to make any."""

    def __init__(self, remote: Remote, *, exists: bool) -> None:
        """`exists`: whether the hub has a table already. Raises StateDamaged where it is not what symsync wrote."""
        self._remote = remote
        self._links = self._load() if exists else {}
        self._doubted: dict[str, str] = {}
        """Links at whose names somebody has put something else since, or whose directories have gone."""
        self._stale = False
        """Whether others may have changed the table since it was read."""
        self._locked = False
        """Whether the lock was taken since it was read, so that what is doubted can be forgotten."""
        self._fence: str | None = None
        """The folder in the lock that only its holder has: out of it, the table takes its place."""
        self._numbers = itertools.count(1)

    def _load(self) -> dict[str, str]:
        data = self._remote.read(_PATH, limit=_LIMIT)
        if data is None:
            spare = self._remote.read(_SPARE, limit=_LIMIT)
            with suppress(StateDamaged):  # one that is not whole never counted
                return {} if spare is None else _table(spare)
            return {}
        return _table(data)

    def refresh(self) -> None:
        self._stale = self._locked = True
        self._remote.refresh()

    def expect_write(self, append_to: str | None = None) -> None:
        self._remote.expect_write(append_to)

    def _make_sure(self) -> None:
        if self._stale:
            self.stat([])

    def _renew(self, *, exists: bool) -> None:
        """Read the table again, of which it was just asked whether it is there: trying to read it takes longer."""
        self._stale = False
        self._links = self._load() if exists else {}
        if not self._locked:
            return
        self._locked = False
        doubted = [path for path, target in self._doubted.items() if self._links.get(path) == target]
        self._doubted.clear()
        over = [path for path, ended in zip(doubted, self._ended(doubted), strict=True) if ended]
        for path in over:
            del self._links[path]
        if over:
            self._save()

    def _ended(self, paths: Sequence[str]) -> list[bool]:
        """Whether somebody on the hub has certainly put an end to each of these links."""
        above = [parent(path) for path in paths]
        found = self._remote.stat([*paths, *above]) if paths else []
        return [
            isinstance(now, Found) or (bool(up) and _is_no_directory(there))
            for now, up, there in zip(found[: len(paths)], above, found[len(paths) :], strict=True)
        ]

    def _save(self) -> None:
        """Let the table take the place of the one before by a rename out of the lock's folder, as all puts do: whoever
        has lost the lock must not undo what others have noted since."""
        table = msgpack.packb(self._links, unicode_errors="surrogateescape")
        if self._fence is not None:
            # Each time under another name: a broken connection may have left a command that empties the last one.
            new, _ = self._remote.stage(f"{self._fence}/{LINKS_FILE}{next(self._numbers)}", table)
            problem = self._remote.replace(new, _PATH)
        else:
            self._remote.write(_SPARE, table)
            self._remote.remove_files([_PATH])
            (problem,) = self._remote.rename([(_SPARE, _PATH)])
        if problem is not None:
            raise HubError(f"the hub's {_PATH} can't be replaced: {problem.detail or problem.reason}")

    def make_real(self) -> None:
        """Make every link that the table holds a real one. Under the lock, for a directory that holds links itself."""
        self._make_sure()
        wanted = [(path, target) for path, target in self._links.items() if not path.startswith(f"{LOCK_DIR}/")]
        for (path, _), problem in zip(wanted, self._remote.make_links(wanted), strict=True):
            if problem is None or problem.reason in (Reason.EXISTS, Reason.ABSENT):
                del self._links[path]
        if wanted:
            self._save()

    def noted(self) -> list[Found]:
        """The links that the table holds, but for those to which somebody has put an end."""
        self._make_sure()
        links = [path for path in self._links if not path.startswith(f"{LOCK_DIR}/")]
        return [found for found in self.stat(links) if isinstance(found, Found) and found.path in self._links]

    def _found(self, path: str) -> Found:
        return _shown(Found(path, Stamp(Kind.LINK), None, self._links[path]))

    @property
    def traits(self) -> Traits:
        return self._remote.traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        self._make_sure()
        inside: dict[str, list[str]] = {}
        deeper: dict[str, dict[str, list[str]]] = {}
        for path in self._links:
            inside.setdefault(parent(path), []).append(path)
            for up in ancestors(path):
                deeper.setdefault(parent(up), {}).setdefault(up, []).append(path)
        for listing in self._remote.listings(directories):
            entries = tuple(_shown(found) if found.kind is Kind.LINK else found for found in listing.entries)
            listed, further = inside.get(listing.directory, ()), deeper.get(listing.directory, {})
            if listing.problem is None and (listed or further):
                lies = {found.path: found for found in entries}
                self._doubt(path for path in listed if path in lies)
                self._doubt(
                    path
                    for up, links in further.items()
                    if _is_no_directory(lies.get(up)) and not (self.traits.hides_dots and basename(up).startswith("."))
                    for path in links
                )
                entries += tuple(self._found(path) for path in listed if path not in lies)
            yield replace(listing, entries=entries)

    def _doubt(self, paths: Iterable[str]) -> None:
        self._doubted.update((path, self._links[path]) for path in paths)

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        return self._looked(paths, lambda asked: self._remote.stat(asked) if asked else [])

    def _looked(self, paths: Sequence[str], look: Callable[[Sequence[str]], Outcomes]) -> Outcomes:
        """What lies at `paths`, where `look` tells what really lies there."""
        asked = [*paths, *self._above(paths)]
        own = [_PATH, _SPARE] if self._stale else []
        found = look([*asked, *own])
        known = dict(zip(asked, found[: len(asked)], strict=True))
        if own:
            self._renew(exists=any(lying is not None for lying in found[len(asked) :]))
            more = [up for up in self._above(paths) if up not in known]
            known.update(zip(more, self._remote.stat(more) if more else [], strict=True))
        return [self._seen(path, known) for path in paths]

    def _above(self, paths: Iterable[str]) -> list[str]:
        """The directories of those paths at which links are noted: a link has gone with its directory."""
        return list(dict.fromkeys(parent(path) for path in paths if path in self._links and parent(path)))

    def _seen(self, path: str, known: dict[str, Found | Problem | None]) -> Found | Problem | None:
        now = known[path]
        if isinstance(now, Found):
            return _shown(now)
        if path not in self._links or _taken(path, now) is not None:
            return now
        above = known[parent(path)] if parent(path) else None
        if parent(path) and _is_no_directory(above):
            return now
        if isinstance(above, Problem) and above.reason is not Reason.NAME:
            return replace(above, path=path)
        return self._found(path)

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if _is_of_states(pairs):
            return self._remote.rename(pairs)
        self._make_sure()
        self._know_fence(pairs)
        problems: list[Problem | None] = []
        real: list[tuple[str, str]] = []
        vacancies = self._vacancies(pairs)
        changed = False
        touched: set[str] = set()

        def flush() -> None:
            if real:
                problems.extend(self._remote.rename(real))
                real.clear()

        for old, new in pairs:
            if old in self._links:
                flush()
                if new in touched:
                    (lying,) = self._remote.stat([new])
                    vacancies[new] = _taken(new, lying)
                problem = _occupied(new) if new in self._links else vacancies[new]
                if problem is None:
                    self._links[new] = self._links.pop(old)
                    changed = True
                problems.append(problem)
                continue
            real.append((old, new))
            touched.update((old, new))
        flush()
        if any(parent(old) == LOCK_DIR == parent(new) for old, new in pairs):
            self._stale = True  # whose lock is taken away may have noted something since the table was read
            self._make_sure()
        for (old, new), problem in zip(pairs, problems, strict=True):
            if problem is None:
                self._fence = new if old == self._fence else self._fence
                changed = self._follow(old, new) or changed
        if changed:
            self._save()
        return problems

    def _know_fence(self, pairs: Sequence[tuple[str, str]]) -> None:
        for old, new in pairs:
            if new == LOCK_DIR:
                self._fence = join(LOCK_DIR, basename(old))
                continue
            inside = [path for path in (new, old) if path.startswith(f"{LOCK_DIR}/")]
            if inside:
                self._fence = "/".join(inside[0].split("/")[:2])

    def _vacancies(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Problem | None]:
        """Why the noted links among `pairs` can't have their new names, None where they can."""
        noted = set(self._links)
        moves: list[tuple[str, str]] = []
        for old, new in pairs:
            if old in noted:
                noted.discard(old)
                noted.add(new)
                moves.append((old, new))
        above = {parent(path) for move in moves for path in move if parent(path)}
        asked = [*(new for _, new in moves), *sorted(above)]
        known = dict(zip(asked, self._remote.stat(asked) if asked else [], strict=True))
        return {
            new: _taken(new, known[new])
            or next((_gone(up) for up in (parent(old), parent(new)) if up and _is_no_directory(known[up])), None)
            for old, new in moves
        }

    def _follow(self, old: str, new: str) -> bool:
        """Links below a directory that was renamed go with it."""
        below = [path for path in self._links if path.startswith(old + "/")]
        for path in below:
            self._links[new + path[len(old) :]] = self._links.pop(path)
        return bool(below)

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        self._make_sure()
        problems: list[Problem | None] = [_occupied(path) if path in self._links else None for path, _ in links]
        wanted = [number for number, problem in enumerate(problems) if problem is None]
        if self.traits.links:
            for number, problem in zip(wanted, self._remote.make_links([links[n] for n in wanted]), strict=True):
                problems[number] = problem
            wanted = [n for n in wanted if (problem := problems[n]) is not None and problem.reason is Reason.KIND]
        if wanted:
            self._note(links, wanted, problems)
        return problems

    def _note(self, links: Sequence[tuple[str, str]], wanted: Sequence[int], problems: list[Problem | None]) -> None:
        """Take those links into the table that the hub itself can't hold."""
        self._know_fence([links[number] for number in wanted])
        for number, lying in zip(wanted, self._remote.stat([links[n][0] for n in wanted]), strict=True):
            path, target = links[number]
            problems[number] = _taken(path, lying)
            if problems[number] is None:
                self._links[path] = target
        # Those on their way need not be known to others.
        if any(problems[n] is None and not links[n][0].startswith(f"{LOCK_DIR}/") for n in wanted):
            self._save()

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        self._make_sure()
        real = [path for path in paths if path not in self._links]
        problems = dict(zip(real, self._remote.remove_files(real), strict=True)) if real else {}
        # The trash is looked through without a lock: what goes from there is forgotten with its folder.
        links = [path for path in paths if path in self._links and not _is_trash(path)]
        for path in links:
            del self._links[path]
        if links:
            self._save()
        return [problems.get(path) for path in paths]

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        self._make_sure()
        full = {up for link in self._links if not _is_trash(link) for up in ancestors(link)}.intersection(paths)
        real = [path for path in paths if path not in full]
        problems = dict(zip(real, self._remote.remove_directories(real), strict=True)) if real else {}
        return [
            Problem(path, Reason.NOT_EMPTY, "a symbolic link lies in it") if path in full else problems[path]
            for path in paths
        ]

    def together(self, requests: Sequence[Request]) -> list[Outcomes]:
        if not requests:
            return []
        *before, last = requests
        if isinstance(last, Stat) and all(isinstance(one, Rename) and _is_of_states(one.pairs) for one in before):
            outcomes: list[Outcomes] = []

            def look(asked: Sequence[str]) -> Outcomes:
                *others, found = self._remote.together([*before, replace(last, paths=asked)])
                outcomes.extend(others)
                return found

            looks = self._looked(last.paths, look)
            return [*outcomes, looks]
        if self._links or self._stale:
            return super().together(requests)
        for request in requests:
            if isinstance(request, Rename):
                self._know_fence(request.pairs)
        return [
            [_shown(found) if isinstance(found, Found) else found for found in outcomes]
            for outcomes in self._remote.together(requests)
        ]

    def unstorable(self, paths: Sequence[str]) -> list[Problem | None]:
        return self._remote.unstorable(paths)

    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        return self._remote.fetch(jobs, progress)

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        return self._remote.store(jobs, progress)

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        if all(is_reserved(path) for path in paths):
            return self._remote.make_directories(paths, mode)
        self._make_sure()
        free = [path for path in paths if path not in self._links]
        problems = dict(zip(free, self._remote.make_directories(free, mode), strict=True))
        return [problems[path] if path in problems else _occupied(path) for path in paths]

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        return self._remote.set_attributes(jobs)

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        return self._remote.read(path, offset, limit)

    def write(self, path: str, data: bytes) -> None:
        self._remote.write(path, data)

    def append(self, path: str, data: bytes) -> None:
        self._remote.append(path, data)

    def look_and_write(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        return self._looked(paths, lambda asked: self._remote.look_and_write(asked, path, data))

    def look_and_append(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        return self._looked(paths, lambda asked: self._remote.look_and_append(asked, path, data))

    def close(self) -> None:
        self._remote.close()


def with_noted(remote: Remote, directory: Path) -> LinkTable:
    """`remote`, which is that directory on this computer, with the links that nodes noted there whose hub it is."""
    return LinkTable(remote, exists=any((directory / path).exists() for path in (_PATH, _SPARE)))


def _table(data: bytes) -> dict[str, str]:
    """What a table says. Raises StateDamaged."""
    try:
        table = msgpack.unpackb(data, unicode_errors="surrogateescape")
        if not all(isinstance(p, str) and isinstance(t, str) and is_safe(p) for p, t in table.items()):
            raise ValueError
    except (ValueError, AttributeError, msgpack.UnpackException) as error:
        raise StateDamaged(
            f"the hub's {_PATH} is damaged; remove it, and the next run of each node puts its links there again"
        ) from error
    return dict(table)


def _is_of_states(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether only states take their places; no links lie among them."""
    return all(new.startswith(f"{STATE_DIR}/") for _, new in pairs)


def _shown(found: Found) -> Found:
    """A link, whoever shows it: as large as its target is long. One whose target the server does not tell can neither
    be kept elsewhere nor compared."""
    if found.kind is not Kind.LINK:
        return found
    if found.target is None:
        return replace(found, stamp=replace(found.stamp, kind=Kind.OTHER))
    return replace(found, stamp=replace(found.stamp, size=len(found.target.encode("utf-8", "surrogateescape"))))


def _is_trash(path: str) -> bool:
    return path.startswith(f"{TRASH_DIR}/")


def _taken(path: str, lying: Found | Problem | None) -> Problem | None:
    """Why no link can be noted at `path`. A name that the server can't hold is nobody's, and the table holds it."""
    if isinstance(lying, Found):
        return _occupied(path)
    return None if lying is None or lying.reason is Reason.NAME else lying


def _occupied(path: str) -> Problem:
    return Problem(path, Reason.EXISTS, "something lies there already")


def _gone(directory: str) -> Problem:
    return Problem(directory, Reason.ABSENT, "there is no such directory")


def _is_no_directory(lying: Found | Problem | None) -> bool:
    """Whether there is certainly no directory, in which a link could lie."""
    return not isinstance(lying, Problem) and (lying is None or lying.kind is not Kind.DIRECTORY)
