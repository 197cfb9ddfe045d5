"""The hub's state folder, seen in odd moments."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.remotes.base import Traits
from symsync.remotes.directory import DirectoryRemote
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync.statestore import HubStore, NodeStore, Other, Recorded, refreshed
from symsync_protocol.errors import HubError, HubRefused
from symsync_protocol.names import LOCK_DIR, STATE_DIR
from symsync_protocol.stamps import Kind, Stamp
from symsync_protocol.state import Entry, Generation, Identity, Intent, PairState

MINE = f"{LOCK_DIR}/paris-1"


class _Refuses(MemoryRemote):
    """Refuses the first listings: a server that knows only one word for what is missing and what is forbidden."""

    def __init__(self, hub: MemoryHub, times: int) -> None:
        super().__init__(hub)
        self._times = times

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        if self._times:
            self._times -= 1
            return iter([Listing(path, problem=Problem(path, Reason.DENIED, "no")) for path in directories])
        return super().listings(directories)


def test_a_folder_that_is_made_in_this_very_moment() -> None:
    """Another node makes it between two looks: that it could not be listed at first is no reason to stop."""
    hub = MemoryHub(time.time_ns)
    MemoryRemote(hub).make_directories([STATE_DIR])
    assert {} == HubStore(_Refuses(hub, 1)).folder().sizes
    with pytest.raises(HubError, match="can't be listed: no"):
        HubStore(_Refuses(hub, 2)).folder()


class _Robbed(MemoryRemote):
    """Whose lock is taken away before a rename, once it is `due`."""

    due = False

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        if self.due:
            self.due = False
            super().rename([(MINE, f"{LOCK_DIR}/thief")])
        return super().rename(pairs)


@pytest.mark.parametrize("replaces", [True, False])
def test_who_has_lost_the_lock_replaces_no_state(replaces: bool) -> None:
    """What he had written anew went with the lock's folder: the state that is there stays."""
    hub = MemoryHub(time.time_ns, Traits(appends=False, replaces=replaces))
    remote = _Robbed(hub)
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    store = HubStore(remote)

    def record(number: int, file: Recorded | None) -> Recorded:
        return store.record("paris", None, _state(number), file, MINE, remote.stat)

    recorded = record(2, record(1, None))
    before = remote.read(f"{STATE_DIR}/paris")
    remote.due = True
    with pytest.raises(HubRefused, match="can't be replaced"):
        record(3, recorded)
    with pytest.raises(HubRefused):
        record(3, recorded)
    assert before == remote.read(f"{STATE_DIR}/paris")
    assert {"paris"} == store.folder().sizes.keys() and f"{STATE_DIR}/paris.new" not in hub


class _Breaks(MemoryRemote):
    """Its connection breaks at the next rename, once it is `due`, before that is done or after."""

    due: bool | None = None

    def rename(self, pairs: Sequence[tuple[str, str]]) -> list[Problem | None]:
        due, self.due = self.due, None
        if due is None:
            return super().rename(pairs)
        if due:
            super().rename(pairs)
        return [Problem(old, Reason.LOST, "the connection broke") for old, _new in pairs]


@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_a_state_whose_rename_was_not_answered(replaces: bool, done: bool) -> None:
    """It is in its place all the same, and the run need not end."""
    hub = MemoryHub(time.time_ns, Traits(appends=False, replaces=replaces))
    remote = _Breaks(hub)
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    store = HubStore(remote)
    file: Recorded | None = None
    for number in (1, 2):
        remote.due = done if number == 1 or replaces else False
        file = store.record("paris", None, _state(number), file, MINE, remote.stat)
        recorded = store.load("paris")
        assert recorded is not None and recorded.state is not None
        assert number == recorded.state.generation.number


def _state(number: int) -> PairState:
    token = bytes([number]) * 16
    before = tuple(bytes([earlier]) * 16 for earlier in range(number - 1, 0, -1))
    entries = {f"f{one}": Entry(Stamp(Kind.FILE, one), Stamp(Kind.FILE, one), b"d" * 32) for one in range(number)}
    here, there = Identity("paris", b"p" * 16), Identity("hub", b"h" * 16)
    return PairState(here, there, Generation(number, token), before, entries)


def _run(store: HubStore, number: int, file: Recorded | None) -> Recorded:
    """Announce and record as a run does, with a folder in the lock."""
    remote = store._remote
    held = _state(number - 1) if number > 1 else None
    announced = Intent(Generation(number, bytes([number]) * 16), (f"f{number}",))
    file, question, looks = store.announce("paris", announced, held, file, MINE, [STATE_DIR])
    assert [Kind.DIRECTORY] == [look.kind for look in looks if isinstance(look, Found)]
    if question.new is not None and any(remote.rename([(question.new, question.path)])):
        question.replace()
    (found,) = remote.stat([question.path])
    question.answer(found)
    return store.record("paris", held, _state(number), file, MINE, remote.stat)


@pytest.mark.parametrize("replaces", [True, False])
def test_a_hub_that_cannot_append(tmp_path: Path, replaces: bool) -> None:
    """What would be appended becomes a further file; a reader gets it all, or what is new to him, and so does the hub's
    own run; after some time the state is written anew, in one file."""
    root = tmp_path / "hub"
    root.mkdir()
    nodes = NodeStore(tmp_path)
    (tmp_path / STATE_DIR).mkdir()

    class Poor(DirectoryRemote):
        """As ProFTPD without AllowStoreRestart; one that can also not replace."""

        @property
        def traits(self) -> Traits:
            return replace(super().traits, appends=False, replaces=replaces)

        def append(self, path: str, data: bytes) -> None:
            if (root / path).exists():
                raise HubRefused(f"{path}: append not permitted")
            super().append(path, data)

    remote = Poor(root, workers=1)
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    file: Recorded | None = None
    known: Other | None = None
    sizes: set[int] = set()
    counts = []
    for number in range(1, 30):
        file = _run(HubStore(remote, folder=HubStore(remote).folder()), number, file)
        reader = HubStore(remote)
        folder = reader.folder()
        assert folder.sizes == {"paris": file.size} and file.size not in sizes
        sizes.add(file.size)
        loaded, own = reader.load("paris"), NodeStore(root).load("paris")
        assert loaded is not None and own is not None and loaded == own
        assert loaded.state == _state(number).swapped() and not loaded.torn
        assert (file.size, file.rewrites, file.parts) == (loaded.size, loaded.rewrites, loaded.parts)
        counts.append(loaded.parts)
        assert loaded.parts == sum(name.startswith("paris.") for name in folder.files)
        after = refreshed(nodes, reader, "hub", "paris", known)
        assert after is not None and after.state == loaded.state
        known = Other(after.size)
    assert 16 == max(counts) and 1 in counts[counts.index(16) :]


def _in_parts(remote: MemoryRemote, parts: int) -> tuple[int, Recorded]:
    """A state that lies in so many further parts: its number and shape."""
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    number, file = 1, _run(HubStore(remote), 1, None)
    while file.parts < parts:
        number += 1
        file = _run(HubStore(remote, folder=HubStore(remote).folder()), number, file)
    return number, file


class _Hides(MemoryRemote):
    """Its listings leave out a name."""

    hidden = ""

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for listing in super().listings(directories):
            left = tuple(entry for entry in listing.entries if not entry.path.endswith(self.hidden))
            yield replace(listing, entries=left)


@pytest.mark.parametrize("hidden", range(4))
def test_a_part_that_no_listing_shows(hidden: int) -> None:
    """It is asked for by name: a state without it would be a backup's."""
    hub = MemoryHub(time.time_ns, Traits(appends=False))
    _number, file = _in_parts(MemoryRemote(hub), 4)
    parts = sorted(int(name.partition(".")[2] or 0) for name in HubStore(MemoryRemote(hub)).folder().files)
    remote = _Hides(hub)
    remote.hidden = f"/paris.{parts[1:][hidden]}"
    loaded = HubStore(remote).load("paris")
    assert loaded is not None and (file.size, 4) == (loaded.size, loaded.parts)


def test_an_empty_part_is_the_last(tmp_path: Path) -> None:
    """An append that was cut off before its first byte left it: nobody goes round in circles."""
    hub = MemoryHub(time.time_ns, Traits(appends=False))
    remote = MemoryRemote(hub)
    number, file = _in_parts(remote, 2)
    remote.write(f"{STATE_DIR}/paris.{file.size}", b"")
    store = HubStore(remote)
    assert {"paris": file.size} == store.folder().sizes
    loaded = store.load("paris")
    assert loaded is not None and loaded.size == file.size
    assert _run(store, number + 1, file).parts == file.parts + 2
    (tmp_path / STATE_DIR).mkdir()
    for name in ("paris", "paris.3", "paris.6"):
        (tmp_path / STATE_DIR / name).write_bytes(b"" if name == "paris.6" else b"abc")
    shape = NodeStore(tmp_path).shape("paris")
    assert isinstance(shape, tuple) and shape[1] == 6


def test_a_state_written_anew_while_it_is_read(tmp_path: Path) -> None:
    """A part is gone that was listed: it is read from the beginning, and not taken for shorter."""
    hub = MemoryHub(time.time_ns, Traits(appends=False))
    writer = MemoryRemote(hub)
    number, file = _in_parts(writer, 15)

    class Slow(MemoryRemote):
        overtaken = False

        def read(self, path: str, offset: int = 0, limit: int | None = None) -> bytes | None:
            data = super().read(path, offset, limit)
            if path == f"{STATE_DIR}/paris" and not self.overtaken:
                self.overtaken = True
                _run(HubStore(writer, folder=HubStore(writer).folder()), number + 1, file)
            return data

    (tmp_path / STATE_DIR).mkdir()
    seen = refreshed(NodeStore(tmp_path), HubStore(Slow(hub)), "hub", "paris", None)
    assert seen is not None and seen.state == _state(number + 1).swapped() and seen.parts < 15


def test_old_parts_are_no_tail_of_a_new_state(tmp_path: Path) -> None:
    """Who remembers a longer state than lies there now reads it anew, also while its old parts still lie beside it."""
    hub = MemoryHub(time.time_ns, Traits(appends=False))
    remote = MemoryRemote(hub)
    number, _ = _in_parts(remote, 12)
    nodes = NodeStore(tmp_path)
    (tmp_path / STATE_DIR).mkdir()
    before = refreshed(nodes, HubStore(remote), "hub", "paris", None)
    assert before is not None
    for later in range(number + 1, number + 3):
        store = HubStore(remote, folder=HubStore(remote).folder())
        file = store.load("paris")
        assert file is not None
        _run(store, later, Recorded.of(file))
    store = HubStore(remote, folder=HubStore(remote).folder())
    file, intent = store.load("paris"), Intent(Generation(99, b"9" * 16), (), ("f.paris",))
    assert file is not None and file.parts == 16
    _, question, _ = store.announce("paris", intent, _state(number + 2), Recorded.of(file), MINE)
    assert [None] == remote.rename([(question.new or "", question.path)])
    after = refreshed(nodes, HubStore(remote), "hub", "paris", Other(before.size))
    assert after is not None and after.intent == intent


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_replacement_that_breaks_off(lost: int) -> None:
    """On a hub that replaces nothing: whatever step failed, the old state lies there or the new one does."""
    hub = MemoryHub(time.time_ns, Traits(appends=False, replaces=False))

    class Breaking(MemoryRemote):
        steps = 0

        def remove_files(self, paths: Sequence[str]) -> list[Problem | None]:
            self.steps += 1
            return [Problem(paths[0], Reason.LOST, "lost")] if self.steps == lost else super().remove_files(paths)

    remote = MemoryRemote(hub)
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    first = HubStore(remote).record("paris", None, _state(1), None, MINE, remote.stat)
    remote.write(f"{STATE_DIR}/paris.new", b"left over")
    breaking = Breaking(hub)
    with contextlib.suppress(HubError):
        HubStore(breaking).record("paris", None, _state(2), first, MINE, remote.stat)
    loaded = HubStore(remote).load("paris")
    assert loaded is not None and loaded.state in (_state(1).swapped(), _state(2).swapped())


def test_a_hub_whose_own_run_finds_parts(tmp_path: Path) -> None:
    """It writes the state anew in one file, and takes away what nobody needs any more."""
    hub = NodeStore(tmp_path)
    folder = tmp_path / STATE_DIR
    remote = DirectoryRemote(tmp_path, workers=1)
    remote.make_directories([STATE_DIR, LOCK_DIR, MINE])
    store = HubStore(remote, appends=False)
    _run(store, 2, _run(store, 1, None))
    before, shape = hub.load("paris"), hub.shape("paris")
    assert before is not None and before.parts and ["paris"] == hub.names()
    (folder / f"paris.{before.size}").write_bytes(b"a run's that slept")
    assert not hub.save("paris", before, _state(3).swapped(), shape)
    before, shape = hub.load("paris"), hub.shape("paris")
    assert before is not None and before.torn
    assert hub.save("paris", before, _state(3).swapped(), shape)
    after = hub.load("paris")
    assert after is not None and after.state == _state(3).swapped() and not after.torn and not after.parts
    assert ["paris"] == [path.name for path in folder.iterdir()]
