"""The server of yesterday is the client of today: what both remember is enough for either to run.

one     was the client; now it serves with the bundled hub, or is a directory
two     was the server; now it runs symsync against one
paris   another node of two's hub, which goes on as if nothing had happened
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from integration.scenarios import DIRECTORY, LocalPlace, Notes, Tree, configure, lines_of
from symsync import session
from symsync.config import load
from symsync.events import Result
from symsync.remotes.location import Location, Protocol, Tls
from symsync_hub import Login, running

ONE, TWO, PARIS = "one", "two", "paris"
USER = Login("symsync", "secret")

BEFORE: Tree = {
    "f": b"first",
    "letters/to ada": b"Dear Ada",
    "letters/نامه": b"salaam",
    "gone": b"soon",
    "photos/beach": bytes(range(256)) * 512,
    "empty": DIRECTORY,
    "link": "f",
}


def _as_directory(directory: Path, _stack: ExitStack) -> Location:
    return Location(Protocol.FILE, directory=str(directory))


def _by_ftp(directory: Path, stack: ExitStack) -> Location:
    served = stack.enter_context(running(directory, users=[USER]))
    return Location(Protocol.FTP, served.host, served.port, USER.name, USER.password, tls=Tls.NO)


def _by_sftp(directory: Path, stack: ExitStack) -> Location:
    served = stack.enter_context(running(directory, users=[USER], sftp=True))
    assert served.sftp_port is not None
    return Location(Protocol.SFTP, served.host, served.sftp_port, USER.name, USER.password, host_key=served.host_key)


WAYS: dict[str, Callable[[Path, ExitStack], Location]] = {"directory": _as_directory, "ftp": _by_ftp, "sftp": _by_sftp}


@dataclass
class Roles:
    """Two directories of which either can serve the other, and a third that knows only `two`."""

    base: Path
    way: Callable[[Path, ExitStack], Location]
    stack: ExitStack
    places: dict[str, LocalPlace] = field(default_factory=dict)
    told: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        for name in (ONE, TWO, PARIS):
            (self.base / name).mkdir()
            self.places[name] = LocalPlace(self.base / name)
        for node, hub in ((ONE, TWO), (TWO, ONE), (PARIS, TWO)):
            lines = lines_of(self.way(self.base / hub, self.stack))
            usual = {"nodename": node, "peer": hub, "includedots": "yes", "allowblanks": "yes"}
            configure(self.base / node, usual | lines)

    def __getitem__(self, name: str) -> LocalPlace:
        return self.places[name]

    def run(self, name: str) -> Result:
        """One run of this directory as the client of its server."""
        self.told = Notes()
        return session.run(load(self[name].root), self.told)

    def at_rest(self, name: str) -> tuple[int, int, int, list[str]]:
        """What a run came to that should have nothing to do: status, acts, bytes over the wire, what it told."""
        result = self.run(name)
        return result.exit_status, len(result.outcomes), self.told.size, self.told.texts

    def trees(self, *names: str) -> list[Tree]:
        """What people see in each of these directories."""
        return [self[name].tree() for name in names]


AT_REST: tuple[int, int, int, list[str]] = (0, 0, 0, [])
"""What `Roles.at_rest` gives where nothing was done and nothing is open."""


@pytest.fixture(params=WAYS)
def roles(request: pytest.FixtureRequest, base: Path) -> Iterator[Roles]:
    """All three, empty; whoever is a server serves in the way under test."""
    with ExitStack() as stack:
        yield Roles(base, WAYS[request.param], stack)


def begin(roles: Roles) -> Tree:
    """One is a client of two for the first time. Returns what both hold."""
    roles[ONE].fill({path: item for path, item in BEFORE.items() if not isinstance(item, str)})
    for path, target in BEFORE.items():
        if isinstance(target, str):
            (roles[ONE].root / path).symlink_to(target)
    assert 0 == roles.run(ONE).exit_status
    return dict(BEFORE)


def test_roles_swap_back_and_forth(roles: Roles) -> None:
    """Six swaps: a run of the new client transfers what changed, removes what was removed, and nothing else."""
    expected = begin(roles)
    # A hub over FTP holds no links: the first swap brings the one that lies in the state.
    roles.run(TWO)
    for turn in range(6):
        client, server = (TWO, ONE) if turn % 2 == 0 else (ONE, TWO)
        assert AT_REST == roles.at_rest(client)
        edited, made = b"in turn %d" % turn, f"letters/of turn {turn}"
        roles[client].write(made, edited)
        roles[server].write("f", edited * 2)
        expected |= {made: edited, "f": edited * 2}
        old, new = ("photos", "pictures") if turn % 2 == 0 else ("pictures", "photos")
        roles[client].rename(f"{old}/beach", f"{new}/beach")
        roles[client].remove(old)
        expected[f"{new}/beach"] = expected.pop(f"{old}/beach")
        if turn:
            roles[client if turn % 4 < 2 else server].remove(f"letters/of turn {turn - 1}")
            expected.pop(f"letters/of turn {turn - 1}")
        result = roles.run(client)
        assert (0, 2) == (result.exit_status, result.files)
        assert [expected, expected] == roles.trees(ONE, TWO)


def test_what_was_moved_on_the_server_is_moved_when_it_runs_itself(roles: Roles) -> None:
    """Its own record of the file was taken over the wire, without an inode: still nothing is sent again."""
    expected = begin(roles)
    roles[TWO].rename("photos/beach", "beach")
    expected["photos"] = DIRECTORY
    expected["beach"] = expected.pop("photos/beach")
    result = roles.run(TWO)
    assert (0, 0) == (result.exit_status, result.files)
    assert [expected, expected] == roles.trees(ONE, TWO)


def test_a_conflict_stays_open_through_swaps_and_is_decided_on_either_side(roles: Roles) -> None:
    """Opened by one's run, it is the same open conflict in two's; what two decides stands in one's."""
    expected = begin(roles)
    roles.run(TWO)
    roles[ONE].write("f", b"of one")
    roles[TWO].write("f", b"two's version")
    roles[ONE].write("gone", b"one edits")
    roles[TWO].write("gone", b"two, too")
    assert 1 == roles.run(ONE).exit_status
    on_one = {**expected, "f": b"of one", "f.two": b"two's version", "gone": b"one edits", "gone.two": b"two, too"}
    on_two = {**expected, "f": b"two's version", "f.one": b"of one", "gone": b"two, too", "gone.one": b"one edits"}
    for client in (TWO, ONE, TWO):
        assert (1, 0, 0, []) == roles.at_rest(client)
        assert [on_one, on_two] == roles.trees(ONE, TWO)
    roles[TWO].remove("f.one")
    roles[ONE].remove("gone.two")
    assert 0 == roles.run(TWO).exit_status
    expected |= {"f": b"two's version", "gone": b"one edits"}
    assert [expected, expected] == roles.trees(ONE, TWO)
    assert AT_REST == roles.at_rest(ONE)


def test_a_conflict_of_the_new_client_is_decided_by_the_old_one(roles: Roles) -> None:
    """Opened by two's run against its former client, settled by one's."""
    expected = begin(roles)
    roles.run(TWO)
    roles[ONE].write("f", b"of one")
    roles[TWO].write("f", b"two's version")
    assert 1 == roles.run(TWO).exit_status
    assert b"of one" == roles[TWO].read("f.one")
    roles[ONE].remove("f.two")
    assert 0 == roles.run(ONE).exit_status
    expected["f"] = b"of one"
    assert [expected, expected] == roles.trees(ONE, TWO)
    assert AT_REST == roles.at_rest(TWO)


def test_other_nodes_go_on_using_the_first_server(roles: Roles) -> None:
    """Paris edits and removes by way of two, while one and two take turns as each other's client."""
    expected = begin(roles)
    assert 0 == roles.run(PARIS).exit_status
    roles.run(TWO)
    for turn in range(4):
        client, server = (TWO, ONE) if turn % 2 == 0 else (ONE, TWO)
        word = b"turn %d" % turn
        roles[PARIS].write("f", word)
        roles[PARIS].write(f"of paris {turn}", word)
        roles[server].write("letters/to ada", word * 2)
        expected |= {"f": word, f"of paris {turn}": word, "letters/to ada": word * 2}
        if turn:
            roles[PARIS].remove(f"of paris {turn - 1}")
            expected.pop(f"of paris {turn - 1}")
        for name in (PARIS, client, PARIS):
            assert 0 == roles.run(name).exit_status
        assert [expected] * 3 == roles.trees(ONE, TWO, PARIS)
        for name in (PARIS, client, server):
            assert AT_REST == roles.at_rest(name)
