"""The command line: what reaches the session, what is printed, and the exit status of every kind of end."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from symsync import session
from symsync.cli import COMMANDS, ftpsync_main, main
from symsync.cli.sync import CHECKS
from symsync.core.modes import Mode
from symsync.events import Result
from symsync.remotes.location import Protocol
from symsync_protocol.errors import HubLocked, HubRefused, HubUnreachable, StateDamaged, Stopped, SymsyncError
from unit.cli.conftest import Sessions

Captured = pytest.CaptureFixture[str]


def test_a_directory_alone_is_synchronised(sessions: Sessions, notes: Path, capsys: Captured) -> None:
    """`symsync DIR` is one run with the configured settings."""
    assert main(["notes"]) == 0
    assert [notes] == [settings.directory for settings in sessions.ran]
    assert capsys.readouterr() == ("nothing to do: in step with hub\n", "")


@pytest.mark.parametrize("arguments", [[], ["sync"], ["-a"], ["sync", "--quiet"]])
def test_without_a_directory_the_one_around_counts(
    sessions: Sessions, notes: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`symsync` alone works anywhere below a synchronised directory."""
    (notes / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(notes / "a" / "b")
    assert main(arguments) == 0
    assert [notes] == [settings.directory for settings in sessions.ran]


def test_a_directory_named_like_a_command(sessions: Sessions, notes: Path) -> None:
    """./status is a directory, status a command."""
    notes.rename(notes.parent / "status")
    assert main(["./status"]) == 0
    assert [settings.directory.name for settings in sessions.ran] == ["status"]


def test_options_reach_the_settings(sessions: Sessions, notes: Path) -> None:
    """Every option of sync changes exactly the setting it names."""
    options = ["-s", "mirror", "--delete", "--only-newer", "--size-only", "--replace", "-p", "other"]
    allowed = ["--allow", "deletes,emptied", "--allow", "identity"]
    assert main(["notes"]) == 0
    assert main(["sync", str(notes), *options, *allowed]) == 0
    plain, changed = sessions.ran
    expected = replace(
        plain,
        mode=Mode.MIRROR,
        delete=True,
        only_newer=True,
        size_only=True,
        replace=True,
        allow=frozenset({"deletes", "emptied", "identity"}),
    )
    assert replace(expected, location=replace(plain.location, password="other")) == changed
    assert (plain.location.password, changed.location.password) == ("secret", "other")


def test_a_further_hub_is_named_after_the_directory(sessions: Sessions, notes: Path) -> None:
    """`symsync DIR SERVER` takes .sync-SERVER.conf."""
    (notes / ".sync-disk.conf").write_text(f"nodename pc\nserver file://{notes.parent}/disk\n")
    assert main(["notes", "disk"]) == 0
    assert [settings.location.protocol for settings in sessions.ran] == [Protocol.FILE]


@pytest.mark.parametrize("directory", [[], ["."]])
def test_a_further_hub_of_the_directory_around(
    sessions: Sessions, notes: Path, directory: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`symsync . SERVER` works anywhere below a synchronised directory, as `symsync` alone does."""
    (notes / ".sync-disk.conf").write_text(f"nodename pc\nserver file://{notes.parent}/disk\n")
    (notes / "a").mkdir()
    monkeypatch.chdir(notes / "a")
    assert main([*directory, *(["disk"] if directory else [])]) == 0
    expected = Protocol.FILE if directory else Protocol.FTP
    assert [(notes, expected)] == [(settings.directory, settings.location.protocol) for settings in sessions.ran]


def test_another_directory_is_not_looked_for(notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """Who names a directory means just that one."""
    (notes / "a").mkdir()
    monkeypatch.chdir(notes)
    assert main(["a", "disk"]) == 2
    expected = f"symsync: {notes}/a/.sync-disk.conf: there is no such file; begin with: "
    assert f"{expected}symsync init DIR URL --server disk\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["notes", "-l"],
        ["sync", "notes", "--list"],
        ["-n", "notes"],
        ["notes", "--dry-run"],
        ["status", "notes"],
    ],
)
def test_listing_runs_nothing(sessions: Sessions, notes: Path, arguments: list[str]) -> None:
    """-l and status plan only."""
    assert main(arguments) == 0
    assert ([notes], []) == ([settings.directory for settings in sessions.previewed], sessions.ran)


@pytest.mark.parametrize(
    ("options", "mode", "listed"),
    [
        ([], Mode.SYNC, False),
        (["-l"], Mode.SYNC, True),
        (["-y"], Mode.SYNC, False),
        (["-s", "master"], Mode.MASTER, True),
        (["-s", "master", "-y"], Mode.MASTER, False),
        (["-ys", "slave"], Mode.SLAVE, False),
        (["-smirror", "-aly"], Mode.MIRROR, True),
        (["-ad", "-ppw"], Mode.SYNC, False),
        (["--allow", "deletes"], Mode.SYNC, False),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_ftpsync_takes_the_ancestors_options(
    sessions: Sessions, notes: Path, options: list[str], mode: Mode, listed: bool, behind: bool
) -> None:
    """-s lists only unless -y confirms; flags may be combined and stand on either side of the directory."""
    assert ftpsync_main(["notes", *options] if behind else [*options, "notes"]) == 0
    asked = sessions.previewed if listed else sessions.ran
    assert [(notes, mode)] == [(settings.directory, settings.mode) for settings in asked]
    assert len(sessions.previewed) + len(sessions.ran) == 1


def test_ftpsync_needs_a_directory(capsys: Captured) -> None:
    """The ancestor looks nowhere by itself."""
    assert ftpsync_main([]) == 2
    assert capsys.readouterr().err == "ftpsync: the following arguments are required: DIR; see ftpsync --help\n"


@pytest.mark.usefixtures("notes")
def test_debug_shows_the_conversation(sessions: Sessions, capsys: Captured) -> None:
    """-d: the conversation on standard error, the result on standard output."""
    assert ftpsync_main(["-d", "notes"]) == 0
    assert sessions.ran
    assert capsys.readouterr() == ("nothing to do: in step with hub\n", "> USER me\n")


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (SymsyncError("x"), 1, "symsync: x"),
        (HubUnreachable("host: no route"), 3, "symsync: host: no route"),
        (HubRefused("wrong password"), 3, "symsync: wrong password"),
        (HubLocked("oslo holds the lock"), 3, "symsync: oslo holds the lock"),
        (StateDamaged("the state is damaged"), 4, "symsync: the state is damaged"),
        (
            Stopped("gone. If meant: --allow emptied", "emptied"),
            4,
            "symsync: gone. If meant: --allow emptied",
        ),
        (Stopped("too many", "deletes"), 4, "symsync: too many. If it is meant: --allow deletes"),
        (Stopped("never", None), 4, "symsync: never"),
        (SymsyncError("a\nb"), 1, "symsync: a\\nb"),
        (KeyboardInterrupt(), 130, "symsync: interrupted; nothing is lost, the next run goes on from here"),
    ],
)
def test_every_failure_is_one_line_and_its_status(
    sessions: Sessions, error: BaseException, status: int, expected: str, capsys: Captured
) -> None:
    """The exit statuses of docs/commands.md, each with one line on standard error."""
    sessions.error = error
    assert main(["notes"]) == status
    assert capsys.readouterr() == ("", expected + "\n")


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(("options", "traced"), [([], False), (["--debug"], True)])
def test_a_bug_is_told_without_a_traceback(
    sessions: Sessions, options: list[str], traced: bool, capsys: Captured
) -> None:
    """Exit status 70 and one line; the traceback only with --debug."""
    sessions.error = ZeroDivisionError("by zero")
    assert main(["notes", *options]) == 70
    err = capsys.readouterr().err
    assert ("Traceback" in err) == traced
    assert "symsync: a bug in symsync: ZeroDivisionError: by zero;" in err.splitlines()[-1]


@pytest.mark.usefixtures("notes")
def test_ctrl_c_in_a_finaliser_counts(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """Where Python would show a traceback and go on, the run is interrupted all the same."""

    class Dying:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def run(*_: object, **_others: object) -> Result:
        Dying()
        while True:
            time.sleep(1)

    monkeypatch.setattr(session, "run", run)
    assert main(["notes"]) == 130
    assert capsys.readouterr() == ("", "symsync: interrupted; nothing is lost, the next run goes on from here\n")


@pytest.mark.usefixtures("notes")
def test_json_tells_failures_on_standard_output_too(sessions: Sessions, capsys: Captured) -> None:
    """The document of a failed run has the message and the status."""
    sessions.error = HubUnreachable("host: no route")
    assert main(["notes", "--json"]) == 3
    out, err = capsys.readouterr()
    assert '"message": "host: no route"' in out
    assert err == "symsync: host: no route\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["staus"], "symsync: staus: neither a directory nor a command; the commands are init, sync, status, "),
        (["--lst"], "symsync: unrecognized arguments: --lst; see symsync sync --help"),
        (["sync", "-s", "both"], "symsync: argument -s/--mode: invalid choice: 'both'"),
        (["init", "x"], "symsync: the following arguments are required: URL; see symsync init --help"),
        (
            ["--exclude=*.o"],
            "symsync: unrecognized arguments: --exclude=*.o; what stays out stands in DIR/.sync.ignore, ",
        ),
        (
            ["--bwlimit", "--lst"],
            "symsync: unrecognized arguments: --bwlimit --lst; the bandwidth is limited by the line bwlimit in ",
        ),
        (["init", "x", "http://host/"], "symsync: http://: not a protocol that symsync speaks"),
        (
            ["init", "x", "ada@host:/dir"],
            "symsync: ada@host:/dir: a directory on another computer is named by a URL: sftp://ada@host//dir; ",
        ),
        (["init", "x", "hub", "--node", "a b"], "symsync: --node 'a b': only letters, digits and dashes are allowed"),
    ],
)
def test_what_can_not_be_understood(arguments: list[str], expected: str, capsys: Captured) -> None:
    """Exit status 2, one line, nothing done."""
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(expected)
    assert err.count("\n") == 1


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("call", [main, ftpsync_main])
def test_only_checks_that_exist_can_be_allowed(
    sessions: Sessions, call: Callable[[list[str]], int], capsys: Captured
) -> None:
    """A word that means nothing must not seem to have been heard."""
    assert 2 == call(["notes", "--allow", "deletes,deletions"])
    assert [] == sessions.ran
    expected = "--allow deletions: there is no such check; the words are deletes, emptied, identity\n"
    assert capsys.readouterr().err.endswith(expected)


def test_every_check_can_be_allowed() -> None:
    """The words of `--allow` are those that the program's own messages name."""
    client = Path(session.__file__).parent
    sources = [file.read_text() for file in client.rglob("*.py") if file.parent.name != "cli"]
    named = {word for text in sources for word in re.findall(r"--allow ([a-z]+)", text)}
    assert set(CHECKS) == named


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("option", ["--delete", "--only-newer"])
@pytest.mark.parametrize("mode", Mode)
def test_an_option_without_effect_is_refused(sessions: Sessions, option: str, mode: Mode, capsys: Captured) -> None:
    """--delete and --only-newer do nothing in mode sync, which whoever gives them should learn."""
    assert main(["notes", "-s", mode, option]) == (2 if mode is Mode.SYNC else 0)
    assert (mode is Mode.SYNC) == (not sessions.ran)
    refused = f"symsync: {option} has no meaning in mode sync, only in master, slave, original, mirror; "
    assert (mode is Mode.SYNC) == capsys.readouterr().err.startswith(refused)


def test_help_names_every_command(capsys: Captured) -> None:
    """`symsync --help` lists what there is."""
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [command.name for command in COMMANDS if f"  {command.name} " not in out] == []
    assert "`symsync --version`" in out


def test_help_imports_nothing_heavy() -> None:
    """Help is instant: none of these is imported for it."""
    heavy = {
        "rich",
        "paramiko",
        "msgpack",
        "pathspec",
        "symsync.session",
        "symsync.config",
        "symsync.report",
        "inspect",
    }
    code = f"import sys; from symsync.cli import main; main(['--help']); sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == "set()\n"


READ_THEN_HELP = "import sys; sys.stdin.read(); from symsync.cli import main; sys.exit(main(['--help']))"


def test_help_to_a_reader_who_left() -> None:
    """`symsync --help | true` ends quietly, as other programs do."""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            READ_THEN_HELP,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.usefixtures("sessions", "notes")
@pytest.mark.parametrize(
    "call", [lambda: main(["notes", "-p", ""]), lambda: ftpsync_main(["-p", "", "notes"])], ids=["symsync", "ftpsync"]
)
def test_an_empty_password_is_a_password(call: Callable[[], int], sessions: Sessions) -> None:
    """Some servers want just that."""
    assert call() == 0
    assert [settings.location.password for settings in sessions.ran] == [""]
