"""The contract's assertions tell as much as those in test modules."""

import pytest

pytest.register_assert_rewrite("contract.bench", "contract.tree", "contract.transfers", "contract.contract")
