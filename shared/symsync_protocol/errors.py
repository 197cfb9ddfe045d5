"""Everything that ends a run, each with the exit status that the user's shell sees.

    SymsyncError
    ├── NodeError               1   this computer did not let us: a full disk, no permission
    ├── UsageError              2   the command line or the configuration
    ├── HubError                3   the hub was not reached, refused or is locked
    │   ├── HubUnreachable          no route, unknown host, connection refused, connection lost
    │   ├── HubRefused              login, certificate, missing directory, no permission
    │   │   ├── LoginRefused            the login, with the password or the keys that were tried
    │   │   └── PasswordWanted          a password would let us in, and none was given
    │   └── HubLocked               another node holds the lock
    ├── Stopped                 4   a check found something that looks like an accident; nothing was done
    └── StateDamaged            4   the bytes of a state are not what symsync wrote
        └── StateTooNew         4   written by a newer symsync

What goes wrong with one file is no exception but a value (`symsync.core.values.Problem`): the rest of the run goes on.
"""


class SymsyncError(Exception):
    """Base of all. `str(error)` is the one line that the user sees: what happened, to what, and what to do next."""

    exit_status = 1


class NodeError(SymsyncError):
    """This computer did not let symsync work: a full disk, no permission for its own folder."""


class UsageError(SymsyncError):
    """The command line or the configuration can't be used as it stands."""

    exit_status = 2


class HubError(SymsyncError):
    """The hub can't be worked with now."""

    exit_status = 3


class HubUnreachable(HubError):
    """There is no connection to the hub: unknown host, no route, refused, timed out, or lost on the way."""


class HubRefused(HubError):
    """The hub answered and said no: wrong password, no such directory, an unknown certificate."""


class LoginRefused(HubRefused):
    """The server knows no such login, or not with this password or these keys."""


class PasswordWanted(HubRefused):
    """The server takes a password, none was given, and nothing else that is at hand let us in."""


class HubLocked(HubError):
    """Another node is at work on the hub and did not finish while we waited."""


class Stopped(SymsyncError):
    """A check found something that looks like an accident, and nothing was done.

    `allow` is the word that lets it pass once (`--allow WORD`), None where nothing should.
    """

    exit_status = 4

    def __init__(self, message: str, allow: str | None = None) -> None:
        super().__init__(message)
        self.allow = allow


class StateDamaged(SymsyncError):
    """The bytes of a state are not what symsync wrote."""

    exit_status = 4


class StateTooNew(StateDamaged):
    """The state was written by a newer symsync; reading it could only misread it."""
