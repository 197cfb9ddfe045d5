"""The SFTP remote: everything in this package behind the one interface."""

import contextlib
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from symsync.core.values import Listing, Problem
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
from symsync.remotes.location import Location
from symsync.remotes.sftp import changes, look, small
from symsync.remotes.sftp.connection import Gate, Link
from symsync.remotes.sftp.crew import work_off
from symsync.remotes.sftp.errors import ConnectionLost, RefusedError
from symsync.remotes.sftp.fetch import fetch, lost_fetch
from symsync.remotes.sftp.line import Task, Work
from symsync.remotes.sftp.session import Manners, Session
from symsync.remotes.sftp.store import lost_store, store
from symsync.remotes.sftp.wire import Code
from symsync_protocol.errors import HubRefused, HubUnreachable
from symsync_protocol.names import shown

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Opening:
    """A file that is being opened, to be appended to soon."""

    path: str
    session: Session
    ended: "queue.SimpleQueue[Task[small.Opened]]" = field(default_factory=queue.SimpleQueue)

    def begin(self) -> None:
        self.session.line.start(small.open_to_append(self.session, self.path, make=False), self.ended.put)

    def result(self) -> small.Opened | None:
        """None where it could not be opened: whoever appends finds out why."""
        try:
            return self.ended.get().result
        except (RefusedError, ConnectionLost):
            return None


class SftpRemote(Remote):
    """A directory on an SSH server. `open` makes one."""

    def __init__(self, location: Location, link: Link, manners: Manners) -> None:
        self._location = location
        self._link = link
        self._manners = manners
        self._append_expected: str | None = None
        self._opening: _Opening | None = None

    @classmethod
    def open(
        cls, location: Location, conversation: Callable[[str], None] | None = None, *, create: bool = False
    ) -> "SftpRemote":
        """Connect and log in. With `create` a missing `location.directory` is made.

        Raises HubUnreachable, HubRefused.
        """
        gate = Gate(location, conversation)
        return cls(location, Link(gate, gate.open(create=create)), gate.manners)

    @property
    def traits(self) -> Traits:
        return self._manners.traits

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        return work_off(
            self._link.session,
            directories,
            lambda session, directory, _again: look.listing(session, directory),
            look.lost_listing,
        )

    def stat(self, paths: Sequence[str]) -> list[look.Look]:
        return self._twice(lambda session: look.stat(session, paths))

    def fetch(
        self, jobs: Iterable[Fetch], progress: Progress = no_progress
    ) -> Iterator[Fetched | tuple[Fetch, Problem]]:
        arrived: dict[Fetch, int] = {}
        return work_off(
            self._link.session, jobs, lambda session, job, _again: fetch(session, job, arrived, progress), lost_fetch
        )

    def store(
        self, jobs: Iterable[Store], progress: Progress = no_progress
    ) -> Iterator[Stored | tuple[Store, Problem]]:
        return work_off(
            self._link.session, jobs, lambda session, job, again: store(session, job, progress, again=again), lost_store
        )

    def expect_write(self, append_to: str | None = None) -> None:
        self._append_expected = append_to

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        problems = self._before_append(lambda session: changes.rename(session, pairs))
        if any(problems):
            self._close_opened()
        return problems

    def make_directories(self, paths: Sequence[str], mode: int | None = None) -> list[Problem | None]:
        return self._once(lambda session: changes.make_directories(session, paths, mode))

    def together(self, requests: Sequence[Request]) -> list[Outcomes]:
        results = self._before_append(lambda session: changes.together(session, requests))
        if any(isinstance(outcome, Problem) for outcomes in results for outcome in outcomes):
            self._close_opened()
        return results

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return self._once(lambda session: changes.make_links(session, links))

    def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
        return self._once(lambda session: changes.remove_files(session, paths))

    def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
        return self._once(lambda session: changes.remove_directories(session, paths))

    def set_attributes(self, jobs: Sequence[Attributes]) -> list[Problem | None]:
        # Setting the same once more does no harm.
        return self._twice(lambda session: changes.set_attributes(session, jobs))

    def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
        try:
            return self._twice(lambda session: small.read(session, path, offset, limit))
        except RefusedError as refusal:
            raise self._refused(path, "read", refusal) from refusal

    def write(self, path: str, data: bytes) -> None:
        try:
            self.look_and_write((), path, data)
        except ConnectionLost:
            self.look_and_write((), path, data)

    def look_and_write(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        self._close_opened()  # it may be about to be replaced
        try:
            looks, size = self._once(
                lambda session: look.stat_before(session, paths, lambda: small.write(session, path, data))
            )
        except RefusedError as refusal:
            raise self._refused(path, "written", refusal) from refusal
        if size != len(data):
            raise self._wrong_size(path, size, len(data))
        return looks

    def append(self, path: str, data: bytes) -> None:
        self.look_and_append((), path, data)

    def look_and_append(self, paths: Sequence[str], path: str, data: bytes) -> Outcomes:
        try:
            session = self._link.session()
            opened = self._take_opened(path, session)
            looks, (before, after) = session.line.run(
                look.stat_before(session, paths, lambda: small.append(session, path, data, opened))
            )
        except RefusedError as refusal:
            if refusal.status.code == Code.OP_UNSUPPORTED:
                self._manners.appends = False
            raise self._refused(path, "appended to", refusal) from refusal
        # Others may have appended more.
        if after < before + len(data):
            raise self._wrong_size(path, after, before + len(data))
        return looks

    def close(self) -> None:
        self._link.close()

    def _before_append(self, act: Callable[[Session], Work[R]]) -> R:
        """Do something; what is to be appended to soon is opened in the same breath."""
        path, self._append_expected = self._append_expected, None
        session = self._link.session()
        ended: queue.SimpleQueue[Task[R]] = queue.SimpleQueue()
        session.line.start(act(session), ended.put)
        if path is not None:
            self._close_opened()
            self._opening = _Opening(path, session)
            self._opening.begin()
        return ended.get().result

    def _take_opened(self, path: str, session: Session) -> small.Opened | None:
        """The file at `path`, if it was opened in advance and still is."""
        if self._opening is None or self._opening.path != path or self._opening.session is not session:
            self._close_opened()
            return None
        opening, self._opening = self._opening, None
        return opening.result()

    def _close_opened(self) -> None:
        """Nothing is to be appended to what was opened in advance."""
        opening, self._opening = self._opening, None
        opened = opening.result() if opening is not None else None
        if opening is not None and opened is not None:
            with contextlib.suppress(ConnectionLost):
                opening.session.line.run(small.close(opening.session, opened))

    def _once(self, act: Callable[[Session], Work[R]]) -> R:
        session = self._link.session()
        return session.line.run(act(session))

    def _twice(self, act: Callable[[Session], Work[R]]) -> R:
        """Do what can be done twice: once more over a new connection where the first broke."""
        try:
            return self._once(act)
        except ConnectionLost:
            return self._once(act)

    def _wrong_size(self, path: str, size: int, expected: int) -> HubUnreachable:
        return HubUnreachable(
            f"{self._location.shown}: {shown(path)} has {size} bytes instead of {expected}; run it again"
        )

    def _refused(self, path: str, what: str, refusal: RefusedError) -> HubRefused:
        return HubRefused(
            f"{self._location.shown}: {shown(path)} can't be {what} ({refusal}); "
            f"check what {self._location.login} may do there"
        )
