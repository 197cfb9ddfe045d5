"""`symsync demo` shows what it promises, and says when anything is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from symsync.cli import main
from symsync_hub import RunningHub
from unit.cli.conftest import Sessions

Captured = pytest.CaptureFixture[str]


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
