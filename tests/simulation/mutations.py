"""The protections of the engine, each with a way to take it out, and a history that misses it.

A protection that no history misses is not tested: `python -m simulation --mutation NAME` looks for one that does.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from simulation.regressions import (
    ANOTHER_ATTEMPTS_LOCK,
    ANOTHERS_PUT,
    BEGUN_LATE,
    EMPTIED_IDENTITY,
    NOTED_MEANWHILE,
    OLDER_STATE_OF_A_SLEEPER,
    REGRESSIONS,
    SAME_STAMP_BEFORE,
)
from symsync import local_files
from symsync.core import conflicts
from symsync.core.compare import Base
from symsync.core.conflicts import Verdict
from symsync.core.generations import Ground, Journal, Standing, base_of, stand
from symsync.core.modes import TABLES, Action, Mode, Status
from symsync.core.steps import Pair
from symsync.core.values import Found, Reason, Scan
from symsync.fence import Fence
from symsync.folder import Folder
from symsync.remotes.base import Remote, Request
from symsync.statestore import HubStore, NodeStore, Question
from symsync_protocol.errors import HubUnreachable
from symsync_protocol.names import IDENTITY_FILE, LOCK_DIR, STATE_DIR, TEMPORARY_DIR, join
from symsync_protocol.state import Copy, Entry, Identity, PairState, Version
from symsync_protocol.statefile import encode_identity


@dataclass(frozen=True)
class Mutation:
    """The engine without one protection."""

    protection: str
    """What is taken out."""
    patches: Mapping[str, Any]
    """What to put in the place of which names."""
    fails: str
    """The kind of failure that the history shows then."""
    history: str
    """One that misses the protection, shrunk."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the engine into this state."""
        with ExitStack() as stack:
            for name, replacement in self.patches.items():
                stack.enter_context(patch(name, replacement))
            yield


_UNASKED = Question(STATE_DIR, lambda _found: None)


def _nothing(*_args: object, **_kwargs: object) -> None:
    pass


def _unannounced(
    store: HubStore, _node: str, _intent: object, _held: object, file: Any, _folder: str, paths: Sequence[str] = ()
) -> tuple[Any, Question, Any]:
    """`HubStore.announce` that writes nothing."""
    return file, _UNASKED, store._remote.stat(paths)


def _outside_the_lock(
    store: HubStore, node: str, state: Any, file: Any, intent: Any, _folder: str, paths: Sequence[str] = ()
) -> Any:
    """`HubStore._write_new` where also those have access who have lost the lock."""
    return _TRUE_WRITE_NEW(store, node, state, file, intent, TEMPORARY_DIR, paths)


_TRUE_WRITE_NEW = HubStore._write_new


def _in_the_same_place(remote: Remote, path: str, data: bytes, paths: Sequence[str] = ()) -> tuple[str, Any]:
    """`Remote.stage` that tries again where it has tried before."""
    for _ in range(2):
        with suppress(HubUnreachable):
            return path, remote.look_and_write(paths, path, data)
    raise HubUnreachable


def _displacing_again(
    fence: Fence, pairs: Sequence[tuple[str, str]], paths: Sequence[str], first: Sequence[Request] = ()
) -> tuple[Any, Any, Any]:
    """`Fence.exchange` that asks once more for what a broken connection was to displace."""
    renamed, displaced, others = _TRUE_EXCHANGE(fence, pairs, paths, first)
    if any(problem is not None and problem.reason is Reason.LOST for problem, _ in displaced):
        _, displaced, _ = _TRUE_EXCHANGE(fence, (), paths)
    return renamed, displaced, others


_TRUE_EXCHANGE = Fence.exchange


class _OpenFence(Fence):
    """A lock as most programs have it: whoever broke it is alone in believing so. Bytes stay in the staging folder."""

    def __init__(self, remote: Remote, run: str, audience: Any, place: str = "on the hub") -> None:
        super().__init__(remote, run, audience, place)
        self._held = self._staging

    def _try(self) -> bool:
        self._remote.make_directories(self._folders)
        (problem,) = self._remote.make_directories([LOCK_DIR])
        if problem is None:
            self._remote.make_directories([join(LOCK_DIR, self._run)])
            self.holding = True
        return problem is None

    def _break(self, holder: str | None, number: int) -> bool:
        del number
        self._remove_tree(LOCK_DIR)
        return holder is None

    def leave(self, paths: Sequence[str]) -> list[Any]:
        self.release()
        return self._remote.stat(paths)

    def release(self) -> bool:
        if self.holding:
            self._remove_tree(LOCK_DIR)
        self._remove_tree(self._outer)
        self.holding = False
        return True


def _taken_without_asking(fence: Fence) -> bool:
    """`Fence._try` that enters a lock which another holds."""
    fence._remote.make_directories([LOCK_DIR, *fence._folders])
    (problem,) = fence._remote.rename([(fence._staging, fence._held)])
    fence._remote.remove_directories([fence._outer])
    fence.holding = problem is None
    return fence.holding


def _forgetting(fence: Fence, _folder: str, _label: str) -> bool:
    """`Fence._put_back` that puts nothing back."""
    del fence
    return False


def _removed(fence: Fence, folder: str, _label: str) -> None:
    """`Fence._keep` that has no trash."""
    fence._remove_tree(folder)


def _overwritten(folder: Folder, temporary: Path, target: Path, expected: Found) -> bool:
    """`Folder._exchange` that has no trash."""
    del folder, expected
    temporary.replace(target)
    return True


def _always_normal(
    local: PairState | None, hub: PairState | None, pending: bytes | None, moved: bool, as_left: bool
) -> Ground:
    """`stand` that believes the node's own state, whatever the hub's says."""
    ground = stand(local, hub, pending, moved, as_left)
    if ground.standing in (Standing.OLDER, Standing.UNION) and local is not None:
        return replace(ground, standing=Standing.NORMAL, state=local)
    return ground


def _taken_at_its_word(path: str, entry: Entry, here: Scan, digests: Mapping[str, bytes]) -> Entry | None:
    """`_again` that believes a view taken back from the hub of files whose content is another, or that are missing."""
    del digests
    found = here.entries.get(path)
    return replace(entry, here=found.stamp) if found is not None else entry


def _as_if_deleted(ground: Ground, here: Scan, digests: Mapping[str, bytes]) -> Base:
    """`base_of` that takes what went with a disk for deleted."""
    base = base_of(ground, here, digests)
    return replace(base, conflicts=base.copied, lost={})


def _seen_at_once(pair: Pair, side: Any, copy: Copy | None, held: Version) -> bool:
    """`_removed` that takes a copy for seen that was only announced."""
    if copy is not None and copy.stamp is None:
        copy = replace(copy, stamp=held.stamp)
    return _TRUE_REMOVED(pair, side, copy, held)


def _whatever_it_held(pair: Pair, side: Any, copy: Copy | None, held: Version) -> bool:
    """`_removed` that does not ask which version the removed copy held."""
    return _TRUE_REMOVED(pair, side, replace(copy, digest=held.digest) if copy else None, held)


def _whatever_stands(pair: Pair) -> Verdict:
    """`judge` that does not ask whether the version that loses is the one that was decided against."""
    both = pair.here.found is not None and pair.there.found is not None
    if both and not conflicts.equal(pair):
        here, there = (replace(sight, status=Status.UNCHANGED) for sight in (pair.here, pair.there))
        pair = replace(pair, here=here, there=there)
    return _TRUE_JUDGE(pair)


_TRUE_REMOVED = conflicts._removed
_TRUE_JUDGE = conflicts.judge
_TRUE_DOUBTFUL = Journal.doubtful
_TRUE_RENAME = local_files._renameat2


def _as_if_all_were_done(base: Base, journal: Journal, *_: object, **_further: object) -> Base:
    """`resume` that believes what an ended run was about to do."""
    return replace(base, entries={**base.entries, **journal.puts, **journal.gets})


def _of_the_source(_execution: Any, _decision: Any, step: Any) -> int | None:
    """`_time_for` that gives a put the time of its source."""
    return step.meta.mtime_ns if step.meta.mtime_ns is not None else step.source.stamp.mtime_ns


def _over_what_is_there(source: Any, target: Any, source_dir: Any, target_dir: Any, flags: int) -> None:
    """`_renameat2` that knows no RENAME_NOREPLACE."""
    exchange = local_files._RENAME_EXCHANGE
    _TRUE_RENAME(source, target, source_dir, target_dir, flags if flags == exchange else 0)


def _given_again(store: NodeStore, identity: Identity, _before: Identity | None) -> bool:
    """`save_identity` that does not ask who has given one meanwhile."""
    store._replace(store._dir / IDENTITY_FILE, encode_identity(identity))
    return True


class _Credulous(HubStore):
    """A hub's states for a run that does not ask under the lock who has met the hub meanwhile."""

    def identity(self) -> Identity | None:
        return None


_DELETION_WINS = {
    (Status.CHANGED, Status.DELETED): Action.REMOVE,
    (Status.DELETED, Status.CHANGED): Action.REMOVE,
}

MUTATIONS: dict[str, Mutation] = {
    "second-look-hub": Mutation(
        "on the hub, each target is looked at again under the lock",
        {"symsync.execute.on_hub.OnHub.judge": _nothing, "symsync.execute.on_hub.OnHub.targets": lambda _hub: []},
        "lost",
        """
            nodes=a
            a write f 1
            a sync meanwhile 1 hub write f 2
        """,
    ),
    "displaced-look-hub": Mutation(
        "on the hub, a displaced version that is not what the plan saw goes back",
        {
            "symsync.execute.on_hub.OnHub._is_another": lambda *_: False,
            "symsync.execute.on_hub.OnHub._edited": lambda *_: set(),
        },
        "overrun",
        """
            nodes=a
            a write f 1
            a sync
            a write f 3
            a sync meanwhile 8 hub write f 4
        """,
    ),
    "displaced-read-hub": Mutation(
        "on the hub, a displaced version is read under whose stamp an edit may hide since the plan",
        {"symsync.execute.on_hub.OnHub._edited": lambda *_: set()},
        "overrun",
        """
            nodes=a tick=60000
            hub write g 3
            a sync
            a link g 4
            a sync meanwhile 2 hub write g 6
        """,
    ),
    "second-look-node": Mutation(
        "on the node, a displaced version that is not what the plan saw goes back",
        {"symsync.folder.Folder._was": lambda *_: True},
        "overrun",
        """
            nodes=ab
            a write f 1
            a sync
            b sync
            a write f 2
            a sync
            b sync meanwhile 1 b write f 4
        """,
    ),
    "free-names": Mutation(
        "on the node, what arrives under a free name never replaces what has appeared there",
        {"symsync.local_files._renameat2": _over_what_is_there},
        "lost",
        """
            nodes=ab
            a write f 1
            a sync
            b sync meanwhile 1 b write f 2
        """,
    ),
    "lock": Mutation(
        "one node at a time changes the hub",
        {"symsync.fence.Fence._try": _taken_without_asking},
        "overrun",
        """
            nodes=ab
            a sync
            b sync
            a write f 1
            b write f 2
            a sync meanwhile 9 b sync
        """,
    ),
    "fence": Mutation(
        "whatever a run still sends whose lock was broken finds no folder",
        {"symsync.session.Fence": _OpenFence},
        "overrun",
        """
            nodes=ab
            a sync
            b sync
            a write f 1
            b write f 2
            a sync meanwhile 9 b sync
        """,
    ),
    "own-lock": Mutation(
        "each attempt of a run has a staging folder and a lock of its own",
        {"symsync.session._labels": itertools.repeat},
        "overrun",
        str(REGRESSIONS[ANOTHER_ATTEMPTS_LOCK]),
    ),
    "anothers-put": Mutation(
        "what another node has put counts as its own, even under the stamp of what an ended run was about to put",
        {"symsync.core.generations.Journal.unless_others": lambda journal, _contents: journal},
        "overrun",
        str(REGRESSIONS[ANOTHERS_PUT]),
    ),
    "same-stamp-before": Mutation(
        "a put of an ended run that may as well be the version before, by its stamp, counts only by its content",
        {"symsync.core.generations.Journal.verified": lambda journal, _doubtful, _digests: journal},
        "overrun",
        str(REGRESSIONS[SAME_STAMP_BEFORE]),
    ),
    "lost-once": Mutation(
        "what a broken connection was to displace is not displaced once more, for the hub may still come to it",
        {"symsync.fence.Fence.exchange": _displacing_again},
        "overrun",
        """
        nodes=a
        a write f 1
        a write g 4
        a sync
        a write f 2
        a write g 5
        a sync late 8 8
        """,
    ),
    "begun-late": Mutation(
        "a file that was sent once more is looked at in the lock's folder, for the hub may have emptied it since",
        {"symsync.execute.on_hub.OnHub._doubtful": lambda _hub: []},
        "torn",
        str(REGRESSIONS[BEGUN_LATE]),
    ),
    "staged-beside": Mutation(
        "what is written for a rename is written under another name where the connection broke",
        {"symsync.remotes.base.Remote.stage": _in_the_same_place},
        "StateDamaged in statefile.py:_translated",
        str(REGRESSIONS[EMPTIED_IDENTITY]),
    ),
    "noted-links": Mutation(
        "on the node, nothing takes the place of a link that another node has just noted there",
        {"symsync.execute.on_node.OnNode._give_way": _nothing},
        "overrun",
        str(REGRESSIONS[NOTED_MEANWHILE]),
    ),
    "state-out-of-lock": Mutation(
        "a state that is written anew takes its place by a rename out of the lock, as all puts do",
        {"symsync.statestore.HubStore._write_new": _outside_the_lock},
        "copy",
        str(REGRESSIONS[OLDER_STATE_OF_A_SLEEPER]),
    ),
    "put-back": Mutation(
        "what a dead run displaced and did not replace is put back",
        {"symsync.fence.Fence._put_back": _forgetting},
        "lost",
        """
            nodes=a
            a write f 1
            a sync
            hub write f 2
            a original crash 10
        """,
    ),
    "intent": Mutation(
        "a run announces on the hub what it is about to become, or its journal does not count",
        {"symsync.statestore.HubStore.announce": _unannounced},
        "false conflict",
        """
            nodes=a
            a write f 1
            a sync crash 17
            a write f 3
        """,
    ),
    "announced-copies": Mutation(
        "a run announces on the hub which copies it is about to make",
        {"symsync.session._announcement": lambda _view: ((), ())},
        "spread",
        """
            nodes=ab
            a write f 1
            hub write f 2
            a sync crash 18
            b sync
        """,
    ),
    "journal": Mutation(
        "what an ended run had done counts as agreed",
        {"symsync.survey.resume": lambda base, *_, **_further: base},
        "false conflict",
        """
            nodes=a
            a write f 1
            a sync crash 19
            a write f 3
        """,
    ),
    "journal-of-hub": Mutation(
        "what the hub's own ended run had done counts as agreed for the node's run, too",
        {"symsync.meeting._Pairer._ended_there": _nothing},
        "false conflict",
        """
            nodes=a disk=yes
            a sync
            hub write f 1
            a swap crash 15
            a write f 3
        """,
    ),
    "journal-checked": Mutation(
        "what an ended run was about to do counts only as far as it lies there",
        {"symsync.survey.resume": _as_if_all_were_done},
        "overrun",
        """
            nodes=a
            a sync
            a write f 1
            a sync crash 8
        """,
    ),
    "generations": Mutation(
        "the node's state counts only while the hub has the same generation",
        {"symsync.meeting.stand": _always_normal},
        "overrun",
        """
            nodes=a
            a sync
            hub backup
            a write f 1
            a sync
            hub restore
        """,
    ),
    "settled-copies": Mutation(
        "the copies of a conflict that an ended run had settled go with it",
        {"symsync.core.generations._left": lambda *_: {}},
        "resurrected",
        """
            nodes=ab
            hub write d/e 2
            b write d/e 3
            a write d/e/f 6
            b sync
            b drop-there 0
            b sync power 10
        """,
    ),
    "as-a-mirror-left": Mutation(
        "a mirror's run that was ended between its records left nothing that a backup would",
        {"symsync.meeting._as_recorded": lambda met, *_: met},
        "resurrected",
        """
            nodes=a
            hub write g 9
            a sync
            hub write f 1
            a mirror
            hub write h 2
            a mirror crash 8
            a delete g
            a sync
        """,
    ),
    "ran-alone": Mutation(
        "what the other side's own runs recorded there alone is no backup",
        {"symsync.meeting._Pairer._ran_alone": lambda *_: False},
        "resurrected",
        """
            nodes=a disk=yes
            hub write f 1
            hub write g 2
            a sync
            hub write g 3
            a mirror
            a delete f
            a swap
        """,
    ),
    "others-ended": Mutation(
        "what bears the stamp of an ended run's put is read where another run may have put it, which was ended, too",
        {"symsync.core.generations.Journal.doubtful": lambda *known: _TRUE_DOUBTFUL(*known[:3])},
        "untrue",
        """
            nodes=ab
            a sync
            b sync
            a unpack f 1
            a sync crash 9
            b unpack f 4
            b sync crash 36
        """,
    ),
    "asked-for": Mutation(
        "what an ended run may have brought, or had yet to take away, is asked for where no listing shows it",
        {"symsync.survey._Survey._asked_for": lambda _survey, _journal, _base, there: there},
        "stray",
        """
            nodes=ab
            a write f 1
            hub write f 2
            a sync
            a drop 0
            a sync crash 11
            a sync silent 13
        """,
    ),
    "view-taken-back": Mutation(
        "a view taken back from the hub counts only for files whose content is the recorded one",
        {"symsync.core.generations._again": _taken_at_its_word},
        "overrun",
        """
            nodes=a
            a write f 1
            a sync
            a lose
        """,
    ),
    "lost-versions": Mutation(
        "what a node lost with its disk while a conflict was open comes back from its copy on the hub",
        {"symsync.survey.base_of": _as_if_deleted},
        "forgotten",
        """
            nodes=a
            a write f 1
            hub write f 2
            a sync
            a lose
        """,
    ),
    "seen-copies": Mutation(
        "only a copy that was seen can be missed",
        {"symsync.core.conflicts._removed": _seen_at_once},
        "overrun",
        """
            nodes=a
            a write f 1
            hub write f 2
            a sync crash 18
        """,
    ),
    "copy-held": Mutation(
        "a decision counts only against the version that the removed copy held",
        {"symsync.core.conflicts._removed": _whatever_it_held},
        "overrun",
        """
            nodes=a
            a write f 1
            hub write f 2
            a sync
            hub write f 5
            a sync refused 2
            a drop 0
        """,
    ),
    "decision-stands": Mutation(
        "a decision counts only while the version that loses is the recorded one",
        {"symsync.core.plan.judge": _whatever_stands},
        "overrun",
        """
            nodes=a
            a write f 1
            hub write f 2
            a sync
            hub write f 5
        """,
    ),
    "others-copies": Mutation(
        "the copies that other states announce are not synchronised",
        {"symsync.survey.announced": lambda _file: ()},
        "spread",
        """
            nodes=ab
            a write f 1
            hub write f 2
        """,
    ),
    "verified-size": Mutation(
        "a transfer counts only with as many bytes as the plan saw",
        {"symsync.execute._is_whole": lambda *_: True},
        "torn",
        """
            nodes=a
            a write f 1
            a sync half 5
        """,
    ),
    "verified-record": Mutation(
        "a state counts as recorded on the hub only at the size that it must have",
        {"symsync.statestore.HubStore._grew": _nothing},
        "false conflict",
        """
            nodes=a
            a sync
            a write f 1
            a sync half 7
            a write f 3
        """,
    ),
    "unknown": Mutation(
        "nothing is concluded from what a listing that was cut short does not show",
        {"symsync.core.values.Scan.knows": lambda *_: True, "symsync.execute._gone_there": _nothing},
        "taken",
        """
            nodes=a
            a write d/f 1
            a sync
            a sync unlisted 3
        """,
    ),
    "confirmed": Mutation(
        "what is known and in no listing is asked for before it counts as gone",
        {"symsync.survey._Survey._confirmed": lambda _survey, _base, there, _rules: there},
        "resurrected",
        """
            nodes=a
            a write f 1
            a sync
            a delete f
            a sync silent 2
        """,
    ),
    "settled-stamps": Mutation(
        "a stamp whose tick had not passed does not vouch for the content",
        {"symsync.core.commit.Fresh.covers": lambda *_: False},
        "untrue",
        """
            nodes=ab tick=60000 times=no
            hub write d/f 3
            b write d/f 6
        """,
    ),
    "unlike-stamps": Mutation(
        "a put bears no stamp that anybody recorded of another version",
        {"symsync.execute.Execution._time_for": _of_the_source},
        "false conflict",
        """
            nodes=bd
            b unpack f 1
            b sync
            d sync
            b unpack f 4
            b sync
            b unpack f 7
        """,
    ),
    "tick-passed": Mutation(
        "where times can't be set, a put waits until its tick has passed",
        {"symsync.execute.Execution._let_clock_tick": _nothing},
        "overrun",
        """
            nodes=b tick=60000 times=no
            b write f 2
            hub write f 3
            b sync
            b edit-copy-there 0 5
            world wait 122000
        """,
    ),
    "twins": Mutation(
        "what bears the stamp of a file that has gone from the hub is read",
        {"symsync.core.compare._doubtful_twins": lambda *_: frozenset()},
        "untrue",
        """
            nodes=a
            a unpack f 2
            a unpack g 5
            a sync
            hub rename f g
        """,
    ),
    "trash-hub": Mutation(
        "on the hub, displaced versions go to the trash",
        {"symsync.fence.Fence._keep": _removed},
        "lost",
        """
            nodes=a
            hub write f 1
            a sync
            hub write f 2
            a original
        """,
    ),
    "trash-node": Mutation(
        "on the node, displaced versions go to the trash",
        {"symsync.folder.Folder._exchange": _overwritten},
        "lost",
        """
            nodes=a
            a write f 1
            a sync
            a write f 2
            a mirror
        """,
    ),
    "fsync-order": Mutation(
        "received files are on the disk before they are in their places and any state claims them",
        {"symsync.folder.Folder.make_durable": _nothing},
        "torn",
        """
            nodes=a
            hub write f 1
            a sync power 17
        """,
    ),
    "edit-beats-deletion": Mutation(
        "in sync, an edit beats a deletion",
        {"symsync.core.plan.TABLES": {**TABLES, Mode.SYNC: {**TABLES[Mode.SYNC], **_DELETION_WINS}}},
        "overrun",
        """
            nodes=a
            a write f 1
            a sync
            a delete f
            hub write f 2
        """,
    ),
    "one-way-source": Mutation(
        "a one-way mode writes nothing on its source",
        {"symsync.core.plan._may_write": lambda *_: True},
        "source",
        """
            nodes=a
            a write f 1
            hub write f 2
            a sync
            a original
        """,
    ),
    "identity-once": Mutation(
        "a hub's identity is given once, by whoever holds the lock",
        {"symsync.statestore.NodeStore.save_identity": _given_again},
        "Stopped in meeting.py:_check_hub",
        """
            nodes=bc disk=yes
            b swap meanwhile 1 c sync crash 27
        """,
    ),
    "excluded-together": Mutation(
        "while .sync.ignore differs, both texts hold",
        {"symsync.survey._IGNORE_LIMIT": 0},
        "excluded",
        """
            nodes=a
            hub write f 1
            a sync
            hub ignore f 2
            a delete f
        """,
    ),
    "one-identity": Mutation(
        "of two nodes that meet a new hub at the same time, one names it, and the other asks",
        {"symsync.session.HubStore": _Credulous},
        "Stopped in meeting.py:_check_hub",
        """
            nodes=ab
            world together 0 a sync | b sync
        """,
    ),
    "overtaken": Mutation(
        "a plan counts only as long as nobody in the other role has recorded anything since",
        {"symsync.statestore.NodeStore.shape": _nothing},
        "HubError in hub.py:_grew",
        """
            nodes=c disk=yes
            c sync
            hub write f 2
            world together 0 c sync | c swap
        """,
    ),
}
