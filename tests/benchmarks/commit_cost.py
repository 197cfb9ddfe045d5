#!/usr/bin/env python3
"""What safety costs: the share of fence, second look and intents in a push, and their round trips in the smallest run.

    python tests/benchmarks/commit_cost.py [--files 2000] [--size 4096] [--lag 20] [--servers vsftpd,hub]

A push of many small files, one that replaces them all, and then the smallest runs, of one file each, through the link
that benchmark.py uses (bring the servers up beforehand, as it says). The seconds are those that a run spends in the
parts below; what is left is the transfer itself. Round trips are the seconds of one file's run divided by the link's;
with --lag 100 they come out as whole numbers.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from places import Address, Server, UnavailableError, link, server

from symsync import session
from symsync.events import Audience
from symsync.execute.on_hub import OnHub
from symsync.fence import Fence
from symsync.remotes.location import Location, Protocol, Tls
from symsync.settings import Settings

PARTS: dict[str, list[tuple[type, str]]] = {
    "staging": [(Fence, "prepare")],
    "lock": [(Fence, "acquire"), (Fence, "verify"), (Fence, "release")],
    "intent": [(session._Session, "_announce")],
    "look": [(OnHub, "_begin")],
    "exchange": [(Fence, "exchange")],
    "put": [(Fence, "rename")],
    "trash": [(Fence, "settle")],
}
"""What is measured, and where it happens; what one calls of another is the inner one's."""

SAFETY = frozenset({"staging", "lock", "intent", "look", "exchange"})
"""Fence, second look and intents. By a put's rename a file takes its place whole, as with rsync; the trash is another
matter, too. Where files are replaced the puts go with the displacements, in an exchange: what as many take alone is
known from the push before."""


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Add up the seconds that each part takes."""
    inside: list[str] = []

    def wrapped(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(part)
            began = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.monotonic() - began
                spent[part] += seconds
                inside.pop()
                if inside:
                    spent[inside[-1]] -= seconds

        return call

    with ExitStack() as stack:
        for part, places in PARTS.items():
            for owner, name in places:
                stack.enter_context(patch.object(owner, name, wrapped(part, getattr(owner, name))))
        yield


def push(directory: Path, address: Address, folder: str) -> tuple[float, dict[str, float]]:
    """One run: its seconds, and those of each part."""
    location = Location(
        Protocol(address.protocol),
        address.host,
        address.port,
        address.login,
        address.password,
        folder,
        tls=Tls.NO if address.protocol == "ftp" else Tls.EXPLICIT,
        tls_fingerprint=address.tls_fingerprint,
        host_key=address.host_key,
    )
    spent: dict[str, float] = defaultdict(float)
    began = time.monotonic()
    with timed(spent):
        result = session.run(Settings(directory, "bench", location, peer="hub"), Audience())
    if result.exit_status != 0:
        problems = [failed.problem for outcome in result.outcomes for failed in outcome.failed]
        why = "; ".join(f"{one.path}: {one.reason}, {one.detail}" for one in (*result.problems, *problems)[:5])
        raise UnavailableError(f"the push ended with status {result.exit_status}: {why}")
    return time.monotonic() - began, spent


def measure(name: str, one: Server, address: Address, base: Path, options: argparse.Namespace) -> None:
    """Both pushes to one server, and a line for each."""
    folder = f"cost-{os.urandom(4).hex()}"
    directory = base / folder
    directory.mkdir()
    one.make_directory(folder)
    try:
        (directory / "first").write_bytes(b"so that the folders are made")
        push(directory, address, folder)
        plain = 0.0
        for what in ("new", "replaced"):
            for number in range(options.files):
                place = directory / f"{number // 100}" / f"{number}"
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(random.randbytes(options.size))
            whole, spent = push(directory, address, folder)
            show(f"{name}, {options.files} {what}", whole, spent, puts=plain)
            plain = spent["put"]
        # The trash is there by now, and has been looked through today.
        for what, edit in EDITS.items():
            edit(directory)
            show(f"{name}, one {what}", *push(directory, address, folder), round_trip=options.lag / 1000)
    finally:
        one.remove_directory(folder)


EDITS: dict[str, Callable[[Path], object]] = {
    "new": lambda directory: (directory / "last").write_bytes(b"one more"),
    "replaced": lambda directory: (directory / "last").write_bytes(b"the same once more"),
    "moved": lambda directory: (directory / "last").rename(directory / "moved"),
    "removed": lambda directory: (directory / "moved").unlink(),
}
"""The smallest runs, in this order."""


def show(
    title: str, whole: float, spent: dict[str, float], *, puts: float = 0.0, round_trip: float | None = None
) -> None:
    """One row of the table. `puts`: the seconds of the exchanges in which files took their places."""
    safety = sum(spent[part] for part in SAFETY) - max(0.0, puts - spent["put"])
    unit = round_trip or 1
    parts = " | ".join(f"{spent[part] / unit:.2f}" for part in PARTS)
    adds = f"{safety / (whole - safety):.0%}" if round_trip is None else f"{safety / unit:.1f}"
    row = [f"{title} ({'s' if round_trip is None else 'round trips'})", f"{whole / unit:.2f}", parts, adds]
    print(f"| {' | '.join(row)} |", flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--size", type=int, default=4096, help="bytes of each")
    parser.add_argument("--lag", type=int, default=20, help="the link's round trip in ms")
    parser.add_argument("--mbit", type=int, default=100)
    parser.add_argument("--servers", default="vsftpd,proftpd,pure-ftpd,openssh,hub")
    parser.add_argument("--lagnet", default=os.environ.get("LAGNET", "lagnet"))
    options = parser.parse_args()
    print(f"| push | whole | {' | '.join(PARTS)} | safety adds |")
    print("|---|---|" + "---|" * (len(PARTS) + 1))
    try:
        with tempfile.TemporaryDirectory() as base, link(options.lagnet, options.lag, options.mbit) as place:
            for name in options.servers.split(","):
                one = server(name, Path(base))
                with one.serving(place) as address:
                    measure(name, one, address, Path(base), options)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
