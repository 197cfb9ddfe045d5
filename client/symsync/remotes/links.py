"""Symbolic links on a hub that can't hold any: a table in `.sync.state/_links`, shown as if the links lay there.

    {path: target}, msgpack, written anew under the lock whenever it changes

It wraps a remote, so that nobody else needs to know which hubs hold links.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgpack

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.remotes.base import (
    Attributes,
    Fetch,
    Fetched,
    Progress,
    Remote,
    Store,
    Stored,
    Traits,
    no_progress,
)
from symsync_protocol.errors import HubError, StateDamaged
from symsync_protocol.names import LINKS_FILE, LOCK_DIR, STATE_DIR, is_safe, parent
from symsync_protocol.stamps import Kind, Stamp

_PATH = f"{STATE_DIR}/{LINKS_FILE}"
_LIMIT = 1 << 26
"""Bytes of a table that are believed."""


class LinkTable(Remote):
    """A remote whose hub holds no links, with the links that nodes put there all the same."""

    def __init__(self, remote: Remote, *, exists: bool) -> None:
        """`exists`: whether the hub has a table already. Raises StateDamaged where it is not what symsync wrote."""
        self._remote = remote
        self._links = self._load() if exists else {}
        self._covered: set[str] = set()
        """Links at whose names somebody has put something else since."""
        self._stale = False
        """Whether others may have changed the table since it was read."""

    def _load(self) -> dict[str, str]:
        data = self._remote.read(_PATH, limit=_LIMIT) or b"\x80"
        try:
            table = msgpack.unpackb(data, unicode_errors="surrogateescape")
            if not all(isinstance(p, str) and isinstance(t, str) and is_safe(p) for p, t in table.items()):
                raise ValueError
        except (ValueError, AttributeError, msgpack.UnpackException) as error:
            raise StateDamaged(
                f"the hub's {_PATH} is damaged; remove it, and the next run of each node puts its links there again"
            ) from error
        return dict(table)

    def refresh(self) -> None:
        self._stale = True
        self._remote.refresh()

    def expect_write(self) -> None:
        self._remote.expect_write()

    def _renew(self, lying: Found | Problem | None) -> None:
        """Read the table again, of which it was just asked whether it is there: trying to read it takes longer."""
        self._stale = False
        self._links = {} if lying is None else self._load()
        covered = self._covered & self._links.keys()
        if covered:
            for path in covered:
                del self._links[path]
            self._save()

    def _make_sure(self) -> None:
        if self._stale:
            self.stat([])

    def _save(self) -> None:
        new = f"{_PATH}.new"
        self._remote.write(new, msgpack.packb(self._links, unicode_errors="surrogateescape"))
        (problem,) = self._remote.rename([(new, _PATH)])
        if problem is not None and problem.reason is Reason.EXISTS:
            self._remote.remove_files([_PATH])
            (problem,) = self._remote.rename([(new, _PATH)])
        if problem is not None:
            raise HubError(f"the hub's {_PATH} can't be replaced: {problem.detail}")

    def _found(self, path: str) -> Found:
        target = self._links[path]
        return Found(path, Stamp(Kind.LINK, len(target.encode("utf-8", "surrogateescape"))), None, target)

    @property
    def traits(self) -> Traits:
        return self._remote.traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        self._make_sure()
        inside: dict[str, list[str]] = {}
        for path in self._links:
            inside.setdefault(parent(path), []).append(path)
        for listing in self._remote.listings(directories):
            present = {found.path for found in listing.entries}
            listed = inside.get(listing.directory, ())
            self._covered.update(path for path in listed if path in present)
            links = [self._found(path) for path in listed if path not in present]
            if links and listing.problem is None:
                yield Listing(listing.directory, (*listing.entries, *links))
            else:
                yield listing

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        found = self._remote.stat([*paths, _PATH] if self._stale else paths)
        if self._stale:
            self._renew(found.pop())
        return [
            self._found(path) if path in self._links and _taken(path, now) is None else now
            for path, now in zip(paths, found, strict=True)
        ]

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        self._make_sure()
        problems: list[Problem | None] = []
        real: list[tuple[str, str]] = []
        changed = False

        def flush() -> None:
            if real:
                problems.extend(self._remote.rename(real))
                real.clear()

        for old, new in pairs:
            if old in self._links:
                flush()
                (lying,) = self.stat([new])
                if (taken := _taken(new, lying)) is not None:
                    problems.append(taken)
                    continue
                self._links[new] = self._links.pop(old)
                problems.append(None)
                changed = True
                continue
            real.append((old, new))
        flush()
        for (old, new), problem in zip(pairs, problems, strict=True):
            if problem is None:
                changed = self._follow(old, new) or changed
        if changed:
            self._save()
        return problems

    def _follow(self, old: str, new: str) -> bool:
        """Links below a directory that was renamed go with it."""
        below = [path for path in self._links if path.startswith(old + "/")]
        for path in below:
            self._links[new + path[len(old) :]] = self._links.pop(path)
        return bool(below)

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        problems: list[Problem | None] = []
        for (path, target), lying in zip(links, self.stat([path for path, _ in links]), strict=True):
            if (taken := _taken(path, lying)) is not None:
                problems.append(taken)
                continue
            self._links[path] = target
            problems.append(None)
        if any(problem is None for problem in problems) and not all(p.startswith(LOCK_DIR) for p, _ in links):
            self._save()
        return problems

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        self._make_sure()
        real = [path for path in paths if path not in self._links]
        problems = dict(zip(real, self._remote.remove_files(real), strict=True)) if real else {}
        links = [path for path in paths if path in self._links]
        for path in links:
            del self._links[path]
        if links:
            self._save()
        return [problems.get(path) for path in paths]

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        self._make_sure()
        full = {path for path in paths if any(link.startswith(path + "/") for link in self._links)}
        real = [path for path in paths if path not in full]
        problems = dict(zip(real, self._remote.remove_directories(real), strict=True)) if real else {}
        return [
            Problem(path, Reason.NOT_EMPTY, "a symbolic link lies in it") if path in full else problems[path]
            for path in paths
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
        return self._remote.make_directories(paths, mode)

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        return self._remote.set_attributes(jobs)

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        return self._remote.read(path, offset, limit)

    def write(self, path: str, data: bytes) -> None:
        self._remote.write(path, data)

    def append(self, path: str, data: bytes) -> None:
        self._remote.append(path, data)

    def close(self) -> None:
        self._remote.close()


def _taken(path: str, lying: Found | Problem | None) -> Problem | None:
    """Why no link can be noted at `path`. A name that the server can't hold is nobody's, and the table holds it."""
    if isinstance(lying, Found):
        return Problem(path, Reason.EXISTS, "something lies there already")
    return None if lying is None or lying.reason is Reason.NAME else lying
