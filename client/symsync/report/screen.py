"""The terminal, or what stands in its place: lines, their colours, and a reader who went away."""

import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from symsync.report.progress import Bar

RED, YELLOW, GREEN, FAINT = 31, 33, 32, 2
"""SGR parameters (ECMA-48, 8.3.117)."""


class Screen:
    """Writes whole lines to standard output and standard error, from any thread."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.bar: Bar | None = None
        """Where there is one, lines for its terminal are written above it."""
        self._lock = threading.Lock()
        self._deserted: list[TextIO] = []

    def line(self, text: str, colour: int | None = None) -> None:
        """One line of the result, on standard output."""
        self._write(self.out, text, colour)

    def complaint(self, text: str, colour: int | None = None) -> None:
        """One line on standard error."""
        self._write(self.err, text, colour)

    def _write(self, stream: TextIO, text: str, colour: int | None) -> None:
        if colour is not None and has_colours(stream):
            text = f"\x1b[{colour}m{text}\x1b[0m"
        with self._lock:
            if self.bar is not None and stream.isatty():
                self.bar.above(text)
                return
            if stream in self._deserted:
                return
            try:
                stream.write(text + "\n")
                stream.flush()
            except BrokenPipeError:
                # Whoever read along (`| head`) has seen enough; that must not stop a run half-way.
                self._deserted.append(stream)
                abandon(stream)


def abandon(stream: TextIO) -> None:
    """Let what is still to be written to a stream without a reader, at the latest when Python ends, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def has_colours(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose user wants colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
