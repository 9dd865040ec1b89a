"""Captures geometry buffers of procedural Blender scenes with Scumble's own capture, for training and evaluation.

    .venv-blender-5.2/bin/python starter/capture.py CAPTURED --count 2000
    .venv-blender-5.2/bin/python starter/capture.py CAPTURED_HELD_OUT --count 24 --held-out

Needs Blender's Python (the bpy wheel) and no GPU. Each file holds several views each of some scenes; files that are
there already are kept, so a broken-off run goes on. Held-out scenes have kinds and seeds that training never sees.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import blender_bare  # noqa: F401
import bpy
import numpy as np
from blender_scenes import HELD_OUT, KINDS, build
from mathutils import Vector
from numpy.typing import NDArray
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from views import (
    GROUPS,
    HELD_OUT_SEED,
    KEY_LIGHT_ANGLE,
    KEY_LIGHT_SPREAD,
    KIND_NAMES,
    NOTHING,
    PARTS,
    SKY_STEP,
    SUN_STEP,
    Views,
    encode_depth,
    save_views,
    to_octahedron,
)

from blender_addon.capture import CapturedFrame, ObjectEntry, capture_matrices, unregister

__all__ = ["capture_scene"]

SCENES_PER_FILE = 16
SHADOW_SIZE = 320
KEY_HEIGHTS = (0.26, 0.42, 0.8, 1.1)
"""Radians above the horizon of the light that shadows are kept of: what render.LIGHTS have, about."""
SKY_AZIMUTHS, SKY_HEIGHTS = 7, (-0.4, 0.25, 0.75, 1.25)
"""Directions that the open sky is counted from; the lowest ones show where light comes up from below."""

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Sun:
    """One direction of light: towards it, its shadow map's camera, and the depth it sees (inf where nothing)."""

    toward: Array
    camera: Camera
    depth: Array

    def lit(self, position: Array, normal: Array) -> NDArray[np.bool_]:
        """Whether surface points ... x 3 are seen from the light; those outside its map are."""
        texel = 2.0 / (self.camera.projection[0] * SHADOW_SIZE)
        slope = np.clip((normal * self.toward).sum(-1), 0.15, 1.0)
        pixels, depth = self.camera.project(position + normal * (1.5 * texel))
        at = np.clip(pixels, 0, SHADOW_SIZE - 1).astype(int)
        outside = ((pixels < 0) | (pixels >= SHADOW_SIZE)).any(-1)
        return outside | (depth < self.depth[at[..., 1], at[..., 0]] + texel / slope)


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """The middle of what the scene is about, its half size per axis, and how far it reaches."""

    middle: Array
    half: Array
    reach: float


def group_of(name: str) -> int:
    return int(name.split(":")[0])


def _extent(depsgraph: bpy.types.Depsgraph) -> Extent:
    """Of the objects; of walls and ground where there are none."""
    things, rest = [], []
    for instance in depsgraph.object_instances:
        thing = instance.object
        if instance.show_self and thing.type in {"MESH", "CURVE", "FONT", "META"}:
            corners = [instance.matrix_world @ Vector(corner) for corner in thing.bound_box]
            (things if group_of(thing.original.name) > 2 else rest).extend(corners)
    points = np.array(things or rest)
    low, high = np.maximum(points.min(0), -4.0), np.minimum(points.max(0), 4.0)
    half = (high - low) / 2
    return Extent((low + high) / 2, half, float(np.clip(np.linalg.norm(half), 0.4, 4.0)))


def _sun(depsgraph: bpy.types.Depsgraph, extent: Extent, azimuth: float, height: float) -> Sun:
    toward = _direction(azimuth, height)
    eye = extent.middle + toward * extent.reach * 4
    side = 2.6 * extent.reach
    view = np.array(look_at(tuple(eye), tuple(extent.middle))).reshape(4, 4)
    lens = np.array(orthographic(side, side, 0.01, extent.reach * 12)).reshape(4, 4)
    frame = capture_matrices(depsgraph, view, lens, SHADOW_SIZE, SHADOW_SIZE, {"depth"})
    return Sun(toward, frame.camera, frame.depth)


def _direction(azimuth: float, height: float) -> Array:
    """Unit vector that points there."""
    return np.array([math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)])


def _sky(depsgraph: bpy.types.Depsgraph, extent: Extent) -> list[Sun]:
    """Light from all around."""
    around = [2 * math.pi * i / SKY_AZIMUTHS for i in range(SKY_AZIMUTHS)]
    return [_sun(depsgraph, extent, a + row, h) for row, h in enumerate(SKY_HEIGHTS) for a in around]


@dataclass(frozen=True, slots=True)
class Lens:
    """Where a view is taken from, and what scenes.Scene wants to know of it."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    tan_half: float
    window: float
    parallel: bool

    def capture(self, depsgraph: bpy.types.Depsgraph, size: int) -> CapturedFrame:
        far = 60.0
        lens = perspective(2 * math.atan(self.tan_half), 1.0, 0.02, far)
        if self.parallel:
            lens = orthographic(2 * self.window, 2 * self.window, 0.02, far)
        view = np.array(look_at(self.eye, self.target)).reshape(4, 4)
        return capture_matrices(depsgraph, view, np.array(lens).reshape(4, 4), size, size)


def _lens(extent: Extent, grounded: bool, rng: random.Random) -> Lens:
    near = rng.random() < 0.25
    window = extent.reach * (rng.uniform(0.25, 0.5) if near else rng.uniform(0.5, 1.05))
    away = np.array([rng.uniform(-1, 1) for _ in range(3)]) * extent.half * (0.6 if near else 0.15)
    target = extent.middle + away
    tan_half = math.tan(rng.uniform(0.3, 0.9) / 2)
    azimuth = rng.uniform(0.0, 2 * math.pi)
    elevation = rng.uniform(0.05, 0.65) if grounded else rng.uniform(-0.5, 0.9)
    eye = target + _direction(azimuth, elevation) * window / tan_half
    if grounded:
        eye[2] = max(eye[2], 0.15)
    return Lens(tuple(eye.tolist()), tuple(target.tolist()), tan_half, window, rng.random() < 0.1)


def _worth_it(frame: CapturedFrame, groups: dict[int, int], lens: Lens, about_objects: bool) -> bool:
    """Whether enough is seen, of the objects too, and nothing stands right before the camera."""
    hit = frame.object_id > 0
    if hit.mean() < 0.15 or frame.depth[hit].min() < 0.2 * lens.window / lens.tan_half:
        return False
    share = np.isin(frame.object_id, [i for i, group in groups.items() if group > 2]).mean()
    return not about_objects or bool(share > 0.1)


def _parts(frame: CapturedFrame) -> tuple[list[ObjectEntry], NDArray[np.uint8]]:
    """What is seen, at most PARTS of it, each group's largest for certain; and every pixel's index into that."""
    pixels = np.bincount(frame.object_id.ravel(), minlength=frame.objects[-1].id + 1)
    seen = sorted((entry for entry in frame.objects if pixels[entry.id]), key=lambda entry: -pixels[entry.id])
    firsts = {group_of(entry.name): entry for entry in reversed(seen)}
    others = [entry for entry in seen if firsts[group_of(entry.name)] is not entry]
    kept = [*firsts.values(), *others][:PARTS]
    table = np.full(len(pixels), NOTHING, np.uint8)
    for entry in seen:
        table[entry.id] = kept.index(entry if entry in kept else firsts[group_of(entry.name)])
    return kept, table[frame.object_id]


def _one(frame: CapturedFrame, lens: Lens, sky: list[Sun], suns: list[Sun], source: tuple[int, int]) -> Views:
    """Everything that is kept of a view. sky: what its openness is counted from; suns: whose shadows are kept."""
    kept, part = _parts(frame)
    group, kind = np.zeros(PARTS, np.uint8), np.zeros(GROUPS, np.uint8)
    centre, rotation = np.zeros((PARTS, 3)), np.tile(np.eye(3), (PARTS, 1, 1))
    for index, entry in enumerate(kept):
        matrix = np.array(entry.matrix_world).reshape(4, 4)
        group[index], centre[index] = group_of(entry.name), matrix[:3, 3]
        rotation[index] = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
        known = KIND_NAMES.index(entry.name.split(":")[1])
        kind[group[index]] = kind[group[index]] or (known if group[index] > 2 else 1)
    if not kind[1:].any():
        # Land alone is what the picture is of, not what something stands on.
        group[: len(kept)], kind[0], kind[3] = 3, 0, KIND_NAMES.index("other")
    code, nearest, farthest = encode_depth(frame.depth, lens.parallel)
    hit = np.isfinite(frame.depth)
    position = frame.camera.unproject(frame.camera.pixel_centres(), np.where(hit, frame.depth, farthest))
    normal = frame.normal.astype(np.float32) @ frame.camera.view_matrix[:3, :3].astype(np.float32)
    step = (slice(None, None, SUN_STEP), slice(None, None, SUN_STEP))
    lit = np.stack([sun.lit(position[step], normal[step]) for sun in suns])
    step = (slice(None, None, SKY_STEP), slice(None, None, SKY_STEP))
    open_sky = _open_sky(position[step], normal[step], sky)
    values = (
        code, to_octahedron(frame.normal.astype(np.float32)), part, lit, open_sky,
        np.stack([sun.toward for sun in suns]).astype(np.float32), frame.camera.view_matrix.astype(np.float32),
        np.float32(lens.tan_half), np.float32(lens.window), np.bool_(lens.parallel), np.float32(nearest),
        np.float32(farthest), group, kind, centre.astype(np.float32), rotation.astype(np.float32),
        np.array(source, np.int32),
    )  # fmt: skip
    return Views(*(np.asarray(value)[None] for value in values))


def _open_sky(position: Array, normal: Array, sky: list[Sun]) -> NDArray[np.uint8]:
    """Share of the directions in front of each surface that nothing stands in, by cosine; in 32 steps."""
    weight = np.stack([np.maximum((normal * sun.toward).sum(-1), 0.0) for sun in sky])
    lit = np.stack([sun.lit(position, normal) for sun in sky])
    share = ((weight * lit).sum(0) + 0.05) / (weight.sum(0) + 0.05)
    return (np.round(share * 31.0) * (255.0 / 31.0)).astype(np.uint8)


def _key_lights(depsgraph: bpy.types.Depsgraph, extent: Extent, frame: CapturedFrame, rng: random.Random) -> list[Sun]:
    """Light over the viewer's left shoulder, as :func:`captions.dress` has it, at all heights."""
    behind = frame.camera.view_matrix[2, :3]
    azimuth = math.atan2(behind[1], behind[0]) - KEY_LIGHT_ANGLE + rng.uniform(-0.5, 0.5) * KEY_LIGHT_SPREAD
    return [_sun(depsgraph, extent, azimuth, height) for height in KEY_HEIGHTS]


def capture_scene(kind: str, seed: int, count: int, size: int) -> Views | None:
    """Up to ``count`` views of one scene; None if nothing of it can be seen well."""
    kinds = list(KINDS | HELD_OUT)
    build(kind, seed)
    rng = random.Random(seed)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    extent = _extent(depsgraph)
    sky: list[Sun] = []
    found: list[Views] = []
    seen = {group_of(thing.name) for thing in bpy.context.scene.objects if thing.type not in {"CAMERA", "LIGHT"}}
    grounded, about_objects = 0 in seen, max(seen) > 2
    for _ in range(count * 6):
        lens = _lens(extent, grounded, rng)
        frame = lens.capture(depsgraph, size)
        groups = {entry.id: group_of(entry.name) for entry in frame.objects}
        if _worth_it(frame, groups, lens, about_objects):
            sky = sky or _sky(depsgraph, extent)
            suns = _key_lights(depsgraph, extent, frame, rng)
            found.append(_one(frame, lens, sky, suns, (kinds.index(kind), seed)))
        if len(found) == count:
            break
    return Views.joined(found) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000, help="views in all, about")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--views", type=int, default=4, help="of each scene")
    parser.add_argument("--held-out", action="store_true", help="evaluation's kinds of scenes")
    parser.add_argument("--kind", choices=tuple(KINDS | HELD_OUT), help="scenes of this kind alone")
    parser.add_argument("--part", default="0/1", help="this process's share, such as 0/2 and 1/2 for two processes")
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    kinds = [a.kind] if a.kind else list(HELD_OUT if a.held_out else KINDS)
    scenes = max(1, math.ceil(a.count / a.views))
    part, parts = map(int, a.part.split("/"))
    for file in range(part, math.ceil(scenes / SCENES_PER_FILE), parts):
        path = a.folder / f"views-{file:04d}.npz"
        if path.exists():
            continue
        begin = time.monotonic()
        numbers = range(file * SCENES_PER_FILE, min(scenes, (file + 1) * SCENES_PER_FILE))
        first = HELD_OUT_SEED if a.held_out else 0
        made = [capture_scene(kinds[i % len(kinds)], first + i, a.views, a.size) for i in numbers]
        views = [part for part in made if part is not None]
        save_views(path, Views.joined(views))
        count, seconds = sum(len(part.part) for part in views), time.monotonic() - begin
        print(f"{path.name}: {count} views, {path.stat().st_size // 1024} kB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
    unregister()
    # Blender's own end of process may crash on what the GPU still holds.
    sys.stdout.flush()
    os._exit(0)
