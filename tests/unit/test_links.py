"""The table of symbolic links: what lies where, who may write it, and what puts an end to a link."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from symsync.core.values import Found, Listing, Problem, Reason
from symsync.events import Audience
from symsync.fence import Fence
from symsync.remotes.base import Traits
from symsync.remotes.links import LinkTable
from symsync.remotes.memory import MemoryHub, MemoryRemote
from symsync.retention import run_label
from symsync_protocol.errors import HubError
from symsync_protocol.names import LINKS_FILE, STATE_DIR, TEMPORARY_DIR, TRASH_DIR
from symsync_protocol.stamps import Kind

PATH = f"{STATE_DIR}/{LINKS_FILE}"


class Linkless(MemoryRemote):
    """Comes by a protocol that makes no links, but shows those of others, with or without their targets."""

    tells = True

    @property
    def traits(self) -> Traits:
        return replace(super().traits, links=False)

    def make_links(self, links: Sequence[tuple[str, str]]) -> list[Problem | None]:
        return [Problem(path, Reason.KIND) for path, _ in links]

    def listings(self, directories: Sequence[str]) -> Iterator[Listing]:
        for listing in super().listings(directories):
            yield replace(listing, entries=tuple(self._told(entry) for entry in listing.entries))

    def _told(self, found: Found) -> Found:
        return found if self.tells else replace(found, target=None)


@pytest.fixture(params=[True, False], ids=["replaces", "replaces not"])
def hub(request: pytest.FixtureRequest) -> MemoryHub:
    """With the folders that symsync makes."""
    hub = MemoryHub(lambda: 0, Traits(replaces=request.param))
    for directory in (STATE_DIR, TEMPORARY_DIR, TRASH_DIR, "d"):
        hub.make_directory(directory, None)
    return hub


def by_ftp(hub: MemoryHub) -> LinkTable:
    return LinkTable(Linkless(hub), exists=PATH in hub or f"{PATH}.new" in hub)


def by_sftp(hub: MemoryHub) -> LinkTable:
    return LinkTable(MemoryRemote(hub), exists=PATH in hub or f"{PATH}.new" in hub)


def locked(table: LinkTable, node: str = "paris") -> Fence:
    """A run that holds the lock."""
    fence = Fence(table, run_label(node, 0, "12345678"), Audience())
    fence.prepare(node, sweep=False)
    fence.acquire()
    table.refresh()
    return fence


def put(table: LinkTable, fence: Fence, path: str, target: str) -> None:
    """As a run does it."""
    assert [None] == table.make_links([(f"{fence.folder}/link", target)])
    assert [None] == table.rename([(f"{fence.folder}/link", path)])


def shown(table: LinkTable, directory: str = "") -> dict[str, str | None]:
    """The links in a directory, and where they point."""
    (listing,) = table.listings([directory])
    return {found.path: found.target for found in listing.entries if found.kind is Kind.LINK}


def test_all_see_all(hub: MemoryHub) -> None:
    """Links that were noted and real ones, as large as their targets are long, whoever looks."""
    fence = locked(first := by_ftp(hub))
    put(first, fence, "noted", "f")
    put(first, fence, "d/noted", "../f")
    fence.release()
    fence = locked(second := by_sftp(hub))
    put(second, fence, "real", "elsewhere")
    fence.release()
    assert ["real"] == [path for path in ("noted", "real") if path in hub]
    for table in (by_ftp(hub), by_sftp(hub)):
        assert {"noted": "f", "real": "elsewhere"} == shown(table)
        found = table.stat(["noted", "d/noted", "real"])
        assert [1, 4, 9] == [entry.stamp.size for entry in found if isinstance(entry, Found)]


def test_a_noted_link_gives_way_to_a_real_one(hub: MemoryHub) -> None:
    """It is displaced like a file, and lies in the trash."""
    fence = locked(table := by_ftp(hub))
    put(table, fence, "l", "first")
    fence.release()
    fence = locked(table := by_sftp(hub), "oslo")
    fence.make_room(["l"])
    assert [None] == fence.rename([("l", fence.displaced("l"))])
    put(table, fence, "l", "second")
    fence.settle(keep_trash=True)
    fence.release()
    again = by_ftp(hub)
    assert {"l": "second"} == shown(again)
    (run,) = again.listings([TRASH_DIR])
    (kept,) = [entry.path for entry in run.entries if entry.kind is Kind.DIRECTORY]
    assert {f"{kept}/l": "first"} == shown(again, kept)


def test_a_link_goes_with_its_directory(hub: MemoryHub) -> None:
    """A person on the hub removes the directory: nothing lies there any more, and the next who holds the lock forgets
    the link, so that it does not come back with another directory of the name."""
    fence = locked(table := by_ftp(hub))
    put(table, fence, "d/l", "f")
    fence.release()
    hub.remove_directory("d")
    table = by_ftp(hub)
    assert {} == shown(table)
    assert [None] == table.stat(["d/l"])
    fence = locked(table, "oslo")
    table.stat([])
    fence.release()
    hub.make_directory("d", None)
    assert {} == shown(by_ftp(hub), "d")


def test_what_was_noted_anew_is_not_forgotten(hub: MemoryHub) -> None:
    """A person put a file over a link; before this run holds the lock, another takes it away again and notes a link."""
    fence = locked(table := by_ftp(hub))
    put(table, fence, "l", "first")
    fence.release()
    hub.make_file("l", b"a file", None, None)
    late = by_ftp(hub)
    assert {} == shown(late)
    hub.remove_file("l")
    fence = locked(late, "oslo")
    late.stat([])
    fence.release()
    assert {"l": "first"} == shown(by_ftp(hub))


def test_who_has_lost_the_lock_writes_no_table(hub: MemoryHub) -> None:
    """A sleeper that wakes up does not undo what others have noted since."""
    fence = locked(sleeper := by_ftp(hub))
    assert [None] == sleeper.make_links([(f"{fence.folder}/link", "of the sleeper")])
    hub.rename(fence.folder, f"{TEMPORARY_DIR}/stolen")
    (problem,) = sleeper.rename([(f"{fence.folder}/link", "l")])
    assert problem is not None
    assert Reason.ABSENT is problem.reason
    with pytest.raises(HubError):
        sleeper.make_links([("late", "of the sleeper")])
    assert {} == shown(by_ftp(hub))


def test_who_breaks_a_lock_sees_what_its_holder_noted(hub: MemoryHub) -> None:
    """A link that a run displaced before it died is put back by one that had read the table before."""
    fence = locked(table := by_ftp(hub))
    put(table, fence, "l", "f")
    fence.release()
    thief = by_ftp(hub)
    dead = locked(table := by_ftp(hub))
    dead.make_room(["l"])
    assert [None] == dead.rename([("l", dead.displaced("l"))])
    assert {} == shown(by_ftp(hub))
    again = Fence(thief, run_label("paris", 60, "87654321"), Audience())  # its own lock, so that it need not wait
    again.prepare("paris", sweep=False)
    assert again.acquire()
    assert {"l": "f"} == shown(by_ftp(hub))


def test_a_table_whose_last_rename_is_missing(hub: MemoryHub) -> None:
    """Where a hub replaces nothing, the table is for a moment under another name."""
    fence = locked(table := by_ftp(hub))
    put(table, fence, "l", "f")
    fence.release()
    hub.rename(PATH, f"{PATH}.new")
    assert {"l": "f"} == shown(by_ftp(hub))
    fence = locked(table := by_ftp(hub))
    put(table, fence, "m", "f")
    assert {"l": "f", "m": "f"} == shown(by_ftp(hub))


def test_a_link_whose_target_is_not_told_is_nothing_known(hub: MemoryHub) -> None:
    """It can't be made elsewhere, and must not be taken for gone."""
    hub.make_link("l", "f")
    remote = Linkless(hub)
    remote.tells = False
    (listing,) = LinkTable(remote, exists=False).listings([""])
    assert [Kind.OTHER] == [found.kind for found in listing.entries if found.path == "l"]


def test_links_are_made_real(hub: MemoryHub) -> None:
    """For who sees the directory without the table; where something lies already, that stays."""
    fence = locked(table := by_ftp(hub))
    for path in ("l", "d/l", "taken"):
        put(table, fence, path, "f")
    fence.release()
    hub.make_file("taken", b"a file", None, None)
    fence = locked(table := by_sftp(hub), "oslo")
    table.make_real()
    fence.release()
    assert [Kind.LINK, Kind.LINK, Kind.FILE] == [hub.found(path).kind for path in ("l", "d/l", "taken")]
    assert [] == by_sftp(hub).noted()


def test_no_directory_is_made_where_another_has_noted_a_link(hub: MemoryHub) -> None:
    """Else the link would be taken for one to which somebody on the hub has put an end."""
    late = by_ftp(hub)  # read before the other's run
    fence = locked(first := by_ftp(hub))
    put(first, fence, "l", "f")
    fence.release()
    late.refresh()
    problem, made = late.make_directories(["l", "free"])
    assert problem is not None and (Reason.EXISTS, None) == (problem.reason, made)
    assert "l" not in hub and "free" in hub


def test_what_goes_from_the_trash_is_forgotten_by_the_next_who_has_the_lock(hub: MemoryHub) -> None:
    """The trash is looked through without a lock, under which alone the table may change."""
    fence = locked(table := by_ftp(hub))
    put(table, fence, "l", "f")
    fence.make_room(["l"])
    fence.exchange((), ["l"])[1]
    fence.settle(keep_trash=True)
    fence.release()
    kept = f"{TRASH_DIR}/{run_label('paris', 0, '12345678')}"
    before = hub.content(PATH)
    pruning = by_ftp(hub)
    assert [None] == pruning.remove_files([f"{kept}/l"])
    assert [None] == pruning.remove_directories([kept])
    assert before == hub.content(PATH)
    assert {} == shown(by_ftp(hub), kept)
