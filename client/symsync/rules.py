"""Which paths take part: reserved names, `includedots`, `allowblanks` and `.sync.ignore`."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from symsync_protocol.names import IGNORE_FILE, ancestors, basename, is_reserved

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


class Links(StrEnum):
    """What becomes of symbolic links."""

    KEEP = "keep"
    FOLLOW = "follow"
    SKIP = "skip"


class Rules:
    """What is left out of synchronisation. Several texts of `.sync.ignore` may hold at once: in a run that changes the
    file, the old one and the new one are honoured together."""

    def __init__(self, *, includedots: bool, allowblanks: bool, ignores: Sequence[str] = ()) -> None:
        self._includedots = includedots
        self._allowblanks = allowblanks
        self._specs = [spec for text in ignores if (spec := _parsed(text)) is not None]

    def excludes(self, path: str, *, directory: bool) -> bool:
        """Whether `path` is left out by its own name, given that nothing above it is."""
        if path == IGNORE_FILE:
            return False
        if is_reserved(path):
            return True
        name = basename(path)
        if name.startswith(".") and not self._includedots:
            return True
        if not self._allowblanks and any(c.isspace() for c in name):
            return True
        if not self._specs:
            return False
        probe = path + "/" if directory else path
        return any(spec.match_file(probe) for spec in self._specs)

    def excludes_wholly(self, path: str, *, directory: bool) -> bool:
        """Whether `path` is left out by its own name or by that of a directory above it."""
        return any(self.excludes(up, directory=True) for up in ancestors(path)) or self.excludes(
            path, directory=directory
        )


def _parsed(text: str) -> "GitIgnoreSpec | None":
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return _spec(lines) if lines else None


def _spec(lines: Iterable[str]) -> "GitIgnoreSpec":
    # 33 ms of imports that only who has an ignore file pays.
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)
