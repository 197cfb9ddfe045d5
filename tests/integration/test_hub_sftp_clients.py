"""The bundled hub and the SFTP clients that people have: OpenSSH's, lftp and rclone."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from symsync_hub import Login, RunningHub, running
from symsync_hub.publickeys import parse_keys

FILES = {
    "one": b"1" * 4096,
    "sub/deep/two": bytes(range(256)) * 4096,
    "sub/سلام": b"",
    "c d[1]": b"x",
}
MTIME = 1_577_934_245
"""2020-01-02 03:04:05"""


@dataclass
class Bench:
    """A hub, a key that gets in, and the file by which OpenSSH knows the hub."""

    hub: RunningHub
    identity: Path
    known_hosts: Path

    def ssh_options(self) -> list[str]:
        options = {
            "IdentityFile": self.identity,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
        }
        return ["-F", os.devnull, *(f"-o{name}={value}" for name, value in options.items())]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A hub whose host key OpenSSH's own tools have written down."""
    needs("ssh-keygen", "ssh-keyscan")
    (tmp_path / "home").mkdir()
    identity = tmp_path / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity], check=True)
    keys = parse_keys(identity.with_suffix(".pub").read_text(), "identity.pub")
    with running(tmp_path / "home", users=[Login("ada", "geheim", keys=keys)], sftp=True) as hub:
        scanned = run(["ssh-keyscan", "-t", "ed25519", "-p", str(hub.sftp_port), hub.host])
        (tmp_path / "known_hosts").write_text(scanned)
        yield Bench(hub, identity, tmp_path / "known_hosts")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree with old times."""
    for name, content in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (MTIME, MTIME))
    return tmp_path / "source"


def needs(*programs: str) -> None:
    """These may be missing here, and must not be in CI."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run(command: list[str], text: str | None = None) -> str:
    """What a client prints that succeeds."""
    needs(command[0])
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=120)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def tree(directory: Path) -> dict[str, tuple[bytes, int]]:
    """All files with their content and their time."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), int(path.stat().st_mtime))
        for path in directory.rglob("*")
        if path.is_file()
    }


def openssh(bench: Bench, commands: str) -> list[str]:
    """The lines that OpenSSH's sftp prints, its own echo left out."""
    hub = bench.hub
    command = ["sftp", "-q", *bench.ssh_options(), "-P", str(hub.sftp_port), "-b", "-", f"{hub.login}@{hub.host}"]
    return [line for line in run(command, commands).splitlines() if not line.startswith("sftp> ")]


def lftp(bench: Bench, commands: str) -> str:
    """lftp speaks through OpenSSH's ssh."""
    hub, connect = bench.hub, " ".join(["ssh", "-a", "-x", *bench.ssh_options()])
    settings = f'set sftp:connect-program "{connect}"; set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 20'
    where = ["-u", f"{hub.login},", "-p", str(hub.sftp_port), f"sftp://{hub.host}"]
    return run(["lftp", "-e", f"{settings}; {commands}; bye", *where])


def rclone(bench: Bench, source: str, target: str) -> str:
    hub = bench.hub
    login = ["--sftp-host", hub.host, "--sftp-port", str(hub.sftp_port), "--sftp-user", hub.login]
    key = ["--sftp-key-file", str(bench.identity), "--sftp-known-hosts-file", str(bench.known_hosts)]
    return run(["rclone", "--config", os.devnull, "--retries", "1", *login, *key, "copy", source, target])


Copy = Callable[[Bench, Path], object]

TOOLS: dict[str, tuple[Copy, Copy]] = {
    "sftp": (
        lambda bench, local: openssh(bench, f"mkdir there\nput -pr {local}/* there"),
        lambda bench, local: openssh(bench, f"lmkdir {local}\nget -pr there/* {local}"),
    ),
    "lftp": (
        lambda bench, local: lftp(bench, f"mirror --reverse --parallel=4 {local} there"),
        lambda bench, local: lftp(bench, f"mirror --parallel=4 there {local}"),
    ),
    "rclone": (
        lambda bench, local: rclone(bench, str(local), ":sftp:there"),
        lambda bench, local: rclone(bench, ":sftp:there", str(local)),
    ),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tree_goes_there_and_back(tool: str, bench: Bench, source: Path, tmp_path: Path) -> None:
    """Contents and times are the same on the hub and in a second copy."""
    needs(tool)
    up, down = TOOLS[tool]
    up(bench, source)
    assert tree(source) == tree(bench.hub.directory / "there")
    down(bench, tmp_path / "back")
    assert tree(source) == tree(tmp_path / "back")


def test_openssh_links_renames_and_lists(bench: Bench, source: Path) -> None:
    """What a person types: links in OpenSSH's order of arguments, a walk through one, modes, a listing."""
    commands = ["mkdir dir", f"put {source}/one dir/first", "ln -s dir link", "cd link", "rename first second", "pwd"]
    commands += ["chmod 600 second", "ls -l", "cd ..", "rm link/second", "rm link", "rmdir dir", "ls -la"]
    lines = openssh(bench, "\n".join(commands) + "\n")
    assert "Remote working directory: /dir" == lines[0]
    [listed] = lines[1:]
    fields = listed.split()
    assert ("-rw-------", "4096", "second") == (fields[0], fields[4], fields[-1])


def test_openssh_resumes(bench: Bench, source: Path) -> None:
    """reput and reget go on where a transfer ended."""
    content = FILES["sub/deep/two"]
    (bench.hub.directory / "two").write_bytes(content[:100_000])
    openssh(bench, f"reput {source}/sub/deep/two two\n")
    assert content == (bench.hub.directory / "two").read_bytes()
    back = source / "back"
    back.write_bytes(content[:300_001])
    openssh(bench, f"reget two {back}\n")
    assert content == back.read_bytes()


def test_lftp_keeps_links(bench: Bench, source: Path, tmp_path: Path) -> None:
    """They come back as links, be they dangling or not."""
    (source / "link").symlink_to("one")
    (source / "dangling").symlink_to("no where")
    lftp(bench, f"mirror --reverse {source} there; mirror there {tmp_path / 'back'}")
    for directory in (bench.hub.directory / "there", tmp_path / "back"):
        links = {path.name: path.readlink() for path in directory.iterdir() if path.is_symlink()}
        assert {"link": Path("one"), "dangling": Path("no where")} == links
