"""Getting in: host keys, passwords, keys, questions, ~/.ssh/config, and the one line where it fails."""

import getpass
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest

from symsync.config.passwords import asking
from symsync.remotes import open_remote
from symsync.remotes.location import Location, Protocol
from symsync.remotes.sftp import SftpRemote
from symsync.remotes.sftp.transport import safe
from symsync.settings import Settings
from symsync_protocol.errors import HubRefused, HubUnreachable, PasswordWanted
from unit import sftp_server
from unit.sftp_server import PASSWORD, USER, Running, running

KEY = paramiko.RSAKey.generate(2048)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, with an empty ~/.ssh and no agent."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def served(tmp_path: Path) -> Path:
    directory = tmp_path / "served"
    directory.mkdir()
    return directory


def enter(location: Location) -> None:
    """Get in and out."""
    SftpRemote.open(location).close()


def write_key(home: Path, name: str = "id_rsa", passphrase: str | None = None) -> Path:
    file = home / ".ssh" / name
    KEY.write_private_key_file(str(file), passphrase)
    return file


def know(home: Path, server: Running, key: paramiko.PKey | None = None) -> None:
    """An entry in known_hosts, as OpenSSH writes it."""
    key = key or server.host_key
    entry = f"[127.0.0.1]:{server.port} {key.get_name()} {key.get_base64()}\n"
    (home / ".ssh" / "known_hosts").write_text(entry)


def test_known_host(home: Path, served: Path) -> None:
    """A server that known_hosts knows needs no pin."""
    with running(served) as server:
        know(home, server)
        enter(server.location(host_key=None))
        assert ["password"] == server.logins


def test_known_by_another_kind(home: Path, served: Path) -> None:
    """Of a server's several keys it shows the one that known_hosts knows."""
    with running(served, host_key=KEY) as server:
        know(home, server)
        enter(server.location(host_key=None))


@pytest.mark.parametrize("known", [False, True])
def test_no_password_for_strangers(home: Path, served: Path, known: bool) -> None:
    """An unknown or changed key stops before anything secret is said, and the line shows how to pin it."""
    with running(served) as server:
        if known:
            know(home, server, KEY)
        pin = str(server.host_key.fingerprint)
        with pytest.raises(HubRefused, match="HAS CHANGED" if known else "not known") as refusal:
            enter(server.location(host_key=None))
        assert ([], True) == (server.logins, str(refusal.value).endswith(f"hostkey {pin}"))
        enter(server.location(host_key=pin))


def test_default_key(home: Path, served: Path) -> None:
    """Without a password the keys below ~/.ssh are tried; encrypted ones are passed over."""
    with running(served, keys=(KEY,)) as server:
        write_key(home, "id_ecdsa", "secret")
        write_key(home)
        enter(server.location(password=None))
        assert ["publickey"] == server.logins


@pytest.mark.parametrize("passphrase", [None, PASSWORD])
def test_identity_file(home: Path, served: Path, passphrase: str | None) -> None:
    """The key that was named is used, and the password opens it where it is encrypted."""
    with running(served, keys=(KEY,)) as server:
        enter(server.location(identity_file=write_key(home, "other", passphrase)))
        assert ["publickey"] == server.logins


def test_questions(served: Path) -> None:
    """A server that asks questions is answered with the password."""
    with running(served, steps=("keyboard-interactive",)) as server:
        enter(server.location())
        assert ["keyboard-interactive"] == server.logins


@pytest.mark.parametrize("steps", [("publickey", "password"), ("password", "publickey")])
def test_two_steps(home: Path, served: Path, steps: tuple[str, str]) -> None:
    """A server that wants key and password gets both."""
    with running(served, steps=steps, keys=(KEY,)) as server:
        write_key(home)
        enter(server.location())
        assert set(steps) == set(server.logins)


def test_agent_that_is_gone(home: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is gone is no agent, and the next way in is taken."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "no such socket"))
    with running(served, keys=(KEY,)) as server:
        write_key(home)
        enter(server.location(password=None))
        assert ["publickey"] == server.logins


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "wrong"}, "refused the login paula with the password"),
        ({"login": "nobody"}, "refused the login nobody"),
        ({"password": None}, "set `password` or `identityfile`"),
        ({"identity_file": Path("/no/such/key")}, "identityfile /no/such/key: No such file"),
        ({"identity_file": Path(__file__)}, "no private key that can be read"),
        ({"directory": "not there"}, "not there does not exist there; check `dir`"),
        ({"directory": __file__}, "it is no directory"),
    ],
)
def test_refused(served: Path, changes: dict[str, Any], said: str) -> None:
    """What the server refuses, or what can't work, is said in one line."""
    with running(served) as server, pytest.raises(HubRefused, match=r"^.*\Z") as refusal:
        enter(server.location(**changes))
    assert (True, False) == (said in str(refusal.value), PASSWORD in str(refusal.value))


def test_encrypted_identity(home: Path, served: Path) -> None:
    """A key that needs a passphrase says so."""
    with running(served, keys=(KEY,)) as server:
        file = write_key(home, "other", "secret")
        with pytest.raises(HubRefused, match="it is encrypted"):
            enter(server.location(password=None, identity_file=file))


def test_no_sftp(served: Path) -> None:
    """An SSH server without SFTP is told as such."""
    with running(served, subsystem="other") as server, pytest.raises(HubRefused, match="offers no SFTP"):
        enter(server.location())


def test_shell_that_talks(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a login script prints arrives where SFTP should, and is told as what it is."""
    monkeypatch.setattr(sftp_server.Served, "_send_server_version", lambda self: self.sock.sendall(b"Welcome!\r\n"))
    with running(served) as server, pytest.raises(HubRefused, match=r"no SFTP.*shell print something"):
        enter(server.location())


def test_unknown_host(served: Path) -> None:
    """A name that nobody knows."""
    with running(served) as server, pytest.raises(HubUnreachable, match="unknown host"):
        enter(server.location(host="no-such-host.invalid"))


def test_nobody_there() -> None:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HubUnreachable, match=rf"port {port}: .*refused"):
        enter(_at(port))


def _at(port: int) -> Location:
    return Location(Protocol.SFTP, "127.0.0.1", port, USER, PASSWORD, timeout=0.3)


@pytest.fixture
def other_server() -> Iterator[Callable[[bytes], int]]:
    """Starts servers of something else: each says its greeting and waits."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(greeting: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.sendall(greeting)
                while sock.recv(1 << 16):
                    pass

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join()
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-silence\r\n"])
def test_not_ssh(other_server: Callable[[bytes], int], greeting: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that says nothing, or not enough, is given up with one line, and paramiko's own word is not shown."""
    with pytest.raises(HubUnreachable, match=r"is an SSH server there\?"):
        enter(_at(other_server(greeting)))
    assert ("", "") == capfd.readouterr()


def test_ssh_config(home: Path, served: Path) -> None:
    """A name from ~/.ssh/config leads to its host, port, user and key."""
    with running(served, keys=(KEY,)) as server:
        key = write_key(home, "special")
        (home / ".ssh" / "config").write_text(
            f"Host hub\n  HostName 127.0.0.1\n  Port {server.port}\n  User {USER}\n  IdentityFile {key}\n"
        )
        enter(server.location(host="hub", port=22, login=getpass.getuser(), password=None))
        assert ["publickey"] == server.logins


def test_ssh_config_names_the_keys_and_hosts_that_count(home: Path, served: Path) -> None:
    """HostKeyAlias and UserKnownHostsFile: the host is known there under that name, and nowhere else."""
    with running(served) as server:
        entry = f"archive {server.host_key.get_name()} {server.host_key.get_base64()}\n"
        (home / ".ssh" / "others").write_text(entry)
        location = server.location(host_key=None)
        with pytest.raises(HubRefused, match="host key"):
            enter(location)
        (home / ".ssh" / "config").write_text(
            "Host 127.0.0.1\n  HostKeyAlias archive\n  UserKnownHostsFile ~/.ssh/others\n"
        )
        enter(location)
        assert ["password"] == server.logins


@pytest.mark.parametrize(("only", "login"), [("yes", []), ("no", ["publickey"])])
def test_ssh_config_keeps_the_agent_out(
    home: Path, served: Path, monkeypatch: pytest.MonkeyPatch, only: str, login: list[str]
) -> None:
    """With IdentitiesOnly the agent's keys are not offered, without it they are."""
    agent = type("Agent", (), {"get_keys": lambda _self: (KEY,)})
    monkeypatch.setattr("paramiko.Agent", agent)
    (home / ".ssh" / "config").write_text(f"Host 127.0.0.1\n  IdentitiesOnly {only}\n")
    with running(served, keys=(KEY,)) as server:
        with suppress(HubRefused):
            enter(server.location(password=None))
        assert login == server.logins


def test_who_sits_at_a_terminal_is_asked_when_no_key_is_taken(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is asked for once, after the keys; where nobody can be asked the refusal says what to do."""
    asked = []

    def getpass(prompt: str, _stream: object) -> str:
        asked.append(prompt)
        return PASSWORD

    with running(served) as server:
        settings = Settings(tmp_path, "laptop", server.location(password=None))
        with pytest.raises(PasswordWanted, match="set `password` or `identityfile`"):
            asking(settings, lambda known: enter(known.location))
        monkeypatch.setattr("getpass.getpass", getpass)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        asking(settings, lambda known: enter(known.location))
        assert ([f"Password of {USER}@127.0.0.1: "], ["password"]) == (asked, server.logins)


def test_ssh_config_that_does_not_matter(home: Path, served: Path) -> None:
    """What is said of other hosts changes nothing, and an explicit port and login stay."""
    with running(served) as server:
        (home / ".ssh" / "config").write_text("Host other\n  Port 1\n\nHost *\n  User nobody\n  Port 2\n")
        enter(server.location())
        assert ["password"] == server.logins


def test_way_through_another_host(home: Path, served: Path) -> None:
    """A way that can't be gone is told instead of trying the wrong one."""
    (home / ".ssh" / "config").write_text("Host *\n  ProxyJump gate\n")
    with running(served) as server, pytest.raises(HubRefused, match="proxyjump gate"):
        enter(server.location())


def test_directory_is_made(served: Path) -> None:
    """With `create` a missing directory is made, with all above it; without it is refused."""
    with running(served) as server:
        location = server.location(directory=str(served / "a" / "b"))
        with pytest.raises(HubRefused, match="does not exist"):
            open_remote(location)
        with open_remote(location, create=True) as remote:
            remote.write("f", b"content")
        assert b"content" == (served / "a" / "b" / "f").read_bytes()


def test_directory_below_home(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative directory lies where the login lands, no directory is that place itself."""
    (served / "hub").mkdir()
    monkeypatch.chdir(served)
    with running(served) as server:
        for directory in ("hub", ""):
            with SftpRemote.open(server.location(directory=directory)) as remote:
                remote.write("f", b"content")
    assert [Path("f"), Path("hub"), Path("hub/f")] == sorted(path.relative_to(served) for path in served.rglob("*"))


def test_conversation(served: Path) -> None:
    """The conversation tells who is spoken to and what is asked, never the password."""
    said: list[str] = []
    with running(served) as server, SftpRemote.open(server.location(), said.append) as remote:
        remote.stat(["f"])
        key = str(server.host_key.fingerprint)
        name = f"{served}/f"
    assert (True, True) == (key in said[0], any(line.endswith(f"LSTAT {name}") for line in said))
    assert [] == [line for line in said if PASSWORD in line]


def test_safe_algorithms() -> None:
    """Nothing that is broken is offered, and what is fastest comes first."""
    offered = ["aes128-cbc", "aes128-ctr", "aes128-gcm@openssh.com", "3des-cbc"]
    assert ["aes128-gcm@openssh.com", "aes128-ctr"] == safe(offered)
    assert ["hmac-sha2-256"] == safe(["hmac-md5", "hmac-sha1", "hmac-sha1-96", "hmac-sha2-256"])
    assert ["rsa-sha2-256"] == safe(["ssh-rsa", "ssh-dss", "rsa-sha2-256"])
