"""Public keys that get in, as they are written down, checked and withdrawn."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from symsync_hub.accounts import Account, Accounts, Login
from symsync_hub.publickeys import PublicKey, parse_keys
from symsync_hub.users import NO_PASSWORD, User, UsersFile, hashed
from symsync_protocol.errors import UsageError


def key(kind: str, content: bytes, comment: str = "") -> PublicKey:
    """A key whose blob says its kind, as all do."""
    return PublicKey(kind, len(kind).to_bytes(4) + kind.encode() + content, comment)


ONE = key("ssh-ed25519", b"one", "ada@laptop")
OTHER = key("ssh-rsa", b"other")


def test_lines_are_read_as_they_are_written() -> None:
    """Comments, empty lines and blanks do not matter; a key without a name is one."""
    text = f"# keys\n\n  {ONE.line}  \n{OTHER.line}\r\n"
    assert (ONE, OTHER) == parse_keys(text, "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file holds no public key"),
        ("# nothing\n", "file holds no public key"),
        (f"\nfrom=10.0.0.1 {ONE.line}", "file, line 2: expected a key that begins with one of ssh-ed25519"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "line 1: expected a key"),
        ("ssh-ed25519", "not of the kind"),
        ("ssh-ed25519 AAAA%", "damaged"),
        (ONE.line.replace("ssh-ed25519", "ssh-rsa"), "line 1: the key is not of the kind ssh-rsa that it says"),
    ],
)
def test_what_is_no_key_is_named(text: str, message: str) -> None:
    """With file and line; options are not passed over, for they restrict."""
    with pytest.raises(UsageError, match=message):
        parse_keys(text, "file")


def test_fingerprint_is_openssh_s(tmp_path: Path) -> None:
    """The same as `ssh-keygen -l` shows."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "k.pub"], check=True, capture_output=True, text=True).stdout
    [found] = parse_keys((tmp_path / "k.pub").read_text(), "k.pub")
    assert shown.split()[1] == found.fingerprint


def test_keys_in_the_users_file(tmp_path: Path) -> None:
    """Added once each, withdrawn by themselves, and read back as they were."""
    file = UsersFile(tmp_path / "users.json")
    file.add(User("ada", NO_PASSWORD, keys=(ONE,)))
    file.add_keys("ada", (OTHER, ONE))
    assert (ONE, OTHER) == UsersFile(file.path).load()["ada"].keys
    file.remove_keys("ada", (ONE,))
    assert (OTHER,) == file.load()["ada"].keys
    for change in (file.add_keys, file.remove_keys):
        with pytest.raises(UsageError, match="no user 'bob'"):
            change("bob", (ONE,))
    with pytest.raises(UsageError, match="'ada' has none of these keys"):
        file.remove_keys("ada", (ONE,))


def test_damaged_keys_in_the_users_file_are_refused(tmp_path: Path) -> None:
    """Rather than to leave them out in silence."""
    file = UsersFile(tmp_path / "users.json")
    file.add(User("ada", NO_PASSWORD, keys=(ONE,)))
    file.path.write_text(file.path.read_text().replace(base64.b64encode(ONE.blob).decode(), "AAAA"))
    with pytest.raises(UsageError, match="keys of 'ada' in the users file, line 1"):
        UsersFile(file.path).load()


def test_a_key_opens_its_own_account_only(tmp_path: Path) -> None:
    """Users of this run and of the file alike; a user without a password has no password at all."""
    file = UsersFile(tmp_path / "users.json")
    file.add(User("filed", NO_PASSWORD, tmp_path / "own", writable=False, keys=(ONE,)))
    file.add(User("plain", hashed("secret")))
    accounts = Accounts(tmp_path, [Login("run", "r", keys=(OTHER,))], file, anonymous=True)
    assert Account("filed", tmp_path / "own", writable=False) == accounts.check_key("filed", ONE.blob)
    assert Account("run", tmp_path, writable=True) == accounts.check_key("run", OTHER.blob)
    strangers = [("filed", OTHER), ("run", ONE), ("plain", ONE), ("nobody", ONE), ("anonymous", ONE)]
    assert [None] * 5 == [accounts.check_key(name, key.blob) for name, key in strangers]
    assert [None, None] == [accounts.check("filed", password) for password in ("", "x")]
