"""Files, names and links of the bundled hub over SFTP, as paramiko's client and bare packets see them."""

import io
import os
import resource
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from integration import sftp_wire as wire
from integration.sftp_wire import Client, string, transport
from symsync_hub import RunningHub, running

MEBIBYTE = bytes(range(256)) * 4096


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub over an empty directory."""
    (tmp_path / "home").mkdir()
    with running(tmp_path / "home", sftp=True) as hub:
        yield hub


@pytest.fixture
def connection(hub: RunningHub) -> Iterator[paramiko.Transport]:
    """An SSH connection to it."""
    with transport(hub) as connection:
        yield connection


@pytest.fixture
def sftp(connection: paramiko.Transport) -> Iterator[paramiko.SFTPClient]:
    """paramiko's client."""
    with connection.open_sftp_client() as client:
        yield client


@pytest.fixture
def client(connection: paramiko.Transport) -> Client:
    """Bare packets; the session has begun."""
    client = Client.over(connection)
    client.channel.sendall(string(struct.pack(">BI", wire.INIT, 3)))
    client.reply()
    return client


def put(sftp: paramiko.SFTPClient, name: str, content: bytes = b"content") -> None:
    sftp.putfo(io.BytesIO(content), name)


def get(sftp: paramiko.SFTPClient, name: str) -> bytes:
    received = io.BytesIO()
    sftp.getfo(name, received)
    return received.getvalue()


def test_bytes_come_back_as_they_went(hub: RunningHub, sftp: paramiko.SFTPClient) -> None:
    """Three megabytes and none, each way."""
    for name, content in (("large", MEBIBYTE * 3), ("empty", b"")):
        put(sftp, name, content)
        assert content == (hub.directory / name).read_bytes()
        assert content == get(sftp, name)


def test_parts_of_files(hub: RunningHub, sftp: paramiko.SFTPClient) -> None:
    """Written in the middle, appended wherever the client thinks the end is, cut to a size, read past the end."""
    put(sftp, "file", b"0123456789")
    with sftp.open("file", "r+") as file:
        file.seek(4)
        file.write(b"abc")
    with sftp.open("file", "a") as one, sftp.open("file", "a") as other:
        one.write(b"!")
        other.write(b"?")
    assert b"0123abc789!?" == (hub.directory / "file").read_bytes()
    sftp.truncate("file", 6)
    with sftp.open("file", "r+") as file:
        file.truncate(5)
        file.seek(3)
        assert b"3a" == file.read(100)
        assert b"" == file.read(100)


def test_how_files_are_opened(hub: RunningHub, client: Client) -> None:
    """EXCLUSIVE refuses what is there, TRUNCATE empties it, plain WRITE keeps it and makes nothing."""
    (hub.directory / "file").write_bytes(b"content")
    (hub.directory / "dir").mkdir()

    def opened(name: bytes, flags: int) -> wire.Reply:
        return client.ask(wire.OPEN, string(name), struct.pack(">I", flags), wire.NO_ATTRIBUTES)

    make = wire.WRITING | wire.CREATING
    assert (wire.FAILURE, b"File exists") == refusal(opened(b"file", make | wire.EXCLUSIVE))
    assert (wire.NO_SUCH_FILE, b"No such file or directory") == refusal(opened(b"none", wire.WRITING))
    assert (wire.FAILURE, b"Is a directory") == refusal(opened(b"dir", wire.READING))
    opened(b"file", wire.WRITING)
    assert b"content" == (hub.directory / "file").read_bytes()
    opened(b"file", make | wire.TRUNCATING)
    assert b"" == (hub.directory / "file").read_bytes()


def refusal(reply: wire.Reply) -> tuple[int, bytes]:
    """The code and the text of a status."""
    return reply.code, reply.text


def test_rename_replaces_nothing_and_posix_rename_does(hub: RunningHub, sftp: paramiko.SFTPClient) -> None:
    """Neither files nor directories nor links, be they empty or dangling."""
    for name in ("old", "new"):
        put(sftp, name, name.encode())
    for name in ("empty", "dir"):
        sftp.mkdir(name)
    sftp.symlink("nowhere", "dangling")
    for old, new in (("old", "new"), ("old", "empty"), ("old", "dangling"), ("dir", "empty"), ("old", "old")):
        with pytest.raises(OSError, match="File exists"):
            sftp.rename(old, new)
    assert b"new" == (hub.directory / "new").read_bytes()
    sftp.rename("dir", "moved")
    sftp.posix_rename("old", "new")
    assert b"old" == (hub.directory / "new").read_bytes()
    sftp.rename("new", "moved/new")
    assert {"empty", "dangling", "moved"} == set(sftp.listdir())
    with pytest.raises(FileNotFoundError):
        sftp.rename("old", "other")


def test_one_of_six_makes_the_directory(hub: RunningHub) -> None:
    """MKDIR is the lock of a synchroniser: each time exactly one of those that try at once succeeds."""
    barrier = threading.Barrier(6)
    won: list[int] = []

    def race() -> None:
        with transport(hub) as connection, connection.open_sftp_client() as sftp:
            for number in range(20):
                barrier.wait()
                try:
                    sftp.mkdir(f"lock{number}")
                except OSError as error:
                    assert "File exists" == str(error)
                else:
                    won.append(number)

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(20)) == sorted(won)


def test_what_can_not_be_removed_is_told(sftp: paramiko.SFTPClient) -> None:
    """A directory with something in it, a file as a directory, a directory as a file, the home itself."""
    sftp.mkdir("dir")
    put(sftp, "dir/file")
    for path, message in (("dir", "Directory not empty"), ("/", "Invalid argument|busy"), ("none", "No such file")):
        with pytest.raises(OSError, match=message):
            sftp.rmdir(path)
    with pytest.raises(OSError, match="Is a directory"):
        sftp.remove("dir")
    with pytest.raises(FileNotFoundError):
        sftp.rmdir("dir/file")  # OpenSSH's code for "not a directory", too
    sftp.remove("dir/file")
    sftp.rmdir("dir")
    assert [] == sftp.listdir()


def test_modes_and_times(hub: RunningHub, sftp: paramiko.SFTPClient) -> None:
    """Set by name and by handle, for files and directories, and shown by both and in listings; no set-user-id bits."""
    put(sftp, "file")
    sftp.mkdir("dir", 0o700)
    sftp.chmod("file", 0o4640)
    sftp.utime("dir", (1, 1_577_934_245))
    with sftp.open("file") as file:
        file.utime((1, 4_000_000_000))
        assert (0o100640, 4_000_000_000) == (file.stat().st_mode, file.stat().st_mtime)
        file.chmod(0o6600)
    listed = {entry.filename: (entry.st_mode, entry.st_mtime) for entry in sftp.listdir_attr()}
    assert {"file": (0o100600, 4_000_000_000), "dir": (0o40700, 1_577_934_245)} == listed
    assert b"content" == (hub.directory / "file").read_bytes()
    with pytest.raises(PermissionError):
        sftp.chown("file", os.getuid(), os.getgid())


def test_a_links_own_time(hub: RunningHub, client: Client) -> None:
    """lsetstat changes the link and not what it points to."""
    (hub.directory / "file").touch()
    (hub.directory / "link").symlink_to("file")
    times = struct.pack(">III", 8, 1, 1_577_934_245)
    assert wire.OK == client.ask(wire.EXTENDED, string(b"lsetstat@openssh.com"), string(b"link"), times).code
    found = {name: int((hub.directory / name).lstat().st_mtime) for name in ("file", "link")}
    assert (1_577_934_245, False) == (found["link"], found["file"] == found["link"])
    mode = struct.pack(">II", 4, 0o600)
    refused = client.ask(wire.EXTENDED, string(b"lsetstat@openssh.com"), string(b"link"), mode)
    assert wire.UNSUPPORTED == refused.code


def test_links_are_kept_as_they_are_and_followed_inside(hub: RunningHub, sftp: paramiko.SFTPClient) -> None:
    """Any target; REALPATH tells where one leads, also for a name that is still free."""
    sftp.mkdir("dir")
    put(sftp, "dir/file")
    for target, name in (("dir", "inside"), ("../../etc", "outside"), ("/etc", "absolute"), ("a b", "dangling")):
        sftp.symlink(target, name)
        assert [target, Path(target)] == [sftp.readlink(name), (hub.directory / name).readlink()]
    assert b"content" == get(sftp, "inside/file")
    assert ["/dir", "/dir/new", "/", "/"] == [sftp.normalize(path) for path in ("inside", "inside/new", ".", "../..")]
    with pytest.raises(OSError, match="this is no link"):
        sftp.readlink("dir")


def test_links_out_of_the_home_are_not_followed(hub: RunningHub, sftp: paramiko.SFTPClient) -> None:
    """No request reads, writes, lists, enters or renames through them."""
    secret = hub.directory.parent / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(b"secret")
    for name, target in (("out", str(secret)), ("up", "../secret")):
        (hub.directory / name).symlink_to(target)
        put(sftp, "file")
        for attempt in (
            lambda name: sftp.open(f"{name}/file"),
            lambda name: sftp.open(f"{name}/new", "w"),
            lambda name: sftp.listdir(name),
            lambda name: sftp.stat(f"{name}/file"),
            lambda name: sftp.lstat(f"{name}/file"),
            lambda name: sftp.mkdir(f"{name}/new"),
            lambda name: sftp.remove(f"{name}/file"),
            lambda name: sftp.rename("file", f"{name}/stolen"),
            lambda name: sftp.posix_rename(f"{name}/file", "stolen"),
            lambda name: sftp.chmod(f"{name}/file", 0o777),
            lambda name: sftp.truncate(f"{name}/file", 0),
            lambda name: sftp.symlink("x", f"{name}/link"),
            lambda name: sftp.normalize(f"{name}/file"),
        ):
            with pytest.raises(PermissionError):
                attempt(name)
    assert [("file", b"secret")] == [(path.name, path.read_bytes()) for path in secret.iterdir()]


def test_thirty_thousand_names_are_all_listed(hub: RunningHub, client: Client) -> None:
    """Each once, in replies that every client can take."""
    names = {b"%05d" % number for number in range(30_000)}
    for name in names:
        (hub.directory / os.fsdecode(name)).touch()
    listed = client.names(b".")
    assert (30_000, names) == (len(listed), set(listed))
    handle = string(client.ask(wire.OPENDIR, string(b"/")).string)
    assert len(client.ask(wire.READDIR, handle).body) < 34_000


def test_names_that_are_not_utf8_survive(hub: RunningHub, client: Client) -> None:
    """Both ways, in every kind of reply; a line break is a character like any other."""
    name = b"caf\xe9 \xff\n"
    client.open(name, wire.WRITING | wire.CREATING)
    assert [name] == os.listdir(os.fsencode(hub.directory)) == client.names(b"")
    assert [b"/" + name] == client.ask(wire.REALPATH, string(name)).names
    (hub.directory / "link").symlink_to(os.fsdecode(b"\xfe"))
    assert [b"\xfe"] == client.ask(wire.READLINK, string(b"link")).names
    assert wire.BAD_MESSAGE == client.ask(wire.MKDIR, string(b"a\0b"), wire.NO_ATTRIBUTES).code


def test_requests_in_flight_are_answered_in_order(hub: RunningHub, client: Client) -> None:
    """Files are opened, written, looked at and closed without waiting for one reply."""
    handles = [client.open(b"%d" % number, wire.WRITING | wire.CREATING) for number in range(100)]
    asked = []
    for number, handle in enumerate(handles):
        content = b"%d" % number * 1000
        asked.append(client.send(wire.WRITE, handle, struct.pack(">Q", 0), string(content)))
        asked.append(client.send(wire.FSTAT, handle))
        asked.append(client.send(wire.CLOSE, handle))
        asked.append(client.send(wire.RENAME, string(b"%d" % number), string(b"new%d" % number)))
    assert asked == [client.reply().number for _ in asked]
    assert {f"new{n}": b"%d" % n * 1000 for n in range(100)} == {
        p.name: p.read_bytes() for p in hub.directory.iterdir()
    }


def test_what_the_hub_offers(connection: paramiko.Transport) -> None:
    """Version 3 and the extensions that our own client asks for; limits@openssh.com tells what is kept."""
    client = Client.over(connection)
    client.channel.sendall(string(struct.pack(">BI", wire.INIT, 3)))
    greeting = client.reply()
    assert (2, 3) == (greeting.kind, greeting.number)
    offered = {b"posix-rename@openssh.com", b"fsync@openssh.com", b"limits@openssh.com", b"lsetstat@openssh.com"}
    assert offered | {b"statvfs@openssh.com"} == set(strings(greeting.body)[::2])
    limits = struct.unpack(">QQQQ", client.ask(wire.EXTENDED, string(b"limits@openssh.com")).body)
    assert (262_144, 261_120, 261_120, 256) == limits
    space = struct.unpack(">11Q", client.ask(wire.EXTENDED, string(b"statvfs@openssh.com"), string(b"/")).body)
    assert space[1] * space[2] >= space[1] * space[4] > 0
    assert wire.UNSUPPORTED == client.ask(wire.EXTENDED, string(b"copy-data")).code
    assert wire.UNSUPPORTED == client.ask(21, string(b"a"), string(b"b")).code


def strings(body: bytes) -> list[bytes]:
    """All of a body's strings."""
    found = []
    while body:
        end = 4 + int.from_bytes(body[:4])
        found.append(body[4:end])
        body = body[end:]
    return found


def test_handles(client: Client) -> None:
    """There are no more than were told, each works once closed no more, and none does another kind's work."""
    file = client.open(b"file", wire.READING | wire.WRITING | wire.CREATING)
    assert wire.OK == client.ask(wire.EXTENDED, string(b"fsync@openssh.com"), file).code
    assert wire.FAILURE == client.ask(wire.READDIR, file).code
    directories = [string(client.ask(wire.OPENDIR, string(b"/")).string) for _ in range(255)]
    assert (wire.FAILURE, b"Too many open files") == refusal(client.ask(wire.OPENDIR, string(b"/")))
    assert wire.FAILURE == client.ask(wire.FSTAT, directories[0]).code
    assert [wire.OK, wire.FAILURE] == [client.ask(wire.CLOSE, directories[0]).code for _ in range(2)]
    client.ask(wire.OPENDIR, string(b"/")).string  # noqa: B018 - the handle that became free


def test_a_large_request_is_read_in_part(hub: RunningHub, client: Client) -> None:
    """READ gives as much as was told, an offset beyond all files is refused, and the end is told as such."""
    (hub.directory / "file").write_bytes(MEBIBYTE)
    file = client.open(b"file", wire.READING)
    asked = [(0, 2**31), (2**20 - 1, 2**20), (2**20, 1), (2**63, 1), (0, 0)]
    replies = [client.ask(wire.READ, file, struct.pack(">QI", *one)) for one in asked]
    assert [MEBIBYTE[:261_120], MEBIBYTE[-1:], b""] == [replies[n].string for n in (0, 1, 4)]
    assert [wire.EOF, wire.BAD_MESSAGE] == [replies[n].code for n in (2, 3)]


def test_a_full_disk_is_told(client: Client) -> None:
    """What the system refuses to write fails in the system's words, and the session goes on."""
    file = client.open(b"file", wire.WRITING | wire.CREATING)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        refused = client.ask(wire.WRITE, file, struct.pack(">Q", 0), string(b"x" * 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (wire.FAILURE, b"File too large") == refusal(refused)
    assert wire.OK == client.ask(wire.WRITE, file, struct.pack(">Q", 0), string(b"x")).code


@pytest.mark.parametrize("packet", [struct.pack(">I", 2**20), struct.pack(">I", 0), struct.pack(">IBH", 3, 3, 0)])
def test_who_breaks_the_protocol_is_put_out(hub: RunningHub, client: Client, packet: bytes) -> None:
    """A packet that is too long, empty, or ends within its number ends the session; others go on."""
    client.open(b"file", wire.WRITING | wire.CREATING)
    with transport(hub) as other, other.open_sftp_client() as sftp:
        client.channel.sendall(packet)
        with pytest.raises(EOFError):
            client.reply()
        assert ["file"] == sftp.listdir()


def test_a_request_that_ends_too_soon_is_refused(client: Client) -> None:
    """BAD_MESSAGE, and the session goes on."""
    assert wire.BAD_MESSAGE == client.ask(wire.STAT, struct.pack(">I", 100), b"short").code
    assert wire.BAD_MESSAGE == client.ask(wire.SETSTAT, string(b"/")).code
    assert [b"/"] == client.ask(wire.REALPATH, string(b".")).names
