"""Views denoised together: at each step their clean predictions meet in one texture and go back from there.

Geometry doesn't change while denoising, so all of it is worked out once, as gathers: texel -> picture for bringing
views together, pixel -> texels for taking the texture back. A step is then a handful of indexed sums, in latents or
in colours alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scumble_shared.camera import Camera
from torch import Tensor

from .dilate import nearest_filled
from .lookup import Lookup, look, sample
from .mesh import Mesh
from .raster import TexelMap, rasterise
from .render import render_view
from .surface import Surface
from .views import render_geometry

__all__ = ["SyncPlan", "SyncSchedule", "plan_sync"]

REACH = 6
"""Texels by which the seen part of the texture is padded before it is looked up again."""


@dataclass(frozen=True, slots=True)
class SyncSchedule:
    """When views are brought together and how sharply.

    until: share of the steps, from the first. first, last: exponent of the viewing angle's cosine, rising in between:
    early on all views share the layout, later the best one decides.
    """

    until: float = 0.8
    first: float = 1.0
    last: float = 6.0

    def exponent(self, step: int, steps: int) -> float | None:
        """For step 0..steps-1; None once views go on by themselves."""
        done = step / max(1, steps - 1)
        if done > self.until:
            return None
        return self.first + (self.last - self.first) * min(1.0, done / max(self.until, 1e-9))


@dataclass(frozen=True, slots=True)
class _Back:
    """Pixels of one view that show a mesh: which, int64 (P,), and the four texels each lies between, int64 (4, P), with
    their bilinear weights, float32 (4, P)."""

    pixel: Tensor
    texel: Tensor
    share: Tensor


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """The gathers of one set of cameras and meshes, for pictures (latents) of one size.

    size: (h, w) of the pictures. texture: texels in all, the meshes' textures one after the other. forth: per mesh and
    view. target, source: padding of the texels that are seen.
    """

    size: tuple[int, int]
    texture: int
    forth: tuple[tuple[tuple[Tensor, Lookup], ...], ...]
    back: tuple[_Back, ...]
    target: Tensor
    source: Tensor

    def fuse(self, pictures: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
        """Pictures (V, C, h, w) -> texture (C, texels) and its total weight (texels,), padded."""
        channels = pictures.shape[1]
        sums = torch.zeros(channels + 1, self.texture, device=pictures.device, dtype=torch.float32)
        for lookups in self.forth:
            for picture, (index, seen) in zip(pictures, lookups, strict=True):
                weight = (seen.border * seen.cosine**exponent).clamp(min=1e-12)
                values = sample(seen, picture[None].float()) * weight
                for row, value in zip(sums, [*values, weight], strict=True):
                    row.index_add_(0, index, value)
        sums[:, self.target] = sums[:, self.source]
        total = sums[-1]
        return sums[:-1] / torch.where(total > 0.0, total, 1.0), total

    def render(self, texture: Tensor, total: Tensor, background: Tensor) -> Tensor:
        """Texture (C, texels) seen from the views; ``background`` (V, C, h, w) where they show none of it."""
        out = background.clone()
        known = (total > 0.0).float()
        for picture, back in zip(out.flatten(2), self.back, strict=True):
            share = back.share * known[back.texel]
            whole = share.sum(0)
            found = torch.nonzero(whole > 0.25)[:, 0]
            texel, share = back.texel[:, found], share[:, found] / whole[found]
            picture[:, back.pixel[found]] = (texture[:, texel] * share).sum(1).to(picture.dtype)
        return out

    def synchronise(self, pictures: Tensor, exponent: float) -> Tensor:
        """Clean predictions (V, C, h, w) -> the same with every view agreeing on the texture."""
        texture, total = self.fuse(pictures, exponent)
        return self.render(texture, total, pictures)

    def share_noise(self, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noise (V, C, h, w) in which views that see one place have one value there; each pixel stays N(0, 1)."""
        channels = noise.shape[1]
        texture = torch.randn(channels, self.texture, generator=generator).to(noise.device)
        out = noise.clone()
        for picture, back in zip(out.flatten(2), self.back, strict=True):
            nearest = back.texel.gather(0, back.share.argmax(0, keepdim=True))[0]
            picture[:, back.pixel] = texture[:, nearest].to(picture.dtype)
        return out


def plan_sync(
    meshes: Sequence[Mesh],
    cameras: Sequence[Camera],
    size: tuple[int, int],
    texture_size: int,
    *,
    min_cosine: float = 0.1,
) -> SyncPlan:
    """Work out the gathers.

    size: (h, w) of the pictures or latents that will be synchronised. texture_size: side of the shared texture per
    mesh; about the pixels that go once round the object is right.
    """
    geometries = [render_geometry(meshes, camera, image_size=size, margin=0, feather=1) for camera in cameras]
    texels = [rasterise(mesh, texture_size) for mesh in meshes]
    area = texture_size * texture_size
    forth = []
    targets, sources = [], []
    for number, (mesh, texel_map) in enumerate(zip(meshes, texels, strict=True)):
        surface = Surface(mesh, texel_map)
        some = texel_map.all()
        points = surface.points(some)
        lookups = []
        reached = torch.zeros(area, dtype=torch.bool, device=mesh.device)
        for geometry in geometries:
            seen = look(geometry, points, surface.origin, min_cosine)
            index = some.index[seen.index]
            reached[index] = True
            lookups.append((index + number * area, seen))
        forth.append(tuple(lookups))
        target, source = nearest_filled(reached.view(texture_size, texture_size), REACH, repeats=texel_map.repeats)
        targets.append(target + number * area)
        sources.append(source + number * area)
    back = tuple(_back(meshes, texels, camera, size) for camera in cameras)
    return SyncPlan(size, area * len(meshes), tuple(forth), back, torch.cat(targets), torch.cat(sources))


def _back(meshes: Sequence[Mesh], texels: Sequence[TexelMap], camera: Camera, size: tuple[int, int]) -> _Back:
    """Where each pixel of a picture lies in the textures, judged at the pixel's centre."""
    visible = render_view(meshes, _resized(camera, size))
    pixels, indices, shares = [], [], []
    for number, texel_map in enumerate(texels):
        pixel = torch.nonzero((visible.mesh == number).flatten())[:, 0]
        triangle = visible.triangle.flatten()[pixel]
        drawn = texel_map.drawn[triangle]
        pixel, triangle = pixel[drawn], triangle[drawn]
        weights = visible.weights.view(-1, 3)[pixel].double()
        at = torch.einsum("pk,pkc->pc", weights, texel_map.points[triangle]) - 0.5
        corner = torch.floor(at)
        fx, fy = (at - corner).float().unbind(1)
        x, y = corner.long().unbind(1)
        side = texel_map.size
        taps = [
            _within(y + dy, texel_map) * side + _within(x + dx, texel_map)
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1))
        ]
        pixels.append(pixel)
        indices.append(torch.stack(taps) + number * side * side)
        shares.append(torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]))
    return _Back(torch.cat(pixels), torch.cat(indices, 1), torch.cat(shares, 1))


def _within(place: Tensor, texels: TexelMap) -> Tensor:
    """Rows or columns of the texture; beyond its edges it repeats, or goes on as at the edge."""
    return place % texels.size if texels.repeats else place.clamp(0, texels.size - 1)


def _resized(camera: Camera, size: tuple[int, int]) -> Camera:
    return Camera(camera.view, camera.projection, size[1], size[0], camera.near, camera.far)
