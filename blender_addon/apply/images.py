"""Image datablocks from pictures that arrived as finished PNG files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import bpy
from scumble_shared.job import MeshRef, texture_names

from ..prepare import Picture
from .material_maps import Maps

__all__ = [
    "HEIGHT_RANGE",
    "MAP_KIND",
    "MAP_NAMES",
    "PROVENANCE",
    "height_range",
    "keep_image",
    "keep_maps",
    "keep_texture",
    "keep_tiled_image",
    "update_image",
]

PROVENANCE = "scumble"
"""Custom property with the JSON of the job that made the image."""

MAP_NAMES = {
    "albedo": "Albedo",
    "roughness": "Roughness",
    "metallic": "Metallic",
    "normal": "Normal",
    "height": "Height",
    "ao": "Ambient Occlusion",
}
"""As Blender calls them, of ``scumble_shared.job.MAPS``."""

MAP_KIND, HEIGHT_RANGE = "scumble_map", "scumble_height_range"
"""Custom properties of a map: which of ``scumble_shared.job.MAPS`` it is, and of a height, how far apart black and
white are, scene units."""

CAMERA_IMAGE = "scumble_camera_image"
"""Custom property of the one image that each scene's camera results go to; its value is the scene's name."""


def keep_image(picture: Picture, name: str) -> bpy.types.Image:
    """A new image, packed into the file, that stays when nothing uses it."""
    image = bpy.data.images.new(name, 1, 1, alpha=picture.pixels.shape[2] == 4)
    _fill(image, picture)
    image.use_fake_user = True
    return image


def keep_texture(pictures: Mapping[str, Picture], ref: MeshRef, kind: str = "texture") -> bpy.types.Image:
    """A new image of what a job made for a mesh, with a tile each for what lies on UDIM tiles.

    pictures: the job's results, by name. kind: "texture" or one of ``scumble_shared.job.MAPS``.
    """
    mine = [pictures[f"{kind}/{name}"] for name in texture_names([ref])]
    name = f"Scumble {ref.name}" if kind == "texture" else f"Scumble {ref.name} {MAP_NAMES[kind]}"
    if ref.tiles:
        return keep_tiled_image(dict(zip(ref.tiles, mine, strict=True)), name)
    return keep_image(mine[0], name)


def keep_tiled_image(pictures: Mapping[int, Picture], name: str) -> bpy.types.Image:
    """A new image of UDIM tiles by their numbers, packed into the file, that stays when nothing uses it.

    Blender packs tiles from files alone, so they are in a folder of their own for as long as that takes.
    """
    with tempfile.TemporaryDirectory(prefix="scumble-") as folder:
        for tile, picture in pictures.items():
            Path(folder, f"tile.{tile}.png").write_bytes(picture.png)
        image = bpy.data.images.load(str(Path(folder, f"tile.{min(pictures)}.png")))
        image.source = "TILED"
        image.filepath = str(Path(folder, "tile.<UDIM>.png"))
        image.pack()
    image.name = name
    image.filepath_raw = f"//{bpy.path.clean_name(name)}.<UDIM>.png"
    first = pictures[min(pictures)]
    _describe(image, first)
    image.use_fake_user = True
    return image


def keep_maps(pictures: Mapping[str, Picture], ref: MeshRef, provenance: str) -> Maps:
    """New images of all maps that a job made for a mesh. provenance: the result's, JSON."""
    name = texture_names([ref])[0]
    images = {kind: keep_texture(pictures, ref, kind) for kind in MAP_NAMES if f"{kind}/{name}" in pictures}
    whole = height_range(provenance, name)
    for kind, image in images.items():
        image[MAP_KIND] = kind
    if "height" in images:
        images["height"][HEIGHT_RANGE] = whole
    return Maps(images, whole)


def height_range(provenance: str, name: str) -> float:
    """How far apart black and white of a height are, in the units that the job says; 0 where nothing tells."""
    try:
        return float(json.loads(provenance)["maps"]["height_range"][name])
    except (ValueError, KeyError, TypeError):
        return 0.0


def update_image(picture: Picture, scene: bpy.types.Scene) -> bpy.types.Image:
    """The scene's one camera image, as a render result would be: each result replaces the one before."""
    found = (image for image in bpy.data.images if image.get(CAMERA_IMAGE) == scene.name and image.library is None)
    image = next(found, None)
    if image is None:
        image = keep_image(picture, f"Scumble {scene.name}")
        image[CAMERA_IMAGE] = scene.name
    else:
        _fill(image, picture)
    return image


def _fill(image: bpy.types.Image, picture: Picture) -> None:
    """The PNG itself is packed: nothing is encoded here, and the file in the .blend carries its provenance."""
    image.pack(data=picture.png, data_len=len(picture.png))
    image.source = "FILE"
    _describe(image, picture)


def _describe(image: bpy.types.Image, picture: Picture) -> None:
    image.colorspace_settings.name = "sRGB" if picture.is_color else "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    image[PROVENANCE] = picture.record
    image.buffers_free()  # of the picture before; read anew from the packed file when needed
    image.update_tag()
