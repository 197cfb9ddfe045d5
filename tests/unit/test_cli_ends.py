"""How the program ends when the world around it does not play along: streams, signals, this computer's own refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from symsync import session
from symsync.cli import main
from symsync.events import Result
from symsync_hub import Login, running

FULL = ">/dev/full"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with one file that its hub, another directory, does not have yet; the working directory is above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hub").mkdir()
    directory = tmp_path / "notes"
    directory.mkdir()
    (directory / "f").write_text("f")
    (directory / ".sync.conf").write_text(f"nodename pc\nprotocol file\ndir {tmp_path}/hub\n")
    return directory


def typed(command: str, *, unbuffered: bool = False) -> subprocess.CompletedProcess[str]:
    """What a shell makes of `symsync COMMAND`."""
    program = f'exec "$PYTHON" -c "import sys; from symsync.cli import main; sys.exit(main())" {command}'
    variables = {"PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(sys.path)}
    variables["PYTHONUNBUFFERED"] = "1" if unbuffered else ""
    return subprocess.run(
        ["/bin/sh", "-c", program], capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )


@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", "<&- >&- 2>&-", FULL, f"2{FULL}", f"{FULL} 2>&1", "-q >&-", "--json >&-", "--json 2>&-"]
)
def test_no_stream_prevents_a_run(notes: Path, streams: str) -> None:
    """Closed or full, whichever they are: the run is done and its exit status is the true one, twice."""
    for content in ("f", "changed"):
        (notes / "f").write_text(content)
        done = typed(f"notes {streams}")
        assert (0, content) == (done.returncode, (notes.parent / "hub" / "f").read_text()), done.stderr


@pytest.mark.usefixtures("notes")
def test_lines_that_were_lost_are_told_once() -> None:
    """On standard error, and the run goes on."""
    done = typed(f"notes {FULL}")
    assert "note: standard output can't be written: No space left on device; the run goes on\n" == done.stderr


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [
        *(
            (command, False)
            for command in ("--help", "sync --help", "--version", "notes --json", "trash --json notes notes")
        ),
        *((command, True) for command in ("--help", "notes --json")),
    ],
)
def test_what_was_asked_for_and_lost_has_a_status_of_its_own(command: str, unbuffered: bool) -> None:
    """A document that is not whole, or no help, is a failure, and no bug."""
    done = typed(f"{command} {FULL}", unbuffered=unbuffered)
    assert (74, "symsync: standard output can't be written: No space left on device\n") == (
        done.returncode,
        done.stderr,
    )


def test_a_run_with_json_and_no_room_for_it_is_done(notes: Path) -> None:
    """Only the document is missing."""
    assert 74 == typed(f"notes --json {FULL}").returncode
    assert "f" == (notes.parent / "hub" / "f").read_text()


@contextmanager
def signalled(number: signal.Signals, before: signal.Handlers) -> Iterator[None]:
    """Somebody handles the signal in a way of his own."""
    kept = signal.signal(number, before)
    try:
        yield
    finally:
        signal.signal(number, kept)


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_by_a_signal(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`systemctl stop`, timeout and a logout end a run as Ctrl-C does: cleanly, with a line and the shell's status."""
    cleaned = []

    def run(*_: object, **_others: object) -> Result:
        try:
            os.kill(os.getpid(), number)
            while True:
                time.sleep(1)
        finally:
            cleaned.append(number)

    monkeypatch.setattr(session, "run", run)
    with signalled(number, signal.SIG_DFL):
        assert 128 + number == main(["notes"])
        assert signal.SIG_DFL is signal.getsignal(number)
    assert [number] == cleaned
    message = f"symsync: ended by {number.name}; nothing is lost, the next run goes on from here\n"
    assert ("", message) == capsys.readouterr()


@pytest.mark.usefixtures("notes")
def test_a_signal_in_a_finaliser_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python would show a traceback and go on, the run is ended all the same, by the same signal."""

    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def run(*_: object, **_others: object) -> Result:
        Dying()
        for _ in range(20):
            time.sleep(1)
        raise AssertionError("it went on")

    monkeypatch.setattr(session, "run", run)
    # A shell's job in the background ignores Ctrl-C.
    with signalled(signal.SIGTERM, signal.SIG_DFL), signalled(signal.SIGINT, signal.SIG_IGN):
        assert 128 + signal.SIGTERM == main(["notes"])


def test_what_was_ignored_stays_ignored(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run under nohup outlives its terminal."""
    synchronise = session.run

    def run(*arguments: object, **options: object) -> Result:
        os.kill(os.getpid(), signal.SIGHUP)
        return synchronise(*arguments, **options)  # type: ignore[arg-type] # whatever it was given

    monkeypatch.setattr(session, "run", run)
    with signalled(signal.SIGHUP, signal.SIG_IGN):
        assert 0 == main(["notes"])
    assert "f" == (notes.parent / "hub" / "f").read_text()


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied", "/a/.sync.tmp"), "/a/.sync.tmp: Permission denied"),
        (FileNotFoundError(2, "No such file or directory", b"/a\n\xff"), "/a\\n\\udcff: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_this_computer_refuses_is_no_bug(
    error: OSError, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what and where, and exit status 1, in the document, too."""

    def run(*_: object, **_others: object) -> Result:
        raise error

    monkeypatch.setattr(session, "run", run)
    assert 1 == main(["notes", "--json"])
    out, err = capsys.readouterr()
    assert f"symsync: {expected}; nothing is lost: mend this, and run again\n" == err
    assert 1 == json.loads(out)["exit_status"]


def test_an_error_that_is_not_this_computers_stays_a_bug(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the system that tells nothing of this computer comes from a mistake of ours."""

    def run(*_: object, **_others: object) -> Result:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(session, "run", run)
    assert 70 == main([str(notes)])
    assert capsys.readouterr().err.startswith("symsync: a bug in symsync: OSError: ")


def test_what_is_skipped_is_named_with_its_side(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe on either side, and a link that can't be followed: named, also with -q, and no failure."""
    os.mkfifo(notes / "a")
    os.mkfifo(notes.parent / "hub" / "b")
    (notes / "c").symlink_to("nowhere")
    with (notes / ".sync.conf").open("a") as config:
        config.write("links follow\n")
    assert 0 == main(["notes", "-q"])
    assert [
        "problem: a: neither file, directory nor link: skipped (here)",
        "problem: b: neither file, directory nor link: skipped (on the hub)",
        "problem: c: a symbolic link that points nowhere (here)",
    ] == sorted(capsys.readouterr().err.splitlines())


def test_links_that_are_to_be_skipped_are_not_named(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A timer's mail should not tell, each time, what the configuration asks for."""
    (notes / "c").symlink_to("f")
    with (notes / ".sync.conf").open("a") as config:
        config.write("links skip\n")
    assert 0 == main(["notes", "-q"])
    assert ("", "") == capsys.readouterr()


def test_status_tells_that_a_check_would_stop_the_run(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What status says is what the run would do, down to the exit status; --allow lets both pass."""
    names = [f"g{number}" for number in range(20)]
    for name in names:
        (notes / name).write_text(name)
    assert 0 == main(["notes", "-q"])
    for name in names:
        (notes / name).unlink()
    capsys.readouterr()
    ends = [(main(["status", "notes", "-q"]), capsys.readouterr().err), (main(["notes"]), capsys.readouterr().err)]
    told = "this run would remove 20 of 21 files (g0, ...), more than maxdelete 50% allows. If it is meant: "
    assert [(4, f"a run would stop: {told}--allow deletes\n"), (4, f"symsync: {told}--allow deletes\n")] == ends
    assert 1 == main(["notes", "-l", "--allow", "deletes"])


@pytest.mark.parametrize("protocol", ["ftp", "sftp"])
def test_who_may_only_read_learns_of_mirror(
    notes: Path, protocol: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the way on, which works."""
    monkeypatch.setenv("SYMSYNC_PASSWORD", "secret")
    users = [Login("ada", "secret", writable=False)]
    (notes.parent / "hub" / "g").write_text("g")
    with running(notes.parent / "hub", users=users, sftp=True) as hub:
        place = {"ftp": f"ftp://ada@{hub.host}:{hub.port}/", "sftp": f"sftp://ada@{hub.host}:{hub.sftp_port}/"}[
            protocol
        ]
        pinned = f"hostkey {hub.host_key}\n" if protocol == "sftp" else ""
        (notes / ".sync.conf").write_text(f"nodename pc\nserver {place}\n{pinned}")
        assert 3 == main(["notes"])
        err = capsys.readouterr().err
        assert err.startswith("symsync: the hub does not let us make .sync.tmp: ")
        assert err.endswith("; who may only read there sets mode mirror\n")
        assert 0 == main(["notes", "-s", "mirror"])
    assert "g" == (notes / "g").read_text()
