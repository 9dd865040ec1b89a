"""One hash over everything in the open file that a capture could disturb.

It walks RNA: every property of every datablock that an artist or a render can see, the contents of meshes and images by
hash, and what the window shows. What evaluation itself may rewrite is left out by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import bpy
import numpy as np

COLLECTIONS = (
    "scenes",
    "objects",
    "meshes",
    "curves",
    "metaballs",
    "cameras",
    "lights",
    "materials",
    "images",
    "textures",
    "worlds",
    "collections",
    "node_groups",
    "actions",
    "armatures",
)

SKIPPED = frozenset(
    {
        "rna_type",
        "original",
        "bl_rna",
        "depsgraph",  # made by evaluation
        "tag",  # scratch space of Blender's own tools: "initial state is undefined"
        "users",  # counted below, where it means something
        "session_uid",
        "loop_triangles",  # caches of the mesh's own data
        "loop_triangle_polygons",
        "vertex_normals",
        "polygon_normals",
        "corner_normals",
        "storage_type",  # 5.x unpacks constant attributes when they are read
        "vertex_selection",  # 4.x makes these layers when they are asked for
        "edge_selection",
        "pin",
        "bindcode",
        "operators",  # log of what was called
        "reports",
        "preview",
        "icon_id",
        "is_evaluated",
        "is_runtime_data",
        "enabled",  # of node sockets: derived, updated lazily
        "is_unavailable",
        "is_inactive",
        "is_icon_visible",
        "selected_studio_light",  # 4.2 crashes when it is read of a flat shading; studio_light has its name
        "wireframe_color_type",  # enums that read as invalid where they don't apply
    }
)

BACK = frozenset({"node", "from_node", "to_node", "from_socket", "to_socket"})
"""Pointers to what is visited anyway; named, not followed."""

DEPTH = 6


def fingerprint() -> dict[str, str]:
    """A hash per datablock; equal dictionaries mean that nothing changed, and the difference names what did."""
    found = {}
    for kind in COLLECTIONS:
        for block in getattr(bpy.data, kind, ()):
            sha = hashlib.sha256()
            for path, value in () if _is_picture_of_now(block) else _values(block, "", DEPTH, block):
                sha.update(f"{path}={value}\n".encode())
            sha.update(_contents(block))
            found[f"{kind}/{block.name}"] = f"{sha.hexdigest()} used by {block.users}"
    found["counts"] = str([(name, len(getattr(bpy.data, name))) for name in dir(bpy.data) if _is_collection(name)])
    found["window"] = str(
        [(w.scene.name, w.view_layer.name, w.screen.name) for w in bpy.context.window_manager.windows]
    )
    for number, (area, space) in enumerate(_viewports()):
        found[f"viewport/{number}"] = str([*_values(space, "", 3, space.id_data), area.ui_type])
    found["context"] = f"{bpy.context.scene.name} {bpy.context.mode} {bpy.context.view_layer.objects.active}"
    found["handlers"] = str([(n, list(getattr(bpy.app.handlers, n))) for n in dir(bpy.app.handlers) if _is_handler(n)])
    found["is_dirty"] = str(bpy.data.is_dirty)
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of what changed, appeared or vanished."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _is_picture_of_now(block) -> bool:
    """Render Result and Viewer: Blender fills them when they are looked at, also by this module."""
    return isinstance(block, bpy.types.Image) and block.type in {"RENDER_RESULT", "COMPOSITING"}


def _viewports() -> Iterator[tuple[bpy.types.Area, bpy.types.SpaceView3D]]:
    for screen in bpy.data.screens:
        yield from ((area, space) for area in screen.areas for space in area.spaces if space.type == "VIEW_3D")


def _is_collection(name: str) -> bool:
    return isinstance(getattr(bpy.data, name), bpy.types.bpy_prop_collection)


def _is_handler(name: str) -> bool:
    return isinstance(getattr(bpy.app.handlers, name), list)


def _values(struct, path: str, depth: int, root) -> Iterator[tuple[str, str]]:
    """All plain values below a struct; other datablocks by name only."""
    for prop in struct.bl_rna.properties:
        name = prop.identifier
        if name in SKIPPED:
            continue
        try:
            value = getattr(struct, name)
        except (AttributeError, ValueError, RuntimeError):
            continue  # not readable in this state; then it isn't before or after
        where = f"{path}.{name}"
        if prop.type == "POINTER":
            if isinstance(value, bpy.types.ID) and (value == root or not value.is_embedded_data):
                yield where, value.name_full
            elif name in BACK:
                yield where, getattr(value, "name", "")
            elif value is not None and depth:
                yield from _values(value, where, depth - 1, root)
        elif prop.type == "COLLECTION":
            yield from _items(value, where, depth, root)
        elif getattr(prop, "is_array", False):
            yield where, str(np.array(value).ravel().tolist())
        else:
            yield where, repr(value)


def _items(items, where: str, depth: int, root) -> Iterator[tuple[str, str]]:
    """Few items by their values; many (mesh elements, pixels) only by number, they are hashed in bulk."""
    yield f"{where}#", str(len(items))
    if len(items) > 64 or not depth:
        return
    for index, item in enumerate(items):
        if isinstance(item, bpy.types.ID):
            yield f"{where}[{index}]", item.name_full
        else:
            yield from _values(item, f"{where}[{index}]", depth - 1, root)


def _contents(block) -> bytes:
    """Bulk data: all attributes of a mesh, UV maps and selection included, and the pixels of an image."""
    sha = hashlib.sha256()
    if isinstance(block, bpy.types.Mesh):
        for attribute in block.attributes:
            sha.update(f"{attribute.name}:{attribute.domain}:{attribute.data_type}".encode())
            sha.update(_attribute(attribute).tobytes())
    elif isinstance(block, bpy.types.Image) and not _is_picture_of_now(block) and block.has_data:
        pixels = np.zeros(len(block.pixels), np.float32)
        block.pixels.foreach_get(pixels)
        sha.update(pixels.tobytes())
    return sha.digest()


_FIELDS = {
    "FLOAT_VECTOR": ("vector", 3),
    "FLOAT2": ("vector", 2),
    "FLOAT_COLOR": ("color", 4),
    "BYTE_COLOR": ("color", 4),
}


def _attribute(attribute) -> np.ndarray:
    if attribute.data_type in {"INT16_2D", "INT32_2D"}:
        return np.array([tuple(item.value) for item in attribute.data])
    if attribute.data_type == "STRING":
        return np.array([item.value for item in attribute.data])
    field, width = _FIELDS.get(attribute.data_type, ("value", 4 if attribute.data_type == "QUATERNION" else 1))
    kind = {"INT": np.int32, "INT8": np.int32, "BOOLEAN": np.bool_}.get(attribute.data_type, np.float32)
    values = np.zeros(len(attribute.data) * width, kind)
    attribute.data.foreach_get(field, values)
    return values
