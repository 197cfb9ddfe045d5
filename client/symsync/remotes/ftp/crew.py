"""Many jobs over many connections: threads that work a stream of jobs off."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from symsync.remotes.ftp.errors import ConnectionLost
from symsync.remotes.ftp.pool import Pool
from symsync.remotes.ftp.session import Session

J = TypeVar("J")
R = TypeVar("R")

_LOOKAHEAD = 8
"""Jobs drawn ahead for each connection, so that none has to wait for the one who draws."""

_GLANCE_SECONDS = 0.1
"""How often it is looked at again whether a worker that is waited for has a session."""

_ATTEMPTS = 5
"""How often a job is tried whose connection broke: a busy server may drop several in a row (vsftpd's 500 OOPS)."""


class Desk(Generic[J, R]):
    """Where one worker takes its jobs from and puts its outcomes."""

    def __init__(self, crew: "_Crew[J, R]") -> None:
        self._crew = crew
        self._in_hand: deque[tuple[J, int]] = deque()

    def take(self) -> J | None:
        """The next job, None when none is at hand."""
        ticket = self._crew.next_ticket()
        if ticket is None:
            return None
        self._in_hand.append(ticket)
        return ticket[0]

    def done(self, outcome: R) -> None:
        """The outcome of the job that was taken first of those still in hand."""
        self._in_hand.popleft()
        self._crew.outcomes.put(outcome)

    def drop(self, error: ConnectionLost) -> None:
        """The connection broke: give back what is in hand; the first of it was under way and counts as tried."""
        for position, (job, attempts) in reversed(list(enumerate(self._in_hand))):
            if position:
                self._crew.give_back(job, attempts, error)
            else:
                self._crew.give_back(self._crew.again(job), attempts + 1, error)
        self._in_hand.clear()


class _Failed:
    """Put among the outcomes by a worker that could not go on."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Crew(Generic[J, R]):
    def __init__(
        self,
        pool: Pool,
        work: Callable[[Session, Desk[J, R]], None],
        lost: Callable[[J, ConnectionLost], R],
        again: Callable[[J], J],
    ) -> None:
        self._pool = pool
        self._work = work
        self._lost = lost
        self.again = again
        self._changed = threading.Condition()
        self._tickets: deque[tuple[J, int]] = deque()
        self._sessions: set[Session] = set()
        self._over = False
        self._threads: list[threading.Thread] = []
        self._arriving: set[threading.Thread] = set()
        """Those that have no session yet, and no job: a server may let them wait for long (Pure-FTPd, now and then)."""
        self.outcomes: queue.SimpleQueue[R | _Failed] = queue.SimpleQueue()

    def add(self, job: J, workers: int) -> None:
        """One job more, and a worker more as long as there are fewer than `workers`."""
        with self._changed:
            self._tickets.append((job, 0))
            self._changed.notify()
        if len(self._threads) < workers:
            thread = threading.Thread(target=self._worker, name="ftp", daemon=True)
            thread.start()
            self._threads.append(thread)  # only now: one that never began can't be waited for

    def end(self, abort: bool) -> None:
        """Send all workers home; with `abort`, in the middle of what they do."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
            sessions = list(self._sessions) if abort else []
        for session in sessions:
            session.close()
        for thread in self._threads:
            # Once it arrives, it goes home by itself.
            while thread not in self._arriving and thread.is_alive():
                thread.join(_GLANCE_SECONDS)

    def next_ticket(self) -> tuple[J, int] | None:
        with self._changed:
            return self._tickets.popleft() if self._tickets and not self._over else None

    def give_back(self, job: J, attempts: int, error: ConnectionLost) -> None:
        if attempts >= _ATTEMPTS:
            self.outcomes.put(self._lost(job, error))
            return
        with self._changed:
            self._tickets.appendleft((job, attempts))
            self._changed.notify()

    def _worker(self) -> None:
        """A thread's whole life: it has a session only while there are jobs, for others may need one."""
        try:
            while self._wait_for_jobs():
                self._one_session()
        # Whatever it is, it is raised again where the outcomes are read: a thread has nobody to raise it to.
        except BaseException as error:
            self.outcomes.put(_Failed(error))

    def _wait_for_jobs(self) -> bool:
        with self._changed:
            while not self._tickets and not self._over:
                self._changed.wait()
            return not self._over

    def _one_session(self) -> None:
        """Work until no job is at hand or the connection breaks."""
        desk: Desk[J, R] = Desk(self)
        me = threading.current_thread()
        self._arriving.add(me)
        try:
            with self._pool.session() as session:
                with self._changed:
                    self._sessions.add(session)
                self._arriving.discard(me)
                try:
                    self._work(session, desk)
                finally:
                    with self._changed:
                        self._sessions.discard(session)
        except ConnectionLost as error:
            if not self._over:
                desk.drop(error)
        finally:
            self._arriving.discard(me)


def _as_it_is(job: J) -> J:
    return job


def work_off(
    pool: Pool,
    jobs: Iterable[J],
    work: Callable[[Session, Desk[J, R]], None],
    lost: Callable[[J, ConnectionLost], R],
    again: Callable[[J], J] = _as_it_is,
) -> Iterator[R]:
    """Have `work` done on all jobs by as many connections as they are worth; the outcomes as they come.

    `work` runs in threads, each with a session of its own, and takes jobs from its desk until that gives None. It lets
    ConnectionLost pass: its current job is then tried once more on another connection, as `again(job)`; after some
    tries its outcome is `lost(job, error)`. Jobs are drawn in the caller's thread. Raises when no connection can be
    opened any more.
    """
    crew = _Crew(pool, work, lost, again)
    source = iter(jobs)
    drained = False
    under_way = 0
    try:
        while True:
            while not drained and under_way < pool.limit * _LOOKAHEAD:
                try:
                    job = next(source)
                except StopIteration:
                    drained = True
                    break
                under_way += 1
                crew.add(job, min(pool.limit, under_way))
            if not under_way:
                break
            outcome = crew.outcomes.get()
            if isinstance(outcome, _Failed):
                raise outcome.error
            under_way -= 1
            yield outcome
    except BaseException:
        crew.end(abort=True)
        raise
    crew.end(abort=False)
