"""A Blender view in, an image and a texture back in the scene, through a real server."""

from __future__ import annotations

import importlib
import json
import threading
from urllib.parse import unquote

import bpy
import numpy as np
import pytest


def pixels_of(image):
    """Blender's pixels as uint8 H x W x 4, top row first."""
    width, height = image.size
    values = np.zeros(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(height, width, 4)[::-1] * 255.0).astype(np.uint8)


def fingerprint(scene):
    """Everything of a file that a capture or a generation might be tempted to touch."""
    simple = (bool, int, float, str)
    render = {
        item.identifier: getattr(scene.render, item.identifier)
        for item in scene.render.bl_rna.properties
        if isinstance(getattr(scene.render, item.identifier), simple)
    }
    things = [
        (thing.name, [tuple(row) for row in thing.matrix_world], thing.select_get(), thing.hide_render,
         [slot.material and slot.material.name for slot in thing.material_slots],
         [layer.name for layer in thing.data.uv_layers] if thing.type == "MESH" else [])
        for thing in scene.objects
    ]  # fmt: skip
    blocks = {
        name: [block.name for block in getattr(bpy.data, name)]
        for name in ("scenes", "objects", "meshes", "materials", "cameras", "worlds", "node_groups", "collections")
    }
    active = bpy.context.view_layer.objects.active
    return render, things, blocks, scene.frame_current, scene.camera.name, active and active.name


def test_the_wheels_in_the_zip_are_the_ones_in_use(api, profile):
    import scumble_shared
    import websockets

    assert str(profile) in scumble_shared.__file__
    assert str(profile) in websockets.__file__


def test_a_generated_picture_becomes_a_packed_image_with_its_provenance(api, scene):
    before = fingerprint(scene)
    record = api.generate(result_actions={"IMAGE", "RENDER"})
    assert fingerprint(scene) == before

    kept = next(image for image in bpy.data.images if image.name == "old stone")
    assert tuple(kept.size) == (64, 64)
    assert kept.packed_file is not None
    assert kept.colorspace_settings.name == "sRGB"
    np.testing.assert_array_equal(pixels_of(kept)[..., :3], record.prepared["image/0"].pixels)
    made_by = json.loads(kept["scumble"])["job"]
    assert (made_by["prompt"], made_by["seed"], made_by["width"]) == ("old stone", 5, 64)
    camera_image = next(image for image in bpy.data.images if image.get("scumble_camera_image") == scene.name)
    np.testing.assert_array_equal(pixels_of(camera_image), pixels_of(kept))


def test_one_undo_takes_the_picture_back(api, scene):
    api.generate(result_actions={"IMAGE"})
    assert "old stone" in bpy.data.images
    bpy.ops.ed.undo()
    assert "old stone" not in bpy.data.images


def test_the_same_job_gives_the_same_pixels_and_another_seed_others(api, scene):
    first, again, other = (api.generate(result_actions=set(), seed=seed) for seed in (5, 5, 6))
    pixels = [record.prepared["image/0"].pixels for record in (first, again, other)]
    np.testing.assert_array_equal(pixels[0], pixels[1])
    assert (pixels[0] != pixels[2]).any()


def test_the_camera_image_is_replaced_not_multiplied(api, scene):
    for seed in (1, 2):
        record = api.generate(result_actions={"RENDER"}, seed=seed)
    images = [image for image in bpy.data.images if image.get("scumble_camera_image")]
    assert len(images) == 1
    np.testing.assert_array_equal(pixels_of(images[0])[..., :3], record.prepared["image/0"].pixels)


@pytest.mark.parametrize("size", [(1, 1), (30, 50)])
def test_odd_sizes_come_back_as_asked(api, scene, size):
    scene.render.resolution_x, scene.render.resolution_y = size
    record = api.generate(result_actions=set(), width=size[0], height=size[1])
    assert record.prepared["image/0"].pixels.shape == (size[1], size[0], 3)


def test_control_images_show_what_the_model_is_told(api, scene):
    scene.scumble.controls.add().kind = "depth"
    scene.scumble.controls.add().kind = "normal"
    bpy.context.object.rotation_euler.x = 0.5
    record = api.control_images()
    depth, normal = (record.prepared[f"control/{index}"].pixels for index in range(2))
    rows = depth[8:-8, 32, 0].astype(int)
    assert (np.diff(rows) <= 0).all() or (np.diff(rows) >= 0).all()
    assert rows.max() > rows.min()
    assert (normal[16:-16, 16:-16].std(axis=(0, 1)) < 2.0).all()  # a tilted plane has one normal


def test_the_operator_works_in_background(api, scene):
    assert bpy.ops.scumble.generate(wait=True) == {"FINISHED"}
    assert "old stone" in bpy.data.images
    assert bpy.ops.scumble.texture_from_view(wait=True) == {"FINISHED"}
    assert bpy.context.object.active_material.name == "Scumble Plane"


# --- texture from view ------------------------------------------------------------------------------


def base_colors(thing, side=64):
    """What Cycles makes of an object's base colour, texel by texel, uint8 sRGB, top row first."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    target = bpy.data.images.new("Bake", side, side)
    for slot in thing.material_slots:
        tree = slot.material.node_tree
        shader = tree.nodes["Principled BSDF"]
        tree.links.new(shader.inputs["Base Color"].links[0].from_socket, shader.inputs["Emission Color"])
        shader.inputs["Emission Strength"].default_value = 1.0
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = target
        tree.nodes.active = node
    bpy.ops.object.bake(type="EMIT", margin=0)
    return pixels_of(target)[..., :3]


def test_a_square_seen_face_on_gets_the_picture_texel_for_texel(api, scene):
    plane = bpy.context.object
    picture = api.generate(result_actions=set())
    api.texture_from_view(picture, [plane])
    texture = bpy.data.images["Scumble Plane"]
    wanted = picture.prepared["image/0"].pixels.astype(int)
    assert np.abs(pixels_of(texture)[..., :3].astype(int) - wanted).max() <= 1
    assert (pixels_of(texture)[..., 3] == 255).all()
    assert np.abs(base_colors(plane).astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("kept_by", ["texture", "nodes"])
def test_unseen_texels_keep_the_material_that_was_there(api, scene, kept_by):
    plane = bpy.context.object
    old = bpy.data.materials.new("Old")
    old.use_nodes = True
    old.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (1.0, 0.0, 0.0, 1.0)
    old.node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.125
    plane.data.materials.append(old)
    if kept_by == "nodes":
        red = old.node_tree.nodes.new("ShaderNodeRGB")
        red.outputs[0].default_value = (1.0, 0.0, 0.0, 1.0)
        old.node_tree.links.new(red.outputs[0], old.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    scene.camera.location.x = 1.0  # sees the right half
    picture = api.generate(result_actions=set())
    api.texture_from_view(picture, [plane])
    material = plane.active_material
    assert material is not old
    source = material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].links[0].from_node
    assert source.type == ("TEX_IMAGE" if kept_by == "texture" else "MIX")  # exporters know the first
    assert material.node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value == 0.125
    colors = base_colors(plane)
    assert (colors[8:-8, :24] == (255, 0, 0)).all()
    right = picture.prepared["image/0"].pixels[:, :32].astype(int)
    assert np.abs(colors[2:-2, 36:-4].astype(int) - right[2:-2, 4:-4]).max() <= 2


def test_a_second_view_adds_to_the_first(api, scene):
    plane = bpy.context.object
    scene.camera.location.x = 1.0
    right = api.generate(result_actions=set(), seed=1)
    api.texture_from_view(right, [plane])
    scene.camera.location.x = -1.0
    left = api.generate(result_actions=set(), seed=2)
    api.texture_from_view(left, [plane])
    colors = base_colors(plane).astype(int)
    pictures = [record.prepared["image/0"].pixels.astype(int) for record in (left, right)]
    assert np.abs(colors[2:-2, 4:28] - pictures[0][2:-2, 36:60]).max() <= 2
    assert np.abs(colors[2:-2, 36:60] - pictures[1][2:-2, 4:28]).max() <= 2


def test_one_undo_puts_the_old_material_back(api, scene):
    plane = bpy.context.object
    old = bpy.data.materials.new("Old")
    plane.data.materials.append(old)
    bpy.ops.ed.undo_push(message="Old material")
    api.texture_from_view(api.generate(result_actions=set()), [plane])
    assert bpy.data.objects["Plane"].active_material.name == "Scumble Plane"
    bpy.ops.ed.undo()
    assert bpy.data.objects["Plane"].active_material.name == "Old"
    assert [material.name for material in bpy.data.materials] == ["Old"]


def test_texturing_touches_only_the_object_that_was_asked_for(api, scene):
    plane = bpy.context.object
    twin = bpy.data.objects.new("Twin", plane.data)  # shares the mesh
    twin.location.x = 9.0
    scene.collection.objects.link(twin)
    uvs = [tuple(item.uv) for item in plane.data.uv_layers[0].data]
    api.texture_from_view(api.generate(result_actions=set()), [plane])
    assert plane.active_material.name == "Scumble Plane"
    assert twin.active_material is None
    assert [tuple(item.uv) for item in plane.data.uv_layers[0].data] == uvs
    assert [layer.name for layer in plane.data.uv_layers] == ["UVMap"]


def test_a_textured_file_survives_saving_and_loading(api, scene, tmp_path):
    api.texture_from_view(api.generate(result_actions={"IMAGE"}), [bpy.context.object])
    pixels = pixels_of(bpy.data.images["Scumble Plane"])
    path = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    assert bpy.data.objects["Plane"].active_material.name == "Scumble Plane"
    np.testing.assert_array_equal(pixels_of(bpy.data.images["Scumble Plane"]), pixels)
    assert "old stone" in bpy.data.images


def test_the_material_exports_as_gltf_with_its_texture(api, scene, tmp_path):
    plane = bpy.context.object
    scene.camera.location.x = 1.0  # sees half of it
    api.texture_from_view(api.generate(result_actions=set()), [plane])
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "scene.gltf"), export_format="GLTF_SEPARATE")
    exported = json.loads((tmp_path / "scene.gltf").read_text())
    assert "baseColorTexture" in exported["materials"][0]["pbrMetallicRoughness"]
    assert (tmp_path / unquote(exported["images"][0]["uri"])).stat().st_size > 1000


def test_the_viewport_is_captured_and_its_picture_shown_over_it(api, addon, scene):
    overlay = importlib.import_module(f"{addon.__name__}.apply.overlay")
    before = fingerprint(scene)
    record = api.generate(source="VIEWPORT", result_actions={"OVERLAY"}, width=48, height=40)
    assert record.prepared["image/0"].pixels.shape == (40, 48, 3)
    assert fingerprint(scene) == before
    assert overlay.shown_job() == record.id
    bpy.ops.scumble.show_overlay()
    assert not overlay.is_shown()
    bpy.ops.scumble.show_overlay()
    assert overlay.shown_job() == record.id


def test_previews_come_step_by_step_and_take_the_overlays_place(api, addon, scene):
    overlay = importlib.import_module(f"{addon.__name__}.apply.overlay")
    overlay.clear()
    seen = []
    api.generate(
        num_inference_steps=6,
        result_actions={"OVERLAY"},
        on_preview=lambda record, pixels: seen.append((record.step, pixels.shape[2], overlay.shown_job() == record.id)),
    )
    assert seen
    assert [step for step, _, _ in seen] == sorted({step for step, _, _ in seen})
    assert {channels for _, channels, _ in seen} == {4}
    assert overlay.is_shown()


def test_a_batch_gives_as_many_pictures(api, scene):
    record = api.generate(batch_size=2, result_actions={"IMAGE"})
    assert list(record.prepared) == ["image/0", "image/1"]
    again = api.generate(seed=6, result_actions=set())  # picture i has seed + i
    np.testing.assert_array_equal(record.prepared["image/1"].pixels, again.prepared["image/0"].pixels)
    assert len([image for image in bpy.data.images if image.name.startswith("old stone")]) == 2


def test_nothing_is_left_running_after_disconnect(api, scene):
    api.generate(result_actions=set())
    api.disconnect()
    assert [thread.name for thread in threading.enumerate() if "scumble" in thread.name] == []
