"""The judge: what it is asked, what counts as right, and that its training never meets what evaluation shows."""

from __future__ import annotations

import random

import pytest
import torch
from captions import held_out_pair
from data import HELD_OUT_SEED, NO_MATERIAL
from judges import FIRST_SEED, NAMES, Judge, Opinion, normal_error, orders, scores, small_material, small_normals


def test_an_opinion_has_a_place_for_every_eight_pixels_and_a_direction_for_every_four() -> None:
    torch.manual_seed(0)
    opinion = Judge()(torch.rand(2, 3, 64, 96))
    assert opinion.material.shape == (2, len(NAMES), 8, 12)
    assert opinion.normal.shape == (2, 3, 16, 24)
    torch.testing.assert_close(opinion.normal.norm(dim=1), torch.ones(2, 16, 24))


def test_only_places_of_one_material_teach_it() -> None:
    material = torch.full((1, 16, 16), 7, dtype=torch.uint8)
    material[0, :8, 9] = 3
    material[0, 8:, :8] = NO_MATERIAL
    assert small_material(material)[0].tolist() == [[7, NO_MATERIAL], [NO_MATERIAL, 7]]


def test_small_normals_are_mean_directions_of_surfaces() -> None:
    normals = torch.zeros(1, 8, 8, 3)
    normals[0, :4, :2], normals[0, :4, 2:4] = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    normals[0, 4:, 4] = torch.tensor([0.0, 0, 1])
    small = small_normals(normals)[0]
    torch.testing.assert_close(small[:, 0, 0], torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))
    assert not small[:, 1, 1].any(), "mostly empty"


@pytest.mark.parametrize("angle", [0.0, 30.0, 120.0])
def test_the_error_is_the_angle_where_there_is_a_surface(angle: float) -> None:
    turn = torch.deg2rad(torch.tensor(angle))
    truth = torch.zeros(1, 3, 4, 4)
    truth[:, 2, :2] = 1.0
    made = torch.stack([turn.sin(), turn * 0, turn.cos()])[None, :, None, None].expand(1, 3, 4, 4)
    assert float(normal_error(made, truth)) == pytest.approx(angle, abs=0.05)


def test_the_verdict_on_a_picture_is_the_mean_over_its_surface_alone() -> None:
    said = torch.zeros(1, len(NAMES), 2, 2)
    said[0, 4, 0, :], said[0, 9, 1, :] = 5.0, 50.0
    material = torch.full((1, 16, 16), NO_MATERIAL, dtype=torch.uint8)
    material[0, :8] = 4
    verdict = scores(Opinion(said, torch.zeros(1, 3, 4, 4)), material)
    assert int(verdict.argmax()) == 4
    torch.testing.assert_close(verdict, said[:, :, 0, 0].log_softmax(1))


def test_lessons_avoid_what_is_kept_for_evaluation() -> None:
    for order in orders(200, random.Random(0)):
        assert not any(held_out_pair(name, order.light) for name in order.materials)
    assert FIRST_SEED + 400_000_000 < HELD_OUT_SEED
