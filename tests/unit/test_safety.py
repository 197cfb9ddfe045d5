"""What looks like an accident stops the run, and nothing else does."""

from collections.abc import Collection

import pytest

from core_values import DIRECTORY, OPEN, digest, directory, entry, file, met, planned, scan
from symsync.core.compare import Base, Learnt, compare
from symsync.core.safety import DEFAULT_MAXDELETE, EMPTIED_FLOOR, MaxDelete, check
from symsync.core.values import Scan
from symsync_protocol.errors import Stopped

WRITTEN = MaxDelete(count=0)
UNLIMITED = MaxDelete()


def base(files: int) -> Base:
    return Base({f"f{number:03}": entry(here=number, there=number) for number in range(files)})


def side(*numbers: int) -> Scan:
    return scan(*(file(f"f{number:03}", "old", number) for number in numbers))


def checked(known: Base, here: Scan, there: Scan, limit: MaxDelete, allowed: Collection[str] = ()) -> None:
    check(known, here, there, list(met(known, here, there).values()), limit, allowed)


@pytest.mark.parametrize(
    ("limit", "removed", "known", "expected"),
    [
        (DEFAULT_MAXDELETE, 10, 10, False),
        (DEFAULT_MAXDELETE, 11, 21, True),
        (DEFAULT_MAXDELETE, 11, 22, False),
        (DEFAULT_MAXDELETE, 50, 100, False),
        (DEFAULT_MAXDELETE, 51, 100, True),
        (MaxDelete(percent=50), 1, 1, True),
        (MaxDelete(percent=0), 1, 1000, True),
        (MaxDelete(percent=0), 0, 0, False),
        (MaxDelete(count=3), 3, 3, False),
        (MaxDelete(count=3), 4, 1000, True),
        (MaxDelete(count=0), 0, 5, False),
        (UNLIMITED, 1000, 1000, False),
    ],
)
def test_exceeded(limit: MaxDelete, removed: int, known: int, expected: bool) -> None:
    """50 % and more than 10 by default; what the user wrote counts as written, without the floor."""
    assert expected == limit.exceeded(removed, known)


@pytest.mark.parametrize(
    ("limit", "expected"), [(MaxDelete(count=3), "3"), (MaxDelete(percent=50), "50%"), (MaxDelete(percent=2.5), "2.5%")]
)
def test_a_limit_as_the_user_wrote_it(limit: MaxDelete, expected: str) -> None:
    """It stands in the message."""
    assert expected == str(limit)


def test_too_many_removals_stop_the_run() -> None:
    """The message says what was seen and the option that allows it once."""
    with pytest.raises(Stopped) as stopped:
        checked(base(20), side(*range(20)), side(*range(5)), MaxDelete(percent=50))
    assert (
        "this run would remove 15 of 20 files (f005, ...), more than maxdelete 50% allows. "
        "If it is meant: --allow deletes",
        "deletes",
    ) == (str(stopped.value), stopped.value.allow)


def test_removals_on_both_sides_are_counted_together() -> None:
    """Three there and three here are six."""
    with pytest.raises(Stopped, match="would remove 6 of 20 files"):
        checked(base(20), side(*range(17)), side(*range(3, 20)), MaxDelete(count=5))


def test_what_is_allowed_passes() -> None:
    """Once, by name."""
    checked(base(20), side(*range(20)), side(*range(5)), WRITTEN, {"deletes"})


def test_another_word_does_not_allow_it() -> None:
    """A permission is for what it names."""
    with pytest.raises(Stopped):
        checked(base(20), side(*range(20)), side(*range(5)), WRITTEN, {"identity", "emptied"})


def test_edits_are_no_removals() -> None:
    """Who changes every file removes none."""
    edited = scan(*(file(f"f{number:03}", "edited", 5) for number in range(20)))
    checked(base(20), edited, side(*range(20)), WRITTEN)


def test_moves_are_no_removals() -> None:
    """A renamed directory is not a lost one."""
    known = Base({f"a{number}": entry(f"content {number}") for number in range(9)})
    here = scan(*(file(f"b{number}", f"content {number}") for number in range(9)))
    there = scan(*(file(f"a{number}", f"content {number}") for number in range(9)))
    learnt = Learnt({f"b{number}": digest(f"content {number}") for number in range(9)})
    check(known, here, there, list(planned(compare(known, here, there, learnt)).values()), WRITTEN, ())


def test_directories_are_no_files() -> None:
    """Neither those that go nor those that are known."""
    known = Base({"d": DIRECTORY, "e": DIRECTORY} | dict(base(1).entries))
    checked(known, scan(directory("d"), directory("e"), *side(0).entries.values()), side(0), WRITTEN)


def test_a_conflict_s_copy_is_not_a_removed_file() -> None:
    """Settling takes copies away, which no limit counts and no message names."""
    known = Base(base(20).entries, {"f": OPEN})
    mine, theirs = file("f", "mine", 2), file("f", "theirs", 3)
    decided = scan(mine, *side(*range(20)).entries.values())
    checked(known, decided, scan(theirs, file("f.pc", "mine", 4), *side(*range(20)).entries.values()), WRITTEN)
    with pytest.raises(Stopped, match=r"\(f019, \.\.\.\)"):
        checked(known, decided, scan(theirs, file("f.pc", "mine", 4), *side(*range(19)).entries.values()), WRITTEN)


@pytest.mark.parametrize(
    ("here", "there", "place"), [(0, EMPTIED_FLOOR, "this directory"), (EMPTIED_FLOOR, 0, "the hub")]
)
def test_an_emptied_side_stops_the_run(here: int, there: int, place: str) -> None:
    """A disk that is not mounted looks just like this."""
    with pytest.raises(Stopped, match=f"^{place} holds no files any more, but held {EMPTIED_FLOOR}") as stopped:
        checked(base(EMPTIED_FLOOR), side(*range(here)), side(*range(there)), UNLIMITED)
    assert "emptied" == stopped.value.allow


def test_empty_directories_do_not_hide_it() -> None:
    """A side that holds no file is empty."""
    with pytest.raises(Stopped, match="this directory holds no files"):
        checked(base(EMPTIED_FLOOR), scan(directory("mnt")), side(*range(EMPTIED_FLOOR)), UNLIMITED)


def test_an_emptied_side_may_be_meant() -> None:
    """Then the number of removals is meant too."""
    checked(base(20), side(), side(*range(20)), WRITTEN, {"emptied"})


def test_permission_to_delete_is_none_to_empty() -> None:
    """Whoever expects many removals does not expect a missing disk."""
    with pytest.raises(Stopped, match="--allow emptied"):
        checked(base(EMPTIED_FLOOR), side(), side(*range(EMPTIED_FLOOR)), UNLIMITED, {"deletes"})


def test_a_handful_of_files_may_go() -> None:
    """Who had only a few may well have removed them all by hand."""
    few = EMPTIED_FLOOR - 1
    checked(base(few), side(), side(*range(few)), DEFAULT_MAXDELETE)


def test_an_empty_side_that_gets_files_is_no_accident() -> None:
    """A new node begins empty."""
    checked(Base(), side(), side(*range(30)), WRITTEN)


def test_both_sides_emptied_is_no_accident_of_ours() -> None:
    """There is nothing to remove any more."""
    checked(base(30), side(), side(), WRITTEN)
