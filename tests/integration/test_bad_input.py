"""Whatever is wrong is one clear line and the documented status, by the real command; and nothing is lost."""

import fcntl
import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from integration.conftest import BY_FTP, IN_CONTAINERS
from integration.scenarios import HUB, Done, Fleet, LocalPlace, Tree, command, configure
from real_servers import SERVERS
from symsync_hub import running
from symsync_protocol.names import IDENTITY_FILE, STATE_DIR
from symsync_protocol.statefile import MAGIC, VERSION

NODES = ("paris", "oslo")
START: Tree = {"f": b"first", **{f"d/{number}": b"file %d" % number for number in range(20)}}


def run(fleet: Fleet, name: str, *options: str, bound: bool = False) -> Done:
    """The real command for one node."""
    return command("symsync", "sync", *options, str(fleet[name].root), bound=bound)


def one_line(done: Done, status: int, *words: str) -> None:
    """The command said exactly one line, on standard error, with all of `words` in it, and ended with `status`."""
    assert (status, 1, "") == (done.status, done.err.count("\n"), done.out)
    assert done.err.startswith("symsync: ")
    assert [] == [word for word in words if word not in done.err], done.err


# The command line and the configuration: status 2


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A directory that could be synchronised with another one."""
    for name in ("notes", "hub"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes" / "f").write_text("f")
    configure(tmp_path / "notes", usual(tmp_path))
    return tmp_path / "notes"


def usual(place: Path) -> Mapping[str, str]:
    return {"nodename": "paris", "protocol": "file", "dir": str(place / "hub")}


WRONG_LINES = {
    "unknown-key": ("passwort secret", ["line 4", "passwort", "password"]),
    "no-value": ("login", ["line 4", "login"]),
    "given-twice": ("name oslo", ["line 4", "nodename"]),
    "value": ("includedots perhaps", ["line 4", "perhaps", "yes or no"]),
    "mode": ("mode both", ["line 4", "both", "mirror"]),
    "no-meaning": ("login me", ["line 4", "login"]),
}


@pytest.mark.parametrize(("line", "words"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_a_wrong_line_of_the_configuration(notes: Path, line: str, words: list[str]) -> None:
    """The file, the line and what would be right."""
    with open(notes / ".sync.conf", "a") as file:
        file.write(line + "\n")
    one_line(command("symsync", str(notes)), 2, str(notes / ".sync.conf"), *words)
    assert [] == os.listdir(notes.parent / "hub")


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ({"protocol": "file", "dir": "/srv"}, "nodename"),
        ({"nodename": "paris"}, "server"),
        ({"nodename": "paris", "protocol": "file"}, "dir"),
    ],
    ids=["nodename", "server", "dir"],
)
def test_a_missing_key(notes: Path, lines: dict[str, str], missing: str) -> None:
    """Which one, and what it means."""
    configure(notes, lines)
    one_line(command("symsync", str(notes)), 2, str(notes / ".sync.conf"), f"the key {missing} is missing")


@pytest.mark.parametrize("key", ["nodename", "peer"])
@pytest.mark.parametrize("name", ["two words", "a/b", "..", "n\u00f6", "x" * 64, ".sync"])
def test_a_bad_name(notes: Path, key: str, name: str) -> None:
    """What may stand in a name."""
    configure(notes, {**usual(notes.parent), key: name})
    one_line(command("symsync", str(notes)), 2, key, "only letters, digits and dashes")


def test_a_configuration_that_others_can_read(notes: Path) -> None:
    """With a password in it: the chmod to use."""
    configure(notes, {"nodename": "paris", "server": "127.0.0.1", "password": "secret"})
    (notes / ".sync.conf").chmod(0o644)
    one_line(command("symsync", str(notes)), 2, f"chmod 600 {notes / '.sync.conf'}")


def test_no_configuration_and_no_directory(notes: Path) -> None:
    """What to begin with."""
    (notes / ".sync.conf").unlink()
    one_line(command("symsync", str(notes)), 2, str(notes / ".sync.conf"), "symsync init")
    one_line(command("symsync", str(notes / "gone")), 2, str(notes / "gone"), "no such directory")


@pytest.mark.parametrize(
    "arguments",
    [["symsync"], ["symsync", "status"], ["symsync", "sync", "notes"], ["symsync", "trash"], ["ftpsync", "notes"]],
    ids=["run", "status", "relative", "trash", "ftpsync"],
)
def test_a_current_directory_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """As after another terminal has cleared it away."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = command(*arguments)
    assert (2, 1) == (done.status, done.err.count("\n"))
    assert "the current directory does not exist any more" in done.err


def test_something_else_in_the_place_of_ours(notes: Path) -> None:
    """What has the name of a file or directory that symsync needs is named, on whichever side it lies."""
    for state, status in ((notes / STATE_DIR, 2), (notes.parent / "hub" / STATE_DIR, 3)):
        state.touch()
        one_line(command("symsync", str(notes)), status, STATE_DIR, "no directory", "rename it")
        state.unlink()
    one_line(command("symsync", "sync", str(notes / "f")), 2, str(notes / "f"), "this is no directory")
    (notes / ".sync.conf").unlink()
    (notes / ".sync.conf").mkdir()
    one_line(command("symsync", str(notes)), 2, str(notes / ".sync.conf"), "this is a directory")


def test_a_password_that_is_nowhere(notes: Path) -> None:
    """Without a terminal nobody can be asked: all the places where it could stand."""
    configure(notes, {"nodename": "paris", "server": "127.0.0.1", "login": "me"})
    one_line(command("symsync", str(notes)), 2, "me@127.0.0.1", "SYMSYNC_PASSWORD", "netrc")


def test_node_and_hub_of_one_name(notes: Path) -> None:
    """Copies of both would be called the same."""
    configure(notes, {**usual(notes.parent), "nodename": "Hub", "peer": "hub"})
    one_line(command("symsync", str(notes)), 2, "peer hub", "differ")


def test_another_name_than_the_hub_has(notes: Path) -> None:
    """The right one is named."""
    assert 0 == command("symsync", str(notes)).status
    configure(notes, {**usual(notes.parent), "peer": "other"})
    one_line(command("symsync", str(notes)), 2, "other", "peer hub")


# The hub: status 3


@pytest.fixture
def met(fleet: Fleet) -> Fleet:
    """Two nodes in step."""
    fleet.join(*NODES)
    fleet["paris"].fill(START)
    fleet.sync_all()
    return fleet


@pytest.mark.parametrize("make_hub", BY_FTP, indirect=True)
def test_a_wrong_password(met: Fleet) -> None:
    """Who was refused where; the password is not shown."""
    met.configure("paris", password="not-this-one")
    before = met.everything()
    done = run(met, "paris")
    one_line(done, 3, met.hub.location.login, met.hub.location.host)
    assert "not-this-one" not in done.err
    assert before == met.everything()


def test_no_such_directory_on_the_hub(met: Fleet) -> None:
    """It is not made: perhaps the right one is not mounted."""
    directory = f"{met.hub.location.directory}/nowhere"
    met.configure("paris", dir=directory)
    before = met.everything()
    one_line(run(met, "paris"), 3, directory)
    assert before == met.everything()


@pytest.fixture
def unused_port() -> int:
    """A port of this computer where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("server", "words"),
    [("host.invalid", ["host.invalid"]), ("255.255.255.255", ["255.255.255.255"]), ("127.0.0.1", ["127.0.0.1"])],
    ids=["unknown-host", "no-route", "connection-refused"],
)
def test_a_hub_that_is_not_reached(notes: Path, unused_port: int, server: str, words: list[str]) -> None:
    """RFC 6761's name that no host has; the broadcast address, which TCP has no route to; a port that nobody serves."""
    lines = {"nodename": "paris", "server": server, "port": str(unused_port), "login": "me", "password": "secret"}
    configure(notes, lines)
    done = command("symsync", str(notes))
    one_line(done, 3, *words)
    assert "secret" not in done.err
    assert {"f": b"f"} == LocalPlace(notes).tree()


def test_an_unknown_certificate(notes: Path, tmp_path: Path) -> None:
    """It is shown by its fingerprint, with what to write to trust it; nothing was sent."""
    with running(tmp_path / "hub", tls=True) as hub:
        lines = {"nodename": "paris", "server": hub.host, "port": str(hub.port), "login": hub.login}
        configure(notes, {**lines, "password": hub.password, "tls": "explicit"})
        assert hub.fingerprint is not None
        one_line(command("symsync", str(notes)), 3, hub.fingerprint, "tlsfingerprint")
        assert {} == LocalPlace(hub.directory).everything()
        configure(notes, {**lines, "password": hub.password, "tlsfingerprint": hub.fingerprint})
        assert 0 == command("symsync", str(notes)).status
        assert {"f": b"f"} == LocalPlace(hub.directory).tree()


# What looks like an accident: status 4


def test_too_many_removals(met: Fleet) -> None:
    """What would go, and the word that allows it; with the word it is done."""
    met["paris"].remove("d")
    before = met.everything()
    one_line(run(met, "paris"), 4, "20 of 21", "--allow deletes")
    assert before == met.everything()
    assert 0 == run(met, "paris", "--allow", "deletes").status
    assert {"f": b"first"} == met.hub.place.tree()


def test_more_removals_than_the_user_wants(met: Fleet) -> None:
    """`maxdelete` counts as written."""
    met.configure("paris", maxdelete="1")
    met["paris"].remove("d/1")
    met["paris"].remove("d/2")
    before = met.everything()
    one_line(run(met, "paris"), 4, "maxdelete 1", "--allow deletes")
    assert before == met.everything()


@pytest.mark.parametrize("side", ["paris", HUB])
def test_an_emptied_side(met: Fleet, side: str) -> None:
    """A disk that is not mounted, or a server's directory that somebody cleared: the other side stays as it is."""
    place = met.hub.place if side == HUB else met["paris"]
    place.remove("d")
    place.remove("f")
    before = met.everything()
    one_line(run(met, "paris"), 4, "no files any more", "--allow emptied")
    assert before == met.everything()
    assert 0 == run(met, "paris", "--allow", "emptied").status
    assert ({}, {}) == (met.hub.place.tree(), met["paris"].tree())


@pytest.fixture
def stick(notes: Path) -> Path:
    """Where a stick is mounted. Paris has met the hub attic on it; now a stranger's lies there, which is called
    friends."""
    mounted = notes.parent / "hub"
    configure(notes, {**usual(notes.parent), "peer": "attic"})
    assert 0 == command("symsync", str(notes)).status
    mounted.rename(notes.parent / "attic")
    mounted.mkdir()
    (notes.parent / "other").mkdir()
    (notes.parent / "other" / "secret").write_text("of a friend")
    configure(notes.parent / "other", {"nodename": "oslo", "protocol": "file", "dir": str(mounted), "peer": "friends"})
    assert 0 == command("symsync", str(notes.parent / "other")).status
    configure(notes, usual(notes.parent))
    return mounted


def everything(notes: Path) -> list[Tree]:
    return [LocalPlace(notes).everything(), LocalPlace(notes.parent / "hub").everything()]


def test_another_hub_at_the_same_address(notes: Path, stick: Path) -> None:
    """Both are named and nothing is joined; what is allowed once is not asked again."""
    before = everything(notes)
    for verb in ("sync", "status"):
        words = ["led to attic", "now leads to friends", "right disk", "--allow identity"]
        one_line(command("symsync", verb, str(notes)), 4, *words)
    assert before == everything(notes)
    assert 0 == command("symsync", str(notes), "--allow", "identity").status
    assert {"f": b"f", "secret": b"of a friend"} == LocalPlace(notes).tree() == LocalPlace(stick).tree()
    assert 0 == command("symsync", str(notes)).status


def test_the_right_disk_again(notes: Path, stick: Path) -> None:
    """Where hubs take turns at one address, those that the node knows are no strangers."""
    assert 0 == command("symsync", str(notes), "--allow", "identity").status
    stick.rename(notes.parent / "friends")
    (notes.parent / "attic").rename(stick)
    assert 0 == command("symsync", str(notes)).status
    assert {"f": b"f", "secret": b"of a friend"} == LocalPlace(stick).tree()


def test_an_empty_disk_in_the_place_of_a_hub(notes: Path, stick: Path) -> None:
    """Also where the configuration does not name the hub; where it is allowed, the old hub's name and id go on."""
    stick.rename(notes.parent / "friends")
    stick.mkdir()
    before = everything(notes)
    one_line(command("symsync", str(notes)), 4, "lost its identity", "--allow identity")
    assert before == everything(notes)
    assert 0 == command("symsync", str(notes), "--allow", "identity", "--allow", "emptied").status
    identity = f"{STATE_DIR}/{IDENTITY_FILE}"
    assert LocalPlace(notes.parent / "attic").read(identity) == LocalPlace(stick).read(identity)


@pytest.mark.usefixtures("stick")
def test_a_stranger_where_the_configuration_names_the_hub(notes: Path) -> None:
    """That it is another one comes before what to write; and whoever writes it is asked once more."""
    configure(notes, {**usual(notes.parent), "peer": "attic"})
    before = everything(notes)
    one_line(command("symsync", str(notes)), 2, "another hub than attic", "called friends", "'peer friends'")
    configure(notes, {**usual(notes.parent), "peer": "friends"})
    one_line(command("symsync", str(notes)), 4, "led to attic", "--allow identity")
    configure(notes, {**usual(notes.parent), "peer": "attic"})
    assert before == everything(notes)


@pytest.mark.parametrize("lines", [{"symsync": "no"}, {"mode": "mirror"}], ids=["symsync-no", "mirror"])
def test_a_bare_server_has_no_identity_to_ask_for(notes: Path, lines: dict[str, str]) -> None:
    """Where no state is kept on the hub, nothing tells one from another."""
    hub = notes.parent / "hub"
    (hub / "g").write_text("g")
    configure(notes, {**usual(notes.parent), **lines})
    for _ in range(2):
        assert 0 == command("symsync", str(notes)).status
    hub.rename(notes.parent / "before")
    shutil.copytree(notes.parent / "before", hub)
    assert 0 == command("symsync", str(notes)).status
    assert {"f": b"f", "g": b"g"} == LocalPlace(notes).tree()


def test_a_memory_of_hubs_that_can_not_be_read(notes: Path, stick: Path) -> None:
    """It is one of many caches: without it the run goes on as at the first meeting, and writes it anew."""
    memory = notes / STATE_DIR / "_addresses"
    memory.write_bytes(b"scribble")
    assert 0 == command("symsync", str(notes)).status
    assert b"friends" in memory.read_bytes()
    assert (stick / "f").exists()


def test_a_run_in_the_same_directory(met: Fleet) -> None:
    """Somebody is at work there already."""
    with open(met["paris"].root / STATE_DIR / "_lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one_line(run(met, "paris"), 4, str(met["paris"].root), "another symsync")


NEWER = MAGIC + bytes([VERSION + 1]) + b"who knows what"

DAMAGED: dict[str, tuple[str, str, bytes]] = {
    "newer-here": ("paris", f"{STATE_DIR}/{HUB}", NEWER),
    "newer-on-the-hub": (HUB, f"{STATE_DIR}/paris", NEWER),
    "identity-here": ("paris", f"{STATE_DIR}/{IDENTITY_FILE}", b"scribble"),
    "identity-on-the-hub": (HUB, f"{STATE_DIR}/{IDENTITY_FILE}", b"scribble"),
}


@pytest.mark.parametrize(("side", "path", "data"), DAMAGED.values(), ids=DAMAGED)
def test_a_state_that_can_not_be_used(met: Fleet, side: str, path: str, data: bytes) -> None:
    """Which file, and what to do; nothing is done, and nothing overwritten."""
    (met.hub.place if side == HUB else met[side]).write(path, data)
    before = met.everything()
    one_line(run(met, "paris"), 4, path)
    assert before == met.everything()


def test_a_damaged_state_costs_a_note(met: Fleet) -> None:
    """It is taken back from the other side."""
    met["paris"].write(f"{STATE_DIR}/{HUB}", b"scribble")
    done = run(met, "paris")
    assert 0 == done.status
    assert "damaged" in done.err.splitlines()[0]
    assert met.all_hold(START) == met.trees()


def test_a_look_mends_nothing(met: Fleet) -> None:
    """`status` and `-l` tell of a damaged state; it stays for the run, which says what it did with it."""
    state = f"{STATE_DIR}/{HUB}"
    met["paris"].write(state, b"scribble")
    before = met.everything()
    for look in (command("symsync", "status", str(met["paris"].root)), run(met, "paris", "-l")):
        assert [1, 0] == [look.err.count(f"{state} is damaged"), look.err.count("_damaged.")]
        assert "a run renames it" in look.err
    assert before == met.everything()
    done = run(met, "paris")
    assert [1, 1] == [done.err.count(f"{state} is damaged"), done.err.count(f"it is called _damaged.{HUB} now")]
    assert "move it away" not in done.err
    assert b"scribble" == met["paris"].read(f"{STATE_DIR}/_damaged.{HUB}")


# One file's trouble: status 1, and the rest goes on


def problems(done: Done) -> list[str]:
    """The paths of which standard error tells, each in a line of its own."""
    lines = done.err.splitlines()
    assert [] == [line for line in lines if not line.startswith("problem: ")]
    return [line.removeprefix("problem: ").partition(": ")[0] for line in lines]


def test_an_unreadable_file_here(met: Fleet) -> None:
    """It is named, all else is synchronised, and its version on the hub stays."""
    met["paris"].write("f", b"edited, but nobody may read it")
    (met["paris"].root / "f").chmod(0)
    met["paris"].write("g", b"g")
    done = run(met, "paris", bound=True)
    assert (1, ["f"]) == (done.status, problems(done))
    assert {**START, "g": b"g"} == met.hub.place.tree()
    (met["paris"].root / "f").chmod(0o600)
    assert 0 == run(met, "paris").status
    assert b"edited, but nobody may read it" == met.hub.place.read("f")


def test_an_unreadable_directory_here(met: Fleet) -> None:
    """What can't be seen has not been removed."""
    (met["paris"].root / "d").chmod(0)
    done = run(met, "paris", bound=True)
    assert (1, ["d"]) == (done.status, problems(done))
    assert START == met.hub.place.tree()
    (met["paris"].root / "d").chmod(0o755)
    assert met.all_hold(START) == met.trees()


def test_a_directory_here_that_may_not_be_written(met: Fleet) -> None:
    """What can't be stored is named; it arrives when it can."""
    met["oslo"].write("d/1", b"edited by oslo")
    met["oslo"].write("f", b"edited, too")
    met.sync("oslo")
    (met["paris"].root / "d").chmod(0o555)
    done = run(met, "paris", bound=True)
    assert (1, ["d/1"]) == (done.status, problems(done))
    assert {**START, "f": b"edited, too"} == met["paris"].tree()
    (met["paris"].root / "d").chmod(0o755)
    assert 0 == run(met, "paris").status
    assert met.all_hold({**START, "f": b"edited, too", "d/1": b"edited by oslo"}) == met.trees()


@pytest.mark.parametrize("make_hub", IN_CONTAINERS, indirect=True)
def test_an_unreadable_file_on_the_hub(met: Fleet) -> None:
    """The server refuses it: it is named, its old version here stays, and all else is received."""
    met.hub.place.write("f", b"nobody may read this")
    met.hub.place.write("g", b"g")
    server = SERVERS[met.hub.kind]
    path = f"{met.hub.location.directory}/f"
    server.run("chmod", "0", path)
    done = run(met, "paris")
    assert (1, ["f"]) == (done.status, problems(done))
    assert {**START, "g": b"g"} == met["paris"].tree()
    server.run("chmod", "644", path)
    assert 0 == run(met, "paris").status
    assert b"nobody may read this" == met["paris"].read("f")
