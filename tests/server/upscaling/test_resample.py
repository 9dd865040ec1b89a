"""Pictures at another size: exact where it can be, and without a seam where they repeat."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scumble_server.upscaling.layers import from_array, planes, to_array
from scumble_server.upscaling.resample import resample

CPU = torch.device("cpu")


def wave(length: int, periods: float, size: int = 32) -> torch.Tensor:
    """A cosine along x with its pixel centres where a picture of ``length`` has them, 1 x 1 x size x length."""
    place = (torch.arange(length) + 0.5) / length
    return (0.5 + 0.5 * torch.cos(2.0 * math.pi * periods * place)).expand(1, 1, size, length)


class TestResample:
    @pytest.mark.parametrize("size", [64, 128, 100, 33])
    def test_waves_are_the_same_waves(self, size):
        torch.testing.assert_close(resample(wave(64, 3.0), 32, size, "x"), wave(size, 3.0), rtol=0.0, atol=4e-3)

    @pytest.mark.parametrize("size", [32, 96, 200, 7])
    def test_what_is_flat_stays_flat(self, size):
        flat = torch.full((1, 2, 48, 40), 0.3)
        assert (resample(flat, size, size + 1) - 0.3).abs().max() < 1e-6

    def test_the_same_size_is_the_same_picture(self):
        image = torch.rand(1, 3, 8, 9)
        assert resample(image, 8, 9, "xy") is image

    @pytest.mark.parametrize("tiling", ["x", "y", "xy"])
    def test_a_picture_that_repeats_is_enlarged_as_part_of_what_it_repeats_in(self, tiling):
        image = torch.rand(1, 3, 16, 12)
        repeats = (3 if "y" in tiling else 1, 3 if "x" in tiling else 1)
        large = resample(image.repeat(1, 1, *repeats), 32 * repeats[0], 24 * repeats[1])
        middle = large[:, :, 32 : 64 if "y" in tiling else None] if "y" in tiling else large
        middle = middle[:, :, :, 24:48] if "x" in tiling else middle
        torch.testing.assert_close(resample(image, 32, 24, tiling), middle)


class TestLayers:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_arrays_come_back_to_the_bit(self, dtype, channels):
        most = np.iinfo(dtype).max
        image = np.random.default_rng(0).integers(1, most, (9, 7, channels), dtype, endpoint=True)
        layers = from_array(image, CPU)
        assert (to_array(layers.colour, layers.alpha, layers.dtype) == image).all()

    def test_holes_take_the_colour_of_what_is_nearest(self):
        image = np.zeros((4, 8, 4), np.uint8)
        image[:, :2] = (200, 100, 50, 255)
        image[:, 7] = (10, 20, 30, 128)
        colour = to_array(from_array(image, CPU).colour, None, np.dtype(np.uint8))
        assert (colour[:, :4] == (200, 100, 50)).all()
        assert (colour[:, 5:] == (10, 20, 30)).all()

    def test_all_holes_are_what_they_are(self):
        image = np.full((4, 4, 4), 7, np.uint8)
        image[..., 3] = 0
        assert (to_array(from_array(image, CPU).colour, None, image.dtype) == 7).all()

    def test_planes(self):
        assert planes(np.full((2, 3, 1), 65535, np.uint16)).tolist() == [[[[1.0] * 3] * 2]]
