"""Maps that a texture has already: they stay where its colours stay, and lie under what is made anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import ProjectJob, TextureJob, texture_names
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from ..base import checked

__all__ = ["Earlier", "load_earlier"]

SURFACE = np.float32(32768.0)
"""Of a height, in its numbers."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """maps: by kind and texture, in the form that ``scumble_shared.job.MAPS`` says. stays: uint8 S x S by texture, how
    far what was there stays. height_range: of all heights there were, scene units; 0 without any."""

    maps: Mapping[tuple[str, str], AnyArray] = field(default_factory=dict)
    stays: Mapping[str, AnyArray] = field(default_factory=dict)
    height_range: float = 0.0

    def kinds(self, name: str) -> set[str]:
        """That a texture has."""
        return {kind for kind, texture in self.maps if texture == name}

    def under(self, kind: str, name: str, made: AnyArray, made_range: float, pads: tuple[Tensor, Tensor]) -> AnyArray:
        """``made`` with what was there under it; to the number what was there where that stays wholly.

        made_range: what a height's numbers mean; afterwards they mean the larger of that and ``height_range``.
        pads: texels round islands, and where each takes its value from.
        """
        old = self.maps.get((kind, name))
        if old is None:
            return made
        if kind == "height":
            whole = max(made_range, self.height_range)
            old, made = _rescaled(old, self.height_range / whole), _rescaled(made, made_range / whole)
        stays = self.stays[name].flatten()
        target, source = (index.cpu().numpy() for index in pads)
        stays[target] = stays[source]
        share = stays.reshape(*made.shape[:2], *[1] * (made.ndim - 2)).astype(np.float32) / np.float32(255.0)
        below, above = _fractions(old), _fractions(made)
        mixed = above + (below - above) * share
        if kind == "normal":
            mixed = _unit(mixed)
        found: AnyArray = np.where(share == 0.0, made, _numbers(mixed, made.dtype))
        return np.where(share == 1.0, old, found) if old.dtype == made.dtype else found


def load_earlier(
    job: ProjectJob | TextureJob, tensors: Mapping[Digest, AnyArray], stays: Mapping[str, AnyArray]
) -> Earlier:
    """A job's. stays: as :class:`Earlier` has it. Raises ScumbleError INVALID_FIELD for maps that don't fit."""
    names, side = texture_names(job.meshes), job.texture_size
    maps: dict[tuple[str, str], AnyArray] = {}
    whole = max((base_map.height_range for base_map in job.base_maps if base_map.kind == "height"), default=0.0)
    for index, base_map in enumerate(job.base_maps):
        path = f"job.base_maps[{index}].textures"
        if len(base_map.textures) != len(names):
            raise ScumbleError(ErrorCode.INVALID_FIELD, f"{len(names)} textures need as many maps", field=path)
        shape = (side, side, 3) if base_map.kind == "normal" else (side, side)
        dtypes = ("uint16",) if base_map.kind == "height" else ("uint8", "uint16")
        for place, (name, digest) in enumerate(zip(names, base_map.textures, strict=True)):
            maps[base_map.kind, name] = checked(tensors[digest], shape, dtypes, f"{path}[{place}]")
    return Earlier(maps, stays, whole)


def _fractions(numbers: AnyArray) -> NDArray[np.float32]:
    return numbers.astype(np.float32) / np.float32(np.iinfo(numbers.dtype).max)


def _numbers(fractions: NDArray[np.float32], dtype: np.dtype[Any]) -> AnyArray:
    found: AnyArray = np.rint(np.clip(fractions, 0.0, 1.0) * np.iinfo(dtype).max).astype(dtype)
    return found


def _rescaled(height: AnyArray, factor: float) -> AnyArray:
    """uint16, in numbers that mean as much as ``1 / factor`` of these."""
    if factor == 1.0:
        return height
    scaled = (height.astype(np.float32) - SURFACE) * np.float32(factor) + SURFACE
    found: AnyArray = np.rint(scaled).astype(np.uint16)
    return found


def _unit(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normals in [0, 1], of length 1 again."""
    vectors = encoded * np.float32(2.0) - np.float32(1.0)
    length = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    found: NDArray[np.float32] = vectors / length * np.float32(0.5) + np.float32(0.5)
    return found
