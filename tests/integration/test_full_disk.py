"""A full disk on either side: what does not fit is named, what is there stays, and the next run goes on."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.conftest import bundled, plain
from integration.scenarios import Done, Fleet, Hub, Tree, command

MIB = 1 << 20

FITS: Tree = {"d/f": b"first", "g": b"small"}
BIG = os.urandom(3 * MIB)


class Disk:
    """A file system of 1 MiB."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self) -> Path:
        """Leave no room for another byte; returns the ballast."""
        ballast = self.root / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return ballast

    def grow(self) -> None:
        """Make it a disk of 16 MiB."""
        subprocess.run(["mount", "-o", "remount,size=16M", self.root], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only the superuser can mount a file system")
    root = tmp_path / "disk"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "symsync-test", root], check=True)
    yield Disk(root)
    subprocess.run(["umount", root], check=True)


@pytest.fixture
def apart(hub: Hub, base: Path, disk: Disk) -> tuple[Fleet, Fleet]:
    """Oslo with room, and paris on the small disk, in step."""
    oslo, paris = Fleet(hub, base), Fleet(hub, disk.root)
    oslo.join("oslo")
    paris.join("paris")
    oslo["oslo"].fill(FITS)
    oslo.sync("oslo")
    paris.sync("paris")
    return oslo, paris


def run(fleet: Fleet, name: str) -> Done:
    return command("symsync", str(fleet[name].root))


def test_what_does_not_fit_here(apart: tuple[Fleet, Fleet], disk: Disk) -> None:
    """It is named, and what is there stays; with more room it arrives."""
    oslo, paris = apart
    oslo["oslo"].write("big", BIG)
    oslo.sync("oslo")
    done = run(paris, "paris")
    assert (1, 1) == (done.status, done.err.count("\n"))
    assert done.err.startswith("problem: big: ")
    assert done.err.endswith("No space left on device (here)\n")
    assert FITS == paris["paris"].tree()
    disk.grow()
    assert 0 == run(paris, "paris").status
    assert oslo["oslo"].tree() == paris["paris"].tree()


def test_a_disk_here_without_a_byte_left(apart: tuple[Fleet, Fleet], disk: Disk) -> None:
    """What has happened is told, neither side lost anything, and with room again all goes on."""
    oslo, paris = apart
    oslo["oslo"].write("g", b"edited by oslo")
    oslo.sync("oslo")
    paris["paris"].write("d/f", b"of paris")
    ballast = disk.fill()
    done = run(paris, "paris")
    assert done.status in (1, 2, 3, 4)
    assert [] == [line for line in done.err.splitlines() if "No space left" not in line]
    assert b"edited by oslo" == paris.hub.place.read("g")
    assert b"of paris" == paris["paris"].read("d/f")
    ballast.unlink()
    assert 0 == run(paris, "paris").status
    assert {"d/f": b"of paris", "g": b"edited by oslo"} == paris["paris"].tree() == paris.hub.place.tree()


@pytest.fixture(params=[plain, bundled], ids=["directory", "bundled"])
def on_small_disk(request: pytest.FixtureRequest, base: Path, disk: Disk) -> Iterator[Fleet]:
    """Paris with room, and its hub on the small disk, in step."""
    root = disk.root / "hub"
    root.mkdir()
    with ExitStack() as stack:
        make: Callable[..., Hub] = request.param
        fleet = Fleet(make(root) if make is plain else make(root, "bundled", stack), base)
        fleet.join("paris")
        fleet["paris"].fill(FITS)
        fleet.sync("paris")
        yield fleet


def test_what_does_not_fit_on_the_hub(on_small_disk: Fleet, disk: Disk) -> None:
    """It is named, and what is there stays; with more room it arrives."""
    fleet = on_small_disk
    fleet["paris"].write("big", BIG)
    done = run(fleet, "paris")
    assert (1, 1) == (done.status, done.err.count("\n"))
    assert done.err.startswith("problem: big: ")
    assert "(on the hub)" in done.err
    assert FITS == fleet.hub.place.tree()
    disk.grow()
    assert 0 == run(fleet, "paris").status
    assert fleet["paris"].tree() == fleet.hub.place.tree()


def test_a_hub_without_a_byte_left(on_small_disk: Fleet, disk: Disk) -> None:
    """What has happened is told, and nothing there is touched; with room again all goes on."""
    fleet = on_small_disk
    fleet["paris"].write("g", b"edited by paris")
    fleet.hub.place.write("d/f", b"edited there")
    ballast = disk.fill()
    before = fleet.hub.place.tree()
    done = run(fleet, "paris")
    assert done.status in (1, 3)
    assert [] == [line for line in done.err.splitlines() if "No space left" not in line]
    assert before == fleet.hub.place.tree()
    assert b"edited by paris" == fleet["paris"].read("g")
    ballast.unlink()
    assert 0 == run(fleet, "paris").status
    assert {"d/f": b"edited there", "g": b"edited by paris"} == fleet["paris"].tree() == fleet.hub.place.tree()
