"""Where the server of a location is, and what ~/.ssh/config (ssh_config(5)) says of it."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symsync.remotes.location import DEFAULT_PORTS, Location, Protocol
from symsync.remotes.sftp.host_keys import SYSTEM_FILE, known_name
from symsync_protocol.errors import HubRefused

_DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
"""Names of keys below ~/.ssh that are tried unasked (ssh(1), -i), as far as paramiko knows their kinds."""


@dataclass(frozen=True, slots=True)
class Door:
    """One SSH server, and how it is entered."""

    host: str
    port: int
    login: str
    known_as: str
    """Its name in known_hosts."""
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    """Files with private keys to be tried; those that are missing don't matter."""
    asks_agent: bool = True


def ssh_folder() -> Path:
    """Where OpenSSH keeps what belongs to a user."""
    return Path("~/.ssh").expanduser()


def door_of(location: Location) -> Door:
    """The door of a location; ~/.ssh/config counts where the location says nothing of its own.

    It says nothing where port and login are the defaults. Raises HubRefused for what can't be used here.
    """
    config = ssh_folder() / "config"
    options = _options(config, location.host) if config.is_file() else {}
    host = str(options.get("hostname", location.host))
    for key in ("proxycommand", "proxyjump"):
        if options.get(key, "none") != "none":
            raise HubRefused(
                f"{location.host}: {config} leads to it by {key} {options[key]}, which symsync can't follow; "
                f"open a tunnel (ssh -L) and give its end as `server` and `port`"
            )
    port = location.port or DEFAULT_PORTS[Protocol.SFTP]
    if port == DEFAULT_PORTS[Protocol.SFTP]:
        port = int(options.get("port", port))
    login = str(options.get("user", location.login)) if location.login == getpass.getuser() else location.login
    files = str(options.get("userknownhostsfile", ssh_folder() / "known_hosts")).split()
    named = tuple(Path(file).expanduser() for file in options.get("identityfile", ()))
    return Door(
        host,
        port,
        login,
        str(options.get("hostkeyalias", "")) or known_name(host, port),
        (*(Path(file).expanduser() for file in files), SYSTEM_FILE),
        named or tuple(ssh_folder() / name for name in _DEFAULT_IDENTITIES),
        options.get("identitiesonly", "no") != "yes",
    )


def _options(config: Path, host: str) -> dict[str, Any]:
    """What the file says of `host`, by keys in lower case."""
    # Only here, for it takes 0.13 s; who has no such file connects before that.
    import paramiko

    try:
        return dict(paramiko.SSHConfig.from_path(str(config)).lookup(host))
    # ImportError: `Match exec` needs a package that nobody else needs.
    except (paramiko.ConfigParseError, ImportError, OSError, ValueError) as error:
        raise HubRefused(f"{config} can't be used for {host} ({error}); correct it") from error
