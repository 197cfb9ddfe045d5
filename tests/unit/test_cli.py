"""The command line: what reaches the session, what is printed, and the exit status of every kind of end."""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from symsync import session
from symsync.cli import COMMANDS, ftpsync_main, main
from symsync.cli.ftpsync import parser as ftpsync_parser
from symsync.cli.sync import CHECKS
from symsync.core.modes import TABLES, Action, Mode, Status
from symsync.events import Audience, Result
from symsync.remotes import Conversation
from symsync.remotes.location import Protocol, Tls
from symsync.session import Meeting
from symsync.settings import Settings
from symsync_hub import RunningHub
from symsync_protocol.errors import HubLocked, HubRefused, HubUnreachable, StateDamaged, Stopped, SymsyncError

IN_STEP = Result("pc", "hub", (), (), (), (), generation=3)
NOBODY = Meeting(None, None, (), name_taken=False, traits_text="sets times")


class Sessions:
    """Stands for `symsync.session`: keeps what it was asked, and answers as it was told."""

    def __init__(self) -> None:
        self.ran: list[Settings] = []
        self.previewed: list[Settings] = []
        self.met: list[tuple[Settings, bool, bool]] = []
        self.result = IN_STEP
        self.meeting = NOBODY
        self.error: BaseException | None = None

    def run(self, settings: Settings, _audience: Audience, *, conversation: Conversation | None = None) -> Result:
        self.ran.append(settings)
        return self._answer(conversation)

    def preview(self, settings: Settings, _audience: Audience, *, conversation: Conversation | None = None) -> Result:
        self.previewed.append(settings)
        return replace(self._answer(conversation), listed=True)

    def meet(
        self, settings: Settings, *, create: bool, replace: bool, conversation: Conversation | None = None
    ) -> Meeting:
        self.met.append((settings, create, replace))
        self._answer(conversation)
        return self.meeting

    def _answer(self, conversation: Conversation | None) -> Result:
        if conversation is not None:
            conversation("> USER me")
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    fake = Sessions()
    for name in ("run", "preview", "meet"):
        monkeypatch.setattr(session, name, getattr(fake, name))
    return fake


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a home without passwords."""
    monkeypatch.delenv("SYMSYNC_PASSWORD", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def notes(place: Path) -> Path:
    """A configured directory `notes` in the working directory."""
    directory = place / "notes"
    directory.mkdir()
    config = directory / ".sync.conf"
    config.write_text("nodename pc\nserver host\nlogin me\npassword secret\n")
    config.chmod(0o600)
    return directory


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


# The pages that users read


def page(name: str) -> str:
    return (Path(__file__).parents[2] / name).read_text()


def test_every_option_is_documented() -> None:
    """docs/commands.md names each command and each option that there is."""
    text = page("docs/commands.md")
    parsers = [ftpsync_parser()]
    for command in COMMANDS:
        assert f"symsync {command.name}" in text.replace("[", "").replace("]", "")
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        parsers.append(parser)
    options = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
    assert options - {"-h", "--help"} - documented == set()


@pytest.mark.parametrize("mode", Mode)
def test_the_documented_tables_are_the_ones_that_count(mode: Mode) -> None:
    """Each cell of the five tables in docs/commands.md is the action of the code."""
    text = page("docs/commands.md")
    rows = re.findall(r"^\| (\w+) \|(.*)\|$", text[text.index(f"\n`{mode}`: ") :], re.MULTILINE)[:4]
    documented = {
        (Status(here), there): Action(cell.strip())
        for here, cells in rows
        for there, cell in zip(Status, cells.split("|"), strict=True)
    }
    assert documented == dict(TABLES[mode])


# init and demo


def config(directory: Path, name: str = ".sync.conf") -> list[str]:
    """The lines that init wrote, without its comment."""
    lines = (directory / name).read_text().splitlines()
    return [line.replace("\t", " ") for line in lines if not line.startswith("#")]


def test_init_writes_what_the_url_says(sessions: Sessions, place: Path, capsys: Captured) -> None:
    """The directory is made, the login tried, the file written for its owner, and what was found is told."""
    sessions.meeting = Meeting("big-hub", b"i" * 16, ("oslo", "tehran"), name_taken=False, traits_text="sets times")
    assert (
        main(["init", "new/notes", "ftp://me:se%20cret@host:2121//srv/x", "--node", "paris", "--mode", "master"]) == 0
    )
    directory = place / "new" / "notes"
    assert config(directory) == [
        "nodename paris",
        "server host",
        "protocol ftp",
        "port 2121",
        "login me",
        "dir /srv/x",
        "includedots yes",
        "allowblanks yes",
        "mode master",
    ]
    assert (directory / ".sync.conf").stat().st_mode & 0o777 == 0o600
    ((settings, create, replacing),) = sessions.met
    assert (settings.location.password, create, replacing) == ("se cret", True, False)
    assert capsys.readouterr().out.splitlines() == [
        "hub:  big-hub at ftp://me@host:2121/srv/x; its nodes: oslo, tehran",
        "      sets times",
        f"node: paris, in {directory}",
        f"wrote {directory}/.sync.conf",
        "the password was not written (init --save-password does): set SYMSYNC_PASSWORD, "
        "store it with keyring or in ~/.netrc, or type it at each run",
        "next: symsync new/notes",
    ]


@pytest.mark.parametrize("given", [["ftp://me:secret@host/"], ["ftp://me@host/", "-p", "secret"]])
def test_a_password_is_written_only_when_asked_for(sessions: Sessions, place: Path, given: list[str]) -> None:
    """Neither one from the URL nor one from -p stays behind, unless --save-password says so."""
    assert main(["init", "a", *given]) == 0
    assert main(["init", "b", *given, "--save-password"]) == 0
    assert "secret" not in (place / "a" / ".sync.conf").read_text()
    assert config(place / "b")[-1] == "password secret"
    assert [settings.location.password for settings, _, _ in sessions.met] == ["secret", "secret"]


@pytest.mark.usefixtures("sessions")
def test_init_proposes_the_hosts_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made valid: its first label, other characters as dashes."""
    monkeypatch.setattr("socket.gethostname", lambda: "Ada's_laptop.example.org")
    assert main(["init", "notes", "hub"]) == 0
    assert config(place / "notes")[:3] == ["nodename Ada-s-laptop", "protocol file", f"dir {place}/hub"]


@pytest.mark.usefixtures("sessions")
def test_init_of_a_further_hub(place: Path, capsys: Captured) -> None:
    """--server NAME writes .sync-NAME.conf beside the first, and the next command names it."""
    assert main(["init", "notes", "hub", "--node", "pc"]) == 0
    assert main(["init", "notes", "disk", "--node", "pc", "--server", "usb", "--peer", "stick"]) == 0
    assert config(place / "notes", ".sync-usb.conf")[:4] == [
        "nodename pc",
        "peer stick",
        "protocol file",
        f"dir {place}/disk",
    ]
    assert capsys.readouterr().out.splitlines()[-1] == "next: symsync notes usb"


def test_init_never_overwrites(sessions: Sessions, notes: Path, capsys: Captured) -> None:
    """An existing configuration is kept, and the ways on are told."""
    before = (notes / ".sync.conf").read_text()
    assert main(["init", "notes", "ftp://me@host/", "-p", "x"]) == 2
    assert before == (notes / ".sync.conf").read_text()
    assert sessions.met == []
    err = capsys.readouterr().err
    assert "exists and is left as it is" in err
    assert "symsync sync --replace notes" in err


def test_a_taken_name_stops_init_with_two_ways_out(sessions: Sessions, place: Path, capsys: Captured) -> None:
    """Exit status 4 and nothing written; --replace goes on, and the first run must say so, too."""
    sessions.meeting = Meeting("hub", b"i" * 16, ("pc",), name_taken=True, traits_text="")
    assert main(["init", "notes", "hub", "--node", "pc"]) == 4
    err = capsys.readouterr().err
    assert "give --replace" in err
    assert "another --node NAME" in err
    assert not (place / "notes").exists()
    assert main(["init", "notes", "hub", "--node", "pc", "--replace"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: symsync sync --replace notes"


def test_init_writes_further_lines(sessions: Sessions, place: Path, capsys: Captured) -> None:
    """--set KEY VALUE reaches the login that is tried and the file, in the place of what init would write."""
    url = "ftp://me@host/"
    assert main(["init", "notes", url, "-p", "x", "--node=a", "--set", "tls", "no", "--set", "name", "b"]) == 0
    expected = ["nodename b", "server host", "protocol ftp", "login me", "includedots yes", "allowblanks yes", "tls no"]
    assert config(place / "notes") == expected
    assert [settings.location.tls for settings, _, _ in sessions.met] == [Tls.NO]
    assert main(["init", "other", url, "-p", "x", "--set", "tsl", "no"]) == 2
    assert capsys.readouterr().err == "symsync: unknown key tsl; did you mean tls?\n"


@pytest.mark.parametrize(("options", "expected"), [([], True), (["--create"], True), (["--no-create"], False)])
def test_init_makes_the_directory_on_the_hub(sessions: Sessions, options: list[str], expected: bool) -> None:
    """By default, for who begins has none there yet."""
    assert main(["init", "notes", "hub", *options]) == 0
    assert [expected] == [create for _, create, _ in sessions.met]


def test_init_of_a_mirror_makes_nothing_on_the_hub(sessions: Sessions, place: Path) -> None:
    """A mirror writes nothing there."""
    for number, options in enumerate((["--mode", "mirror"], ["--set", "mode", "mirror"], ["--mode", "slave"])):
        assert main(["init", str(number), "hub", *options]) == 0
    assert [False, False, True] == [create for _, create, _ in sessions.met]
    assert main(["init", str(place / "b"), "hub", "--mode", "mirror", "--create"]) == 0
    assert sessions.met[-1][1] is False


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--node", "Oak"], "symsync: the hub itself is called oak; give this node another name: --node NAME\n"),
        (["--peer", "elm"], "symsync: the hub is called oak, not elm; say --peer oak, or leave it out\n"),
    ],
)
def test_init_refuses_names_that_no_run_could_use(
    sessions: Sessions, place: Path, options: list[str], expected: str, capsys: Captured
) -> None:
    """The hub's own name is no node's, and no hub has two; nothing is written."""
    sessions.meeting = Meeting("oak", b"i" * 16, (), name_taken=False, traits_text="")
    assert main(["init", "notes", "hub", *options]) == 2
    assert expected == capsys.readouterr().err
    assert not (place / "notes").exists()


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["init", "hub"], "./init"),
        (["--", "-x", "hub"], "./-x"),
        (["init/", "hub"], "init/"),
        (["my notes", "hub"], "'my notes'"),
        (["trash", "hub", "--replace"], "./trash"),
    ],
)
def test_the_next_command_works_as_it_is_told(options: list[str], expected: str, capsys: Captured) -> None:
    """Also for a directory named like a command, like an option, or with blanks."""
    assert main(["init", *options]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    command = "symsync sync --replace" if "--replace" in options else "symsync"
    assert f"next: {command} {expected}" == last


@pytest.mark.parametrize(
    ("existing", "left"),
    [(False, False), (True, True)],
)
def test_a_failed_init_leaves_nothing_behind(sessions: Sessions, place: Path, existing: bool, left: bool) -> None:
    """The directory it made goes again, one that was there stays; no configuration is written."""
    if existing:
        (place / "notes").mkdir()
    sessions.error = HubRefused("wrong password")
    assert main(["init", "notes", "hub"]) == 3
    assert left == (place / "notes").exists()
    assert not (place / "notes" / ".sync.conf").exists()


def test_init_refuses_a_file_as_directory(place: Path, capsys: Captured) -> None:
    """A name that is taken by a file is told."""
    (place / "notes").write_text("")
    assert main(["init", "notes", "hub"]) == 2
    assert capsys.readouterr().err == f"symsync: {place}/notes: this is no directory\n"


@pytest.mark.usefixtures("sessions", "notes")
@pytest.mark.parametrize(
    "call", [lambda: main(["notes", "-p", ""]), lambda: ftpsync_main(["-p", "", "notes"])], ids=["symsync", "ftpsync"]
)
def test_an_empty_password_is_a_password(call: Callable[[], int], sessions: Sessions) -> None:
    """Some servers want just that."""
    assert call() == 0
    assert [settings.location.password for settings in sessions.ran] == [""]


@contextmanager
def hub_without_server(directory: Path) -> Iterator[RunningHub]:
    """A hub that nobody can reach."""
    yield RunningHub("127.0.0.1", 1, "me", "secret", directory, None)


def test_the_demo_keeps_what_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """The bundled hub, real FTP connections, a conflict and its end: exit status 0, and nothing is left behind."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "conflict shopping.txt (yours stays, theirs is shopping.txt.hub)" in out
    assert "moved photos/beach.jpg -> photos/coast.jpg" in out
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_demo_fails_when_anything_is_wrong(
    monkeypatch: pytest.MonkeyPatch, sessions: Sessions, capsys: Captured
) -> None:
    """A session that only claims to synchronise is found out by the comparison."""
    monkeypatch.setattr("symsync.demo.running", hub_without_server)
    assert main(["demo"]) == 1
    assert sessions.ran
    assert "paris and the hub differ in letters/to ada.txt" in capsys.readouterr().err
