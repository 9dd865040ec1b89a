"""A job is a value: everything that decides a result, nothing else.

Two equal jobs on the same server version and device give the same pixels. Equality drives live mode,
the queue, history, idempotent re-submission and tests. Images, buffers and meshes are referred to by
content address (:mod:`scumble_shared.tensor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal, TypeVar, cast

from .camera import Camera, Matrix4
from .library import LibraryJob
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
    "AnyJob",
    "Control",
    "ControlImagesJob",
    "GenerateJob",
    "Job",
    "Label",
    "LibraryJob",
    "Lora",
    "MeshRef",
    "Pose",
    "ProjectJob",
    "Reference",
    "Region",
    "TextureJob",
    "TextureView",
    "UpscaleJob",
    "View",
    "tensors_of",
    "texture_names",
    "with_tensors",
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
class GenerateJob:
    """Text, geometry and optionally an image in; ``batch_size`` images out.

    Text-to-image without ``init_image``; image-to-image with it; inpainting with ``mask`` (uint8 H x W,
    255 is repainted) as well. denoising_strength: 0 keeps the image, 1 ignores it.
    Image ``i`` of a batch has seed ``seed + i``.
    noise_anchor: "surface" needs the view's depth; the noise then stays on what is seen while the camera moves.
    tiling: directions in which the picture goes on where it began, so that it can be laid side by side (one of
    ``TILINGS``); an ``init_image`` should repeat already where it isn't repainted. Not with noise on the surface.
    quality: one of ``QUALITIES``; others than "exact" save work from step to step and give nearly that picture.
    decoder: one of ``DECODERS``; "small" is for sketches in a hurry, and is "full" where there is none.
    memory: one of ``MEMORIES``; what was done is in the provenance, "memory".
    loras: on top of the model, in order. references: all of them at once, of each image. regions: parts of the picture
    with prompts of their own; those that nothing is seen of change nothing.
    maps: of ``MAPS``, of each image as if it were a flat surface. map_estimator: who makes them.
    Results: tensors "image/0", "image/1", ... uint8 H x W x 3, and "KIND/0", ... of ``maps``, H x W.
    """

    prompt: str
    negative_prompt: str = ""
    model: str = DEFAULT_MODEL
    width: int = 512
    height: int = 512
    batch_size: int = 1
    sampler: str = "dpmpp_2m_karras"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    seed: int = 0
    controls: tuple[Control, ...] = ()
    view: View | None = None
    init_image: Digest | None = None
    mask: Digest | None = None
    denoising_strength: float = 1.0
    noise_anchor: str = "screen"
    tiling: str = ""
    quality: str = "exact"
    decoder: str = "full"
    maps: tuple[str, ...] = ()
    map_estimator: str = BUILT_IN_ESTIMATOR
    loras: tuple[Lora, ...] = ()
    references: tuple[Reference, ...] = ()
    regions: tuple[Region, ...] = ()
    memory: str = "automatic"
    task: Literal["generate"] = "generate"


@dataclass(frozen=True, slots=True)
class ControlImagesJob:
    """The control images a generation would see, without generating. init_image: the generation's.

    Results: tensors "control/0", "control/1", ... uint8 H x W x 3, in the order of ``controls``.
    """

    controls: tuple[Control, ...]
    view: View
    width: int = 512
    height: int = 512
    model: str = DEFAULT_MODEL
    init_image: Digest | None = None
    task: Literal["control_images"] = "control_images"


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
class ProjectJob:
    """Texture from view: ``image`` (uint8 or uint16 H x W x 3 or 4), seen through ``view``, onto the meshes' own UVs.

    base: what to keep where the view doesn't see (uint8 or uint16 S x S x 4, one per texture or none at all).
    keep: where the base stays whatever the view sees (uint8 S x S, 255 keeps, between mixes; one per texture, with
    bases, or none at all).
    texture_size: side of the square textures, texels.
    angle_exponent: weight is cos(angle to viewer) ** angle_exponent.
    bit_depth: of the textures' channels, one of ``BIT_DEPTHS``.
    maps: of ``MAPS``, made besides. map_estimator: who makes them, :data:`BUILT_IN_ESTIMATOR` or of the server's
    ``map_estimators``; maps that it doesn't know are made by the built-in one. prompt: what the picture shows; tells
    maps the material.
    Results per texture (:func:`texture_names`): "texture/NAME" uint8 or uint16 S x S x 4 (sRGB, top row first, alpha =
    painted), "weight/NAME" uint8 S x S (255 = seen face on) and those of ``maps``; where nothing was painted they are
    those of a plain surface.
    """

    image: Digest
    view: View
    meshes: tuple[MeshRef, ...]
    base: tuple[Digest, ...] = ()
    texture_size: int = 1024
    angle_exponent: float = 2.0
    keep: tuple[Digest, ...] = ()
    bit_depth: int = 8
    maps: tuple[str, ...] = ()
    map_estimator: str = BUILT_IN_ESTIMATOR
    prompt: str = ""
    task: Literal["project"] = "project"


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


@dataclass(frozen=True, slots=True)
class TextureJob:
    """Texture all around: pictures of the meshes from many views that agree, fused into the meshes' own UVs.

    views: all of one size; none at all has the server place them, square, of side ``view_size``. If all are locked,
    nothing is generated and they are only fused: the way to bake once more. Nothing but ``meshes`` is in the pictures.
    view_words: "front view", "side view", ... are added to each view's prompt; the front is what looks towards -y.
    controls: without ``image``; the server makes each view's from the meshes, with one depth range for all views;
    "tile" and "color" from ``base`` on them, "openpose" from ``poses``, in world space.
    method: "synchronised" denoises all views at once and has them agree in every step; "sequential" takes one after the
    other, each beginning with what those before it show, which needs less memory.
    sync_end: the part of the steps in which synchronised views are made to agree, a fraction from the first step.
    extra_views: up to so many views are added where the others leave most of the surface unseen, one after the other;
    only what is unseen is painted in them. They follow the job's own in the results.
    refine_strength: how far the views are painted over once more, all together, as the first texture shows them: 0 not
    at all, 1 anew. Locked views stay. refine_scale: how many times larger views are then, 1 to 4.
    base: what to keep where no view sees the surface (uint8 or uint16 S x S x 4, where its alpha is full; one per
    texture or none at all). Without it such places take on the colours around them.
    keep: where the base stays whatever views see (uint8 S x S, 255 keeps, between mixes; one per texture, with bases,
    or none at all).
    texture_size: side of the square textures, texels. angle_exponent: weight of a view is
    cos(angle to viewer) ** angle_exponent.
    bit_depth: of the textures' channels, one of ``BIT_DEPTHS``.
    quality, memory: of the views, as in :class:`GenerateJob`.
    maps: of ``MAPS``, made besides, from the views' pictures; with all views locked, of a texture that was made before.
    map_estimator: as in :class:`ProjectJob`.
    loras: on top of the model, in order. references: of all views; without masks. regions: meshes with prompts of
    their own; without masks. The views' own prompts aren't added to theirs, the views' words are.
    View ``i`` has seed ``seed + i``.
    Results: "view/0", "view/1", ... uint8 H x W x 3, locked ones unchanged, and per texture (:func:`texture_names`)
    "texture/NAME" uint8 or uint16 S x S x 4 (sRGB, top row first, alpha full), "weight/NAME" uint8 S x S (255 = seen
    well, 0 = filled in or the base's) and those of ``maps``.
    The provenance has the cameras: "views" [{"camera", "words", "locked"}].
    """

    prompt: str
    meshes: tuple[MeshRef, ...]
    negative_prompt: str = ""
    model: str = DEFAULT_MODEL
    views: tuple[TextureView, ...] = ()
    view_size: int = 512
    view_words: bool = True
    controls: tuple[Control, ...] = ()
    sampler: str = "dpmpp_2m_karras"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    seed: int = 0
    method: str = "synchronised"
    sync_end: float = 0.8
    base: tuple[Digest, ...] = ()
    texture_size: int = 1024
    angle_exponent: float = 3.0
    keep: tuple[Digest, ...] = ()
    extra_views: int = 0
    refine_strength: float = 0.0
    refine_scale: float = 1.0
    bit_depth: int = 8
    quality: str = "exact"
    maps: tuple[str, ...] = ()
    map_estimator: str = BUILT_IN_ESTIMATOR
    loras: tuple[Lora, ...] = ()
    references: tuple[Reference, ...] = ()
    memory: str = "automatic"
    poses: tuple[Pose, ...] = ()
    regions: tuple[Region, ...] = ()
    task: Literal["texture"] = "texture"


@dataclass(frozen=True, slots=True)
class UpscaleJob:
    """A picture or texture in, the same with more pixels out.

    image: uint8 or uint16 H x W x 3 or 4, sRGB. Alpha stays what it is, finer; colours where it is 0 don't run into
    what is painted.
    factor: one of ``UPSCALE_FACTORS``.
    method: "lanczos" resamples; "model" runs an upscaling network, ``upscaler``; "diffusion" enlarges either way, by
    resampling if ``upscaler`` is "", and then paints the detail anew with ``model``, in overlapping tiles that agree in
    each step. What follows up to ``view`` is for "diffusion" only.
    denoising_strength: how much is painted anew: 0 nothing, 1 all.
    tile_size, tile_overlap: pixels of the result; the overlap at most half of the tile.
    controls: "tile" without ``image`` is shown the enlarged picture; other kinds need an image or ``view``, of the
    frame of the picture.
    tiling: directions in which the picture repeats, and must go on doing so (one of ``TILINGS``).
    memory: as in :class:`GenerateJob`.
    loras: on top of the model, in order. references: of the whole picture, as masks are.
    Results: "image/0", with the type and channels of ``image``, ``factor`` times as high and wide.
    """

    image: Digest
    factor: int = 2
    method: str = "diffusion"
    upscaler: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    model: str = DEFAULT_MODEL
    sampler: str = "dpmpp_2m_karras"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    seed: int = 0
    denoising_strength: float = 0.3
    tile_size: int = 512
    tile_overlap: int = 128
    controls: tuple[Control, ...] = ()
    view: View | None = None
    tiling: str = ""
    loras: tuple[Lora, ...] = ()
    references: tuple[Reference, ...] = ()
    memory: str = "automatic"
    task: Literal["upscale"] = "upscale"


Job = GenerateJob | ControlImagesJob | ProjectJob | TextureJob | UpscaleJob
"""What a worker does, one after the other."""

AnyJob = Job | LibraryJob
"""What may be submitted."""


T = TypeVar("T")


def tensors_of(value: object) -> Iterator[Digest]:
    """Content addresses of all tensors a job needs, in field order, repeats included."""
    if isinstance(value, tuple):
        for item in value:
            yield from tensors_of(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            item = getattr(value, field.name)
            if item is None:
                continue
            if "Digest" in str(field.type):
                yield from (item,) if isinstance(item, str) else item
            else:
                yield from tensors_of(item)


def texture_names(meshes: Iterable[MeshRef]) -> tuple[str, ...]:
    """Names of the textures that a job makes of ``meshes``, in the order of its bases.

    One per mesh, called as the mesh; of a mesh on UDIM tiles one per tile, with the tile's number, as in "Head.1001".
    """
    return tuple(name for mesh in meshes for name in ([f"{mesh.name}.{tile}" for tile in mesh.tiles] or [mesh.name]))


def with_tensors(value: T, names: Mapping[Digest, Digest]) -> T:
    """The same job with other names for its tensors; those that ``names`` doesn't have stay."""
    if isinstance(value, tuple):
        return cast(T, tuple(with_tensors(item, names) for item in value))
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if "Digest" not in str(field.type):
            changed[field.name] = with_tensors(item, names)
        elif isinstance(item, str):
            changed[field.name] = names.get(item, item)
        elif item is not None:
            changed[field.name] = tuple(names.get(name, name) for name in item)
    return cast(T, replace(value, **changed))
