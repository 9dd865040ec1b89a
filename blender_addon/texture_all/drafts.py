"""Jobs for texturing all around, as far as Blender's data decides them: all but where views stand.

A draft is made when the artist asks; a plan completes it, from another thread if it takes long.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import MeshRef, Region, TextureJob, TextureView, texture_names
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest

from ..apply.base import base_texture
from ..apply.base_maps import with_base_maps
from ..capture import MeshArrays
from ..capture.tiles import udim_tiles
from ..choices import control_kinds_of
from ..connection.addressing import stand_in
from ..control_list import controls_of, needs_color, needs_poses
from ..jobs import MeshTarget, Target
from ..posing.reading import poses_of
from ..references.request import known_pictures, references_of
from ..regions.reading import kinds_of_meshes, regions_of_meshes, wants_kinds
from ..request import SEED_LIMIT, Request, keep_of, loras_of, maps_of
from ..words import in_style, with_final_words, written
from .planning import Plan, Wish
from .properties import UNSEEN, SCUMBLE_PG_around
from .recipe import Recipe, read
from .scene import surfaces, wish_of

__all__ = ["Draft", "again", "around", "completed"]

NEVER_GIVEN = {"meshes", "views", "base", "base_maps", "keep", "view_size", "task"}
"""Fields of a job that scripts don't set: they come from the scene."""


@dataclass(frozen=True, slots=True)
class Draft:
    """job: without views. tensors: of its meshes and base textures."""

    wish: Wish
    job: TextureJob
    tensors: dict[Digest, AnyArray]
    target: Target


def around(
    context: bpy.types.Context,
    capabilities: Capabilities,
    objects: Sequence[bpy.types.Object],
    *,
    views: frozenset[str] | None = None,
    cameras: Sequence[bpy.types.Object] = (),
    unseen: str | None = None,
    view_prompts: dict[str, str] | None = None,
    **overrides: Any,
) -> Draft:
    """What the scene's settings ask for. views: kinds of ``SCUMBLE_PG_around.views``. cameras: to look through besides.
    view_prompts: of views, by key or words. overrides: fields of TextureJob.

    Raises ScumbleError SCENE for what can't be textured or seen, and INVALID_FIELD for fields that can't be given.
    """
    settings, own = context.scene.scumble, context.scene.scumble_around
    _check_fields(overrides, unseen)
    wish = wish_of(context, objects, frozenset() if cameras and views is None else views, cameras)
    if "seed" not in overrides and not settings.lock_seed:
        settings.seed = secrets.randbelow(SEED_LIMIT)
    prompts = {**(wish.prompts or {}), **(view_prompts or {})}
    given = tuple(replace(view, prompt=prompts.get(view.key, view.prompt)) for view in wish.given)
    wish = replace(wish, given=given, prompts=prompts)
    tensors: dict[Digest, AnyArray] = {}
    references = references_of(context.scene, tensors, masks=False)
    regions = in_style(context.scene, regions_of_meshes(_numbered(wish)))
    job = _job(settings, own, capabilities, {"references": references, "regions": regions, **overrides}, tensors)
    return _draft(context, wish, job, unseen or own.unseen, (), tensors)


def again(
    context: bpy.types.Context,
    thing: bpy.types.Object,
    *,
    locked: Callable[[Recipe], Sequence[bool]],
    unseen: str | None = None,
    **overrides: Any,
) -> Draft:
    """The recipe of an object and of those textured with it, once more. locked: which views keep their pictures.

    Raises ScumbleError SCENE as :func:`around`, for objects without a recipe, and for pictures that are gone.
    """
    _check_fields(overrides, unseen)
    context.view_layer.update()
    recipe = read(thing)
    given = recipe.given(locked(recipe))
    sizes = {(view.camera.width, view.camera.height) for view in given}
    wish = Wish(surfaces(context, recipe.objects), given, automatic=False, size=sizes.pop())
    job = replace(recipe.job, **{"regions": _renumbered(recipe), **overrides})
    locks = tuple(view.locked for view in recipe.views)
    tensors: dict[Digest, AnyArray] = {}
    paints = job.extra_views > 0 or any(view.locked is None for view in given)
    job = replace(job, references=known_pictures(context.scene, job.references, tensors, needed=paints))
    return _draft(context, wish, job, unseen or recipe.unseen, locks, tensors)


def completed(draft: Draft, plan: Plan) -> Request:
    """The job with its views."""
    tensors = dict(draft.tensors)
    views = []
    for view in plan.views:
        name = None
        if view.locked is not None:
            name = stand_in(view.locked)
            tensors[name] = view.locked
        views.append(TextureView(view.camera, view.prompt, name))
    return Request(replace(draft.job, views=tuple(views)), tensors, draft.target)


def _check_fields(overrides: dict[str, Any], unseen: str | None) -> None:
    known = set(TextureJob.__dataclass_fields__) - NEVER_GIVEN
    for name in overrides:
        if name not in known:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"there is no setting {name!r}; there are {', '.join(sorted(known))}",
                field=name,
            )
    choices = [item[0] for item in UNSEEN]
    if unseen is not None and unseen not in choices:
        raise ScumbleError(ErrorCode.INVALID_FIELD, f"unseen is {' or '.join(choices)}, not {unseen}", field="unseen")


def _job(
    settings: Any,
    own: SCUMBLE_PG_around,
    capabilities: Capabilities,
    overrides: dict[str, Any],
    tensors: dict[Digest, AnyArray],
) -> TextureJob:
    model = overrides.get("model", settings.model_id)
    words = written(settings.id_data)
    job = TextureJob(
        prompt=words.prompt,
        meshes=(),
        negative_prompt=words.negative_prompt,
        model=model,
        view_words=own.view_words,
        controls=controls_of(settings, control_kinds_of(capabilities, model), tensors),
        sampler=settings.sampler,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
        method=own.method,
        sync_end=own.sync_end,
        texture_size=settings.texture_size,
        angle_exponent=own.angle_exponent,
        extra_views=own.extra_views,
        refine_strength=own.refine_strength,
        refine_scale=own.refine_scale,
        bit_depth=int(settings.bit_depth),
        quality=settings.quality,
        memory=settings.memory,
        loras=loras_of(settings),
        **maps_of(settings),
    )
    return with_final_words(replace(job, **overrides))


def _draft(
    context: bpy.types.Context,
    wish: Wish,
    job: TextureJob,
    unseen: str,
    locks: tuple[bool, ...],
    tensors: dict[Digest, AnyArray],
) -> Draft:
    if needs_color(job.controls) and unseen != "KEEP":
        raise ScumbleError(
            ErrorCode.SCENE,
            "Tile and Colour Grid follow what is painted already; set Unseen to Keep, or remove the control",
            field="controls",
        )
    poses = poses_of(context.evaluated_depsgraph_get()) if needs_poses(job.controls) else ()
    things = _numbered(wish)
    kinds = kinds_of_meshes(list(things.values())) if wants_kinds(job.controls) else [""] * len(things)
    refs = tuple(
        replace(_mesh_ref(mesh, number, tensors), kind=kind)
        for number, mesh, kind in zip(things, wish.meshes, kinds, strict=True)
    )
    mask = context.scene.scumble.keep_mask
    base = _bases(wish.meshes, refs, job.texture_size, tensors) if unseen == "KEEP" or mask else ()
    keep = keep_of(mask, refs, base, job.texture_size, tensors)
    if keep and unseen != "KEEP":
        base = (_only_there(tensors, base[0], tensors[keep[0]]),)
    targets = tuple(MeshTarget(mesh.name, mesh.session_uid, mesh.uv_map, complete=True) for mesh in wish.meshes)
    target = Target(context.scene.session_uid, meshes=targets, locks=locks)
    job = replace(job, meshes=refs, base=base, keep=keep, poses=poses)
    job = with_base_maps(job, list(things.values()), [mesh.uv_map for mesh in wish.meshes], tensors)
    return Draft(wish, job, tensors, target)


def _numbered(wish: Wish) -> dict[int, bpy.types.Object]:
    """The objects that are textured by the ids that their meshes have in the job, in order."""
    things = {thing.session_uid: thing for thing in bpy.data.objects}
    return {number + 1: things[mesh.session_uid] for number, mesh in enumerate(wish.meshes)}


def _renumbered(recipe: Recipe) -> tuple[Region, ...]:
    """The regions of a recipe for the objects that are left of it."""
    now = {thing.scumble_texture.place + 1: number + 1 for number, thing in enumerate(recipe.objects)}
    regions = [
        replace(region, objects=tuple(now[number] for number in region.objects if number in now))
        for region in recipe.job.regions
    ]
    return tuple(region for region in regions if region.objects)


def _only_there(tensors: dict[Digest, AnyArray], base: Digest, mask: AnyArray) -> Digest:
    """A base that has something only where it is kept: the rest is filled where no view sees it."""
    part = tensors.pop(base).copy()
    part[..., 3] = mask
    name = stand_in(part)
    tensors[name] = part
    return name


def _mesh_ref(mesh: MeshArrays, number: int, tensors: dict[Digest, AnyArray]) -> MeshRef:
    def stored(array: AnyArray) -> Digest:
        name = stand_in(array)
        tensors[name] = array
        return name

    return MeshRef(
        name=mesh.name,
        object_id=number,
        matrix_world=mesh.matrix_world,
        vertices=stored(mesh.vertices),
        triangles=stored(mesh.triangles),
        normals=stored(mesh.normals),
        uvs=stored(mesh.uvs),
        tiles=udim_tiles(mesh.uvs),
    )


def _bases(
    meshes: Sequence[MeshArrays], refs: Sequence[MeshRef], size: int, tensors: dict[Digest, AnyArray]
) -> tuple[Digest, ...]:
    """What the objects look like now, per texture. Raises ScumbleError SCENE where only nodes could tell."""
    names = []
    for mesh, ref in zip(meshes, refs, strict=True):
        thing = next(thing for thing in bpy.data.objects if thing.session_uid == mesh.session_uid)
        base = base_texture(thing, mesh.uv_map, size)
        if base is None:
            raise ScumbleError(
                ErrorCode.SCENE,
                f"what {mesh.name} looks like can't be kept: that takes one plain colour, or one picture of "
                f"{size} x {size} pixels on the map that is painted. Bake it first, or have the unseen filled",
                field="unseen",
            )
        name = stand_in(base)
        tensors[name] = base
        names += [name] * len(texture_names([ref]))
    return tuple(names)
