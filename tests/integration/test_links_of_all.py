"""Symbolic links between nodes of one hub that come by different protocols: FTP makes none, SFTP and a directory do.

paris   by FTP: its links are noted in the hub's table
oslo    by SFTP: its links are real ones on the hub
rome    has the hub's directory mounted
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from integration.scenarios import LocalPlace, Notes, Tree, configure, lines_of
from symsync import session, trash
from symsync.config import load
from symsync.events import Result
from symsync.remotes.location import Location, Protocol, Tls
from symsync.trash import Wish
from symsync_hub import Login, running
from symsync_protocol.names import LINKS_FILE, STATE_DIR

USER = Login("symsync", "secret")
PARIS, OSLO, ROME, OWNER = "paris", "oslo", "rome", "hub"


@dataclass
class Nodes:
    """Three nodes, each by another way, and the hub's own directory."""

    base: Path
    ways: dict[str, Location]
    places: dict[str, LocalPlace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places[OWNER] = LocalPlace(self.base / OWNER)
        for name in self.ways:
            (self.base / name).mkdir()
            self.places[name] = LocalPlace(self.base / name)
            self.reach(name, name)

    def reach(self, name: str, way: str) -> None:
        """Let a node reach the hub as `way` does."""
        usual = {"nodename": name, "peer": OWNER, "includedots": "yes", "allowblanks": "yes"}
        configure(self.base / name, usual | lines_of(self.ways[way]))

    def __getitem__(self, name: str) -> LocalPlace:
        return self.places[name]

    def run(self, *names: str) -> list[Result]:
        """One run of each, in this order."""
        return [session.run(load(self[name].root), Notes()) for name in names]

    def link(self, name: str, path: str, target: str) -> None:
        """Make a link, or point it elsewhere."""
        place = self[name].root / path
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    def trees(self, *names: str) -> list[Tree]:
        """What people see in each of these directories."""
        return [self[name].tree() for name in names]

    def come_to_rest(self) -> None:
        """Two runs of each, and a third that has nothing to do."""
        self.run(*self.ways, *self.ways)
        assert [(0, 0)] * 3 == [(result.exit_status, len(result.outcomes)) for result in self.run(*self.ways)]


@pytest.fixture
def nodes(base: Path) -> Iterator[Nodes]:
    """All three, empty."""
    (base / OWNER).mkdir()
    with running(base / OWNER, users=[USER], sftp=True) as served:
        assert served.sftp_port is not None
        ways = {
            PARIS: Location(Protocol.FTP, served.host, served.port, USER.name, USER.password, tls=Tls.NO),
            OSLO: Location(
                Protocol.SFTP, served.host, served.sftp_port, USER.name, USER.password, host_key=served.host_key
            ),
            ROME: Location(Protocol.FILE, directory=str(base / OWNER)),
        }
        yield Nodes(base, ways)


@pytest.mark.parametrize("maker", [PARIS, OSLO, ROME])
@pytest.mark.parametrize("changer", [PARIS, OSLO, ROME])
def test_links_live_and_die_everywhere(nodes: Nodes, maker: str, changer: str) -> None:
    """Made by one node, pointed elsewhere and removed by another: all have the same."""
    nodes[maker].fill({"f": b"f", "d/g": b"g"})
    for path in ("l", "goes", "d/l", "becomes a file"):
        nodes.link(maker, path, "f")
    nodes.run(maker)
    nodes.come_to_rest()
    expected: Tree = {"f": b"f", "d/g": b"g", "l": "f", "goes": "f", "d/l": "f", "becomes a file": "f"}
    assert [expected] * 3 == nodes.trees(*nodes.ways)
    nodes.link(changer, "l", "g")
    nodes[changer].remove("goes")
    nodes[changer].remove("becomes a file")
    nodes[changer].write("becomes a file", b"now")
    nodes.run(changer)
    nodes.come_to_rest()
    expected = {"f": b"f", "d/g": b"g", "l": "g", "d/l": "f", "becomes a file": b"now"}
    assert [expected] * 3 == nodes.trees(*nodes.ways)


def test_a_link_made_by_ftp_is_not_overrun_by_one_of_sftp(nodes: Nodes) -> None:
    """Who had not seen the table's link makes another of that name: a conflict."""
    nodes.run(PARIS, OSLO)
    nodes.link(PARIS, "l", "of paris")
    nodes.run(PARIS)
    nodes.link(OSLO, "l", "oslo's own")
    (result,) = nodes.run(OSLO)
    assert ["l"] == [path for path, _ in result.conflicts]
    nodes.run(PARIS)
    assert [{"l": "of paris"}, {"l": "oslo's own", "l.hub": "of paris"}] == nodes.trees(PARIS, OSLO)


def test_a_directory_with_a_link_is_removed_past_the_table(nodes: Nodes) -> None:
    """By a person on the hub, who does not see the link in it: it has gone with its directory, also from the table."""
    nodes[PARIS].fill({"d/g": b"g"})
    nodes.link(PARIS, "d/l", "g")
    nodes.run(PARIS, OSLO)
    nodes[OWNER].remove("d")
    nodes.come_to_rest()
    assert [{}] * 3 == nodes.trees(*nodes.ways)
    nodes[OSLO].write("d/new", b"new")
    nodes.come_to_rest()
    assert [{"d/new": b"new"}] * 3 == nodes.trees(*nodes.ways)


def test_a_node_changes_its_way(nodes: Nodes) -> None:
    """From FTP to SFTP and back: nothing is to be done."""
    nodes.link(PARIS, "l", "f")
    nodes.run(PARIS)
    for way in (OSLO, ROME, PARIS):
        nodes.reach(PARIS, way)
        (result,) = nodes.run(PARIS)
        assert (0, 0) == (result.exit_status, len(result.outcomes))
    assert {"l": "f"} == nodes[PARIS].tree()


def test_what_others_displaced_is_restored(nodes: Nodes) -> None:
    """A link that FTP noted and SFTP replaced lies in the trash of the hub for both."""
    nodes.link(PARIS, "l", "first")
    nodes.run(PARIS, OSLO)
    nodes.link(OSLO, "l", "second")
    nodes.run(OSLO)
    for name in (PARIS, OSLO, ROME):
        settings = load(nodes[name].root)
        (held,) = trash.contents(settings, "l", [trash.Side.THERE]).versions
        assert "first" == held.found.target
        trash.restore(settings, Wish("l", to="back", sides=[trash.Side.THERE]), Notes())
        assert "first" == nodes[name].tree()["back"]


def test_the_hubs_owner_has_all_links(nodes: Nodes, base: Path) -> None:
    """A directory that is a hub synchronises itself with another one: what was noted in it lies there as links from
    then on, which its owner sees, and can remove."""
    (base / "other").mkdir()
    usual = {"nodename": OWNER, "peer": "other"}
    configure(nodes[OWNER].root, usual | lines_of(Location(Protocol.FILE, directory=str(base / "other"))))
    nodes[PARIS].write("d/g", b"g")
    for path in ("l", "d/l"):
        nodes.link(PARIS, path, "g")
    nodes.run(PARIS)
    before = (nodes[OWNER].root / STATE_DIR / LINKS_FILE).read_bytes()
    looked = session.preview(load(nodes[OWNER].root), Notes())
    assert {"d", "d/g", "d/l", "l"} == {decision.path for decision in looked.decisions if decision.touches}
    assert before == (nodes[OWNER].root / STATE_DIR / LINKS_FILE).read_bytes()
    nodes.run(OWNER)
    expected: Tree = {"d/g": b"g", "d/l": "g", "l": "g"}
    assert [expected] * 2 == [nodes[OWNER].tree(), LocalPlace(base / "other").tree()]
    nodes.come_to_rest()
    nodes[OWNER].remove("l")
    nodes.run(OWNER)
    nodes.come_to_rest()
    expected = {"d/g": b"g", "d/l": "g"}
    assert [expected] * 5 == [*nodes.trees(*nodes.ways, OWNER), LocalPlace(base / "other").tree()]
