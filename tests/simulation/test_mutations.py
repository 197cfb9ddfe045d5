"""Every protection is tested: a history passes on the engine, and fails on the engine without that protection."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.campaign import replay
from simulation.history import RUNS, TOGETHER, History
from simulation.mutations import MUTATIONS

EFFECTS = range(1, 40)
SEEDS = range(100)


def near(history: History) -> Iterator[History]:
    """The history, and it with its faults at other effects, or its turns taken otherwise: numbers move when the
    engine's order of work does."""
    yield history
    for index, op in enumerate(history.ops):
        if op.verb == TOGETHER:
            for seed in SEEDS:
                moved = replace(op, args=(str(seed), *op.args[1:]))
                yield replace(history, ops=(*history.ops[:index], moved, *history.ops[index + 1 :]))
        if (op.verb in RUNS or op.verb == "original") and op.args:
            for effect in EFFECTS:
                moved = replace(op, args=(op.args[0], str(effect), *op.args[2:]))
                yield replace(history, ops=(*history.ops[:index], moved, *history.ops[index + 1 :]))


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_engine_needs_the_protection(name: str) -> None:
    """Without it a history shows the failure that the protection is there to prevent, with it none."""
    mutation = MUTATIONS[name]
    kinds = set()
    for history in near(History.parse(mutation.history)):
        assert None is replay(history)
        with mutation.applied():
            failure = replay(history)
        kinds.add(failure and failure.kind)
        if failure is not None and mutation.fails == failure.kind:
            return
    pytest.fail(f"no history misses it: {kinds}")


def test_the_documentation_lists_them_all() -> None:
    """docs/reliability.md says what each protection is, and what fails without it."""
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [f"| `{name}` | {m.protection} | {m.fails} |" for name, m in MUTATIONS.items()] == rows
