"""Poses as OpenPose draws them: a T-pose of known places, seen from all sides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scumble_server.engine.conditioning import draw_poses, seen_poses
from scumble_server.engine.conditioning.openpose import COLORS, HAND_LINES, LIMBS
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from scumble_shared.pose import BODY_POINTS, HAND_POINTS, Pose

SIDE = 512

T_POSE = {
    "nose": (0.0, -0.12, 1.65),
    "neck": (0.0, 0.0, 1.45),
    "left_shoulder": (0.18, 0.0, 1.45),
    "left_elbow": (0.45, 0.0, 1.45),
    "left_wrist": (0.7, 0.0, 1.45),
    "left_hip": (0.1, 0.0, 0.95),
    "left_knee": (0.1, 0.0, 0.5),
    "left_ankle": (0.1, 0.0, 0.08),
    "left_eye": (0.03, -0.09, 1.69),
    "left_ear": (0.08, 0.0, 1.67),
}
"""Facing -y, as Blender's front view sees it."""


def t_pose(x: float = 0.0, y: float = 0.0, **without) -> Pose:
    places = dict(T_POSE)
    places |= {name.replace("left", "right"): (-px, py, pz) for name, (px, py, pz) in T_POSE.items() if "left" in name}
    return Pose(
        tuple(
            None if name in without else (places[name][0] + x, places[name][1] + y, places[name][2])
            for name in BODY_POINTS
        )
    )


def view(eye=(0.0, -10.0, 1.0), side=SIDE, target=(0.0, 0.0, 1.0)) -> Camera:
    """Two units high at the origin."""
    return Camera(look_at(eye, target), orthographic(2.0, 2.0, 0.1, 100.0), side, side, 0.1, 100.0)


def pixel(name: str) -> tuple[int, int]:
    """Where the front view has a point, column and row."""
    places = dict(zip(BODY_POINTS, t_pose().body, strict=True))
    x, _, z = places[name]
    return int((x + 1.0) * SIDE / 2), int((2.0 - z) * SIDE / 2)


def drawn(*poses: Pose, camera: Camera | None = None, depth=None, side=SIDE) -> np.ndarray:
    camera = camera or view()
    return draw_poses(seen_poses(poses, camera, (side, side), depth), side, side)


def seen(camera: Camera, pose: Pose | None = None, depth=None) -> set[str]:
    found = seen_poses([pose or t_pose()], camera, (SIDE, SIDE), depth)
    return {name for one in found for name, at in zip(BODY_POINTS, one.body, strict=True) if np.isfinite(at).all()}


def test_points_have_openposes_colours_where_they_are():
    image = drawn(t_pose())
    for number, name in enumerate(BODY_POINTS):
        column, row = pixel(name)
        assert tuple(image[row, column]) == COLORS[number], name


def test_limbs_have_six_tenths_of_the_colour_of_their_place():
    image = drawn(t_pose())
    left_forearm = LIMBS.index((BODY_POINTS.index("left_elbow"), BODY_POINTS.index("left_wrist")))
    column, row = int((0.575 + 1.0) * SIDE / 2), pixel("left_wrist")[1]
    expected = tuple(int(value * 0.6) for value in COLORS[left_forearm])
    assert tuple(image[row, column]) == expected == (51, 153, 0)
    assert set(map(tuple, image.reshape(-1, 3))) <= {
        (0, 0, 0),
        *COLORS,
        *(tuple(int(value * 0.6) for value in color) for color in COLORS),
    }


def test_the_convention_is_the_published_one():
    assert LIMBS[0] == (BODY_POINTS.index("neck"), BODY_POINTS.index("right_shoulder"))
    assert (COLORS[0], COLORS[1], COLORS[17]) == ((255, 0, 0), (255, 85, 0), (255, 0, 85))
    assert len(LIMBS) == 17
    assert len(COLORS) == 18
    assert HAND_LINES[:6] == ((0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6))


@pytest.mark.parametrize(("side", "half"), [(512, 4.0), (1024, 8.0), (256, 2.0)])
def test_limbs_are_eight_pixels_wide_at_512_and_as_wide_for_the_eye_at_others(side, half):
    image = drawn(t_pose(), side=side)
    x, z = 0.575, 1.45  # the middle of the left forearm
    column, row = int((x + 1.0) * side / 2), (2.0 - z) * side / 2
    rows = np.flatnonzero(image[:, column].any(axis=1))
    rows = rows[abs(rows - row) < 4 * half]
    assert len(rows) == pytest.approx(2 * half, abs=1.5)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_small_pictures_have_all_points_still(side):
    image = drawn(t_pose(), side=side)
    for number, name in enumerate(BODY_POINTS):
        if "ankle" in name or "wrist" in name:  # apart from each other even there
            x, _, z = dict(zip(BODY_POINTS, t_pose().body, strict=True))[name]
            column, row = (x + 1.0) * side / 2, (2.0 - z) * side / 2
            around = image[max(int(row) - 1, 0) : int(row) + 2, max(int(column) - 1, 0) : int(column) + 2]
            assert COLORS[number] in set(map(tuple, around.reshape(-1, 3))), name


def test_the_persons_right_is_left_in_the_picture_from_the_front():
    (front,) = seen_poses([t_pose()], view(), (SIDE, SIDE))
    assert front.body[BODY_POINTS.index("right_wrist")][0] < SIDE / 2
    (back,) = seen_poses([t_pose()], view((0.0, 10.0, 1.0)), (SIDE, SIDE))
    assert back.body[BODY_POINTS.index("right_wrist")][0] > SIDE / 2


class TestWhatIsSeen:
    def test_from_behind_there_is_no_face(self):
        assert seen(view()) == set(BODY_POINTS)
        assert set(BODY_POINTS) - seen(view((0.0, 10.0, 1.0))) == {"nose", "left_eye", "right_eye"}

    def test_from_the_side_the_far_ear_and_eye_are_missing(self):
        assert set(BODY_POINTS) - seen(view((10.0, 0.0, 1.0))) == {"right_ear", "right_eye"}
        assert set(BODY_POINTS) - seen(view((-10.0, 0.0, 1.0))) == {"left_ear", "left_eye"}

    def test_what_is_outside_of_the_picture_is_left_out_with_its_limbs(self):
        camera = view(target=(0.0, 0.0, 1.5), eye=(0.0, -10.0, 1.5))
        missing = set(BODY_POINTS) - seen(camera)
        assert missing == {"left_knee", "right_knee", "left_ankle", "right_ankle"}

    def test_what_is_behind_a_perspective_camera_is_left_out(self):
        projection = perspective(math.radians(90.0), 1.0, 0.1, 100.0)
        camera = Camera(look_at((0.0, 5.0, 1.0), (0.0, 10.0, 1.0)), projection, SIDE, SIDE, 0.1, 100.0)
        assert seen_poses([t_pose()], camera, (SIDE, SIDE)) == []

    def test_a_wall_hides_a_person_and_the_persons_own_surface_does_not(self):
        wall = np.full((SIDE, SIDE), 5.0, np.float32)
        assert seen(view(), depth=wall) == set()
        own = np.full((SIDE, SIDE), 9.85, np.float32)  # a belly before the bones, which are at 10
        assert seen(view(), depth=own) == set(BODY_POINTS)
        wall[:, : SIDE // 2] = np.inf
        assert all("right" in name or name in ("nose", "neck") for name in seen(view(), depth=wall))

    def test_half_a_person_is_drawn_as_far_as_known(self):
        pose = t_pose(nose=None, left_elbow=None)
        assert seen(view(), pose) == set(BODY_POINTS) - {"nose", "left_elbow"}
        assert drawn(pose).any()

    def test_the_picture_may_have_another_size_than_the_view(self):
        (found,) = seen_poses([t_pose()], view(side=64), (SIDE, SIDE // 2))
        column, row = found.body[BODY_POINTS.index("left_wrist")]
        assert (column, row) == (pytest.approx(1.7 * SIDE / 2), pytest.approx(0.55 * SIDE / 4))


def test_who_is_nearer_is_drawn_over_who_is_farther():
    near, far = t_pose(y=-1.0), t_pose(y=1.0, x=0.25)
    assert (drawn(near, far) == drawn(far, near)).all()
    column, row = pixel("neck")
    assert tuple(drawn(near, far)[row, column]) == COLORS[1]


def test_hands_have_their_lines_and_blue_points():
    hand = [(0.7, 0.0, 1.45)]
    hand += [(0.75 + 0.05 * joint, 0.0, 1.6 - 0.07 * finger) for finger in range(5) for joint in range(4)]
    assert len(hand) == HAND_POINTS
    pose = Pose(t_pose().body, left_hand=tuple(hand))
    image = drawn(pose)
    tip = hand[4]
    assert tuple(image[int((2.0 - tip[2]) * SIDE / 2), int((tip[0] + 1.0) * SIDE / 2)]) == (0, 0, 255)
    between = (0.775, 1.6)  # on the thumb, whose lines begin with red
    color = image[int((2.0 - between[1]) * SIDE / 2), int((between[0] + 1.0) * SIDE / 2)]
    assert color[0] == 255


def test_a_hand_too_small_to_be_told_apart_is_left_out():
    hand = tuple((0.7 + 0.001 * number, 0.0, 1.45) for number in range(HAND_POINTS))
    assert (drawn(Pose(t_pose().body, left_hand=hand)) == drawn(t_pose())).all()
