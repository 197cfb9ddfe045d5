"""The rules on skips in tests/conftest.py, tried on a small project of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

SKIPPING = "import pytest\ndef test_it(): pytest.skip('no such thing here')\n"
SKIPPING_MODULE = "import pytest\npytest.importorskip('no_such_module')\n"
LONG = "import pytest\n@pytest.mark.long\ndef test_it(): pass\n"
SKIPPING_LONG = "import pytest\n@pytest.mark.long\ndef test_it(): pytest.skip('no such thing here')\n"
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_it(): raise ValueError\n"
NEEDS_DOCKER = "import pytest\n@pytest.mark.docker\ndef test_it(): pass\n"

PASSED, FAILED, INTERRUPTED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("test", "in_ci", "options", "expected"),
    [
        pytest.param(SKIPPING, False, [], PASSED, id="a-skip"),
        pytest.param(SKIPPING, True, [], FAILED, id="a-skip-in-ci"),
        pytest.param(SKIPPING_MODULE, True, [], INTERRUPTED, id="a-skipped-module-in-ci"),
        pytest.param(LONG, True, [], PASSED, id="long-in-ci"),
        pytest.param(LONG, True, ["--long"], PASSED, id="long-asked-for"),
        pytest.param(SKIPPING_LONG, True, ["--long"], FAILED, id="long-asked-for-that-skips"),
        pytest.param(EXPECTED_FAILURE, True, [], PASSED, id="expected-failure-in-ci"),
        pytest.param(NEEDS_DOCKER, False, [], PASSED, id="no-engine"),
        pytest.param(NEEDS_DOCKER, True, [], FAILED, id="no-engine-in-ci"),
    ],
)
def test_skips(tmp_path: Path, test: str, in_ci: bool, options: list[str], expected: pytest.ExitCode) -> None:
    """A skip is fine at home and a failure in CI, but for long tests that nobody asked for. No engine answers here."""
    shutil.copy(TESTS / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    long\n    docker\n")
    (tmp_path / "test_it.py").write_text(test)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)]),
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "CI": "true" if in_ci else "",
    }

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert expected == done.returncode, done.stdout
