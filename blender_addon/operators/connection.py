"""Connect and disconnect, and ask what there is."""

from __future__ import annotations

import bpy

from .. import actions, runtime
from ..identity import PACKAGE
from ..session import ConnectionState
from ..state import session
from .base import attempt

__all__ = ["CLASSES"]


class SCUMBLE_OT_connect(bpy.types.Operator):
    """Connect to the server, starting it first if the preferences say so"""

    bl_idname = "scumble.connect"
    bl_label = "Connect"

    wait: bpy.props.BoolProperty(name="Wait", default=False, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session().state in (ConnectionState.OFF, ConnectionState.FAILED, ConnectionState.LOST)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, actions.connect_and_wait if self.wait else runtime.connect)


class SCUMBLE_OT_disconnect(bpy.types.Operator):
    """End the connection, and the server if Blender started it; jobs that haven't finished fail"""

    bl_idname = "scumble.disconnect"
    bl_label = "Disconnect"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session().active

    def execute(self, context: bpy.types.Context) -> set[str]:
        session().disconnect()
        return {"FINISHED"}


class SCUMBLE_OT_refresh_models(bpy.types.Operator):
    """Have the server look for models that were added or removed"""

    bl_idname = "scumble.refresh_models"
    bl_label = "Refresh Models"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session().state is not ConnectionState.READY:
            cls.poll_message_set("Not connected")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        session().list_models()
        return {"FINISHED"}


class SCUMBLE_OT_open_preferences(bpy.types.Operator):
    """Show where the server is chosen"""

    bl_idname = "scumble.open_preferences"
    bl_label = "Open Preferences"

    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.preferences.addon_show(module=PACKAGE)
        return {"FINISHED"}


class SCUMBLE_OT_open_extensions(bpy.types.Operator):
    """Show where Blender updates extensions"""

    bl_idname = "scumble.open_extensions"
    bl_label = "Update the Extension"

    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.screen.userpref_show(section="EXTENSIONS")
        return {"FINISHED"}


CLASSES = (
    SCUMBLE_OT_connect,
    SCUMBLE_OT_disconnect,
    SCUMBLE_OT_refresh_models,
    SCUMBLE_OT_open_preferences,
    SCUMBLE_OT_open_extensions,
)
