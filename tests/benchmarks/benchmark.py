#!/usr/bin/env python3
"""symsync beside lftp, rclone and rsync: the same files, the same servers, in one run.

    python tests/benchmarks/benchmark.py [--files 2000] [--size 4096] [--lag 20,100] [--peers lftp,rclone]
                                         [--servers vsftpd,hub] [--markdown]

For each server, without delay and behind each slow link, every program pushes a tree to an empty directory, is run once
more when there is nothing to do, and pulls the tree into an empty directory, where it is compared with the original.
Rounds are interleaved, so that all programs meet the same weather; the table shows medians in seconds, and how many
times as long symsync took as the best of the others. Bring the servers up beforehand:

    docker compose -f deploy/compose.yaml up --build -d --wait

The slow link is made by `lagnet` (--lagnet or $LAGNET) and needs root; where it can't be made, that is said and the
rest is measured.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from peers import PEERS, Command, Pair, Peer
from places import LOOPBACK, Address, Place, Server, UnavailableError, link, server

OURS = "symsync"
OPERATIONS = ("push", "nothing to do", "pull")
FILES_IN_A_DIRECTORY = 100
AGE_SECONDS = 3600
"""The files' age: no program need suspect that they still change."""


class RunError(Exception):
    """A program did not do what it was told; its other runs go on. `str(error)` says what it said."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    files: int
    size: int
    rounds: int
    timeout: float
    peers: list[str]
    servers: list[str]
    lag: list[int]
    mbit: int
    lagnet: str | None
    markdown: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What one server in one place gave."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By operation and program, one for each round that succeeded."""
    complaints: list[str] = field(default_factory=list)

    def median(self, operation: str, program: str) -> float | None:
        """None where the program never got through."""
        found = self.seconds.get((operation, program))
        return statistics.median(found) if found else None


@dataclass(frozen=True, slots=True)
class Bench:
    """What the runs on all servers have in common."""

    options: Options
    peers: list[Peer]
    folder: Path
    tree: dict[str, bytes]
    """What is pushed: digests by path."""

    def original(self, peer: Peer) -> Path:
        """The tree that `peer` pushes. Each has its own, for some leave their records there."""
        return self.folder / f"push-{peer.name}"

    def measure(self, at: Server, address: Address) -> Measured:
        """All rounds of all programs that speak the server's protocol."""
        measured = Measured()
        able = deque(peer for peer in self.peers if address.protocol in peer.protocols)
        for number in range(self.options.rounds):
            for peer in able:
                remote = f"{peer.name}-{number}"
                at.make_directory(remote)
                try:
                    for operation, seconds in self._round(peer, address, remote):
                        measured.seconds[operation, peer.name].append(seconds)
                except RunError as error:
                    measured.complaints.append(f"{peer.name}: {error}")
                finally:
                    at.remove_directory(remote)
            # Another one begins each time: what the first pays for warming up is spread.
            able.rotate(-1)
        return measured

    def _round(self, peer: Peer, address: Address, remote: str) -> Iterator[tuple[str, float]]:
        pushed = Pair(self.original(peer), address, remote)
        peer.prepare(pushed)
        push = peer.push(pushed)
        yield OPERATIONS[0], self._timed(push)
        yield OPERATIONS[1], self._timed(push)
        pulled = Pair(self.folder / f"pull-{remote}", address, remote)
        peer.prepare(pulled)
        try:
            seconds = self._timed(peer.pull(pulled))
            if _digests(pulled.local) != self.tree:
                raise RunError("what it pulled is not what it pushed")
        finally:
            shutil.rmtree(pulled.local)
        yield OPERATIONS[2], seconds

    def _timed(self, command: Command) -> float:
        """The seconds that a command took. Raises RunError."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        own = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
        begin = time.perf_counter()
        try:
            done = subprocess.run(
                command.arguments,
                env={**own, "HOME": str(home), "LC_ALL": "C.UTF-8", **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.options.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RunError(f"not done after {self.options.timeout:.0f} s") from error
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            raise RunError(f"status {done.returncode}: {lines[-1] if lines else 'it says nothing'}")
        return seconds


def main() -> int:
    """Measure and print. Status 1 where nothing could be measured."""
    options = _options()
    # Ended from outside, too, it takes away its links, servers and directories.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    anything = False
    with tempfile.TemporaryDirectory(prefix="symsync-benchmark-") as name:
        folder = Path(name)
        peers = _installed(options.peers, folder)
        bench = Bench(options, peers, folder, {})
        for peer in peers:
            _make_tree(bench.original(peer), options.files, options.size)
        if peers:
            bench.tree.update(_digests(bench.original(peers[0])))
        print(f"{options.files} files of {options.size} bytes, {options.rounds} rounds, medians in seconds")
        for place in _places(options):
            for server_name in options.servers:
                try:
                    at = server(server_name, folder)
                    with at.serving(place) as address:
                        measured = bench.measure(at, address)
                except UnavailableError as error:
                    print(f"\n{server_name}, {place.title}: left out: {error}")
                    continue
                _print(f"{server_name}, {place.title}", measured, peers, options.markdown)
                anything = anything or bool(measured.seconds)
    return 0 if anything else 1


def _installed(names: list[str], folder: Path) -> list[Peer]:
    """symsync and the named programs, as far as they are here; prints their versions."""
    found = []
    for name in [OURS, *(name for name in names if name != OURS)]:
        peer = PEERS[name](folder)
        if peer.path is None:
            print(f"{name}: not installed, left out")
        else:
            print(f"{name}: {peer.version()}")
            found.append(peer)
    return found


def _places(options: Options) -> Iterator[Place]:
    """Where to measure, each set up while it is in use."""
    yield Place("no delay", LOOPBACK)
    if options.lag and options.lagnet is None:
        print("\nslow links left out: lagnet makes them; name it by --lagnet or LAGNET")
        return
    for round_trip in options.lag:
        assert options.lagnet is not None
        try:
            with link(options.lagnet, round_trip, options.mbit) as place:
                yield place
        except UnavailableError as error:
            print(f"\n{round_trip} ms: left out: {error}")


def _make_tree(root: Path, files: int, size: int) -> None:
    """Random but every time the same content, in directories of `FILES_IN_A_DIRECTORY`."""
    source = random.Random(0)
    changed = time.time() - AGE_SECONDS
    for number in range(files):
        path = root / f"{number // FILES_IN_A_DIRECTORY:04}" / f"file-{number:06}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(size))
        os.utime(path, (changed, changed))


def _digests(root: Path) -> dict[str, bytes]:
    """SHA-256 of all files below `root` by path, but for what symsync keeps there."""
    return {
        str(path.relative_to(root)): sha256(path.read_bytes()).digest()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".sync.")
    }


def _print(title: str, measured: Measured, peers: list[Peer], markdown: bool) -> None:
    """One table: operations down, programs across, and symsync's time against the best of the others."""
    names = [peer.name for peer in peers if any(peer.name == program for _, program in measured.seconds)]
    rows = [["", *names, f"{OURS} / best other"]]
    for operation in OPERATIONS:
        medians = {name: measured.median(operation, name) for name in names}
        others = [seconds for name, seconds in medians.items() if name != OURS and seconds is not None]
        ours = medians.get(OURS)
        ratio = f"{ours / min(others):.2f}" if ours is not None and others else "-"
        rows.append([operation, *("failed" if s is None else f"{s:.2f}" for s in medians.values()), ratio])
    print(f"\n### {title}\n" if markdown else f"\n{title}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells))
        if markdown and number == 0:
            print(f"| {' | '.join(['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])])} |")
    if measured.complaints:
        print()
    for complaint in dict.fromkeys(measured.complaints):
        print(f"- {complaint}")


def _options() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=2000, help="how many (%(default)s)")
    parser.add_argument("--size", type=int, default=4096, help="bytes in each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs (%(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that one run may take (%(default)s)")
    parser.add_argument("--peers", type=_peers, default=[*PEERS], help=f"of {','.join(PEERS)} (all)")
    servers = "hub, or services of deploy/compose.yaml (vsftpd,hub)"
    parser.add_argument("--servers", type=_names, default=["vsftpd", "hub"], help=servers)
    parser.add_argument("--lag", type=_numbers, default=[20], help="round trips in ms, with commas between (20)")
    parser.add_argument("--mbit", type=int, default=100, help="the slow links' rate in Mbit/s (%(default)s)")
    parser.add_argument("--lagnet", default=os.environ.get("LAGNET"), help="what makes slow links ($LAGNET)")
    parser.add_argument("--markdown", action="store_true", help="print tables for a page")
    return Options(**vars(parser.parse_args()))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _peers(text: str) -> list[str]:
    names = _names(text)
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
