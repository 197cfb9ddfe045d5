"""How entries are worded: MLSD facts (RFC 3659), `ls -l` lines, and times with their milliseconds."""

import re
import stat
import time
from calendar import timegm
from collections.abc import Callable, Collection, Iterator
from itertools import islice

from symsync_hub import wording
from symsync_hub.root import Entry

FACTS = ("type", "size", "modify", "unique", "perm", "unix.mode")
"""All that MLSD can tell of an entry, by default all of it."""

LINES_AT_ONCE = 512
"""Lines of a listing that are worded and sent in one go."""

_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000
_UNSPEAKABLE = re.compile(r"[\r\n\0]")
_BREAKS_A_FACT = re.compile(r"[;\s]")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:\.(\d+))?", re.ASCII)

Wording = Callable[[Entry], str]


def speakable(name: str) -> bool:
    """Whether a name can stand in a reply at all: CR, LF and NUL can't, and would let it forge further entries."""
    return not _UNSPEAKABLE.search(name)


def time_text(mtime_ns: int) -> str:
    """RFC 3659's time-val with milliseconds, in UTC. Three digits, as IIS sends them, are what clients were found to
    read: lftp, curl, rclone, FileZilla, Commons Net; the last of them misreads six."""
    seconds, rest = divmod(mtime_ns, _SECOND)
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}.{rest // _MILLISECOND:03}"


def time_value(text: str) -> int:
    """Nanoseconds since 1970 of a time-val, seconds optional as in SITE UTIME. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("expected YYYYMMDDHHMMSS[.fraction]")
    *fields, fraction = match.groups()
    year, month, day, hour, minute, second = (int(field or 0) for field in fields)
    # strptime would be slower and know no fraction; this does what it would do about a 31st of February.
    parts = (year, month, day, hour, minute, second)
    seconds = timegm((*parts, 0, 0, 0))
    if time.gmtime(seconds)[:6] != parts:
        raise ValueError(f"there is no such time: {text}")
    return seconds * _SECOND + int((fraction or "0").ljust(9, "0")[:9])


def facts_of(entry: Entry, wanted: Collection[str], writable: bool) -> str:
    """The facts of one entry, each with its semicolon, without the name."""
    status = entry.status
    mode = status.st_mode
    directory = stat.S_ISDIR(mode)
    values = {
        "type": _type(entry),
        "size": None if directory else str(status.st_size),
        "modify": time_text(status.st_mtime_ns),
        "unique": f"{status.st_dev:x}g{status.st_ino:x}",
        "perm": ("cdeflmp" if writable else "el") if directory else ("adfrw" if writable else "r"),
        "unix.mode": f"{stat.S_IMODE(mode):04o}",
    }
    return "".join(f"{fact}={values[fact]};" for fact in FACTS if fact in wanted and values[fact] is not None)


def facts_line(wanted: Collection[str], writable: bool) -> Wording:
    """How MLSD words an entry."""
    return lambda entry: f"{facts_of(entry, wanted, writable)} {entry.name}\r\n"


def long_line(now: float) -> Wording:
    """How LIST and STAT word an entry: as `ls -lA` does."""

    def worded(entry: Entry) -> str:
        arrow = f" -> {entry.target}" if entry.target is not None and speakable(entry.target) else ""
        return f"{wording.long_line(entry.name, entry.status, now)}{arrow}\r\n"

    return worded


def listing(entries: Iterator[Entry], worded: Wording) -> Iterator[bytes]:
    """The lines of a listing, in blocks. Names that can't be spoken of are left out."""
    lines = (worded(entry) for entry in entries if speakable(entry.name))
    while block := "".join(islice(lines, LINES_AT_ONCE)):
        yield block.encode("utf-8", "surrogateescape")


def _type(entry: Entry) -> str:
    if entry.target is not None:
        # As Pure-FTPd and ProFTPD word it; a target that would break the fact can still be seen in LIST.
        return "OS.unix=symlink" if _BREAKS_A_FACT.search(entry.target) else f"OS.unix=slink:{entry.target}"
    mode = entry.status.st_mode
    if stat.S_ISDIR(mode):
        return "dir"
    return "file" if stat.S_ISREG(mode) else "OS.unix=other"
