"""A holder of the lock that slept and wakes up does no harm: a real process, stopped and continued by signals."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

import pytest

from faulty_proxy import HOST, Proxy
from integration.conftest import BUNDLED, SERVED, SIX_HUBS
from integration.scenarios import HUB, Fleet, Tree, begin, differing, versions
from symsync import fence
from symsync.core.values import Found
from symsync.remotes import open_remote
from symsync.remotes.base import Remote
from symsync.remotes.location import Protocol
from symsync_protocol.names import LOCK_DIR
from symsync_protocol.stamps import Kind

SLEEPER, THIEF = "paris", "oslo"

BEFORE: Tree = {f"file {number:02}": b"first %d" % number for number in range(40)}

BY_FTP = [BUNDLED, *(pytest.param(name, marks=pytest.mark.docker) for name in SERVED if name != "openssh")]

PACE = 0.004
"""Seconds that each of the sleeper's commands waits on its way: so it can be caught in the middle."""


class Watcher:
    """Looks from outside how far the holder of the lock has come."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def holder(self) -> str | None:
        """The folder in the lock, None while there is none."""
        return next((found.path for found in self._entries(LOCK_DIR) if found.kind is Kind.DIRECTORY), None)

    def holds(self) -> bool:
        """Whether somebody has the lock."""
        return self.holder() is not None

    def has_displaced(self, count: int = 2) -> bool:
        """Whether the holder has moved so many files aside, which others will miss."""
        holder = self.holder()
        return holder is not None and len(self._entries(f"{holder}/{fence.DISPLACED}")) >= count

    def _entries(self, directory: str) -> tuple[Found, ...]:
        (listing,) = self._remote.listings([directory])
        return listing.entries


@pytest.fixture
def watcher(fleet: Fleet) -> Iterator[Watcher]:
    """Looks at the fleet's hub over a connection of its own."""
    with open_remote(fleet.hub.location) as remote:
        yield Watcher(remote)


@pytest.fixture
def proxy(fleet: Fleet) -> Iterator[Proxy]:
    """The sleeper's slow way to the hub."""
    location = fleet.hub.location
    with Proxy(location.host, location.port, ftp=location.protocol is Protocol.FTP) as proxy:
        yield proxy


class Sleeper:
    """A run of the node in `root`, stopped at some moment; what it had sent until then is still on its way."""

    def __init__(self, root: Path, proxy: Proxy) -> None:
        self.process = begin("symsync", str(root))
        self._proxy = proxy

    def stop(self) -> None:
        """Close the lid."""
        self._proxy.hold()
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def stop_when(self, moment: Callable[[], bool]) -> None:
        """Once `moment` has come."""
        while not moment():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(PACE)
        self.stop()

    def die(self) -> None:
        """The battery is empty; nothing that was still on its way arrives."""
        self.process.kill()
        self.process.wait()
        self._proxy.pace = 0
        self._proxy.arm()

    def wake(self) -> tuple[int, str]:
        """Open the lid: the exit status, and the last line of what was said."""
        self._proxy.pace = 0
        self.process.send_signal(signal.SIGCONT)
        self._proxy.resume()
        told, _ = self.process.communicate(timeout=150)  # longer than a silent server is waited for
        return self.process.returncode, told.splitlines()[-1]


LOST_THE_LOCK = "symsync: another node took over the lock on the hub while this one was not answering; run again"


@pytest.fixture
def family(fleet: Fleet, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The sleeper, whose way leads through the proxy, and the thief, who waits for half a second."""
    monkeypatch.setattr(fence, "STALE_AFTER", 0.5)
    fleet.join(SLEEPER, server=HOST, port=str(proxy.port), connections="2")
    fleet.join(THIEF)
    fleet[SLEEPER].fill(BEFORE)
    fleet.sync_all()
    proxy.pace = PACE
    return fleet


@pytest.fixture
def sleeper(family: Fleet, proxy: Proxy) -> Iterator[Callable[[], Sleeper]]:
    """Begins a run of the sleeper, which does not outlive the test."""
    begun: list[Sleeper] = []

    def start() -> Sleeper:
        begun.append(Sleeper(family[SLEEPER].root, proxy))
        return begun[-1]

    yield start
    for one in begun:
        one.process.kill()
        one.process.wait()


def theft(fleet: Fleet, sleeper: Sleeper) -> None:
    """The thief takes the lock and commits; the sleeper wakes up, and changes nothing any more."""
    result = fleet.sync(THIEF)
    assert [f"the lock of {SLEEPER}"] == [text.partition(" (since")[0] for text in fleet.told.texts]
    assert not [outcome for outcome in result.outcomes if outcome.failed]
    left = fleet.hub.place.tree()
    assert (3, LOST_THE_LOCK) == sleeper.wake()
    assert [] == differing(left, fleet.hub.place.tree())


def settled(fleet: Fleet) -> dict[str, Tree]:
    """What all places hold after the two runs that are enough, and another that does nothing."""
    fleet.sync_all()
    fleet.sync_all()
    assert not [outcome for result in fleet.sync_all().values() for outcome in result.outcomes]
    return fleet.trees()


class Moment(Enum):
    """When a sleeper falls asleep."""

    HOLDS = "it has the lock"
    DISPLACED = "it has moved aside what others will miss"

    def has_come(self, command: bytes) -> bool:
        """Whether the moment is when this FTP command is about to reach the server: the announcement, or a put."""
        if self is Moment.HOLDS:
            return command.startswith(b"APPE ")
        return command.startswith(b"RNFR ") and b"/.sync.lock/" in command and b"/old/" not in command

    def shows(self, watcher: Watcher) -> bool:
        """Whether it has come, by what can be seen on the hub."""
        return watcher.holds() if self is Moment.HOLDS else watcher.has_displaced()


@pytest.mark.parametrize("make_hub", SIX_HUBS, indirect=True)
@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
def test_who_wakes_up_without_the_lock_changes_nothing(
    family: Fleet, watcher: Watcher, proxy: Proxy, sleeper: Callable[[], Sleeper], moment: Moment
) -> None:
    """Another node took the lock and committed: what the sleeper still sends is refused, it says so, and all is made
    good by the next runs."""
    paris, oslo = family[SLEEPER], family[THIEF]
    for number in range(10):
        paris.write(f"file {number:02}", b"of the sleeper %d" % number)
    for number in (10, 11, 12):
        paris.remove(f"file {number:02}")
    paris.rename("file 13", "moved")
    paris.write("new/of the sleeper", b"new")
    oslo.write("file 00", b"of the thief 0")
    oslo.remove("file 11")
    oslo.write("file 12", b"of the thief 12")
    oslo.write("file 14", b"of the thief 14")
    oslo.write("new/of the thief", b"new too")

    asleep = threading.Event()

    def lid(command: bytes) -> None:
        if moment.has_come(command) and not asleep.is_set():
            run.stop()
            asleep.set()

    proxy.heed = lid
    run = sleeper()
    if proxy.reads_commands:
        assert asleep.wait(60)
    else:
        run.stop_when(lambda: moment.shows(watcher))
    theft(family, run)
    trees = settled(family)
    contested = {path for tree in trees.values() for path in tree if path.startswith("file 00")}
    expected = {path: content for path, content in BEFORE.items() if path[5:] not in ("00", "10", "11", "13")}
    expected |= {f"file {number:02}": b"of the sleeper %d" % number for number in range(1, 10)}
    expected |= {"file 12": b"of the thief 12", "file 14": b"of the thief 14", "moved": b"first 13"}
    expected |= {"new/of the sleeper": b"new", "new/of the thief": b"new too"}
    for tree in trees.values():
        assert [] == differing(expected, {path: item for path, item in tree.items() if path not in contested})
    assert [b"of the sleeper 0", b"of the thief 0"] == versions(trees[HUB], "file 00")


@pytest.mark.parametrize("make_hub", BY_FTP, indirect=True)
def test_a_move_that_comes_late_takes_nobodys_place(
    family: Fleet, proxy: Proxy, sleeper: Callable[[], Sleeper]
) -> None:
    """The sleeper was about to move two files on the hub; meanwhile the thief put one to where the first was to go, and
    edited the second."""
    paris, oslo = family[SLEEPER], family[THIEF]
    paris.rename("file 00", "taken")
    paris.rename("file 01", "left")
    oslo.write("taken", b"by the thief")
    oslo.write("file 01", b"of the thief")

    asleep = threading.Event()

    def lid(command: bytes) -> None:
        if command.startswith(b"RNFR ") and b"/file 00" in command and not asleep.is_set():
            run.stop()
            asleep.set()

    proxy.heed = lid
    run = sleeper()
    assert asleep.wait(60)
    theft(family, run)
    trees = settled(family)
    rest = {path: content for path, content in BEFORE.items() if path not in ("file 00", "file 01")}

    for name, tree in trees.items():
        found = {item for path, item in tree.items() if path not in rest}
        assert {b"first 0", b"by the thief", b"of the thief"} <= found | {b"first 0"}, name


@pytest.mark.parametrize("make_hub", [BUNDLED], indirect=True)
def test_what_a_dead_node_moved_aside_is_no_accident(
    family: Fleet, watcher: Watcher, sleeper: Callable[[], Sleeper]
) -> None:
    """It died while it replaced nearly all files, which looks as if somebody had removed them: the next node waits for
    the lock before it believes that, and puts them back."""
    paris = family[SLEEPER]
    for path in BEFORE:
        paris.write(path, b"edited")
    run = sleeper()
    run.stop_when(lambda: watcher.has_displaced(len(BEFORE) * 3 // 4))
    run.die()
    result = family.sync(THIEF)
    assert 0 == result.exit_status
    assert [] == differing(dict.fromkeys(BEFORE, b"edited"), settled(family)[HUB])
