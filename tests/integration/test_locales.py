"""Names are their bytes, and UTF-8 on the wire, whatever the locale of who starts a program."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integration.conftest import BUNDLED, BUNDLED_SFTP
from integration.scenarios import Fleet, Tree, begin

NAME = "Äußere Größe"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python takes it for UTF-8 unless it is told otherwise."""


@pytest.fixture(params=["ascii", "latin-1"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A locale in which Python does not read names as UTF-8."""
    if request.param == "ascii":
        return ASCII
    made = tmp_path / "de_DE.ISO-8859-1"
    localedef = shutil.which("localedef")
    if localedef is None or not Path("/usr/share/i18n/locales/de_DE").exists():
        pytest.skip("there is no localedef, or nothing to make a locale of")
    subprocess.run([localedef, "-i", "de_DE", "-f", "ISO-8859-1", made], check=True)
    return {"LC_ALL": made.name, "LOCPATH": str(tmp_path)}


@pytest.mark.parametrize("make_hub", ["directory", BUNDLED, BUNDLED_SFTP], indirect=True)
def test_a_run_renames_nothing(fleet: Fleet, environment: dict[str, str]) -> None:
    """Neither on the hub nor on another node, and what comes from there bears its name here."""
    fleet.join("paris", "oslo")
    tree: Tree = {NAME: b"first", os.fsdecode(b"no UTF-8: \xe4"): b"second"}
    fleet["paris"].fill(tree)
    fleet.sync_all()
    fleet["oslo"].write(f"{NAME}.2", b"third")
    fleet.sync("oslo")
    with begin("symsync", str(fleet["paris"].root), **environment) as process:
        assert 0 == process.wait(), process.stdout and process.stdout.read()
    fleet.sync("oslo")
    assert fleet.all_hold({**tree, f"{NAME}.2": b"third"}) == fleet.trees()


@pytest.mark.parametrize("make_hub", ["directory"], indirect=True)
def test_the_terminal_keeps_its_encoding(fleet: Fleet, environment: dict[str, str]) -> None:
    """What it can't show is written escaped."""
    fleet.join("paris")
    fleet["paris"].fill({NAME: b"first", "日本": b"second"})
    done = subprocess.run(
        [sys.executable, "-c", "from symsync.cli import main; main()", "status", str(fleet["paris"].root)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        check=True,
    )
    if environment is ASCII:
        assert rb"\xc4u\xdfere Gr\xf6\xdfe" in done.stdout
    else:
        assert NAME.encode("latin-1") in done.stdout
    assert rb"\u65e5\u672c" in done.stdout


def test_the_hub(environment: dict[str, str]) -> None:
    """It runs in UTF-8 mode, too."""
    code = (
        "import sys, symsync_hub.cli as cli\n"
        "def parser(): sys.exit(sys.flags.utf8_mode)\n"
        "cli._parser = parser\n"
        "cli.main()"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=variables, check=False)
    assert 1 == done.returncode
