"""The progress bar: bytes, files, rate and time left, gone when the run ends. Imported only for a terminal: rich is
not cheap."""

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class Bar:
    """One bar on standard error. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[arrived]}/{task.fields[files]} files"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            # Standard output may be a file; our own lines come through `above`.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None, arrived=0, files=0)
        self._arrived = 0

    def start(self) -> None:
        self._progress.start()

    def phase(self, text: str) -> None:
        """Say what the run is doing."""
        self._progress.update(self._task, description=text)

    def plan(self, files: int, size: int) -> None:
        """So many files and bytes are to come."""
        self._progress.update(self._task, total=size, files=files)

    def transferred(self, size: int) -> None:
        """So many more bytes went over the wire."""
        self._progress.advance(self._task, size)

    def arrived(self) -> None:
        """One more file is across."""
        self._arrived += 1
        self._progress.update(self._task, arrived=self._arrived)

    def above(self, text: str) -> None:
        """A line of text, with SGR colours or none, above the bar."""
        self._console.print(Text.from_ansi(text), soft_wrap=True, highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()
