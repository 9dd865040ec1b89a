"""What jobs are made of: the choices there are, and the values that jobs refer to pictures, views and meshes by."""

from __future__ import annotations

from dataclasses import dataclass

from .camera import Camera, Matrix4
from .pose import Pose
from .tensor import Digest

__all__ = [
    "BIT_DEPTHS",
    "BUILT_IN_ESTIMATOR",
    "CONTROL_KINDS",
    "DECODERS",
    "DEFAULT_MODEL",
    "MAPS",
    "MEMORIES",
    "NOISE_ANCHORS",
    "QUALITIES",
    "REFERENCE_USES",
    "SAMPLERS",
    "TEXTURE_METHODS",
    "TILINGS",
    "UPSCALE_FACTORS",
    "UPSCALE_METHODS",
    "BaseMap",
    "Control",
    "Label",
    "Lora",
    "MeshRef",
    "Reference",
    "Region",
    "TextureView",
    "View",
]

DEFAULT_MODEL = "starter"
"""Id of the model that ships with Scumble."""

CONTROL_KINDS = (
    "depth",
    "normal",
    "canny",
    "lineart",
    "segmentation",
    "softedge",
    "scribble",
    "openpose",
    "tile",
    "color",
)
"""Control images the server derives from a :class:`View`."""

SAMPLERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "lcm", "tcd")

NOISE_ANCHORS = ("screen", "surface")
"""What the noise that a picture begins with is fixed to: the picture, or the world as the view sees it."""

QUALITIES = ("exact", "balanced", "draft")
"""How far a picture may be from what the model paints, for speed: not at all, hardly to be seen, a sketch of it."""

MEMORIES = ("automatic", "off", "low", "lowest")
"""What is done to need less memory: what the job and the device want; nothing; parts of the model come and go;
everything there is."""

DECODERS = ("full", "small")
"""What makes pixels of what the model painted: its own autoencoder, or a small one that lies beside the models."""

REFERENCE_USES = ("all", "style", "content")
"""What is taken from a reference picture: all that its adapter gives; colours and manner; what is seen, and where."""

TEXTURE_METHODS = ("synchronised", "sequential")

TILINGS = ("", "x", "y", "xy")
"""Directions in which a picture repeats without a seam: not at all, left to right, top to bottom, both."""

BIT_DEPTHS = (8, 16)
"""Of a texture's channels: uint8 or uint16, sRGB both."""

MAPS = ("albedo", "roughness", "metallic", "normal", "height", "ao")
"""What a material can have beside its texture; results "KIND/NAME", all of a texture's side, top row first.

albedo: uint8 or uint16 S x S x 3, sRGB: the texture without the light that was painted with it.
roughness, metallic, ao: uint8 or uint16 S x S, linear: Blender's and glTF's roughness and metalness; the share of
ambient light that arrives.
normal: uint8 or uint16 S x S x 3, linear, tangent space of the UV map (MikkTSpace), v up: OpenGL's and Blender's green.
height: uint16 S x S, linear, 32768 is the surface, more is outwards.

The provenance has "maps": {"estimators": {KIND: id}, "height_range": {NAME: how far apart 0 and 65535 are}}, in scene
units; of a picture without geometry in widths of the picture.
"""

BUILT_IN_ESTIMATOR = "built-in"
"""Id of the estimator that needs no model: it judges by the geometry, the picture and the words of the prompt."""

UPSCALE_FACTORS = (2, 4)

UPSCALE_METHODS = ("diffusion", "model", "lanczos")


@dataclass(frozen=True, slots=True)
class BaseMap:
    """A map that the base has: it stays where the base stays, to the very number, and lies under the job's as the base
    lies under its colours.

    kind: one of the job's ``maps``; not albedo, which is made of the colours. textures: one per texture, of the form
    that :data:`MAPS` says. height_range: of a height, how far apart 0 and 65535 are, scene units.
    """

    kind: str
    textures: tuple[Digest, ...]
    height_range: float = 0.0


@dataclass(frozen=True, slots=True)
class Label:
    """What an object is. object_id: its value in the view's id buffer. kind: one of :data:`.ade20k.KINDS`."""

    object_id: int
    kind: str


@dataclass(frozen=True, slots=True)
class View:
    """What the scene looks like from one camera: exact buffers, top row first.

    depth: float32 or float16 H x W, planar, scene units, inf where nothing is hit.
    normal: float16 or float32 H x W x 3, unit, view space, zero where nothing is hit. Or uint8, 128 + 127 times each,
    rounded, and 0, 0, 0 where nothing is hit: half a grey level of what ControlNets see (:func:`.camera.normals_of`).
    object_id: uint16 H x W, 0 is background.
    color: uint8 H x W x 4, sRGB.
    poses: of the people in the scene, in world space, whether the camera sees them or not.
    labels: what objects are, for segmentation; those without one are told apart, and no more.
    """

    camera: Camera
    depth: Digest | None = None
    normal: Digest | None = None
    object_id: Digest | None = None
    color: Digest | None = None
    poses: tuple[Pose, ...] = ()
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet on the job.

    model: ControlNet id, "" for the one the model's family offers for this kind.
    image: a ready control image (uint8 H x W x 3), or with a ``detector`` the photo or painting to make one of. None
    derives it from the job's view; "tile" and "color" from the job's own picture, else the view's colours.
    detector: who makes the control image of a picture: :data:`.detectors.AUTO_DETECTOR`,
    :data:`.detectors.BUILT_IN_DETECTOR` or of the server's ``detectors``. The picture is ``image``, else the job's own,
    else the view's colours. "" where no picture is looked at.
    strength: multiplies the residuals (diffusers' conditioning_scale), 0 switches the control off.
    start, end: the part of the denoising it acts in, fractions of the steps.
    near, far: depth range mapped to white..black, scene units; None takes the visible range.
    """

    kind: str
    model: str = ""
    image: Digest | None = None
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    near: float | None = None
    far: float | None = None
    detector: str = ""


@dataclass(frozen=True, slots=True)
class Lora:
    """A change to the model for this job alone. model: LoRA id. weight: 1 as it was trained, 0 not at all; may be
    negative."""

    model: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that shows what is wanted, beside the prompt, through an IP-Adapter.

    image: uint8 H x W x 3, any size; the adapter looks at the square in its middle. model: id of the adapter, "" for
    the one that the model's family offers. weight: diffusers' ip_adapter_scale, 0 switches it off. use: one of
    ``REFERENCE_USES``; which of the network's attentions see it, as in InstantStyle. start, end: the part of the
    denoising it acts in, fractions of the steps. mask: uint8 H x W, where in the result it acts (255), any size, the
    result's frame; None is everywhere.
    """

    image: Digest
    model: str = ""
    weight: float = 1.0
    use: str = "all"
    start: float = 0.0
    end: float = 1.0
    mask: Digest | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """A prompt for a part of the picture, in the place of the job's.

    objects: ids in the view's object_id buffer; of a :class:`TextureJob` its meshes' ids, wherever a view sees them.
    mask: uint8 H x W instead of objects, 255 is in it, any size, the result's frame. weight: the part that this prompt
    has where it is, 0 to 1; the rest is the job's prompt's. Where regions overlap and want more than there is, they
    share it. Edges are softened by a latent pixel. The negative prompt is the job's everywhere.
    """

    prompt: str
    objects: tuple[int, ...] = ()
    mask: Digest | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class MeshRef:
    """One evaluated, triangulated mesh in object space, with the UV map to texture.

    name: object name, echoed in the results. object_id: its value in the view's id buffer.
    matrix_world: object -> world.
    vertices: float32 V x 3. triangles: int32 T x 3, indices into vertices.
    normals: float32 T x 3 x 3, shading normal per triangle corner, object space.
    uvs: float32 T x 3 x 2, Blender's convention (v up).
    tiles: numbers of the UDIM tiles that the UVs lie on, ascending: 1001 + column + 10 * row (column 0 to 9, row 0 to
    99). Each gets a texture of its own. None: one texture, which repeats where UVs leave 0..1.
    """

    name: str
    object_id: int
    matrix_world: Matrix4
    vertices: Digest
    triangles: Digest
    normals: Digest
    uvs: Digest
    tiles: tuple[int, ...] = ()
    kind: str = ""


@dataclass(frozen=True, slots=True)
class TextureView:
    """One of the views a :class:`TextureJob` looks from.

    camera: what is seen, and the size of the picture; sides are rounded up to whole latents, the frame staying the
    same. prompt: what this view alone shows, added to the job's. image: this view's picture is ready (uint8 H x W x 3,
    any size, the camera's frame) and locked: it isn't generated, and the others are made to go with it.
    """

    camera: Camera
    prompt: str = ""
    image: Digest | None = None
