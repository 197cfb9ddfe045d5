"""The SSH connection below SFTP: algorithms, the host key, the channel (RFC 4253, RFC 4254)."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import paramiko

from symsync.remotes.location import Location
from symsync.remotes.sftp import host_keys
from symsync.remotes.sftp.address import Door
from symsync.remotes.sftp.errors import ConnectionLost
from symsync.remotes.sftp.login import log_in
from symsync_protocol.errors import HubRefused

_CHANNEL_WINDOW = 16 << 20
"""Bytes that the server may send before we have read them: twice what we ever ask for at once."""
_LONGEST_PACKET = 256 << 10
"""Bytes in one packet from the server: measured a fifth faster than OpenSSH's own 32 KiB."""
_KEEPALIVE_SECONDS = 30
"""A router between forgets a connection after minutes of silence."""

_BROKEN = ("cbc", "3des", "arcfour", "md5", "sha1", "ssh-dss")
"""What must not be in an algorithm's name. SHA-1 signatures and MD5 can be forged, CBC leaks (RFC 8270, RFC 9142)."""
_SHA1_SIGNATURES = "ssh-rsa"
_AUTHENTICATED = "gcm"
"""These ciphers need no separate checksum and are the fastest, so they come first."""

# paramiko reports what it raises anyway to its log too, with tracebacks; without any handler that goes to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def safe(algorithms: Iterable[str]) -> list[str]:
    """Those algorithms that are not known to be broken, the fastest first."""
    good = [name for name in algorithms if name != _SHA1_SIGNATURES and not any(bad in name for bad in _BROKEN)]
    return sorted(good, key=lambda name: _AUTHENTICATED not in name)


@contextmanager
def told(door: Door) -> Iterator[None]:
    """Turn what paramiko raises into the one line that helps."""
    try:
        yield
    except paramiko.IncompatiblePeer as error:
        raise HubRefused(f"{door.host}: it offers no algorithm that is still safe ({error}); it needs an update") from (
            error
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        reason = str(error) or "it hung up"
        raise ConnectionLost(
            f"{door.host}, port {door.port}: the connection broke at the start ({reason}); is an SSH server there?"
        ) from error


class SshChannel:
    """paramiko's channel as a line wants it: whatever breaks is an OSError."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def send(self, data: bytes) -> int:
        return int(self._told(lambda: self._channel.send(data)))

    def recv(self, count: int) -> bytes:
        return bytes(self._told(lambda: self._channel.recv(count)))

    def recv_stderr(self, count: int) -> bytes:
        return bytes(self._told(lambda: self._channel.recv_stderr(count)))

    def _told(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionError(str(error) or "it hung up") from error

    def recv_ready(self) -> bool:
        return bool(self._channel.recv_ready())

    def recv_stderr_ready(self) -> bool:
        return bool(self._channel.recv_stderr_ready())

    def fileno(self) -> int:
        return int(self._channel.fileno())

    @property
    def closed(self) -> bool:
        return bool(self._channel.closed)

    @property
    def eof_received(self) -> bool:
        return bool(self._channel.eof_received)

    def close(self) -> None:
        """Close it, and the descriptors that make it selectable."""
        self._channel.close()


def open_channel(
    sock: socket.socket, location: Location, door: Door, say: Callable[[str], None]
) -> tuple[Any, SshChannel]:
    """Encrypt, verify the host key, log in and start the server's SFTP: the transport, and the channel on it.

    Raises HubRefused, ConnectionLost; the socket is closed then.
    """
    with told(door):
        transport = paramiko.Transport(sock, _CHANNEL_WINDOW, _LONGEST_PACKET)
    try:
        with told(door):
            known = host_keys.known_keys(door.known_hosts, door.known_as)
            _prepare(transport, location, known)
            transport.start_client(timeout=location.timeout)
            if not transport.initial_kex_done:
                raise TimeoutError(f"no answer for {location.timeout:g} s")
            key = transport.get_remote_server_key()
            say(
                f"connected to {door.host}, port {door.port}, host key {host_keys.fingerprint(key.asbytes())}, "
                f"{transport.local_cipher}, compression {transport.local_compression}"
            )
            host_keys.check(door.host, key.asbytes(), key.get_name(), location.host_key, known)
            log_in(transport, location, door, say)
            transport.set_keepalive(_KEEPALIVE_SECONDS)
            channel = transport.open_session(timeout=location.timeout)
            channel.settimeout(location.timeout)
        try:
            with told(door), _answered_within(location.timeout, transport):
                channel.invoke_subsystem("sftp")
        except ConnectionLost as error:
            if not transport.is_active():
                raise
            raise HubRefused(f"{door.host}: it let {door.login} in, but offers no SFTP; ask its owner") from error
    except BaseException:
        transport.close()
        raise
    return transport, SshChannel(channel)


@contextmanager
def _answered_within(seconds: float, transport: Any) -> Iterator[None]:
    """For what paramiko waits for without an end, unless the transport is closed."""
    timer = threading.Timer(seconds, transport.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _prepare(transport: Any, location: Location, known: list[host_keys.Known]) -> None:
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = location.timeout
    transport.use_compression(location.compress)
    options = transport.get_security_options()
    options.ciphers = safe(options.ciphers)
    options.digests = safe(options.digests)
    options.kex = safe(options.kex)
    options.key_types = host_keys.preferred(safe(options.key_types), known)
