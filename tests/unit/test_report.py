"""What a run shows: the words for each decision, the summary, the JSON document, colours and lost readers."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from symsync.core.modes import Action, Status
from symsync.core.steps import (
    Adjust,
    Decision,
    Done,
    Failed,
    MakeDirectory,
    Move,
    Outcome,
    Pair,
    Remove,
    RemoveDirectory,
    Sight,
    Step,
    Then,
    Transfer,
)
from symsync.core.values import Found, Problem, Reason, Side
from symsync.events import Phase, Result
from symsync.execute.work import Work, Workload
from symsync.local_files import problem_of_transfer
from symsync.report import Detail, Document, Lines, Screen, of_error
from symsync.report.document import problem_list
from symsync.report.words import DECIDE, DECIDE_DIRECTORY, conflict_line, duration, line, size, summary
from symsync_protocol.errors import HubUnreachable, Stopped
from symsync_protocol.stamps import Kind, Stamp
from symsync_protocol.state import Conflict, Copy, Meta, Version

FILE = Version(Stamp(Kind.FILE, 5))
DIRECTORY = Version(Stamp(Kind.DIRECTORY))


def found(path: str, kind: Kind = Kind.FILE) -> Found:
    return Found(path, Stamp(kind, 5))


def decision(
    path: str,
    action: Action,
    *steps: Step,
    then: Then = Then.AGREE,
    kind: Kind = Kind.FILE,
    reason: str = "",
    conflict: Conflict | None = None,
    was: Conflict | None = None,
    after: str | None = None,
) -> Decision:
    sight = Sight(Status.CHANGED, found(path, kind))
    pair = Pair(path, sight, sight, conflict=was)
    return Decision(path, action, pair, then, steps, conflict, reason=reason, after=after)


def get(path: str) -> Decision:
    return decision(path, Action.GET, Transfer(Side.HERE, path, found(path)))


def put(path: str) -> Decision:
    return decision(path, Action.PUT, Transfer(Side.THERE, path, found(path)))


OPEN = Conflict(FILE, FILE, Copy("f.hub", b""), Copy("f.pc", b""))
NEW_CONFLICT = decision(
    "f",
    Action.DUPLICATE,
    Transfer(Side.HERE, "f.hub", found("f")),
    Transfer(Side.THERE, "f.pc", found("f")),
    then=Then.CONFLICT,
    conflict=OPEN,
)
MOVED = (
    decision("old", Action.REMOVE, then=Then.FORGET, reason="moved to new", after="new"),
    decision("new", Action.PUT, Move(Side.THERE, "new", found("old")), reason="moved from old"),
)
SAME = decision("same", Action.NOTHING)


def result(
    *decisions: Decision,
    failed: tuple[Outcome, ...] = (),
    problems: tuple[Problem, ...] = (),
    conflicts: tuple[tuple[str, Conflict], ...] = (),
    listed: bool = False,
    bytes_sent: int = 0,
) -> Result:
    """What a run of these decisions came to, every step carried out but for those in `failed`."""
    outcomes = tuple(Outcome(d, tuple(Done(step) for step in d.steps)) for d in decisions if d.touches)
    return Result(
        "pc",
        "hub",
        (*decisions, *(outcome.decision for outcome in failed)),
        () if listed else (*outcomes, *failed),
        problems,
        conflicts,
        generation=7,
        size=bytes_sent,
        seconds=2.13,
        listed=listed,
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (get("a/b"), "get  a/b"),
        (put("a/b"), "put  a/b"),
        (decision("d", Action.PUT, MakeDirectory(Side.THERE, "d"), kind=Kind.DIRECTORY), "put  d/"),
        (decision("a", Action.REMOVE, Remove(Side.HERE, "a", found("a"))), "remove here a"),
        (decision("a", Action.REMOVE, Remove(Side.THERE, "a", found("a"))), "remove hub a"),
        (decision("d", Action.REMOVE, RemoveDirectory(Side.HERE, "d"), kind=Kind.DIRECTORY), "remove here d/"),
        (MOVED[1], "moved old -> new"),
        (NEW_CONFLICT, "conflict f (yours stays, theirs is f.hub)"),
        (SAME, "same same"),
        (decision("a", Action.IGNORE, then=Then.KEEP, reason="newer on the target"), "ignore a (newer on the target)"),
        (
            decision("a", Action.NOTHING, Adjust(Side.HERE, "a", found("a"), Meta(0o644)), reason="mode or time"),
            "touch a (mode or time)",
        ),
        (
            decision("f", Action.NOTHING, Remove(Side.HERE, "f.hub", found("f.hub")), reason="settled: both agree"),
            "settle f (settled: both agree)",
        ),
        (
            decision(
                "f",
                Action.GET,
                Move(Side.HERE, "f.pc", found("f")),
                Transfer(Side.HERE, "f", found("f")),
                reason="conflict: the other version is f.pc",
            ),
            "get  f (conflict: the other version is f.pc)",
        ),
        (get("a\nb\x1b[2J\udcff"), "get  a\\nb\\x1b[2J\\udcff"),
    ],
)
def test_each_decision_in_plain_words(shown: Decision, expected: str) -> None:
    """One line says what is done to which path, and no name can move the cursor."""
    assert line(shown) == expected


def test_a_conflict_with_a_directory_says_so() -> None:
    """A directory has no copy; the line does not promise one."""
    against_directory = Conflict(FILE, DIRECTORY, None, Copy("f.pc", b""))
    assert conflict_line("f", against_directory) == "conflict f (yours stays, theirs is a directory)"
    own_directory = Conflict(DIRECTORY, FILE, Copy("f.hub", b""), None)
    assert conflict_line("f", own_directory) == "conflict f (yours stays, theirs is f.hub)"
    without_copy = Conflict(FILE, FILE, None, None)
    assert conflict_line("f", without_copy) == "conflict f (yours stays, theirs stays on the hub)"


FAILED = Outcome(get("x"), failed=(Failed(get("x").steps[0], Problem("x", Reason.DENIED, "Permission denied")),))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (result(SAME), "nothing to do: in step with hub"),
        (result(), "nothing to do: in step with hub"),
        (
            result(get("a"), get("b"), get("c"), put("d"), bytes_sent=12_345_678),
            "3 received, 1 sent, 12.3 MB in 2.1 s; in step with hub (generation 7)",
        ),
        (result(*MOVED), "1 moved in 2.1 s; in step with hub (generation 7)"),
        (
            result(decision("a", Action.REMOVE, Remove(Side.HERE, "a", found("a")))),
            "1 removed in 2.1 s; in step with hub (generation 7)",
        ),
        (
            result(NEW_CONFLICT, conflicts=(("f", OPEN),), bytes_sent=10),
            "1 received, 1 sent, 10 B in 2.1 s; 1 conflict open",
        ),
        (result(SAME, conflicts=(("f", OPEN), ("g", OPEN))), "nothing to do; 2 conflicts open"),
        (
            result(get("a"), failed=(FAILED,), problems=(Problem("y", Reason.NAME),)),
            "1 received in 2.1 s; 2 paths not synchronised",
        ),
        (result(get("a"), put("b"), listed=True), "1 to get, 1 to put; nothing was done"),
        (result(SAME, listed=True), "nothing to do: in step with hub"),
        (
            result(
                decision("f", Action.PUT, *put("f").steps, Remove(Side.THERE, "f.pc", found("f.pc")), was=OPEN),
                bytes_sent=3,
            ),
            "1 sent, 1 settled, 3 B in 2.1 s; in step with hub (generation 7)",
        ),
    ],
)
def test_the_summary_tells_what_it_came_to(run: Result, expected: str) -> None:
    """One line: what was done, how long it took, and whether anything is left."""
    assert summary(run) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    """Decimal units, one digit after the point, never 1000.0 of a smaller unit."""
    assert size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.04 s"), (2.13, "2.1 s"), (59.9, "59.9 s"), (184, "3 min 4 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, expected: str) -> None:
    """As a person says them."""
    assert duration(seconds) == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(run: Result, detail: Detail = Detail.NORMAL, everything: bool = False) -> tuple[list[str], list[str]]:
    """The lines on standard output and standard error of a run that comes to `run`."""
    out, err = io.StringIO(), io.StringIO()
    lines = Lines(Screen(out, err), detail=detail, everything=everything)
    lines.phase(Phase.SCANNING)
    lines.note("first meeting")
    for outcome in run.outcomes:
        lines.finished(outcome)
    lines.end(run)
    return out.getvalue().splitlines(), err.getvalue().splitlines()


def test_only_what_is_modified_has_a_line() -> None:
    """Without -a an unmodified file is not mentioned, and a move is one line."""
    out, err = shown(result(SAME, get("a"), *MOVED))
    assert out == ["get  a", "moved old -> new", "1 received, 1 moved in 2.1 s; in step with hub (generation 7)"]
    assert err == ["note: first meeting"]


def test_with_everything_each_path_has_a_line() -> None:
    """-a: the unmodified ones, too; still one line for a move."""
    out, _ = shown(result(SAME, get("a"), *MOVED), everything=True)
    assert sorted(out[:-1]) == ["get  a", "moved old -> new", "same same"]


def test_a_listing_shows_the_plan() -> None:
    """-l tells in the same words what would be done, though nothing was."""
    out, _ = shown(result(SAME, get("a"), listed=True))
    assert out == ["get  a", "1 to get; nothing was done"]


@pytest.mark.parametrize("detail", [Detail.NORMAL, Detail.QUIET])
def test_a_listing_says_that_a_check_would_stop_the_run(detail: Detail) -> None:
    """In any detail, and with the run's own exit status."""
    run = replace(result(get("a"), listed=True), stopped=Stopped("too many", "deletes"))
    out, err = shown(run, detail)
    assert "a run would stop: too many" == err[-1]
    assert (["get  a", "1 to get; a run would stop; nothing was done"] if detail is Detail.NORMAL else []) == out
    assert 4 == run.exit_status


def test_the_document_says_that_a_check_would_stop_the_run() -> None:
    """With the word that would allow it, as in the document of a run that was stopped."""
    out = io.StringIO()
    run = replace(result(get("a"), listed=True), stopped=Stopped("too many", "deletes"))
    Document(Screen(out, io.StringIO())).end(run)
    document = json.loads(out.getvalue())
    assert (4, {"message": "too many", "allow": "deletes"}) == (document["exit_status"], document["stopped"])


def test_problems_go_to_standard_error_once() -> None:
    """A problem told while it happened is not told again at the end."""
    _, err = shown(result(failed=(FAILED,), problems=(Problem("x", Reason.DENIED, "Permission denied"),)))
    assert err == ["note: first meeting", "problem: x: Permission denied"]


def test_a_problem_says_on_which_side_it_is() -> None:
    """Whose disk is full: the line tells, and the document."""
    full = Problem("x", Reason.FULL, "No space left on device")
    step = Transfer(Side.HERE, "x", found("x"))
    work = Work(get("x"))
    load = Workload([])
    load.fail(work, step, full)
    load.fail(work, step, full, Side.HERE)
    load.fail(work, step, problem_of_transfer("x", Path("/n/x"), OSError(28, "No space left on device", "/n/x")))
    load.fail(work, step, Problem("x", Reason.CHANGED, "changed on the hub while it was received"))
    problems = [failure.problem for failure in work.failed]
    assert [
        "x: No space left on device (on the hub)",
        "x: No space left on device (here)",
        "x: /n/x: No space left on device (here)",
        "x: changed on the hub while it was received",
    ] == [str(problem) for problem in problems]
    assert ["hub", "here", "here", None] == [item["side"] for item in problem_list(problems)]


def test_open_conflicts_are_told_until_they_are_decided() -> None:
    """A run that changes nothing still says which conflicts are open, and how to decide them."""
    out, _ = shown(result(SAME, conflicts=(("f", OPEN),)))
    assert out[0] == "conflict f (undecided: yours stays, theirs is f.hub)"
    assert out[1].startswith("to decide: ")


def test_who_has_no_copy_is_not_told_to_remove_one() -> None:
    """Against a directory there is another way; where both kinds are open, both are told."""
    against = ("d", Conflict(FILE, DIRECTORY, None, Copy("d.pc", b"")))
    for conflicts, ways in (((against,), [DECIDE_DIRECTORY]), ((against, ("f", OPEN)), [DECIDE, DECIDE_DIRECTORY])):
        out, _ = shown(result(SAME, conflicts=conflicts))
        assert ways == [text for text in out if text.startswith("to decide")]


def test_a_new_conflict_is_told_once() -> None:
    """Not again as an undecided one."""
    out, _ = shown(result(NEW_CONFLICT, conflicts=(("f", OPEN),)))
    assert [text for text in out if text.startswith("conflict")] == ["conflict f (yours stays, theirs is f.hub)"]


def test_quiet_leaves_what_needs_a_person() -> None:
    """-q: nothing on standard output; conflicts and problems on standard error."""
    out, err = shown(result(get("a"), NEW_CONFLICT, failed=(FAILED,), conflicts=(("f", OPEN),)), Detail.QUIET)
    assert out == []
    assert err == ["conflict f (yours stays, theirs is f.hub)", "problem: x: Permission denied"]


def test_verbose_tells_the_phases() -> None:
    """-v says what the run is doing."""
    assert shown(result(), Detail.VERBOSE)[1] == ["scanning", "note: first meeting"]


def test_waiting_for_a_lock_is_always_told() -> None:
    """Else the program seems to hang."""
    err = io.StringIO()
    Lines(Screen(io.StringIO(), err)).phase(Phase.WAITING, "oslo holds it")
    assert err.getvalue() == "waiting for the lock: oslo holds it\n"


@pytest.mark.parametrize(
    ("variables", "stream", "expected"),
    [
        ({"TERM": "xterm"}, Terminal(), "\x1b[31mx\x1b[0m\n"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal(), "x\n"),
        ({"TERM": "dumb"}, Terminal(), "x\n"),
        ({"TERM": "xterm"}, io.StringIO(), "x\n"),
    ],
)
def test_colours_only_where_they_are_wanted(
    variables: dict[str, str], stream: io.StringIO, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal that has them, unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Screen(stream, stream).line("x", 31)
    assert stream.getvalue() == expected


def test_a_bar_on_a_terminal_leaves_only_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is there while the run goes on, and is wiped away at its end."""
    monkeypatch.setenv("NO_COLOR", "1")
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    screen = Screen(io.StringIO(), err)
    lines = Lines(screen, progress=True)
    assert screen.bar is not None
    lines.phase(Phase.TRANSFERRING)
    lines.planned((get("a"),), 1, 2000)
    lines.transferred(2000)
    lines.arrived("a")
    lines.problem(Problem("x", Reason.DENIED))
    lines.end(result(get("a")))
    assert screen.bar is None
    assert "problem: x: denied" in err.getvalue()
    assert "transferring" in err.getvalue()
    assert err.getvalue().endswith("\x1b[2K")


READER_WHO_LEAVES = """
import os, sys
from symsync.report import Screen
screen = Screen()
screen.line("first")
os.read(0, 1)
for number in range(3):
    screen.line("unread")
screen.complaint("went on")
"""


def test_a_reader_who_leaves_stops_nothing() -> None:
    """`symsync DIR | head -1` still synchronises to its end, without a complaint about the pipe."""
    with subprocess.Popen(
        [sys.executable, "-c", READER_WHO_LEAVES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr.read() == b"went on\n"
        assert process.wait() == 0


def test_the_document_holds_the_whole_run() -> None:
    """--json: one document with the fields that docs/commands.md names."""
    out = io.StringIO()
    document = Document(Screen(out, io.StringIO()))
    document.note("first meeting")
    document.end(
        result(
            SAME,
            get("a"),
            *MOVED,
            decision("r", Action.REMOVE, Remove(Side.THERE, "r", found("r"))),
            failed=(FAILED,),
            conflicts=(("f", OPEN),),
            bytes_sent=5,
        )
    )
    plain = {"side": None, "from": None, "reason": "", "done": True}
    expected = {
        "schema": 1,
        "node": "pc",
        "hub": "hub",
        "generation": 7,
        "listed": False,
        "exit_status": 1,
        "stopped": None,
        "files": 0,
        "bytes": 5,
        "seconds": 2.13,
        "changes": [
            {**plain, "path": "a", "action": "get"},
            {**plain, "path": "new", "action": "moved", "from": "old", "reason": "moved from old"},
            {**plain, "path": "r", "action": "remove", "side": "hub"},
            {**plain, "path": "x", "action": "get", "done": False},
        ],
        "conflicts": [{"path": "f", "copy_here": "f.hub", "copy_hub": "f.pc"}],
        "problems": [{"path": "x", "reason": "denied", "detail": "Permission denied", "side": None}],
        "notes": ["first meeting"],
    }
    assert json.loads(out.getvalue()) == expected


def test_names_that_are_not_utf8_survive_in_the_document() -> None:
    """The text is valid UTF-8 for every parser, and the exact bytes are there beside it."""
    out = io.StringIO()
    Document(Screen(out, io.StringIO())).end(result(get("caf\udce9"), listed=True))
    change = json.loads(out.getvalue().encode("utf-8"))["changes"][0]
    assert (change["path"], change["path_base64"]) == ("caf\ufffd", "Y2Fm6Q==")


def test_an_error_is_a_document_too() -> None:
    """A program that reads the document needs no second way to hear of failures."""
    assert json.loads(of_error(HubUnreachable("no route"))) == {
        "schema": 1,
        "exit_status": 3,
        "error": {"message": "no route", "allow": None},
    }
    assert json.loads(of_error(Stopped("too many", "deletes")))["error"]["allow"] == "deletes"
