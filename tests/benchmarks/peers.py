"""The programs that are compared: how each is told to push a directory and to pull it.

All get the same: eight transfers at once where they can, no questions, nothing from the user's own configuration.
"""

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from places import Address

TRANSFERS = 8
SSH_OPTIONS = (
    "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR -o PreferredAuthentications=password"
)
"""The test server's key is new with every image."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments and what is added to its environment."""

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A local directory, and one on a server: relative to where the login lands."""

    local: Path
    address: Address
    remote: str

    @property
    def remote_by_ssh(self) -> str:
        """As rsync writes it; its content, not the directory itself."""
        return f"{self.address.login}@{self.address.host}:{self.remote}/"


class Peer(ABC):
    """A program that keeps a local directory and one on a server the same, in one direction at a time or in both."""

    name: str
    protocols: tuple[str, ...]
    """Those it can speak."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the program's own for auxiliary files."""
        self.folder = folder

    @property
    def path(self) -> str | None:
        """The program, None where it is not installed."""
        return shutil.which(self.name)

    def version(self) -> str:
        """The first line of what it says about itself."""
        said = subprocess.run(
            [self.path or self.name, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return next(iter((said.stdout or said.stderr).strip().splitlines()), "says nothing")

    def prepare(self, pair: Pair) -> None:
        """Done before the clock runs: whatever the program wants to find where it has not yet been."""
        pair.local.mkdir(exist_ok=True)

    @abstractmethod
    def push(self, pair: Pair) -> Command:
        """Make the directory on the server like the local one."""

    @abstractmethod
    def pull(self, pair: Pair) -> Command:
        """Make the local directory like the one on the server."""


class Symsync(Peer):
    name = "symsync"
    protocols = ("ftp", "ftps", "sftp")

    @property
    def path(self) -> str | None:
        return shutil.which(self.name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def prepare(self, pair: Pair) -> None:
        """A configuration, and no state of an earlier run."""
        super().prepare(pair)
        address = pair.address
        for left in pair.local.glob(".sync.*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        settings = {
            "nodename": pair.local.name,
            "protocol": address.protocol,
            "server": address.host,
            "port": str(address.port),
            "login": address.login,
            "password": address.password,
            "dir": pair.remote,
            "tls": "explicit" if address.protocol == "ftps" else "no" if address.protocol == "ftp" else None,
            "tlsfingerprint": address.tls_fingerprint,
            "hostkey": address.host_key,
            "connections": str(TRANSFERS),
        }
        configuration = pair.local / ".sync.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("".join(f"{key} {value}\n" for key, value in settings.items() if value is not None))

    def push(self, pair: Pair) -> Command:
        return Command([self.path or self.name, "sync", str(pair.local)])

    def pull(self, pair: Pair) -> Command:
        # The same command does both: it finds out what is missing where.
        return self.push(pair)


class Lftp(Peer):
    name = "lftp"
    protocols = ("ftp", "ftps", "sftp")

    def push(self, pair: Pair) -> Command:
        return self._mirror(pair.address, f"--reverse {pair.local} {pair.remote}")

    def pull(self, pair: Pair) -> Command:
        return self._mirror(pair.address, f"{pair.remote} {pair.local}")

    def _mirror(self, address: Address, arguments: str) -> Command:
        encrypted = "yes" if address.protocol == "ftps" else "no"
        script = [
            f"set ftp:ssl-allow {encrypted}",
            f"set ftp:ssl-force {encrypted}",
            f"set ftp:ssl-protect-data {encrypted}",
            "set ssl:verify-certificate no",
            f'set sftp:connect-program "ssh -a -x {SSH_OPTIONS}"',
            "set cmd:fail-exit yes",
            # By default it tries a thousand times.
            "set net:max-retries 3",
            "set net:timeout 30",
            f"mirror --only-newer --parallel={TRANSFERS} {arguments}",
        ]
        scheme = "sftp" if address.protocol == "sftp" else "ftp"
        url = f"{scheme}://{address.host}:{address.port}"
        login = f"{address.login},{address.password}"
        return Command([self.name, "--norc", "-u", login, "-e", "; ".join([*script, "bye"]), url])


class Rclone(Peer):
    name = "rclone"
    protocols = ("ftp", "ftps", "sftp")

    def push(self, pair: Pair) -> Command:
        return self._sync(pair.address, str(pair.local), f"bench:{pair.remote}")

    def pull(self, pair: Pair) -> Command:
        return self._sync(pair.address, f"bench:{pair.remote}", str(pair.local))

    def _sync(self, address: Address, source: str, target: str) -> Command:
        obscured = subprocess.run(
            [self.name, "obscure", address.password], capture_output=True, text=True, check=True
        ).stdout.strip()
        options = {
            "TYPE": "sftp" if address.protocol == "sftp" else "ftp",
            "HOST": address.host,
            "PORT": str(address.port),
            "USER": address.login,
            "PASS": obscured,
            "EXPLICIT_TLS": "true" if address.protocol == "ftps" else "false",
            "NO_CHECK_CERTIFICATE": "true",
            # Its TLS 1.3 sessions are not reused, which vsftpd and ProFTPD demand.
            "DISABLE_TLS13": "true",
        }
        environment = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in options.items()}
        limits = [f"--transfers={TRANSFERS}", f"--checkers={TRANSFERS}", "--retries=1"]
        return Command([self.name, "--config=", *limits, "sync", source, target], environment)


class Rsync(Peer):
    name = "rsync"
    protocols = ("sftp",)
    """Over ssh, with rsync on the server."""

    def push(self, pair: Pair) -> Command:
        return self._copy(pair.address, f"{pair.local}/", pair.remote_by_ssh)

    def pull(self, pair: Pair) -> Command:
        return self._copy(pair.address, pair.remote_by_ssh, f"{pair.local}/")

    def _copy(self, address: Address, source: str, target: str) -> Command:
        # ssh takes a password from a program only.
        ask = self.folder / "password"
        ask.write_text(f"#!/bin/sh\necho '{address.password}'\n")
        ask.chmod(0o700)
        environment = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
        shell = f"ssh -p {address.port} {SSH_OPTIONS}"
        return Command([self.name, "--archive", f"--rsh={shell}", source, target], environment)


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Symsync, Lftp, Rclone, Rsync)}
