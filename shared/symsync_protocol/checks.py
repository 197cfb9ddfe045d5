"""Checks: what may stand in a field of a state, for the values of a whole column at once.

The same checks stand before writing and after reading, so that nothing is written which could not be read again. A
hundred thousand entries have two million fields: by columns, types and ranges cost one look at the set of the types and
one at the extremes, not a call for each field.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from symsync_protocol.errors import UsageError
from symsync_protocol.names import check_name, is_reserved, is_safe
from symsync_protocol.packing import SHORT_LIMIT, TEXT_LIMIT, Malformed
from symsync_protocol.stamps import SECOND, Kind
from symsync_protocol.state import DIGEST_SIZE

Check = Callable[[Sequence[Any]], None]
"""Raises Malformed unless all of these values may stand in the column."""

ID_SIZE = 16
"""Bytes of an id."""
NUMBER_LIMIT = 2**63 - 1
MODE_LIMIT = 0o7777
TICK_LIMIT = 7 * 86_400 * SECOND
"""The coarsest listings tell a day."""

KINDS = {kind.value: kind for kind in Kind}

_ODD_COMPONENTS = ("\0\0", "\0.\0", "\0..\0", "\0.sync")
"""One of these is in a list of components between NULs if any of them is empty, `.`, `..` or perhaps reserved."""


def check_types(values: Iterable[object], *allowed: type) -> None:
    """Exactly these types: True is no number here."""
    if not set(map(type, values)) <= set(allowed):
        raise Malformed("a field has the wrong type")


def whole(low: int, high: int) -> Check:
    """Whole numbers from `low` to `high`."""

    def check(values: Sequence[Any]) -> None:
        check_types(values, int)
        if values and not low <= min(values) <= max(values) <= high:
            raise Malformed("a number is out of range")

    return check


def optional(check: Check) -> Check:
    """None, or what `check` allows."""

    def check_present(values: Sequence[Any]) -> None:
        check([value for value in values if value is not None] if None in values else values)

    return check_present


def paths(values: Sequence[Any]) -> None:
    """Paths that may be used and are synchronised (`names.is_safe`, not `names.is_reserved`)."""
    check_types(values, str)
    _check_length(values)
    # A glance at all of them at once, as components between NULs; only if something looks odd, one by one.
    joined = "\0".join(("", *values, ""))
    components = joined.replace("/", "\0").lower()
    if joined.count("\0") == len(values) + 1 and not any(odd in components for odd in _ODD_COMPONENTS):
        return
    if not all(is_safe(path) and not is_reserved(path) for path in values):
        raise Malformed("a path leads out of the directory or is reserved")


def strings(values: Sequence[Any]) -> None:
    """Any text without NUL."""
    check_types(values, str)
    _check_length(values)
    if "\0" in "".join(values):
        raise Malformed("a text holds a NUL")


def _check_length(values: Sequence[str]) -> None:
    if max(map(len, values), default=0) > TEXT_LIMIT:
        raise Malformed("a text is too long")


def digests(values: Sequence[Any]) -> None:
    """SHA-256, or nothing."""
    check_types(values, bytes)
    if not set(map(len, values)) <= {0, DIGEST_SIZE}:
        raise Malformed("a digest has the wrong length")


def identifiers(values: Sequence[Any]) -> None:
    """Random ids: of directories and of generations."""
    check_types(values, bytes)
    if not set(map(len, values)) <= {ID_SIZE}:
        raise Malformed("an id has the wrong length")


def kinds(values: Sequence[Any]) -> None:
    """`Kind`s, or their letters."""
    check_types(values, str, Kind)
    if not set(values) <= KINDS.keys():
        raise Malformed("an entry is of an unknown kind")


def hashes(values: Sequence[Any]) -> None:
    """Any bytes, not many."""
    check_types(values, bytes)
    if max(map(len, values), default=0) > SHORT_LIMIT:
        raise Malformed("a hash is too long")


def flags(values: Sequence[Any]) -> None:
    """True or False."""
    check_types(values, bool)


def node_names(values: Sequence[Any]) -> None:
    """Names of nodes and hubs."""
    check_types(values, str)
    for name in set(values):
        try:
            check_name(name, "name")
        except UsageError:
            raise Malformed("a name has characters that no name may have") from None


def authors(values: Sequence[Any]) -> None:
    """Names, or nothing."""
    check_types(values, str)
    node_names([*{*values} - {""}])
