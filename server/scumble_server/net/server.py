"""The network edge: one port for websockets, health and metrics, in front of a job service."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from scumble_shared import __version__
from scumble_shared.codec import RAW, Codecs
from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction
from scumble_shared.limits import DEFAULT_LIMITS, Limits
from scumble_shared.messages import SUBPROTOCOL, Hello
from scumble_shared.schema import dumps
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ..service import JobService
from .arriving import KnownTensors
from .connection import Connection
from .guard import Guard, Refusal, is_loopback
from .journal import Journal
from .mailbox import Mailbox
from .metrics import Metrics
from .session import Session

__all__ = ["EdgeOptions", "NetServer"]

logger = logging.getLogger(__name__)

EXPIRY_SECONDS = 30.0
WRITE_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """host, port: where to listen; port 0 is any free one. names: see Guard. keep_seconds: see Journal.
    identify_seconds: see Connection."""

    token: str
    instance_id: str
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    names: tuple[str, ...] = ()
    limits: Limits = field(default_factory=lambda: DEFAULT_LIMITS)
    codecs: Codecs = RAW
    keep_seconds: float = 900.0
    identify_seconds: float = 10.0


class NetServer:
    """Made by :meth:`open`; serves until its context is left."""

    def __init__(self, service: JobService, options: EdgeOptions) -> None:
        self._service = service
        self._options = options
        self._guard = Guard(options.token, options.port, is_loopback(options.host), options.names)
        self._tensors = KnownTensors()
        self._journal = Journal(service, options.limits, time.monotonic, options.keep_seconds)
        self._connections: set[Connection] = set()
        self._connection_number = 0
        self._metrics = Metrics(service, self._journal, lambda: len(self._connections))
        self._hello = Hello(f"scumble {__version__}", options.instance_id, limits=options.limits)
        service.on_capabilities_changed(self._capabilities_changed)

    @classmethod
    @asynccontextmanager
    async def open(cls, service: JobService, options: EdgeOptions) -> AsyncIterator[NetServer]:
        """Listens when this is entered. Raises OSError if the port is taken."""
        edge = cls(service, options)
        limits = options.limits
        async with serve(
            edge._converse,
            options.host,
            options.port,
            ssl=options.tls,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            process_request=edge._process_request,
            compression=None,
            max_size=max(limits.message_bytes, limits.text_bytes),
            max_queue=16,
            write_limit=WRITE_BUFFER,
            server_header=None,
            close_timeout=2.0,
        ) as server:
            edge._bound(server)
            expiry = asyncio.create_task(edge._expire())
            try:
                yield edge
            finally:
                expiry.cancel()

    @property
    def port(self) -> int:
        """The one really listened on."""
        return self._guard.port

    @property
    def url(self) -> str:
        host = self._options.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"{'wss' if self._options.tls else 'ws'}://{shown}:{self.port}"

    def _bound(self, server: Server) -> None:
        port = next(iter(server.sockets)).getsockname()[1]
        self._guard = Guard(self._options.token, port, self._guard.loopback, self._options.names)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            self._journal.expire()

    def _capabilities_changed(self) -> None:
        for connection in self._connections:
            connection.session.capabilities_changed()

    # --- HTTP ---------------------------------------------------------------------------------------

    def _process_request(self, websocket: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        guard = self._guard
        path = request.path.partition("?")[0]
        refusal = guard.check_origin(headers.get_all("Origin"), headers.get_all("Host"))
        if refusal is None and path == "/healthz":
            return _response(HTTPStatus.OK, "application/json", self._metrics.health())
        if refusal is None:
            refusal = guard.check_token(headers.get_all("Authorization"))
        if refusal is None and path == "/metrics":
            return _response(HTTPStatus.OK, *self._metrics.render())
        if refusal is None and path != "/":
            return _response(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
        if refusal is None:
            refusal = guard.check_subprotocol(headers.get_all("Sec-WebSocket-Protocol"))
        if refusal is None and len(self._connections) >= self._options.limits.connections:
            refusal = _full(self._options.limits.connections)
        if refusal is None:
            return None
        logger.info("refused a request: %s", refusal.error.message)
        return _response(refusal.status, "application/json", dumps(refusal.error).encode())

    # --- websockets ---------------------------------------------------------------------------------

    async def _converse(self, websocket: ServerConnection) -> None:
        self._connection_number += 1
        number = self._connection_number
        local = _is_local(websocket.remote_address)

        def make_session(mailbox: Mailbox) -> Session:
            return Session(
                hello=self._hello,
                service=self._service,
                journal=self._journal,
                tensors=self._tensors,
                mailbox=mailbox,
                codecs=self._options.codecs,
                local=local,
                owner=f"connection {number}",
            )

        connection = Connection(
            websocket,
            self._options.limits,
            self._options.codecs,
            make_session,
            self._service.look_for_models,
            self._options.identify_seconds,
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


def _full(connections: int) -> Refusal:
    error = ErrorInfo(
        ErrorCode.BUSY,
        f"{connections} clients are connected already",
        retryable=True,
        remedy=Remedy("Try again later", RemedyAction.RETRY),
    )
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error)


def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers(
        {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
        }
    )
    return Response(status.value, status.phrase, headers, body)


def _is_local(address: Any) -> bool:
    return isinstance(address, tuple) and is_loopback(str(address[0]))
