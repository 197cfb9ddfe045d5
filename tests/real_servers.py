"""The servers of deploy/compose.yaml as the tests use them: which there are, and how test runs share them.

All of a user's test runs on one computer (the workers of pytest-xdist, several checkouts) share one set of containers.
Who comes first brings them up; who leaves last takes them down, but only if a test run brought them up: what somebody
started by hand stays. Locks are flock(2)'s, so a run that was killed leaves none behind.
"""

import fcntl
import ftplib
import os
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

import paramiko

from symsync.remotes.location import Location, Protocol, Tls

COMPOSE_FILE = Path(__file__).parent.parent / "deploy" / "compose.yaml"
PROJECT = "symsync-servers"
"""The compose file's own `name`: what was started by hand is found, and no images pile up."""

HOST = "127.0.0.1"
LOGIN = "sync"
PASSWORD = "sync-password"
HOME = f"/home/{LOGIN}"
"""In the containers but the hub's; where every login lands, and on the FTP servers the root that can't be left."""


@dataclass(frozen=True, slots=True)
class Server:
    """One service of the compose file and the port on this computer where it answers."""

    name: str
    protocol: Protocol
    port: int
    user: str = LOGIN
    """Whose the login's files are in the container."""
    home: str = HOME

    @property
    def container(self) -> str:
        return f"symsync-{self.name.removesuffix('-sftp')}"

    def location(self, directory: str) -> Location:
        """How to reach `directory` (relative to the login's home), with certificate or host key pinned."""
        return Location(
            self.protocol,
            HOST,
            self.port,
            LOGIN,
            PASSWORD,
            directory,
            tls=Tls.EXPLICIT if self.protocol is Protocol.FTPS else Tls.NO,
            tls_fingerprint=certificate_fingerprint(self.port) if self.protocol is Protocol.FTPS else None,
            host_key=host_key_fingerprint(self.port) if self.protocol is Protocol.SFTP else None,
        )

    def run(self, *command: str) -> str:
        """Run a command in the container as the login, in its home, and return what it printed."""
        return docker("exec", "--user", self.user, "--workdir", self.home, self.container, *command)


SERVERS = {
    server.name: server
    for server in (
        Server("vsftpd", Protocol.FTP, 2121),
        Server("vsftpd-tls", Protocol.FTPS, 2122),
        Server("proftpd", Protocol.FTP, 2123),
        Server("proftpd-tls", Protocol.FTPS, 2124),
        Server("pure-ftpd", Protocol.FTP, 2125),
        Server("pure-ftpd-tls", Protocol.FTPS, 2126),
        Server("openssh", Protocol.SFTP, 2222),
        Server("hub", Protocol.FTPS, 2127, user="symsync-hub", home="/srv/symsync"),
        Server("hub-sftp", Protocol.SFTP, 2223, user="symsync-hub", home="/srv/symsync"),
    )
}


def docker(*arguments: str) -> str:
    """Run the docker command and return what it printed; what it said goes into the error where it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def why_no_engine() -> str | None:
    """Why the servers can't be brought up here, None if they can."""
    try:
        docker("info")
        docker("compose", "version")
    except (OSError, RuntimeError) as error:
        return f"no Docker engine with compose: {str(error).splitlines()[0]}"
    return None


def certificate_fingerprint(port: int) -> str:
    """SHA-256, in hex, of the certificate that an FTP server with explicit TLS shows."""
    context = ssl.create_default_context()
    context.check_hostname = False  # self-signed: it is fetched here in order to be pinned
    context.verify_mode = ssl.CERT_NONE
    with ftplib.FTP_TLS(context=context) as ftp:
        ftp.connect(HOST, port)
        ftp.auth()
        assert isinstance(ftp.sock, ssl.SSLSocket)
        certificate = ftp.sock.getpeercert(binary_form=True)
    assert certificate is not None
    return sha256(certificate).hexdigest()


def host_key_fingerprint(port: int) -> str:
    """The SSH host key's fingerprint as OpenSSH shows it, `SHA256:...`."""
    transport = paramiko.Transport((HOST, port))
    try:
        transport.start_client(timeout=10)
        return str(transport.get_remote_server_key().fingerprint)
    finally:
        transport.close()


@contextmanager
def shared(compose: Callable[[str], object], up: list[str], down: list[str]) -> Iterator[None]:
    """The servers up and healthy for the length of the block, shared with whoever else tests on this computer.

    `compose` runs one subcommand of docker compose; `up` and `down` are what brings the servers up and down.
    """
    folder = Path(tempfile.gettempdir()) / f"{PROJECT}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    started = folder / "started"  # the containers that a test run brought up
    with open(folder / "gate", "ab") as gate, open(folder / "users", "ab") as users:
        with _held(gate):
            if _alone(users):
                before = _containers()
                for command in up:
                    compose(command)
                if not before:
                    started.write_text(_containers())
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with _held(gate):
                if _alone(users) and started.exists():
                    if started.read_text() == _containers():
                        for command in down:
                            compose(command)
                    started.unlink()


def _containers() -> str:
    """The ids of the project's containers, sorted; "" where there are none."""
    label = f"label=com.docker.compose.project={PROJECT}"
    return "\n".join(sorted(docker("ps", "--all", "--quiet", "--filter", label).split()))


@contextmanager
def _held(gate: IO[bytes]) -> Iterator[None]:
    fcntl.flock(gate, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(gate, fcntl.LOCK_UN)


def _alone(users: IO[bytes]) -> bool:
    """Whether nobody else uses the servers. Gives up our own share; call it with the gate held."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
