"""The bundled hub over TLS, explicit and implicit."""

import ftplib
import hashlib
import io
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from symsync_hub import RunningHub, running
from symsync_hub.accounts import Accounts, Login
from symsync_hub.door import Door, Limits
from symsync_hub.ftp.server import FtpOptions, FtpServer
from symsync_hub.hub import serving
from symsync_hub.listener import Address
from symsync_hub.tls import given_certificate, own_certificate, server_context
from symsync_protocol.errors import UsageError


class Client(ftplib.FTP_TLS):
    """ftplib, resuming the control connection's session for data as vsftpd demands it."""

    sock: ssl.SSLSocket
    resumed: bool | None = None

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        data = self.context.wrap_socket(connection, session=self.sock.session)
        self.resumed = data.session_reused
        return data, size  # type: ignore[return-value]  # typeshed has no size of None


def context(highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Trusts any certificate: what is trusted is the client's matter, and tested there."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    trusting.maximum_version = highest
    return trusting


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub that offers TLS."""
    (tmp_path / "home").mkdir()
    with running(tmp_path / "home", tls=True, data=tmp_path / "data") as hub:
        yield hub


def connected(hub: RunningHub) -> Client:
    """A client that is logged in, with protected data connections."""
    ftp = Client(context=context(), timeout=20)
    ftp.connect(hub.host, hub.port)
    ftp.login(hub.login, hub.password)
    ftp.prot_p()
    return ftp


def test_bytes_come_back_and_sessions_are_resumed(hub: RunningHub) -> None:
    """A megabyte each way and a listing, each on a data connection that resumes the session, TLS 1.2 all of it."""
    content = bytes(range(256)) * 4096
    received: list[bytes] = []
    with connected(hub) as ftp:
        assert "TLSv1.2" == ftp.sock.version()
        ftp.storbinary("STOR file", io.BytesIO(content))
        assert ftp.resumed
        ftp.retrbinary("RETR file", received.append)
        assert ftp.resumed
        assert ["file"] == [name for name, _ in ftp.mlsd()]
    assert content == b"".join(received)


def test_fingerprint_is_that_of_the_certificate_shown(hub: RunningHub) -> None:
    """What the hub tells its user is what a client sees."""
    with connected(hub) as ftp:
        shown = hashlib.sha256(ftp.sock.getpeercert(binary_form=True) or b"").hexdigest()
    assert hub.fingerprint is not None
    assert shown == hub.fingerprint.replace(":", "").lower()


def test_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    """The next start finds the same one, so that pins hold."""
    first = own_certificate(tmp_path / "data")
    fingerprint = first.fingerprint
    assert fingerprint == own_certificate(tmp_path / "data").fingerprint
    assert 0o600 == stat.S_IMODE(first.key.stat().st_mode)


def test_unfit_certificates_are_one_line(tmp_path: Path) -> None:
    """A file that is none, and a key that belongs to another certificate."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    one, other = own_certificate(tmp_path / "one"), own_certificate(tmp_path / "other")
    for certificate in (given_certificate(nonsense, None), given_certificate(one.chain, other.key)):
        with pytest.raises(UsageError, match="can't be used"):
            server_context(certificate)


def test_data_in_the_clear_is_refused_after_a_login_over_tls(hub: RunningHub) -> None:
    """Neither by default nor after PROT C; a hub without TLS has no AUTH."""
    with connected(hub) as ftp:
        for command in ("PASV", "EPSV", "PORT 127,0,0,1,200,1"):
            ftp.voidcmd("PROT C")
            with pytest.raises(ftplib.error_perm, match="521 PROT P first"):
                ftp.sendcmd(command)
    with running(hub.directory) as plain, pytest.raises(ftplib.error_perm, match="502"):
        connected(plain)


def test_tls_can_be_required(tmp_path: Path) -> None:
    """Then no password is taken without it, even from this machine."""
    with running(tmp_path, require_tls=True) as hub:
        with ftplib.FTP(timeout=20) as plain:
            plain.connect(hub.host, hub.port)
            with pytest.raises(ftplib.error_perm, match="530 This hub wants TLS"):
                plain.login(hub.login, hub.password)
        with connected(hub) as ftp:
            assert "/" == ftp.pwd()


def test_upload_without_close_notify_is_not_whole(hub: RunningHub) -> None:
    """Somebody between client and hub could have cut the connection: 426, and 226 with a proper end."""
    with connected(hub) as ftp:
        data = ftp.transfercmd("STOR cut")
        data.sendall(b"half")
        data.close()
        with pytest.raises(ftplib.error_temp, match="426"):
            ftp.voidresp()
        assert "226" == ftp.storbinary("STOR whole", io.BytesIO(b"whole"))[:3]


def test_commands_in_the_clear_behind_auth_are_forgotten(hub: RunningHub) -> None:
    """What another slipped in before the handshake is not carried out after it (RFC 4217, 15.1)."""
    with socket.create_connection((hub.host, hub.port), timeout=20) as plain:
        plain.recv(100)
        plain.sendall(b"AUTH TLS\r\nNOOP\r\nNOOP\r\n")
        assert plain.recv(100).startswith(b"234")
        with context().wrap_socket(plain) as protected:
            protected.sendall(b"SYST\r\n")
            assert protected.recv(100).startswith(b"215")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # which is the point
def test_old_tls_is_refused(hub: RunningHub) -> None:
    """TLS 1.1 is over (RFC 8996)."""
    old = context(ssl.TLSVersion.TLSv1_1)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with ftplib.FTP_TLS(context=old, timeout=20) as ftp:
        ftp.connect(hub.host, hub.port)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ftp.auth()


def test_implicit_tls(tmp_path: Path) -> None:
    """TLS from the first byte, data protected without being asked."""
    tls = server_context(own_certificate(tmp_path / "data"))
    (tmp_path / "file").write_bytes(b"content")
    accounts, door = Accounts(tmp_path, [Login("ada", "secret")]), Door(Limits())
    client = context()
    server = FtpServer(Address("127.0.0.1", 0), accounts, door, tls, FtpOptions(implicit=True))
    with (
        serving([server]),
        socket.create_connection((server.address.host, server.address.port), timeout=20) as raw,
        client.wrap_socket(raw) as control,
        closing(control.makefile("rb")) as replies,
    ):
        assert replies.readline().startswith(b"220")
        for command, code in ((b"USER ada", b"331"), (b"PASS secret", b"230"), (b"EPSV", b"229")):
            control.sendall(command + b"\r\n")
            reply = replies.readline()
            assert reply.startswith(code)
        control.sendall(b"RETR file\r\n")
        port = int(reply.split(b"|")[3])
        with (
            socket.create_connection((server.address.host, port), timeout=20) as plain,
            client.wrap_socket(plain, session=control.session) as data,
        ):
            assert b"content" == data.recv(100)
