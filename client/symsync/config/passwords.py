"""Where the password comes from: the command line, SYMSYNC_PASSWORD, the configuration, keyring, netrc, a prompt."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from symsync.remotes.location import Location, Protocol
from symsync.settings import Settings
from symsync_protocol.errors import LoginRefused, PasswordWanted, UsageError

T = TypeVar("T")

VARIABLE = "SYMSYNC_PASSWORD"
KEYRING_SERVICE = "symsync"
"""`keyring set symsync LOGIN@HOST` stores what is found here."""

ANONYMOUS = ("anonymous", "ftp")
"""RFC 1635: logins that take any password."""

_PROMPT = "the prompt"


def with_password(settings: Settings, given: str | None) -> Settings:
    """`settings` with the password that counts, None where none is needed. `given` is the command line's.

    Raises UsageError where one is needed, none is found and nobody sits at a terminal to be asked.
    """
    location = settings.location
    if location.protocol is Protocol.FILE:
        return settings
    for password, place in (
        (given, "the command line"),
        (os.environ.get(VARIABLE), VARIABLE),
        (location.password, "the configuration"),
    ):
        if password is not None:
            return _with(settings, password, place)
    if location.login in ANONYMOUS and location.protocol is not Protocol.SFTP:
        return settings
    for look, place in ((_from_keyring, "the keyring"), (_from_netrc, "~/.netrc")):
        password = look(location)
        if password is not None:
            return _with(settings, password, place)
    # An SSH server is first offered keys; only it knows whether a password is needed at all.
    return settings if location.protocol is Protocol.SFTP else _with(settings, _from_prompt(location), _PROMPT)


def _with(settings: Settings, password: str, place: str) -> Settings:
    return replace(settings, location=replace(settings.location, password=password), password_from=place)


def asking(settings: Settings, act: Callable[[Settings], T]) -> T:
    """What `act` comes to; where an SSH server takes none of the keys but would take a password, and somebody sits at a
    terminal, he is asked for it and it is done once more. Who is refused learns where his password came from."""
    try:
        try:
            return act(settings)
        except PasswordWanted:
            if not at_terminal():
                raise
        settings = _with(settings, _from_prompt(settings.location), _PROMPT)
        return act(settings)
    except LoginRefused as error:
        if not settings.password_from:
            raise
        raise LoginRefused(f"{error}; the password is from {settings.password_from}") from error


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _from_keyring(location: Location) -> str | None:
    try:
        import keyring
        import keyring.errors
    except ImportError:  # an extra: pip install 'symsync[keyring]'
        return None
    try:
        password: str | None = keyring.get_password(KEYRING_SERVICE, f"{location.login}@{location.host}")
    except keyring.errors.KeyringError:  # locked, or this session has none: the next place is asked
        return None
    return password


def _from_netrc(location: Location) -> str | None:
    import netrc

    try:
        entry = netrc.netrc().authenticators(location.host)
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError as error:
        raise UsageError(f"~/.netrc can't be used: {error.msg}") from error
    except OSError as error:
        raise UsageError(f"~/.netrc can't be read: {error.strerror}") from error
    if entry is None or entry[0] not in ("", location.login):
        return None
    return entry[2]


def _from_prompt(location: Location) -> str:
    who = f"{location.login}@{location.host}"
    if not at_terminal():
        raise UsageError(
            f"no password for {who}: set {VARIABLE}, or store it with keyring or in ~/.netrc, or run this in a terminal"
        )
    import getpass

    try:
        return getpass.getpass(f"Password of {who}: ", sys.stderr)
    except EOFError:
        raise UsageError(f"no password given for {who}") from None
