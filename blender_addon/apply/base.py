"""What an object's surface looks like before it is painted on, as a texture, where that can be told.

With it the server returns a complete texture, which goes straight into the material: glTF and other exporters
understand that, and not a mix of nodes.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from .materials import base_color_of, principled_of

__all__ = ["base_texture", "image_on", "pixels_of"]


def base_texture(thing: bpy.types.Object, uv_map: str, size: int) -> NDArray[np.uint8] | None:
    """uint8 size x size x 4, sRGB, top row first; None where only nodes can keep what is there.

    That is told of one plain colour for all slots, and of one picture of this very size on this very UV map.
    """
    colors = {base_color_of(slot.material) for slot in thing.material_slots} or {base_color_of(None)}
    color = colors.pop()
    if not colors and color is not None:
        return np.broadcast_to(_srgb(color), (size, size, 4)).copy()
    if len(thing.material_slots) == 1:
        return _picture(thing.material_slots[0].material, uv_map, size)
    return None


def image_on(node: bpy.types.Node, uv_map: str, size: int, space: str) -> bpy.types.Image | None:
    """The image that a node shows, if it is one of this very size and colour space on this very UV map."""
    if node.type != "TEX_IMAGE" or node.image is None or node.projection != "FLAT":
        return None
    vector = node.inputs["Vector"].links
    if vector and not (vector[0].from_node.type == "UVMAP" and vector[0].from_node.uv_map == uv_map):
        return None
    image = node.image
    fits = tuple(image.size) == (size, size) and image.source != "TILED" and image.colorspace_settings.name == space
    return image if fits else None


def pixels_of(image: bpy.types.Image) -> NDArray[np.float32]:
    """H x W x channels, top row first, in [0, 1] as they are kept."""
    width, height = image.size
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, image.channels)[::-1]


def _srgb(color: tuple[float, ...]) -> NDArray[np.uint8]:
    """Linear RGB -> sRGB bytes with full alpha."""
    linear = np.clip(np.array(color[:3]), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1.0 / 2.4) - 0.055)
    return np.array([*np.rint(encoded * 255.0), 255.0]).astype(np.uint8)


def _picture(material: bpy.types.Material, uv_map: str, size: int) -> NDArray[np.uint8] | None:
    node = principled_of(material).inputs["Base Color"].links[0].from_node if principled_of(material) else None
    image = None if node is None else image_on(node, uv_map, size, "sRGB")
    if image is None or image.is_float:
        return None
    return np.rint(pixels_of(image) * 255.0).astype(np.uint8)
