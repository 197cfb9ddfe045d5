"""The bundled hub and the clients that people have: lftp, curl and rclone, in the clear and over TLS."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from symsync_hub import RunningHub, running

FILES = {
    "one": b"1" * 4096,
    "sub/deep/two": bytes(range(256)) * 4096,
    "sub/\u0633\u0644\u0627\u0645": b"",
    "c d[1]": b"x",
}
MTIME_NS = 1_577_934_245_678_000_000
"""2020-01-02 03:04:05.678: clients keep the seconds and must not stumble over the rest."""


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningHub]:
    """A hub without and with TLS."""
    (tmp_path / "home").mkdir()
    with running(tmp_path / "home", tls=request.param, require_tls=request.param) as hub:
        yield hub


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree with old times."""
    for name, content in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return tmp_path / "source"


def tree(directory: Path) -> dict[str, tuple[bytes, int]]:
    """All files with their content and their time in seconds."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), int(path.stat().st_mtime))
        for path in directory.rglob("*")
        if path.is_file()
    }


@dataclass
class Tool:
    """How a client is told to copy a tree to the hub's `there` and back."""

    name: str
    up: Callable[[RunningHub, Path], list[str]]
    down: Callable[[RunningHub, Path], list[str]]


def lftp(hub: RunningHub, command: str) -> list[str]:
    settings = "set ssl:verify-certificate no; set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 20"
    settings += f"; set ftp:ssl-allow {'yes' if hub.fingerprint else 'no'}; set ftp:ssl-protect-data yes"
    login = f"{hub.login},{hub.password}"
    return ["lftp", "-u", login, "-p", str(hub.port), "-e", f"{settings}; {command}; bye", f"ftp://{hub.host}"]


def rclone(hub: RunningHub, source: str, target: str) -> list[str]:
    obscured = subprocess.run(["rclone", "obscure", hub.password], check=True, capture_output=True, text=True)
    login = ["--ftp-host", hub.host, "--ftp-port", str(hub.port), "--ftp-user", hub.login]
    tls = ["--ftp-explicit-tls", "--ftp-no-check-certificate"] if hub.fingerprint else []
    password = ["--ftp-pass", obscured.stdout.strip()]
    return ["rclone", "--config", os.devnull, "--retries", "1", *login, *password, *tls, "copy", source, target]


TOOLS = [
    Tool(
        "lftp",
        lambda hub, local: lftp(hub, f"mirror --reverse --parallel=4 {local} there"),
        lambda hub, local: lftp(hub, f"mirror --parallel=4 there {local}"),
    ),
    Tool(
        "rclone",
        lambda hub, local: rclone(hub, str(local), ":ftp:there"),
        lambda hub, local: rclone(hub, ":ftp:there", str(local)),
    ),
]


def run(command: list[str], **environment: str) -> str:
    """Run a client that may be missing here, and must not be in CI."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=120)
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tree_goes_there_and_back(tool: Tool, hub: RunningHub, source: Path, tmp_path: Path) -> None:
    """Contents and times (to the second) are the same on the hub and in a second copy."""
    back = tmp_path / "back"
    if shutil.which(tool.name) is None:
        pytest.skip(f"{tool.name} is not installed")
    run(tool.up(hub, source), LC_ALL="C.UTF-8")
    assert tree(source) == tree(hub.directory / "there")
    os.utime(hub.directory / "there" / "one", ns=(MTIME_NS, MTIME_NS))
    run(tool.down(hub, back), LC_ALL="C.UTF-8")
    assert tree(source) == tree(back)


def test_curl_reads_writes_and_resumes(hub: RunningHub, source: Path, tmp_path: Path) -> None:
    """With the time of the file, of which it asks by MDTM."""
    curl = ["curl", "--silent", "--show-error", "--user", f"{hub.login}:{hub.password}"]
    curl += ["--ssl-reqd", "--insecure"] if hub.fingerprint else []
    url, back = f"ftp://{hub.host}:{hub.port}", tmp_path / "back"
    run([*curl, "--upload-file", str(source / "sub" / "deep" / "two"), f"{url}/two"])
    os.utime(hub.directory / "two", ns=(MTIME_NS, MTIME_NS))
    back.write_bytes(FILES["sub/deep/two"][:1000])
    run([*curl, "--remote-time", "--continue-at", "-", "--output", str(back), f"{url}/two"])
    assert FILES["sub/deep/two"] == back.read_bytes()
    assert MTIME_NS // 1_000_000_000 == int(back.stat().st_mtime)
    assert ["two"] == run([*curl, "--list-only", f"{url}/"]).split()


def test_lftp_keeps_links(source: Path, tmp_path: Path) -> None:
    """Links are made by SITE SYMLINK and come back as links."""
    (source / "link").symlink_to("one")
    (tmp_path / "home").mkdir()
    with running(tmp_path / "home") as hub:
        run(lftp(hub, f"mirror --reverse {source} there; mirror there {tmp_path / 'back'}"))
    assert [Path("one")] * 2 == [(tmp_path / where / "link").readlink() for where in ("home/there", "back")]
