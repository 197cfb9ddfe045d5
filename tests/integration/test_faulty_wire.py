"""Real servers behind a wire that breaks: cut, stalled, truncated, at any command, reply and byte.

One node, and somebody who works on the hub past symsync, each in a directory of his own: so there is nothing to be in
conflict about, and what both sides must hold in the end is known to the byte.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from faulty_proxy import HOST, Act, Fault, Point, Proxy, Traffic, draw
from integration.conftest import BUNDLED, BUNDLED_SFTP, FTP_HUBS, SIX_HUBS
from integration.scenarios import DIRECTORY, HUB, Fleet, Place, Tree, differing
from symsync import fence
from symsync.config import load
from symsync.events import Result
from symsync.remotes import open_remote
from symsync.remotes.location import Protocol
from symsync_protocol.errors import HubError, Stopped, SymsyncError
from symsync_protocol.names import LOCK_DIR, TEMPORARY_DIR
from symsync_protocol.stamps import SECOND

NODE = "paris"

ON_EACH_HUB = pytest.mark.parametrize("make_hub", SIX_HUBS, indirect=True)

LARGE = 300_000
"""Bytes of a file that takes more than one block, and more than a socket holds."""

EDITED_NS = 1_500_000_000 * SECOND

QUICK = tuple(act for act in Act if act is not Act.STALL)
"""What the client notices at once."""

IMPATIENCE = 0.5
"""Seconds after which a silent server counts as lost, where the wire may stall."""


class Author:
    """Somebody who works in one directory of a place."""

    def __init__(self, place: Place, directory: str, chance: random.Random) -> None:
        self.tree: Tree = {}
        """What lies there if nobody else interferes."""
        self._place = place
        self._directory = directory
        self._chance = chance
        self._count = 0

    def work(self) -> None:
        """A few edits of every kind."""
        chance = self._chance
        for _ in range(chance.randint(2, 5)):
            self._write(chance.choice([*self.tree, f"{self._directory}/{chance.choice('abc')}/{self._count}"]))
        for act in chance.sample(["remove", "rename"], chance.randint(0, 2)):
            path = chance.choice(sorted(self.tree))
            if act == "remove" and len(self.tree) > 3:
                self._place.remove(path)
                del self.tree[path]
            elif act == "rename":
                new = f"{self._directory}/{chance.choice('abc')}/moved {self._count}"
                self._place.rename(path, new)
                self.tree[new] = self.tree.pop(path)

    def _write(self, path: str) -> None:
        self._count += 1
        size = self._chance.choice([0, 1, 1, 1, LARGE // 10, LARGE])
        content = b"%s %d\n" % (self._directory.encode(), self._count) + self._chance.randbytes(size)
        self._place.write(path, content)
        # Each version has a time of its own, long ago: else a run waits until the server's clock has left its tick.
        self._place.set_time(path, EDITED_NS + self._count * SECOND)
        self.tree[path] = content


class Wire:
    """A fleet of one node, and the proxy on its way to the hub."""

    def __init__(self, fleet: Fleet, proxy: Proxy, seed: int) -> None:
        self.fleet = fleet
        self.proxy = proxy
        self.chance = random.Random(f"{fleet.hub.kind} {seed}")
        self.authors = [
            Author(fleet[NODE], "at home", self.chance),
            Author(fleet.hub.place, "at work", self.chance),
        ]
        self.fired: list[Fault] = []
        self._usual = Traffic()

    def run(self, *faults: Fault) -> Result | SymsyncError:
        """One run through the proxy; only what is told to the user as one line may end it."""
        self.proxy.arm(*faults)
        location = load(self.fleet[NODE].root, None).location
        impatient = any(fault.act is Act.STALL for fault in faults)
        location = replace(
            location,
            host=HOST,
            port=self.proxy.port,
            connections=self.chance.choice([1, 3]),
            timeout=IMPATIENCE if impatient else location.timeout,
        )
        try:
            return self.fleet.sync(NODE, location=location)
        except SymsyncError as error:
            return error
        finally:
            self.fired += self.proxy.fired

    def measure(self) -> None:
        """People work, and a run without faults shows where later ones can be hit."""
        self._people_work()
        result = self.run()
        assert isinstance(result, Result) and 0 == result.exit_status
        self._usual = self.proxy.traffic

    def suffer(self, acts: tuple[Act, ...]) -> None:
        """People work, and a run is hit, perhaps the one after it too; then nothing breaks any more, and two runs make
        all equal."""
        before = len(self.fired)
        while len(self.fired) == before:
            self._people_work()
            self._run_and_be_hit(acts)
        if self.chance.random() < 0.5:
            self._run_and_be_hit(acts)
        self.run()
        result = self.run()
        assert isinstance(result, Result)
        assert (0, (), ()) == (result.exit_status, result.problems, result.conflicts)
        self._equal()
        self.measure()
        self.swept()

    def _run_and_be_hit(self, acts: tuple[Act, ...]) -> None:
        fault = draw(self.chance, self._usual, acts)
        came_to = self.run(fault)
        if isinstance(came_to, Stopped):
            assert Act.TRUNCATE is fault.act  # a listing that lacks the most looks like an accident
        else:
            assert came_to.exit_status in (0, 1, 3), came_to

    def _equal(self) -> None:
        """Both sides hold what people wrote, and nothing else."""
        expected = {path: content for author in self.authors for path, content in author.tree.items()}
        trees = self.fleet.trees()
        assert [] == differing(trees[HUB], trees[NODE])
        files = {path: item for path, item in trees[HUB].items() if item is not DIRECTORY}
        assert [] == differing(expected, files)

    def swept(self) -> None:
        """Nothing is left of runs that were hit, once a later one has had something to do."""
        left = [
            f"{name}: {path}"
            for name, tree in self.fleet.everything().items()
            for path in tree
            if path.startswith((f"{LOCK_DIR}", f"{TEMPORARY_DIR}/")) and not path.endswith(".htaccess")
        ]
        assert [] == left

    def _people_work(self) -> None:
        for author in self.authors:
            author.work()


@pytest.fixture
def fleet_of_one(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A hub and a node, for which a lock that nobody owns any more is stale at once."""
    monkeypatch.setattr(fence, "STALE_AFTER", 0.5)
    fleet.join(NODE)
    return fleet


@pytest.fixture
def proxy(fleet_of_one: Fleet) -> Iterator[Proxy]:
    """What breaks the node's way to the hub."""
    location = fleet_of_one.hub.location
    with Proxy(location.host, location.port, ftp=location.protocol is Protocol.FTP) as proxy:
        yield proxy


def suffered(fleet: Fleet, proxy: Proxy, seed: int, rounds: int, acts: tuple[Act, ...]) -> None:
    """A history of so many rounds in which something is hit, from one seed."""
    wire = Wire(fleet, proxy, seed)
    wire.measure()
    for number in range(rounds):
        try:
            wire.suffer(acts)
        except BaseException:
            print(f"seed {seed}, round {number}; what has happened: {wire.fired}")
            raise


@ON_EACH_HUB
def test_what_is_cut_goes_on_from_there(fleet_of_one: Fleet, proxy: Proxy) -> None:
    """Connections are cut and data ends early, at any step: two runs later all is equal, and nothing is lost."""
    suffered(fleet_of_one, proxy, seed=1, rounds=2, acts=QUICK)


@pytest.mark.parametrize("make_hub", FTP_HUBS, indirect=True)
@pytest.mark.parametrize(
    "command", [rb"RNFR .*/f2\r", rb"RNTO .*/old/f2\r", rb"RNFR .*/[.]sync[.]lock/.*/2\r", rb"RNTO (?!.*/old/).*/f2\r"]
)
def test_what_was_lost_is_done_by_the_same_run(fleet_of_one: Fleet, proxy: Proxy, command: bytes) -> None:
    """The connection breaks among the renames, so that nobody knows what of them was done: nobody has to run again."""
    wire = Wire(fleet_of_one, proxy, seed=3)
    node = fleet_of_one[NODE]
    for content in (b"old", b"newer"):
        for number in range(5):
            node.write(f"f{number}", content)
            node.set_time(f"f{number}", EDITED_NS + len(content) * SECOND)
        result = wire.run()
        assert isinstance(result, Result)
        assert (0, ()) == (result.exit_status, result.problems)
        proxy.heed = once_displacing(re.compile(command), lambda: proxy.strike(Act.CUT))
    assert [Act.CUT] == [fault.act for fault in wire.fired]
    assert {f"f{number}": b"newer" for number in range(5)} == fleet_of_one.trees()[HUB]
    wire.swept()


@pytest.mark.parametrize("make_hub", FTP_HUBS, indirect=True)
@pytest.mark.parametrize("size", [5, LARGE])
def test_an_upload_that_the_server_begins_late(fleet_of_one: Fleet, proxy: Proxy, size: int) -> None:
    """The connection breaks before the server has read the command, and it does when the file has come by another one
    already: it empties that, and no such file takes its place."""
    wire = Wire(fleet_of_one, proxy, seed=4)
    content = b"n" * size
    fleet_of_one[NODE].write("f", content)
    left = late(proxy, rb"STOR .*/1\r", until=rb"RNFR .*[.]sync[.]tmp/")
    result = wire.run()
    assert isinstance(result, Result)
    assert ([], [Act.LATE]) == (left, [fault.act for fault in wire.fired])
    assert (0, ()) == (result.exit_status, result.problems)
    assert {"f": content} == fleet_of_one.trees()[HUB] == fleet_of_one.trees()[NODE]
    wire.swept()


@pytest.mark.parametrize("make_hub", FTP_HUBS, indirect=True)
@pytest.mark.parametrize("name", [b"_identity", b"state2"])
def test_a_state_that_the_server_begins_late(fleet_of_one: Fleet, proxy: Proxy, name: bytes) -> None:
    """The same with what is our own: it is whole in its place, and the next run finds nothing to do."""
    wire = Wire(fleet_of_one, proxy, seed=5)
    fleet_of_one[NODE].write("f", b"content")
    left = late(proxy, rb"STOR .*/" + name + rb"\r", until=rb"RNFR .*/" + name)
    for fired in ([Act.LATE], []):
        result = wire.run()
        assert isinstance(result, Result)
        assert ([], fired) == (left, [fault.act for fault in proxy.fired])
        assert (0, (), ()) == (result.exit_status, result.problems, result.conflicts)
    assert {"f": b"content"} == fleet_of_one.trees()[HUB]
    wire.swept()


def late(proxy: Proxy, command: bytes, *, until: bytes) -> list[bytes]:
    """The first `command` like this comes late: before the first one after it like `until`. What is still to come."""
    left = [until, command]
    acts = [proxy.deliver, lambda: proxy.strike(Act.LATE)]

    def heed(line: bytes) -> None:
        if left and re.match(left[-1], line):
            left.pop()
            acts.pop()()

    proxy.heed = heed
    return left


def once_displacing(pattern: re.Pattern[bytes], act: Callable[[], None]) -> Callable[[bytes], None]:
    """Acts on the first command like this once versions are displaced."""
    left = [pattern, re.compile(rb"RNTO .*/old/")]

    def heed(command: bytes) -> None:
        if left and left[-1].match(command):
            left.pop()
            if not left:
                act()

    return heed


@ON_EACH_HUB
def test_a_silent_server_is_noticed(fleet_of_one: Fleet, proxy: Proxy) -> None:
    """Nothing passes any more, from any step on: the run ends by itself, and two runs later all is equal."""
    suffered(fleet_of_one, proxy, seed=2, rounds=1, acts=(Act.STALL,))


@pytest.mark.parametrize("make_hub", [BUNDLED, BUNDLED_SFTP], indirect=True)
@pytest.mark.parametrize("tenths", range(0, 10, 2))
def test_a_silent_login_is_noticed(fleet_of_one: Fleet, proxy: Proxy, tenths: int) -> None:
    """Wherever the server falls silent until it has let us in, that ends with one line: not one wait is without end."""
    location = replace(fleet_of_one.hub.location, host=HOST, port=proxy.port)
    proxy.arm()
    with open_remote(location):
        usual = proxy.traffic.down
    proxy.arm(Fault(Act.STALL, Point.DOWN, 1 + usual * tenths // 10, lasting=True))
    with pytest.raises(HubError, match=r"no answer|broke at the start"):
        open_remote(replace(location, timeout=IMPATIENCE))


@pytest.mark.long
@ON_EACH_HUB
@pytest.mark.parametrize("seed", range(100, 110))
@pytest.mark.timeout(3600)
def test_a_wire_that_breaks_for_long(fleet_of_one: Fleet, proxy: Proxy, seed: int) -> None:
    """The same with many more faults."""
    suffered(fleet_of_one, proxy, seed, rounds=40, acts=(*QUICK * 4, Act.STALL))
