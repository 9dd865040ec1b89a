"""Asking another program on this machine, or one whose address was given, over HTTP; every failure typed."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

__all__ = ["Answer", "Program", "checked_url"]

ANSWER_BYTES = 512 * 1024 * 1024
QUICK = 10.0
"""Seconds for questions that are answered at once."""


def checked_url(url: str) -> str:
    """``url`` without its last slash. Raises ScumbleError INVALID_FIELD for what is no http address."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or "@" in url or any(character <= " " for character in url):
        message = f"{url!r} is no address of a program; write for example http://127.0.0.1:8188"
        raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="--engine-url")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP; others than 2xx come, too."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Raises ValueError for what isn't JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Program:
    """name: as people call it. url: of its root."""

    name: str
    url: str

    def ask(self, path: str, content: object = None, *, timeout: float = QUICK, **query: str) -> Answer:
        """GET, or POST of ``content`` as JSON. Raises ScumbleError SERVER_UNREACHABLE."""
        data = None if content is None else json.dumps(content, allow_nan=False).encode()
        return self._send(path, data, "application/json", timeout, query)

    def upload(self, path: str, name: str, data: bytes, **fields: str) -> Answer:
        """A PNG file and text fields as a form. Raises likewise."""
        mark = secrets.token_hex(16)
        parts = [_part(mark, f'name="{key}"', value.encode()) for key, value in fields.items()]
        parts.append(_part(mark, f'name="image"; filename="{name}"\r\nContent-Type: image/png', data))
        body = b"".join([*parts, f"--{mark}--\r\n".encode()])
        return self._send(path, body, f"multipart/form-data; boundary={mark}", QUICK, {})

    def value(self, path: str, content: object = None, *, timeout: float = QUICK, **query: str) -> Any:
        """The JSON of a 2xx answer. Raises ScumbleError SERVER_UNREACHABLE for any other answer."""
        answer = self.ask(path, content, timeout=timeout, **query)
        try:
            if not 200 <= answer.status < 300:
                raise ValueError
            return answer.json()
        except (ValueError, RecursionError):
            raise self.nonsense(path) from None

    def nonsense(self, path: str) -> ScumbleError:
        """What to tell of an answer that this program doesn't give."""
        message = f"what answers at {self.url}{path} isn't {self.name} as it is known here"
        remedy = Remedy(f"Check the address, and that {self.name} is up to date")
        return ScumbleError(ErrorCode.SERVER_UNREACHABLE, message, field="--engine-url", remedy=remedy)

    def away(self, why: str) -> ScumbleError:
        """What to tell while it can't be reached."""
        message = f"{self.name} doesn't answer at {self.url}: {why}"
        remedy = Remedy(f"Start {self.name}, then try again", RemedyAction.RETRY)
        return ScumbleError(ErrorCode.SERVER_UNREACHABLE, message, field="--engine-url", retryable=True, remedy=remedy)

    def _send(self, path: str, data: bytes | None, content_type: str, timeout: float, query: dict[str, str]) -> Answer:
        address = f"{self.url}{path}{'?' + urlencode(query) if query else ''}"
        headers = {"Content-Type": content_type} if data is not None else {}
        request = urllib.request.Request(address, data, headers)
        try:
            # Without proxies: it is this machine, or an address somebody wrote down.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
                body = answer.read(ANSWER_BYTES + 1)
                if len(body) > ANSWER_BYTES:
                    raise self.nonsense(path)
                return Answer(answer.status, body)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(1024 * 1024))
        except urllib.error.URLError as error:
            raise self.away(_words(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise self.away(_words(error)) from error


def _part(mark: str, disposition: str, data: bytes) -> bytes:
    return f"--{mark}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError | socket.timeout):
        return "it took too long"
    if isinstance(reason, ConnectionRefusedError):
        return "the connection is refused"
    return str(reason) or type(reason).__name__
