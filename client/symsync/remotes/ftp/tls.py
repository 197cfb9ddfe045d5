"""TLS as FTP uses it: verification, pinned certificates, sessions used again on data connections.

Sources: RFC 4217 (FTP over TLS), RFC 8446 (TLS 1.3), OpenSSL's SSL_shutdown(3).
"""

import hashlib
import hmac
import selectors
import socket
import ssl
import time

from symsync.remotes.ftp.control import Control
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync_protocol.errors import HubRefused


class UnknownCertificate(HubRefused):
    """The server's certificate is vouched for by no authority that this system knows, and is not pinned."""


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate (DER) as people compare it: hex pairs with colons between."""
    return hashlib.sha256(certificate).digest().hex(":").upper()


class Encryption:
    """How connections to one server are encrypted. With a `pin` its certificate counts and no authority is asked."""

    def __init__(self, host: str, pin: str | None) -> None:
        self._host = host
        self._pin = pin.replace(":", "").strip().lower() if pin else None
        self._context = ssl.create_default_context()
        if self._pin is not None:
            self._trust_anybody(self._context)

    @staticmethod
    def _trust_anybody(context: ssl.SSLContext) -> None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

    def without_tls13(self) -> None:
        """For servers which can't take up a TLS 1.3 session again on data connections."""
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2

    @property
    def allows_tls13(self) -> bool:
        return self._context.maximum_version != ssl.TLSVersion.TLSv1_2

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """The handshake on a control connection. Raises UnknownCertificate, HubRefused or OSError."""
        try:
            wrapped = self._context.wrap_socket(sock, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise UnknownCertificate(error.verify_message) from error
        self._check_pin(wrapped)
        return wrapped

    @classmethod
    def look(cls, sock: socket.socket, host: str) -> tuple[ssl.SSLSocket, str]:
        """The fingerprint of whatever certificate the server shows. Nothing secret may go over this connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        cls._trust_anybody(context)
        wrapped = context.wrap_socket(sock, server_hostname=host)
        return wrapped, fingerprint(wrapped.getpeercert(binary_form=True) or b"")

    def wrap_data(self, sock: socket.socket, control: Control, timeout: float) -> ssl.SSLSocket:
        """The handshake on a data connection, as the same TLS session as the control connection.

        A server that refuses the transfer may leave the data connection hanging, so that its word on the control
        connection ends the wait: raises RefusedError then, ConnectionLost on silence, OSError when the handshake fails.
        """
        wrapped = self._context.wrap_socket(
            sock, server_hostname=self._host, session=control.session, do_handshake_on_connect=False
        )
        wrapped.setblocking(False)
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(wrapped, selectors.EVENT_READ)
            selector.register(control, selectors.EVENT_READ)
            while True:
                try:
                    wrapped.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    selector.modify(wrapped, selectors.EVENT_READ)
                except ssl.SSLWantWriteError:
                    selector.modify(wrapped, selectors.EVENT_WRITE)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise control.lost(f"no TLS handshake on the data connection for {timeout:g} s")
                if any(key.fileobj is control for key, _events in ready):
                    reply = control.peek()
                    if reply.refused:
                        raise RefusedError(control.reply())
                    selector.unregister(control)
        wrapped.settimeout(timeout)
        self._check_pin(wrapped)
        return wrapped

    def _check_pin(self, sock: ssl.SSLSocket) -> None:
        if self._pin is None:
            return
        shown = fingerprint(sock.getpeercert(binary_form=True) or b"")
        if not hmac.compare_digest(shown.replace(":", "").lower(), self._pin):
            sock.close()
            raise HubRefused(
                f"{self._host}: the certificate is not the pinned one; its SHA-256 fingerprint is {shown}. "
                "Stop here unless the server's owner changed it; then pin it with `tlsfingerprint`"
            )


def say_goodbye(sock: ssl.SSLSocket, timeout: float) -> None:
    """Send TLS's close_notify, so that the server knows the file for whole, without waiting for the server's own.

    `unwrap` as it stands waits for the other side, one round trip more, and on some servers for ever.
    """
    sock.setblocking(False)
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while time.monotonic() < deadline:
            try:
                sock.unwrap()
                return
            except ssl.SSLWantWriteError:
                selector.select(max(0.0, deadline - time.monotonic()))
            except ssl.SSLWantReadError:
                return  # ours is out
            except (ssl.SSLError, OSError):
                return  # the server hung up; its reply on the control connection and SIZE will tell
    raise ConnectionLost("the data connection took no more bytes")
