"""The server's side of one conversation, without I/O: give it messages, take from its mailbox.

Messages are handled in the order they came, but for ``cancel`` and ``ack``, which overtake whatever is still being
read, checked or stored (:meth:`Session.overtakes`). Nothing a client says raises: it is answered by a ``problem``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from scumble_shared.codec import Codecs
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import AnyJob, LibraryJob, tensors_of
from scumble_shared.library import PLACE_ACTIONS
from scumble_shared.messages import (
    PROTOCOL_VERSION,
    Ack,
    Cancel,
    Capabilities,
    ClientMessage,
    Hello,
    Identify,
    ListModels,
    ModelsChanged,
    NeedTensors,
    Problem,
    Ready,
    Submit,
    Upload,
)
from scumble_shared.tensor import AnyArray
from scumble_shared.validate import validate_job

from ..service import JobService
from .arriving import CheckedTensor, KnownTensors
from .journal import Journal
from .mailbox import Mailbox, Outgoing

__all__ = ["Session"]

logger = logging.getLogger(__name__)

CAPABILITIES = "capabilities"


class Session:
    """local: the client is on this machine, so that compressing would only cost time.

    owner: whose turn its jobs are in the queue. server: what to say hello with.
    """

    def __init__(
        self,
        *,
        hello: Hello,
        service: JobService,
        journal: Journal,
        tensors: KnownTensors,
        mailbox: Mailbox,
        codecs: Codecs,
        local: bool,
        owner: str,
    ) -> None:
        self._hello = hello
        self._service = service
        self._journal = journal
        self._tensors = tensors
        self._mailbox = mailbox
        self._codecs = codecs
        self._local = local
        self._owner = owner
        self._client_codecs: tuple[str, ...] = ("raw",)
        self._waiting: set[str] = set()  # jobs whose submit has come but isn't handled yet
        self._withdrawn: set[str] = set()  # and those of them that were cancelled meanwhile
        self.identified = False
        self.client = ""

    def open(self) -> None:
        """Say hello."""
        self._mailbox.post(Outgoing(self._hello))

    def close(self) -> None:
        """The connection is gone. Its jobs go on."""
        self._journal.leave(self)

    def codec_for(self, array: AnyArray) -> str:
        """How to send ``array`` to this client."""
        if self._local:
            return "raw"
        return self._codecs.choose(array, [name for name in self._codecs.names if name in self._client_codecs])

    def capabilities_changed(self) -> None:
        if self.identified:
            self._mailbox.post_latest(CAPABILITIES, Outgoing(ModelsChanged(self._capabilities())))

    def report(self, error: ScumbleError, job_id: str = "") -> None:
        self._mailbox.post(Outgoing(Problem(error.info, job_id)))

    def overtakes(self, message: ClientMessage) -> bool:
        """Handle a message that must not wait; False if it has to be handled in its turn, by :meth:`handle`."""
        match message:
            case Cancel(job_id=job_id) if self.identified:
                if job_id in self._waiting:
                    self._withdrawn.add(job_id)
                else:
                    self._guarded(lambda: self._journal.cancel(job_id), job_id)
                return True
            case Ack() if self.identified:
                self._journal.acknowledge(message.job_id, message.seq)
                return True
            case Submit():
                self._waiting.add(message.job_id)
        return False

    def needs_look(self, message: ClientMessage) -> bool:
        """Whether the service should look for models before :meth:`handle` is given ``message``: the client asks for
        them, or for one that wasn't there when the service last looked."""
        if isinstance(message, ListModels):
            return self.identified
        if not isinstance(message, Submit) or not self.identified:
            return False
        try:
            validate_job(message.job, self._hello.limits, self._service.capabilities())
        except ScumbleError as error:
            return error.code in (ErrorCode.MODEL_MISSING, ErrorCode.MODEL_INVALID)
        return False

    def handle(self, message: ClientMessage) -> None:
        """A message in its turn. An upload goes to :meth:`store` instead."""
        match message:
            case Identify():
                self._guarded(lambda: self._identify(message))
            case Submit():
                self._waiting.discard(message.job_id)
                self._guarded(lambda: self._submit(message), message.job_id)
            case ListModels():
                self._guarded(self._list_models)
            case Cancel() | Ack() | Upload():
                self._guarded(self._require_identity)

    def store(self, tensors: list[CheckedTensor]) -> None:
        """Keep the tensors of an upload that :func:`check_upload` passed."""
        self._guarded(lambda: self._store(tensors))

    # --- Listener -----------------------------------------------------------------------------------

    def tell(self, job_id: str, outgoing: Outgoing, *, final: bool) -> None:
        if final:
            self._mailbox.drop_latest(("progress", job_id), ("preview", job_id))
        self._mailbox.post(outgoing)

    def tell_latest(self, job_id: str, outgoing: Outgoing) -> None:
        kind = "preview" if outgoing.tensors else "progress"
        self._mailbox.post_latest((kind, job_id), outgoing)

    # --- what the client asks -----------------------------------------------------------------------

    def _identify(self, message: Identify) -> None:
        if self.identified:
            raise ScumbleError(ErrorCode.INVALID_MESSAGE, "already identified")
        lowest, highest = self._hello.protocol
        if not lowest <= message.protocol <= highest:
            raise ScumbleError(
                ErrorCode.PROTOCOL_VERSION,
                f"this server speaks protocol {lowest} to {highest}, the client {message.protocol}",
                field="protocol",
                remedy=_update_remedy(message.protocol > highest),
            )
        self.identified = True
        self.client = message.client
        self._client_codecs = message.codecs
        replays = {}
        for point in message.resume:
            replay = self._journal.resume(point.job_id, point.seq, self)
            if replay is not None:
                replays[point.job_id] = replay
        ready = Ready(PROTOCOL_VERSION, self._capabilities(), self._preferred_codec(), tuple(replays))
        self._mailbox.post(Outgoing(ready))
        for replay in replays.values():
            replay()

    def _list_models(self) -> None:
        self._require_identity()
        self.capabilities_changed()

    def _capabilities(self) -> Capabilities:
        """The service's, with what this edge adds."""
        return replace(self._service.capabilities(), codecs=self._codecs.names)

    def _preferred_codec(self) -> str:
        """For what the client sends."""
        if self._local:
            return "raw"
        return next((name for name in ("zstd",) if name in self._client_codecs and name in self._codecs.names), "raw")

    def _submit(self, message: Submit) -> None:
        self._require_identity()
        job_id, job = message.job_id, message.job
        withdrawn = job_id in self._withdrawn
        self._withdrawn.discard(job_id)
        if self._journal.known(job_id, job, self):
            if withdrawn:
                self._journal.cancel(job_id)
            return
        if withdrawn:
            raise ScumbleError(ErrorCode.UNKNOWN_JOB, "was cancelled before it was queued", field="job_id")
        digests = tuple(dict.fromkeys(tensors_of(job)))
        self._check_place(job)
        validate_job(job, self._hello.limits, self._service.capabilities(), self._tensors.of(digests))
        missing = self._service.missing(digests)
        if missing:
            self._mailbox.post(Outgoing(NeedTensors(job_id, missing)))
            return
        self._journal.submit(job_id, job, self._owner, self, previews=message.previews)

    def _check_place(self, job: AnyJob) -> None:
        """Whoever is on another machine has no business with the names of files on this one."""
        if isinstance(job, LibraryJob) and job.action in PLACE_ACTIONS and not self._local:
            raise ScumbleError(
                ErrorCode.UNAUTHORIZED,
                "files and folders can only be named on the server's own machine",
                field="job.target",
                remedy=Remedy("Do it there: scumble download import, or scumble models --add"),
            )

    def _store(self, tensors: list[CheckedTensor]) -> None:
        self._require_identity()
        for index, (digest, array, facts) in enumerate(tensors):
            try:
                self._service.put(digest, array)
            except ScumbleError as error:
                info = error.info
                raise ScumbleError(
                    info.code,
                    info.message,
                    field=f"tensors[{index}]",
                    retryable=info.retryable,
                    remedy=info.remedy,
                ) from None
            self._tensors.add(digest, facts)

    def _require_identity(self) -> None:
        if not self.identified:
            raise ScumbleError(ErrorCode.INVALID_MESSAGE, "identify must come first")

    def _guarded(self, action: Callable[[], None], job_id: str = "") -> None:
        try:
            action()
        except ScumbleError as error:
            self.report(error, job_id)
        except Exception:  # a bug costs this one request, not the connection and all that goes on over it
            logger.exception("a message could not be handled")
            self.report(ScumbleError(ErrorCode.INTERNAL, "the server failed; its log says how"), job_id)


def _update_remedy(client_is_newer: bool) -> Remedy:
    if client_is_newer:
        return Remedy("Update the Scumble server", RemedyAction.UPDATE_SERVER)
    return Remedy("Update the Scumble extension", RemedyAction.UPDATE_ADDON)
