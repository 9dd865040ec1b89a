"""How to reach a server: the extension's preferences."""

from __future__ import annotations

import bpy

from .identity import PACKAGE

__all__ = ["SCUMBLE_AP_preferences", "download_settings", "engine_arguments", "preferences", "register", "unregister"]

CONNECTIONS = (
    ("LOCAL", "Start by Itself", "Start a server on this machine when it is needed, and end it with Blender"),
    ("RUNNING", "Already Running", "Use the server that was started on this machine with: scumble serve"),
    ("ADDRESS", "Address and Token", "Use a server anywhere, by its address"),
)

ENGINES = (
    ("own", "Scumble", "Scumble's own engine paints; it alone can texture all around and make seamless pictures"),
    ("comfyui", "ComfyUI", "A running ComfyUI paints, with its models"),
    ("a1111", "AUTOMATIC1111, Forge", "A running AUTOMATIC1111 or Forge paints, with its models; start it with --api"),
)


class SCUMBLE_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    connection: bpy.props.EnumProperty(name="Server", items=CONNECTIONS, default="LOCAL")
    server_path: bpy.props.StringProperty(
        name="Server Program",
        description="The scumble command, or the Python it is installed in; empty finds it by itself",
        subtype="FILE_PATH",
    )
    server_arguments: bpy.props.StringProperty(
        name="Arguments",
        description="More arguments for the server, such as --device cuda or --models /my/models",
    )
    engine: bpy.props.EnumProperty(
        name="Engine", description="Who paints; from the next start of the server on", items=ENGINES, default="own"
    )
    engine_url: bpy.props.StringProperty(
        name="Engine's Address",
        description="Such as http://127.0.0.1:8188; empty for the address that the program usually has",
    )
    url: bpy.props.StringProperty(
        name="Address",
        description="Such as wss://render-box:7860; on this machine also ws://127.0.0.1:7860",
    )
    token: bpy.props.StringProperty(
        name="Token",
        description="What the server said at its start; Blender keeps it in its preferences file",
        subtype="PASSWORD",
    )
    fingerprint: bpy.props.StringProperty(
        name="Certificate",
        description="SHA-256 fingerprint of a certificate the server made itself; empty trusts known authorities",
    )
    hub_token: bpy.props.StringProperty(
        name="Hugging Face Token",
        description="For models that are only given to those who accepted their licence; only huggingface.co sees it. "
        "Blender keeps it in its preferences file",
        subtype="PASSWORD",
    )
    mirror: bpy.props.StringProperty(
        name="Mirror", description="Download models from here instead of https://huggingface.co; empty for that"
    )
    styles_file: bpy.props.StringProperty(
        name="Styles", description="A styles.csv as A1111 has it; empty for Scumble's own", subtype="FILE_PATH"
    )
    wildcard_folder: bpy.props.StringProperty(
        name="Wildcards",
        description="Folder of text files for __name__ in prompts; empty for Scumble's own",
        subtype="DIR_PATH",
    )
    show_previews: bpy.props.BoolProperty(
        name="Show Steps",
        description="Show the picture forming, step by step, over the view it was made from",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "connection")
        if self.connection == "LOCAL":
            layout.prop(self, "server_path")
            layout.prop(self, "server_arguments")
            layout.prop(self, "engine")
            if self.engine != "own":
                layout.prop(self, "engine_url")
            layout.prop(self, "hub_token")
            layout.prop(self, "mirror")
        elif self.connection == "ADDRESS":
            layout.prop(self, "url")
            layout.prop(self, "token")
            layout.prop(self, "fingerprint")
        layout.prop(self, "styles_file")
        layout.prop(self, "wildcard_folder")
        layout.prop(self, "show_previews")


def preferences() -> SCUMBLE_AP_preferences:
    return bpy.context.preferences.addons[PACKAGE].preferences


def download_settings(wanted: SCUMBLE_AP_preferences) -> dict[str, str]:
    """Environment variables of a server that we start; what isn't set here stays as the system has it."""
    given = {"HF_TOKEN": wanted.hub_token.strip(), "SCUMBLE_MIRROR": wanted.mirror.strip()}
    return {name: value for name, value in given.items() if value}


def engine_arguments(wanted: SCUMBLE_AP_preferences) -> list[str]:
    """Of a server that we start."""
    if wanted.engine == "own":
        return []
    url = wanted.engine_url.strip()
    return ["--engine", wanted.engine, *(["--engine-url", url] if url else [])]


register, unregister = bpy.utils.register_classes_factory((SCUMBLE_AP_preferences,))
