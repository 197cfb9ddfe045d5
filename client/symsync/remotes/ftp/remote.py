"""The FTP remote: everything in this package behind the one interface."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from symsync.core.values import Listing, Problem, Reason
from symsync.remotes.base import (
    Attributes,
    Fetch,
    Fetched,
    Outcomes,
    Progress,
    Remote,
    Request,
    Store,
    Stored,
    Traits,
    no_progress,
)
from symsync.remotes.ftp import attributes, changes, look, ways
from symsync.remotes.ftp.crew import work_off
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync.remotes.ftp.fetch import fetcher, lost_fetch, read_bytes
from symsync.remotes.ftp.manners import Manners, Way
from symsync.remotes.ftp.names import Names
from symsync.remotes.ftp.pool import Pool
from symsync.remotes.ftp.replies import size
from symsync.remotes.ftp.session import Gate, Session
from symsync.remotes.ftp.store import lost_store, once_more, store_bytes, storer
from symsync.remotes.location import Location
from symsync.remotes.throttle import Throttle
from symsync_protocol.errors import HubRefused, HubUnreachable
from symsync_protocol.names import shown

T = TypeVar("T")


class FtpRemote(Remote):
    """A directory on an FTP server, plain (RFC 959) or encrypted (RFC 4217). `open` makes one."""

    def __init__(self, location: Location, pool: Pool, manners: Manners) -> None:
        self._location = location
        self._pool = pool
        self._manners = manners
        self._names = Names(ways.list_one)
        self._expects_write = False

    @classmethod
    def open(
        cls,
        location: Location,
        conversation: Callable[[str], None] | None = None,
        *,
        create: bool = False,
        way: Way | None = None,
    ) -> "FtpRemote":
        """Connect and log in. With `create` a missing `location.directory` is made. `way` forces how directories are
        listed, which is else found by trying. Raises HubUnreachable, HubRefused."""
        manners = Manners(way)
        gate = Gate(location, manners, Throttle(location.bandwidth), conversation, create)
        pool = Pool(gate.open, location.connections)
        remote = cls(location, pool, manners)
        try:
            remote._find_way()
        except BaseException:
            remote.close()
            raise
        return remote

    def _find_way(self) -> None:
        """Learn how to list; a try that breaks the connection, as some firewalls make it, is not made again."""
        while True:
            try:
                with self._pool.session() as session:
                    return ways.find_way(session)
            except ConnectionLost:
                if not self._manners.ways_left:
                    raise

    @property
    def traits(self) -> Traits:
        return self._manners.traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        return work_off(self._pool, directories, ways.list_jobs, ways.lost_listing)

    def stat(self, paths: Sequence[str]) -> list[look.Look]:
        if len(paths) <= look.PIECE or self._manners.way is not Way.MLSD:  # by STAT each piece would list a directory
            return self._again(lambda session: look.stat(session, paths))
        found: dict[str, look.Look] = {}
        for piece in work_off(self._pool, look.pieces(paths), look.look_jobs, look.lost_looks):
            found.update(piece)
        return [found[path] for path in paths]

    def unstorable(self, paths: Sequence[str]) -> list[Problem | None]:
        def check(session: Session) -> list[Problem | None]:
            problems = self._names.check(session, paths)
            return [problems.get(path) for path in paths]

        return self._again(check)

    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        return work_off(self._pool, jobs, fetcher(progress), lost_fetch)

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        return work_off(self._pool, jobs, storer(self._names, progress), lost_store, once_more)

    def expect_write(self, append_to: str | None = None) -> None:
        del append_to  # any write takes a data connection
        self._expects_write = True

    @contextlib.contextmanager
    def _before_write(self) -> Iterator[Session]:
        """A session that prepares a data connection along with what it is told now, where a write is expected. It is
        the one that the next caller gets, for it was used last."""
        with self._pool.session() as session:
            session.prepares, self._expects_write = self._expects_write, False
            try:
                yield session
            finally:
                session.prepares = False

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        with self._before_write() as session:
            return changes.rename(session, self._names, pairs)

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        with self._before_write() as session:
            return changes.make_directories(session, self._names, paths, mode)

    def together(self, requests: Sequence[Request]) -> list[Outcomes]:
        with self._before_write() as session:
            return changes.together(session, self._names, requests)

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [Problem(path, Reason.KIND, "FTP has no command that makes links") for path, _target in links]

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        with self._pool.session() as session:
            return changes.remove_files(session, paths)

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        with self._before_write() as session:
            return changes.remove_directories(session, paths)

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        # Setting the same once more does no harm, so that a broken connection is no reason to give up.
        return self._again(lambda session: attributes.set_attributes(session, jobs))

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        try:
            return self._again(lambda session: read_bytes(session, path, offset, limit))
        except RefusedError as refusal:
            raise self._refused(path, "read", refusal) from refusal

    def write(self, path: str, data: bytes) -> None:
        try:
            self.look_and_write((), path, data)
        except ConnectionLost:
            self.look_and_write((), path, data)

    def look_and_write(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        if len(paths) > look.PIECE:
            looks = self.stat(paths)
            self.look_and_write((), path, data)
            return looks
        with self._pool.session() as session:
            try:
                looks = look.stat_before(
                    session, paths, lambda commands: store_bytes(session, "STOR", path, data, commands)
                )
            except RefusedError as refusal:
                raise self._refused(path, "written", refusal) from refusal
            self._check_size(session, path, len(data))
            return looks

    def append(self, path: str, data: bytes) -> None:
        self.look_and_append((), path, data)

    def look_and_append(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        if len(paths) > look.PIECE:
            return super().look_and_append(paths, path, data)
        with self._pool.session() as session:
            try:
                return look.stat_before(
                    session, paths, lambda commands: store_bytes(session, "APPE", path, data, commands)
                )
            except RefusedError as refusal:
                # 451: ProFTPD without AllowStoreRestart, which is its default.
                if refusal.reply.unknown_command or refusal.reply.code == 451:
                    self._manners.appends = False
                raise self._refused(path, "appended to", refusal) from refusal

    def close(self) -> None:
        self._pool.close()

    def _again(self, act: Callable[[Session], T]) -> T:
        """Do what can be done twice: once more over a new connection where the first broke."""
        try:
            with self._pool.session() as session:
                return act(session)
        except ConnectionLost:
            with self._pool.session() as session:
                return act(session)

    def _check_size(self, session: Session, path: str, expected: int) -> None:
        """A server's 226 may follow a short file."""
        told = size(session.control.ask(f"SIZE {session.place(path)}"))
        if told != expected:
            raise HubUnreachable(
                f"{self._location.shown}: {shown(path)} has {told} bytes instead of {expected}; run it again"
            )

    def _refused(self, path: str, what: str, refusal: RefusedError) -> HubRefused:
        return HubRefused(
            f"{self._location.shown}: {shown(path)} can't be {what} ({refusal.reply.text}); "
            f"check what {self._location.login} may do there"
        )
