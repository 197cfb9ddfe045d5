"""The five tables, typed here once more from the design and from the ancestor's prose."""

from itertools import product

import pytest

from symsync.core.modes import TABLES, Action, Mode, Status, Table, dual, swap, writes

U, C, D, A = Status.UNCHANGED, Status.CHANGED, Status.DELETED, Status.ABSENT
NOTHING, GET, PUT, REMOVE = Action.NOTHING, Action.GET, Action.PUT, Action.REMOVE
DUPLICATE, IGNORE = Action.DUPLICATE, Action.IGNORE

# fmt: off
CELLS = [
    (Mode.SYNC, U, U, NOTHING), (Mode.SYNC, U, C, GET), (Mode.SYNC, U, D, REMOVE), (Mode.SYNC, U, A, PUT),
    (Mode.SYNC, C, U, PUT), (Mode.SYNC, C, C, DUPLICATE), (Mode.SYNC, C, D, PUT), (Mode.SYNC, C, A, PUT),
    (Mode.SYNC, D, U, REMOVE), (Mode.SYNC, D, C, GET), (Mode.SYNC, D, D, IGNORE), (Mode.SYNC, D, A, IGNORE),
    (Mode.SYNC, A, U, GET), (Mode.SYNC, A, C, GET), (Mode.SYNC, A, D, IGNORE), (Mode.SYNC, A, A, IGNORE),

    (Mode.MASTER, U, U, NOTHING), (Mode.MASTER, U, C, GET), (Mode.MASTER, U, D, PUT), (Mode.MASTER, U, A, PUT),
    (Mode.MASTER, C, U, PUT), (Mode.MASTER, C, C, PUT), (Mode.MASTER, C, D, PUT), (Mode.MASTER, C, A, PUT),
    (Mode.MASTER, D, U, REMOVE), (Mode.MASTER, D, C, GET), (Mode.MASTER, D, D, IGNORE), (Mode.MASTER, D, A, IGNORE),
    (Mode.MASTER, A, U, GET), (Mode.MASTER, A, C, GET), (Mode.MASTER, A, D, IGNORE), (Mode.MASTER, A, A, IGNORE),

    (Mode.SLAVE, U, U, NOTHING), (Mode.SLAVE, U, C, GET), (Mode.SLAVE, U, D, REMOVE), (Mode.SLAVE, U, A, PUT),
    (Mode.SLAVE, C, U, PUT), (Mode.SLAVE, C, C, GET), (Mode.SLAVE, C, D, PUT), (Mode.SLAVE, C, A, PUT),
    (Mode.SLAVE, D, U, GET), (Mode.SLAVE, D, C, GET), (Mode.SLAVE, D, D, IGNORE), (Mode.SLAVE, D, A, IGNORE),
    (Mode.SLAVE, A, U, GET), (Mode.SLAVE, A, C, GET), (Mode.SLAVE, A, D, IGNORE), (Mode.SLAVE, A, A, IGNORE),

    (Mode.MIRROR, U, U, NOTHING), (Mode.MIRROR, U, C, GET), (Mode.MIRROR, U, D, REMOVE), (Mode.MIRROR, U, A, IGNORE),
    (Mode.MIRROR, C, U, GET), (Mode.MIRROR, C, C, GET), (Mode.MIRROR, C, D, REMOVE), (Mode.MIRROR, C, A, IGNORE),
    (Mode.MIRROR, D, U, GET), (Mode.MIRROR, D, C, GET), (Mode.MIRROR, D, D, IGNORE), (Mode.MIRROR, D, A, IGNORE),
    (Mode.MIRROR, A, U, GET), (Mode.MIRROR, A, C, GET), (Mode.MIRROR, A, D, IGNORE), (Mode.MIRROR, A, A, IGNORE),

    (Mode.ORIGINAL, U, U, NOTHING), (Mode.ORIGINAL, U, C, PUT), (Mode.ORIGINAL, U, D, PUT), (Mode.ORIGINAL, U, A, PUT),
    (Mode.ORIGINAL, C, U, PUT), (Mode.ORIGINAL, C, C, PUT), (Mode.ORIGINAL, C, D, PUT), (Mode.ORIGINAL, C, A, PUT),
    (Mode.ORIGINAL, D, U, REMOVE), (Mode.ORIGINAL, D, C, REMOVE),
    (Mode.ORIGINAL, D, D, IGNORE), (Mode.ORIGINAL, D, A, IGNORE),
    (Mode.ORIGINAL, A, U, IGNORE), (Mode.ORIGINAL, A, C, IGNORE),
    (Mode.ORIGINAL, A, D, IGNORE), (Mode.ORIGINAL, A, A, IGNORE),
]
# fmt: on


@pytest.mark.parametrize(("mode", "local", "remote", "expected"), CELLS)
def test_cell(mode: Mode, local: Status, remote: Status, expected: Action) -> None:
    """Each cell of each table is the one of the design."""
    assert expected == TABLES[mode][local, remote]


def test_there_are_no_other_cells() -> None:
    """Five modes of sixteen cells, each typed above."""
    assert {(mode, *cell) for mode in Mode for cell in TABLES[mode]} == {cell[:3] for cell in CELLS}
    assert len(Mode) * len(Status) ** 2 == len(CELLS)


@pytest.mark.parametrize(
    ("mode", "other"),
    [
        (Mode.SYNC, Mode.SYNC),
        (Mode.MASTER, Mode.SLAVE),
        (Mode.SLAVE, Mode.MASTER),
        (Mode.MIRROR, Mode.ORIGINAL),
        (Mode.ORIGINAL, Mode.MIRROR),
    ],
)
def test_dual(mode: Mode, other: Mode) -> None:
    """With the roles of the two sides swapped, a mode is its counterpart, and sync is itself."""
    assert TABLES[other] == dual(TABLES[mode])


def with_cells(table: Table, cells: dict[tuple[Status, Status], Action]) -> Table:
    return {**table, **cells}


def test_master_is_sync_that_refreshes() -> None:
    """The ancestor: master = sync with unchanged/deleted put and changed/changed put."""
    assert with_cells(TABLES[Mode.SYNC], {(U, D): PUT, (C, C): PUT}) == TABLES[Mode.MASTER]


def test_slave_is_sync_that_is_refreshed() -> None:
    """The ancestor: slave = sync with deleted/unchanged get and changed/changed get."""
    assert with_cells(TABLES[Mode.SYNC], {(D, U): GET, (C, C): GET}) == TABLES[Mode.SLAVE]


@pytest.mark.parametrize("mode", [Mode.SYNC, Mode.MASTER, Mode.SLAVE])
def test_an_edit_beats_a_deletion(mode: Mode) -> None:
    """In the three modes that write both ways, what one side edited comes back where the other deleted it."""
    assert (PUT, GET) == (TABLES[mode][C, D], TABLES[mode][D, C])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.SYNC, (True, True)),
        (Mode.MASTER, (True, True)),
        (Mode.SLAVE, (True, True)),
        (Mode.MIRROR, (True, False)),
        (Mode.ORIGINAL, (False, True)),
    ],
)
def test_writes(mode: Mode, expected: tuple[bool, bool]) -> None:
    """A mirror writes nothing on the hub, an original nothing on the node, the others on both."""
    assert expected == writes(mode)


@pytest.mark.parametrize(("mode", "spared"), [(Mode.MIRROR, 1), (Mode.ORIGINAL, 0)])
def test_one_way_removes_only_what_the_source_lost(mode: Mode, spared: int) -> None:
    """`remove` acts on the side that still has it, which in the one-way modes is never the source."""
    removing = [cell for cell, action in TABLES[mode].items() if action is REMOVE]
    assert [D] * len(removing) == [cell[spared] for cell in removing]


def test_only_sync_asks() -> None:
    """Every other mode settles by its direction what both sides changed."""
    assert {Mode.SYNC} == {mode for mode in Mode if DUPLICATE in TABLES[mode].values()}


@pytest.mark.parametrize(("here", "there"), list(product(Status, Status)))
def test_nothing_only_where_nothing_happened(here: Status, there: Status) -> None:
    """`nothing` is the answer to two unchanged sides, and to no others."""
    assert {(here, there) == (U, U)} == {TABLES[mode][here, there] is NOTHING for mode in Mode}


@pytest.mark.parametrize(
    ("action", "expected"),
    [(GET, PUT), (PUT, GET), (NOTHING, NOTHING), (REMOVE, REMOVE), (DUPLICATE, DUPLICATE), (IGNORE, IGNORE)],
)
def test_swap(action: Action, expected: Action) -> None:
    """Only the two directions have other names on the other side."""
    assert expected == swap(action)
