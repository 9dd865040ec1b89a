"""Styles: put on and off, kept under a name, shared as files."""

from __future__ import annotations

from pathlib import Path

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.prompts import Style, read_style_file, write_style_file

from ..operators.base import attempt
from ..words import known_styles, names_of, set_names, styles_file, written

__all__ = ["CLASSES"]


class SCUMBLE_OT_style_toggle(bpy.types.Operator):
    """Add this style to the prompt, or take it off"""

    bl_idname = "scumble.style_toggle"
    bl_label = "Style"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.StringProperty(name="Name", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: object) -> str:
        style = next((style for style in known_styles() if style.name == properties.name), None)
        return style.prompt or f"Without: {style.negative_prompt}" if style else "It isn't in the file any longer"

    def execute(self, context: bpy.types.Context) -> set[str]:
        names = names_of(context.scene)
        if self.name in names:
            names.remove(self.name)
        else:
            names.append(self.name)
        set_names(context.scene, names)
        return {"FINISHED"}


class SCUMBLE_OT_style_into_prompt(bpy.types.Operator):
    """Write the words of the styles into the prompt itself, and take the styles off"""

    bl_idname = "scumble.style_into_prompt"
    bl_label = "Write into Prompt"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(names_of(context.scene))

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._write(context.scene))

    def _write(self, scene: bpy.types.Scene) -> None:
        words = written(scene)
        scene.scumble.prompt, scene.scumble.negative_prompt = words.prompt, words.negative_prompt
        set_names(scene, ())


class SCUMBLE_OT_style_save(bpy.types.Operator):
    """Keep the prompt and negative prompt under a name, for any scene; {prompt} in it is where other words go"""

    bl_idname = "scumble.style_save"
    bl_label = "Save as Style"

    name: bpy.props.StringProperty(name="Name", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._save(context.scene.scumble))

    def _save(self, settings: object) -> None:
        name = " ".join(self.name.split())
        if not name or not (settings.prompt.strip() or settings.negative_prompt.strip()):
            raise ScumbleError(ErrorCode.INVALID_FIELD, "a style needs a name and words", field="name")
        kept = [style for style in known_styles() if style.name != name]
        write_style_file(styles_file(), [*kept, Style(name, settings.prompt, settings.negative_prompt)])


class SCUMBLE_OT_style_remove(bpy.types.Operator):
    """Delete this style for good"""

    bl_idname = "scumble.style_remove"
    bl_label = "Delete Style"

    name: bpy.props.StringProperty(name="Name", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: self._remove(context.scene))

    def _remove(self, scene: bpy.types.Scene) -> None:
        write_style_file(styles_file(), [style for style in known_styles() if style.name != self.name])
        set_names(scene, [name for name in names_of(scene) if name != self.name])


class StyleFile:
    filepath: bpy.props.StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.csv", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = self.filepath or "styles.csv"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class SCUMBLE_OT_styles_import(StyleFile, bpy.types.Operator):
    """Add the styles in a file, such as A1111's styles.csv; those of the same name are replaced"""

    bl_idname = "scumble.styles_import"
    bl_label = "Import Styles"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, self._read)

    def _read(self) -> None:
        path = Path(bpy.path.abspath(self.filepath))
        if not path.is_file():
            raise ScumbleError(ErrorCode.INVALID_FIELD, f"there is no file {path}", field="filepath")
        found = {style.name: style for style in (*known_styles(), *read_style_file(path))}
        write_style_file(styles_file(), list(found.values()))
        self.report({"INFO"}, f"{len(found)} styles")


class SCUMBLE_OT_styles_export(StyleFile, bpy.types.Operator):
    """Write all styles to a file to share; A1111 reads it, too"""

    bl_idname = "scumble.styles_export"
    bl_label = "Export Styles"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return attempt(self, lambda: write_style_file(Path(bpy.path.abspath(self.filepath)), known_styles()))


CLASSES = (
    SCUMBLE_OT_style_toggle,
    SCUMBLE_OT_style_into_prompt,
    SCUMBLE_OT_style_save,
    SCUMBLE_OT_style_remove,
    SCUMBLE_OT_styles_import,
    SCUMBLE_OT_styles_export,
)
