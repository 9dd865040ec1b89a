"""One texture's maps out of its fused channels: into the form they are kept in, padded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scumble_shared.tensor import AnyArray
from torch import Tensor
from torch.nn.functional import interpolate

from ..color import as_numbers, display, linear_light
from ..dilate import nearest_filled, padding
from ..mesh import to_tensor
from ..raster import evaluate, rasterise
from ..surface import Surface, dot
from .estimate import CAVITY, COLOUR, EVEN, HEIGHT, METALLIC, NEUTRAL, ROUGHNESS, SLOPE, SLOPE_MAX
from .occlusion import Sky
from .tangents import corner_tangents, in_object_space, tangent_space

__all__ = ["TextureMaps"]

CHUNK_TEXELS = 1 << 17

OCCLUSION_SIDE = 512
"""Largest side that occlusion is worked out at; it has no finer detail than that of the mesh."""


@dataclass(frozen=True, slots=True)
class TextureMaps:
    """surface: of the texture. channels: float32 (C, S * S), see :mod:`.estimate`, right on the mesh. trust: float32
    (S * S,), 0 where no view saw the texel. bits: 8 or 16. matrix: float64 (3, 3), object -> world. pads: texels round
    islands, and where each takes its value from. sky: for occlusion.
    """

    surface: Surface
    channels: Tensor
    trust: Tensor
    bits: int
    matrix: Tensor
    pads: tuple[Tensor, Tensor]
    sky: Sky | None
    check: Callable[[], None]

    def map(self, kind: str, texture: AnyArray, kept: AnyArray | None) -> AnyArray:
        """S x S, or S x S x 3, as ``scumble_shared.job.MAPS`` has it.

        texture: uint8 or uint16 S x S x 4, as finished. kept: uint8 S x S, where that isn't what views show.
        """
        match kind:
            case "albedo":
                return self._albedo(texture, kept)
            case "normal":
                return self._image(self._normals() * 0.5 + 0.5, (0.5, 0.5, 1.0), self.bits)
            case "height":
                return self._image(self.channels[HEIGHT][None], (NEUTRAL,), 16)
            case "ao":
                return self._image((self.channels[CAVITY] * self._openness())[None], (1.0,), self.bits)
            case "roughness" | "metallic":
                values = self.channels[ROUGHNESS if kind == "roughness" else METALLIC]
                return self._image(values[None].clone(), (float(values[self._on_mesh].mean()),), self.bits)
        raise ValueError(kind)

    @property
    def _on_mesh(self) -> Tensor:
        return self.surface.texels.triangle >= 0

    def _image(self, values: Tensor, around: tuple[float, ...], bits: int) -> AnyArray:
        """(K, S * S), right on the mesh and changed elsewhere, padded; around: K values for all that is farther off."""
        size = self.surface.texels.size
        target, source = self.pads
        for channel, value in zip(values, around, strict=True):
            channel[~self._on_mesh] = value
            channel[target] = channel[source]
        image = as_numbers(values.T.reshape(size, size, -1), bits)
        return image[..., 0] if len(around) == 1 else image

    # --- colour without light ------------------------------------------------------------------------

    def _albedo(self, texture: AnyArray, kept: AnyArray | None) -> AnyArray:
        """The finished texture less its light; to the byte what it was where there is none, or no view shows it."""
        size = self.surface.texels.size
        share = self._on_mesh.float()
        if kept is not None:
            share = share * (1.0 - to_tensor(kept, self._device).flatten().float() / 255.0)
        colour = linear_light(np.ascontiguousarray(texture[..., :3]), self._device).view(-1, 3).T
        told = self.channels[COLOUR]
        if len(told):
            found = colour + (told - colour) * (share * self.trust)
        else:
            found = colour * ((self.channels[EVEN] - 1.0) * share + 1.0)
        target, source = self.pads
        found[:, target] = found[:, source]
        image = display(found.T.reshape(size, size, 3).contiguous(), self.bits)
        if texture.dtype != image.dtype:
            return image
        same = ((found - colour).abs().amax(0) < 1e-6).view(size, size, 1).cpu().numpy()
        return np.where(same, texture[..., :3], image)

    @property
    def _device(self) -> torch.device:
        return self.channels.device

    # --- what the geometry has a say in ---------------------------------------------------------------

    def _normals(self) -> Tensor:
        """Tangent space, unit, float32 (3, S * S); zero off the mesh."""
        surface, texels = self.surface, self.surface.texels
        corners, normals = in_object_space(surface.mesh, self.matrix)
        tangents, hand = corner_tangents(corners, normals, surface.mesh.uvs, surface.mesh.triangles)
        affine = texels.affine(torch.cat([tangents, normals], 2))
        to_object = self.matrix.T.float()
        found = torch.zeros(3, texels.size**2, device=self._device)
        for begin in range(0, texels.size**2, CHUNK_TEXELS):
            self.check()
            some = texels.part(begin, begin + CHUNK_TEXELS)
            if len(some) == 0:
                continue
            smooth = surface.points(some).normal
            slope = (self.channels[SLOPE][:, some.index] - NEUTRAL) * (2.0 * SLOPE_MAX)
            along = slope - smooth * dot(slope, smooth)
            frame = evaluate(affine, some)
            wanted = to_object @ (smooth - along)
            found[:, some.index] = tangent_space(wanted, frame[:3], frame[3:], hand[some.triangle].float())
        return found

    def _openness(self) -> Tensor:
        """Of the geometry, float32 (S * S,)."""
        if self.sky is None:
            raise ValueError("occlusion needs the sky")
        size = self.surface.texels.size
        side = min(size, OCCLUSION_SIDE)
        coarse = self.surface if side == size else Surface(self.surface.mesh, rasterise(self.surface.mesh, side))
        found = torch.ones(side * side, device=self._device)
        for begin in range(0, side * side, CHUNK_TEXELS):
            self.check()
            some = coarse.texels.part(begin, begin + CHUNK_TEXELS)
            found[some.index] = self.sky.openness(coarse.points(some), coarse.origin)
        if side == size:
            return found
        target, source = nearest_filled(coarse.texels.covered, padding(side), repeats=coarse.texels.repeats)
        found[target] = found[source]
        large = interpolate(found.view(1, 1, side, side), (size, size), mode="bilinear", align_corners=False)
        return large.flatten()
