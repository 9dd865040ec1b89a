"""Meshes as the texturing core sees them: world-space tensors on one device, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError
from scumble_shared.job import MeshRef
from scumble_shared.tensor import AnyArray, Digest
from torch import Tensor

__all__ = ["Mesh", "load_meshes", "make_mesh", "no_area", "on_tiles", "tile_corner", "to_tensor"]

TILE_MARGIN = 1e-4
"""Triangles that reach less far than this into a tile, in tiles, don't lie on it: packing rounds."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A triangulated mesh with the UV map to texture.

    vertices: float64 (V, 3), world space. triangles: int64 (T, 3). normals: float32 (T, 3, 3), unit shading
    normal per corner, world space. uvs: float64 (T, 3, 2), Blender's (v up). object_id: its value in id buffers.
    outward: +1 where (b-a) x (c-a) is the outward normal of triangle (a, b, c), -1 after a mirroring transform.
    tile: number of the UDIM tile that is textured, None where the texture repeats. A mesh on several tiles is several
    of these, with its vertices in common.
    """

    name: str
    object_id: int
    vertices: Tensor
    triangles: Tensor
    normals: Tensor
    uvs: Tensor
    outward: float = 1.0
    tile: int | None = None

    @property
    def texture_name(self) -> str:
        """As :func:`scumble_shared.job.texture_names` has it."""
        return self.name if self.tile is None else f"{self.name}.{self.tile}"

    @property
    def device(self) -> torch.device:
        return self.vertices.device


def to_tensor(array: AnyArray, device: torch.device | str) -> Tensor:
    """An array that may be read-only memory of a frame, as a tensor that may be written to."""
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def make_mesh(
    name: str,
    vertices: AnyArray,
    triangles: AnyArray,
    normals: AnyArray,
    uvs: AnyArray,
    *,
    matrix_world: AnyArray | None = None,
    object_id: int = 1,
    device: torch.device | str = "cpu",
    field: str = "mesh",
) -> Mesh:
    """Check arrays (shapes as in :class:`scumble_shared.job.MeshRef`) and bring them into world space.

    Raises ScumbleError INVALID_FIELD (wrong shapes, indices out of range, non-finite vertices or matrix) or
    SCENE (no triangles). Non-finite UVs are left in: the rasteriser skips and counts them.
    """
    _check(vertices, triangles, normals, uvs, field)
    if len(triangles) == 0:
        raise ScumbleError(ErrorCode.SCENE, f"“{name}” has no faces, so there is nothing to paint on.", field=field)
    matrix = np.eye(4) if matrix_world is None else np.asarray(matrix_world, np.float64).reshape(4, 4)
    determinant = float(np.linalg.det(matrix[:3, :3]))
    if not np.isfinite(determinant) or abs(determinant) < 1e-30:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"“{name}” is scaled to zero along an axis.",
            field=f"{field}.matrix_world",
            remedy=Remedy("Give the object a scale other than zero"),
        )
    world = vertices.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    if not np.isfinite(world).all():
        raise ScumbleError(ErrorCode.INVALID_FIELD, "vertices must be finite", field=f"{field}.vertices")
    turned = np.nan_to_num(normals.astype(np.float64)) @ np.linalg.inv(matrix[:3, :3])
    turned /= np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-30)
    return Mesh(
        name=name,
        object_id=object_id,
        vertices=torch.from_numpy(world).to(device),
        triangles=torch.from_numpy(triangles.astype(np.int64)).to(device),
        normals=torch.from_numpy(turned.astype(np.float32)).to(device),
        uvs=torch.from_numpy(uvs.astype(np.float64) + 0.0).to(device),
        outward=1.0 if determinant > 0.0 else -1.0,
    )


def load_meshes(refs: Sequence[MeshRef], tensors: Mapping[Digest, AnyArray], device: torch.device | str) -> list[Mesh]:
    """A job's meshes, one for each of its textures. Raises as :func:`make_mesh` and :func:`on_tiles` do."""
    found = []
    for index, ref in enumerate(refs):
        mesh = _load_mesh(ref, tensors, device, f"job.meshes[{index}]")
        found += on_tiles(mesh, ref.tiles, f"job.meshes[{index}].tiles") if ref.tiles else [mesh]
    return found


def on_tiles(mesh: Mesh, tiles: Sequence[int], field: str = "tiles") -> list[Mesh]:
    """The parts of a mesh that lie on each of these UDIM tiles; what crosses an edge between two belongs to both.

    Raises ScumbleError INVALID_FIELD if there is nothing on a tile, or something on none of them.
    """
    uvs = torch.where(torch.isfinite(mesh.uvs), mesh.uvs, mesh.uvs.new_tensor(tile_corner(tiles[0])) + 0.5)
    low, high, home = uvs.amin(1) + TILE_MARGIN, uvs.amax(1) - TILE_MARGIN, torch.floor(uvs.mean(1))
    parts, homeless = [], torch.ones(len(home), dtype=torch.bool, device=mesh.device)
    for tile in tiles:
        corner = home.new_tensor(tile_corner(tile))
        at_home = (home == corner).all(1)
        some = torch.nonzero(at_home | ((low < corner + 1.0) & (high > corner)).all(1))[:, 0]
        if len(some) == 0:
            raise ScumbleError(
                ErrorCode.INVALID_FIELD, f"nothing of “{mesh.name}” lies on UDIM tile {tile}", field=field
            )
        triangles, normals, own = mesh.triangles[some], mesh.normals[some], mesh.uvs[some]
        parts.append(replace(mesh, triangles=triangles, normals=normals, uvs=own, tile=tile))
        homeless &= ~at_home
    if bool(homeless.any()):
        at = home[homeless][0].tolist()
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"“{mesh.name}” has faces outside its UDIM tiles, such as at u {at[0]:g}, v {at[1]:g}",
            field=field,
        )
    return parts


def no_area(mesh: Mesh, refs: Sequence[MeshRef]) -> ScumbleError:
    """That not one texel lies on the mesh; refs: the job's."""
    index = [ref.name for ref in refs].index(mesh.name)
    where = "" if mesh.tile is None else f" on UDIM tile {mesh.tile}"
    return ScumbleError(
        ErrorCode.SCENE,
        f"The UV map of “{mesh.name}” has no area to paint on{where}.",
        field=f"job.meshes[{index}].uvs",
        remedy=Remedy("Unwrap the object", RemedyAction.ADD_UV_MAP, mesh.name),
    )


def tile_corner(tile: int) -> tuple[int, int]:
    """(column, row) of a UDIM tile by its number: where in UV space it begins."""
    return (tile - 1001) % 10, (tile - 1001) // 10


def _load_mesh(ref: MeshRef, tensors: Mapping[Digest, AnyArray], device: torch.device | str, field: str) -> Mesh:
    return make_mesh(
        ref.name,
        tensors[ref.vertices],
        tensors[ref.triangles],
        tensors[ref.normals],
        tensors[ref.uvs],
        matrix_world=np.array(ref.matrix_world),
        object_id=ref.object_id,
        device=device,
        field=field,
    )


def _check(vertices: AnyArray, triangles: AnyArray, normals: AnyArray, uvs: AnyArray, field: str) -> None:
    count = len(triangles)
    expected = {
        "vertices": (vertices, (len(vertices), 3)),
        "triangles": (triangles, (count, 3)),
        "normals": (normals, (count, 3, 3)),
        "uvs": (uvs, (count, 3, 2)),
    }
    for part, (array, shape) in expected.items():
        if array.shape != shape:
            remedy = Remedy("Unwrap the object", RemedyAction.ADD_UV_MAP) if part == "uvs" else None
            raise ScumbleError(
                ErrorCode.INVALID_FIELD,
                f"expected shape {shape}, got {array.shape}",
                field=f"{field}.{part}",
                remedy=remedy,
            )
    if count and not (int(triangles.min()) >= 0 and int(triangles.max()) < len(vertices)):
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, "a triangle refers to a vertex that isn't there", field=f"{field}.triangles"
        )
