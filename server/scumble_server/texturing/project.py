"""Texture from view: one picture, seen through one camera, on to the meshes' own UVs."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import ProjectJob
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from ..service import JobHooks, Output
from .base import Base, load_bases, opacity, painted
from .color import linear_light
from .dilate import nearest_filled, padding
from .fuse import ViewImage
from .halo import without_halos
from .lookup import look, sample
from .maps.job import Teller, maps_of_textures
from .mesh import Mesh, load_meshes, no_area, to_tensor
from .raster import TexelMap, rasterise
from .render import facing_viewer, render_view
from .surface import Surface
from .visibility import ViewGeometry, view_geometry

__all__ = ["run_project"]

CHUNK_TEXELS = 1 << 17
"""Texels looked up at a time; between chunks the job can be cancelled."""

FADE = (0.02, 0.1)
"""Cosines of the viewing angle between which paint fades in: nothing at 89 degrees, full from 84 on. Whoever looks from
where the picture was made sees ridges of a landscape at such angles, and bare rims there are uglier than what is seen
from the side, where paint is stretched tenfold."""

RIM = 2
"""Texels per 1024 by which paint goes on past what the view sees: its edge is looked at filtered, and by rays that
don't go through the middle of pixels."""


def run_project(
    job: ProjectJob,
    tensors: Mapping[Digest, AnyArray],
    device: torch.device | str,
    hooks: JobHooks,
    teller: Teller | None = None,
) -> Output:
    """Do a :class:`ProjectJob`; results as documented there.

    teller: who makes maps, if it isn't the built-in estimator.

    Raises ScumbleError: INVALID_FIELD for tensors whose shapes don't fit the job, SCENE for meshes that can't be
    painted on (no faces, no usable UVs, scaled to nothing).
    """
    started = time.perf_counter()
    meshes = load_meshes(job.meshes, tensors, device)
    image = _image(tensors[job.image], device)
    bases = load_bases(job, tensors, device, len(meshes))
    hooks.progress("projecting", 0, len(meshes), 0.0)
    view = _view_of(job, tensors, meshes, device, (image.shape[2], image.shape[3]))
    image = without_halos(image, view)
    results: dict[str, AnyArray] = {}
    facts: dict[str, object] = {}
    for number, mesh in enumerate(meshes):
        hooks.check_cancelled()
        texture, weight, fact = _paint(job, mesh, view, image, bases[number], hooks)
        results[f"texture/{mesh.texture_name}"] = texture
        results[f"weight/{mesh.texture_name}"] = weight.cpu().numpy()
        facts[mesh.texture_name] = fact
        hooks.progress("projecting", number + 1, len(meshes), (number + 1) / len(meshes))
    told: dict[str, object] = {}
    if job.maps:
        shown = [ViewImage(view, image[:, :3])]
        maps, told = maps_of_textures(job, tensors, meshes, shown, [tensors[job.image]], results, teller, hooks)
        results |= maps
    return Output(results, {"meshes": facts, **told, "seconds": round(time.perf_counter() - started, 4)})


def _image(array: AnyArray, device: torch.device | str) -> Tensor:
    """Linear RGB and opacity, float32 (1, 4, h, w)."""
    if (
        array.ndim != 3
        or array.shape[2] not in (3, 4)
        or array.dtype.name not in ("uint8", "uint16")
        or array.size == 0
    ):
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected uint8 or uint16 H x W x 3, got {array.dtype} {array.shape}",
            field="job.image",
        )
    colours = linear_light(array[..., :3], device)
    alpha = torch.ones_like(colours[..., :1])
    if array.shape[2] == 4:
        alpha = to_tensor(array[..., 3:].astype("float32"), device) / float(2 ** (8 * array.itemsize) - 1)
    return torch.cat([colours, alpha], 2).permute(2, 0, 1)[None].contiguous()


def _view_of(
    job: ProjectJob,
    tensors: Mapping[Digest, AnyArray],
    meshes: list[Mesh],
    device: torch.device | str,
    image_size: tuple[int, int],
) -> ViewGeometry:
    """The job's view; what its buffers don't say is rendered from the job's own meshes."""
    camera = job.view.camera
    own = render_view(meshes, camera)
    depth = own.depth
    if job.view.depth is not None:
        array = _buffer(tensors[job.view.depth], camera.height, camera.width, ("float32", "float16"), "depth")
        depth = to_tensor(array, device)
        depth = torch.where(torch.isnan(depth), torch.inf, depth)
    object_id = None
    if job.view.object_id is not None:
        array = _buffer(tensors[job.view.object_id], camera.height, camera.width, ("uint16",), "object_id")
        object_id = to_tensor(array.astype("int32"), device)
    # Generated pictures miss silhouettes by a pixel or two, by more in larger pictures: keep clear of them.
    pixel = max(1.0, min(image_size) / 512.0)
    return view_geometry(
        camera,
        depth,
        object_id=object_id,
        facing=own.facing(),
        image_size=image_size,
        margin=round(pixel),
        feather=round(3.0 * pixel),
    )


def _buffer(array: AnyArray, height: int, width: int, dtypes: tuple[str, ...], name: str) -> AnyArray:
    if array.shape != (height, width) or array.dtype.name not in dtypes:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected {' or '.join(dtypes)} {(height, width)}, got {array.dtype} {array.shape}",
            field=f"job.view.{name}",
        )
    return array


def _paint(
    job: ProjectJob, mesh: Mesh, view: ViewGeometry, image: Tensor, base: Base | None, hooks: JobHooks
) -> tuple[AnyArray, Tensor, dict[str, object]]:
    """Texture S x S x 4, weight uint8 S x S and what happened, of one mesh."""
    size = job.texture_size
    texels = rasterise(mesh, size, later=~facing_viewer(mesh, view.camera))
    surface = Surface(mesh, texels)
    layer = torch.zeros(size * size, 5, device=mesh.device)  # colour, opacity, weight
    count = painted = 0
    for begin in range(0, size * size, CHUNK_TEXELS):
        hooks.check_cancelled()
        some = texels.part(begin, begin + CHUNK_TEXELS)
        seen = look(view, surface.points(some), surface.origin, FADE[0])
        ramp = ((seen.cosine - FADE[0]) / (FADE[1] - FADE[0])).clamp(0.0, 1.0)
        colour = sample(seen, image)
        alpha = ramp * ramp * (3.0 - 2.0 * ramp) * colour[3]
        weight = alpha.sign() * seen.border * seen.cosine**job.angle_exponent
        layer[some.index[seen.index]] = torch.cat([colour[:3], alpha[None], weight[None]]).T
        count += len(some)
        painted += int((alpha > 0.0).sum())
    if count == 0:
        raise no_area(mesh, job.meshes)
    texture, spread_weight = _compose(layer, texels, base, job.bit_depth)
    facts: dict[str, object] = {
        "texels": count,
        "painted": round(painted / count, 4),
        "overlapping": len(texels.overlapped),
        "skipped_triangles": texels.skipped,
    }
    return texture, spread_weight, facts


def _compose(layer: Tensor, texels: TexelMap, base: Base | None, bits: int) -> tuple[AnyArray, Tensor]:
    """Pad islands and put the layer (S * S, 5) over the base. Returns uint8 or uint16 S x S x 4 and uint8 S x S."""
    size = texels.size
    target, source = nearest_filled(texels.covered, padding(size), repeats=texels.repeats)
    layer[target] = layer[source]
    # Beyond the fading rim of the paint its colour runs on, so that filtering finds no foreign colour there.
    solid = layer[:, 3] > 0.0
    mean = layer[solid, :3].mean(0) if bool(solid.any()) else layer.new_zeros(3)
    layer[~solid, :3] = mean
    target, source = nearest_filled(solid.view(size, size), padding(size), repeats=texels.repeats)
    layer[target, :3] = layer[source, :3]
    target, source = nearest_filled(solid.view(size, size), max(1, RIM * size // 1024), repeats=False)
    layer[target, 3] = layer[source, 3]
    free = None if base is None else base.freedom(texels)
    if free is not None:
        layer[:, 3:] *= free[:, None]
    share = layer[:, 3].contiguous()
    texture = np.dstack([painted(layer[:, :3].T.contiguous(), share, base, bits), opacity(share, bits)])
    return texture, (layer[:, 4].clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).view(size, size)
