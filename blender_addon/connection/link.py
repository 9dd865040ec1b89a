"""The network thread: keeps one connection to a server, and makes a new one whenever it breaks.

A thin shell around :class:`scumble_shared.client.ClientSession`. Only that thread touches the session; the main thread
leaves orders in one queue and takes events from an :class:`Outbox`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from scumble_shared.client import Arrived, ClientSession
from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import Job
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.messages import SUBPROTOCOL, Cancelled, Failed, Preview, Problem, Progress, Result
from scumble_shared.pinning import pinned_context
from scumble_shared.schema import decode, loads
from scumble_shared.tensor import AnyArray, Digest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .address import Address
from .addressing import addressed
from .masking import QuickConnection
from .outbox import Outbox

__all__ = ["Addressed", "Arrival", "Link", "LinkEvent", "Lost"]

FIRST_WAIT = 0.25
LONGEST_WAIT = 5.0
"""Seconds between two attempts to connect; doubled after each."""

OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
FRAMES_AHEAD = 16
"""Frames read before the first of them is dealt with."""

FINAL_CODES = {ErrorCode.UNAUTHORIZED, ErrorCode.PROTOCOL_VERSION, ErrorCode.UNSUPPORTED}
"""What another attempt can't mend."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no connection. again_in: seconds to the next attempt, None if there won't be one."""

    error: ErrorInfo
    again_in: float | None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A submitted job as it goes to the server: its tensors are named by content now, and no longer by stand-ins."""

    job_id: str
    job: Job
    tensors: Mapping[Digest, AnyArray]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message with its tensors, and what ``prepare`` made of them on the network thread."""

    arrived: Arrived
    prepared: object


LinkEvent = Lost | Addressed | Arrival
Prepare = Callable[[Arrived, Job], object]
Order = Callable[[], object]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Received on a connection; data is None when that connection has ended."""

    connection: ClientConnection
    data: str | bytes | None


class Link:
    """client: name and version for the server's log. prepare: heavy work on what arrives for a job, off the main
    thread. find: where the server is after a connection was lost, as one that was started anew has another address;
    it may raise ScumbleError. None: where it was."""

    def __init__(
        self,
        address: Address,
        client: str,
        prepare: Prepare = lambda arrived, job: None,
        find: Callable[[], Address] | None = None,
    ) -> None:
        self.events = Outbox()
        self._address = address
        self._find = find
        self._session = ClientSession(client)
        self._prepare = prepare
        self._jobs: dict[str, Job] = {}  # those that haven't ended
        self._inbox: queue.SimpleQueue[_Frame | Order] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scumble-network", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(
        self,
        job_id: str,
        job: Job,
        tensors: Mapping[Digest, AnyArray],
        *,
        previews: bool = True,
        once: Collection[Digest] = (),
    ) -> None:
        """Returns at once; the job's end will be among the events.

        tensors: by stand-in or content address, as the job names them; nobody may change them from now on. once: the
        stand-ins of those that no other job will need, which go to the server as they are.
        """
        self._inbox.put(lambda: self._submit(job_id, job, tensors, previews, once))

    def cancel(self, job_id: str) -> None:
        self._inbox.put(lambda: self._deliver(self._session.cancel(job_id)))

    def list_models(self) -> None:
        """Have the server look for models; what it has will be among the events."""
        self._inbox.put(self._session.list_models)

    def close(self, timeout: float = 3.0) -> None:
        """Ends the connection and the thread; jobs that haven't ended are forgotten."""
        self._stopped.set()
        self._inbox.put(lambda: None)
        self.events.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    # --- the network thread -------------------------------------------------------------------------

    def _run(self) -> None:
        wait = FIRST_WAIT
        again = False
        while not self._stopped.is_set():
            since = time.monotonic()
            error = self._connect_and_converse(again=again)
            if time.monotonic() - since > LONGEST_WAIT:
                wait = FIRST_WAIT
            final = error.code in FINAL_CODES
            self.events.put(Lost(error, None if final else wait))
            self._take_orders_for(None if final else wait)
            wait = min(2.0 * wait, LONGEST_WAIT)
            again = True

    def _connect_and_converse(self, *, again: bool) -> ErrorInfo:
        """Why there is no connection any longer, or at all."""
        try:
            if again and self._find is not None:
                self._address = self._find()
            with _opened(self._address) as connection:
                room = threading.Semaphore(FRAMES_AHEAD)
                reader = threading.Thread(
                    target=self._read, args=(connection, room), name="scumble-reader", daemon=True
                )
                reader.start()
                try:
                    return self._converse(connection, room)
                finally:
                    self._session.disconnected()
                    connection.close()
                    room.release(FRAMES_AHEAD)
                    reader.join(CLOSE_TIMEOUT)
        except ScumbleError as error:
            return error.info

    def _converse(self, connection: ClientConnection, room: threading.Semaphore) -> ErrorInfo:
        """Until the connection ends, from either side."""
        self._session.connected()
        while not self._stopped.is_set():
            frame = self._session.next_frame()
            try:
                if frame is not None:
                    connection.send(frame)
                item = self._inbox.get(block=frame is None)
            except queue.Empty:
                continue
            except ConnectionClosed as error:
                return _lost(str(error))
            if not isinstance(item, _Frame):
                item()
            elif item.connection is connection:
                if item.data is None:
                    return _lost("the server closed the connection")
                self._deliver(self._session.receive(item.data))
                room.release()
        return _lost("closed")

    def _read(self, connection: ClientConnection, room: threading.Semaphore) -> None:
        """On a thread of its own, since the websocket can't wait for frames and for orders at once."""
        try:
            while True:
                data = connection.recv()
                room.acquire()
                self._inbox.put(_Frame(connection, data))
        except ConnectionClosed:
            self._inbox.put(_Frame(connection, None))

    def _take_orders_for(self, seconds: float | None) -> None:
        """Waits without a connection; None waits until the link is closed."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._stopped.is_set():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0.0:
                return
            try:
                item = self._inbox.get(timeout=left)
            except queue.Empty:
                return
            if not isinstance(item, _Frame):
                item()

    def _submit(
        self, job_id: str, job: Job, tensors: Mapping[Digest, AnyArray], previews: bool, once: Collection[Digest]
    ) -> None:
        if set(tensors) - set(once):
            job, tensors = addressed(job, tensors, once)
            self.events.put(Addressed(job_id, job, tensors))
        self._jobs[job_id] = job
        self._session.submit(job_id, job, tensors, previews=previews)

    def _deliver(self, messages: list[Arrived]) -> None:
        for arrived in messages:
            message = arrived.message
            latest = None
            if isinstance(message, Progress | Preview):
                latest = (type(message), message.job_id)
            job = self._jobs.get(getattr(message, "job_id", ""))
            self.events.put(Arrival(arrived, self._prepare(arrived, job) if job is not None else None), latest)
            if isinstance(message, Result | Failed | Cancelled | Problem):
                self._jobs.pop(message.job_id, None)


def _opened(address: Address) -> ClientConnection:
    """Raises ScumbleError as the server puts it, or SERVER_UNREACHABLE."""
    try:
        return connect(
            address.url,
            additional_headers={"Authorization": f"Bearer {address.token}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            max_size=DEFAULT_LIMITS.message_bytes,
            create_connection=QuickConnection,
            ssl=pinned_context(address.fingerprint) if address.fingerprint else None,
        )
    except InvalidStatus as error:
        raise _refused(bytes(error.response.body)) from None
    except (OSError, ValueError, InvalidHandshake) as error:
        raise _unreachable(f"no server answers at {address.url} ({error})") from None


def _refused(body: bytes) -> ScumbleError:
    try:
        return ScumbleError.from_info(decode(ErrorInfo, loads(body)))
    except ScumbleError:
        return _unreachable("what answers there isn't a Scumble server")


def _unreachable(message: str) -> ScumbleError:
    remedy = Remedy("Start Server", RemedyAction.START_SERVER)
    return ScumbleError(ErrorCode.SERVER_UNREACHABLE, message, retryable=True, remedy=remedy)


def _lost(why: str) -> ErrorInfo:
    return ErrorInfo(ErrorCode.CONNECTION_LOST, f"the connection to the server was lost ({why})", retryable=True)
