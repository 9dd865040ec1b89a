"""Captured views: what is packed comes back, and training sees in them what the ray-caster would have shown."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captions import Order
from captured import Captured
from data import HELD_OUT_SEED, NO_MATERIAL, make
from hypothesis import given
from hypothesis import strategies as st
from materials import MATERIALS
from scenes import KINDS, Buffers, Scene, Window, random_scenes, trace
from views import (
    GROUPS,
    KIND_NAMES,
    NOTHING,
    PARTS,
    SUNS,
    Views,
    decode_depth,
    encode_depth,
    from_octahedron,
    load_views,
    save_views,
    to_octahedron,
)

CPU = torch.device("cpu")
SIZE, COUNT = 32, 6
HELD_OUT = Path(__file__).parents[2] / "starter" / "held_out"


@pytest.fixture(scope="module")
def traced() -> tuple[Scene, Buffers]:
    scene = random_scenes(COUNT, torch.Generator().manual_seed(3))
    scene = replace(scene, parallel=torch.arange(COUNT) % 2 == 0)
    return scene, trace(scene, SIZE, SIZE)


def views_of(scene: Scene, buffers: Buffers, seed: int = 0) -> Views:
    """What a capture of these scenes would have written."""
    codes = [encode_depth(d.numpy(), bool(p)) for d, p in zip(buffers.depth, scene.parallel, strict=True)]
    part = torch.where(buffers.slot >= 0, buffers.slot, NOTHING).to(torch.uint8).numpy()
    suns = torch.nn.functional.normalize(
        torch.randn(COUNT, SUNS, 3, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    spare = PARTS - GROUPS
    return Views(
        depth=np.stack([code for code, _, _ in codes]),
        normal=to_octahedron(buffers.view_normal(scene.view).numpy()),
        part=part,
        lit=np.random.default_rng(0).random((COUNT, SUNS, SIZE // 2, SIZE // 2)) < 0.5,
        open_sky=np.full((COUNT, SIZE // 2, SIZE // 2), 255, np.uint8),
        suns=suns.numpy(),
        view=scene.view.numpy(),
        tan_half=scene.tan_half.numpy(),
        window=scene.window.numpy(),
        parallel=scene.parallel.numpy(),
        nearest=np.array([near for _, near, _ in codes], np.float32),
        farthest=np.array([far for _, _, far in codes], np.float32),
        group=np.tile(np.r_[np.arange(GROUPS), np.zeros(spare)].astype(np.uint8), (COUNT, 1)),
        kind=scene.kind.numpy().astype(np.uint8),
        centre=np.pad(scene.centre.numpy(), ((0, 0), (0, spare), (0, 0))),
        rotation=np.concatenate(
            [scene.rotation.numpy(), np.tile(np.eye(3, dtype=np.float32), (COUNT, spare, 1, 1))], 1
        ),
        source=np.array([(0, seed + i) for i in range(COUNT)], np.int32),
    )


@given(st.booleans(), st.floats(0.1, 5.0), st.floats(0.0, 30.0))
def test_depth_comes_back_to_a_ten_thousandth_of_what_its_range_allows(
    parallel: bool, near: float, span: float
) -> None:
    depth = near + span * np.linspace(0.0, 1.0, 64, dtype=np.float32).reshape(8, 8)
    depth[0, 3] = np.inf
    back = decode_depth(*(lambda c: (c[0], parallel, c[1], c[2]))(encode_depth(depth, parallel)))
    hit = np.isfinite(depth)
    assert np.array_equal(np.isfinite(back), hit)
    step = span / 16382 if parallel else (1 / near - 1 / (near + span)) / 16382 * depth[hit] ** 2
    assert (np.abs(back[hit] - depth[hit]) <= 0.51 * step + 1e-5 * depth[hit]).all()


def test_directions_come_back_to_a_degree() -> None:
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    cosine = (from_octahedron(to_octahedron(directions)) * directions).sum(-1)
    assert np.degrees(np.arccos(cosine.min())) < 1.0


def test_a_file_holds_exactly_what_was_saved(tmp_path: Path, traced: tuple[Scene, Buffers]) -> None:
    views = views_of(*traced)
    save_views(tmp_path / "views.npz", views)
    loaded = load_views(tmp_path / "views.npz")
    for field in fields(Views):
        saved, back = getattr(views, field.name), getattr(loaded, field.name)
        where = (views.part != NOTHING)[..., None] if field.name == "normal" else True
        assert saved.dtype == back.dtype, field.name
        assert np.array_equal(np.where(where, saved, 0), np.where(where, back, 0)), field.name


def test_a_captured_view_shows_what_the_ray_caster_showed(tmp_path: Path, traced: tuple[Scene, Buffers]) -> None:
    scene, buffers = traced
    save_views(tmp_path / "views.npz", views_of(scene, buffers))
    shot = Captured(tmp_path, CPU, SIZE).shot(torch.arange(COUNT))
    hit = buffers.slot >= 0
    assert torch.equal(shot.buffers.slot, buffers.slot)
    torch.testing.assert_close(shot.buffers.direction, buffers.direction)
    assert torch.equal(torch.isfinite(shot.buffers.depth), hit)
    torch.testing.assert_close(shot.buffers.position[hit], buffers.position[hit], atol=5e-3, rtol=1e-3)
    assert float((shot.buffers.normal[hit] * buffers.normal[hit]).sum(-1).min()) > math.cos(math.radians(1.0))
    assert torch.equal(shot.dressing().kind, scene.kind)


def test_half_the_size_is_every_other_pixel_and_a_window_is_a_part(
    tmp_path: Path, traced: tuple[Scene, Buffers]
) -> None:
    save_views(tmp_path / "views.npz", views_of(*traced))
    at = torch.arange(COUNT)
    whole = Captured(tmp_path, CPU, SIZE).shot(at)
    half = Captured(tmp_path, CPU, SIZE // 2).shot(at).buffers
    part = Captured(tmp_path, CPU, SIZE).shot(at, Window(4, 8, 16, 12))
    for name in ("position", "normal", "depth", "slot", "direction"):
        full = getattr(whole.buffers, name)
        assert torch.equal(getattr(half, name), full[:, ::2, ::2]), name
        assert torch.equal(getattr(part.buffers, name), full[:, 4:20, 8:20]), name
    assert torch.equal(part.lit, whole.lit[:, :, 4:20, 8:20])
    with pytest.raises(ValueError, match="can't be shown"):
        Captured(tmp_path, CPU, 24)


def test_a_folder_without_views_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"capture\.py"):
        Captured(tmp_path, CPU, SIZE)


def test_training_and_evaluation_never_share_views(tmp_path: Path, traced: tuple[Scene, Buffers]) -> None:
    save_views(tmp_path / "views.npz", views_of(*traced))
    training, evaluation = Captured(tmp_path, CPU, SIZE), Captured(HELD_OUT, CPU, SIZE)
    with pytest.raises(ValueError, match="evaluation"):
        make(2, HELD_OUT_SEED, SIZE, CPU, captured=training)
    with pytest.raises(ValueError, match="evaluation"):
        make(2, 0, SIZE, CPU, captured=evaluation)
    save_views(tmp_path / "more.npz", views_of(*traced, seed=HELD_OUT_SEED))
    with pytest.raises(ValueError, match="training and for evaluation"):
        Captured(tmp_path, CPU, SIZE)


def test_a_batch_takes_its_share_from_captured_views_and_all_of_it_is_decided_by_the_seed() -> None:
    captured = Captured(HELD_OUT, CPU, SIZE)
    mixed, again = (make(8, HELD_OUT_SEED + 5, SIZE, CPU, captured=captured, share=0.5) for _ in range(2))
    assert mixed.image.shape == (8, 3, SIZE, SIZE)
    assert torch.equal(mixed.image, again.image)
    assert mixed.captions == again.captions
    traced = make(4, HELD_OUT_SEED + 5, SIZE, CPU)
    assert torch.equal(mixed.image[:4], traced.image)
    assert mixed.captions[:4] == traced.captions
    assert make(3, HELD_OUT_SEED, SIZE, CPU, captured=captured, share=0.0).image.shape[0] == 3
    assert make(3, HELD_OUT_SEED, SIZE, CPU, captured=captured, share=1.0).image.shape[0] == 3


def test_what_is_ordered_is_worn_and_the_light_is_one_whose_shadows_are_known() -> None:
    captured = Captured(HELD_OUT, CPU, SIZE)
    names = [material.name for material in MATERIALS]
    orders = [Order((name,) * GROUPS, "studio") for name in ("snow", "lava", "gold", "denim")]
    sample = make(4, HELD_OUT_SEED, SIZE, CPU, captured=captured, share=0.5, orders=orders)
    for row, order in enumerate(orders):
        worn = sample.material[row][sample.material[row] != NO_MATERIAL]
        assert worn.unique().tolist() == [names.index(order.materials[0])]
    assert [caption.light for caption in sample.captions] == ["studio"] * 4


def test_blenders_held_out_scenes_lie_beside_the_recipe() -> None:
    captured = Captured(HELD_OUT, CPU, 256)
    assert captured.held_out
    assert len(captured) >= 40
    assert len(set(captured.views.source[:, 0].tolist())) >= 6
    shot = captured.shot(torch.arange(len(captured)))
    facing = (shot.buffers.normal * shot.buffers.direction).sum(-1)[shot.buffers.slot >= 0]
    assert float((facing < 0.1).float().mean()) > 0.98, "surfaces face the viewer"
    left = torch.einsum("bij,bsj->bsi", shot.scene.view[:, :3, :3], shot.suns)[..., 0]
    assert (left < 0).all(), "light comes from the left, as everywhere in training"


def test_both_sides_name_shapes_alike() -> None:
    assert (*KINDS, "other") == KIND_NAMES
