"""The terminal, or what stands in its place: lines, their colours, and a reader who went away."""

import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from symsync_protocol.errors import SymsyncError

if TYPE_CHECKING:
    from symsync.report.progress import Bar

RED, YELLOW, GREEN, FAINT = 31, 33, 32, 2
"""SGR parameters (ECMA-48, 8.3.117)."""


class Unwritten(SymsyncError):
    """What was asked for, a document or a text, could not be written to standard output; all else was done."""

    exit_status = 74
    """EX_IOERR of sysexits.h."""

    def __init__(self, error: OSError) -> None:
        super().__init__(_refusal(error))


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
        error = self._write(self.out, text, colour)
        if error is not None:
            self.complaint(f"note: {_refusal(error)}; the run goes on")

    def document(self, text: str) -> None:
        """All that a program will read, on standard output. Raises Unwritten where that takes it not whole."""
        error = self._write(self.out, text, None)
        if error is not None:
            raise Unwritten(error)

    def complaint(self, text: str, colour: int | None = None) -> None:
        """One line on standard error, as far as that can be written."""
        self._write(self.err, text, colour)

    def _write(self, stream: TextIO, text: str, colour: int | None) -> OSError | None:
        """What the stream answered, for the first time and unless it was that its reader has left: none of that may
        stop a run half-way."""
        if colour is not None and has_colours(stream):
            text = f"\x1b[{colour}m{text}\x1b[0m"
        with self._lock:
            if stream in self._deserted:
                return None
            try:
                if self.bar is not None and stream.isatty():
                    self.bar.above(text)
                else:
                    stream.write(text + "\n")
                    stream.flush()
            except OSError as error:
                self._deserted.append(stream)
                abandon(stream)
                return None if isinstance(error, BrokenPipeError) else error
        return None


def abandon(stream: TextIO) -> None:
    """Let what is still to be written to a stream that takes no more, at the latest when Python ends, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _refusal(error: OSError) -> str:
    return f"standard output can't be written: {error.strerror}"


def has_colours(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose user wants colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
