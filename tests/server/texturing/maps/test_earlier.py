"""What a texture had before lies under what is made anew, as its colours do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scumble_server.texturing.maps.earlier import Earlier

SIDE = 8
NO_PADS = (torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def flat(value, dtype=np.uint8, channels=()):
    return np.full((SIDE, SIDE, *channels), value, dtype)


def under(old, made, stays, kind="roughness", old_range=0.0, made_range=0.1, pads=NO_PADS):
    stays = np.broadcast_to(np.uint8(stays), (SIDE, SIDE))
    return Earlier({(kind, "Cup"): old}, {"Cup": stays}, old_range).under(kind, "Cup", made, made_range, pads)


def random_numbers(dtype=np.uint8, channels=(), seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (SIDE, SIDE, *channels), dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_to_the_number_where_one_of_both_is_alone(dtype):
    old, made = random_numbers(dtype), random_numbers(dtype, seed=1)
    np.testing.assert_array_equal(under(old, made, 255), old)
    np.testing.assert_array_equal(under(old, made, 0), made)


def test_numbers_are_mixed_as_far_as_what_was_there_stays():
    assert (under(flat(200), flat(100), 51) == 120).all()


def test_other_kinds_and_textures_are_left_alone():
    made = random_numbers()
    earlier = Earlier({("roughness", "Cup"): flat(200)}, {"Cup": flat(255)})
    assert earlier.under("metallic", "Cup", made, 0.1, NO_PADS) is made
    assert earlier.under("roughness", "Lid", made, 0.1, NO_PADS) is made


def test_eight_bits_under_sixteen_and_sixteen_under_eight():
    assert (under(flat(10), flat(0, np.uint16), 255) == 10 * 257).all()
    assert (under(flat(10 * 257, np.uint16), flat(0), 255) == 10).all()


def test_normals_halfway_between_two_have_length_one():
    left, right = (np.rint((np.array([x, 0.0, 0.8]) * 0.5 + 0.5) * 65535).astype(np.uint16) for x in (-0.6, 0.6))
    found = under(flat(left, np.uint16, (3,)), flat(right, np.uint16, (3,)), 128, "normal")
    vectors = found / 65535.0 * 2.0 - 1.0
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-4)
    np.testing.assert_allclose(vectors[0, 0], (0.0, 0.0, 1.0), atol=5e-3)


@pytest.mark.parametrize(("old_range", "made_range"), [(0.4, 0.1), (0.1, 0.4), (0.2, 0.2)])
def test_heights_of_different_ranges_keep_their_size(old_range, made_range):
    whole = max(old_range, made_range)
    for stays, units in ((255, old_range), (0, made_range)):
        found = under(flat(60000, np.uint16), flat(60000, np.uint16), stays, "height", old_range, made_range)
        np.testing.assert_allclose((found - 32768.0) * whole, (60000 - 32768.0) * units, atol=whole)


def test_the_surface_stays_the_surface_in_any_range():
    assert (under(flat(32768, np.uint16), flat(32768, np.uint16), 100, "height", 0.3, 0.1) == 32768).all()


def test_round_islands_it_is_as_at_their_edge():
    stays = np.zeros((SIDE, SIDE), np.uint8)
    stays[0, 1] = 255  # a view's weight is 0 off the mesh
    pads = (torch.tensor([1]), torch.tensor([0]))
    np.testing.assert_array_equal(under(flat(9), flat(5), stays, pads=pads), flat(5))
