"""A whole hub: accounts, one door, and a server for each protocol and address."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from symsync_hub.accounts import Accounts, Login, random_password
from symsync_hub.door import Door, Limits
from symsync_hub.listener import Address
from symsync_protocol.errors import UsageError

LOOPBACK = "127.0.0.1"
DEFAULT_LOGIN = "symsync"

TRUSTING = Limits(login_delay=0)
"""For a hub that only this machine reaches and that lives for a test or a demonstration."""


class Server(Protocol):
    """One protocol at one address."""

    address: Address

    def start(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub at work. `login` and `password` are those of its first user."""

    host: str
    port: int
    login: str
    password: str = field(repr=False)
    directory: Path
    fingerprint: str | None
    """SHA-256 of the certificate in hex with colons, None without TLS."""
    sftp_port: int | None = None
    host_key: str | None = None
    """The SSH host key's fingerprint, `SHA256:...`; both None without SFTP."""

    @property
    def url(self) -> str:
        """`ftp://login:password@host:port/`, `ftps` with TLS (explicit, on the same port)."""
        return self._url("ftps" if self.fingerprint else "ftp", self.port)

    @property
    def sftp_url(self) -> str | None:
        """`sftp://login:password@host:port/`."""
        return self._url("sftp", self.sftp_port) if self.sftp_port is not None else None

    def _url(self, scheme: str, port: int) -> str:
        return f"{scheme}://{quote(self.login, safe='')}:{quote(self.password, safe='')}@{self.host}:{port}/"


@contextlib.contextmanager
def running(
    directory: str | os.PathLike[str],
    *,
    users: Sequence[Login] = (),
    ftp_port: int = 0,
    tls: bool = False,
    require_tls: bool = False,
    sftp: bool = False,
    anonymous: bool = False,
    limits: Limits = TRUSTING,
    data: Path | None = None,
) -> Iterator[RunningHub]:
    """Serve `directory` over FTP at a loopback address while the block runs, in threads of this process.

    Without `users` there is one with a random password. Port 0 is any free port. With `tls` the hub offers AUTH TLS
    under a certificate kept in `data`, a temporary one when None; `require_tls` refuses everything else. With `sftp` it
    serves SFTP too, at a port of its own, under a host key kept likewise. Raises UsageError where `directory` is none
    and HubError where the port is taken.
    """
    from symsync_hub.ftp.server import FtpOptions, FtpServer  # heavy

    root = Path(directory)
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such directory to serve")
    logins = list(users) or [Login(DEFAULT_LOGIN, random_password())]
    with contextlib.ExitStack() as stack:
        context = fingerprint = sftp_port = host_key = None
        if data is None and (tls or require_tls or sftp):
            import tempfile

            data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if data is not None and (tls or require_tls):
            from symsync_hub.tls import own_certificate, server_context

            certificate = own_certificate(data)
            context, fingerprint = server_context(certificate), certificate.fingerprint
        accounts, door = Accounts(root, logins, anonymous=anonymous), Door(limits)
        server = FtpServer(Address(LOOPBACK, ftp_port), accounts, door, context, FtpOptions(require_tls=require_tls))
        servers: list[Server] = [server]
        stack.callback(server.close)
        if data is not None and sftp:
            from symsync_hub.sftp.hostkey import own_host_key  # heavy
            from symsync_hub.sftp.server import SftpServer

            key = own_host_key(data)
            servers.append(SftpServer(Address(LOOPBACK, 0), accounts, door, key))
            sftp_port, host_key = servers[-1].address.port, key.fingerprint
        stack.enter_context(serving(servers))
        first = logins[0]
        yield RunningHub(
            LOOPBACK, server.address.port, first.name, first.password, root, fingerprint, sftp_port, host_key
        )


@contextlib.contextmanager
def serving(servers: Sequence[Server]) -> Iterator[None]:
    """Start all servers, and close them when the block ends."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.close)
            server.start()
        yield
