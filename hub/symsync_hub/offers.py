"""From the command line to servers that listen, and to what their users have to know of each."""

import argparse
import contextlib
import re
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from symsync_hub.accounts import Accounts
from symsync_hub.cli import DEFAULT_FTP, DEFAULT_SFTP, IMPLICIT_PORT
from symsync_hub.door import Door, Limits
from symsync_hub.hub import Server
from symsync_hub.listener import Address
from symsync_protocol.errors import UsageError

_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Offer:
    """One server and what the user is told of it."""

    server: Server
    scheme: str
    detail: str
    settings: tuple[tuple[str, str], ...] = ()
    """What `symsync init` needs beside the URL, as `--set KEY VALUE`."""
    certificate: str | None = None
    """Its fingerprint, where there is one."""


def offers(arguments: argparse.Namespace, accounts: Accounts, data: Path, stack: contextlib.ExitStack) -> list[Offer]:
    """All servers that the command line asks for, listening but not yet serving; `stack` closes them. Raises
    UsageError and HubError."""
    if arguments.no_tls and (arguments.require_tls or arguments.ftps_implicit or arguments.tls_cert):
        raise UsageError("--no-tls contradicts --require-tls, --ftps-implicit and --tls-cert")
    if arguments.tls_key and not arguments.tls_cert:
        raise UsageError("--tls-key needs --tls-cert")
    ports = parse_ports(arguments.passive_ports) if arguments.passive_ports else None
    door = Door(_limits(arguments, ports))
    unsaid = not (arguments.ftp or arguments.ftps_implicit or arguments.sftp)
    found: list[Offer] = []
    if unsaid or arguments.ftp or arguments.ftps_implicit:
        found += _ftp(arguments, accounts, data, door, ports, stack)
    if unsaid or arguments.sftp:
        found.append(_sftp(arguments, accounts, data, door, stack))
    return found


def parse_address(text: str, default_port: int) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT` (every address), or `HOST`. Raises UsageError."""
    match = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*))(?::(?P<port>\d+))?", text, re.ASCII)
    if match is None or not text:
        raise UsageError(f"address {text!r}: expected ADDRESS:PORT, such as {DEFAULT_FTP} or [::1]:2121")
    host, port = match["six"] or match["host"] or "", match["port"]
    if port is None and host.isdecimal():
        host, port = "", host
    number = int(port) if port is not None else default_port
    if number > _HIGHEST_PORT:
        raise UsageError(f"address {text!r}: ports end at {_HIGHEST_PORT}")
    return Address(host, number)


def parse_ports(text: str) -> range:
    """`A-B`, both included. Raises UsageError."""
    match = re.fullmatch(r"(\d+)-(\d+)", text, re.ASCII)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < first <= last <= _HIGHEST_PORT:
        raise UsageError(f"passive ports {text!r}: expected A-B, such as 50000-50199")
    return range(first, last + 1)


def _ftp(
    arguments: argparse.Namespace,
    accounts: Accounts,
    data: Path,
    door: Door,
    ports: range | None,
    stack: contextlib.ExitStack,
) -> list[Offer]:
    """FTP unless only implicit TLS is asked for, and FTPS that begins with TLS where it is."""
    from symsync_hub.ftp.server import FtpOptions, FtpServer  # heavy

    context = fingerprint = None
    settings: tuple[tuple[str, str], ...] = ()
    if not arguments.no_tls:
        from symsync_hub.tls import given_certificate, own_certificate, server_context

        certificate = (
            given_certificate(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else own_certificate(data)
        )
        context, fingerprint = server_context(certificate), certificate.fingerprint
        if certificate.self_signed:
            settings = (("tlsfingerprint", fingerprint),)
    options = FtpOptions(
        require_tls=arguments.require_tls,
        plain_from_anywhere=arguments.allow_plain,
        passive_ports=ports,
        masquerade=_masquerade(arguments.masquerade),
    )
    found: list[Offer] = []
    if arguments.ftp or not arguments.ftps_implicit:
        address = parse_address(arguments.ftp or DEFAULT_FTP, parse_address(DEFAULT_FTP, 0).port)
        server = FtpServer(address, accounts, door, context, options)
        stack.callback(server.close)
        scheme, detail = ("ftps", "TLS by AUTH TLS") if context else ("ftp", "no TLS")
        found.append(Offer(server, scheme, detail, settings, fingerprint))
    if arguments.ftps_implicit:
        address = parse_address(arguments.ftps_implicit, IMPLICIT_PORT)
        server = FtpServer(address, accounts, door, context, replace(options, implicit=True))
        stack.callback(server.close)
        found.append(Offer(server, "ftps", "implicit TLS", (("tls", "implicit"), *settings), fingerprint))
    return found


def _sftp(
    arguments: argparse.Namespace, accounts: Accounts, data: Path, door: Door, stack: contextlib.ExitStack
) -> Offer:
    from symsync_hub.sftp.hostkey import own_host_key  # heavy
    from symsync_hub.sftp.server import SftpServer

    key = own_host_key(data)
    address = parse_address(arguments.sftp or DEFAULT_SFTP, parse_address(DEFAULT_SFTP, 0).port)
    server = SftpServer(address, accounts, door, key)
    stack.callback(server.close)
    return Offer(server, "sftp", f"SFTP, host key {key.fingerprint}", (("hostkey", key.fingerprint),))


def _limits(arguments: argparse.Namespace, ports: range | None) -> Limits:
    limits = Limits()
    connections = arguments.max_connections or limits.connections
    if ports is not None:
        # Each session may hold one; beyond the range data connections would miss the firewall's hole.
        connections = min(connections, len(ports))
    per_address = arguments.max_per_ip or limits.per_address
    return replace(limits, connections=connections, per_address=per_address)


def _masquerade(text: str | None) -> str | None:
    """PASV has room for an IPv4 address only (RFC 959), so a name is looked up once."""
    if text is None:
        return None
    try:
        return str(IPv4Address(socket.gethostbyname(text)))
    except OSError as error:
        raise UsageError(f"--masquerade {text}: there is no such IPv4 address") from error
