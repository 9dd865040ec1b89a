"""Evaluated meshes as arrays, for texturing what was captured."""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np
from scumble_shared.camera import pack_matrix

from .frame import MeshArrays, scene_error
from .geometry import corner_normals, corner_uvs, corner_vertices, triangle_corners, vertex_positions

__all__ = ["meshes"]


def meshes(
    depsgraph: bpy.types.Depsgraph, objects: Iterable[bpy.types.Object], uv_map: str = "", preferred: str = ""
) -> tuple[MeshArrays, ...]:
    """The objects' own evaluated surfaces (not what they instance), in their order; see :class:`MeshArrays`.

    uv_map: name of the map to read; "" takes the one called ``preferred``, or else the one marked for rendering.
    Curves, text, surfaces and metaballs work.
    Raises SCENE for an object without a face and for one without the named map.
    """
    return tuple(_arrays(depsgraph, thing, uv_map, preferred) for thing in objects)


def _arrays(depsgraph: bpy.types.Depsgraph, thing: bpy.types.Object, uv_map: str, preferred: str) -> MeshArrays:
    evaluated = thing.evaluated_get(depsgraph)
    mesh = _to_mesh(evaluated)
    try:
        corners = triangle_corners(mesh)
        if not len(corners):
            raise scene_error(f"{thing.name} has no faces.", field=thing.name)
        name = _map_name(mesh, thing.name, uv_map, preferred)
        return MeshArrays(
            name=thing.original.name,
            session_uid=thing.original.session_uid,
            matrix_world=pack_matrix(np.array(evaluated.matrix_world)),
            vertices=vertex_positions(mesh),
            triangles=corner_vertices(mesh)[corners],
            normals=corner_normals(mesh, corners),
            uvs=corner_uvs(mesh, name, corners) if name else None,
            uv_map=name,
        )
    finally:
        evaluated.to_mesh_clear()


def _to_mesh(evaluated: bpy.types.Object) -> bpy.types.Mesh:
    try:
        mesh = evaluated.to_mesh()
    except RuntimeError as error:
        raise scene_error(f"{evaluated.name} is no kind of object with faces.", field=evaluated.name) from error
    if mesh is None:
        raise scene_error(f"{evaluated.name} has no faces.", field=evaluated.name)
    return mesh


def _map_name(mesh: bpy.types.Mesh, owner: str, wanted: str, preferred: str) -> str:
    """Name of the UV map to read, "" when there is none and none was named."""
    layers = mesh.uv_layers
    if wanted:
        if wanted not in layers:
            raise scene_error(f"{owner} has no UV map named {wanted} after its modifiers.", field=owner)
        return wanted
    if preferred in layers:
        return preferred
    return next((layer.name for layer in layers if layer.active_render), "")
