"""Data connections: what was not received whole is never answered with 226."""

import logging
import socket
from typing import Any

from OpenSSL import SSL
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler

BLOCK = 256 * 1024
"""Bytes asked of a socket or a file at once. The sockets' own buffers stay as they are: Linux grows them with the
connection, and setting them by hand would stop that (tcp(7), tcp_moderate_rcvbuf)."""

TLS_BLOCK = 16 * 1024
"""The most that one TLS record holds (RFC 8446, 5.1)."""

_log = logging.getLogger("symsync_hub")


class _Receiving(DTPHandler):  # type: ignore[misc]  # pyftpdlib ships no types
    """Takes a file from the wire. Stands beneath TLS in the order of methods, and so sees what TLS has to say."""

    def handle_read(self) -> None:
        try:
            chunk = self.socket.recv(self.ac_in_buffer_size)
        except (BlockingIOError, SSL.WantReadError):
            self._ssl_want_read = self._ssl_requested
            return
        except SSL.WantWriteError:
            self._ssl_want_write = True
            return
        except SSL.ZeroReturnError:
            chunk = b""
        except (OSError, SSL.Error):
            # A reset, or TLS that ended without its close_notify: nobody knows what is missing.
            self._abort("426 Connection lost before the end of the file; transfer aborted.")
            return
        if not chunk:
            self._whole = True
            self.handle_close()
            return
        self.tot_bytes_received += len(chunk)
        try:
            rest = memoryview(chunk)
            while rest:
                rest = rest[self.file_obj.write(rest) :]
        except OSError as error:
            self._abort(f"452 {error.strerror}; transfer aborted.")

    handle_read_event = handle_read
    """As in pyftpdlib: nothing else is read here."""

    def _abort(self, reply: str) -> None:
        self._error = True  # so that `close` leaves TLS alone, whose state is unknown
        self.transfer_finished = False
        self._resp = (reply, _log.debug)
        self.close()


class Data(TLS_DTPHandler, _Receiving):  # type: ignore[misc]  # pyftpdlib ships no types
    """One data connection, encrypted after PROT P."""

    ac_in_buffer_size = BLOCK
    ac_out_buffer_size = BLOCK

    def __init__(self, connection: socket.socket, session: Any) -> None:
        self._whole = False
        super().__init__(connection, session)
        if session.protected:
            self.ac_in_buffer_size = TLS_BLOCK
        if self.connected:
            # Without it the last part of a small file waits for an acknowledgement, 40 ms each.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            # Reset before it was taken: whatever had come is thrown away by the system.
            session.no_data_connection("426 Connection lost; transfer aborted.")

    def __repr__(self) -> str:
        # pyftpdlib words itself for every debug message, even those that nobody sees.
        return "<data connection>"

    @property
    def transferring(self) -> bool:
        """Whether a command uses this connection now."""
        return self.cmd is not None

    def readable(self) -> bool:
        """A client may connect, or even send, before its command is read: nothing is read until then."""
        if self._ssl_accepting or self._ssl_want_read or self.receive:
            return True
        if not self._initialized:
            self.modify_ioloop_events(0)
        return False

    def modify_ioloop_events(self, events: int, logdebug: bool = False) -> None:
        """A handshake that waits for the client must not be woken because there is room to write: that would spin."""
        super().modify_ioloop_events(self.ioloop.READ if self._ssl_want_read else events, logdebug)

    def handle_close(self) -> None:
        if self.receive and not self._whole:
            self._abort("426 Connection lost before the end of the file; transfer aborted.")
        else:
            super().handle_close()

    def handle_error(self) -> None:
        self._error = True
        DTPHandler.handle_error(self)

    def close(self) -> None:
        if self.transferring and not self._closed and not self._resp:
            self._resp = ("426 Connection closed; transfer aborted.", _log.debug)
        super().close()

    def aborted(self) -> None:
        """Close; whoever aborts says so himself."""
        self.cmd = None
        self.close()


class Passive(FTPHandler.passive_dtp):  # type: ignore[misc]  # pyftpdlib ships no types
    """Waits for the client's data connection."""

    def bind(self, address: tuple[str, int]) -> None:
        """The ports of finished data connections, which rest for a minute (TIME_WAIT), may be used again: thousands of
        small files would else use up all there are."""
        self.set_reuse_addr()
        super().bind(address)

    def handle_accepted(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        """Others than the client are turned away in silence: a reply would answer a command that nobody gave."""
        if self.cmd_channel.connected and peer[0] != self.cmd_channel.remote_ip:
            connection.close()
            self.cmd_channel.log(f"refused a data connection from {peer[0]}")
            return
        super().handle_accepted(connection, peer)

    def handle_timeout(self) -> None:
        self.close()
        self.cmd_channel.no_data_connection("425 No data connection came.")
