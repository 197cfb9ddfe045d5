"""The test servers themselves: what the other tests take for granted about them."""

import ftplib
import io
import ssl
from collections.abc import Callable

import pytest

from real_servers import LOGIN, PASSWORD, SERVERS
from symsync.remotes.location import Location

Servers = Callable[[str], Location]


@pytest.mark.parametrize("name", SERVERS)
def test_every_test_gets_an_empty_directory_of_its_own(servers: Servers, name: str) -> None:
    """Two directories on one server differ, and nothing lies in either."""
    one, other = servers(name), servers(name)

    assert one.directory != other.directory
    assert [one.directory, other.directory] == SERVERS[name].run("find", one.directory, other.directory).split()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pure-ftpd"])
def test_plain_ftp_lands_where_the_directory_was_made(servers: Servers, name: str) -> None:
    """A file stored in the directory over FTP is a file of the login's in the container."""
    location = servers(name)
    stored = f"{location.directory}/f"

    with ftplib.FTP() as ftp:
        ftp.connect(location.host, location.port)
        ftp.login(LOGIN, PASSWORD)
        ftp.storbinary(f"STOR {stored}", io.BytesIO(b"content"))

    expected = [LOGIN, "content"]
    assert expected == [SERVERS[name].run("stat", "--format=%U", stored).strip(), SERVERS[name].run("cat", stored)]


@pytest.mark.parametrize("name", ["vsftpd-tls", "proftpd-tls"])
def test_tls_session_must_be_reused(servers: Servers, name: str) -> None:
    """These servers keep their default: a data connection with a TLS session of its own is refused."""
    location = servers(name)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    with ftplib.FTP_TLS(context=context) as ftp:
        ftp.connect(location.host, location.port)
        ftp.login(LOGIN, PASSWORD)
        ftp.prot_p()
        with pytest.raises((ftplib.Error, OSError, EOFError)):
            ftp.storbinary(f"STOR {location.directory}/f", io.BytesIO(b"content"))
