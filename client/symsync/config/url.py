"""A hub's address as one word: `ftp://login:password@host:port/dir`, `file:///dir`, or a plain path.

RFC 1738, section 3.2.2: what follows the slash after the host is relative to where the login lands; a second slash, or
`%2F`, makes it absolute. So `ftp://host/notes` is `notes` in the login's directory, `ftp://host//srv/notes` is
`/srv/notes`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from symsync.remotes.location import Protocol
from symsync_protocol.errors import UsageError
from symsync_protocol.names import shown

FORMS = "sftp://LOGIN@HOST/DIR, ftp://LOGIN@HOST/DIR, ftps://LOGIN@HOST/DIR, file:///DIR or a path"

_SCP = re.compile(r"((?:[^/:@]+@)?(?:\[[^/\]]+\]|[^/:@\[\]]+)):+(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says; None where it says nothing."""

    protocol: Protocol
    host: str = ""
    port: int | None = None
    login: str | None = None
    password: str | None = None
    directory: str | None = None


def parse_url(url: str) -> Address:
    """The address in `url`, or in a plain path, which is taken from the working directory. Raises UsageError, also for
    the `host:dir` of scp.

    An `@` in the password need not be encoded; a `/` in it must be (`%2F`).
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url:
            raise UsageError(f"an empty address of the hub; give {FORMS}")
        _refuse_scp(url)
        return Address(Protocol.FILE, directory=str(Path(url).expanduser().absolute()))
    try:
        protocol = Protocol(scheme.lower())
    except ValueError:
        raise UsageError(f"{shown(scheme)}://: not a protocol that symsync speaks; give {FORMS}") from None
    authority, slash, path = rest.partition("/")
    directory = _decoded(path)
    if protocol is Protocol.FILE:
        if authority not in ("", "localhost") or not slash:
            raise UsageError(f"{shown(url)}: a directory of this computer is written file:///DIR, with three slashes")
        return Address(protocol, directory="/" + directory)
    # The last @ ends the login and password, so that linux@zanjan works as a password.
    user, at, host_and_port = authority.rpartition("@")
    login, colon, password = user.partition(":")
    host, port = _host_and_port(host_and_port, protocol)
    return Address(
        protocol,
        host,
        port,
        _decoded(login) if at and login else None,
        _decoded(password) if colon else None,
        directory or None,
    )


def _refuse_scp(path: str) -> None:
    """`host:dir` means another computer to users of scp and rsync, unless a file of this one is called so."""
    there = _SCP.fullmatch(path)
    if there is None or Path(path).is_absolute() or Path(path).exists():
        return
    host, directory = there.groups()
    # An absolute directory keeps its slash behind the one that ends the host.
    raise UsageError(
        f"{shown(path)}: a directory on another computer is named by a URL: sftp://{shown(host)}/{shown(directory)}; "
        f"one on this computer, by ./{shown(path)}"
    )


def _host_and_port(text: str, protocol: Protocol) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        wrong = not bracket or colon not in ("", ":")
    else:
        host, colon, port = text.partition(":")
        wrong = ":" in port
    if wrong or not host:
        raise UsageError(f"{protocol}://{shown(text)}: no host name; give {FORMS}, an IPv6 address in brackets")
    if not colon:
        return host, None
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{protocol}://{shown(text)}: the port is a number from 1 to 65535")
    return host, int(port)


def _decoded(text: str) -> str:
    """Without percent-encoding; bytes that are not UTF-8 become surrogates, as in all names."""
    plain = unquote(text, errors="surrogateescape")
    if any(c in plain for c in "\r\n\0"):
        raise UsageError("the hub's address holds a line break or a NUL, which no server takes in a name")
    return plain
