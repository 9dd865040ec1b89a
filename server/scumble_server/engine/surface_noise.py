"""Noise that stays on the surfaces while the camera moves: white noise in space, gathered by each latent pixel.

Space is cut into cubes, and each cube has a normal number per channel, found by hashing its place and the seed. A
latent pixel adds up the cubes that a grid of samples in it hits, and is scaled to unit variance by how many of them
share a cube. Cubes are about as large as the samples are apart, at two sizes that fade into each other with distance,
so that pixels hardly share cubes (the noise is white on the screen) and one that moves a little keeps most of its own
(the noise sticks to what is seen). After "How I Warped Your Noise" (Chang et al., 2024), which gathers an image of
noise that is carried along; here there is nothing to carry, each frame stands alone.

The noise belongs to the world: objects that move go through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from scumble_shared.tensor import AnyArray

__all__ = ["SurfaceNoise"]

SAMPLES = 4
"""Per side of a latent pixel."""

OFFSET = 0.3819
"""Of the cubes, in cubes: planes through the origin, and at round numbers, lie within cubes and not between them."""

Integers = NDArray[np.uint64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceNoise:
    """depth: h x w, planar, inf where nothing is, as ``camera`` sees it. image: width and height of the picture the
    buffers fill. scale: pixels per latent pixel."""

    camera: Camera
    depth: AnyArray
    image: tuple[int, int]
    scale: int

    def over(self, screen: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """The noise, B x C x h x w float32 on the device of ``screen``, which is used where nothing is seen.

        screen: standard normal, of that shape. seeds: one per image.
        """
        _, channels, height, width = screen.shape
        cubes, weights, misses = self._gather(width, height)
        deviation = np.sqrt(_variance(cubes, weights) + misses)
        noise = screen.cpu().double().numpy() * np.sqrt(misses).reshape(height, width)
        for image, seed in enumerate(seeds):
            for channel, normals in enumerate(_normals(cubes, seed, channels)):
                noise[image, channel] += np.einsum("ns,ns->n", normals, weights).reshape(height, width)
        noise /= deviation.reshape(height, width)
        return torch.from_numpy(noise).to(screen.device, torch.float32)

    def _gather(self, width: int, height: int) -> tuple[Integers, Floats, Floats]:
        """Per latent pixel: hashes of the cubes hit (N x 2 S), their weights, and how many samples hit nothing."""
        points, spacing, hit = self._samples(width, height)
        level = np.log2(np.where(hit, spacing, 1.0))
        lower = np.floor(level)
        fade = level - lower
        cubes = [_cubes(points, lower + step) for step in (0.0, 1.0)]
        weights = [np.where(hit, np.sqrt(part), 0.0) for part in (1.0 - fade, fade)]
        misses = np.count_nonzero(~hit, axis=1).astype(np.float64)
        return np.concatenate(cubes, axis=1), np.concatenate(weights, axis=1), misses

    def _samples(self, width: int, height: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """World points of the samples (N x S x 3), how far apart they are there (N x S), and which hit anything.

        N latent pixels, row by row. Samples are at pixels' centres, where the depth is true.
        """
        rows, columns = self.depth.shape
        down, up_to_row = _grid(height, self.scale, self.image[1], rows)
        across, up_to_column = _grid(width, self.scale, self.image[0], columns)
        shape = (height, SAMPLES, width, SAMPLES)
        row = np.broadcast_to(down[:, :, None, None], shape).transpose(0, 2, 1, 3).reshape(height * width, -1)
        column = np.broadcast_to(across[None, None], shape).transpose(0, 2, 1, 3).reshape(height * width, -1)
        inside = (row < up_to_row) & (column < up_to_column)
        row, column = np.minimum(row, rows - 1), np.minimum(column, columns - 1)
        depth = np.where(inside, self.depth[row, column].astype(np.float64), np.inf)
        hit = np.isfinite(depth) & (depth > 0.0)
        depth = np.where(hit, depth, 1.0)
        points = self.camera.unproject(np.stack([column + 0.5, row + 0.5], axis=-1), depth)
        apart = self.scale / SAMPLES * columns / self.image[0]  # pixels of the buffer
        unit = 2.0 / (abs(self.camera.projection_matrix[0, 0]) * self.camera.width)
        return points, apart * unit * (np.ones_like(depth) if self.camera.is_orthographic else depth), hit


def _grid(count: int, scale: int, side: int, size: int) -> tuple[NDArray[np.int64], int]:
    """Rows (or columns) of a buffer of ``size`` that fills a picture's ``side``: count x SAMPLES, and the first that
    lies outside of it."""
    places = np.arange(count * SAMPLES).reshape(count, SAMPLES) + 0.5
    return np.floor(places * scale / SAMPLES * size / side).astype(np.int64), size


def _cubes(points: Floats, level: Floats) -> Integers:
    """Hash of the cube of side 2 ** level around each point, (..., 3) -> (...)."""
    places = np.floor(points / np.exp2(level)[..., None] + OFFSET).astype(np.int64).view(np.uint64)
    hashed = _mixed(level.astype(np.int64).view(np.uint64))
    for axis in range(3):
        hashed = _mixed(hashed ^ places[..., axis])
    return hashed


def _normals(cubes: Integers, seed: int, channels: int) -> list[Singles]:
    """A standard normal number per cube, for each channel: Box-Muller, two channels from one hash."""
    normals: list[Singles] = []
    for pair in range((channels + 1) // 2):
        bits = _mixed(cubes ^ _mixed(np.uint64((seed * 64 + pair) % 2**64)))
        uniform = ((bits >> np.uint64(40)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-24)
        radius = np.sqrt(np.float32(-2.0) * np.log(uniform))
        angle = (bits & np.uint64(0xFFFFFF)).astype(np.float32) * np.float32(2.0 * np.pi / 2.0**24)
        normals += [radius * np.cos(angle), radius * np.sin(angle)]
    return normals[:channels]


def _variance(cubes: Integers, weights: Floats) -> Floats:
    """Of the weighted sum of each row's cubes, (N, M) -> (N,): weights of the same cube add up before squaring."""
    order = np.argsort(cubes, axis=1)
    ordered = np.take_along_axis(cubes, order, axis=1)
    first = np.ones(cubes.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(first.ravel()) - 1
    sums = np.bincount(group, np.take_along_axis(weights, order, axis=1).ravel())
    rows = np.flatnonzero(first.ravel()) // cubes.shape[1]
    return np.bincount(rows, sums**2, minlength=len(cubes)).astype(np.float64)


def _mixed(values: Integers | np.uint64) -> Integers:
    """The finaliser of SplitMix64."""
    with np.errstate(over="ignore"):
        mixed = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
