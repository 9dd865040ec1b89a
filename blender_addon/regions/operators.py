"""The list of objects with prompts of their own."""

from __future__ import annotations

import bpy

from .kinds import collections_of, guess

__all__ = ["CLASSES"]


def _editable(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Selected objects, or the active one, whose properties can be set."""
    things = context.selected_objects or ([context.object] if context.object is not None else [])
    return [thing for thing in things if thing.is_editable]


class SCUMBLE_OT_region_remove(bpy.types.Operator):
    """Remove this object's own prompt; the object stays"""

    bl_idname = "scumble.region_remove"
    bl_label = "Remove Prompt"
    bl_options = {"REGISTER", "UNDO"}

    object_name: bpy.props.StringProperty(name="Object", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        thing = context.scene.objects.get(self.object_name)
        if thing is None or not thing.is_editable:
            self.report({"ERROR"}, f"{self.object_name} can't be changed here")
            return {"CANCELLED"}
        thing.scumble_region.property_unset("prompt")
        return {"FINISHED"}


class SCUMBLE_OT_region_select(bpy.types.Operator):
    """Select this object alone"""

    bl_idname = "scumble.region_select"
    bl_label = "Select Object"
    bl_options = {"REGISTER", "UNDO"}

    object_name: bpy.props.StringProperty(name="Object", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        thing = context.view_layer.objects.get(self.object_name)
        if thing is None or not thing.visible_get(view_layer=context.view_layer):
            self.report({"ERROR"}, f"{self.object_name} isn't in sight; show it first")
            return {"CANCELLED"}
        for other in context.selected_objects:
            other.select_set(False)
        thing.select_set(True)
        context.view_layer.objects.active = thing
        return {"FINISHED"}


class SCUMBLE_OT_region_copy(bpy.types.Operator):
    """Give the active object's prompt, weight and kind to all selected objects"""

    bl_idname = "scumble.region_copy"
    bl_label = "Copy to Selected"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None and len(context.selected_objects) > 1

    def execute(self, context: bpy.types.Context) -> set[str]:
        own = context.object.scumble_region
        others = [thing for thing in _editable(context) if thing != context.object]
        for thing in others:
            for name in ("enabled", "prompt", "weight", "kind"):
                setattr(thing.scumble_region, name, getattr(own, name))
        return {"FINISHED"} if others else {"CANCELLED"}


class SCUMBLE_OT_region_guess(bpy.types.Operator):
    """Write down what the selected objects seem to be, by their names, where nothing is said yet"""

    bl_idname = "scumble.region_guess"
    bl_label = "Guess Kinds"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        things = [thing for thing in _editable(context) if not thing.scumble_region.kind]
        collections = collections_of(things)
        told = 0
        for thing in things:
            kind = guess(thing, collections.get(thing.session_uid, ()))
            if kind:
                thing.scumble_region.kind = kind
                told += 1
        self.report({"INFO"}, f"{told} of {len(things)} objects have names that tell what they are")
        return {"FINISHED"} if told else {"CANCELLED"}


CLASSES = (SCUMBLE_OT_region_remove, SCUMBLE_OT_region_select, SCUMBLE_OT_region_copy, SCUMBLE_OT_region_guess)
