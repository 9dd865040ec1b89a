"""What a view looks like, as the artist sees it: display-referred colour, opaque background included.

A viewport is drawn as it is shaded, without its overlays. A camera's picture is a Workbench render in a scratch scene
that borrows the scene's objects, world and Workbench shading: solid, in milliseconds to tenths of a second, whatever
the scene's own engine needs.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import bpy
import gpu
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, ScumbleError

from .gpu_start import gpu_available
from .lens import look_through, samples_per_pixel
from .scratch_scene import scratch_scene, silent_render

__all__ = ["camera_color", "viewport_color"]

_TGA_HEADER = 18
_TRUE_COLOR = 2


def viewport_color(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    space: bpy.types.SpaceView3D,
    region: bpy.types.Region,
    camera: Camera,
) -> NDArray[np.uint8]:
    """(H, W, 4) sRGB, top row first. Raises UNSUPPORTED where nothing can draw."""
    _need_gpu()
    pixels = np.zeros((camera.height, camera.width, 4), np.uint8)
    target = gpu.types.GPUOffScreen(camera.width, camera.height, format="RGBA8")
    overlays = space.overlay.show_overlays
    try:
        space.overlay.show_overlays = False
        view, projection = Matrix(camera.view_matrix.tolist()), Matrix(camera.projection_matrix.tolist())
        target.draw_view3d(scene, layer, space, region, view, projection, do_color_management=True)
        with target.bind():
            into = gpu.types.Buffer("UBYTE", pixels.shape, pixels)
            gpu.state.active_framebuffer_get().read_color(0, 0, *pixels.shape[1::-1], 4, 0, "UBYTE", data=into)
    finally:
        space.overlay.show_overlays = overlays
        target.free()
    return np.ascontiguousarray(pixels[::-1])


def camera_color(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, camera: Camera) -> NDArray[np.uint8]:
    """(H, W, 4) sRGB, top row first; alpha is 0 on the background of scenes that render a transparent film.

    Raises UNSUPPORTED where nothing can draw, and for projections no Blender camera has.
    """
    _need_gpu()
    with scratch_scene() as scratch, tempfile.TemporaryDirectory(prefix="scumble-capture-") as folder:
        _borrow(scene, layer, scratch)
        look_through(scratch, camera)
        render = scratch.render
        render.engine = "BLENDER_WORKBENCH"
        render.film_transparent = scene.render.film_transparent
        render.image_settings.file_format, render.image_settings.color_mode = "TARGA_RAW", "RGBA"
        render.filepath = str(Path(folder) / "color.tga")
        silent_render(scratch, write=True)
        pixels = _read_tga((Path(folder) / "color.tga").read_bytes())
    every = samples_per_pixel(camera)
    return np.ascontiguousarray(pixels[every // 2 :: every, every // 2 :: every])


def _need_gpu() -> None:
    if not gpu_available():
        raise ScumbleError(
            ErrorCode.UNSUPPORTED, "colour needs a GPU (or Mesa's libEGL); leave it out here.", field="buffers"
        )


def _borrow(scene: bpy.types.Scene, layer: bpy.types.ViewLayer, scratch: bpy.types.Scene) -> None:
    """Shows in ``scratch`` what ``layer`` renders, through links that vanish with the scratch scene."""
    for collection in scene.collection.children:
        scratch.collection.children.link(collection)
    for thing in scene.collection.objects:
        scratch.collection.objects.link(thing)
    scratch.view_layers[0].update()
    _same_layers(layer.layer_collection, scratch.view_layers[0].layer_collection)
    scratch.world = scene.world
    scratch.frame_current, scratch.frame_subframe = scene.frame_current, scene.frame_subframe
    _copy_settings(scene.display.shading, scratch.display.shading)
    _copy_settings(scene.display_settings, scratch.display_settings)
    _copy_settings(scene.view_settings, scratch.view_settings)


def _same_layers(source: bpy.types.LayerCollection, target: bpy.types.LayerCollection) -> None:
    children = {child.name: child for child in target.children}
    for child in source.children:
        same = children[child.name]
        same.exclude, same.holdout, same.indirect_only = child.exclude, child.holdout, child.indirect_only
        _same_layers(child, same)


def _copy_settings(source: bpy.types.bpy_struct, target: bpy.types.bpy_struct) -> None:
    """Plain settings only; what a value rules out in its place (another light's enum, ...) keeps its default."""
    for setting in source.bl_rna.properties:
        if setting.is_readonly or setting.type in {"POINTER", "COLLECTION"}:
            continue
        try:
            setattr(target, setting.identifier, getattr(source, setting.identifier))
        except (TypeError, AttributeError):
            continue


def _read_tga(data: bytes) -> NDArray[np.uint8]:
    """Uncompressed 32-bit Targa as RGBA, top row first."""
    name_length, _map, kind = struct.unpack_from("<3B", data)
    width, height, bits, descriptor = struct.unpack_from("<2H2B", data, 12)
    if kind != _TRUE_COLOR or bits != 32:
        raise ValueError("not an uncompressed 32-bit Targa file")
    rows = np.frombuffer(data, np.uint8, width * height * 4, _TGA_HEADER + name_length).reshape(height, width, 4)
    from_top = descriptor & 0x20
    return rows[:: 1 if from_top else -1, :, [2, 1, 0, 3]]
