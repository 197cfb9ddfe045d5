"""The command line: `symsync COMMAND ...` and `ftpsync ...`.

A command is a `Command` in a module of its own and an item of `COMMANDS`. Modules here import nothing heavy at their
top, so that `symsync --help` is instant.
"""

import io
import os
import sys
from collections.abc import Sequence

from symsync.cli import demo, ftpsync, init, sync, trash
from symsync.cli.command import Command, Parser
from symsync.cli.guard import Guard, show
from symsync_protocol.errors import UsageError
from symsync_protocol.utf8 import ensure_utf8

COMMANDS: Sequence[Command] = (init.INIT, sync.SYNC, sync.STATUS, trash.TRASH, trash.RESTORE, demo.DEMO)
DEFAULT = sync.SYNC
_BY_NAME = {command.name: command for command in COMMANDS}

_OVERVIEW = """\
usage: symsync [COMMAND] ...

Keep one directory the same on all your computers, through any SFTP, FTP or FTPS server, or any directory.

commands:
{commands}
Without a COMMAND it is sync: `symsync DIR` does one run, and `symsync` alone finds the synchronised directory around
the current one. A directory named like a command is given as ./NAME. `symsync COMMAND --help` tells more,
`symsync --version` which version this is.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `symsync` with these arguments (default: the process's own) and return its exit status."""
    if argv is None:
        ensure_utf8()
    _prepare_streams()
    with Guard("symsync") as guard:
        arguments = list(sys.argv[1:] if argv is None else argv)
        if arguments and arguments[0] in ("-h", "--help"):
            show(_OVERVIEW.format(commands="".join(f"  {c.name:<8}{c.summary}\n" for c in COMMANDS)))
        elif arguments == ["--version"]:
            show(f"symsync {_version()}\n")
        else:
            command, rest = _chosen(arguments)
            parser = Parser(prog=f"symsync {command.name}", description=f"{command.summary}.", allow_abbrev=False)
            command.add_arguments(parser)
            parsed = guard.heed(parser.parse_args(rest))
            guard.status = command.run(parsed)
    return guard.status


def ftpsync_main(argv: Sequence[str] | None = None) -> int:
    """Run `ftpsync` with these arguments (default: the process's own) and return its exit status."""
    if argv is None:
        ensure_utf8()
    _prepare_streams()
    with Guard("ftpsync") as guard:
        parsed = guard.heed(ftpsync.parser().parse_args(argv))
        guard.status = ftpsync.run(parsed)
    return guard.status


def _chosen(arguments: list[str]) -> tuple[Command, list[str]]:
    """The command and what follows it. Raises UsageError for a word that is neither a command nor a directory."""
    first = arguments[0] if arguments else None
    if first in _BY_NAME:
        return _BY_NAME[first], arguments[1:]
    if first and not first.startswith("-") and os.sep not in first and not os.access(first, os.F_OK):
        commands = ", ".join(_BY_NAME)
        raise UsageError(f"{first}: neither a directory nor a command; the commands are {commands}")
    return DEFAULT, arguments


def _prepare_streams() -> None:
    """A stream that was closed leads nowhere, and its number to no file of ours; a character that the terminal's
    encoding lacks is shown escaped. Neither ends a run."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # whoever opens now, in this order, gets the number that is free: 0, 1 or 2
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _version() -> str:
    from importlib.metadata import version

    return version("symsync")
