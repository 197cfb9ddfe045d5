"""Servers that are not known, not the ones they were, or don't encrypt: the user's command line stops with one line."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from integration.scenarios import Done, LocalPlace, Tree, command, configure, lines_of
from real_servers import SERVERS, docker
from symsync.remotes.location import Location, Protocol
from symsync_hub import Login, RunningHub, running
from symsync_hub.publickeys import parse_keys

USER = Login("ada", "secret")
BEFORE: Tree = {"f": b"f"}

PINS = {"sftp": "hostkey", "ftps": "tlsfingerprint"}
"""By protocol: the key of a configuration that pins a server."""


class Laptop:
    """A node on its user's laptop; the server's files lie in `hub`, its certificate and host key in `keys`."""

    def __init__(self, base: Path) -> None:
        self.home, self.node, self.hub, self.keys = (base / name for name in ("home", "node", "hub", "keys"))
        for directory in (self.home, self.node, self.hub, self.keys):
            directory.mkdir()
        LocalPlace(self.node).fill(BEFORE)

    @contextmanager
    def served(self, keys: str = "first") -> Iterator[RunningHub]:
        """The server at work, showing the certificate and the host key that `keys` stands for."""
        data = self.keys / keys
        data.mkdir(exist_ok=True)
        with running(self.hub, users=[USER], tls=True, sftp=True, data=data) as hub:
            yield hub

    def configure(self, protocol: str, hub: RunningHub, **lines: str) -> None:
        """Write the node's configuration; `lines` count before the usual ones, and empty ones are left out."""
        port = hub.sftp_port if protocol == "sftp" else hub.port
        usual = {"nodename": "laptop", "protocol": protocol, "server": hub.host, "port": str(port)}
        lines = usual | {"login": USER.name, "password": USER.password} | lines
        configure(self.node, {key: value for key, value in lines.items() if value})

    def sync(self, *options: str) -> Done:
        return command("symsync", "sync", *options, str(self.node), home=self.home)


@pytest.fixture
def laptop(base: Path) -> Laptop:
    return Laptop(base)


def the_line(done: Done) -> str:
    """The one line of a run that the hub's identity stopped."""
    assert (3, "", 1) == (done.status, done.out, done.err.count("\n"))
    return done.err


@pytest.mark.parametrize("protocol", PINS)
def test_an_unknown_server_is_shown_and_can_be_pinned(laptop: Laptop, protocol: str) -> None:
    """The line holds its fingerprint and the key; with that very line in the configuration the run goes through."""
    with laptop.served() as hub:
        laptop.configure(protocol, hub)
        pin = re.search(rf"{PINS[protocol]} (\S+)", the_line(laptop.sync()))
        assert pin is not None
        assert {} == LocalPlace(laptop.hub).tree()
        laptop.configure(protocol, hub, **{PINS[protocol]: pin[1]})
        assert 0 == laptop.sync().status
    assert BEFORE == LocalPlace(laptop.hub).tree()


@pytest.mark.parametrize("protocol", PINS)
def test_init_takes_no_unknown_server(laptop: Laptop, protocol: str) -> None:
    """It writes nothing until the server is pinned on its command line."""
    with laptop.served() as hub:
        port = hub.sftp_port if protocol == "sftp" else hub.port
        url = f"{protocol}://{USER.name}:{USER.password}@{hub.host}:{port}/"
        init = ("symsync", "init", str(laptop.node), url, "--node", "laptop")
        pin = re.search(rf"{PINS[protocol]} (\S+)", the_line(command(*init, home=laptop.home)))
        assert pin is not None
        assert not (laptop.node / ".sync.conf").exists()
        assert 0 == command(*init, "--set", PINS[protocol], pin[1], home=laptop.home).status
        assert f"{PINS[protocol]} {pin[1]}" in (laptop.node / ".sync.conf").read_text().replace("\t", " ")


@pytest.mark.parametrize("protocol", PINS)
def test_a_changed_server_stops_the_run(laptop: Laptop, protocol: str) -> None:
    """A pinned certificate or host key is the only one that counts, and the line shows the new one."""
    with laptop.served() as hub:
        first = hub.host_key if protocol == "sftp" else hub.fingerprint
    assert first is not None
    with laptop.served("second") as hub:
        second = hub.host_key if protocol == "sftp" else hub.fingerprint
        assert second is not None
        laptop.configure(protocol, hub, **{PINS[protocol]: first})
        said = the_line(laptop.sync()).replace(":", "").lower()
    assert second.replace(":", "").lower() in said
    assert {} == LocalPlace(laptop.hub).tree()


def test_known_hosts_counts(laptop: Laptop) -> None:
    """A host key that OpenSSH knows needs no pin; one that is not the known one stops the run and names the line."""
    known_hosts = laptop.home / ".ssh" / "known_hosts"
    known_hosts.parent.mkdir()
    with laptop.served() as hub:
        laptop.configure("sftp", hub)
        assert hub.sftp_port is not None
        known_hosts.write_text(f"[{hub.host}]:{hub.sftp_port} {_shown_key(hub)}\n")
        assert 0 == laptop.sync().status
    with laptop.served("second") as hub:
        assert hub.sftp_port is not None
        known_hosts.write_text(re.sub(r"]:\d+", f"]:{hub.sftp_port}", known_hosts.read_text()))
        laptop.configure("sftp", hub)
        said = the_line(laptop.sync())
    assert f"{known_hosts}, line 1" in said
    assert f"hostkey {hub.host_key}" in said


def _shown_key(hub: RunningHub) -> str:
    """The server's host key as it stands in known_hosts."""
    with socket.create_connection((hub.host, hub.sftp_port or 0)) as sock:
        transport = paramiko.Transport(sock)
        try:
            transport.start_client()
            key = transport.get_remote_server_key()
        finally:
            transport.close()
    return f"{key.get_name()} {key.get_base64()}"


@pytest.mark.parametrize("named", [False, True], ids=["in-ssh-folder", "identityfile"])
def test_a_key_does_without_a_password(laptop: Laptop, named: bool) -> None:
    """The one that `ssh` would use, or the one that the configuration names."""
    key = paramiko.ECDSAKey.generate()
    file = laptop.home / "a key of mine" if named else laptop.home / ".ssh" / "id_ecdsa"
    file.parent.mkdir(exist_ok=True)
    key.write_private_key_file(str(file))
    user = Login(USER.name, USER.password, keys=parse_keys(f"{key.get_name()} {key.get_base64()}", file.name))
    with running(laptop.hub, users=[user], sftp=True) as hub:
        assert hub.host_key is not None
        lines = {"identityfile": str(file)} if named else {}
        laptop.configure("sftp", hub, hostkey=hub.host_key, password="", **lines)
        assert 0 == laptop.sync().status
    assert BEFORE == LocalPlace(laptop.hub).tree()


@pytest.mark.docker
@pytest.mark.parametrize("protocol", [Protocol.FTP, Protocol.FTPS])
def test_no_password_without_encryption(laptop: Laptop, servers: Callable[[str], Location], protocol: Protocol) -> None:
    """A server on the network that offers no TLS gets neither login nor password until the user says `tls no`."""
    location = servers("vsftpd")
    lines = lines_of(location) | {"nodename": "laptop", "protocol": protocol.value, "server": _address("vsftpd")}
    lines = {key: value for key, value in lines.items() if key not in ("tls", "port")}
    configure(laptop.node, lines)
    talk = laptop.sync("--debug")
    assert 3 == talk.status
    assert not re.search("> (USER|PASS)", talk.err)
    assert "tls no" in the_line(laptop.sync())
    configure(laptop.node, lines | {"protocol": "ftp", "tls": "no"})
    assert 0 == laptop.sync().status
    assert "f" in SERVERS["vsftpd"].run("ls", location.directory).split()


def _address(name: str) -> str:
    """A container's own address: not this computer's loopback, as the published ports are."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return docker("inspect", "--format", form, SERVERS[name].container).strip()


def test_loopback_needs_no_encryption(laptop: Laptop) -> None:
    """Nobody listens between a machine and itself: a hub of one's own may be plain, and nothing need be said of it."""
    with running(laptop.hub, users=[USER]) as hub:
        laptop.configure("ftp", hub)
        assert 0 == laptop.sync().status
    assert BEFORE == LocalPlace(laptop.hub).tree()
