"""The command line: `symsync-hub serve` and `symsync-hub user`. Exit status: 0, 2 usage, 3 can't listen."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from symsync_protocol.errors import SymsyncError, UsageError
from symsync_protocol.utf8 import ensure_utf8

if TYPE_CHECKING:
    from symsync_hub.publickeys import PublicKey

DEFAULT_FTP = "127.0.0.1:2121"
DEFAULT_SFTP = "127.0.0.1:2022"
USERS_FILE = "users.json"
IMPLICIT_PORT = 990
PASSWORD_VARIABLE = "SYMSYNC_HUB_PASSWORD"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit status. Whatever the user can mend is one line on stderr."""
    if argv is None:
        ensure_utf8()
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "serve":
            from symsync_hub.serve import serve

            return serve(arguments)
        return _user(arguments)
    except SymsyncError as error:
        print(f"symsync-hub: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def default_data() -> Path:
    """Where the hub keeps its users, its certificate and its host key (XDG base directories)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "symsync-hub"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="symsync-hub", description="The bundled hub: serve one directory to all of your computers."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="serve a directory until Ctrl-C"))
    _add_user(commands.add_parser("user", help="who may log in, kept in the users file"))
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("directory", type=Path, metavar="DIR", help="what users see as their home")
    where = serve.add_argument_group(
        "where to listen (ADDRESS:PORT, :PORT for every address; without any of the first three: --ftp and --sftp)"
    )
    where.add_argument("--ftp", metavar="ADDRESS:PORT", help=f"FTP, and FTPS by AUTH TLS ({DEFAULT_FTP})")
    where.add_argument("--sftp", metavar="ADDRESS:PORT", help=f"SFTP ({DEFAULT_SFTP})")
    where.add_argument("--ftps-implicit", metavar="ADDRESS:PORT", help="FTPS that begins with TLS")
    where.add_argument("--passive-ports", metavar="A-B", help="ports for data connections, for a firewall (any)")
    where.add_argument("--masquerade", metavar="ADDRESS", help="the router's IPv4 address that PASV shall tell")
    who = serve.add_argument_group("who may come in (without any: one user with a random password)")
    who.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="NAME",
        help=f"for this run, with the password in {PASSWORD_VARIABLE} or a random one",
    )
    who.add_argument(
        "--users", type=Path, metavar="FILE", help=f"users file (DATA/{USERS_FILE}, also where it comes later)"
    )
    who.add_argument("--anonymous", choices=["read"], help="anybody may read")
    who.add_argument("--max-connections", type=_positive, metavar="N", help="at once, in all (200)")
    who.add_argument("--max-per-ip", type=_positive, metavar="N", help="at once, from one address (50)")
    tls = serve.add_argument_group("encryption (a certificate is made at the first start)")
    tls.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM (in the chain's file)")
    tls.add_argument("--no-tls", action="store_true", help="offer no TLS")
    tls.add_argument("--require-tls", action="store_true", help="take no password without TLS, even from this machine")
    tls.add_argument("--allow-plain", action="store_true", help="take passwords without TLS from other machines too")
    serve.add_argument("--data", type=Path, metavar="DIR", help="the hub's own data (XDG_DATA_HOME/symsync-hub)")
    serve.add_argument("-v", "--verbose", action="count", default=0, help="say who comes and goes; -vv: every command")


def _add_user(user: argparse.ArgumentParser) -> None:
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add", help="add a user, or change one", description="The password is asked for; a script gives it on stdin."
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("--home", type=Path, metavar="DIR", help="his directory (the one that is served)")
    add.add_argument("--read-only", action="store_true", help="he may change nothing")
    add.add_argument("--random", action="store_true", help="make a password and print it")
    add.add_argument(
        "--key", type=Path, metavar="FILE", help="public keys that get in over SFTP; no password unless --random"
    )
    key = actions.add_parser("key", help="let further public keys of a user in over SFTP")
    key.add_argument("name", metavar="NAME")
    key.add_argument("file", type=Path, metavar="FILE", help="such as id_ed25519.pub or authorized_keys")
    key.add_argument("--remove", action="store_true", help="let them in no more")
    remove = actions.add_parser("remove", help="remove a user")
    remove.add_argument("name", metavar="NAME")
    for action in (add, key, remove, actions.add_parser("list", help="name all users")):
        action.add_argument("--users", type=Path, metavar="FILE", help=f"users file (DATA/{USERS_FILE})")
        action.add_argument("--data", type=Path, metavar="DIR", help="the hub's own data (XDG_DATA_HOME/symsync-hub)")


def _user(arguments: argparse.Namespace) -> int:
    from symsync_hub.users import NO_PASSWORD, User, UsersFile, check_user_name, hashed

    file = UsersFile(arguments.users or (arguments.data or default_data()) / USERS_FILE)
    if arguments.action == "list":
        for user in file.load().values():
            rights = "read and write" if user.writable else "read only"
            place = str(user.home or "(the served directory)")
            print("\t".join([user.name, rights, place, *(key.fingerprint for key in user.keys)]))
    elif arguments.action == "remove":
        file.remove(arguments.name)
    elif arguments.action == "key":
        (file.remove_keys if arguments.remove else file.add_keys)(arguments.name, _keys(arguments.file))
    else:
        name = check_user_name(arguments.name)
        home = arguments.home.absolute() if arguments.home else None
        if home is not None and not home.is_dir():
            raise UsageError(f"{home}: there is no such directory; make it first")
        keys = _keys(arguments.key) if arguments.key else ()
        password = None if keys and not arguments.random else _new_password(arguments.random)
        stored = NO_PASSWORD if password is None else hashed(password)
        file.add(User(name, stored, home, not arguments.read_only, keys))
        if arguments.random:
            print(password)
    return 0


def _keys(file: Path) -> "tuple[PublicKey, ...]":
    from symsync_hub.publickeys import parse_keys

    try:
        return parse_keys(file.read_text("utf-8", "replace"), str(file))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; name the file of a public key") from error


def _new_password(random: bool) -> str:
    if random:
        from symsync_hub.accounts import random_password

        return random_password()
    if sys.stdin.isatty():
        import getpass

        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise UsageError("the two passwords differ; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UsageError("an empty password is none; nothing was changed")
    return password


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
