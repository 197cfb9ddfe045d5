"""A run as one JSON document (`--json`). The schema is in docs/commands.md; a field is only ever added to it."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from symsync.core.steps import Decision
from symsync.core.values import Problem
from symsync.events import Result
from symsync.report.words import SIDES, left_behind, line, moved, removed_on
from symsync_protocol.errors import Stopped, SymsyncError

SCHEMA = 1
"""Rises when a field changes its meaning or goes."""


def of_result(result: Result, notes: Sequence[str]) -> str:
    """The document of a run that came to its end."""
    failed = {outcome.decision.path for outcome in result.outcomes if not outcome.whole}
    return written(
        {
            "schema": SCHEMA,
            "node": result.node,
            "hub": result.hub,
            "generation": result.generation,
            "listed": result.listed,
            "exit_status": result.exit_status,
            "stopped": _error(result.stopped) if result.stopped is not None else None,
            "files": result.files,
            "bytes": result.size,
            "seconds": round(result.seconds, 3),
            "changes": [
                _change(decision, done=not result.listed and decision.path not in failed)
                for decision in result.decisions
                if decision.touches
            ],
            "conflicts": [
                {
                    **exact("path", path),
                    **exact("copy_here", conflict.copy_here.path if conflict.copy_here else None),
                    **exact("copy_hub", conflict.copy_there.path if conflict.copy_there else None),
                }
                for path, conflict in result.conflicts
            ],
            "problems": problem_list(left_behind(result)),
            "notes": list(notes),
        }
    )


def of_error(error: SymsyncError) -> str:
    """The document of a run that could not come to its end."""
    return written({"schema": SCHEMA, "exit_status": error.exit_status, "error": _error(error)})


def _error(error: SymsyncError) -> dict[str, Any]:
    return {**exact("message", str(error)), "allow": error.allow if isinstance(error, Stopped) else None}


def _change(decision: Decision, done: bool) -> dict[str, Any]:
    move = moved(decision)
    return {
        **exact("path", decision.path),
        "action": line(decision).partition(" ")[0],
        "side": removed_on(decision) or None,
        **exact("from", move.source.path if move else None),
        **exact("reason", decision.reason),
        "done": done,
    }


def problem_list(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """What went wrong with single paths."""
    return [
        {
            **exact("path", problem.path),
            "reason": problem.reason.value,
            **exact("detail", problem.detail),
            "side": SIDES[problem.side] if problem.side is not None else None,
        }
        for problem in problems
    ]


def exact(key: str, path: str | None) -> dict[str, str | None]:
    """A path under `key`. Bytes that are not UTF-8 show as U+FFFD there, and `key_base64` has all bytes exactly."""
    if path is None:
        return {key: None}
    raw = path.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "replace")
    if text == path:
        return {key: text}
    return {key: text, f"{key}_base64": base64.b64encode(raw).decode("ascii")}


def written(document: dict[str, Any]) -> str:
    """The document's text."""
    return json.dumps(document, ensure_ascii=False, indent=2)
