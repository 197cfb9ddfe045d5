"""Users, passwords and the door that counts who comes in."""

import json
import stat
import threading
from pathlib import Path

import pytest

from symsync_hub.accounts import Account, Accounts, Login
from symsync_hub.door import Door, Limits
from symsync_hub.users import User, UsersFile, check_user_name, hashed, verify
from symsync_protocol.errors import UsageError


def test_password_is_stored_as_salted_scrypt() -> None:
    """Two hashes of one password differ, both verify, and another password does not."""
    one, two = hashed("geheim"), hashed("geheim")
    assert one != two
    assert [verify("geheim", one), verify("geheim", two), verify("Geheim", one)] == [True, True, False]
    assert one.startswith("scrypt$32768$8$1$")


def test_users_file_is_private_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    """What was added is read back; nobody else may read the file; removing an unknown user is an error."""
    file = UsersFile(tmp_path / "data" / "users.json")
    ada = User("ada", hashed("a"), tmp_path, writable=False)
    bob = User("bob", hashed("b"))
    file.add(ada)
    file.add(bob)
    assert {"ada": ada, "bob": bob} == UsersFile(file.path).load()
    assert 0o600 == stat.S_IMODE(file.path.stat().st_mode)
    file.remove("ada")
    assert {"bob": bob} == file.load()
    with pytest.raises(UsageError, match="no user 'ada'"):
        file.remove("ada")


def test_users_added_at_once_are_all_kept(tmp_path: Path) -> None:
    """Eight writers, each with its own view of the file, lose nobody."""
    path, password = tmp_path / "users.json", hashed("x")
    threads = [threading.Thread(target=lambda n=n: UsersFile(path).add(User(f"user{n}", password))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"user{n}" for n in range(8)} == set(UsersFile(path).load())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "is not what"),
        ('{"format": 2, "users": {}}', "of format 2"),
        ('{"format": 1, "users": {"a": {"password": "plain", "home": null, "writable": true}}}', "is not what"),
        ('{"format": 1, "users": {"a": {"password": "scrypt$1073741824$8$1$AA==$AA==", "home": null}}}', "is not what"),
        ("[]", "is not what"),
    ],
)
def test_damaged_users_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """A file that can't be understood, or that asks for gigabytes of memory, is one clear line."""
    path = tmp_path / "users.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=message):
        UsersFile(path).load()


def test_users_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The message names the command that mends it."""
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"format": 1, "users": {}}))
    path.chmod(0o644)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        UsersFile(path).load()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "../a", "a@b", "a\nb", "x" * 65])
def test_names_that_would_break_a_url_are_refused(name: str) -> None:
    """A user's name stands in URLs and logs."""
    with pytest.raises(UsageError):
        check_user_name(name)


def test_accounts_take_the_right_password_only(tmp_path: Path) -> None:
    """Logins of this run and users of the file get in with their password, again and again, and with no other."""
    file = UsersFile(tmp_path / "users.json")
    file.add(User("filed", hashed("one"), tmp_path / "home", writable=False))
    accounts = Accounts(tmp_path, [Login("given", "two")], file)
    filed = Account("filed", tmp_path / "home", writable=False)
    given = Account("given", tmp_path, writable=True)
    tries = [("filed", "one"), ("filed", "one"), ("filed", "two"), ("given", "two"), ("given", "one"), ("nobody", "")]
    assert [filed, filed, None, given, None, None] == [accounts.check(*each) for each in tries]
    assert None is accounts.check("anonymous", "me@example.org")


def test_a_new_password_counts_at_once(tmp_path: Path) -> None:
    """Changing the file takes effect in a hub that runs, and the old password is forgotten."""
    file = UsersFile(tmp_path / "users.json")
    file.add(User("ada", hashed("old")))
    accounts = Accounts(tmp_path, file=UsersFile(file.path))
    assert accounts.check("ada", "old") is not None
    file.add(User("ada", hashed("new")))
    assert None is accounts.check("ada", "old")
    assert accounts.check("ada", "new") is not None


def test_anonymous_reads_only(tmp_path: Path) -> None:
    """Where anybody may read, any password will do and nothing may be written."""
    accounts = Accounts(tmp_path, anonymous=True)
    assert Account("anonymous", tmp_path, writable=False) == accounts.check("ftp", "guest")
    assert ["anonymous"] == accounts.names()


def test_door_counts_per_address_and_in_all() -> None:
    """Who leaves makes room again."""
    door = Door(Limits(connections=3, per_address=2))
    assert [door.enter("a"), door.enter("a")] == [None, None]
    assert "Too many connections from your address" == door.enter("a")
    assert None is door.enter("b")
    assert "Too many connections" == door.enter("c")
    door.leave("a")
    assert None is door.enter("c")


def test_wrong_passwords_cost_more_and_more() -> None:
    """The delay doubles up to its limit; then the address is not let in, others are."""
    door = Door(Limits(login_delay=1, login_delay_most=5, failures=4))
    assert [1, 2, 4, 5] == [door.failed("thief") for _ in range(4)]
    assert "Too many wrong passwords from your address, try again later" == door.enter("thief")
    assert None is door.enter("owner")


def test_failures_are_forgotten_after_their_window() -> None:
    """With a window of no length nothing is held against anybody."""
    door = Door(Limits(login_delay=1, failures=1, failure_window=-1))
    door.failed("forgetful")
    assert None is door.enter("forgetful")
    assert 1 == door.failed("forgetful")
