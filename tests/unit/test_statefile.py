"""The bytes of the state file and of the identity file."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol_samples import ENTRY, LAPTOP, generation, state
from protocol_values import ANY_PATHS, IDENTITIES, INTENTS, histories, states
from symsync_protocol import checks, names, packing, records, statefile
from symsync_protocol.errors import StateDamaged, StateTooNew
from symsync_protocol.state import (
    ANCESTORS_KEPT,
    Identity,
    Intent,
    PairState,
)
from symsync_protocol.statefile import (
    StateFile,
    decode,
    decode_identity,
    decode_tail,
    encode_change,
    encode_file,
    encode_identity,
    encode_intent,
    worth_rewriting,
)


@given(states(), st.none() | INTENTS, st.integers(0, 2**33))
def test_a_file_gives_back_what_it_was_made_of(whole: PairState, intent: Intent | None, rewrites: int) -> None:
    """Every state, and every intent that has not led to it, survives; the size tells the rewrite counter."""
    data = encode_file(whole, rewrites=rewrites, intent=intent)
    file = decode(data, "x")
    fulfilled = intent and intent.generation.id in (whole.generation.id, *whole.ancestors)
    assert (whole, None if fulfilled else intent, rewrites % 2**32, len(data), False) == (
        file.state,
        file.intent,
        file.rewrites,
        file.size,
        file.torn,
    )
    assert rewrites % 256 == len(data) % 256


@given(histories(), st.booleans())
def test_appended_changes_lead_to_the_last_state(history: list[PairState], swapped: bool) -> None:
    """Read at once or one after the other, on this side or the other: base and changes make the newest state."""
    seen = [one.swapped() for one in history] if swapped else history
    data = encode_file(seen[0], rewrites=5)
    file: StateFile | None = decode(data, "x")
    for before, after in pairwise(history):
        change = encode_change(before, after, rewrites=5, offset=len(data), swapped=swapped)
        data += change
        assert file is not None
        file = decode_tail(file, change, "x")
        assert len(data) % 256 == 5
    assert file == decode(data, "x")
    assert file is not None
    assert (seen[-1], len(history), False) == (file.state, file.records, file.torn)


def test_order_of_a_run() -> None:
    """Intent, change, intent: announced, fulfilled, announced again, each as the file tells it."""
    first, second = state(1), state(2)
    data = encode_file(None, rewrites=0, intent=Intent(first.generation, ("a/f",)))
    file = decode(data, "x")
    assert (None, Intent(first.generation, ("a/f",))) == (file.state, file.intent)

    data = encode_file(first, rewrites=1)
    announced = Intent(second.generation, ("b",), ("b.laptop",))
    data += encode_intent(announced, rewrites=1, offset=len(data))
    assert (first, announced) == (decode(data, "x").state, decode(data, "x").intent)

    data += encode_change(first, second, rewrites=1, offset=len(data))
    assert (second, None) == (decode(data, "x").state, decode(data, "x").intent)

    for later in (Intent(generation(3)), Intent(generation(4))):
        data += encode_intent(later, rewrites=1, offset=len(data))
        assert later == decode(data, "x").intent


def test_an_intent_stays_fulfilled() -> None:
    """Later changes do not bring it back, even when it is no ancestor any more."""
    data = encode_file(state(1), rewrites=0)
    data += encode_intent(Intent(generation(2)), rewrites=0, offset=len(data))
    for number in range(1, ANCESTORS_KEPT + 5):
        data += encode_change(state(number), state(number + 1), rewrites=0, offset=len(data))
    assert (state(ANCESTORS_KEPT + 5), None) == (decode(data, "x").state, decode(data, "x").intent)


def test_a_file_holds_something() -> None:
    """Neither state nor intent: there is nothing to write."""
    with pytest.raises(ValueError, match="state file holds"):
        encode_file(None, rewrites=0)


def test_a_change_costs_what_changed() -> None:
    """One new entry among thousands is one step of the file's size."""
    many = {f"d/{number}": ENTRY for number in range(5000)}
    before, after = state(70, entries=many), state(71, entries={**many, "new": ENTRY})
    assert len(encode_change(before, after, rewrites=0, offset=0)) == 256


def test_a_new_file_never_has_a_size_the_old_had() -> None:
    """Whatever is appended: two rewritings apart by less than 256 never agree in size."""
    sizes = [
        {len(data), len(data + encode_change(state(1), state(2), rewrites=rewrites, offset=len(data)))}
        for rewrites in range(256)
        for data in [encode_file(state(1), rewrites=rewrites)]
    ]
    assert sum(map(len, sizes)) == len(set().union(*sizes))


def test_a_record_appended_twice_counts_once() -> None:
    """After a lost reply the same bytes may be appended again."""
    data = encode_file(state(1), rewrites=0)
    change = encode_change(state(1), state(2), rewrites=0, offset=len(data))
    once, twice = decode(data + change, "x"), decode(data + change + change, "x")
    assert (once.state, once.records, False) == (twice.state, twice.records, twice.torn)
    assert twice == decode_tail(once, change, "x")


@given(st.data())
def test_a_torn_record_is_skipped(data: st.DataObject) -> None:
    """A record of which only a part arrived does not hide the one appended again behind it."""
    start = encode_file(state(1), rewrites=9)
    change = encode_change(state(1), state(2), rewrites=9, offset=len(start))
    torn = start + change[: data.draw(st.integers(1, len(change) - 1))]
    file = decode(torn, "x")
    assert (state(1), True) == (file.state, file.torn)
    mended = torn + encode_change(state(1), state(2), rewrites=9, offset=len(torn))
    assert (state(2), True, 9) == (decode(mended, "x").state, decode(mended, "x").torn, len(mended) % 256)


def test_a_change_without_its_parent_does_not_apply() -> None:
    """What follows a lost change is no state that anybody agreed on: the last whole one stands."""
    data = encode_file(state(1), rewrites=0)
    orphan = encode_change(state(2), state(3), rewrites=0, offset=len(data))
    file = decode(data + orphan, "x")
    assert (state(1), 1, True) == (file.state, file.records, file.torn)
    assert decode_tail(decode(data, "x"), orphan, "x") is None


def test_what_a_longer_file_left_behind_does_not_count() -> None:
    """Written over in place and not cut, the old file's records are not the new one's, even where they would apply."""
    old = encode_file(state(1), rewrites=0)
    old += encode_change(state(1), state(2), rewrites=0, offset=len(old))
    new = encode_file(state(1), rewrites=1)
    file = decode(new + old[len(new) - 1 :], "x")
    assert (state(1), 1, True) == (file.state, file.records, file.torn)


def test_a_second_base_does_not_count() -> None:
    """A file has one beginning."""
    data = encode_file(state(1), rewrites=0)
    data += encode_file(state(2), rewrites=0)[8:]
    assert (state(1), True) == (decode(data, "x").state, decode(data, "x").torn)


def test_a_change_before_any_state_does_not_count() -> None:
    """There is nothing that it could change."""
    intent = Intent(generation(1))
    data = encode_file(None, rewrites=0, intent=intent)
    data += encode_change(state(1), state(2), rewrites=0, offset=len(data))
    assert (None, intent, True) == (decode(data, "x").state, decode(data, "x").intent, decode(data, "x").torn)


@pytest.mark.parametrize(
    "tail", [b"x", records.MARKER, bytes(256), b"x" + encode_intent(Intent(generation(9)), rewrites=0, offset=0)]
)
def test_a_tail_that_does_not_continue_the_file(tail: bytes) -> None:
    """Then the whole must be read again."""
    assert decode_tail(decode(encode_file(state(), rewrites=0), "x"), tail, "x") is None


def test_a_tail_of_another_rewriting_does_not_continue_the_file() -> None:
    """The file was written anew in the meantime."""
    file = decode(encode_file(state(), rewrites=0), "x")
    assert decode_tail(file, encode_intent(Intent(generation(9)), rewrites=1, offset=file.size), "x") is None


def test_the_tail_of_a_torn_file_is_not_enough() -> None:
    """Its first bytes may complete what was torn when we looked."""
    data = encode_file(state(1), rewrites=0)
    change = encode_change(state(1), state(2), rewrites=0, offset=len(data))
    file = decode(data + change[:100], "x")
    assert decode_tail(file, change[100:], "x") is None
    assert state(2) == decode(data + change, "x").state


def test_no_tail_changes_nothing() -> None:
    """A file that did not grow is what it was."""
    file = decode(encode_file(state(), rewrites=0), "x")
    assert file == decode_tail(file, b"", "x")


@pytest.mark.parametrize(
    ("size", "base_size", "torn", "expected"),
    [
        (1000, 1000, False, False),
        (1000, 1000, True, True),
        (1000 + statefile.APPENDED_FLOOR, 1000, False, False),
        (1001 + statefile.APPENDED_FLOOR, 1000, False, True),
        (2_000_000, 1_000_000, False, False),
        (2_000_001, 1_000_000, False, True),
    ],
)
def test_worth_rewriting(size: int, base_size: int, torn: bool, expected: bool) -> None:
    """Once more was appended than the file began with, and than is worth the trouble; at once where it is torn."""
    file = StateFile(state(), None, 0, size, torn, base_size, frozenset())
    assert expected == worth_rewriting(file)


@given(st.lists(ANY_PATHS | st.sampled_from(["", "/", "a/", "a\0b", "\0", ".sync.ignore", "a/.sync.ignore"])))
def test_paths_at_a_glance(values: list[str]) -> None:
    """All at once or one by one, the same paths are good."""
    good = all(names.is_safe(path) and not names.is_reserved(path) for path in values)
    try:
        checks.paths(values)
    except packing.Malformed:
        assert not good
    else:
        assert good


@given(st.lists(st.none() | st.integers(-(2**127) + 1, 2**127 - 1)))
def test_wide_integers(values: list[int | None]) -> None:
    """Times beyond the year 2554 and inodes of 128 bits survive."""
    assert tuple(values) == packing.unpack_column(packing.pack_column(values))


@given(IDENTITIES)
def test_identity(identity: Identity) -> None:
    """An identity survives its file."""
    assert identity == decode_identity(encode_identity(identity), "x")


def test_identity_can_be_read_by_a_person() -> None:
    """Four lines of text."""
    lines = encode_identity(LAPTOP).decode("ascii").splitlines()
    assert ["symsync identity 1", "name laptop", f"id {LAPTOP.id.hex()}"] == lines[:3]
    assert re.fullmatch("sum [0-9a-f]{16}", lines[3])


@given(IDENTITIES, st.data())
def test_a_damaged_identity_is_never_another(identity: Identity, data: st.DataObject) -> None:
    """A changed or missing byte makes no other id and no other name."""
    raw = bytearray(encode_identity(identity))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(raw), encode_identity(identity)[:position]):
        with pytest.raises(StateDamaged):
            decode_identity(broken, "x")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_as_identity(data: bytes) -> None:
    """Bytes from anywhere are no identity, and the message says what to do."""
    with pytest.raises(StateDamaged, match=r"^x is damaged: [^\n]+--allow identity"):
        decode_identity(data, "x")


def test_a_newer_identity_is_refused() -> None:
    """A newer version is not guessed at."""
    with pytest.raises(StateTooNew, match="update symsync"):
        decode_identity(encode_identity(LAPTOP).replace(b"identity 1", b"identity 2"), "x")
