"""Replies and the values in them. Pure.

Sources: RFC 959 (replies, PASV, PWD), RFC 2428 (EPSV), RFC 3659 (SIZE, MDTM, time-val).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from symsync.core.values import Reason
from symsync_protocol.stamps import SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_SECOND = timedelta(seconds=1)
_LONGEST_DAY = timedelta(days=1)  # with a leap second
_EPSV = re.compile(r"\((.)\1\1(\d{1,5})\1\)")
_PASV = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_PWD = re.compile(r'"((?:[^"]|"")*)"')
_TIME = re.compile(r"(\d{14})(?:\.(\d+))?")

UNKNOWN_COMMAND = frozenset({500, 501, 502, 503, 504, 522})
"""Codes with which servers answer what they have not implemented."""

# RFC 959 has one code, 550, for "not there" and "not allowed"; only the words tell them apart, where they do.
_SAYS_ABSENT = re.compile(r"no such|not found|(does not|doesn.t|not) exist|can(not|.t) find", re.I)
_SAYS_EXISTS = re.compile(r"exists|already", re.I)
_SAYS_DENIED = re.compile(r"permission|denied|not permitted|forbidden|prohibited|read.?only|not allowed|access", re.I)
_SAYS_FULL = re.compile(r"quota|no space|disk full|exceeded|insufficient storage", re.I)
_SAYS_NOT_EMPTY = re.compile(r"not empty", re.I)
_SAYS_CUT = re.compile(r"truncat|cut off|too many (files|entries|matches)", re.I)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its code and its lines, the first and the last without the code."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the server said, in one line, with the code as people look it up."""
        return f"{self.code} {' '.join(line.strip() for line in self.lines if line.strip())}".rstrip()

    @property
    def preliminary(self) -> bool:
        return self.code < 200

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def more(self) -> bool:
        """Accepted so far; another command is to follow (RNFR, REST, USER)."""
        return 300 <= self.code < 400

    @property
    def refused(self) -> bool:
        return self.code >= 400

    @property
    def unknown_command(self) -> bool:
        """Whether the server does not have this command at all."""
        return self.code in UNKNOWN_COMMAND and not self.says_absent

    @property
    def says_absent(self) -> bool:
        return self.refused and bool(_SAYS_ABSENT.search(self.text))

    @property
    def says_exists(self) -> bool:
        return bool(_SAYS_EXISTS.search(self.text)) and not self.says_absent

    @property
    def says_cut(self) -> bool:
        """Whether a closing reply admits that a listing is not whole (Pure-FTPd: `226 Output truncated ...`)."""
        return bool(_SAYS_CUT.search(self.text))


def reason_of(reply: Reply) -> Reason:
    """The reason that a refusal itself tells; OTHER where it does not say and somebody has to look."""
    if reply.code in (452, 552) or _SAYS_FULL.search(reply.text):
        return Reason.FULL
    if reply.says_absent:
        return Reason.ABSENT
    if _SAYS_NOT_EMPTY.search(reply.text):
        return Reason.NOT_EMPTY
    if reply.says_exists or reply.code == 521:
        return Reason.EXISTS
    if _SAYS_DENIED.search(reply.text) or reply.code in (530, 532):
        return Reason.DENIED
    return Reason.OTHER


def extended_port(reply: Reply) -> int | None:
    """The port in `229 Entering Extended Passive Mode (|||6446|)`, None where there is none."""
    match = _EPSV.search(reply.text) if reply.code == 229 else None
    return int(match[2]) if match and int(match[2]) < 65536 else None


def passive_port(reply: Reply) -> int | None:
    """The port in a reply to PASV. Its address is ignored: behind NAT it is wrong, and it could send us anywhere."""
    match = _PASV.search(reply.text.partition(" ")[2]) if reply.code == 227 else None
    if match is None or int(match[5]) > 255 or int(match[6]) > 255:
        return None
    return int(match[5]) * 256 + int(match[6])


def working_directory(reply: Reply) -> str | None:
    """The directory in a reply to PWD, its doubled quotes undone (RFC 959, appendix II)."""
    match = _PWD.search(reply.text) if reply.ok else None
    return match[1].replace('""', '"') if match else None


def size(reply: Reply) -> int | None:
    """The number of bytes in a reply to SIZE, None where it was refused or is no number."""
    word = reply.lines[-1].strip() if reply.code == 213 else ""
    return int(word) if word.isascii() and word.isdigit() else None


def time(text: str) -> tuple[int, int] | None:
    """Nanoseconds since 1970 and their resolution from `YYYYMMDDHHMMSS[.fraction]`, None where it is no such time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    digits = match[1]
    try:
        # Not strptime, which costs ten times as much: this runs once for each file of each listing.
        day = datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), tzinfo=UTC)
    except ValueError:
        return None
    clock = timedelta(hours=int(digits[8:10]), minutes=int(digits[10:12]), seconds=int(digits[12:14]))
    if clock > _LONGEST_DAY:
        return None
    seconds = (day - _EPOCH + clock) // _ONE_SECOND
    if not match[2]:
        return seconds * SECOND, SECOND
    fraction = match[2][:9]
    tick = 10 ** (9 - len(fraction))
    return seconds * SECOND + int(fraction) * tick, tick


def modification_time(reply: Reply) -> tuple[int, int] | None:
    """What `time` gives for a reply to MDTM, None where it was refused."""
    return time(reply.lines[-1]) if reply.code == 213 else None


def time_text(mtime_ns: int) -> str:
    """A time as MFMT and its kin take it: whole seconds of UTC, rounded down."""
    return (_EPOCH + timedelta(seconds=mtime_ns // SECOND)).strftime("%Y%m%d%H%M%S")
