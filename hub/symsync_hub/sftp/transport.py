"""SSH as the hub speaks it: paramiko's transport, with today's algorithms and patience with unknown kinds of keys."""

import socket
import threading

import paramiko
from paramiko.auth_handler import AuthHandler

from symsync_hub.sftp import wire
from symsync_hub.sftp.gate import Gate

VERSION = "SSH-2.0-symsync-hub"
"""What is said first (RFC 4253, 4.2)."""

WINDOW_SIZE = 16 * 2**20
"""Bytes that a client may send ahead. At 50 ms 16 MiB allow 320 MB/s; paramiko's own 2 MiB a tenth of it."""

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
"""Neither CBC nor MD5 nor SHA-1. AES-GCM needs no MAC and is the fastest here; the client chooses."""


class Transport(paramiko.Transport):  # type: ignore[misc] # paramiko ships no types
    """One connection. Its gate hears when it has ended."""

    def __init__(self, connection: socket.socket, host_key: paramiko.PKey, gate: Gate) -> None:
        super().__init__(connection, default_window_size=WINDOW_SIZE, default_max_packet_size=wire.PACKET_LIMIT)
        self._gate = gate
        self.auth_handler: AuthHandler | None
        self.local_version = VERSION
        offered = self.get_security_options()
        offered.ciphers = CIPHERS
        offered.digests = MACS
        # What is left differs with the version of paramiko, and post-quantum exchange with that of its libraries.
        offered.kex = tuple(name for name in offered.kex if not name.endswith("-sha1"))
        self.add_server_key(host_key)

    def serve(self) -> None:
        """Begin to negotiate, in a thread of its own."""
        # With an event the call does not wait.
        self.start_server(threading.Event(), self._gate)

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._gate.sessions.put(None)

    def _parse_newkeys(self, message: paramiko.Message) -> None:
        # The one place where paramiko's own handler can be forestalled.
        if self.auth_handler is None:
            self.auth_handler = _Authentication(self, self._gate)
        super()._parse_newkeys(message)


class _Authentication(AuthHandler):  # type: ignore[misc] # paramiko ships no types
    def __init__(self, transport: Transport, gate: Gate) -> None:
        super().__init__(transport)
        self._gate = gate

    def _generate_key_from_request(self, algorithm: str, blob: bytes) -> paramiko.PKey:
        """paramiko ends the connection at a key of a kind that it does not know, such as one in hardware; the user's
        next key, or his password, may be good."""
        return super()._generate_key_from_request(algorithm, blob) or _UnknownKey()

    def _send_auth_result(self, username: str, method: str, result: int) -> None:
        super()._send_auth_result(username, method, result)
        if self._gate.exhausted and self.transport.is_active():
            self._disconnect_no_more_auth()


class _UnknownKey(paramiko.PKey):  # type: ignore[misc] # paramiko ships no types
    """A key that nobody has."""

    def asbytes(self) -> bytes:
        return b""
