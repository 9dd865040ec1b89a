"""Whether the meshes of a job can be textured, and how large and from what their textures are made."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .checks import Facts, check_range, check_tensor, invalid, quoted
from .errors import ErrorCode, Remedy, ScumbleError
from .job import BIT_DEPTHS, MAPS, BaseMap, MeshRef, ProjectJob, TextureJob, texture_names
from .limits import Limits

__all__ = ["check_textures"]

ANGLE_EXPONENT_MAX = 64.0
UDIM_RANGE = (1001, 2000)


def check_textures(job: ProjectJob | TextureJob, limits: Limits, facts: Facts) -> None:
    """Meshes, and how large and from what their textures are made."""
    check_range(job.texture_size, 1, limits.texture_side, "job.texture_size")
    check_range(job.angle_exponent, 0.0, ANGLE_EXPONENT_MAX, "job.angle_exponent")
    if not job.meshes:
        raise ScumbleError(
            ErrorCode.SCENE,
            "there is no mesh to texture",
            field="job.meshes",
            remedy=Remedy("Select at least one mesh object"),
        )
    check_range(len(job.meshes), 1, limits.meshes, "job.meshes")
    triangles = sum(_check_mesh(mesh, f"job.meshes[{index}]", facts) for index, mesh in enumerate(job.meshes))
    if triangles > limits.triangles:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{triangles} triangles; at most {limits.triangles} are accepted",
            field="job.meshes",
            remedy=Remedy("Texture fewer objects at a time, or lower their subdivision"),
        )
    _check_unique([mesh.name for mesh in job.meshes], "name")
    _check_unique([mesh.object_id for mesh in job.meshes], "object_id")
    names = texture_names(job.meshes)
    check_range(len(names), 1, limits.textures, "job.meshes")
    _check_results(job, len(names), limits)
    _check_texture_names(names)
    if job.bit_depth not in BIT_DEPTHS:
        raise invalid("job.bit_depth", f"it can be {' or '.join(map(str, BIT_DEPTHS))}, not {job.bit_depth}")
    _check_texture_size(job, len(names), limits)
    _check_base(job, len(names), facts)
    for index, base_map in enumerate(job.base_maps):
        _check_base_map(base_map, index, job, len(names), facts)


def _check_results(job: ProjectJob | TextureJob, count: int, limits: Limits) -> None:
    """All tensors of a result come in one frame; there may be as many views as the limit says."""
    if limits.views + count * (2 + len(job.maps)) > limits.blobs_per_frame:
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{count} textures with {len(job.maps)} maps each are more than one answer can have",
            field="job.maps",
            remedy=Remedy("Texture fewer objects at a time, or leave out maps"),
        )


def _check_texture_size(job: ProjectJob | TextureJob, count: int, limits: Limits) -> None:
    """A texel of 16 bits counts as two, one of a map as half."""
    side, most = job.texture_size, limits.texture_pixels * 8 // job.bit_depth * 2 // (2 + len(job.maps))
    if count * side * side > most:
        fitting = str(max(1, 2 ** int(math.log2(math.sqrt(most / count)))))
        raise ScumbleError(
            ErrorCode.TOO_LARGE,
            f"{count} textures of {side} x {side} with {job.bit_depth} bits are over {most} pixels together",
            field="job.texture_size",
            remedy=Remedy(f"Use textures of {fitting} x {fitting}"),
        )


def _check_base(job: ProjectJob | TextureJob, count: int, facts: Facts) -> None:
    side = job.texture_size
    if job.base and len(job.base) != count:
        raise invalid("job.base", f"{len(job.base)} pictures for {count} textures")
    for index, digest in enumerate(job.base):
        check_tensor(digest, f"job.base[{index}]", ("uint8", "uint16"), ((side, side, 4),), facts)
    if job.keep and not job.base:
        raise invalid("job.keep", "there is nothing to keep without the textures that are there, job.base")
    if job.keep and len(job.keep) != count:
        raise invalid("job.keep", f"{len(job.keep)} masks for {count} textures")
    for index, digest in enumerate(job.keep):
        check_tensor(digest, f"job.keep[{index}]", ("uint8",), ((side, side),), facts)


def _check_base_map(found: BaseMap, index: int, job: ProjectJob | TextureJob, count: int, facts: Facts) -> None:
    path, side, kinds = f"job.base_maps[{index}]", job.texture_size, MAPS[1:]
    if not job.base:
        raise invalid(path, "maps lie under the job's where the base does; there is none, job.base")
    if found.kind not in kinds:
        raise invalid(f"{path}.kind", f"it can be {', '.join(kinds)}, not {quoted(found.kind)}")
    if found.kind not in job.maps:
        raise invalid(f"{path}.kind", f"{found.kind} isn't among the job's maps")
    if found.kind in [other.kind for other in job.base_maps[:index]]:
        raise invalid(f"{path}.kind", f"{found.kind} is there twice")
    if len(found.textures) != count:
        raise invalid(f"{path}.textures", f"{len(found.textures)} maps for {count} textures")
    shape = (side, side, 3) if found.kind == "normal" else (side, side)
    dtypes = ("uint16",) if found.kind == "height" else ("uint8", "uint16")
    for place, digest in enumerate(found.textures):
        check_tensor(digest, f"{path}.textures[{place}]", dtypes, (shape,), facts)
    if found.kind == "height" and not (math.isfinite(found.height_range) and found.height_range > 0.0):
        raise invalid(
            f"{path}.height_range",
            f"a height needs how far its black and white are apart, above 0, not {found.height_range}",
        )


def _check_mesh(mesh: MeshRef, path: str, facts: Facts) -> int:
    """Number of triangles, 0 if not known."""
    if not mesh.name:
        raise invalid(f"{path}.name", "is empty")
    check_range(mesh.object_id, 1, 65535, f"{path}.object_id")
    if len(mesh.matrix_world) != 16 or not all(math.isfinite(value) for value in mesh.matrix_world):
        raise invalid(f"{path}.matrix_world", "expected 16 finite numbers")
    vertices = check_tensor(mesh.vertices, f"{path}.vertices", ("float32",), ((None, 3),), facts)
    if vertices is not None and not vertices.finite:
        raise invalid(f"{path}.vertices", "has NaN or inf")
    triangles = check_tensor(mesh.triangles, f"{path}.triangles", ("int32",), ((None, 3),), facts)
    count = triangles.shape[0] if triangles else None
    check_tensor(mesh.normals, f"{path}.normals", ("float32",), ((count, 3, 3),), facts)
    check_tensor(mesh.uvs, f"{path}.uvs", ("float32",), ((count, 3, 2),), facts)
    _check_tiles(mesh.tiles, f"{path}.tiles")
    return count or 0


def _check_texture_names(names: Sequence[str]) -> None:
    """A mesh may be called as another one's tile is."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise invalid("job.meshes", f"two textures would be called {quoted(name)}")
        seen.add(name)


def _check_tiles(tiles: tuple[int, ...], path: str) -> None:
    for tile in tiles:
        check_range(tile, *UDIM_RANGE, path)
    if list(tiles) != sorted(set(tiles)):
        raise invalid(path, "must be ascending, each tile once")


def _check_unique(values: Sequence[object], name: str) -> None:
    seen: dict[object, int] = {}
    for index, value in enumerate(values):
        if value in seen:
            raise invalid(f"job.meshes[{index}].{name}", f"is the same as that of job.meshes[{seen[value]}]")
        seen[value] = index
