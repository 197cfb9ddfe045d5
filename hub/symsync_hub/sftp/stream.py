"""Packets in and out of a channel, many at a time: what lies ready is answered before anything is sent.

A client that keeps many requests in flight gets their replies in few SSH packets, each of which costs more than most
requests do.
"""

from typing import Protocol

from symsync_hub.sftp import wire
from symsync_hub.sftp.wire import MalformedError

AT_ONCE = 1 << 20
"""Bytes that are taken from the channel at once."""

ENOUGH = wire.PACKET_LIMIT
"""Bytes of replies that are sent although further requests lie ready."""


class Channel(Protocol):
    """What is used of `paramiko.Channel`. Both methods raise OSError, of which TimeoutError is one, `send` EOFError and
    `paramiko.SSHException` too."""

    def recv(self, nbytes: int) -> bytes: ...

    def send(self, s: memoryview) -> int: ...


class Stream:
    """One client's requests and the replies to them."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._received = b""
        self._at = 0
        self._replies: list[bytes] = []
        self._size = 0

    def request(self) -> memoryview | None:
        """The next packet without its length, None when the client is gone. Replies are sent before it waits.

        Raises MalformedError for a packet that nobody may send, and what the channel raises.
        """
        if not self._has(wire.LENGTH.size):
            return None
        (size,) = wire.LENGTH.unpack_from(self._received, self._at)
        if not 0 < size <= wire.PACKET_LIMIT:
            raise MalformedError(f"a packet of {size} bytes")
        if not self._has(wire.LENGTH.size + size):
            return None
        begin = self._at + wire.LENGTH.size
        self._at = begin + size
        return memoryview(self._received)[begin : self._at]

    def reply(self, packet: bytes) -> None:
        """Send a packet soon. Raises what the channel raises."""
        self._replies.append(packet)
        self._size += len(packet)
        if self._size >= ENOUGH:
            self._flush()

    def _has(self, count: int) -> bool:
        """Wait until `count` bytes are there; False when no more come."""
        have = len(self._received) - self._at
        if have >= count:
            return True
        parts = [self._received[self._at :]]
        while have < count:
            self._flush()
            parts.append(self._channel.recv(AT_ONCE))
            if not parts[-1]:
                return False
            have += len(parts[-1])
        self._received = b"".join(parts)
        self._at = 0
        return True

    def _flush(self) -> None:
        data = memoryview(b"".join(self._replies))
        self._replies.clear()
        self._size = 0
        while data:
            data = data[self._channel.send(data) :]
