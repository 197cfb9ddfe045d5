"""Parsers of what servers show: MLSD facts, `ls -l` and DOS lines, bare names. Pure.

Each takes the text of a listing and gives rows; a line that can't be understood raises `UnreadableError`, for a listing
that contradicts itself must not let anything count as absent. Sources: RFC 3659 (7.2 facts), RFC 959 (LIST, NLST),
POSIX ls, the output of IIS in its DOS style.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from symsync.remotes.ftp.replies import time
from symsync_protocol.stamps import SECOND, Kind, Stamp

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


class UnreadableError(ValueError):
    """A line of a listing that is none of the known forms."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a listing; `name` is not checked yet."""

    name: str
    stamp: Stamp
    mode: int | None = None
    target: str | None = None
    unique: str = ""
    """MLSD's `unique` fact: equal for two names of one thing."""


_MLSD_KINDS = {"file": Kind.FILE, "dir": Kind.DIRECTORY, "cdir": Kind.DIRECTORY, "pdir": Kind.DIRECTORY}
_LS_KINDS = {"-": Kind.FILE, "d": Kind.DIRECTORY, "l": Kind.LINK}

_LS = re.compile(
    r"(?P<kind>[a-zA-Z-])(?P<mode>[-rwxsStTlL]{9})[.+@]?\s+(?:\S.*?\s)??(?P<size>\d+|\d+,\s*\d+)\s+"
    r"(?P<time>[^\W\d]{2,}\.?\s+\d{1,2}\s+(?:\d{1,2}:\d{2}|\d{4})|\d{4}-\d{2}-\d{2}\s+\d{2}:\d{2}) (?P<name>.+)",
    re.S,
)
_DOS = re.compile(
    r"(?P<date>\d{2}-\d{2}-\d{2}(?:\d{2})?)\s+(?P<clock>\d{2}:\d{2})\s*(?P<half>[AaPp][Mm])?\s+"
    r"(?:(?P<size>\d+)|<(?P<mark>[A-Z]+)>)\s(?P<name>.+)",
    re.S,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_BITS = (0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001)


def lines(text: str) -> Iterator[str]:
    """The lines of a listing; a carriage return inside a name stays."""
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if line:
            yield line


def facts(line: str) -> Row:
    """One MLSD or MLST line, without the blank that MLST puts before it.

    The facts end at the first semicolon with a blank behind it, and then all is the name (RFC 3659, 7.2); but the
    target of a link may hold such a pair itself.
    """
    told, end, name = (line[:0], " ", line[1:]) if line.startswith(" ") else line.partition("; ")
    if not end or not name or ("=" not in told and told) or ("=os.unix=slink:" in told.lower() and "; " in name):
        raise UnreadableError(line)
    known: dict[str, str] = {}
    for fact in told.split(";"):
        key, _equals, value = fact.partition("=")
        known[key.lower()] = value
    type_ = known.get("type", "")
    lower = type_.lower()
    target = None
    if lower.startswith(("os.unix=symlink", "os.unix=slink")):
        kind = Kind.LINK
        target = type_.partition(":")[2] or None
    else:
        kind = _MLSD_KINDS.get(lower, Kind.OTHER)
    size = known.get("size", "")
    moment = time(known.get("modify", ""))
    return Row(
        name,
        Stamp(
            kind,
            int(size) if kind is Kind.FILE and size.isascii() and size.isdigit() else 0,
            moment[0] if moment else None,
            moment[1] if moment else SECOND,
        ),
        _mode_fact(known.get("unix.mode", "")),
        target,
        known.get("unique", ""),
    )


def _mode_fact(text: str) -> int | None:
    """`0644`; pyftpdlib writes Python's `0o644`."""
    digits = text.lower().replace("0o", "", 1)
    return int(digits, 8) & 0o7777 if digits and not digits.strip("01234567") else None


def is_self_or_parent(line: str) -> bool:
    """Whether an MLSD line shows the directory itself or the one above."""
    told = line.partition(" ")[0].lower()
    return "type=cdir;" in told or "type=pdir;" in told


def mlsd(text: str) -> list[Row]:
    """All entries of an MLSD listing."""
    return [facts(line) for line in lines(text) if not is_self_or_parent(line)]


def ls(text: str, now: datetime) -> list[Row]:
    """All entries of a LIST or STAT listing, `.` and `..` among them, in Unix or DOS style.

    `now` decides the year that `ls` leaves out. Times are in the server's own zone, and told to the minute at best.
    """
    rows = []
    for line in lines(text):
        if line.startswith("total ") and line[6:].strip().isdigit():
            continue
        rows.append(_unix(line, now) or _dos(line) or _fail(line))
    return rows


def _fail(line: str) -> Row:
    raise UnreadableError(line)


def _unix(line: str, now: datetime) -> Row | None:
    match = _LS.fullmatch(line)
    if match is None:
        return None
    kind = _LS_KINDS.get(match["kind"], Kind.OTHER)
    name, target = match["name"], None
    size = int(match["size"]) if match["size"].isdigit() else 0
    if kind is Kind.LINK:
        name, target = _split_link(name, size)
    mtime_ns, tick_ns = _ls_time(match["time"], now)
    stamp = Stamp(kind, size if kind is Kind.FILE else 0, mtime_ns, tick_ns)
    return Row(name, stamp, _mode(match["mode"]), target)


def _split_link(text: str, size: int) -> tuple[str, str | None]:
    """Name and target from `name -> target`. Both may hold an arrow; the size, which is the target's length, tells."""
    splits = [(text[: m.start()], text[m.end() :]) for m in re.finditer(" -> ", text)]
    for name, target in splits:
        if len(target.encode("utf-8", "surrogateescape")) == size:
            return name, target
    return splits[0] if splits else (text, None)


def _mode(letters: str) -> int:
    bits = sum(bit for bit, letter in zip(_BITS, letters, strict=True) if letter not in "-STlL")
    special = zip((0o4000, 0o2000, 0o1000), letters[2::3], strict=True)
    return bits + sum(bit for bit, letter in special if letter in "sStTlL")


def _ls_time(text: str, now: datetime) -> tuple[int | None, int]:
    words = text.split()
    if len(words) == 2:
        return _nanoseconds(datetime.strptime(text, "%Y-%m-%d %H:%M")), MINUTE
    month = words[0].rstrip(".").lower()[:3]
    if month not in _MONTHS:
        return None, MINUTE  # another language; MDTM will tell
    month_number, day = _MONTHS.index(month) + 1, int(words[1])
    try:
        if ":" not in words[2]:
            return _nanoseconds(datetime(int(words[2]), month_number, day)), DAY
        hour, minute = map(int, words[2].split(":"))
        # No year is told for the last half year or so; nothing lies more than a day ahead, which covers all zones.
        moment = datetime(now.year, month_number, min(day, 28), hour, minute) + timedelta(days=max(0, day - 28))
        if moment > now.replace(tzinfo=None) + timedelta(days=1):
            moment = moment.replace(year=now.year - 1)
    except ValueError:
        return None, MINUTE
    return _nanoseconds(moment), MINUTE


def _nanoseconds(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp()) * SECOND


def _dos(line: str) -> Row | None:
    match = _DOS.fullmatch(line)
    if match is None:
        return None
    year = "%Y" if len(match["date"]) == 10 else "%y"
    clock, form = (match["clock"] + match["half"], "%I:%M%p") if match["half"] else (match["clock"], "%H:%M")
    try:
        mtime_ns = _nanoseconds(datetime.strptime(f"{match['date']} {clock}", f"%m-%d-{year} {form}"))
    except ValueError:
        return None
    name, target, kind = match["name"], None, Kind.FILE
    if match["mark"]:
        # IIS pads the mark, not the name, which begins after ten columns.
        name = name.lstrip(" ") if match["mark"] == "DIR" else name.strip(" ")
        kind = {"DIR": Kind.DIRECTORY}.get(match["mark"], Kind.LINK)
        if kind is Kind.LINK and name.endswith("]") and " [" in name:
            name, _blank, target = name[:-1].partition(" [")
    return Row(name, Stamp(kind, int(match["size"] or 0), mtime_ns, MINUTE), None, target)


def nlst(text: str) -> list[str]:
    """The names in an NLST listing, without the directories that some servers put before them, `.` and `..`."""
    names = []
    for line in lines(text):
        name = line.rstrip("/").rpartition("/")[2]
        if name not in ("", ".", ".."):
            names.append(name)
    return names
