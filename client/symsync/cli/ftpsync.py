"""The ancestor's own command line, `ftpsync [-a] [-d] [-l] [-p PW] [-s MODE] [-y] DIR [SERVER]`, on the same engine."""

import argparse

from symsync.cli.command import Parser, absolute
from symsync.cli.sync import MODES, add_checks, run_settings, words


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="ftpsync",
        description="Synchronise DIR with the server in DIR/.sync.conf, or in DIR/.sync-SERVER.conf.",
        allow_abbrev=False,
    )
    made.add_argument("-a", dest="all", action="store_true", help="a line for every path, also for unmodified ones")
    made.add_argument("-d", "--debug", action="store_true", help="show the conversation with the server")
    made.add_argument("-l", dest="list", action="store_true", help="only list what would be done")
    made.add_argument("-p", dest="password", metavar="PW", help="the password, instead of the configured one")
    made.add_argument("-s", dest="mode", metavar="MODE", choices=MODES, help="another mode; only lists without -y")
    made.add_argument("-y", dest="yes", action="store_true", help="with -s: do it")
    add_checks(made)
    made.add_argument("directory", metavar="DIR")
    made.add_argument("server", metavar="SERVER", nargs="?")
    # What the ancestor has no options for.
    made.set_defaults(json=False, quiet=False, verbose=False, no_progress=False)
    return made


def run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from symsync.config import load
    from symsync.core.modes import Mode

    settings = load(absolute(arguments.directory), arguments.server, arguments.password)
    settings = replace(settings, allow=words(arguments.allow))
    if arguments.mode is not None:
        settings = replace(settings, mode=Mode(arguments.mode))
    unconfirmed = arguments.mode is not None and not arguments.yes
    return run_settings(settings, arguments, list_only=arguments.list or unconfirmed)
