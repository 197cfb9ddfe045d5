"""The bundled hub over plain FTP, as ftplib and bare sockets see it."""

import contextlib
import ftplib
import io
import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from symsync_hub import Limits, Login, RunningHub, running
from symsync_hub.ftp import data, session

MEBIBYTE = bytes(range(256)) * 4096


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub over an empty directory."""
    (tmp_path / "home").mkdir()
    with running(tmp_path / "home") as hub:
        yield hub


def connected(hub: RunningHub, login: str | None = None, password: str | None = None) -> ftplib.FTP:
    """A client that is logged in, binary, with names as bytes in Latin-1, which loses none."""
    ftp = ftplib.FTP(encoding="latin-1", timeout=20)
    ftp.connect(hub.host, hub.port)
    ftp.login(login or hub.login, password or hub.password)
    ftp.voidcmd("TYPE I")
    return ftp


@pytest.fixture
def ftp(hub: RunningHub) -> Iterator[ftplib.FTP]:
    """One client of that hub."""
    with connected(hub) as ftp:
        yield ftp


def put(ftp: ftplib.FTP, name: str, content: bytes = b"content") -> str:
    """Upload and return the reply."""
    return ftp.storbinary(f"STOR {name}", io.BytesIO(content))


def get(ftp: ftplib.FTP, name: str, rest: int | None = None) -> bytes:
    """Download."""
    received: list[bytes] = []
    ftp.retrbinary(f"RETR {name}", received.append, rest=rest)
    return b"".join(received)


def reply(ftp: ftplib.FTP, command: str) -> str:
    """The reply to a command, whatever its code."""
    try:
        return ftp.sendcmd(command)
    except (ftplib.error_perm, ftplib.error_temp) as error:
        return str(error)


def test_bytes_come_back_as_they_went(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """In both types, with sizes told in both: a line end is never changed."""
    content = b"one\ntwo\r\nthree\r" + MEBIBYTE
    for kind in "IA":
        ftp.voidcmd(f"TYPE {kind}")
        with ftp.transfercmd("STOR file") as data:
            data.sendall(content)
        assert "226" == ftp.voidresp()[:3]
        assert f"213 {len(content)}" == reply(ftp, "SIZE file")
        with ftp.transfercmd("RETR file") as data, data.makefile("rb") as stream:
            assert content == stream.read()
        ftp.voidresp()
    assert content == (hub.directory / "file").read_bytes()


def test_resume_and_append(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """REST before RETR and STOR, APPE to an old and to a new file."""
    put(ftp, "file", b"0123456789")
    assert b"6789" == get(ftp, "file", rest=6)
    ftp.storbinary("STOR file", io.BytesIO(b"abcdefgh"), rest=8)
    ftp.storbinary("APPE file", io.BytesIO(b"!"))
    ftp.storbinary("APPE new", io.BytesIO(b"first"))
    assert b"01234567abcdefgh!" == (hub.directory / "file").read_bytes()
    assert b"first" == (hub.directory / "new").read_bytes()
    with pytest.raises(ftplib.error_perm, match="554"):
        get(ftp, "file", rest=100)


def test_missing_directory_is_550_and_a_file_501(ftp: ftplib.FTP) -> None:
    """RFC 3659, 7.2.1; a synchroniser must tell a missing directory from an empty one."""
    put(ftp, "file")
    with pytest.raises(ftplib.error_perm, match="550 No such file"):
        list(ftp.mlsd("missing"))
    with pytest.raises(ftplib.error_perm, match="501"):
        list(ftp.mlsd("file"))
    for command in ("STAT missing", "MLST missing", "CWD missing", "SIZE missing", "MDTM missing", "DELE missing"):
        assert "550 No such file or directory." == reply(ftp, command)


def test_quit_ends_a_session_with_an_unused_data_connection(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """A listing was refused after its data connection was made: nothing is waited for, and no thread stays."""
    with pytest.raises(ftplib.error_perm):
        list(ftp.mlsd("missing"))
    (session,) = [thread for thread in threading.enumerate() if thread.name == f"symsync-hub {hub.host}"]
    ftp.quit()
    session.join(20)
    assert not session.is_alive()


def test_a_client_that_goes_while_it_is_told_a_port(
    hub: RunningHub, ftp: ftplib.FTP, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The data connection that nobody will use any more ends in silence when its time is over."""
    ended = threading.Event()
    respond, handle_timeout = session.Session.respond, data.Passive.handle_timeout

    def goes(self: session.Session, reply: str, **options: object) -> None:
        if reply.startswith("229"):
            self.close()
        else:
            respond(self, reply, **options)

    def times_out(self: data.Passive) -> None:
        ended.set()
        handle_timeout(self)

    monkeypatch.setattr(session.Session, "respond", goes)
    monkeypatch.setattr(data.Passive, "handle_timeout", times_out)
    monkeypatch.setattr(data.Passive, "timeout", 0.1)
    with pytest.raises(EOFError):
        ftp.sendcmd("EPSV")
    assert ended.wait(20)
    monkeypatch.undo()
    with connected(hub):
        assert "Traceback" not in caplog.text


def test_times_are_kept_to_the_millisecond(ftp: ftplib.FTP) -> None:
    """MFMT, MDTM, MLSD, MLST and both forms of SITE UTIME agree, for files and directories."""
    put(ftp, "file")
    ftp.mkd("dir")
    assert "213 Modify=20200102030405.678; /file" == reply(ftp, "MFMT 20200102030405.678 file")
    assert "213 20200102030405.678" == reply(ftp, "MDTM file")
    assert "213 Modify=20200102030405.000; /dir" == reply(ftp, "MFMT 20200102030405 dir")
    listed = {name: facts["modify"] for name, facts in ftp.mlsd()}
    assert {"file": "20200102030405.678", "dir": "20200102030405.000"} == listed
    reply(ftp, "SITE UTIME 20210102030405 file")
    assert "213 20210102030405.000" == reply(ftp, "MDTM file")
    reply(ftp, "SITE UTIME file 20220101000000 20220202020202 20220101000000 UTC")
    assert "213 20220202020202.000" == reply(ftp, "MDTM file")
    assert "501" == reply(ftp, "MFMT 20200231000000 file")[:3]


def test_modes_links_and_unique_facts(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """SITE CHMOD shows in MLSD, links are links, and hard-linked names share their `unique`."""
    put(ftp, "file")
    reply(ftp, "SITE CHMOD 640 file")
    assert "200" == reply(ftp, "SITE SYMLINK file link")[:3]
    os.link(hub.directory / "file", hub.directory / "same")
    facts = dict(ftp.mlsd())
    assert (facts["file"]["unix.mode"], facts["file"]["type"]) == ("0640", "file")
    assert "OS.unix=slink:file" == facts["link"]["type"]
    assert facts["file"]["unique"] == facts["same"]["unique"]
    assert b"content" == get(ftp, "link")
    lines: list[str] = []
    ftp.dir(lines.append)
    assert ["link -> file"] == [line[-len("link -> file") :] for line in lines if line.startswith("l")]


def test_listings_on_the_control_connection(ftp: ftplib.FTP) -> None:
    """STAT shows hidden names, takes `-a`, and names with brackets mean themselves."""
    ftp.mkd("a[1]*")
    put(ftp, "a[1]*/.hidden")
    for command in ("STAT a[1]*", "STAT -la a[1]*", "STAT a[1]*/.hidden"):
        lines = reply(ftp, command).splitlines()
        assert 3 == len(lines)
        assert ".hidden" == lines[1].split()[-1]
    assert ["a[1]*"] == ftp.nlst("-a")


def test_thirty_thousand_names_are_all_listed(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """No listing is cut, neither MLSD nor NLST nor STAT."""
    names = {f"{number:05}" for number in range(30_000)}
    for name in names:
        (hub.directory / name).touch()
    assert names == {name for name, _ in ftp.mlsd()}
    assert names == set(ftp.nlst())
    assert names == {line.split()[-1] for line in reply(ftp, "STAT /").splitlines()[1:-1]}


def test_names_that_are_not_utf8_survive(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """Both ways, in every command that takes or shows a name."""
    name = "caf\xe9 \xfc"  # sent as Latin-1 bytes
    put(ftp, name)
    assert [name.encode("latin-1")] == os.listdir(os.fsencode(hub.directory))
    assert [name] == ftp.nlst()
    assert [name] == [found for found, _ in ftp.mlsd()]
    assert f"/{name}" == reply(ftp, f"MLST {name}").splitlines()[1].split("; ")[1]
    ftp.rename(name, "\xe4")
    assert b"content" == get(ftp, "\xe4")
    ftp.mkd("\xf6")
    ftp.cwd("\xf6")
    assert "/\xf6" == ftp.pwd()


def test_names_that_would_break_replies_are_refused(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """CR, LF and NUL have no place in a name over FTP."""
    for name in ("a\nb", "a\0b", "a\rb"):
        ftp.sock.sendall(b"MKD " + name.encode() + b"\r\n")
        assert "501" == reply_code(ftp)
    assert [] == os.listdir(hub.directory)


def reply_code(ftp: ftplib.FTP) -> str:
    """The code of the next reply, whatever it is."""
    return ftp.getmultiline()[:3]


def test_a_reset_upload_is_not_whole(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """A data connection that ends without FIN is answered with 426; with FIN it is 226, even without a byte."""
    data = ftp.transfercmd("STOR cut")
    data.sendall(MEBIBYTE)
    data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    data.close()
    assert "426" == reply_code(ftp)
    ftp.transfercmd("STOR empty").close()
    assert "226" == reply_code(ftp)
    assert 0 == (hub.directory / "empty").stat().st_size


def test_an_upload_reset_before_it_is_taken_is_answered(ftp: ftplib.FTP) -> None:
    """Whether the hub took the connection already or not, when it was reset: 426 (many times, for that is chance)."""
    for _ in range(50):
        data = ftp.transfercmd("STOR cut")
        data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        data.close()
        assert "426" == reply_code(ftp)


def test_a_full_disk_is_told(ftp: ftplib.FTP) -> None:
    """What the system refuses to write is 452 with the system's words, and the session goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with ftp.transfercmd("STOR big") as data:
            data.sendall(b"x" * 5000)
            assert "452 File too large; transfer aborted." == ftp.getmultiline()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "226" == put(ftp, "big")[:3]


def test_commands_sent_ahead_wait_for_the_upload(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """RNFR and RNTO behind a STOR that still runs move the whole file, and replies come in order."""
    data = ftp.transfercmd("STOR new")
    ftp.sock.sendall(b"RNFR new\r\nRNTO old\r\nMFMT 20200102030405 old\r\nSIZE old\r\n")
    data.sendall(MEBIBYTE)
    data.close()
    assert ["226", "350", "250", "213", "213"] == [reply_code(ftp) for _ in range(5)]
    assert MEBIBYTE == (hub.directory / "old").read_bytes()


def test_a_rename_begins_anew(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """A refused RNFR leaves no earlier one for RNTO."""
    (hub.directory / "old").write_bytes(b"stays")
    assert "350" == reply(ftp, "RNFR old")[:3]
    assert "550" == reply(ftp, "RNFR missing")[:3]
    assert "503" == reply(ftp, "RNTO new")[:3]
    assert ["old"] == [path.name for path in hub.directory.iterdir()]


def test_abort_ends_a_download_and_the_session_goes_on(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """426 for the transfer, 226 for ABOR (RFC 959)."""
    with open(hub.directory / "large", "wb") as file:
        file.truncate(2**30)
    data = ftp.transfercmd("RETR large")
    data.recv(1)
    ftp.sock.sendall(b"ABOR\r\n")
    assert [reply_code(ftp), reply_code(ftp)] == ["426", "226"]
    data.close()
    assert "257" == reply(ftp, "PWD")[:3]


def test_part_of_a_file_can_be_read(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """REST, RETR, and the data connection closed by the client after what it wanted."""
    with open(hub.directory / "large", "wb") as file:
        file.truncate(2**30)
        file.seek(2**20)
        file.write(b"middle")
    with ftp.transfercmd("RETR large", rest=2**20) as data:
        assert b"middle" == data.recv(6, socket.MSG_WAITALL)
    assert "426" == reply_code(ftp)
    assert "200" == reply(ftp, "NOOP")[:3]


def test_a_transfer_needs_a_data_connection(ftp: ftplib.FTP) -> None:
    """Without PASV or PORT before it the command is refused at once instead of waiting for ever."""
    assert ["425", "425", "425"] == [reply(ftp, command)[:3] for command in ("STOR x", "RETR x", "MLSD")]


def test_only_the_client_itself_may_connect_for_data(ftp: ftplib.FTP) -> None:
    """A stranger at the passive port is turned away in silence, and the client still gets its file."""
    put(ftp, "file", b"mine")
    host, port = ftp.makepasv()
    with socket.create_connection((host, port), source_address=("127.0.0.2", 0)) as stranger:
        assert b"" == stranger.recv(1)
    with socket.create_connection((host, port)) as data:
        assert "1" == reply(ftp, "RETR file")[:1]
        assert b"mine" == data.recv(10)
    ftp.voidresp()


def test_active_mode(ftp: ftplib.FTP) -> None:
    """PORT works, and not against a third host or a privileged port (RFC 2577)."""
    put(ftp, "file", b"mine")
    ftp.set_pasv(False)
    assert b"mine" == get(ftp, "file")
    assert ["501", "501"] == [reply(ftp, f"PORT {address}")[:3] for address in ("192,0,2,1,200,1", "127,0,0,1,0,22")]


def test_links_out_of_the_home_are_shown_and_not_followed(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """No command reads, writes, enters or renames through them, in no spelling."""
    secret = hub.directory.parent / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(b"secret")
    (hub.directory / "out").symlink_to(secret)
    put(ftp, "file")
    ftp.makepasv()
    commands = ["CWD out", "STAT out", "SIZE out/file", "MDTM out/file", "RETR out/file", "STOR out/new", "MKD out/dir"]
    commands += ["DELE out/file", "MLST out/file", "RETR ./out/../out/file", "SITE CHMOD 777 out/file", "MLSD out"]
    assert {"550 Permission denied."} == {reply(ftp, command) for command in commands}
    reply(ftp, "RNFR file")
    assert "550 Permission denied." == reply(ftp, "RNTO out/file")
    assert "550" == reply(ftp, "RNFR out/file")[:3]
    assert "250" == reply(ftp, "CWD ../../..")[:3]
    assert "/" == ftp.pwd()
    assert ["file"] == os.listdir(secret)
    assert "OS.unix=slink:" + str(secret) == dict(ftp.mlsd())["out"]["type"]


def test_each_user_has_his_own_home_and_rights(tmp_path: Path) -> None:
    """Who may only read changes nothing, by no command; who has his own home sees nobody else's."""
    for name in ("common", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "common" / "file").write_bytes(b"common")
    reader, owner = Login("reader", "r", writable=False), Login("owner", "o", tmp_path / "own")
    with (
        running(tmp_path / "common", users=[reader, owner], anonymous=True) as hub,
        connected(hub, "reader", "r") as reading,
        connected(hub, "owner", "o") as owning,
        connected(hub, "anonymous", "me@") as anybody,
    ):
        put(owning, "mine")
        assert ["mine"] == owning.nlst()
        for ftp in (reading, anybody):
            assert b"common" == get(ftp, "file")
            ftp.makepasv()
            writes = ["STOR x", "APPE file", "STOU", "DELE file", "MKD x", "RMD x", "RNFR file", "SITE CHMOD 777 file"]
            writes += ["MFMT 20200101000000 file", "SITE UTIME 20200101000000 file", "SITE SYMLINK file x"]
            assert {"550 Not enough privileges."} == {reply(ftp, command) for command in writes}
    assert ["file"] == os.listdir(tmp_path / "common")


def test_three_wrong_passwords_end_the_connection(hub: RunningHub) -> None:
    """Unknown users and wrong passwords are answered alike."""
    with ftplib.FTP(timeout=20) as ftp:
        ftp.connect(hub.host, hub.port)
        for name, answer in ((hub.login, "530 Login incorrect."), ("nobody", "530 Login incorrect.")):
            assert "331" == reply(ftp, f"USER {name}")[:3]
            assert answer == reply(ftp, "PASS wrong")
        assert "530 Log in with USER and PASS first." == reply(ftp, "PWD")
        reply(ftp, f"USER {hub.login}")
        assert "530 Login incorrect. Disconnecting." == reply(ftp, "PASS wrong")
        with pytest.raises((EOFError, ConnectionError)):
            ftp.sendcmd("NOOP")


def test_too_many_connections_are_told(tmp_path: Path) -> None:
    """421 on connecting; when one has gone another may come."""
    limits = Limits(login_delay=0, per_address=2)
    with running(tmp_path, limits=limits) as hub, connected(hub) as first, connected(hub):
        with pytest.raises(ftplib.error_temp, match="421 Too many connections from your address"):
            connected(hub)
        first.quit()
        with connected_at_last(hub) as third:
            assert "/" == third.pwd()


def connected_at_last(hub: RunningHub) -> ftplib.FTP:
    """A client that comes as often as it is told to come later; the test's own time limit is the limit."""
    while True:
        with contextlib.suppress(ftplib.error_temp):
            return connected(hub)


def test_passwords_from_elsewhere_need_tls(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TLS only this machine itself may send a password."""
    monkeypatch.setattr(session, "is_loopback", lambda _address: False)
    with pytest.raises(ftplib.error_perm, match="530 Passwords are taken over TLS only"):
        connected(hub)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.1", False), ("fe80::1%eth0", False)],
)
def test_what_counts_as_this_machine(address: str, expected: bool) -> None:
    """IPv4 addresses in IPv6 clothes included."""
    assert expected is session.is_loopback(address)


def test_one_of_six_makes_the_directory(hub: RunningHub) -> None:
    """MKD is the lock of a synchroniser: each time exactly one of those that try at once succeeds."""
    barrier = threading.Barrier(6)
    won: list[int] = []

    def race(client: ftplib.FTP) -> None:
        for number in range(20):
            barrier.wait()
            if reply(client, f"MKD lock{number}").startswith("257"):
                won.append(number)

    clients = [connected(hub) for _ in range(6)]
    threads = [threading.Thread(target=race, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.quit()
    assert list(range(20)) == sorted(won)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Files made meanwhile lack these permission bits."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_new_files_and_directories_follow_the_umask(hub: RunningHub, ftp: ftplib.FTP) -> None:
    """As everything else on the machine does, unique names of STOU included."""
    with umask(0o027):
        put(ftp, "file")
        ftp.mkd("dir")
        ftp.storbinary("STOU", io.BytesIO(b"x"))
    assert {0o640, 0o750} == {path.stat().st_mode & 0o777 for path in hub.directory.iterdir()}
    assert 3 == len(os.listdir(hub.directory))


def test_stopping_ends_sessions_and_files(tmp_path: Path) -> None:
    """Leaving the block disconnects clients in the midst of an upload and leaves no thread behind."""
    before = threading.active_count()
    with running(tmp_path) as hub:
        ftp = connected(hub)
        data = ftp.transfercmd("STOR half")
        data.sendall(b"half")
    assert before == threading.active_count()
    with pytest.raises((EOFError, ConnectionError)):
        ftp.sendcmd("NOOP")
    data.close()
    ftp.close()
