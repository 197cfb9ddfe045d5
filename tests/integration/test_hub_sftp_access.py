"""Who gets into the bundled hub over SSH, to what, and with which algorithms."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko.auth_handler import AuthHandler

from integration import sftp_wire as wire
from integration.sftp_wire import Client, string, transport
from symsync_hub import Limits, Login, RunningHub, running
from symsync_hub.publickeys import parse_keys


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub over an empty directory."""
    (tmp_path / "home").mkdir()
    with running(tmp_path / "home", sftp=True) as hub:
        yield hub


def line(key: paramiko.PKey) -> str:
    """A public key as OpenSSH writes it."""
    return f"{key.get_name()} {key.get_base64()} somebody@somewhere"


def unproven(hub: RunningHub) -> paramiko.Transport:
    """An SSH connection that is not yet logged in."""
    assert hub.sftp_port is not None
    connection = paramiko.Transport((hub.host, hub.sftp_port))
    connection.start_client(timeout=20)
    return connection


def test_each_user_has_his_own_home_and_rights(tmp_path: Path) -> None:
    """Who may only read changes nothing, by no request; who has his own home sees nobody else's."""
    for name in ("common", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "common" / "file").write_bytes(b"common")
    reader, owner = Login("reader", "r", writable=False), Login("owner", "o", tmp_path / "own")
    attempts: list[Callable[[paramiko.SFTPClient], object]] = [
        lambda sftp: sftp.open("new", "w"),
        lambda sftp: sftp.open("file", "a"),
        lambda sftp: sftp.open("file", "r+"),
        lambda sftp: sftp.mkdir("new"),
        lambda sftp: sftp.rmdir("new"),
        lambda sftp: sftp.remove("file"),
        lambda sftp: sftp.rename("file", "new"),
        lambda sftp: sftp.posix_rename("file", "new"),
        lambda sftp: sftp.symlink("file", "new"),
        lambda sftp: sftp.chmod("file", 0o777),
        lambda sftp: sftp.utime("file", (1, 1)),
        lambda sftp: sftp.truncate("file", 0),
        lambda sftp: sftp.open("file").chmod(0o777),
    ]
    with running(tmp_path / "common", users=[reader, owner], anonymous=True, sftp=True) as hub:
        with transport(hub, "owner", "o") as connection, connection.open_sftp_client() as sftp:
            sftp.open("mine", "w").close()
            assert ["mine"] == sftp.listdir()
        before = (tmp_path / "common" / "file").stat()
        for name, password in (("reader", "r"), ("anonymous", "me@")):
            with transport(hub, name, password) as connection, connection.open_sftp_client() as sftp:
                assert b"common" == sftp.open("file").read()
                for attempt in attempts:
                    with pytest.raises(PermissionError, match="this user may only read"):
                        attempt(sftp)
        assert before.st_ctime_ns == (tmp_path / "common" / "file").stat().st_ctime_ns
    assert ["file"] == os.listdir(tmp_path / "common")


def test_keys_get_in(tmp_path: Path) -> None:
    """Of every kind, with the rights of their user, and only under his name."""
    keys = [paramiko.RSAKey.generate(2048), paramiko.ECDSAKey.generate()]
    held = parse_keys("\n".join(map(line, keys)), "test")
    with running(tmp_path, users=[Login("ada", "a", writable=False, keys=held), Login("bob", "b")], sftp=True) as hub:
        for key in keys:
            with unproven(hub) as connection:
                assert [] == connection.auth_publickey("ada", key)
                with connection.open_sftp_client() as sftp, pytest.raises(PermissionError):
                    sftp.mkdir("new")
            with unproven(hub) as connection, pytest.raises(paramiko.AuthenticationException):
                connection.auth_publickey("bob", key)


def test_a_stolen_public_key_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shows the key but can't sign with its other half is refused."""
    mine, theirs = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    with running(tmp_path, users=[Login("ada", "a", keys=parse_keys(line(theirs), "test"))], sftp=True) as hub:
        monkeypatch.setattr(AuthHandler, "_get_key_type_and_bits", lambda _self, _key: (theirs.get_name(), theirs))
        with unproven(hub) as connection, pytest.raises(paramiko.AuthenticationException):
            connection.auth_publickey("ada", mine)


def test_unknown_keys_do_no_harm(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client offers all keys that it has, also of a kind that the hub does not know, and then the password."""
    with unproven(hub) as connection:
        for _ in range(3):
            with pytest.raises(paramiko.AuthenticationException):
                connection.auth_publickey(hub.login, paramiko.ECDSAKey.generate())
        with monkeypatch.context() as hardware:
            hardware.setattr(
                AuthHandler, "_finalize_pubkey_algorithm", lambda _self, _kind: "sk-ssh-ed25519@openssh.com"
            )
            with pytest.raises(paramiko.AuthenticationException):
                connection.auth_publickey(hub.login, paramiko.ECDSAKey.generate())
        assert [] == connection.auth_password(hub.login, hub.password)


def test_three_wrong_passwords_end_the_connection(hub: RunningHub) -> None:
    """Unknown users and wrong passwords are answered alike; passwords that are no UTF-8 are wrong like others."""
    for name in (hub.login, "nobody"):
        with unproven(hub) as connection:
            for password in ("wrong", b"\xff", "wrong"):
                assert connection.is_active()
                with pytest.raises(paramiko.AuthenticationException):
                    connection.auth_password(name, password, fallback=False)
            connection.join()
            assert not connection.is_active()


def test_wrong_passwords_count_for_all_protocols(tmp_path: Path) -> None:
    """The door is one: who guessed too often over SFTP is not let in over FTP either."""
    limits = Limits(login_delay=0.001, login_delay_most=0.001, failures=2)
    with running(tmp_path, sftp=True, limits=limits) as hub:
        with unproven(hub) as connection:
            for _ in range(2):
                with pytest.raises(paramiko.AuthenticationException):
                    connection.auth_password(hub.login, "wrong", fallback=False)
        assert b"421 Too many wrong passwords from your address, try again later.\r\n" == greeting(hub.host, hub.port)
        assert hub.sftp_port is not None
        assert b"Too many wrong passwords" in greeting(hub.host, hub.sftp_port)


def greeting(host: str, port: int) -> bytes:
    """What a server says before it hangs up."""
    with socket.create_connection((host, port), timeout=20) as connection, connection.makefile("rb") as stream:
        return stream.read()


def test_nothing_but_sftp(hub: RunningHub) -> None:
    """No command, no shell, no terminal, no other subsystem, no forwarding in either direction."""
    attempts: list[Callable[[paramiko.Channel], object]] = [
        lambda channel: channel.exec_command("id"),
        lambda channel: channel.invoke_shell(),
        lambda channel: channel.get_pty(),
        lambda channel: channel.invoke_subsystem("shell"),
        lambda channel: channel.request_x11(),
    ]
    with transport(hub) as connection:
        for attempt in attempts:
            with pytest.raises(paramiko.SSHException):
                attempt(connection.open_session(timeout=20))
        for kind in ("direct-tcpip", "x11", "auth-agent@openssh.com"):
            with pytest.raises(paramiko.ChannelException, match="Administratively prohibited"):
                connection.open_channel(kind, (hub.host, hub.port), (hub.host, 1), timeout=20)
        with pytest.raises(paramiko.SSHException):
            connection.request_port_forward("127.0.0.1", 0)
        with connection.open_sftp_client() as sftp:
            assert [] == sftp.listdir()


def test_nothing_without_login(hub: RunningHub) -> None:
    """A channel before authentication is refused, and so is a login without a password."""
    with unproven(hub) as connection:
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            connection.auth_none(hub.login)
        assert ["publickey", "password"] == refused.value.allowed_types
        with pytest.raises(paramiko.SSHException):
            connection.open_session(timeout=20)


WEAK = {
    "ciphers": ["aes128-cbc", "3des-cbc"],
    "digests": ["hmac-md5", "hmac-sha1"],
}
"""What paramiko still speaks and the hub does not."""


@pytest.mark.parametrize("kind", WEAK)
def test_weak_algorithms_are_refused(hub: RunningHub, kind: str) -> None:
    """A client that can do nothing better does not get in."""
    assert hub.sftp_port is not None
    with paramiko.Transport((hub.host, hub.sftp_port)) as connection:
        connection.get_security_options().ciphers = ("aes128-ctr",)
        setattr(connection.get_security_options(), kind, WEAK[kind])
        with pytest.raises(paramiko.SSHException):
            connection.start_client(timeout=20)


def test_the_hub_is_known_by_its_key(tmp_path: Path) -> None:
    """It is made once, for its owner only, and stays; the fingerprint is the one that clients see."""
    keys = set()
    for _ in range(2):
        with running(tmp_path, sftp=True, data=tmp_path / "data") as hub, transport(hub) as connection:
            keys |= {hub.host_key, connection.get_remote_server_key().fingerprint}
    assert 1 == len(keys)
    assert 0o600 == (tmp_path / "data" / "hub-host-key").stat().st_mode & 0o777


def test_the_url_names_port_and_user(hub: RunningHub, tmp_path: Path) -> None:
    """There is none where no SFTP is served."""
    assert f"sftp://{hub.login}:{hub.password}@127.0.0.1:{hub.sftp_port}/" == hub.sftp_url
    with running(tmp_path) as plain:
        assert (None, None, None) == (plain.sftp_port, plain.sftp_url, plain.host_key)


def test_sessions_of_one_connection(hub: RunningHub) -> None:
    """As many as ten at once; when one has ended another may begin."""
    with transport(hub) as connection:
        clients = [Client.over(connection) for _ in range(10)]
        with pytest.raises(paramiko.ChannelException):
            connection.open_session(timeout=20)
        clients[0].channel.shutdown_write()
        assert 0 == clients[0].channel.recv_exit_status()
        with connection.open_sftp_client() as sftp:
            assert [] == sftp.listdir()


def test_a_client_that_takes_nothing_stalls_nobody(hub: RunningHub) -> None:
    """Another one, and another session of its own connection, are served while replies to it wait."""
    (hub.directory / "large").write_bytes(bytes(2**24))
    with transport(hub) as connection, transport(hub) as other:
        stalled = Client.over(connection)
        stalled.channel.sendall(string(struct.pack(">BI", wire.INIT, 3)))
        stalled.reply()
        file = stalled.open(b"large", wire.READING)
        for number in range(256):
            stalled.send(wire.READ, file, struct.pack(">QI", number * 2**16, 2**16))
        for free in (connection, other):
            with free.open_sftp_client() as sftp:
                assert ["large"] == sftp.listdir()
        assert bytes(2**16) == stalled.reply().string


def test_who_is_silent_is_put_out(tmp_path: Path) -> None:
    """After the hub's patience has ended, session and connection both."""
    with running(tmp_path, sftp=True, limits=Limits(login_delay=0, idle=0.1)) as hub, transport(hub) as connection:
        client = Client.over(connection)
        with pytest.raises(EOFError):
            client.reply()
        connection.join()
        assert not connection.is_active()


def test_too_many_connections_are_told(tmp_path: Path) -> None:
    """In a line before the handshake."""
    limits = Limits(login_delay=0, per_address=1)
    with running(tmp_path, sftp=True, limits=limits) as hub, transport(hub):
        assert hub.sftp_port is not None
        assert b"Too many connections from your address.\r\n" == greeting(hub.host, hub.sftp_port)


def test_stopping_ends_sessions_and_files(tmp_path: Path) -> None:
    """Leaving the block disconnects clients that have files open and leaves no thread behind."""
    before = threading.active_count()
    with running(tmp_path, sftp=True) as hub:
        connection = transport(hub)
        sftp = connection.open_sftp_client()
        sftp.open("half", "w").write(b"half")
        silent = unproven(hub)
    for client in (connection, silent):
        client.join()
    assert before == threading.active_count()
