"""`symsync [sync] DIR [SERVER]`, one run; and `symsync status`, what one would do."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from symsync.cli.command import (
    Command,
    add_connection,
    add_directory,
    add_output,
    conversation_of,
    directory_of,
    report_of,
)
from symsync_protocol.errors import UsageError

if TYPE_CHECKING:
    from symsync.events import Result
    from symsync.settings import Settings

MODES = ("sync", "master", "slave", "original", "mirror")

CHECKS = ("deletes", "emptied", "identity")
"""The words of `--allow`: what `Stopped.allow` may be."""


def add_checks(parser: argparse.ArgumentParser) -> None:
    """`--allow`, in `symsync` and `ftpsync` alike."""
    parser.add_argument(
        "--allow",
        metavar="WORD",
        action="append",
        default=[],
        help=f"let a check pass this once ({', '.join(CHECKS)}); the message that stopped the run names the word",
    )


def words(given: list[str]) -> frozenset[str]:
    """What `--allow` was given, repeated or in lists with commas. Raises UsageError for a word that names no check."""
    from symsync_protocol.names import shown

    allowed = frozenset(word for item in given for word in item.replace(",", " ").split())
    for word in sorted(allowed.difference(CHECKS)):
        raise UsageError(f"--allow {shown(word)}: there is no such check; the words are {', '.join(CHECKS)}")
    return allowed


def run_settings(settings: "Settings", arguments: argparse.Namespace, list_only: bool) -> int:
    """Do what `settings` say, or only list it, and show it as `arguments` ask for."""
    from symsync import session
    from symsync.config.passwords import asking
    from symsync.report import Screen

    screen = Screen()
    work: Callable[..., Result] = session.preview if list_only else session.run

    def once(settings: "Settings") -> "Result":
        report = report_of(arguments, screen)
        result = None
        try:
            result = work(settings, report, conversation=conversation_of(arguments, screen))
        finally:
            report.end(result)
        return result

    return asking(settings, once).exit_status


def _add_sync(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    parser.add_argument("-l", "--list", "-n", "--dry-run", action="store_true", help="only list what would be done")
    parser.add_argument("-s", "--mode", choices=MODES, help="this mode instead of the configured one, at once")
    parser.add_argument("--delete", action="store_true", help="one-way modes: remove what the source does not have")
    parser.add_argument("--only-newer", action="store_true", help="one-way modes: leave what is newer on the target")
    parser.add_argument(
        "--size-only", action="store_true", help="first meeting: take files of the same size for equal, unread"
    )
    parser.add_argument("--replace", action="store_true", help="take over this node's name from another directory")
    add_checks(parser)
    add_connection(parser)
    add_output(parser)


def _sync(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from symsync.config import load
    from symsync.core.modes import Mode

    settings = load(directory_of(arguments), arguments.server, arguments.password)
    settings = replace(
        settings,
        mode=Mode(arguments.mode) if arguments.mode else settings.mode,
        delete=arguments.delete,
        only_newer=arguments.only_newer,
        size_only=arguments.size_only,
        replace=arguments.replace,
        allow=words(arguments.allow),
    )
    _check_one_way(settings)
    return run_settings(settings, arguments, list_only=arguments.list)


def _check_one_way(settings: "Settings") -> None:
    """Who gives an option that would do nothing should learn it. Raises UsageError."""
    from symsync.core.modes import Mode
    from symsync.core.plan import one_way

    for option, given in (("--delete", settings.delete), ("--only-newer", settings.only_newer)):
        if given and not one_way(settings.mode):
            modes = ", ".join(mode for mode in Mode if one_way(mode))
            raise UsageError(
                f"{option} has no meaning in mode {settings.mode}, only in {modes}; leave it out, or give -s MODE"
            )


def _add_status(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    add_connection(parser)
    add_output(parser)


def _status(arguments: argparse.Namespace) -> int:
    from symsync.config import load

    settings = load(directory_of(arguments), arguments.server, arguments.password)
    return run_settings(settings, arguments, list_only=True)


SYNC = Command("sync", "one run: bring the directory and its hub into step", _add_sync, _sync)
STATUS = Command("status", "what a run would do; open conflicts", _add_status, _status)
