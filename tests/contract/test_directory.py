"""A directory as a hub keeps the contract, and nobody gets out of it by a link."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from contract.bench import TIME, Expects, Hub, Sources, floor, get, listed, make, only, put, reason, reasons
from contract.contract import RemoteContract
from symsync.core.values import Reason
from symsync.remotes.base import Attributes, Fetch, Store, Stored
from symsync.remotes.directory import DirectoryRemote
from symsync.remotes.location import Location, Protocol
from symsync_protocol.errors import HubRefused, HubUnreachable
from symsync_protocol.stamps import SECOND, Kind, Stamp

SUPERUSER = "the superuser may write everywhere" if os.geteuid() == 0 else ""


def connect(directory: Path, create: bool = False) -> DirectoryRemote:
    return DirectoryRemote.open(Location(Protocol.FILE, directory=str(directory)), create)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    directory = tmp_path / "sources"
    directory.mkdir()
    return Sources(directory)


class TestDirectory(RemoteContract):
    @pytest.fixture
    def hub(self, root: Path) -> Hub:
        return Hub(lambda: connect(root), Expects(root_may_all=SUPERUSER))


class TestOpening:
    def test_missing(self, tmp_path: Path) -> None:
        """A missing directory is refused in one line that names it, and made on request."""
        with pytest.raises(HubRefused, match=r"^.*/a/b: there is no such directory.*$"):
            connect(tmp_path / "a" / "b")
        connect(tmp_path / "a" / "b", create=True).close()
        assert (tmp_path / "a" / "b").is_dir()

    @pytest.mark.parametrize("create", [False, True])
    def test_no_directory(self, tmp_path: Path, create: bool) -> None:
        """A file is not taken for a hub, and stays what it is."""
        (tmp_path / "f").write_text("kept")
        with pytest.raises(HubRefused, match="/f: "):
            connect(tmp_path / "f", create)
        assert "kept" == (tmp_path / "f").read_text()

    def test_relative(self) -> None:
        """A relative path would mean another hub from another directory."""
        with pytest.raises(HubRefused, match="absolute path"):
            connect(Path("relative"))

    def test_root_behind_a_link(self, tmp_path: Path, root: Path, sources: Sources) -> None:
        """The root itself may be reached by a link: the user named it."""
        (tmp_path / "link").symlink_to(root)
        with connect(tmp_path / "link") as remote:
            put(remote, sources, "f")
        assert b"content" == (root / "f").read_bytes()

    def test_closed(self, root: Path) -> None:
        """A closed connection reaches nothing."""
        remote = connect(root)
        remote.close()
        with pytest.raises(HubUnreachable):
            remote.stat([""])


class TestOneWayOut:
    """`outside` lies beside the root; inside, a link leads to it."""

    @pytest.fixture
    def outside(self, tmp_path: Path, root: Path) -> Path:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "f").write_text("private")
        (root / "link").symlink_to(outside)
        (root / "to-file").symlink_to(outside / "f")
        (root / "deep").mkdir()
        (root / "deep" / "link").symlink_to("../../outside")
        return outside

    @pytest.mark.parametrize("via", ["link", "deep/link", ".."])
    def test_through_a_directory(self, root: Path, outside: Path, sources: Sources, via: str) -> None:
        """Nothing below a link or above the root is seen, read, made, moved or removed."""
        path = f"{via}/f" if via != ".." else "../outside/f"
        with connect(root) as remote:
            make(remote, "d")
            put(remote, sources, "mine")
            assert via == ".." or [None] == remote.stat([path])
            assert only(remote.listings([via if via != ".." else "../outside"])).problem is not None
            reason(only(remote.fetch([Fetch(path, sources.free())])))
            reason(only(remote.store([Store(sources.file(b"x"), f"{path}2")])))
            outcomes = [
                *remote.rename([("mine", f"{path}2"), (path, "stolen")]),
                *remote.make_directories([f"{path}2"]),
                *remote.make_links([(f"{path}2", "x")]),
                *remote.remove_files([path]),
            ]
            expected = Reason.NAME if via == ".." else Reason.ABSENT
            assert [expected] * 5 == reasons(outcomes)
            for act in (remote.write, remote.append):
                with pytest.raises(HubRefused):
                    act(path, b"x")
        assert (["f"], "private") == ([p.name for p in outside.iterdir()], (outside / "f").read_text())

    def test_through_a_file(self, root: Path, outside: Path, sources: Sources) -> None:
        """A link in the place of a file is not read and not written through."""
        with connect(root) as remote:
            assert Reason.KIND is reason(only(remote.fetch([Fetch("to-file", sources.free())])))
            assert Reason.EXISTS is reason(only(remote.store([Store(sources.file(b"x"), "to-file")])))
            for act in (remote.write, remote.append):
                with pytest.raises(HubRefused):
                    act("to-file", b"x")
            with pytest.raises(HubRefused):
                remote.read("to-file")
        assert "private" == (outside / "f").read_text()


class TestDirectoryOnly:
    def test_a_root_that_is_gone(self, root: Path) -> None:
        """A removed root is absent, not empty."""
        with connect(root) as remote:
            root.rmdir()
            assert Reason.ABSENT is reason(only(remote.listings([""])).problem)
            assert [None] == remote.stat([""])

    def test_store_overwrites_nothing(self, root: Path, sources: Sources) -> None:
        """A name that somebody took meanwhile is EXISTS, and his file stays."""
        (root / "f").write_text("somebody's")
        with connect(root) as remote:
            assert Reason.EXISTS is reason(only(remote.store([Store(sources.file(b"x"), "f")])))
        assert "somebody's" == (root / "f").read_text()

    def test_a_failed_store_leaves_nothing(self, root: Path, sources: Sources) -> None:
        """What could not be stored whole does not lie there in part."""
        with connect(root) as remote:
            reason(only(remote.store([Store(sources.free(), "f")])))
            assert {} == listed(remote)

    def test_special_files(self, root: Path, sources: Sources) -> None:
        """A fifo is shown as OTHER and neither read nor waited for."""
        os.mkfifo(root / "fifo")
        with connect(root) as remote:
            assert Kind.OTHER is listed(remote)["fifo"].kind
            assert Reason.KIND is reason(only(remote.fetch([Fetch("fifo", sources.free())])))

    def test_names_that_are_none(self, root: Path) -> None:
        """What can't be a path below the root is a NAME problem."""
        paths = ["/etc/x", "a/../x", "../x", "a//b", "./x", "nul\0", "\ud800", "x" * 256]
        with connect(root) as remote:
            assert [Reason.NAME] * len(paths) == reasons(remote.make_directories(paths))

    def test_files_of_others_are_met(self, root: Path, sources: Sources) -> None:
        """What lies there without symsync's doing is read like anything else."""
        (root / "wiki").mkdir()
        (root / "wiki" / "page").write_text("text")
        with connect(root) as remote:
            assert b"text" == get(remote, sources, "wiki/page")
            shutil.rmtree(root / "wiki")
            assert [None] == remote.stat(["wiki/page"])


class TestLesserFileSystems:
    """What a FAT stick or an odd mount can't do is learnt from its answers."""

    @pytest.mark.parametrize("tick_ns", [100, 10_000_000, SECOND, 2 * SECOND])
    def test_coarse_times(self, tick_ns: int, root: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
        """How finely times are stored is found by reading one back, and told with every stamp from then on."""
        utime = os.utime

        def coarse(path: str, *, ns: tuple[int, int], dir_fd: int, follow_symlinks: bool) -> None:
            cut = (floor(ns[0], tick_ns), floor(ns[1], tick_ns))
            utime(path, ns=cut, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

        monkeypatch.setattr(os, "utime", coarse)
        # Just below a full two seconds, so that each tick cuts off more than the finer ones.
        mtime_ns = 1_234_567_890 * SECOND + 2 * SECOND - 1
        with connect(root) as remote:
            stored = only(remote.store([Store(sources.file(b"x"), "f", mtime_ns=mtime_ns)]))
            assert isinstance(stored, Stored)
            assert (tick_ns, True) == (remote.traits.tick_ns, remote.traits.sets_times)
            expected = Stamp(Kind.FILE, 1, floor(mtime_ns, tick_ns), tick_ns)
            assert [expected] * 2 == [stored.found.stamp, listed(remote)["f"].stamp]

    def test_times_that_are_not_kept(self, root: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system that takes a time and forgets it can't set times."""
        monkeypatch.setattr(os, "utime", lambda *_arguments, **_names: None)
        with connect(root) as remote:
            stored = only(remote.store([Store(sources.file(b"x"), "f", mtime_ns=TIME)]))
            assert isinstance(stored, Stored)
            assert not remote.traits.sets_times

    def test_neither_times_nor_modes_nor_links(
        self, root: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """EPERM for what was just made is no problem of that file: the traits say from then on that it can't be had."""

        def refuse(*_arguments: object, **_names: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        for name in ("utime", "fchmod", "symlink"):
            monkeypatch.setattr(os, name, refuse)
        with connect(root) as remote:
            stored = only(remote.store([Store(sources.file(b"x"), "f", mtime_ns=TIME, mode=0o600)]))
            assert isinstance(stored, Stored)
            assert [Reason.KIND] == reasons(remote.make_links([("link", "f")]))
            traits = remote.traits
            assert (False, False, False) == (traits.sets_times, traits.sets_modes, traits.links)
            assert [None] == remote.set_attributes([Attributes("f", mtime_ns=TIME, mode=0o600)])
