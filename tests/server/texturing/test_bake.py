"""Views in, texture out: true where seen, continuous where not, free of seams, and the same again when repeated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scumble_server.texturing.bake import Texture, bake, bake_parts
from scumble_server.texturing.color import linear_to_srgb, srgb_to_linear
from scumble_server.texturing.dilate import nearest_filled, padding
from scumble_server.texturing.fill import fill_unseen
from scumble_server.texturing.fuse import FuseOptions, ViewImage, fuse
from scumble_server.texturing.match import view_gains
from scumble_server.texturing.mesh import Mesh, on_tiles
from scumble_server.texturing.raster import rasterise
from scumble_server.texturing.shapes import Shape, cube, smooth, torus, uv_sphere
from scumble_server.texturing.surface import Surface
from scumble_server.texturing.synthetic import marble, photograph, psnr, show
from scumble_server.texturing.views import place, render_geometry
from torch import Tensor

torch.set_num_threads(1)

SOLID = marble(12.0)
SIZE = 256


def suzanne() -> Shape:
    data = np.load(Path(__file__).parent / "data" / "suzanne.npz")
    return smooth(data["vertices"], data["triangles"].astype(np.int32), data["uvs"])


def rig(mesh: Mesh, side: int = SIZE, count: int = 8) -> list[ViewImage]:
    """Pictures of the solid texture from all around."""
    views = []
    for number in range(count):
        camera = place([mesh], 360.0 / count * number, 30.0 * (-1) ** number, (side, side)).camera
        image = bytes_of(photograph([mesh], camera, SOLID).image)
        views.append(ViewImage(render_geometry([mesh], camera), srgb_to_linear(image)[None]))
    return views


def bytes_of(image: Tensor) -> Tensor:
    return (image * 255.0 + 0.5).to(torch.uint8)


def truth(mesh: Mesh, size: int) -> tuple[Tensor, Tensor]:
    """Flat texels on the mesh and their true colours (N, 3)."""
    texels = rasterise(mesh, size)
    surface = Surface(mesh, texels)
    some = texels.all()
    return some.index, SOLID(surface.points(some).position.double() + surface.origin[:, None]).T


def agreement(texture: Texture, mesh: Mesh) -> float:
    index, colours = truth(mesh, len(texture.image))
    seen = texture.seen.flatten()[index] == 255
    return psnr(texture.image.view(-1, 3)[index][seen] / 255.0, colours[seen])


@pytest.mark.parametrize(
    ("shape", "side", "coverage"), [(torus(), 256, 0.99), (cube(cells=2), 256, 0.99), (suzanne(), 512, 0.85)]
)
def test_eight_views_of_a_known_texture_give_it_back(shape: Shape, side: int, coverage: float) -> None:
    mesh = shape.mesh()
    texture = bake(mesh, rig(mesh, side), SIZE)
    assert texture.coverage > coverage
    assert agreement(texture, mesh) > 44.0


def test_views_a_pixel_and_a_half_off_and_unevenly_bright_still_agree() -> None:
    mesh = torus().mesh()
    generator = np.random.default_rng(3)
    views = []
    for view in rig(mesh):
        angle = generator.uniform(0.0, 2.0 * np.pi)
        shift = torch.tensor([[1.0, 0.0, 3.0 * np.cos(angle) / SIZE], [0.0, 1.0, 3.0 * np.sin(angle) / SIZE]])
        grid = torch.nn.functional.affine_grid(shift[None].float(), list(view.image.shape), align_corners=False)
        image = torch.nn.functional.grid_sample(view.image, grid, padding_mode="border", align_corners=False)
        views.append(ViewImage(view.geometry, image * generator.uniform(0.96, 1.04)))
    assert agreement(bake(mesh, views, SIZE), mesh) > 31.0


def test_baking_what_the_bake_looks_like_changes_nothing() -> None:
    mesh = torus().mesh()
    texels = rasterise(mesh, SIZE)
    views = rig(mesh)
    first = bake(mesh, views, SIZE).image
    again = [
        ViewImage(
            v.geometry,
            srgb_to_linear(bytes_of(show(mesh, texels, first.permute(2, 0, 1) / 255.0, v.geometry.camera)))[None],
        )
        for v in views
    ]
    second = bake(mesh, again, SIZE).image
    covered = texels.covered
    assert psnr(first[covered] / 255.0, second[covered] / 255.0) > 40.0


def test_tiles_hold_what_one_texture_would() -> None:
    """Half the islands moved to another tile, as UDIM has it; the views differ in brightness and leave gaps."""
    shape = cube(cells=2)
    whole = shape.mesh()
    moved = torch.arange(len(whole.triangles)) >= len(whole.triangles) // 2
    apart = replace(whole, uvs=whole.uvs + torch.tensor([3.0, 1.0]) * moved[:, None, None])
    views = [ViewImage(v.geometry, v.image * (1.0 + 0.1 * i)) for i, v in enumerate(rig(whole, count=3))]
    one = bake(whole, views, SIZE)
    parts = on_tiles(apart, (1001, 1014))
    assert [part.texture_name for part in parts] == [f"{whole.name}.1001", f"{whole.name}.1014"]
    covered = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for part, texture in zip(parts, bake_parts(parts, views, SIZE), strict=True):
        here = rasterise(part, SIZE).covered
        assert int((texture.image[here].int() - one.image[here].int()).abs().amax()) <= 2
        assert torch.equal(texture.seen[here], one.seen[here])
        covered |= here
    assert torch.equal(covered, rasterise(whole, SIZE).covered)
    assert 0.0 < one.coverage < 1.0


def seam_residual(image: Tensor, margin: float) -> float:
    """Mean difference between the two copies of a torus' cuts, in a texture (3, S, S) looked up bilinearly."""
    v = torch.linspace(0.1, 0.9, 400)
    low, high = torch.full_like(v, margin), torch.full_like(v, 1.0 - margin)

    def at(u: Tensor, w: Tensor) -> Tensor:
        grid = torch.stack([u * 2.0 - 1.0, 1.0 - 2.0 * w], -1)[None, None]
        return torch.nn.functional.grid_sample(image[None], grid, align_corners=False)[0, :, 0]

    across = (at(low, v) - at(high, v)).abs().mean() + (at(v, low) - at(v, high)).abs().mean()
    return float(across) / 2.0


def test_seams_are_no_larger_than_the_texture_itself_makes_them() -> None:
    mesh = torus(margin=0.05).mesh()
    baked = bake(mesh, rig(mesh, 512), SIZE).image.permute(2, 0, 1) / 255.0
    index, colours = truth(mesh, SIZE)
    ideal = torch.zeros(SIZE * SIZE, 3)
    ideal[index] = colours.float()
    target, source = nearest_filled(rasterise(mesh, SIZE).covered, padding(SIZE))
    ideal[target] = ideal[source]
    ideal = ideal.view(SIZE, SIZE, 3).permute(2, 0, 1)
    assert seam_residual(baked, 0.05) <= 1.05 * seam_residual(ideal, 0.05)


def test_unseen_texels_take_the_colour_of_their_surroundings_in_space() -> None:
    """A sphere, red above and blue below, seen only from the sides: both poles get the colour of their half."""
    mesh = uv_sphere().mesh()
    texels = rasterise(mesh, 256)
    surface = Surface(mesh, texels)
    some = texels.all()
    height = surface.points(some).position[2]
    colour = torch.zeros(3, 256 * 256)
    colour[0, some.index] = (height > 0).float()
    colour[2, some.index] = (height < 0).float()
    weight = torch.zeros(256 * 256)
    weight[some.index] = (height.abs() < 0.7).float()
    colour[:, weight == 0] = 0.0
    (trust,) = fill_unseen([surface], [colour], [weight])
    north, south = some.index[height > 0.75], some.index[height < -0.75]
    assert float(trust[north].max()) == 0.0
    assert float(colour[0, north].min()) > 0.9
    assert float(colour[2, south].min()) > 0.9
    assert float(colour[2, north].max()) < 0.1


def test_nothing_seen_leaves_the_texture_alone() -> None:
    mesh = cube().mesh()
    surface = Surface(mesh, rasterise(mesh, 32))
    colour = torch.rand(3, 32 * 32)
    before = colour.clone()
    assert float(fill_unseen([surface], [colour], [torch.zeros(32 * 32)])[0].max()) == 0.0
    torch.testing.assert_close(colour, before, rtol=0, atol=0)


def test_padding_copies_the_nearest_texel_as_far_as_it_must() -> None:
    filled = torch.zeros(64, 64, dtype=torch.bool)
    filled[20:30, 20:30] = True
    target, source = nearest_filled(filled, 8)
    distance = torch.hypot((target // 64 - source // 64).double(), (target % 64 - source % 64).double())
    inside_y, inside_x = (target // 64).clamp(20, 29), (target % 64).clamp(20, 29)
    nearest = torch.hypot((target // 64 - inside_y).double(), (target % 64 - inside_x).double())
    torch.testing.assert_close(distance, nearest)
    assert len(target) == len(torch.unique(target)) == 26 * 26 - 100
    assert padding(1024) == 8
    assert padding(2048) == 16


def test_padding_goes_round_the_edges_of_a_texture_that_repeats() -> None:
    filled = torch.zeros(16, 16, dtype=torch.bool)
    filled[5, 0] = True
    target, _ = nearest_filled(filled, 2)
    assert 5 * 16 + 15 in target.tolist()


def test_gains_between_views_are_found_from_their_overlap() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(3, 4000, generator=generator) * 0.8 + 0.1
    gains = torch.tensor([[1.2, 1.0, 0.9], [0.9, 1.1, 1.0], [1.0, 0.95, 1.1]])
    weights = (torch.rand(3, 4000, generator=generator) > 0.4).float()
    found = view_gains(base[None] * gains[:, :, None], weights)
    levelled = gains * found
    assert float((levelled / levelled.mean(0) - 1.0).abs().max()) < 0.02
    alone = view_gains(base[None] * gains[:, :, None], torch.eye(3).repeat_interleave(1334, 1)[:, :4000])
    torch.testing.assert_close(alone, torch.ones(3, 3))


def test_fine_detail_survives_views_that_disagree() -> None:
    """Two views half a wave apart: blending cancels the pattern, taking the detail from the better one keeps it."""
    mesh = uv_sphere().mesh()
    views = []
    for azimuth, phase in ((0.0, 0.0), (40.0, np.pi)):
        camera = place([mesh], azimuth, 0.0, (256, 256)).camera
        image = photograph([mesh], camera, lambda p, phase=phase: 0.5 + 0.3 * torch.sin(40.0 * p[2:] + phase)).image
        views.append(ViewImage(render_geometry([mesh], camera), image[None]))
    surface = Surface(mesh, rasterise(mesh, 256))
    middle = [128 * 256 + column for column in range(195, 215)]
    rows = torch.tensor([m + 256 * r for r in range(-20, 20) for m in middle])

    def contrast(options: FuseOptions) -> float:
        return float(fuse(surface, views, options).colour[0, rows].std())

    blended = contrast(FuseOptions(angle_exponent=1.0, match_colours=False))
    kept = contrast(FuseOptions(angle_exponent=1.0, match_colours=False, detail_exponent=60.0))
    assert kept > 1.5 * blended


def test_bytes_and_linear_light_are_inverse() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(every)), every, rtol=0, atol=0)
    half = srgb_to_linear(torch.tensor([188], dtype=torch.uint8))
    assert abs(float(half) - 0.5029) < 1e-3


def test_a_stopped_bake_stops_at_once() -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    mesh = cube().mesh()
    with pytest.raises(StoppedError):
        bake(mesh, rig(mesh, 32, 2), 64, check=stop)
