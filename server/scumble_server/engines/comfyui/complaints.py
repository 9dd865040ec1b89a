"""ComfyUI's refusals and failures as typed errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import GenerateJob

__all__ = ["failed", "missing_node", "refused"]

LENGTH = 300
FIELDS = {
    "ckpt_name": ("job.model", Remedy("Choose another model", RemedyAction.CHOOSE_MODEL)),
    "control_net_name": ("job.controls", Remedy("Remove the control", RemedyAction.REMOVE_CONTROL, "0")),
    "lora_name": ("job.loras", Remedy("Remove the LoRA", RemedyAction.REMOVE_LORA, "0")),
}
"""Inputs that name files -> what of the job it is, and what helps."""


def missing_node(node: str) -> ScumbleError:
    message = f"this ComfyUI has no node {node}"
    return ScumbleError(ErrorCode.UNSUPPORTED, message, field="--engine-url", remedy=Remedy("Update ComfyUI"))


def refused(answer: Mapping[str, Any], job: GenerateJob) -> ScumbleError:
    """Of the answer to a graph that isn't valid there."""
    errors = answer.get("node_errors")
    for node in errors.values() if isinstance(errors, dict) else ():
        for problem in node.get("errors", ()) if isinstance(node, dict) else ():
            return _of_input(problem, str(node.get("class_type", "a node")))
    error = answer.get("error")
    words = error.get("message", "") if isinstance(error, dict) else error
    return ScumbleError(ErrorCode.UNSUPPORTED, f"ComfyUI refuses the job: {str(words)[:LENGTH]}", field="job")


def _of_input(problem: Mapping[str, Any], node: str) -> ScumbleError:
    extra = problem.get("extra_info")
    name = str(extra.get("input_name", "")) if isinstance(extra, dict) else ""
    words = f"{problem.get('message', '')}: {problem.get('details', '')}"[:LENGTH]
    if problem.get("type") == "value_not_in_list" and name in FIELDS:
        field, remedy = FIELDS[name]
        message = f"ComfyUI doesn't have it any longer ({words})"
        return ScumbleError(ErrorCode.MODEL_MISSING, message, field=field, remedy=remedy)
    remedy = Remedy("Update ComfyUI")
    return ScumbleError(ErrorCode.UNSUPPORTED, f"ComfyUI's {node} refuses {words}", field="job", remedy=remedy)


def failed(data: Mapping[str, Any], job: GenerateJob) -> ScumbleError:
    """Of an ``execution_error``."""
    words = str(data.get("exception_message", "")).strip()[:LENGTH]
    kind, node = str(data.get("exception_type", "")), str(data.get("node_type", "a node"))
    if "OutOfMemory" in kind or "out of memory" in words.lower():
        size = f"{max(job.width * 7 // 80 * 8, 64)}x{max(job.height * 7 // 80 * 8, 64)}"
        remedy = Remedy(f"Use a smaller size, such as {size}", RemedyAction.REDUCE_SIZE, size)
        return ScumbleError(ErrorCode.OUT_OF_MEMORY, "ComfyUI ran out of memory", retryable=True, remedy=remedy)
    if "shapes cannot be multiplied" in words or "size mismatch" in words:
        remedy = Remedy("Use a ControlNet and LoRAs of the model's own family")
        message = f"the parts don't go together: {words}"
        return ScumbleError(ErrorCode.MODEL_MISMATCH, message, field="job.model", remedy=remedy)
    remedy = Remedy("Look at ComfyUI's own window or log for more")
    return ScumbleError(ErrorCode.INVALID_RESULT, f"ComfyUI failed in {node}: {words}", remedy=remedy)
