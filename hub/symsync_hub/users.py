"""The users file: one JSON object, readable by its owner only, passwords as scrypt hashes (RFC 7914)."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from symsync_hub.publickeys import PublicKey, parse_keys
from symsync_protocol.errors import UsageError

FORMAT = 1
"""Version of the file; another one is refused, never misread."""

SCRYPT_COST = 2**15
SCRYPT_BLOCK = 8
SCRYPT_PARALLEL = 1
"""N, r and p of RFC 7914: 32 MiB and a tenth of a second for each guess, from OWASP's password storage sheet."""

SALT_SIZE = 16
KEY_SIZE = 32
_NAME_LIMIT = 64
_MEMORY_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class User:
    """One line of the file. Without a `home` the user gets the directory that the hub serves."""

    name: str
    password: str
    home: Path | None = None
    writable: bool = True
    keys: tuple[PublicKey, ...] = ()
    """Keys that get in over SSH."""


def hashed(password: str) -> str:
    """What may be stored of a password: `scrypt$N$r$p$salt$key`."""
    salt = secrets.token_bytes(SALT_SIZE)
    key = _scrypt(password, salt, SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_PARALLEL)
    return _stored(salt, key)


def verify(password: str, stored: str) -> bool:
    """Whether `password` is the one that `stored` was made from, compared in constant time."""
    _, cost, block, parallel, salt, key = stored.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, base64.b64decode(key))


def check_user_name(name: str) -> str:
    """Return `name` if a user may be called so, else raise UsageError."""
    if not 0 < len(name) <= _NAME_LIMIT or not name.isprintable() or any(c in name for c in " :/@"):
        raise UsageError(
            f"user name {name!r}: 1 to {_NAME_LIMIT} printable characters without blanks, colons, slashes and @"
        )
    return name


class UsersFile:
    """Reads and changes one users file. Readers notice a change at once; writers replace it whole, under a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], dict[str, User]] | None = None
        self._lock = threading.Lock()

    def load(self) -> dict[str, User]:
        """All users by name; none where there is no file. Raises UsageError where it can't be read or understood."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageError(f"users file {self.path}: {error.strerror}") from error
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if self._read is None or self._read[0] != version:
                self._read = version, self._parse(status)
            return dict(self._read[1])

    def add(self, user: User) -> None:
        """Store a user, or replace the one of this name."""
        with self._changing() as users:
            users[user.name] = user

    def remove(self, name: str) -> None:
        """Raises UsageError where there is no such user."""
        with self._changing() as users:
            self._known(users, name)
            del users[name]

    def add_keys(self, name: str, keys: tuple[PublicKey, ...]) -> None:
        """Let further keys in. Raises UsageError where there is no such user."""
        with self._changing() as users:
            user = self._known(users, name)
            held = {key.blob for key in user.keys}
            users[name] = replace(user, keys=user.keys + tuple(key for key in keys if key.blob not in held))

    def remove_keys(self, name: str, keys: tuple[PublicKey, ...]) -> None:
        """Let these keys in no more. Raises UsageError where there is no such user, or he has none of them."""
        with self._changing() as users:
            user = self._known(users, name)
            unwanted = {key.blob for key in keys}
            kept = tuple(key for key in user.keys if key.blob not in unwanted)
            if kept == user.keys:
                raise UsageError(f"user {name!r} has none of these keys; `symsync-hub user list` names those he has")
            users[name] = replace(user, keys=kept)

    def _known(self, users: dict[str, User], name: str) -> User:
        user = users.get(name)
        if user is None:
            raise UsageError(f"no user {name!r} in {self.path}; `symsync-hub user list` names them")
        return user

    def _parse(self, status: os.stat_result) -> dict[str, User]:
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise UsageError(f"users file {self.path} can be read by others; use: chmod 600 {self.path}")
        try:
            content = json.loads(self.path.read_text("utf-8"))
            if content["format"] != FORMAT:
                raise UsageError(f"users file {self.path} is of format {content['format']}; this hub reads {FORMAT}")
            return {name: _from_json(name, value) for name, value in content["users"].items()}
        except OSError as error:
            raise UsageError(f"users file {self.path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"users file {self.path} is not what `symsync-hub user add` writes ({error}); mend it or move it away"
            ) from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, User]]:
        """The users as they are; what the caller makes of them is written when the block ends well."""
        import fcntl  # Unix only, and only who changes the file needs it

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self.path.with_name(self.path.name + ".lock"), "w", opener=_private) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                users = self.load()
                yield users
                self._write(users)
        except OSError as error:
            raise UsageError(f"users file {self.path}: {error.strerror}") from error

    def _write(self, users: dict[str, User]) -> None:
        content = {"format": FORMAT, "users": {name: _to_json(user) for name, user in sorted(users.items())}}
        new = self.path.with_name(self.path.name + ".new")
        with open(new, "w", encoding="utf-8", opener=_private) as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _from_json(name: str, value: dict[str, Any]) -> User:
    password, home = str(value["password"]), value["home"]
    kind, cost, block, parallel, salt, key = password.split("$")
    if kind != "scrypt" or 128 * int(cost) * int(block) > _MEMORY_LIMIT or not 0 < int(parallel) <= 16:
        raise ValueError(f"the password of {name!r} is not a scrypt hash that can be checked here")
    base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    lines = [str(line) for line in value.get("keys", ())]
    keys = parse_keys("\n".join(lines), f"keys of {name!r} in the users file") if lines else ()
    return User(name, password, Path(str(home)) if home else None, bool(value["writable"]), keys)


def _to_json(user: User) -> dict[str, Any]:
    home = str(user.home) if user.home else None
    content = {"password": user.password, "home": home, "writable": user.writable}
    return content | ({"keys": [key.line for key in user.keys]} if user.keys else {})


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # OpenSSL's own limit of 32 MiB is a hair below what these parameters need.
    raw = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(raw, salt=salt, n=cost, r=block, p=parallel, maxmem=2 * _MEMORY_LIMIT, dklen=KEY_SIZE)


def _stored(salt: bytes, key: bytes) -> str:
    numbers = f"{SCRYPT_COST}${SCRYPT_BLOCK}${SCRYPT_PARALLEL}"
    return f"scrypt${numbers}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


NO_PASSWORD = _stored(bytes(SALT_SIZE), bytes(KEY_SIZE))
"""No password has this hash. Unknown users are checked against it, so that the time does not tell who is known."""
