"""`symsync demo`: the bundled hub and three laptops in a temporary directory, with the commands a user would type.

Everything goes through the real command line and over real FTP connections to this computer itself.
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from shutil import rmtree
from time import monotonic

from symsync_hub import running
from symsync_protocol.errors import SymsyncError
from symsync_protocol.names import RESERVED_PREFIXES

CommandLine = Callable[[Sequence[str]], int]
"""`symsync.cli.main`: takes the arguments, returns the exit status."""

HUB = "hub"
LAPTOPS = ("paris", "oslo", "tehran")
IN_STEP, CONFLICT_OPEN = 0, 1
"""Exit statuses of the runs below."""

LIST = "shopping.txt"
FILES = {
    LIST: b"bread\n",
    "letters/to ada.txt": b"Dear Ada,\nsoon we shall have no need of stamps.\n",
    "photos/beach.jpg": bytes(range(256)) * 2048,
}


class DemoError(SymsyncError):
    """Something did not come out as promised."""


def run(symsync: CommandLine, *, keep: bool) -> int:
    """Play the demonstration and return 0; `keep` leaves its directories. Raises DemoError where anything is wrong."""
    started = monotonic()
    root = Path(tempfile.mkdtemp(prefix="symsync-demo-"))
    try:
        (root / HUB).mkdir()
        with running(root / HUB) as hub, chdir(root), _environment("SYMSYNC_PASSWORD", hub.password):
            _say(f"A hub for three laptops: {hub.host}:{hub.port}, an FTP server that ends with this demonstration.")
            _Demo(root, symsync).play(f"ftp://{hub.login}@{hub.host}:{hub.port}/")
    finally:
        if keep:
            _say(f"Kept: {root}")
        else:
            rmtree(root)
    _say(f"All of it was true, and took {monotonic() - started:.1f} s.")
    return 0


class _Demo:
    def __init__(self, root: Path, symsync: CommandLine) -> None:
        self._root = root
        self._symsync = symsync

    def play(self, url: str) -> None:
        paris, oslo, tehran = LAPTOPS

        _say("Paris has some files.")
        for name, content in FILES.items():
            self._write(paris, name, content)
        self._type(["init", paris, url, "--node", paris, "--peer", HUB])
        self._type([paris])

        _say("Oslo and Tehran join, each with one command and one run.")
        for laptop in (oslo, tehran):
            self._type(["init", laptop, url, "--node", laptop])
            self._type([laptop])
        self._compare()

        _say("Paris and Oslo both change the same file before they hear of each other.")
        self._write(paris, LIST, b"bread, wine\n", shown=True)
        self._write(oslo, LIST, b"bread, salmon\n", shown=True)
        self._type([paris])
        self._type([oslo], CONFLICT_OPEN)
        _say("Nothing is lost: each side keeps its own and has the other's beside it.")
        copy_here, copy_there = f"{LIST}.{HUB}", f"{LIST}.{oslo}"
        self._show(oslo, LIST, b"bread, salmon\n")
        self._show(oslo, copy_here, b"bread, wine\n")
        self._show(HUB, LIST, b"bread, wine\n")
        self._show(HUB, copy_there, b"bread, salmon\n")

        _say("Oslo decides for its own version by removing the copy beside it.")
        print(f"$ rm {oslo}/{copy_here}")
        (self._root / oslo / copy_here).unlink()
        self._type([oslo])

        _say("Tehran renames a photo meanwhile; it is renamed everywhere, not sent again.")
        print(f"$ mv {tehran}/photos/beach.jpg {tehran}/photos/coast.jpg")
        (self._root / tehran / "photos/beach.jpg").rename(self._root / tehran / "photos/coast.jpg")
        for laptop in (tehran, paris, oslo):
            self._type([laptop])
        self._compare()
        self._show(HUB, LIST, b"bread, salmon\n")

    def _type(self, arguments: list[str], expected: int = IN_STEP) -> None:
        """Print the command as a user types it, and run it."""
        print(f"$ {shlex.join(['symsync', *arguments])}", flush=True)
        status = self._symsync(arguments)
        if status != expected:
            raise DemoError(f"`{shlex.join(['symsync', *arguments])}` ended with {status} instead of {expected}")

    def _write(self, place: str, name: str, content: bytes, *, shown: bool = False) -> None:
        file = self._root / place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if shown:
            print(f"$ echo {shlex.quote(content.decode().strip())} > {place}/{name}")

    def _show(self, place: str, name: str, expected: bytes) -> None:
        """Print a file, which must hold what is expected."""
        print(f"$ cat {place}/{name}")
        file = self._root / place / name
        content = file.read_bytes() if file.is_file() else b""
        if content != expected:
            raise DemoError(f"{place}/{name} does not hold {expected!r} but {content!r}")
        print(content.decode(), end="")

    def _compare(self) -> None:
        """All four directories must hold the same, byte for byte."""
        trees = {place: _tree(self._root / place) for place in (HUB, *LAPTOPS)}
        for laptop in LAPTOPS:
            if trees[laptop] != trees[HUB]:
                different = sorted(
                    name for name in trees[laptop] | trees[HUB] if trees[laptop].get(name) != trees[HUB].get(name)
                )
                raise DemoError(f"{laptop} and the hub differ in {', '.join(different)}")
        _say(f"The hub and all three laptops hold the same {len(trees[HUB])} files, byte for byte.")


def _tree(directory: Path) -> dict[str, bytes]:
    """Every file by its path, without what symsync keeps for itself."""
    files = (path for path in directory.rglob("*") if path.is_file())
    names = {file.relative_to(directory): file for file in files}
    return {
        str(name): file.read_bytes()
        for name, file in names.items()
        if not any(part.startswith(RESERVED_PREFIXES) for part in name.parts)
    }


def _say(text: str) -> None:
    print(f"\n# {text}", flush=True)


@contextmanager
def _environment(variable: str, value: str) -> Iterator[None]:
    """Set a variable for a while."""
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
