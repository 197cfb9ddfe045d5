"""Who meets whom, and what either remembers: the first thing a run finds out.

Names and ids are checked here, both sides' states are read and weighed, and whatever looks like another hub, a cloned
disk or a taken name stops the run before anything is compared.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from symsync.core.generations import Ground, Journal, Standing, stand
from symsync.core.modes import writes
from symsync.events import Audience
from symsync.remotes import Conversation, open_remote
from symsync.remotes.base import Remote
from symsync.remotes.links import LinkTable
from symsync.settings import Settings
from symsync.statestore import HubStore, Met, NodeStore, Recorded, StateFolder, place_of, unless_damaged
from symsync_protocol.errors import HubRefused, StateDamaged, StateTooNew, Stopped, UsageError
from symsync_protocol.names import IDENTITY_FILE, STATE_DIR, check_name, same_name
from symsync_protocol.state import Identity, Intent, PairState, Place
from symsync_protocol.statefile import StateFile


@dataclass(frozen=True, slots=True)
class Meeting:
    """What `init` finds at the other end."""

    hub_name: str | None
    """None where nobody has synchronised with this hub yet."""
    hub_id: bytes | None
    nodes: tuple[str, ...]
    name_taken: bool
    """Whether another machine or directory uses the node's name here."""
    traits_text: str


def meet(settings: Settings, *, create: bool, replace: bool, conversation: Conversation | None = None) -> Meeting:
    """Log in and look who the hub is. With `create` its directory is made where it is missing."""
    with open_remote(settings.location, conversation, create=create) as remote:
        store = HubStore(remote)
        folder = store.folder()
        identity = store.identity() if folder.has_identity else None
        nodes = tuple(sorted(folder.sizes))
        taken = False
        if not replace and any(same_name(settings.node, name) for name in nodes):
            file = _unless_damaged_state(store, settings.node)
            place = file.state.there_place if file and file.state else None
            taken = place is not None and (not settings.directory.is_dir() or place != place_of(settings.directory))
        traits = remote.traits
        able = {
            "sets times": traits.sets_times,
            "sets permissions": traits.sets_modes,
            "symbolic links": traits.links,
            "appends": traits.appends,
        }
        text = ", ".join(word if can else f"no {word}" for word, can in able.items())
        return Meeting(identity.name if identity else None, identity.id if identity else None, nodes, taken, text)


def _unless_damaged_state(store: HubStore, node: str) -> StateFile | None:
    """A node's state on the hub, None also for a damaged one: its next run writes it anew."""
    try:
        return store.load(node)
    except StateTooNew:
        raise
    except StateDamaged:
        return None


@dataclass(frozen=True, slots=True)
class Pairing:
    """The two directories of a run, and the ground they stand on."""

    here: Identity
    there: Identity
    known_here: Identity | None
    """What this directory has recorded of itself so far."""
    place: Place
    remote: Remote
    """The hub, with the links that it could not be made to hold."""
    ground: Ground
    node_file: StateFile | None
    """The state as it lies on the node."""
    node_shape: object
    """That of this file before it was read."""
    hub_file: Recorded | None
    """The state file on the hub, as far as it must be known to append to it."""
    hub_state: PairState | None
    """The state in it, in the node's view."""
    announced: Intent | None
    """What a run announced in that file that has not recorded what it came to: it was ended, or is at work."""
    folder: StateFolder
    met: Met
    tracked: bool
    """Whether `met` tells which generations lie on either side: else not even this run makes it known, unless it
    records on both."""
    journal: Journal | None = None
    """What the last run of the two was about to do, where it was ended before it could record it."""
    by_hub: bool = False
    """Whether that was a run of the hub's own, with this directory as its hub."""

    @property
    def new_hub(self) -> bool:
        """Whether the hub has no identity yet, so that this run gives it one."""
        return not self.folder.has_identity


def pair(
    settings: Settings, nodes: NodeStore, remote: Remote, audience: Audience, *, only_look: bool = False
) -> Pairing:
    """Find out who the two are, and which state counts. With `only_look` nothing on the node is mended on the way.
    Raises UsageError, Stopped, StateTooNew or HubError."""
    return _Pairer(settings, nodes, remote, audience, only_look).pair()


class _Pairer:
    def __init__(
        self, settings: Settings, nodes: NodeStore, remote: Remote, audience: Audience, only_look: bool
    ) -> None:
        self._settings = settings
        self._nodes = nodes
        self._remote = remote
        self._hubs = HubStore(remote)
        self._audience = audience
        self._only_look = only_look

    def pair(self) -> Pairing:
        settings = self._settings
        folder = self._hubs.folder() if settings.symsync else StateFolder()
        hub = self._hub_identity(folder)
        folder = replace(folder, has_identity=hub is not None)
        last = self._nodes.led_to(settings.location.shown) if settings.symsync else None
        there = hub or self._unwritten_hub(folder, last)
        if same_name(there.name, settings.node):
            raise UsageError(f"node and hub are both called {settings.node}; give this node another nodename")
        if settings.peer is not None and not same_name(settings.peer, there.name):
            raise self._misnamed(settings.peer, there)
        place = place_of(settings.directory)
        shape = self._nodes.shape(there.name)
        node_file = self._node_file(there)
        local = node_file.state if node_file else None
        if hub is None and local is not None and settings.symsync and self._unless_damaged(self._hubs.identity):
            return self.pair()  # the hub, running itself, has met this node in this very moment
        known_here = self._unless_damaged(self._nodes.identity)
        here = self._own_identity(known_here, place, local)
        own = self._nodes.journal(there.name)
        met = _as_recorded(self._nodes.met(there.name), own, local, hub)
        self._hubs = HubStore(self._remote, appends=met.appends, folder=folder)
        left = local is not None and met.local == local.generation.id
        unnamed = left and not met.hub  # then the id that the state gives it is this node's own invention
        met_since = left and hub is not None and met.hub == hub.id
        if not unnamed and not met_since:
            self._check_hub(folder, hub, there, local)
        self._check_address(folder, hub, last, local)
        if hub is not None and met.hub != hub.id:
            met = replace(met, hub=hub.id) if unnamed else Met(hub.id)
        hub_file, hub_view, announced = self._hub_view(folder, there, met, local)
        theirs = self._ended_there(folder, node_file, hub_view)
        if own is not None and local is not None and local.generation.number >= own.number:
            own = None  # the hub, running itself, has picked it up, and perhaps gone on since
        recovered = own is not None and hub_view is not None and hub_view.generation.id == own.generation
        if recovered and local is not None and hub_view is not None and local.descends_from(hub_view.generation):
            recovered = False  # the hub, running itself, has recorded more here since
        recorded_here = theirs is not None and local is not None and theirs.generation == local.generation.id
        if recorded_here:
            theirs = None  # it tells nothing more, and this node may have gone on since
        journal = theirs or own
        pending = own.generation if own and recovered else journal.generation if journal else None
        if not recovered and hub_view is not None and self._ran_alone(here, local, hub_view):
            pending = hub_view.generation.id
        here, moved = self._check_node(here, place, local, hub_view)
        hub_state = hub_view
        met, tracked = self._tracked(met, local, hub_file, hub_view, pending)
        as_left = tracked and _is_as_left(met, hub_file, hub_view) and not self._is_set_back(there.name, folder, met)
        if not self._hub_keeps_state() and local is not None:
            hub_view = local  # nothing is recorded on the hub, so the node's own view counts alone
        ground = stand(local, hub_view, pending, moved, recorded_here or (as_left and local is not None))
        if self._hub_keeps_state() and hub_state is None and unnamed:
            # Whether this is the directory that was mirrored nobody can tell: they meet now.
            ground = replace(ground, standing=Standing.FIRST, state=None)
        if hub_file is not None and ground.standing in (Standing.OLDER, Standing.UNION):
            hub_file = hub_file.disowned()
        if ground.standing is Standing.NORMAL and ground.state is not local and ground.state is not None:
            # The last run was ended between the hub's record and ours: made up for before anything else is begun.
            journal = theirs if recovered else None
            if not self._only_look:
                # Where the other side has made up for it already, it may be at work by now, and append to just this.
                made_up = local is not None and local.generation == ground.state.generation
                if not made_up and not self._nodes.save(there.name, node_file, ground.state, shape):
                    return self.pair()
                self._nodes.end(there.name)
                shape = self._nodes.shape(there.name)
                node_file = self._nodes.load(there.name)
        self._tell(ground)
        remote = self._remote
        if settings.symsync:
            remote = LinkTable(remote, exists=folder.has_links)
        shown = theirs is not None or (announced is not None and announced.generation.id == pending)
        hidden = self._hub_keeps_state() and not shown and not (own is not None and own.silent and hub is not None)
        if hidden or ground.standing not in (Standing.FIRST, Standing.NORMAL):
            journal = None
        return Pairing(
            here=here,
            there=there,
            known_here=known_here,
            place=place,
            remote=remote,
            ground=ground,
            node_file=node_file,
            node_shape=shape,
            hub_file=hub_file,
            hub_state=hub_state,
            announced=announced,
            folder=folder,
            met=met,
            tracked=tracked,
            journal=journal,
            by_hub=theirs is not None,
        )

    def _hub_keeps_state(self) -> bool:
        return self._settings.symsync and writes(self._settings.mode)[1]

    def _hub_identity(self, folder: StateFolder) -> Identity | None:
        """Who the hub says it is, None where it has no identity (yet, or none that can be read and shall be kept)."""
        # Who may have met this one before asks for the name itself: a listing that leaves it out may only be cut short.
        if folder.has_identity or (self._settings.symsync and not self._nodes.is_new()):
            return self._unless_damaged(self._hubs.identity)
        return None

    def _unless_damaged(self, read: Callable[[], Identity | None]) -> Identity | None:
        """An identity; None also for a damaged one that the user lets be written anew."""
        return unless_damaged(read) if "identity" in self._settings.allow else read()

    def _unwritten_hub(self, folder: StateFolder, last: Identity | None) -> Identity:
        """The hub as this node will call it, where it has no identity of its own (yet, or any more). `last`: who was
        met at this address before."""
        named = self._named_by_states(folder)
        if named is not None:
            return named
        if last is not None and (self._settings.peer is None or same_name(self._settings.peer, last.name)):
            return last
        location = self._settings.location
        name = self._settings.peer or _name_from(location.host or Path(location.directory).name)
        if same_name(name, self._settings.node) and self._settings.peer is None:
            name = f"{name[:59]}-hub"
        with suppress(StateDamaged):
            known = self._nodes.load(name)
            if known is not None and known.state is not None:
                return known.state.there
        return Identity(name, os.urandom(16))

    def _named_by_states(self, folder: StateFolder) -> Identity | None:
        """Who the hub was, by the nodes' states that still lie on it."""
        for node in sorted(folder.sizes):
            with suppress(StateDamaged, HubRefused):
                file = self._hubs.load(node)
                if file is not None and file.state is not None:
                    return file.state.here
        return None

    def _misnamed(self, peer: str, there: Identity) -> UsageError:
        """The hub bears another name than the configured one. That is first of all a question where this node knows a
        hub of that name: who only followed the advice would join the two."""
        advice = f"write 'peer {there.name}'"
        known = None
        with suppress(StateDamaged):
            known = self._nodes.load(peer)
        if known is None or known.state is None or known.state.there.id == there.id:
            return UsageError(f"the configuration calls the hub {peer}, which is {there.name}: {advice}")
        return UsageError(
            f"this is another hub than {peer}, which this node knows: it is called {there.name}. Is the right disk "
            f"mounted, and is the address right? Only if this node is to synchronise with {there.name}: {advice}"
        )

    def _node_file(self, there: Identity) -> StateFile | None:
        try:
            return self._nodes.load(there.name)
        except StateTooNew:
            raise
        except StateDamaged as error:
            if self._only_look:
                self._audience.note(f"{error}; a run renames it and takes the state back from the hub")
            else:
                aside = self._nodes.set_aside(there.name)
                self._audience.note(f"{error}; it is called {aside.name} now, and the state is taken back from the hub")
            return None

    def _own_identity(self, known: Identity | None, place: Place, local: PairState | None) -> Identity:
        name = self._settings.node
        if known is None:
            return local.here if local is not None else Identity(name, os.urandom(16))
        if same_name(known.name, name):
            return known
        cloned = local is not None and local.here_place is not None and local.here_place.machine != place.machine
        if cloned or "identity" in self._settings.allow:
            return Identity(name, os.urandom(16))
        raise Stopped(
            f"this directory has synchronised as {known.name}, but nodename says {name}. "
            f"Write 'nodename {known.name}', or start as a new node: --allow identity",
            "identity",
        )

    def _check_hub(self, folder: StateFolder, hub: Identity | None, there: Identity, local: PairState | None) -> None:
        """The hub must be the one that the state speaks of."""
        if local is None or not self._settings.symsync or "identity" in self._settings.allow:
            return
        if hub is None and self._hub_keeps_state():
            raise self._lost_identity(folder)
        if hub is not None and hub.id != local.there.id:
            raise Stopped(
                f"this is another hub than the one called {there.name} that this node knows. "
                "If it is meant to take its place: --allow identity",
                "identity",
            )

    def _check_address(
        self, folder: StateFolder, hub: Identity | None, last: Identity | None, local: PairState | None
    ) -> None:
        """Where this node met a hub before, no stranger may take its place unasked, whatever it is called: both sides'
        files would be joined. One whose state the node has is no stranger, as with disks that take turns."""
        if last is None or "identity" in self._settings.allow:
            return
        if hub is None and self._hub_keeps_state():
            raise self._lost_identity(folder)
        if hub is not None and hub.id != last.id and (local is None or local.there.id != hub.id):
            raise Stopped(
                f"another hub than last time: {self._settings.location.shown} led to {last.name}, and now leads to "
                f"{hub.name}. Is the right disk mounted? If this node is to synchronise with {hub.name} from now on: "
                "--allow identity",
                "identity",
            )

    def _lost_identity(self, folder: StateFolder) -> Stopped:
        gone = f"{STATE_DIR}/{IDENTITY_FILE}" if folder.sizes else STATE_DIR
        return Stopped(
            f"the hub has lost its identity ({gone} is gone): is this the right directory, and is it mounted? "
            "If it is meant to begin anew: --allow identity",
            "identity",
        )

    def _hub_view(
        self, folder: StateFolder, there: Identity, met: Met, local: PairState | None
    ) -> tuple[Recorded | None, PairState | None, Intent | None]:
        """The hub's state of this pair in the node's view, and what was announced in it; unread where its size
        says that it is the one we wrote. Only what speaks of this hub counts where the hub itself can't tell any more.
        """
        if not folder.has_identity and not folder.sizes:
            return None, None, None
        name = next((n for n in folder.sizes if same_name(n, self._settings.node)), None)
        if name is None:
            if self._nodes.is_new():
                return None, None, None
            name = self._settings.node  # the listing may have left it out
        own = met.own
        as_left = own is not None and folder.sizes.get(name) == own.size and not own.torn
        if as_left and local is not None and local.generation.id == met.generation:
            return own, local, None
        try:
            file = self._hubs.load(name)
        except StateTooNew:
            raise
        except StateDamaged as error:
            self._audience.note(f"{error}; it is written anew")
            return Recorded(folder.sizes.get(name, 0), 0, 0, torn=True), None, None
        if file is None:
            return None, None, None
        view = file.state.swapped() if file.state else None
        if not folder.has_identity and view is not None and view.there.id != there.id:
            return None, None, None
        return Recorded.of(file), view, _announced(file)

    def _ended_there(
        self, folder: StateFolder, node_file: StateFile | None, hub_view: PairState | None
    ) -> Journal | None:
        """What a run of the hub's own was about to do, with this directory as its hub, where it was ended before it had
        recorded it on both sides. It lies on the hub, and counts only as long as this directory's own state shows that
        run's intent, or its record, which the hub does not have yet."""
        name = next((n for n in folder.journals if same_name(n, self._settings.node)), None)
        if name is None or node_file is None:
            return None
        intent = _announced(node_file)
        left = {intent.generation.id if intent is not None else None}
        recorded = node_file.state.generation if node_file.state is not None else None
        if recorded is not None and not (
            hub_view is not None and (hub_view.generation == recorded or hub_view.descends_from(recorded))
        ):
            left.add(recorded.id)
        journal = self._hubs.journal(name) if left != {None} else None
        return journal if journal is not None and journal.generation in left else None

    def _ran_alone(self, here: Identity, local: PairState | None, hub_view: PairState) -> bool:
        """Whether the hub's later state is of runs that it made itself, with this directory as its hub, in a mode that
        records nothing here: it remembers which generation it left here."""
        if not self._hub_keeps_state() or local is None or not hub_view.descends_from(local.generation):
            return False
        met = self._hubs.met(self._settings.node)
        return (met.hub, met.generation, met.local) == (here.id, local.generation.id, hub_view.generation.id)

    def _tracked(
        self,
        met: Met,
        local: PairState | None,
        file: Recorded | None,
        hub_view: PairState | None,
        pending: bytes | None,
    ) -> tuple[Met, bool]:
        """What is known of the generations on either side, which is seen anew where both are the same, and whether it
        is."""
        generation = hub_view.generation.id if hub_view else b""
        own = local.generation.id if local else b""
        if (hub_view is not None and generation in (own, pending)) or (
            local is None and (file is None or hub_view is not None)
        ):
            own = generation if generation == pending else own
            if (generation, own) == (met.generation, met.local):
                return met, True
            return replace(met, own=None, generation=generation, local=own), True
        return met, local is not None and met.local == own

    def _is_set_back(self, hub: str, folder: StateFolder, met: Met) -> bool:
        """Whether another node's state on the hub is older than it was when this node last read it, or gone. Where the
        hub holds an older state of this node than the node itself, nothing else tells that a backup came back there."""
        if not self._hub_keeps_state() or met.local == met.generation:
            return False
        for name, other in met.others.items():
            before = self._nodes.cached(hub, name) if folder.sizes.get(name) != other.size else None
            if before is None or before.state is None:
                continue
            try:
                now = self._hubs.load(name)
            except (StateDamaged, HubRefused):
                continue  # its own node writes it anew
            if now is None or now.state is None or before.state.descends_from(now.state.generation):
                return True
        return False

    def _check_node(
        self, here: Identity, place: Place, local: PairState | None, hub_view: PairState | None
    ) -> tuple[Identity, bool]:
        """Whether this directory may speak under its name; True with it where the state knows it by another place."""
        settings = self._settings
        if hub_view is not None and local is not None and hub_view.here.id != local.here.id and not settings.replace:
            raise Stopped(
                f"the name {settings.node} was taken over by another machine or directory on this hub. "
                "Choose another nodename, or take the name back: symsync sync --replace"
            )
        known = local or hub_view
        if known is None or known.here_place is None:
            return here, False
        if local is not None and hub_view is not None and self._is_shared(place, local, hub_view):
            if settings.replace:
                return Identity(settings.node, os.urandom(16)), False
            raise Stopped(
                f"another directory has synchronised as {settings.node} since this one did: is one a copy of the "
                "other? Give one of them a nodename of its own; where this is to be "
                f"{settings.node}: symsync sync --replace"
            )
        if known.here_place == place:
            return (known.here if local is None else here), False
        if settings.replace:
            return Identity(settings.node, os.urandom(16)), True
        if not same_name(known.here.name, here.name):
            return here, True
        if local is None or known.here_place.machine != place.machine:
            raise Stopped(
                f"the name {settings.node} belongs to another machine or directory that synchronises with this hub. "
                "If this one takes its place: symsync sync --replace; else choose another nodename"
            )
        return here, True

    def _is_shared(self, place: Place, local: PairState, hub_view: PairState) -> bool:
        """Whether the newer state on the hub comes from another directory, while this one is where it always was: a
        copy of it, or what it is a copy of."""
        there = hub_view.here_place
        newer = hub_view.generation.id != local.generation.id and not local.descends_from(hub_view.generation)
        return self._hub_keeps_state() and newer and local.here_place == place and there not in (None, place)

    def _tell(self, ground: Ground) -> None:
        match ground.standing:
            case Standing.OLDER:
                self._audience.note(
                    "one side's state is older than the other's (a backup came back?): nothing is removed in this run"
                )
            case Standing.UNION:
                self._audience.note(
                    "the states of the two sides have nothing in common: both sides are joined, and nothing is removed"
                )
            case Standing.TAKEN_BACK:
                self._audience.note("this node's state is taken back from the hub")
            case Standing.FIRST | Standing.NORMAL:
                pass


def _as_recorded(met: Met, own: Journal | None, local: PairState | None, hub: Identity | None) -> Met:
    """What is remembered, as a run would have left it that records nothing on the hub, and was ended when it had
    recorded itself here."""
    if own is None or local is None or not own.silent or own.generation != local.generation.id:
        return met
    before = local.ancestors[0] if local.ancestors else b""
    if met.local != before:
        return met
    known = hub.id if hub is not None and local.there.id == hub.id else met.hub
    return replace(met, hub=met.hub or known, local=own.generation)


def _is_as_left(met: Met, file: Recorded | None, hub_view: PairState | None) -> bool:
    """Whether the hub has just the state that `met` tells of."""
    if hub_view is None:
        return not met.generation and (file is None or not file.torn)
    return hub_view.generation.id == met.generation


def _announced(file: StateFile) -> Intent | None:
    """What an ended run announced, unless a later run, in the other role, recorded anything."""
    if file.intent is None or (file.state and file.state.generation.number >= file.intent.generation.number):
        return None
    return file.intent


def _name_from(text: str) -> str:
    """A valid name made of a host's or a directory's."""
    name = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in text).strip("-")[:63]
    return check_name(name or "hub", "peer")
