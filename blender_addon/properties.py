"""What an artist sets for a scene. Stored with the scene; the model by its id, whatever a server offers today."""

from __future__ import annotations

import bpy
from scumble_shared.job import BUILT_IN_ESTIMATOR, CONTROL_KINDS, DEFAULT_MODEL, MAPS
from scumble_shared.limits import DEFAULT_LIMITS

from .choices import estimator_items, estimator_of, model_items, model_of
from .control_list import CONTROL_SOURCES
from .parts_of_steps import part_of_steps
from .suited import add_suited_properties, follow_the_model

__all__ = [
    "RESULT_ACTIONS",
    "SCUMBLE_PG_control",
    "SCUMBLE_PG_live",
    "SCUMBLE_PG_lora",
    "SCUMBLE_PG_settings",
    "register",
    "unregister",
]

SOURCES = (
    ("VIEWPORT", "Viewport", "What the 3D viewport looks at", "VIEW3D", 0),
    ("CAMERA", "Camera", "What the scene's camera sees, at the render's aspect", "CAMERA_DATA", 1),
)

RESULT_ACTIONS = (
    ("IMAGE", "Keep as Image", "Keep each result as an image packed into the file", "IMAGE_DATA", 1),
    ("OVERLAY", "Show as Overlay", "Show the result over the view it was made from", "OVERLAY", 2),
    (
        "RENDER",
        "Camera Image",
        "Update one image per scene, as a render would, for the camera",
        "RENDER_STILL",
        4,
    ),
)

CONTROL_NAMES = {
    "depth": ("Depth", "Nearer is brighter"),
    "normal": ("Normal", "Which way surfaces face"),
    "canny": ("Edges", "Edges as the Canny filter finds them"),
    "lineart": ("Line Art", "Outlines and creases of the geometry"),
    "segmentation": ("Segmentation", "One colour per object"),
    "softedge": ("Soft Edge", "Outlines and creases of the geometry, blurred: where forms end, not how sharply"),
    "scribble": ("Scribble", "Bold outlines, as drawn with a thick pen; the model is free in the rest"),
    "openpose": ("Pose", "How the armatures of people are posed"),
    "tile": ("Tile", "The colours as they are, which detail is added to"),
    "color": ("Colour Grid", "Roughly which colour is where"),
}
CONTROL_ITEMS = tuple((kind, *CONTROL_NAMES[kind], index) for index, kind in enumerate(CONTROL_KINDS))


MAP_NAMES = {
    "albedo": ("Albedo", "Colour without the light that was painted with it"),
    "roughness": ("Roughness", "How matt places are, by the material that the prompt names"),
    "metallic": ("Metallic", "Where it is metal, by the material that the prompt names"),
    "normal": ("Normal", "Relief for light to fall on, without more geometry"),
    "height": ("Height", "Relief to displace with; without normals, it is shown as a bump"),
    "ao": ("Ambient Occlusion", "Where little light reaches; for exports, Blender works out its own"),
}
MAP_ITEMS = tuple((kind, *MAP_NAMES[kind], "NONE", 1 << index) for index, kind in enumerate(MAPS))


QUALITY_ITEMS = (
    ("exact", "Exact", "What the model paints, and nothing left out"),
    ("balanced", "Balanced", "ControlNets look at every other step, and the negative prompt at the first ones"),
    ("draft", "Draft", "As Balanced, and of every other step only what is new in it: a sketch of the exact picture"),
)
MEMORY_ITEMS = (
    ("automatic", "Automatic", "What model, size and device want, and less of everything where memory runs out"),
    ("low", "Low", "Parts of the model come and go; slower, and the same picture"),
    ("lowest", "Lowest", "Layers of the model come and go, weights in fewer bits: slow, and nearly the same picture"),
    ("off", "Off", "Nothing is done about it; a job that doesn't fit fails"),
)
BIT_DEPTH_ITEMS = (
    ("8", "8 Bit", "As most pictures have it"),
    ("16", "16 Bit", "Smooth gradients stay smooth, in files of twice the size"),
)


def _get_model(settings: SCUMBLE_PG_settings) -> int:
    return model_of(settings.model_id)


def _set_model(settings: SCUMBLE_PG_settings, value: int) -> None:
    """Choosing a model also takes what suits it; presets and scripts that set ``model_id`` decide for themselves."""
    settings.model_id = model_items(settings, None)[value][0]
    follow_the_model(settings)


def _get_estimator(settings: SCUMBLE_PG_settings) -> int:
    return estimator_of(settings.map_estimator_id)


def _set_estimator(settings: SCUMBLE_PG_settings, value: int) -> None:
    settings.map_estimator_id = estimator_items(settings, None)[value][0]


class SCUMBLE_PG_lora(bpy.types.PropertyGroup):
    """One LoRA; see ``scumble_shared.job.Lora``."""

    enabled: bpy.props.BoolProperty(name="Use", description="Let this LoRA act", default=True)
    lora_id: bpy.props.StringProperty(name="LoRA", description="Id of the LoRA")
    weight: bpy.props.FloatProperty(
        name="Weight",
        description="1 is as it was trained, less than 0 is away from it",
        default=1.0,
        min=-10.0,
        max=10.0,
        soft_min=0.0,
        soft_max=2.0,
    )


class SCUMBLE_PG_control(bpy.types.PropertyGroup):
    """One control; see ``scumble_shared.job.Control``."""

    enabled: bpy.props.BoolProperty(name="Use", description="Let this control act", default=True)
    kind: bpy.props.EnumProperty(name="Kind", description="What the picture has to follow", items=CONTROL_ITEMS)
    source: bpy.props.EnumProperty(name="Source", description="What it is read from", items=CONTROL_SOURCES)
    image: bpy.props.PointerProperty(
        type=bpy.types.Image, name="Image", description="The photo, the painting or the control image"
    )
    model: bpy.props.StringProperty(
        name="ControlNet", description="Id of a ControlNet; empty takes the one that suits the model"
    )
    detector: bpy.props.StringProperty(
        name="Detector", description="Id of what looks at the photo; empty takes what suits the kind"
    )
    strength: bpy.props.FloatProperty(
        name="Strength",
        description="How strictly the picture follows",
        default=1.0,
        min=0.0,
        max=10.0,
        soft_max=2.0,
        subtype="FACTOR",
    )
    start: part_of_steps("Start", "Part of the steps after which it begins", 0.0)
    end: part_of_steps("End", "Part of the steps after which it lets go", 1.0)
    use_range: bpy.props.BoolProperty(
        name="Limit Depth", description="Set the depths that are white and black yourself", default=False
    )
    near: bpy.props.FloatProperty(
        name="Near", description="Depth that becomes white", default=1.0, min=0.0, subtype="DISTANCE", unit="LENGTH"
    )
    far: bpy.props.FloatProperty(
        name="Far", description="Depth that becomes black", default=10.0, min=0.0, subtype="DISTANCE", unit="LENGTH"
    )
    show_details: bpy.props.BoolProperty(
        name="Details", description="Show when and how the control acts", default=False
    )


NOISE_ANCHORS = (
    ("screen", "Screen", "What changes in the picture is what changes in the view", "NONE", 0),
    ("surface", "Surface", "Detail stays in its place in the world while the view moves", "NONE", 1),
)


def _redraw(options: SCUMBLE_PG_live, context: bpy.types.Context) -> None:
    for area in context.screen.areas if context.screen else ():
        area.tag_redraw()


class SCUMBLE_PG_live(bpy.types.PropertyGroup):
    """How live mode paints and shows; whether it is on isn't stored."""

    rate: bpy.props.FloatProperty(
        name="Target Rate",
        description="Pictures per second while something changes; their size and steps are made to fit",
        default=4.0,
        min=0.1,
        max=60.0,
        soft_min=0.5,
        soft_max=30.0,
        precision=1,
        step=50,
    )
    refine: bpy.props.BoolProperty(
        name="Refine at Rest",
        description="Once the view rests, paint it at the size and steps of the Image panel",
        default=True,
    )
    noise: bpy.props.EnumProperty(
        name="Noise", description="What the noise that pictures begin with is fixed to", items=NOISE_ANCHORS
    )
    on_surface: bpy.props.BoolProperty(
        name="On Surfaces",
        description="Where the view isn't the picture's own any longer, show it on the objects it was painted for",
        default=True,
        update=_redraw,
    )
    only_objects: bpy.props.BoolProperty(
        name="Only Objects",
        description="Leave the background as the viewport has it",
        default=True,
        update=_redraw,
    )
    opacity: bpy.props.FloatProperty(
        name="Opacity",
        description="How much of the viewport the picture hides",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_redraw,
    )
    wipe: bpy.props.FloatProperty(
        name="Wipe",
        description="Part of the viewport, from the left, that shows the picture, to compare it with what is under it",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        update=_redraw,
    )


class SCUMBLE_PG_settings(bpy.types.PropertyGroup):
    """A scene's settings; see ``scumble_shared.job.GenerateJob``."""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What the picture shows",
        maxlen=DEFAULT_LIMITS.prompt_bytes,
        options={"TEXTEDIT_UPDATE"},
    )
    negative_prompt: bpy.props.StringProperty(
        name="Negative", description="What the picture must not show", maxlen=DEFAULT_LIMITS.prompt_bytes
    )
    model_id: bpy.props.StringProperty(name="Model Id", description="Id of the model", default=DEFAULT_MODEL)
    model: bpy.props.EnumProperty(
        name="Model",
        description="Which model paints; choosing one also takes the settings that suit it",
        items=model_items,
        get=_get_model,
        set=_set_model,
    )
    source: bpy.props.EnumProperty(name="Source", description="Where to look from", items=SOURCES, default="VIEWPORT")
    batch_size: bpy.props.IntProperty(
        name="Batch", description="Pictures per job", default=1, min=1, max=DEFAULT_LIMITS.batch_size
    )
    seed: bpy.props.IntProperty(
        name="Seed", description="The same seed and settings give the same picture", default=0, min=0
    )
    lock_seed: bpy.props.BoolProperty(
        name="Lock Seed", description="Keep the seed; otherwise each picture gets a new one", default=False
    )
    controls: bpy.props.CollectionProperty(type=SCUMBLE_PG_control)
    loras: bpy.props.CollectionProperty(type=SCUMBLE_PG_lora)
    use_default_controls: bpy.props.BoolProperty(
        name="Default Controls",
        description="Depth and normal, where the model has them, until you add controls yourself",
        default=True,
    )
    result_actions: bpy.props.EnumProperty(
        name="When Finished",
        description="What becomes of a result by itself",
        items=RESULT_ACTIONS,
        options={"ENUM_FLAG"},
        default={"IMAGE", "OVERLAY", "RENDER"},
    )
    texture_size: bpy.props.IntProperty(
        name="Texture Size",
        description="Side of the textures made from a view",
        default=1024,
        min=8,
        max=DEFAULT_LIMITS.texture_side,
        subtype="PIXEL",
    )
    angle_exponent: bpy.props.FloatProperty(
        name="Angle Falloff",
        description="How fast surfaces seen at a slant count less",
        default=2.0,
        min=0.0,
        max=16.0,
        soft_max=8.0,
    )
    quality: bpy.props.EnumProperty(
        name="Quality",
        description="What may be left out of a picture for speed. Worth it from some eight steps on",
        items=QUALITY_ITEMS,
        default="exact",
    )
    memory: bpy.props.EnumProperty(
        name="Memory",
        description="What is done to need less of it, on the device that paints",
        items=MEMORY_ITEMS,
        default="automatic",
    )
    bit_depth: bpy.props.EnumProperty(
        name="Color Depth", description="Bits of each channel of a texture", items=BIT_DEPTH_ITEMS, default="8"
    )
    keep_mask: bpy.props.PointerProperty(
        type=bpy.types.Image,
        name="Keep Mask",
        description="Image on the object's UV map: what is white in it stays as it is painted now",
    )
    maps: bpy.props.EnumProperty(
        name="Maps",
        description="What the materials of textures have besides their colour; made from the pictures",
        items=MAP_ITEMS,
        options={"ENUM_FLAG"},
        default=set(),
    )
    map_estimator_id: bpy.props.StringProperty(
        name="Estimator Id", description="Id of what makes the maps", default=BUILT_IN_ESTIMATOR
    )
    map_estimator: bpy.props.EnumProperty(
        name="Estimator",
        description="What makes the maps; those it doesn't know are made by the built-in one",
        items=estimator_items,
        get=_get_estimator,
        set=_set_estimator,
    )
    live: bpy.props.PointerProperty(type=SCUMBLE_PG_live, name="Live")


add_suited_properties(SCUMBLE_PG_settings)

CLASSES = (SCUMBLE_PG_control, SCUMBLE_PG_lora, SCUMBLE_PG_live, SCUMBLE_PG_settings)
_register_classes, _unregister_classes = bpy.utils.register_classes_factory(CLASSES)


def register() -> None:
    _register_classes()
    bpy.types.Scene.scumble = bpy.props.PointerProperty(type=SCUMBLE_PG_settings, name="Scumble")


def unregister() -> None:
    del bpy.types.Scene.scumble
    _unregister_classes()
