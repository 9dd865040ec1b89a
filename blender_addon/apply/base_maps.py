"""What a surface is like before it is painted on, beside its colour: roughness, relief and so on, where it can be told.

With it the server returns complete maps: what isn't painted stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np
from scumble_shared.job import MAPS, BaseMap, ProjectJob, TextureJob, texture_names
from scumble_shared.tensor import AnyArray, Digest

from ..connection.addressing import stand_in
from .base import image_on, pixels_of
from .images import HEIGHT_RANGE, MAP_KIND, PROVENANCE
from .material_maps import is_occlusion_group
from .materials import PLAIN_ROUGHNESS, principled_of

__all__ = ["with_base_maps"]

NEUTRAL = {
    "roughness": round(PLAIN_ROUGHNESS * 255),
    "metallic": 0,
    "normal": (128, 128, 255),
    "height": 32768,
    "ao": 255,
}
"""Of a surface of which nothing is known."""


@dataclass(frozen=True, slots=True)
class _Found:
    """image, or else one value for all of the surface, 0 to 1. height_range: of a height, scene units."""

    image: bpy.types.Image | None = None
    value: float = 0.0
    height_range: float = 0.0


def with_base_maps(
    job: ProjectJob | TextureJob,
    things: Sequence[bpy.types.Object],
    uv_maps: Sequence[str],
    tensors: dict[Digest, AnyArray],
) -> ProjectJob | TextureJob:
    """The job with the maps that its bases have. Kinds that Scumble made for them before are made again: a surface that
    has maps keeps them. things, uv_maps: of the job's meshes, in order."""
    if not job.base:
        return job
    there = [dict(_maps_there(thing, uv, job.texture_size)) for thing, uv in zip(things, uv_maps, strict=True)]
    ours = {kind for found in there for kind, each in found.items() if each.image and PROVENANCE in each.image}
    kinds = tuple(kind for kind in MAPS if kind in job.maps or kind in ours)
    known = [kind for kind in kinds if kind != "albedo" and any(kind in found for found in there)]
    tiles = [len(texture_names([ref])) for ref in job.meshes]
    base_maps = tuple(_base_map(kind, [found.get(kind) for found in there], tiles, job, tensors) for kind in known)
    return replace(job, maps=kinds, base_maps=base_maps)


def _base_map(
    kind: str,
    found: Sequence[_Found | None],
    tiles: Sequence[int],
    job: ProjectJob | TextureJob,
    tensors: dict[Digest, AnyArray],
) -> BaseMap:
    whole = max(each.height_range if each else 0.0 for each in found)
    names: list[Digest] = []
    for each, count in zip(found, tiles, strict=True):
        array = _numbers(each, kind, job.texture_size)
        if each is not None and kind == "height" and each.height_range != whole:
            array = np.rint((array - 32768.0) * (each.height_range / whole) + 32768.0).astype(np.uint16)
        name = stand_in(array)
        tensors[name] = array
        names += [name] * count
    return BaseMap(kind, tuple(names), whole)


def _numbers(found: _Found | None, kind: str, size: int) -> AnyArray:
    """In the form that ``scumble_shared.job.MAPS`` says."""
    shape = (size, size, 3) if kind == "normal" else (size, size)
    dtype = np.uint16 if kind == "height" else np.uint8
    if found is None:
        return np.broadcast_to(np.array(NEUTRAL[kind], dtype), shape).copy()
    if found.image is None:
        return np.full(shape, round(found.value * 255), np.uint8)
    if kind == "height" or found.image.is_float:
        dtype = np.uint16
    values = pixels_of(found.image)[..., : 3 if kind == "normal" else 1].reshape(shape)
    most = np.float32(np.iinfo(dtype).max)
    numbers: AnyArray = np.rint(np.clip(values, 0.0, 1.0) * most).astype(dtype)
    return numbers


def _maps_there(thing: bpy.types.Object, uv_map: str, size: int) -> Iterator[tuple[str, _Found]]:
    """By kind. Of several materials only numbers that they have in common are told, of one its pictures, too."""
    materials = [slot.material for slot in thing.material_slots] or [None]
    for kind in ("roughness", "metallic"):
        found = {_value(material, kind) for material in materials}
        value = found.pop()
        if not found and value is not None:
            yield kind, _Found(value=value)
    shader = principled_of(materials[0]) if len(materials) == 1 and materials[0] is not None else None
    if shader is not None:
        yield from _pictures(shader, materials[0].node_tree, uv_map, size)


def _pictures(shader: bpy.types.Node, tree: bpy.types.NodeTree, uv_map: str, size: int) -> Iterator[tuple[str, _Found]]:
    color = _image(shader.inputs["Base Color"], uv_map, size, "sRGB")
    if color is not None and color.get(MAP_KIND) == "albedo":
        yield "albedo", _Found(color)
    sockets = {"roughness": shader.inputs["Roughness"], "metallic": shader.inputs["Metallic"]}
    reader = _source(shader.inputs["Normal"])
    if reader is not None and _is_plain_reader(reader, uv_map):
        sockets["normal"] = reader.inputs["Color"]
    for group in filter(is_occlusion_group, tree.nodes):
        sockets["ao"] = group.inputs["Occlusion"]
    for kind, socket in sockets.items():
        if image := _image(socket, uv_map, size):
            yield kind, _Found(image)
    # Nobody reads a height where there are normals; its node is there all the same.
    for node in tree.nodes:
        image = image_on(node, uv_map, size, "Non-Color")
        if image is not None and image.get(MAP_KIND) == "height" and image.get(HEIGHT_RANGE, 0.0) > 0.0:
            yield "height", _Found(image, height_range=image[HEIGHT_RANGE])


def _value(material: bpy.types.Material | None, kind: str) -> float | None:
    """Where it is one for all of the surface."""
    if material is None:
        return PLAIN_ROUGHNESS if kind == "roughness" else 0.0
    shader = principled_of(material)
    if shader is None:
        return float(getattr(material, kind))
    socket = shader.inputs[kind.capitalize()]
    return None if socket.links else float(socket.default_value)


def _is_plain_reader(reader: bpy.types.Node, uv_map: str) -> bool:
    """Of normals, as they are."""
    if reader.type != "NORMAL_MAP":
        return False
    strength = reader.inputs["Strength"]
    whole = not strength.links and strength.default_value == 1.0
    return whole and reader.space == "TANGENT" and reader.uv_map == uv_map


def _source(socket: bpy.types.NodeSocket) -> bpy.types.Node | None:
    return socket.links[0].from_node if socket.links else None


def _image(socket: bpy.types.NodeSocket, uv_map: str, size: int, space: str = "Non-Color") -> bpy.types.Image | None:
    node = _source(socket)
    return None if node is None else image_on(node, uv_map, size, space)
