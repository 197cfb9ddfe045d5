"""The contract of all that deals with names: listing, stat, directories, links, renames, removals, attributes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from contract.bench import (
    TIME,
    Bench,
    Hub,
    Sources,
    floor,
    get,
    listed,
    make,
    names,
    only,
    put,
    reason,
    reasons,
    there,
)
from symsync.core.values import Found, Problem, Reason
from symsync.remotes.base import (
    Attributes,
    MakeDirectories,
    Remote,
    RemoveDirectories,
    Rename,
    Stat,
    Store,
)
from symsync_protocol.stamps import Kind

DEPTH = 40
RACERS = 6
RACES = 12


def races(hub: Hub, act: Callable[[Remote, int, int], Sequence[Problem | None]]) -> Iterator[list[Reason | None]]:
    """What came of each race for each racer, who all do `act(remote, racer, race)` at the same moment."""
    remotes = [hub.connect() for _ in range(RACERS)]
    start = threading.Barrier(RACERS)

    def run(remote: Remote, racer: int, race: int) -> Reason | None:
        start.wait()
        return only(reasons(act(remote, racer, race)))

    with ThreadPoolExecutor(RACERS) as pool:
        for race in range(RACES):
            yield list(pool.map(run, remotes, range(RACERS), [race] * RACERS))
    for remote in remotes:
        remote.close()


class ListingContract(Bench):
    def test_an_empty_hub_lists_nothing(self, remote: Remote) -> None:
        """The root of a fresh hub is there and empty."""
        assert {} == listed(remote)

    def test_files_and_directories_are_listed(self, remote: Remote, sources: Sources) -> None:
        """A listing tells kind and size of each entry, under its whole path, and nothing of what lies deeper."""
        make(remote, "d", "d/e", "d/e/f")
        put(remote, sources, "d/file", b"four")
        found = listed(remote, "d")
        assert {"d/e": Kind.DIRECTORY, "d/file": Kind.FILE} == {path: entry.kind for path, entry in found.items()}
        assert 4 == found["d/file"].stamp.size

    def test_a_missing_directory_is_absent(self, remote: Remote) -> None:
        """The listing of a directory that certainly isn't there says so, wherever the way to it ends."""
        outcomes = {listing.directory: listing for listing in remote.listings(["gone", "gone/deeper"])}
        assert {"gone", "gone/deeper"} == outcomes.keys()
        assert [Reason.ABSENT] * 2 == [reason(listing.problem) for listing in outcomes.values()]

    def test_many_directories_at_once(self, remote: Remote, sources: Sources) -> None:
        """Each directory gets one listing, a missing one between them does not disturb the others."""
        made = [f"d{i}" for i in range(30)]
        make(remote, *made)
        put(remote, sources, "d7/file")
        listings = list(remote.listings([*made, "gone", ""]))
        assert sorted([*made, "gone", ""]) == sorted(listing.directory for listing in listings)
        assert ["gone"] == [listing.directory for listing in listings if listing.problem]
        entries = {listing.directory: [entry.path for entry in listing.entries] for listing in listings}
        assert (["d7/file"], [], sorted(made)) == (entries["d7"], entries["d8"], sorted(entries[""]))

    def test_no_directories_no_listings(self, remote: Remote) -> None:
        """Asking for nothing gives nothing."""
        assert ([], []) == (list(remote.listings([])), remote.stat([]))

    def test_a_deep_tree(self, remote: Remote, sources: Sources) -> None:
        """Forty levels are made in one call, used at their end, and removed in one call."""
        levels = ["/".join(["level"] * depth) for depth in range(1, DEPTH + 1)]
        make(remote, *levels)
        file = f"{levels[-1]}/file"
        put(remote, sources, file, b"deep")
        assert (b"deep", [file]) == (get(remote, sources, file), list(listed(remote, levels[-1])))
        assert DEPTH == sum(len(listing.entries) == 1 for listing in remote.listings(levels))
        assert [None] == remote.remove_files([file])
        assert [None] * DEPTH == remote.remove_directories(levels[::-1])
        assert {} == listed(remote)

    def test_names_with_a_dot(self, remote: Remote, sources: Sources) -> None:
        """Names that begin with a dot are listed unless the traits say otherwise; stat finds them in any case."""
        make(remote, ".d")
        put(remote, sources, ".f")
        put(remote, sources, ".d/plain")
        assert (set() if remote.traits.hides_dots else {".d", ".f"}) == names(remote)
        assert (Kind.DIRECTORY, Kind.FILE) == (there(remote, ".d").kind, there(remote, ".f").kind)
        assert {".d/plain"} == names(remote, ".d")


class TogetherContract(Bench):
    """What is asked together is done as if each had waited for the one before, whatever came of that."""

    def test_displaced_and_seen(self, remote: Remote, sources: Sources) -> None:
        """A look that follows a rename shows what was renamed, with the stamp that it had."""
        make(remote, "kept")
        put(remote, sources, "f", b"of before")
        before = there(remote, "f").stamp
        pairs = [("f", "kept/f"), ("gone", "kept/gone")]
        renamed, looks = remote.together([Rename(pairs), Stat(["kept/f", "kept/gone", "f"])])
        assert [None, Reason.ABSENT] == reasons(look for look in renamed if not isinstance(look, Found))
        assert [before, None, None] == [look.stamp if isinstance(look, Found) else look for look in looks]

    def test_what_should_be_there(self, remote: Remote, sources: Sources) -> None:
        """A look at what is most likely there tells as much where it is not."""
        make(remote, "d")
        put(remote, sources, "d/f", b"12345")
        (looks,) = remote.together([Stat(["d/f", "gone", "d", "d/gone", "gone/deeper"], present=True)])
        assert [there(remote, "d/f"), None, there(remote, "d"), None, None] == looks

    def test_made_and_renamed(self, remote: Remote) -> None:
        """Folders are made before one is renamed; those that are there already keep nothing from being done."""
        make(remote, "new")
        made, renamed = remote.together([MakeDirectories(["new", "new/in"], 0o700), Rename([("new", "lock")])])
        there_already, new = reasons(look for look in made if not isinstance(look, Found))
        assert there_already is not None and new is None
        assert [None] == renamed
        assert ({"lock"}, {"lock/in"}) == (names(remote), names(remote, "lock"))

    def test_looked_at_and_left(self, remote: Remote, sources: Sources) -> None:
        """The look comes before the removal; a folder that holds something stays, with the reason."""
        make(remote, "a", "a/b", "full")
        put(remote, sources, "full/f")
        looks, removed = remote.together([Stat(["a/b", "full/f"]), RemoveDirectories(["a/b", "a", "full"])])
        assert [Kind.DIRECTORY, Kind.FILE] == [look.kind for look in looks if isinstance(look, Found)]
        gone = reasons(look for look in removed if not isinstance(look, Found))
        assert [None, None] == gone[:2] and gone[2] in (Reason.NOT_EMPTY, Reason.DENIED, Reason.OTHER)
        assert {"full"} == names(remote)

    def test_nothing_together(self, remote: Remote) -> None:
        """No requests, and requests for nothing."""
        assert [] == remote.together([])
        assert [[], []] == remote.together([Stat([]), Rename([])])


class StatContract(Bench):
    def test_stat_in_order(self, remote: Remote, sources: Sources) -> None:
        """One answer for each path in the order of the question, None where there is nothing."""
        make(remote, "d")
        put(remote, sources, "f", b"12345")
        answers = remote.stat(["gone", "f", "gone/deeper", "d", "f"])
        file, directory = there(remote, "f"), there(remote, "d")
        assert [None, file, None, directory, file] == answers
        assert (Kind.FILE, 5, Kind.DIRECTORY) == (file.kind, file.stamp.size, directory.kind)

    def test_many_paths(self, remote: Remote, sources: Sources) -> None:
        """However many there are, and however often one is asked for."""
        make(remote, "d", "e")
        put(remote, sources, "d/f")
        put(remote, sources, "e/f")
        found = there(remote, "d/f"), there(remote, "e/f")
        asked = [path for number in range(150) for path in ("d/f", f"d/gone-{number}", "e/f")]
        assert [one for _ in range(150) for one in (found[0], None, found[1])] == remote.stat(asked)

    def test_stat_of_the_root(self, remote: Remote) -> None:
        """The root is a directory that can be asked for."""
        assert Kind.DIRECTORY is there(remote, "").kind

    def test_stat_agrees_with_the_listing(self, remote: Remote, sources: Sources) -> None:
        """What stat tells of a file is what a listing tells, for states compare the two."""
        for i in range(5):
            put(remote, sources, f"f{i}", b"x" * i)
        expected = {path: entry.stamp for path, entry in listed(remote).items()}
        assert expected == {path: there(remote, path).stamp for path in expected}

    def test_nothing_lies_below_a_file(self, remote: Remote, sources: Sources) -> None:
        """Nothing lies below a file."""
        put(remote, sources, "f")
        assert [None] == remote.stat(["f/below"])


class DirectoryContract(Bench):
    def test_directories_in_order(self, remote: Remote) -> None:
        """Directories are made in the order given, so one call makes a tree."""
        make(remote, "a", "a/b", "a/b/c")
        assert {"a/b/c"} == names(remote, "a/b")

    def test_parents_are_not_made(self, remote: Remote) -> None:
        """A missing parent is ABSENT, for that directory only."""
        assert [Reason.ABSENT, None] == reasons(remote.make_directories(["gone/d", "d"]))
        assert {"d"} == names(remote)

    def test_directories_on_taken_names(self, remote: Remote, sources: Sources) -> None:
        """Whatever lies there already, the answer is EXISTS, and it stays as it was."""
        make(remote, "d", "d/inner")
        put(remote, sources, "f", b"kept")
        assert [Reason.EXISTS, Reason.EXISTS] == reasons(remote.make_directories(["d", "f"]))
        assert ({"d/inner"}, b"kept") == (names(remote, "d"), get(remote, sources, "f"))

    def test_one_winner_of_a_race(self, hub: Hub) -> None:
        """Of several clients that make one directory at once exactly one succeeds."""
        for outcomes in races(hub, lambda remote, _racer, number: remote.make_directories([f"d{number}"])):
            assert (1, RACERS - 1) == (outcomes.count(None), outcomes.count(Reason.EXISTS))

    def test_one_winner_of_a_race_to_a_name(self, hub: Hub, remote: Remote) -> None:
        """Of several clients that rename a folder with something in it to one name at once exactly one succeeds, and
        all others keep theirs: this is the hub's lock."""
        for racer in range(RACERS):
            for number in range(RACES):
                make(remote, f"{racer}-{number}", f"{racer}-{number}/{racer}")

        for number, outcomes in enumerate(
            races(hub, lambda remote, racer, number: remote.rename([(f"{racer}-{number}", f"lock{number}")]))
        ):
            (winner,) = [racer for racer, outcome in enumerate(outcomes) if outcome is None]
            assert {f"lock{number}/{winner}"} == names(remote, f"lock{number}")
            for loser in set(range(RACERS)) - {winner}:
                assert {f"{loser}-{number}/{loser}"} == names(remote, f"{loser}-{number}")

    def test_directory_mode(self, remote: Remote) -> None:
        """The mode is set where the hub can, and shown where it tells modes; that it can't is no problem."""
        assert [None] == remote.make_directories(["private"], 0o700)
        assert not remote.traits.sets_modes or there(remote, "private").mode in (0o700, None)

    def test_directories_go(self, remote: Remote) -> None:
        """Empty directories go, in the order given."""
        make(remote, "a", "a/b", "kept")
        assert [None, None] == remote.remove_directories(["a/b", "a"])
        assert {"kept"} == names(remote)

    def test_directories_that_stay(self, hub: Hub, remote: Remote, sources: Sources) -> None:
        """What is missing or not empty is told as such, and the content stays."""
        make(remote, "full", "hidden")
        put(remote, sources, "full/file")
        put(remote, sources, "hidden/.file")
        outcomes = reasons(remote.remove_directories(["full", "gone", "hidden"]))
        vague = [Reason.DENIED, Reason.OTHER] if hub.expects.silent_on_directories else []
        for expected, outcome in zip((Reason.NOT_EMPTY, Reason.ABSENT, Reason.NOT_EMPTY), outcomes, strict=True):
            assert outcome in [expected, *vague]
        assert (Kind.FILE, Kind.FILE) == (there(remote, "full/file").kind, there(remote, "hidden/.file").kind)

    def test_a_file_is_not_removed_as_a_directory(self, remote: Remote, sources: Sources) -> None:
        """Nor a directory as a file: both are problems and leave it in place."""
        make(remote, "d")
        put(remote, sources, "f")
        reason(only(remote.remove_directories(["f"])))
        reason(only(remote.remove_files(["d"])))
        assert {"d", "f"} == names(remote)


class RenameContract(Bench):
    def test_rename_carries_content(self, remote: Remote, sources: Sources) -> None:
        """A file keeps its content and its stamp, a directory what is in it."""
        make(remote, "old", "old/inner")
        put(remote, sources, "old/inner/file", b"carried")
        before = there(remote, "old/inner/file").stamp
        assert [None, None] == remote.rename([("old", "new"), ("new/inner/file", "moved")])
        assert {"new", "moved"} == names(remote)
        assert (before, b"carried") == (there(remote, "moved").stamp, get(remote, sources, "moved"))
        assert {} == listed(remote, "new/inner")

    def test_a_rename_of_nothing_moves_nothing(self, remote: Remote, sources: Sources) -> None:
        """Whatever was looked at before, on a server that is asked by RNFR whether anything is there, too."""
        remote.make_directories([".sync.tmp", ".sync.tmp/run"], 0o700)  # by which that is found out
        put(remote, sources, "f")
        for path in ("f", ".sync.tmp/run"):
            assert there(remote, path) is not None
            assert [Reason.ABSENT] == reasons(remote.rename([("missing", "new")]))
            looks, renamed = remote.together([Stat([path, "gone"]), Rename([("missing", "new")])])
            assert [True, False] == [isinstance(look, Found) for look in looks]
            assert [Reason.ABSENT] == reasons(one for one in renamed if not isinstance(one, Found))
            assert [True, True, False] == [isinstance(one, Found) for one in remote.stat(["f", ".sync.tmp/run", "new"])]

    def test_renames_in_order(self, remote: Remote, sources: Sources) -> None:
        """A chain of renames in one call has the outcome of one after another."""
        put(remote, sources, "a", b"a")
        put(remote, sources, "b", b"b")
        assert [None] * 3 == remote.rename([("b", "c"), ("a", "b"), ("c", "a")])
        assert (b"b", b"a") == (get(remote, sources, "a"), get(remote, sources, "b"))

    def test_renames_of_what_is_missing(self, remote: Remote, sources: Sources) -> None:
        """A missing old name, or a missing directory for the new one, is ABSENT; the other pairs are renamed."""
        put(remote, sources, "f")
        put(remote, sources, "g")
        pairs = [("gone", "x"), ("f", "gone/f"), ("g", "h")]
        assert [Reason.ABSENT, Reason.ABSENT, None] == reasons(remote.rename(pairs))
        assert {"f", "h"} == names(remote)

    def test_rename_out_of_a_folder_renamed_away(self, hub: Hub, remote: Remote, sources: Sources) -> None:
        """Once another connection has renamed the folder, nothing gets out of it or into it: this is the fence."""
        make(remote, "stage")
        put(remote, sources, "stage/file", b"fenced")
        put(remote, sources, "file")
        with hub.connect() as thief:
            assert [None] == thief.rename([("stage", "taken")])
        pairs = [("stage/file", "target"), ("file", "stage/displaced")]
        assert [Reason.ABSENT, Reason.ABSENT] == reasons(remote.rename(pairs))
        assert {"taken", "file"} == names(remote)
        assert b"fenced" == get(remote, sources, "taken/file")

    def test_rename_onto_a_file(self, remote: Remote, sources: Sources) -> None:
        """A file at the new name is replaced whole, or the rename refused and both kept, as the traits say."""
        put(remote, sources, "new", b"new version")
        put(remote, sources, "old", b"old version, longer")
        outcome = only(reasons(remote.rename([("new", "old")])))
        if remote.traits.replaces:
            assert (None, b"new version", {"old"}) == (outcome, get(remote, sources, "old"), names(remote))
        else:
            assert (Reason.EXISTS, {"new", "old"}) == (outcome, names(remote))
            contents = (get(remote, sources, "new"), get(remote, sources, "old"))
            assert (b"new version", b"old version, longer") == contents

    def test_rename_onto_a_full_directory(self, remote: Remote, sources: Sources) -> None:
        """A directory that holds something is replaced by nothing."""
        make(remote, "full", "d")
        put(remote, sources, "full/file", b"kept")
        put(remote, sources, "f", b"kept too")
        for outcome in remote.rename([("d", "full"), ("f", "full")]):
            reason(outcome)
        assert (b"kept", b"kept too") == (get(remote, sources, "full/file"), get(remote, sources, "f"))


class RemovalContract(Bench):
    def test_files_go(self, remote: Remote, sources: Sources) -> None:
        """Removed files are gone, missing ones ABSENT, in the order of the question."""
        for name in ("a", "b", "kept"):
            put(remote, sources, name)
        outcomes = remote.remove_files(["a", "gone", "b", "gone/deeper", "a"])
        assert [None, Reason.ABSENT, None, Reason.ABSENT, Reason.ABSENT] == reasons(outcomes)
        assert {"kept"} == names(remote)


class LinkContract(Bench):
    def test_links(self, remote: Remote, sources: Sources) -> None:
        """Links are made and shown with their target, wherever it leads, or refused as KIND."""
        targets = {"to-file": "f", "to-directory": "d", "dangling": "no/such", "outside": "../../outside"}
        make(remote, "d")
        put(remote, sources, "f")
        outcomes = reasons(remote.make_links(list(targets.items())))
        if not remote.traits.links:
            assert ([Reason.KIND] * 4, {"d", "f"}) == (outcomes, names(remote))
            return
        assert [None] * 4 == outcomes
        for entries in (listed(remote), {path: there(remote, path) for path in targets}):
            assert targets == {path: entry.target for path, entry in entries.items() if entry.kind is Kind.LINK}

    def test_links_on_taken_names(self, remote: Remote, sources: Sources) -> None:
        """A link replaces nothing."""
        put(remote, sources, "f", b"kept")
        expected = Reason.EXISTS if remote.traits.links else Reason.KIND
        assert [expected] == reasons(remote.make_links([("f", "elsewhere")]))
        assert b"kept" == get(remote, sources, "f")

    def test_removing_a_link_spares_its_target(self, remote: Remote, sources: Sources) -> None:
        """Removing or renaming a link leaves alone what it points to."""
        put(remote, sources, "f", b"kept")
        if only(remote.make_links([("link", "f")])) is None:
            assert [None] == remote.rename([("link", "renamed")])
            assert [None] == remote.remove_files(["renamed"])
        assert ({"f"}, b"kept") == (names(remote), get(remote, sources, "f"))


class AttributeContract(Bench):
    def test_times_are_set(self, remote: Remote, sources: Sources) -> None:
        """A time that was set is read back to within the tick, and where it can't be set that is no problem."""
        put(remote, sources, "f")
        before = there(remote, "f").stamp.mtime_ns
        assert [None] == remote.set_attributes([Attributes("f", mtime_ns=TIME)])
        expected = floor(TIME, remote.traits.tick_ns) if remote.traits.sets_times else before
        assert expected == there(remote, "f").stamp.mtime_ns

    def test_modes_are_set(self, remote: Remote, sources: Sources) -> None:
        """Permission bits likewise, of files and directories."""
        put(remote, sources, "f")
        make(remote, "d")
        assert [None] * 2 == remote.set_attributes([Attributes("f", mode=0o640), Attributes("d", mode=0o750)])
        if remote.traits.sets_modes:
            assert there(remote, "f").mode in (0o640, None)
            assert there(remote, "d").mode in (0o750, None)

    def test_attributes_not_given_stay(self, remote: Remote, sources: Sources) -> None:
        """What is not given is not changed."""
        put(remote, sources, "f")
        before = there(remote, "f")
        assert [None] == remote.set_attributes([Attributes("f")])
        assert before == there(remote, "f")

    def test_attributes_of_what_is_missing(self, remote: Remote, sources: Sources) -> None:
        """Where there is nothing nothing can be set, and the others are."""
        put(remote, sources, "f")
        if remote.traits.sets_times:
            jobs = [Attributes("gone", mtime_ns=TIME), Attributes("f", mtime_ns=TIME)]
            assert [Reason.ABSENT, None] == reasons(remote.set_attributes(jobs))
        assert [None] == remote.stat(["gone"])

    def test_permissions_bind(self, hub: Hub, remote: Remote, sources: Sources) -> None:
        """Where permission bits bind, a directory that may not be written refuses everything as DENIED."""
        make(remote, "d", "d/old")
        put(remote, sources, "d/file", b"kept")
        assert [None] == remote.set_attributes([Attributes("d", mode=0o500)])
        outcomes = [
            *remote.remove_files(["d/file"]),
            *remote.remove_directories(["d/old"]),
            *remote.make_directories(["d/new"]),
            *remote.rename([("d/file", "file")]),
            *(o[1] if isinstance(o, tuple) else None for o in remote.store([Store(sources.file(b""), "d/stored")])),
        ]
        if remote.traits.sets_modes and not hub.expects.root_may_all:
            assert [Reason.DENIED] * 5 == reasons(outcomes)
            assert b"kept" == get(remote, sources, "d/file")
        else:
            assert [None, None, None, Reason.ABSENT, None] == reasons(outcomes)
        assert [None] == remote.set_attributes([Attributes("d", mode=0o700)])
