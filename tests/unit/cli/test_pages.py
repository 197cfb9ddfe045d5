"""What docs/commands.md says of the command line is so."""

import argparse
import re
from pathlib import Path

import pytest

from symsync.cli import COMMANDS
from symsync.cli.ftpsync import parser as ftpsync_parser
from symsync.core.modes import TABLES, Action, Mode, Status

Captured = pytest.CaptureFixture[str]


def page(name: str) -> str:
    return (Path(__file__).parents[3] / name).read_text()


def test_every_option_is_documented() -> None:
    """docs/commands.md names each command and each option that there is."""
    text = page("docs/commands.md")
    parsers = [ftpsync_parser()]
    for command in COMMANDS:
        assert f"symsync {command.name}" in text.replace("[", "").replace("]", "")
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        parsers.append(parser)
    options = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
    assert options - {"-h", "--help"} - documented == set()


@pytest.mark.parametrize("mode", Mode)
def test_the_documented_tables_are_the_ones_that_count(mode: Mode) -> None:
    """Each cell of the five tables in docs/commands.md is the action of the code."""
    text = page("docs/commands.md")
    rows = re.findall(r"^\| (\w+) \|(.*)\|$", text[text.index(f"\n`{mode}`: ") :], re.MULTILINE)[:4]
    documented = {
        (Status(here), there): Action(cell.strip())
        for here, cells in rows
        for there, cell in zip(Status, cells.split("|"), strict=True)
    }
    assert documented == dict(TABLES[mode])
