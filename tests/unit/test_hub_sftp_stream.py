"""Packets cut out of a channel that gives and takes bytes as it likes."""

import pytest

from symsync_hub.sftp import wire
from symsync_hub.sftp.stream import ENOUGH, Stream
from symsync_hub.sftp.wire import MalformedError


class Pipe:
    """A channel that gives `given` in these pieces, then its end, and takes at most `most` bytes at once."""

    def __init__(self, *given: bytes, most: int = 1 << 20) -> None:
        self._given = list(given)
        self._most = most
        self.events: list[bytes] = []
        """What was sent between reads; b"" stands for a read."""

    def recv(self, nbytes: int) -> bytes:
        self.events.append(b"")
        piece = self._given.pop(0) if self._given else b""
        assert len(piece) <= nbytes
        return piece

    def send(self, s: memoryview) -> int:
        self.events.append(bytes(s[: self._most]))
        return min(len(s), self._most)


def packets(stream: Stream) -> list[bytes]:
    """All that come."""
    found = []
    while (packet := stream.request()) is not None:
        found.append(bytes(packet))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_packets_come_whole_however_they_are_cut(size: int) -> None:
    """A last one that is cut short never comes."""
    sent = [b"a", b"bcdef", b"g" * 50]
    data = b"".join(wire.string(packet) for packet in sent) + wire.string(b"lost")[:-1]
    assert sent == packets(Stream(Pipe(*(data[at : at + size] for at in range(0, len(data), size)))))


def test_replies_leave_together_before_it_waits() -> None:
    """Requests that lie ready are answered first, and a channel that takes little is given the rest."""
    pipe = Pipe(wire.string(b"one") + wire.string(b"two"), wire.string(b"three"), most=4)
    stream = Stream(pipe)
    while (packet := stream.request()) is not None:
        stream.reply(bytes(packet))
    assert [b"", b"onet", b"wo", b"", b"thre", b"e", b""] == pipe.events


def test_large_replies_do_not_pile_up() -> None:
    """They leave although further requests lie ready."""
    pipe = Pipe(wire.string(b"one") + wire.string(b"two"))
    stream = Stream(pipe)
    stream.request()
    stream.reply(bytes(ENOUGH))
    assert [b"", bytes(ENOUGH)] == pipe.events


@pytest.mark.parametrize("size", [0, wire.PACKET_LIMIT + 1, 2**32 - 1])
def test_impossible_lengths_end_it(size: int) -> None:
    """Before any memory is set aside for them."""
    with pytest.raises(MalformedError, match=f"a packet of {size} bytes"):
        Stream(Pipe(size.to_bytes(4))).request()
