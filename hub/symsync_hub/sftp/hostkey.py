"""The hub's SSH host key, made at the first start and kept, so that clients can pin it."""

from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from symsync_hub.datafiles import write_whole
from symsync_protocol.errors import UsageError

HOST_KEY = "hub-host-key"


def own_host_key(data: Path) -> paramiko.Ed25519Key:
    """The key in the hub's data directory, in OpenSSH's format; its `fingerprint` is what clients show. Raises
    UsageError where it can't be read or made."""
    path = data / HOST_KEY
    try:
        if not path.exists():
            write_whole(path, _made(), 0o600)
        return paramiko.Ed25519Key(filename=str(path))
    except OSError as error:
        raise UsageError(
            f"{path}: the hub's host key can't be kept there: {error.strerror}; name another directory with --data"
        ) from error
    except (paramiko.SSHException, ValueError, IndexError) as error:
        raise UsageError(
            f"{path} is no Ed25519 key without a passphrase ({error}); restore it, or remove it for a new one"
        ) from error


def _made() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
