"""Heights in scene units, and the slopes they have on surfaces."""

from __future__ import annotations

import math

import pytest
import torch
from scumble_server.texturing.fuse import ViewImage
from scumble_server.texturing.maps.relief import Slopes, height_range, reliefs, surface_gradient
from scumble_server.texturing.maps.views import picture_of
from scumble_server.texturing.shapes import plane
from scumble_server.texturing.views import render_geometry
from scumble_shared.camera import Camera, look_at, orthographic, perspective

torch.set_num_threads(1)

SIDE = 96
STRAIGHT = Camera(look_at((0.0, -4.0, 0.0), (0.0, 0.0, 0.0)), orthographic(1.8, 1.8, 0.1, 50.0), SIDE, SIDE, 0.1, 50.0)
SLANTED = Camera(look_at((1.5, -2.5, 2.0), (0.0, 0.0, 0.0)), perspective(0.35, 1.0, 0.1, 50.0), SIDE, SIDE, 0.1, 50.0)
PARALLEL = Camera(
    look_at((-2.0, -2.5, -1.0), (0.1, 0.0, 0.0)), orthographic(1.0, 1.0, 0.1, 50.0), SIDE, SIDE, 0.1, 50.0
)


def seen(camera: Camera):
    """The plane y = 0 through a camera, and where in the world each pixel is (3, h, w)."""
    mesh = plane(6.0).mesh()
    picture = picture_of([mesh], ViewImage(render_geometry([mesh], camera), torch.full((1, 3, SIDE, SIDE), 0.5)))
    at = camera.unproject(camera.pixel_centres(), picture.depth.double().numpy())
    return picture, torch.from_numpy(at).permute(2, 0, 1).float()


@pytest.mark.parametrize("camera", [STRAIGHT, SLANTED, PARALLEL], ids=["straight", "perspective", "orthographic"])
class TestSlopes:
    def test_of_a_ramp_are_the_ramps_from_anywhere(self, camera):
        picture, at = seen(camera)
        gradient = surface_gradient(
            0.3 * at[0] - 0.2 * at[2], picture.hit, picture.normal, picture.depth, picture.camera
        )
        world = torch.einsum("ji,jhw->ihw", picture.rotation, gradient)
        for axis, slope in enumerate((0.3, 0.0, -0.2)):
            torch.testing.assert_close(world[axis], torch.full_like(world[axis], slope), atol=2e-3, rtol=0.0)

    def test_of_waves_are_their_derivative(self, camera):
        picture, at = seen(camera)
        height = 0.02 * torch.sin(9.0 * at[0]) * torch.cos(7.0 * at[2])
        gradient = surface_gradient(height, picture.hit, picture.normal, picture.depth, picture.camera)
        world = torch.einsum("ji,jhw->ihw", picture.rotation, gradient)
        inner = (slice(1, -1), slice(1, -1))
        along_x = 0.18 * torch.cos(9.0 * at[0]) * torch.cos(7.0 * at[2])
        along_z = -0.14 * torch.sin(9.0 * at[0]) * torch.sin(7.0 * at[2])
        torch.testing.assert_close(world[0][inner], along_x[inner], atol=4e-3, rtol=0.0)
        torch.testing.assert_close(world[2][inner], along_z[inner], atol=4e-3, rtol=0.0)


def test_there_is_no_slope_towards_what_is_not_known():
    picture, at = seen(STRAIGHT)
    known = at[0] < 0.0
    height = torch.where(known, 0.0, 5.0)
    gradient = surface_gradient(height, known, picture.normal, picture.depth, picture.camera)
    assert float(gradient.abs().max()) == 0.0


class TestReliefs:
    def made(self, tone, weight=None, footprint=1.0, unit=1.0, wrap=(False, False)):
        return reliefs([Slopes(tone, torch.ones_like(tone) if weight is None else weight, footprint, wrap)], unit, 1.0)[
            0
        ]

    def waves(self, side=128, period=16.0, contrast=0.5):
        return contrast * torch.sin(torch.arange(side) * (2.0 * math.pi / period)).expand(side, side).contiguous()

    def test_bright_stands_out_by_less_than_half_the_range(self):
        tone = self.waves()
        height = self.made(tone)
        assert float((height * tone).sum()) > 0.0
        assert 0.02 * height_range(1.0, 1.0) < float(height.abs().max()) <= 0.5 * height_range(1.0, 1.0)

    def test_an_even_picture_has_none(self):
        assert float(self.made(torch.full((64, 64), 0.3)).abs().max()) < 1e-6

    def test_noise_too_faint_to_see_is_not_brought_up(self):
        torch.manual_seed(0)
        faint = self.made(0.004 * torch.randn(128, 128))
        strong = self.made(0.4 * torch.randn(128, 128))
        assert float(faint.std()) < 0.1 * float(strong.std())

    def test_objects_ten_times_the_size_have_ten_times_the_relief(self):
        small, large = self.made(self.waves()), self.made(self.waves(), footprint=10.0, unit=10.0)
        torch.testing.assert_close(large, 10.0 * small)

    def test_a_picture_of_twice_the_pixels_has_the_same(self):
        small = self.made(self.waves(128, 16.0))
        large = self.made(self.waves(256, 32.0), footprint=0.5)
        shrunk = torch.nn.functional.avg_pool2d(large[None, None], 2)[0, 0]
        inner = (slice(24, -24), slice(24, -24))
        assert float((shrunk - small)[inner].abs().max()) < 0.1 * float(small.abs().max())

    def test_nothing_runs_across_an_edge_where_nothing_is_known(self):
        tone = self.waves()
        weight = torch.ones_like(tone)
        weight[:, 64:] = 0.0
        other = tone.clone()
        other[:, 64:] = 50.0
        height = self.made(other, weight)
        torch.testing.assert_close(height, self.made(tone, weight))
        assert float(height[:, 64:].abs().max()) == 0.0

    @pytest.mark.parametrize("axis", [0, 1])
    def test_a_tile_that_is_moved_round_has_its_relief_moved_round(self, axis):
        torch.manual_seed(1)
        tone = torch.nn.functional.interpolate(torch.randn(1, 1, 16, 16), 128, mode="bilinear")[0, 0]
        wrap = (axis == 1, axis == 0)
        height = self.made(tone, wrap=wrap)
        moved = self.made(tone.roll(32, axis), wrap=wrap)
        torch.testing.assert_close(moved, height.roll(32, axis), atol=1e-5, rtol=1e-4)
