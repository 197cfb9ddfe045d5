"""The trash: which version is meant, what a hostile hub can make of it, and the two commands."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from symsync import trash
from symsync.cli import main
from symsync.config import load
from symsync.core.values import Found, Listing, Problem, Reason, Side
from symsync.events import Audience
from symsync.folder import Folder
from symsync.remotes.base import Remote
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync.retention import Run, run_of
from symsync.trash import Contents, Version, Wish, choose
from symsync_protocol.errors import Stopped, UsageError
from symsync_protocol.names import TRASH_DIR
from symsync_protocol.stamps import Kind, Stamp

Captured = pytest.CaptureFixture[str]

FIRST, SECOND, THIRD = (f"2026112{n}T093015Z-paris-{n}{n}{n}{n}{n}{n}{n}{n}" for n in (1, 2, 3))


def version(path: str, label: str = FIRST, side: Side = Side.HERE) -> Version:
    run = run_of(label)
    assert run is not None
    return Version(path, side, run, Found(f"{TRASH_DIR}/{label}/{path}", Stamp(Kind.FILE, 1)))


def chosen(held: Sequence[Version], path: str, which: str | None = None) -> list[Version]:
    return choose(Contents(tuple(held)), Wish(path, which))


class TestChoosing:
    def test_the_newest(self) -> None:
        """Without a word about the version it is the one displaced last."""
        held = [version("f", SECOND, Side.THERE), version("f", FIRST)]
        assert held[:1] == chosen(held, "f")

    @pytest.mark.parametrize("which", [FIRST, "11111111"])
    def test_a_certain_one(self, which: str) -> None:
        """By the run's label, or its last part as it is shown."""
        held = [version("f", SECOND), version("f", FIRST)]
        assert held[1:] == chosen(held, "f", which)

    def test_a_directory(self) -> None:
        """All that one run displaced below it, on either side; of one name the node's own, which needs no transfer."""
        held = [
            version("d/a", SECOND),
            version("d/a", SECOND, Side.THERE),
            version("d/b", SECOND, Side.THERE),
            version("d/c", FIRST),
        ]
        assert [held[0], held[2]] == chosen(held, "d")

    def test_the_file_itself_before_what_is_below(self) -> None:
        """A run can displace a directory on one side and a file of its name on the other."""
        held = [version("d", SECOND, Side.THERE), version("d/a", SECOND)]
        assert held[:1] == chosen(held, "d")

    def test_nothing(self) -> None:
        """What is not there is told, with why it may be there all the same."""
        problem = Problem(TRASH_DIR, Reason.CUT, "the listing was cut short")
        with pytest.raises(UsageError, match=r"no version of f \(\.sync\.trash: the listing was cut short\); see"):
            choose(Contents((), (problem,)), Wish("f"))
        with pytest.raises(UsageError, match=r"holds no version 22222222 of f; see"):
            chosen([version("f", FIRST)], "f", "22222222")


class HostileRemote(MemoryRemote):
    """Shows entries that lead out of the trash."""

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for listing in super().listings(directories):
            evil = tuple(
                Found(f"{listing.directory}/{name}", Stamp(Kind.FILE, 4))
                for name in ("../../up", "..", "", "/etc/passwd", ".sync.conf", "a//b")
            )
            yield Listing(listing.directory, (*listing.entries, *evil), listing.problem)


def test_names_of_a_hostile_hub() -> None:
    """Only what could have lain in the tree is a version."""
    hub = MemoryHub(lambda: 0)
    remote: Remote = HostileRemote(hub)
    for directory in (TRASH_DIR, f"{TRASH_DIR}/{FIRST}", f"{TRASH_DIR}/{FIRST}/d"):
        hub.make_directory(directory, None)
    hub.make_file(f"{TRASH_DIR}/{FIRST}/d/good", b"good", None, None)
    versions, problems = trash._versions(remote, Side.THERE, "")
    assert (["d/good"], []) == ([one.path for one in versions], problems)


@pytest.mark.parametrize(
    "label",
    ["", ".htaccess", "20261120T093015Z", "20261120T093015Z-pc", "20261320T093015Z-pc-ab", f"{FIRST}/x", "a-b-c"],
)
def test_what_is_no_runs_label(label: str) -> None:
    """Anything may lie in a hub's trash."""
    assert run_of(label) is None


def test_labels_tell_their_run() -> None:
    """Also those of a lock that was taken away, and of nodes with dashes."""
    later = run_of("20261126T093015Z-my-pc-ab12cd34r02")
    assert Run(1795685415, "20261126T093015Z-my-pc-ab12cd34r02", "my-pc", "ab12cd34") == later
    assert Run(1795685415, "20261126T093015Z-my-pc-ab12cd34x1", "my-pc", "ab12cd34x1") == run_of(
        "20261126T093015Z-my-pc-ab12cd34x1"
    )


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured directory, the working one, and versions in the trash of either side."""
    directory, hub = tmp_path / "notes", tmp_path / "hub"
    for path, text in (
        (directory / ".sync.conf", f"nodename paris\nprotocol file\ndir {hub}\n"),
        (directory / "d" / "x", "now"),
        (directory / TRASH_DIR / SECOND / "f", "of paris"),
        (hub / TRASH_DIR / FIRST / "d" / "x", "x"),
        (hub / TRASH_DIR / FIRST / "d" / "e" / "y", "why"),
        (hub / TRASH_DIR / ".htaccess", "Require all denied\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (hub / TRASH_DIR / THIRD).mkdir()
    (hub / TRASH_DIR / THIRD / "link").symlink_to("d/x")
    monkeypatch.chdir(directory)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return directory


def listed(capsys: Captured, *arguments: str) -> list[str]:
    assert main(["trash", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return [line for line in out.splitlines() if not line.startswith("to bring")]


@pytest.mark.usefixtures("notes")
class TestTrash:
    def test_all(self, capsys: Captured) -> None:
        """A line for each version, the newest first, and the sum."""
        assert listed(capsys) == [
            "33333333  2026-11-23 09:30:15  paris  hub   3 B  link -> d/x",
            "22222222  2026-11-22 09:30:15  paris  here  8 B  f",
            "11111111  2026-11-21 09:30:15  paris  hub   3 B  d/e/y",
            "11111111  2026-11-21 09:30:15  paris  hub   1 B  d/x",
            "4 versions, 8 B here and 7 B on the hub; kept for 30 days, up to 10 % of the directory's size",
        ]

    @pytest.mark.parametrize("place", ["", "d"])
    def test_a_path(self, capsys: Captured, notes: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        """From the current directory as everywhere, and what lies below it; DIR is found around it."""
        monkeypatch.chdir(notes / place)
        lines = listed(capsys, os.path.relpath("../" * bool(place) + "d"))
        assert ["d/e/y", "d/x"] == [line.split()[-1] for line in lines[:-1]]
        assert lines[-1].startswith("2 versions, 0 B here and 4 B on the hub; ")

    def test_a_path_from_elsewhere(self, capsys: Captured, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By its whole name, or relative to a DIR that the current directory does not lie in."""
        monkeypatch.chdir(notes.parent)
        assert 1 == len({tuple(listed(capsys, *way)) for way in (["notes/d"], [str(notes / "d")], ["d", "notes"])})
        assert 3 == len(listed(capsys, "d", "notes"))

    def test_one_side(self, capsys: Captured) -> None:
        """--here leaves the hub alone, --hub the node."""
        assert ["f", "size"] == [line.split()[-1] for line in listed(capsys, "--here")]
        assert ["d/x", "d/e/y", "d/x", "size"] == [line.split()[-1] for line in listed(capsys, "--hub")]

    def test_nothing(self, capsys: Captured) -> None:
        """An empty answer is one, too."""
        assert [
            "0 versions, 0 B here and 0 B on the hub; kept for 30 days, up to 10 % of the directory's size"
        ] == listed(capsys, "nothing")

    def test_json(self, capsys: Captured) -> None:
        """One document with every field of docs/commands.md."""
        assert main(["trash", "--json", "d/x"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "schema": 1,
            "exit_status": 0,
            "versions": [
                {
                    "path": "d/x",
                    "version": "11111111",
                    "run": FIRST,
                    "when": "2026-11-21T09:30:15Z",
                    "node": "paris",
                    "side": "hub",
                    "kind": "file",
                    "size": 1,
                    "target": None,
                }
            ],
            "bytes": {"here": 0, "hub": 1},
            "retention": {"keep": True, "days": 30, "percent": 10.0, "size": None},
            "problems": [],
            "unreached": None,
        }

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("../elsewhere", "neither "),
            (".sync.state/hub", ".sync.state/hub: symsync keeps no versions of what is its own"),
        ],
    )
    def test_paths_that_can_not_be(self, capsys: Captured, path: str, expected: str) -> None:
        """Exit status 2 and one line."""
        assert main(["trash", path]) == 2
        assert capsys.readouterr().err.startswith(f"symsync: {expected}")

    def test_a_path_outside_of_dir(self, capsys: Captured, notes: Path) -> None:
        """DIR is no wish but a bound."""
        assert main(["trash", "/elsewhere", str(notes)]) == 2
        assert capsys.readouterr().err == f"symsync: /elsewhere does not lie in {notes}\n"


@pytest.mark.usefixtures("notes")
class TestRestore:
    def test_a_free_name(self, notes: Path, capsys: Captured) -> None:
        """It lies there as it did, and the trash keeps it."""
        kept = notes / TRASH_DIR / SECOND / "f"
        kept.chmod(0o640)
        os.utime(kept, ns=(10**18, 10**18 + 5))
        assert main(["restore", "f"]) == 0
        assert capsys.readouterr().out == "restored f (from here, 2026-11-22 09:30:15 by paris)\n"
        status = (notes / "f").stat()
        assert ("of paris", 0o640, 10**18 + 5) == (
            (notes / "f").read_text(),
            status.st_mode & 0o777,
            status.st_mtime_ns,
        )
        assert kept.exists()
        assert [] == [*(notes / ".sync.tmp").glob("**")]

    def test_a_taken_name(self, notes: Path, capsys: Captured) -> None:
        """What lies there goes to the trash, as the version that is told."""
        assert main(["restore", "d/x", "--from", "11111111"]) == 0
        told = capsys.readouterr().out.splitlines()
        assert "restored d/x (from the hub, 2026-11-21 09:30:15 by paris)" == told[0]
        assert told[1].startswith("1 version that lay there went to the trash, as ")
        assert "x" == (notes / "d" / "x").read_text()
        assert main(["restore", "d/x", "--from", told[1].split()[-1]]) == 0
        assert "now" == (notes / "d" / "x").read_text()

    def test_another_name(self, notes: Path) -> None:
        """--to, for a file and for a directory; what lies under the old name stays."""
        assert main(["restore", "d/x", "--to", "old/one"]) == 0
        assert main(["restore", "d", "--to", "old/all"]) == 0
        assert ["x", "x", "why", "now"] == [
            (notes / path).read_text() for path in ("old/one", "old/all/x", "old/all/e/y", "d/x")
        ]

    def test_a_link(self, notes: Path) -> None:
        """The link itself."""
        assert main(["restore", "link"]) == 0
        assert Path("d/x") == (notes / "link").readlink()

    def test_a_directory_in_the_way(self, notes: Path, capsys: Captured) -> None:
        """It is left alone, and the rest comes back: exit status 1."""
        (notes / "d" / "x").unlink()
        (notes / "d" / "x").mkdir()
        assert main(["restore", "d"]) == 1
        out, err = capsys.readouterr()
        assert out == "restored d/e/y (from the hub, 2026-11-21 09:30:15 by paris)\n"
        assert err == "problem: d/x: a directory lies there; give it another name: --to NAME\n"

    def test_a_file_on_the_way(self, notes: Path, capsys: Captured) -> None:
        """It is left alone, and the way round it is named."""
        shutil.rmtree(notes / "d")
        (notes / "d").write_text("a file now")
        assert main(["restore", "d/x"]) == 1
        assert capsys.readouterr().err == "problem: d/x: d is a file now; give it another name: --to NAME\n"
        assert (notes / "d").read_text() == "a file now"

    def test_a_link_on_the_way(self, notes: Path, tmp_path: Path, capsys: Captured) -> None:
        """Nothing is written through it."""
        (tmp_path / "outside").mkdir()
        (notes / "d" / "e").symlink_to(tmp_path / "outside")
        assert main(["restore", "d/e/y"]) == 1
        assert capsys.readouterr().err == "problem: d/e/y: d/e is a symbolic link\n"
        assert [] == list((tmp_path / "outside").iterdir())

    def test_while_another_is_at_work(self, notes: Path) -> None:
        """The directory's lock keeps runs and restorings apart."""
        settings = load(notes)
        with Folder(notes, THIRD).locked(), pytest.raises(Stopped, match="another symsync is at work"):
            trash.restore(settings, Wish("f"), Audience())

    def test_a_short_file(self, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What did not arrive whole is not put anywhere."""
        versions = trash._versions
        monkeypatch.setattr(trash, "_versions", lambda *asked: _longer(versions(*asked)))
        result = trash.restore(load(notes), Wish("f"), Audience())
        assert ([Reason.CUT], ()) == ([problem.reason for problem in result.problems], result.back)
        assert not (notes / "f").exists()

    def test_json(self, capsys: Captured) -> None:
        """One document with every field of docs/commands.md."""
        assert main(["restore", "d/x", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        (back,) = document["restored"]
        assert ("d/x", "d/x", True, "hub") == (back["path"], back["to"], back["displaced"], back["side"])
        assert ([], 8) == (document["problems"], len(document["displaced_version"]))

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["gone"], "the trash holds no version of gone; see what it holds: symsync trash"),
            (["f", "--hub"], "the trash holds no version of f; see what it holds: symsync trash"),
            (["f", "--to", "."], "--to: that is the synchronised directory itself; name a path in it"),
            (["f", "--to", ".sync.conf"], ".sync.conf: symsync keeps no versions of what is its own"),
            (["f", "--here", "--hub"], "argument --hub: not allowed with argument --here; see symsync restore --help"),
        ],
    )
    def test_what_can_not_be(self, capsys: Captured, arguments: list[str], expected: str) -> None:
        """Exit status 2 and one line; nothing is done."""
        assert main(["restore", *arguments]) == 2
        assert capsys.readouterr().err == f"symsync: {expected}\n"


def _longer(answer: tuple[list[Version], list[Problem]]) -> tuple[list[Version], list[Problem]]:
    """As if the trash held a byte more of each version."""
    versions, problems = answer
    return [
        Version(one.path, one.side, one.run, Found(one.found.path, Stamp(Kind.FILE, one.found.stamp.size + 1)))
        for one in versions
    ], problems
