"""Buttons for texturing all around."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from .. import actions as common
from ..jobs import JobState
from ..operators.base import attempt
from ..state import session
from . import actions, live
from .drafts import Draft
from .recipe import has_recipe

__all__ = ["CLASSES"]


class DraftOperator:
    """Starts a texture job; with ``wait`` it returns when the result is applied, as background Blender needs.

    Without it, views are placed on another thread first, so that Blender goes on at once.
    """

    wait: bpy.props.BoolProperty(
        name="Wait", description="Return when the result is there, for scripts", default=False, options={"SKIP_SAVE"}
    )

    draft: Callable[[bpy.types.Context], Draft]
    """What the operator starts."""

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._work(context))

    def _work(self, context: bpy.types.Context) -> None:
        if not self.wait:
            actions.start_later(self.draft(context))
            return
        common.connect_and_wait()
        record = actions.start(self.draft(context))
        if common.wait(record.id).state is JobState.CANCELLED:
            self.report({"WARNING"}, "Cancelled")


def _has_selection(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    if not context.selected_objects:
        cls.poll_message_set("Select the objects to texture")
        return False
    if actions.is_looking():
        cls.poll_message_set("Already looking round")
        return False
    return True


class SCUMBLE_OT_texture_around(DraftOperator, bpy.types.Operator):
    """Paint the selected objects from all sides, on to their own UV maps, in new materials"""

    bl_idname = "scumble.texture_around"
    bl_label = "Texture All Around"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.scumble.prompt.strip():
            cls.poll_message_set("Write a prompt first")
            return False
        return _has_selection(cls, context)

    def draft(self, context: bpy.types.Context) -> Draft:
        return actions.begin_around(context, context.selected_objects)


class SCUMBLE_OT_preview_views(bpy.types.Operator):
    """Show where views stand and how well they see each part of the selected objects, before anything is generated"""

    bl_idname = "scumble.preview_views"
    bl_label = "Preview Views"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return live.coverage_plan() is not None or _has_selection(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if live.coverage_plan() is not None:
            live.clear_coverage()
            session().changes += 1
            return {"FINISHED"}
        return attempt(self, lambda: actions.start_preview(context, context.selected_objects))


class SCUMBLE_OT_stop_looking(bpy.types.Operator):
    """Don't place views any longer"""

    bl_idname = "scumble.stop_looking"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return actions.is_looking()

    def execute(self, context: bpy.types.Context) -> set[str]:
        actions.stop_looking()
        return {"FINISHED"}


def _can_do_again(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    if not has_recipe(context.object):
        cls.poll_message_set("Texture the active object all around first")
        return False
    if actions.is_looking():
        cls.poll_message_set("Already looking round")
        return False
    return True


class SCUMBLE_OT_texture_again(DraftOperator, bpy.types.Operator):
    """Texture the active object, and those textured with it, as before; views that are locked keep their pictures"""

    bl_idname = "scumble.texture_again"
    bl_label = "Texture Again"

    new_seed: bpy.props.BoolProperty(
        name="New Seed", description="Something else of the same kind", default=True, options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _can_do_again(cls, context)

    def draft(self, context: bpy.types.Context) -> Draft:
        seed = {"seed": actions.new_seed()} if self.new_seed else {}
        return actions.begin_again(context, context.object, **seed)


class SCUMBLE_OT_texture_view_again(DraftOperator, bpy.types.Operator):
    """Make this view's picture anew; the others stay"""

    bl_idname = "scumble.texture_view_again"
    bl_label = "Regenerate This View"

    index: bpy.props.IntProperty(name="View", min=0, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _can_do_again(cls, context)

    def draft(self, context: bpy.types.Context) -> Draft:
        return actions.begin_one_view(context, context.object, self.index, seed=actions.new_seed())


class SCUMBLE_OT_rebake_texture(DraftOperator, bpy.types.Operator):
    """Put the pictures there are into new textures of the size that is set; nothing is generated"""

    bl_idname = "scumble.rebake_texture"
    bl_label = "Bake Again"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _can_do_again(cls, context)

    def draft(self, context: bpy.types.Context) -> Draft:
        settings, around = context.scene.scumble, context.scene.scumble_around
        return actions.begin_rebake(
            context, context.object, texture_size=settings.texture_size, angle_exponent=around.angle_exponent
        )


class SCUMBLE_OT_make_maps(DraftOperator, bpy.types.Operator):
    """Make the maps that are ticked, or all, of the texture there is; nothing is generated"""

    bl_idname = "scumble.make_maps"
    bl_label = "Make Maps"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _can_do_again(cls, context)

    def draft(self, context: bpy.types.Context) -> Draft:
        return actions.begin_maps(context, context.object)


class SCUMBLE_OT_around_camera_add(bpy.types.Operator):
    """Add the selected cameras to the list, or else the scene's"""

    bl_idname = "scumble.around_camera_add"
    bl_label = "Add Cameras"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        listed = context.scene.scumble_around.cameras
        known = {entry.camera for entry in listed}
        selected = [thing for thing in context.selected_objects if thing.type == "CAMERA"]
        fresh = [thing for thing in selected or [context.scene.camera] if thing is not None and thing not in known]
        if not fresh:
            self.report({"ERROR"}, "Select cameras that aren't in the list yet")
            return {"CANCELLED"}
        for camera in fresh:
            listed.add().camera = camera
        context.scene.scumble_around.views |= {"CAMERAS"}
        return {"FINISHED"}


class SCUMBLE_OT_around_camera_remove(bpy.types.Operator):
    """Take this camera off the list"""

    bl_idname = "scumble.around_camera_remove"
    bl_label = "Remove Camera"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(name="Index", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        listed = context.scene.scumble_around.cameras
        if self.index >= len(listed):
            return {"CANCELLED"}
        listed.remove(self.index)
        return {"FINISHED"}


CLASSES = (
    SCUMBLE_OT_texture_around,
    SCUMBLE_OT_preview_views,
    SCUMBLE_OT_stop_looking,
    SCUMBLE_OT_texture_again,
    SCUMBLE_OT_texture_view_again,
    SCUMBLE_OT_rebake_texture,
    SCUMBLE_OT_make_maps,
    SCUMBLE_OT_around_camera_add,
    SCUMBLE_OT_around_camera_remove,
)
