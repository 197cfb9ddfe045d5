"""Earlier versions: what the trash of either side holds, and how one of them comes back.

    .sync.trash/RUN/PATH     what the run RUN displaced from PATH, on node and hub alike

Both trashes are looked at through a Remote: the node's own directory is one, too. What comes back is copied, so that
the trash keeps it, and put under its name as a person would; the next run sends it like any other edit.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_IMODE

from symsync.core.values import Found, Problem, Reason, Side
from symsync.events import Audience, Phase
from symsync.folder import Folder
from symsync.remotes import Conversation, open_own, open_remote
from symsync.remotes.base import Fetch, Fetched, Remote
from symsync.remotes.links import LinkTable, with_noted
from symsync.remotes.tree import below
from symsync.retention import Run, run_label, run_of
from symsync.settings import Settings
from symsync.statestore import HubStore
from symsync_protocol.errors import HubError, PasswordWanted, UsageError
from symsync_protocol.names import TRASH_DIR, ancestors, basename, is_reserved, is_safe, join, shown
from symsync_protocol.stamps import Kind
from symsync_protocol.state import Meta

BOTH = (Side.HERE, Side.THERE)


@dataclass(frozen=True, slots=True)
class Version:
    """One file or link in the trash."""

    path: str
    """Where it lay before."""
    side: Side
    run: Run
    """Which run displaced it."""
    found: Found
    """Under its name in the trash."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the trash holds."""

    versions: tuple[Version, ...]
    """The newest run's first, each run's in the order of the paths; the node's own before the hub's."""
    problems: tuple[Problem, ...] = ()
    """Why that may not be all."""
    unreached: HubError | None = None
    """Why the hub's trash could not be looked at at all."""

    @property
    def exit_status(self) -> int:
        if self.unreached is not None:
            return self.unreached.exit_status
        return 1 if self.problems else 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to come back."""

    path: str
    """A file, a link, or a directory: then everything below it; "" is the root."""
    version: str | None = None
    """The run that displaced it, by its label or the last part of that; None: the newest."""
    to: str | None = None
    """Another name to put it under."""
    sides: Sequence[Side] = BOTH


@dataclass(frozen=True, slots=True)
class Back:
    """One version that lies under a name again."""

    version: Version
    path: str
    displaced: bool
    """Whether something else lay there, which is in the node's trash now."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restoring came to."""

    back: tuple[Back, ...]
    problems: tuple[Problem, ...]
    version: str
    """What was displaced to make room lies in the node's trash as this version."""

    @property
    def exit_status(self) -> int:
        return 1 if self.problems else 0


def contents(
    settings: Settings, path: str = "", sides: Sequence[Side] = BOTH, *, conversation: Conversation | None = None
) -> Contents:
    """The versions of `path` and of everything below it. A hub that is not reached leaves the node's own."""
    with ExitStack() as stack:
        return _contents(settings, path, sides, stack, conversation)[0]


def restore(
    settings: Settings, wish: Wish, audience: Audience, *, conversation: Conversation | None = None
) -> Restored:
    """Bring an earlier version back on the node. What lies under its name goes to the node's trash.

    Raises UsageError where there is no such version, HubError where the hub is needed and not reached, and Stopped
    where another symsync is at work in the directory.
    """
    label = run_label(settings.node, _later(settings), os.urandom(4).hex())
    folder = Folder(settings.directory, label, settings.links)
    with folder.locked(), ExitStack() as stack:
        audience.phase(Phase.CONNECTING, settings.location.shown)
        held, remotes = _contents(settings, wish.path, wish.sides, stack, conversation)
        if isinstance(held.unreached, PasswordWanted):
            raise held.unreached
        if held.unreached is not None:
            raise HubError(f"{held.unreached}; --here restores from this directory's own trash, without the hub")
        chosen = choose(held, wish)
        back, problems = _bring(chosen, wish, folder, remotes, audience)
        folder.clear()
    return Restored(tuple(back), (*held.problems, *problems), label.rpartition("-")[2])


def _later(settings: Settings) -> float:
    """Now, or a second after the last run that displaced something here: what a restoring displaces is the newest."""
    trash = settings.directory / TRASH_DIR
    runs = [run for label in (os.listdir(trash) if trash.is_dir() else ()) if (run := run_of(label)) is not None]
    return max([time.time(), *(run.began + 1 for run in runs)])


def choose(held: Contents, wish: Wish) -> list[Version]:
    """Which versions `wish` means: the file itself, or all that one run displaced below the directory.

    Raises UsageError where there is none.
    """
    meant = [version for version in held.versions if wish.version in (None, version.run.label, version.run.token)]
    if not meant:
        what = shown(wish.path) or "anything here"
        which = f" {shown(wish.version)}" if wish.version is not None else ""
        why = f" ({held.problems[0]})" if held.problems else ""
        raise UsageError(f"the trash holds no version{which} of {what}{why}; see what it holds: symsync trash")
    of_run = [version for version in meant if version.run.is_of(meant[0].run)]
    itself = [version for version in of_run if version.path == wish.path]
    # Where both sides displaced something of one name in one run, the node's own needs no transfer.
    return itself[:1] or list({version.path: version for version in reversed(of_run)}.values())[::-1]


@contextmanager
def _reading(settings: Settings, side: Side, conversation: Conversation | None) -> Iterator[Remote]:
    """One of the two directories, whichever it is."""
    if side is Side.HERE:
        with with_noted(open_own(settings.directory), settings.directory) as remote:
            yield remote
        return
    with open_remote(settings.location, conversation) as remote:
        yield LinkTable(remote, exists=HubStore(remote).folder().has_links) if settings.symsync else remote


def _contents(
    settings: Settings, path: str, sides: Sequence[Side], stack: ExitStack, conversation: Conversation | None
) -> tuple[Contents, dict[Side, Remote]]:
    """What lies there, and the remotes to fetch it through, which `stack` closes."""
    versions: list[Version] = []
    problems: list[Problem] = []
    remotes: dict[Side, Remote] = {}
    unreached = None
    for side in sides:
        try:
            remotes[side] = stack.enter_context(_reading(settings, side, conversation))
            found, incomplete = _versions(remotes[side], side, path)
        except HubError as error:
            if side is Side.HERE:
                raise
            unreached = error
            continue
        versions += found
        problems += incomplete
    versions.sort(key=lambda version: (version.path, version.side is Side.THERE))
    versions.sort(key=lambda version: version.run, reverse=True)  # stable: what a run displaced stays in order
    return Contents(tuple(versions), tuple(problems), unreached), remotes


def _versions(remote: Remote, side: Side, path: str) -> tuple[list[Version], list[Problem]]:
    """The versions of `path` and of everything below it in one side's trash, and why that may not be all."""
    (listing,) = remote.listings([TRASH_DIR])
    absent = listing.problem is None or listing.problem.reason is Reason.ABSENT
    problems = [] if absent or listing.problem is None else [listing.problem]
    runs = [run for entry in listing.entries if entry.kind is Kind.DIRECTORY and (run := run_of(basename(entry.path)))]
    tops = {join(f"{TRASH_DIR}/{run.label}", path) if path else f"{TRASH_DIR}/{run.label}": run for run in runs}
    found: dict[str, Found] = {}
    directories = list(tops)
    if path and tops:
        # Asked for by name: a listing of the whole trash is not needed, and may hide names with a dot.
        looked = dict(zip(tops, remote.stat(list(tops)), strict=True))
        problems += [entry for entry in looked.values() if isinstance(entry, Problem)]
        found = {entry.path: entry for entry in looked.values() if isinstance(entry, Found)}
        directories = [top for top, entry in found.items() if entry.kind is Kind.DIRECTORY]
    deeper, more = below(remote, directories)
    by_label = {run.label: run for run in runs}
    versions = []
    for place, entry in (found | deeper).items():
        _, label, *rest = place.split("/", 2)
        lay = "".join(rest)
        # Whoever can write on the hub can write into its trash, whatever names he likes.
        if entry.kind in (Kind.FILE, Kind.LINK) and is_safe(lay) and not is_reserved(lay):
            versions.append(Version(lay, side, by_label[label], replace(entry, path=place)))
    return versions, problems + more


def _bring(
    chosen: Sequence[Version], wish: Wish, folder: Folder, remotes: dict[Side, Remote], audience: Audience
) -> tuple[list[Back], list[Problem]]:
    """Fetch the chosen versions, and put each under its name once all are here."""
    files = [version for version in chosen if version.found.kind is Kind.FILE]
    audience.planned([], len(files), sum(version.found.stamp.size for version in files))
    audience.phase(Phase.TRANSFERRING)
    problems: list[Problem] = []
    arrived: dict[str, Path] = {}
    for side, remote in remotes.items():
        jobs = {Fetch(version.found.path, folder.temporary()): version for version in files if version.side is side}
        for outcome in remote.fetch(jobs, audience.transferred):
            if not isinstance(outcome, Fetched):
                problems.append(replace(outcome[1], path=jobs[outcome[0]].path))
                continue
            version = jobs[outcome.job]
            if outcome.size != version.found.stamp.size:
                detail = f"{outcome.size} of {version.found.stamp.size} bytes arrived"
                problems.append(Problem(version.path, Reason.CUT, detail))
                continue
            arrived[version.path] = outcome.job.target
            audience.arrived(version.path)
    if arrived:
        folder.make_durable()
    back: list[Back] = []
    for version in chosen:
        if version.found.kind is Kind.FILE and version.path not in arrived:
            continue
        result = _put(folder, version, _name_for(version.path, wish), arrived.get(version.path))
        if isinstance(result, Problem):
            problems.append(result)
        else:
            back.append(result)
    return back, problems


def _name_for(path: str, wish: Wish) -> str:
    """The name under which what lay at `path` comes back."""
    if wish.to is None:
        return path
    rest = path[len(wish.path) :].lstrip("/")
    return join(wish.to, rest) if rest else wish.to


def _put(folder: Folder, version: Version, path: str, arrived: Path | None) -> Back | Problem:
    """Put one version under a name, and what lies there into the trash."""
    lying = folder.look(path)
    if isinstance(lying, Problem):
        return lying
    if lying is not None and lying.kind not in (Kind.FILE, Kind.LINK):
        return Problem(path, Reason.EXISTS, "a directory lies there; give it another name: --to NAME")
    for up in ancestors(path):
        above = folder.look(up)
        if isinstance(above, Found) and above.kind is Kind.FILE:
            return Problem(path, Reason.EXISTS, f"{shown(up)} is a file now; give it another name: --to NAME")
        if above is None and isinstance(made := folder.make_directory(up, None), Problem):
            return made
    if arrived is None:
        placed = folder.link(path, version.found.target or "", lying)
    else:
        # The hub's bits are as its login has them; only what a program needs is taken over.
        exact = version.found.mode if version.side is Side.HERE else None
        meta = Meta(exact, version.found.stamp.mtime_ns)
        placed = folder.place(path, arrived, lying, meta, _usual_mode(arrived, version.found.mode))
    if isinstance(placed, Problem):
        return placed
    return Back(version, path, displaced=lying is not None)


def _usual_mode(arrived: Path, mode: int | None) -> int:
    """The bits of a new file, executable for whoever may read it where `mode` lets somebody execute it."""
    usual = S_IMODE(arrived.lstat().st_mode)
    return usual | (usual & 0o444) >> 2 if mode is not None and mode & 0o111 else usual
