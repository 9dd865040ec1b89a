"""What arrives on a connection, checked by itself: text frames, uploads, and what is known of stored tensors."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from scumble_shared.codec import Frame
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.limits import Limits
from scumble_shared.messages import Ack, Cancel, ClientMessage, Problem, Submit, Upload
from scumble_shared.schema import decode, loads
from scumble_shared.tensor import AnyArray, Digest, digest_of, is_one_off
from scumble_shared.validate import TensorFacts, facts_of

__all__ = ["CheckedTensor", "KnownTensors", "check_upload", "read_text"]

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

CheckedTensor = tuple[Digest, AnyArray, TensorFacts]


@dataclass(slots=True)
class KnownTensors:
    """What was seen of each stored tensor, so that a job can be checked against its buffers. Shared by all sessions."""

    limit: int = 16_384
    _facts: OrderedDict[Digest, TensorFacts] = field(default_factory=OrderedDict)

    def add(self, digest: Digest, facts: TensorFacts) -> None:
        self._facts[digest] = facts
        self._facts.move_to_end(digest)
        while len(self._facts) > self.limit:
            self._facts.popitem(last=False)

    def of(self, digests: Iterable[Digest]) -> dict[Digest, TensorFacts]:
        return {digest: self._facts[digest] for digest in digests if digest in self._facts}


def read_text(text: str, limits: Limits) -> tuple[ClientMessage | None, Problem | None]:
    """A text frame -> the message, or the problem with it; the problem names the job if that much can be read."""
    job_id = ""
    try:
        if len(text.encode("utf-8", "replace")) > limits.text_bytes:
            raise ScumbleError(ErrorCode.TOO_LARGE, f"a text frame is over {limits.text_bytes} bytes")
        value = loads(text)
        if isinstance(value, dict) and _is_job_id(value.get("job_id")):
            job_id = value["job_id"]
        message = decode(ClientMessage, value)
        if isinstance(message, Upload):
            raise ScumbleError(ErrorCode.INVALID_MESSAGE, "upload is a binary frame, not a text frame")
        if isinstance(message, Submit | Cancel | Ack) and not job_id:
            raise ScumbleError(ErrorCode.INVALID_FIELD, "expected 1 to 128 letters, digits, '-' or '_'", field="job_id")
    except ScumbleError as error:
        return None, Problem(error.info, job_id)
    return message, None


def check_upload(frame: Frame) -> list[CheckedTensor]:
    """The tensors of an upload, content addresses verified. Pure and heavy: fit for another thread.

    Raises ScumbleError INVALID_FIELD for a digest that isn't the tensor's.
    """
    checked = []
    for index, (info, array) in enumerate(zip(frame.message.tensors, frame.tensors, strict=True)):
        if not is_one_off(info.digest) and digest_of(array) != info.digest:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD, "isn't the SHA-256 of this tensor", field=f"tensors[{index}].digest"
            )
        checked.append((info.digest, array, facts_of(array)))
    return checked


def _is_job_id(value: object) -> bool:
    return isinstance(value, str) and JOB_ID.fullmatch(value) is not None
