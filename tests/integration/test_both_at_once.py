"""The two sides of a pair run at the same time, each as the node of the other: one of them waits, and plans anew."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from symsync import session
from symsync.events import Audience, Phase
from symsync.execute import Execution
from symsync.remotes.location import Location, Protocol
from symsync.settings import Settings
from symsync.statestore import Question

PATIENCE = 60.0
"""Seconds after which a thread that is waited for hangs."""


class Waiting(Audience):
    """Sets `waits` once its run waits for another one."""

    def __init__(self) -> None:
        self.waits = threading.Event()

    def phase(self, phase: Phase, detail: str = "") -> None:
        if phase is Phase.WAITING and detail:
            self.waits.set()


def settings(directory: Path, hub: Path) -> Settings:
    return Settings(directory, directory.name, Location(Protocol.FILE, directory=str(hub)))


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.startswith(".sync")}


@pytest.mark.parametrize(("first", "second"), [("paris", "oslo"), ("oslo", "paris")])
def test_one_waits_and_plans_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str) -> None:
    """Whoever comes second does so after the other's record and finds what that did; there is no conflict."""
    one, other = tmp_path / first, tmp_path / second
    one.mkdir()
    other.mkdir()
    session.run(settings(one, other), Audience())
    session.run(settings(other, one), Audience())
    (one / "first").write_bytes(b"1")
    (other / "second").write_bytes(b"2")
    (other / "both").write_bytes(b"3")

    under_the_locks, late = threading.Event(), Waiting()
    true_apply = Execution.apply

    def apply(execution: Execution, also: Sequence[Question] = ()) -> None:
        if not under_the_locks.is_set():
            under_the_locks.set()
            assert late.waits.wait(PATIENCE)
        true_apply(execution, also)

    monkeypatch.setattr(Execution, "apply", apply)
    with ThreadPoolExecutor(2) as pool:
        early_run = pool.submit(session.run, settings(one, other), Audience())
        assert under_the_locks.wait(PATIENCE)
        late_run = pool.submit(session.run, settings(other, one), late)
        early, later = early_run.result(PATIENCE), late_run.result(PATIENCE)
    assert (3, 0) == (len(early.outcomes), len(later.outcomes))
    assert not early.conflicts
    assert {"first": b"1", "second": b"2", "both": b"3"} == files(one) == files(other)
    assert not session.run(settings(one, other), Audience()).outcomes
    assert not session.run(settings(other, one), Audience()).outcomes
