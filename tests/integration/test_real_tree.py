"""Real input: Python's own library, some ten thousand files, from one node through a server to another."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from integration.conftest import BY_FTP
from integration.odd_tree import described
from integration.scenarios import Fleet, Hub, command

NODES = ("paris", "oslo")
CONNECTIONS = 8
"""As configurations have it that say nothing."""


@pytest.mark.parametrize("make_hub", BY_FTP, indirect=True)
def test_a_library_arrives_as_it_is(hub: Hub, base: Path, library: Path) -> None:
    """Byte for byte, times and bits included; then no run has anything to do, and says so."""
    fleet = Fleet(replace(hub, location=replace(hub.location, connections=CONNECTIONS)), base)
    expected = described(library)
    files = sum(isinstance(content, bytes) for _, _, content in expected.values())
    assert files > 5_000
    fleet.join(*NODES)
    shutil.copytree(library, fleet["paris"].root, symlinks=True, dirs_exist_ok=True)
    for name in NODES:
        result = fleet.sync(name)
        assert (0, files) == (result.exit_status, result.files)
    assert [expected] * len(NODES) == [described(fleet[name].root) for name in NODES]
    for name in NODES:
        done = command("symsync", str(fleet[name].root))
        assert (0, "nothing to do: in step with hub\n", "") == (done.status, done.out, done.err)
