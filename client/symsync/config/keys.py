"""The keys of a configuration, their other names, and the settings they come to (docs/configuration.md)."""

from collections.abc import Mapping
from pathlib import Path

from symsync.config.lines import Lines
from symsync.config.url import Address, parse_url
from symsync.config.values import (
    duration,
    host_key,
    max_delete,
    number,
    one_of,
    permission_bits,
    rate,
    text,
    tls_fingerprint,
    trash_size,
    yes_no,
)
from symsync.core.modes import Mode
from symsync.core.safety import DEFAULT_MAXDELETE
from symsync.remotes.location import DEFAULT_PORTS, IMPLICIT_TLS_PORT, Location, Protocol, Tls
from symsync.rules import Links
from symsync.settings import ConflictRule, Settings, Trash, Watch
from symsync_protocol.names import check_name, same_name

ALIASES: Mapping[str, tuple[str, ...]] = {
    "nodename": ("name", "node"),
    "peer": ("peername", "remote"),
    "server": (),
    "protocol": (),
    "port": (),
    "login": (),
    "password": (),
    "identityfile": (),
    "tls": (),
    "tlsfingerprint": (),
    "hostkey": (),
    "dir": (),
    "includedots": (),
    "allowblanks": (),
    "mode": (),
    "symsync": (),
    "conflict": (),
    "trash": (),
    "trashdays": (),
    "trashsize": (),
    "maxdelete": (),
    "links": (),
    "filemode": (),
    "dirmode": (),
    "hubedits": (),
    "connections": (),
    "compress": (),
    "bwlimit": (),
    "active": (),
    "delay": (),
    "interval": (),
    "maxprocesses": (),
    "onchange": (),
    "onconflict": (),
    "onerror": (),
}
"""Every key with its other names."""

PROPER = {word: key for key, others in ALIASES.items() for word in (key, *others)}
"""Every word that may begin a line, and the key it stands for."""

_OVER_A_WIRE = (Protocol.FTP, Protocol.FTPS, Protocol.SFTP)
_OVER_FTP = (Protocol.FTP, Protocol.FTPS)

_ONLY_FOR: Mapping[str, tuple[Protocol, ...]] = {
    "port": _OVER_A_WIRE,
    "login": _OVER_A_WIRE,
    "password": _OVER_A_WIRE,
    "tls": _OVER_FTP,
    "tlsfingerprint": _OVER_FTP,
    "active": _OVER_FTP,
    "identityfile": (Protocol.SFTP,),
    "hostkey": (Protocol.SFTP,),
}
"""Keys that would do nothing with another protocol, which their writer should learn."""

_MOST_CONNECTIONS = 64
_DEFAULT_CONNECTIONS = Location(Protocol.FILE).connections
_DEFAULT_TRASH = Trash()
_DEFAULT_WATCH = Watch()


def settings_from(lines: Lines, directory: Path) -> Settings:
    """The settings that `lines` give for the node in `directory`, the password as it stands there.

    Raises UsageError with the file's name and, where there is one, the line's number.
    """
    node = lines.need("nodename", lambda value: check_name(value, "nodename"), "this node's name, unique on the hub")
    peer = lines.get("peer", lambda value: check_name(value, "peer"), None)
    if peer is not None and same_name(node, peer):
        raise lines.wrong("peer", f"peer {peer}: the node itself has this name; the two must differ")
    return Settings(
        directory,
        node,
        location_from(lines, directory),
        peer,
        mode=lines.get("mode", one_of(Mode), Mode.SYNC),
        symsync=lines.get("symsync", yes_no, True),
        includedots=lines.get("includedots", yes_no, False),
        allowblanks=lines.get("allowblanks", yes_no, False),
        conflict=lines.get("conflict", one_of(ConflictRule), ConflictRule.KEEP),
        trash=_trash_from(lines),
        maxdelete=lines.get("maxdelete", max_delete, DEFAULT_MAXDELETE),
        links=lines.get("links", one_of(Links), Links.KEEP),
        filemode=lines.get("filemode", permission_bits, None),
        dirmode=lines.get("dirmode", permission_bits, None),
        hubedits=lines.get("hubedits", yes_no, True),
        watch=_watch_from(lines),
    )


def location_from(lines: Lines, directory: Path) -> Location:
    """Where the hub is. `server` may be a whole URL; nothing may be given both in it and by a key of its own."""
    address = _address_from(lines)
    protocol = address.protocol
    for key, protocols in _ONLY_FOR.items():
        if key in lines and protocol not in protocols:
            raise lines.wrong(key, f"{key} has no meaning with protocol {protocol}; remove the line")
    if protocol is Protocol.FILE:
        return Location(protocol, login="", directory=_local_directory(address, lines, directory))
    tls = _tls_from(lines, address)
    default_port = IMPLICIT_TLS_PORT if tls is Tls.IMPLICIT else DEFAULT_PORTS[protocol]
    return Location(
        protocol,
        address.host,
        address.port or default_port,
        address.login or _own_login(),
        address.password,
        address.directory or "",
        tls,
        lines.get("tlsfingerprint", tls_fingerprint, None),
        lines.get("hostkey", host_key, None),
        lines.get("identityfile", lambda value: directory / Path(value).expanduser(), None),
        connections=lines.get("connections", number(1, _MOST_CONNECTIONS), _DEFAULT_CONNECTIONS),
        active=lines.get("active", yes_no, False),
        compress=lines.get("compress", yes_no, False),
        bandwidth=lines.get("bwlimit", rate, None),
    )


def _address_from(lines: Lines) -> Address:
    """What `server` and the keys beside it say of the hub's place."""
    protocol = lines.get("protocol", one_of(Protocol), None)
    if protocol is Protocol.FILE and "server" not in lines:
        return Address(protocol, directory=lines.need("dir", text, "the hub's directory on this computer"))
    address = lines.need("server", _server, "the hub's host name or address, or a whole URL")
    whole = "://" in lines.by_key["server"].text
    if protocol is not None and whole and protocol is not address.protocol:
        raise lines.wrong("protocol", f"protocol {protocol}: the URL in server says {address.protocol}; keep one")
    for key, said in (
        ("port", address.port),
        ("login", address.login),
        ("password", address.password),
        ("dir", address.directory),
    ):
        if key in lines and said is not None:
            raise lines.wrong(key, f"{key}: the URL in server gives it too; keep one of them")
    return Address(
        address.protocol if whole or protocol is None else protocol,
        address.host,
        lines.get("port", number(1, 65535), address.port),
        lines.get("login", text, address.login),
        lines.get("password", text, address.password),
        lines.get("dir", text, address.directory),
    )


def _server(value: str) -> Address:
    if "://" in value:
        return parse_url(value)
    if value.count(":") == 1:
        raise ValueError("a host name or address, or a whole URL; a port has a line of its own: port NUMBER")
    if "/" in value or " " in value:
        raise ValueError("a host name or address, or a whole URL; a directory of this computer is file:///DIR")
    return Address(Protocol.FTP, value.removeprefix("[").removesuffix("]"))


def _tls_from(lines: Lines, address: Address) -> Tls:
    tls = lines.get("tls", _tls, None)
    if address.protocol is Protocol.FTPS:
        if tls is Tls.NO:
            raise lines.wrong("tls", "tls no: protocol ftps is FTP with TLS; for plain FTP write protocol ftp")
        # Port 990 is assigned to FTP with TLS from the first byte.
        return tls or (Tls.IMPLICIT if address.port == IMPLICIT_TLS_PORT else Tls.EXPLICIT)
    return tls or (Tls.IF_OFFERED if address.protocol is Protocol.FTP else Tls.NO)


def _tls(value: str) -> Tls:
    written = (Tls.EXPLICIT, Tls.IMPLICIT, Tls.NO)
    if value not in written:
        raise ValueError("one of " + ", ".join(written))
    return Tls(value)


def _local_directory(address: Address, lines: Lines, directory: Path) -> str:
    hub = Path(address.directory or "").expanduser()
    key = "dir" if "dir" in lines else "server"
    if not hub.is_absolute():
        raise lines.wrong(key, f"{hub}: a directory of this computer is named by its absolute path")
    node, there = directory.resolve(), hub.resolve()
    if node.is_relative_to(there) or there.is_relative_to(node):
        raise lines.wrong(key, f"the hub {there} and the directory {node} lie one in the other; keep them apart")
    return str(hub)


def _own_login() -> str:
    import getpass

    return getpass.getuser()


def _trash_from(lines: Lines) -> Trash:
    limit = lines.get("trashsize", trash_size, _DEFAULT_TRASH.percent)
    days = lines.get("trashdays", number(1, 36500), _DEFAULT_TRASH.days)
    keep = lines.get("trash", yes_no, _DEFAULT_TRASH.keep)
    return Trash(keep, days, size=limit) if isinstance(limit, int) else Trash(keep, days, limit)


def _watch_from(lines: Lines) -> Watch:
    return Watch(
        lines.get("delay", duration, _DEFAULT_WATCH.delay),
        lines.get("interval", duration, _DEFAULT_WATCH.interval),
        lines.get("maxprocesses", number(1, _MOST_CONNECTIONS), _DEFAULT_WATCH.maxprocesses),
        lines.get("onchange", text, None),
        lines.get("onconflict", text, None),
        lines.get("onerror", text, None),
    )
