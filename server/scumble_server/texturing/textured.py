"""Textured meshes as a camera sees them, unlit: what a texture says, taken back into a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scumble_shared.camera import Camera
from torch import Tensor

from .mesh import Mesh
from .raster import TexelMap
from .render import Visible, render_view

__all__ = ["textured_view"]


def textured_view(
    meshes: Sequence[Mesh], texels: Sequence[TexelMap], textures: Sequence[Tensor], camera: Camera
) -> tuple[Tensor, Tensor]:
    """Colours (3, H, W) of the textures, float32, and where there are any, bool (H, W).

    texels, textures: of each mesh; float32 (3, S * S), linear. Where texels are far smaller than pixels, they are
    averaged first.
    """
    visible = render_view(meshes, camera)
    picture = torch.zeros(3, camera.height * camera.width, device=visible.depth.device)
    shown = torch.zeros(camera.height * camera.width, dtype=torch.bool, device=picture.device)
    for number, (texel_map, texture) in enumerate(zip(texels, textures, strict=True)):
        pixel, at = _places(visible, number, texel_map)
        if len(pixel) == 0:
            continue
        image = texture.view(1, 3, texel_map.size, texel_map.size)
        level = 2 ** max(0, math.floor(math.log2(_texels_per_pixel(pixel, at, camera.width))))
        picture[:, pixel] = _sampled(image, at, min(level, texel_map.size), repeats=texel_map.repeats)
        shown[pixel] = True
    return picture.view(3, camera.height, camera.width), shown.view(camera.height, camera.width)


def _places(visible: Visible, number: int, texels: TexelMap) -> tuple[Tensor, Tensor]:
    """Pixels that show mesh ``number``, int64 (P,), and where in its texture they lie, float64 (P, 2)."""
    pixel = torch.nonzero((visible.mesh == number).flatten())[:, 0]
    triangle = visible.triangle.flatten()[pixel]
    drawn = texels.drawn[triangle]
    pixel, triangle = pixel[drawn], triangle[drawn]
    weights = visible.weights.view(-1, 3)[pixel].double()
    return pixel, torch.einsum("pk,pkc->pc", weights, texels.points[triangle])


def _texels_per_pixel(pixel: Tensor, at: Tensor, width: int) -> float:
    """The usual distance in the texture of pixels that are next to each other; jumps between islands don't count."""
    beside = (pixel[1:] == pixel[:-1] + 1) & (pixel[1:] % width != 0)
    apart = (at[1:] - at[:-1])[beside].norm(dim=1)
    return max(1.0, float(apart.median())) if len(apart) else 1.0


def _sampled(image: Tensor, at: Tensor, level: int, *, repeats: bool) -> Tensor:
    """Bilinear, of the texture with every ``level`` texels a side averaged. (3, P)."""
    if level > 1:
        image = F.avg_pool2d(image, level, ceil_mode=True)
    side = image.shape[-1]
    image = F.pad(image, (1, 1, 1, 1), mode="circular" if repeats else "replicate")
    place = at / level
    place = place % side if repeats else place.clamp(0.0, side)
    grid = ((place + 1.0) / (side + 2) * 2.0 - 1.0).float()
    return F.grid_sample(image, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0]
