"""What there is on both sides, compared with what was known: everything between meeting and acting."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from symsync.core.compare import Base, Known, Learnt, compare, questions
from symsync.core.conflicts import Names
from symsync.core.generations import Journal, Standing, base_of, resume
from symsync.core.modes import Status, writes
from symsync.core.plan import Rules as PlanRules
from symsync.core.plan import newer_side, one_way, plan
from symsync.core.steps import Decision, Pair
from symsync.core.values import Found, Listing, Problem, Reason, Scan, Side
from symsync.events import Audience, Phase
from symsync.fence import DISPLACED
from symsync.folder import Folder
from symsync.local_files import CLOCK_STEP_NS
from symsync.meeting import Pairing
from symsync.remotes import open_own
from symsync.remotes.base import Fetch, Fetched
from symsync.remotes.links import with_noted
from symsync.rules import Links, Rules
from symsync.settings import ConflictRule, Settings
from symsync.statestore import HubStore, Met, NodeStore, Other, StateFolder, announced, refreshed
from symsync_protocol.errors import HubRefused, StateDamaged, Stopped
from symsync_protocol.names import IGNORE_FILE, LOCK_DIR, ancestors, basename, same_name
from symsync_protocol.stamps import SECOND, Kind, Stamp, same
from symsync_protocol.state import PairState, link_digest
from symsync_protocol.statefile import StateFile

ACCEPTED = frozenset({"deletes", "emptied"})
"""What one node's user allows for all."""

_ANOTHER_ZONE_NS = 60 * SECOND
"""From this difference on, the hub's clock is another, or tells local time for UTC (vsftpd's use_localtime, Debian's
default); a smaller one may come from the way it was read."""

_LONGEST_WAIT_NS = 3 * SECOND

_IGNORE_LIMIT = 1 << 20
"""Bytes of a `.sync.ignore` that are read."""


@dataclass(frozen=True, slots=True)
class View:
    """What was seen, compared with what was known, and what is to be done."""

    here: Scan
    there: Scan
    base: Base
    decisions: list[Decision]
    known: Mapping[str, Known]
    """What other nodes' states tell of the hub's current contents."""
    met: Met
    problems: tuple[Problem, ...]
    allowed: frozenset[str]
    """What other nodes' users allowed in the runs that this node has not seen yet: it need not be asked again here."""
    recorded: Callable[[str], list[Stamp]]
    """The stamps that other nodes' states hold of a path on the hub: a put must not look like any of them."""
    began: int
    """When the first content was read, in ns of this machine's clock."""


def survey(settings: Settings, pairing: Pairing, folder: Folder, nodes: NodeStore, audience: Audience) -> View:
    """Scan both sides, compare them with the state, and plan. Nothing is written but temporary files on the node."""
    return _Survey(settings, pairing, folder, nodes, audience).view()


class _Survey:
    def __init__(
        self, settings: Settings, pairing: Pairing, folder: Folder, nodes: NodeStore, audience: Audience
    ) -> None:
        self._settings = settings
        self._pairing = pairing
        self._folder = folder
        self._nodes = nodes
        self._remote = pairing.remote
        self._hubs = HubStore(pairing.remote, appends=pairing.met.appends)
        self._audience = audience
        self._problems: list[Problem] = []
        self._allowed: set[str] = set()
        self._others: list[StateFile] = []
        self._news: list[StateFile] = []
        """Those of them that were not read in an earlier run."""

    def view(self) -> View:
        settings, pairing = self._settings, self._pairing
        self._audience.phase(Phase.SCANNING)
        root = self._list_root()
        rules = self._rules(root)
        with ThreadPoolExecutor(1) as pool:
            local = pool.submit(self._folder.scan, rules)
            there = self._scan_hub(rules, root)
            here = self._with_noted(local.result(), rules)
        self._audience.phase(Phase.COMPARING)
        self._problems += [*_at(Side.HERE, here.problems), *_at(Side.THERE, there.problems)]
        met, known, copies = self._learn(here, there)
        if self._remote.traits.hides_dots:
            there = self._with_hidden(here, there, rules)
        there = self._beyond_limit(here, there, rules)
        base = self._base(here, there, rules, known)
        there = self._confirmed(base, there, rules)
        left_out = {*copies, *self._announced_here()}
        told_here, told_there = _told_links(base, here, Side.HERE), _told_links(base, there, Side.THERE)
        pairs = compare(base, here, there, Learnt(told_here, told_there, known), left_out)
        began = self._let_hub_tick(pairs)
        gone = self._gone_of_others(there)
        asked = questions(pairs, one_way=one_way(settings.mode), size_only=settings.size_only, gone=gone)
        if asked.here or asked.there:
            ours, failed = self._folder.digests(here.entries[path] for path in sorted(asked.here))
            self._problems += _at(Side.HERE, failed)
            theirs = self._read_hub([there.entries[path] for path in sorted(asked.there)])
            here = _without(here, asked.here - ours.keys())
            there = _without(there, asked.there - theirs.keys())
            pairs = compare(base, here, there, Learnt(told_here | ours, told_there | theirs, known), left_out)
        occupied = {pair.path for pair in pairs} | here.entries.keys() | there.entries.keys() | left_out

        def taken(path: str) -> bool:
            return path in occupied or not (here.knows(path) and there.knows(path))

        while True:
            names = Names(pairing.here.name, pairing.there.name, taken)
            decisions = plan(pairs, self._plan_rules(base), names)
            in_the_way = self._hidden_at_copies(decisions, there) - occupied
            if not in_the_way:
                break
            occupied |= in_the_way
        for problem in self._problems:
            self._audience.problem(problem)
        return View(
            here,
            there,
            base,
            decisions,
            known,
            met,
            tuple(self._problems),
            frozenset(self._allowed),
            self._recorded,
            began,
        )

    def _let_hub_tick(self, pairs: Iterable[Pair]) -> int:
        """Where somebody edited on the hub just now, wait until its clock has left that tick before anything is read:
        no later edit can hide in it then. Returns the time after that."""
        now = time.time_ns() + self._pairing.met.clock_offset_ns
        stamps = [
            found.stamp
            for pair in pairs
            if (found := pair.there.found) and pair.there.status is Status.CHANGED and pair.meta is None
        ]
        ends = [s.mtime_ns + 2 * s.tick_ns + CLOCK_STEP_NS for s in stamps if s.mtime_ns is not None]
        wait = max((end - now for end in ends if end - now <= _LONGEST_WAIT_NS), default=0)
        if wait > 0:
            time.sleep(wait / SECOND)
        return time.time_ns()

    def _list_root(self) -> Listing:
        """The hub's root, which shows before all else what is to be left out."""
        (root,) = self._remote.listings([""])
        if root.problem is not None and not root.entries:
            raise HubRefused(f"the hub's directory can't be listed: {root.problem.detail or root.problem.reason}")
        return root

    def _rules(self, root: Listing) -> Rules:
        """What takes part. While `.sync.ignore` differs between the sides, both texts hold."""
        state = self._pairing.ground.state
        texts = []
        with suppress(FileNotFoundError):
            texts.append(self._folder.path(IGNORE_FILE).read_text(encoding="utf-8", errors="surrogateescape"))
        found: Found | Problem | None = next((entry for entry in root.entries if entry.path == IGNORE_FILE), None)
        if found is None and (self._remote.traits.hides_dots or root.problem is not None):
            (found,) = self._remote.stat([IGNORE_FILE])
        if isinstance(found, Found) and found.kind is Kind.FILE:
            entry = state.entries.get(IGNORE_FILE) if state else None
            if entry is None or not same(entry.there, found.stamp) or not texts:
                data = self._remote.read(IGNORE_FILE, limit=_IGNORE_LIMIT)
                texts.append((data or b"").decode("utf-8", "surrogateescape"))
        settings = self._settings
        return Rules(
            includedots=settings.includedots, allowblanks=settings.allowblanks, ignores=tuple(dict.fromkeys(texts))
        )

    def _with_noted(self, here: Scan, rules: Rules) -> Scan:
        """Links that nodes, whose hub this directory is, could only note in it. A run that writes here has made them
        real before."""
        root = self._folder.root
        with with_noted(open_own(root), root) as own:
            noted = {
                found.path: found
                for found in own.noted()
                if found.path not in here.entries and not rules.excludes_wholly(found.path, directory=False)
            }
        if self._settings.links is not Links.KEEP:
            return replace(here, unknown=here.unknown.union(noted)) if noted else here
        return replace(here, entries={**here.entries, **noted}) if noted else here

    def _scan_hub(self, rules: Rules, root: Listing) -> Scan:
        """Walk the hub's tree from its root, a level at a time. What could not be listed whole is unknown."""
        entries: dict[str, Found] = {}
        unknown: set[str] = set()
        problems: list[Problem] = []
        listings: Iterable[Listing] = [root]
        while True:
            deeper: list[str] = []
            for listing in listings:
                if listing.problem is not None:
                    unknown.add(listing.directory)
                    problems.append(listing.problem)
                for found in listing.entries:
                    if rules.excludes(found.path, directory=found.kind is Kind.DIRECTORY):
                        continue
                    if found.kind is Kind.OTHER:
                        unknown.add(found.path)
                        what = "neither file, directory nor link: skipped"
                        problems.append(Problem(found.path, Reason.KIND, what))
                        continue
                    entries[found.path] = found
                    if found.kind is Kind.DIRECTORY:
                        deeper.append(found.path)
            if not deeper:
                break
            listings = self._remote.listings(deeper)
        return Scan(entries, frozenset(unknown), tuple(problems))

    def _with_hidden(self, here: Scan, there: Scan, rules: Rules) -> Scan:
        """What listings leave out is asked for one by one: `.sync.ignore`, what any node's state knows of, and what
        this node has."""
        kinds = {IGNORE_FILE: Kind.FILE, **self._known_kinds(here)}
        hidden = [
            path
            for path in sorted(kinds.keys() - there.entries.keys())
            if _may_be_hidden(path) and not rules.excludes_wholly(path, directory=kinds[path] is Kind.DIRECTORY)
        ]
        now = dict(zip(hidden, self._remote.stat(hidden) if hidden else [], strict=True))
        found = {path: entry for path, entry in now.items() if isinstance(entry, Found)}
        unknown = {path for path, entry in now.items() if isinstance(entry, Problem)}
        return replace(there, entries={**there.entries, **found}, unknown=there.unknown | unknown)

    def _hidden_at_copies(self, decisions: Iterable[Decision], there: Scan) -> set[str]:
        """Where copies are to be laid on the hub, and its listings do not show that something lies there already; which
        names they leave out may not be known yet."""
        steps = [(decision, step) for decision in decisions for step in decision.steps if step.on is Side.THERE]
        asked = [
            step.path
            for decision, step in steps
            if step.path != decision.path and step.path not in there.entries and _may_be_hidden(step.path)
        ]
        now = self._remote.stat(asked) if asked else []
        return {path for path, entry in zip(asked, now, strict=True) if isinstance(entry, Found)}

    def _beyond_limit(self, here: Scan, there: Scan, rules: Rules) -> Scan:
        """Where a listing was cut short, as beyond 10,000 entries on Pure-FTPd, all that any node's state knows there,
        and what this node has, is asked for one by one. Nothing else can be removed, or be in the way."""
        cut = {
            problem.path for problem in there.problems if problem.reason is Reason.CUT and problem.path in there.unknown
        }
        if not cut:
            return there
        kinds = self._known_kinds(here)
        beyond = [
            path
            for path in sorted(kinds.keys() - there.entries.keys())
            if not cut.isdisjoint(("", *ancestors(path)))
            and not rules.excludes_wholly(path, directory=kinds[path] is Kind.DIRECTORY)
        ]
        now = dict(zip(beyond, self._remote.stat(beyond) if beyond else [], strict=True))
        found = {
            path: entry for path, entry in now.items() if isinstance(entry, Found) and entry.kind is not Kind.OTHER
        }
        unknown = {path for path, entry in now.items() if entry is not None and path not in found}
        return replace(there, entries={**there.entries, **found}, unknown=(there.unknown - cut) | unknown)

    def _known_kinds(self, here: Scan) -> dict[str, Kind]:
        """What this node has, what any node's state tells of the hub, and what an ended run was about to put."""
        own, journal = self._pairing.ground.state, self._pairing.journal
        kinds = {path: entry.kind for path, entry in here.entries.items()}
        if journal is not None:
            kinds.update((path, entry.there.kind) for path, entry in journal.puts.items())
        # The hub's own counts also where this node's is older, for a backup came back.
        for state in (own, self._pairing.hub_state, *(file.state for file in self._others)):
            if state is not None:
                kinds.update((path, entry.there.kind) for path, entry in state.entries.items())
                kinds.update((path, conflict.there.stamp.kind) for path, conflict in state.conflicts.items())
        # One-way runs settle conflicts whose copies stay on the hub, and only the state there still tells of those.
        known = [state for state in (own, self._pairing.hub_state) if state is not None]
        conflicts = [*(state.conflicts for state in known), *([journal.conflicts] if journal is not None else [])]
        copies = (conflict.copy_there for some in conflicts for conflict in some.values())
        kinds.update((copy.path, Kind.FILE) for copy in copies if copy is not None)
        announced = self._pairing.announced  # where the disk was lost since, no journal tells of it
        for path in announced.paths if announced is not None else ():
            kinds.setdefault(path, Kind.FILE)
        return kinds

    def _confirmed(self, base: Base, there: Scan, rules: Rules) -> Scan:
        """What the state knows and no listing shows is asked for: where it is there all the same, a listing was cut
        short without a word, and its absence is neither a deletion nor a decision."""
        copies = (conflict.copy_there for conflict in base.conflicts.values())
        known = {*base.entries, *base.conflicts, *(copy.path for copy in copies if copy is not None)}
        missing = {path for path in known if path not in there.entries and there.knows(path)}
        asked = [
            path
            for path in sorted(missing)
            if not missing.intersection(ancestors(path)) and not rules.excludes_wholly(path, directory=False)
        ]
        now = self._remote.stat(asked) if asked else []
        hidden = [path for path, entry in zip(asked, now, strict=True) if entry is not None]
        self._problems += [Problem(path, Reason.CUT, "on the hub, but not in its listing: left") for path in hidden]
        aside = self._displaced(missing.difference(hidden))
        self._problems += [Problem(path, Reason.CHANGED, "another node is about to replace it: left") for path in aside]
        hidden += aside
        return replace(there, unknown=there.unknown.union(hidden)) if hidden else there

    def _displaced(self, missing: Iterable[str]) -> list[str]:
        """What a run has only moved aside that is at work on the hub, or has died there: who writes nothing there waits
        for no lock, and would take it for removed."""
        paths = sorted(missing)
        if not paths or writes(self._settings.mode)[1]:
            return []
        (lock,) = self._remote.listings([LOCK_DIR])
        runs = [entry.path for entry in lock.entries if entry.kind is Kind.DIRECTORY]
        kept = [(path, f"{run}/{DISPLACED}/{path}") for run in runs for path in paths]
        found = self._remote.stat([place for _, place in kept]) if kept else []
        return sorted({path for (path, _), entry in zip(kept, found, strict=True) if entry is not None})

    def _recorded(self, path: str) -> list[Stamp]:
        """The stamps that other nodes' states hold of a path on the hub."""
        states = [file.state for file in self._others if file.state is not None]
        entries = [state.entries[path].here for state in states if path in state.entries]
        return entries + [state.conflicts[path].here.stamp for state in states if path in state.conflicts]

    def _learn(self, here: Scan, there: Scan) -> tuple[Met, dict[str, Known], set[str]]:
        """What the other nodes' states on the hub tell: contents, exact times and bits, and copies to leave out.

        Read after the listing, for a copy is announced before it is made.
        """
        pairing = self._pairing
        if pairing.new_hub and not pairing.folder.sizes:
            return pairing.met, {}, set()
        state, met, hub = pairing.ground.state, pairing.met, pairing.there.name
        wanted = (
            state is None
            or self._remote.traits.hides_dots
            or _news(state, here, Side.HERE)
            or _news(state, there, Side.THERE)
            or any(path not in there.entries for other in met.others.values() for path in other.copies)
        )
        remembered: dict[str, Other] = {}
        if not wanted and state is not None and _is_all_there(state, here, there) and self._is_known(pairing.folder):
            return met, {}, {copy for other in met.others.values() for copy in other.copies}
        sizes = self._hubs.folder().sizes
        for name in sorted({*sizes, *met.others}):  # the listing may leave some out
            if same_name(name, self._settings.node):
                continue
            old, size = met.others.get(name), sizes.get(name)
            unchanged = old is not None and old.size == size
            if old is not None and unchanged and not wanted:
                remembered[name] = old
                continue
            file = self._nodes.cached(hub, name) if unchanged else None
            if file is not None and file.size != size:
                file = None  # a power cut took what was not on the disk yet
            file, current = (file, True) if file is not None else self._refreshed(name, old, listed=size is not None)
            if file is None:
                continue
            remembered[name] = Other(file.size, announced(file))
            if current and (old is None or old.size != file.size) and file.state is not None:
                self._allowed.update(ACCEPTED.intersection(file.state.allowed))
            self._others.append(file)
            if not unchanged:
                self._news.append(file)
        self._refuse_cycles()
        copies = {copy for other in remembered.values() for copy in other.copies}
        return replace(met, others=remembered), _knowledge(self._others, there), copies

    def _gone_of_others(self, there: Scan) -> list[Stamp]:
        """The stamps of what others have brought to the hub and is not in its place any more: copies of conflicts, and
        what this node has perhaps never seen, for it stands in a state that was not read before."""
        states = [file.state for file in self._others if file.state is not None]
        copies = [conflict.copy_here for state in states for conflict in state.conflicts.values()]
        seen = [(copy.path, copy.stamp) for copy in copies if copy is not None and copy.stamp is not None]
        news = [file.state for file in self._news if file.state is not None]
        seen += [(path, entry.here) for state in news for path, entry in state.entries.items()]
        now = there.entries
        return [stamp for path, stamp in seen if path not in now or not same(stamp, now[path].stamp)]

    def _refreshed(self, name: str, old: Other | None, *, listed: bool) -> tuple[StateFile | None, bool]:
        """Another node's state, and whether it is the one on the hub. One that can't be read must not keep this node
        from working: what was last read of it, of its copies above all, goes on to count. One that was not even
        `listed`, and is not there, has been removed."""
        hub = self._pairing.there.name
        try:
            file = refreshed(self._nodes, self._hubs, hub, name, old)
        except (StateDamaged, HubRefused) as error:
            why = str(error)
        else:
            if file is not None or not listed:
                return file, True
            why = "it is gone"
        cached = self._nodes.cached(hub, name) if old is not None else None
        done = "what it knew before goes on to count" if cached is not None else "what it knows is done without"
        self._audience.note(f"the state of {name} on the hub can't be read ({why}); {done}")
        return cached, False

    def _is_known(self, folder: StateFolder) -> bool:
        """Whether no other node has recorded anything since its state was last read here."""
        sizes = {name: size for name, size in folder.sizes.items() if not same_name(name, self._settings.node)}
        return sizes == {name: other.size for name, other in self._pairing.met.others.items()}

    def _refuse_cycles(self) -> None:
        """A node that is met at two of this node's hubs would chase deletions round for ever."""
        if len(self._nodes.names()) < 2:
            return
        ids = {file.state.there.id: file.state.there.name for file in self._others if file.state is not None}
        for hub in self._nodes.names():
            if same_name(hub, self._pairing.there.name):
                continue
            for identity in self._nodes.met_at(hub):
                if identity.id in ids and identity.id != self._pairing.here.id:
                    raise Stopped(
                        f"{ids[identity.id]} synchronises with {self._pairing.there.name} and with {hub}, as this node "
                        "does: deletions would go round in circles. Let only one of the two use both hubs"
                    )

    def _announced_here(self) -> set[str]:
        """Conflict copies in this directory that belong to its states with others: its other hubs, or, where it is a
        hub itself, its nodes."""
        copies: set[str] = set()
        for name in self._nodes.names():
            if not same_name(name, self._pairing.there.name):
                with suppress(StateDamaged):
                    file = self._nodes.load(name)
                    copies.update(announced(file) if file else ())
        return copies

    def _base(self, here: Scan, there: Scan, rules: Rules, known: Mapping[str, Known]) -> Base:
        ground, journal = self._pairing.ground, self._pairing.journal
        digests: Mapping[str, bytes] = {}
        if ground.standing is Standing.TAKEN_BACK and ground.state is not None:
            sizes = {path: entry.here.size for path, entry in ground.state.entries.items()}
            for path, conflict in ground.state.conflicts.items():
                sizes[path] = conflict.here.stamp.size
                if conflict.copy_here is not None:
                    sizes[conflict.copy_here.path] = conflict.there.stamp.size
            likely = [
                found
                for path, found in here.entries.items()
                if found.kind is not Kind.DIRECTORY and sizes.get(path) == found.stamp.size
            ]
            digests, failed = self._folder.digests(likely)
            self._problems += _at(Side.HERE, failed)
        base = base_of(ground, here, digests)
        if journal is not None:
            journal = journal.unless_others({path: other.digest for path, other in known.items()})
            if not journal.acted:
                there = self._asked_for(journal, base, there)
                doubtful = journal.lying(there)
                # A node's puts bear times like no other's. What the hub's own run received has that of its source: only
                # its content tells it from an edit.
                if not self._pairing.by_hub:
                    ended = {path for file in self._others if file.intent is not None for path in file.intent.paths}
                    ended |= {path for path in journal.puts if any(not s.settled for s in self._recorded(path))}
                    doubtful = journal.doubtful(doubtful, base, ended)
                doubtful += journal.shown_otherwise(there)
                journal = journal.verified(doubtful, self._read_hub(doubtful))
            laid = (conflict.copy_here for conflict in journal.conflicts.values())
            brought = [*journal.gets, *(copy.path for copy in laid if copy is not None)]
            lying = (here.entries[path] for path in brought if path in here.entries)
            received, failed = self._folder.digests(found for found in lying if found.kind is not Kind.DIRECTORY)
            self._problems += _at(Side.HERE, failed)
            base = resume(base, journal, here, there, received, one_way=one_way(self._settings.mode))
        # A one-way mode settles by its direction what was lost, and what is excluded does not come back.
        settled = one_way(self._settings.mode)
        back = {p: c for p, c in base.lost.items() if not (settled or rules.excludes_wholly(p, directory=False))}
        base = replace(base, lost=back)
        # A path that became excluded leaves the state; when it comes back, it is met for the first time.
        kept = {
            path: entry
            for path, entry in base.entries.items()
            if not rules.excludes_wholly(path, directory=entry.here.kind is Kind.DIRECTORY)
        }
        return base if len(kept) == len(base.entries) else replace(base, entries=kept)

    def _asked_for(self, journal: Journal, base: Base, there: Scan) -> Scan:
        """What an ended run may have brought to the hub, or was to take away there, is asked for where no listing shows
        it: it would count as never brought, and what is left of it as somebody's file."""
        conflicts = [*journal.conflicts.values(), *base.conflicts.values()]
        copies = (conflict.copy_there for conflict in conflicts)
        paths = {*journal.puts, *(copy.path for copy in copies if copy is not None)} - there.entries.keys()
        asked = sorted(paths)
        now = self._remote.stat(asked) if asked else []
        found = {entry.path: entry for entry in now if isinstance(entry, Found)}
        return replace(there, entries={**there.entries, **found}) if found else there

    def _read_hub(self, wanted: list[Found]) -> dict[str, bytes]:
        """The digests of files on the hub, by reading them."""
        digests = {found.path: link_digest(found.target) for found in wanted if found.target is not None}
        jobs = (Fetch(found.path, self._folder.temporary()) for found in wanted if found.kind is Kind.FILE)
        sizes = {found.path: found.stamp.size for found in wanted}
        for outcome in self._remote.fetch(jobs, self._audience.transferred):
            if isinstance(outcome, Fetched):
                outcome.job.target.unlink(missing_ok=True)
                if outcome.size == sizes[outcome.job.path]:
                    digests[outcome.job.path] = outcome.digest
                else:
                    self._problems.append(Problem(outcome.job.path, Reason.CUT, "not as long as its listing says"))
            else:
                self._problems += _at(Side.THERE, [outcome[1]])
        return digests

    def _plan_rules(self, base: Base) -> PlanRules:
        settings = self._settings
        offset = self._pairing.met.clock_offset_ns
        shift = offset if abs(offset) >= _ANOTHER_ZONE_NS else 0
        winner = {
            ConflictRule.KEEP: None,
            ConflictRule.NEWER: lambda pair: newer_side(pair, shift),
            ConflictRule.LOCAL: lambda _pair: Side.HERE,
            ConflictRule.HUB: lambda _pair: Side.THERE,
        }[settings.conflict]
        return PlanRules(
            settings.mode,
            winner,
            settings.delete,
            settings.only_newer,
            settings.size_only,
            shift,
            modes_there=self._remote.traits.sets_modes and settings.filemode is None,
            removals=base.removals,
        )


def _at(side: Side, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Problems that a side told of; one that names the side itself keeps it."""
    return (replace(problem, side=problem.side or side) for problem in problems)


def _news(state: PairState, scan: Scan, side: Side) -> bool:
    """Whether a side holds anything that the state does not know."""
    for path, found in scan.entries.items():
        entry = state.entries.get(path)
        if entry is None or not same(entry.here if side is Side.HERE else entry.there, found.stamp):
            return True
    return False


def _is_all_there(state: PairState, here: Scan, there: Scan) -> bool:
    """Whether either side has all that the state knows, and nothing is undecided: then nobody's word is needed."""
    return not state.conflicts and state.entries.keys() <= here.entries.keys() & there.entries.keys()


def _may_be_hidden(path: str) -> bool:
    """Whether listings that leave out names with a dot leave out this one."""
    return any(basename(up).startswith(".") for up in (*ancestors(path), path))


def _told_links(base: Base, scan: Scan, side: Side) -> dict[str, bytes]:
    """The digests of links in open conflicts, and of copies: their targets tell what may hide under the stamp."""
    copies = (conflict.copy_here if side is Side.HERE else conflict.copy_there for conflict in base.copied.values())
    paths = [*base.copied, *(copy.path for copy in copies if copy is not None)]
    entries = [scan.entries[path] for path in paths if path in scan.entries]
    return {entry.path: link_digest(entry.target) for entry in entries if entry.target is not None}


def _without(scan: Scan, paths: frozenset[str]) -> Scan:
    """Paths whose content could not be read are unknown: nothing is decided about them."""
    return replace(scan, unknown=scan.unknown | paths) if paths else scan


def _knowledge(files: list[StateFile], there: Scan) -> dict[str, Known]:
    """What the hub's files hold, by the states whose stamp of them is the current one; the highest counter counts."""
    known: dict[str, Known] = {}
    for file in files:
        for path, entry in file.state.entries.items() if file.state else ():
            found = there.entries.get(path)
            if found is None or not entry.here.settled or not same(entry.here, found.stamp):
                continue
            if entry.target != found.target:  # of links the stamp tells little
                continue
            old = known.get(path)
            if old is None or (entry.meta.counter, entry.meta.author) > (old.meta.counter, old.meta.author):
                known[path] = Known(entry.here, entry.digest, entry.meta)
    return known
