"""Whether a server's host key is the one that is expected: known_hosts(5) of OpenSSH's sshd(8), or a pin.

Pure but for reading the files.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from symsync.remotes.location import DEFAULT_PORTS, Protocol
from symsync_protocol.errors import HubRefused

SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")

_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""Host key algorithms by the type of key (RFC 8332); all others are called like their key."""


@dataclass(frozen=True, slots=True)
class Known:
    """One key that a known_hosts file gives for a host."""

    kind: str
    key: bytes
    revoked: bool
    place: str
    """The file and the line where it stands."""


def fingerprint(key: bytes) -> str:
    """A public key's fingerprint as OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def known_name(host: str, port: int) -> str:
    """What known_hosts calls a server."""
    return host.lower() if port == DEFAULT_PORTS[Protocol.SFTP] else f"[{host.lower()}]:{port}"


def known_keys(files: Iterable[Path], name: str) -> list[Known]:
    """All keys that the files give for `name`; files that are missing or can't be read give none."""
    return [known for file in files for known in _in_file(file, name)]


def _in_file(file: Path, name: str) -> Iterator[Known]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        # @cert-authority: paramiko knows no host certificates.
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        if _is_meant(fields[0], name):
            try:
                key = base64.b64decode(fields[2], validate=True)
            except binascii.Error:
                continue
            yield Known(fields[1], key, bool(marker), f"{file}, line {number}")


def _is_meant(patterns: str, name: str) -> bool:
    """Whether a line's first field means `name`: hashed, or patterns of which none with `!` may match."""
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in patterns[3:].split("|"))
        except ValueError:  # not two parts, or not base64
            return False
        return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
    matches = [pattern for pattern in patterns.split(",") if _matches(pattern.removeprefix("!"), name)]
    return bool(matches) and not any(pattern.startswith("!") for pattern in matches)


def _matches(pattern: str, name: str) -> bool:
    """Only `*` and `?` are special: brackets stand around hosts with a port of their own."""
    form = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(form, name) is not None


def preferred(algorithms: Iterable[str], known: Iterable[Known]) -> list[str]:
    """Host key algorithms, those first for whose keys the server is known: else it might show another one."""
    first = [name for key in known if not key.revoked for name in _ALGORITHMS.get(key.kind, (key.kind,))]
    return sorted(algorithms, key=lambda name: first.index(name) if name in first else len(first))


def check(host: str, key: bytes, kind: str, pin: str | None, known: list[Known]) -> None:
    """Raise HubRefused unless `key` is the pinned one, or without a pin one of the known ones."""
    shown = fingerprint(key)
    if any(one.revoked and one.key == key for one in known):
        raise HubRefused(f"{host}: its host key {shown} has been revoked; do not go on, and ask the server's owner")
    if pin is not None:
        if not hmac.compare_digest(pin.rstrip("=").encode(), shown.encode()):
            raise HubRefused(
                f"{host}: THE HOST KEY IS NOT THE PINNED ONE, somebody may be in between. Stop here unless the "
                f"server's owner changed it; then pin the new one ({kind}): hostkey {shown}"
            )
        return
    good = [one for one in known if not one.revoked]
    if any(one.key == key for one in good):
        return
    if good:
        raise HubRefused(
            f"{host}: THE HOST KEY HAS CHANGED, somebody may be in between ({good[0].place} has "
            f"{fingerprint(good[0].key)}). Stop here unless the server's owner changed it; then remove that line, or "
            f"pin the new one ({kind}): hostkey {shown}"
        )
    raise HubRefused(
        f"{host}: its host key is not known. If this {kind} fingerprint is the one that the server's owner gives you, "
        f"pin it: hostkey {shown}"
    )
