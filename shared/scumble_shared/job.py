"""A job is a value: everything that decides a result, nothing else.

Two equal jobs on the same server version and device give the same pixels. Equality drives live mode,
the queue, history, idempotent re-submission and tests. Images, buffers and meshes are referred to by
content address (:mod:`scumble_shared.tensor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal, TypeVar, cast

from .job_parts import (
    BIT_DEPTHS,
    BUILT_IN_ESTIMATOR,
    CONTROL_KINDS,
    DECODERS,
    DEFAULT_MODEL,
    MAPS,
    MEMORIES,
    NOISE_ANCHORS,
    QUALITIES,
    REFERENCE_USES,
    SAMPLERS,
    TEXTURE_METHODS,
    TILINGS,
    UPSCALE_FACTORS,
    UPSCALE_METHODS,
    BaseMap,
    Control,
    Label,
    Lora,
    MeshRef,
    Reference,
    Region,
    TextureView,
    View,
)
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
    "BaseMap",
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
    maps the material. base_maps: those that the bases have, for as many kinds as there are.
    Results per texture (:func:`texture_names`): "texture/NAME" uint8 or uint16 S x S x 4 (sRGB, top row first, alpha =
    painted), "weight/NAME" uint8 S x S (255 = seen face on) and those of ``maps``; where nothing was painted they are
    the base's, or those of a plain surface.
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
    base_maps: tuple[BaseMap, ...] = ()
    task: Literal["project"] = "project"


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
    map_estimator, base_maps: as in :class:`ProjectJob`.
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
    base_maps: tuple[BaseMap, ...] = ()
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
