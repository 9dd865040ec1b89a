"""A job as the content of ``/sdapi/v1/txt2img`` or ``img2img``."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from scumble_shared.job import GenerateJob
from scumble_shared.tensor import AnyArray

from ..pictures import encoded

__all__ = ["SAMPLERS", "payload_of"]

SAMPLERS = {
    "ddim": ("DDIM", "Automatic"),
    "euler": ("Euler", "Automatic"),
    "euler_a": ("Euler a", "Automatic"),
    "dpmpp_2m": ("DPM++ 2M", "Uniform"),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "unipc": ("UniPC", "Automatic"),
    "lcm": ("LCM", "Automatic"),
}
"""Ours -> its name and schedule type."""

ORIGINAL_FILL = 1
"""Masked content: what the picture has there."""


def payload_of(
    job: GenerateJob,
    model: str,
    size: tuple[int, int],
    loras: Sequence[tuple[str, float]],
    controls: Sequence[tuple[str, AnyArray]],
    no_preprocessor: str,
    start: AnyArray | None,
    mask: AnyArray | None,
) -> dict[str, Any]:
    """controls: name and control image of each of the job's, of ``size`` (width, height), as are start and mask.
    no_preprocessor: the name of that which does nothing."""
    sampler, schedule = SAMPLERS[job.sampler]
    tags = "".join(f" <lora:{name}:{weight:g}>" for name, weight in loras)
    content: dict[str, Any] = {
        "prompt": job.prompt + tags,
        "negative_prompt": job.negative_prompt,
        "seed": job.seed,
        "subseed_strength": 0,
        "width": size[0],
        "height": size[1],
        "steps": job.num_inference_steps,
        "cfg_scale": job.guidance_scale,
        "sampler_name": sampler,
        "scheduler": schedule,
        "batch_size": job.batch_size,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
        "override_settings": {"sd_model_checkpoint": model},
        "override_settings_restore_afterwards": False,
    }
    if controls:
        units = [_unit(job, index, net, image, no_preprocessor) for index, (net, image) in enumerate(controls)]
        content["alwayson_scripts"] = {"controlnet": {"args": units}}
    if start is not None:
        content |= {"init_images": [_text(start)], "denoising_strength": job.denoising_strength, "resize_mode": 0}
    if mask is not None:
        content |= {"mask": _text(mask), "mask_blur": 0, "inpainting_fill": ORIGINAL_FILL, "inpaint_full_res": False}
    return content


def _unit(job: GenerateJob, index: int, net: str, image: AnyArray, no_preprocessor: str) -> Mapping[str, Any]:
    """One ControlNet unit; no preprocessor, since the image is what the ControlNet was trained on already."""
    control = job.controls[index]
    return {
        "enabled": True,
        "module": no_preprocessor,
        "model": net,
        "image": _text(image),
        "weight": control.strength,
        "guidance_start": control.start,
        "guidance_end": control.end,
        "resize_mode": "Just Resize",
        "control_mode": "Balanced",
        "pixel_perfect": False,
        "save_detected_map": False,
    }


def _text(picture: AnyArray) -> str:
    return base64.b64encode(encoded(picture)).decode()
