"""Scumble for scripts: the same jobs as the panel, in an open Blender or in background.

    from bl_ext.user_default.scumble import api

    picture = api.generate(prompt="mossy stone", source="CAMERA")     # waits
    api.texture_from_view(picture, [bpy.data.objects["Head"]])

Failures are ``scumble_shared.errors.ScumbleError`` with a code, a sentence and often a remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.library import LibraryAnswer, LibraryJob
from scumble_shared.messages import Capabilities

from . import actions, pump
from .apply import results
from .jobs import JobRecord
from .live import control
from .live.script import Live
from .models import verbs as models
from .seamless import material as seamless_result
from .seamless import request as seamless_request
from .state import session
from .texture_all import actions as texture_all
from .texture_all.drafts import Draft
from .upscale import request as upscale_request
from .upscale import result as upscale_result

__all__ = [
    "cancel",
    "capabilities",
    "connect",
    "control_images",
    "disconnect",
    "enlarge",
    "generate",
    "job",
    "live",
    "make_maps",
    "manage_models",
    "rebake_texture",
    "seamless_material",
    "step",
    "texture_again",
    "texture_around",
    "texture_from_view",
    "texture_view_again",
    "wait",
]

step = pump.step
wait = actions.wait


def connect(timeout: float = 60.0) -> Capabilities:
    """Connect as the preferences say, starting the server if it is ours to start; what it offers is returned."""
    actions.connect_and_wait(timeout)
    return session().capabilities


def disconnect() -> None:
    """End the connection, and the server if we started it. Unfinished jobs fail."""
    session().disconnect(wait=True)


def capabilities() -> Capabilities:
    """Models, samplers and device of the connected server; empty without one."""
    return session().capabilities


def generate(
    *,
    wait: bool = True,
    timeout: float | None = None,
    on_preview: Callable[[JobRecord, Any], None] | None = None,
    **settings: Any,
) -> JobRecord:
    """A picture of the current scene.

    settings: any field of ``scumble_shared.job.GenerateJob`` (prompt, seed, width, controls, ...), ``source``
    ("CAMERA" or "VIEWPORT") and ``result_actions`` (a set of "IMAGE", "OVERLAY", "RENDER"); the scene's own settings
    hold for the rest. wait: until the result is in the file. The record's ``prepared`` has the pictures by name
    ("image/0", ...), each with ``pixels`` (uint8, top row first) and ``png``. on_preview: called with the record and
    each preview (float32 h x w x 4, bottom row first) from within :func:`step` or :func:`wait`.
    """
    actions.connect_and_wait()
    record = actions.start(bpy.context, watched=on_preview is not None, **settings)
    if on_preview is not None:
        results.preview_watchers[record.id] = on_preview
    return actions.wait(record.id, timeout) if wait else record


def manage_models(
    action: str, target: str = "", *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> LibraryAnswer | JobRecord:
    """Something done with the server's models: ``manage_models("get", "sd15")``, ``manage_models("list").listing``.

    action, target, settings: as ``scumble_shared.library.LibraryJob`` has them. wait: returns the server's answer;
    otherwise the record of the job, to be waited for.
    """
    actions.connect_and_wait()
    record = models.start(LibraryJob(action, target, **settings))
    return actions.wait(record.id, timeout).prepared if wait else record


def seamless_material(
    objects: Sequence[bpy.types.Object] = (), *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> bpy.types.Material | JobRecord:
    """A picture that goes on where it began, as a material of its own.

    objects: that get it, in their active slot; none by default. settings: fields of ``scumble_shared.job.GenerateJob``
    (prompt, seed, width, height, tiling, maps, ...), ``projection`` ("FLAT" or "BOX"), ``scale`` and ``as_asset``; the
    scene's own hold for the rest. wait: returns the material; otherwise the record of the job, to be waited for.
    """
    actions.connect_and_wait()
    record = actions.submit(seamless_request.seamless(bpy.context, objects, **settings))
    if not wait:
        return record
    return _made(seamless_result.material_of(actions.wait(record.id, timeout)))


def enlarge(
    image: bpy.types.Image, *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> bpy.types.Image | JobRecord:
    """An image with more pixels, beside the one it is made of.

    settings: fields of ``scumble_shared.job.UpscaleJob`` (factor, method, upscaler, denoising_strength, tiling, ...),
    and ``replace``: whether materials show it; the scene's own hold for the rest. wait: returns the new image;
    otherwise the record of the job.
    """
    actions.connect_and_wait()
    record = actions.submit(upscale_request.enlarging(bpy.context, image, **settings))
    if not wait:
        return record
    return _made(upscale_result.enlarged_image(actions.wait(record.id, timeout)))


def texture_from_view(
    picture: JobRecord | None = None,
    objects: Sequence[bpy.types.Object] | None = None,
    *,
    image: int = 0,
    wait: bool = True,
    timeout: float | None = None,
) -> JobRecord:
    """Put a generated picture on to objects, as seen from its view.

    picture: from :func:`generate`, the latest by default. objects: the selected ones by default.
    """
    chosen = list(bpy.context.selected_objects) if objects is None else list(objects)
    actions.connect_and_wait()
    record = actions.start_texture(bpy.context, chosen, picture, image)
    return actions.wait(record.id, timeout) if wait else record


def texture_around(
    objects: Sequence[bpy.types.Object] | None = None,
    *,
    views: Collection[str] | None = None,
    cameras: Sequence[bpy.types.Object] = (),
    unseen: str | None = None,
    view_prompts: Mapping[str, str] | None = None,
    wait: bool = True,
    timeout: float | None = None,
    on_preview: Callable[[JobRecord, Any], None] | None = None,
    **settings: Any,
) -> JobRecord:
    """Paint objects, the selected ones by default, from many sides on to their own UV maps, in new materials.

    views: some of "AUTOMATIC" (placed all around), "CURRENT" and "CAMERAS" (those listed in ``scene.scumble_around``).
    cameras: objects to look through, besides ``views`` if they are given. unseen: "FILL" or "KEEP". view_prompts: what
    single views show besides, by camera name, by words ("back view") or by direction ("180° -30°"). settings: fields of
    ``scumble_shared.job.TextureJob`` (prompt, seed, method, texture_size, ...); the scene's own hold for the rest.
    The record's ``prepared`` has "view/0", ... and "texture/NAME". Otherwise as :func:`generate`.
    """
    chosen = list(bpy.context.selected_objects) if objects is None else list(objects)
    kinds = None if views is None else frozenset(views)
    prompts = dict(view_prompts or {})

    def draft() -> Draft:
        return texture_all.begin_around(
            bpy.context, chosen, views=kinds, cameras=cameras, unseen=unseen, view_prompts=prompts, **settings
        )

    return _texture(draft, wait, timeout, on_preview)


def texture_again(
    thing: bpy.types.Object, *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> JobRecord:
    """The recipe of an object and of those textured with it, once more; views whose lock is on keep their pictures.

    settings: fields of TextureJob to change, such as ``seed``; with none of them the same pictures come.
    """
    return _texture(lambda: texture_all.begin_again(bpy.context, thing, **settings), wait, timeout)


def texture_view_again(
    thing: bpy.types.Object, index: int, *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> JobRecord:
    """One view of an object's recipe anew, all others as they are. settings: with ``seed`` by default another one."""
    settings.setdefault("seed", texture_all.new_seed())
    return _texture(lambda: texture_all.begin_one_view(bpy.context, thing, index, **settings), wait, timeout)


def rebake_texture(
    thing: bpy.types.Object, *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> JobRecord:
    """The pictures there are into new textures, without generating. settings: such as ``texture_size``."""
    return _texture(lambda: texture_all.begin_rebake(bpy.context, thing, **settings), wait, timeout)


def make_maps(
    thing: bpy.types.Object, *, wait: bool = True, timeout: float | None = None, **settings: Any
) -> JobRecord:
    """Maps of a texture that an object has, from the pictures there are, without generating; in a new material.

    settings: such as ``maps`` (kinds of ``scumble_shared.job.MAPS``; those the scene ticks, or all, by default) and
    ``map_estimator``. ``prepared`` has them as "KIND/NAME".
    """
    return _texture(lambda: texture_all.begin_maps(bpy.context, thing, **settings), wait, timeout)


def control_images(*, timeout: float | None = None) -> JobRecord:
    """The control images of the scene's controls, as ``prepared["control/0"]``, ... Waits."""
    actions.connect_and_wait()
    return actions.wait(actions.start_control_images(bpy.context).id, timeout)


def live(*, timeout: float = 60.0) -> Live:
    """Paint what is to be seen, again and again while it changes; the scene's settings hold, those in ``live`` too.

        with api.live() as view:
            for angle in range(0, 360, 10):
                turntable.rotation_euler.z = math.radians(angle)
                view.settle()
                save(view.pixels)

    Nothing in the file changes but by ``view.keep()``. timeout: seconds until the server must be ready.
    """
    actions.connect_and_wait(timeout)
    return Live(control.start(bpy.context))


def job(job_id: str) -> JobRecord:
    """How a job is doing. Raises ScumbleError UNKNOWN_JOB."""
    record = session().jobs.get(job_id)
    if record is None:
        raise ScumbleError(ErrorCode.UNKNOWN_JOB, f"job {job_id} isn't known")
    return record


def cancel(job_id: str) -> None:
    """Ask a job to end; its state becomes CANCELLED."""
    session().cancel(job_id)


def _made(thing: Any) -> Any:
    """What a job made. Raises ScumbleError SCENE where the file it was for is gone, or it was cancelled."""
    if thing is None:
        raise ScumbleError(ErrorCode.SCENE, "it was cancelled, or made for a scene that is gone")
    return thing


def _texture(
    draft: Callable[[], Draft],
    wait: bool,
    timeout: float | None,
    on_preview: Callable[[JobRecord, Any], None] | None = None,
) -> JobRecord:
    actions.connect_and_wait()
    record = texture_all.start(draft(), watched=on_preview is not None)
    if on_preview is not None:
        results.preview_watchers[record.id] = on_preview
    return actions.wait(record.id, timeout) if wait else record
