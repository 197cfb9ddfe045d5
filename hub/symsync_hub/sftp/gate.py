"""Who comes in over SSH, and to what: the SFTP subsystem and nothing else."""

import logging
import threading
from queue import SimpleQueue

import paramiko

from symsync_hub.accounts import Account, Accounts
from symsync_hub.door import Door
from symsync_protocol.errors import UsageError
from symsync_protocol.names import shown

SUBSYSTEM = "sftp"

CHANNELS = 10
"""Most that one connection may have open, as OpenSSH has it (sshd_config(5), MaxSessions)."""

_FAILED: int = paramiko.AUTH_FAILED
_SUCCESSFUL: int = paramiko.AUTH_SUCCESSFUL
_OPENED: int = paramiko.OPEN_SUCCEEDED
_PROHIBITED: int = paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
_SHORTAGE: int = paramiko.OPEN_FAILED_RESOURCE_SHORTAGE
_log = logging.getLogger("symsync_hub")


class Gate(paramiko.ServerInterface):  # type: ignore[misc] # paramiko ships no types
    """Decides for one connection. paramiko calls it from the connection's own thread, and refuses shells, commands,
    terminals and forwarding unless a method here would allow them."""

    def __init__(self, accounts: Accounts, door: Door, address: str, stopping: threading.Event) -> None:
        self._accounts = accounts
        self._door = door
        self._address = address
        self._stopping = stopping
        self._failures = 0
        self.free_channels = threading.BoundedSemaphore(CHANNELS)
        """One is given back when a session ends; a channel that asked for anything else counts until the connection
        ends."""
        self.account: Account | None = None
        """Who came in; one connection can't change its user (RFC 4252, 5)."""
        self.sessions: SimpleQueue[paramiko.Channel | None] = SimpleQueue()
        """Channels that ask for SFTP; None when the connection has ended."""

    @property
    def exhausted(self) -> bool:
        """Whether too many passwords were wrong."""
        return self._failures >= self._door.limits.login_tries

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey,password"

    def check_auth_password(self, username: str, password: str | bytes) -> int:
        # paramiko hands over bytes where they are no UTF-8.
        text = password if isinstance(password, str) else password.decode("utf-8", "surrogateescape")
        try:
            account = self._accounts.check(username, text)
        except UsageError as error:
            _log.error("%s", error)
            return _FAILED
        if account is None:
            _log.warning("%s: wrong name or password for %s", self._address, shown(username))
            # Only this connection's thread waits; a hub that stops ends the wait.
            self._stopping.wait(self._door.failed(self._address))
            self._failures += 1
            return _FAILED
        return self._admit(account)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Whether the key is one of this user's; that the client holds its other half is paramiko's to verify.

        An unknown key is no attempt to guess: clients offer all that they have.
        """
        try:
            account = self._accounts.check_key(username, key.asbytes())
        except UsageError as error:
            _log.error("%s", error)
            return _FAILED
        return _FAILED if account is None else self._admit(account)

    def check_channel_request(self, kind: str, _number: int) -> int:
        if kind != "session":
            return _PROHIBITED
        return _OPENED if self.free_channels.acquire(blocking=False) else _SHORTAGE

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        if name != SUBSYSTEM:
            return False
        self.sessions.put(channel)
        return True

    def _admit(self, account: Account) -> int:
        if not account.home.is_dir():
            _log.error("user %s can't log in: his directory %s is missing", account.name, account.home)
            return _FAILED
        self.account = account
        return _SUCCESSFUL
