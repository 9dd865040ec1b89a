"""A client for scripts: connect, run jobs, get arrays. One thread, no callbacks needed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from scumble_shared import __version__
from scumble_shared.client import Arrived, ClientSession, ClientState
from scumble_shared.codec import Codecs
from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import AnyJob
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.messages import SUBPROTOCOL, Cancelled, Capabilities, Failed, Problem, Result
from scumble_shared.pinning import pinned_context
from scumble_shared.schema import decode, loads
from scumble_shared.tensor import AnyArray, Digest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket
from websockets.typing import Subprotocol

from ..service import JobCancelled
from .codecs import EDGE_CODECS

__all__ = ["BlockingClient", "JobResult", "connect"]

Listener = Callable[[Arrived], None]


@dataclass(frozen=True, slots=True)
class JobResult:
    """tensors: by result name. digests: their content addresses, for later jobs. provenance: JSON text."""

    job_id: str
    tensors: Mapping[str, AnyArray]
    digests: Mapping[str, Digest]
    provenance: str


@contextmanager
def connect(
    url: str, token: str, *, fingerprint: str = "", timeout: float = 10.0, codecs: Codecs = EDGE_CODECS
) -> Iterator[BlockingClient]:
    """Connect, wait until the server is ready for jobs, and close at the end.

    fingerprint: of the certificate of a ``wss`` server; "" trusts the system's authorities.
    timeout: seconds for the connection, and for each wait for the handshake.
    Raises ScumbleError SERVER_UNREACHABLE, UNAUTHORIZED, PROTOCOL_VERSION or BUSY.
    """
    websocket = _open(url, token, fingerprint, timeout)
    with websocket:
        client = BlockingClient(websocket, codecs)
        client.wait_until_ready(timeout)
        yield client


class BlockingClient:
    """Made by :func:`connect`. Not thread-safe."""

    def __init__(self, websocket: ClientConnection, codecs: Codecs) -> None:
        self._websocket = websocket
        self._session = ClientSession(f"scumble client {__version__}", codecs=codecs)
        self._session.connected()

    @property
    def session(self) -> ClientSession:
        return self._session

    @property
    def capabilities(self) -> Capabilities:
        """The latest the server said."""
        return self._session.capabilities

    def run_job(
        self,
        job: AnyJob,
        tensors: Mapping[Digest, AnyArray] | None = None,
        on_event: Listener | None = None,
        *,
        previews: bool = False,
        job_id: str = "",
    ) -> JobResult:
        """Have ``job`` done and wait for its end. An interrupt (Ctrl-C, or any error in ``on_event``) cancels it.

        tensors: by digest, those of the job. on_event: hears everything the server says meanwhile.
        Raises ScumbleError as the server reports it, CONNECTION_LOST, or JobCancelled.
        """
        job_id = job_id or str(uuid.uuid4())
        self._session.submit(job_id, job, tensors or {}, previews=previews)
        try:
            while True:
                for arrived in self._exchange(None):
                    if on_event is not None:
                        on_event(arrived)
                    if getattr(arrived.message, "job_id", "") == job_id:
                        result = _end_of(arrived)
                        if result is not None:
                            return result
        finally:
            self._session.cancel(job_id)
            self._flush()

    def wait_until_ready(self, timeout: float = 10.0) -> None:
        while self._session.state is not ClientState.READY:
            for arrived in self._exchange(timeout):
                if isinstance(arrived.message, Problem):
                    raise ScumbleError.from_info(arrived.message.error)

    def _exchange(self, timeout: float | None) -> list[Arrived]:
        """Send all there is to send, wait for one frame, and send what that calls for."""
        self._flush()
        try:
            data = self._websocket.recv(timeout)
        except TimeoutError:
            raise _unreachable("the server doesn't answer") from None
        except ConnectionClosed as error:
            raise _lost(error) from None
        arrived = self._session.receive(data)
        self._flush()
        return arrived

    def _flush(self) -> None:
        try:
            while (frame := self._session.next_frame()) is not None:
                self._websocket.send(frame)
        except ConnectionClosed as error:
            raise _lost(error) from None


def _open(url: str, token: str, fingerprint: str, timeout: float) -> ClientConnection:
    try:
        return open_websocket(
            url,
            additional_headers={"Authorization": f"Bearer {token}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            open_timeout=timeout,
            close_timeout=2.0,
            max_size=DEFAULT_LIMITS.message_bytes,
            ssl=pinned_context(fingerprint) if fingerprint else None,
        )
    except InvalidStatus as error:
        raise _refused(bytes(error.response.body)) from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise _unreachable(f"no Scumble server answers at {url} ({error})") from None


def _end_of(arrived: Arrived) -> JobResult | None:
    """The result if ``arrived`` is one, None if the job goes on; raises for the other ends."""
    match arrived.message:
        case Result() as result:
            digests = {info.name: info.digest for info in result.tensors}
            return JobResult(result.job_id, arrived.tensors, digests, result.provenance)
        case Failed(error=error) | Problem(error=error):
            raise ScumbleError.from_info(error)
        case Cancelled(job_id=job_id):
            raise JobCancelled(job_id)
    return None


def _refused(body: bytes) -> ScumbleError:
    try:
        return ScumbleError.from_info(decode(ErrorInfo, loads(body)))
    except ScumbleError:
        return _unreachable("what answers there isn't a Scumble server")


def _unreachable(message: str) -> ScumbleError:
    remedy = Remedy("Start the server", RemedyAction.START_SERVER)
    return ScumbleError(ErrorCode.SERVER_UNREACHABLE, message, retryable=True, remedy=remedy)


def _lost(error: ConnectionClosed) -> ScumbleError:
    return ScumbleError(ErrorCode.CONNECTION_LOST, f"the connection was lost ({error})", retryable=True)
