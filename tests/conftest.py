"""What all tests share: `--long`, the rule on skips, and the real servers."""

import itertools
import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from pytest_docker.plugin import DockerComposeExecutor, Services

import real_servers
from symsync.remotes.location import Location

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("symsync", deadline=None)
hypothesis.settings.load_profile("symsync")

# A shell script's background commands ignore it, and so would all that the tests begin and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FIXTURES_OF_SERVERS = {"servers", "docker_services"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked `long` too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what can't or shall not run here, each with its reason."""
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="part of the long run: pytest --long"))
    for item in items:
        if FIXTURES_OF_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.docker)
    needy = [item for item in items if item.get_closest_marker("docker")]
    if needy and (reason := real_servers.why_no_engine()):
        for item in needy:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that should run but skips has failed."""
    report = yield
    left_out = item.get_closest_marker("long") and not item.config.getoption("--long")
    # An expected failure (xfail) reports itself as skipped, too; it did run.
    if not left_out and not hasattr(report, "wasxfail"):
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module."""
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true" and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"a skip counts as a failure in CI: {reason}"


@pytest.fixture(scope="session")
def docker_compose_file() -> Path:
    return real_servers.COMPOSE_FILE


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return real_servers.PROJECT


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --build -d --wait"]


@pytest.fixture(scope="session")
def docker_services(
    docker_compose_command: str,
    docker_compose_file: Path,
    docker_compose_project_name: str,
    docker_setup: list[str],
    docker_cleanup: list[str],
) -> Iterator[Services]:
    """pytest-docker's, but up once for all workers and runs on this computer."""
    compose = DockerComposeExecutor(docker_compose_command, docker_compose_file, docker_compose_project_name)
    with real_servers.shared(compose.execute, docker_setup, docker_cleanup):
        yield Services(compose)


@pytest.fixture(scope="session")
def _fresh_directory(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Location]]:
    """Makes empty directories on the servers; all of them go when the session ends."""
    request.getfixturevalue("docker_services")
    base = f"tests-{uuid.uuid4().hex}"
    numbers = itertools.count(1)
    homes: dict[str, Location] = {}

    def fresh(name: str) -> Location:
        server = real_servers.SERVERS[name]
        if name not in homes:
            homes[name] = server.location(base)
        directory = f"{base}/{next(numbers)}"
        server.run("mkdir", "-p", directory)
        return replace(homes[name], directory=directory)

    yield fresh
    for name in homes:
        real_servers.SERVERS[name].run("rm", "-rf", base)


@pytest.fixture
def servers(_fresh_directory: Callable[[str], Location]) -> Callable[[str], Location]:
    """Call it with a server's name (see `real_servers.SERVERS`): an empty directory there that is this test's alone."""
    return _fresh_directory
