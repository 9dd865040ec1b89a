"""How an object got its texture, kept with the object: enough to do it again, in part or as a whole."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Camera, pack_matrix
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import TextureJob
from scumble_shared.schema import decode, dumps, loads

from .planning import GivenView
from .properties import SCUMBLE_PG_texture

__all__ = ["KeptView", "Recipe", "has_recipe", "keep", "members", "picture_of", "read"]

SEED_MAX = 2**31 - 1
"""Of Blender's integer properties."""

MOVED = 1e-4
"""How far movements may be apart and count as one: of turns, and of places by their distance from the origin."""


@dataclass(frozen=True, slots=True)
class KeptView:
    """One view as it is kept: what was seen and said, and the picture that came of it."""

    camera: Camera
    words: str
    prompt: str
    seed: int
    locked: bool
    image: bpy.types.Image | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """job: with the prompts as they are now, without meshes, views and base. objects: those textured together that are
    still there. views: where the objects are now. unseen: of ``SCUMBLE_PG_around``."""

    job: TextureJob
    objects: tuple[bpy.types.Object, ...]
    views: tuple[KeptView, ...]
    unseen: str

    def given(self, locked: Sequence[bool]) -> tuple[GivenView, ...]:
        """The views for a new job, some with the pictures they have."""
        return tuple(
            GivenView(str(index), view.camera, view.prompt, picture_of(view) if lock else None)
            for index, (view, lock) in enumerate(zip(self.views, locked, strict=True))
        )


def has_recipe(thing: bpy.types.Object | None) -> bool:
    return thing is not None and bool(thing.scumble_texture.recipe)


def keep(
    things: Sequence[bpy.types.Object],
    matrices: Sequence[Sequence[float]],
    job: TextureJob,
    views: Sequence[KeptView],
    coverages: Sequence[float],
) -> None:
    """Writes to each object how it was textured. matrices: object -> world in the job."""
    group = uuid.uuid4().hex
    recipe = dumps(replace(job, meshes=(), views=(), base=(), base_maps=(), keep=(), extra_views=0))
    for place, (thing, matrix, coverage) in enumerate(zip(things, matrices, coverages, strict=True)):
        kept: SCUMBLE_PG_texture = thing.scumble_texture
        kept.recipe, kept.group, kept.place, kept.owner = recipe, group, place, thing.name
        kept.matrix = matrix
        kept.unseen = "KEEP" if job.base and not job.keep else "FILL"
        kept.prompt, kept.negative_prompt = job.prompt, job.negative_prompt
        kept.seed, kept.coverage = min(job.seed, SEED_MAX), coverage
        kept.views.clear()
        for view in views:
            entry = kept.views.add()
            entry.camera, entry.words, entry.prompt = dumps(view.camera), view.words, view.prompt
            entry.seed, entry.locked, entry.image = min(view.seed, SEED_MAX), view.locked, view.image


def read(thing: bpy.types.Object) -> Recipe:
    """Raises ScumbleError SCENE for an object without a recipe, with one that can't be read, and for objects that no
    longer stand to each other as they did."""
    kept: SCUMBLE_PG_texture = thing.scumble_texture
    if not kept.recipe:
        raise ScumbleError(ErrorCode.SCENE, f"{thing.name} hasn't been textured all around yet", field="objects")
    objects = members(thing)
    try:
        job = decode(TextureJob, loads(kept.recipe))
        cameras = [decode(Camera, loads(view.camera)) for view in kept.views]
    except ScumbleError as error:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"how {thing.name} was textured can't be read ({error.info.message}); texture it anew",
            field="objects",
        ) from None
    job = replace(job, prompt=kept.prompt, negative_prompt=kept.negative_prompt)
    moved = _movement(objects)
    views = tuple(
        KeptView(_carried(camera, moved), view.words, view.prompt, view.seed, view.locked, view.image)
        for camera, view in zip(cameras, kept.views, strict=True)
    )
    return Recipe(job, objects, views, kept.unseen)


def members(thing: bpy.types.Object) -> tuple[bpy.types.Object, ...]:
    """The objects that were textured with ``thing``, in their order. A copy of one doesn't count as another."""
    kept: SCUMBLE_PG_texture = thing.scumble_texture
    found: dict[int, bpy.types.Object] = {}
    for other in bpy.data.objects:
        theirs: SCUMBLE_PG_texture = other.scumble_texture
        if theirs.group == kept.group and other.library is None:
            best = found.get(theirs.place)
            if best is None or best.name != best.scumble_texture.owner:
                found[theirs.place] = other
    found[kept.place] = thing
    return tuple(found[place] for place in sorted(found))


def picture_of(view: KeptView) -> NDArray[np.uint8]:
    """uint8 H x W x 3, top row first. Raises ScumbleError SCENE if the picture is gone."""
    image = view.image
    if image is None or 0 in image.size:
        raise ScumbleError(
            ErrorCode.SCENE, f"the picture of the {view.words} is gone; unlock that view to make it anew", field="views"
        )
    width, height = image.size
    values = np.zeros(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    pixels = values.reshape(height, width, image.channels)[::-1, :, :3]
    return np.ascontiguousarray(np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8))


def _movement(objects: Sequence[bpy.types.Object]) -> NDArray[np.float64]:
    """What all objects have been moved by since, (4, 4) in world space. Raises ScumbleError SCENE if it isn't one
    movement of all, without a change of size."""
    first = None
    for thing in objects:
        before = np.array(thing.scumble_texture.matrix, np.float64).reshape(4, 4)
        moved = np.array(thing.matrix_world, np.float64) @ np.linalg.inv(before)
        first = moved if first is None else first
        rotation = moved[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=MOVED) or np.linalg.det(rotation) < 0.0:
            raise ScumbleError(
                ErrorCode.SCENE,
                f"{thing.name} has another size than it was textured at; texture it anew",
                field="objects",
            )
        place = before[:3, 3]
        apart = moved[:3] @ [*place, 1.0] - first[:3] @ [*place, 1.0]
        far = MOVED * max(1.0, float(np.abs(place).max()))
        if not np.allclose(rotation, first[:3, :3], atol=MOVED) or not np.allclose(apart, 0.0, atol=far):
            raise ScumbleError(
                ErrorCode.SCENE,
                f"{thing.name} has moved against {objects[0].name} since they were textured; texture them anew",
                field="objects",
            )
    return np.eye(4) if first is None else first


def _carried(camera: Camera, moved: NDArray[np.float64]) -> Camera:
    """The camera, moved along with what it looks at; the very same if nothing has moved."""
    if np.allclose(moved, np.eye(4), atol=1e-6):
        return camera
    rigid = moved.copy()
    u, _, v = np.linalg.svd(moved[:3, :3])
    rigid[:3, :3] = u @ v
    return replace(camera, view=pack_matrix(camera.view_matrix @ np.linalg.inv(rigid)))
