"""What an artist sets for texturing all around, and what stays with an object that was textured so."""

from __future__ import annotations

import bpy
from scumble_shared.job import TextureJob
from scumble_shared.limits import DEFAULT_LIMITS

__all__ = ["UNSEEN", "VIEWS", "SCUMBLE_PG_around", "SCUMBLE_PG_texture", "register", "unregister"]

VIEWS = (
    (
        "AUTOMATIC",
        "All Around",
        "Views placed round the objects until nearly all of them is seen",
        "ORIENTATION_GIMBAL",
        1,
    ),
    ("CURRENT", "Current View", "What the viewport or the camera looks at, as chosen above", "VIEW3D", 2),
    ("CAMERAS", "Cameras", "The cameras in the list", "OUTLINER_OB_CAMERA", 4),
)

PROJECTIONS = (
    ("PERSP", "Perspective", "Placed views have perspective, as photos do"),
    ("ORTHO", "Orthographic", "Placed views are parallel projections"),
)

METHODS = (
    ("synchronised", "Together", "All views at once; they are made to agree in each step"),
    ("sequential", "One by One", "Each view begins with what those before it show; needs the memory of one picture"),
)

UNSEEN = (
    ("FILL", "Fill", "What no view sees takes on the colours around it"),
    ("KEEP", "Keep", "What no view sees keeps its look"),
)


def _is_camera(holder: object, thing: bpy.types.Object) -> bool:
    return thing.type == "CAMERA"


def _prompt(description: str) -> object:
    return bpy.props.StringProperty(
        name="Prompt", description=description, maxlen=DEFAULT_LIMITS.prompt_bytes, options={"TEXTEDIT_UPDATE"}
    )


class SCUMBLE_PG_around_camera(bpy.types.PropertyGroup):
    """A camera to look through."""

    camera: bpy.props.PointerProperty(type=bpy.types.Object, name="Camera", poll=_is_camera)
    prompt: _prompt("What this view shows besides")


class SCUMBLE_PG_around_prompt(bpy.types.PropertyGroup):
    """What a placed view shows besides; ``name`` is the direction it looks from."""

    words: bpy.props.StringProperty(name="Side")
    prompt: _prompt("What this view shows besides")


class SCUMBLE_PG_around(bpy.types.PropertyGroup):
    """A scene's settings for texturing all around; see ``scumble_shared.job.TextureJob``."""

    views: bpy.props.EnumProperty(
        name="Views",
        description="Where to look from; several can be combined",
        items=VIEWS,
        options={"ENUM_FLAG"},
        default={"AUTOMATIC"},
    )
    projection: bpy.props.EnumProperty(
        name="Projection", description="How placed views see", items=PROJECTIONS, default="PERSP"
    )
    cameras: bpy.props.CollectionProperty(type=SCUMBLE_PG_around_camera)
    prompts: bpy.props.CollectionProperty(type=SCUMBLE_PG_around_prompt)
    current_prompt: _prompt("What the current view shows besides")
    show_prompts: bpy.props.BoolProperty(
        name="Prompts of Views", description="Say what single views show besides", default=False
    )
    view_words: bpy.props.BoolProperty(
        name="Name Sides",
        description='Add "front view", "side view" and so on to the prompts; the front looks towards -Y',
        default=TextureJob.__dataclass_fields__["view_words"].default,
    )
    method: bpy.props.EnumProperty(
        name="Method", description="How views are made to go together", items=METHODS, default="synchronised"
    )
    sync_end: bpy.props.FloatProperty(
        name="Agree Until",
        description="Part of the steps in which views are made to agree; then each finishes by itself",
        default=TextureJob.__dataclass_fields__["sync_end"].default,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    angle_exponent: bpy.props.FloatProperty(
        name="Angle Falloff",
        description="How fast surfaces seen at a slant count less",
        default=TextureJob.__dataclass_fields__["angle_exponent"].default,
        min=0.0,
        max=16.0,
        soft_max=8.0,
    )
    unseen: bpy.props.EnumProperty(
        name="Unseen", description="What becomes of places that no view sees", items=UNSEEN, default="FILL"
    )
    extra_views: bpy.props.IntProperty(
        name="Extra Views",
        description="Views added at most, of what the others leave unseen; only that is painted in them",
        default=TextureJob.__dataclass_fields__["extra_views"].default,
        min=0,
        max=16,
    )
    refine_strength: bpy.props.FloatProperty(
        name="Refine",
        description="Paint all views over once more, as the finished texture shows them: how much; 0 leaves it out",
        default=TextureJob.__dataclass_fields__["refine_strength"].default,
        min=0.0,
        max=1.0,
        soft_max=0.5,
        subtype="FACTOR",
    )
    refine_scale: bpy.props.FloatProperty(
        name="Refine Size",
        description="How many times larger views are when they are painted over",
        default=TextureJob.__dataclass_fields__["refine_scale"].default,
        min=1.0,
        max=4.0,
        precision=1,
    )


class SCUMBLE_PG_texture_view(bpy.types.PropertyGroup):
    """A view that an object was textured from. camera: JSON of ``scumble_shared.camera.Camera``."""

    camera: bpy.props.StringProperty(name="Camera")
    words: bpy.props.StringProperty(name="Side")
    prompt: _prompt("What this view shows besides")
    seed: bpy.props.IntProperty(name="Seed", description="That the picture was made with", min=0)
    locked: bpy.props.BoolProperty(
        name="Lock", description="Keep this view's picture; the others are made to go with it", default=False
    )
    image: bpy.props.PointerProperty(type=bpy.types.Image, name="Picture")


class SCUMBLE_PG_texture(bpy.types.PropertyGroup):
    """How an object got its texture, to do it again.

    recipe: JSON of the ``scumble_shared.job.TextureJob``, without meshes and views. group, place: objects that were
    textured together have one group, and each its place in it. matrix: object -> world at the time, row by row.
    """

    recipe: bpy.props.StringProperty(name="Recipe")
    group: bpy.props.StringProperty(name="Group")
    place: bpy.props.IntProperty(name="Place", min=0)
    owner: bpy.props.StringProperty(name="Owner", description="What the object was called")
    matrix: bpy.props.FloatVectorProperty(name="Matrix", size=16)
    unseen: bpy.props.EnumProperty(
        name="Unseen", description="What becomes of places that no view sees", items=UNSEEN, default="FILL"
    )
    prompt: _prompt("What the texture shows")
    negative_prompt: bpy.props.StringProperty(
        name="Negative", description="What the texture must not show", maxlen=DEFAULT_LIMITS.prompt_bytes
    )
    seed: bpy.props.IntProperty(name="Seed", description="View i was begun with seed + i", min=0)
    views: bpy.props.CollectionProperty(type=SCUMBLE_PG_texture_view)
    coverage: bpy.props.FloatProperty(name="Coverage", description="Part of the surface that a view sees")


CLASSES = (
    SCUMBLE_PG_around_camera,
    SCUMBLE_PG_around_prompt,
    SCUMBLE_PG_around,
    SCUMBLE_PG_texture_view,
    SCUMBLE_PG_texture,
)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Scene.scumble_around = bpy.props.PointerProperty(type=SCUMBLE_PG_around, name="Scumble All Around")
    bpy.types.Object.scumble_texture = bpy.props.PointerProperty(type=SCUMBLE_PG_texture, name="Scumble Texture")


def unregister() -> None:
    del bpy.types.Object.scumble_texture
    del bpy.types.Scene.scumble_around
    _unregister_classes()
