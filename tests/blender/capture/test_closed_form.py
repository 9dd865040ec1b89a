"""Planes, boxes and spheres have pictures that can be written down; both paths must produce them."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from capture import scenes, truth
from mathutils import Matrix, Vector
from scumble_shared.camera import normals_of

from blender_addon import capture

LENSES = {
    "perspective": {},
    "telephoto": {"lens": 120.0},
    "wide": {"lens": 12.0},
    "shifted": {"shift_x": 0.21, "shift_y": -0.13},
    "sensor_fit_horizontal": {"sensor_fit": "HORIZONTAL", "sensor_width": 24.0},
    "sensor_fit_vertical": {"sensor_fit": "VERTICAL", "sensor_height": 20.0},
    "orthographic": {"type": "ORTHO", "ortho_scale": 5.0},
    "orthographic_shifted": {"type": "ORTHO", "ortho_scale": 4.0, "shift_x": -0.1, "shift_y": 0.2},
}


@pytest.fixture(params=LENSES)
def lens(request):
    return LENSES[request.param]


def capture_still(method, **size):
    return capture.capture_camera(bpy.context.scene, method=method, **size)


def assert_depth(found, expected, where):
    assert where.any()
    assert (np.abs(found[where] - expected[where]) <= truth.depth_allowance(expected)[where]).all()


@pytest.mark.parametrize("size", [(64, 48), (40, 72)])
def test_a_plane_has_the_depth_of_its_rays(method, lens, size):
    plane = scenes.add_plane(400.0, Matrix.Rotation(0.2, 4, "X"))
    scenes.add_camera(**lens)
    frame = capture_still(method, width=size[0], height=size[1])
    normal = plane.matrix_world.to_3x3() @ Vector((0, 0, 1))
    expected = truth.plane_depth(frame.camera, (0, 0, 0), normal)
    hit = np.isfinite(frame.depth)
    assert_depth(frame.depth, expected, truth.inner(hit, 1))
    if "lens" not in lens:  # a wide lens sees the horizon
        assert hit.all()
    assert truth.angles(truth.to_world(frame.camera, frame.normal[hit]), np.array(normal)).max() < 0.1
    assert (frame.object_id[hit] == 1).all()
    assert (frame.object_id[~hit] == 0).all()


@pytest.mark.parametrize("angle", [0.0, 1e-5, 3e-4, 0.2, 1.0])
def test_normals_are_the_nearest_half_floats(gpu, angle):
    """Zeros and the smallest numbers that a half float has among them."""
    plane = scenes.add_plane(4.0, Matrix.Rotation(angle, 4, (1, 2, 0)))
    scenes.add_camera(type="ORTHO", ortho_scale=1.0)
    frame = capture_still(gpu, width=16, height=16)
    exact = frame.camera.view_matrix[:3, :3] @ np.array(plane.matrix_world.to_3x3() @ Vector((0, 0, 1)))
    exact *= np.sign(exact[2])
    found = frame.normal.reshape(-1, 3)
    half_a_step = 0.5 * np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
    assert (np.abs(found.astype(np.float64) - exact) <= half_a_step + 1e-6).all()


def test_without_precision_normals_have_8_bits_and_the_rest_is_the_same(gpu):
    scenes.add_sphere(1.2)
    scenes.add_box(0.8, Matrix.Translation((-1.5, 0.0, 0.0))).is_holdout = True
    scenes.add_plane(400.0, Matrix.Rotation(0.2, 4, "X"))
    scenes.add_camera(lens=20.0)
    exact, coarse = (capture_still(gpu, width=72, height=48, precise=precise) for precise in (True, False))
    np.testing.assert_array_equal(coarse.depth, exact.depth)
    np.testing.assert_array_equal(coarse.object_id, exact.object_id)
    assert coarse.normal.dtype == np.uint8
    hit = np.isfinite(exact.depth)
    assert hit.any()
    assert not hit.all()
    assert (coarse.normal[~hit] == 0).all()
    steps = coarse.normal[hit].astype(np.float64) - 128.0 - 127.0 * exact.normal[hit].astype(np.float64)
    assert np.abs(steps).max() <= 0.5 + 127.0 * 2.0**-12  # what half floats are off themselves
    np.testing.assert_allclose(normals_of(coarse.normal), exact.normal, atol=0.5 / 127.0 + 2.0**-12)


@pytest.mark.parametrize(("surfaces", "dtype"), [(254, np.uint8), (255, np.float16)])
def test_as_many_surfaces_as_a_byte_can_tell_apart(gpu, surfaces, dtype):
    first = scenes.add_box(0.05)
    for number in range(1, surfaces):
        place = (0.1 * (number % 16) - 0.8, 0.0, 0.1 * (number // 16) - 0.8)
        scenes.add_object(f"Box {number}", first.data, Matrix.Translation(place))
    scenes.add_camera(type="ORTHO", ortho_scale=2.0, eye=(0.0, -5.0, 0.0))
    frame = capture_still(gpu, width=96, height=96, precise=False)
    assert frame.normal.dtype == dtype
    assert frame.object_id.max() == surfaces


def test_the_camera_projects_as_blender_does(method, lens):
    thing = scenes.add_camera(**lens)
    scenes.add_plane()
    scenes.render_size(90, 50)
    camera = capture_still(method).camera
    for point in [(0.0, 0.0, 0.0), (0.4, -0.3, 0.2), (-1.0, 0.5, 0.7)]:
        x, y, depth = world_to_camera_view(bpy.context.scene, thing, Vector(point))
        pixels, found = camera.project(np.array(point))
        assert pixels == pytest.approx((x * 90, (1.0 - y) * 50), abs=2e-3)
        assert found == pytest.approx(depth, rel=1e-5)


def test_a_smooth_sphere_is_a_sphere(method, lens):
    scenes.add_sphere(1.2)
    scenes.add_camera(**lens)
    frame = capture_still(method, width=96, height=96)
    depth, normal = truth.sphere(frame.camera, (0, 0, 0), 1.2)
    where = truth.inner(np.isfinite(depth)) & truth.inner(np.isfinite(frame.depth))
    assert_depth(frame.depth, depth, where)
    assert truth.angles(truth.to_world(frame.camera, frame.normal), normal)[where].max() < 0.5
    assert (np.isfinite(depth) != np.isfinite(frame.depth)).mean() < 0.005


def test_a_box_shows_its_faces(method, lens):
    box = scenes.add_box(1.6, Matrix.Rotation(0.5, 4, (1, 2, 3)))
    scenes.add_camera(**lens)
    frame = capture_still(method, width=80, height=80)
    exact = truth.ray_cast(frame.camera, [box], bpy.context.evaluated_depsgraph_get())
    where = truth.smooth_regions(exact.depth, exact.facet)
    assert_depth(frame.depth, exact.depth, where)
    assert truth.angles(truth.to_world(frame.camera, frame.normal), exact.facet)[where].max() < 0.1
    assert (np.isfinite(exact.depth) != np.isfinite(frame.depth)).mean() < 0.002


def test_normals_are_unit_and_zero_on_the_background(method):
    scenes.still_life()
    frame = capture_still(method, width=128, height=96)
    length = np.linalg.norm(frame.normal.astype(np.float64), axis=-1)
    hit = frame.object_id > 0
    assert np.abs(length[hit] - 1.0).max() < 2e-3
    assert (length[~hit] == 0.0).all()
    assert np.isinf(frame.depth[~hit]).all()
    assert (hit == np.isfinite(frame.depth)).all()
    assert (~hit).any()


def test_buffers_have_the_documented_types_and_order(method):
    scenes.add_plane(1.0, Matrix.Translation((0.0, 0.0, 2.0)))  # only in the upper half of the picture
    scenes.add_camera(eye=(0.0, -8.0, 0.0), target=(0.0, 0.0, 0.0))
    bpy.context.scene.objects["Plane"].rotation_euler.x = math.pi / 2
    frame = capture_still(method, width=40, height=30)
    assert (frame.depth.dtype, frame.depth.shape) == (np.float32, (30, 40))
    assert (frame.normal.dtype, frame.normal.shape) == (np.float16, (30, 40, 3))
    assert (frame.object_id.dtype, frame.object_id.shape) == (np.uint16, (30, 40))
    assert frame.color is None
    rows = np.flatnonzero((frame.object_id > 0).any(axis=1))
    assert rows.max() < 15
    assert all(b.flags.c_contiguous for b in (frame.depth, frame.normal, frame.object_id))


def test_only_what_was_asked_for_comes(method):
    scenes.add_plane()
    scenes.add_camera()
    frame = capture_still(method, width=8, height=8, buffers={"depth"})
    assert frame.depth is not None
    assert frame.normal is None
    assert frame.object_id is None


@pytest.mark.parametrize(
    ("setting", "expected"),
    [({}, (64, 36)), ({"percentage": 50}, (32, 18)), ({"percentage": 33}, (21, 11)), ({"percentage": 200}, (128, 72))],
)
def test_the_size_is_the_renders(method, setting, expected):
    scenes.add_plane()
    scenes.add_camera()
    scenes.render_size(64, 36, **setting)
    frame = capture_still(method)
    assert (frame.camera.width, frame.camera.height) == expected
    assert frame.depth.shape == expected[::-1]


def use_border(crop: bool, left=0.25, right=0.75, bottom=0.1, top=0.6):
    render = bpy.context.scene.render
    render.use_border, render.use_crop_to_border = True, crop
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = left, right, bottom, top


def test_a_cropping_border_cuts_the_picture(method):
    scenes.still_life()
    scenes.render_size(80, 60)
    whole = capture_still(method)
    use_border(crop=True)
    part = capture_still(method)
    assert part.depth.shape == (30, 40)
    window = np.s_[24:54, 20:60]
    assert (part.object_id == whole.object_id[window]).mean() > 0.995
    both = np.isfinite(part.depth) & np.isfinite(whole.depth[window])
    assert np.median(np.abs(part.depth[both] / whole.depth[window][both] - 1.0)) < 1e-5


def test_a_border_without_crop_limits_what_is_seen(method):
    scenes.still_life()
    scenes.render_size(80, 60)
    whole = capture_still(method)
    use_border(crop=False)
    part = capture_still(method)
    outside = np.ones((60, 80), bool)
    outside[24:54, 20:60] = False
    assert (part.object_id[outside] == 0).all()
    assert np.isinf(part.depth[outside]).all()
    assert (part.normal[outside] == 0).all()
    assert (part.depth[~outside] == whole.depth[~outside]).all()


def test_pixels_needn_t_be_square(method):
    plane = scenes.add_plane(400.0, Matrix.Rotation(0.2, 4, "X"))
    scenes.add_camera()
    render = bpy.context.scene.render
    render.pixel_aspect_x, render.pixel_aspect_y = 1.0, 1.6
    frame = capture_still(method, width=48, height=48)
    expected = truth.plane_depth(frame.camera, (0, 0, 0), plane.matrix_world.to_3x3() @ Vector((0, 0, 1)))
    assert_depth(frame.depth, expected, np.isfinite(expected))
    squash = frame.camera.projection[0] / frame.camera.projection[5]
    assert squash == pytest.approx(1.6, rel=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (3, 3)])
def test_tiny_pictures_are_pictures(method, size):
    plane = scenes.add_plane(400.0, Matrix.Rotation(0.2, 4, "X"))
    scenes.add_camera()
    frame = capture_still(method, width=size[0], height=size[1])
    expected = truth.plane_depth(frame.camera, (0, 0, 0), plane.matrix_world.to_3x3() @ Vector((0, 0, 1)))
    assert frame.depth.shape == size[::-1]
    assert np.abs(frame.depth / expected - 1.0).max() < 2e-3  # Cycles samples within 1/100 pixel of the centre


def test_what_is_outside_the_clip_range_isn_t_seen(method):
    near = scenes.add_plane(2.0, Matrix.Translation((0, 0, 4.5)), name="Near")
    scenes.add_plane(4.0, Matrix.Translation((0, 0, 2.0)), name="Middle")
    far = scenes.add_plane(400.0, Matrix.Translation((0, 0, -7.0)), name="Far")
    scenes.add_camera(eye=(0, 0, 5.0), target=(0, 0, 0), clip_start=1.0, clip_end=10.0)
    frame = capture_still(method, width=32, height=32)
    assert (frame.camera.near, frame.camera.far) == pytest.approx((1.0, 10.0), rel=1e-5)
    seen = {entry.name for entry in frame.objects if (frame.object_id == entry.id).any()}
    assert seen == {"Middle"}
    assert {near.name, far.name} <= {entry.name for entry in frame.objects}


def test_a_camera_inside_a_box_sees_its_inside(method):
    box = scenes.add_box(4.0)
    scenes.add_camera(eye=(0.3, -0.4, 0.2), target=(1.0, 1.0, 0.5))
    frame = capture_still(method, width=48, height=48)
    exact = truth.ray_cast(frame.camera, [box], bpy.context.evaluated_depsgraph_get())
    where = truth.smooth_regions(exact.depth, exact.facet)
    assert np.isfinite(frame.depth).all()
    assert_depth(frame.depth, exact.depth, where)
    assert truth.angles(truth.to_world(frame.camera, frame.normal), exact.facet)[where].max() < 0.1


def test_far_from_the_origin_is_as_exact_as_near(method):
    away = Matrix.Translation((4000.0, -3000.0, 500.0))
    scenes.still_life()
    bpy.context.view_layer.update()
    before = capture_still(method, width=64, height=64)
    for thing in bpy.context.scene.objects:
        thing.matrix_world = away @ thing.matrix_world
    after = capture_still(method, width=64, height=64)
    where = truth.inner(before.object_id == after.object_id) & (before.object_id > 0)
    assert where.sum() > 500
    assert np.percentile(np.abs(after.depth[where] / before.depth[where] - 1.0), 99) < 1e-3
