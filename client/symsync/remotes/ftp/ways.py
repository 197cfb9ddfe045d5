"""Listing whole directories: the four ways, and finding out which one a server takes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.remotes.ftp.crew import Desk
from symsync.remotes.ftp.errors import ConnectionLost, RefusedError
from symsync.remotes.ftp.listing import MINUTE, Row, UnreadableError, facts, ls, mlsd, nlst
from symsync.remotes.ftp.manners import Way
from symsync.remotes.ftp.names import unsendable
from symsync.remotes.ftp.replies import Reply, modification_time, reason_of, size, working_directory
from symsync.remotes.ftp.session import Session
from symsync_protocol.names import STATE_DIR, basename, join, parent
from symsync_protocol.stamps import Kind, Stamp

_MOST_DIRECTORIES = 32
"""Listed together in one exchange over one connection, where the server can do that."""

_MOST_BY_STAT = 1000
"""Larger directories are listed anew by LIST: Pure-FTPd cuts both off at 10,000 entries, but STAT without a word."""

_NOTHING = f"{STATE_DIR}/_nothing"
"""A name that nobody has: what is said of it shows which command has a word for what is not there."""

_STATUS_CODES = (211, 212, 213)
"""With which servers answer STAT of a directory."""


def list_one(session: Session, directory: str) -> Listing:
    """One directory's listing, in the way that this server takes."""
    return list_some(session, [directory])[0]


def list_some(session: Session, directories: Sequence[str]) -> list[Listing]:
    """The listings of a few directories, in as few exchanges as the way in use needs."""
    return with_times(session, without_times(session, directories))


def without_times(session: Session, directories: Sequence[str]) -> list[Listing]:
    """The same, but in ways which tell times by MDTM as coarse as the listing itself tells them."""
    way = session.manners.way
    if way is Way.MLSD:
        return [_mlsd(session, directory) for directory in directories]
    if way is Way.STAT:
        listings = _stat(session, directories)
    elif way is Way.LIST:
        listings = [_list(session, directory) for directory in directories]
    else:
        listings = [_nlst(session, directory) for directory in directories]
    for listing in listings:
        learn_dots(session, listing)
    return listings


def with_times(
    session: Session, listings: Sequence[Listing], wanted: Callable[[str], bool] = lambda _path: True
) -> list[Listing]:
    """The files' times by MDTM, for those of LIST and STAT are too coarse."""
    if session.manners.way not in (Way.STAT, Way.LIST) or not session.manners.mdtm:
        return list(listings)
    files = [
        entry
        for listing in listings
        for entry in listing.entries
        if entry.kind is Kind.FILE and wanted(entry.path) and not unsendable(entry.path)
    ]
    replies = session.control.pipeline(f"MDTM {session.place(entry.path)}" for entry in files)
    exact = {entry.path: timed(entry, reply) for entry, reply in zip(files, replies, strict=True)}
    return [
        replace(listing, entries=tuple(exact.get(entry.path, entry) for entry in listing.entries))
        for listing in listings
    ]


def timed(entry: Found, reply: Reply) -> Found:
    """A file with the time that MDTM told, if it did."""
    told = modification_time(reply)
    if told is None or entry.kind is not Kind.FILE:
        return entry
    return replace(entry, stamp=replace(entry.stamp, mtime_ns=told[0], tick_ns=told[1]))


def list_jobs(session: Session, desk: Desk[str, Listing]) -> None:
    """A worker's part of many listings (see `crew.work_off`)."""
    most = _MOST_DIRECTORIES if session.manners.way is Way.STAT else 1
    while (first := desk.take()) is not None:
        directories = [first]
        while len(directories) < most and (directory := desk.take()) is not None:
            directories.append(directory)
        for listing in list_some(session, directories):
            desk.done(listing)


def lost_listing(directory: str, error: ConnectionLost) -> Listing:
    """The listing of a directory over which the connection broke twice."""
    return Listing(directory, problem=Problem(directory, Reason.LOST, str(error)))


def find_way(session: Session) -> None:
    """Find out by trying how this server lists directories: what it claims in FEAT is not always so.

    Raises ConnectionLost where a try broke the connection; the next call leaves that way out.
    """
    manners = session.manners
    while manners.way is None:
        way = manners.ways_left.pop(0)
        if not manners.ways_left or _works(session, way):
            manners.way = way
    if manners.way is Way.MLSD:
        manners.hides_dots = False  # by RFC 3659 it shows what is there
        return
    place = session.place("")
    told_size, told_time = session.control.batch(f"SIZE {place}", f"MDTM {place}")
    manners.directories_have_size = size(told_size) is not None and modification_time(told_time) is not None
    manners.mdtm = not told_time.unknown_command


def _works(session: Session, way: Way) -> bool:
    """Whether the root can be listed in this way."""
    if way is Way.MLSD:
        # MLST comes with MLSD (RFC 3659, 7.8) and needs no data connection; `unique` of the root shows loops.
        nothing = session.place(_NOTHING)
        root, *absent = session.control.batch(f"MLST {session.place('')}", f"MLST {nothing}", f"MDTM {nothing}")
        row = mlst_row(root)
        telling = (word for word, reply in zip(("MLST", "MDTM"), absent, strict=True) if reply.says_absent)
        session.manners.tells_absence = next(telling, None)
        if row is not None and row.unique:
            session.manners.uniques[""] = row.unique
        return row is not None
    if way is Way.STAT:
        # Without "." in it one can't tell a listing from a status report or an empty answer.
        _cwd, reply = session.control.batch(f"CWD {session.place('')}", "STAT -a")
        try:
            return reply.code in _STATUS_CODES and any(row.name == "." for row in _stat_rows(reply))
        except UnreadableError:
            return False
    listing = _list(session, "") if way is Way.LIST else _nlst(session, "")
    return listing.problem is None


def _transferred(session: Session, command: str) -> tuple[str, Reply]:
    """All text that a command sends over a data connection, and its closing reply. Raises RefusedError."""
    transfer = session.data.open(command)
    text = b"".join(transfer.receive()).decode("utf-8", "surrogateescape")
    return text, transfer.finish()


def _closing_problem(directory: str, reply: Reply) -> Problem | None:
    if reply.code in (226, 250) and not reply.says_cut:
        return None
    return Problem(directory, Reason.CUT, f"the listing is not whole: {reply.text}")


def _unreadable(directory: str, error: UnreadableError) -> Problem:
    return Problem(directory, Reason.CUT, f"a line of the listing can't be understood: {error}")


def _refused_listing(session: Session, directory: str, reply: Reply) -> Listing:
    """A directory that could not be entered or listed: the listing of the one above tells what is there."""
    reason = reason_of(reply)
    if reason is Reason.OTHER and directory:
        above = without_times(session, [parent(directory)])[0]
        kinds = [entry.kind for entry in above.entries if entry.path == directory]
        if Kind.DIRECTORY in kinds:
            reason = Reason.DENIED
        elif kinds or above.problem is None or above.problem.reason is Reason.ABSENT:
            reason = Reason.ABSENT
    return Listing(directory, problem=Problem(directory, reason, reply.text))


def _listing(directory: str, rows: Iterable[Row], problem: Problem | None) -> Listing:
    """Rows as entries; a name that can't be, or comes twice, makes the whole listing doubtful."""
    entries: dict[str, Found] = {}
    for row in rows:
        name = row.name
        if name in (".", ".."):
            continue
        path = join(directory, name)
        if not name or "/" in name or "\0" in name or path in entries:
            problem = problem or Problem(directory, Reason.CUT, f"the listing contradicts itself at {name!r}")
            continue
        entries[path] = Found(path, row.stamp, row.mode, row.target)
    return Listing(directory, tuple(entries.values()), problem)


def _mlsd(session: Session, directory: str) -> Listing:
    if problem := unsendable(directory):
        return Listing(directory, problem=problem)
    try:
        text, reply = _transferred(session, f"MLSD {session.place(directory)}")
    except RefusedError as refusal:
        return _refused_listing(session, directory, refusal.reply)
    try:
        rows = [_without_loop(session, directory, row) for row in mlsd(text)]
    except UnreadableError as error:
        return Listing(directory, problem=_unreadable(directory, error))
    return _listing(directory, rows, _closing_problem(directory, reply))


def _without_loop(session: Session, directory: str, row: Row) -> Row:
    """A link that the server shows as the directory it points to would have no end where that lies above it."""
    if row.stamp.kind is not Kind.DIRECTORY or not row.unique:
        return row
    uniques = session.manners.uniques
    path = join(directory, row.name)
    above = directory
    while True:
        if uniques.get(above) == row.unique:
            return replace(row, stamp=replace(row.stamp, kind=Kind.OTHER))
        if not above:
            break
        above = parent(above)
    uniques[path] = row.unique
    return row


def _stat_rows(reply: Reply) -> list[Row]:
    """The rows in a reply to STAT, without its first and last line, which are the server's own words."""
    body = "\n".join(line.removeprefix(" ") if line.startswith(" ") else line for line in reply.lines[1:-1])
    return ls(body, datetime.now(UTC))


def _stat(session: Session, directories: Sequence[str]) -> list[Listing]:
    """Directories by STAT, all in one pipeline: CWD first, for STAT takes its argument for a pattern."""
    sendable = [directory for directory in directories if not unsendable(directory)]
    replies = session.control.pipeline(
        command for directory in sendable for command in stat_commands(session, directory)
    )
    answers = dict(zip(sendable, zip(replies, replies, strict=True), strict=True))
    listings = []
    for directory in directories:
        if problem := unsendable(directory):
            listings.append(Listing(directory, problem=problem))
            continue
        entered, reply = answers[directory]
        listing = told_by_stat(session, directory, entered, reply)
        if listing is not None:
            listings.append(listing)
        elif not entered.ok or reply.refused:
            listings.append(_refused_listing(session, directory, reply if entered.ok else entered))
        else:
            listings.append(_list(session, directory))
    return listings


def stat_commands(session: Session, directory: str) -> tuple[str, str]:
    """The commands whose replies go to `told_by_stat`."""
    return f"CWD {session.place(directory)}", "STAT -a"


def told_by_stat(session: Session, directory: str, entered: Reply, reply: Reply) -> Listing | None:
    """The listing that STAT gave, None where it has to be had in another way. Raises ConnectionLost."""
    if entered.code in _STATUS_CODES:
        # A name with a line end in it can end STAT's reply too early.
        raise session.control.lost("its replies are out of step")
    if not entered.ok or reply.refused or len(reply.lines) > _MOST_BY_STAT:
        return None
    return _from_stat(directory, reply)


def _from_stat(directory: str, reply: Reply) -> Listing:
    cut = Problem(directory, Reason.CUT, f"the listing is not whole: {reply.lines[-1]}")
    try:
        rows = _stat_rows(reply)
    except UnreadableError as error:
        return Listing(directory, problem=_unreadable(directory, error))
    whole = any(row.name == "." for row in rows) and not Reply(reply.code, reply.lines[-1:]).says_cut
    return _listing(directory, rows, None if whole else cut)


def _list(session: Session, directory: str) -> Listing:
    """A directory by LIST. An empty answer proves nothing, hence CWD first; `-a` is not known everywhere."""
    if problem := unsendable(directory):
        return Listing(directory, problem=problem)
    entered = session.control.ask(f"CWD {session.place(directory)}")
    if not entered.ok:
        return _refused_listing(session, directory, entered)
    try:
        text, reply = _with_dots(session, "LIST")
        rows = ls(text, datetime.now(UTC))
    except RefusedError as refusal:
        return _refused_listing(session, directory, refusal.reply)
    except UnreadableError as error:
        return Listing(directory, problem=_unreadable(directory, error))
    return _listing(directory, rows, _closing_problem(directory, reply))


def _with_dots(session: Session, command: str) -> tuple[str, Reply]:
    """What LIST or NLST sends of the current directory, with `-a` where the server takes that."""
    if session.manners.list_all:
        try:
            text, reply = _transferred(session, f"{command} -a")
            if text or not reply.ok:
                return text, reply
        except RefusedError:
            text = ""
        plain, reply = _transferred(session, command)
        if plain:
            session.manners.list_all = False  # it took "-a" for a name
        return plain, reply
    return _transferred(session, command)


def _nlst(session: Session, directory: str) -> Listing:
    """A directory by NLST; what each name is, SIZE, MDTM and CWD tell."""
    if problem := unsendable(directory):
        return Listing(directory, problem=problem)
    entered = session.control.ask(f"CWD {session.place(directory)}")
    if not entered.ok:
        return _refused_listing(session, directory, entered)
    try:
        text, reply = _with_dots(session, "NLST")
    except RefusedError as refusal:
        # Some servers have no better word for an empty directory.
        if refusal.reply.code in (450, 550) and "no files" in refusal.reply.text.lower():
            return Listing(directory)
        return _refused_listing(session, directory, refusal.reply)
    names = nlst(text)
    problem = _closing_problem(directory, reply)
    if len(set(names)) < len(names):
        problem = problem or Problem(directory, Reason.CUT, "the listing contradicts itself: a name comes twice")
    paths = [join(directory, name) for name in dict.fromkeys(names)]
    rows = [Row(basename(path), stamp) for path, stamp in _kinds(session, paths).items()]
    return _listing(directory, rows, problem)


def _kinds(session: Session, paths: Sequence[str]) -> dict[str, Stamp]:
    """What each of some paths that exist is: a file where SIZE and MDTM say so, a directory where CWD does."""
    stamps = {path: Stamp(Kind.OTHER) for path in paths}
    sendable = [path for path in paths if not unsendable(path)]
    places = [session.place(path) for path in sendable]
    replies = session.control.pipeline(command for place in places for command in (f"SIZE {place}", f"MDTM {place}"))
    doubtful = []
    for path, told_size, told_time in zip(sendable, replies, replies, strict=False):
        bytes_told, time_told = size(told_size), modification_time(told_time)
        if bytes_told is not None:
            stamps[path] = file_stamp(bytes_told, time_told)
        if bytes_told is None or time_told is None or session.manners.directories_have_size:
            doubtful.append(path)
    replies = session.control.pipeline(
        command for path in doubtful for command in (f"CWD {session.place(path)}", "PWD")
    )
    for path, entered, where in zip(doubtful, replies, replies, strict=False):
        if entered.ok:
            # Where the server tells the real place, a link that leads back up, or out, shows itself.
            real = working_directory(where) or ""
            place = session.place(path)
            above = bool(real) and real != place and place.startswith(f"{real.rstrip('/')}/")
            stamps[path] = Stamp(Kind.OTHER if above else Kind.DIRECTORY)
    return stamps


def learn_dots(session: Session, listing: Listing) -> None:
    """Find out whether listings leave out dot names: one that is there has to be in the root's."""
    manners = session.manners
    if listing.problem is not None:
        return
    if any(basename(entry.path).startswith(".") for entry in listing.entries):
        manners.hides_dots = False
    elif not listing.directory and manners.hides_dots is None:
        there = session.control.ask(f"CWD {session.place(STATE_DIR)}").ok
        manners.hides_dots = there or None


def mlst_row(reply: Reply) -> Row | None:
    """The one entry in a reply to MLST (RFC 3659, 7.2): three lines, the second with a blank before it."""
    if not reply.ok or len(reply.lines) != 3:
        return None
    try:
        return facts(reply.lines[1].removeprefix(" "))
    except UnreadableError:
        return None


def file_stamp(told_size: int, told_time: tuple[int, int] | None) -> Stamp:
    """A file's stamp from SIZE and MDTM."""
    if told_time is None:
        return Stamp(Kind.FILE, told_size, None, MINUTE)
    return Stamp(Kind.FILE, told_size, *told_time)
