"""The fence where the connection breaks amid renames: what was uploaded takes its place once, and only once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from symsync.core.values import Found, Problem, Reason
from symsync.events import Audience
from symsync.fence import DISPLACED, EMPTY_AFTER, PATIENCE, STALE_AFTER, Fence, LockLostError
from symsync.remotes.base import Stat, Traits
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync_protocol.errors import HubError, HubLocked
from symsync_protocol.names import LOCK_DIR, TEMPORARY_DIR, TRASH_DIR

RUN = "20261120T120000Z-paris-00000001"


class Breaking(MemoryRemote):
    """Its connection breaks once amid renames: `done` of them were done, and `heard` replies were read."""

    done = heard = 0
    broken = False

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if self.broken or len(pairs) < 3:
            return super().rename(pairs)
        self.broken = True
        outcomes = super().rename(pairs[: self.done])
        lost = [Problem(old, Reason.LOST, "the connection broke") for old, _new in pairs[self.heard :]]
        return outcomes[: self.heard] + lost


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub(lambda: 0)


@pytest.fixture
def remote(hub: MemoryHub) -> Breaking:
    return Breaking(hub)


@pytest.fixture
def fence(remote: Breaking) -> Fence:
    """Three uploads, and the lock."""
    fence = Fence(remote, RUN, Audience())
    fence.prepare("paris", sweep=True)
    for number in range(3):
        remote.write(fence.staged(number), b"%d" % number)
    fence.acquire()
    return fence


def puts(fence: Fence) -> list[tuple[str, str]]:
    return [(fence.held(fence.staged(number)), f"f{number}") for number in range(3)]


@pytest.mark.parametrize(("done", "heard"), [(0, 0), (1, 0), (2, 1), (3, 1), (3, 2)])
def test_puts_go_on_where_the_connection_broke(
    hub: MemoryHub, remote: Breaking, fence: Fence, done: int, heard: int
) -> None:
    """Whatever had been done, and whatever of it had been heard."""
    remote.done, remote.heard = done, heard
    assert [None] * 3 == fence.rename(puts(fence))
    assert [b"0", b"1", b"2"] == [hub.content(f"f{number}") for number in range(3)]


def test_what_was_displaced_stays_in_doubt(hub: MemoryHub, remote: Breaking, fence: Fence) -> None:
    """Its commands may still be before the server: asked for again, they would displace what came since."""
    for number in range(3):
        remote.write(f"f{number}", b"before")
    fence.make_room([f"f{number}" for number in range(3)])
    outcomes = fence.rename([(f"f{number}", fence.displaced(f"f{number}")) for number in range(3)])
    assert [Reason.LOST] * 3 == [problem.reason for problem in outcomes if problem is not None]
    assert b"before" == hub.content("f0")


def test_a_folder_that_a_thief_took_away_does_not_count_as_renamed(remote: Breaking, fence: Fence) -> None:
    """All that was in it is gone from there, but nothing of it was put."""
    MemoryRemote.rename(remote, [(f"{LOCK_DIR}/{RUN}", f"{LOCK_DIR}/{RUN}x1")])
    with pytest.raises(LockLostError):
        fence.rename(puts(fence))


@dataclass
class Waiting:
    """A clock that waiting moves on; `seen` happens at the next wait."""

    now: float = 0.0
    seen: list[Callable[[], object]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.seen:
            self.seen.pop(0)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    clock = Waiting()
    monkeypatch.setattr("symsync.fence.time.monotonic", clock.monotonic)
    monkeypatch.setattr("symsync.fence.time.sleep", clock.sleep)
    return clock


def prepared(remote: MemoryRemote, run: str) -> Fence:
    fence = Fence(remote, run, Audience())
    fence.prepare(run.split("-")[1], sweep=True)
    return fence


def test_an_empty_lock_keeps_nobody_out(hub: MemoryHub, clock: Waiting) -> None:
    """Whoever was ended while he left it: as POSIX has it, a folder takes the place of an empty one."""
    remote = MemoryRemote(hub)
    remote.make_directories([LOCK_DIR])
    fence = prepared(remote, RUN)
    fence.acquire()
    assert (True, 0.0) == (fence.holding, clock.now)


def test_an_empty_lock_is_soon_an_orphan(clock: Waiting) -> None:
    """Where the hub refuses to take its place, it keeps nobody waiting for long."""
    remote = MemoryRemote(MemoryHub(lambda: 0, Traits(replaces=False)))
    remote.make_directories([LOCK_DIR])
    fence = prepared(remote, RUN)
    fence.acquire()
    assert fence.holding
    assert EMPTY_AFTER < clock.now < STALE_AFTER


class Unheard(MemoryRemote):
    """The reply to its first rename is lost; it was carried out, or is later, at the `late`th question after that."""

    late = 0
    _pending: Sequence[tuple[str, str]] | None = None
    _lost = False

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if self._lost:
            return super().rename(pairs)
        self._lost = True
        self._pending = pairs
        self._come()
        return [Problem(old, Reason.LOST, "the connection broke") for old, _new in pairs]

    def stat(self, paths: Sequence[str]) -> list[Found | Problem | None]:
        found = super().stat(paths)
        self._come()
        return found

    def _come(self) -> None:
        if self._pending is not None and self.late == 0:
            super().rename(self._pending)
            self._pending = None
        self.late -= 1


@pytest.mark.parametrize("late", [0, 1])
def test_a_lock_whose_reply_was_lost(hub: MemoryHub, clock: Waiting, late: int) -> None:
    """It is ours, whenever the server came to it; nobody is waited for, and nothing is broken."""
    remote = Unheard(hub)
    remote.late = late
    fence = Fence(remote, RUN, Audience())
    fence.prepare("paris", sweep=False)
    hub.make_file(fence.staged(1), b"1", None, None)
    fence.acquire()
    assert [None] == fence.rename([(fence.held(fence.staged(1)), "f")])
    assert (True, b"1") == (clock.now < 1, hub.content("f"))


def test_a_hub_that_refuses_the_lock(hub: MemoryHub, clock: Waiting) -> None:
    """Nobody holds it, and still it can't be had: that is said, and nobody is waited for in vain."""

    class Refusing(MemoryRemote):
        def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
            return [Problem(new, Reason.DENIED, "Permission denied") for _old, new in pairs]

    fence = prepared(Refusing(hub), RUN)
    with pytest.raises(HubError, match=r"can't be renamed to \.sync\.lock on the hub: Permission denied"):
        fence.acquire()
    assert clock.now < EMPTY_AFTER


def test_who_finds_the_lock_taken_comes_in_when_the_other_has_left(hub: MemoryHub, clock: Waiting) -> None:
    """Two never are in it at once."""
    oslo = prepared(MemoryRemote(hub), RUN.replace("paris", "oslo"))
    oslo.acquire()
    clock.seen = [oslo.release]
    paris = prepared(MemoryRemote(hub), RUN)
    paris.acquire()
    assert (False, True, []) == (oslo.holding, paris.holding, clock.seen)


def test_what_no_run_put_into_the_lock_is_moved_out_of_it(hub: MemoryHub, clock: Waiting) -> None:
    """A file manager's note in an empty lock would else keep everybody out, for ever."""
    remote = MemoryRemote(hub)
    remote.make_directories([LOCK_DIR])
    remote.write(f"{LOCK_DIR}/.DS_Store", b"where the icons are")
    fence = prepared(remote, RUN)
    fence.acquire()
    assert fence.holding
    assert EMPTY_AFTER < clock.now < STALE_AFTER
    assert b"where the icons are" == hub.content(f"{TEMPORARY_DIR}/kept-{RUN}x1/.DS_Store")


def test_a_file_in_the_locks_place_is_named(hub: MemoryHub, clock: Waiting) -> None:
    """No run has made it, so that somebody may want it; nobody waits for ever."""
    remote = MemoryRemote(hub)
    remote.write(LOCK_DIR, b"not a lock")
    fence = prepared(remote, RUN)
    with pytest.raises(HubLocked, match=r"\.sync\.lock on the hub is no directory"):
        fence.acquire()
    assert clock.now < STALE_AFTER


def test_a_lock_that_can_not_be_removed_is_given_up(hub: MemoryHub, clock: Waiting) -> None:
    """What lies in it shows in no listing, and its folder can't be had: in the end that is said."""

    class Stuck(MemoryRemote):
        def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
            return [Problem(new, Reason.EXISTS, "Directory not empty") for _old, new in pairs]

        def remove_directories(self, paths: Sequence[str]) -> list[Problem | None]:
            return [Problem(path, Reason.NOT_EMPTY, "Directory not empty") for path in paths]

    remote = Stuck(hub)
    remote.make_directories([LOCK_DIR])
    with pytest.raises(HubLocked, match="has held the lock on the hub"):
        prepared(remote, RUN).acquire()
    assert PATIENCE < clock.now < 2 * PATIENCE


def test_what_the_trash_could_not_take_goes_there_later(hub: MemoryHub) -> None:
    """Meanwhile it lies aside, and the next run of the node is told that something is left."""

    class Refusing(MemoryRemote):
        def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
            if pairs[0][1].startswith(TRASH_DIR):
                return [Problem(pairs[0][1], Reason.DENIED, "Permission denied")]
            return super().rename(pairs)

    hub.make_file("f", b"before", None, None)
    fence = prepared(Refusing(hub), RUN)
    fence.acquire()
    fence.make_room(["f"])
    ((problem, found),) = fence.exchange((), ["f"])[1]
    assert problem is None and isinstance(found, Found)
    fence.settle(keep_trash=True)
    assert not fence.release()
    assert b"before" == hub.content(f"{TEMPORARY_DIR}/kept-{RUN}/f")
    later = prepared(MemoryRemote(hub), RUN.replace("00000001", "00000002"))
    later.acquire()
    later.settle(keep_trash=True)
    assert later.release()
    assert b"before" == hub.content(f"{TRASH_DIR}/{RUN}/f")


@pytest.mark.parametrize("done", [True, False])
def test_a_displacement_whose_reply_was_lost(hub: MemoryHub, done: bool) -> None:
    """Where it was done, it counts, and is looked at like any other; where nobody knows, it is kept in any case."""

    class Mute(MemoryRemote):
        def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
            problems = super().rename(pairs if done or pairs[0][0] != "f" else [])
            lost = Problem("f", Reason.LOST, "the reply was lost")
            return [lost] if pairs[0][0] == "f" else problems

    hub.make_file("f", b"an edit that nobody knows", None, None)
    fence = prepared(Mute(hub), RUN)
    fence.acquire()
    fence.make_room(["f"])
    ((problem, found),) = fence.exchange((), ["f"])[1]
    assert isinstance(found, Found) if done else (problem is not None and problem.reason is Reason.LOST)
    assert (problem is None) is done
    if not done:
        hub.rename("f", fence.displaced("f"))  # the old connection's command, late
        fence.settle(keep_trash=False)
        assert b"an edit that nobody knows" == hub.content(f"{TRASH_DIR}/{RUN}/f")


def test_an_exchange(hub: MemoryHub) -> None:
    """Places are taken first, then others are freed; what is asked before sees neither."""
    hub.make_file("f", b"before", None, None)
    fence = prepared(MemoryRemote(hub), RUN)
    hub.make_file(fence.staged(1), b"new", None, None)
    fence.acquire()
    fence.make_room(["f"])
    put, displaced, looks = fence.exchange(
        [(fence.held(fence.staged(1)), "g"), (fence.held(fence.staged(2)), "h")],
        ["f", "missing"],
        [Stat(["f", "g"])],
    )
    assert [None, Reason.ABSENT] == [problem and problem.reason for problem in put]
    (first, kept), (second, nothing) = displaced
    assert first is None and isinstance(kept, Found) and kept.path == fence.displaced("f")
    assert second is not None and second.reason is Reason.ABSENT and nothing is None
    assert [["f", None]] == [[found.path if isinstance(found, Found) else found for found in one] for one in looks]
    assert b"new" == hub.content("g") and "f" not in hub
    assert fence.release()  # not settled: what was displaced goes back
    assert b"before" == hub.content("f")


@pytest.mark.parametrize("uploads", [False, True])
def test_room_is_made_before_the_lock_is_taken(hub: MemoryHub, uploads: bool) -> None:
    """What is to be displaced finds its folders, and they go with the lock where nothing came into them."""
    fence = Fence(MemoryRemote(hub), RUN, Audience())
    fence.prepare("paris", sweep=False, uploads=uploads, displaces=["d/e/f"])
    fence.acquire()
    assert f"{LOCK_DIR}/{RUN}/{DISPLACED}/d/e" in hub
    fence.settle(keep_trash=True)
    assert [None] == fence.leave(["nothing"])
    assert fence.release()
    assert LOCK_DIR not in hub and TRASH_DIR not in hub
