"""A larger image into the file, beside the one it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..apply.images import PROVENANCE, keep_image
from ..apply.results import undo_step
from ..jobs import JobRecord
from ..state import session

__all__ = ["JOB", "About", "apply_enlarged", "enlarged_image"]

JOB = "scumble_job"
"""Custom property with the id of the job that made an image."""


@dataclass(frozen=True, slots=True)
class About:
    """image: session_uid of what is enlarged. in_materials: they show the larger one afterwards."""

    image: int
    in_materials: bool


def apply_enlarged(record: JobRecord) -> None:
    """One undo step. If the image is gone, the larger one is there all the same."""
    about: About = record.target.about
    old = next((image for image in bpy.data.images if image.session_uid == about.image), None)
    name = f"{'Scumble' if old is None else old.name} {record.job.factor}x"
    image = keep_image(record.prepared["image/0"], name)
    image[JOB] = record.id
    if old is not None:
        image.colorspace_settings.name = old.colorspace_settings.name
        image.alpha_mode = old.alpha_mode
        image.buffers_free()
        if about.in_materials:
            _show(old, image)
    undo_step("Scumble: Enlarge Image")
    width, height = image.size
    session().jobs.annotate(record.id, f"{image.name} has {width} x {height} pixels")


def enlarged_image(record: JobRecord) -> bpy.types.Image | None:
    """What a job made."""
    return next((image for image in bpy.data.images if image.get(JOB) == record.id), None)


def _show(old: bpy.types.Image, new: bpy.types.Image) -> None:
    """In materials, and in the groups that they use; what is linked from other files stays as it is."""
    trees = [material.node_tree for material in bpy.data.materials if material.library is None and material.node_tree]
    groups = [group for group in bpy.data.node_groups if group.library is None]
    for tree in (*trees, *groups):
        for node in tree.nodes:
            if node.type == "TEX_IMAGE" and node.image == old:
                node.image = new
    if PROVENANCE in old:
        old.use_fake_user = True  # the picture before stays beside it
