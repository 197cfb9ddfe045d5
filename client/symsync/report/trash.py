"""The trash and what came back from it: lines for people, documents for programs. Pure: values in, text out."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from symsync.core.values import Side
from symsync.report.document import SCHEMA, exact, problem_list, written
from symsync.report.words import SIDES, plural, size
from symsync.settings import Trash
from symsync.trash import Contents, Restored, Version
from symsync_protocol.names import shown
from symsync_protocol.stamps import Kind

_KINDS = {Kind.FILE: "file", Kind.LINK: "link"}
_ON = {Side.HERE: "here", Side.THERE: "on the hub"}


def listed(contents: Contents, trash: Trash, sides: Sequence[Side]) -> Iterator[str]:
    """A line for each version, in columns, and what there is in all."""
    rows = [
        (
            version.run.token,
            _when(version),
            version.run.node,
            SIDES[version.side],
            size(version.found.stamp.size),
            _named(version),
        )
        for version in contents.versions
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *left, amount, path in rows:
        columns = [text.ljust(width) for text, width in zip(left, widths, strict=False)]
        yield "  ".join([*columns, amount.rjust(widths[-2]), path])
    seen = [side for side in sides if side is Side.HERE or contents.unreached is None]
    sums = " and ".join(f"{size(_bytes_of(contents, side))} {_ON[side]}" for side in seen)
    yield f"{plural(len(rows), 'version')}, {sums}; {_kept(trash)}"
    if rows:
        yield "to bring one back: symsync restore PATH (the newest), or symsync restore PATH --from VERSION"


def restored(result: Restored) -> Iterator[str]:
    """A line for each version that came back, and what became of what lay there."""
    for back in result.back:
        renamed = f" as {shown(back.path)}" if back.path != back.version.path else ""
        source = f"from {_where(back.version.side)}, {_when(back.version)} by {back.version.run.node}"
        yield f"restored {shown(back.version.path)}{renamed} ({source})"
    displaced = sum(back.displaced for back in result.back)
    if displaced:
        yield f"{plural(displaced, 'version')} that lay there went to the trash, as {result.version}"


def of_contents(contents: Contents, trash: Trash) -> str:
    """The document of `symsync trash --json`."""
    return written(
        {
            "schema": SCHEMA,
            "exit_status": contents.exit_status,
            "versions": [_version(version) for version in contents.versions],
            "bytes": {name: _bytes_of(contents, side) for side, name in SIDES.items()},
            "retention": {
                "keep": trash.keep,
                "days": trash.days,
                "percent": trash.percent if trash.size is None else None,
                "size": trash.size,
            },
            "problems": problem_list(contents.problems),
            "unreached": str(contents.unreached) if contents.unreached is not None else None,
        }
    )


def of_restored(result: Restored) -> str:
    """The document of `symsync restore --json`."""
    return written(
        {
            "schema": SCHEMA,
            "exit_status": result.exit_status,
            "restored": [
                {**_version(back.version), **exact("to", back.path), "displaced": back.displaced}
                for back in result.back
            ],
            "displaced_version": result.version if any(back.displaced for back in result.back) else None,
            "problems": problem_list(result.problems),
        }
    )


def _version(version: Version) -> dict[str, Any]:
    return {
        **exact("path", version.path),
        "version": version.run.token,
        "run": version.run.label,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(version.run.began)),
        "node": version.run.node,
        "side": SIDES[version.side],
        "kind": _KINDS[version.found.kind],
        "size": version.found.stamp.size,
        **exact("target", version.found.target),
    }


def _when(version: Version) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.run.began))


def _where(side: Side) -> str:
    return "here" if side is Side.HERE else "the hub"


def _named(version: Version) -> str:
    target = version.found.target
    return shown(version.path) if target is None else f"{shown(version.path)} -> {shown(target)}"


def _bytes_of(contents: Contents, side: Side) -> int:
    return sum(version.found.stamp.size for version in contents.versions if version.side is side)


def _kept(trash: Trash) -> str:
    """How long versions stay, as the configuration says."""
    if not trash.keep:
        return "nothing more is kept (`trash no`)"
    limit = size(trash.size) if trash.size is not None else f"{trash.percent:g} % of the directory's size"
    return f"kept for {plural(trash.days, 'day')}, up to {limit}"
