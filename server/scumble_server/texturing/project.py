"""Texture from view: one picture, seen through one camera, on to the meshes' own UVs."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import ProjectJob
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

from ..service import JobHooks, Output
from .color import linear_to_srgb, srgb_to_linear
from .dilate import nearest_filled, padding
from .mesh import Mesh, load_mesh
from .raster import Texels, rasterise
from .render import render_view, to_view
from .visibility import Seen, SurfacePoints, ViewBuffers, depth_edges, sample_view, soft_border

__all__ = ["run_project"]

CHUNK_TEXELS = 1 << 19
"""Texels looked up at a time; between chunks the job can be cancelled."""

FADE = (0.06, 0.2)
"""Cosines of the viewing angle between which paint fades in: nothing at 87 degrees, full from 78 on."""


def run_project(
    job: ProjectJob, tensors: Mapping[Digest, AnyArray], device: torch.device | str, hooks: JobHooks
) -> Output:
    """Do a :class:`ProjectJob`; results as documented there.

    Raises ScumbleError: INVALID_FIELD for tensors whose shapes don't fit the job, SCENE for meshes that can't be
    painted on (no faces, no usable UVs, scaled to nothing).
    """
    started = time.perf_counter()
    meshes = [load_mesh(ref, tensors, device, f"job.meshes[{i}]") for i, ref in enumerate(job.meshes)]
    image = _image(tensors[job.image], device)
    _check_base(job, tensors)
    hooks.progress("projecting", 0, len(meshes), 0.0)
    view = _view_buffers(job, tensors, meshes, device, image)
    results: dict[str, AnyArray] = {}
    facts: dict[str, object] = {}
    for number, mesh in enumerate(meshes):
        hooks.check_cancelled()
        base = torch.from_numpy(tensors[job.base[number]]).to(device) if job.base else None
        texture, weight, fact = _paint(job, mesh, view, image, base, hooks, f"job.meshes[{number}].uvs")
        results[f"texture/{mesh.name}"] = texture.cpu().numpy()
        results[f"weight/{mesh.name}"] = weight.cpu().numpy()
        facts[mesh.name] = fact
        hooks.progress("projecting", number + 1, len(meshes), (number + 1) / len(meshes))
    return Output(results, {"meshes": facts, "seconds": round(time.perf_counter() - started, 4)})


def _image(array: AnyArray, device: torch.device | str) -> Tensor:
    """Linear RGB and opacity, float32 h x w x 4."""
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype.name != "uint8" or array.size == 0:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"expected uint8 H x W x 3, got {array.dtype} {array.shape}", field="job.image"
        )
    pixels = torch.from_numpy(array).to(device)
    opacity = pixels[..., 3:].float() / 255.0 if array.shape[2] == 4 else torch.ones_like(pixels[..., :1]).float()
    return torch.cat([srgb_to_linear(pixels[..., :3]), opacity], 2)


def _check_base(job: ProjectJob, tensors: Mapping[Digest, AnyArray]) -> None:
    if job.base and len(job.base) != len(job.meshes):
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"{len(job.meshes)} meshes need as many base textures", field="job.base"
        )
    expected = (job.texture_size, job.texture_size, 4)
    for i, digest in enumerate(job.base):
        array = tensors[digest]
        if array.shape != expected or array.dtype.name != "uint8":
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"expected uint8 {expected}, got {array.dtype} {array.shape}",
                field=f"job.base[{i}]",
            )


def _view_buffers(
    job: ProjectJob, tensors: Mapping[Digest, AnyArray], meshes: list[Mesh], device: torch.device | str, image: Tensor
) -> ViewBuffers:
    camera = job.view.camera
    own = render_view(meshes, camera)
    facing = torch.where(own.mesh < 0, 0, torch.where(own.front, 1, -1)).to(torch.int8)
    rounding = 2e-4
    if job.view.depth is None:
        depth = own.depth
    else:
        array = _buffer(tensors[job.view.depth], camera.height, camera.width, ("float32", "float16"), "depth")
        rounding = 6e-4 if array.dtype.name == "float16" else rounding
        depth = torch.from_numpy(array).to(device).float()
        depth = torch.where(torch.isnan(depth), torch.inf, depth)
    object_id = None
    if job.view.object_id is not None:
        array = _buffer(tensors[job.view.object_id], camera.height, camera.width, ("uint16",), "object_id")
        object_id = torch.from_numpy(array.astype("int32")).to(device)
    # Generated pictures miss silhouettes by a pixel or two: keep clear of them, more so in larger pictures.
    pixel = max(1.0, min(image.shape[:2]) / 512.0) * min(camera.height, camera.width) / min(image.shape[:2])
    margin, feather = max(1, round(pixel)), max(2, round(3 * pixel))
    border = soft_border(depth_edges(camera, depth, object_id), margin, feather)
    return ViewBuffers(camera, depth, border, object_id, facing, rounding)


def _buffer(array: AnyArray, height: int, width: int, dtypes: tuple[str, ...], name: str) -> AnyArray:
    if array.shape != (height, width) or array.dtype.name not in dtypes:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected {' or '.join(dtypes)} {(height, width)}, got {array.dtype} {array.shape}",
            field=f"job.view.{name}",
        )
    return array


def _paint(
    job: ProjectJob, mesh: Mesh, view: ViewBuffers, image: Tensor, base: Tensor | None, hooks: JobHooks, field: str
) -> tuple[Tensor, Tensor, dict[str, object]]:
    """Texture uint8 S x S x 4, weight uint8 S x S and what happened, of one mesh."""
    corners = to_view(mesh.vertices, view.camera)[mesh.triangles]
    face = torch.nn.functional.normalize(
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    )
    face = face * mesh.outward
    towards = face[:, 2] if view.camera.is_orthographic else -(face * corners[:, 0]).sum(1)
    texels = rasterise(mesh, job.texture_size, priority=(towards <= 0.0).long())
    if len(texels) == 0:
        raise ScumbleError(ErrorCode.SCENE, f"The UV map of “{mesh.name}” has no area to paint on.", field=field)
    seen = _look(mesh, texels, corners.float(), face.float(), view, image, hooks)
    ramp = ((seen.cosine - FADE[0]) / (FADE[1] - FADE[0])).clamp(0.0, 1.0)
    alpha = seen.border * ramp * ramp * (3.0 - 2.0 * ramp) * seen.color[:, 3]
    weight = alpha.sign() * seen.border * seen.cosine**job.angle_exponent
    texture, spread_weight = _compose(job.texture_size, texels, seen.color[:, :3], alpha, weight, base)
    facts: dict[str, object] = {
        "texels": len(texels),
        "painted": round(float((alpha > 0.0).float().mean()), 4),
        "overlapping": int(texels.overlapped.sum()),
        "skipped_triangles": texels.skipped,
    }
    return texture, spread_weight, facts


def _look(
    mesh: Mesh, texels: Texels, corners: Tensor, face: Tensor, view: ViewBuffers, image: Tensor, hooks: JobHooks
) -> Seen:
    rotation = torch.from_numpy(view.camera.view_matrix[:3, :3]).float().to(mesh.device)
    normals = mesh.normals @ rotation.T
    parts = []
    for begin in range(0, len(texels), CHUNK_TEXELS):
        hooks.check_cancelled()
        some = texels.part(begin, begin + CHUNK_TEXELS)
        normal = torch.nn.functional.normalize(some.interpolate(normals), dim=1)
        points = SurfacePoints(some.interpolate(corners), face[some.triangle], normal, mesh.object_id)
        parts.append(sample_view(view, image, points))
    return Seen(
        torch.cat([p.color for p in parts]),
        torch.cat([p.visible for p in parts]),
        torch.cat([p.border for p in parts]),
        torch.cat([p.cosine for p in parts]),
    )


def _compose(
    size: int, texels: Texels, color: Tensor, alpha: Tensor, weight: Tensor, base: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Lay the texels out, pad islands, put over the base. Returns uint8 S x S x 4 and uint8 S x S."""
    painted = alpha > 0.0
    mean = color[painted].mean(0) if bool(painted.any()) else color.new_zeros(3)
    layer = torch.zeros(size * size, 5, device=color.device)
    layer[:, :3] = mean
    layer[texels.index] = torch.cat([torch.where(painted[:, None], color, mean), alpha[:, None], weight[:, None]], 1)
    on_mesh = torch.zeros(size * size, dtype=torch.bool, device=color.device)
    on_mesh[texels.index] = True
    target, source = nearest_filled(on_mesh.view(size, size), padding(size))
    layer[target] = layer[source]
    # Under the fading rim of the paint the colour runs on, so that filtering finds no foreign colour there.
    solid = layer[:, 3] > 0.0
    target, source = nearest_filled(solid.view(size, size), padding(size))
    layer[target, :3] = layer[source, :3]
    rgb, opacity = layer[:, :3], layer[:, 3:4]
    if base is not None:
        rgb = srgb_to_linear(base[..., :3]).view(-1, 3) * (1.0 - opacity) + rgb * opacity
    shown = torch.cat([linear_to_srgb(rgb), (opacity * 255.0 + 0.5).to(torch.uint8)], 1)
    if base is not None:
        kept = opacity[:, 0] == 0.0
        shown[kept, :3] = base.view(-1, 4)[kept, :3]
    return shown.view(size, size, 4), (layer[:, 4].clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).view(size, size)
