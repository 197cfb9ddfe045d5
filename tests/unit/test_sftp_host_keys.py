"""Which host keys are trusted: known_hosts as OpenSSH writes it, and pins."""

import base64
import hmac
from pathlib import Path

import pytest

from symsync.remotes.sftp.host_keys import Known, check, fingerprint, known_keys, known_name, preferred
from symsync_protocol.errors import HubRefused

KEY, OTHER = b"one key", b"another key"
PIN = fingerprint(KEY)


def line(hosts: str, key: bytes = KEY, kind: str = "ssh-ed25519") -> str:
    return f"{hosts} {kind} {base64.b64encode(key).decode()} comment\n"


def hashed(name: str) -> str:
    salt = b"twenty bytes of salt"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def known(key: bytes, kind: str = "ssh-ed25519", revoked: bool = False) -> Known:
    return Known(kind, key, revoked, "known_hosts, line 1")


def test_fingerprint() -> None:
    """As `ssh-keygen -lf` shows it: base64 of the SHA-256 without padding."""
    assert "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU" == fingerprint(b"")


@pytest.mark.parametrize(("port", "name"), [(22, "server.example"), (2222, "[server.example]:2222")])
def test_names(port: int, name: str) -> None:
    """A server with a port of its own stands with it, and hosts are lower case."""
    assert name == known_name("Server.Example", port)


@pytest.mark.parametrize(
    ("hosts", "name", "meant"),
    [
        ("server", "server", True),
        ("server", "server2", False),
        ("other,server", "server", True),
        ("*.example", "server.example", True),
        ("*.example", "example", False),
        ("serve?", "server", True),
        ("*.example,!server.example", "server.example", False),
        ("!server.example", "other.example", False),
        ("[server]:2222", "[server]:2222", True),
        ("[server]:2222", "s", False),
        ("[server]:2222", "server", False),
        (hashed("server"), "server", True),
        (hashed("server"), "other", False),
        (hashed("[server]:2222"), "[server]:2222", True),
        ("|1|not base64|either", "server", False),
        ("|1|onlyonepart", "server", False),
    ],
)
def test_who_is_meant(tmp_path: Path, hosts: str, name: str, meant: bool) -> None:
    """Names, patterns, exceptions and hashed names mean what sshd(8) says."""
    file = tmp_path / "known_hosts"
    file.write_text(line(hosts))
    assert ([KEY] if meant else []) == [one.key for one in known_keys([file], name)]


def test_other_lines(tmp_path: Path) -> None:
    """Comments, authorities and damaged lines are passed over, revoked keys are known as such."""
    file = tmp_path / "known_hosts"
    file.write_text(
        "# a comment server\n\n"
        + "server ssh-ed25519\n"
        + "server ssh-ed25519 !!!\n"
        + line("@cert-authority server")
        + line("@revoked server", OTHER)
        + line("server")
    )
    found = known_keys([tmp_path / "missing", file], "server")
    assert [(OTHER, True, f"{file}, line 6"), (KEY, False, f"{file}, line 7")] == [
        (one.key, one.revoked, one.place) for one in found
    ]


def test_known_kinds_come_first() -> None:
    """The server is asked for the kind of key it is known by, RSA keys with their newer signatures."""
    offered = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"]
    assert offered == preferred(offered, [])
    assert [*offered[2:], *offered[:2]] == preferred(offered, [known(KEY, "ssh-rsa")])


@pytest.mark.parametrize(
    ("pin", "entries"), [(PIN, []), (PIN + "=", []), (PIN, [known(OTHER)]), (None, [known(OTHER), known(KEY)])]
)
def test_trusted(pin: str | None, entries: list[Known]) -> None:
    """The pinned key is trusted whatever the files say, without a pin any that they give."""
    check("server", KEY, "ssh-ed25519", pin, entries)


@pytest.mark.parametrize(
    ("pin", "entries", "said"),
    [
        (None, [], ["its host key is not known", "ssh-ed25519", f"pin it: hostkey {PIN}"]),
        (None, [known(OTHER)], ["HAS CHANGED", "known_hosts, line 1", fingerprint(OTHER), f"hostkey {PIN}"]),
        (None, [known(OTHER, "ssh-rsa")], ["HAS CHANGED"]),
        (fingerprint(OTHER), [known(KEY)], ["NOT THE PINNED ONE", f"hostkey {PIN}"]),
        ("SHA256:", [], ["NOT THE PINNED ONE"]),
        (None, [known(KEY), known(KEY, revoked=True)], ["revoked"]),
        (PIN, [known(KEY, revoked=True)], ["revoked"]),
        (None, [known(OTHER, revoked=True)], ["not known"]),
    ],
)
def test_not_trusted(pin: str | None, entries: list[Known], said: list[str]) -> None:
    """An unknown, changed or revoked key is refused in one line, with what to write where it can be trusted."""
    with pytest.raises(HubRefused, match=r"^server: .*\Z") as refusal:
        check("server", KEY, "ssh-ed25519", pin, entries)
    assert [] == [words for words in said if words not in str(refusal.value)]
