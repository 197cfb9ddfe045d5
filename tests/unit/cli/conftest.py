"""What the tests of the command line share: a stand-in for `symsync.session`, and places to run in."""

from dataclasses import replace
from pathlib import Path

import pytest

from symsync import session
from symsync.events import Audience, Result
from symsync.remotes import Conversation
from symsync.session import Meeting
from symsync.settings import Settings

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
