"""`symsync-hub serve`: from the command line to servers at work, and to the lines that say so."""

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from symsync_hub.accounts import Accounts, Login, random_password
from symsync_hub.cli import PASSWORD_VARIABLE, USERS_FILE, default_data
from symsync_hub.hub import DEFAULT_LOGIN, serving
from symsync_hub.listener import Address
from symsync_hub.offers import Offer, offers
from symsync_hub.users import UsersFile, check_user_name
from symsync_protocol.errors import UsageError


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Raises SymsyncError for whatever is wrong before that."""
    directory: Path = arguments.directory.absolute()
    if not directory.is_dir():
        raise UsageError(f"{directory}: there is no such directory to serve; make it first")
    data: Path = arguments.data or default_data()
    logins, invented = _logins(arguments.user)
    file = _users_file(arguments.users, data)
    anonymous = arguments.anonymous is not None
    if not (logins or anonymous or file.load()):
        logins = [invented]
    shown = [login for login in logins if login.password == invented.password]
    accounts = Accounts(directory, logins, file, anonymous)
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_logging_to_stderr(arguments.verbose))
        offered = offers(arguments, accounts, data, stack)
        _stop_on_signals(stop)
        _allow_many_files()
        stack.enter_context(serving([offer.server for offer in offered]))
        for line in _ready(directory, accounts, offered, shown):
            print(line, flush=True)
        stop.wait()
    return 0


def _logins(names: list[str]) -> tuple[list[Login], Login]:
    """The users of this run, and the one there is when nobody else may log in."""
    given = os.environ.get(PASSWORD_VARIABLE)
    invented = random_password()
    logins = [Login(check_user_name(name), given or invented) for name in dict.fromkeys(names)]
    return logins, Login(DEFAULT_LOGIN, invented)


def _users_file(given: Path | None, data: Path) -> UsersFile:
    """Where users are looked up; the one in the data directory may come later, with its first user."""
    if given is not None and not given.exists():
        raise UsageError(f"users file {given} is missing; make it with: symsync-hub user add NAME --users {given}")
    return UsersFile(given or data / USERS_FILE)


def _ready(directory: Path, accounts: Accounts, offered: list[Offer], shown: list[Login]) -> Iterator[str]:
    """What the user is told, last the line that says that the hub serves."""
    for login in shown:
        urls = [f"{offer.scheme}://{login.name}@{_reachable(offer.server.address)}/" for offer in offered]
        for url in urls:
            yield f"address:  {url}"
        yield f"login:    {login.name}"
        yield f"password: {login.password}"
        for url, offer in zip(urls, offered, strict=True):
            settings = "".join(f" --set {key} {value}" for key, value in offer.settings)
            yield f"connect:  symsync init DIRECTORY {url}{settings}"
    for fingerprint in dict.fromkeys(offer.certificate for offer in offered if offer.certificate):
        yield f"certificate SHA-256: {fingerprint}"
    where = ", ".join(f"{offer.server.address} ({offer.detail})" for offer in offered)
    yield f"ready: {directory} at {where} for {', '.join(accounts.names())}"


def _reachable(address: Address) -> Address:
    """An address as others may use it: a server at every address is reached by the machine's name."""
    return address if address.host not in ("", "0.0.0.0", "::") else Address(socket.gethostname(), address.port)  # noqa: S104 - compared, not bound


def _allow_many_files() -> None:
    """Each SFTP client may hold many files open; a process of its own may have as many as the system allows it."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # "infinity" is more than some systems take
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _stop_on_signals(stop: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())


@contextlib.contextmanager
def _logging_to_stderr(verbose: int) -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    loggers = [logging.getLogger(name) for name in ("symsync_hub", "pyftpdlib")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
