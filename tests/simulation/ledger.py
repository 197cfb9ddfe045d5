"""What people did: which versions they wrote, out of which, and which they themselves overwrote or deleted.

A *version* is a content; every one has a number, and the number stands in the content. The ledger knows nothing of
symsync: it is what the oracles hold against the world that symsync leaves behind.
"""

from dataclasses import dataclass, field

SIZES = 3
"""Contents have one of so many sizes, for two versions of one size are harder to tell apart."""


def content_of(number: int) -> bytes:
    """The content of version `number`."""
    return b"version %04d%s\n" % (number, b"." * (number % SIZES))


def target_of(number: int) -> str:
    """Where a symbolic link points that is version `number`: to nothing."""
    return f"target-{number:04}"


def ignore_file(number: int, pattern: str) -> bytes:
    """Version `number` of a `.sync.ignore`, with one pattern."""
    return b"# version %04d\n%s\n" % (number, pattern.encode())


@dataclass
class Ledger:
    """The whole truth about a history, as far as people made it."""

    numbers: dict[bytes, int] = field(default_factory=dict)
    """Every content that anybody wrote."""
    dead: set[bytes] = field(default_factory=set)
    """What somebody overwrote or deleted somewhere, or what a disaster took. For good: whoever writes it again has had
    it from somewhere."""
    deleted: set[tuple[str, bytes]] = field(default_factory=set)
    """What somebody deleted, and nobody wrote there again."""
    made: set[str] = field(default_factory=set)
    """Every path where somebody wrote, or to which he moved something."""
    ignores: set[str] = field(default_factory=set)
    """Every `.sync.ignore` that anybody wrote: what is left out for a while is met anew when it comes back."""
    reused: set[bytes] = field(default_factory=set)
    """Contents that came to a second place by hand: what is older and what newer can't be told any more."""
    parents: dict[bytes, set[bytes]] = field(default_factory=dict)
    unsure: dict[str, set[str]] = field(default_factory=dict)
    """By node, the paths whose transfer was begun by a run that was ended before it could note what it came to. Who
    edits such a path before the node's next run can't be told from who never saw what was brought: the edit may be a
    conflict with what it was made from, and what is deleted may come back."""
    unseen: set[str] = field(default_factory=set)
    """Copies that stayed on a hub which hides them when a one-way run forgot their conflicts: nobody knows of them."""
    overridden: bool = False
    """Whether somebody ran in a one-way mode, which overwrites and deletes for him."""
    copied: bool = False
    """Whether a run in a mode that settles conflicts left copies on its source, where it may not write: as files."""
    disaster: bool = False
    """Whether a disk was lost or a backup came back: then some things are allowed that else are not."""

    def written(self, path: str, content: bytes, before: bytes | None) -> None:
        """Somebody wrote `content` where `before` was."""
        self.made.add(path)
        if content == before:
            return
        again = content in self.numbers
        if again:
            self.reused.add(content)
        if self._is_unsure(path):
            self.reused |= {content} if before is None else {content, before}
        self.numbers.setdefault(content, len(self.numbers))
        self.deleted.discard((path, content))
        if before is not None:
            self.dead.add(before)
            if not again:
                self.parents.setdefault(content, set()).add(before)

    def removed(self, path: str, content: bytes) -> None:
        """Somebody deleted `content`."""
        self.dead.add(content)
        if not self._is_unsure(path):
            self.deleted.add((path, content))

    def touched(self, path: str, content: bytes) -> None:
        """Somebody gave a new time to `content`."""
        if self._is_unsure(path):
            self.deleted.discard((path, content))

    def _is_unsure(self, path: str) -> bool:
        return any(path in paths for paths in self.unsure.values())

    def moved(self, path: str, content: bytes, over: bytes | None) -> None:
        """Somebody renamed a file to `path`, over another one's content or none."""
        self.made.add(path)
        self.reused.add(content)
        self.deleted.discard((path, content))
        if over is not None and over != content:
            self.dead.add(over)
            self.parents.setdefault(content, set()).add(over)

    def is_ancestor(self, old: bytes, new: bytes) -> bool:
        """Whether somebody made `new` out of `old`, in one edit or many, none of them of a content that came from
        somewhere else, too."""
        pending, seen = [new], set[bytes]()
        while pending:
            for parent in self.parents.get(pending.pop(), ()):
                if parent == old:
                    return True
                if parent not in seen and parent not in self.reused:
                    seen.add(parent)
                    pending.append(parent)
        return False
