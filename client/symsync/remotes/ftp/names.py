"""Which names a server keeps as they are, found by trying.

Pure-FTPd turns a trailing blank into `_`, Windows drops it, IIS has `?` for what its code page lacks: a file stored
under such a name would come out under another, or over another. So the first name of each odd sort is tried in a
directory made for it, and looked for in its listing.
"""

import collections
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from symsync.core.values import Listing, Problem, Reason
from symsync.remotes.ftp.session import Session
from symsync_protocol.names import RESERVED_PREFIXES

_PROBE = RESERVED_PREFIXES[0] + "probe-"

_SORTS: dict[str, re.Pattern[str]] = {
    " blank": re.compile(r"(^|/) "),
    "blank ": re.compile(r" (/|$)"),
    "dot.": re.compile(r"\.(/|$)"),
    "-dash": re.compile(r"(^|/)-"),
    "back\\slash": re.compile(r"\\"),
    "tab\t": re.compile(r"\t"),
    "control\x01": re.compile(r"[\x01-\x08\x0b-\x1f\x80-\x9f]"),
    "delete\x7f": re.compile(r"\x7f"),
    "star*": re.compile(r"\*"),
    "question?": re.compile(r"\?"),
    'quote"': re.compile(r'"'),
    "colon:": re.compile(r":"),
    "less<more>": re.compile(r"[<>]"),
    "pipe|": re.compile(r"\|"),
    "bracket[a]": re.compile(r"[\[\]{}]"),
    "bytes\udcfa\udcfe": re.compile(r"[\udc80-\udcfe]"),
    "byte\udcff": re.compile(r"\udcff"),
    # Telnet commands (RFC 854), which ProFTPD takes out of a command and answers: interrupt to "don't".
    "telnet\udcff\udcfex": re.compile(r"\udcff[\udcf0-\udcfe]"),
    "letter\u00e9\u0645\u4e2d": re.compile(r"[\u0080-\ud7ff\ue000-\U0010ffff]"),
    "apart e\u0301": re.compile(r"[\u0300-\u036f]"),
}
"""Odd sorts of names: an example of each, and what names belong to it."""

_PLAIN = re.compile(r"(?:[\w.](?:[\w. -]*\w)?/)*[\w.](?:[\w. -]*\w)?", re.A)
"""Names of no odd sort, as nearly all are: letters, digits, and in the middle dots, blanks and dashes."""

_NEVER = re.compile(r"[\r\n\0]")
"""A command is a line; a name that holds one of these can't be sent (RFC 959, 5.3.1)."""


def sorts_of(path: str) -> set[str]:
    """The examples of all odd sorts to which `path` belongs."""
    if _PLAIN.fullmatch(path):
        return set()
    return {example for example, pattern in _SORTS.items() if pattern.search(path)}


def unsendable(path: str) -> Problem | None:
    """The Problem of a path that no FTP command can hold."""
    if _NEVER.search(path):
        return Problem(path, Reason.NAME, "FTP can't carry a name that holds a line end")
    return None


class Names:
    """What is known of a server's way with names. `list_directory` lists one directory over a session."""

    def __init__(self, list_directory: Callable[[Session, str], Listing]) -> None:
        self._list = list_directory
        self._kept: dict[str, bool] = {}
        self._refused: set[str] = set()

    def check(self, session: Session, paths: Sequence[str]) -> dict[str, Problem]:
        """The problems of those new paths which the server can't hold, after trying what was not known yet."""
        wanted = {path: sorts_of(path) for path in paths}
        unknown = sorted(set().union(*wanted.values()) - self._kept.keys())
        if unknown:
            self._try(session, unknown)
        problems = {}
        for path, sorts in wanted.items():
            if problem := unsendable(path):
                problems[path] = problem
            elif bad := [sort for sort in sorts if not self._kept.get(sort, True)]:
                problems[path] = Problem(path, Reason.NAME, f"this server alters names like {bad[0]!r}")
        return problems

    def told(self, path: str, problem: Problem) -> Problem:
        """The problem of making `path`, with reason NAME where the server had no better one and takes no such names."""
        if problem.reason in (Reason.DENIED, Reason.OTHER) and sorts_of(path) & self._refused:
            return replace(problem, reason=Reason.NAME)
        return problem

    def _try(self, session: Session, examples: Sequence[str]) -> None:
        directory = _PROBE + secrets.token_hex(8)
        if not session.control.ask(f"MKD {session.place(directory)}").ok:
            return  # nothing can be tried; what is wrong will show with the names themselves
        places = [session.place(f"{directory}/{example}") for example in examples]
        made = [reply.ok for reply in session.control.pipeline(f"MKD {place}" for place in places)]
        listing = self._list(session, directory)
        seen = {entry.path.rpartition("/")[2] for entry in listing.entries}
        for example, ok in zip(examples, made, strict=True):
            if not ok:
                # An honest refusal harms nobody, and may hold for directories alone (ProFTPD and `*`).
                self._kept[example] = True
                self._refused.add(example)
            elif listing.problem is None:
                self._kept[example] = example in seen
        # Altered names go by the names they have; the others by their own, should the listing have failed.
        leftovers = [*(session.place(entry.path) for entry in listing.entries), *places, session.place(directory)]
        collections.deque(session.control.pipeline(f"RMD {place}" for place in leftovers), maxlen=0)
