"""The connections of one remote, opened as they are needed."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from symsync.remotes.ftp.errors import NoRoom
from symsync.remotes.ftp.session import Session
from symsync_protocol.errors import HubError, HubUnreachable


class Pool:
    """The sessions of one remote: at most `limit` at once, fewer where the server has no room for so many."""

    def __init__(self, open_session: Callable[[], Session], limit: int) -> None:
        self._open = open_session
        self._changed = threading.Condition()
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._opening = 0
        self._closed = False
        self.limit = max(1, limit)

    def take(self) -> Session:
        """A session of one's own, opened where none is at hand; waits where no more can be. To be given back.

        Raises what opening raises, but goes on with the sessions there are when the server has no room for another.
        """
        while True:
            session = self._idle_one()
            if session is None:
                session = self._new_one()
                if session is not None:
                    return session
            elif session.usable():
                return session
            else:
                self.give_back(session)

    def _idle_one(self) -> Session | None:
        """One that rests, or None as a permission to open another, counted in `_opening`."""
        with self._changed:
            while not self._idle and len(self._busy) + self._opening >= self.limit:
                self._changed.wait()
            if self._closed:
                raise HubUnreachable("the connection to the hub was closed")
            if self._idle:
                session = self._idle.pop()
                self._busy.add(session)
                return session
            self._opening += 1
            return None

    def _new_one(self) -> Session | None:
        session = None
        try:
            session = self._open()
        except (NoRoom, HubUnreachable):
            with self._changed:
                others = len(self._busy) + len(self._idle)
                if not others:
                    raise
                self.limit = others
        finally:
            with self._changed:
                self._opening -= 1
                if session is not None:
                    self._busy.add(session)
                self._changed.notify_all()
        return session

    def give_back(self, session: Session) -> None:
        """Done with it; one that broke is dropped."""
        with self._changed:
            self._busy.discard(session)
            keep = session.control.alive and not self._closed
            if keep:
                session.rest()
                self._idle.append(session)
            self._changed.notify_all()
        if not keep:
            session.close()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session for one block, which leaves no reply unread unless an error that is no HubError ends it."""
        session = self.take()
        try:
            yield session
        except HubError:
            raise
        except BaseException:
            session.close()  # interrupted in the middle of an exchange: out of step
            raise
        finally:
            self.give_back(session)

    def close(self) -> None:
        """Close all sessions, those in use too."""
        with self._changed:
            self._closed = True
            sessions = [*self._idle, *self._busy]
            self._idle.clear()
            self._changed.notify_all()
        for session in sessions:
            session.close()
