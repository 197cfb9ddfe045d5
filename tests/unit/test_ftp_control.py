"""The control connection, against a scripted server at the other end of a socket pair."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from symsync.remotes.ftp.control import WINDOW_BYTES, WINDOW_COMMANDS, Control
from symsync.remotes.ftp.errors import ConnectionLost

HOST = "hub.example"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    # TCP, for TCP_NODELAY is set on it.
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _address = listener.accept()
    listener.close()
    with ours, theirs:
        yield ours, theirs


def control(sock: socket.socket, log: Callable[[str], None] | None = None) -> Control:
    return Control(sock, HOST, 10.0, log)


def test_replies_of_several_lines(ends: tuple[socket.socket, socket.socket]) -> None:
    """A reply ends with its own code and a blank; other codes and indented lines in between belong to it."""
    ours, theirs = ends
    theirs.sendall(b"211-Features:\r\n MDTM\r\n220 not the end\r\n211-nor this\r\n211 End\r\n200 OK\r\n")
    connection = control(ours)
    first, second = connection.reply(), connection.reply()
    assert (211, ("Features:", " MDTM", "220 not the end", "211-nor this", "End")) == (first.code, first.lines)
    assert (200, ("OK",)) == (second.code, second.lines)


def test_bytes_that_are_not_utf8(ends: tuple[socket.socket, socket.socket]) -> None:
    """They come as surrogates and go out as the same bytes."""
    ours, theirs = ends
    theirs.sendall(b'257 "/\xe9"\r\n')
    connection = control(ours)
    assert '257 "/\udce9"' == connection.reply().text
    connection.send("CWD /\udce9")
    assert b"CWD /\xe9\r\n" == theirs.recv(100)


def test_telnet_answers_are_no_replies(ends: tuple[socket.socket, socket.socket]) -> None:
    """ProFTPD takes part of such a name for Telnet's commands and answers them; the replies stay in step."""
    ours, theirs = ends
    theirs.sendall(b"\xff\xfc\r550 no such file\r\n\xff\xfea\xff\xfcb250 fine \xff\xfe\r\n")
    connection = control(ours)
    replies = connection.reply(), connection.reply()
    assert [(550, "no such file"), (250, "fine \udcff\udcfe")] == [(r.code, r.lines[0]) for r in replies]


def test_password_is_not_logged(ends: tuple[socket.socket, socket.socket]) -> None:
    """The conversation shows that a password went out, and not which."""
    ours, theirs = ends
    log: list[str] = []
    theirs.sendall(b"230 in\r\n")
    connection = control(ours, log.append)
    connection.ask("PASS secret")
    assert (["> PASS ****", "< 230 in"], b"PASS secret\r\n") == (log, theirs.recv(100))


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "closed by the server"),
        (b"421 Timeout.\r\n", "421 Timeout."),
        (b"half a lin", "closed by the server"),
        (b"what is this\r\n", "out of step"),
        (b"x" * 70_000, "a line without end"),
    ],
)
def test_lost(ends: tuple[socket.socket, socket.socket], sent: bytes, message: str) -> None:
    """Whatever ends the conversation is told in one line that names the host, and the connection is closed."""
    ours, theirs = ends
    theirs.sendall(sent)
    theirs.shutdown(socket.SHUT_WR)
    connection = control(ours)
    with pytest.raises(ConnectionLost, match=f"^{HOST}: the connection was lost .*{message}.*$"):
        connection.reply()
    assert not connection.alive


def test_a_silent_server(ends: tuple[socket.socket, socket.socket]) -> None:
    """A server that says nothing for the time given counts as lost."""
    connection = Control(ends[0], HOST, 0.01, None)
    with pytest.raises(ConnectionLost, match=r"no answer for 0\.01 s"):
        connection.reply()


def test_pipeline_can_not_deadlock(ends: tuple[socket.socket, socket.socket]) -> None:
    """Ten thousand commands whose replies are long: a server that stops reading while it writes comes through."""
    ours, theirs = ends
    count = 10_000
    reply = b"213-" + b"x" * 2000 + b"\r\n213 end\r\n"
    outstanding: list[int] = []

    def serve() -> None:
        rest, answered = b"", 0
        while answered < count:
            rest += theirs.recv(65536)
            lines = rest.split(b"\r\n")
            rest = lines.pop()
            outstanding.append(len(lines))
            for _line in lines:
                theirs.sendall(reply)
            answered += len(lines)

    server = threading.Thread(target=serve)
    server.start()
    replies = sum(reply.code == 213 for reply in control(ours).pipeline(f"STAT {i:0100}" for i in range(count)))
    server.join()
    assert count == replies
    assert max(outstanding) <= min(WINDOW_COMMANDS, WINDOW_BYTES // 100)


def test_a_server_that_reads_a_buffer_at_a_time_gets_whole_commands(ends: tuple[socket.socket, socket.socket]) -> None:
    """ProFTPD reads 4,102 bytes, and takes two commands for one where that ends between CR and LF."""
    ours, theirs = ends
    count, chunks = 500, list[bytes]()

    def serve() -> None:
        answered = 0
        while answered < count:
            time.sleep(0.005)  # as long as it looks elsewhere, the window fills
            chunks.append(theirs.recv(4102))
            lines = chunks[-1].count(b"\n")
            theirs.sendall(b"250 OK\r\n" * lines)
            answered += lines

    server = threading.Thread(target=serve)
    server.start()
    commands = ("RNFR " + "中" * (20 + number % 30) for number in range(count))
    assert count == sum(reply.ok for reply in control(ours).pipeline(commands))
    server.join()
    assert [] == [chunk[-9:] for chunk in chunks if not chunk.endswith(b"\r\n")]


def test_pipeline_of_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    """No commands, no bytes."""
    ours, theirs = ends
    assert [] == list(control(ours).pipeline([]))
    ours.shutdown(socket.SHUT_WR)
    assert b"" == theirs.recv(1)


def test_words_before_the_handshake(ends: tuple[socket.socket, socket.socket]) -> None:
    """What somebody slipped in before TLS began is not taken for the server's word afterwards."""
    ours, theirs = ends
    theirs.sendall(b"234 go on\r\n230 logged in\r\n")
    connection = control(ours)
    connection.reply()

    def wrap(_sock: socket.socket) -> object:
        raise AssertionError("the handshake must not begin")

    with pytest.raises(ConnectionLost, match="between AUTH and the TLS handshake"):
        connection.encrypt(wrap)  # type: ignore[arg-type]  # never returns
