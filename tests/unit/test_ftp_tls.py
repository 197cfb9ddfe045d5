"""FTPS against a server in this process: certificates verified or pinned, both connections encrypted."""

import datetime
import ipaddress
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyftpdlib.handlers import TLS_FTPHandler

from symsync.core.values import Reason
from symsync.remotes.base import Fetch, Fetched, Store, Stored
from symsync.remotes.ftp import FtpRemote
from symsync.remotes.location import Protocol, Tls
from symsync_protocol.errors import HubRefused
from unit.ftp_server import Running, running


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 with its key, in one file, and its fingerprint."""

    file: Path
    fingerprint: str


@pytest.fixture(autouse=True)
def quiet() -> None:
    """pyftpdlib logs each command."""
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test hub")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return Certificate(file, sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest())


@pytest.fixture
def server(tmp_path: Path, certificate: Certificate) -> Iterator[Running]:
    root = tmp_path / "root"
    root.mkdir()
    with running(root, handler=TLS_FTPHandler, certfile=str(certificate.file), tls_data_required=True) as server:
        yield server


def both_ways(server: Running, tmp_path: Path, **location: Any) -> None:
    """A listing and a file there and back, over encrypted data connections only."""
    (tmp_path / "source").write_bytes(b"x" * 300_000)
    (tmp_path / "small").write_bytes(b"y")
    with FtpRemote.open(server.location(**location)) as remote:
        jobs = [Store(tmp_path / "source", "f"), Store(tmp_path / "small", "g")]
        stored = {o.job.path: o.digest for o in remote.store(jobs) if isinstance(o, Stored)}
        [listing] = remote.listings([""])
        fetches = [Fetch(path, tmp_path / path) for path in stored]
        fetched = {o.job.path: o.digest for o in remote.fetch(fetches) if isinstance(o, Fetched)}
    assert (None, {"f", "g"}) == (listing.problem, {entry.path for entry in listing.entries})
    assert {"f": sha256(b"x" * 300_000).digest(), "g": sha256(b"y").digest()} == stored == fetched


@pytest.mark.parametrize("changes", [{}, {"protocol": Protocol.FTPS}, {"tls": Tls.EXPLICIT}])
def test_pinned(server: Running, certificate: Certificate, tmp_path: Path, changes: dict[str, Any]) -> None:
    """With its fingerprint pinned a self-signed certificate will do, colons or not; TLS is used wherever offered."""
    colons = ":".join(certificate.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
    both_ways(server, tmp_path, tls_fingerprint=colons, **changes)
    assert {"AUTH TLS", "PROT P"} <= set(server.commands)


def test_implicit(certificate: Certificate, tmp_path: Path) -> None:
    """TLS from the first byte on."""

    class Implicit(TLS_FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
        def handle(self) -> None:
            self.secure_connection(self.ssl_context)
            super().handle()

    root = tmp_path / "root"
    root.mkdir()
    with running(root, handler=Implicit, certfile=str(certificate.file)) as server:
        both_ways(server, tmp_path, tls_fingerprint=certificate.fingerprint, tls=Tls.IMPLICIT)
        assert "AUTH TLS" not in server.commands


def test_trusted(server: Running, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the system's authorities vouch for needs no pin."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    both_ways(server, tmp_path)


def test_another_name(server: Running, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good certificate of somebody else is not good enough."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    with pytest.raises(HubRefused, match="mismatch"):
        FtpRemote.open(server.location(host="localhost"))


def test_unknown_certificate(server: Running, certificate: Certificate) -> None:
    """It is refused in one line with the fingerprint and the key that pins it, and nobody logged in."""
    colons = ":".join(certificate.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
    with pytest.raises(HubRefused, match=rf"^127.0.0.1: .*self-signed.*tlsfingerprint {colons}$"):
        FtpRemote.open(server.location())
    assert [] == [command for command in server.commands if command.startswith(("USER", "PASS"))]


def test_changed_certificate(server: Running) -> None:
    """A certificate that is not the pinned one stops everything, and nobody logged in."""
    with pytest.raises(HubRefused, match="not the pinned one"):
        FtpRemote.open(server.location(tls_fingerprint="00" * 32))
    assert [] == [command for command in server.commands if command.startswith(("USER", "PASS"))]


def test_without_tls13(certificate: Certificate, tmp_path: Path) -> None:
    """A server that can't take up TLS 1.3 sessions on data connections is spoken to with TLS 1.2."""
    root = tmp_path / "root"
    root.mkdir()

    class Demands(TLS_FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
        def ftp_MLSD(self, path: str) -> Any:  # noqa: N802  # pyftpdlib's naming
            if self.socket.get_protocol_version_name() == "TLSv1.3":
                return self.respond("522 SSL connection failed; session reuse required")
            return super().ftp_MLSD(path)

    demanding = running(root, handler=Demands, certfile=str(certificate.file))
    with demanding as server, FtpRemote.open(server.location(tls_fingerprint=certificate.fingerprint)) as remote:
        [listing] = remote.listings([""])
    assert (None, ()) == (listing.problem, listing.entries)


def test_refused_transfers(server: Running, certificate: Certificate, tmp_path: Path) -> None:
    """A transfer that is refused does not wait for a handshake that never comes."""
    with FtpRemote.open(server.location(tls_fingerprint=certificate.fingerprint)) as remote:
        [outcome] = remote.fetch([Fetch("gone", tmp_path / "target")])
    assert isinstance(outcome, tuple)
    assert Reason.ABSENT is outcome[1].reason
