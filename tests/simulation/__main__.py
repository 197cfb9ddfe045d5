"""Run many histories of the whole engine: `PYTHONPATH=tests python -m simulation --profile all --jobs 4`.

Each failure is shrunk and printed with its seed and number, with which it comes again; at the end there is a table of
what was played. `--replay FILE` plays one history. `--mutation NAME` takes a protection out of the engine, to see that
histories miss it. `--planner N` checks the planner alone, in N random situations. The exit status is 1 where anything
failed.
"""

import argparse
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from simulation import planner
from simulation.campaign import Failure, Found, Tally, campaign, replay, shrunk
from simulation.history import History, Profile
from simulation.mutations import MUTATIONS

ALL = "all"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="simulation", description="histories of the whole engine")
    parser.add_argument("--seed", type=int, help="default: a fresh one, which is printed")
    parser.add_argument("--first", type=int, default=0, help="number of the first history of each profile")
    parser.add_argument("--histories", type=int, default=1_000, help="how many, over all profiles")
    parser.add_argument("--minutes", type=float, help="begin no more histories after that time")
    parser.add_argument("--profile", choices=[ALL, *Profile], default=ALL)
    parser.add_argument("--jobs", type=int, default=1, help="processes that play histories")
    parser.add_argument("--kinds", type=int, default=3, help="stop after so many different failures")
    parser.add_argument("--mutation", choices=list(MUTATIONS), help="play without this protection")
    parser.add_argument("--planner", type=int, metavar="N", help="no histories, but so many plans")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.replay:
        with _mutated(options.mutation):
            return _report(History.parse(options.replay.read_text()))
    options.seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {options.seed}", flush=True)
    return _plan(options) if options.planner else _run(options)


def _plan(options: argparse.Namespace) -> int:
    began = time.monotonic()
    decisions, wrong = 0, 0
    for decided, failures in planner.campaign(options.seed, options.planner, options.jobs):
        decisions += decided
        wrong += len(failures)
        for text in failures[: 1 if wrong == len(failures) else 0]:
            print(text, flush=True)
    print(f"{options.planner:,} cases, {decisions:,} decisions, {wrong} failures, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _run(options: argparse.Namespace) -> int:
    seed = options.seed
    profiles = list(Profile) if options.profile == ALL else [Profile(options.profile)]
    each = -(-options.histories // len(profiles))
    began = time.monotonic()
    deadline = began + 60 * options.minutes if options.minutes else None
    tallies = {profile: Tally() for profile in profiles}
    kinds: Counter[str] = Counter()

    def enough() -> bool:
        return len(kinds) >= options.kinds or (deadline is not None and time.monotonic() > deadline)

    numbers = range(options.first, options.first + each)
    for part in campaign(seed, profiles, numbers, jobs=options.jobs, mutation=options.mutation, enough=enough):
        tallies[part.profile].add(part.tally)
        for found in part.found:
            kinds[found.failure.kind] += 1
            if kinds[found.failure.kind] == 1:
                _show(seed, found, options.mutation)
    print(table(tallies))
    print(f"\n{time.monotonic() - began:.0f} s by {options.jobs} jobs; failures: {dict(kinds) or 'none'}")
    return 1 if kinds else 0


def table(tallies: dict[Profile, Tally]) -> str:
    """What was played, for people and for documents."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    lines = ["| profile | histories | operations | runs | faults met | CPU seconds | failures |", "|---|" + "--:|" * 6]
    for name, tally in [*tallies.items(), (ALL, total)]:
        counts = [tally.histories, tally.operations, tally.runs, tally.faults.total(), round(tally.seconds)]
        lines.append(" | ".join([f"| {name}", *(f"{count:,}" for count in counts), f"{tally.failures} |"]))
    met = ", ".join(f"{fault} {count:,}" for fault, count in sorted(total.faults.items()))
    return "\n".join([*lines, "", f"Faults met: {met or 'none'}; locks broken: {total.broken_locks:,}"])


def _mutated(mutation: str | None) -> ExitStack:
    stack = ExitStack()
    if mutation is not None:
        stack.enter_context(MUTATIONS[mutation].applied())
    return stack


def _report(history: History) -> int:
    failure = replay(history)
    if failure is None:
        print("nothing went wrong")
        return 0
    print(f"{failure.kind}\n{history}\n{failure.text}")
    return 1


def _show(seed: int, found: Found, mutation: str | None) -> None:
    with _mutated(mutation):
        smallest = shrunk(found.history, found.failure)
        again: Failure = replay(smallest) or found.failure
    title = f"seed {seed}, history {found.number}, profile {found.profile}"
    print(f"--- {title}: {again.kind}\n{smallest}\n{again.text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
