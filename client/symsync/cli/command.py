"""What a command is to the command line, and the options that several of them share."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from symsync_protocol.errors import UsageError

if TYPE_CHECKING:
    # Heavy for a program that may only print its help, as dataclasses and pathlib are, too.
    from pathlib import Path

    from symsync.report import Document, Lines, Screen


_ELSEWHERE = {
    "--exclude": "what stays out stands in DIR/.sync.ignore, one pattern in a line as in .gitignore",
    "--bwlimit": "the bandwidth is limited by the line bwlimit in DIR/.sync.conf",
}
"""Options that users of rsync and lftp will try, and what does their work here."""


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        options = {word.partition("=")[0] for word in message.split()}
        ways = [way for option, way in _ELSEWHERE.items() if option in options]
        raise UsageError("; ".join([message, *ways, f"see {self.prog} --help"]))


class Command(NamedTuple):
    """One verb: `run` gets the parsed arguments and returns the exit status."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_directory(parser: argparse.ArgumentParser) -> None:
    """DIR and SERVER, as `directory_of` reads them."""
    parser.add_argument(
        "directory",
        metavar="DIR",
        nargs="?",
        help="the synchronised directory (default: the one around the current one)",
    )
    parser.add_argument("server", metavar="SERVER", nargs="?", help="a further hub: .sync-SERVER.conf is used")


def add_connection(parser: argparse.ArgumentParser) -> None:
    """What every command that meets a hub understands."""
    parser.add_argument("-p", "--password", metavar="PW", help="the password, instead of all other places")
    parser.add_argument(
        "-d", "--debug", action="store_true", help="show the conversation with the server, passwords left out"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """What every command that shows a run understands."""
    parser.add_argument("-a", "--all", action="store_true", help="a line for every path, also for unmodified ones")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("-q", "--quiet", action="store_true", help="only conflicts and problems, on standard error")
    how_much.add_argument("-v", "--verbose", action="store_true", help="also what the run is doing")


def absolute(path: str) -> "Path":
    """What the user typed, from the root; links and `..` are left as they are. Raises UsageError where it is relative
    to a current directory that was removed."""
    from pathlib import Path

    try:
        return Path(path).absolute()
    except FileNotFoundError:
        raise UsageError("the current directory does not exist any more: go to another one, and run again") from None


def directory_of(arguments: argparse.Namespace) -> "Path":
    """The absolute path of DIR, or of the synchronised directory around the current one, which `.` means, too, where
    it is only given because a SERVER follows."""
    if arguments.directory is None or (arguments.directory == "." and arguments.server is not None):
        from symsync.config import find_directory

        return find_directory(absolute("."))
    return absolute(arguments.directory)


def conversation_of(arguments: argparse.Namespace, screen: "Screen") -> Callable[[str], None] | None:
    """Who hears the protocol's conversation: standard error with `--debug`, else nobody."""
    return screen.complaint if arguments.debug else None


def report_of(arguments: argparse.Namespace, screen: "Screen") -> "Lines | Document":
    """How the run is shown."""
    from symsync.report import Detail, Document, Lines

    if arguments.json:
        return Document(screen)
    detail = Detail.QUIET if arguments.quiet else Detail.VERBOSE if arguments.verbose else Detail.NORMAL
    # A bar would be torn by the conversation's lines.
    progress = not (arguments.no_progress or arguments.quiet or arguments.debug)
    return Lines(screen, detail=detail, everything=arguments.all, progress=progress)
