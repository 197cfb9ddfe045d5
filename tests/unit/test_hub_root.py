"""A user stays in his directory, whatever links lie in it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from symsync_hub.root import Root

Operation = Callable[[Root, str], object]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a file, a directory, and a secret beside it."""
    home = tmp_path / "home"
    (home / "dir").mkdir(parents=True)
    (home / "dir" / "file").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return home


def read(root: Root, path: str) -> bytes:
    """All bytes of a file."""
    with os.fdopen(root.open(path, os.O_RDONLY), "rb") as file:
        return file.read()


@pytest.mark.parametrize("link", ["../../outside", "/etc", "..", "../dir/../../outside", "/"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda root, path: root.open(path + "/new", os.O_WRONLY | os.O_CREAT),
        lambda root, path: root.entry(path + "/secret"),
        lambda root, path: root.make_directory(path + "/new"),
        lambda root, path: root.remove_file(path + "/secret"),
        lambda root, path: root.rename("/dir/file", path + "/file"),
        lambda root, path: root.rename(path + "/secret", "/dir/stolen"),
        lambda root, path: root.make_link("x", path + "/new"),
        lambda root, path: root.names(path),
        lambda root, path: list(root.entries(path)),
        lambda root, path: root.check_directory(path),
        lambda root, path: root.status(path),
        lambda root, path: root.set_mtime(path, 0),
        lambda root, path: root.rename_to_free_name("/dir/file", path + "/file"),
        lambda root, path: root.resolved(path),
        lambda root, path: root.space(path),
        lambda root, path: root.set_mode(path, 0o777),
    ],
)
def test_link_that_leads_out_is_refused(home: Path, operation: Operation, link: str) -> None:
    """No operation goes through a link that leads out of the home, be it relative or absolute."""
    (home / "dir" / "out").symlink_to("../.." if link == ".." else link)
    with pytest.raises(PermissionError):
        operation(Root(home), "/dir/out")
    assert b"inside" == (home / "dir" / "file").read_bytes()
    assert ["secret"] == os.listdir(home.parent / "outside")


def test_link_that_stays_inside_is_followed(home: Path) -> None:
    """Relative links and absolute ones that name the home lead where they say."""
    (home / "up").symlink_to("dir/../dir")
    (home / "absolute").symlink_to(home / "up")
    (home / "to-file").symlink_to("absolute/file")
    assert b"inside" == read(Root(home), "/absolute/file")
    assert b"inside" == read(Root(home), "/to-file")


def test_dots_in_a_path_do_not_lead_out(home: Path) -> None:
    """`..` at the top of the home is refused, below it is as on any disk."""
    assert b"inside" == read(Root(home), "/dir/../dir/file")
    with pytest.raises(PermissionError):
        Root(home).status("/../outside/secret")


def test_links_in_a_circle_end(home: Path) -> None:
    """Two links that point at each other are an error, not an endless walk."""
    (home / "one").symlink_to("two")
    (home / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        Root(home).status("/one")


def test_dangling_link_is_written_through_inside_only(home: Path) -> None:
    """Writing to a link makes its target where that lies inside."""
    (home / "soon").symlink_to("dir/new")
    os.close(Root(home).open("/soon", os.O_WRONLY | os.O_CREAT))
    assert (home / "dir" / "new").is_file()
    (home / "never").symlink_to("../outside/new")
    with pytest.raises(PermissionError):
        Root(home).open("/never", os.O_WRONLY | os.O_CREAT)


def test_links_themselves_are_listed_removed_and_renamed(home: Path) -> None:
    """A listing shows a link as one with its target; removing and renaming leave the target alone."""
    (home / "out").symlink_to("../outside/secret")
    root = Root(home)
    assert "../outside/secret" == root.entry("/out").target
    assert {"dir": None, "out": "../outside/secret"} == {entry.name: entry.target for entry in root.entries("/")}
    root.rename("/out", "/dir/moved")
    root.remove_file("/dir/moved")
    assert b"secret" == (home.parent / "outside" / "secret").read_bytes()


def test_fifo_is_not_waited_for(home: Path) -> None:
    """Opening a fifo is refused at once, for nobody may ever come to its other end."""
    os.mkfifo(home / "pipe")
    with pytest.raises(PermissionError):
        Root(home).open("/pipe", os.O_RDONLY)


def test_only_permission_bits_are_set(home: Path) -> None:
    """A set-user-id bit would lend the hub's rights to others; a file without any bits can still be changed."""
    Root(home).set_mode("/dir/file", 0o4000)
    Root(home).set_mode("/dir/file", 0o4755)
    assert 0o755 == stat.S_IMODE((home / "dir" / "file").stat().st_mode)


def test_no_descriptor_is_left_open(home: Path) -> None:
    """A thousand refused and granted operations leave as many descriptors as there were."""
    (home / "out").symlink_to("../outside")
    root = Root(home)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with pytest.raises(PermissionError):
            root.status("/out/secret")
        root.status("/dir/file")
        list(root.entries("/dir"))
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=["renameat2", "without it"])
def renaming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's own call, and as where there is none."""
    if request.param == "without it":
        monkeypatch.setattr("symsync_hub.renaming._system_call", lambda: None)


@pytest.mark.usefixtures("renaming")
def test_rename_to_a_free_name_replaces_nothing(home: Path) -> None:
    """Not even a dangling link or an empty directory; what is moved is whole."""
    root = Root(home)
    (home / "empty").mkdir()
    (home / "dangling").symlink_to("nowhere")
    for taken in ("/empty", "/dangling", "/dir/file"):
        for old in ("/dir/file", "/dir", "/dangling"):
            with pytest.raises(FileExistsError):
                root.rename_to_free_name(old, taken)
    root.rename_to_free_name("/dir/file", "/moved")
    root.rename_to_free_name("/dir", "/other")
    root.rename_to_free_name("/dangling", "/other/link")
    assert ["empty", "moved", "other"] == sorted(os.listdir(home))
    assert (Path("nowhere"), b"inside") == ((home / "other" / "link").readlink(), (home / "moved").read_bytes())
    with pytest.raises(FileNotFoundError):
        root.rename_to_free_name("/none", "/new")


def test_links_resolve_to_where_they_lead(home: Path) -> None:
    """The last component may be missing, any other not."""
    (home / "link").symlink_to("dir")
    (home / "dir" / "up").symlink_to(home)
    found = [Root(home).resolved(path) for path in ("/", "/link/file", "/dir/up/link", "/link/none")]
    assert ["/", "/dir/file", "/dir", "/dir/none"] == found
    with pytest.raises(FileNotFoundError):
        Root(home).resolved("/none/below")


def test_space_is_that_of_the_file_system(home: Path) -> None:
    """Of files, directories, and what links lead to."""
    (home / "link").symlink_to("dir/file")
    sizes = {Root(home).space(path).f_blocks for path in ("/", "/dir/file", "/link")}
    assert {os.statvfs(home).f_blocks} == sizes
