"""Names of nodes, hubs, paths and conflict copies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol_values import ANY_PATHS, COMPONENTS, NODE_NAMES, PATHS
from symsync_protocol import names
from symsync_protocol.errors import UsageError


@pytest.mark.parametrize("name", ["a", "pc", "Laptop-2", "0", "-", "x" * 63])
def test_good_node_names(name: str) -> None:
    """Letters, digits and dashes, at most 63, are a name."""
    assert name == names.check_name(name, "nodename")


@pytest.mark.parametrize("name", ["", "x" * 64, "a.b", "a_b", "a b", "pc\n", "é", "٣", "a/b", "_identity"])
def test_bad_node_names(name: str) -> None:
    """Anything else is refused, and the message says where it stands."""
    with pytest.raises(UsageError, match=r"^nodename "):
        names.check_name(name, "nodename")


def test_names_are_compared_without_case() -> None:
    """Some servers can't tell the cases apart."""
    assert names.same_name("Laptop", "lAPTOP")
    assert not names.same_name("laptop", "laptop2")


@pytest.mark.parametrize(
    "path",
    [".sync.conf", ".sync-server.conf", ".sync_x", "a/.sync.state/b", "a/.sync.ignore", ".sync.ignore/x", ".sync./a"],
)
def test_reserved(path: str) -> None:
    """What begins with one of the prefixes is never synchronised, at any depth, nor is anything below it."""
    assert names.is_reserved(path)


@pytest.mark.parametrize("path", [".sync.ignore", ".sync", ".syncthing/a", "a.sync.b", "sync.conf"])
def test_not_reserved(path: str) -> None:
    """The root's ignore file travels, and so does what only looks similar."""
    assert not names.is_reserved(path)


@pytest.mark.parametrize("directory", names.OWN_DIRS)
def test_own_directories_are_reserved(directory: str) -> None:
    """What symsync keeps on the hub is not synchronised."""
    assert names.is_reserved(names.join(directory, "x"))


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "./a", "a/.", "a\0b", "\0"]
)
def test_unsafe(path: str) -> None:
    """No way out of the directory, and nothing that is two names of one thing."""
    assert not names.is_safe(path)


@pytest.mark.parametrize("path", ["a", "a/b", "...", "a..b", "..a", " ", "a\nb", "\udcff/\udc80", "C:", "a\\b"])
def test_safe(path: str) -> None:
    """Strange names are names."""
    assert names.is_safe(path)


@given(ANY_PATHS)
def test_parts_make_the_path(path: str) -> None:
    """A path is its parent and its basename, joined."""
    assert path == names.join(names.parent(path), names.basename(path)) or path.startswith("/")


@given(PATHS)
def test_ancestors_are_all_parents(path: str) -> None:
    """Going up from a path visits its ancestors, innermost first."""
    visited = []
    directory = names.parent(path)
    while directory:
        visited.append(directory)
        directory = names.parent(directory)
    assert visited[::-1] == names.ancestors(path)


@pytest.mark.parametrize(
    ("path", "number", "expected"),
    [
        ("f", 1, "f.pc"),
        ("f", 2, "f.pc.2"),
        ("a/b.txt", 1, "a/b.txt.pc"),
        ("a/b.txt", 12, "a/b.txt.pc.12"),
        (".sync.ignore", 1, "sync.ignore.pc"),
        ("a/.sync", 2, "a/sync.pc.2"),
        (".syncing", 1, ".syncing.pc"),
    ],
)
def test_copy_path(path: str, number: int, expected: str) -> None:
    """A copy lies beside the original and bears its owner's name."""
    assert expected == names.copy_path(path, "pc", number)


def test_longest_name_that_is_not_cut() -> None:
    """A name of exactly the limit stays whole, one more byte is cut to the limit."""
    assert names.copy_path("x" * 252, "pc") == "x" * 252 + ".pc"
    cut = names.copy_path("x" * 253, "pc")
    assert (len(cut), cut[:244]) == (255, "x" * 243 + "-")
    assert cut.endswith(".pc")


def test_long_names_of_one_beginning_stay_apart() -> None:
    """The digest in a cut name is that of the whole name."""
    one, other = "x" * 254 + "a", "x" * 254 + "b"
    assert names.copy_path(one, "pc") != names.copy_path(other, "pc")


@given(COMPONENTS.filter(lambda name: "/" not in name), NODE_NAMES)
def test_copies_fit(name: str, owner: str) -> None:
    """However long the name, and whatever its bytes, the copy's name fits and ends in its owner's."""
    path = names.copy_path("d/" + name * 40, owner, 3)
    raw = path.removeprefix("d/").encode("utf-8", "surrogateescape")
    assert len(raw) <= names.NAME_LIMIT
    assert path.endswith(f".{owner}.3")


@given(PATHS | st.just(names.IGNORE_FILE), NODE_NAMES)
def test_copies_can_be_seen(path: str, owner: str) -> None:
    """The copy of what is synchronised is neither reserved nor unsafe, for its absence must mean something."""
    copy = names.copy_path(path, owner)
    assert (names.is_safe(copy), names.is_reserved(copy)) == (True, False)


@given(COMPONENTS.filter(lambda name: "/" not in name and name.isprintable()))
def test_utf8_stays_utf8(name: str) -> None:
    """A cut never leaves half a character behind."""
    names.copy_path(name * 200, "pc").encode("utf-8", "strict")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ملف/文件 1.txt", "ملف/文件 1.txt"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\udcff", "\\udcff"),
        ("\u202etxt", "\\u202etxt"),
    ],
)
def test_shown(path: str, expected: str) -> None:
    """A person sees letters, and an escape for everything that could move the cursor."""
    assert expected == names.shown(path)


@given(ANY_PATHS)
def test_what_is_shown_is_harmless(path: str) -> None:
    """Nothing that is shown can break a line or fail to be printed."""
    shown = names.shown(path)
    assert shown.isprintable()
    shown.encode("utf-8", "strict")
