"""SFTP's requests and replies as bytes."""

import os
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symsync.remotes.sftp import wire
from symsync.remotes.sftp.wire import Attributes, MalformedError, Name, Op, Open, Reply, Status


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def reply(op: Op, *fields: bytes) -> Reply:
    """The reply to request 7."""
    return Reply(op, struct.pack(">I", 7) + b"".join(fields))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (wire.lstat("a/b"), b"\x07" + b"\0\0\0\x09" + string(b"a/b")),
        (wire.rename("a", "b"), b"\x12" + b"\0\0\0\x09" + string(b"a") + string(b"b")),
        (wire.read(b"h", 1 << 32, 5), b"\x05\0\0\0\x09" + string(b"h") + struct.pack(">QI", 1 << 32, 5)),
        (wire.write(b"h", 3, b"data"), b"\x06\0\0\0\x09" + string(b"h") + struct.pack(">Q", 3) + string(b"data")),
        (
            wire.open_file("f", Open.WRITE | Open.CREATE | Open.EXCLUSIVE),
            b"\x03\0\0\0\x09" + string(b"f") + struct.pack(">II", 0x2A, 0),
        ),
        (wire.mkdir("d", 0o700), b"\x0e\0\0\0\x09" + string(b"d") + struct.pack(">II", 4, 0o700)),
        (wire.fsetstat(b"h", 0o640, 5), b"\x0a\0\0\0\x09" + string(b"h") + struct.pack(">IIII", 12, 0o640, 5, 5)),
        (wire.symlink("target", "link"), b"\x14\0\0\0\x09" + string(b"target") + string(b"link")),
        (
            wire.posix_rename("a", "b"),
            b"\xc8\0\0\0\x09" + string(b"posix-rename@openssh.com") + string(b"a") + string(b"b"),
        ),
    ],
)
def test_requests(request_: wire.Request, expected: bytes) -> None:
    """Each request is its length, its kind, its number and its fields, as the draft and OpenSSH's PROTOCOL say."""
    assert struct.pack(">I", len(expected)) + expected == request_.packet(9)


@pytest.mark.parametrize("mtime", [-1, 1 << 32])
def test_times_that_do_not_fit(mtime: int) -> None:
    """A time before 1970 or after 2106 can't be sent, and is left out."""
    assert wire.setstat("f") == wire.setstat("f", mtime=mtime)


def test_names_are_bytes() -> None:
    """Names that are not UTF-8 go out and come back as they are."""
    name = os.fsdecode(b"latin-\xe9")
    assert wire.lstat(name).body == string(b"latin-\xe9")
    listed = reply(Op.NAME, struct.pack(">I", 1), string(b"latin-\xe9"), string(b"-rw-r--r--"), struct.pack(">I", 0))
    assert [Name(name, Attributes())] == listed.names()


def test_replies() -> None:
    """Each kind of reply gives what it carries."""
    assert Status(3, "no") == reply(Op.STATUS, struct.pack(">I", 3), string(b"no"), string(b"en")).status()
    assert Status(2, "") == reply(Op.STATUS, struct.pack(">I", 2)).status()
    assert b"handle" == reply(Op.HANDLE, string(b"handle")).handle()
    assert b"data" == bytes(reply(Op.DATA, string(b"data")).data())
    assert (1, 2) == reply(Op.EXTENDED_REPLY, struct.pack(">QQ", 1, 2)).numbers()


def test_attributes() -> None:
    """All that version 3 knows is read, what is not of use is skipped."""
    every = struct.pack(">IQIIIIII", 0x8000000F, 5, 1000, 100, 0o100644, 11, 12, 1) + string(b"name") + string(b"value")
    assert Attributes(5, 0o100644, 12) == reply(Op.ATTRS, every).attributes()


def test_packets_in_pieces() -> None:
    """Packets are taken off as soon as they are whole, wherever the stream was cut."""
    stream = b"".join(struct.pack(">IB", 5, op) + b"body" for op in (101, 102, 103))
    received = bytearray()
    packets = []
    for i in range(len(stream)):
        received += stream[i : i + 1]
        packets += list(wire.packets(received))
    assert [(101, b"body"), (102, b"body"), (103, b"body")] == packets
    assert b"" == received


@pytest.mark.parametrize("length", [0, wire.LONGEST_PACKET + 1, 0xFFFFFFFF])
def test_impossible_packets(length: int) -> None:
    """A length that no packet has is no reason to wait for so many bytes."""
    with pytest.raises(MalformedError):
        list(wire.packets(bytearray(struct.pack(">IB", length, 101))))


def test_greeting() -> None:
    """The extensions are what the server's greeting lists; an older version is refused."""
    body = struct.pack(">I", 3) + string(b"limits@openssh.com") + string(b"1") + string(b"other") + string(b"")
    assert {"limits@openssh.com", "other"} == wire.greeted(Op.VERSION, body)
    with pytest.raises(MalformedError, match="version 2"):
        wire.greeted(Op.VERSION, struct.pack(">I", 2))


@pytest.mark.parametrize(
    "take", [Reply.status, Reply.handle, Reply.data, Reply.attributes, Reply.names, Reply.numbers, str]
)
@given(op=st.sampled_from(Op), body=st.binary(max_size=80))
def test_hostile_replies(take: Callable[[Reply], object], op: Op, body: bytes) -> None:
    """Whatever comes, it is understood or a MalformedError, never another error."""
    try:
        take(Reply(op, b"\0\0\0\1" + body))
    except MalformedError:
        return
