"""Servers of a test's own that fall over when it wants, and come back at the same address with the same files."""

import os
import random
import socket
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from integration.scenarios import HUB, Hub, LocalPlace, RemotePlace
from real_servers import HOME, HOST, LOGIN, PASSWORD, docker
from symsync.remotes import open_remote
from symsync.remotes.location import Location, Protocol, Tls

_SERVE = "import sys; from symsync_hub.cli import main; sys.exit(main())"


def _lasting_port() -> int:
    """A free port that nobody is given while the server is down: none of those for outgoing connections (Linux'
    ip-sysctl.txt, ip_local_port_range; RFC 6335, 6, has them begin at 49152)."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(given.read_text("ascii").split()[0]) if given.exists() else 49152
    while True:
        port = random.randrange(lowest // 2, lowest)
        with suppress(OSError), socket.create_server((HOST, port)):
            return port


class Killable(ABC):
    """An FTP server at a port of its own."""

    _directory = ""

    def __init__(self) -> None:
        self._port = _lasting_port()

    @property
    def location(self) -> Location:
        """How to reach the hub on it."""
        return Location(Protocol.FTP, HOST, self._port, LOGIN, PASSWORD, self._directory, tls=Tls.NO)

    @abstractmethod
    def restart(self) -> None:
        """Kill it, with all that is under way, and start it again."""

    @abstractmethod
    def hub(self, stack: ExitStack) -> Hub:
        """It as a hub; `stack` closes what that needs."""

    def wait_until_it_answers(self) -> None:
        """Until there is somebody at the port who greets."""
        while True:
            try:
                with socket.create_connection((HOST, self._port), 5) as sock:
                    if sock.recv(3) == b"220":
                        return
            except OSError:  # not yet
                time.sleep(0.05)


class BundledProcess(Killable):
    """`symsync-hub serve` in a process of its own."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self._served = base / "served"
        self._served.mkdir()
        self._data = base / "hub's data"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        address = f"{HOST}:{self._port}"
        options = ["--ftp", address, "--no-tls", "--user", LOGIN, "--data", str(self._data)]
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, "serve", str(self._served), *options],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"SYMSYNC_HUB_PASSWORD": PASSWORD},
        )
        self.wait_until_it_answers()
        return process

    def restart(self) -> None:
        self.stop()
        self._process = self._start()

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def hub(self, stack: ExitStack) -> Hub:
        stack.callback(self.stop)
        return Hub(HUB, self.location, LocalPlace(self._served), never_asked)


class OwnVsftpd(Killable):
    """A container of the image that the other tests use, at a port of this computer: all that it serves is its own."""

    _directory = "swarm"

    def __init__(self) -> None:
        super().__init__()
        self._name = f"symsync-own-{uuid.uuid4().hex}"
        options = {"listen_address": HOST, "listen_port": self._port, "pasv_min_port": 0, "pasv_max_port": 0}
        command = ["/usr/sbin/vsftpd", "/etc/vsftpd.conf", *(f"-o{key}={value}" for key, value in options.items())]
        docker("run", "--detach", "--init", "--network", "host", "--name", self._name, "symsync-vsftpd", *command)
        self.wait_until_it_answers()
        docker("exec", "--user", LOGIN, self._name, "mkdir", f"{HOME}/{self.location.directory}")

    def restart(self) -> None:
        docker("restart", "--time", "0", self._name)
        self.wait_until_it_answers()

    def remove(self) -> None:
        """Kill it, and remove it with its files."""
        docker("rm", "--force", self._name)

    def hub(self, stack: ExitStack) -> Hub:
        stack.callback(self.remove)
        return Hub(HUB, self.location, RemotePlace(stack.enter_context(open_remote(self.location))), never_asked)


@contextmanager
def never_asked() -> Iterator[Location]:
    """For hubs on which no test forbids writing."""
    raise NotImplementedError
    yield


ByName = dict[str, Callable[[Path], Killable]]

KILLABLE: ByName = {"bundled": BundledProcess, "vsftpd": lambda _base: OwnVsftpd()}
