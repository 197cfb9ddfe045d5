"""`symsync demo`: a hub and three laptops on this computer."""

import argparse

from symsync.cli.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="keep the directories it makes, and say where they are")


def _run(arguments: argparse.Namespace) -> int:
    from symsync import demo
    from symsync.cli import main

    return demo.run(main, keep=arguments.keep)


DEMO = Command("demo", "a hub and three laptops on this computer, in a minute", _add_arguments, _run)
