"""Cameras round an object, with a sight that is known in closed form: a convex surface shows what faces the eye."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_shared.camera import Camera
from scumble_shared.placement import (
    MIN_COSINE,
    Sphere,
    bounding_sphere,
    choose_views,
    place,
    sheet_columns,
    side_of,
    words_of,
)

UNIT = Sphere((0.0, 0.0, 0.0), 1.0)


def sphere_points(count: int = 20000) -> np.ndarray:
    rank = np.arange(count)
    z = 1.0 - (2.0 * rank + 1.0) / count
    angle = rank * math.pi * (3.0 - math.sqrt(5.0))
    across = np.sqrt(1.0 - z * z)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], 1)


def facing(points: np.ndarray, normals: np.ndarray):
    def sight(camera: Camera) -> np.ndarray:
        to_eye = camera.position - points
        return (normals * to_eye).sum(1) > MIN_COSINE * np.linalg.norm(to_eye, axis=1)

    return sight


@given(azimuth=st.floats(-720.0, 720.0), elevation=st.floats(-60.0, 60.0), ortho=st.booleans())
def test_a_camera_is_called_as_the_direction_it_was_placed_in(azimuth: float, elevation: float, ortho: bool) -> None:
    """Away from the border between two words, where the last bit decides."""
    if abs((azimuth / 45.0 + 0.5) % 1.0) < 1e-6 or abs(elevation) > 59.999:
        return
    view = place(UNIT, azimuth, elevation, ortho=ortho)
    assert words_of(view.camera) == view.words == side_of(azimuth, elevation)


@pytest.mark.parametrize("ortho", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (96, 48), (48, 96)])
def test_the_sphere_fills_the_frame_but_for_its_margin(ortho: bool, size: tuple[int, int]) -> None:
    sphere = Sphere((3.0, -2.0, 5.0), 0.5)
    points = sphere_points() * 0.5 + sphere.centre
    for azimuth, elevation in ((0.0, 30.0), (135.0, -30.0), (0.0, 90.0), (0.0, -90.0)):
        pixels, depth = place(sphere, azimuth, elevation, size, ortho=ortho).camera.project(points)
        assert pixels.min() > 0.0
        assert (pixels < size).all()
        assert (pixels.max(0) - pixels.min(0)).min() == pytest.approx(min(size) / 1.06, rel=0.01)
        camera = place(sphere, azimuth, elevation, size, ortho=ortho).camera
        assert camera.near < depth.min() <= depth.max() < camera.far


def test_a_bounding_sphere_holds_every_point_of_its_box() -> None:
    points = np.float32([[1, 2, 3], [5, 2, 3], [3, 2, 4]])
    sphere = bounding_sphere(points)
    assert sphere.centre == (3.0, 2.0, 3.5)
    assert sphere.radius == pytest.approx(math.hypot(2.0, 0.5))
    assert bounding_sphere(points[:1]).radius > 0.0


def test_a_sphere_needs_no_more_than_the_eight() -> None:
    points = sphere_points()
    views, seen = choose_views(UNIT, points, facing(points, points))
    assert [view.elevation for view in views] == [30.0, -30.0] * 4
    assert [view.azimuth for view in views] == [45.0 * j for j in range(8)]
    assert seen.mean() > 0.99


def test_a_view_is_added_for_what_only_it_can_see_and_it_is_worth_its_area() -> None:
    """A lid that is seen from straight above alone."""
    points = sphere_points(2000)
    lid = points[:, 2] > 0.9
    around = facing(points, points)

    def sight(camera: Camera) -> np.ndarray:
        from_above = camera.forward[2] < -0.99
        return around(camera) & (~lid | from_above)

    views, seen = choose_views(UNIT, points, sight)
    assert [view.words for view in views[8:]] == ["top view"]
    assert seen[lid].mean() > 0.9
    worthless = np.where(lid, 0.01, 1.0)
    assert len(choose_views(UNIT, points, sight, areas=worthless)[0]) == 8


def test_what_a_given_camera_shows_needs_no_other() -> None:
    points = sphere_points(2000)
    lid = points[:, 2] > 0.9
    around = facing(points, points)
    above = place(UNIT, 0.0, 90.0).camera

    def sight(camera: Camera) -> np.ndarray:
        return around(camera) & (~lid | (camera.forward[2] < -0.99))

    views, seen = choose_views(UNIT, points, sight, given=[above])
    assert len(views) == 8
    assert seen[lid].mean() > 0.9


def test_there_is_an_end_even_if_every_view_shows_something_new() -> None:
    points = sphere_points(100)
    fresh = iter(range(100))

    def sight(camera: Camera) -> np.ndarray:
        seen = np.zeros(100, bool)
        seen[next(fresh)] = True
        return seen

    views, _ = choose_views(UNIT, points, sight)
    assert len(views) == 12


@given(count=st.integers(1, 64), width=st.integers(1, 128), height=st.integers(1, 128))
def test_a_sheet_has_room_for_all_and_is_the_same_in_pixels_and_latents(count: int, width: int, height: int) -> None:
    columns = sheet_columns(count, width, height)
    rows = -(-count // columns)
    assert columns * rows >= count > columns * (rows - 1)
    assert columns == sheet_columns(count, 8 * width, 8 * height)
    assert sheet_columns(9, 64, 64) == 3
