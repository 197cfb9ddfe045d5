"""All that lies below some directories of a remote, level by level."""

from collections.abc import Iterable

from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import Remote
from symsync_protocol.stamps import Kind


def below(remote: Remote, tops: Iterable[str]) -> tuple[dict[str, Found], list[Problem]]:
    """What lies below `tops`, by path, and why that may not be all. What is not there has nothing below it."""
    found: dict[str, Found] = {}
    problems: list[Problem] = []
    pending = list(tops)
    while pending:
        level = list(remote.listings(pending))
        pending = []
        for listing in level:
            if listing.problem is not None and listing.problem.reason is not Reason.ABSENT:
                problems.append(listing.problem)
            for entry in listing.entries:
                found[entry.path] = entry
                if entry.kind is Kind.DIRECTORY:
                    pending.append(entry.path)
    return found, problems
