"""`.sync.conf`: what a user wrote about a node and its hub, read into `Settings`, and written by `symsync init`.

A directory has one such file for each of its hubs: `.sync.conf`, and `.sync-NAME.conf` for further ones.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from symsync.config.keys import PROPER, settings_from
from symsync.config.lines import Line, Lines, proper, read_lines, write_lines
from symsync.config.passwords import with_password
from symsync.config.url import Address, parse_url
from symsync.settings import Settings
from symsync_protocol.errors import UsageError
from symsync_protocol.names import shown

__all__ = [
    "Address",
    "config_file",
    "find_directory",
    "load",
    "parse_url",
    "proper_key",
    "read",
    "settings_of",
    "write_lines",
]

CONFIG = ".sync.conf"
_FURTHER = (".sync-", ".conf")


def config_file(directory: Path, server: str | None) -> Path:
    """The file that describes `directory`'s hub; `server` names a further one. Raises UsageError."""
    if server is None:
        return directory / CONFIG
    if not server or "/" in server or "\0" in server:
        raise UsageError(f"{shown(server)!r} names no server: its configuration would be .sync-NAME.conf")
    return directory / server.join(_FURTHER)


def further_servers(directory: Path) -> list[str]:
    """The names of the hubs that `directory` has besides its first one, in order."""
    before, after = _FURTHER
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(name[len(before) : -len(after)] for name in names if name.startswith(before) and name.endswith(after))


def find_directory(start: Path) -> Path:
    """The synchronised directory that `start` lies in. Raises UsageError where there is none."""
    for directory in (start, *start.parents):
        if (directory / CONFIG).is_file() or further_servers(directory):
            return directory
    raise UsageError(
        f"neither {shown(str(start))} nor a directory above it is synchronised; "
        "name one, or begin with: symsync init DIR URL"
    )


def read(directory: Path, server: str | None = None) -> Settings:
    """The settings of `directory` (an absolute path) with its hub `server`, the password as the file gives it.

    Raises UsageError: the file is missing, can't be used as it stands, or holds a password that others can read.
    """
    file = config_file(directory, server)
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{shown(str(directory))}: this is no directory")
    if not directory.is_dir():
        raise UsageError(f"{shown(str(directory))}: there is no such directory; begin with: symsync init DIR URL")
    if file.is_dir():
        raise UsageError(f"{shown(str(file))}: this is a directory, and the configuration is a file: rename it")
    if not file.is_file():
        raise _missing(directory, file, server)
    lines = read_lines(file, PROPER)
    settings = settings_from(lines, directory)
    if settings.location.password is not None and lines.readable_by_others:
        name = shown(str(file))
        raise UsageError(f"{name} holds a password and others can read it; run: chmod 600 {name}")
    return settings


def settings_of(written: Mapping[str, str], file: Path, directory: Path) -> Settings:
    """What `read` would give, were `written` in `file`. Raises UsageError."""
    by_key = {key: Line(number, key, text) for number, (key, text) in enumerate(written.items(), start=1)}
    return settings_from(Lines(file, by_key), directory)


def proper_key(word: str) -> str:
    """The key that `word`, perhaps an alias, stands for. Raises UsageError."""
    return proper(word, PROPER)


def load(directory: Path, server: str | None = None, password: str | None = None) -> Settings:
    """What `read` gives, with the password that counts; `password` is the command line's. Raises UsageError."""
    return with_password(read(directory, server), password)


def _missing(directory: Path, file: Path, server: str | None) -> UsageError:
    others = further_servers(directory)
    ways = ["begin with: symsync init DIR URL" + (f" --server {shown(server)}" if server is not None else "")]
    if others:
        names = ", ".join(map(shown, others))
        ways.insert(0, f"{shown(str(directory))} is configured for: {names}; name one of them as SERVER")
    known = ", or ".join(ways)
    return UsageError(f"{shown(str(file))}: there is no such file; {known}")
