"""Where every failure becomes one line and an exit status: the user never sees a traceback unasked."""

import _thread
import argparse
import errno
import os
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from types import FrameType, TracebackType
from typing import Self

from symsync_protocol.errors import NodeError, Stopped, SymsyncError

_BY_SIGNAL = 128
"""Added to a signal's number it is the exit status of what that signal ended, as shells have it."""

_ENDING = ("SIGTERM", "SIGHUP")
"""Signals besides Ctrl-C's that end a run in the same clean way, by name: not every system has them."""

READER_GONE = 141
"""128 + SIGPIPE: help or a demonstration that nobody reads any more. A run goes on to its end."""

BUG = 70
"""EX_SOFTWARE of sysexits.h: not to be taken for a run that left something to do."""

_NO_BUG = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENFILE)
"""What this computer runs out of, also where an error names no path."""

_MOMENT = 0.01
"""Seconds."""


class Guard:
    """`with Guard(...) as guard:` runs the body and leaves in `guard.status` what it came to."""

    def __init__(self, program: str) -> None:
        self.status = 0
        self._program = program
        self._debug = False
        self._json = False
        self._signal = signal.SIGINT
        """Which one a KeyboardInterrupt stands for."""
        self._handlers = ExitStack()

    def heed(self, arguments: argparse.Namespace) -> argparse.Namespace:
        """Show failures as `--debug` and `--json` in `arguments`, which are returned, ask for."""
        self._debug = getattr(arguments, "debug", False)
        self._json = getattr(arguments, "json", False)
        return arguments

    def __enter__(self) -> Self:
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable
        # Python hears signals in its main thread only.
        names = _ENDING if threading.current_thread() is threading.main_thread() else ()
        for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):  # ignored: as with nohup
                self._handlers.callback(signal.signal, number, before)
                signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        sys.unraisablehook = self._hook
        self._handlers.close()
        try:
            show("")
        except (BrokenPipeError, SymsyncError) as unwritten:
            # argparse exits behind its help; an error of the system that names no file may be this one.
            if error is None or isinstance(error, SystemExit) or getattr(error, "filename", "") is None:
                error = unwritten
        if isinstance(error, OSError) and (isinstance(error.filename, str | bytes) or error.errno in _NO_BUG):
            self._trace(error)
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            error = NodeError(f"{where}{error.strerror}; nothing is lost: mend this, and run again")
        match error:
            case SymsyncError():
                self.status = error.exit_status
                self._say(_line(error))
                if self._json:
                    self._tell(error)
            case KeyboardInterrupt():
                self.status = _BY_SIGNAL + self._signal
                what = "interrupted" if self._signal is signal.SIGINT else f"ended by {self._signal.name}"
                self._say(f"{what}; nothing is lost, the next run goes on from here")
            case BrokenPipeError():
                self.status = READER_GONE
            case Exception():
                self.status = BUG
                self._trace(error)
                self._say(
                    f"a bug in symsync: {type(error).__name__}: {error}; nothing is lost. Please report it with the "
                    "traceback that --debug shows"
                )
            case _:
                return False
        return True

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)
        raise KeyboardInterrupt

    def _unraisable(self, ignored: "sys.UnraisableHookArgs") -> None:
        """Ctrl-C that met a finaliser, where Python would drop it with a traceback, comes again in a moment, and so
        does a signal that counts as it."""
        if ignored.exc_type is KeyboardInterrupt:
            # At once it would hit this very function.
            threading.Timer(_MOMENT, _thread.interrupt_main, [self._signal]).start()
        else:
            self._hook(ignored)

    def _say(self, text: str) -> None:
        from symsync_protocol.names import shown

        self._write(f"{self._program}: {shown(text)}\n")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # there is nobody to tell it to
            from symsync.report.screen import abandon

            abandon(sys.stderr)

    def _tell(self, error: SymsyncError) -> None:
        """The document of a run that failed. That it can't be written is not worth a second message."""
        from symsync.report import Screen, of_error
        from symsync.report.screen import Unwritten

        with suppress(Unwritten):
            Screen().document(of_error(error))

    def _trace(self, error: Exception) -> None:
        if self._debug:
            import traceback

            self._write("".join(traceback.format_exception(error)))


def show(text: str) -> None:
    """Print what was asked for in place of a run. Raises BrokenPipeError, or Unwritten."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        from symsync.report.screen import Unwritten, abandon

        abandon(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise Unwritten(error) from error


def _line(error: SymsyncError) -> str:
    if isinstance(error, Stopped) and error.allow and f"--allow {error.allow}" not in str(error):
        return f"{error}. If it is meant: --allow {error.allow}"
    return str(error)
