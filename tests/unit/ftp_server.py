"""An FTP server in this process, for the unit tests of the FTP remote: pyftpdlib with commands taken away."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from symsync.remotes.location import Location, Protocol

USER, PASSWORD = "paula", "p#ss w@rd"


@dataclass
class Running:
    """A running server: its port, its directory, and the command lines that it received."""

    port: int
    directory: Path
    handler: type[FTPHandler]
    server: FTPServer
    commands: list[str] = field(default_factory=list)
    calls: "queue.SimpleQueue[Callable[[], None]]" = field(default_factory=queue.SimpleQueue)

    def kick(self) -> None:
        """Close all control connections, as a server does with idle ones."""
        done = threading.Event()

        def close_all() -> None:
            for channel in list(self.server.ioloop.socket_map.values()):
                if isinstance(channel, self.handler):
                    channel.close()
            done.set()

        self.calls.put(close_all)
        done.wait()

    def location(self, **changes: Any) -> Location:
        """How to get in."""
        values: dict[str, Any] = {
            "protocol": Protocol.FTP,
            "host": "127.0.0.1",
            "port": self.port,
            "login": USER,
            "password": PASSWORD,
            "timeout": 10.0,
            "connections": 4,
        }
        return Location(**{**values, **changes})


def _list_on_control(handler: Any) -> None:
    """STAT as vsftpd has it: the current directory, itself and its parent included."""
    here = handler.fs.ftp2fs(handler.fs.cwd)
    lines = b"".join(handler.fs.format_list(here, [".", "..", *sorted(handler.fs.listdir(here))]))
    handler.push("213-Status follows:\r\n")
    handler.push(lines.decode("utf-8", "replace"))
    handler.respond("213 End of status")


@contextlib.contextmanager
def running(
    directory: Path, *, without: tuple[str, ...] = (), handler: type[FTPHandler] = FTPHandler, **settings: Any
) -> Iterator[Running]:
    """Serve `directory` on a free port of the loopback; `without` names commands that the server shall not know.

    `settings` are attributes of the handler class (pyftpdlib's own way to configure it).
    """
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(directory), perm="elradfmwMT")
    received: list[str] = []

    class Handler(handler):  # type: ignore[misc]  # pyftpdlib has no types
        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            received.append(line)
            if cmd in without:
                self.respond("502 Command not implemented.")
            elif line == "STAT -a":
                getattr(self, "list_on_control", lambda: _list_on_control(self))()
            else:
                super().pre_process_command(line, cmd, arg)

    Handler.authorizer = authorizer
    Handler.auth_failed_timeout = 0.0
    for name, value in settings.items():
        setattr(Handler, name, value)
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), Handler, ioloop=loop)
    stop = threading.Event()

    result = Running(server.address[1], directory, Handler, server, received)

    def serve() -> None:
        while not stop.is_set():
            loop.loop(timeout=0.02, blocking=False)
            while not result.calls.empty():
                result.calls.get()()
        server.close_all()

    thread = threading.Thread(target=serve, name="ftp-server")
    thread.start()
    try:
        yield result
    finally:
        stop.set()
        thread.join()
