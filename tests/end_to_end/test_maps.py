"""Maps of materials, from a real server into Blender's nodes and on into glTF."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest

ALL = ("albedo", "roughness", "metallic", "normal", "height", "ao")


def pixels_of(image) -> np.ndarray:
    """Blender's pixels as float32 H x W x 4 in [0, 1] as they are kept, top row first."""
    width, height = image.size
    values = np.zeros(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, 4)[::-1]


def shader_of(material):
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


def source_of(socket):
    """The node that a socket takes its value from."""
    (link,) = socket.links
    return link.from_node


@pytest.fixture
def cube(scene):
    """In place of the square: a cube with a material of its own."""
    bpy.data.objects.remove(bpy.data.objects["Plane"])
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    old = bpy.data.materials.new("Old")
    if old.node_tree is None:
        old.use_nodes = True
    cube.data.materials.append(old)
    scene.scumble.width = scene.scumble.height = 32
    scene.scumble.prompt = "rusty iron"
    bpy.ops.ed.undo_push(message="Cube")
    return cube


# --- into nodes -------------------------------------------------------------------------------------


def test_all_maps_are_wired_to_the_shader_in_their_colour_spaces(api, cube):
    record = api.texture_around([cube], maps=ALL)
    material = cube.active_material
    shader = shader_of(material)
    nodes = {
        "albedo": source_of(shader.inputs["Base Color"]),
        "roughness": source_of(shader.inputs["Roughness"]),
        "metallic": source_of(shader.inputs["Metallic"]),
        "normal": source_of(source_of(shader.inputs["Normal"]).inputs["Color"]),
    }
    reader = source_of(shader.inputs["Normal"])
    assert (reader.type, reader.space, reader.uv_map) == ("NORMAL_MAP", "TANGENT", "UVMap")
    for kind, node in nodes.items():
        assert node.type == "TEX_IMAGE", kind
        assert node.image.colorspace_settings.name == ("sRGB" if kind == "albedo" else "Non-Color"), kind
        sent = record.prepared[f"{kind}/Cube"].pixels
        kept = pixels_of(node.image)[..., : sent.shape[2]]
        np.testing.assert_allclose(kept, sent / 255.0, atol=1e-3)
        assert not node.image.use_fake_user
        assert node.inputs["Vector"].links[0].from_node.uv_map == "UVMap"
    group = next(node for node in material.node_tree.nodes if node.type == "GROUP")
    assert source_of(group.inputs["Occlusion"]).image.name == "Scumble Cube Ambient Occlusion"
    assert json.loads(nodes["normal"].image["scumble"])["provenance"]["maps"]["estimators"]["normal"] == "built-in"
    # Normals and height hold the same relief.
    assert not any(node.type in ("BUMP", "DISPLACEMENT") for node in material.node_tree.nodes)


def test_height_alone_is_a_bump_of_the_height_that_was_told_in_sixteen_bits(api, cube):
    record = api.texture_around([cube], maps=("height",))
    bump = source_of(shader_of(cube.active_material).inputs["Normal"])
    assert bump.type == "BUMP"
    told = json.loads(record.provenance)["maps"]["height_range"]["Cube"]
    assert bump.inputs["Distance"].default_value == pytest.approx(told)
    image = source_of(bump.inputs["Height"]).image
    sent = record.prepared["height/Cube"].pixels[..., 0]
    assert sent.dtype == np.uint16
    np.testing.assert_allclose(pixels_of(image)[..., 0], sent / 65535.0, atol=1e-5)


def test_one_undo_takes_all_of_it_back(api, scene, cube):
    def blocks():
        kinds = ("materials", "images", "node_groups")
        return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in kinds}

    before = blocks()
    api.texture_around([cube], maps=ALL)
    assert len(blocks()["images"]) > len(before["images"]) + 6
    bpy.ops.ed.undo()
    assert blocks() == before
    assert bpy.data.objects["Cube"].active_material.name == "Old"
    assert not bpy.data.materials["Old"].node_tree.nodes["Principled BSDF"].inputs["Roughness"].links


def test_the_scenes_ticks_count_and_an_unticked_texture_has_none(api, scene, cube):
    scene.scumble.maps = {"roughness", "normal"}
    record = api.texture_around([cube])
    assert record.job.maps == ("roughness", "normal")
    assert json.loads(cube.scumble_texture.recipe)["maps"] == ["roughness", "normal"]
    scene.scumble.maps = set()
    plain = api.texture_around([cube])
    assert plain.job.maps == ()
    shader = shader_of(cube.active_material)
    # What the earlier texture brought doesn't stay under the new one.
    assert not shader.inputs["Roughness"].links
    assert not shader.inputs["Normal"].links
    assert [node.type for node in cube.active_material.node_tree.nodes].count("TEX_IMAGE") == 1


def test_maps_are_made_for_a_texture_there_is_without_generating(api, cube):
    first = api.texture_around([cube])
    record = api.make_maps(cube, maps=("normal", "roughness"))
    assert all(view.image is not None for view in record.job.views)
    np.testing.assert_array_equal(record.prepared["texture/Cube"].pixels, first.prepared["texture/Cube"].pixels)
    assert source_of(shader_of(cube.active_material).inputs["Normal"]).type == "NORMAL_MAP"
    bpy.context.view_layer.objects.active = cube
    bpy.ops.scumble.make_maps(wait=True)  # nothing is ticked: all of them
    assert shader_of(cube.active_material).inputs["Metallic"].links


def test_maps_on_udim_tiles_are_tiled_images(api, cube):
    layer = cube.data.uv_layers.active.data
    for polygon in cube.data.polygons:
        for loop in polygon.loop_indices:
            layer[loop].uv.x = layer[loop].uv.x * 0.9 + 0.05 + (polygon.index % 2)
            layer[loop].uv.y = layer[loop].uv.y * 0.9 + 0.05
    api.texture_around([cube], maps=("normal", "height"))
    image = source_of(source_of(shader_of(cube.active_material).inputs["Normal"]).inputs["Color"]).image
    assert image.source == "TILED"
    assert image.colorspace_settings.name == "Non-Color"
    assert [tile.number for tile in image.tiles] == [1001, 1002]


# --- from one view ----------------------------------------------------------------------------------


def test_a_picture_on_part_of_a_surface_leaves_the_rest_as_it_was(api, scene):
    square = bpy.data.objects["Plane"]
    old = bpy.data.materials.new("Old")
    if old.node_tree is None:
        old.use_nodes = True
    noise = old.node_tree.nodes.new("ShaderNodeTexNoise")
    old.node_tree.links.new(noise.outputs["Color"], shader_of(old).inputs["Base Color"])
    square.data.materials.append(old)
    scene.scumble.maps = set(ALL)
    api.generate()
    record = api.texture_from_view(objects=[square])
    assert record.job.prompt == "old stone"
    shader = shader_of(square.active_material)
    for socket in ("Base Color", "Roughness", "Metallic"):
        mix = source_of(shader.inputs[socket])
        assert mix.type == "MIX", socket
        factor = next(socket for socket in mix.inputs if socket.identifier == "Factor_Float")
        assert factor.links[0].from_socket.name == "Alpha"
    reader = source_of(shader.inputs["Normal"])
    assert reader.inputs["Strength"].links[0].from_socket.name == "Alpha"


@pytest.fixture
def mapped(api, scene, cube):
    """The cube with a texture all around and all maps, and how they were sent."""
    return api.texture_around([cube], maps=ALL).prepared


def test_maps_of_what_a_picture_does_not_show_stay_as_they_were(api, scene, cube, mapped):
    """To the number; and those there were are made, though none is ticked any more."""
    scene.scumble.maps = set()
    picture = api.generate(prompt="polished gold")
    record = api.texture_from_view(picture, [cube])
    assert set(record.job.maps) == set(ALL)
    assert {base_map.kind for base_map in record.job.base_maps} == set(ALL) - {"albedo"}
    painted = record.prepared["texture/Cube"].pixels[..., 3]
    assert 0.02 < (painted == 255).mean() < 0.9
    shader = shader_of(cube.active_material)
    shown = {
        "albedo": source_of(shader.inputs["Base Color"]),
        "roughness": source_of(shader.inputs["Roughness"]),
        "metallic": source_of(shader.inputs["Metallic"]),
        "normal": source_of(source_of(shader.inputs["Normal"]).inputs["Color"]),
    }
    for kind, node in shown.items():
        before = mapped[f"{kind}/Cube"].pixels
        found = np.rint(pixels_of(node.image)[..., : before.shape[2]] * 255.0)
        np.testing.assert_array_equal(found[painted == 0], before[painted == 0], err_msg=kind)
    metal = record.prepared["metallic/Cube"].pixels[..., 0]
    assert np.median(metal[painted == 255]) == 255
    units = [json.loads(each.record)["provenance"]["maps"]["height_range"]["Cube"]
             for each in (mapped["height/Cube"], record.prepared["height/Cube"])]  # fmt: skip
    before, after = (each["height/Cube"].pixels[..., 0] - 32768.0 for each in (mapped, record.prepared))
    np.testing.assert_allclose(after[painted == 0] * units[1], before[painted == 0] * units[0], atol=units[1])


def test_what_is_kept_has_its_maps_too(api, scene, cube, mapped):
    mask = bpy.data.images.new("Mask", 16, 16)
    values = np.zeros((16, 16, 4), np.float32)
    values[:, :8, :3], values[..., 3] = 1.0, 1.0
    mask.pixels.foreach_set(values.ravel())
    scene.scumble.keep_mask = mask
    record = api.texture_around([cube], prompt="polished gold", maps=("metallic", "normal"))
    half = record.job.texture_size // 2
    for kind in ("normal", "metallic"):
        before, after = (each[f"{kind}/Cube"].pixels[:, : half - 8] for each in (mapped, record.prepared))
        np.testing.assert_array_equal(after, before, err_msg=kind)
    assert (record.prepared["metallic/Cube"].pixels[:, half + 8 :, 0] == 255).any()


def test_a_plain_material_keeps_its_numbers_where_nothing_is_painted(api, scene, cube):
    shader = shader_of(cube.active_material)
    shader.inputs["Roughness"].default_value, shader.inputs["Metallic"].default_value = 0.2, 0.6
    record = api.texture_around([cube], views={"CURRENT"}, unseen="KEEP", maps=ALL)
    plain = round(255 * (1.055 * 0.8 ** (1 / 2.4) - 0.055))
    unseen = (record.prepared["texture/Cube"].pixels[..., :3] == plain).all(-1)
    assert unseen.mean() > 0.3
    for kind, value in (("roughness", 51), ("metallic", 153)):
        found = record.prepared[f"{kind}/Cube"].pixels[..., 0]
        assert np.median(found[unseen]) == value
        assert (found[unseen] == value).mean() > 0.8  # all but what borders on paint


def test_a_picture_as_a_flat_material_has_maps_of_its_own(api, scene):
    record = api.generate(maps=("normal", "height"), result_actions={"IMAGE"})
    assert list(record.prepared) == ["image/0", "normal/0", "height/0"]
    assert bpy.data.images["old stone Normal"].colorspace_settings.name == "Non-Color"


# --- on into glTF -----------------------------------------------------------------------------------


def test_gltf_has_them_all_and_blender_reads_the_same_values_back(api, scene, cube, tmp_path: Path):
    record = api.texture_around([cube], maps=ALL)
    bpy.ops.object.select_all(action="DESELECT")
    cube.select_set(True)
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "cube.glb"), export_format="GLB", use_selection=True)
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "cube.gltf"), export_format="GLTF_SEPARATE", use_selection=True)
    (told,) = json.loads((tmp_path / "cube.gltf").read_text())["materials"]
    assert {"baseColorTexture", "metallicRoughnessTexture"} <= set(told["pbrMetallicRoughness"])
    assert {"normalTexture", "occlusionTexture"} <= set(told)
    assert told["normalTexture"].get("scale", 1.0) == 1.0
    assert told["pbrMetallicRoughness"].get("roughnessFactor", 1.0) == 1.0

    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "cube.glb"))
    back = shader_of(bpy.context.selected_objects[0].active_material)
    sent = {kind: record.prepared[f"{kind}/Cube"].pixels for kind in ALL}
    color = pixels_of(source_of(back.inputs["Base Color"]).image)
    np.testing.assert_allclose(color[..., :3], sent["albedo"] / 255.0, atol=2e-3)
    split = source_of(back.inputs["Roughness"])
    packed = pixels_of(source_of(split.inputs["Color"]).image)
    np.testing.assert_allclose(packed[..., 1], sent["roughness"][..., 0] / 255.0, atol=2e-3)
    np.testing.assert_allclose(packed[..., 2], sent["metallic"][..., 0] / 255.0, atol=2e-3)
    normals = pixels_of(source_of(source_of(back.inputs["Normal"]).inputs["Color"]).image)
    np.testing.assert_allclose(normals[..., :3], sent["normal"] / 255.0, atol=2e-3)


# --- lit --------------------------------------------------------------------------------------------


def test_relief_and_gloss_show_in_a_render(api, scene, cube, tmp_path: Path):
    """The same light on the material with its maps and without: another picture, and not a broken one."""
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3.0, (0.9, 0.2, 0.0)
    scene.collection.objects.link(sun)
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 4, False
    scene.render.threads_mode, scene.render.threads = "FIXED", 1

    def rendered(name: str) -> np.ndarray:
        scene.render.filepath = str(tmp_path / name)
        bpy.ops.render.render(write_still=True)
        return pixels_of(bpy.data.images.load(str(tmp_path / f"{name}.png")))[..., :3]

    api.texture_around([cube])
    plain = rendered("plain")
    api.make_maps(cube)
    mapped = rendered("mapped")
    assert np.isfinite(mapped).all()
    assert np.abs(mapped - plain).mean() > 0.005
    assert 0.3 < mapped.mean() / plain.mean() < 3.0
