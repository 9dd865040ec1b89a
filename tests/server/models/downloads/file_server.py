"""A web server on this machine that serves files as told: whole, in ranges, or as badly as servers can."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Resource:
    """faults: what happens to the first requests, in order; afterwards it is served as it should be."""

    body: bytes
    etag: str = '"v1"'
    ranges: bool = True
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Seen:
    path: str
    headers: Mapping[str, str]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self):
        self.server.seen.append(Seen(self.path, dict(self.headers)))
        resource = self.server.resources.get(self.path) or self.server.resources.get(urlsplit(self.path).path)
        if resource is None:
            return self.answer(404)
        fault = resource.faults.pop(0) if resource.faults else serve
        return fault(self, resource)

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.write(body)

    def write(self, data: bytes) -> bool:
        """False if nobody wants it any more, which is no error of this server."""
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
            return False
        return True

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *arguments):
        pass


Fault = Callable[[Handler, Resource], None]


class FileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.resources: dict[str, Resource] = {}
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self.scheme = "http"

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def put(self, path: str, body: bytes, *faults: Fault, **options) -> str:
        """Serve ``body`` at ``path``; returns the address."""
        self.resources[path] = Resource(body, faults=list(faults), **options)
        return self.url + path

    def put_repository(self, name: str, commit: str, files: Mapping[str, bytes], **card) -> None:
        """A model repository as the hub describes and serves it; .safetensors are the large files."""
        siblings = []
        for path, body in files.items():
            item = {"rfilename": path, "size": len(body), "blobId": git_sha1(body)}
            if path.endswith(".safetensors"):
                item["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
            siblings.append(item)
            self.put(f"/{name}/resolve/{commit}/{path}", body)
        answer = json.dumps({"sha": commit, "siblings": siblings, "cardData": card}).encode()
        for revision in ("main", commit):
            self.put(f"/api/models/{name}/revision/{revision}", answer)

    def handle_error(self, request, client_address):
        """Clients that go away in the middle are what these tests are about."""


def git_sha1(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


# --- as it should be --------------------------------------------------------------------------------


def wanted_from(handler: Handler, resource: Resource) -> int | None:
    """First byte of the range that may be served; None for the whole."""
    asked = handler.headers.get("Range", "")
    if not resource.ranges or not asked or handler.headers.get("If-Range", resource.etag) != resource.etag:
        return None
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def head(handler: Handler, resource: Resource) -> bytes:
    """Sends status and headers; returns the body that should follow, b"" after a 416."""
    start, size = wanted_from(handler, resource), len(resource.body)
    if start is not None and start >= size:
        handler.answer(416, {"Content-Range": f"bytes */{size}"})
        return b""
    handler.send_response(200 if start is None else 206)
    if start is not None:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    body = resource.body[start or 0 :]
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", resource.etag)
    handler.end_headers()
    return body


def serve(handler: Handler, resource: Resource) -> None:
    handler.write(head(handler, resource))


# --- as it shouldn't --------------------------------------------------------------------------------


def drop(after: int) -> Fault:
    """The connection ends ``after`` bytes of the body."""

    def fault(handler: Handler, resource: Resource) -> None:
        handler.write(head(handler, resource)[:after])
        handler.hang_up()

    return fault


def stall(after: int) -> Fault:
    """Nothing comes any more, and the connection stays open."""

    def fault(handler: Handler, resource: Resource) -> None:
        handler.write(head(handler, resource)[:after])
        handler.wfile.flush()
        handler.server.over.wait(60)
        handler.hang_up()

    return fault


def drip(handler: Handler, resource: Resource) -> None:
    """One byte every fiftieth of a second, so that no single wait is long."""
    for byte in head(handler, resource):
        if not handler.write(bytes([byte])) or handler.server.over.wait(0.02):
            break
    handler.hang_up()


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler, resource: Resource) -> None:
        handler.answer(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"<html>no</html>")

    return fault


def chunked(extra: bytes = b"", cut: bool = False) -> Fault:
    """The body in chunks, so that no header tells its size; with more behind it, or cut off before its end."""

    def fault(handler: Handler, resource: Resource) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for begin in range(0, len(resource.body + extra), 65536):
            piece = (resource.body + extra)[begin : begin + 65536]
            handler.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        if not cut:
            handler.write(b"0\r\n\r\n")
        handler.hang_up()

    return fault


def wrong_range(handler: Handler, resource: Resource) -> None:
    """206 with the file's beginning, whatever was asked for."""
    size = len(resource.body)
    handler.answer(206, {"Content-Range": f"bytes 0-{size - 1}/{size}"}, resource.body)


def other_total(handler: Handler, resource: Resource) -> None:
    """206 from the right place, of a file that is longer now."""
    start = wanted_from(handler, resource) or 0
    rest = resource.body[start:] + b"more"
    handler.answer(206, {"Content-Range": f"bytes {start}-{start + len(rest) - 1}/{start + len(rest)}"}, rest)


def length_of(length: int) -> Fault:
    """A Content-Length of its own invention."""

    def fault(handler: Handler, resource: Resource) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.write(resource.body[:length])
        handler.hang_up()

    return fault
