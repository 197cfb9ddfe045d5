"""A reference model of what symsync is for, small enough to be believed, in the spirit of "Mysteries of Dropbox"
(Hughes, Pierce, Arts and Norell, 2016), adapted to conflicts that stay open until somebody decides them.

It knows what people write, delete and decide at each place, when a node loses its disk, and when it synchronises with
the hub. A *value* is a content, or None where there is nothing. Of each path it keeps the value that people see at each
place, and for each node the value on which it last agreed with the hub, or an open conflict.

A run brings each path to what both agree on: whoever did not change it takes over the other's value, an edit beats a
deletion, equal values are no conflict, and different ones are: then both sides keep theirs, until somebody decides.

It has no stamps, names of copies, states, locks, crashes or directories, and shares no code with the engine. What it
says, the engine must do exactly, as long as nothing goes wrong.
"""

from dataclasses import dataclass, field

HUB = "hub"
"""The place that all nodes synchronise with."""

Value = bytes | None


@dataclass
class Open:
    """A conflict as the last run of its node left it: both values, each with the other's copy beside it."""

    here: Value
    there: Value
    dropped_here: bool = False
    """Whether the copy on the node was removed since: decided for the node's value."""
    dropped_there: bool = False


@dataclass
class Model:
    """What people see, as far as it depends on people and runs alone."""

    seen: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """The value at each (place, path) that has one."""
    agreed: dict[tuple[str, str], Value] = field(default_factory=dict)
    """The value on which a node and the hub last agreed, by (node, path)."""
    open: dict[tuple[str, str], Open] = field(default_factory=dict)
    """The conflicts of each (node, path)."""

    def put(self, place: str, path: str, value: Value) -> None:
        """A value comes to a place, or goes from it."""
        if value is None:
            self.seen.pop((place, path), None)
        else:
            self.seen[place, path] = value

    def rename(self, place: str, old: str, new: str) -> None:
        """Somebody renames a file, over another one if there is one."""
        if (place, old) in self.seen:
            self.put(place, new, self.seen.pop((place, old)))

    def conflicts(self, node: str) -> list[str]:
        """The paths that are in conflict at a node."""
        return sorted(path for one, path in self.open if one == node)

    def drop(self, node: str, path: str, *, there: bool) -> None:
        """Somebody removes the copy beside one side's value, and so decides for that value."""
        conflict = self.open[node, path]
        if there:
            conflict.dropped_there = True
        else:
            conflict.dropped_here = True

    def take(self, node: str, path: str, *, there: bool) -> None:
        """Somebody renames the copy over the value beside it."""
        conflict = self.open[node, path]
        if not (conflict.dropped_there if there else conflict.dropped_here):
            self.put(HUB if there else node, path, conflict.here if there else conflict.there)
            self.drop(node, path, there=there)

    def lose(self, node: str) -> None:
        """A node's disk is lost. Its values in open conflicts lie beside the hub's, and come back from there, unless
        somebody has removed them; what had been decided on the node is forgotten."""
        self.seen = {at: value for at, value in self.seen.items() if at[0] != node}
        self.agreed = {at: value for at, value in self.agreed.items() if at[0] != node}
        for path in self.conflicts(node):
            conflict = self.open[node, path]
            if conflict.dropped_there:
                del self.open[node, path]
            else:
                conflict.dropped_here = False
                self.put(node, path, conflict.here)

    def sync(self, node: str) -> None:
        """A node synchronises with the hub."""
        for path in sorted({path for _, path in (*self.seen, *self.agreed, *self.open)}):
            mine, theirs = self.seen.get((node, path)), self.seen.get((HUB, path))
            conflict = self.open.pop((node, path), None)
            value = _common(mine, theirs, self.agreed.get((node, path))) if conflict is None else None
            if conflict is not None:
                value = _decided(mine, theirs, conflict)
            if value is _NONE_YET:
                self.open[node, path] = Open(mine, theirs)
                self.agreed.pop((node, path), None)
                continue
            for place in (node, HUB):
                self.put(place, path, value)
            self.agreed[node, path] = value


_NONE_YET = b"both keep theirs"


def _common(mine: Value, theirs: Value, before: Value) -> Value:
    """What both sides hold from now on."""
    if mine == theirs or theirs == before:
        return mine
    if mine == before or mine is None:
        return theirs
    return mine if theirs is None else _NONE_YET


def _decided(mine: Value, theirs: Value, conflict: Open) -> Value:
    """The same, where they were in conflict: a decision counts against the value that it was made against."""
    if mine == theirs or theirs is None:
        return mine
    if mine is None:
        return theirs
    for_mine, for_theirs = conflict.dropped_here, conflict.dropped_there
    if for_mine and not for_theirs and theirs == conflict.there:
        return mine
    if for_theirs and not for_mine and mine == conflict.here:
        return theirs
    return _NONE_YET
