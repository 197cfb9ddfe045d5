"""Listings as servers write them, and as they must not be believed."""

from datetime import UTC, datetime

import pytest

from symsync.remotes.ftp.listing import DAY, MINUTE, Row, UnreadableError, facts, ls, mlsd, nlst
from symsync_protocol.stamps import SECOND, Kind, Stamp

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def seconds(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (
            "modify=20010909014640;perm=r;size=12;type=file;unique=8U1;UNIX.mode=0644; a b",
            Row("a b", Stamp(Kind.FILE, 12, 10**18, SECOND), 0o644, None, "8U1"),
        ),
        (
            "Type=Dir;Modify=20010909014640.5;Sizd=4096;  leading",
            Row(" leading", Stamp(Kind.DIRECTORY, 0, 10**18 + 500_000_000, 100_000_000)),
        ),
        ("type=OS.unix=slink:/to here;size=3; l", Row("l", Stamp(Kind.LINK, 0, None, SECOND), None, "/to here")),
        ("type=file;size=3; a; b=c; d", Row("a; b=c; d", Stamp(Kind.FILE, 3, None, SECOND))),
        ("type=OS.unix=symlink;size=3; l", Row("l", Stamp(Kind.LINK, 0, None, SECOND))),
        ("type=OS.unix=chr-1/3; null", Row("null", Stamp(Kind.OTHER, 0, None, SECOND))),
        ("type=file;size=x;unix.mode=0o600; f", Row("f", Stamp(Kind.FILE, 0, None, SECOND), 0o600)),
        (" f", Row("f", Stamp(Kind.OTHER, 0, None, SECOND))),
    ],
)
def test_facts(line: str, row: Row) -> None:
    """Fact names in any case, unknown ones skipped, and all behind the facts is the name (RFC 3659, 7.2)."""
    assert row == facts(line)


@pytest.mark.parametrize(
    "line", ["", "half of a name", "type=file;size=1;", "type=file; ", "type=OS.unix=slink:a; b; c"]
)
def test_lines_without_facts(line: str) -> None:
    """The second half of a name with a line end in it is no entry, nor is a line that can be read in two ways."""
    with pytest.raises(UnreadableError):
        facts(line)


def test_mlsd_leaves_out_itself_and_its_parent() -> None:
    """cdir and pdir are not entries of the directory; a carriage return in a name stays."""
    text = "type=cdir;modify=20010909014640; .\r\nType=pdir; ..\r\ntype=file;size=1; a\r\r\n"
    assert [("a\r", 1)] == [(row.name, row.stamp.size) for row in mlsd(text)]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (  # vsftpd
            "-rw-r--r--    1 1000     1000           12 Sep 09  2001  leading and trailing ",
            Row(" leading and trailing ", Stamp(Kind.FILE, 12, seconds(2001, 9, 9), DAY), 0o644),
        ),
        (
            "drwxrwsr-t   2 owner    group        4096 Feb 28 13:05 d",
            Row("d", Stamp(Kind.DIRECTORY, 0, seconds(2026, 2, 28, 13, 5), MINUTE), 0o3775),
        ),
        (  # later in the year than now: last year's
            "-rw-------   1 o g 5 Dec 31 23:59 f",
            Row("f", Stamp(Kind.FILE, 5, seconds(2025, 12, 31, 23, 59), MINUTE), 0o600),
        ),
        (  # a name like a date, an owner with a blank
            "-rw-r--r--   1 domain users grp 7 Jan 02 03:04 8 Jan 02 03:04 x",
            Row("8 Jan 02 03:04 x", Stamp(Kind.FILE, 7, seconds(2026, 1, 2, 3, 4), MINUTE), 0o644),
        ),
        (
            "lrwxrwxrwx   1 o g 6 Jan 02 03:04 a -> b -> c -> d",
            Row("a -> b", Stamp(Kind.LINK, 0, seconds(2026, 1, 2, 3, 4), MINUTE), 0o777, "c -> d"),
        ),
        (
            "crw-rw-rw-   1 root root 1,   3 Jan 02 03:04 null",
            Row("null", Stamp(Kind.OTHER, 0, seconds(2026, 1, 2, 3, 4), MINUTE), 0o666),
        ),
        (
            "-rw-r--r--+  1 o g 9 2024-05-06 07:08 iso",
            Row("iso", Stamp(Kind.FILE, 9, seconds(2024, 5, 6, 7, 8), MINUTE), 0o644),
        ),
        (  # another language: MDTM will tell the time
            "-rw-r--r--   1 o g 9 Mär 06 07:08 umlaut",
            Row("umlaut", Stamp(Kind.FILE, 9, None, MINUTE), 0o644),
        ),
        (  # IIS
            "01-02-26  03:04PM       <DIR>          Program Files",
            Row("Program Files", Stamp(Kind.DIRECTORY, 0, seconds(2026, 1, 2, 15, 4), MINUTE)),
        ),
        (
            "01-02-2026  12:04AM                 1234 a.txt",
            Row("a.txt", Stamp(Kind.FILE, 1234, seconds(2026, 1, 2, 0, 4), MINUTE)),
        ),
        (
            r"01-02-26  15:04  <JUNCTION>     link [C:\there]",
            Row("link", Stamp(Kind.LINK, 0, seconds(2026, 1, 2, 15, 4), MINUTE), None, r"C:\there"),
        ),
    ],
)
def test_ls(line: str, row: Row) -> None:
    """Unix and DOS lines, with the year that ls leaves out."""
    assert [row] == ls(f"total 12\r\n{line}\r\n", NOW)


@pytest.mark.parametrize("line", ["half of a name", "01-02-26  99:99PM  12 f", "?---------   ? ? ? ? ? f"])
def test_lines_that_are_none(line: str) -> None:
    """A line of no known form makes the listing unreadable instead of shorter."""
    with pytest.raises(UnreadableError):
        ls(line, NOW)


def test_nlst() -> None:
    """Directories before the names are left out, as are the directory itself and its parent."""
    text = "a\r\n./b c\r\n/home/x/d/\r\n.\r\nreal/..\r\nreal/.\r\n.hidden\r\n"
    assert ["a", "b c", "d", ".hidden"] == nlst(text)
