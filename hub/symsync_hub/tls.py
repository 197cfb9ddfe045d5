"""The hub's certificate: the user's own, or one that the hub makes for itself and keeps."""

import datetime
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from OpenSSL import SSL

from symsync_hub.datafiles import write_whole
from symsync_protocol.errors import UsageError

CERTIFICATE = "hub-certificate.pem"
KEY = "hub-key.pem"

VALID_DAYS = 365 * 20
"""Clients pin the certificate by its fingerprint, so that nothing is gained when it ends."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, both PEM files."""

    chain: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the first certificate in hex with colons, as `openssl x509 -fingerprint -sha256` shows it."""
        return hashlib.sha256(self._der()).digest().hex(":").upper()

    @property
    def self_signed(self) -> bool:
        """Whether no authority vouches for it, so that clients have to pin it."""
        from cryptography import x509  # heavy

        first = x509.load_der_x509_certificate(self._der())
        return first.issuer == first.subject

    def _der(self) -> bytes:
        text = self.chain.read_text("ascii", "replace")
        begin = text.find("-----BEGIN CERTIFICATE-----")
        end = text.find("-----END CERTIFICATE-----")
        if begin < 0 or end < 0:
            raise UsageError(f"{self.chain} holds no certificate in PEM form")
        return ssl.PEM_cert_to_DER_cert(text[begin:end] + "-----END CERTIFICATE-----")


def given_certificate(chain: Path, key: Path | None) -> Certificate:
    """The user's own certificate; the key may stand in the same file."""
    return Certificate(chain, key or chain)


def own_certificate(data: Path) -> Certificate:
    """The certificate in the hub's data directory, made there at the first start. Raises UsageError."""
    certificate = Certificate(data / CERTIFICATE, data / KEY)
    try:
        if not (certificate.chain.exists() and certificate.key.exists()):
            _make(certificate)
    except OSError as error:
        raise UsageError(
            f"{data}: the hub's certificate can't be kept there: {error.strerror}; name another directory with --data"
        ) from error
    return certificate


def server_context(certificate: Certificate) -> SSL.Context:
    """TLS 1.2, sessions resumable on data connections. Raises UsageError.

    Not 1.3: there the server sends session tickets after the handshake. A client that closes an upload with them
    unread, as Go's does, resets the connection, and its last bytes are lost on the way. OpenSSL can hold the tickets
    back (SSL_CTX_set_num_tickets), but pyOpenSSL can't ask it to.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION)
    context.set_session_id(b"symsync-hub")
    try:
        context.use_certificate_chain_file(str(certificate.chain))
        context.use_privatekey_file(str(certificate.key))
        context.check_privatekey()
    except SSL.Error as error:
        raise UsageError(
            f"certificate {certificate.chain} with key {certificate.key} can't be used: {_reason(error)}"
        ) from error
    return context


def _make(certificate: Certificate) -> None:
    from cryptography import x509  # heavy, and only for the first start
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "symsync-hub")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("symsync-hub")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    write_whole(certificate.key, secret, 0o600)
    write_whole(certificate.chain, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _reason(error: SSL.Error) -> str:
    details = error.args[0] if error.args else ()
    return "; ".join(str(detail[-1]) for detail in details if detail) or "not readable"
