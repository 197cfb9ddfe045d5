"""Large files that are cut off: what is kept of them, how it is found again, and where each remote goes on."""

import itertools
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyftpdlib.handlers import DTPHandler, FTPHandler

from contract.bench import Sources, only, reason
from symsync import session
from symsync.config import load
from symsync.core.commit import Fresh
from symsync.core.steps import Transfer
from symsync.core.values import Found, Reason, Side
from symsync.events import Audience
from symsync.execute import LARGE, _part_name
from symsync.fence import Fence
from symsync.folder import KEPT_PARTS, Folder
from symsync.remotes.base import Fetch, Fetched, Store, Stored
from symsync.remotes.ftp import FtpRemote
from symsync.remotes.ftp.store import STEP_BACK
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync.remotes.sftp import SftpRemote
from symsync.remotes.sftp.line import CONTENT_WINDOW
from symsync.remotes.sftp.session import SAFE_BLOCK
from symsync.remotes.sftp.wire import Op
from symsync.remotes.tree import below
from symsync_protocol.names import LOCK_DIR, PART_PREFIX, TEMPORARY_DIR, ancestors
from symsync_protocol.stamps import SECOND, Kind, Stamp
from unit import ftp_server, sftp_server
from unit.test_sftp_faults import asked, at

MEGABYTE = 1 << 20
CONTENT = os.urandom(20 * MEGABYTE)
ONE, OTHER = f"{PART_PREFIX}one", f"{PART_PREFIX}other"
EARLIER, NOW = "20261120T093015Z-pc-11111111", "20261120T093016Z-pc-22222222"


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    directory = tmp_path / "sources"
    directory.mkdir()
    return Sources(directory)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    directory = tmp_path / "served"
    directory.mkdir()
    return directory


# What a part is called


def transfer(on: Side, *, size: int = LARGE, digest: bytes | None = None, **stamp: int) -> Transfer:
    facts = {"mtime_ns": 5 * SECOND, "inode": 7, "ctime_ns": 6 * SECOND, **stamp}
    return Transfer(on, "f", Found("f", Stamp(Kind.FILE, size, facts.pop("mtime_ns"), **facts)), digest=digest)


SETTLED = Fresh(100 * SECOND, 200 * SECOND)


def name(step: Transfer, origin: str = "ftp://host", fresh: Fresh = SETTLED) -> str | None:
    return _part_name(step, origin, fresh)


@pytest.mark.parametrize("on", Side)
def test_one_content_has_one_name(on: Side) -> None:
    """Found by name, a part is the beginning of that content or nothing; small files have none."""
    assert name(transfer(on)) == name(transfer(on)) is not None
    others = [
        transfer(on, size=LARGE + 1),
        transfer(on, mtime_ns=6 * SECOND),
        replace(transfer(on), source=replace(transfer(on).source, path="g")),
    ]
    assert 4 == len({name(step) for step in (transfer(on), *others)})
    assert name(transfer(on, size=LARGE - 1)) is None


def test_names_on_the_way_up() -> None:
    """Inode and change time count: nobody can edit a file and leave them as they were."""
    steps = [transfer(Side.THERE), transfer(Side.THERE, inode=8), transfer(Side.THERE, ctime_ns=7 * SECOND)]
    assert 3 == len({name(step) for step in steps})


def test_names_on_the_way_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest says all. Without one the hub, its stamp and this start of the computer do; a fresh stamp does not."""
    known = transfer(Side.HERE, digest=b"d" * 32)
    touched = transfer(Side.HERE, digest=b"d" * 32, mtime_ns=150 * SECOND)
    unknown, fresh = transfer(Side.HERE), transfer(Side.HERE, mtime_ns=150 * SECOND)
    assert name(known) == name(touched) == name(known, "ftp://elsewhere") is not None
    assert 3 == len({name(known), name(unknown), name(unknown, "ftp://elsewhere")})
    assert name(fresh) is None
    before = name(unknown)
    monkeypatch.setattr("symsync.execute.boot", lambda: "another start")
    assert before != name(unknown)
    monkeypatch.setattr("symsync.execute.boot", lambda: None)
    assert (None, True) == (name(unknown), name(known) is not None)


# What is kept on the node


def test_parts_outlast_runs(tmp_path: Path) -> None:
    """The next run finds what was cut off, and goes on with it under its own name; the rest is swept."""
    left = tmp_path / TEMPORARY_DIR / EARLIER
    (left / "folder").mkdir(parents=True)
    (left / ONE).write_bytes(b"part")
    (left / "1").write_bytes(b"small")
    for run in (NOW, NOW.replace("22222222", "33333333")):
        folder = Folder(tmp_path, run)
        with folder.locked():
            assert [left / ONE] == list(left.iterdir())
            target, size = folder.part(ONE)
            assert (4, b"part") == (size, target.read_bytes())
            assert (0, False) == (folder.part(OTHER)[1], folder.part(OTHER)[0].exists())
            folder.temporary().write_bytes(b"small")
            folder.clear()
        left = target.parent
    target.unlink()
    folder.clear()
    assert not (tmp_path / TEMPORARY_DIR / NOW.replace("22222222", "33333333")).exists()


def test_parts_that_nobody_goes_on_with(tmp_path: Path) -> None:
    """After a week a part is removed; those of other nodes, whose hub this is, stay."""
    left, theirs = tmp_path / TEMPORARY_DIR / EARLIER, tmp_path / TEMPORARY_DIR / EARLIER.replace("pc", "laptop")
    for directory in (left, theirs):
        directory.mkdir(parents=True)
        (directory / ONE).write_bytes(b"part")
        os.utime(directory / ONE, (0, time.time() - KEPT_PARTS - 1))
    with Folder(tmp_path, NOW).locked():
        assert [theirs] == list((tmp_path / TEMPORARY_DIR).iterdir())


def test_links_among_the_parts(tmp_path: Path) -> None:
    """Where the directory is a hub others can lay links here: nothing is written or removed behind one."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ONE).write_bytes(b"not ours")
    (outside / "file").write_bytes(b"not ours")
    root = tmp_path / "root"
    (root / TEMPORARY_DIR / EARLIER).mkdir(parents=True)
    (root / TEMPORARY_DIR / EARLIER / ONE).symlink_to(outside / ONE)
    (root / TEMPORARY_DIR / EARLIER.replace("1111", "2222")).symlink_to(outside)
    folder = Folder(root, NOW)
    with folder.locked():
        assert 0 == folder.part(ONE)[1]
    assert {ONE: b"not ours", "file": b"not ours"} == {path.name: path.read_bytes() for path in outside.iterdir()}


# What is kept on the hub


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub(lambda: 0)


def files(hub: MemoryHub) -> set[str]:
    found, _ = below(MemoryRemote(hub), [TEMPORARY_DIR, LOCK_DIR])
    return {path for path, entry in found.items() if entry.kind is Kind.FILE and not path.endswith(".htaccess")}


def staged(hub: MemoryHub, run: str, *names: str, top: str = TEMPORARY_DIR) -> None:
    """What a run that was ended left."""
    folder = f"{top}/{run}/{run}" if top == TEMPORARY_DIR else f"{top}/{run}"
    for directory in (*ancestors(folder), folder):
        if directory not in hub:
            hub.make_directory(directory, None)
    for name in names:
        hub.make_file(f"{folder}/{name}", name.encode(), None, None)


def fence(hub: MemoryHub, run: str = NOW) -> Fence:
    made = Fence(MemoryRemote(hub), run, Audience())
    made.prepare("pc", sweep=True)
    return made


def test_the_next_run_takes_over_what_it_wants(hub: MemoryHub) -> None:
    """A part that is wanted comes into the run's own folder; all else of the node's ended runs goes."""
    theirs = EARLIER.replace("pc", "laptop")
    staged(hub, EARLIER, "1", ONE, OTHER)
    staged(hub, theirs, ONE)
    now = fence(hub)
    kept = {f"{TEMPORARY_DIR}/{run}/{run}/{part}" for run, part in ((EARLIER, ONE), (EARLIER, OTHER), (theirs, ONE))}
    assert kept == files(hub)
    now.adopt({ONE, f"{PART_PREFIX}third"})
    assert {now.part(ONE), f"{TEMPORARY_DIR}/{theirs}/{theirs}/{ONE}"} == files(hub)
    assert f"{TEMPORARY_DIR}/{EARLIER}" not in hub
    now.release()
    assert {now.part(ONE), f"{TEMPORARY_DIR}/{theirs}/{theirs}/{ONE}"} == files(hub)


def test_without_parts_nothing_stays(hub: MemoryHub) -> None:
    """A run leaves no folder behind."""
    staged(hub, EARLIER, "1", "2")
    now = fence(hub)
    now.adopt(())
    hub.make_file(now.staged(1), b"x", None, None)
    now.release()
    assert set() == files(hub)
    assert [] == [entry.path for entry in hub.entries(TEMPORARY_DIR) if entry.kind is Kind.DIRECTORY]


def test_another_round_of_the_same_run(hub: MemoryHub) -> None:
    """What was sent and did not take its place is there for the next plan."""
    first = fence(hub)
    hub.make_file(first.part(ONE), b"large", None, None)
    hub.make_file(first.staged(1), b"small", None, None)
    assert not first.acquire()
    first.release()
    assert {first.part(ONE)} == files(hub)
    second = fence(hub)
    second.adopt({ONE})
    assert {second.part(ONE)} == files(hub)


def test_after_an_end_under_the_lock(hub: MemoryHub) -> None:
    """The node's next run finds its lock with all that had arrived, and takes it along."""
    staged(hub, EARLIER, ONE, "1", top=LOCK_DIR)
    now = fence(hub)
    now.acquire()
    now.release()
    assert {now.part(ONE)} == files(hub)


def test_what_this_run_has_sent_is_not_replaced(hub: MemoryHub) -> None:
    """What lies in the dead run's lock under the same name may be a part only."""
    staged(hub, EARLIER, ONE, top=LOCK_DIR)
    now = fence(hub)
    hub.make_file(now.part(ONE), b"whole", None, None)
    now.acquire()
    assert b"whole" == hub.content(now.held(now.part(ONE)))


# Where remotes go on


def cutting(cuts: list[int], *, control: bool) -> type[DTPHandler]:
    """Data connections of which each breaks after so many bytes, with or without the control connection."""

    class Cutting(DTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
        def handle_read(self) -> None:
            super().handle_read()
            self._break(self.tot_bytes_received)

        handle_read_event = handle_read

        def send(self, data: bytes) -> int:
            sent = int(super().send(data))
            self._break(self.tot_bytes_sent)
            return sent

        def _break(self, count: int) -> None:
            if cuts and count >= cuts[0]:
                cuts.pop(0)
                self._resp = ("426 The data connection broke.", logging.debug)
                (self.cmd_channel if control else self).close()

    return Cutting


def offsets(server: ftp_server.Running) -> list[int]:
    """Where transfers began in the middle."""
    return [int(line.split()[1]) for line in server.commands if line.startswith("REST ")]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symsync.remotes.ftp.store.QUIET_SECONDS", 0)


class TestFtp:
    def test_an_upload_goes_on_over_another_connection(self, served: Path, sources: Sources) -> None:
        """Each time from a megabyte before where the server's file ends."""
        cuts = [8 * MEGABYTE, 6 * MEGABYTE]
        with (
            ftp_server.running(served, use_sendfile=False, dtp_handler=cutting(cuts, control=True)) as server,
            FtpRemote.open(server.location()) as remote,
        ):
            stored = only(remote.store([Store(sources.file(CONTENT), "f", resume=True)]))
        assert isinstance(stored, Stored)
        assert (CONTENT, []) == ((served / "f").read_bytes(), cuts)
        first, second = offsets(server)
        assert 8 * MEGABYTE - STEP_BACK <= first < first + 6 * MEGABYTE - STEP_BACK <= second

    def test_a_download_goes_on_over_another_connection(self, served: Path, sources: Sources) -> None:
        """From where the local file ends."""
        (served / "f").write_bytes(CONTENT)
        counted: list[int] = []
        cuts = [8 * MEGABYTE, 6 * MEGABYTE]
        with (
            ftp_server.running(served, use_sendfile=False, dtp_handler=cutting(cuts, control=True)) as server,
            FtpRemote.open(server.location()) as remote,
        ):
            fetched = only(remote.fetch([Fetch("f", sources.free())], counted.append))
        assert isinstance(fetched, Fetched)
        assert (CONTENT, len(CONTENT), []) == (fetched.job.target.read_bytes(), sum(counted), cuts)
        assert 2 == len(offsets(server))

    def test_a_broken_data_connection_leaves_its_part(self, served: Path, sources: Sources) -> None:
        """The store has failed, and the next one goes on."""
        job = Store(sources.file(CONTENT), "f", resume=True)
        with (
            ftp_server.running(
                served, use_sendfile=False, dtp_handler=cutting([8 * MEGABYTE], control=False)
            ) as server,
            FtpRemote.open(server.location()) as remote,
        ):
            assert Reason.CUT is reason(only(remote.store([job])))
            left = (served / "f").stat().st_size
            assert isinstance(only(remote.store([job])), Stored)
        assert ([left - STEP_BACK], CONTENT) == (offsets(server), (served / "f").read_bytes())

    def test_no_rest(self, served: Path, sources: Sources) -> None:
        """A server that can't begin in the middle is asked once, and everything begins anew."""
        jobs = [Store(sources.file(CONTENT), f"f{i}", resume=True) for i in range(3)]
        for job in jobs:
            (served / job.path).write_bytes(CONTENT[: 8 * MEGABYTE])
        with (
            ftp_server.running(served, without=("REST",)) as server,
            FtpRemote.open(server.location(connections=1)) as remote,
        ):
            assert set(jobs) == {outcome.job for outcome in remote.store(jobs) if isinstance(outcome, Stored)}
        assert 1 == len([offset for offset in offsets(server) if offset])
        assert [CONTENT] * 3 == [(served / job.path).read_bytes() for job in jobs]

    def test_a_part_that_the_server_keeps_locked(self, served: Path, sources: Sources) -> None:
        """As vsftpd does as long as it does not know that the former connection is broken: begun anew, and no more."""
        (served / "f").write_bytes(CONTENT[: 8 * MEGABYTE])

        class Locks(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_STOR(self, file: str, mode: str = "w") -> None:  # noqa: N802  # pyftpdlib's naming
                if not self._restart_position:
                    super().ftp_STOR(file, mode)

        with (
            ftp_server.running(served, handler=Locks) as server,
            FtpRemote.open(server.location(timeout=1.0)) as remote,
        ):
            assert isinstance(only(remote.store([Store(sources.file(CONTENT), "f", resume=True)])), Stored)
        assert ([7 * MEGABYTE], CONTENT) == (offsets(server), (served / "f").read_bytes())

    @pytest.mark.parametrize(("growths", "goes_on"), [(2, True), (99, False)])
    def test_a_part_that_still_grows(
        self, served: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch, growths: int, goes_on: bool
    ) -> None:
        """The server may still write what the broken connection delivered: it is waited for, but not for ever."""
        part = served / "f"
        part.write_bytes(CONTENT[: 8 * MEGABYTE])
        times = itertools.count()

        def grow(_seconds: float) -> None:
            if next(times) < growths:
                with part.open("ab") as file:
                    file.write(CONTENT[file.tell() : file.tell() + 1000])

        monkeypatch.setattr("symsync.remotes.ftp.store.time", SimpleNamespace(sleep=grow))
        with ftp_server.running(served) as server, FtpRemote.open(server.location()) as remote:
            assert isinstance(only(remote.store([Store(sources.file(CONTENT), "f", resume=True)])), Stored)
        assert (CONTENT, goes_on) == (part.read_bytes(), bool(offsets(server)))

    @pytest.mark.parametrize("side", Side)
    def test_a_run_goes_on(self, tmp_path: Path, served: Path, side: Side) -> None:
        """Where only the data connection breaks, the same run goes on until all is across."""
        node = tmp_path / "node"
        node.mkdir()
        with ftp_server.running(served, use_sendfile=False) as server:
            config = node / ".sync.conf"
            config.write_text(
                f"nodename pc\npeer hub\nserver 127.0.0.1\nport {server.port}\nlogin {ftp_server.USER}\n"
                f"password {ftp_server.PASSWORD}\ntls no\n"
            )
            config.chmod(0o600)
            (node / "small").write_bytes(b"small")
            settings = load(node)
            session.run(settings, Audience())
            (node if side is Side.THERE else served).joinpath("large").write_bytes(CONTENT)
            os.utime((node if side is Side.THERE else served) / "large", (10**9, 10**9))
            cuts = [9 * MEGABYTE, 5 * MEGABYTE]
            server.handler.dtp_handler = cutting(cuts, control=False)
            result = session.run(settings, Audience())
            (*_, first, second) = offsets(server)
        assert (0, []) == (result.exit_status, cuts)
        assert CONTENT == (served / "large").read_bytes() == (node / "large").read_bytes()
        assert 8 * MEGABYTE <= first < first + 3 * MEGABYTE <= second
        assert [] == [*(node / TEMPORARY_DIR).glob("*-pc-*"), *(served / TEMPORARY_DIR).glob("*-pc-*")]


BLOCKS = len(CONTENT) // SAFE_BLOCK


class TestSftp:
    def test_an_upload_goes_on_over_another_connection(self, served: Path, sources: Sources) -> None:
        """From before all that the server may not have acknowledged."""
        job = Store(sources.file(CONTENT), "f", resume=True)
        with (
            sftp_server.running(served, at(Op.WRITE, False, BLOCKS - 40)) as server,
            SftpRemote.open(server.location()) as remote,
        ):
            assert isinstance(only(remote.store([job])), Stored)
        assert CONTENT == (served / "f").read_bytes()
        again = 41 + CONTENT_WINDOW // SAFE_BLOCK
        assert (BLOCKS - 40 + again, 2) == (len(asked(server, Op.WRITE)), len(server.logins))

    def test_a_download_goes_on_over_another_connection(self, served: Path, sources: Sources) -> None:
        """From where the local file ends."""
        (served / "f").write_bytes(CONTENT)
        counted: list[int] = []
        with (
            sftp_server.running(served, at(Op.READ, False, BLOCKS - 40)) as server,
            SftpRemote.open(server.location()) as remote,
        ):
            fetched = only(remote.fetch([Fetch("f", sources.free())], counted.append))
        assert isinstance(fetched, Fetched)
        assert (CONTENT, len(CONTENT), 2) == (fetched.job.target.read_bytes(), sum(counted), len(server.logins))
