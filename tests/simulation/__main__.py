"""Run many histories: `PYTHONPATH=tests python -m simulation --seed 7 --histories 1000 --profile faults`.

Each failure is shrunk and printed with its seed; a file with a history in it is played by `--replay FILE`. The exit
status is 1 where anything failed.
"""

import argparse
import sys
import time
from pathlib import Path

from simulation.campaign import Failure, nth, replay, shrunk
from simulation.history import History, Profile


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="simulation", description="histories of the whole engine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first history")
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--profile", type=Profile, choices=list(Profile), default=Profile.PLAIN)
    parser.add_argument("--kinds", type=int, default=3, help="stop after so many different failures")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.replay:
        return _report(History.parse(options.replay.read_text()), "replayed")
    began = time.monotonic()
    seen: dict[str, int] = {}
    number = options.first
    for number in range(options.first, options.first + options.histories):
        history = nth(options.seed, number, options.profile)
        failure = replay(history)
        if failure is None:
            continue
        seen[failure.kind] = seen.get(failure.kind, 0) + 1
        if seen[failure.kind] == 1:
            title = f"seed {options.seed}, history {number}, profile {options.profile}"
            _show(shrunk(history, failure), failure, title)
        if len(seen) >= options.kinds:
            break
    played = number - options.first + 1
    print(f"{played} histories in {time.monotonic() - began:.1f} s, failures: {seen or 'none'}")
    return 1 if seen else 0


def _report(history: History, title: str) -> int:
    failure = replay(history)
    if failure is None:
        print("nothing went wrong")
        return 0
    _show(history, failure, title)
    return 1


def _show(history: History, failure: Failure, title: str) -> None:
    again = replay(history) or failure
    print(f"--- {title}: {again.kind}\n{history}\n{again.text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
