"""HTTP as downloads need it: proxies, a mirror, tokens that stay with their host, and errors that say the cause.

Standard library only. ``huggingface_hub`` 2.4 was read for this and set aside: it deletes what has arrived when a
call fails (``_download_to_tmp_and_move``), so nothing resumes after a restart; a full disk is a warning
(``_check_disk_space``); a plain HTTP download is never hashed; it can't be cancelled; and mirror and offline
settings are fixed at import.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from scumble_shared import __version__
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

__all__ = ["HUB", "Dropped", "Network", "Response", "open_url", "shown"]

HUB = "https://huggingface.co"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RETRIED = (408, 425, 429, 500, 502, 503, 504)

Response = http.client.HTTPResponse


class Dropped(Exception):
    """This attempt failed in a way that another one may mend. wait: seconds the server asked for, or None."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach other servers.

    hub: where repositories are; a mirror serves the same paths. tokens: origin (``https://host``) -> bearer token,
    sent to that origin alone. timeout: seconds without a byte. attempts: how often without progress. backoff:
    seconds before the second attempt, doubled each time. minimum_rate: bytes per second below which a connection
    counts as stalled. disk_reserve: bytes left free.
    """

    hub: str = HUB
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    offline: bool = False
    timeout: float = 30.0
    attempts: int = 6
    backoff: float = 1.0
    minimum_rate: int = 1024
    disk_reserve: int = 512 * 1024 * 1024

    @classmethod
    def from_environment(cls, *, offline: bool = False, mirror: str = "") -> Network:
        """mirror: overrides $SCUMBLE_MIRROR and $HF_ENDPOINT. offline: or $SCUMBLE_OFFLINE or $HF_HUB_OFFLINE.

        $HF_TOKEN, or else the token of ``hf auth login``, goes to huggingface.co alone, $SCUMBLE_HUB_TOKEN to the
        mirror in use, $CIVITAI_TOKEN to civitai.com.
        Raises ScumbleError INVALID_FIELD for a mirror that isn't an http address.
        """
        hub = (mirror or os.environ.get("SCUMBLE_MIRROR") or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        named = {
            HUB: os.environ.get("HF_TOKEN", "") or _login(),
            "https://civitai.com": os.environ.get("CIVITAI_TOKEN", ""),
        }
        if own := os.environ.get("SCUMBLE_HUB_TOKEN", ""):
            named[_origin(_checked(hub, "mirror"))] = own
        tokens = {origin: token.strip() for origin, token in named.items() if token.strip()}
        switched = any(_is_on(os.environ.get(name, "")) for name in ("SCUMBLE_OFFLINE", "HF_HUB_OFFLINE"))
        return cls(_checked(hub, "mirror"), tokens, offline or switched)


def _login() -> str:
    """What Hugging Face's own command keeps after ``hf auth login``; "" if there is nothing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    try:
        return Path(os.environ.get("HF_TOKEN_PATH") or home / "token").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_on(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on")


def _checked(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.port != 0 and parts.hostname and parts.scheme in ("http", "https") and "@" not in parts.netloc
    except ValueError:
        sound = False
    if not sound or not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        message = f"{shown(url)!r} is no address to download from; it starts with https:// and holds no password"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field=name)
    return url


def _origin(url: str) -> str:
    """Scheme, host and port; a missing port is the scheme's own."""
    parts = urlsplit(url)
    port = parts.port
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port not in (None, usual) else "")


def shown(url: str) -> str:
    """``url`` fit for messages and logs: without query, which may be signed, and without user and password."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def open_url(url: str, network: Network, headers: Mapping[str, str] | None = None) -> Response:
    """A response with status 200, 206 or 416, after redirects; close it.

    Raises Dropped for what another attempt may mend, ScumbleError OFFLINE, UNAUTHORIZED, MODEL_MISSING,
    INVALID_FIELD or DOWNLOAD_FAILED for the rest.
    """
    if network.offline:
        raise ScumbleError(
            ErrorCode.OFFLINE,
            f"{shown(url)} is needed and Scumble is offline",
            field="url",
            remedy=Remedy("Unset SCUMBLE_OFFLINE and leave out --offline, or import a file you copied by hand"),
        )
    request = urllib.request.Request(_checked(url, "url"), headers=dict(headers or {}))
    request.add_header("User-Agent", f"scumble/{__version__}")
    request.add_header("Accept-Encoding", "identity")
    _authorize(request, network)
    try:
        response: Response = _opener(network).open(request, timeout=network.timeout)
    except urllib.error.HTTPError as error:
        return _answered(error, network)
    except urllib.error.URLError as error:
        raise _unreachable(url, error.reason) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        message = f"{shown(url)} comes compressed, so neither its size nor its checksum can be checked"
        raise ScumbleError(ErrorCode.DOWNLOAD_FAILED, message, field="url")
    return response


def _authorize(request: urllib.request.Request, network: Network) -> None:
    """Adds the token of the request's own origin; never in clear text over a network."""
    parts = urlsplit(request.full_url)
    token = network.tokens.get(_origin(request.full_url))
    if token and (parts.scheme == "https" or parts.hostname in LOOPBACK):
        request.add_unredirected_header("Authorization", f"Bearer {token}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; each hop gets the token of its own origin or none."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            message = f"{shown(req.full_url)} redirects to an insecure address, which is refused"
            raise ScumbleError(ErrorCode.DOWNLOAD_FAILED, message, field="url")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            _authorize(request, self.network)
        return request


def _opener(network: Network) -> urllib.request.OpenerDirector:
    """http and https only (urllib's usual opener also reads files and ftp), through the proxies of the environment."""
    proxies = urllib.request.getproxies()
    for scheme in ("http", "https"):
        if proxies.get(scheme, "").startswith("socks"):
            message = f"the {scheme} proxy speaks SOCKS, which isn't supported"
            remedy = Remedy(f"Set {scheme}_proxy to an http:// proxy")
            raise ScumbleError(ErrorCode.UNSUPPORTED, message, field="proxy", remedy=remedy)
    opener = urllib.request.OpenerDirector()
    handlers: tuple[Any, ...] = (
        urllib.request.ProxyHandler(proxies),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(network),
        urllib.request.HTTPErrorProcessor(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _answered(error: urllib.error.HTTPError, network: Network) -> Response:
    """A 416 as a response, since it tells the size; everything else as an exception."""
    if error.code == 416 and isinstance(error.fp, http.client.HTTPResponse):
        return error.fp
    error.close()
    where = shown(error.url)
    if error.code in RETRIED:
        raise Dropped(f"{where} answered {error.code} {error.reason}", _seconds(error.headers.get("Retry-After")))
    if error.code in (401, 403):
        raise _unauthorized(error, where, network)
    if error.code in (404, 410):
        message = f"{where} is not there; it may have been renamed or withdrawn"
        remedy = Remedy("Check the name, or search for the model where it is published now")
        raise ScumbleError(ErrorCode.MODEL_MISSING, message, field="url", remedy=remedy)
    if error.code == 407:
        raise _proxy_refused()
    raise ScumbleError(ErrorCode.DOWNLOAD_FAILED, f"{where} answered {error.code} {error.reason}", field="url")


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; its date form is not worth a clock."""
    return min(float(value), 300.0) if value and value.isascii() and value.isdigit() else None


def _unauthorized(error: urllib.error.HTTPError, where: str, network: Network) -> ScumbleError:
    origin = _origin(error.url)
    if error.headers.get("X-Error-Code") == "GatedRepo":
        message = f"{where} is only given to those who accepted its licence"
        remedy = Remedy(
            "Accept the licence on the model's page, then set HF_TOKEN (or: hf auth login) to a token of that account"
        )
    elif network.tokens.get(origin):
        message = f"{origin} doesn't accept the token for {where}"
        remedy = Remedy("Make a new token there that may read this model")
    else:
        message = f"{where} needs a token, or does not exist"
        remedy = Remedy("Check the name; for a private model set HF_TOKEN (see docs/downloads.md)")
    return ScumbleError(ErrorCode.UNAUTHORIZED, message, field="url", remedy=remedy)


def _proxy_refused() -> ScumbleError:
    message = "the proxy wants a user name and password"
    remedy = Remedy("Set https_proxy to http://USER:PASSWORD@HOST:PORT")
    return ScumbleError(ErrorCode.UNAUTHORIZED, message, field="proxy", remedy=remedy)


def _unreachable(url: str, reason: object) -> Exception:
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        message = f"{host} can't prove who it is: {reason.verify_message}"
        remedy = Remedy("Behind a company proxy, set SSL_CERT_FILE to its certificates; check the clock too")
        return ScumbleError(ErrorCode.DOWNLOAD_FAILED, message, field="url", remedy=remedy)
    if str(reason).startswith("Tunnel connection failed: 407"):
        return _proxy_refused()
    if isinstance(reason, socket.gaierror):
        return Dropped(f"there is no way to {host}: the name isn't known; is the network up, is a proxy needed?")
    if isinstance(reason, TimeoutError):
        return Dropped(f"{host} didn't answer in time")
    if isinstance(reason, ConnectionRefusedError):
        return Dropped(f"{host} refuses connections")
    return Dropped(f"the connection to {host} broke: {str(reason) or type(reason).__name__}")
