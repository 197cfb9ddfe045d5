"""Who may come in, by whatever protocol: logins for this run, users kept in a file, and an anonymous reader."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from symsync_hub.publickeys import PublicKey
from symsync_hub.users import NO_PASSWORD, UsersFile, verify

ANONYMOUS = ("anonymous", "ftp")
"""Names that mean "anybody" (RFC 1635)."""

PASSWORD_BYTES = 15
"""Random bytes in a password that the hub makes itself: 120 bits, twenty characters."""


def random_password() -> str:
    """A password that nobody guesses and that needs no quoting in a URL or a shell."""
    while (password := secrets.token_urlsafe(PASSWORD_BYTES)).startswith("-"):
        continue  # a leading dash would read as an option after `-p`
    return password


@dataclass(frozen=True, slots=True)
class Login:
    """A user for this run only. Without a `home` he gets the directory that the hub serves."""

    name: str
    password: str
    home: Path | None = None
    writable: bool = True
    keys: tuple[PublicKey, ...] = ()
    """Keys that get in over SSH, too."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who got in: his directory and whether he may change anything there."""

    name: str
    home: Path
    writable: bool


class Accounts:
    """Checks names and passwords. Safe to use from many threads.

    A password that scrypt has accepted is remembered as a digest under a key of this process, for a synchroniser opens
    eight connections at once and each would otherwise cost a tenth of a second.
    """

    def __init__(
        self, directory: Path, logins: Iterable[Login] = (), file: UsersFile | None = None, anonymous: bool = False
    ) -> None:
        self._directory = directory
        self._file = file
        self._anonymous = anonymous
        self._key = secrets.token_bytes(32)
        self._logins = {login.name: login for login in logins}
        self._known = {("", login.name): self._digest(login.password) for login in self._logins.values()}

    def names(self) -> list[str]:
        """Everybody who may log in, for the line that says so."""
        stored = self._file.load() if self._file else {}
        return [*self._logins, *(name for name in stored if name not in self._logins)] + (
            [ANONYMOUS[0]] if self._anonymous else []
        )

    def check(self, name: str, password: str) -> Account | None:
        """The account, or None where the name or the password is wrong; which of them can't be told by the time it
        takes. Raises UsageError where the users file became unreadable."""
        if self._anonymous and name in ANONYMOUS:
            return Account(ANONYMOUS[0], self._directory, writable=False)
        login = self._logins.get(name)
        if login is not None:
            if not self._remembered("", name, password):
                return None
            return Account(name, login.home or self._directory, login.writable)
        if self._file is None:
            return None
        user = self._file.load().get(name)
        stored = user.password if user else NO_PASSWORD
        if not self._remembered(stored, name, password):
            if not verify(password, stored) or user is None:
                return None
            self._known[stored, name] = self._digest(password)
        return Account(name, user.home or self._directory, user.writable) if user else None

    def check_key(self, name: str, key: bytes) -> Account | None:
        """The account that a public key, as it travels in SSH, belongs to, or None where `name` has no such key.

        Whether the client holds its other half is not known here. Raises UsageError as `check` does.
        """
        stored = self._file.load() if self._file else {}
        known = self._logins.get(name) or stored.get(name)
        if known is None or all(key != theirs.blob for theirs in known.keys):
            return None
        return Account(name, known.home or self._directory, known.writable)

    def _remembered(self, stored: str, name: str, password: str) -> bool:
        known = self._known.get((stored, name))
        return known is not None and hmac.compare_digest(known, self._digest(password))

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode("utf-8", "surrogateescape"), hashlib.sha256)
