"""Names on the wire and in states are UTF-8, and those on disk are their bytes, whatever the user's locale says.

Python turns the bytes of names, arguments and the environment into text by the locale's encoding. In another one than
UTF-8 every name beyond ASCII would be another name on the hub, so the programs run in Python's UTF-8 mode.
"""

import os
import sys

_MODE = ["-X", "utf8"]


def ensure_utf8() -> None:
    """Begin this program anew in UTF-8 mode where names would be read in another encoding; returns where all is well.
    What is typed and shown keeps the encoding of the terminal."""
    if sys.getfilesystemencoding() == "utf-8" or sys.orig_argv[1:3] == _MODE:
        return
    stream = sys.stdout or sys.stdin or sys.stderr
    if stream is not None:
        os.environ.setdefault("PYTHONIOENCODING", f"{stream.encoding}:{stream.errors}")
    os.execv(sys.executable, [sys.executable, *_MODE, *sys.orig_argv[1:]])
