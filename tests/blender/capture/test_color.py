"""Colour is what the artist sees of the same view, pixel for pixel where the geometry is."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from capture import scenes
from capture.fingerprint import differences, fingerprint
from mathutils import Matrix
from scumble_shared.errors import ErrorCode, ScumbleError

from blender_addon import capture
from blender_addon.capture import color, gpu_start


@pytest.fixture
def red_and_blue(gpu):
    """A red plane on the left, a blue one on the right, flat colours, seen face on."""
    for name, x, shade in (("Red", -1.0, (1, 0, 0, 1)), ("Blue", 1.0, (0, 0, 1, 1))):
        thing = scenes.add_plane(1.6, Matrix.Translation((x, 0, 0)), name=name)
        thing.color = shade
    scene = bpy.context.scene
    shading = scene.display.shading
    shading.light, shading.color_type = "FLAT", "OBJECT"
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("Grey")
    scene.world.color = (0.2, 0.2, 0.2)
    camera = scenes.add_camera(type="ORTHO", ortho_scale=4.0)
    camera.matrix_world = Matrix.Translation((0, 0, 6.0))
    bpy.context.view_layer.update()
    return scene


def look(scene, **more):
    return capture.capture_camera(scene, width=64, height=48, buffers=capture.BUFFERS, **more)


def test_the_cameras_picture_fits_its_geometry(red_and_blue):
    frame = look(red_and_blue)
    names = {entry.name: entry.id for entry in frame.objects}
    assert (frame.color.dtype, frame.color.shape) == (np.uint8, (48, 64, 4))
    for name, expected in (("Red", (255, 0, 0)), ("Blue", (0, 0, 255))):
        where = frame.object_id == names[name]
        inside = where & np.roll(where, 1, 0) & np.roll(where, -1, 0) & np.roll(where, 1, 1) & np.roll(where, -1, 1)
        assert inside.sum() > 100
        assert np.abs(frame.color[inside][:, :3].astype(int) - expected).max() <= 2
    assert frame.object_id[24, 16] == names["Red"]
    assert (frame.color[..., 3] >= 254).all()


def test_rows_run_from_the_top(red_and_blue):
    bpy.data.objects["Red"].location.y = 1.0
    frame = look(red_and_blue)
    rows = np.argwhere((frame.color[..., 0] > 250) & (frame.color[..., 2] < 5))[:, 0]
    assert rows.mean() < 20


def test_the_background_is_the_worlds_or_transparent(red_and_blue):
    opaque = look(red_and_blue).color[0, 32]
    assert np.abs(opaque[:3].astype(int) - 124).max() <= 3  # 0.2 linear
    red_and_blue.render.film_transparent = True
    assert look(red_and_blue).color[0, 32, 3] == 0


def test_what_isn_t_rendered_isn_t_coloured(red_and_blue):
    hidden = bpy.data.collections.new("Hidden")
    red_and_blue.collection.children.link(hidden)
    red_and_blue.collection.objects.unlink(bpy.data.objects["Red"])
    hidden.objects.link(bpy.data.objects["Red"])
    bpy.context.view_layer.layer_collection.children[0].exclude = True
    bpy.data.objects["Blue"].hide_render = True
    scenes.add_box(0.2)
    frame = look(red_and_blue)
    assert (np.abs(frame.color[:10, :, :3].astype(int) - 124) <= 3).all()


def test_a_border_limits_the_colour_too(red_and_blue):
    render = red_and_blue.render
    render.use_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.0, 0.5, 0.0, 1.0
    frame = look(red_and_blue)
    assert (frame.color[:, 32:] == 0).all()
    assert frame.color[24, 16, 0] > 250


def test_tiny_pictures_have_colour(red_and_blue):
    frame = capture.capture_camera(red_and_blue, width=2, height=1, buffers={"color"})
    assert frame.color.shape == (1, 2, 4)
    assert frame.color[0, 0, 0] > frame.color[0, 0, 2]
    assert frame.color[0, 1, 2] > frame.color[0, 1, 0]


def test_the_viewports_picture_fits_its_geometry(red_and_blue):
    area = next(area for area in bpy.context.window.screen.areas if area.type == "VIEW_3D")
    space = area.spaces.active
    region = space.region_3d
    region.view_perspective = "ORTHO"
    region.view_location, region.view_distance, region.view_rotation = (0, 0, 0), 6.0, (1, 0, 0, 0)
    region.update()
    space.shading.light, space.shading.color_type = "FLAT", "OBJECT"
    before = fingerprint()
    frame = capture.capture_view3d(area, 64, 48, buffers=capture.BUFFERS)
    assert differences(before, fingerprint()) == []
    names = {entry.name: entry.id for entry in frame.objects}
    red = (frame.color[..., 0] > 250) & (frame.color[..., 2] < 5)
    assert red.sum() > 20
    assert (red == (frame.object_id == names["Red"])).mean() > 0.97
    assert space.overlay.show_overlays


def test_the_cameras_picture_changes_nothing(red_and_blue):
    before = fingerprint()
    look(red_and_blue)
    assert differences(before, fingerprint()) == []


def test_a_failing_picture_changes_nothing(red_and_blue, monkeypatch):
    before = fingerprint()
    monkeypatch.setattr(color.tempfile, "tempdir", "/nowhere/to/write")
    with pytest.raises(FileNotFoundError):
        look(red_and_blue)
    assert differences(before, fingerprint()) == []


def test_without_a_gpu_colour_is_refused_and_geometry_isn_t(red_and_blue, monkeypatch):
    monkeypatch.setattr(gpu_start, "_ready", False)
    with pytest.raises(ScumbleError) as caught:
        look(red_and_blue)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    with pytest.raises(ScumbleError) as caught:
        capture.capture_camera(red_and_blue, width=8, height=8, method="gpu")
    assert caught.value.code is ErrorCode.UNSUPPORTED
    frame = capture.capture_camera(red_and_blue, width=64, height=48)
    assert {entry.name for entry in frame.objects if (frame.object_id == entry.id).any()} == {"Red", "Blue"}
