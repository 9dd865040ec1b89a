"""Control images against closed forms: what a plane, a sphere and a box must look like to a ControlNet."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scumble_server.engine.conditioning import (
    ViewBuffers,
    canny_image,
    control_image,
    depth_image,
    lineart_image,
    normal_image,
    scribble_image,
    segmentation_image,
    softedge_image,
    to_bytes,
    view_buffers,
)
from scumble_server.engine.conditioning.control import virtual_distance
from scumble_server.engine.conditioning.segmentation import BACKGROUND, OBJECTS
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, View

SIDE = 64


def camera(ortho: float = 0.0, distance: float = 5.0) -> Camera:
    """Looking along +y from ``-distance``, square; ``ortho`` is the window's side, 0 for a perspective camera."""
    projection = orthographic(ortho, ortho, 0.1, 100) if ortho else perspective(math.radians(50), 1.0, 0.1, 100)
    return Camera(look_at((0, -distance, 0), (0, 0, 0)), projection, SIDE, SIDE, 0.1, 100)


def rays(cam: Camera) -> tuple[np.ndarray, np.ndarray]:
    """World origins and directions with unit planar depth, each H x W x 3."""
    pixels = cam.pixel_centres()
    start = cam.unproject(pixels, np.full(pixels.shape[:2], 0.0 if cam.is_orthographic else 1e-9))
    return start, cam.unproject(pixels, np.ones(pixels.shape[:2])) - start


def sphere(cam: Camera, radius: float = 1.0) -> ViewBuffers:
    """A sphere about the origin, ray-traced."""
    start, direction = rays(cam)
    a = (direction**2).sum(-1)
    b = (start * direction).sum(-1)
    discriminant = b**2 - a * ((start**2).sum(-1) - radius**2)
    hit = discriminant > 0
    depth = np.where(hit, (-b - np.sqrt(np.maximum(discriminant, 0))) / a, np.inf)
    points = start + direction * np.where(hit, depth, 0.0)[..., None]
    normal = np.where(hit[..., None], points / radius @ cam.view_matrix[:3, :3].T, 0.0)
    return ViewBuffers(cam, depth.astype(np.float32), normal.astype(np.float32), hit.astype(np.uint16))


def plane(cam: Camera, tilt: float) -> ViewBuffers:
    """A plane through the origin that leans back by ``tilt`` radians from facing the camera."""
    world_normal = np.array([0.0, -math.cos(tilt), math.sin(tilt)])
    start, direction = rays(cam)
    depth = -(start @ world_normal) / (direction @ world_normal)
    normal = np.broadcast_to(world_normal @ cam.view_matrix[:3, :3].T, (*depth.shape, 3))
    return ViewBuffers(cam, depth.astype(np.float32), normal.astype(np.float32), np.ones(depth.shape, np.uint16))


class TestDepth:
    def test_perspective_plane_is_an_affine_ramp(self):
        """Inverse depth of a plane is affine in the pixel position: full range, white at the near (lower) border."""
        image = control_image(Control("depth"), plane(camera(), 0.5), SIDE, SIDE)
        expected = np.linspace(0.0, 255.0, SIDE)[:, None]
        assert np.abs(image[..., 0] - expected).max() <= 0.51
        assert (image[..., 0] == image[..., 1]).all()
        assert (image[..., 0] == image[..., 2]).all()

    def test_sphere_is_white_in_the_middle_and_black_outside(self):
        buffers = sphere(camera())
        image = control_image(Control("depth"), buffers, SIDE, SIDE)[..., 0]
        z = buffers.depth.astype(np.float64)
        hit = np.isfinite(z)
        inverse = 1 / z[hit]
        expected = (inverse - inverse.min()) / (inverse.max() - inverse.min()) * 255
        assert np.abs(image[hit] - expected).max() <= 0.51
        assert image[SIDE // 2, SIDE // 2] >= 254
        assert (image[~hit] == 0).all()

    def test_one_range_for_all_views(self):
        """With near and far given, a depth has the same grey in every view."""
        for distance in (5.0, 8.0):
            image = control_image(Control("depth", near=2.0, far=10.0), plane(camera(distance=distance), 0.0), 8, 8)
            expected = (1 / distance - 1 / 10) / (1 / 2 - 1 / 10) * 255
            assert np.abs(image - expected).max() <= 0.51

    def test_range_clamps_and_infinite_far_is_zero(self):
        depth = torch.tensor([[[1.0, 2.0, 4.0, torch.inf]]])
        assert depth_image(depth, near=2.0, far=torch.inf)[0, 0, 0].tolist() == [1.0, 1.0, 0.5, 0.0]

    def test_range_per_picture_of_a_batch(self):
        depth = torch.tensor([1.0, 2.0, 4.0]).expand(2, 1, 3)
        image = depth_image(depth, near=torch.tensor([1.0, 2.0]), far=torch.tensor([4.0, 4.0]))
        assert torch.allclose(image[:, 0, 0], torch.tensor([[1.0, 1 / 3, 0.0], [1.0, 1.0, 0.0]]))

    def test_single_depth_is_white_and_nothing_is_black(self):
        assert (control_image(Control("depth"), plane(camera(), 0.0), SIDE, SIDE) == 255).all()
        empty = ViewBuffers(camera(), np.full((SIDE, SIDE), np.inf, np.float32))
        assert (control_image(Control("depth"), empty, SIDE, SIDE) == 0).all()

    def test_orthographic_view_does_not_depend_on_where_the_camera_stands(self):
        near, far = (control_image(Control("depth"), sphere(camera(3.0, d)), SIDE, SIDE) for d in (4.0, 40.0))
        assert np.abs(near.astype(int) - far).max() <= 1

    def test_orthographic_depth_is_that_of_a_virtual_eye(self):
        cam = camera(2.0)
        buffers = plane(cam, 0.7)
        eye = virtual_distance(cam)
        assert math.tan(math.radians(20)) * eye == pytest.approx(1.0)
        z = buffers.depth.astype(np.float64)
        inverse = 1 / (z - z.min() + eye)
        expected = (inverse - inverse.min()) / (inverse.max() - inverse.min()) * 255
        assert np.abs(control_image(Control("depth"), buffers, SIDE, SIDE)[..., 0] - expected).max() <= 0.51

    def test_resizing_never_lets_infinity_leak(self):
        for size in (SIDE // 2 - 1, SIDE * 2 + 3):
            image = control_image(Control("depth"), sphere(camera()), size, size)
            assert image.shape == (size, size, 3)
            assert image[size // 2, size // 2, 0] >= 250
            assert image[0, 0, 0] == 0

    def test_float16_is_enough_for_a_picture(self):
        buffers = sphere(camera())
        half = ViewBuffers(buffers.camera, buffers.depth.astype(np.float16))
        exact, coarse = (control_image(Control("depth"), b, SIDE, SIDE).astype(int) for b in (buffers, half))
        assert np.abs(exact - coarse).max() <= 2


class TestNormal:
    def test_sphere_has_red_left_green_top_blue_front(self):
        buffers = sphere(camera())
        image = control_image(Control("normal"), buffers, SIDE, SIDE)
        hit = np.isfinite(buffers.depth)
        expected = (buffers.normal * (-1, 1, 1) + 1) / 2 * 255
        assert np.abs(image - expected)[hit].max() <= 0.51
        rows, columns = np.nonzero(hit)
        middle = SIDE // 2
        assert image[middle, columns.min(), 0] > 240
        assert image[middle, columns.max(), 0] < 15
        assert image[rows.min(), middle, 1] > 240
        assert image[middle, middle, 2] >= 254

    def test_background_faces_the_viewer(self):
        image = control_image(Control("normal"), sphere(camera()), SIDE, SIDE)
        assert image[0, 0].tolist() == [128, 128, 255]

    def test_unit_length_survives_resizing(self):
        flat = control_image(Control("normal"), plane(camera(), 0.6), 23, 41).astype(float)
        length = np.linalg.norm(flat / 255 * 2 - 1, axis=-1)
        assert np.abs(length - 1).max() < 0.01


class TestLines:
    @pytest.mark.parametrize("tilt", [0.0, 0.8, 1.1])
    @pytest.mark.parametrize("ortho", [0.0, 2.0])
    def test_a_plane_however_steep_has_no_lines(self, tilt, ortho):
        for kind in ("canny", "lineart", "softedge", "scribble"):
            assert not control_image(Control(kind), plane(camera(ortho), tilt), SIDE, SIDE).any()

    def test_outline_of_a_sphere_is_one_pixel_wide_and_inside(self):
        buffers = sphere(camera())
        image = control_image(Control("canny"), buffers, SIDE, SIDE)[..., 0]
        hit = np.isfinite(buffers.depth)
        assert set(np.unique(image)) == {0, 255}
        assert not image[~hit].any()
        assert np.count_nonzero(image[SIDE // 2]) == 2
        inside = hit.copy()
        for axis in (0, 1):
            inside &= np.roll(hit, 1, axis) & np.roll(hit, -1, axis)
        assert image[hit & ~inside].all()

    @pytest.mark.parametrize("given", ["depth", "normal", "object_id"])
    def test_any_one_buffer_shows_the_outline(self, given):
        buffers = sphere(camera())
        alone = ViewBuffers(buffers.camera, **{given: getattr(buffers, given)})
        image = control_image(Control("canny"), alone, SIDE, SIDE)[..., 0]
        full = control_image(Control("canny"), buffers, SIDE, SIDE)[..., 0]
        assert (image[full > 0] == 255).mean() > 0.9

    def test_a_step_between_parallel_planes_is_found_on_the_near_side(self):
        depth = torch.full((1, 8, 8), 2.0)
        depth[:, :, 4:] = 3.0
        lines = canny_image(depth, None, None)[0, 0]
        assert lines[:, 3].all()
        assert lines.sum() == 8

    def test_a_crease_is_as_bright_as_it_is_sharp(self):
        def crease(degrees: float) -> torch.Tensor:
            normal = torch.zeros(1, 8, 8, 3)
            normal[..., 2] = 1.0
            normal[:, :, 4:, 0], normal[:, :, 4:, 2] = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
            return normal

        levels = [lineart_image(None, crease(angle), None).max().item() for angle in (5, 25, 40, 90)]
        assert levels[0] == 0.0
        assert levels[1] < levels[2] <= levels[3] == 1.0
        assert canny_image(None, crease(20), None).sum() == 0
        assert canny_image(None, crease(40), None)[0, 0].sum() == 8

    def test_touching_objects_are_separated(self):
        ids = torch.ones(1, 4, 6, dtype=torch.int32)
        ids[:, :, 3:] = 2
        assert canny_image(torch.full((1, 4, 6), 2.0), None, ids)[0, 0].sum() == 4

    def test_lines_stay_thin_when_the_picture_shrinks(self):
        image = control_image(Control("canny"), sphere(camera()), SIDE // 2, SIDE // 2)
        assert np.count_nonzero(image[SIDE // 4, :, 0]) == 2

    @pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2)])
    def test_tiny_pictures(self, size):
        for kind in ("depth", "normal", "canny", "lineart", "segmentation", "softedge", "scribble"):
            assert control_image(Control(kind), sphere(camera()), *size).shape == (size[1], size[0], 3)


class TestSegmentation:
    def test_flat_colours_by_id(self):
        ids = torch.tensor([[[0, 1, 2, len(OBJECTS) + 1, 65535]]])
        colours = to_bytes(segmentation_image(ids))[0, 0].tolist()
        assert colours[0] == list(BACKGROUND)
        assert colours[1] == colours[3] == list(OBJECTS[0])
        assert colours[2] == list(OBJECTS[1])

    def test_resizing_mixes_no_colours(self):
        buffers = sphere(camera())
        for size in (17, 200):
            image = control_image(Control("segmentation"), buffers, size, size)
            assert {tuple(colour) for colour in image.reshape(-1, 3).tolist()} == {BACKGROUND, OBJECTS[0]}


class TestBadInput:
    @pytest.mark.parametrize("kind", ["depth", "normal", "canny", "lineart", "segmentation", "softedge", "scribble"])
    def test_missing_buffer_is_named(self, kind):
        with pytest.raises(ScumbleError) as caught:
            control_image(Control(kind), ViewBuffers(camera()), 8, 8)
        assert caught.value.code == ErrorCode.INVALID_FIELD
        assert caught.value.info.field.startswith("job.view.")

    def test_unknown_kind(self):
        with pytest.raises(ScumbleError) as caught:
            control_image(Control("mlsd"), sphere(camera()), 8, 8)
        assert caught.value.code == ErrorCode.UNSUPPORTED

    @pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0, -np.inf])
    def test_impossible_depth(self, bad):
        depth = np.full((SIDE, SIDE), 2.0, np.float32)
        depth[3, 4] = bad
        with pytest.raises(ScumbleError) as caught:
            view_buffers(View(camera(), depth="d"), {"d": depth})
        assert caught.value.info.field == "job.view.depth"

    def test_shape_and_dtype_must_be_the_cameras(self):
        for array in (np.ones((SIDE, SIDE + 1), np.float32), np.ones((SIDE, SIDE), np.uint16)):
            with pytest.raises(ScumbleError) as caught:
                view_buffers(View(camera(), depth="d"), {"d": array})
            assert caught.value.info.field == "job.view.depth"

    def test_normals_of_8_bits_become_floats(self):
        coarse = np.zeros((SIDE, SIDE, 3), np.uint8)
        coarse[1:] = (128, 1, 255)
        normal = view_buffers(View(camera(), normal="n"), {"n": coarse}).normal
        assert normal.dtype == np.float32
        assert (normal[0] == 0.0).all()
        assert (normal[1:] == (0.0, -1.0, 1.0)).all()

    def test_normals_that_are_not_numbers(self):
        with pytest.raises(ScumbleError) as caught:
            view_buffers(View(camera(), normal="n"), {"n": np.full((SIDE, SIDE, 3), np.nan, np.float16)})
        assert caught.value.info.field == "job.view.normal"


def test_a_soft_edge_falls_off_evenly_from_a_border_of_objects():
    ids = torch.zeros(1, 9, 20, dtype=torch.int32)
    ids[:, :, 10:] = 1
    row = softedge_image(None, None, ids)[0, 0, 4]
    assert row[6:15].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_a_scribble_is_cannys_line_five_pixels_wide():
    ids = torch.zeros(1, 9, 20, dtype=torch.int32)
    ids[:, :, 10:] = 1
    assert canny_image(None, None, ids)[0, 0, 4].nonzero().flatten().tolist() == [10]
    assert scribble_image(None, None, ids)[0, 0, 4].nonzero().flatten().tolist() == [8, 9, 10, 11, 12]


def test_batched_core_equals_one_at_a_time():
    """Training calls the core with a batch on a device; the server with one view."""
    views = [sphere(camera(distance=distance)) for distance in (4.0, 6.0)]
    depth = torch.from_numpy(np.stack([view.depth for view in views]))
    normal = torch.from_numpy(np.stack([view.normal for view in views]))
    for kind, images in (("depth", depth_image(depth)), ("normal", normal_image(normal))):
        for view, image in zip(views, to_bytes(images), strict=True):
            assert (control_image(Control(kind), view, SIDE, SIDE) == image.numpy()).all()
