"""An executor that costs next to nothing, so that what is left is the server's own time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scumble_server.service import JobHooks, Output
from scumble_shared.job import CONTROL_KINDS, SAMPLERS, GenerateJob, Job
from scumble_shared.messages import Capabilities, ModelInfo
from scumble_shared.tensor import AnyArray, Digest

__all__ = ["Still"]


class Still:
    """Steps without denoising, then always the same picture of noise of the size asked for."""

    def __init__(self) -> None:
        self._pictures: dict[tuple[int, int], AnyArray] = {}

    def capabilities(self) -> Capabilities:
        model = ModelInfo("starter", "Still", "still", "euler", 20, 7.0, 512, 512, CONTROL_KINDS)
        return Capabilities(("generate",), SAMPLERS, device="none", models=(model,))

    def look_for_models(self) -> None:
        """It has but one."""

    def warm_up(self, hooks: JobHooks) -> None:
        hooks.progress("loading", fraction=1.0)

    def run(self, job: Job, tensors: Mapping[Digest, AnyArray], hooks: JobHooks) -> Output:
        assert isinstance(job, GenerateJob), "this benchmark sends nothing else"
        for step in range(job.num_inference_steps):
            hooks.check_cancelled()
            hooks.progress("denoising", step + 1, job.num_inference_steps, (step + 1) / job.num_inference_steps)
        image = self._picture(job)
        return Output({"image/0": image}, {})

    def _picture(self, job: GenerateJob) -> AnyArray:
        size = job.height, job.width
        if size not in self._pictures:
            self._pictures[size] = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        return self._pictures[size]
