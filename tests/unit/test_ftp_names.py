"""Which names are odd, and what is done about them."""

import pytest

from symsync.core.values import Reason
from symsync.remotes.ftp.names import sorts_of, unsendable


@pytest.mark.parametrize("path", ["f", "a/b.txt", ".hidden/x-y z.tar.gz", "a_b/c d/e-f"])
def test_plain_names(path: str) -> None:
    """What any server keeps is not tried out."""
    assert set() == sorts_of(path)


@pytest.mark.parametrize(
    ("path", "sorts"),
    [
        ("a/ b", {" blank"}),
        ("a /b", {"blank "}),
        ("a./b", {"dot."}),
        ("-rf", {"-dash"}),
        ("a\\b", {"back\\slash"}),
        ("سلام", {"letter\u00e9\u0645\u4e2d"}),
        ("e\u0301", {"apart e\u0301", "letter\u00e9\u0645\u4e2d"}),
        ("\udce9", {"bytes\udcfa\udcfe"}),
        ("a\udcff", {"byte\udcff"}),
        ("a\udcff\udcfe", {"bytes\udcfa\udcfe", "byte\udcff", "telnet\udcff\udcfex"}),
        ("a:b?", {"colon:", "question?"}),
        ("del\x7f", {"delete\x7f"}),
        ("a(b)+c=d", set()),
    ],
)
def test_odd_names(path: str, sorts: set[str]) -> None:
    """Each odd sort is tried with an example of its own, wherever in the path it occurs."""
    assert sorts == sorts_of(path)
    assert [True] * len(sorts) == [example in sorts_of(example) for example in sorts]


@pytest.mark.parametrize("path", ["a\nb", "a\r", "\0"])
def test_unsendable_names(path: str) -> None:
    """A line end or a NUL would be another command."""
    problem = unsendable(path)
    assert problem is not None
    assert (path, Reason.NAME) == (problem.path, problem.reason)
