"""Many histories, one after another, from one seed."""

import os
import random
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from simulation.history import History, Profile, draw, shrink
from simulation.oracles import Violation
from simulation.world import World

RAM_DISK = Path("/dev/shm")  # noqa: S108 - what lies there is in directories with random names


@dataclass(frozen=True, slots=True)
class Failure:
    """What a history showed."""

    kind: str
    """Two failures are the same one if their kinds are: an oracle's name, or an exception and where it was raised."""
    text: str


def replay(history: History) -> Failure | None:
    """What goes wrong in a history, None where nothing does."""
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None, prefix="symsync-world-") as directory:
        world = World(history.setting, Path(directory))
        with world.engine():
            try:
                world.play(history)
            except Violation as violation:
                return Failure(violation.oracle, str(violation))
            except Exception as error:  # whatever the engine raises here, no person should ever see
                frame = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{type(error).__name__} in {os.path.basename(frame.filename)}:{frame.name}"
                return Failure(where, "".join(traceback.format_exception(error)))
    return None


def nth(seed: int, number: int, profile: Profile) -> History:
    """The history of this number in a campaign."""
    return draw(random.Random(f"{seed} {number} {profile}"), profile)


def shrunk(history: History, failure: Failure) -> History:
    """The smallest history to be found that fails in the same way."""

    def fails(candidate: History) -> bool:
        again = replay(candidate)
        return again is not None and again.kind == failure.kind

    return shrink(history, fails)
