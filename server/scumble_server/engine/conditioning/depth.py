"""Depth as MiDaS-trained ControlNets know it: inverse depth, near = white, background black.

Conventions: ``control_v11f1p_sd15_depth`` and ``sd-controlnet-depth`` were trained on MiDaS output (affine in 1 / z),
stretched to the full range of the picture.
"""

from __future__ import annotations

import torch

from .pixels import resize_smooth

__all__ = ["depth_image", "inverse_depth_range"]

Bound = torch.Tensor | float | None


def depth_image(
    depth: torch.Tensor,
    near: Bound = None,
    far: Bound = None,
    virtual_distance: Bound = None,
    size: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Planar depth -> control image.

    depth: B x H x W, scene units, > 0, inf where nothing is hit.
    near, far: depths shown white and black, a number or a tensor of B; None takes each picture's nearest or farthest
        visible pixel. What lies outside is clamped. A picture with one single depth is white.
    virtual_distance: for orthographic depth, a number or B. Inverse depth means nothing without an eye point, so the
        nearest depth (or ``near``) is taken to lie this far from a virtual one; where the camera stands along its
        axis then doesn't matter. None: perspective.
    size: (width, height) of the result, None for the input's; resized after inf became black.
    Returns float32 B x 3 x H x W in [0, 1].
    """
    z = depth.float()
    visible = torch.isfinite(z)
    shape = (z.shape[0], 1, 1)
    near_z = _bound(near, z, shape, z.amin(dim=(1, 2)))
    far_z = _bound(far, z, shape, z.masked_fill(~visible, 0.0).amax(dim=(1, 2)))
    if virtual_distance is not None:
        offset = _bound(virtual_distance, z, shape, z) - near_z
        z, near_z, far_z = z + offset, near_z + offset, far_z + offset
    low, high = inverse_depth_range(near_z, far_z)
    value = torch.where(high > low, (1.0 / z - low) / (high - low), torch.ones_like(z))
    value = torch.where(visible, value.clamp(0.0, 1.0), torch.zeros_like(z))
    image = value[:, None]
    if size is not None:
        image = resize_smooth(image, *size)
    return image.expand(-1, 3, -1, -1)


def inverse_depth_range(near: torch.Tensor, far: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse depths shown black and white. A far bound of inf is a legitimate 0."""
    return 1.0 / far, 1.0 / near


def _bound(value: Bound, like: torch.Tensor, shape: tuple[int, int, int], default: torch.Tensor) -> torch.Tensor:
    if value is None:
        return default.reshape(shape)
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(shape[0]).reshape(shape)
