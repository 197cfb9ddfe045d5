"""What has been learnt of one server, by trying; shared by all connections to it."""

import threading
from enum import StrEnum

from symsync.remotes.base import Traits
from symsync_protocol.stamps import SECOND


class Way(StrEnum):
    """How directories are listed, best first."""

    MLSD = "mlsd"
    """Facts made for programs (RFC 3659), one data connection for each directory; MLST for single paths."""
    STAT = "stat"
    """`ls` lines on the control connection (RFC 959), hundreds of directories in one write; times by MDTM."""
    LIST = "list"
    """`ls` lines on a data connection; times by MDTM."""
    NLST = "nlst"
    """Names alone; SIZE, MDTM and CWD tell what they are. Any server since RFC 959 can do this."""


class TimeCommand(StrEnum):
    """How a file's time is set, tried in this order."""

    MFMT = "MFMT {time} {path}"
    """draft-somers-ftp-mfxx: ProFTPD, Pure-FTPd, pyftpdlib."""
    MDTM = "MDTM {time} {path}"
    """vsftpd with `mdtm_write`."""
    UTIME = "SITE UTIME {time} {path}"


class Manners:
    """One server's abilities. Reading needs no lock; what several threads may learn at once is changed under one."""

    def __init__(self, way: Way | None = None) -> None:
        self.way = way
        """None until the first listing found it."""
        self.ways_left = list(Way)
        """Ways not tried yet."""
        self.mdtm = True
        self.tells_absence: str | None = "MLST"
        """The command whose refusal says that there is nothing: ProFTPD has only MDTM for that, Pure-FTPd RNFR. None
        where none is known."""
        self.tries_rnfr = True
        """Whether it may still be tried if a file can be renamed to its own name, so that RNFR may be asked of anything
        and its RNTO follow."""
        self.directories_have_size = False
        """Whether SIZE and MDTM succeed for directories too, so that CWD has to decide."""
        self.list_all = True
        """Whether LIST, STAT and NLST take `-a`."""
        self.extended = True
        """Whether EPSV and EPRT work; else PASV and PORT."""
        self.hides_dots: bool | None = None
        """None: nothing was seen yet that tells."""
        self.sets_modes = True
        self.replaces = True
        self.appends = True
        self.resumes = True
        """Whether STOR can begin in the middle of a file (REST)."""
        self.uniques: dict[str, str] = {}
        """What MLSD tells of directories in its `unique` fact: shows a link that leads back up."""
        self._time_commands = list(TimeCommand)
        self.time_proven = False
        """Whether the first of the time commands was seen to work."""
        self._lock = threading.Lock()

    @property
    def time_command(self) -> TimeCommand | None:
        """The command to set times with, None when all were tried in vain."""
        commands = self._time_commands
        return commands[0] if commands else None

    def time_command_works(self) -> None:
        """Remember that a time was set and read back."""
        self.time_proven = True

    def time_command_fails(self, command: TimeCommand) -> None:
        """Go on to the next command, unless another thread has done so already or proved that this one works."""
        with self._lock:
            if not self.time_proven and self._time_commands[:1] == [command]:
                self._time_commands = self._time_commands[1:]

    @property
    def traits(self) -> Traits:
        return Traits(
            tick_ns=SECOND if self.mdtm or self.way is Way.MLSD else 60 * SECOND,
            sets_times=self.time_command is not None,
            # NLST tells no modes, so that none could be compared.
            sets_modes=self.sets_modes and self.way is not Way.NLST,
            links=False,
            appends=self.appends,
            replaces=self.replaces,
            hides_dots=bool(self.hides_dots),
        )
