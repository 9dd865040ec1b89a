"""Who may talk to the server: decided from the request's headers, before anything else is read.

- A request with an ``Origin`` header comes from a web page; no page has business here.
- ``Host`` must name this server, or the request comes through a rebound DNS name.
- The token is needed even on this machine: other users and sandboxed programs reach loopback, too.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from http import HTTPStatus

from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.messages import SUBPROTOCOL

__all__ = ["Guard", "Refusal", "check_bind", "is_loopback"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """status: of the HTTP answer, whose body is the error as JSON."""

    status: HTTPStatus
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Guard:
    """token: what ``Authorization: Bearer`` must carry. loopback: whether only this machine can connect.

    names: further host names the server is known by, each "name" (any port) or "name:port".
    """

    token: str
    port: int
    loopback: bool = True
    names: tuple[str, ...] = ()

    def check_origin(self, origins: list[str], hosts: list[str]) -> Refusal | None:
        """The checks every request must pass, even one for the health of the server."""
        if origins:
            return _forbidden("web pages may not talk to this server (the request has an Origin header)")
        if len(hosts) != 1 or not self._is_us(hosts[0]):
            return _forbidden("the Host header doesn't name this server; see `scumble serve --name`")
        return None

    def check_token(self, authorizations: list[str]) -> Refusal | None:
        expected = f"Bearer {self.token}".encode()
        given = authorizations[0].encode("utf-8", "replace") if len(authorizations) == 1 else b""
        if hmac.compare_digest(given, expected):
            return None
        error = ErrorInfo(
            ErrorCode.UNAUTHORIZED,
            "the token is missing or wrong; a server makes a new one at each start",
            remedy=Remedy("Check the server's address and token", RemedyAction.OPEN_PREFERENCES),
        )
        return Refusal(HTTPStatus.UNAUTHORIZED, error)

    def check_subprotocol(self, offers: list[str]) -> Refusal | None:
        offered = [word.strip() for offer in offers for word in offer.split(",")]
        if SUBPROTOCOL in offered:
            return None
        error = ErrorInfo(
            ErrorCode.PROTOCOL_VERSION,
            f"this server speaks {SUBPROTOCOL}, the client offers {', '.join(offered)[:200] or 'nothing'}",
            remedy=Remedy("Use a Scumble extension and server of the same version", RemedyAction.UPDATE_SERVER),
        )
        return Refusal(HTTPStatus.BAD_REQUEST, error)

    def _is_us(self, host: str) -> bool:
        name, port = _split_host(host.strip().lower())
        for allowed in self.names:
            allowed_name, allowed_port = _split_host(allowed.lower())
            if name == allowed_name and (allowed_port is None or allowed_port == port):
                return True
        if port != self.port:
            return False
        if name == "localhost" or is_loopback(name):
            return True
        # Rebinding needs a DNS name: an address in Host is the one that was really connected to.
        return not self.loopback and (_is_address(name) or name in _machine_names())


def check_bind(host: str, *, tls: bool) -> None:
    """Raises ScumbleError UNSUPPORTED for an address others can reach without encryption."""
    if not is_loopback(host) and not tls:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            f"other machines could read everything sent to {host}, pictures and token",
            field="--host",
            remedy=Remedy("Add --self-signed, or --tls-cert and --tls-key"),
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _split_host(host: str) -> tuple[str, int | None]:
    """ "name:port" or "[::1]:port" -> name without brackets, port or None."""
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    if port and not (port.isascii() and port.isdecimal() and len(port) <= 5):
        return "", None
    return name.removeprefix("[").removesuffix("]"), int(port) if port else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _machine_names() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    return (name, f"{name}.local")


def _forbidden(message: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, ErrorInfo(ErrorCode.UNAUTHORIZED, message))
