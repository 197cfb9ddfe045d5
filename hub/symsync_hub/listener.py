"""A listening socket and a thread for each connection, whatever is spoken on it.

Threads, because the work of a file server is waiting: for the wire and for the disk. One user's slow disk call must not
stall the others, and Python's waiting calls let other threads run. `docs/hub.md` has the measurements.
"""

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from symsync_hub.door import Door
from symsync_protocol.errors import HubError, UsageError

BACKLOG = 128
"""Connections that the system holds until they are accepted; a synchroniser opens several in one moment."""

CLOSING_TIME = 5.0
"""Seconds that connections get to end when the hub stops."""

_log = logging.getLogger("symsync_hub")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 lets the system choose one; host "" is every address of the machine."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port}"


class Conversation(Protocol):
    """Serves one connection until it ends, in a thread of its own. `stopping` is set when the hub ends."""

    def __call__(self, connection: socket.socket, stopping: threading.Event) -> None: ...


class Listener:
    """Accepts connections at one address and hands each to a conversation. Raises HubError where it can't listen."""

    def __init__(self, address: Address, door: Door, refusal: Callable[[str], bytes]) -> None:
        """`refusal` words a refusal in the protocol spoken here; b"" where nothing can be said before a handshake."""
        self._door = door
        self._refusal = refusal
        self.socket = _listen(address)
        host, port = self.socket.getsockname()[:2]
        self.address = Address(host, port)
        self._stopping = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, socket.socket] = {}
        self._acceptor: threading.Thread | None = None

    def start(self, converse: Conversation) -> None:
        """Begin to accept."""
        self._acceptor = threading.Thread(
            target=self._accept, args=(converse,), name=f"symsync-hub {self.address}", daemon=True
        )
        self._acceptor.start()

    def close(self) -> None:
        """Stop accepting, end all conversations and wait for them, `CLOSING_TIME` at most."""
        self._stopping.set()
        self._wake.close()
        if self._acceptor is not None:
            self._acceptor.join()
        self.socket.close()
        self._woken.close()
        with self._lock:
            threads = dict(self._threads)
            for connection in threads.values():
                # Its own thread wakes up, sees the end and cleans up. A TLS connection is shut down beneath its layer.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(CLOSING_TIME)

    def _accept(self, converse: Conversation) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                if self._stopping.is_set():
                    return
                try:
                    connection, peer = self.socket.accept()
                except OSError as error:
                    # Gone before it was accepted, or no descriptors left: the next one may fare better.
                    _log.warning("%s: a connection could not be accepted: %s", self.address, error.strerror)
                    self._stopping.wait(0.05)
                    continue
                self._admit(connection, peer[0], converse)

    def _admit(self, connection: socket.socket, address: str, converse: Conversation) -> None:
        reason = self._door.enter(address)
        if reason is not None:
            _log.warning("%s: %s was refused: %s", self.address, address, reason)
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.send(self._refusal(reason))
            connection.close()
            return
        thread = threading.Thread(
            target=self._serve, args=(connection, address, converse), name=f"symsync-hub {address}", daemon=True
        )
        with self._lock:
            self._threads[thread] = connection
        thread.start()

    def _serve(self, connection: socket.socket, address: str, converse: Conversation) -> None:
        try:
            converse(connection, self._stopping)
        finally:
            with self._lock:
                del self._threads[threading.current_thread()]
                connection.close()
            self._door.leave(address)


def _listen(address: Address) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise UsageError(f"{address}: there is no such address ({error.strerror})") from error
    both = not address.host and socket.has_dualstack_ipv6()
    family, where = (socket.AF_INET6, ("::", address.port)) if both else (found[0][0], found[0][4])
    try:
        listening = socket.create_server(
            (str(where[0]), address.port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except PermissionError as error:
        raise HubError(
            f"{address}: ports below 1024 need root or CAP_NET_BIND_SERVICE; take one above, such as 2121"
        ) from error
    except OSError as error:
        raise HubError(
            f"{address}: can't listen there: {os.strerror(error.errno or 0)}; "
            "name another address or port with --ftp, --ftps-implicit or --sftp"
        ) from error
    listening.setblocking(False)
    return listening
