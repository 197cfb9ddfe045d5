"""Logging in over an SSH connection (RFC 4252, RFC 4256): password, keys, agent, whatever the server takes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from symsync.remotes.location import Location
from symsync.remotes.sftp.address import Door
from symsync_protocol.errors import HubRefused, LoginRefused, PasswordWanted

_PASSWORD = "password"
_INTERACTIVE = "keyboard-interactive"
_KEY = "publickey"

_KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

_SILENCE = "Authentication timeout."
"""What paramiko says where the server said nothing: it is no refusal."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    method: str
    what: str
    """What is offered, for people."""
    act: Callable[[], list[str]]
    """Tries it; the methods that are still wanted besides, none where that was all."""


def log_in(transport: Any, location: Location, door: Door, say: Callable[[str], None]) -> None:
    """Log in, over several steps if the server wants several.

    Raises HubRefused where nothing that is at hand is accepted, paramiko's errors and EOFError where it breaks.
    """
    allowed = _ask(lambda: transport.auth_none(door.login))
    untried = list(_named(transport, location, door))
    unnamed = _unnamed(transport, location, door)
    tried: list[str] = []
    while allowed:
        attempt = next((one for one in untried if one.method in allowed), None)
        if attempt is None:
            # Only now, for it takes time to ask the agent and to read keys.
            untried = list(unnamed)
            if not untried:
                raise _refusal(location, door, allowed, tried)
            continue
        untried.remove(attempt)
        tried.append(attempt.what)
        say(f"login as {door.login} with {attempt.what}")
        try:
            allowed = _ask(attempt.act)
        except paramiko.AuthenticationException as error:
            if str(error) == _SILENCE:
                raise
            if not transport.is_active():  # it hung up: too many attempts, or it allows one only
                raise _refusal(location, door, allowed, tried) from None


def _ask(act: Callable[[], list[str]]) -> list[str]:
    """The methods that are still wanted after an attempt. Raises AuthenticationException where it was refused."""
    try:
        return act()
    except paramiko.BadAuthenticationType as refusal:
        return list(refusal.allowed_types)


def _refusal(location: Location, door: Door, allowed: list[str], tried: list[str]) -> HubRefused:
    wanted = " or ".join(allowed)
    takes_password = location.password is None and not {_PASSWORD, _INTERACTIVE}.isdisjoint(allowed)
    refused = PasswordWanted if takes_password else LoginRefused
    if not tried:
        return refused(
            f"{door.host}: it wants {wanted} for the login {door.login}, and there is none; "
            "set `password` or `identityfile`, or put a key into the agent (ssh-add)"
        )
    return refused(
        f"{door.host}: it refused the login {door.login} with {', '.join(tried)} (it takes {wanted}); "
        f"check login and {'password' if location.password is not None else 'key'}"
    )


def _named(transport: Any, location: Location, door: Door) -> Iterator[_Attempt]:
    """What the user named for this very server, and what is therefore tried first."""
    login, password = door.login, location.password
    if location.identity_file is not None:
        yield _with_key(transport, login, _named_key(location.identity_file, password), location.identity_file)
    if password is not None:
        yield _Attempt(_PASSWORD, "the password", lambda: transport.auth_password(login, password, fallback=False))
        yield _Attempt(
            _INTERACTIVE,
            "the password as the answer to its questions",
            lambda: transport.auth_interactive(login, lambda _title, _text, asked: [password for _ in asked]),
        )


def _unnamed(transport: Any, location: Location, door: Door) -> Iterator[_Attempt]:
    """The keys that ssh(1) would try, unless one was named."""
    if location.identity_file is not None:
        return
    for key in _agent_keys() if door.asks_agent else ():
        yield _with_key(transport, door.login, key, "one that the agent holds")
    for file in door.identities:
        try:
            key = _key(file, None)
        except (OSError, ValueError, paramiko.SSHException):
            continue  # missing, encrypted, or of a kind that paramiko does not know
        yield _with_key(transport, door.login, key, file)


def _with_key(transport: Any, login: str, key: Any, what: object) -> _Attempt:
    return _Attempt(_KEY, f"the key {what}", lambda: transport.auth_publickey(login, key))


def _agent_keys() -> list[Any]:
    """None where no agent answers."""
    with suppress(paramiko.SSHException, OSError):
        return list(paramiko.Agent().get_keys())
    return []


def _named_key(file: Path, passphrase: str | None) -> Any:
    try:
        return _key(file, passphrase)
    except OSError as error:
        raise HubRefused(f"identityfile {file}: {error.strerror or error}") from error
    except paramiko.PasswordRequiredException as error:
        raise HubRefused(
            f"identityfile {file}: it is encrypted; set `password` to its passphrase, or put it into the agent "
            "(ssh-add) and remove the line"
        ) from error
    except (ValueError, paramiko.SSHException) as error:
        raise HubRefused(
            f"identityfile {file}: no private key that can be read ({error}); is it the file without .pub, "
            "and `password` its passphrase?"
        ) from error


def _key(file: Path, passphrase: str | None) -> Any:
    """A private key with its certificate, if there is one. Raises OSError, ValueError, paramiko.SSHException."""
    failure: Exception = paramiko.SSHException("of no known kind")
    for kind in _KEY_KINDS:
        try:
            key = kind.from_private_key_file(str(file), passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except (ValueError, paramiko.SSHException) as error:
            failure = error
            continue
        certificate = file.with_name(f"{file.name}-cert.pub")
        if certificate.is_file():
            key.load_certificate(str(certificate))
        return key
    raise failure
