"""Pictures by AUTOMATIC1111 or Forge: one request that lasts as long as the picture, watched from beside."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.tensor import AnyArray, Digest

from ...service import JobCancelled, JobHooks
from ..executor import ForeignExecutor
from ..http import Answer, Program, checked_url
from ..listing import Listing, Named, named
from ..pictures import Canvas, control_pictures, decoded, pasted, start_pictures
from .payload import SAMPLERS, payload_of

__all__ = ["WebuiPainter", "webui_executor"]

LOOK = 0.25
"""Seconds between two looks at its progress, and whether the job was cancelled."""

LONGEST = 24 * 3600.0
WORDS = 300


def webui_executor(url: str) -> ForeignExecutor:
    """For a worker process. Raises ScumbleError INVALID_FIELD for what is no address."""
    return ForeignExecutor(WebuiPainter(url))


class WebuiPainter:
    """url: such as http://127.0.0.1:7860."""

    name = "AUTOMATIC1111"

    def __init__(self, url: str) -> None:
        self._program = Program(self.name, checked_url(url))

    def listing(self) -> Listing:
        known = self._names("/sdapi/v1/samplers", "name")
        return Listing(
            self.name,
            models=named(self._names("/sdapi/v1/sd-models", "title")),
            controlnets=self._controlnets(),
            loras=self._loras(),
            samplers=tuple(ours for ours, (name, _) in SAMPLERS.items() if name in known),
        )

    def paint(
        self, job: GenerateJob, listing: Listing, tensors: Mapping[Digest, AnyArray], hooks: JobHooks
    ) -> list[AnyArray]:
        canvas = Canvas(job.width, job.height)
        hooks.progress("conditioning", fraction=0.0)
        model = listing.model(job.model)
        if job.controls and not listing.controlnets:
            raise _no_controlnet()
        nets = [listing.controlnet(control, model, index) for index, control in enumerate(job.controls)]
        loras = [(listing.lora(lora.model, index), lora.weight) for index, lora in enumerate(job.loras)]
        shown = [canvas.filled(picture) for picture in control_pictures(job, tensors)]
        start, mask = start_pictures(job, tensors)
        grown = [None if picture is None else canvas.filled(picture) for picture in (start, mask)]
        units = list(zip(nets, shown, strict=True))
        nothing = self._no_preprocessor() if units else ""
        content = payload_of(job, model, canvas.size, loras, units, nothing, *grown)
        path = "/sdapi/v1/txt2img" if start is None else "/sdapi/v1/img2img"
        images = [canvas.cropped(image) for image in self._made(path, content, job, hooks)]
        if start is None or mask is None:
            return images
        return [pasted(image, start, mask) for image in images]

    def _made(self, path: str, content: Mapping[str, Any], job: GenerateJob, hooks: JobHooks) -> list[AnyArray]:
        request = _InBackground(lambda: self._program.ask(path, content, timeout=LONGEST))
        try:
            while not request.wait(LOOK):
                hooks.check_cancelled()
                self._watch(job, hooks)
        except JobCancelled:
            with suppress(ScumbleError):
                self._program.ask("/sdapi/v1/interrupt", {})
            request.wait(LONGEST)  # it answers once the step is done; the next job must not meet it still working
            raise
        answer = request.result()
        if answer.status != 200:
            raise _complaint(answer, job, self._program)
        try:
            found = answer.json()["images"][: job.batch_size]
            pictures = [decoded(base64.b64decode(text.partition(",")[2] or text, validate=True)) for text in found]
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            raise self._program.nonsense(path) from None
        if len(pictures) != job.batch_size:
            raise self._program.nonsense(path)
        return pictures

    def _watch(self, job: GenerateJob, hooks: JobHooks) -> None:
        """Whatever goes wrong with watching is no reason to lose the picture."""
        skip = "false" if hooks.wants_preview() else "true"
        try:
            found = self._program.value("/sdapi/v1/progress", skip_current_image=skip)
            state = found.get("state") or {}
            done, total = int(state.get("sampling_step") or 0), int(state.get("sampling_steps") or 0)
            fraction = float(found.get("progress") or 0.0)
            image = found.get("current_image")
        except (ScumbleError, AttributeError, TypeError, ValueError):
            return
        if not total:
            hooks.progress("loading")
            return
        hooks.progress("denoising", min(done, total), total, min(max(fraction, 0.0), 1.0) * 0.95)
        if isinstance(image, str) and hooks.wants_preview():
            with suppress(ScumbleError, ValueError):
                hooks.preview(decoded(base64.b64decode(image.partition(",")[2] or image)), done, total)

    def _names(self, path: str, key: str) -> tuple[str, ...]:
        answer = self._program.ask(path, timeout=60.0)
        if answer.status == 404:
            raise _no_api(self._program)
        if answer.status in (401, 403):
            remedy = Remedy("Start it without --api-auth")
            message = f"{self.name} wants a password, which isn't supported"
            raise ScumbleError(ErrorCode.UNAUTHORIZED, message, field="--engine-url", remedy=remedy)
        try:
            return tuple(str(item[key]) for item in answer.json())
        except (ValueError, KeyError, TypeError):
            raise self._program.nonsense(path) from None

    def _controlnets(self) -> tuple[Named, ...]:
        """() without the ControlNet extension."""
        answer = self._program.ask("/controlnet/model_list")
        if answer.status != 200:
            return ()
        try:
            names = [str(name) for name in answer.json()["model_list"]]
        except (ValueError, KeyError, TypeError):
            raise self._program.nonsense("/controlnet/model_list") from None
        return named(name for name in names if name.lower() != "none")

    def _no_preprocessor(self) -> str:
        """What it calls the preprocessor that does nothing: AUTOMATIC1111 "none", Forge "None"."""
        answer = self._program.ask("/controlnet/module_list")
        try:
            names = answer.json()["module_list"] if answer.status == 200 else []
            return next((name for name in names if str(name).lower() == "none"), "none")
        except (ValueError, KeyError, TypeError):
            raise self._program.nonsense("/controlnet/module_list") from None

    def _loras(self) -> tuple[Named, ...]:
        """() where nothing tells them."""
        answer = self._program.ask("/sdapi/v1/loras")
        if answer.status != 200:
            return ()
        try:
            return named(str(item["name"]) for item in answer.json())
        except (ValueError, KeyError, TypeError):
            raise self._program.nonsense("/sdapi/v1/loras") from None


class _InBackground:
    """A long request on a thread of its own."""

    def __init__(self, work: Callable[[], Answer]) -> None:
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: ScumbleError | None = None
        threading.Thread(target=self._work, args=(work,), name="scumble-request", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        return self._done.wait(seconds)

    def result(self) -> Answer:
        """Of a request that is done. Raises what it raised."""
        if self._error is not None:
            raise self._error
        assert self._answer is not None, "it has ended"
        return self._answer

    def _work(self, work: Callable[[], Answer]) -> None:
        try:
            self._answer = work()
        except ScumbleError as error:
            self._error = error
        finally:
            self._done.set()


def _complaint(answer: Answer, job: GenerateJob, program: Program) -> ScumbleError:
    """Of an answer that isn't 200."""
    try:
        found = answer.json()
        words = " ".join(str(found.get(key) or "") for key in ("error", "detail", "errors")).strip()[:WORDS]
    except (ValueError, AttributeError):
        return program.nonsense("/sdapi/v1")
    if "OutOfMemory" in words or "out of memory" in words.lower():
        size = f"{max(job.width * 7 // 80 * 8, 64)}x{max(job.height * 7 // 80 * 8, 64)}"
        remedy = Remedy(f"Use a smaller size, such as {size}", RemedyAction.REDUCE_SIZE, size)
        return ScumbleError(ErrorCode.OUT_OF_MEMORY, f"{program.name} ran out of memory", retryable=True, remedy=remedy)
    if "controlnet" in words.lower() and answer.status == 422:
        return _no_controlnet()
    if "shapes cannot be multiplied" in words:
        remedy = Remedy("Use a ControlNet and LoRAs of the model's own family")
        message = f"the parts don't go together: {words}"
        return ScumbleError(ErrorCode.MODEL_MISMATCH, message, field="job.model", remedy=remedy)
    remedy = Remedy(f"Look at {program.name}'s own window or log for more")
    return ScumbleError(ErrorCode.INVALID_RESULT, f"{program.name} failed: {words}", remedy=remedy)


def _no_api(program: Program) -> ScumbleError:
    message = f"{program.name} at {program.url} doesn't offer its interface"
    remedy = Remedy("Start it with --api (COMMANDLINE_ARGS)")
    return ScumbleError(ErrorCode.UNSUPPORTED, message, field="--engine-url", remedy=remedy)


def _no_controlnet() -> ScumbleError:
    label = "Install its ControlNet extension and a ControlNet, or remove the control"
    remedy = Remedy(label, RemedyAction.REMOVE_CONTROL, "0")
    message = "AUTOMATIC1111 has no ControlNet, so that it can't follow the scene"
    return ScumbleError(ErrorCode.UNSUPPORTED, message, field="job.controls", remedy=remedy)
