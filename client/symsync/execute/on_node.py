"""The node's part of an execution."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from symsync.core.steps import Adjust, Done, MakeDirectory, Move, Remove, RemoveDirectory, Transfer
from symsync.core.values import Found, Problem, Reason, Side
from symsync.execute.work import Work, Workload
from symsync.folder import Folder, is_same
from symsync_protocol.names import ancestors
from symsync_protocol.stamps import Kind
from symsync_protocol.state import link_digest


class OnNode:
    """The node's part."""

    def __init__(self, load: Workload, folder: Folder, noted: Callable[[], Collection[str]]) -> None:
        """`noted`: the links that other nodes, whose hub this directory is, have noted here since the plan was made."""
        self._load = load
        self._folder = folder
        self._noted = noted
        self._umask = _umask()

    def apply(self) -> None:
        self._give_way()
        self._each(Remove, lambda _, s: self._remove(s), early=True)
        self._each(RemoveDirectory, lambda _, s: self._folder.remove_directory(s.path), early=True, backwards=True)
        made = self._each(MakeDirectory, lambda _, s: self._folder.make_directory(s.path, s.meta.mode))
        self._each(Move, lambda _, s: self._folder.move(s.source, s.path))
        self._each(Transfer, self._place)
        self._each(Adjust, lambda _, s: self._folder.adjust(s.found, s.meta))
        self._each(Remove, lambda _, s: self._remove(s), early=False)
        self._each(RemoveDirectory, lambda _, s: self._folder.remove_directory(s.path), early=False, backwards=True)
        self._folder.settle_directories((s.path, s.meta.mode) for s in made if s.meta.mode is not None)

    def _give_way(self) -> None:
        """A link that is only noted keeps no name from being taken."""
        noted = self._noted()
        for work, step in self._load.steps(Side.HERE, Transfer, MakeDirectory, Move) if noted else ():
            if any(path in noted for path in (step.path, *ancestors(step.path))):
                problem = Problem(step.path, Reason.CHANGED, "another node has just put a link there")
                self._load.fail(work, step, problem, Side.HERE)

    def _each(
        self,
        kind: type,
        act: Callable[[Work, Any], Found | Problem | None],
        *,
        early: bool | None = None,
        backwards: bool = False,
    ) -> list[Any]:
        steps = self._load.steps(Side.HERE, kind)
        if early is not None:
            steps = [(work, step) for work, step in steps if getattr(step, "early", None) is early]
        acted: list[Any] = []
        for work, step in reversed(steps) if backwards else steps:
            if isinstance(step, Transfer) and step.source.kind is Kind.FILE and self._load.arrived(step) is None:
                continue
            result = act(work, step)
            if isinstance(result, Problem):
                self._load.fail(work, step, result, Side.HERE)
                continue
            acted.append(step)
            if not isinstance(step, Transfer):
                work.done.append(Done(step, result))
            else:
                arrived = self._load.arrived(step)
                digest = arrived.digest if arrived else link_digest(step.source.target or "")
                work.done.append(Done(step, result, step.source, digest))
        return acted

    def _remove(self, step: Remove) -> Problem | None:
        return self._folder.remove(step.path, step.found)

    def _place(self, work: Work, step: Transfer) -> Found | Problem | None:
        if step.source.kind is Kind.LINK:
            return self._folder.link(step.path, step.source.target or "", step.replaces)
        arrived = self._load.arrived(step)
        if arrived is None:
            return Problem(step.path, Reason.OTHER, "did not arrive")
        here = work.decision.pair.here
        if step.replaces is not None and step.path == work.decision.path and here.digest == arrived.digest:
            # The same content after all (only its time had moved on the hub): what lies there stays.
            if arrived.local is not None:
                arrived.local.unlink(missing_ok=True)
            now = self._folder.look(step.path)
            return now if is_same(step.replaces.stamp, now) else Problem(step.path, Reason.CHANGED, "changed meanwhile")
        default = (0o666 | _executable(step.source.mode)) & ~self._umask
        return self._folder.place(step.path, arrived.local or Path(), step.replaces, step.meta, default)


def _executable(mode: int | None) -> int:
    return 0 if mode is None else mode & 0o111


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
