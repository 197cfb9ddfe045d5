"""The primitives on this computer's file system."""

import ctypes
import errno
import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from symsync import local_files
from symsync.core.values import Problem, Reason
from symsync.local_files import (
    BLOCK,
    ChangedError,
    NamedFile,
    NotAFileError,
    RenameUnsupportedError,
    blocks,
    copy_file,
    hash_file,
    mounted_stamp_of,
    open_regular,
    open_target,
    open_unchanged,
    problem_from,
    problem_of_transfer,
    rename_exchange,
    rename_noreplace,
    stamp_of,
    sync_filesystem,
)
from symsync_protocol.stamps import SECOND, Kind, Stamp

SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1]


def lacking(*_arguments: object, **_names: object) -> None:
    """What link(2) says on FAT."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "_libc_function", lambda _name: None)


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "_libc_function", lambda _name: None)
    monkeypatch.setattr(os, "link", lacking)


RENAMES = pytest.mark.parametrize("system", ["all", "without_renameat2", "without_links"])


class TestStamps:
    def test_of_a_file(self, tmp_path: Path) -> None:
        """A local stamp holds everything that tells two versions apart."""
        file = tmp_path / "f"
        file.write_bytes(b"12345")
        os.utime(file, ns=(0, 7 * SECOND + 1))
        status = os.lstat(file)
        expected = Stamp(Kind.FILE, 5, 7 * SECOND + 1, 1, status.st_ino, status.st_ctime_ns)
        assert expected == stamp_of(status)

    def test_of_a_mounted_file(self, tmp_path: Path) -> None:
        """A mount's inodes and ctimes are left out, its tick is told."""
        file = tmp_path / "f"
        file.write_bytes(b"12345")
        os.utime(file, ns=(0, 8 * SECOND))
        assert Stamp(Kind.FILE, 5, 8 * SECOND, 2 * SECOND) == mounted_stamp_of(os.lstat(file), 2 * SECOND)

    def test_of_other_kinds(self, tmp_path: Path) -> None:
        """Only files and links have a size; links are not followed, and a fifo is none of the kinds that travel."""
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "link").symlink_to("fifo")
        stamps = [stamp_of(os.lstat(path)) for path in (tmp_path, tmp_path / "link", tmp_path / "fifo")]
        assert [(Kind.DIRECTORY, 0), (Kind.LINK, 4), (Kind.OTHER, 0)] == [(stamp.kind, stamp.size) for stamp in stamps]


class TestProblems:
    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (errno.ENOENT, Reason.ABSENT),
            (errno.EEXIST, Reason.EXISTS),
            (errno.ENOTEMPTY, Reason.NOT_EMPTY),
            (errno.EACCES, Reason.DENIED),
            (errno.EPERM, Reason.DENIED),
            (errno.EROFS, Reason.DENIED),
            (errno.ENOSPC, Reason.FULL),
            (errno.EDQUOT, Reason.FULL),
            (errno.EILSEQ, Reason.NAME),
            (errno.ENAMETOOLONG, Reason.NAME),
            (errno.EINVAL, Reason.NAME),
            (errno.EISDIR, Reason.KIND),
            (errno.ELOOP, Reason.KIND),
            (errno.ENOTCONN, Reason.LOST),
            (errno.EIO, Reason.OTHER),
        ],
    )
    def test_reasons(self, number: int, reason: Reason) -> None:
        """Each of the system's errors has the reason that a user can do something about."""
        error = OSError(number, os.strerror(number), "/elsewhere/f")
        assert Problem("d/f", reason, os.strerror(number)) == problem_from("d/f", error)

    def test_own_errors(self) -> None:
        """A file that changed and one that is none are told apart, whatever number they carry."""
        errors = [ChangedError(errno.EBUSY, "changed"), NotAFileError(errno.EINVAL, "not a file")]
        assert [Reason.CHANGED, Reason.KIND] == [problem_from("f", error).reason for error in errors]

    def test_whose_fault(self) -> None:
        """Of the two files of a transfer the one on this computer is named where it failed."""
        local = Path("/tree/f")
        errors = [OSError(errno.ENOENT, "no file", name) for name in ("/tree/f", "f")]
        details = [problem_of_transfer("f", local, error).detail for error in errors]
        assert ["/tree/f: no file", "no file"] == details


class TestNamedFile:
    """What fails while bytes are read and written tells in which file, as what fails to open does."""

    def test_read(self) -> None:
        """No process has anything at the address 0."""
        memory = Path("/proc/self/mem")
        with NamedFile(memory, "rb", memory) as file:
            for read in (lambda: file.read(1), lambda: file.readinto(bytearray(1))):
                with pytest.raises(OSError) as failed:
                    read()
                assert str(memory) == failed.value.filename

    def test_write(self) -> None:
        """Also where the bytes were held back until the file is closed."""
        full = Path("/dev/full")
        for size in (1, BLOCK):
            with pytest.raises(OSError) as failed, open_target(full, 0, sha256()) as file:
                file.write(bytes(size))
            assert (errno.ENOSPC, str(full)) == (failed.value.errno, failed.value.filename)


class TestRenameNoreplace:
    @RENAMES
    def test_onto_a_free_name(self, system: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """Files, links and full directories get their new name, whatever the system offers."""
        if system != "all":
            request.getfixturevalue(system)
        (tmp_path / "f").write_text("file")
        (tmp_path / "l").symlink_to("anywhere")
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "inner").write_text("inner")
        for name in "fld":
            rename_noreplace(tmp_path / name, tmp_path / f"{name}2")
        assert {"f2", "l2", "d2"} == {path.name for path in tmp_path.iterdir()}
        assert ("file", "inner") == ((tmp_path / "f2").read_text(), (tmp_path / "d2" / "inner").read_text())
        assert Path("anywhere") == (tmp_path / "l2").readlink()

    @RENAMES
    @pytest.mark.parametrize("taken_by", ["f", "d", "l"])
    @pytest.mark.parametrize("source", ["file", "directory"])
    def test_onto_a_taken_name(
        self, system: str, source: str, taken_by: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """Whatever lies at the new name stays, even an empty directory and a dangling link, and so does the source."""
        if system != "all":
            request.getfixturevalue(system)
        (tmp_path / "f").write_text("kept")
        (tmp_path / "d").mkdir()
        (tmp_path / "l").symlink_to("dangling")
        (tmp_path / "file").write_text("source")
        (tmp_path / "directory").mkdir()
        before = {path.name: stamp_of(os.lstat(path)) for path in tmp_path.iterdir()}
        with pytest.raises(FileExistsError):
            rename_noreplace(tmp_path / source, tmp_path / taken_by)
        after = {path.name: stamp_of(os.lstat(path)) for path in tmp_path.iterdir()}
        assert before == after

    @RENAMES
    def test_by_descriptor(self, system: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """Names relative to open directories, as `dir_fd` has them."""
        if system != "all":
            request.getfixturevalue(system)
        descriptors = []
        for name in ("from", "to"):
            (tmp_path / name).mkdir()
            descriptors.append(os.open(tmp_path / name, os.O_RDONLY))
        (tmp_path / "from" / "f").write_text("moved")
        rename_noreplace("f", "g", source_dir=descriptors[0], target_dir=descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)
        assert ("moved", []) == ((tmp_path / "to" / "g").read_text(), list((tmp_path / "from").iterdir()))

    def test_a_file_system_without_the_flag(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """EINVAL from the call means the flag, and the other way is taken."""
        monkeypatch.setattr(local_files, "_libc_function", lambda _name: lambda *_arguments: -1)
        monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EINVAL)
        (tmp_path / "f").write_text("moved")
        rename_noreplace(tmp_path / "f", tmp_path / "g")
        assert "moved" == (tmp_path / "g").read_text()

    @RENAMES
    def test_missing(self, system: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """A missing source makes nothing under the new name."""
        if system != "all":
            request.getfixturevalue(system)
        with pytest.raises(FileNotFoundError):
            rename_noreplace(tmp_path / "gone", tmp_path / "new")
        assert [] == list(tmp_path.iterdir())


class TestRenameExchange:
    def test_swap(self, tmp_path: Path) -> None:
        """Two entries swap their names, be they of one kind or not."""
        (tmp_path / "f").write_text("file")
        (tmp_path / "d").mkdir()
        rename_exchange(tmp_path / "f", tmp_path / "d")
        assert ("file", True) == ((tmp_path / "d").read_text(), (tmp_path / "f").is_dir())

    def test_missing(self, tmp_path: Path) -> None:
        """With only one of the two there nothing happens."""
        (tmp_path / "f").write_text("kept")
        with pytest.raises(FileNotFoundError):
            rename_exchange(tmp_path / "f", tmp_path / "gone")
        assert "kept" == (tmp_path / "f").read_text()

    @pytest.mark.usefixtures("without_renameat2")
    def test_unsupported(self, tmp_path: Path) -> None:
        """Where there is no such call the caller is told, and nothing was done."""
        (tmp_path / "f").write_text("f")
        (tmp_path / "g").write_text("g")
        with pytest.raises(RenameUnsupportedError):
            rename_exchange(tmp_path / "f", tmp_path / "g")
        assert ("f", "g") == ((tmp_path / "f").read_text(), (tmp_path / "g").read_text())


class TestSyncFilesystem:
    def test_path_and_descriptor(self, tmp_path: Path) -> None:
        """Both are taken; the descriptor stays open, even one that can only be walked through."""
        sync_filesystem(tmp_path)
        descriptor = os.open(tmp_path, os.O_PATH)
        sync_filesystem(descriptor)
        assert stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)

    @pytest.mark.usefixtures("without_renameat2")
    def test_without_syncfs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there is no syncfs everything is synced."""
        calls: list[str] = []
        monkeypatch.setattr(os, "sync", lambda: calls.append("sync"))
        sync_filesystem(tmp_path)
        assert ["sync"] == calls

    def test_failure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failed write-back is an error: nobody may claim the files then."""
        monkeypatch.setattr(local_files, "_libc_function", lambda _name: lambda *_arguments: -1)
        monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EIO)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            sync_filesystem(tmp_path)


class TestReading:
    @pytest.mark.parametrize("size", SIZES)
    def test_copy_and_hash(self, tmp_path: Path, size: int) -> None:
        """Content of any size is copied whole, and counted and digested on the way."""
        content = os.urandom(size)
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(content)
        counted: list[int] = []
        copied = copy_file(source, target, counted.append)
        assert (size, sha256(content).digest(), size) == (copied.size, copied.digest, sum(counted))
        assert (content, copied.digest) == (target.read_bytes(), hash_file(source))

    def test_copy_replaces_nothing(self, tmp_path: Path) -> None:
        """A taken target is an error, and stays."""
        (tmp_path / "source").write_text("new")
        (tmp_path / "target").write_text("kept")
        with pytest.raises(FileExistsError):
            copy_file(tmp_path / "source", tmp_path / "target")
        assert "kept" == (tmp_path / "target").read_text()

    @pytest.mark.parametrize("kind", ["directory", "link", "fifo"])
    def test_only_regular_files(self, tmp_path: Path, kind: str) -> None:
        """Nothing else is read: no link followed, no fifo waited for."""
        path = tmp_path / kind
        (tmp_path / "f").write_text("f")
        match kind:
            case "directory":
                path.mkdir()
            case "link":
                path.symlink_to("f")
            case _:
                os.mkfifo(path)
        with pytest.raises(OSError, match=str(path)) as caught:
            hash_file(path)
        assert Reason.KIND is problem_from(kind, caught.value).reason

    @pytest.mark.parametrize("change", ["size", "time"])
    def test_changed_while_read(self, tmp_path: Path, change: str) -> None:
        """An edit between opening and end is noticed, of the same size, too."""
        file = tmp_path / "f"
        file.write_bytes(b"12345")
        with pytest.raises(ChangedError), open_unchanged(file) as opened:
            opened.read()
            if change == "size":
                file.write_bytes(b"123456")
            else:
                os.utime(file, ns=(0, 1))

    def test_a_file_that_grows_has_an_end(self, tmp_path: Path) -> None:
        """What is read ends where the file ended when reading began."""
        file = tmp_path / "f"
        file.write_bytes(b"x" * 3)
        got = b""
        with open_regular(file) as opened:
            for block in blocks(opened):
                got += block
                with file.open("ab") as more:
                    more.write(b"more")
        assert b"xxx" == got


class TestOpenTarget:
    def test_anew(self, tmp_path: Path) -> None:
        """Without an offset nothing of an earlier attempt remains, nor counts."""
        target, digest = tmp_path / "f", sha256()
        target.write_bytes(b"earlier and longer")
        with open_target(target, 0, digest) as file:
            file.write(b"new")
        assert (b"new", sha256().digest()) == (target.read_bytes(), digest.digest())

    @pytest.mark.parametrize("offset", [1, BLOCK, BLOCK + 1, BLOCK + 5])
    def test_going_on(self, tmp_path: Path, offset: int) -> None:
        """What was there up to the offset is in the digest; what was beyond it is gone."""
        target, digest, held = tmp_path / "f", sha256(), os.urandom(BLOCK + 5)
        target.write_bytes(held)
        with open_target(target, offset, digest) as file:
            file.write(b"more")
        assert (held[:offset] + b"more", sha256(held[:offset]).digest()) == (target.read_bytes(), digest.digest())

    def test_too_short(self, tmp_path: Path) -> None:
        """A target that holds less than was said is not filled up with zeros."""
        target = tmp_path / "f"
        target.write_bytes(b"12345")
        with pytest.raises(ChangedError):
            open_target(target, 6, sha256())
        assert b"12345" == target.read_bytes()
