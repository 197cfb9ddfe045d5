"""Public keys that may log in over SSH, in the lines of OpenSSH's `authorized_keys` (sshd(8)) and `*.pub` files."""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from symsync_protocol.errors import UsageError

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""What the hub can verify. RSA keys sign with SHA-2 (RFC 8332)."""

_LENGTH_SIZE = 4


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key: `blob` is what travels in SSH (RFC 4253, 6.6), the comment is for people."""

    kind: str
    blob: bytes
    comment: str = ""

    @property
    def line(self) -> str:
        """The key as OpenSSH writes it."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def parse_keys(text: str, source: str) -> tuple[PublicKey, ...]:
    """All keys of an `authorized_keys` or `*.pub` file. Raises UsageError, which names `source` and the line."""
    lines = enumerate(text.splitlines(), start=1)
    keys = tuple(_parse(line, f"{source}, line {number}") for number, line in lines if line.split("#")[0].strip())
    if not keys:
        raise UsageError(f"{source} holds no public key; OpenSSH keeps them in files such as ~/.ssh/id_ed25519.pub")
    return keys


def _parse(line: str, where: str) -> PublicKey:
    kind, _, rest = line.strip().partition(" ")
    if kind not in KINDS:
        # A line may begin with options (`from=...`). To pass over a restriction would let in whom it keeps out.
        raise UsageError(f"{where}: expected a key that begins with one of {', '.join(KINDS)}, without options")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise UsageError(f"{where}: the key is damaged; copy the whole line again") from None
    if not blob.startswith(len(kind).to_bytes(_LENGTH_SIZE) + kind.encode()):
        raise UsageError(f"{where}: the key is not of the kind {kind} that it says; copy the whole line again")
    return PublicKey(kind, blob, comment.strip())
