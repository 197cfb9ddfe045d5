"""Histories of what users and nodes do, and what must hold in each of them: DESIGN.md's invariants 1, 2, 5 and 7."""

from collections.abc import Sequence
from dataclasses import dataclass

from core_world import HUB, Trouble, World
from symsync.core.values import Side


@dataclass(frozen=True)
class Op:
    """One thing that happens: `what` is a method of World, done at directory `at`."""

    what: str
    at: str
    path: str = ""
    to: str = ""
    trouble: Trouble = Trouble()

    def __str__(self) -> str:
        told = " ".join(word for word in (self.what, self.at, self.path, self.to) if word)
        return told if self.trouble == Trouble() else f"{told} ({self.trouble})"


def live(world: World, history: Sequence[Op]) -> None:
    """Let `history` happen in `world`; AssertionError where a version is lost or a claim is false."""
    for op in history:
        match op.what:
            case "sync":
                world.sync(op.at, op.trouble)
            case "write":
                world.write(op.at, op.path)
            case "touch":
                world.touch(op.at, op.path)
            case "mkdir":
                world.make_directory(op.at, op.path)
            case "delete":
                world.delete(op.at, op.path)
            case "move":
                world.move(op.at, op.path, op.to)
            case "copy":
                world.copy(op.at, op.path, op.to)
            case _:
                raise ValueError(op.what)
        assert not world.lost, f"lost after {op}: {sorted(world.lost)}"


def come_to_rest(world: World, by: Side = Side.HERE) -> None:
    """Everybody decides his conflicts on side `by`; then two runs of each node make all sides equal, and one more
    writes nothing."""
    for _ in range(4 * len(world.nodes) + 4):
        for node in world.nodes:
            world.sync(node)
            decide(world, node, by)
            world.sync(node)
            assert not world.lost, f"lost while deciding at {node}: {sorted(world.lost)}"
        if any(state.conflicts for state in world.states.values()):
            continue
        for node in world.nodes * 2:
            world.sync(node)
            assert not world.lost, f"lost at rest at {node}: {sorted(world.lost)}"
        if any(state.conflicts for state in world.states.values()):
            continue
        hub = world.trees[HUB].versions
        assert [hub] * len(world.nodes) == [world.trees[node].versions for node in world.nodes], "not equal"
        assert not [node for node in world.nodes if world.sync(node).wrote], "never at rest"
        return
    raise AssertionError(f"never decided: {[dict(state.conflicts) for state in world.states.values()]}")


def decide(world: World, node: str, by: Side) -> None:
    """Each open conflict of `node` is decided for the version of side `by`: by removing the copy beside it, and where
    there is none by removing the other side's file."""
    for path, conflict in sorted(world.states[node].conflicts.items()):
        at, other, copy = (node, HUB, conflict.copy_here) if by is Side.HERE else (HUB, node, conflict.copy_there)
        if copy is not None and copy.path in world.trees[at].found:
            world.delete(at, copy.path)
        else:
            world.delete(other, path)
