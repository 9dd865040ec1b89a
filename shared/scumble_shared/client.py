"""The client's side of a conversation, without I/O: give it what arrives, send what it hands out.

A shell (a thread with a websocket) does this::

    session.connected()
    while (frame := session.next_frame()) is not None: websocket.send(frame)
    for arrived in session.receive(websocket.recv()): ...
    session.disconnected()          # then connect again: nothing that was submitted is lost

Every job given to :meth:`ClientSession.submit` ends exactly once, with ``Result``, ``Failed``, ``Cancelled`` or a
``Problem`` that names it, however often the connection breaks or the server is replaced in between.
Not thread-safe: one thread calls everything.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .codec import RAW, Assembler, Codecs, decode_binary, decode_text, describe, encode_frames, encode_text
from .errors import ErrorCode, ErrorInfo, Remedy, RemedyAction, ScumbleError
from .job import AnyJob, tensors_of
from .limits import DEFAULT_LIMITS, Limits
from .messages import (
    PROTOCOL_VERSION,
    Accepted,
    Ack,
    Cancel,
    Cancelled,
    Capabilities,
    ClientMessage,
    Failed,
    Hello,
    Identify,
    ListModels,
    ModelsChanged,
    NeedTensors,
    Preview,
    Problem,
    Progress,
    Ready,
    Result,
    ResumePoint,
    ServerMessage,
    Started,
    Submit,
    Upload,
)
from .tensor import AnyArray, Digest, is_one_off

__all__ = ["Arrived", "ClientSession", "ClientState"]

KNOWN_TENSORS = 4096
"""Addresses remembered as uploaded. Forgetting one costs an upload, remembering one too many a round trip."""

GROUP_BYTES = 256 * 1024
FINISHED_JOBS = 256
UPLOAD_ATTEMPTS = 3


class ClientState(StrEnum):
    DISCONNECTED = "disconnected"
    CONNECTED = "connected"  # waits for hello
    IDENTIFIED = "identified"  # waits for ready
    READY = "ready"
    REFUSED = "refused"  # the server speaks no version that this client does


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message for the application, with its tensors by name. Each reliable event comes once and in order."""

    message: ServerMessage
    tensors: Mapping[str, AnyArray] = field(default_factory=dict)


@dataclass(slots=True)
class _Pending:
    """A job that hasn't ended. seq: of its last reliable event. sent: to a server that may still know it.

    uploads: how often the server asked for its tensors on this connection.
    """

    job: AnyJob
    tensors: Mapping[Digest, AnyArray]
    previews: bool
    seq: int = 0
    sent: bool = False
    cancelled: bool = False
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class _UploadOrder:
    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class _SubmitOrder:
    job_id: str


class ClientSession:
    """client: name and version for the server's log. codecs: what this side can decode and encode.

    limits: what this side accepts; the server's own limits hold for what is sent.
    """

    def __init__(self, client: str, *, codecs: Codecs = RAW, limits: Limits = DEFAULT_LIMITS) -> None:
        self._client = client
        self._codecs = codecs
        self._own_limits = limits
        self._state = ClientState.DISCONNECTED
        self._hello: Hello | None = None
        self._ready: Ready | None = None
        self._capabilities = Capabilities()
        self._pending: dict[str, _Pending] = {}
        self._finished: deque[Ack] = deque(maxlen=FINISHED_JOBS)
        self._known: OrderedDict[Digest, None] = OrderedDict()
        self._upload_problem: ErrorInfo | None = None
        self._urgent: deque[ClientMessage] = deque()  # may overtake everything else
        self._orders: deque[_UploadOrder | _SubmitOrder] = deque()
        self._frames: Iterator[bytes] = iter(())  # rest of an upload that was begun
        self._assembler = Assembler(limits)

    @property
    def state(self) -> ClientState:
        return self._state

    @property
    def limits(self) -> Limits:
        """The server's, once it said hello."""
        return self._hello.limits if self._hello else DEFAULT_LIMITS

    @property
    def instance_id(self) -> str:
        """Of the server last spoken to; another one has none of our jobs or tensors."""
        return self._hello.instance_id if self._hello else ""

    @property
    def server(self) -> str:
        return self._hello.server if self._hello else ""

    @property
    def capabilities(self) -> Capabilities:
        """The latest the server said."""
        return self._capabilities

    @property
    def pending(self) -> tuple[str, ...]:
        """Ids of the jobs that haven't ended, oldest first."""
        return tuple(self._pending)

    # --- the connection -----------------------------------------------------------------------------

    def connected(self) -> None:
        """A new connection is open; the server speaks first."""
        self._drop_outgoing()
        self._assembler = Assembler(self._own_limits)
        self._state = ClientState.CONNECTED

    def disconnected(self) -> None:
        """The connection is gone, for whatever reason. Jobs stay pending."""
        self._drop_outgoing()
        self._state = ClientState.DISCONNECTED

    def next_frame(self) -> str | bytes | None:
        """What to send next: str as a text frame, bytes as a binary one; None when there is nothing to send now.

        Cancels and acknowledgements overtake uploads, even one that is half sent.
        """
        if self._urgent:
            return encode_text(self._urgent.popleft())
        while True:
            if (piece := next(self._frames, None)) is not None:
                return piece
            if not self._orders:
                return None
            order = self._orders.popleft()
            if isinstance(order, _UploadOrder):
                self._frames = self._upload_frames(order.digests)
            elif (pending := self._pending.get(order.job_id)) is not None:
                pending.sent = True
                return encode_text(Submit(order.job_id, pending.job, pending.previews))

    def receive(self, data: str | bytes) -> list[Arrived]:
        """One received frame -> what the application should know, in order.

        Raises ScumbleError for bytes that aren't of this protocol (close the connection, then connect again), and
        PROTOCOL_VERSION if the server speaks no version that this client does (don't connect again).
        """
        try:
            if isinstance(data, str):
                return self._handle(decode_text(data, ServerMessage, self._own_limits), {})
            whole = self._assembler.feed(data)
            if whole is None:
                return []
            frame = decode_binary(whole, ServerMessage, self._own_limits, self._codecs)
            return self._handle(frame.message, frame.by_name())
        except ScumbleError as error:
            if error.code is ErrorCode.UNSUPPORTED and error.info.field == "type":
                return []  # a newer server says more than we know
            raise

    # --- jobs ---------------------------------------------------------------------------------------

    def submit(self, job_id: str, job: AnyJob, tensors: Mapping[Digest, AnyArray], *, previews: bool = True) -> None:
        """Have ``job`` done, now or as soon as there is a connection.

        tensors: by digest, those the server may lack; they are kept until the job has ended.
        Raises ValueError for an id that is pending already.
        """
        if job_id in self._pending:
            raise ValueError(f"job {job_id} is pending already")
        self._pending[job_id] = _Pending(job, tensors, previews)
        if self._state is ClientState.READY:
            self._order(job_id)

    def cancel(self, job_id: str) -> list[Arrived]:
        """Ask for a job to end. A job no server has seen ends here and now; otherwise its end will arrive."""
        pending = self._pending.get(job_id)
        if pending is None or pending.cancelled:
            return []
        if not pending.sent:
            return self._end(job_id, Cancelled(job_id, pending.seq))
        pending.cancelled = True
        if self._state is ClientState.READY:
            self._urgent.append(Cancel(job_id))
        return []

    def list_models(self) -> None:
        """Have the server look for models; ``ModelsChanged`` will arrive. Without a connection, ``Ready`` will do."""
        if self._state is ClientState.READY:
            self._urgent.append(ListModels())

    # --- what the server says -----------------------------------------------------------------------

    def _handle(self, message: ServerMessage, tensors: Mapping[str, AnyArray]) -> list[Arrived]:
        match message:
            case Hello():
                return self._greeted(message)
            case Ready():
                return self._made_ready(message)
            case ModelsChanged():
                self._capabilities = message.capabilities
                return [Arrived(message)]
            case NeedTensors():
                return self._asked_for_tensors(message)
            case Problem():
                return self._told_of_problem(message)
            case Progress() | Preview():
                return [Arrived(message, tensors)] if message.job_id in self._pending else []
            case Accepted() | Started() | Result() | Failed() | Cancelled():
                return self._told_of_job(message, tensors)

    def _greeted(self, hello: Hello) -> list[Arrived]:
        lowest, highest = hello.protocol
        if not lowest <= PROTOCOL_VERSION <= highest:
            self._state = ClientState.REFUSED
            raise _version_error(hello)
        if self.instance_id != hello.instance_id:
            self._known.clear()
            self._finished.clear()
            for pending in self._pending.values():
                pending.seq, pending.sent = 0, False
        self._hello = hello
        resume = tuple(ResumePoint(job_id, job.seq) for job_id, job in self._pending.items() if job.sent)
        self._urgent.append(Identify(self._client, PROTOCOL_VERSION, self._codecs.names, resume))
        self._state = ClientState.IDENTIFIED
        return [Arrived(hello)]

    def _made_ready(self, ready: Ready) -> list[Arrived]:
        self._state = ClientState.READY
        self._ready = ready
        self._capabilities = ready.capabilities
        self._urgent.extend(self._finished)
        arrived = [Arrived(ready)]
        for job_id, pending in list(self._pending.items()):
            if job_id in ready.resumed:
                if pending.cancelled:
                    self._urgent.append(Cancel(job_id))
            elif pending.cancelled:
                arrived += self._end(job_id, Cancelled(job_id, pending.seq))
            else:
                pending.seq, pending.sent, pending.uploads = 0, False, 0
                self._order(job_id)
        return arrived

    def _asked_for_tensors(self, message: NeedTensors) -> list[Arrived]:
        job_id = message.job_id
        pending = self._pending.get(job_id)
        if pending is None:
            return []
        if pending.cancelled:
            return self._end(job_id, Cancelled(job_id, pending.seq))
        unavailable = [digest for digest in message.digests if digest not in pending.tensors]
        pending.uploads += 1
        if unavailable or pending.uploads > UPLOAD_ATTEMPTS:
            error = ErrorInfo(ErrorCode.INVALID_FIELD, "the server lacks a buffer of this job", "job", True)
            return self._end(job_id, Problem(self._upload_problem or error, job_id))
        for digest in message.digests:
            self._known.pop(digest, None)
        self._order(job_id, upload=True)
        return []

    def _told_of_problem(self, message: Problem) -> list[Arrived]:
        pending = self._pending.get(message.job_id)
        if pending is not None:
            if pending.cancelled and message.error.code is ErrorCode.UNKNOWN_JOB:
                return self._end(message.job_id, Cancelled(message.job_id, pending.seq))
            return self._end(message.job_id, message)
        if message.job_id:
            return []  # of a job that has ended meanwhile
        if message.error.field.startswith("tensors") or message.error.code is ErrorCode.TOO_LARGE:
            self._upload_problem = message.error
        return [Arrived(message)]

    def _told_of_job(
        self, message: Accepted | Started | Result | Failed | Cancelled, tensors: Mapping[str, AnyArray]
    ) -> list[Arrived]:
        job_id = message.job_id
        pending = self._pending.get(job_id)
        if pending is None or message.seq <= pending.seq:
            return []
        pending.seq = message.seq
        if isinstance(message, Accepted | Started):
            return [Arrived(message, tensors)]
        if isinstance(message, Result):
            self._remember(info.digest for info in message.tensors if info.digest)
        ack = Ack(job_id, message.seq)
        self._finished.append(ack)
        self._urgent.append(ack)
        return self._end(job_id, message, tensors)

    def _end(self, job_id: str, message: ServerMessage, tensors: Mapping[str, AnyArray] | None = None) -> list[Arrived]:
        del self._pending[job_id]
        return [Arrived(message, tensors or {})]

    # --- what goes out ------------------------------------------------------------------------------

    def _order(self, job_id: str, *, upload: bool = False) -> None:
        """Queue a job's upload and submission.

        On the same machine unknown tensors go first, which saves a round trip; elsewhere the server is asked
        what it lacks, which may save the upload.
        """
        pending = self._pending[job_id]
        if upload or (self._ready is not None and self._ready.codec == "raw"):
            wanted = dict.fromkeys(tensors_of(pending.job))
            digests = [digest for digest in wanted if digest in pending.tensors and digest not in self._known]
            self._orders.extend(_UploadOrder(group) for group in self._grouped(digests, pending.tensors))
            self._remember(digest for digest in digests if not is_one_off(digest))
        self._orders.append(_SubmitOrder(job_id))

    def _grouped(self, digests: Iterable[Digest], tensors: Mapping[Digest, AnyArray]) -> Iterator[tuple[Digest, ...]]:
        """Small tensors together; a large one by itself, so that the server checks it while the next one travels."""
        group: list[Digest] = []
        size = 0
        for digest in digests:
            nbytes = tensors[digest].nbytes
            if group and (size + nbytes > GROUP_BYTES or len(group) == self.limits.blobs_per_frame):
                yield tuple(group)
                group, size = [], 0
            group.append(digest)
            size += nbytes
        if group:
            yield tuple(group)

    def _upload_frames(self, digests: tuple[Digest, ...]) -> Iterator[bytes]:
        """Of those tensors that a pending job still wants."""
        found: dict[Digest, AnyArray] = {}
        for pending in self._pending.values():
            found.update((digest, pending.tensors[digest]) for digest in digests if digest in pending.tensors)
        wanted = self._ready.codec if self._ready else "raw"
        arrays = list(found.values())
        infos = tuple(
            describe("", array, digest, self._codecs.choose(array, (wanted,))) for digest, array in found.items()
        )
        for digest in digests:
            if digest not in found:
                self._known.pop(digest, None)
        if not found:
            return iter(())
        return encode_frames(Upload(infos), arrays, self.limits, self._codecs)

    def _remember(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._known[digest] = None
            self._known.move_to_end(digest)
        while len(self._known) > KNOWN_TENSORS:
            self._known.popitem(last=False)

    def _drop_outgoing(self) -> None:
        self._urgent.clear()
        self._orders.clear()
        self._frames = iter(())


def _version_error(hello: Hello) -> ScumbleError:
    lowest, highest = hello.protocol
    newer = lowest > PROTOCOL_VERSION
    remedy = (
        Remedy("Update the Scumble extension", RemedyAction.UPDATE_ADDON)
        if newer
        else Remedy("Update the Scumble server", RemedyAction.UPDATE_SERVER)
    )
    return ScumbleError(
        ErrorCode.PROTOCOL_VERSION,
        f"the server ({hello.server}) speaks protocol {lowest} to {highest}, this client {PROTOCOL_VERSION}",
        remedy=remedy,
    )
