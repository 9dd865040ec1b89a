"""Seamless materials, larger images and textures of 16 bits in Blender, through a real server."""

from __future__ import annotations

import importlib
import json

import bpy
import numpy as np
import pytest


def values_of(image):
    """Blender's pixels, float32 H x W x channels, top row first."""
    width, height = image.size
    values = np.zeros(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, image.channels)[::-1]


def blocks():
    return {
        name: sorted(block.name for block in getattr(bpy.data, name))
        for name in ("objects", "materials", "images", "node_groups", "meshes")
    }


def refusal(call):
    from scumble_shared.errors import ScumbleError

    with pytest.raises(ScumbleError) as caught:
        call()
    return caught.value.info


@pytest.fixture
def part(addon):
    return lambda name: importlib.import_module(f"{addon.__name__}.{name}")


@pytest.fixture
def plane(scene):
    plane = bpy.data.objects["Plane"]
    old = bpy.data.materials.new("Old")
    if old.node_tree is None:
        old.use_nodes = True
    plane.data.materials.append(old)
    bpy.ops.ed.undo_push(message="Material")
    return plane


def picture(name="Photo", side=32, depth=8):
    """An image with a hole in its alpha, left unpacked. depth: 16 holds it in floats."""
    image = bpy.data.images.new(name, side, side, alpha=True, float_buffer=depth == 16)
    row = np.linspace(0.1, 0.9, side, dtype=np.float32)
    values = np.ones((side, side, 4), np.float32)
    values[..., 0], values[..., 1], values[..., 2] = row, row[:, None], 0.25
    values[: side // 4, :, 3] = 0.0
    image.pixels.foreach_set(values.ravel())
    image.update()
    return image


# --- seamless materials -----------------------------------------------------------------------------


def test_a_seamless_material_stands_by_itself(api, scene, plane):
    before = [slot.material.name for slot in plane.material_slots]
    material = api.seamless_material(prompt="moss", width=64, height=64)
    assert material.name == "moss"
    assert material.use_fake_user
    assert [slot.material.name for slot in plane.material_slots] == before
    texture = next(node for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert (texture.extension, texture.projection, tuple(texture.image.size)) == ("REPEAT", "FLAT", (64, 64))
    shader = material.node_tree.nodes["Principled BSDF"]
    assert shader.inputs["Base Color"].links[0].from_node == texture
    mapping = texture.inputs["Vector"].links[0].from_node
    assert (mapping.type, mapping.inputs["Vector"].links[0].from_socket.name) == ("MAPPING", "UV")
    assert json.loads(texture.image["scumble"])["job"]["tiling"] == "xy"


def test_given_to_objects_only_when_asked_and_one_undo_takes_it_back(api, scene, plane):
    bpy.ops.ed.undo_push(message="Before")
    before = blocks(), plane.active_material.name
    material = api.seamless_material([plane], prompt="moss", width=64, height=64, scale=3.0)
    assert plane.active_material == material
    assert material.node_tree.nodes["Mapping"].inputs["Scale"].default_value[0] == pytest.approx(3.0)
    assert bpy.data.materials["Old"].use_fake_user
    bpy.ops.ed.undo()
    assert (blocks(), bpy.data.objects["Plane"].active_material.name) == before


def test_on_a_box_with_maps_and_as_an_asset(api, scene, plane):
    material = api.seamless_material(
        prompt="rusty metal",
        width=64,
        height=64,
        maps=("roughness", "normal", "height"),
        projection="BOX",
        as_asset=True,
    )
    nodes = material.node_tree.nodes
    pictures = [node for node in nodes if node.type == "TEX_IMAGE"]
    assert {node.projection for node in pictures} == {"BOX"}
    assert [node.type for node in nodes if node.type in ("BUMP", "NORMAL_MAP")] == ["BUMP"]
    assert nodes["Principled BSDF"].inputs["Roughness"].links
    assert material.asset_data is not None
    assert material.asset_data.description == "rusty metal"


def test_the_operator_waits_in_background_and_says_what_is_missing(addon, api, scene, plane):
    scene.scumble_seamless.size, scene.scumble_seamless.assign = 64, True
    plane.select_set(True)
    assert bpy.ops.scumble.seamless_material(wait=True) == {"FINISHED"}
    assert plane.active_material.name == "old stone"
    scene.scumble.prompt = " "
    assert not bpy.ops.scumble.seamless_material.poll()


def test_what_makes_no_seamless_material(api, scene, plane):
    assert refusal(lambda: api.seamless_material(prompt="moss", tiling="z")).field == "job.tiling"
    assert refusal(lambda: api.seamless_material(projection="SPHERE")).field == "projection"
    assert refusal(lambda: api.seamless_material(view=None)).field == "view"
    assert refusal(lambda: api.seamless_material([scene.camera], prompt="moss")).field == "objects"


def test_texture_from_view_is_not_fooled_by_it(api, part, scene, plane):
    picture = api.generate(width=64, height=64)
    api.seamless_material(prompt="moss", width=64, height=64)
    assert part("actions").latest_generation().id == picture.id


# --- larger images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("method", ["lanczos", "diffusion"])
def test_an_image_gets_a_larger_one_beside_it(api, scene, depth, method):
    image = picture(depth=depth)
    before = values_of(image).copy()
    large = api.enlarge(image, method=method, factor=2, num_inference_steps=2, tile_size=64, tile_overlap=16)
    assert large.name == "Photo 2x"
    assert tuple(large.size) == (64, 64)
    assert large.colorspace_settings.name == image.colorspace_settings.name
    assert large.is_float == (depth == 16)
    assert (values_of(image) == before).all()
    shrunk = values_of(large).reshape(32, 2, 32, 2, 4).mean((1, 3))
    inner = np.s_[:20, 4:-4]
    assert np.abs(shrunk - before)[inner].mean() < (0.02 if method == "lanczos" else 0.1)
    assert values_of(large)[:40, :, 3].min() == 1.0
    assert values_of(large)[-12:, :, 3].max() == 0.0


def test_one_undo_and_the_old_one_stays(api, scene, plane):
    image = picture()
    node = plane.active_material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    bpy.ops.ed.undo_push(message="Before")
    before = blocks()
    large = api.enlarge(image, method="lanczos", factor=4, replace=True)
    assert node.image == large
    assert tuple(large.size) == (128, 128)
    bpy.ops.ed.undo()
    assert blocks() == before
    nodes = bpy.data.materials["Old"].node_tree.nodes
    assert next(node for node in nodes if node.type == "TEX_IMAGE").image.name == "Photo"


def test_the_operator_takes_what_the_object_shows(addon, api, scene, plane):
    scene.scumble_upscale.method, scene.scumble_upscale.factor = "lanczos", "2"
    node = plane.active_material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = picture()
    bpy.context.view_layer.objects.active = plane
    assert bpy.ops.scumble.upscale(wait=True) == {"FINISHED"}
    assert tuple(bpy.data.images["Photo 2x"].size) == (64, 64)
    with pytest.raises(RuntimeError, match="no image called"):
        bpy.ops.scumble.upscale(image="Gone", wait=True)


def test_what_cannot_be_enlarged(api, scene):
    tiled = bpy.data.images.new("Tiles", 8, 8, tiled=True)
    assert "UDIM" in refusal(lambda: api.enlarge(tiled)).message
    image = picture()
    assert refusal(lambda: api.enlarge(image, factor=3)).field == "job.factor"
    assert refusal(lambda: api.enlarge(image, method="model", upscaler="gone")).field == "job.upscaler"
    assert refusal(lambda: api.enlarge(image, view=None)).field == "view"


# --- 16 bits, refining, masks -----------------------------------------------------------------------


def test_a_smooth_gradient_keeps_its_levels_into_the_file_and_back(api, part, scene, plane, tmp_path):
    """More than 256, from the picture that is projected to a .blend that is opened again."""
    scene.scumble.texture_size, scene.scumble.bit_depth = 512, "16"
    record = api.generate(width=64, height=64)
    ramp = np.linspace(8000.0, 57000.0, 512).round().astype(np.uint16)
    fine = np.broadcast_to(ramp[None, :, None], (512, 512, 3)).copy()
    prepared = part("prepare")
    first = record.prepared["image/0"]
    shown = prepared.Picture("image/0", fine, first.png, first.icon, first.record)
    jobs = part("state").session().jobs
    jobs._records[record.id] = part("jobs").replace(record, prepared={"image/0": shown}, digests={})
    api.texture_from_view(jobs.get(record.id), [plane])
    image = bpy.data.images["Scumble Plane"]
    assert image.is_float
    levels = len(np.unique(values_of(image)[256, 16:-16, 0]))
    assert levels > 400
    expected = values_of(image).copy()
    path = str(tmp_path / "fine.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    again = bpy.data.images["Scumble Plane"]
    assert again.packed_file is not None
    np.testing.assert_allclose(values_of(again), expected, atol=1e-6)
    png = again.packed_file.data
    assert png[24] == 16  # bits per channel, in the PNG's header


def test_refined_with_extra_views_they_are_part_of_the_recipe(api, scene, plane):
    scene.scumble.width = scene.scumble.height = 32
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    record = api.texture_around([cube], views={"CURRENT"}, extra_views=2, refine_strength=0.6, num_inference_steps=3)
    views = cube.scumble_texture.views
    assert len(record.job.views) == 1
    assert len(views) == 3
    assert all(view.image is not None for view in views)
    baked = api.rebake_texture(cube, texture_size=32)
    assert len(baked.job.views) == 3
    assert baked.job.extra_views == 0


@pytest.mark.parametrize("unseen", ["FILL", "KEEP"])
def test_what_is_white_in_the_mask_stays(api, scene, plane, unseen):
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    mask = bpy.data.images.new("Mask", 16, 16)
    values = np.zeros((16, 16, 4), np.float32)
    values[:, :8, :3], values[..., 3] = 1.0, 1.0
    mask.pixels.foreach_set(values.ravel())
    scene.scumble.keep_mask = mask
    scene.scumble.width = scene.scumble.height = 32
    record = api.texture_around([cube], unseen=unseen)
    texture = record.prepared["texture/Cube"].pixels
    grey = texture[:, :32, :3]
    assert (grey == grey[0, 0]).all()
    assert texture[:, 32:, :3].std() > 0
    scene.scumble.keep_mask = None
    again = api.texture_again(cube)
    assert again.job.keep == ()


def test_a_mask_is_of_one_object(api, scene, plane):
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    scene.scumble.keep_mask = picture("Mask")
    assert refusal(lambda: api.texture_around([plane, bpy.context.object])).field == "keep"
