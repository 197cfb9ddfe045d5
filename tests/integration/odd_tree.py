"""Everything that a directory can hold: odd names, links, empty directories, permission bits and times.

A name that holds one of these was trouble for some program once: for listings that are read by columns or by lines, for
shells, for other systems, for servers that know better.
"""

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from stat import S_ISDIR, S_ISLNK

from integration.scenarios import DIRECTORY, Tree
from symsync_protocol.names import is_reserved

SECOND = 1_000_000_000

FOREIGN = (
    *("سلام دنیا", "中文 文件", "😀.txt", "👩‍👩‍👧‍👦", "naïve"),
    *("e\u0301 apart", "\u00e9 whole", "\u202eright to left", "\u200b", "a\u00a0b"),
)
BLANKS = (" ", " before", "behind ", "  both  ", "in  the   middle", "tab\there", "\tbefore")
DOTS_AND_DASHES = (".hidden", "..two", "...", "behind.", "-", "-rf", "--", "-la behind", ".-", "- ")
SIGNS = (
    *("*", "a*b", "what?", '"so"', '"', "'", "<in>", ">", "|", "a|b", "a:b", ":", "\\", "back\\slash", "behind\\"),
    *("$HOME", "`id`", ";ls", "&", "#", "%41", "%", "~", "~user", "[abc]", "{a,b}", "!", "=", "@", "+", ",", "(", "^"),
)
OF_LISTINGS = (
    "226 Transfer complete",
    "-rw-r--r--   1 u g      5 Jan  1 00:00 f",
    "total 0",
    "type=file;size=0; f",
    "link -> target",
    "drwx",
)
NOT_UTF8 = tuple(os.fsdecode(raw) for raw in (b"caf\xe9", b"\xff\xfe", b"\x80", b"\xc3(", b"a\xffb", b" \xa0 "))
CONTROLS = ("bell\x07", "\x1b[31mred", "\x7f", "a\x01b", "\x85")
LINE_ENDS = ("new\nline", "return\rhere", "both\r\n", "\n")
CASES = ("Aa", "aA", "AA", "aa")
OF_WINDOWS = ("CON", "nul.txt", "a.lnk", "desktop.ini")
LONG = ("x" * 200, "سل" * 50, "中" * 66 + "zz", os.fsdecode(b"\xe9" * 200), "😀" * 50, "." + "y" * 199)

NAMES = (
    *(*FOREIGN, *BLANKS, *DOTS_AND_DASHES, *SIGNS, *OF_LISTINGS, *NOT_UTF8),
    *(*CONTROLS, *LINE_ENDS, *CASES, *OF_WINDOWS, *LONG),
)

TARGETS = (
    *("Aa", "odd/Aa", "../odd", ".", "..", "/", "/etc/hostname", "/nonexistent/dangling", "dangling", " ", "a\nb"),
    *("itself", "-", "\\", "link -> target", "سلام", os.fsdecode(b"caf\xe9"), "far/" * 200 + "away", "../../../.."),
)

# Permission bits do not bind the superuser; others could not read what they made themselves.
FILE_MODES = (0o644, 0o600, 0o755, 0o444, 0o640, 0o666, 0o777, 0o400, 0o000 if os.geteuid() == 0 else 0o500)
DIRECTORY_MODES = (0o755, 0o700, 0o555, 0o750, 0o777)

TIMES_NS = (
    1_700_000_000 * SECOND + 123_456_789,
    0,
    1,
    SECOND - 1,
    2**31 * SECOND,
    2**32 * SECOND + 1,
    7_000_000_000 * SECOND + 999_999_999,
    1_234_567_890 * SECOND,
    -86_400 * SECOND,
)
"""In ns since 1970: exact ones, the first ones, beyond 31 and 32 bits, in the future, before 1970."""


def odd_tree(names: Sequence[str]) -> Tree:
    """A file of each of these names, each in a directory of its own name too, links and empty directories."""
    tree: Tree = {"odd": DIRECTORY, "deep": DIRECTORY, "empty": DIRECTORY, "links": DIRECTORY}
    for number, name in enumerate(names):
        tree[f"odd/{name}"] = name.encode(errors="surrogateescape") * (number % 3)
        tree[f"{'deep' if number % 2 else 'empty'}/{name}"] = DIRECTORY
        if number % 2:
            tree[f"deep/{name}/{name}"] = b"%d" % number
        if number % 5 == 0:
            tree[f"links/{name}"] = TARGETS[number // 5 % len(TARGETS)]
    tree |= {f"links/{number}": target for number, target in enumerate(TARGETS)}
    return tree


def generated_names(count: int) -> list[str]:
    """As many different names made of pieces of the odd ones, the same in every run; none longer than 200 bytes."""
    draw = random.Random(count)
    pieces = [name[:12] for name in NAMES] + list("abcXYZ. -_")
    names: dict[str, None] = {}
    while len(names) < count:
        name = "".join(draw.choices(pieces, k=draw.randint(1, 6)))
        if len(os.fsencode(name)) <= 200 and name not in (".", "..") and not is_reserved(name):
            names[name] = None
    return list(names)


def plant(root: Path, tree: Mapping[str, object]) -> None:
    """Make `tree` below `root`, with modes and times in turn."""
    file_modes, times, directory_modes = cycle(FILE_MODES), cycle(TIMES_NS), cycle(DIRECTORY_MODES)
    for path, item in tree.items():
        place = root / path
        if isinstance(item, bytes):
            place.write_bytes(item)
            place.chmod(next(file_modes))
            time = next(times)
            os.utime(place, ns=(time, time))
        elif isinstance(item, str):
            place.symlink_to(item)
        else:
            place.mkdir()
    for path, item in tree.items():
        if item is DIRECTORY:
            (root / path).chmod(next(directory_modes))


Description = tuple[int, int, bytes | str | None]


def described(root: Path) -> dict[str, Description]:
    """Of each entry its kind and bits, its time (not of directories and links) and a digest of its content."""
    entries: dict[str, Description] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if is_reserved(name):
            continue
        status = path.lstat()
        if S_ISLNK(status.st_mode):
            entries[name] = (0, 0, str(path.readlink()))
        elif S_ISDIR(status.st_mode):
            entries[name] = (status.st_mode, 0, None)
        else:
            entries[name] = (status.st_mode, status.st_mtime_ns, hashlib.sha256(path.read_bytes()).digest())
    return entries
