"""Samples: deterministic, said in words that match, split cleanly, with the server's own control images."""

from __future__ import annotations

import torch
from captions import HELD_OUT_TEMPLATES, dress, held_out_pair, vocabulary_lines
from data import HELD_OUT_SEED, make
from materials import COLOURS, FINISHES, MATERIALS, Point, evaluate
from render import LIGHTS
from scenes import random_scenes, trace
from scumble_server.engine.conditioning import depth_image, normal_image, to_bytes

CPU = torch.device("cpu")


def test_a_sample_has_the_shapes_it_promises_and_depends_on_its_seed_alone() -> None:
    one, two, other = make(3, 8, 32, CPU), make(3, 8, 32, CPU), make(3, 9, 32, CPU)
    for picture in (one.image, one.depth, one.normal):
        assert picture.shape == (3, 3, 32, 32)
        assert picture.dtype == torch.uint8
    assert one.normals.shape == (3, 32, 32, 3)
    assert one.mask.shape == (3, 32, 32)
    assert torch.equal(one.image, two.image)
    assert one.captions == two.captions
    assert not torch.equal(one.image, other.image)


def test_control_images_are_the_servers_own() -> None:
    sample = make(4, 21, 40, CPU)
    scene = random_scenes(4, torch.Generator().manual_seed(21))
    buffers = trace(scene, 40, 40)
    depth = to_bytes(depth_image(buffers.depth))
    normal = to_bytes(normal_image(buffers.view_normal(scene.view)))
    assert torch.equal(sample.depth[~scene.parallel].permute(0, 2, 3, 1), depth[~scene.parallel])
    assert torch.equal(sample.normal.permute(0, 2, 3, 1), normal)


def test_training_and_evaluation_share_no_wording_template_and_no_pair_of_material_and_light() -> None:
    marks = ("built from", "picture of", "as far as the eye", "carved out of", "should be")
    assert all(any(mark in template for mark in marks) for template in HELD_OUT_TEMPLATES)
    for seed in range(6):
        training = dress(random_scenes(64, torch.Generator().manual_seed(seed)), seed)[1]
        evaluation = dress(random_scenes(64, torch.Generator().manual_seed(seed), True), HELD_OUT_SEED + seed, True)[1]
        assert not any(held_out_pair(caption.material, caption.light) for caption in training)
        assert not any(mark in caption.text for caption in training for mark in marks)
        for caption in evaluation:
            # Some materials have no light that is kept from training; these are only new in words.
            kept = any(held_out_pair(caption.material, light) for light in LIGHTS)
            assert held_out_pair(caption.material, caption.light) == kept


def test_captions_name_what_is_worn() -> None:
    _, captions = dress(random_scenes(64, torch.Generator().manual_seed(3)), 3)
    by_name = {material.name: material for material in MATERIALS}
    for caption in captions:
        words = [word for phrase in by_name[caption.material].phrases for word in phrase.split()]
        assert any(word in caption.text for word in words), caption


def test_flat_light_shows_albedo_without_shading() -> None:
    """A plain plastic under flat light has one colour per object, however its faces turn."""
    scene = random_scenes(24, torch.Generator().manual_seed(5))
    look, _ = dress(scene, 5)
    from dataclasses import replace

    from render import render

    names = [material.name for material in MATERIALS]
    look = replace(
        look,
        light=torch.full_like(look.light, list(LIGHTS).index("flat")),
        material=torch.full_like(look.material, names.index("plastic")),
        finish=torch.full_like(look.finish, -1),
    )
    buffers = trace(scene, 32, 32)
    image = render(scene, look, buffers)
    for row in range(24):
        pixels = image[row][buffers.slot[row] == 3]
        if len(pixels) > 20:
            assert float(pixels.std(0).max()) < 0.03


def test_every_material_and_finish_gives_finite_plausible_surfaces() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 64
    normal = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    for tinted in (False, True):
        point = Point(
            torch.randn(count, 3, generator=generator) * 2,
            normal,
            torch.rand(count, 8, generator=generator),
            torch.full((count, 3), 0.3),
            torch.full((count,), tinted),
        )
        for index in range(len(MATERIALS)):
            for finish in (-1, index % len(FINISHES)):
                surface = evaluate(torch.full((count,), index), torch.full((count,), finish), point, normal[:, 2])
                assert torch.isfinite(surface.albedo).all()
                assert torch.isfinite(surface.height).all()
                assert 0 < float(surface.albedo.min()) <= float(surface.albedo.max()) < 1
                assert 0 <= float(surface.rough.min()) <= float(surface.rough.max()) <= 1.3


def test_there_is_enough_to_say() -> None:
    assert len(MATERIALS) >= 40
    assert len({material.name for material in MATERIALS}) == len(MATERIALS)
    assert len(COLOURS) >= 12
    assert len(LIGHTS) >= 8
    assert len(set(vocabulary_lines())) > 250


def test_the_light_comes_over_the_viewers_left_shoulder_unless_it_is_flat() -> None:
    scene = random_scenes(40, torch.Generator().manual_seed(5), False)
    look, _ = dress(scene, 5)
    toward_light = torch.einsum("bij,bj->bi", scene.view[:, :3, :3], look.sun)
    level = torch.einsum("bij,bj->bi", scene.view[:, :3, :3], torch.tensor([0.0, 0.0, 1.0]).expand(40, 3))
    assert (toward_light[:, 0] < 0).all(), "from the left"
    assert ((toward_light * level).sum(-1) > 0).all(), "from above the horizon"
