"""The journal of a run, as the side that ran finds it again, and as the other side does."""

from pathlib import Path

import msgpack
import pytest

from core_values import OPEN, entry
from symsync.core.generations import Journal
from symsync.remotes.directory import DirectoryRemote
from symsync.statestore import HubStore, NodeStore
from symsync_protocol.names import STATE_DIR
from symsync_protocol.state import Generation, Identity, Intent, PairState
from symsync_protocol.statefile import encode_file

STATE = PairState(Identity("server", b"s" * 16), Identity("pc", b"p" * 16), Generation(2, b"g" * 16))
JOURNAL = Journal(STATE.generation.id, {"p": entry("put", 1, 2)}, {"g": entry("got", 3, 4)}, {"f": OPEN}, number=2)


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    (tmp_path / STATE_DIR).mkdir()
    return tmp_path


def hub(root: Path) -> HubStore:
    return HubStore(DirectoryRemote(root, workers=1))


def test_both_sides_find_it(root: Path) -> None:
    """Whose run it was reads it as it was written, the other side with the sides exchanged; then it is gone."""
    NodeStore(root).begin("pc", STATE, JOURNAL)
    assert JOURNAL == NodeStore(root).journal("pc")
    assert (frozenset({"pc"}), JOURNAL.swapped()) == (hub(root).folder().journals, hub(root).journal("pc"))
    NodeStore(root).end("pc")
    assert (frozenset(), None) == (hub(root).folder().journals, hub(root).journal("pc"))


UNAGREED = encode_file(None, rewrites=0, intent=Intent(STATE.generation))
NO_JOURNALS = {
    "empty": b"",
    "a text": b"text",
    "a map": msgpack.packb({"a": 1}),
    "of numbers": msgpack.packb([1, 2, 3]),
    "of no files": msgpack.packb([b"", b"", True]),
    "of files without a state": msgpack.packb([UNAGREED, UNAGREED, True]),
    "longer than it is": b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("data", NO_JOURNALS.values(), ids=NO_JOURNALS)
def test_what_is_none_does_not_count(root: Path, data: bytes) -> None:
    """Whoever can write on the hub can write a journal there."""
    (root / STATE_DIR / "_journal.pc").write_bytes(data)
    assert None is hub(root).journal("pc")
    assert None is NodeStore(root).journal("pc")
