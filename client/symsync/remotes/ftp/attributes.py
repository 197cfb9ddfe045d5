"""Setting times and permission bits in whichever way the server knows, found by trying and reading back."""

from collections.abc import Sequence

from symsync.core.values import Found, Problem
from symsync.remotes.base import Attributes
from symsync.remotes.ftp.look import explained, look_commands, seen
from symsync.remotes.ftp.manners import TimeCommand
from symsync.remotes.ftp.names import unsendable
from symsync.remotes.ftp.replies import Reply, time_text
from symsync.remotes.ftp.session import Session
from symsync_protocol.stamps import SECOND


def time_line(session: Session, command: TimeCommand, path: str, mtime_ns: int) -> str:
    """The command line that sets a file's time."""
    return command.value.format(time=time_text(mtime_ns), path=session.place(path))


def mode_line(session: Session, path: str, mode: int) -> str:
    """The command line that sets permission bits."""
    return f"SITE CHMOD {mode:o} {session.place(path)}"


def settle_time(session: Session, path: str, mtime_ns: int, found: Found | None, reply: Reply) -> Found | None:
    """Judge the first attempt to set a time by `reply` and what was read back then; where it failed, try the other
    commands until one works or none is left. The entry as read back last."""
    manners = session.manners
    while (command := manners.time_command) is not None:
        told = found.stamp.mtime_ns if found is not None else None
        if reply.ok and told is not None and told // SECOND == mtime_ns // SECOND:
            manners.time_command_works()
            break
        manners.time_command_fails(command)
        command = manners.time_command
        if command is None or manners.time_proven:
            break
        reply, *replies = session.control.batch(
            time_line(session, command, path, mtime_ns), *look_commands(session, path)
        )
        found = seen(path, replies) or found
    return found


def set_attributes(session: Session, jobs: Sequence[Attributes]) -> list[Problem | None]:
    """Set what the server can set; a Problem where it refused this path."""
    problems: list[Problem | None] = [unsendable(job.path) for job in jobs]
    if not session.manners.time_proven:
        missing = _find_time_command(session, [job for job, bad in zip(jobs, problems, strict=True) if not bad])
        problems = [bad or missing.get(job.path) for job, bad in zip(jobs, problems, strict=True)]
    command = session.manners.time_command
    asked: list[tuple[int, str]] = []
    for index, job in enumerate(jobs):
        if problems[index] is not None:
            continue
        if job.mtime_ns is not None and command is not None:
            asked.append((index, time_line(session, command, job.path, job.mtime_ns)))
        if job.mode is not None and session.manners.traits.sets_modes:
            asked.append((index, mode_line(session, job.path, job.mode)))
    replies = list(session.control.pipeline(line for _index, line in asked))
    for (index, line), reply in zip(asked, replies, strict=True):
        if reply.unknown_command and line.startswith("SITE CHMOD"):
            session.manners.sets_modes = False
        elif not reply.ok and problems[index] is None:
            problems[index] = explained(session, jobs[index].path, reply)
    return problems


def _find_time_command(session: Session, jobs: Sequence[Attributes]) -> dict[str, Problem]:
    """Learn how times are set from the first of the files that are there; the problems of those that are not."""
    problems: dict[str, Problem] = {}
    for job in jobs:
        command = session.manners.time_command
        if job.mtime_ns is None or command is None:
            continue
        looking = look_commands(session, job.path)
        looked = session.control.batch(*looking)
        if seen(job.path, looked) is None:
            problems[job.path] = explained(session, job.path, looked[0])
            continue
        reply, *replies = session.control.batch(time_line(session, command, job.path, job.mtime_ns), *looking)
        settle_time(session, job.path, job.mtime_ns, seen(job.path, replies), reply)
        break
    return problems
