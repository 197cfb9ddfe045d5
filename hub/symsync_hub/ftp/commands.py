"""The commands that a synchroniser lives on, answered from a `Root`: listings, facts, times."""
# ruff: noqa: N802 - pyftpdlib finds a command's method by these names

import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from pyftpdlib.handlers import TLS_FTPHandler

from symsync_hub.ftp.facts import facts_line, facts_of, listing, long_line, speakable, time_text, time_value
from symsync_hub.ftp.files import Files
from symsync_hub.root import Entry


def _site(syntax: str) -> dict[str, Any]:
    # Without a permission: pyftpdlib would take the whole argument for a path.
    return {"perm": None, "auth": True, "arg": True, "help": f"Syntax: SITE {syntax}."}


class _Blocks:
    """An iterator of blocks as asynchat wants to draw it."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def more(self) -> bytes:
        return next(self._blocks, b"")


class Commands(TLS_FTPHandler):  # type: ignore[misc]  # pyftpdlib ships no types
    """Replaces pyftpdlib's commands where they follow links, lose precision, or answer what clients misread."""

    proto_cmds = TLS_FTPHandler.proto_cmds | {
        "SITE SYMLINK": _site("SYMLINK <SP> target path (make a symbolic link)"),
        "SITE UTIME": _site("UTIME <SP> YYYYMMDDhhmm[ss] path | path atime mtime ctime UTC (set file times)"),
    }
    fs: Files

    @property
    def may_write(self) -> bool:
        """Whether this user may change anything."""
        raise NotImplementedError

    def ftp_LIST(self, path: str) -> None:
        self._send_listing(path, "LIST")

    def ftp_MLSD(self, path: str) -> None:
        self._send_listing(path, "MLSD")

    def ftp_NLST(self, path: str) -> None:
        try:
            # Without asking for each entry's facts, for which this command is chosen.
            names = self.fs.inner.names(path)
        except NotADirectoryError:
            names = [path.rpartition("/")[2]]
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
            return
        self._send(_names(sorted(names)), "NLST")

    def ftp_STAT(self, path: str) -> None:
        """A listing on the control connection: no data connection to set up, and clients may send many at once."""
        if not path:
            super().ftp_STAT(path)
            return
        try:
            entries = self._entries(path)
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
            return
        self.push(f'213-Status of "{path}":\r\n')
        self.push_with_producer(_Blocks(listing(entries, long_line(time.time()))))
        self.respond("213 End of status.")

    def ftp_MLST(self, path: str) -> None:
        try:
            entry = self.fs.inner.entry(path)
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
            return
        facts = facts_of(entry, self._current_facts, self.may_write)
        self.push(f'250-Listing "{path}":\r\n {facts} {path}\r\n')
        self.respond("250 End MLST.")

    def ftp_SIZE(self, path: str) -> None:
        """In every TYPE, for all of them transfer the same bytes here."""
        status = self._file_status(path)
        if status is not None:
            self.respond(f"213 {status.st_size}")

    def ftp_MDTM(self, path: str) -> None:
        status = self._file_status(path)
        if status is not None:
            self.respond(f"213 {time_text(status.st_mtime_ns)}")

    def ftp_MFMT(self, path: str, timeval: str) -> None:
        """draft-somers-ftp-mfxx, for files and directories, fractions taken to the nanosecond."""
        if self._set_mtime(path, timeval):
            self.respond(f"213 Modify={time_text(self.fs.inner.status(path).st_mtime_ns)}; {path}")

    def ftp_SITE_UTIME(self, line: str) -> None:
        """Both forms: ProFTPD's with the time first, Pure-FTPd's and Serv-U's with the times behind the path."""
        words = line.rsplit(" ", 4)
        if len(words) == 5 and words[4] == "UTC":
            path, timeval = words[0], words[2]
        else:
            timeval, _, path = line.partition(" ")
        if not path:
            self.respond("501 SITE UTIME needs a time and a path.")
        elif not self.may_write:
            self.respond("550 Not enough privileges.")
        elif self._set_mtime(self.fs.ftp2fs(path), timeval):
            self.respond("200 SITE UTIME successful.")

    def ftp_SITE_SYMLINK(self, line: str) -> None:
        """As in ProFTPD (mod_site_misc), for lftp. There is no quoting, so names with blanks can't be told apart."""
        words = line.split(" ")
        if len(words) != 2:
            self.respond("501 SITE SYMLINK needs a target and a path, neither with blanks.")
        elif not self.may_write:
            self.respond("550 Not enough privileges.")
        else:
            try:
                self.fs.inner.make_link(words[0], self.fs.ftp2fs(words[1]))
            except OSError as error:
                self.respond(f"550 {error.strerror}.")
            else:
                self.respond("200 SITE SYMLINK successful.")

    def ftp_RNFR(self, path: str) -> None:
        """Forget an earlier one that no RNTO followed: else, where this is refused, the next RNTO would move that."""
        self._rnfr = None
        super().ftp_RNFR(path)

    def ftp_CWD(self, path: str) -> None:
        """Without a chdir(2), which would move all sessions of the process."""
        try:
            self.fs.inner.check_directory(path)
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
            return
        self.fs.cwd = path
        self.respond(f'250 "{path}" is the current directory.')

    def ftp_TYPE(self, line: str) -> None:
        """A is accepted and transfers bytes as they are, as vsftpd does: a file must come back as it went."""
        kind = line.upper().replace(" ", "")
        if kind in ("A", "AN", "L7"):
            self.respond("200 Type set to: ASCII, bytes unchanged.")
        elif kind in ("I", "L8"):
            self.respond("200 Type set to: Binary.")
        else:
            self.respond(f'504 Unsupported type "{line}".')

    def _entries(self, path: str) -> Iterator[Entry]:
        """What a listing of `path` shows: a directory's entries, or the file itself."""
        try:
            return self.fs.inner.entries(path)
        except NotADirectoryError:
            return iter([self.fs.inner.entry(path)])

    def _send_listing(self, path: str, command: str) -> None:
        entries: Iterator[Entry]
        try:
            if command == "MLSD":
                entries, worded = self.fs.inner.entries(path), facts_line(self._current_facts, self.may_write)
            else:
                entries, worded = self._entries(path), long_line(time.time())
        except NotADirectoryError:
            self.respond("501 Not a directory.")  # RFC 3659, 7.2.1
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
        else:
            self._send(listing(entries, worded), command)

    def _send(self, blocks: Iterator[bytes], command: str) -> None:
        self.push_dtp_data(_Blocks(blocks), isproducer=True, cmd=command)

    def _file_status(self, path: str) -> os.stat_result | None:
        """What is known of a regular file; else the client was told that there is none."""
        try:
            status = self.fs.inner.status(path)
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
            return None
        if not stat.S_ISREG(status.st_mode):
            self.respond("550 Not a regular file.")
            return None
        return status

    def _set_mtime(self, path: str, timeval: str) -> bool:
        """Whether it was set; else the client was told why not."""
        try:
            self.fs.inner.set_mtime(path, time_value(timeval))
        except (ValueError, OverflowError) as error:
            self.respond(f"501 {error}.")
        except OSError as error:
            self.respond(f"550 {error.strerror}.")
        else:
            return True
        return False


def _names(names: list[str]) -> Iterator[bytes]:
    yield "".join(f"{name}\r\n" for name in names if speakable(name)).encode("utf-8", "surrogateescape")
