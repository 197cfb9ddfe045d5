"""Where the password comes from: the command line, SYMSYNC_PASSWORD, the configuration, keyring, netrc, a prompt."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from symsync.remotes.location import Location, Protocol
from symsync.settings import Settings
from symsync_protocol.errors import PasswordWanted, UsageError

T = TypeVar("T")

VARIABLE = "SYMSYNC_PASSWORD"
KEYRING_SERVICE = "symsync"
"""`keyring set symsync LOGIN@HOST` stores what is found here."""

ANONYMOUS = ("anonymous", "ftp")
"""RFC 1635: logins that take any password."""


def find_password(location: Location, given: str | None) -> str | None:
    """The password for `location`, None where none is needed. `given` is the command line's.

    Raises UsageError where one is needed, none is found and nobody sits at a terminal to be asked.
    """
    if location.protocol is Protocol.FILE:
        return None
    for password in (given, os.environ.get(VARIABLE), location.password):
        if password is not None:
            return password
    if location.login in ANONYMOUS and location.protocol is not Protocol.SFTP:
        return None
    password = _from_keyring(location)
    if password is None:
        password = _from_netrc(location)
    # An SSH server is first offered keys; only it knows whether a password is needed at all.
    if password is None and location.protocol is not Protocol.SFTP:
        password = _from_prompt(location)
    return password


def asking(settings: Settings, act: Callable[[Settings], T]) -> T:
    """What `act` comes to; where an SSH server takes none of the keys but would take a password, and somebody sits at a
    terminal, he is asked for it and it is done once more."""
    try:
        return act(settings)
    except PasswordWanted:
        if not at_terminal():
            raise
    location = settings.location
    return act(replace(settings, location=replace(location, password=_from_prompt(location))))


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
