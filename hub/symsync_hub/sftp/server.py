"""SFTP at one address: a listener whose conversations are SSH connections, each with its sessions."""

import contextlib
import logging
import queue
import socket
import threading

import paramiko

from symsync_hub.accounts import Account, Accounts
from symsync_hub.door import Door
from symsync_hub.listener import Address, Listener
from symsync_hub.sftp.gate import Gate
from symsync_hub.sftp.session import Session
from symsync_hub.sftp.transport import Transport

LOGIN_TIME = 120.0
"""Seconds from the connection to the first session, as OpenSSH has it (sshd_config(5), LoginGraceTime)."""

# Else Python prints what paramiko says of every client that breaks off.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
_log = logging.getLogger("symsync_hub")


class SftpServer:
    """Serves SFTP from `start` to `close`. Raises HubError where it can't listen."""

    def __init__(self, address: Address, accounts: Accounts, door: Door, host_key: paramiko.PKey) -> None:
        self._accounts = accounts
        self._door = door
        self._host_key = host_key
        # Before its version a server may say other lines (RFC 4253, 4.2).
        self._listener = Listener(address, door, lambda reason: f"{reason}.\r\n".encode())
        self.address = self._listener.address

    def start(self) -> None:
        self._listener.start(self._converse)

    def close(self) -> None:
        self._listener.close()

    def _converse(self, connection: socket.socket, stopping: threading.Event) -> None:
        try:
            peer = str(connection.getpeername()[0])
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return  # gone already
        gate = Gate(self._accounts, self._door, peer, stopping)
        transport = Transport(connection, self._host_key, gate)
        transport.serve()
        sessions: list[threading.Thread] = []
        patience = LOGIN_TIME
        try:
            while (channel := self._next(gate, sessions, patience)) is not None:
                patience = self._door.limits.idle
                sessions = [thread for thread in sessions if thread.is_alive()]
                # paramiko keeps it for `accept`, which nobody calls here.
                with transport.lock:
                    transport.server_accepts.remove(channel)
                assert gate.account is not None  # paramiko lets nobody open a channel before he is authenticated
                sessions.append(self._session(channel, gate, gate.account, peer))
        finally:
            transport.close()
            transport.join()
            for thread in sessions:
                thread.join()

    @staticmethod
    def _next(gate: Gate, sessions: list[threading.Thread], patience: float) -> paramiko.Channel | None:
        """The next channel that asks for SFTP; None when the connection has ended or nothing happens on it."""
        while True:
            try:
                return gate.sessions.get(timeout=patience)
            except queue.Empty:
                if not any(thread.is_alive() for thread in sessions):
                    return None

    def _session(self, channel: paramiko.Channel, gate: Gate, account: Account, peer: str) -> threading.Thread:
        """Begin a session in a thread of its own."""
        channel.settimeout(self._door.limits.idle)

        def serve() -> None:
            _log.info("%s: %s begins an SFTP session", peer, account.name)
            try:
                Session(channel, account, peer).serve()
            finally:
                _log.info("%s: the SFTP session of %s has ended", peer, account.name)
                gate.free_channels.release()
                with contextlib.suppress(OSError, paramiko.SSHException, EOFError):  # the client has gone
                    # Without a status `ssh -s`, which lftp uses, takes every end for a failure.
                    channel.send_exit_status(0)
                    channel.close()

        thread = threading.Thread(target=serve, name=f"symsync-hub SFTP {peer}", daemon=True)
        thread.start()
        return thread
