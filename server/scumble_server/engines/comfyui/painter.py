"""Pictures by ComfyUI: uploaded images, one queued graph per picture, its websocket followed until it has ended."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.tensor import AnyArray, Digest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from ...service import JobCancelled, JobHooks
from ..executor import ForeignExecutor
from ..http import Program, checked_url
from ..listing import Listing, named
from ..pictures import Canvas, control_pictures, decoded, encoded, pasted, start_pictures
from .complaints import failed, missing_node, refused
from .graph import NEEDED, OUTPUT, SAMPLER, SAMPLERS, Placed, graph_of

__all__ = ["ComfyPainter", "comfyui_executor"]

LOOK = 0.2
"""Seconds between two looks whether the job was cancelled."""

OPEN = 10.0
SILENT = 120.0
"""Seconds it may be too busy loading a model to answer a ping."""

CLOSE = 1.0
FRAME_BYTES = 256 * 1024 * 1024
PREVIEW_IMAGE, PREVIEW_WITH_METADATA = 1, 4
"""Kinds of binary messages."""


def comfyui_executor(url: str) -> ForeignExecutor:
    """For a worker process. Raises ScumbleError INVALID_FIELD for what is no address."""
    return ForeignExecutor(ComfyPainter(url))


class ComfyPainter:
    """url: such as http://127.0.0.1:8188."""

    name = "ComfyUI"

    def __init__(self, url: str) -> None:
        self._program = Program(self.name, checked_url(url))

    def listing(self) -> Listing:
        info = self._program.value("/object_info", timeout=60.0)
        if not isinstance(info, dict):
            raise self._program.nonsense("/object_info")
        for node in NEEDED:
            if node not in info:
                raise missing_node(node)
        samplers, schedulers = (_choices(info, "KSampler", name) for name in ("sampler_name", "scheduler"))
        return Listing(
            self.name,
            models=named(_choices(info, "CheckpointLoaderSimple", "ckpt_name")),
            controlnets=named(_choices(info, "ControlNetLoader", "control_net_name")),
            loras=named(_choices(info, "LoraLoader", "lora_name")),
            samplers=tuple(ours for ours, (name, plan) in SAMPLERS.items() if name in samplers and plan in schedulers),
            device=self._device(),
        )

    def paint(
        self, job: GenerateJob, listing: Listing, tensors: Mapping[Digest, AnyArray], hooks: JobHooks
    ) -> list[AnyArray]:
        canvas = Canvas(job.width, job.height)
        hooks.progress("conditioning", fraction=0.0)
        start, mask = start_pictures(job, tensors)
        placed = self._placed(job, listing, canvas, tensors, start, mask)
        client = secrets.token_hex(16)
        images = []
        with self._listening(client) as line:
            for index in range(job.batch_size):
                hooks.check_cancelled()
                graph = graph_of(job, placed, job.seed + index)
                prompt_id = self._queue(graph, client, job)
                _Following(self._program, line, prompt_id, hooks, job, index).to_the_end()
                image = canvas.cropped(self._fetch(prompt_id))
                images.append(image if start is None or mask is None else pasted(image, start, mask))
        return images

    def _placed(
        self,
        job: GenerateJob,
        listing: Listing,
        canvas: Canvas,
        tensors: Mapping[Digest, AnyArray],
        start: AnyArray | None,
        mask: AnyArray | None,
    ) -> Placed:
        model = listing.model(job.model)
        nets = [listing.controlnet(control, model, index) for index, control in enumerate(job.controls)]
        loras = [(listing.lora(lora.model, index), lora.weight) for index, lora in enumerate(job.loras)]
        shown = [self._upload(canvas.filled(picture)) for picture in control_pictures(job, tensors)]
        width, height = canvas.size
        return Placed(
            model,
            width,
            height,
            loras,
            list(zip(nets, shown, strict=True)),
            "" if start is None else self._upload(canvas.filled(start)),
            "" if mask is None else self._upload(canvas.filled(mask)),
        )

    def _device(self) -> str:
        stats = self._program.value("/system_stats")
        try:
            return f"ComfyUI on {stats['devices'][0]['name']}"
        except (KeyError, IndexError, TypeError):
            return self.name

    def _upload(self, picture: AnyArray) -> str:
        """Name of the picture for a LoadImage node. It goes where ComfyUI tidies up by itself."""
        name = f"scumble-{secrets.token_hex(8)}.png"
        answer = self._program.upload("/upload/image", name, encoded(picture), type="temp", overwrite="true")
        try:
            found = answer.json()
            place = f"{found['subfolder']}/{found['name']}" if found.get("subfolder") else found["name"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._program.nonsense("/upload/image") from None
        return f"{place} [temp]"

    def _queue(self, graph: dict[str, Any], client: str, job: GenerateJob) -> str:
        # By itself ComfyUI draws no previews, unless it was started with --preview-method.
        wanted = {"preview_method": "auto"}
        answer = self._program.ask("/prompt", {"prompt": graph, "client_id": client, "extra_data": wanted})
        try:
            found = answer.json()
            if answer.status == 400 and "error" in found:
                raise refused(found, job)
            prompt_id = found["prompt_id"]
        except (ValueError, KeyError, TypeError):
            raise self._program.nonsense("/prompt") from None
        if not isinstance(prompt_id, str):
            raise self._program.nonsense("/prompt")
        return prompt_id

    def _listening(self, client: str) -> ClientConnection:
        address = self._program.url.replace("http", "ws", 1)
        try:
            return connect(
                f"{address}/ws?clientId={client}",
                open_timeout=OPEN,
                close_timeout=CLOSE,
                ping_timeout=SILENT,
                max_size=FRAME_BYTES,
                proxy=None,
            )
        except (OSError, InvalidHandshake) as error:
            raise self._program.away(str(error)) from error

    def _fetch(self, prompt_id: str) -> AnyArray:
        try:
            history = self._program.value(f"/history/{prompt_id}")
            (image,) = history[prompt_id]["outputs"][OUTPUT]["images"]
            place = {key: str(image[key]) for key in ("filename", "subfolder", "type")}
        except (KeyError, TypeError, ValueError):
            raise self._program.nonsense("/history") from None
        answer = self._program.ask("/view", timeout=60.0, **place)
        if answer.status != 200:
            raise self._program.nonsense("/view")
        return decoded(answer.body)


class _Following:
    """One queued graph, until it has ended."""

    def __init__(
        self, program: Program, line: ClientConnection, prompt_id: str, hooks: JobHooks, job: GenerateJob, index: int
    ) -> None:
        self._program, self._line, self._prompt_id = program, line, prompt_id
        self._hooks, self._job, self._index = hooks, job, index
        self._node = ""
        self._running = False
        self._step = 0

    def to_the_end(self) -> None:
        """Raises ScumbleError if it failed or the connection broke, and JobCancelled once it is stopped."""
        while True:
            try:
                self._hooks.check_cancelled()
                message = self._line.recv(timeout=LOOK)
            except TimeoutError:
                continue
            except ConnectionClosed as error:
                raise self._program.away("the connection broke") from error
            except JobCancelled:
                self._stop()
                raise
            if isinstance(message, bytes):
                self._preview(message)
            elif self._heard(message):
                return

    def _heard(self, text: str) -> bool:
        """Whether that was the end of it."""
        try:
            message = json.loads(text)
            kind, data = message["type"], message.get("data") or {}
            if not isinstance(data, dict):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._program.nonsense("/ws") from None
        if data.get("prompt_id", self._prompt_id) != self._prompt_id:
            return False
        match kind:
            case "execution_start":
                self._running = True
            case "executing":
                self._running, self._node = True, str(data.get("node") or "")
                if data.get("node") is None and data.get("prompt_id"):
                    return True
                if not self._step:
                    self._hooks.progress("loading")
            case "progress" if self._node == SAMPLER or data.get("node") == SAMPLER:
                self._tell(data)
            case "execution_error":
                raise failed(data, self._job)
            case "execution_interrupted":
                raise ScumbleError(ErrorCode.WORKER_LOST, "somebody stopped it in ComfyUI", retryable=True)
        # Not at "execution_success": only after it the picture is put into the history.
        return False

    def _tell(self, data: Mapping[str, Any]) -> None:
        done, total = data.get("value"), data.get("max")
        if isinstance(done, int) and isinstance(total, int) and total > 0:
            self._step = done
            fraction = (self._index + done / total) / self._job.batch_size
            self._hooks.progress("denoising", done, total, min(fraction, 1.0) * 0.95)

    def _preview(self, message: bytes) -> None:
        kind = int.from_bytes(message[:4], "big")
        if kind == PREVIEW_WITH_METADATA:
            image = message[8 + int.from_bytes(message[4:8], "big") :]
        elif kind == PREVIEW_IMAGE:
            image = message[8:]
        else:
            return
        if self._hooks.wants_preview():
            with suppress(ScumbleError):  # a step that can't be seen is no reason to lose the picture
                self._hooks.preview(decoded(image), self._step, self._job.num_inference_steps)

    def _stop(self) -> None:
        """Out of the queue; interrupted only if it is ours that runs, for others may use this ComfyUI too."""
        with suppress(ScumbleError):
            self._program.ask("/queue", {"delete": [self._prompt_id]})
            if self._running:
                self._program.ask("/interrupt", {"prompt_id": self._prompt_id})


def _choices(info: Mapping[str, Any], node: str, name: str) -> tuple[str, ...]:
    """The values that an input offers; both forms that ComfyUI has had."""
    try:
        kind, *options = info[node]["input"]["required"][name]
    except (KeyError, TypeError, ValueError):
        return ()
    if kind == "COMBO" and options and isinstance(options[0], dict):
        kind = options[0].get("options", [])
    return tuple(value for value in kind if isinstance(value, str)) if isinstance(kind, list) else ()
