"""A job is a value: everything that decides a result, nothing else.

Two equal jobs on the same server version and device give the same pixels. Equality drives live mode,
the queue, history, idempotent re-submission and tests. Images, buffers and meshes are referred to by
content address (:mod:`scumble_shared.tensor`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal

from .camera import Camera, Matrix4
from .tensor import Digest

__all__ = [
    "CONTROL_KINDS",
    "DEFAULT_MODEL",
    "SAMPLERS",
    "Control",
    "ControlImagesJob",
    "GenerateJob",
    "Job",
    "MeshRef",
    "ProjectJob",
    "View",
    "tensors_of",
]

DEFAULT_MODEL = "starter"
"""Id of the model that ships with Scumble."""

CONTROL_KINDS = ("depth", "normal", "canny", "lineart", "segmentation")
"""Control images the server derives from a :class:`View`."""

SAMPLERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "lcm")


@dataclass(frozen=True, slots=True)
class View:
    """What the scene looks like from one camera: exact buffers, top row first.

    depth: float32 or float16 H x W, planar, scene units, inf where nothing is hit.
    normal: float16 or float32 H x W x 3, unit, view space, zero where nothing is hit.
    object_id: uint16 H x W, 0 is background.
    color: uint8 H x W x 4, sRGB.
    """

    camera: Camera
    depth: Digest | None = None
    normal: Digest | None = None
    object_id: Digest | None = None
    color: Digest | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet on the job.

    model: ControlNet id, "" for the one the model's family offers for this kind.
    image: a ready control image (uint8 H x W x 3); None derives it from the job's view.
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


@dataclass(frozen=True, slots=True)
class GenerateJob:
    """Text, geometry and optionally an image in; ``batch_size`` images out.

    Text-to-image without ``init_image``; image-to-image with it; inpainting with ``mask`` (uint8 H x W,
    255 is repainted) as well. denoising_strength: 0 keeps the image, 1 ignores it.
    Image ``i`` of a batch has seed ``seed + i``.
    Results: tensors "image/0", "image/1", ... uint8 H x W x 3.
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
    task: Literal["generate"] = "generate"


@dataclass(frozen=True, slots=True)
class ControlImagesJob:
    """The control images a generation would see, without generating.

    Results: tensors "control/0", "control/1", ... uint8 H x W x 3, in the order of ``controls``.
    """

    controls: tuple[Control, ...]
    view: View
    width: int = 512
    height: int = 512
    model: str = DEFAULT_MODEL
    task: Literal["control_images"] = "control_images"


@dataclass(frozen=True, slots=True)
class MeshRef:
    """One evaluated, triangulated mesh in object space, with the UV map to texture.

    name: object name, echoed in the results. object_id: its value in the view's id buffer.
    matrix_world: object -> world.
    vertices: float32 V x 3. triangles: int32 T x 3, indices into vertices.
    normals: float32 T x 3 x 3, shading normal per triangle corner, object space.
    uvs: float32 T x 3 x 2, Blender's convention (v up); whole parts are UDIM tiles.
    """

    name: str
    object_id: int
    matrix_world: Matrix4
    vertices: Digest
    triangles: Digest
    normals: Digest
    uvs: Digest


@dataclass(frozen=True, slots=True)
class ProjectJob:
    """Texture from view: ``image``, seen through ``view``, onto the meshes' own UVs.

    base: what to keep where the view doesn't see (uint8 S x S x 4, one per mesh or none at all).
    texture_size: side of the square textures, texels.
    angle_exponent: weight is cos(angle to viewer) ** angle_exponent.
    Results per mesh: "texture/NAME" uint8 S x S x 4 (sRGB, top row first, alpha = painted) and
    "weight/NAME" uint8 S x S (255 = seen face on).
    """

    image: Digest
    view: View
    meshes: tuple[MeshRef, ...]
    base: tuple[Digest, ...] = ()
    texture_size: int = 1024
    angle_exponent: float = 2.0
    task: Literal["project"] = "project"


Job = GenerateJob | ControlImagesJob | ProjectJob


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
