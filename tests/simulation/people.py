"""What people do past symsync, in a node's directory or on the hub: each act is entered in the ledger."""

from collections.abc import Callable

from simulation.ledger import Ledger, content_of, ignore_file, target_of
from simulation.places import Place, visible
from symsync_protocol.names import IGNORE_FILE, ancestors
from symsync_protocol.stamps import SECOND, Kind

ARCHIVED_NS = 1_500_000_000 * SECOND
"""The time that all files from archives bear: reproducible builds and packages give every version the same."""


class Person:
    """Somebody who works in one place. What makes no sense there is not done."""

    def __init__(self, place: Place, ledger: Ledger) -> None:
        self._place = place
        self._ledger = ledger

    def do(self, verb: str, args: tuple[str, ...]) -> None:
        """One of the edits that `history` names."""
        acts: dict[str, Callable[..., None]] = {
            "write": self.write,
            "same": self._same,
            "unpack": self._unpack,
            "delete": self.delete,
            "rename": self.rename,
            "mkdir": self._make_directory,
            "rmdir": self._remove_directory,
            "rmtree": self._remove_tree,
            "touch": self._touch,
            "chmod": self._chmod,
            "link": self._link,
            "ignore": self._ignore,
        }
        acts[verb](*args)

    def write(self, path: str, number: str, *, mtime_ns: int | None = None) -> None:
        """Write version `number`; directories are made where they are missing."""
        content = content_of(int(number))
        if self._kind(path) not in (None, Kind.FILE, Kind.LINK) or not self._make_parents(path):
            return
        self._put(path, content, anew=int(number) % 2 == 1, mtime_ns=mtime_ns)

    def _put(self, path: str, content: bytes, *, anew: bool, mtime_ns: int | None = None) -> None:
        before = self._content(path)
        if self._kind(path) is Kind.LINK:
            self._place.remove(path)  # or it would be written to where the link points
        self._cover(path)
        self._place.write(path, content, anew=anew, mtime_ns=mtime_ns)
        self._ledger.written(path, content, before)

    def _cover(self, path: str) -> None:
        """Something is about to lie where a link lies that people on this hub can't see."""
        if self._kind(path) is None and path in (tree := self._place.tree()):
            self._ledger.removed(path, tree[path].content)

    def _uncover(self) -> None:
        """A link that people on this hub can't see lies there again, where nobody has seen meanwhile that it was
        covered, or had gone with its directory."""
        shown = self._place.shown()
        for path, item in self._place.tree().items():
            if path not in shown:
                self._ledger.deleted.discard((path, item.content))

    def _end_hidden(self, directory: str) -> None:
        """With its directory go the links in it that people on this hub can't see."""
        shown = self._place.shown()
        for path, item in self._place.tree().items():
            if path.startswith(directory + "/") and path not in shown:
                self._ledger.removed(path, item.content)

    def _make_directory_at(self, path: str) -> None:
        self._cover(path)
        self._place.make_directory(path)
        self._uncover()

    def _ignore(self, pattern: str, number: str) -> None:
        content = ignore_file(int(number), pattern)
        self._ledger.ignores.add(content.decode())
        self._put(IGNORE_FILE, content, anew=False)

    def _same(self, path: str, number: str) -> None:
        if content_of(int(number)) in self._ledger.numbers:
            self.write(path, number)

    def _link(self, path: str, number: str) -> None:
        if self._kind(path) not in (None, Kind.FILE, Kind.LINK) or not self._place.makes_links:
            return
        if not self._make_parents(path):
            return
        before = self._content(path)
        if before is not None:
            self._place.remove(path)
        self._cover(path)
        target = target_of(int(number))
        self._place.link(path, target)
        self._ledger.written(path, target.encode(), before)

    def _unpack(self, path: str, number: str) -> None:
        self.write(path, number, mtime_ns=ARCHIVED_NS)

    def delete(self, path: str) -> None:
        """Delete a file."""
        content = self._content(path)
        if content is not None:
            self._place.remove(path)
            self._ledger.removed(path, content)
            self._uncover()

    def rename(self, old: str, new: str) -> None:
        """Rename a file, also over another one, or a directory with all that is in it."""
        below = {path for path in self._tree() if path.startswith(old + "/")}
        over = self._content(new)
        kinds = self._kind(old), self._kind(new)
        possible = kinds[0] is not None and kinds[1] in (None, Kind.FILE, Kind.LINK) and old != new
        if not possible or (kinds[0] is Kind.DIRECTORY and kinds[1] is not None) or new.startswith(old + "/"):
            return
        if not self._make_parents(new):
            return
        moved = {path: self._content(path) for path in (old, *below)}
        self._cover(new)
        self._end_hidden(old)
        self._place.rename(old, new)
        self._uncover()
        self._uncover()
        for path, content in moved.items():
            if content is not None:
                self._ledger.moved(new + path[len(old) :], content, over)

    def _make_directory(self, path: str) -> None:
        if self._kind(path) is None and self._make_parents(path):
            self._make_directory_at(path)

    def _remove_directory(self, path: str) -> None:
        tree = self._place.shown()
        if self._kind(path) is Kind.DIRECTORY and not any(below.startswith(path + "/") for below in tree):
            self._end_hidden(path)
            self._place.remove(path)
            self._uncover()

    def _remove_tree(self, path: str) -> None:
        below = [other for other in self._tree() if other == path or other.startswith(path + "/")]
        for other in reversed(below):
            if self._kind(other) is Kind.DIRECTORY:
                self._remove_directory(other)
            else:
                self.delete(other)

    def _touch(self, path: str) -> None:
        content = self._content(path)
        if content is not None and self._kind(path) is Kind.FILE:
            self._place.touch(path)
            self._ledger.touched(path, content)

    def _chmod(self, path: str, mode: str) -> None:
        if self._kind(path) is Kind.FILE:
            self._place.chmod(path, int(mode, 8))

    def _make_parents(self, path: str) -> bool:
        for up in ancestors(path):
            if self._kind(up) is None:
                self._make_directory_at(up)
            elif self._kind(up) is not Kind.DIRECTORY:
                return False
        return True

    def _tree(self) -> list[str]:
        return list(visible(self._place.shown()))

    def _kind(self, path: str) -> Kind | None:
        item = self._place.item(path)
        return item.kind if item else None

    def _content(self, path: str) -> bytes | None:
        item = self._place.item(path)
        return item.content if item and item.kind is not Kind.DIRECTORY else None
