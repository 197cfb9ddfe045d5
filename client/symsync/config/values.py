"""What a key's value may be: each function turns text into the value, or raises ValueError with what is allowed."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from symsync.core.safety import MaxDelete

Choice = TypeVar("Choice", bound=StrEnum)

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:i?B)?", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?([smh]?)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_OCTAL = re.compile(r"(?:0o)?([0-7]{1,5})")
_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){31}")
_SHA256_SSH = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")

MODE_BITS = 0o7777


def text(value: str) -> str:
    """Any text, as it stands."""
    return value


def yes_no(value: str) -> bool:
    """`yes` or `no`."""
    if value not in ("yes", "no"):
        raise ValueError("yes or no")
    return value == "yes"


def one_of(choices: type[Choice]) -> Callable[[str], Choice]:
    """One of the words of `choices`."""

    def parse(value: str) -> Choice:
        try:
            return choices(value)
        except ValueError:
            raise ValueError("one of " + ", ".join(choices)) from None

    return parse


def number(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number within both bounds."""

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not lowest <= int(value) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(value)

    return parse


def size(value: str) -> int:
    """Bytes: `500`, `64K`, `1.5M`, `2G`; K is 1024."""
    found = _SIZE.fullmatch(value)
    if not found:
        raise ValueError("a number of bytes such as 500000, 64K, 1.5M or 2G")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def rate(value: str) -> int | None:
    """Bytes per second as `size` reads them, or `none`."""
    if value == "none":
        return None
    try:
        limit = size(value)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ValueError("bytes per second such as 500000, 64K or 1.5M, or none")
    return limit


def duration(value: str) -> float:
    """Seconds: `5`, `30s`, `5m`, `1h`."""
    found = _DURATION.fullmatch(value)
    if not found:
        raise ValueError("a time such as 5s, 30s, 5m or 1h")
    return float(found[1]) * _SECONDS[found[2]]


def percentage(value: str) -> float:
    """`10%` or `10 %`."""
    found = _PERCENT.fullmatch(value)
    if not found or float(found[1]) > 100:
        raise ValueError("a percentage from 0% to 100%")
    return float(found[1])


def permission_bits(value: str) -> int:
    """Permission bits in octal: `644`, `0755`."""
    found = _OCTAL.fullmatch(value)
    if not found or int(found[1], 8) > MODE_BITS:
        raise ValueError("permission bits in octal, such as 644 or 0755")
    return int(found[1], 8)


def max_delete(value: str) -> MaxDelete:
    """A count of files or a percentage. What a user wrote counts as written: it has no floor."""
    if value.isascii() and value.isdigit():
        return MaxDelete(count=int(value))
    try:
        return MaxDelete(percent=percentage(value))
    except ValueError:
        raise ValueError("a number of files, or a percentage such as 25%") from None


def trash_size(value: str) -> float | int:
    """A percentage of the tree's size (a float) or a number of bytes (an int)."""
    for parse in (percentage, size):
        try:
            return parse(value)
        except ValueError:
            continue
    raise ValueError("a percentage such as 10%, or a size such as 500M")


def tls_fingerprint(value: str) -> str:
    """A certificate's SHA-256 in hex, colons allowed."""
    if not _SHA256_HEX.fullmatch(value):
        raise ValueError("the SHA-256 of the server's certificate: 64 hexadecimal digits, colons allowed")
    return value


def host_key(value: str) -> str:
    """An SSH host key's fingerprint as `ssh-keygen -l` shows it."""
    if not _SHA256_SSH.fullmatch(value):
        raise ValueError("a fingerprint as ssh-keygen -l shows it: SHA256:...")
    return value
