"""`symsync-hub` as it is typed, and the pytest plugin."""

import ftplib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from symsync_hub.cli import main

CLIENT = [sys.executable, "-c", "import sys; from symsync.cli import main; sys.exit(main())"]
COMMAND = [sys.executable, "-c", "import sys; from symsync_hub.cli import main; sys.exit(main())"]


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A hub in a process of its own that is ready, and what it printed until then."""
    command = [*COMMAND, "serve", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("ready:"):
                    break
            yield process, "".join(lines)
        finally:
            process.kill()


def port_in(output: str) -> int:
    """The first port of the ready line."""
    found = re.search(r"^ready: .* at 127\.0\.0\.1:(\d+)", output, re.MULTILINE)
    assert found is not None, output
    return int(found[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_tells_how_to_connect_and_ends_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    """Who configures nothing gets one user with a random password at a loopback address."""
    with served(str(tmp_path), "--ftp", "127.0.0.1:0", "--data", str(tmp_path / "data")) as (process, output):
        port = port_in(output)
        login, password = re.findall(r"^(?:login|password): +(\S+)$", output, re.MULTILINE)
        assert f"symsync init DIRECTORY ftps://{login}@127.0.0.1:{port}/" in output
        assert re.search(r"^certificate SHA-256: ([0-9A-F]{2}:){31}[0-9A-F]{2}$", output, re.MULTILINE)
        with ftplib.FTP(timeout=20) as ftp:
            ftp.connect("127.0.0.1", port)
            assert "230" == ftp.login(login, password)[:3]
            process.send_signal(number)
            assert 0 == process.wait()
        assert process.stderr is not None
        assert "" == process.stderr.read()


def test_sftp_alone(tmp_path: Path) -> None:
    """`--sftp` without the others serves nothing else; the ready line shows the host key, which stays the same."""
    arguments = [str(tmp_path), "--sftp", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    keys = set()
    for _ in range(2):
        with served(*arguments) as (_, output):
            fingerprint = re.findall(
                r"^ready: .* \(SFTP, host key (SHA256:\S{43})\) for symsync$", output, re.MULTILINE
            )
            with paramiko.Transport(("127.0.0.1", port_in(output))) as connection:
                login, password = re.findall(r"^(?:login|password): +(\S+)$", output, re.MULTILINE)
                connection.connect(username=login, password=password)
                assert [connection.get_remote_server_key().fingerprint] == fingerprint
            keys |= set(fingerprint)
            assert "certificate" not in output
    assert 1 == len(keys)


def test_the_printed_commands_work_as_they_stand(tmp_path: Path) -> None:
    """Each `connect:` line, with a directory's name put in, makes a node: certificates and host key are pinned."""
    hub = tmp_path / "hub"
    hub.mkdir()
    listen = ["--ftp", "127.0.0.1:0", "--ftps-implicit", "127.0.0.1:0", "--sftp", "127.0.0.1:0"]
    with served(str(hub), *listen, "--data", str(tmp_path / "data")) as (_, output):
        [password] = re.findall(r"^password: +(\S+)$", output, re.MULTILINE)
        commands = re.findall(r"^connect: +symsync (.+)$", output, re.MULTILINE)
        assert 3 == len(commands)
        for number, command in enumerate(commands):
            node = tmp_path / f"node{number}"
            words = command.replace("DIRECTORY", str(node)).split()
            environment = os.environ | {"SYMSYNC_PASSWORD": password}
            done = subprocess.run(
                [*CLIENT, *words, "--node", f"node{number}"], capture_output=True, text=True, env=environment
            )
            assert (0, "") == (done.returncode, done.stderr), done.stdout
            (node / f"file{number}").write_text(command)
            done = subprocess.run([*CLIENT, "sync", str(node)], capture_output=True, text=True, env=environment)
            assert (0, "") == (done.returncode, done.stderr), done.stdout
            assert command == (hub / f"file{number}").read_text()


def test_users_of_this_run_and_of_the_file(tmp_path: Path) -> None:
    """A user added while the hub runs gets in at once; the password in the environment is never printed."""
    for name in ("home", "own"):
        (tmp_path / name).mkdir()
    data = str(tmp_path / "data")
    arguments = [str(tmp_path / "home"), "--ftp", "127.0.0.1:0", "--data", data, "--no-tls", "--user", "run"]
    subprocess.run([*COMMAND, "user", "add", "filed", "--data", data], input="one\n", text=True, check=True)
    with served(*arguments, SYMSYNC_HUB_PASSWORD="given") as (_, output):
        assert "given" not in output
        assert output.endswith("(no TLS) for run, filed\n")
        late = [*COMMAND, "user", "add", "late", "--data", data, "--home", str(tmp_path / "own"), "--random"]
        password = subprocess.run(late, capture_output=True, text=True, check=True).stdout.strip()
        for name, secret in (("run", "given"), ("filed", "one"), ("late", password)):
            with ftplib.FTP(timeout=20) as ftp:
                ftp.connect("127.0.0.1", port_in(output))
                assert "230" == ftp.login(name, secret)[:3]


def test_the_first_user_may_come_while_the_hub_runs(tmp_path: Path) -> None:
    """A hub that began with a user of its own invention lets in who is added later; no restart is needed."""
    data = str(tmp_path / "data")
    with served(str(tmp_path), "--ftp", "127.0.0.1:0", "--data", data, "--no-tls") as (_, output):
        login, invented = re.findall(r"^(?:login|password): +(\S+)$", output, re.MULTILINE)
        subprocess.run([*COMMAND, "user", "add", "first", "--data", data], input="one\n", text=True, check=True)
        for name, secret in (("first", "one"), (login, invented)):
            with ftplib.FTP(timeout=20) as ftp:
                ftp.connect("127.0.0.1", port_in(output))
                assert "230" == ftp.login(name, secret)[:3]


def test_users_with_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`user add --key` asks for no password, `user key` lets further keys in and withdraws them, `user list` shows."""
    data = ["--data", str(tmp_path)]
    keys = [paramiko.ECDSAKey.generate(), paramiko.RSAKey.generate(2048)]
    for number, key in enumerate(keys):
        (tmp_path / f"{number}.pub").write_text(f"{key.get_name()} {key.get_base64()} key {number}\n")
    assert 0 == main(["user", "add", "ada", "--key", str(tmp_path / "0.pub"), *data])
    assert 0 == main(["user", "key", "ada", str(tmp_path / "1.pub"), *data])
    assert 0 == main(["user", "list", *data])
    shown = "\t".join(key.fingerprint for key in keys)
    assert f"ada\tread and write\t(the served directory)\t{shown}\n" == capsys.readouterr().out
    assert 0 == main(["user", "key", "ada", str(tmp_path / "0.pub"), "--remove", *data])
    assert 0 == main(["user", "list", *data])
    assert f"ada\tread and write\t(the served directory)\t{keys[1].fingerprint}\n" == capsys.readouterr().out
    arguments = [str(tmp_path), "--sftp", "127.0.0.1:0", *data]
    with served(*arguments) as (_, output), paramiko.Transport(("127.0.0.1", port_in(output))) as connection:
        connection.start_client(timeout=20)
        with pytest.raises(paramiko.AuthenticationException):
            connection.auth_publickey("ada", keys[0])
        assert [] == connection.auth_publickey("ada", keys[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["user", "key", "ada", "{}/missing"], "{}/missing: No such file or directory"),
        (["user", "key", "ada", "{}/text"], "{}/text, line 1: expected a key"),
        (["user", "key", "ada", "{}/key.pub"], "no user 'ada'"),
        (["user", "add", "ada", "--key", "{}/text"], "{}/text, line 1: expected a key"),
    ],
)
def test_what_is_wrong_with_a_key_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit status 2, and nobody was added."""
    key = paramiko.ECDSAKey.generate()
    (tmp_path / "key.pub").write_text(f"{key.get_name()} {key.get_base64()}\n")
    (tmp_path / "text").write_text("no key\n")
    assert 2 == main([*(argument.format(tmp_path) for argument in arguments), "--data", str(tmp_path)])
    assert message.format(tmp_path) in capsys.readouterr().err
    assert 0 == main(["user", "list", "--data", str(tmp_path)])
    assert "" == capsys.readouterr().out


def test_users_are_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`user list` shows rights and homes, never a hash."""
    data = ["--data", str(tmp_path)]
    assert 0 == main(["user", "add", "ada", "--random", "--read-only", "--home", str(tmp_path), *data])
    capsys.readouterr()
    assert 0 == main(["user", "list", *data])
    assert f"ada\tread only\t{tmp_path}\n" == capsys.readouterr().out
    assert 0 == main(["user", "remove", "ada", *data])
    assert 2 == main(["user", "remove", "ada", *data])
    assert capsys.readouterr().err.startswith("symsync-hub: no user 'ada'")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{}/missing"], 2, "there is no such directory to serve"),
        (["{}", "--ftp", "nonsense:x"], 2, "expected ADDRESS:PORT"),
        (["{}", "--ftp", "host.invalid:2121"], 2, "there is no such address"),
        (["{}", "--ftp", "192.0.2.1:2121"], 3, "can't listen there"),
        (["{}", "--users", "{}/missing"], 2, "symsync-hub user add NAME --users"),
        (["{}", "--users", "{}"], 2, "chmod 600"),
        (["{}", "--passive-ports", "5-1"], 2, "expected A-B"),
        (["{}", "--tls-cert", "{}/missing.pem"], 2, "can't be used"),
        (["{}", "--tls-key", "{}/key.pem"], 2, "--tls-key needs --tls-cert"),
        (["{}", "--no-tls", "--require-tls"], 2, "contradicts"),
        (["{}", "--user", "a b"], 2, "user name 'a b'"),
        (["{}", "--sftp", "nonsense:x"], 2, "expected ADDRESS:PORT"),
        (["{}", "--sftp", "127.0.0.1:0", "--data", "/proc/none"], 2, "/proc/none/hub-host-key"),
        (["{}", "--masquerade", "host.invalid"], 2, "no such IPv4 address"),
        (["{}", "--data", "/proc/none"], 2, "/proc/none"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    """Exit status 2 or 3 and one line on stderr, never a traceback."""
    tmp_path.chmod(0o755)
    given = [argument.format(tmp_path) for argument in arguments]
    data = [] if "--data" in given else ["--data", str(tmp_path / "data")]
    assert main(["serve", *given, *data]) == status
    error = capsys.readouterr().err
    assert message in error
    assert 1 == error.count("\n")


def test_a_taken_port_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the address, so that another can be chosen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert 3 == main(["serve", str(tmp_path), "--ftp", address, "--data", str(tmp_path / "data")])
    assert f"{address}: can't listen there: Address already in use" in capsys.readouterr().err


def test_help_and_plugin_import_no_server(tmp_path: Path) -> None:
    """Both must feel instant, so neither may load what is heavy."""
    heavy = "sorted({'pyftpdlib', 'OpenSSL', 'paramiko', 'cryptography', 'ssl', 'asyncore'} & set(sys.modules))"
    for name in ("symsync_hub.cli", "symsync_hub.pytest_plugin"):
        program = f"import sys, {name}; print({heavy})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert "[]\n" == done.stdout


def test_fixtures(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`hub` and `hub_factory` work in somebody else's project."""
    (tmp_path / "test_it.py").write_text(
        "import ftplib, io\n"
        "def test_hub(hub, hub_factory):\n"
        "    other = hub_factory(tls=True)\n"
        "    assert other.port != hub.port and other.fingerprint\n"
        "    with ftplib.FTP() as ftp:\n"
        "        ftp.connect(hub.host, hub.port)\n"
        "        ftp.login(hub.login, hub.password)\n"
        "        ftp.storbinary('STOR name', io.BytesIO(b'content'))\n"
        "    assert (hub.directory / 'name').read_bytes() == b'content'\n"
    )
    # Installed, the plugin loads itself by its entry point.
    plugin = [] if request.config.pluginmanager.has_plugin("symsync_hub") else ["-p", "symsync_hub.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout
