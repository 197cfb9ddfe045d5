"""Replies and the values in them, as servers write them."""

import pytest

from symsync.core.values import Reason
from symsync.remotes.ftp.replies import (
    Reply,
    extended_port,
    modification_time,
    passive_port,
    reason_of,
    size,
    time,
    time_text,
    working_directory,
)
from symsync_protocol.stamps import SECOND


def reply(text: str) -> Reply:
    return Reply(int(text[:3]), (text[4:],))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("550 /x: No such file or directory", Reason.ABSENT),  # ProFTPD
        ("550 Can't change directory to x: No such file or directory", Reason.ABSENT),  # Pure-FTPd
        ("550 The system cannot find the file specified.", Reason.ABSENT),  # IIS
        ("550 File not found", Reason.ABSENT),  # FileZilla Server
        ("550 Failed to change directory.", Reason.OTHER),  # vsftpd, which never says why
        ("550 Permission denied.", Reason.DENIED),
        ("530 Please login with USER and PASS.", Reason.DENIED),
        ("521 directory exists", Reason.EXISTS),
        ("550 File exists.", Reason.EXISTS),
        ("550 Directory not empty.", Reason.NOT_EMPTY),
        ("552 Disk full - please upload later", Reason.FULL),
        ("452 Error writing file", Reason.FULL),
        ("553 Quota exceeded", Reason.FULL),
        ("501 Invalid argument", Reason.OTHER),
    ],
)
def test_reasons(text: str, reason: Reason) -> None:
    """A refusal is told by its words where it has any, and never by a guess."""
    assert reason is reason_of(reply(text))


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("229 Entering Extended Passive Mode (|||6446|)", 6446),
        ("229 Extended Passive mode OK (!!!30087!)", 30087),
        ("229 Entering Extended Passive Mode (|||66000|)", None),
        ("500 Unknown command.", None),
    ],
)
def test_extended_port(text: str, port: int | None) -> None:
    """EPSV's reply names a port between delimiters of the server's choice (RFC 2428)."""
    assert port == extended_port(reply(text))


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("227 Entering Passive Mode (192,168,0,4,78,52).", 20020),
        ("227 Entering Passive Mode 10,0,0,1,4,1", 1025),
        ("227 Entering Passive Mode (10,0,0,1,256,1)", None),
        ("500 Unknown command.", None),
    ],
)
def test_passive_port(text: str, port: int | None) -> None:
    """PASV's reply is read with and without its brackets; only the port counts."""
    assert port == passive_port(reply(text))


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ('257 "/home/a ""b"" c" is the current directory', '/home/a "b" c'),
        ('257 "/"', "/"),
        ("550 gone", None),
    ],
)
def test_working_directory(text: str, directory: str | None) -> None:
    """Doubled quotes in PWD's reply are one (RFC 959, appendix II)."""
    assert directory == working_directory(reply(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20010909014640", (10**18, SECOND)),
        ("20010909014640.123", (10**18 + 123_000_000, 1_000_000)),
        ("19700101000000", (0, SECOND)),
        ("19691231235959", (-SECOND, SECOND)),
        ("20161231235960", (1_483_228_800 * SECOND, SECOND)),
        ("20010230000000", None),
        ("20010909999999", None),
        ("2001090901464", None),
        ("", None),
    ],
)
def test_time(text: str, expected: tuple[int, int] | None) -> None:
    """Times are UTC; digits behind the point are finer ticks; what is no date is no time (RFC 3659, 2.3)."""
    assert expected == time(text)


def test_time_text_is_what_time_reads() -> None:
    """A time that is sent is the one that is read back, without its fraction."""
    assert ((10**18, SECOND), "20010909014640") == (time(time_text(10**18 + 5)), time_text(10**18 + 5))


def test_size_and_modification_time_of_refusals() -> None:
    """A refusal has neither size nor time, whatever numbers are in it."""
    refusal = reply("550 20010909014640")
    assert (None, None) == (size(refusal), modification_time(refusal))
    assert (12, (10**18, SECOND)) == (size(reply("213 12")), modification_time(reply("213 20010909014640")))
