"""What happened to each path on each side, and what must be read before that can be told."""

from dataclasses import replace

import pytest

from core_values import (
    COPY_HERE,
    COPY_THERE,
    DIRECTORY,
    MINE,
    OPEN,
    THEIRS,
    digest,
    directory,
    entry,
    file,
    link,
    scan,
    stamp,
)
from symsync.core.compare import Base, Known, Learnt, Questions, compare, questions
from symsync.core.modes import Status
from symsync.core.steps import Pair, Sight
from symsync.core.values import Found, Scan
from symsync_protocol.stamps import SECOND, Kind, Stamp
from symsync_protocol.state import Entry, Meta

OLD, NEW = file("f", "old", 1), file("f", "new", 2)
KNOWN = Base({"f": entry("old")})
CONFLICT = Base(conflicts={"f": OPEN})
NOTHING = Learnt()


def only(pairs: list[Pair]) -> Pair:
    (pair,) = pairs
    return pair


@pytest.mark.parametrize(
    ("base", "found", "expected"),
    [
        (KNOWN, OLD, Sight(Status.UNCHANGED, OLD, digest("old"))),
        (KNOWN, NEW, Sight(Status.CHANGED, NEW)),
        (KNOWN, file("f", "longer", 1), Sight(Status.CHANGED, file("f", "longer", 1))),
        (KNOWN, directory("f"), Sight(Status.CHANGED, directory("f"), b"")),
        (KNOWN, None, Sight(Status.DELETED)),
        (Base(), NEW, Sight(Status.CHANGED, NEW)),
        (Base(), None, Sight(Status.ABSENT)),
        (Base({"f": DIRECTORY}), directory("f"), Sight(Status.UNCHANGED, directory("f"), b"")),
        (Base({"f": DIRECTORY}), OLD, Sight(Status.CHANGED, OLD)),
        (Base({"f": DIRECTORY}), None, Sight(Status.DELETED)),
    ],
)
def test_status(base: Base, found: Found | None, expected: Sight) -> None:
    """Known and gone: deleted; of the same kind, size, time: unchanged; else and new: changed; in neither: absent."""
    seen = scan(*[found] if found else [])
    # The other side has something, or there would be no pair of what neither side and no state knows.
    assert expected == only(compare(base, seen, scan(OLD), NOTHING)).here
    assert expected == only(compare(base, scan(OLD), seen, NOTHING)).there


@pytest.mark.parametrize(("target", "expected"), [("a", Status.UNCHANGED), ("b", Status.CHANGED)])
def test_a_link_is_what_it_points_to(target: str, expected: Status) -> None:
    """Two links of one size and time are told apart by their targets."""
    one = link("f", "a")
    base = Base({"f": Entry(one.stamp, one.stamp, digest("a"), "a")})
    assert expected == only(compare(base, scan(link("f", target)), scan(one), NOTHING)).here.status


def test_a_touched_file_is_unchanged() -> None:
    """Where the stamp differs but the digest is the recorded one, nobody edited anything."""
    touched = file("f", "old", 7)
    pair = only(compare(KNOWN, scan(touched), scan(touched), Learnt({"f": digest("old")}, {"f": digest("old")})))
    expected = Sight(Status.UNCHANGED, touched, digest("old"))
    assert (expected, expected) == (pair.here, pair.there)


def test_a_link_with_a_file_s_digest_is_another_thing() -> None:
    """The digest counts only for an entry of the same kind."""
    pair = only(compare(KNOWN, scan(link("f", "x")), scan(OLD), Learnt({"f": digest("old")})))
    assert Status.CHANGED == pair.here.status


def test_an_unsettled_stamp_proves_nothing() -> None:
    """A stamp taken in the tick of its listing may hide an edit of the same size: only the content tells."""
    base = Base({"f": replace(entry("old"), here=stamp("old", 1).unsettled())})
    assert Sight(Status.CHANGED, OLD) == only(compare(base, scan(OLD), scan(OLD), NOTHING)).here
    for content, expected in (("old", Status.UNCHANGED), ("new", Status.CHANGED)):
        learnt = Learnt({"f": digest(content)})
        assert expected == only(compare(base, scan(OLD), scan(OLD), learnt)).here.status


@pytest.mark.parametrize(
    ("tick", "later", "expected"),
    [
        (60 * SECOND, 59 * SECOND, Status.UNCHANGED),
        (60 * SECOND, 60 * SECOND, Status.CHANGED),
        (SECOND, SECOND // 2, Status.UNCHANGED),
        (SECOND, SECOND, Status.CHANGED),
        (1, 1, Status.CHANGED),
    ],
)
def test_stamps_compare_at_the_coarser_resolution(tick: int, later: int, expected: Status) -> None:
    """A hub listed by the minute has not changed its file because its own file system knew the nanosecond."""
    exact = Stamp(Kind.FILE, 3, 600 * SECOND + later, 1)
    listed = Stamp(Kind.FILE, 3, 600 * SECOND, tick)
    base = Base({"f": Entry(stamp("old", 1), exact, digest("old"))})
    assert expected == only(compare(base, scan(OLD), scan(Found("f", listed)), NOTHING)).there.status


def test_the_hub_s_current_content_as_another_node_recorded_it() -> None:
    """Another node's record of this very stamp tells the digest, and with it bits and time."""
    meta = Meta(0o600, 5 * SECOND, 3, "laptop")
    learnt = Learnt(others={"f": Known(stamp("new", 2), digest("new"), meta)})
    pair = only(compare(KNOWN, scan(OLD), scan(NEW), learnt))
    assert (Sight(Status.CHANGED, NEW, digest("new")), meta) == (pair.there, pair.meta)


@pytest.mark.parametrize(
    "recorded",
    [
        stamp("new", 1),
        stamp("newer", 2),
        stamp("new", 2).unsettled(),
        Stamp(Kind.FILE, 3, None),
        Stamp(Kind.LINK, 3, 2 * SECOND, SECOND),
    ],
)
def test_another_node_s_record_of_another_stamp_is_worth_nothing(recorded: Stamp) -> None:
    """Another's record counts only while its hub stamp, with a time and settled, is the current one."""
    learnt = Learnt(others={"f": Known(recorded, digest("new"), Meta(0o600))})
    pair = only(compare(KNOWN, scan(OLD), scan(NEW), learnt))
    assert (Sight(Status.CHANGED, NEW), None) == (pair.there, pair.meta)


def test_a_content_read_in_this_run_beats_another_s_record() -> None:
    """What was read is known, what was recorded is only believed."""
    learnt = Learnt(there={"f": digest("read")}, others={"f": Known(stamp("new", 2), digest("recorded"))})
    assert digest("read") == only(compare(KNOWN, scan(OLD), scan(NEW), learnt)).there.digest


def test_what_another_node_announced_is_left_out() -> None:
    """Another pair's conflict copy is looked at on neither side, even where a state knows the name."""
    lying = scan(OLD, file("f.laptop", "theirs"))
    base = Base({"f": entry(), "f.laptop": entry("theirs")})
    assert ["f"] == [pair.path for pair in compare(base, lying, lying, NOTHING, ["f.laptop"])]


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ("d", ["d+", "dd", "f"]),
        ("d/sub", ["d", "d+", "d/x", "dd", "f"]),
        ("d/sub/y", ["d", "d+", "d/sub", "d/x", "dd", "f"]),
        ("f", ["d", "d+", "d/sub", "d/sub/y", "d/x", "dd"]),
        ("", []),
    ],
)
def test_nothing_is_said_of_what_is_unknown(unknown: str, expected: list[str]) -> None:
    """What a side could not list is no pair, nor is anything below it; a name that only begins alike is."""
    paths = ["d", "d+", "d/sub", "d/sub/y", "d/x", "dd", "f"]
    base = Base(dict.fromkeys(paths, entry()))
    nothing, blind = Scan(), Scan(unknown=frozenset([unknown]))
    assert expected == [pair.path for pair in compare(base, blind, nothing, NOTHING)]
    assert expected == [pair.path for pair in compare(base, nothing, blind, NOTHING)]


def test_pairs_come_by_path_and_directories_first() -> None:
    """One pair for each path that either side, the state or a conflict knows."""
    base = Base({"b": entry()}, {"f": OPEN})
    pairs = compare(base, scan(directory("d"), file("d/x", "1")), scan(file("a", "1")), NOTHING)
    assert ["a", "b", "d", "d/x", "f"] == [pair.path for pair in pairs]


def test_an_open_conflict_as_it_was_left() -> None:
    """Both versions stand, their digests are known unread, and the copies are no pairs of their own."""
    pair = only(compare(CONFLICT, scan(MINE, COPY_HERE), scan(THEIRS, COPY_THERE), NOTHING))
    expected = Pair(
        "f",
        Sight(Status.UNCHANGED, MINE, digest("mine")),
        Sight(Status.UNCHANGED, THEIRS, digest("theirs")),
        conflict=OPEN,
        copy_here=COPY_HERE,
        copy_there=COPY_THERE,
    )
    assert expected == pair


def test_a_removed_copy_is_seen_to_be_gone() -> None:
    """The conflict stays what it was; only that nothing lies there any more is told."""
    pair = only(compare(CONFLICT, scan(MINE), scan(THEIRS, COPY_THERE), NOTHING))
    assert (OPEN, None, COPY_THERE, True) == (pair.conflict, pair.copy_here, pair.copy_there, pair.copies_known)


@pytest.mark.parametrize("unknown_here", [True, False])
def test_an_unseen_copy_is_not_known_to_be_gone(unknown_here: bool) -> None:
    """A copy missing from an incomplete listing says nothing."""
    here = scan(MINE, unknown=["f.server"]) if unknown_here else scan(MINE, COPY_HERE)
    there = scan(THEIRS, COPY_THERE) if unknown_here else scan(THEIRS, unknown=["f.pc"])
    assert not only(compare(CONFLICT, here, there, NOTHING)).copies_known


def test_no_absence_counts_where_the_generations_disagree() -> None:
    """A missing copy may then only be one that the older side never had."""
    base = replace(CONFLICT, decisions=False)
    assert not only(compare(base, scan(MINE), scan(THEIRS, COPY_THERE), NOTHING)).copies_known


def test_an_edited_copy_is_a_file_like_any_other() -> None:
    """It becomes a pair of its own, and is no copy of the conflict any more."""
    edited = file("f.server", "edited", 9)
    learnt = Learnt({"f.server": digest("edited")})
    f, other = compare(CONFLICT, scan(MINE, edited), scan(THEIRS, COPY_THERE), learnt)
    assert (None, COPY_THERE) == (f.copy_here, f.copy_there)
    assert Pair("f.server", Sight(Status.CHANGED, edited, digest("edited")), Sight(Status.ABSENT)) == other


def test_a_touched_copy_is_a_copy() -> None:
    """Where the stamp differs but the digest is the recorded one, nobody edited anything."""
    touched = file("f.server", "theirs", 9)
    learnt = Learnt({"f.server": digest("theirs")})
    pair = only(compare(CONFLICT, scan(MINE, touched), scan(THEIRS, COPY_THERE), learnt))
    assert (touched, frozenset()) == (pair.copy_here, pair.edited)


def test_a_file_that_has_a_copy_s_name_on_the_other_side_waits() -> None:
    """Neither can travel without overwriting the other; when the conflict ends, they meet."""
    here, there = scan(MINE, COPY_HERE), scan(THEIRS, COPY_THERE, file("f.server", "by hand"))
    assert ["f"] == [pair.path for pair in compare(CONFLICT, here, there, NOTHING)]
    here, there = scan(MINE, COPY_HERE, file("f.pc", "by hand")), scan(THEIRS, COPY_THERE)
    assert ["f"] == [pair.path for pair in compare(CONFLICT, here, there, NOTHING)]


def asked(base: Base, here: Scan, there: Scan, learnt: Learnt = NOTHING, **how: bool) -> Questions:
    pairs = compare(base, here, there, learnt)
    return questions(pairs, one_way=how.get("one_way", False), size_only=how.get("size_only", False))


def test_what_has_gone_may_have_been_renamed_over_its_like() -> None:
    """A file on the hub is read that bears the stamp of another one's copy which has gone: it may be that."""
    pairs = compare(KNOWN, scan(OLD), scan(OLD), NOTHING)
    for gone, expected in ((stamp("new", 1), {"f"}), (stamp("new", 2), set()), (stamp("longer", 1), set())):
        assert expected == questions(pairs, one_way=False, size_only=False, gone=[gone]).there
    assert set() == questions(pairs, one_way=False, size_only=True, gone=[stamp("new", 1)]).there


def reads(here: str = "", there: str = "") -> Questions:
    return Questions(frozenset(here.split()), frozenset(there.split()))


TOUCHED = file("f", "old", 5)


@pytest.mark.parametrize(
    ("base", "here", "there", "expected"),
    [
        (KNOWN, scan(OLD), scan(OLD), reads()),
        (KNOWN, scan(TOUCHED), scan(OLD), reads("f")),
        (KNOWN, scan(file("f", "longer", 5)), scan(OLD), reads()),
        (KNOWN, scan(OLD), scan(TOUCHED), reads()),
        (KNOWN, scan(TOUCHED), scan(TOUCHED), reads("f", "f")),
        (KNOWN, scan(file("f", "longer", 5)), scan(TOUCHED), reads("", "f")),
        (KNOWN, scan(file("f", "longer", 5)), scan(file("f", "LONGER", 6)), reads("f", "f")),
        (KNOWN, scan(), scan(TOUCHED), reads("", "f")),
        (KNOWN, scan(), scan(file("f", "longer", 5)), reads()),
        (KNOWN, scan(TOUCHED), scan(), reads("f")),
        (Base(), scan(OLD), scan(TOUCHED), reads("f", "f")),
        (Base(), scan(OLD), scan(file("f", "longer", 5)), reads()),
        (Base(), scan(OLD), scan(), reads()),
        (Base(), scan(), scan(OLD), reads()),
        (Base(), scan(directory("f")), scan(directory("f")), reads()),
        (Base(), scan(directory("f")), scan(file("f", "")), reads()),
        (CONFLICT, scan(file("f", "ours", 9), COPY_HERE), scan(THEIRS, COPY_THERE), reads("f")),
        (CONFLICT, scan(MINE, COPY_HERE), scan(file("f", "ours", 9), COPY_THERE), reads("", "f")),
        (CONFLICT, scan(MINE, COPY_HERE), scan(file("f", "newest", 9), COPY_THERE), reads("", "f")),
        (CONFLICT, scan(MINE, COPY_HERE), scan(file("f", "newer", 9), COPY_THERE), reads()),
        (CONFLICT, scan(MINE, file("f.server", "edited", 9)), scan(THEIRS, COPY_THERE), reads("f.server")),
        (CONFLICT, scan(MINE, file("f.server", "longer", 4)), scan(THEIRS, COPY_THERE), reads()),
        (CONFLICT, scan(MINE, file("f.server", "longest", 9)), scan(THEIRS, COPY_THERE), reads()),
        (CONFLICT, scan(MINE, link("f.server", "theirs", 9)), scan(THEIRS, COPY_THERE), reads()),
        (CONFLICT, scan(MINE, COPY_HERE), scan(THEIRS, file("f.pc", "ours", 9)), reads("", "f.pc")),
    ],
)
def test_what_is_read(base: Base, here: Scan, there: Scan, expected: Questions) -> None:
    """On the node what may only have been touched; on the hub only what could else be a false conflict, or undo a
    deletion."""
    assert expected == asked(base, here, there)


def test_what_is_known_is_not_read() -> None:
    """A node that joins with a full copy reads its own files, and not one of the hub's that another node knows."""
    learnt = Learnt(others={"f": Known(stamp("old", 1), digest("old"))})
    assert reads("f") == asked(Base(), scan(OLD), scan(OLD), learnt)


def test_size_only_reads_nothing_for_a_first_meeting() -> None:
    """Equal sizes are believed by those who can't wait."""
    assert reads() == asked(Base(), scan(OLD), scan(TOUCHED), size_only=True)


def test_one_way_reads_nothing_for_a_deletion() -> None:
    """The direction settles it."""
    assert reads() == asked(KNOWN, scan(), scan(TOUCHED), one_way=True)


def test_a_moved_file_is_read() -> None:
    """A new name with the inode, size and time of a known file is most likely that file: its digest saves bytes."""
    old = Stamp(Kind.FILE, 3, SECOND, 1, inode=77, ctime_ns=1)
    base = Base({"f": replace(entry(), here=old)})
    moved, new = Found("g", replace(old, ctime_ns=9)), Found("h", replace(old, inode=78))
    assert reads("g") == asked(base, scan(moved, new), scan(OLD))
