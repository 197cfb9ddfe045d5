"""Ctrl-C at any time leaves all whole: a real process, interrupted at random moments."""

import random
import signal
import time

import pytest

from integration.conftest import BUNDLED, BUNDLED_SFTP
from integration.scenarios import Fleet, Tree, begin, differing

INTERRUPTED = "symsync: interrupted; nothing is lost, the next run goes on from here"

ROUNDS = 5

WHAT_NEVER_STAYS = (".sync.lock", ".sync.tmp/2")
"""The lock, and what is named after a run."""


def content(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([10, 1000, 300_000]))


@pytest.mark.parametrize("make_hub", [BUNDLED, BUNDLED_SFTP], indirect=True)
def test_ctrl_c_leaves_all_whole(fleet: Fleet) -> None:
    """The status is 130, what is said is one line, each path holds one of its versions, and the next run completes."""
    chance = random.Random(fleet.hub.kind)
    fleet.join("paris")
    paris, hub = fleet["paris"], fleet.hub.place
    before: Tree = {f"{number % 3}/{number}": content(chance) for number in range(30)}
    paris.fill(before)
    fleet.sync("paris")
    interrupted = 0
    typical = 0.5
    for _ in range(ROUNDS):
        after = dict(before)
        for path in chance.sample(sorted(before), 8):
            paris.write(path, edited := content(chance))
            after[path] = edited
        for path in chance.sample(sorted(before), 2):
            paris.remove(path)
            del after[path]
        new = f"{chance.randrange(3)}/new {chance.random()}"
        paris.write(new, created := content(chance))
        after[new] = created

        process = begin("symsync", str(paris.root), "--debug", "--no-progress")
        assert process.stdout is not None
        first = process.stdout.readline()  # it has begun to speak with the hub
        began = time.monotonic()
        time.sleep(chance.uniform(0, typical))
        process.send_signal(signal.SIGINT)
        said = first + process.communicate(timeout=60)[0]
        # Where all was done already, and Python was about to end, the signal ends it: shells call that 130, too.
        assert process.returncode in (0, 130, -signal.SIGINT) and "Traceback" not in said, said[-2000:]
        if process.returncode == 130:
            interrupted += 1
            assert INTERRUPTED == said.splitlines()[-1]
        typical = min(typical, time.monotonic() - began)

        assert [] == differing(after, paris.tree())
        old_or_new = {path: {before.get(path), after.get(path)} for path in {*before, *after}}
        assert [] == [path for path, item in hub.tree().items() if item not in old_or_new.get(path, {None})]

        fleet.sync("paris")
        assert [] == differing(after, hub.tree())
        left = [path for path in hub.everything() if path.startswith(WHAT_NEVER_STAYS)]
        assert [] == left
        before = after
    assert interrupted > 0
