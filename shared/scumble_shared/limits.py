"""Sizes that are refused before anything is allocated, and how long is waited.

A server announces its own in ``hello``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "SIZE_MULTIPLE", "Limits"]

SIZE_MULTIPLE = 8
"""Latents are 1/8 of the image; other sizes are rounded up, generated, and cropped by the engine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds are inclusive."""

    message_bytes: int = 64 * 1024 * 1024  # one binary frame
    transfer_bytes: int = 1024**3  # one message with its tensors, over all frames it is cut into
    text_bytes: int = 1024 * 1024  # one text frame
    blobs_per_frame: int = 1024  # tensors of one message; texturing answers with two per mesh
    tensor_rank: int = 4
    image_side: int = 8192  # pixels, any image or buffer
    image_pixels: int = 8192 * 8192
    generate_side_min: int = 1
    generate_side: int = 4096
    generate_pixels: int = 4096 * 4096
    texture_side: int = 8192
    prompt_bytes: int = 16 * 1024
    num_inference_steps: int = 500
    guidance_scale: float = 100.0
    batch_size: int = 16
    controls: int = 8
    loras: int = 8
    poses: int = 64  # people in a view
    references: int = 8
    regions: int = 16  # prompts for parts of a picture
    labels: int = 4096  # objects of a view that are said to be something
    meshes: int = 256
    views: int = 64  # of one texture job
    textures: int = 256  # of one job: one per mesh, or per UDIM tile
    texture_pixels: int = 3 * 8192 * 8192  # all textures of one job together
    triangles: int = 4_000_000
    queued_jobs: int = 64  # per connection
    connections: int = 32
    store_bytes: int = 2 * 1024**3  # uploaded blobs and results kept for re-use
    worker_start_seconds: float = 300.0  # silence of a worker that isn't ready yet; cold disks are slow


DEFAULT_LIMITS = Limits()
