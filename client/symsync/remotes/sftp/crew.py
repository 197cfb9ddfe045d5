"""Many jobs over one connection: drawn as needed, and once more over a new connection where the first broke."""

import queue
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from symsync.remotes.sftp.errors import ConnectionLost
from symsync.remotes.sftp.line import Line, Task, Work
from symsync.remotes.sftp.session import Session

J = TypeVar("J")
R = TypeVar("R")

_ATTEMPTS = 2
"""A job during which the connection broke is done once more."""

Act = Callable[[Session, J, bool], Work[R]]
"""Does one job; true where an earlier attempt was cut off."""


@dataclass(frozen=True, slots=True)
class _Begun(Generic[J]):
    """A job whose task is under way."""

    job: J
    attempt: int
    line: Line


def work_off(session: Callable[[], Session], jobs: Iterable[J], act: Act[J, R], lost: Callable[[J], R]) -> Iterator[R]:
    """Do all jobs, as many at once as the server takes; the outcomes as they come.

    `session` gives a live session, opening one where the last broke, and raises HubError where it can't. The outcome of
    a job over which two connections broke is `lost(job)`. Jobs are drawn in the caller's thread.
    """
    source = iter(jobs)
    drained = False
    ended: queue.SimpleQueue[Task[R]] = queue.SimpleQueue()
    under_way: dict[Task[R], _Begun[J]] = {}

    def begin(job: J, attempt: int) -> None:
        now = session()
        under_way[now.line.start(act(now, job, attempt > 1), ended.put)] = _Begun(job, attempt, now.line)

    try:
        while True:
            while not drained and len(under_way) < session().limits.jobs:
                try:
                    job = next(source)
                except StopIteration:
                    drained = True
                else:
                    begin(job, 1)
            if not under_way:
                return
            task = ended.get()
            begun = under_way.pop(task)
            try:
                outcome = task.result
            except ConnectionLost:
                if begun.attempt < _ATTEMPTS:
                    begin(begun.job, begun.attempt + 1)
                    continue
                outcome = lost(begun.job)
            yield outcome
    finally:
        for task, begun in under_way.items():
            begun.line.cancel(task)
