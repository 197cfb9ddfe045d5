"""Everything that `symsync.remotes.base` promises, as tests. A remote's own test module gives the fixture `hub`."""

from collections import Counter

from contract.bench import Bench, Hub, Sources, put
from contract.transfers import FetchContract, NameContract, StateFileContract, StoreContract
from contract.tree import (
    AttributeContract,
    DirectoryContract,
    LinkContract,
    ListingContract,
    RemovalContract,
    RenameContract,
    StatContract,
    TogetherContract,
)


class ConnectionContract(Bench):
    def test_closing_twice(self, hub: Hub, sources: Sources) -> None:
        """Closing again does nothing, and what was done before stays done."""
        with hub.connect() as remote:
            put(remote, sources, "f")
            remote.close()
        remote.close()
        with hub.connect() as remote:
            assert b"content" == remote.read("f")

    def test_no_jobs(self, hub: Hub) -> None:
        """Nothing asked, nothing answered."""
        with hub.connect() as remote:
            assert [[]] * 8 == [
                list(remote.fetch([])),
                list(remote.store([])),
                remote.rename([]),
                remote.make_directories([]),
                remote.make_links([]),
                remote.remove_files([]),
                remote.remove_directories([]),
                remote.set_attributes([]),
            ]


class RemoteContract(
    ListingContract,
    StatContract,
    TogetherContract,
    DirectoryContract,
    RenameContract,
    RemovalContract,
    LinkContract,
    AttributeContract,
    StoreContract,
    FetchContract,
    NameContract,
    StateFileContract,
    ConnectionContract,
):
    """The whole contract: derive a `Test...` class from it and give it the fixture `hub`."""

    def test_no_test_hides_another(self) -> None:
        """The parts become one class, where a test of the same name would silently replace another."""
        names = Counter(name for part in RemoteContract.__bases__ for name in vars(part) if name.startswith("test_"))
        assert [] == [name for name, times in names.items() if times > 1]
