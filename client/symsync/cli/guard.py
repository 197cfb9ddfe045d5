"""Where every failure becomes one line and an exit status: the user never sees a traceback unasked."""

import _thread
import argparse
import sys
import threading
from types import TracebackType
from typing import Self

from symsync_protocol.errors import Stopped, SymsyncError

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

READER_GONE = 141
"""128 + SIGPIPE, likewise: help or a demonstration that nobody reads any more. A run goes on to its end."""

BUG = 70
"""EX_SOFTWARE of sysexits.h: not to be taken for a run that left something to do."""

_MOMENT = 0.01
"""Seconds."""


class Guard:
    """`with Guard(...) as guard:` runs the body and leaves in `guard.status` what it came to."""

    def __init__(self, program: str) -> None:
        self.status = 0
        self._program = program
        self._debug = False
        self._json = False

    def heed(self, arguments: argparse.Namespace) -> argparse.Namespace:
        """Show failures as `--debug` and `--json` in `arguments`, which are returned, ask for."""
        self._debug = getattr(arguments, "debug", False)
        self._json = getattr(arguments, "json", False)
        return arguments

    def __enter__(self) -> Self:
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        sys.unraisablehook = self._hook
        if error is None:
            try:
                sys.stdout.flush()
            except BrokenPipeError as gone:
                error = gone
        match error:
            case SymsyncError():
                self.status = error.exit_status
                self._say(_line(error))
                if self._json:
                    from symsync.report import of_error

                    print(of_error(error))
            case KeyboardInterrupt():
                self.status = INTERRUPTED
                self._say("interrupted; nothing is lost, the next run goes on from here")
            case BrokenPipeError():
                from symsync.report.screen import abandon

                self.status = READER_GONE
                abandon(sys.stdout)
            case Exception():
                self.status = BUG
                if self._debug:
                    import traceback

                    traceback.print_exception(error)
                self._say(
                    f"a bug in symsync: {type(error).__name__}: {error}; nothing is lost. Please report it with the "
                    "traceback that --debug shows"
                )
            case _:
                return False
        return True

    def _unraisable(self, ignored: "sys.UnraisableHookArgs") -> None:
        """Ctrl-C that met a finaliser, where Python would drop it with a traceback, comes again in a moment."""
        if ignored.exc_type is KeyboardInterrupt:
            threading.Timer(_MOMENT, _thread.interrupt_main).start()  # at once it would hit this very function
        else:
            self._hook(ignored)

    def _say(self, text: str) -> None:
        from symsync_protocol.names import shown

        print(f"{self._program}: {shown(text)}", file=sys.stderr)


def _line(error: SymsyncError) -> str:
    if isinstance(error, Stopped) and error.allow and f"--allow {error.allow}" not in str(error):
        return f"{error}. If it is meant: --allow {error.allow}"
    return str(error)
