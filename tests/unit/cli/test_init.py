"""`symsync init`: the file that it writes, and what it refuses."""

from pathlib import Path

import pytest

from symsync.cli import main
from symsync.remotes.location import Tls
from symsync.session import Meeting
from symsync_protocol.errors import HubRefused
from unit.cli.conftest import Sessions

Captured = pytest.CaptureFixture[str]


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
