"""Random histories of a hub and one to three nodes against the real core; and those that once lost a version."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_histories import Op, come_to_rest, live
from core_world import HUB, Trouble, World
from symsync.core.values import Side

NODES = ("a", "b", "c")
FILES = ("f", "g")
PATHS = (*FILES, "d", "d/x", *(f"{path}.{name}" for path in FILES for name in (HUB, *NODES)))
"""Two files, a directory with another, and every name that a conflict's copy of the two may have."""

TROUBLES = (
    st.just(Trouble())
    | st.builds(Trouble, step=st.integers(0, 5))
    | st.builds(Trouble, unseen=st.tuples(st.sampled_from(Side), st.sampled_from(PATHS)))
)


def ops(nodes: tuple[str, ...]) -> st.SearchStrategy[Op]:
    """One thing that happens; half of them are runs."""
    places, paths = st.sampled_from((HUB, *nodes)), st.sampled_from(PATHS)
    return (
        st.builds(Op, st.just("sync"), st.sampled_from(nodes), trouble=TROUBLES)
        | st.builds(Op, st.just("sync"), st.sampled_from(nodes))
        | st.builds(Op, st.just("write"), places, st.sampled_from(FILES))
        | st.builds(Op, st.sampled_from(["write", "delete", "touch"]), places, paths)
        | st.builds(Op, st.sampled_from(["move", "copy"]), places, paths, paths)
        | st.builds(Op, st.just("mkdir"), places, st.sampled_from(["d", *FILES]))
    )


def sync(node: str, trouble: Trouble = Trouble()) -> Op:  # noqa: B008 - a frozen value
    return Op("sync", node, trouble=trouble)


def write(at: str, path: str) -> Op:
    return Op("write", at, path)


BEGUN = [write("a", "f"), write(HUB, "f"), sync("a")]
"""A conflict of `f` at node a, each side with its copy."""


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, list[Op]]:
    nodes = NODES[: draw(st.integers(1, len(NODES)))]
    begun = draw(st.sampled_from([[], BEGUN]))
    return World(nodes, keeps_times=draw(st.booleans())), begun + draw(st.lists(ops(nodes), max_size=18))


def lived(world: World, history: list[Op], by: Side) -> None:
    live(world, history)
    come_to_rest(world, by)


@settings(max_examples=400)
@given(worlds(), st.sampled_from(Side))
def test_nothing_is_lost_and_all_become_equal(world: tuple[World, list[Op]], by: Side) -> None:
    """Whatever users and failures do: no version disappears that nobody gave up, equal content is no conflict, the
    state claims nothing that is not so, and once all is decided two runs make all sides equal and a third writes
    nothing."""
    lived(*world, by)


@pytest.mark.long
@settings(max_examples=50_000)
@given(worlds(), st.sampled_from(Side))
def test_nothing_is_lost_in_the_long_run(world: tuple[World, list[Op]], by: Side) -> None:
    """The same, many times."""
    lived(*world, by)


HISTORIES = {
    "the copy on the hub is edited": [*BEGUN, write(HUB, "f.a")],
    "the copy on the node is edited": [*BEGUN, write("a", "f.hub")],
    "a copy's name travels from another node": [*BEGUN, write("b", "f.hub"), sync("b")],
    "a copy is renamed to the other copy's name": [*BEGUN, Op("move", "a", "f.hub", "f.a")],
    "a copy is not seen": [*BEGUN, sync("a", Trouble(unseen=(Side.THERE, "f.a")))],
    "a refresh fails, then the old copy is removed": [
        *BEGUN,
        write(HUB, "f"),
        sync("a", Trouble(step=0)),
        Op("delete", "a", "f.hub"),
    ],
    "a file stands against a directory in which a conflict is open": [
        write("a", "d"),
        Op("mkdir", HUB, "d"),
        sync("b"),
        write("b", "d/x"),
        write(HUB, "d/x"),
        sync("b"),
    ],
    "a conflict's end is cut off before the copy is gone": [
        write("a", "f"),
        Op("mkdir", HUB, "f"),
        sync("a"),
        Op("delete", HUB, "f"),
        sync("a", Trouble(step=1)),
    ],
    "a conflict's end is cut off after the copy is gone, and its name is used": [
        *BEGUN,
        Op("move", "a", "f", "f.a"),
        sync("a", Trouble(step=0)),
        sync("a", Trouble(step=1)),
    ],
    "the hub's user takes the node's version and leaves the copies": [*BEGUN, Op("copy", HUB, "f.a", "f")],
    "a name is taken by what can't be seen": [
        write("a", "f"),
        Op("copy", "a", "f", "f.hub"),
        write(HUB, "f"),
        sync("a", Trouble(unseen=(Side.HERE, "f.hub"))),
    ],
}


@pytest.mark.parametrize("keeps_times", [False, True])
@pytest.mark.parametrize("by", Side)
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_histories_that_went_wrong(history: list[Op], by: Side, keeps_times: bool) -> None:
    """Each of them once lost a version, put one where another lay, asked about equal contents or never came to rest."""
    lived(World(("a", "b"), keeps_times=keeps_times), history, by)
