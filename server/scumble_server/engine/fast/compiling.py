"""Kernels made for a model, in a thread of its own, while jobs go on without them."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..denoise import Step
from .joint import Joint, Plan
from .tensors import Given, flat, mapped

__all__ = ["Compiler", "can_compile"]

logger = logging.getLogger(__name__)

WORTH_IT = 12
"""Steps of one shape after which it is compiled: a minute or more of a processor's time."""

KEPT = 16
"""Shapes, and ways of saving work, that stay compiled."""

OPTIONS: dict[str, Any] = {"dynamic": False, "mode": "max-autotune-no-cudagraphs"}
"""The graph is our own (:mod:`.graphs`), so that ControlNets can run beside the UNet in it."""


def can_compile() -> bool:
    """Is there what makes kernels for CUDA?"""
    return importlib.util.find_spec("triton") is not None


class Compiler:
    """options: of ``torch.compile``. One shape at a time; what can't be compiled stays as it is, with a warning."""

    def __init__(self, options: dict[str, Any] | None = None, worth_it: int = WORTH_IT) -> None:
        self._options, self._worth_it = OPTIONS if options is None else options, worth_it
        self._asked: dict[Hashable, int] = {}
        self._made: dict[Hashable, Joint] = {}
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Compiling: no graph should be captured meanwhile, since it uses the device, too."""
        return self._thread is not None and self._thread.is_alive()

    def best(self, joint: Joint, given: Given, like: Step, plan: Plan) -> Joint:
        """Compiled if it is by now; asked for often enough, it will be."""
        key = (joint.key, plan, tuple((tensor.shape, tensor.dtype) for tensor in flat(given)))
        made = self._made.get(key)
        if made is not None or plan.variant is not None:
            return joint if made is None else made
        asked = self._asked[key] = self._asked.get(key, 0) + 1
        if asked >= self._worth_it and not self.is_busy:
            self._asked.clear()
            example = mapped(given, Tensor.clone)
            self._thread = threading.Thread(
                target=self._compile, args=(key, joint, example, like, plan), name="compile", daemon=True
            )
            self._thread.start()
        return joint

    def wait(self, seconds: float | None = None) -> None:
        """Until what is being compiled is ready."""
        if self._thread is not None:
            self._thread.join(seconds)

    @torch.inference_mode()
    def _compile(self, key: Hashable, joint: Joint, example: Given, like: Step, plan: Plan) -> None:
        compiled = compiled_joint(joint, self._options)
        try:
            compiled(example, like, plan)
        except RuntimeError as error:  # of dynamo and inductor, and of the device
            logger.warning("the model can't be compiled and runs as it is: %s", str(error).partition("\n")[0])
            compiled = joint
        while len(self._made) >= KEPT:
            self._made.pop(next(iter(self._made)))
        self._made[key] = compiled


def compiled_joint(joint: Joint, options: dict[str, Any]) -> Joint:
    """The same with its parts compiled, each by itself."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 4 * KEPT)

    def made(part: Any) -> Any:
        return None if part is None else torch.compile(part, **options)

    return replace(
        joint,
        key=("compiled", joint.key),
        down=made(joint.down),
        up=made(joint.up),
        outermost=made(joint.outermost),
        controls=[made(part) for part in joint.controls],
    )
