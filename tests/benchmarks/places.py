"""Where the benchmark's servers run, and how they are reached.

Each server runs either where it is reached without delay (a container's own address, or this computer's) or as a second
host behind a slow link that `lagnet` makes: a network namespace. There a container's server is started once more, in
the container's file system and process namespace but in the link's network namespace, so that both places measure the
same server with the same settings.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOGIN, PASSWORD = "sync", "sync-password"
"""As deploy/*/Dockerfile set them."""

LINK = "bench"
LINK_HOST = "10.99.0.2"
"""The far host's address, as lagnet gives it."""

LOOPBACK = "127.0.0.1"
HUB_PORT = 2100
START_SECONDS = 15.0
"""How long a server may take until it answers."""


class UnavailableError(Exception):
    """Something the benchmark would like to use is not here; the rest goes on. `str(error)` says what."""


@dataclass(frozen=True, slots=True)
class Address:
    """One server as a client needs to know it."""

    protocol: str
    """ftp, ftps (explicit TLS) or sftp."""
    host: str
    port: int
    login: str
    password: str
    tls_fingerprint: str | None = None
    host_key: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers are started: `prefix` goes before the command, `host` is where they then answer."""

    title: str
    host: str
    prefix: tuple[str, ...] = ()


class Server(ABC):
    """A server that can be brought up in a place, with empty directories for the runs."""

    @abstractmethod
    def serving(self, place: Place) -> AbstractContextManager[Address]:
        """The server answers at the address for the length of the block. Raises UnavailableError."""

    @abstractmethod
    def make_directory(self, name: str) -> None:
        """Make an empty directory where the login lands."""

    @abstractmethod
    def remove_directory(self, name: str) -> None:
        """Remove it with everything in it."""


class Container(Server):
    """A service of deploy/compose.yaml, which has been brought up."""

    def __init__(self, name: str) -> None:
        self._container = f"symsync-{name}"
        try:
            facts = json.loads(_output("docker", "inspect", self._container))[0]
        except UnavailableError as error:
            raise UnavailableError(f"{error}; docker compose -f deploy/compose.yaml up --build -d --wait") from error
        self._process: int = facts["State"]["Pid"]
        self._command: list[str] = facts["Config"]["Cmd"]
        self._environment: list[str] = facts["Config"]["Env"]
        self._own_host: str = next(iter(facts["NetworkSettings"]["Networks"].values()))["IPAddress"]
        self._protocol = "sftp" if name == "openssh" else "ftps" if name.endswith("-tls") else "ftp"

    @contextmanager
    def serving(self, place: Place) -> Iterator[Address]:
        port = 22 if self._protocol == "sftp" else 21
        if not place.prefix:
            # The container's own address: what is published passes through a proxy that would be measured, too.
            yield self._address(self._own_host, port)
            return
        command = [*place.prefix, "nsenter", "--mount", "--pid", "--uts", f"--target={self._process}"]
        # nsenter waits for the server, which shall end with it.
        command += ["env", "--ignore-environment", *self._environment, "setpriv", "--pdeathsig=TERM", *self._command]
        with _started(command, place.host, port):
            yield self._address(place.host, port)

    def make_directory(self, name: str) -> None:
        self._as_login("mkdir", name)

    def remove_directory(self, name: str) -> None:
        self._as_login("rm", "-rf", name)

    def _as_login(self, *command: str) -> str:
        return _output("docker", "exec", "--user", LOGIN, "--workdir", f"/home/{LOGIN}", self._container, *command)

    def _address(self, host: str, port: int) -> Address:
        fingerprint = key = None
        if self._protocol == "ftps":
            show = ("openssl", "x509", "-in", "/etc/ssl/certs/server.pem", "-noout", "-fingerprint", "-sha256")
            fingerprint = self._as_login(*show).strip().partition("=")[2]
        elif self._protocol == "sftp":
            key = self._as_login("ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
        return Address(self._protocol, host, port, LOGIN, PASSWORD, fingerprint, key)


class Hub(Server):
    """symsync's own hub, over plain FTP."""

    def __init__(self, folder: Path) -> None:
        command = shutil.which("symsync-hub", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if command is None:
            raise UnavailableError("symsync-hub is not installed; pip install -e .")
        self._command = command
        self._root = folder / "root"
        self._users = folder / "users"
        self._data = folder / "data"
        self._root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def serving(self, place: Place) -> Iterator[Address]:
        # Imported here: the peers can be compared where symsync is not installed.
        from symsync_hub.users import User, UsersFile, hashed

        UsersFile(self._users).add(User(LOGIN, hashed(PASSWORD)))
        command = [*place.prefix, self._command, "serve", str(self._root), f"--ftp={place.host}:{HUB_PORT}"]
        command += [f"--users={self._users}", f"--data={self._data}", "--allow-plain"]
        with _started(command, place.host, HUB_PORT):
            yield Address("ftp", place.host, HUB_PORT, LOGIN, PASSWORD)

    def make_directory(self, name: str) -> None:
        (self._root / name).mkdir()

    def remove_directory(self, name: str) -> None:
        shutil.rmtree(self._root / name)


def server(name: str, folder: Path) -> Server:
    """The server called `name`: `hub` or a service of deploy/compose.yaml. Raises UnavailableError."""
    return Hub(folder / "hub") if name == "hub" else Container(name)


@contextmanager
def link(lagnet: str, round_trip_ms: int, megabits: int) -> Iterator[Place]:
    """A second host behind a link with this round trip and rate. Raises UnavailableError where it can't be made."""
    if os.geteuid() != 0:
        raise UnavailableError("a slow link needs root")
    up = [lagnet, "up", LINK, str(round_trip_ms), str(megabits)]
    try:
        _output(*up)
        yield Place(f"{round_trip_ms} ms round trip, {megabits} Mbit/s", LINK_HOST, (lagnet, "exec", LINK))
    finally:
        subprocess.run([lagnet, "down", LINK], capture_output=True, check=False)


@contextmanager
def _started(command: Sequence[str], host: str, port: int) -> Iterator[None]:
    """The server `command`, once it answers; ended at the end of the block."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(host, port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    lines = said.read().decode(errors="replace").strip().splitlines()
                    raise UnavailableError(f"{command[-1]} did not start: {lines[-1] if lines else 'it says nothing'}")
                time.sleep(0.05)
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            deadline = time.monotonic() + START_SECONDS
            while _answers(host, port) and time.monotonic() < deadline:  # the next one shall not be taken for it
                time.sleep(0.05)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _output(*command: str) -> str:
    """What a command printed. Raises UnavailableError with its last line of complaint where it failed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UnavailableError(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise UnavailableError(f"{command[0]}: {lines[-1] if lines else f'status {done.returncode}'}")
    return done.stdout
