"""`symsync trash`, the earlier versions on either side; and `symsync restore`, which brings one back."""

import argparse
import os
from typing import TYPE_CHECKING

from symsync.cli.command import Command, absolute, add_connection, conversation_of
from symsync_protocol.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from symsync.core.values import Side
    from symsync.settings import Settings

_PATH = "relative to the current directory, or absolute; to DIR, where that is given and the current one lies elsewhere"


def _add_place(parser: argparse.ArgumentParser) -> None:
    """DIR and SERVER behind a PATH, as `_place` reads them, and which side is meant."""
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", help="the synchronised directory (default: the one that PATH lies in)"
    )
    parser.add_argument("server", metavar="SERVER", nargs="?", help="a further hub: .sync-SERVER.conf is used")
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--here", action="store_true", help="only this directory's own trash; the hub is left alone")
    side.add_argument("--hub", action="store_true", help="only the hub's trash")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    add_connection(parser)


def _place(arguments: argparse.Namespace) -> "tuple[Path, str]":
    """The synchronised directory, and PATH relative to it; "" is the directory itself."""
    given = _absolute(arguments.path or ".")
    if arguments.directory is not None:
        directory = absolute(arguments.directory)
    else:
        from symsync.config import find_directory

        directory = find_directory(given)
        if arguments.path is None:
            return directory, ""
    return directory, _relative(arguments.path or "", given, directory)


def _absolute(path: str) -> "Path":
    """What the user typed, from the root; links are left alone, for a path may be one, or be gone."""
    from pathlib import Path

    return Path(os.path.normpath(absolute(path)))


def _relative(path: str, given: "Path", directory: "Path") -> str:
    """PATH, `given` as an absolute path, relative to the directory. Raises UsageError where it lies outside."""
    from symsync_protocol.names import is_reserved, is_safe, shown

    for lying, top in ((given, directory), (given.parent.resolve() / given.name, directory.resolve())):
        if lying.is_relative_to(top):
            inside = str(lying.relative_to(top))
            break
    else:
        inside = os.path.normpath(path) if path else "."
    if inside == ".":
        return ""
    if not is_safe(inside):
        raise UsageError(f"{shown(path)} does not lie in {shown(str(directory))}")
    if is_reserved(inside):
        raise UsageError(f"{shown(path)}: symsync keeps no versions of what is its own")
    return inside


def _sides(arguments: argparse.Namespace) -> "Sequence[Side]":
    from symsync.core.values import Side
    from symsync.trash import BOTH

    return (Side.HERE,) if arguments.here else (Side.THERE,) if arguments.hub else BOTH


def _settings(arguments: argparse.Namespace, directory: "Path") -> "Settings":
    from symsync.config import load, read

    if arguments.here:
        return read(directory, arguments.server)  # nobody is asked for a password that nobody needs
    return load(directory, arguments.server, arguments.password)


def _add_trash(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", help=f"only this, and what is below it; {_PATH}")
    _add_place(parser)


def _trash(arguments: argparse.Namespace) -> int:
    from symsync import trash
    from symsync.config.passwords import asking, at_terminal
    from symsync.report import Screen
    from symsync.report.screen import RED
    from symsync.report.trash import listed, of_contents
    from symsync_protocol.errors import PasswordWanted
    from symsync_protocol.names import shown

    directory, path = _place(arguments)
    settings = _settings(arguments, directory)
    sides = _sides(arguments)
    screen = Screen()

    def look(known: "Settings") -> trash.Contents:
        contents = trash.contents(known, path, sides, conversation=conversation_of(arguments, screen))
        if isinstance(contents.unreached, PasswordWanted) and at_terminal():
            raise contents.unreached
        return contents

    found = asking(settings, look)
    if arguments.json:
        screen.document(of_contents(found, settings.trash))
    else:
        for line in listed(found, settings.trash, sides):
            screen.line(line)
    for problem in found.problems:
        screen.complaint(f"problem: {shown(str(problem))}", RED)
    if found.unreached is not None:
        screen.complaint(f"symsync: {shown(str(found.unreached))}; the hub's trash is not shown")
    return found.exit_status


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help=f"a file, or a directory with all that is below it; {_PATH}")
    _add_place(parser)
    parser.add_argument(
        "--from", dest="version", metavar="VERSION", help="which one, as `symsync trash` calls it (default: the newest)"
    )
    parser.add_argument("--to", metavar="PATH", help="put it under this name instead")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def _restore(arguments: argparse.Namespace) -> int:
    from symsync import trash
    from symsync.config.passwords import asking
    from symsync.report import Lines, Screen
    from symsync.report.screen import RED
    from symsync.report.trash import of_restored, restored
    from symsync_protocol.names import shown

    directory, path = _place(arguments)
    to = None
    if arguments.to is not None:
        to = _relative(arguments.to, _absolute(arguments.to), directory)
        if not to:
            raise UsageError("--to: that is the synchronised directory itself; name a path in it")
    settings = _settings(arguments, directory)
    wish = trash.Wish(path, arguments.version, to, _sides(arguments))
    screen = Screen()

    def bring(known: "Settings") -> trash.Restored:
        report = Lines(screen, progress=not (arguments.json or arguments.no_progress or arguments.debug))
        try:
            return trash.restore(known, wish, report, conversation=conversation_of(arguments, screen))
        finally:
            report.end(None)

    result = asking(settings, bring)
    if arguments.json:
        screen.document(of_restored(result))
    else:
        for line in restored(result):
            screen.line(line)
    for problem in result.problems:
        screen.complaint(f"problem: {shown(str(problem))}", RED)
    return result.exit_status


TRASH = Command("trash", "the earlier versions that either side keeps", _add_trash, _trash)
RESTORE = Command("restore", "bring an earlier version back", _add_restore, _restore)
