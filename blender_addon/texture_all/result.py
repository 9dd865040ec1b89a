"""A finished texture job into Blender's data: new materials beside the old, and the recipe, in one undo step."""

from __future__ import annotations

import json
from typing import Any

import bpy
from scumble_shared.camera import Camera
from scumble_shared.errors import ScumbleError
from scumble_shared.job import TextureJob, TextureView
from scumble_shared.placement import words_of
from scumble_shared.schema import decode

from ..apply.images import PROVENANCE, keep_image, keep_maps, keep_texture
from ..apply.materials import apply_texture
from ..apply.results import undo_step
from ..jobs import JobRecord, JobState, MeshTarget
from ..state import session
from .live import forget
from .recipe import KeptView, keep

__all__ = ["apply_texture_job"]

DIGEST, SEED = "scumble_digest", "scumble_seed"
"""Custom properties of a view's picture: content address, and the seed it was begun with."""

OVERLAP_WORTH_A_WORD = 0.01
"""Share of the texture's texels."""


def apply_texture_job(record: JobRecord) -> None:
    """Objects that are gone or can't be changed any more are left out, and the artist is told."""
    forget(record.id)
    _lighten_earlier(record)
    facts = _facts(record)
    found, notes = _objects(record)
    done = []
    for mesh, thing in found:
        try:
            _apply(record, mesh, thing)
            done.append((mesh, thing))
        except ScumbleError as error:
            notes.append(str(error))
    if done:
        _keep_recipe(record, done, facts)
        undo_step("Scumble: Texture All Around")
    notes += _remarks(record.job, facts)
    if notes:
        session().jobs.annotate(record.id, "; ".join(notes))


def _lighten_earlier(record: JobRecord) -> None:
    """What earlier jobs brought is in the file; several sets of large textures would fill the memory."""
    for earlier in session().jobs.all():
        if earlier.id != record.id and isinstance(earlier.job, TextureJob) and earlier.state is JobState.DONE:
            session().jobs.lighten(earlier.id)


def _objects(record: JobRecord) -> tuple[list[tuple[MeshTarget, bpy.types.Object]], list[str]]:
    known = {thing.session_uid: thing for thing in bpy.data.objects}
    found = [(mesh, known[mesh.session_uid]) for mesh in record.target.meshes if mesh.session_uid in known]
    lost = [f"{mesh.name} is gone" for mesh in record.target.meshes if mesh.session_uid not in known]
    return found, lost


def _apply(record: JobRecord, mesh: MeshTarget, thing: bpy.types.Object) -> None:
    before = [slot.material for slot in thing.material_slots if slot.material is not None]
    ref = next(ref for ref in record.job.meshes if ref.name == mesh.name)
    image, maps = keep_texture(record.prepared, ref), keep_maps(record.prepared, ref, record.provenance)
    images = [image, *maps.images.values()]
    try:
        made = apply_texture(thing, image, mesh.uv_map, mesh.complete, maps)
    except ScumbleError:
        bpy.data.batch_remove(images)
        raise
    for image in images:
        image.use_fake_user = False  # its materials use it; each texture made again would stay for ever
    for material in made:
        material[PROVENANCE] = record.id
    for old in before:
        if PROVENANCE not in old and old.library is None:
            old.use_fake_user = True


def _keep_recipe(record: JobRecord, done: list[tuple[MeshTarget, bpy.types.Object]], facts: dict[str, Any]) -> None:
    job: TextureJob = record.job
    refs = {ref.name: ref for ref in job.meshes}
    told = facts.get("meshes", {})
    keep(
        [thing for _, thing in done],
        [refs[mesh.name].matrix_world for mesh, _ in done],
        job,
        [_kept_view(record, index, view) for index, view in enumerate(_views(job, facts))],
        [float(told.get(mesh.name, {}).get("coverage", 0.0)) for mesh, _ in done],
    )


def _views(job: TextureJob, facts: dict[str, Any]) -> list[TextureView]:
    """The job's, and those that the server added."""
    added = facts.get("views", [])[len(job.views) :]
    return [*job.views, *(TextureView(decode(Camera, view["camera"])) for view in added)]


def _kept_view(record: JobRecord, index: int, view: TextureView) -> KeptView:
    job: TextureJob = record.job
    name = f"view/{index}"
    digest = record.digests.get(name, "")
    words = words_of(view.camera)
    image = next((image for image in bpy.data.images if digest and image.get(DIGEST) == digest), None)
    if image is None:
        image = keep_image(record.prepared[name], f"Scumble {job.meshes[0].name} {words}")
        image.use_fake_user = False  # the object's recipe uses it
        image[DIGEST], image[SEED] = digest, str(job.seed + index)
    locked = record.target.locks[index] if index < len(record.target.locks) else False
    return KeptView(view.camera, words, view.prompt, int(image.get(SEED, job.seed + index)), locked, image)


def _facts(record: JobRecord) -> dict[str, Any]:
    """What the server found out; empty if it can't be read."""
    try:
        facts = json.loads(record.provenance)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _remarks(job: TextureJob, facts: dict[str, Any]) -> list[str]:
    """What an artist should know of UV maps that aren't made for painting."""
    remarks = []
    for name, told in facts.get("meshes", {}).items():
        if told.get("overlapping", 0) > OVERLAP_WORTH_A_WORD * job.texture_size**2:
            remarks.append(f"Faces of {name} overlap in its UV map and share their paint")
        if told.get("skipped_triangles", 0):
            remarks.append(f"{told['skipped_triangles']} triangles of {name} have no usable UVs")
    return remarks
