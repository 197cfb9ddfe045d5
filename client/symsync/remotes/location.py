"""Where a hub is and how to get in: what a configuration or a URL comes down to."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Protocol(StrEnum):
    """How a hub is spoken to."""

    FTP = "ftp"
    FTPS = "ftps"
    SFTP = "sftp"
    FILE = "file"


class Tls(StrEnum):
    """How an FTP connection is encrypted."""

    EXPLICIT = "explicit"
    """AUTH TLS on the ordinary port (RFC 4217)."""
    IMPLICIT = "implicit"
    """TLS from the first byte, port 990."""
    NO = "no"
    IF_OFFERED = "if-offered"
    """AUTH TLS where offered; else stop, unless the server is this very machine."""


DEFAULT_PORTS = {Protocol.FTP: 21, Protocol.FTPS: 21, Protocol.SFTP: 22, Protocol.FILE: 0}
IMPLICIT_TLS_PORT = 990


@dataclass(frozen=True, slots=True)
class Location:
    """One hub's address, login and manner. `directory` is as the server names it, "" is where the login lands."""

    protocol: Protocol
    host: str = ""
    port: int = 0
    login: str = "anonymous"
    password: str | None = field(default=None, repr=False)
    directory: str = ""
    tls: Tls = Tls.IF_OFFERED
    tls_fingerprint: str | None = None
    """SHA-256 of the server's certificate in hex, colons allowed; then no authority is asked."""
    host_key: str | None = None
    """An SSH host key's fingerprint as OpenSSH shows it, `SHA256:...`."""
    identity_file: Path | None = None
    connections: int = 8
    """How many at most; a server that refuses gets fewer."""
    active: bool = False
    """FTP's active mode: the server connects to us."""
    compress: bool = False
    bandwidth: int | None = None
    """Bytes per second over all connections, None without limit."""
    timeout: float = 60.0
    """Seconds that a server may be silent before the connection counts as lost."""

    @property
    def shown(self) -> str:
        """The address as a person reads it, without the password."""
        if self.protocol is Protocol.FILE:
            return self.directory
        directory = f"/{self.directory.lstrip('/')}" if self.directory else ""
        port = f":{self.port}" if self.port != DEFAULT_PORTS[self.protocol] else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}://{self.login}@{host}{port}{directory}"
