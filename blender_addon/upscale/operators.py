"""Enlarging by a button: of the image that is looked at, of the active object's texture, of the latest picture."""

from __future__ import annotations

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError

from .. import actions
from ..jobs import JobRecord
from ..operators.base import WaitingOperator
from .request import enlarging

__all__ = ["CLASSES", "image_of"]


def image_of(context: bpy.types.Context) -> bpy.types.Image | None:
    """In an image editor what it shows; elsewhere what the active object's material shows, its active image node."""
    space = context.space_data
    if space is not None and space.type == "IMAGE_EDITOR":
        return space.image
    material = context.object.active_material if context.object is not None else None
    tree = material.node_tree if material is not None else None
    node = tree.nodes.active if tree is not None else None
    if node is not None and node.type == "TEX_IMAGE":
        return node.image
    nodes = [node for node in (tree.nodes if tree is not None else ()) if node.type == "TEX_IMAGE" and node.image]
    return nodes[0].image if nodes else None


class SCUMBLE_OT_upscale(WaitingOperator, bpy.types.Operator):
    """Make the image larger; the new one comes beside it"""

    bl_idname = "scumble.upscale"
    bl_label = "Enlarge Image"

    image: bpy.props.StringProperty(name="Image", description="Empty for the one that is shown", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.data.images:
            cls.poll_message_set("There is no image to enlarge")
            return False
        return True

    def begin(self, context: bpy.types.Context) -> JobRecord:
        image = bpy.data.images.get(self.image) if self.image else image_of(context)
        if image is None:
            missing = f"there is no image called {self.image}" if self.image else ""
            hint = "show an image, or select a textured object"
            raise ScumbleError(ErrorCode.SCENE, missing or hint, field="image")
        return actions.submit(enlarging(context, image))


CLASSES = (SCUMBLE_OT_upscale,)
