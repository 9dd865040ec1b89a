"""Prompts of objects from Blender's properties to a real server, in pictures and in textures, and none afterwards."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest


@pytest.fixture
def halves(scene) -> dict[str, bpy.types.Object]:
    """Two walls side by side that fill the view."""
    bpy.data.objects.remove(scene.objects["Plane"])
    scene.scumble.prompt = "stone"
    scene.scumble.num_inference_steps, scene.scumble.guidance_scale = 8, 4.0
    scene.scumble.width = scene.scumble.height = 128
    found = {}
    for name, x in (("Left", -0.5), ("Right", 0.5)):
        bpy.ops.mesh.primitive_plane_add(size=1.0, location=(x, 0.0, 0.0))
        thing = bpy.context.object
        thing.name, thing.scale.y = name, 2.0
        found[name] = thing
    return found


def greenness(pixels: np.ndarray) -> float:
    red, green, _ = pixels[..., :3].reshape(-1, 3).mean(0)
    return float(green / red)


def test_each_object_has_its_own_and_nothing_stays(api, scene, halves):
    plain = api.generate().prepared["image/0"].pixels
    gold, grass = (greenness(api.generate(prompt=word).prepared["image/0"].pixels) for word in ("gold", "grass"))
    assert grass > gold + 0.1, "or it would prove nothing"
    halves["Left"].scumble_region.prompt = "gold"
    halves["Right"].scumble_region.prompt = "grass"
    record = api.generate()
    pixels = record.prepared["image/0"].pixels
    left, right = greenness(pixels[:, :56]), greenness(pixels[:, 72:])
    assert abs(left - gold) < abs(left - grass), "as the whole picture is with that prompt"
    assert abs(right - grass) < abs(right - gold)
    assert [region.prompt for region in record.job.regions] == ["gold", "grass"]
    for thing in halves.values():
        thing.scumble_region.enabled = False
    assert (api.generate().prepared["image/0"].pixels == plain).all()


def test_one_out_of_sight_is_told_with_the_picture(api, scene, halves):
    halves["Right"].scumble_region.prompt = "grass"
    halves["Right"].hide_render = True
    assert "Right isn't in the picture" in api.generate().note


def test_textures_and_the_same_once_more(api, scene, halves):
    halves["Right"].scumble_region.prompt = "grass"
    things = [halves["Left"], halves["Right"]]
    record = api.texture_around(things, views={"AUTOMATIC"}, texture_size=64)
    textures = {name: record.prepared[f"texture/{name}"].pixels for name in halves}
    assert greenness(textures["Right"]) > 1.3 * greenness(textures["Left"])
    halves["Right"].scumble_region.prompt = "gold"
    again = api.texture_again(halves["Left"])
    assert again.job.regions == record.job.regions, "the recipe has them, whatever the objects say now"
    assert (again.prepared["view/0"].pixels == record.prepared["view/0"].pixels).all()


def test_live_mode_follows_a_prompt_as_it_is_given(api, scene, halves):
    if not importlib.import_module("bl_ext.user_default.scumble.capture").gpu_available():
        pytest.skip("updating a viewport needs a GPU (or Mesa's libEGL)")
    scene.scumble.num_inference_steps = 4
    with api.live() as live:
        live.settle(120)
        before = live.pixels
        halves["Right"].scumble_region.prompt = "grass"
        record = live.settle(120)
        assert [region.prompt for region in record.job.regions] == ["grass"]
        assert record.job.view.object_id is not None
        middle = before.shape[1] // 2
        assert greenness(live.pixels[:, middle + 8 :]) > 1.2 * greenness(before[:, middle + 8 :])
        ids = record.tensors[record.job.view.object_id]
        assert set(record.job.regions[0].objects) <= set(np.unique(ids).tolist())
