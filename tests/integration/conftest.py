"""The hubs that every scenario runs on, and fleets around them."""

import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from integration.scenarios import Fleet, Hub, LocalPlace, RemotePlace
from real_servers import SERVERS
from symsync.remotes import open_remote
from symsync.remotes.location import Location, Protocol, Tls
from symsync_hub import Login, running

HubMaker = Callable[[], Hub]
"""Makes one more empty hub of the kind under test."""

BUNDLED, BUNDLED_SFTP = "bundled", "bundled-sftp"
"""The bundled hub over FTP, and over SFTP."""

SERVED = ("vsftpd", "proftpd", "pure-ftpd", "openssh")
"""What runs in containers; most providers have the first."""

IN_CONTAINERS = [pytest.param(name, marks=pytest.mark.docker) for name in SERVED[:1]]
BY_FTP = [BUNDLED, *IN_CONTAINERS]
KINDS = ["directory", *BY_FTP]
"""What every scenario runs on."""

SIX_HUBS = [BUNDLED, BUNDLED_SFTP, *(pytest.param(name, marks=pytest.mark.docker) for name in SERVED)]
"""Each kind of server that people have."""

FTP_HUBS = [BUNDLED, *(pytest.param(name, marks=pytest.mark.docker) for name in SERVED[:3])]
"""Those of them that speak FTP."""

MEMORY = Path("/dev/shm")  # noqa: S108 - every test makes a directory with a random name there


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one, for each run waits until what arrived is on disk."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="symsync-", dir=MEMORY))
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=KINDS)
def make_hub(request: pytest.FixtureRequest, base: Path) -> Iterator[HubMaker]:
    """Every scenario runs on each of KINDS, but for those that choose by indirect parametrization."""
    kind = request.param
    with ExitStack() as stack:

        def make() -> Hub:
            if kind in SERVERS:
                return in_container(kind, request.getfixturevalue("servers")(kind), stack)
            directory = Path(tempfile.mkdtemp(prefix="hub-", dir=base))
            return plain(directory) if kind == "directory" else bundled(directory, kind, stack)

        yield make


def in_container(name: str, location: Location, stack: ExitStack) -> Hub:
    """A server of deploy/compose.yaml."""

    @contextmanager
    def forbid_writing() -> Iterator[Location]:
        SERVERS[name].run("chmod", "-R", "a-w", location.directory)
        yield location
        SERVERS[name].run("chmod", "-R", "u+w", location.directory)

    # One connection, for each login costs these servers a slow hash of the password.
    location = replace(location, connections=1)
    place = RemotePlace(stack.enter_context(open_remote(location)))
    return Hub(name, location, place, forbid_writing, holds_links=location.protocol is Protocol.SFTP)


def bundled(directory: Path, kind: str, stack: ExitStack) -> Hub:
    """The bundled hub, over FTP or SFTP."""
    writer, reader = Login("writer", "w"), Login("reader", "r", writable=False)
    by_sftp = kind == BUNDLED_SFTP
    served = stack.enter_context(running(directory, users=[writer, reader], sftp=by_sftp))
    if by_sftp:
        assert served.sftp_port is not None
        location = Location(
            Protocol.SFTP, served.host, served.sftp_port, writer.name, writer.password, host_key=served.host_key
        )
    else:
        location = Location(Protocol.FTP, served.host, served.port, writer.name, writer.password, tls=Tls.NO)

    @contextmanager
    def forbid_writing() -> Iterator[Location]:
        yield replace(location, login=reader.name, password=reader.password)

    return Hub(kind, location, LocalPlace(directory), forbid_writing, holds_links=by_sftp)


def plain(directory: Path) -> Hub:
    """A directory on this computer."""
    location = Location(Protocol.FILE, directory=str(directory))

    @contextmanager
    def forbid_writing() -> Iterator[Location]:
        # This does not bind the superuser, whose tests see by the times of the directories whether anything was tried.
        directories = [directory, *(path for path in directory.rglob("*") if path.is_dir())]
        for path in directories:
            path.chmod(0o555)
        times = [path.stat().st_mtime_ns for path in directories]
        yield location
        assert times == [path.stat().st_mtime_ns for path in directories]
        for path in directories:
            path.chmod(0o755)

    return Hub("directory", location, LocalPlace(directory), forbid_writing, holds_links=True)


@pytest.fixture
def hub(make_hub: HubMaker) -> Hub:
    """An empty hub."""
    return make_hub()


@pytest.fixture
def fleet(hub: Hub, base: Path) -> Fleet:
    """An empty hub without nodes."""
    return Fleet(hub, base)


@pytest.fixture
def library(base: Path) -> Path:
    """A copy of the installed Python's library without what was installed beside it."""
    target = base / "library"
    source = sysconfig.get_path("stdlib")
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("site-packages", "dist-packages"))
    return target
