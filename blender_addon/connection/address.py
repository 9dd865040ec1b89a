"""Where a server is and how to prove oneself, and which addresses may be used without network access."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

__all__ = ["Address", "check_allowed", "is_loopback"]

PREFERENCES = Remedy("Open Preferences", RemedyAction.OPEN_PREFERENCES)


@dataclass(frozen=True, slots=True)
class Address:
    """url: "ws://127.0.0.1:PORT" or "wss://HOST:PORT". fingerprint: of the server's own certificate, or ""."""

    url: str
    token: str = field(repr=False)
    fingerprint: str = ""


def is_loopback(url: str) -> bool:
    """Whether ``url`` leads to this very machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_allowed(address: Address, online_access: bool) -> None:
    """Raises ScumbleError INVALID_FIELD for what is no address of a server, OFFLINE for one beyond this machine
    while Blender isn't allowed online, UNSUPPORTED for an unencrypted one."""
    try:
        parts = urlsplit(address.url)
        valid = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            "the server's address must look like wss://host:port",
            field="url",
            remedy=PREFERENCES,
        )
    if is_loopback(address.url):
        return
    if not online_access:
        raise ScumbleError(
            ErrorCode.OFFLINE,
            "Blender isn't allowed online; Preferences > System > Network > Allow Online Access changes that",
            field="url",
            remedy=PREFERENCES,
        )
    if parts.scheme != "wss":
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            "a server on another machine is only reached encrypted, by a wss:// address",
            field="url",
            remedy=PREFERENCES,
        )
