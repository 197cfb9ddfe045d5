"""What only the FTP remote does: logging in, refusals, lies, broken connections; against a server in this process."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyftpdlib.handlers import FTPHandler

from symsync import session
from symsync.core.values import Found, Listing, Problem, Reason
from symsync.events import Audience
from symsync.remotes.base import Attributes, Fetch, Fetched, Store, Stored
from symsync.remotes.ftp import FtpRemote, Way
from symsync.remotes.location import Tls
from symsync.settings import Settings
from symsync_protocol.errors import HubError, HubRefused, HubUnreachable
from symsync_protocol.names import STATE_DIR
from symsync_protocol.stamps import SECOND, Kind
from unit.ftp_server import PASSWORD, Running, running

WITHOUT_MLSD = ("MLSD", "MLST")


@pytest.fixture(autouse=True)
def quiet() -> None:
    """pyftpdlib logs each command."""
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def server(root: Path) -> Iterator[Running]:
    with running(root) as server:
        yield server


def listing(remote: FtpRemote, directory: str = "") -> Listing:
    [listing] = remote.listings([directory])
    return listing


def names(remote: FtpRemote, directory: str = "") -> set[str]:
    found = listing(remote, directory)
    assert found.problem is None
    return {entry.path for entry in found.entries}


class Hides(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
    """Never lists names with a dot."""

    def ftp_LIST(self, path: str) -> Any:  # noqa: N802  # pyftpdlib's naming
        self.fs.listdir = lambda directory: [n for n in os.listdir(directory) if not n.startswith(".")]
        return super().ftp_LIST(path)


class TestOpening:
    def test_wrong_password(self, server: Running) -> None:
        """One line that names host and login, and what the server said."""
        with pytest.raises(HubRefused, match=r"^127.0.0.1: it refused the login 'paula' \(530 .*\); check login.*$"):
            FtpRemote.open(server.location(password="wrong"))

    def test_password_stays_out_of_the_conversation(self, server: Running) -> None:
        """The whole conversation is there to be read, but for the password."""
        log: list[str] = []
        FtpRemote.open(server.location(), log.append).close()
        assert [] == [line for line in log if PASSWORD in line]
        assert {"1 > USER paula", "1 > PASS ****"} <= set(log)

    def test_nobody_listens(self, server: Running) -> None:
        """A port on which nothing runs is unreachable, told with the port."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(HubUnreachable, match=f"^127.0.0.1, port {port}: .*refused.*$"):
            FtpRemote.open(server.location(port=port))

    def test_unknown_host(self, server: Running) -> None:
        """A name that can't be one, for which nobody has to be asked, is said to be unknown."""
        with pytest.raises(HubUnreachable, match=r"^no\.\.such: unknown host .*; check `server`$"):
            FtpRemote.open(server.location(host="no..such"))

    def test_missing_directory(self, server: Running, root: Path) -> None:
        """A directory that is not there is refused by name, and made on request with those above it."""
        location = server.location(directory="a b/c")
        with pytest.raises(HubRefused, match=r"no directory a b/c for paula \(550 .*check `dir`"):
            FtpRemote.open(location)
        FtpRemote.open(location, create=True).close()
        assert (root / "a b" / "c").is_dir()

    @pytest.mark.parametrize("directory", ["d", "/d", "d/"])
    def test_directory(self, server: Running, root: Path, directory: str) -> None:
        """Paths are below the directory, however it is written."""
        (root / "d").mkdir()
        (root / "d" / "f").write_text("x")
        with FtpRemote.open(server.location(directory=directory)) as remote:
            assert ({"f"}, b"x") == (names(remote), remote.read("f"))

    def test_turned_away(self, root: Path) -> None:
        """A server that is full says so."""
        with running(root) as server:
            server.server.max_cons_per_ip = 1
            with FtpRemote.open(server.location()), pytest.raises(HubRefused, match=r"127\.0\.0\.1: .*421"):
                FtpRemote.open(server.location())

    def test_closed(self, server: Running) -> None:
        """A closed remote reaches nothing."""
        remote = FtpRemote.open(server.location())
        remote.close()
        with pytest.raises(HubUnreachable, match="closed"):
            remote.stat([""])


class TestWays:
    @pytest.mark.parametrize(
        ("without", "way"),
        [
            ((), "MLSD /"),
            (WITHOUT_MLSD, "STAT -a"),
            ((*WITHOUT_MLSD, "STAT"), "LIST -a"),
            ((*WITHOUT_MLSD, "STAT", "LIST"), "NLST -a"),
        ],
    )
    def test_found_by_trying(self, root: Path, without: tuple[str, ...], way: str) -> None:
        """The best way that works is taken, whatever FEAT says, which nobody asks."""
        (root / "f").write_text("x")
        with running(root, without=without) as server, FtpRemote.open(server.location()) as remote:
            del server.commands[:]
            assert {"f"} == names(remote)
            assert way in server.commands
            assert "FEAT" not in server.commands

    def test_a_way_that_breaks_the_connection(self, root: Path) -> None:
        """It is not tried again: some servers and firewalls hang up on what they don't know."""
        (root / "f").write_text("x")

        class HangsUp(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_MLST(self, _path: str) -> None:  # noqa: N802  # pyftpdlib's naming
                self.close()

        with running(root, handler=HangsUp) as server, FtpRemote.open(server.location()) as remote:
            assert {"f"} == names(remote)
            assert 1 == server.commands.count("MLST /")

    def test_same_times_in_all_ways(self, root: Path) -> None:
        """A file's stamp is the same however it was taken."""
        (root / "f").write_text("x")
        os.utime(root / "f", (10**9, 10**9))
        with running(root) as server:
            stamps = []
            for way in Way:
                with FtpRemote.open(server.location(), way=way) as remote:
                    stamps += [listing(remote).entries[0].stamp, found(remote, "f").stamp]
        assert [(10**18, SECOND, 1)] * 8 == [(stamp.mtime_ns, stamp.tick_ns, stamp.size) for stamp in stamps]

    def test_large_directories_are_not_left_to_stat(self, root: Path) -> None:
        """STAT has no closing reply that could admit to a cut, as Pure-FTPd's does not; LIST has."""
        for i in range(1200):
            (root / f"f{i}").touch()

        class Cuts(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def list_on_control(self) -> None:
                self.push("213-Status\r\n" + "drwx------   2 o g 0 Jan 02 03:04 .\r\n" * 1100)
                self.respond("213 End")

        with running(root, without=WITHOUT_MLSD, handler=Cuts) as server, FtpRemote.open(server.location()) as remote:
            assert 1200 == len(names(remote))
            assert {"STAT -a", "LIST -a"} <= set(server.commands)

    def test_links_are_not_followed_round_and_round(self, root: Path) -> None:
        """A link up that the server shows as a directory is OTHER, where `unique` or PWD tells; LIST shows links."""
        (root / "d").mkdir()
        (root / "d" / "up").symlink_to("..")
        kinds = []
        for way in (Way.MLSD, Way.STAT, Way.LIST):
            with running(root) as server, FtpRemote.open(server.location()) as remote:
                kinds.append(listing(remote, "d").entries[0].kind)
            with running(root, without=WITHOUT_MLSD) as server, FtpRemote.open(server.location(), way=way) as remote:
                if way is not Way.MLSD:
                    kinds.append(listing(remote, "d").entries[0].kind)
        assert [Kind.OTHER, Kind.OTHER, Kind.LINK, Kind.OTHER, Kind.LINK] == kinds

    def test_hidden_dots_are_noticed(self, root: Path) -> None:
        """A server that never lists dot names is found out by our own directory, and stat still finds them."""
        (root / ".sync.state").mkdir()
        (root / ".hidden").write_text("x")

        hiding = running(root, without=(*WITHOUT_MLSD, "STAT"), handler=Hides)
        with hiding as server, FtpRemote.open(server.location()) as remote:
            assert set() == names(remote)
            assert remote.traits.hides_dots
            assert 1 == found(remote, ".hidden").stamp.size
            assert [None, None] == remote.stat([".absent", "absent"])


def found(remote: FtpRemote, path: str) -> Found:
    [entry] = remote.stat([path])
    assert isinstance(entry, Found)
    return entry


class TestLies:
    @pytest.mark.parametrize("way", [Way.MLSD, Way.LIST, Way.NLST])
    def test_a_truncated_listing(self, root: Path, way: Way) -> None:
        """Pure-FTPd's only word for a listing without its end is in a 226: the listing carries CUT."""
        (root / "f").write_text("x")

        class Truncates(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def respond(self, resp: str, **options: Any) -> None:
                super().respond(resp.replace("226 Transfer complete.", "226 Output truncated to 1 matches"), **options)

        with running(root, handler=Truncates) as server, FtpRemote.open(server.location(), way=way) as remote:
            found = listing(remote)
        assert found.problem is not None
        assert (Reason.CUT, ("f",)) == (found.problem.reason, tuple(entry.path for entry in found.entries))

    @pytest.mark.parametrize("way", list(Way))
    def test_a_name_of_two_lines(self, root: Path, way: Way) -> None:
        """A name with a line end in it makes the listing doubtful, so that nothing in it counts as absent."""
        (root / "two\nlines").write_text("x")
        with running(root) as server, FtpRemote.open(server.location(), way=way) as remote:
            listed = listing(remote)
        # NLST gives two names that don't exist, which nobody can see; they are OTHER, and never synchronised.
        problem = listed.problem.reason if listed.problem is not None else None
        expected = (None, {Kind.OTHER}) if way is Way.NLST else (Reason.CUT, set())
        assert expected == (problem, {entry.kind for entry in listed.entries})

    def test_a_short_file(self, root: Path, tmp_path: Path) -> None:
        """A 226 after half of the bytes is found out by the size."""
        (tmp_path / "source").write_bytes(b"x" * 1000)

        class LosesBytes(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def on_file_received(self, file: str) -> None:
                os.truncate(file, 500)

        with running(root, handler=LosesBytes) as server, FtpRemote.open(server.location()) as remote:
            [outcome] = remote.store([Store(tmp_path / "source", "f")])
            assert isinstance(outcome, tuple)
            assert Reason.CUT is outcome[1].reason
            with pytest.raises(HubUnreachable, match="f has 500 bytes instead of 600"):
                remote.write("f", b"x" * 600)

    def test_times_that_are_not_set(self, root: Path, tmp_path: Path) -> None:
        """A server that says it set a time and did not is not believed."""
        (tmp_path / "source").write_text("x")

        class Pretends(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_MFMT(self, path: str, timeval: str) -> None:  # noqa: N802  # pyftpdlib's naming
                self.respond(f"213 Modify={timeval}; {path}.")

        with running(root, handler=Pretends) as server, FtpRemote.open(server.location()) as remote:
            assert remote.traits.sets_times
            [outcome] = remote.store([Store(tmp_path / "source", "f", mtime_ns=10**18)])
            assert isinstance(outcome, Stored)
            assert not remote.traits.sets_times
            assert int((root / "f").stat().st_mtime) * SECOND == outcome.found.stamp.mtime_ns
            assert [None] == remote.set_attributes([Attributes("f", mtime_ns=10**18)])


class TestBrokenConnections:
    @pytest.mark.parametrize("ahead", [False, True])
    def test_a_lost_reply_to_a_rename(self, root: Path, ahead: bool) -> None:
        """From the first reply that did not come nobody knows what was done, and nothing is done twice; also where a
        data connection was to be prepared along with it."""
        for name in "abcd":
            (root / name).write_text(name)

        class Breaks(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_RNTO(self, path: str) -> None:  # noqa: N802  # pyftpdlib's naming
                if path.endswith("b2"):
                    self.fs.rename(self._rnfr, path)
                    self.close()
                else:
                    super().ftp_RNTO(path)

        with running(root, handler=Breaks) as server, FtpRemote.open(server.location()) as remote:
            if ahead:
                remote.expect_write()
            problems = remote.rename([(name, f"{name}2") for name in "abcd"])
            assert [None, *[Reason.LOST] * 3] == [problem and problem.reason for problem in problems]
            assert {"a2", "b2", "c", "d"} == names(remote)

    def test_what_a_write_takes_goes_along(self, root: Path) -> None:
        """A write that was expected costs no EPSV of its own; but where something was refused it may come late."""
        (root / "a").write_text("a")
        with running(root) as server, FtpRemote.open(server.location()) as remote:
            for old, expected in (("a", ["RNFR", "RNTO", "EPSV", "APPE"]), ("missing", ["EPSV", "APPE"])):
                remote.expect_write()
                remote.rename([(old, "b")])
                remote.append("b", b"more")
                sent = [line.split(" ")[0] for line in server.commands]
                assert expected == sent[-len(expected) :]
            assert "amoremore" == (root / "b").read_text()

    @pytest.mark.parametrize("active", [False, True])
    def test_looks_go_with_a_transfer(self, root: Path, active: bool) -> None:
        """They leave in the same write as its command, and what is wrong with it is told as ever."""
        (root / "a").write_text("a")
        with running(root) as server, FtpRemote.open(replace(server.location(), active=active)) as remote:
            there, missing = remote.stat(["a", "missing"])
            assert [there, missing] == remote.look_and_append(["a", "missing"], "a", b"more")
            words = [line.split(" ")[0] for line in server.commands]
            assert ["MLST", "MLST", "APPE"] == words[-3:]
            with pytest.raises(HubRefused):
                remote.look_and_append(["a"], "missing/a", b"nowhere")
            (grown,) = remote.look_and_write(["a"], "b", b"in step")
            assert isinstance(grown, Found) and grown.stamp.size == len("amore")
        assert ("amore", "in step") == ((root / "a").read_text(), (root / "b").read_text())

    @pytest.mark.parametrize("looks", [[], ["a", "b"]])
    def test_a_prepared_connection_that_breaks(self, root: Path, looks: list[str]) -> None:
        """One that does not come about is told as such, and the next one is another."""
        (root / "a").write_text("a")

        class Elsewhere(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            lies = 1

            def ftp_EPSV(self, _line: str) -> None:  # noqa: N802  # pyftpdlib's naming
                if self.lies:
                    type(self).lies -= 1
                    with socket.create_server(("127.0.0.1", 0)) as nobody:
                        port = nobody.getsockname()[1]
                    self.respond(f"229 Entering Extended Passive Mode (|||{port}|).")
                else:
                    super().ftp_EPSV(_line)

        with (
            running(root, handler=Elsewhere) as server,
            FtpRemote.open(server.location(timeout=1.0), way=Way.STAT) as remote,
        ):
            remote.expect_write()
            remote.rename([("a", "b")])
            with pytest.raises(HubError):
                remote.look_and_append(looks, "b", b"lost")
            remote.append("b", b"more")
        assert "amore" == (root / "b").read_text()

    def test_nobody_waits_for_a_connection_that_is_not_needed(self, root: Path) -> None:
        """Pure-FTPd does not greet everybody at once: what other connections have done meanwhile is done."""
        for number in range(20):
            (root / f"{number}").mkdir()

        class Sulks(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            greeted = 0

            def handle(self) -> None:
                type(self).greeted += 1
                if self.greeted <= 2:
                    super().handle()

        with running(root, handler=Sulks) as server:
            began = time.monotonic()
            with FtpRemote.open(server.location(timeout=60.0)) as remote:
                assert 20 == len(list(remote.listings([f"{number}" for number in range(20)])))
            assert time.monotonic() - began < 30.0

    @pytest.mark.parametrize("breaks", [1, 4, 5])
    def test_transfers_are_tried_again(self, root: Path, tmp_path: Path, breaks: int) -> None:
        """A file over which the connection broke arrives all the same; the fifth time, and it alone is LOST."""
        (root / "bad").write_text("x" * 1000)
        (root / "good").write_text("y")
        left = [breaks]

        class Breaks(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_RETR(self, path: str) -> None:  # noqa: N802  # pyftpdlib's naming
                if path.endswith("bad") and left[0]:
                    left[0] -= 1
                    self.close()
                else:
                    super().ftp_RETR(path)

        with running(root, handler=Breaks) as server, FtpRemote.open(server.location()) as remote:
            jobs = [Fetch("bad", tmp_path / "bad"), Fetch("good", tmp_path / "good")]
            outcomes = {o.job.path: None for o in remote.fetch(jobs) if isinstance(o, Fetched)}
        assert ({"bad", "good"} if breaks < 5 else {"good"}) == outcomes.keys()

    def test_idle_connections_that_were_closed(self, server: Running, root: Path) -> None:
        """A question is asked again over a new connection when the server closed the old one meanwhile."""
        (root / "f").write_text("x")
        with FtpRemote.open(server.location()) as remote:
            server.kick()
            assert (1, {"f"}) == (found(remote, "f").stamp.size, names(remote))

    def test_fewer_connections_than_wished_for(self, root: Path, tmp_path: Path) -> None:
        """A server that lets two in is used by two, and nothing fails."""
        source = tmp_path / "source"
        source.write_text("x")
        with running(root) as server:
            server.server.max_cons_per_ip = 2
            with FtpRemote.open(server.location(connections=8)) as remote:
                jobs = [Store(source, f"f{i}") for i in range(100)]
                assert set(jobs) == {o.job for o in remote.store(jobs) if isinstance(o, Stored)}
                # One is free again for what has to be done in between.
                assert 100 == len(names(remote))

    def test_work_between_outcomes(self, server: Running, tmp_path: Path) -> None:
        """Who takes outcomes one by one may do other things meanwhile, even over a single connection."""
        source = tmp_path / "source"
        source.write_text("x")
        with FtpRemote.open(server.location(connections=1)) as remote:
            for i, outcome in enumerate(remote.store(Store(source, f"f{i}") for i in range(30))):
                assert isinstance(outcome, Stored)
                assert [None] == remote.rename([(outcome.job.path, f"g{i}")])
            assert {f"g{i}" for i in range(30)} == names(remote)


class TestData:
    @pytest.mark.parametrize("without", [(), ("EPRT", "EPSV")])
    @pytest.mark.parametrize("active", [False, True])
    def test_modes(self, root: Path, tmp_path: Path, active: bool, without: tuple[str, ...]) -> None:
        """EPSV, PASV, EPRT and PORT all carry files both ways."""
        (tmp_path / "source").write_bytes(b"x" * 300_000)
        with running(root, without=without, masquerade_address="192.0.2.1") as server:
            with FtpRemote.open(server.location(active=active)) as remote:
                [stored] = remote.store([Store(tmp_path / "source", "f")])
                [fetched] = remote.fetch([Fetch("f", tmp_path / "target")])
                # Refused before there is a data connection: nobody waits for one.
                [missing] = remote.store([Store(tmp_path / "source", "gone/f")])
            used = {command.split()[0] for command in server.commands}
        assert isinstance(stored, Stored)
        assert isinstance(fetched, Fetched)
        assert isinstance(missing, tuple)
        assert (stored.digest, Reason.ABSENT) == (fetched.digest, missing[1].reason)
        extended, plain = ("EPRT", "PORT") if active else ("EPSV", "PASV")
        assert {extended, plain} & used == ({extended, plain} if without else {extended})

    @pytest.mark.parametrize(("offered", "asked"), [("aab", 3), ("aaaaa", 5), ("ab", 2)])
    def test_the_port_of_a_refused_transfer(self, root: Path, tmp_path: Path, offered: str, asked: int) -> None:
        """It is not used for the next one, where a proxy may just be bringing the first one's connection; a server
        that has no other may."""
        (root / "f").write_bytes(b"x")
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            ports = {"a": one.getsockname()[1], "b": other.getsockname()[1]}
        following = iter(offered)

        class Offers(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_EPSV(self, line: str) -> None:  # noqa: N802  # pyftpdlib's naming
                self.passive_ports = [ports[next(following)]]
                super().ftp_EPSV(line)

        with running(root, handler=Offers) as server, FtpRemote.open(server.location(connections=1)) as remote:
            [(_job, problem)] = remote.fetch([Fetch("gone", tmp_path / "target")])
            assert Reason.ABSENT is problem.reason
            assert b"x" == remote.read("f")
            assert asked == server.commands.count("EPSV")

    def test_no_rest(self, root: Path, tmp_path: Path) -> None:
        """Where a transfer can't begin in the middle, all is fetched again, and the file is whole."""
        (root / "f").write_bytes(b"0123456789")
        (tmp_path / "target").write_bytes(b"01234")
        with running(root, without=("REST",)) as server, FtpRemote.open(server.location()) as remote:
            [outcome] = remote.fetch([Fetch("f", tmp_path / "target", 5)])
            assert b"3456" == remote.read("f", 3, 4)
        assert isinstance(outcome, Fetched)
        assert (10, b"0123456789") == (outcome.size, (tmp_path / "target").read_bytes())

    def test_read_of_nothing_more_leaves_no_offset_behind(self, server: Running, root: Path, tmp_path: Path) -> None:
        """An offset that was announced and not used must not make the next upload begin there."""
        (root / "f").write_bytes(b"0123456789")
        (tmp_path / "source").write_bytes(b"new")
        with FtpRemote.open(server.location(connections=1)) as remote:
            assert b"" == remote.read("f", 10)
            remote.write("f", b"new")
            assert b"new" == remote.read("f")

    def test_no_append(self, root: Path) -> None:
        """Without APPE the traits say so from the first attempt on."""
        with running(root, without=("APPE",)) as server, FtpRemote.open(server.location()) as remote:
            assert remote.traits.appends
            with pytest.raises(HubRefused, match="f can't be appended to"):
                remote.append("f", b"x")
            assert not remote.traits.appends

    def test_full(self, root: Path, tmp_path: Path) -> None:
        """A disk without space is FULL, and the connection goes on."""
        (tmp_path / "source").write_text("x")

        class Full(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
            def ftp_STOR(self, _file: str, _mode: str = "w") -> None:  # noqa: N802  # pyftpdlib's naming
                self.respond("452 Insufficient storage space.")

        with running(root, handler=Full) as server, FtpRemote.open(server.location()) as remote:
            [outcome] = remote.store([Store(tmp_path / "source", "f")])
            assert isinstance(outcome, tuple)
            assert Reason.FULL is outcome[1].reason
            assert set() == names(remote)


class TestWithoutTls:
    def test_demanded(self, server: Running) -> None:
        """A server without TLS is not spoken to where TLS is demanded."""
        with pytest.raises(HubRefused, match="it offers no TLS"):
            FtpRemote.open(server.location(tls=Tls.EXPLICIT))

    def test_loopback(self, server: Running) -> None:
        """To this very machine a password may go in the clear when nothing else is offered."""
        with FtpRemote.open(server.location(tls=Tls.IF_OFFERED)) as remote:
            assert [Problem("l", Reason.KIND, "FTP has no command that makes links")] == remote.make_links([("l", "t")])
        assert "AUTH TLS" in server.commands

    def test_not_wanted(self, server: Running) -> None:
        """With `tls no` nobody asks."""
        FtpRemote.open(server.location(tls=Tls.NO)).close()
        assert "AUTH TLS" not in server.commands


def test_a_copy_finds_its_place_taken_unseen(root: Path, tmp_path: Path) -> None:
    """What listings hide, and nobody knows of, is noticed where a conflict's copy was to be laid."""

    node = tmp_path / "node"
    node.mkdir()
    (node / ".profile").write_text("of the node")
    (root / ".profile").write_text("of the hub")
    (root / ".profile.paris").write_text("unseen")
    with running(root, without=(*WITHOUT_MLSD, "STAT"), handler=Hides) as server:
        settings = Settings(node, "paris", server.location(), peer="hub", includedots=True)
        for _ in range(2):  # it is not known from the first what this server hides
            session.run(settings, Audience())
    found = {path.name: path.read_text() for path in root.iterdir() if path.is_file()}
    assert {".profile": "of the hub", ".profile.paris": "unseen", ".profile.paris.2": "of the node"} == found
    assert "of the hub" == (node / ".profile.hub").read_text()


@pytest.mark.parametrize("writes_over", [False, True])
def test_a_hub_that_neither_appends_nor_replaces(root: Path, tmp_path: Path, writes_over: bool) -> None:
    """Each run finds that out anew, and sends nothing twice for it; what an ended run left beside a state does not
    stop the next one."""

    class Strict(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
        """As ProFTPD with `AllowOverwrite off` and without `AllowStoreRestart`."""

        def ftp_APPE(self, _path: str) -> None:  # noqa: N802  # pyftpdlib's naming
            self.respond("451 Append/Restart not permitted, try again")

        def ftp_STOR(self, path: str, mode: str = "w") -> None:  # noqa: N802
            if Path(path).exists() and not writes_over:
                self.respond("550 Overwrite permission denied")
            else:
                super().ftp_STOR(path, mode)

        def ftp_RNTO(self, path: str) -> None:  # noqa: N802
            if Path(path).is_file():
                self.respond("550 Rename permission denied")
            else:
                super().ftp_RNTO(path)

    node = tmp_path / "node"
    node.mkdir()
    with running(root, handler=Strict) as server:
        settings = Settings(node, "paris", server.location(), peer="hub")
        for number in range(4):
            (node / "f").write_text("x" * number)
            os.utime(node / "f", (10**9 + number, 10**9 + number))
            (node / f"g{number}").write_text("g")
            server.commands.clear()
            assert 0 == session.run(settings, Audience()).exit_status
            assert 2 == sum(line.startswith("STOR") and ".sync.tmp/2" in line for line in server.commands)
            assert "x" * number == (root / "f").read_text()
            (root / STATE_DIR / "paris.new").write_text("left")
