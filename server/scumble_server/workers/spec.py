"""How the server tells a worker process what to be: an import path and arguments, so that it needs no torch itself."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..service import Executor

__all__ = ["ENGINE", "ExecutorSpec", "engine_spec"]

ENGINE = "scumble_server.engine.executor:EngineExecutor"

CLOSED = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
}
"""Environment of every engine: its libraries fetch nothing, report nothing, and run no code that came with a model."""


CONSIDERATE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}
"""Environment of every engine unless the user has set any of it. The threads of torch's CPU kernels wait for each
other hundreds of times a step; OpenMP has them spin meanwhile, on cores that Blender, a render or a game wants, too.
They go to sleep instead, and GNU's OpenMP, which can say after how long, has them spin for some microseconds first.
A 256² picture on two cores took 0.6 s spinning, 1.2 s always asleep, 0.8 s so; beside one other busy process 2.9 s
(with 20 000 spins), 0.9 s and 1.2 s. The number of threads stays torch's own choice, the physical cores;
OMP_NUM_THREADS changes it. Read once, when torch is first imported."""


@dataclass(frozen=True, slots=True)
class ExecutorSpec:
    """target: "package.module:name" of a callable that returns an Executor. arguments: keywords for it."""

    target: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def build(self) -> Executor:
        """Import and call the target in this process; what that raises comes through."""
        os.environ.update(CLOSED)
        if not any(name in os.environ for name in CONSIDERATE):
            os.environ.update(CONSIDERATE)
        module, _, name = self.target.partition(":")
        executor: Executor = getattr(importlib.import_module(module), name)(**self.arguments)
        return executor


def engine_spec(model_dirs: tuple[Path, ...] = (), device: str = "auto", compiles: bool = False) -> ExecutorSpec:
    """The diffusion engine. model_dirs: searched besides the models that ship. device: "auto", "cuda", "mps", "cpu".
    compiles: kernels for the models on CUDA."""
    return ExecutorSpec(ENGINE, {"model_dirs": model_dirs, "device": device, "compiles": compiles})
