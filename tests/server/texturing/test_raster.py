"""Texels lie where UVs say they do: once each, to the texel's centre, at every border."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scumble_server.texturing.dilate import nearest_filled
from scumble_server.texturing.mesh import on_tiles
from scumble_server.texturing.raster import evaluate, rasterise
from scumble_server.texturing.shapes import Shape, cube, plane, sculpt, torus, uv_sphere
from scumble_server.texturing.surface import Surface, tangent_frames
from scumble_shared.errors import ErrorCode, ScumbleError

torch.set_num_threads(1)


def with_uvs(shape: Shape, uvs: np.ndarray) -> Shape:
    return replace(shape, uvs=uvs.astype(np.float32))


def positions(shape: Shape, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat texel indices and the world positions there."""
    mesh = shape.mesh()
    texels = rasterise(mesh, size)
    surface = Surface(mesh, texels)
    some = texels.all()
    world = surface.points(some).position.double() + surface.origin[:, None]
    return some.index.numpy(), world.numpy().T


def test_texel_centres_of_a_plane_are_where_the_convention_puts_them() -> None:
    index, world = positions(plane(), 8)
    row, column = np.divmod(np.arange(64), 8)
    np.testing.assert_array_equal(index, np.arange(64))
    # The plane spans -1..1 in x and z; v is up, the first row is the top one.
    np.testing.assert_allclose(world[:, 0], (column + 0.5) / 4.0 - 1.0, atol=1e-6)
    np.testing.assert_allclose(world[:, 2], 1.0 - (row + 0.5) / 4.0, atol=1e-6)


@pytest.mark.parametrize("size", [7, 64, 333])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_triangulated_square_covers_every_texel_exactly_once(size: int, seed: int) -> None:
    shape = plane(cells=9)
    jitter = np.random.default_rng(seed).uniform(-0.04, 0.04, (10, 10, 2))
    at = np.rint(shape.uvs * 9).astype(int)
    inner = ((shape.uvs > 0.0) & (shape.uvs < 1.0)).all(-1, keepdims=True)
    moved = with_uvs(shape, shape.uvs + jitter[at[..., 0], at[..., 1]] * inner)
    texels = rasterise(moved.mesh(), size)
    assert bool(texels.covered.all())
    assert len(texels.overlapped) == 0
    assert len(texels.border) == 0


def test_shared_edges_through_texel_centres_belong_to_one_side_only() -> None:
    """Every edge of an 8-cell square runs exactly through texel centres at 4 texels: u = 1/8, 3/8, ..."""
    texels = rasterise(plane(cells=8).mesh(), 4)
    assert bool(texels.covered.all())
    assert len(texels.overlapped) == 0


@pytest.mark.parametrize("shape", [uv_sphere(rings=16, segments=32), torus(rings=12, segments=24), cube(cells=3)])
def test_positions_lie_on_the_surface_and_reproduce_the_uvs(shape: Shape) -> None:
    mesh = shape.mesh()
    texels = rasterise(mesh, 128)
    some = texels.all()
    uvs = evaluate(texels.affine(mesh.uvs), some).numpy()
    row, column = np.divmod(some.index.numpy(), 128)
    centre = np.stack([(column + 0.5) / 128, 1.0 - (row + 0.5) / 128])
    border = np.isin(some.index.numpy(), texels.border.numpy())
    np.testing.assert_allclose(uvs[:, ~border], centre[:, ~border], atol=2e-6)
    # A border texel stands for the nearest point of its island, at most half a texel's diagonal away.
    assert np.linalg.norm((uvs - centre)[:, border], axis=0).max(initial=0.0) <= 0.5**0.5 / 128 + 1e-6


def test_every_texel_an_island_touches_is_there() -> None:
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = with_uvs(plane(), (plane().uvs - 0.5) @ turn.T * 0.5 + 0.5)
    size = 64
    covered = rasterise(shape.mesh(), size).covered.numpy()
    # Ground truth: a texel is touched if any of a fine grid of points in its square is inside the turned square.
    fine = (np.arange(size * 16) + 0.5) / (size * 16)
    u, v = np.meshgrid(fine, 1.0 - fine)
    local = (np.stack([u, v], -1) - 0.5) @ turn / 0.5

    def touched(half: float) -> np.ndarray:
        return (np.abs(local) <= half).all(-1).reshape(size, 16, size, 16).any((1, 3))

    step = 2.0 / (size * 16)
    assert (covered | ~touched(0.5)).all()
    assert (touched(0.5 + 2.0 * step) | ~covered).all()


def test_an_island_thinner_than_a_texel_is_not_lost() -> None:
    shape = with_uvs(plane(), plane().uvs * np.array([1.0, 0.001]) + np.array([0.0, 0.503]))
    covered = rasterise(shape.mesh(), 32).covered
    assert bool(covered[15].all())
    assert int(covered.sum()) == 32


def test_where_triangles_overlap_the_first_wins_and_it_is_said() -> None:
    shape = plane()
    both = Shape(
        np.concatenate([shape.vertices, shape.vertices + np.float32([0, 1, 0])]),
        np.concatenate([shape.triangles, shape.triangles + 4]),
        np.concatenate([shape.normals, shape.normals]),
        np.concatenate([shape.uvs, shape.uvs]),
    )
    texels = rasterise(both.mesh(), 16)
    assert len(texels.overlapped) == 256
    assert int(texels.triangle.max()) <= 1
    later = torch.tensor([True, True, False, False])
    assert int(rasterise(both.mesh(), 16, later=later).triangle.min()) >= 2


def test_mirrored_islands_are_rasterised_like_others() -> None:
    mirrored = with_uvs(plane(), np.stack([1.0 - plane().uvs[..., 0], plane().uvs[..., 1]], -1))
    _, world = positions(mirrored, 8)
    np.testing.assert_allclose(world[0], [1.0 - 0.125, 0.0, 1.0 - 0.125], atol=1e-6)


def test_uvs_outside_the_unit_square_repeat() -> None:
    here, straight = positions(plane(), 16)
    there, shifted = positions(with_uvs(plane(), plane().uvs + np.array([0.25, -3.0])), 16)
    np.testing.assert_array_equal(here, there)
    moved = np.roll(straight.reshape(16, 16, 3), 4, axis=1)
    np.testing.assert_allclose(shifted.reshape(16, 16, 3), moved, atol=1e-6)


def test_a_udim_tile_holds_only_what_lies_in_it() -> None:
    shape = with_uvs(plane(cells=2), plane(cells=2).uvs * 2.0)
    parts = on_tiles(shape.mesh(), (1001, 1002, 1011, 1012))
    assert [len(part.triangles) for part in parts] == [2, 2, 2, 2]
    mesh = parts[1]
    texels = rasterise(mesh, 8)
    world = Surface(mesh, texels).points(texels.all()).position.numpy()
    assert bool(texels.covered.all())
    assert world[0].min() > 0.0  # the right half
    assert world[2].max() < 0.0  # the lower half


def test_what_crosses_an_edge_between_tiles_is_on_both() -> None:
    shape = with_uvs(plane(), plane().uvs * np.array([2.0, 1.0]))
    for part in on_tiles(shape.mesh(), (1001, 1002)):
        texels = rasterise(part, 8)
        assert len(part.triangles) == 2
        assert bool(texels.covered.all())
        world = Surface(part, texels).points(texels.all()).position.numpy()
        assert (world[0] > 0.0).all() == (part.tile == 1002)


@pytest.mark.parametrize(("tiles", "says"), [((1001, 1002, 1003), "1003"), ((1001,), "u 1")])
def test_tiles_without_faces_and_faces_without_a_tile_are_refused(tiles: tuple[int, ...], says: str) -> None:
    mesh = with_uvs(plane(cells=2), plane(cells=2).uvs * np.array([2.0, 1.0])).mesh()
    with pytest.raises(ScumbleError, match=says) as caught:
        on_tiles(mesh, tiles, "job.meshes[0].tiles")
    assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "job.meshes[0].tiles")


def test_padding_does_not_come_round_the_edge_of_a_tile() -> None:
    filled = torch.zeros(8, 8, dtype=torch.bool)
    filled[:, 0] = True
    assert (nearest_filled(filled, 2)[0] % 8 == 7).any()
    assert set((nearest_filled(filled, 2, repeats=False)[0] % 8).tolist()) == {1, 2}


def test_unusable_triangles_are_counted_and_left_out() -> None:
    uvs = cube().uvs.copy()
    uvs[0] = np.nan
    uvs[1] = 0.25
    uvs[2] *= 1e6
    texels = rasterise(with_uvs(cube(), uvs).mesh(), 32)
    assert texels.skipped == 3
    assert not np.isin(texels.triangle.numpy(), [0, 1, 2]).any()


def test_the_order_of_work_does_not_change_the_result() -> None:
    mesh = sculpt(40, 40).mesh()
    texels = rasterise(mesh, 128)
    whole = texels.all()
    parts = [texels.part(begin, begin + 1500) for begin in range(0, 128 * 128, 1500)]
    torch.testing.assert_close(torch.cat([p.offset for p in parts], 1), whole.offset, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([p.index for p in parts]), whole.index, rtol=0, atol=0)


def test_tangents_point_where_u_and_v_grow() -> None:
    tangent, bitangent = tangent_frames(plane().mesh())
    np.testing.assert_allclose(tangent.numpy(), [[1, 0, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(bitangent.numpy(), [[0, 0, 1]] * 2, atol=1e-6)
    mirrored = with_uvs(plane(), np.stack([1.0 - plane().uvs[..., 0], plane().uvs[..., 1]], -1))
    tangent, bitangent = tangent_frames(mirrored.mesh())
    np.testing.assert_allclose(tangent.numpy(), [[-1, 0, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(bitangent.numpy(), [[0, 0, 1]] * 2, atol=1e-6)


def test_texel_density_is_area_over_texels() -> None:
    mesh = plane(size=2.0, margin=0.25).mesh()
    texels = rasterise(mesh, 64)
    np.testing.assert_allclose(Surface(mesh, texels).texel_areas().numpy(), (2.0 / 32) ** 2, rtol=1e-5)
