"""Names: of nodes and hubs, of paths, of what symsync keeps for itself, and of conflict copies."""

import hashlib
import re

from symsync_protocol.errors import UsageError

STATE_DIR = ".sync.state"
LOCK_DIR = ".sync.lock"
TEMPORARY_DIR = ".sync.tmp"
TRASH_DIR = ".sync.trash"
OWN_DIRS = (STATE_DIR, LOCK_DIR, TEMPORARY_DIR, TRASH_DIR)
"""What symsync keeps in a directory that takes part, found by name and never by listing."""

PART_PREFIX = "part-"
"""In TEMPORARY_DIR: begins the name of a large file on its way; the rest tells which content it is the beginning of."""

IGNORE_FILE = ".sync.ignore"
"""At the root only: the one reserved name that travels."""

IDENTITY_FILE = "_identity"
"""In STATE_DIR; the underscore can't occur in a node's name."""

LINKS_FILE = "_links"
"""In a hub's STATE_DIR: the symbolic links of a hub that can't hold any."""
RUN_LOCK_FILE = "_lock"
"""In a node's STATE_DIR: locked while a run is at work in the directory."""

RESERVED_PREFIXES = (".sync.", ".sync_", ".sync-")
NAME_LIMIT = 255
"""Bytes in one component of a path on nearly every file system (POSIX NAME_MAX)."""

_NODE_NAME = re.compile(r"[A-Za-z0-9-]{1,63}")


def check_name(name: str, what: str) -> str:
    """Return `name` if it may name a node or hub, else raise UsageError. `what` says where it stands ("nodename")."""
    if not _NODE_NAME.fullmatch(name):
        raise UsageError(f"{what} {name!r}: only letters, digits and dashes are allowed, at most 63 of them")
    return name


def same_name(one: str, other: str) -> bool:
    """Names are compared without case, for some servers can't tell the cases apart."""
    return one.lower() == other.lower()


def is_reserved(path: str) -> bool:
    """Whether symsync never synchronises `path`, or anything below it: other hubs' configurations hold passwords."""
    if path == IGNORE_FILE:
        return False
    # Without case: on a server that can't tell the cases apart, .SYNC.STATE is our own folder.
    return any(part.startswith(RESERVED_PREFIXES) for part in path.lower().split("/"))


def is_safe(path: str) -> bool:
    """Whether a path that came from the other side may be used: relative, no `..`, nothing empty, no NUL."""
    return (
        bool(path)
        and "\0" not in path
        and not path.startswith("/")
        and all(part not in ("", ".", "..") for part in path.split("/"))
    )


def parent(path: str) -> str:
    """The directory that holds `path`; "" is the root."""
    return path.rpartition("/")[0]


def basename(path: str) -> str:
    """The last component of `path`."""
    return path.rpartition("/")[2]


def join(directory: str, name: str) -> str:
    """`name` in `directory`, where "" is the root."""
    return f"{directory}/{name}" if directory else name


def ancestors(path: str) -> list[str]:
    """The directories above `path`, outermost first, without the root."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def copy_path(path: str, owner: str, number: int = 1) -> str:
    """Where `owner`'s version of `path` lies beside the other side's: `f.OWNER`, then `f.OWNER.2`, `f.OWNER.3`, ...

    A name that would be longer than `NAME_LIMIT` bytes is cut and carries eight digits of its digest instead. One that
    would be reserved (that of a copy of `.sync.ignore`) loses its dot, for nobody would see such a copy in a listing.
    """
    directory, name = parent(path), basename(path)
    suffix = f".{owner}" if number == 1 else f".{owner}.{number}"
    if is_reserved(name + suffix):
        name = name.removeprefix(".")
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) + len(suffix) > NAME_LIMIT:
        mark = hashlib.sha256(raw).hexdigest()[:8]
        keep = raw[: NAME_LIMIT - len(suffix) - len(mark) - 1]
        name = keep.decode("utf-8", "ignore" if _is_utf8(raw) else "surrogateescape") + "-" + mark
    return join(directory, name + suffix)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shown(path: str) -> str:
    """`path` as it may be shown to a person: nothing in it can move a terminal's cursor or break a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path)
