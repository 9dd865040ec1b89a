"""From views to finished maps: estimate, fuse as colours are, bring into the textures' form."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import numpy as np
import torch
from scumble_shared.job import MeshRef
from scumble_shared.tensor import AnyArray
from torch import Tensor

from ..dilate import nearest_filled, padding
from ..fill import fill_unseen
from ..fuse import FuseOptions, ViewImage, fuse
from ..mesh import Mesh, to_tensor
from ..raster import rasterise
from ..surface import Surface
from .earlier import Earlier
from .estimate import CAVITY, COLOUR, EVEN, HEIGHT, METALLIC, NEUTRAL, ROUGHNESS, SLOPE, Appearance, estimate
from .materials import PLAIN, prior_of
from .occlusion import sky_of
from .texture import TextureMaps

__all__ = ["Made", "Wanted", "make_maps"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """kinds: of ``scumble_shared.job.MAPS``. prompt: tells the material. bits: 8 or 16. options: of the fusion.
    plain: places that no view sees are those of a plain surface, not like what is around."""

    kinds: Sequence[str]
    size: int
    prompt: str
    bits: int
    options: FuseOptions
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """results: "KIND/NAME". height_range: by texture."""

    results: dict[str, AnyArray]
    height_range: dict[str, float]


def make_maps(
    wanted: Wanted,
    refs: Sequence[MeshRef],
    meshes: Sequence[Mesh],
    views: Sequence[ViewImage],
    textures: Mapping[str, AnyArray],
    kept: Mapping[str, AnyArray],
    painted: Mapping[str, AnyArray] = MappingProxyType({}),
    earlier: Earlier | None = None,
    appearances: Sequence[Appearance] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Made:
    """Maps as ``scumble_shared.job.MAPS`` has them.

    refs: the job's. meshes: one for each texture. views: with their pictures, linear. textures: those finished, by
    name; albedo is made of them. kept: how far (uint8 S x S) each of them, by name, isn't what views show. painted: the
    same of what the artist painted, of which pictures say nothing: it is a plain surface there, unless ``earlier``, the
    maps that there were, says more.
    appearances: of a model, one for each view. ``check`` is called between chunks of work and may raise to stop it.
    """
    earlier = earlier or Earlier()
    found = estimate(meshes, views, prior_of(wanted.prompt), appearances, check)
    gains = torch.ones(len(views), found.views[0].image.shape[1], device=meshes[0].device)
    sky = sky_of(meshes, check) if "ao" in wanted.kinds else None
    matrices = {ref.name: np.array(ref.matrix_world, np.float64).reshape(4, 4)[:3, :3] for ref in refs}
    results: dict[str, AnyArray] = {}
    for mesh_name, group in groupby(meshes, key=lambda mesh: mesh.name):
        surfaces = [Surface(part, rasterise(part, wanted.size)) for part in group]
        fused = [fuse(surface, found.views, wanted.options, check, gains) for surface in surfaces]
        trusts = _fill(surfaces, [part.colour for part in fused], [part.weight for part in fused], wanted.plain, check)
        matrix = torch.from_numpy(matrices[mesh_name]).to(meshes[0].device)
        for surface, part, trust in zip(surfaces, fused, trusts, strict=True):
            name = surface.mesh.texture_name
            if name in painted:
                share = to_tensor(painted[name], surface.mesh.device).flatten().float() / 255.0
                _leave(part.colour, share, earlier.kinds(name))
            pads = nearest_filled(surface.texels.covered, padding(wanted.size), repeats=surface.texels.repeats)
            maps = TextureMaps(surface, part.colour, trust, wanted.bits, matrix, pads, sky, check)
            for kind in wanted.kinds:
                made = maps.map(kind, textures[name], kept.get(name))
                results[f"{kind}/{name}"] = earlier.under(kind, name, made, found.height_range, pads)
    whole = max(found.height_range, earlier.height_range)
    return Made(results, {mesh.texture_name: whole for mesh in meshes})


def _fill(
    surfaces: Sequence[Surface],
    channels: Sequence[Tensor],
    weights: Sequence[Tensor],
    plain: bool,
    check: Callable[[], None],
) -> list[Tensor]:
    """Where no view sees, surfaces are like those around, but flat. Changes the channels; returns how far each texel
    can be trusted."""
    spread = [EVEN, ROUGHNESS, METALLIC, *range(COLOUR.start, len(channels[0]))]
    colours = [values[spread] for values in channels]
    trusts = fill_unseen(surfaces, colours, weights, check)
    for surface, values, colour, trust in zip(surfaces, channels, colours, trusts, strict=True):
        values[spread] = colour
        values[HEIGHT : SLOPE.stop] = (values[HEIGHT : SLOPE.stop] - NEUTRAL) * trust + NEUTRAL
        values[CAVITY] = (values[CAVITY] - 1.0) * trust + 1.0
        if plain:
            _make_plain(surface, values, trust)
    return trusts


def _make_plain(surface: Surface, values: Tensor, trust: Tensor) -> None:
    """What lies farther from what is seen than filtering reaches."""
    size = surface.texels.size
    near = trust > 0.0
    near[nearest_filled(near.view(size, size), 2 * padding(size), repeats=False)[0]] = True
    for channel, value in ((EVEN, 1.0), (ROUGHNESS, PLAIN.roughness), (METALLIC, PLAIN.metallic)):
        values[channel][~near] = value


_PLAIN = {
    "roughness": {ROUGHNESS: PLAIN.roughness},
    "metallic": {METALLIC: PLAIN.metallic},
    "height": {HEIGHT: NEUTRAL},
    "ao": {CAVITY: 1.0},
    "normal": dict.fromkeys(range(SLOPE.start, SLOPE.stop), NEUTRAL),
}
"""Channels of a plain surface, by the map they are for."""


def _leave(values: Tensor, share: Tensor, known: Collection[str]) -> None:
    """Makes a plain surface of what the artist painted, in all maps but ``known`` ones. values: (C, S * S), changed.
    share: (S * S,), of that."""
    for kind, channels in _PLAIN.items():
        for channel, value in channels.items() if kind not in known else ():
            values[channel] += (value - values[channel]) * share
