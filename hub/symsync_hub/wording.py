"""How `ls -l` words an entry: what FTP's LIST sends, and SFTP beside each name."""

import os
import stat
import time

_SECOND = 1_000_000_000
_HALF_A_YEAR = 180 * 24 * 3600
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def long_line(name: str, status: os.stat_result, now: float) -> str:
    """As `ls -lA` does, in UTC, owners as numbers. What is older than half a year at `now` shows its year."""
    year, month, day, hour, minute = time.gmtime(status.st_mtime_ns // _SECOND)[:5]
    recent = 0 <= now - status.st_mtime < _HALF_A_YEAR
    when = f"{_MONTHS[month - 1]} {day:02} " + (f"{hour:02}:{minute:02}" if recent else f" {year:04}")
    return (
        f"{stat.filemode(status.st_mode)} {status.st_nlink:3} {status.st_uid:<8} {status.st_gid:<8} "
        f"{status.st_size:8} {when} {name}"
    )
