"""The bundled hub: an FTP, FTPS and SFTP server for one directory, for whoever has no server yet.

`symsync-hub serve DIR` is the program; `running` is the same for tests and demonstrations. Importing this package costs
next to nothing: what it exports is imported when it is first asked for (PEP 562).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symsync_hub.accounts import Login as Login
    from symsync_hub.door import Limits as Limits
    from symsync_hub.hub import RunningHub as RunningHub
    from symsync_hub.hub import running as running

__all__ = ["Limits", "Login", "RunningHub", "running"]

_HOMES = {"Limits": "door", "Login": "accounts", "RunningHub": "hub", "running": "hub"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
