"""Diffusers' own pipelines for the workloads of ``benchmarks/gpu.py``, as its documentation advises to run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    ControlNetUnionModel,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)
from diffusers.utils import logging
from PIL import Image
from published import SMALL, UNION
from scumble_server.engine.device import resolve_device
from scumble_server.engine.samplers import make_scheduler
from scumble_server.models.families import UNION_MODES

__all__ = ["Pipelines"]

PIPELINES = {
    "sd15": StableDiffusionControlNetPipeline,
    "sdxl": StableDiffusionXLControlNetPipeline,
    "sd35-medium": StableDiffusion3ControlNetPipeline,
}


class Pipelines:
    """Of the one model in ``folder``. mode: how it was compiled, "" if it wasn't."""

    def __init__(self, folder: Path, tiny: bool) -> None:
        self._device = resolve_device()
        logging.disable_progress_bar()
        self._model = next(name for name in PIPELINES if (folder / name).is_dir())
        self._dtype = self._device.wide_dtype if self._model == "sd35-medium" else self._device.dtype
        own = folder / self._model
        kinds = ("depth", "normal") if self._model != "sd35-medium" else ("depth",)
        self._nets = [self._net(own / f"controlnet_{kind}") for kind in kinds]
        self._union = self._net(folder / UNION) if (folder / UNION).is_dir() else None
        small = folder / SMALL.get(self._model, "none")
        self._small = None
        if small.is_dir():
            self._small = self._placed(AutoencoderTiny.from_pretrained(small, dtype=self._dtype))
        kind = PIPELINES[self._model]
        absent = {"text_encoder_3": None, "tokenizer_3": None} if self._model == "sd35-medium" else {}
        unneeded = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        more = unneeded if self._model == "sd15" else absent
        self._pipeline = kind.from_pretrained(
            own, controlnet=self._nets[0] if len(self._nets) == 1 else self._nets, dtype=self._dtype, **more
        ).to(self._device.torch_device)
        self._vae: AutoencoderKL = self._pipeline.vae
        for module in self._modules().values():
            self._placed(module)
        self.mode = ""

    def compile(self) -> None:
        """What does the work of each step, and the decoder."""
        is_cuda = self._device.torch_device.type == "cuda"
        self.mode = "max-autotune-no-cudagraphs" if is_cuda else "as it is"
        how: dict[str, Any] = {"mode": self.mode} if is_cuda else {"backend": "eager"}
        nets = [*self._nets, *filter(None, [self._union])]
        for module in (*self._modules().values(), *nets):
            module.compile(fullgraph=False, **how)
        for vae in filter(None, [self._vae, self._small]):
            vae.decoder.compile(**how)

    def painter(self, workload: Any, size: int, prompt: str) -> Callable[[int], np.ndarray]:
        """workload: of gpu.py."""
        from gpu import hint

        pipeline = self._of_union() if workload.union else self._pipeline
        pipeline.vae = self._small if workload.small else self._vae
        if self._model != "sd35-medium":  # whose own is Euler's method already
            pipeline.scheduler = make_scheduler("euler", self._pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        named = "control_image" if workload.union or self._model == "sd35-medium" else "image"
        modes = {"control_mode": [UNION_MODES[kind] for kind in workload.controls]} if workload.union else {}

        def paint(turn: int) -> np.ndarray:
            images = [Image.fromarray(hint(size, turn, place)) for place, _ in enumerate(workload.controls)]
            made = pipeline(
                prompt=prompt,
                **{named: images if len(images) > 1 else images[0]},
                **modes,
                num_inference_steps=workload.steps,
                guidance_scale=workload.guidance,
                height=size,
                width=size,
                generator=torch.Generator().manual_seed(0),
                output_type="np",
            ).images[0]
            picture: np.ndarray = (np.nan_to_num(made) * 255).round().astype(np.uint8)
            return picture

        return paint

    def _of_union(self) -> Any:
        parts = {name: part for name, part in self._pipeline.components.items() if name != "controlnet"}
        return StableDiffusionXLControlNetUnionPipeline(**parts, controlnet=self._union)

    def _modules(self) -> dict[str, Any]:
        parts = self._pipeline.components
        return {name: parts[name] for name in ("unet", "transformer") if parts.get(name) is not None}

    def _net(self, folder: Path) -> Any:
        kind = {"sd35-medium": SD3ControlNetModel}.get(self._model, ControlNetModel)
        kind = ControlNetUnionModel if folder.name == UNION else kind
        return self._placed(kind.from_pretrained(folder, dtype=self._dtype))

    def _placed(self, module: Any) -> Any:
        """On the device, in the layout of memory that convolutions like best there."""
        layout = torch.channels_last if self._model != "sd35-medium" else torch.contiguous_format
        return module.to(self._device.torch_device, memory_format=layout)
