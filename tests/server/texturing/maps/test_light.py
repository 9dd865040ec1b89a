"""Light is taken out where it is known to be, and nothing is where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scumble_server.texturing.maps.light import fit_light
from scumble_server.texturing.shapes import cube, torus, uv_sphere
from scumble_server.texturing.synthetic import marble

from .scenes import checker, harmonic, lit, unlit

BALL = uv_sphere(rings=24, segments=48)


def key_light(normal):
    """A lamp and even light, as renderers have them: not of second order."""
    to_lamp = torch.nn.functional.normalize(torch.tensor([-0.4, 0.5, 0.75]), dim=0)
    return 0.3 + 0.7 * torch.einsum("c,chw->hw", to_lamp, normal).clamp(min=0.0)


def left_over(scenes) -> tuple[float, float]:
    """Standard deviation of the logarithm of the light, before and after."""
    light = fit_light([picture for picture, _, _ in scenes])
    before, after = [], []
    for picture, _, truth in scenes:
        sure = picture.trust >= 1.0
        before.append(torch.log(truth[sure]))
        after.append(torch.log(truth[sure] / light.shading(picture)[sure]))
    return float(torch.cat(before).std()), float(torch.cat(after).std())


@pytest.mark.parametrize("colour", [checker(4.0), marble(12.0)], ids=["checker", "marble"])
class TestOnASphere:
    def test_light_of_second_order_is_found_to_five_percent(self, colour):
        before, after = left_over(lit(BALL.mesh(), colour, harmonic))
        assert before > 0.35
        assert after < 0.05

    def test_light_that_came_along_with_each_view_too(self, colour):
        before, after = left_over(lit(BALL.mesh(), colour, key_light, by_view=True))
        assert before > 0.25
        assert after < before / 2.5

    def test_a_lamp_leaves_less_than_a_third(self, colour):
        before, after = left_over(lit(BALL.mesh(), colour, key_light))
        assert after < before / 3.0

    def test_colour_comes_back_without_it(self, colour):
        """Up to one factor for all: how bright the light is nobody can know."""
        scenes = lit(BALL.mesh(), colour, harmonic)
        light = fit_light([picture for picture, _, _ in scenes])
        ratios = torch.cat(
            [
                (picture.colour / light.shading(picture) / truth.clamp(min=1e-3))[:, picture.trust >= 1.0].flatten()
                for picture, truth, _ in scenes
            ]
        )
        ratios = ratios / ratios.median()
        assert float((ratios - 1.0).abs().mean()) < 0.05
        assert float(torch.quantile((ratios - 1.0).abs()[:: len(ratios) // 10000], 0.95)) < 0.12


@pytest.mark.parametrize("shape", [BALL, torus(rings=24, segments=48), cube()], ids=["sphere", "ring", "cube"])
@pytest.mark.parametrize("colour", [checker(4.0), checker(1.7), marble(12.0)], ids=["fine", "coarse", "marble"])
def test_unlit_pictures_stay_as_they_are(shape, colour):
    scenes = lit(shape.mesh(), colour, unlit)
    light = fit_light([picture for picture, _, _ in scenes])
    for picture, _, _ in scenes:
        assert float((light.shading(picture)[picture.hit] - 1.0).abs().max()) < 0.06


def test_a_change_of_hue_is_no_light():
    """Red above and blue below, as bright as can be on one side and dim on the other."""

    def colour(position):
        above = (position[2] > 0.0).float()
        return torch.stack([0.8 * above + 0.02, torch.full_like(above, 0.05), 0.1 * (1.0 - above) + 0.02])

    scenes = lit(BALL.mesh(), colour, unlit)
    light = fit_light([picture for picture, _, _ in scenes])
    assert all(float((light.shading(p)[p.hit] - 1.0).abs().max()) < 0.05 for p, _, _ in scenes)


def test_light_does_not_fall_from_below():
    """So a dark top is paint."""

    def colour(position):
        return torch.where(position[2] > 0.2, 0.15, 0.7).expand(3, -1)

    scenes = lit(BALL.mesh(), colour, unlit)
    light = fit_light([picture for picture, _, _ in scenes])
    assert all(float((light.shading(p)[p.hit] - 1.0).abs().max()) < 0.05 for p, _, _ in scenes)


def test_nothing_is_said_of_a_picture_that_shows_next_to_nothing():
    mesh = uv_sphere(rings=4, segments=6).mesh()
    picture = lit(mesh, checker(4.0), unlit, count=1)[0][0]
    small = fit_light([replace(picture, trust=torch.zeros_like(picture.trust))])
    assert (small.by_view, small.by_world) == (None, None)
