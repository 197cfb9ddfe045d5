"""`.sync.conf`: what it may say, what it comes to, and what its writer is told when it can't be used."""

import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from symsync.config import config_file, find_directory, load, parse_url, read, settings_of, write_lines
from symsync.config.keys import ALIASES, PROPER
from symsync.config.passwords import asking
from symsync.config.url import Address
from symsync.core.modes import Mode
from symsync.core.safety import DEFAULT_MAXDELETE, MaxDelete
from symsync.remotes.location import Location, Protocol, Tls
from symsync.rules import Links
from symsync.settings import ConflictRule, Settings, Trash, Watch
from symsync_protocol.errors import HubRefused, LoginRefused, UsageError

ANCESTORS_EXAMPLE = """\
#
# .sync.conf - ftpsync configuration file.
#

nodename\tpc
remote\t\tserver

server\t\t192.168.0.4
login\t\tmy-ftp-account
password\tmy-secret-password

dir\t\tsync
includedots\tyes
allowblanks\tno
mode\t\tsync
symsync\t\tyes
"""

LEAST = "nodename pc\nserver host\nlogin me\n"


@pytest.fixture(autouse=True)
def _no_other_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's environment nor his ~/.netrc decides a test."""
    monkeypatch.delenv("SYMSYNC_PASSWORD", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


def written(directory: Path, text: str, mode: int = 0o600) -> Path:
    file = directory / ".sync.conf"
    file.write_text(text)
    file.chmod(mode)
    return directory


def message(directory: Path, text: str) -> str:
    """What `read` says to a configuration with this text, without the directory's name."""
    with pytest.raises(UsageError) as caught:
        read(written(directory, text))
    return str(caught.value).removeprefix(f"{directory}/")


def test_the_ancestors_example_runs_as_it_stands(directory: Path) -> None:
    """A user of ftpsync keeps his configuration."""
    settings = load(written(directory, ANCESTORS_EXAMPLE))
    expected = Settings(
        directory,
        "pc",
        Location(Protocol.FTP, "192.168.0.4", 21, "my-ftp-account", "my-secret-password", "sync", Tls.IF_OFFERED),
        "server",
        includedots=True,
    )
    assert expected == settings
    assert settings.location.password == "my-secret-password"


def test_what_is_left_out_has_the_documented_default(directory: Path) -> None:
    """A configuration of three lines comes to the defaults of docs/configuration.md."""
    expected = Settings(directory, "pc", Location(Protocol.FTP, "host", 21, "me", None, "", Tls.IF_OFFERED))
    assert expected == read(written(directory, LEAST))


def test_every_key_is_read(directory: Path) -> None:
    """Each key reaches the setting it names."""
    text = """
        name pc
        peername big-hub
        server example.org
        protocol sftp
        port 2222
        login me
        password a # b@c
        identityfile keys/id
        hostkey SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        dir /srv/my files
        includedots yes
        allowblanks yes
        mode master
        symsync no
        conflict newer
        trash no
        trashdays 7
        trashsize 500M
        maxdelete 25%
        links follow
        filemode 644
        dirmode 0755
        hubedits no
        connections 2
        compress yes
        bwlimit 1.5M
        delay 2
        interval 5m
        maxprocesses 3
        onchange make all
        onconflict mail me
        onerror false
    """
    expected = Settings(
        directory,
        "pc",
        Location(
            Protocol.SFTP,
            "example.org",
            2222,
            "me",
            "a # b@c",
            "/srv/my files",
            Tls.NO,
            host_key="SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            identity_file=directory / "keys/id",
            connections=2,
            compress=True,
            bandwidth=1_572_864,
        ),
        "big-hub",
        Mode.MASTER,
        symsync=False,
        includedots=True,
        allowblanks=True,
        conflict=ConflictRule.NEWER,
        trash=Trash(keep=False, days=7, size=500 << 20),
        maxdelete=MaxDelete(percent=25.0),
        links=Links.FOLLOW,
        filemode=0o644,
        dirmode=0o755,
        hubedits=False,
        watch=Watch(2.0, 300.0, 3, "make all", "mail me", "false"),
    )
    assert expected == read(written(directory, text))
    missing = ALIASES.keys() - {PROPER[line.split()[0]] for line in text.splitlines() if line.split()}
    assert missing == {"tls", "tlsfingerprint", "active"}


@pytest.mark.parametrize("word", ["nodename", "name", "node"])
@pytest.mark.parametrize("peer", ["peer", "peername", "remote"])
def test_aliases_mean_the_same(directory: Path, word: str, peer: str) -> None:
    """The ancestor's three words for either name are all understood."""
    settings = read(written(directory, f"{word} pc\n{peer} hub\nserver host\nlogin me\n"))
    assert (settings.node, settings.peer) == ("pc", "hub")


@pytest.mark.parametrize(
    ("protocol", "port", "tls", "expected"),
    [
        ("ftp", None, None, (21, Tls.IF_OFFERED)),
        ("ftp", None, "no", (21, Tls.NO)),
        ("ftp", None, "explicit", (21, Tls.EXPLICIT)),
        ("ftp", None, "implicit", (990, Tls.IMPLICIT)),
        ("ftps", None, None, (21, Tls.EXPLICIT)),
        ("ftps", "990", None, (990, Tls.IMPLICIT)),
        ("ftps", "2121", "implicit", (2121, Tls.IMPLICIT)),
        ("sftp", None, None, (22, Tls.NO)),
    ],
)
def test_tls_and_port_follow_from_each_other(
    directory: Path, protocol: str, port: str | None, tls: str | None, expected: tuple[int, Tls]
) -> None:
    """Implicit TLS has port 990, and port 990 has implicit TLS, unless both are written."""
    text = f"{LEAST}protocol {protocol}\n" + (f"port {port}\n" if port else "") + (f"tls {tls}\n" if tls else "")
    location = read(written(directory, text)).location
    assert expected == (location.port, location.tls)


def test_a_url_in_server_stands_for_the_keys(directory: Path) -> None:
    """`server` may be a whole URL, and gives what port, login, password and dir would."""
    by_url = read(written(directory, "nodename pc\nserver ftps://me:s%20cret@host:2121//srv/a%20b\n")).location
    by_keys = read(
        written(
            directory,
            "nodename pc\nserver host\nprotocol ftps\nport 2121\nlogin me\npassword s cret\ndir /srv/a b\n",
        )
    ).location
    assert by_keys == by_url
    assert by_keys.password == by_url.password


def test_a_local_hub_needs_no_server(directory: Path, tmp_path: Path) -> None:
    """`protocol file` with `dir`, and `server file:///DIR`, are the same hub."""
    hub = tmp_path / "hub"
    expected = Location(Protocol.FILE, login="", directory=str(hub))
    assert expected == read(written(directory, f"nodename pc\nprotocol file\ndir {hub}\n")).location
    assert expected == read(written(directory, f"nodename pc\nserver file://{hub}\n")).location


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LEAST + "nodnam x\n", ".sync.conf, line 4: unknown key nodnam; did you mean nodename?"),
        (
            LEAST + "\n# c\nmode both\n",
            ".sync.conf, line 6: mode both: allowed is one of sync, master, slave, original, mirror",
        ),
        (LEAST + "includedots true\n", ".sync.conf, line 4: includedots true: allowed is yes or no"),
        (LEAST + "name other\n", ".sync.conf, line 4: name was given in line 1 (nodename); keep one of them"),
        (LEAST + "dir\n", ".sync.conf, line 4: dir has no value; write: dir VALUE"),
        (LEAST + "port 70000\n", ".sync.conf, line 4: port 70000: allowed is a whole number from 1 to 65535"),
        (LEAST + "peer PC\n", ".sync.conf, line 4: peer PC: the node itself has this name; the two must differ"),
        (LEAST + "hostkey x\n", ".sync.conf, line 4: hostkey has no meaning with protocol ftp; remove the line"),
        (LEAST + "tls maybe\n", ".sync.conf, line 4: tls maybe: allowed is one of explicit, implicit, no"),
        (
            LEAST + "protocol ftps\ntls no\n",
            ".sync.conf, line 5: tls no: protocol ftps is FTP with TLS; for plain FTP write protocol ftp",
        ),
        (
            LEAST + "maxdelete some\n",
            ".sync.conf, line 4: maxdelete some: allowed is a number of files, or a percentage such as 25%",
        ),
        (
            LEAST + "filemode 9\n",
            ".sync.conf, line 4: filemode 9: allowed is permission bits in octal, such as 644 or 0755",
        ),
        (LEAST + "delay soon\n", ".sync.conf, line 4: delay soon: allowed is a time such as 5s, 30s, 5m or 1h"),
        (
            "nodename my pc\nserver host\n",
            ".sync.conf, line 1: nodename 'my pc': only letters, digits and dashes are allowed, at most 63 of them",
        ),
        (
            "server host\n",
            ".sync.conf: the key nodename is missing (this node's name, unique on the hub); add a line: nodename VALUE",
        ),
        (
            "nodename pc\nserver ftp://me@host/\nlogin you\n",
            ".sync.conf, line 3: login: the URL in server gives it too; keep one of them",
        ),
        (
            "nodename pc\nserver host:2121\n",
            ".sync.conf, line 2: server host:2121: allowed is a host name or address, or a whole URL; "
            "a port has a line of its own: port NUMBER",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(directory: Path, text: str, expected: str) -> None:
    """An unusable line is named by file and number, with what is allowed there."""
    assert expected == message(directory, text)


def test_a_missing_server_is_named(directory: Path) -> None:
    """Without a server there is nowhere to go."""
    assert "the key server is missing" in message(directory, "nodename pc\n")


def test_hub_and_node_may_not_lie_in_each_other(directory: Path) -> None:
    """A hub inside the node would synchronise itself for ever."""
    assert "lie one in the other; keep them apart" in message(
        directory, f"nodename pc\nprotocol file\ndir {directory}/hub\n"
    )


def test_line_ends_and_byte_order_marks_of_other_systems(directory: Path) -> None:
    """An editor on Windows may have saved the file."""
    (directory / ".sync.conf").write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert read(directory).location.login == "me"


def test_a_password_keeps_hash_at_and_blanks(directory: Path) -> None:
    """There are no quotes and no inline comments."""
    settings = read(written(directory, LEAST + "password # linux@zanjan  4 'ever'\n"))
    assert settings.location.password == "# linux@zanjan  4 'ever'"


@pytest.mark.skipif(os.name != "posix", reason="permission bits are a matter of POSIX")
@pytest.mark.parametrize("secret", ["password x\n", "#\n"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o600])
def test_a_password_that_others_can_read_stops(directory: Path, secret: str, mode: int) -> None:
    """A readable file is refused exactly if it holds a password, with the command that helps."""
    written(directory, LEAST + secret, mode)
    if secret.startswith("password") and mode != 0o600:
        with pytest.raises(UsageError, match=f"chmod 600 {directory}/.sync.conf"):
            read(directory)
    else:
        assert read(directory).node == "pc"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12", MaxDelete(count=12)),
        ("0", MaxDelete(count=0)),
        ("25%", MaxDelete(percent=25.0)),
        ("2.5 %", MaxDelete(percent=2.5)),
    ],
)
def test_maxdelete_counts_as_written(directory: Path, value: str, expected: MaxDelete) -> None:
    """A count or a percentage; only the default has a floor."""
    assert expected == read(written(directory, f"{LEAST}maxdelete {value}\n")).maxdelete
    assert DEFAULT_MAXDELETE.floor > expected.floor


@pytest.mark.parametrize(
    ("value", "expected"),
    [("500", 500), ("64K", 65536), ("64k", 65536), ("1.5M", 1572864), ("2MiB", 2 << 20), ("none", None)],
)
def test_bwlimit_is_bytes_per_second(directory: Path, value: str, expected: int | None) -> None:
    """K and M are powers of 1024."""
    assert expected == read(written(directory, f"{LEAST}bwlimit {value}\n")).location.bandwidth


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://me:pw@host:2121/dir", Address(Protocol.FTP, "host", 2121, "me", "pw", "dir")),
        ("ftp://host", Address(Protocol.FTP, "host")),
        ("ftp://host/", Address(Protocol.FTP, "host")),
        ("ftp://host/a/b", Address(Protocol.FTP, "host", directory="a/b")),
        ("ftp://host//a/b", Address(Protocol.FTP, "host", directory="/a/b")),
        ("ftp://host/%2Fa/b", Address(Protocol.FTP, "host", directory="/a/b")),
        ("FTP://host/a%20b", Address(Protocol.FTP, "host", directory="a b")),
        (
            "ftp://me:linux@zanjan@host/x",
            Address(Protocol.FTP, "host", login="me", password="linux@zanjan", directory="x"),
        ),
        ("ftp://me:a%3Ab%2Fc#d?@host/x", Address(Protocol.FTP, "host", login="me", password="a:b/c#d?", directory="x")),
        ("ftp://me%40isp:@host/", Address(Protocol.FTP, "host", login="me@isp", password="")),
        ("ftps://[::1]:990/x", Address(Protocol.FTPS, "::1", 990, directory="x")),
        ("sftp://me@host/x", Address(Protocol.SFTP, "host", login="me", directory="x")),
        ("file:///mnt/disk", Address(Protocol.FILE, directory="/mnt/disk")),
        ("file://localhost/mnt/disk", Address(Protocol.FILE, directory="/mnt/disk")),
        ("/mnt/disk", Address(Protocol.FILE, directory="/mnt/disk")),
        ("ftp://host/caf%E9", Address(Protocol.FTP, "host", directory="caf\udce9")),
    ],
)
def test_urls(url: str, expected: Address) -> None:
    """RFC 1738: relative to where the login lands, absolute with a second slash or %2F."""
    assert expected == parse_url(url)


def test_a_plain_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`symsync init notes hub` means the directory `hub` beside it."""
    monkeypatch.chdir(tmp_path)
    assert Address(Protocol.FILE, directory=str(tmp_path / "hub")) == parse_url("hub")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://host/",
        "ftp:///dir",
        "ftp://me@/dir",
        "ftp://host:x/",
        "ftp://host:0/",
        "ftp://::1/",
        "ftp://[::1/",
        "file://mnt/x",
        "ftp://host/a%0D%0ADELE%20b",
    ],
)
def test_urls_that_say_nothing_usable(url: str) -> None:
    """What can't be used is refused before anything is sent; a line break could be a second command."""
    with pytest.raises(UsageError):
        parse_url(url)


def test_passwords_in_their_order(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, then SYMSYNC_PASSWORD, then the configuration, then ~/.netrc."""
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine host login me password from-netrc\n")
    netrc.chmod(0o600)
    found = [load(written(directory, LEAST)).location.password]
    written(directory, LEAST + "password from-file\n")
    found.append(load(directory).location.password)
    monkeypatch.setenv("SYMSYNC_PASSWORD", "from-environment")
    found.append(load(directory).location.password)
    found.append(load(directory, password="from-option").location.password)
    assert found == ["from-netrc", "from-file", "from-environment", "from-option"]


class Keyring(ModuleType):
    """Stands for the keyring package, which is an extra."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, passwords: dict[tuple[str, str], str] | None) -> None:
        super().__init__("keyring")
        self.errors = ModuleType("keyring.errors")
        self.locked = type("KeyringLocked", (Exception,), {})
        setattr(self.errors, "KeyringError", self.locked)  # noqa: B010 - a module has no such attribute of its own
        self.passwords = passwords
        monkeypatch.setitem(sys.modules, "keyring", self)
        monkeypatch.setitem(sys.modules, "keyring.errors", self.errors)

    def get_password(self, service: str, username: str) -> str | None:
        if self.passwords is None:
            raise self.locked
        return self.passwords.get((service, username))


@pytest.mark.parametrize(
    ("passwords", "expected"),
    [({("symsync", "me@host"): "from-keyring"}, "from-keyring"), ({}, "from-netrc"), (None, "from-netrc")],
)
def test_the_keyring_comes_before_netrc(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    passwords: dict[tuple[str, str], str] | None,
    expected: str,
) -> None:
    """A keyring that is locked or knows nothing is passed over."""
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine host login me password from-netrc\n")
    netrc.chmod(0o600)
    Keyring(monkeypatch, passwords)
    assert load(written(directory, LEAST)).location.password == expected


def test_who_sits_at_a_terminal_is_asked(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question names the login and the host."""
    asked = []

    def getpass(prompt: str, _stream: object) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert load(written(directory, LEAST)).location.password == "typed"
    assert asked == ["Password of me@host: "]


def test_a_netrc_that_others_can_read_is_told(directory: Path) -> None:
    """The standard library refuses it; the user learns of which file."""
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine host login me password x\n")
    netrc.chmod(0o644)
    with pytest.raises(UsageError, match=r"~/.netrc can't be used: ~/.netrc access too permissive"):
        load(written(directory, LEAST))


def test_netrc_of_another_login_does_not_count(directory: Path) -> None:
    """A password belongs to its login."""
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine host login somebody password x\n")
    netrc.chmod(0o600)
    with pytest.raises(UsageError, match="no password for me@host: set SYMSYNC_PASSWORD"):
        load(written(directory, LEAST))


def test_who_needs_no_password(directory: Path) -> None:
    """Anonymous FTP takes any, SSH is first offered keys, and a directory asks nobody."""
    for text in (
        "nodename pc\nserver ftp://anonymous@host/\n",
        "nodename pc\nserver sftp://me@host/\n",
        f"nodename pc\nserver file://{directory}-hub\n",
    ):
        assert load(written(directory, text)).location.password is None


def test_a_further_hub_has_its_own_file(directory: Path) -> None:
    """`.sync-SERVER.conf` is used instead, and without one the names that there are are told."""
    written(directory, LEAST)
    (directory / ".sync-home.conf").write_text(LEAST.replace("host", "192.168.0.4"))
    assert read(directory, "home").location.host == "192.168.0.4"
    ways = "is configured for: home; name one of them as SERVER, or begin with: symsync init DIR URL --server work"
    with pytest.raises(UsageError, match=ways):
        read(directory, "work")


@pytest.mark.parametrize("server", ["", "../x", "a/b"])
def test_a_server_name_is_no_path(directory: Path, server: str) -> None:
    """SERVER can't lead to a file elsewhere."""
    with pytest.raises(UsageError):
        config_file(directory, server)


def test_without_configuration_the_way_to_begin_is_told(directory: Path) -> None:
    """A missing file or directory ends with the command that makes it."""
    for place in (directory, directory / "missing"):
        with pytest.raises(UsageError, match="symsync init DIR URL"):
            read(place)


def test_the_directory_around_the_current_one_is_found(directory: Path) -> None:
    """As git does it: the nearest one upwards."""
    below = directory / "a" / "b"
    below.mkdir(parents=True)
    written(directory, LEAST)
    assert directory == find_directory(below)
    with pytest.raises(UsageError, match="nor a directory above it is synchronised"):
        find_directory(directory.parent)


def test_what_is_written_is_read_back(directory: Path) -> None:
    """A file made by us has the settings it was made from, and is for its owner alone."""
    lines = {"nodename": "pc", "server": "host", "login": "me", "password": "a#b c", "dir": "caf\udce9"}
    file = directory / ".sync.conf"
    write_lines(file, lines)
    assert settings_of(lines, file, directory) == read(directory)
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_never_overwritten(directory: Path) -> None:
    """Whoever wrote it keeps it."""
    written(directory, LEAST)
    with pytest.raises(UsageError, match="can't be written: File exists"):
        write_lines(directory / ".sync.conf", {"nodename": "other"})
    assert read(directory).node == "pc"


@pytest.mark.parametrize("value", ["", " x", "x ", "a\nb"])
def test_values_that_the_syntax_can_not_hold_are_not_written(directory: Path, value: str) -> None:
    """Nothing is written that would be read back as something else."""
    with pytest.raises(UsageError):
        write_lines(directory / ".sync.conf", {"dir": value})
    assert list(directory.iterdir()) == []


def test_every_key_is_documented() -> None:
    """docs/configuration.md names each key and each alias, and none that does not exist."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    keys_in_tables = set()
    for row in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE):
        keys_in_tables.update(re.findall(r"`([a-z]+)`", row))
    assert keys_in_tables <= PROPER.keys()
    assert [word for word in PROPER if f"`{word}`" not in page] == []


@pytest.mark.parametrize("error", [LoginRefused, HubRefused])
def test_who_is_refused_learns_where_the_password_came_from(
    directory: Path, error: type[HubRefused], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the place, for there are five; not where something else than the login was refused."""
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine host login me password x\n")
    netrc.chmod(0o600)

    def told(given: str | None = None) -> str:
        def act(_: Settings) -> None:
            raise error("refused")

        with pytest.raises(error) as caught:
            asking(load(directory, None, given), act)
        return str(caught.value)

    written(directory, LEAST)
    found = [told()]
    written(directory, LEAST + "password x\n")
    found.append(told())
    monkeypatch.setenv("SYMSYNC_PASSWORD", "x")
    found += [told(), told("x")]
    places = ["~/.netrc", "the configuration", "SYMSYNC_PASSWORD", "the command line"]
    told_from = [f"; the password is from {place}" if error is LoginRefused else "" for place in places]
    assert [f"refused{text}" for text in told_from] == found


def test_keys_that_are_refused_are_no_password(directory: Path) -> None:
    """Where there is no password, nothing is said of one."""

    def act(_: Settings) -> None:
        raise LoginRefused("refused")

    with pytest.raises(LoginRefused, match=r"^refused$"):
        asking(load(written(directory, "nodename pc\nserver sftp://me@host/\n")), act)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("host:/dir", "sftp://host//dir"),
        ("host:dir", "sftp://host/dir"),
        ("host:", "sftp://host/"),
        ("ada@host.example.org:~/x", "sftp://ada@host.example.org/~/x"),
        ("[::1]:/dir", "sftp://[::1]//dir"),
        ("host::module", "sftp://host/module"),
    ],
)
def test_the_form_of_scp_is_no_path(path: str, url: str) -> None:
    """Who means another computer is told the URL instead of getting a directory of that name."""
    with pytest.raises(UsageError, match=re.escape(f"named by a URL: {url}; one on this computer, by ./{path}")):
        parse_url(path)


@pytest.mark.parametrize("path", ["./host:/dir", "/host:/dir", "a/host:dir", "there:is", ":x", "~/x:y"])
def test_paths_with_colons(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What exists, or can be nothing else, is a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there:is").mkdir()
    assert Protocol.FILE is parse_url(path).protocol
