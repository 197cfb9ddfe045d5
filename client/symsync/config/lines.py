"""The ancestor's syntax: `key value`, blanks or tabs between; lines that begin with `#` and empty ones are skipped.

No quotes and no inline comments, so that a password may hold `#`, `@`, and blanks in its middle.
"""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from symsync_protocol.errors import UsageError
from symsync_protocol.names import shown

Value = TypeVar("Value")
Default = TypeVar("Default")


@dataclass(frozen=True, slots=True)
class Line:
    """One setting as it was written."""

    number: int
    key: str
    """As written: perhaps an alias."""
    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """All settings of one file by their proper keys."""

    file: Path
    by_key: Mapping[str, Line]
    readable_by_others: bool = False
    """By the group or everybody, as the file's mode tells."""

    def __contains__(self, key: str) -> bool:
        return key in self.by_key

    def get(self, key: str, parse: Callable[[str], Value], default: Default) -> Value | Default:
        """The value of `key`, `default` where the file does not give it. Raises UsageError with the line's number."""
        return self._parsed(key, parse) if key in self else default

    def need(self, key: str, parse: Callable[[str], Value], meaning: str) -> Value:
        """The value of `key`, which must be there; `meaning` explains it to who left it out."""
        if key not in self:
            raise UsageError(f"{shown(str(self.file))}: the key {key} is missing ({meaning}); add a line: {key} VALUE")
        return self._parsed(key, parse)

    def wrong(self, key: str, what: str) -> UsageError:
        """The error that `what` is wrong with the line of `key`."""
        return UsageError(f"{shown(str(self.file))}, line {self.by_key[key].number}: {what}")

    def _parsed(self, key: str, parse: Callable[[str], Value]) -> Value:
        line = self.by_key[key]
        try:
            return parse(line.text)
        except ValueError as error:
            raise self.wrong(key, f"{line.key} {shown(line.text)}: allowed is {error}") from None
        except UsageError as error:
            raise self.wrong(key, str(error)) from None


def read_lines(file: Path, aliases: Mapping[str, str]) -> Lines:
    """All settings in `file`; `aliases` gives the proper key for every word allowed.

    Raises UsageError for a file that can't be read, an unknown key, one without a value, and one given twice.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read()
            mode = os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise UsageError(f"{shown(str(file))}: can't be read: {error.strerror}") from error
    by_key: dict[str, Line] = {}
    lines = Lines(file, by_key, os.name == "posix" and bool(mode & (stat.S_IRGRP | stat.S_IROTH)))
    # Names of directories on the server need not be UTF-8; an editor may have left a byte order mark.
    for number, written in enumerate(raw.decode("utf-8-sig", "surrogateescape").split("\n"), start=1):
        stripped = written.strip()
        if not stripped or stripped.startswith("#"):
            continue
        word, *rest = stripped.split(maxsplit=1)
        where = f"{shown(str(file))}, line {number}"
        try:
            key = proper(word, aliases)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        if not rest:
            raise UsageError(f"{where}: {word} has no value; write: {word} VALUE")
        if key in by_key:
            first = by_key[key]
            raise UsageError(f"{where}: {word} was given in line {first.number} ({first.key}); keep one of them")
        by_key[key] = Line(number, word, rest[0])
    return lines


def write_lines(file: Path, settings: Mapping[str, str]) -> None:
    """Make `file`, which must not exist, for its owner alone. Raises UsageError."""
    for key, text in settings.items():
        if text != text.strip() or not text or "\n" in text:
            raise UsageError(f"{key} {shown(text)!r}: can't be written to {file.name}, which trims blanks at both ends")
    head = "# Made by symsync init; docs/configuration.md explains every key.\n"
    body = head + "".join(f"{key}\t{text}\n" for key, text in settings.items())
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "wb") as opened:
            opened.write(body.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise UsageError(f"{shown(str(file))}: can't be written: {error.strerror}") from error


def proper(word: str, aliases: Mapping[str, str]) -> str:
    """The key that `word` stands for. Raises UsageError with the nearest one that there is."""
    if word not in aliases:
        raise UsageError(f"unknown key {shown(word)}; {_meant(word, list(aliases))}")
    return aliases[word]


def _meant(word: str, allowed: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.lower(), allowed, n=1)
    return f"did you mean {near[0]}?" if near else "allowed are " + ", ".join(sorted(allowed))
