"""How the hub words times and entries."""

import os
from pathlib import Path

import pytest

from symsync_hub.ftp.facts import FACTS, facts_line, listing, long_line, time_text, time_value
from symsync_hub.listener import Address
from symsync_hub.offers import parse_address, parse_ports
from symsync_hub.root import Root
from symsync_protocol.errors import UsageError

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "value", "back"),
    [
        ("20261120123456.789", 1795178096 * SECOND + 789_000_000, "20261120123456.789"),
        ("20261120123456", 1795178096 * SECOND, "20261120123456.000"),
        ("20261120123456.123456789", 1795178096 * SECOND + 123_456_789, "20261120123456.123"),
        ("202611201234", 1795178040 * SECOND, "20261120123400.000"),
        ("19691231235959.5", -500_000_000, "19691231235959.500"),
    ],
)
def test_times_are_read_and_worded(text: str, value: int, back: str) -> None:
    """Fractions count to the nanosecond and are told to the millisecond, rounded down, before 1970 too."""
    assert value == time_value(text)
    assert back == time_text(value)


@pytest.mark.parametrize("text", ["", "2026", "20260231000000", "20261120126000", "20261120123456.", "2026112012345x"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A 31st of February is no time."""
    with pytest.raises(ValueError, match=r"time|YYYY"):
        time_value(text)


def test_facts_of_each_kind(tmp_path: Path) -> None:
    """Files, directories and links are told apart; a target that would break the line is left to LIST."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "odd").symlink_to("a;b c")
    (tmp_path / "file").chmod(0o640)
    os.utime(tmp_path / "file", ns=(0, 1_500_000_000))
    lines = b"".join(listing(Root(tmp_path).entries("/"), facts_line(("type", "size", "modify", "unix.mode"), True)))
    found = {line.rpartition(" ")[2]: line.rpartition(" ")[0] for line in lines.decode().splitlines()}
    assert "type=file;size=5;modify=19700101000001.500;unix.mode=0640;" == found["file"]
    assert found["dir"].startswith("type=dir;modify=")
    assert found["link"].startswith("type=OS.unix=slink:file;size=4;")
    assert found["odd"].startswith("type=OS.unix=symlink;")


def test_read_only_users_see_what_they_may(tmp_path: Path) -> None:
    """The `perm` fact tells the user's rights (RFC 3659, 7.5.5)."""
    (tmp_path / "file").touch()
    for writable, perm in ((True, "perm=adfrw;"), (False, "perm=r;")):
        line = b"".join(listing(Root(tmp_path).entries("/"), facts_line(("perm",), writable)))
        assert f"{perm} file\r\n".encode() == line
    assert {"type", "size", "modify", "unique", "perm", "unix.mode"} == set(FACTS)


def test_names_survive_and_forged_lines_do_not(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 come out as they are; a name with a line break can't pretend to be two entries."""
    raw = os.fsencode(tmp_path)
    for name in (b"caf\xe9", b"forged\r\ntype=file;size=1; victim", b" leading"):
        open(raw + b"/" + name, "wb").close()
    names = [
        line.partition(b" ")[2]
        for line in b"".join(listing(Root(tmp_path).entries("/"), facts_line(("type",), True))).split(b"\r\n")
    ]
    assert [b"", b" leading", b"caf\xe9"] == sorted(names)


def test_long_listing_is_as_ls_shows_it(tmp_path: Path) -> None:
    """Old files show their year, new ones their time."""
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    file.chmod(0o644)
    os.utime(file, ns=(0, 1_577_934_245 * SECOND))
    entries = Root(tmp_path).entries
    uid, gid = os.getuid(), os.getgid()
    old = b"".join(listing(entries("/"), long_line(1_795_178_096))).decode().split()
    new = b"".join(listing(entries("/"), long_line(1_577_934_300))).decode().split()
    assert ["-rw-r--r--", "1", str(uid), str(gid), "5", "Jan", "02", "2020", "file"] == old
    assert ["-rw-r--r--", "1", str(uid), str(gid), "5", "Jan", "02", "03:04", "file"] == new


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:21", Address("127.0.0.1", 21)),
        ("[::1]:2121", Address("::1", 2121)),
        ("[::1]", Address("::1", 990)),
        (":21", Address("", 21)),
        ("2121", Address("", 2121)),
        ("nas.example.org", Address("nas.example.org", 990)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """A port alone is every address; an address alone has the default port."""
    assert address == parse_address(text, 990)


@pytest.mark.parametrize("text", ["", "a:b", "1.2.3.4:70000", "::1:21", "[::1", "a:1:2"])
def test_bad_addresses(text: str) -> None:
    """IPv6 needs its brackets, and ports end at 65535."""
    with pytest.raises(UsageError):
        parse_address(text, 21)


def test_passive_ports() -> None:
    """Both ends belong to the range."""
    assert range(50000, 50011) == parse_ports("50000-50010")
    for text in ("50010-50000", "1", "0-5", "1-70000", "a-b"):
        with pytest.raises(UsageError):
            parse_ports(text)
