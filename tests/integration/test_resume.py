"""A large file whose transfer is cut off goes on where it was: real processes are ended in the middle of one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from integration.conftest import BUNDLED, BUNDLED_SFTP, IN_CONTAINERS
from integration.scenarios import Fleet, LocalPlace
from symsync.remotes import open_remote
from symsync.remotes.tree import below
from symsync_protocol.names import PART_PREFIX, TEMPORARY_DIR, basename

ON_EACH = pytest.mark.parametrize("make_hub", [BUNDLED, BUNDLED_SFTP, *IN_CONTAINERS], indirect=True)

CONTENT = random.Random(7).randbytes(32 << 20)
ENOUGH = 16 << 20
"""Bytes that have come across when a transfer is ended."""
SENT_TWICE = 8 << 20
"""How far a remote may go back to be certain."""
HESITATES = 24 << 20
"""Bytes after which a transfer all but stands still: however late its end comes, it is still in the middle."""
LIMITED = "100M"
"""Bytes per second: with any limit each block asks whether it may go."""

_RUN = f"""
import sys
from symsync.cli import main
from symsync.remotes.throttle import Throttle

book, moved = Throttle.book, 0

def hesitate(throttle, count):
    global moved
    moved += count
    return book(throttle, count if moved <= {HESITATES} else 400 * count)

Throttle.book = hesitate
sys.exit(main(sys.argv[1:]))
"""


def parts_on_hub(fleet: Fleet) -> dict[str, int]:
    """The large files on their way to the hub, and how much of each is there."""
    with open_remote(fleet.hub.location) as remote:
        found, _ = below(remote, [TEMPORARY_DIR])
    return {path: entry.stamp.size for path, entry in found.items() if basename(path).startswith(PART_PREFIX)}


def parts_on(place: LocalPlace) -> dict[str, int]:
    """The same on their way to a node."""
    return {str(path): path.stat().st_size for path in (place.root / TEMPORARY_DIR).glob(f"*/{PART_PREFIX}*")}


def ended(place: LocalPlace, parts: Callable[[], dict[str, int]], end: signal.Signals) -> int:
    """Run a node in a process of its own, and end it when enough of its one large file is across; how much is."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": "/nonexistent"}
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, str(place.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        while sum(parts().values()) < ENOUGH:
            assert process.poll() is None, "it ended before enough was across"
            time.sleep(0.05)
        process.send_signal(end)
        assert process.wait() in (-signal.SIGKILL, 130)
    (size,) = parts().values()
    assert size < len(CONTENT), "it went on to the end"
    return size


@pytest.fixture
def pair(fleet: Fleet) -> Iterator[Fleet]:
    """Two nodes in step, of which one has a large file more."""
    fleet.join("paris", "oslo")
    fleet["paris"].write("small", b"small")
    fleet.sync_all()
    fleet["paris"].write("large", CONTENT)
    fleet["paris"].write("other", b"other")
    yield fleet
    assert ({}, {}) == (parts_on_hub(fleet), {**parts_on(fleet["paris"]), **parts_on(fleet["oslo"])})


ENDS = pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])


@ON_EACH
@ENDS
def test_an_upload_goes_on(pair: Fleet, end: signal.Signals) -> None:
    """The next run sends the rest, and a little twice at most."""
    pair.configure("paris", bwlimit=LIMITED)
    left = ended(pair["paris"], lambda: parts_on_hub(pair), end)
    pair.configure("paris")
    result = pair.sync("paris")
    assert (0, pair.told.size) == (result.exit_status, result.size)
    assert len(CONTENT) - left <= result.size <= len(CONTENT) - left + SENT_TWICE + len(b"other")
    assert CONTENT == pair.hub.place.read("large")
    pair.sync("oslo")
    assert pair.all_hold({"small": b"small", "large": CONTENT, "other": b"other"}) == pair.trees()


@ON_EACH
@ENDS
def test_a_download_goes_on(pair: Fleet, end: signal.Signals) -> None:
    """The next run receives exactly the rest."""
    pair.sync("paris")
    pair.configure("oslo", bwlimit=LIMITED)
    left = ended(pair["oslo"], lambda: parts_on(pair["oslo"]), end)
    pair.configure("oslo")
    result = pair.sync("oslo")
    assert 0 == result.exit_status
    assert len(CONTENT) - left <= result.size <= len(CONTENT) - left + len(b"other")
    assert pair.all_hold({"small": b"small", "large": CONTENT, "other": b"other"}) == pair.trees()


@pytest.mark.parametrize("make_hub", [BUNDLED], indirect=True)
def test_a_changed_file_begins_anew(pair: Fleet) -> None:
    """What was sent of the former version is no part of the new one, and goes."""
    pair.configure("paris", bwlimit=LIMITED)
    ended(pair["paris"], lambda: parts_on_hub(pair), signal.SIGKILL)
    pair.configure("paris")
    pair["paris"].write("large", CONTENT[::-1])
    result = pair.sync("paris")
    assert (0, len(CONTENT) + len(b"other")) == (result.exit_status, result.size)
    assert CONTENT[::-1] == pair.hub.place.read("large")


@pytest.mark.parametrize("make_hub", [BUNDLED, BUNDLED_SFTP], indirect=True)
def test_a_file_that_somebody_put_on_the_hub_goes_on(fleet: Fleet) -> None:
    """Nobody knows its digest; its stamp vouches for it, for it is an old one."""
    fleet.join("paris", bwlimit=LIMITED, mode="mirror")
    fleet.hub.place.write("large", CONTENT)
    fleet.hub.place.set_time("large", 10**18)
    left = ended(fleet["paris"], lambda: parts_on(fleet["paris"]), signal.SIGKILL)
    fleet.configure("paris", mode="mirror")
    assert len(CONTENT) - left == fleet.sync("paris").size
    assert CONTENT == fleet["paris"].read("large")


@pytest.mark.parametrize("make_hub", [BUNDLED], indirect=True)
def test_what_was_received_and_is_not_the_beginning_is_received_anew(pair: Fleet) -> None:
    """The digest that other nodes know decides over what an ended run left."""
    pair.sync("paris")
    pair.configure("oslo", bwlimit=LIMITED)
    left = ended(pair["oslo"], lambda: parts_on(pair["oslo"]), signal.SIGKILL)
    pair.configure("oslo")
    (part,) = parts_on(pair["oslo"])
    with open(part, "r+b") as file:
        file.write(b"damaged")
    result = pair.sync("oslo")
    assert (0, 2 * len(CONTENT) - left + len(b"other")) == (result.exit_status, result.size)
    assert CONTENT == pair["oslo"].read("large")
