"""`symsync init DIR URL`: try the login, say what is there, and write DIR/.sync.conf."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from symsync.cli.command import Command, absolute, add_connection
from symsync.cli.sync import MODES
from symsync_protocol.errors import Stopped, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from symsync.config import Address
    from symsync.report import Screen
    from symsync.session import Meeting
    from symsync.settings import Settings

_NAME_LIMIT = 63


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the directory to synchronise; made if it is missing")
    parser.add_argument(
        "url", metavar="URL", help="the hub: sftp://LOGIN@HOST/DIR, ftp://..., ftps://..., file:///DIR or a path"
    )
    parser.add_argument("--node", metavar="NAME", help="this node's name, unique on the hub (default: the host's)")
    parser.add_argument("--peer", metavar="NAME", help="the hub's name (default: the hub's own)")
    parser.add_argument("--server", metavar="NAME", help="a further hub of DIR: write .sync-NAME.conf")
    parser.add_argument("--mode", choices=MODES, help="the mode of every run (default: sync)")
    parser.add_argument(
        "--set",
        metavar=("KEY", "VALUE"),
        nargs=2,
        action="append",
        default=[],
        help="a further line of the configuration, such as: --set tls no",
    )
    parser.add_argument("--replace", action="store_true", help="take over the node's name from another directory")
    parser.add_argument(
        "--create",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make the directory on the hub if it is missing (default: yes, but for mode mirror)",
    )
    parser.add_argument("--save-password", action="store_true", help="write the password into the configuration")
    add_connection(parser)


def _run(arguments: argparse.Namespace) -> int:
    import shlex

    from symsync.config import config_file, parse_url, settings_of, write_lines
    from symsync.config.passwords import asking, with_password
    from symsync.report import Screen
    from symsync_protocol.names import shown

    screen = Screen()
    directory = absolute(arguments.directory)
    file = config_file(directory, arguments.server)
    if file.exists():
        raise UsageError(
            f"{shown(str(file))} exists and is left as it is: edit it, or remove it first, or give --server NAME for a "
            f"further hub. To take a node's name over: symsync sync --replace {_typed(arguments.directory)}"
        )
    address = parse_url(arguments.url)
    written = _lines(arguments, address)
    # Both stand on the command line, which comes before all other places.
    given = arguments.password if arguments.password is not None else address.password
    settings = with_password(settings_of(written, file, directory), given)
    with _made(directory):
        settings, meeting = asking(settings, lambda known: (known, _met(known, arguments, screen)))
        if arguments.save_password and settings.location.password is not None:
            written["password"] = settings.location.password
        write_lines(file, written)
    for text in _found(settings, meeting):
        screen.line(text)
    screen.line(f"wrote {shown(str(file))}")
    if given is not None and not arguments.save_password:
        screen.line(
            "the password was not written (init --save-password does): set SYMSYNC_PASSWORD, "
            "store it with keyring or in ~/.netrc, or type it at each run"
        )
    # Until the first run has taken the name over, each run must be told that it may.
    command = "symsync sync --replace" if arguments.replace else "symsync"
    further = f" {shlex.quote(arguments.server)}" if arguments.server else ""
    screen.line(f"next: {command} {_typed(arguments.directory)}{further}")
    return 0


def _typed(path: str) -> str:
    """`path` as a shell takes it, and as `symsync` does: neither a command nor an option."""
    import shlex

    from symsync.cli import COMMANDS

    if path.startswith("-") or path in {command.name for command in COMMANDS}:
        path = f"./{path}"
    return shlex.quote(path)


def _met(settings: "Settings", arguments: argparse.Namespace, screen: "Screen") -> "Meeting":
    """What the hub tells. Raises UsageError where a name does not go with it, Stopped where it knows another directory
    by the node's name."""
    from symsync import session
    from symsync.cli.command import conversation_of
    from symsync.core.modes import writes
    from symsync_protocol.names import same_name

    meeting = session.meet(
        settings,
        create=arguments.create and writes(settings.mode)[1],
        replace=arguments.replace,
        conversation=conversation_of(arguments, screen),
    )
    hub = meeting.hub_name
    if hub is not None and same_name(hub, settings.node):
        raise UsageError(f"the hub itself is called {hub}; give this node another name: --node NAME")
    if hub is not None and settings.peer is not None and not same_name(hub, settings.peer):
        raise UsageError(f"the hub is called {hub}, not {settings.peer}; say --peer {hub}, or leave it out")
    if meeting.name_taken and not arguments.replace:
        raise Stopped(
            f"the hub {meeting.hub_name} knows a node {settings.node} already. If this directory takes its place, "
            "give --replace; if it is another computer, give another --node NAME"
        )
    return meeting


def _lines(arguments: argparse.Namespace, address: "Address") -> dict[str, str]:
    """The configuration that the command line comes to, without the password."""
    from symsync.config import proper_key
    from symsync.remotes.location import Protocol
    from symsync_protocol.names import check_name

    node = check_name(arguments.node, "--node") if arguments.node is not None else _node_from_host()
    lines = {"nodename": node}
    if arguments.peer is not None:
        lines["peer"] = check_name(arguments.peer, "--peer")
    if address.protocol is not Protocol.FILE:
        lines["server"] = address.host
    lines["protocol"] = address.protocol.value
    if address.port is not None:
        lines["port"] = str(address.port)
    if address.protocol is not Protocol.FILE:
        lines["login"] = address.login or _login_without(address)
    if address.directory:
        lines["dir"] = address.directory
    lines |= {"includedots": "yes", "allowblanks": "yes"}
    if arguments.mode is not None:
        lines["mode"] = arguments.mode
    return lines | {proper_key(word): value for word, value in arguments.set}


def _login_without(address: "Address") -> str:
    """Who logs in where the URL does not say: anonymous over FTP (RFC 1738, 3.2.1), the user himself over SSH."""
    from symsync.remotes.location import Protocol

    if address.protocol is not Protocol.SFTP:
        return "anonymous"
    import getpass

    return getpass.getuser()


def _node_from_host() -> str:
    """The host's name, made valid as a node's."""
    import re
    import socket

    label = socket.gethostname().partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")[:_NAME_LIMIT]
    if not name:
        raise UsageError("this computer's host name has no letter or digit in it; give --node NAME")
    return name


@contextmanager
def _made(directory: "Path") -> Iterator[None]:
    """Make `directory` if it is missing; where the body fails, it goes again, unless there is something in it."""
    from symsync_protocol.names import shown

    missing = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{shown(str(directory))}: this is no directory") from None
    except OSError as error:
        raise UsageError(f"{shown(str(directory))}: can't be made: {error.strerror}") from error
    try:
        yield
    except BaseException:
        if missing:
            with suppress(OSError):
                directory.rmdir()
        raise


def _found(settings: "Settings", meeting: "Meeting") -> Sequence[str]:
    """What the hub told, in lines."""
    from symsync_protocol.names import shown

    where = shown(settings.location.shown)
    if meeting.hub_name is None:
        first = f"hub:  {where}, new: nothing was synchronised there yet"
    else:
        nodes = ", ".join(map(shown, meeting.nodes)) or "none yet"
        first = f"hub:  {shown(meeting.hub_name)} at {where}; its nodes: {nodes}"
    lines = [first, f"node: {settings.node}, in {shown(str(settings.directory))}"]
    if meeting.traits_text:
        lines.insert(1, f"      {shown(meeting.traits_text)}")
    return lines


INIT = Command("init", "begin to synchronise a directory: try the hub, write DIR/.sync.conf", _add_arguments, _run)
