"""A picture drawn on to the surfaces it was made from, seen from elsewhere: closed-form truths in rendered pixels."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from scumble_shared.camera import Camera, pack_matrix

from blender_addon import capture

SIDE = 64


def looking(eye, at=(0.0, 0.0, 0.0), up=(0.0, 0.0, 1.0)):
    """World -> view of an eye at a place."""
    back = np.subtract(eye, at)
    back = back / np.linalg.norm(back)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = [right, np.cross(back, right), back]
    matrix[:3, 3] = -matrix[:3, :3] @ np.asarray(eye)
    return matrix


def lens(extent=0.0, near=0.1, far=50.0):
    """OpenGL projection: 90 degrees, or orthographic of ``extent`` units."""
    matrix = np.zeros((4, 4))
    if extent:
        matrix[0, 0] = matrix[1, 1] = 2.0 / extent
        matrix[2, 2], matrix[2, 3], matrix[3, 3] = -2.0 / (far - near), -(far + near) / (far - near), 1.0
    else:
        matrix[0, 0] = matrix[1, 1] = 1.0
        matrix[2, 2], matrix[2, 3], matrix[3, 2] = -(far + near) / (far - near), -2.0 * far * near / (far - near), -1.0
    return matrix


@pytest.fixture
def surface(gpu_ready, empty_scene):
    yield importlib.import_module("blender_addon.live.surface")
    capture.unregister()
    importlib.import_module("blender_addon.live.surface_shader").forget()


@pytest.fixture
def look():
    return importlib.import_module("blender_addon.apply.overlay").Look


def paint_of(surface, view, projection, pixels=None):
    """What a camera saw, with the picture it was given: a ramp, red to the right and green upwards, by default."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    frame = capture.capture_matrices(depsgraph, view, projection, SIDE, SIDE, method="gpu")
    if pixels is None:
        pixels = np.ones((SIDE, SIDE, 4), np.float32)
        ramp = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = ramp[None, :], ramp[:, None], 0.25
    return surface.SurfacePaint(frame.camera, pixels, frame.depth, capture.drawn_surfaces())


def seen(surface, paint, view, projection, look, pose=None):
    """(H, W, 4) in [0, 1], top row first, of the paint alone on black, from another camera."""
    import gpu

    eye = np.linalg.inv(view)[:3, 3]
    towards = (*eye, 1.0) if projection[3, 3] == 0.0 else (*view[2, :3], 0.0)
    target = gpu.types.GPUOffScreen(SIDE, SIDE, format="RGBA32F")
    pixels = np.zeros((SIDE, SIDE, 4), np.float32)
    with target.bind():
        frame = gpu.state.active_framebuffer_get()
        frame.clear(color=(0.0, 0.0, 0.0, 0.0), depth=1.0)
        gpu.state.depth_test_set("LESS_EQUAL")
        view_of = surface.View(projection @ view, towards, SIDE)
        paint.draw(view_of, look, pose or (lambda drawn: drawn.entry.matrix_world))
        frame.read_color(0, 0, SIDE, SIDE, 4, 0, "FLOAT", data=gpu.types.Buffer("FLOAT", pixels.shape, pixels))
    target.free()
    return pixels[::-1]


def world_points(view, projection, depth):
    """(H, W, 3) of the pixel centres, from planar depth."""
    camera = Camera(pack_matrix(view), pack_matrix(projection), SIDE, SIDE, 0.1, 50.0)
    grid = np.stack(np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5), -1).reshape(-1, 2)
    return camera.unproject(grid, depth.ravel()).reshape(SIDE, SIDE, 3)


@pytest.mark.parametrize("extent", [0.0, 5.0], ids=["perspective", "orthographic"])
def test_every_point_has_the_colour_the_picture_had_there(surface, look, extent):
    bpy.ops.mesh.primitive_plane_add(size=4.0)
    above = looking((0.0, 0.0, 4.0), up=(0.0, 1.0, 0.0))
    paint = paint_of(surface, above, lens(extent))
    aside, other = looking((2.0, -2.5, 2.0)), lens(extent)
    result = seen(surface, paint, aside, other, look())
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depth = capture.capture_matrices(depsgraph, aside, other, SIDE, SIDE, method="gpu").depth
    hit = np.isfinite(depth)
    points = world_points(aside, other, np.where(hit, depth, 1.0))
    half = 2.5 if extent else 4.0  # of what the first camera saw of the plane
    wanted = points[..., :2] / half * 0.5 + 0.5
    inner = hit & (np.abs(points[..., :2]) < 1.8).all(axis=-1)
    assert inner.sum() > 300
    assert np.abs(result[inner][:, :2] - wanted[inner]).max() < 0.02
    assert (result[inner][:, 3] > 0.999).all()
    assert (result[~hit] == 0.0).all()


def test_what_was_hidden_is_not_painted(surface, look):
    bpy.ops.mesh.primitive_plane_add(size=8.0)
    bpy.ops.mesh.primitive_plane_add(size=1.0, location=(0.0, 0.0, 1.0))  # hovers, and hides a square of twice its side
    above = looking((0.0, 0.0, 2.0), up=(0.0, 1.0, 0.0))
    paint = paint_of(surface, above, lens())
    below_the_cover = looking((0.9, 0.0, 0.9), (0.0, 0.0, 0.0))

    result = seen(
        surface,
        paint,
        below_the_cover,
        lens(),
        look(),
        lambda drawn: None if drawn.entry.name == "Plane.001" else drawn.entry.matrix_world,
    )
    bpy.data.objects["Plane.001"].hide_viewport = True
    depth = capture.capture_matrices(
        bpy.context.evaluated_depsgraph_get(), below_the_cover, lens(), SIDE, SIDE, method="gpu"
    ).depth
    points = world_points(below_the_cover, lens(), np.where(np.isfinite(depth), depth, 1.0))
    distance = np.abs(points[..., :2]).max(axis=-1)  # the hidden square reaches to 1
    on_plane = np.isfinite(depth)
    assert (result[on_plane & (distance < 0.9)][:, 3] == 0.0).all()
    assert (result[on_plane & (distance > 1.1) & (distance < 1.7)][:, 3] > 0.5).all()
    assert (on_plane & (distance < 0.9)).sum() > 100


def test_the_other_side_is_not_painted(surface, look):
    bpy.ops.mesh.primitive_plane_add(size=4.0)
    paint = paint_of(surface, looking((0.0, 0.0, 4.0), up=(0.0, 1.0, 0.0)), lens())
    under = looking((0.5, 0.5, -4.0), up=(0.0, 1.0, 0.0))
    assert (seen(surface, paint, under, lens(), look()) == 0.0).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_ball_seen_from_where_it_was_captured_is_painted_all_over(surface, look, mirrored):
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1.5, segments=48, ring_count=32)
    bpy.context.object.scale.x = -1.0 if mirrored else 1.0
    view = looking((0.0, -4.0, 0.0))
    paint = paint_of(surface, view, lens())
    result = seen(surface, paint, view, lens(), look())
    depth = capture.capture_matrices(
        bpy.context.evaluated_depsgraph_get(), view, lens(), SIDE, SIDE, method="gpu"
    ).depth
    hit = np.isfinite(depth)
    ramp = (np.arange(SIDE) + 0.5) / SIDE
    assert ((result[..., 3] > 0.9) & hit).sum() > 0.93 * hit.sum()  # all but the grazing rim
    solid = result[..., 3] > 0.999
    assert np.abs(result[..., 0] - ramp[None, :])[solid].max() < 0.02
    assert np.abs(result[..., 1] - ramp[::-1, None])[solid].max() < 0.02


def test_an_object_that_moves_takes_its_paint_along(surface, look):
    bpy.ops.mesh.primitive_plane_add(size=2.0)
    view = looking((0.0, 0.0, 4.0), up=(0.0, 1.0, 0.0))
    paint = paint_of(surface, view, lens())
    here = seen(surface, paint, view, lens(), look())
    moved = tuple(np.array(Matrix.Translation((1.0, 0.0, 0.0))).ravel())
    there = seen(surface, paint, view, lens(), look(), lambda drawn: moved)
    pixels = round(SIDE / 8.0)  # the view is 8 units wide there
    assert np.abs(there[:, pixels:] - here[:, :-pixels]).max() < 0.02


def test_opacity_and_wipe(surface, look):
    bpy.ops.mesh.primitive_plane_add(size=20.0)
    view = looking((0.0, 0.0, 4.0), up=(0.0, 1.0, 0.0))
    paint = paint_of(surface, view, lens(), np.ones((SIDE, SIDE, 4), np.float32))
    faint = seen(surface, paint, view, lens(), look(opacity=0.5))
    assert np.abs(faint[2:-2, 2:-2, 0] - 0.5).max() < 0.01
    half = seen(surface, paint, view, lens(), look(wipe=0.5))
    assert (half[2:-2, 2 : SIDE // 2 - 1, 3] > 0.999).all()
    assert (half[:, SIDE // 2 + 1 :] == 0.0).all()


def test_many_instances_of_one_mesh_are_each_painted(surface, look):
    bpy.ops.mesh.primitive_plane_add(size=0.25)
    first = bpy.context.object
    for number in range(1, 200):
        twin = bpy.data.objects.new("Twin", first.data)
        twin.location = (number % 15 * 0.3 - 2.0, number // 15 * 0.3 - 2.0, 0.0)
        bpy.context.scene.collection.objects.link(twin)
    view = looking((0.0, 0.0, 4.0), up=(0.0, 1.0, 0.0))
    paint = paint_of(surface, view, lens(5.0))
    result = seen(surface, paint, view, lens(5.0), look())
    depth = capture.capture_matrices(
        bpy.context.evaluated_depsgraph_get(), view, lens(5.0), SIDE, SIDE, method="gpu"
    ).depth
    np.testing.assert_array_equal(result[..., 3] > 0.0, np.isfinite(depth))
