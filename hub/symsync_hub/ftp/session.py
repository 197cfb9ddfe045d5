"""One FTP session: who it is, what he may do, and the order of things on the control connection."""
# ruff: noqa: N802 - pyftpdlib finds a command's method by these names

import ipaddress
import logging
import socket
import threading
from collections import deque
from typing import Any, Protocol

from OpenSSL import SSL
from pyftpdlib.ioloop import AsyncChat, IOLoop
from pyftpdlib.log import logger

from symsync_hub.accounts import Account, Accounts
from symsync_hub.door import Door
from symsync_hub.ftp.commands import Commands
from symsync_hub.ftp.data import Data, Passive
from symsync_hub.ftp.facts import FACTS, speakable
from symsync_hub.ftp.files import Files
from symsync_hub.root import Root
from symsync_protocol.errors import UsageError
from symsync_protocol.names import shown

READING = "elr"
WRITING = "adfmwMT"
"""pyftpdlib's letters for what a command needs (`DummyAuthorizer.add_user`)."""

WAITING_COMMANDS = 4096
"""Commands that may wait behind a running transfer before the client counts as broken."""

_TRANSFERS = frozenset({"RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"})
_DATA = frozenset({"PASV", "EPSV", "PORT", "EPRT"})
_WITH_OPTIONS = frozenset({"LIST", "NLST", "STAT"})
_log = logging.getLogger("symsync_hub")


class Server(Protocol):
    """What a session needs to know of the server that it belongs to."""

    accounts: Accounts
    door: Door
    tls: SSL.Context | None
    implicit: bool
    plain_from_anywhere: bool
    require_tls: bool
    passive_ports: range | None
    masquerade: str | None
    # What pyftpdlib asks of its own server class:
    socket: socket.socket
    backlog: int
    ip_map: tuple[str, ...]

    def _accept_new_cons(self) -> bool: ...


class _Rights:
    """One account's rights in pyftpdlib's letters; its handlers ask for them by the user's name."""

    def __init__(self, account: Account) -> None:
        self._letters = READING + (WRITING if account.writable else "")

    def has_perm(self, _name: str, letter: str, _path: str | None = None) -> bool:
        return letter in self._letters

    def get_msg_quit(self, _name: str) -> str:
        return "Goodbye."

    def impersonate_user(self, _name: str, _password: str) -> None:
        """All users' files belong to the account that the hub runs under."""

    def terminate_impersonation(self, _name: str) -> None:
        """Nothing was changed."""


class Session(Commands):
    """Serves one client in a thread of its own."""

    banner = "symsync-hub ready."
    encoding = "utf-8"
    unicode_errors = "surrogateescape"
    passive_dtp = Passive
    dtp_handler = Data

    # pyftpdlib's own, of which no type checker knows:
    username: str
    data_channel: Data | None
    _in_dtp_queue: tuple[Any, ...] | None
    _out_dtp_queue: tuple[Any, ...] | None

    def __init__(self, connection: socket.socket, server: Server, loop: IOLoop, stopping: threading.Event) -> None:
        self.account: Account | None = None
        self._stopping = stopping
        self._waiting: deque[tuple[str, str, str]] = deque()
        self.timeout = server.door.limits.idle
        self.max_login_attempts = server.door.limits.login_tries
        self.passive_ports = server.passive_ports
        self.masquerade_address = server.masquerade
        super().__init__(connection, server, ioloop=loop)
        self._current_type = "i"
        self._available_facts = list(FACTS)
        self._current_facts = list(FACTS)
        self._extra_feats = ["SITE CHMOD", "SITE SYMLINK", "SITE UTIME"]
        if server.tls is not None:
            self._extra_feats += ["AUTH TLS", "PBSZ", "PROT"]

    def __repr__(self) -> str:
        # pyftpdlib words itself for every debug message, even those that nobody sees.
        return f"<FTP session of {self.remote_ip}>"

    def serve(self) -> None:
        """Run until the client or the hub ends the session."""
        if self.connected:
            self.handle()
        wait = self.ioloop.sched.poll()
        while self.ioloop.socket_map:
            self.ioloop.poll(wait)
            wait = self.ioloop.sched.poll()

    @property
    def may_write(self) -> bool:
        return self.account is not None and self.account.writable

    @property
    def encrypted(self) -> bool:
        """Whether the control connection is."""
        return isinstance(self.socket, SSL.Connection)

    @property
    def protected(self) -> bool:
        """Whether data connections are."""
        return bool(self._prot)

    # --- connecting

    def get_ssl_context(self) -> SSL.Context | None:
        """pyftpdlib keeps one for all sessions of a class; here each server has its own."""
        tls: SSL.Context | None = self.server.tls
        return tls

    def handle(self) -> None:
        if self.server.implicit:
            self._prot = True  # with implicit TLS nobody expects anything in the clear
            self.secure_connection(self.server.tls)
        else:
            super().handle()

    def handle_ssl_established(self) -> None:
        if self.server.implicit:
            super().handle()

    def ftp_AUTH(self, line: str) -> None:
        if self.server.tls is None:
            self.respond("502 This hub serves no TLS.")
            return
        # What came in the clear behind AUTH may be another's work (RFC 4217, 15.1): it is forgotten.
        self.ac_in_buffer = b""
        self._waiting.clear()
        super().ftp_AUTH(line)

    # --- logging in

    def ftp_USER(self, line: str) -> None:
        refusal = self._plain_refusal()
        if refusal:
            self.respond(f"530 {refusal}")
        else:
            super().ftp_USER(line)

    def ftp_PASS(self, line: str) -> None:
        if self.authenticated or not self.username:
            self.respond("503 Already logged in." if self.authenticated else "503 Login with USER first.")
            return
        try:
            account = self.server.accounts.check(self.username, line)
        except UsageError as error:
            _log.error("%s", error)
            self.respond("530 The hub can't read its users now.")
            return
        if account is None:
            self._refuse_login()
        elif not account.home.is_dir():
            _log.error("user %s can't log in: his directory %s is missing", account.name, account.home)
            self.respond("530 Your directory is missing on the hub.")
        else:
            self.account = account
            self.authorizer = _Rights(account)
            self.abstracted_fs = lambda home, _session: Files(Root(home))
            self.handle_auth_success(account.home, "", f"Welcome, {account.name}.")

    def _plain_refusal(self) -> str | None:
        """Why no password may be sent as things are."""
        if self.encrypted:
            return None
        if self.server.require_tls:
            return "This hub wants TLS: AUTH TLS first."
        if not (self.server.plain_from_anywhere or is_loopback(self.remote_ip)):
            return "Passwords are taken over TLS only: AUTH TLS first."
        return None

    def _refuse_login(self) -> None:
        _log.warning("%s: wrong name or password for %s", self.remote_ip, shown(self.username))
        # Only this session's thread waits; a hub that stops ends the wait.
        self._stopping.wait(self.server.door.failed(self.remote_ip))
        self.username = ""
        self.attempted_logins += 1
        if self.attempted_logins >= self.max_login_attempts:
            self.respond("530 Login incorrect. Disconnecting.")
            self.close_when_done()
        else:
            self.respond("530 Login incorrect.")

    def flush_account(self) -> None:
        super().flush_account()
        self.account = None
        self._current_type = "i"
        self._prot = self.server.implicit

    # --- commands, one after another

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        """Commands sent ahead wait for the transfer before them; a rename must not overtake the upload it follows."""
        if self._closed:
            return  # what came in one read with the end of the connection
        if cmd[-4:] == "ABOR" or (cmd == "STAT" and not arg) or not (self._transferring() or self._waiting):
            self._run(line, cmd, arg)
        elif len(self._waiting) >= WAITING_COMMANDS:
            self.respond("421 Too many commands at once.")
            self.close_when_done()
        else:
            self._waiting.append((line, cmd, arg))

    def _transferring(self) -> bool:
        if self._in_dtp_queue is not None or self._out_dtp_queue is not None:
            return True
        return self.data_channel is not None and self.data_channel.transferring

    def _resume(self) -> None:
        while self._waiting and not self._closed and not self._transferring():
            self._run(*self._waiting.popleft())

    def _on_dtp_close(self) -> None:
        super()._on_dtp_close()
        if self._waiting:
            # Not from here: the reply to what just ended is not sent yet.
            self.call_later(0, self._resume)

    def no_data_connection(self, reply: str) -> None:
        """The client asked for a data connection, and there is none to use: `reply` is for a transfer that waits."""
        self._dtp_acceptor = None
        if self._closed:
            return  # the client went while it was told the port
        if self._transferring():
            self._forget_transfer()
            self.respond(reply)
        self._resume()

    def _forget_transfer(self) -> None:
        """Close the files that waited for a data connection."""
        received, sent = self._in_dtp_queue, self._out_dtp_queue
        self._in_dtp_queue = self._out_dtp_queue = None
        for file in (received[0] if received else None, sent[2] if sent else None):
            if file is not None:
                file.close()

    def _run(self, line: str, cmd: str, arg: str) -> None:
        if cmd == "SITE" and arg:
            cmd = f"SITE {arg.split(' ')[0].upper()}"
            arg = line[len(cmd) + 1 :]
        self.logline(f"<- {shown(line)}" if cmd != "PASS" else "<- PASS ******")
        if cmd not in self.proto_cmds and cmd[-4:] == "ABOR":
            cmd = "ABOR"  # behind Telnet's IP and Synch (RFC 959, 4.1.3)
        refusal = self._refusal(cmd, arg)
        if refusal:
            self.respond(refusal)
            return
        if self.proto_cmds[cmd]["perm"] is None or cmd == "STOU":
            self.process_command(cmd, arg)
            return
        arguments: dict[str, Any] = {}
        if cmd in ("MFMT", "SITE CHMOD"):
            first, _, arg = arg.partition(" ")
            arguments = {"timeval" if cmd == "MFMT" else "mode": first}
        elif cmd in ("CDUP", "XCUP"):
            arg = ".."
        elif cmd in ("CWD", "XCWD"):
            arg = arg or "/"
        elif cmd in _WITH_OPTIONS:
            arg = _without_options(arg)
        self.process_command(cmd, arg if cmd == "STAT" and not arg else self.fs.ftp2fs(arg), **arguments)

    def _refusal(self, cmd: str, arg: str) -> str | None:
        """Why a command is not carried out, as a reply."""
        known = self.proto_cmds.get(cmd)
        if known is None:
            return f"500 {shown(cmd)}: command not understood."
        if not speakable(arg):
            return "501 No name may hold CR, LF or NUL."
        if (known["arg"] is True and not arg) or (cmd in ("MFMT", "SITE CHMOD") and not arg.partition(" ")[2]):
            return "501 An argument is missing."
        if known["arg"] is False and arg:
            return "501 This command takes no argument."
        if not self.authenticated:
            return "530 Log in with USER and PASS first." if known["auth"] or (cmd == "STAT" and arg) else None
        if known["perm"] is not None and not self.authorizer.has_perm(self.username, known["perm"]):
            return "550 Not enough privileges."
        if cmd in _DATA and self.encrypted and not self._prot:
            return "521 PROT P first: who logs in over TLS sends data over TLS."
        if cmd in _TRANSFERS and not (self._dtp_acceptor or self._dtp_connector or self.data_channel):
            return "425 PASV, EPSV, PORT or EPRT first."
        return None

    def ftp_QUIT(self, line: str) -> None:
        """A data connection that no command uses is no transfer whose end has to be waited for."""
        if self.data_channel is not None and not self._transferring():
            self.data_channel.close()
            self.data_channel = None
        super().ftp_QUIT(line)

    def ftp_ABOR(self, line: str) -> None:
        self._waiting.clear()
        if self.data_channel is not None and self.data_channel.transferring:
            self.data_channel.aborted()
            self.data_channel = None
            self.respond("426 Transfer aborted.")
            self.respond("226 ABOR successful.")
        else:
            self._forget_transfer()
            super().ftp_ABOR(line)

    # --- wording

    def push(self, data: str) -> None:
        """pyftpdlib would refuse a name that is not UTF-8."""
        AsyncChat.push(self, data.encode("utf-8", "surrogateescape"))

    def respond(self, resp: str, logfun: Any = logger.debug) -> None:
        self._last_response = resp
        self.push(f"{resp}\r\n")
        if logfun is not logger.debug or self._log_debug:
            self.logline(f"-> {shown(resp)}", logfun=logfun)


def _without_options(argument: str) -> str:
    """`LIST -la name` lists `name`: hidden names are shown anyway, as `ls -A` would."""
    while argument.startswith("-"):
        argument = argument.partition(" ")[2]
    return argument


def is_loopback(address: str) -> bool:
    """Whether a peer's address means this very machine."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
