"""Objects textured all around in Blender, through a real server."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix

LONG = 400
"""Steps that take longer than any of these tests."""


def pixels_of(image):
    """Blender's pixels as uint8 H x W x 4, top row first."""
    width, height = image.size
    values = np.zeros(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(height, width, 4)[::-1] * 255.0).astype(np.uint8)


def fingerprint(scene):
    """Everything of a file that texturing might be tempted to touch before it is finished."""
    things = [
        (thing.name, [tuple(row) for row in thing.matrix_world], thing.select_get(), thing.mode,
         [slot.material and slot.material.name for slot in thing.material_slots], thing.scumble_texture.recipe,
         [layer.name for layer in thing.data.uv_layers] if thing.type == "MESH" else [])
        for thing in scene.objects
    ]  # fmt: skip
    blocks = {
        name: sorted(block.name for block in getattr(bpy.data, name))
        for name in ("scenes", "objects", "meshes", "materials", "images", "cameras", "worlds", "node_groups")
    }
    active = bpy.context.view_layer.objects.active
    return things, blocks, scene.frame_current, scene.camera.name, active and active.name


def until(api, condition, what, patience=60.0):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        api.step()
        time.sleep(0.005)


def refusal(call):
    """The error a call ends with, as it travels."""
    from scumble_shared.errors import ScumbleError

    with pytest.raises(ScumbleError) as caught:
        call()
    return caught.value.info


@pytest.fixture
def part(addon):
    """A part of the add-on by its name."""
    return lambda name: importlib.import_module(f"{addon.__name__}.{name}")


@pytest.fixture
def cube(scene):
    """In place of the square: a cube with a material of its own."""
    bpy.data.objects.remove(bpy.data.objects["Plane"])
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    cube = bpy.context.object
    cube.data.materials.append(bpy.data.materials.new("Old"))
    scene.scumble.width = scene.scumble.height = 32
    bpy.ops.ed.undo_push(message="Cube")
    return cube


def flat_pictures(record, color):
    """The job's pictures, all of one colour: what the texture must be then is known."""
    return [np.full_like(record.prepared[f"view/{index}"].pixels, color) for index in range(len(record.job.views))]


# --- what becomes of it -----------------------------------------------------------------------------


def test_a_cube_gets_a_new_material_with_its_texture_and_keeps_the_old(api, scene, cube):
    record = api.texture_around([cube])
    assert record.state == "done"
    assert [view.camera.width for view in record.job.views] == [32] * len(record.job.views)
    assert len(record.job.views) >= 8
    texture = bpy.data.images["Scumble Cube"]
    assert tuple(texture.size) == (64, 64)
    np.testing.assert_array_equal(pixels_of(texture), record.prepared["texture/Cube"].pixels)
    assert json.loads(texture["scumble"])["job"]["task"] == "texture"
    assert cube.active_material.name == "Scumble Cube"
    assert bpy.data.materials["Old"].use_fake_user
    source = cube.active_material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].links[0].from_node
    assert source.image == texture  # without a mix of nodes: exporters understand it


def test_one_undo_takes_it_all_back(api, scene, cube):
    before = fingerprint(scene)
    api.texture_around([cube])
    assert fingerprint(scene) != before
    bpy.ops.ed.undo()
    assert fingerprint(bpy.context.scene) == before
    assert not bpy.data.materials["Old"].use_fake_user


def test_coverage_before_and_after_say_the_same(api, part, scene, cube):
    """The extension looks with numpy, the server with torch."""
    bpy.ops.mesh.primitive_monkey_add(size=2.0)
    monkey = bpy.context.object
    wish = part("texture_all.scene").wish_of(bpy.context, [monkey])
    plan = part("texture_all.planning").make_plan(wish)
    record = api.texture_around([monkey])
    assert tuple(view.camera for view in record.job.views) == plan.cameras
    told = json.loads(record.provenance)
    assert told["coverage"] == pytest.approx(plan.coverage, abs=0.02)
    assert [view["words"] for view in told["views"]] == [view.words for view in plan.views]
    assert monkey.scumble_texture.coverage == pytest.approx(plan.coverage, abs=0.1)  # in texels, by area of the map


def test_several_objects_each_get_their_own_and_slots_are_respected(api, scene, cube):
    cube.data.materials.append(bpy.data.materials.new("Other"))
    bpy.ops.mesh.primitive_uv_sphere_add(segments=12, ring_count=8, location=(3.0, 0.0, 0.0))
    ball = bpy.context.object
    record = api.texture_around([cube, ball], method="sequential")
    assert {"texture/Cube", "texture/Sphere"} <= set(record.prepared)
    assert len(cube.material_slots) == 2
    assert len(ball.material_slots) == 1
    materials = [slot.material for thing in (cube, ball) for slot in thing.material_slots]
    assert len(set(materials)) == 3
    assert cube.scumble_texture.group == ball.scumble_texture.group


def test_two_objects_that_share_a_mesh_and_a_material_get_textures_of_their_own(api, scene, cube):
    twin = bpy.data.objects.new("Twin", cube.data)
    twin.location.x = 3.0
    scene.collection.objects.link(twin)
    api.texture_around([cube, twin])
    assert cube.active_material.name == "Scumble Cube"
    assert twin.active_material.name == "Scumble Twin"
    assert cube.data.materials[0].name == "Old"
    third = bpy.data.objects.new("Third", cube.data)
    assert third.material_slots[0].material.name == "Old"


def test_two_objects_that_share_an_image_get_textures_of_their_own_and_it_stays(api, scene, cube):
    shared = bpy.data.images.new("Shared", 8, 8)
    before = pixels_of(shared).copy()
    twin = bpy.data.objects.new("Twin", cube.data.copy())
    twin.location.x = 3.0
    scene.collection.objects.link(twin)
    for thing in (cube, twin):
        material = bpy.data.materials.new(f"With image, {thing.name}")
        if material.node_tree is None:
            material.use_nodes = True
        nodes = material.node_tree.nodes
        picture = nodes.new("ShaderNodeTexImage")
        picture.image = shared
        material.node_tree.links.new(picture.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
        thing.data.materials[0] = material
    api.texture_around([cube, twin])
    made = [bpy.data.images[f"Scumble {thing.name}"] for thing in (cube, twin)]
    assert len({shared, *made}) == 3
    np.testing.assert_array_equal(pixels_of(shared), before)
    for thing in (cube, twin):
        kept = bpy.data.materials[f"With image, {thing.name}"]
        assert thing.active_material != kept
        assert [node.image for node in kept.node_tree.nodes if node.type == "TEX_IMAGE"] == [shared]


def test_the_current_view_keeps_what_it_does_not_see(api, scene, cube):
    old = bpy.data.materials["Old"]
    if old.node_tree is None:
        old.use_nodes = True
    old.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (1.0, 0.0, 0.0, 1.0)
    record = api.texture_around([cube], views={"CURRENT"}, unseen="KEEP")
    assert len(record.job.views) == 1
    pixels = pixels_of(bpy.data.images["Scumble Cube"])
    red = (pixels[..., :3] == (255, 0, 0)).all(-1)
    assert 0.5 < red.mean() < 0.95  # one of six faces was seen
    assert cube.scumble_texture.unseen == "KEEP"


def test_cameras_and_placed_views_go_together(api, scene, cube):
    record = api.texture_around([cube], views={"AUTOMATIC"}, cameras=[scene.camera], view_prompts={"Camera": "a lid"})
    assert record.job.views[0].prompt == "a lid"
    assert record.job.views[0].camera.is_orthographic
    assert len(record.job.views) >= 9


def test_previews_form_on_the_mesh_and_the_scene_does_not_know(api, part, scene, cube):
    live = part("texture_all.live")
    before = fingerprint(scene)
    seen = []

    def look(record, pixels):
        seen.append((fingerprint(scene) == before, pixels.shape))
        shown = live._state.shown
        assert shown is None or shown.job_id == record.id

    api.texture_around([cube], num_inference_steps=6, on_preview=look)
    assert seen
    assert all(unchanged for unchanged, _ in seen)
    assert seen[0][1][0] == seen[0][1][1]  # eight views of a square, three by three
    assert live._state.shown is None


# --- again ------------------------------------------------------------------------------------------


def test_the_same_recipe_gives_the_same_texture_and_another_seed_another(api, scene, cube):
    first = api.texture_around([cube]).prepared["texture/Cube"].pixels
    again = api.texture_again(cube)
    np.testing.assert_array_equal(again.prepared["texture/Cube"].pixels, first)
    cube.scumble_texture.prompt = "moss"
    changed = api.texture_again(cube, seed=9)
    assert (changed.job.prompt, changed.job.seed) == ("moss", 9)
    assert (changed.prepared["texture/Cube"].pixels != first).any()
    assert [material.name for material in bpy.data.materials if material.users and "Old" not in material.name] == [
        cube.active_material.name
    ]
    kept = {node.image for node in cube.active_material.node_tree.nodes if node.type == "TEX_IMAGE"}
    assert len(kept) == 1  # those before aren't dragged along


def test_one_view_is_made_anew_and_the_others_stay_to_the_byte(api, scene, cube):
    first = api.texture_around([cube])
    cube.scumble_texture.views[5].locked = True
    images = [view.image for view in cube.scumble_texture.views]
    record = api.texture_view_again(cube, 2)
    same = [
        (record.prepared[f"view/{index}"].pixels == first.prepared[f"view/{index}"].pixels).all()
        for index in range(len(images))
    ]
    assert same == [index != 2 for index in range(len(images))]
    after = cube.scumble_texture.views
    assert [view.image == image for view, image in zip(after, images, strict=True)] == same  # not kept twice
    assert [view.locked for view in after] == [index == 5 for index in range(len(after))]
    assert after[2].seed == record.job.seed + 2
    assert after[3].seed == first.job.seed + 3


def test_locked_views_keep_their_pictures_when_all_is_done_again(api, scene, cube):
    first = api.texture_around([cube])
    cube.scumble_texture.views[0].locked = True
    record = api.texture_again(cube, seed=77)
    views = range(len(record.job.views))
    same = [(record.prepared[f"view/{i}"].pixels == first.prepared[f"view/{i}"].pixels).all() for i in views]
    assert same == [index == 0 for index in views]


def test_baking_again_generates_nothing_and_takes_another_size(api, scene, cube):
    first = api.texture_around([cube])
    record = api.rebake_texture(cube, texture_size=128)
    assert tuple(cube.active_material.node_tree.nodes.active.image.size) == (128, 128)
    assert all(view.image is not None for view in record.job.views)
    assert "generating" not in json.loads(record.provenance)["timings"]
    small = first.prepared["texture/Cube"].pixels.astype(int)
    large = record.prepared["texture/Cube"].pixels.reshape(64, 2, 64, 2, 4).mean((1, 3))
    assert np.abs(large - small).mean() < 8.0


def test_the_recipe_is_in_the_file(api, scene, cube, tmp_path):
    api.texture_around([cube])
    path = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    cube = bpy.data.objects["Cube"]
    assert "Old" in bpy.data.materials
    record = api.rebake_texture(cube)
    assert record.state == "done"


def test_views_follow_an_object_that_has_moved(api, scene, cube):
    first = api.texture_around([cube])
    cube.matrix_world = Matrix.Translation((4.0, 1.0, 0.5)) @ Matrix.Rotation(0.7, 4, "Z") @ cube.matrix_world
    record = api.rebake_texture(cube)
    there, here = first.prepared["texture/Cube"].pixels, record.prepared["texture/Cube"].pixels
    assert np.abs(there.astype(int) - here).mean() < 1.0


def test_operators_do_the_same_in_background(api, scene, cube):
    cube.select_set(True)
    assert bpy.ops.scumble.texture_around(wait=True) == {"FINISHED"}
    seed = cube.scumble_texture.seed
    assert bpy.ops.scumble.texture_again(wait=True) == {"FINISHED"}
    assert cube.scumble_texture.seed != seed
    assert bpy.ops.scumble.texture_view_again(wait=True, index=1) == {"FINISHED"}
    assert bpy.ops.scumble.rebake_texture(wait=True) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="none is 99"):
        bpy.ops.scumble.texture_view_again(wait=True, index=99)


def test_without_waiting_views_are_placed_on_another_thread(api, part, scene, cube):
    cube.select_set(True)
    assert bpy.ops.scumble.texture_around() == {"FINISHED"}
    assert part("texture_all.actions").is_looking()
    assert not bpy.ops.scumble.texture_around.poll()
    until(api, lambda: cube.active_material.name == "Scumble Cube", "the texture")


# --- accidents --------------------------------------------------------------------------------------


def begun(api, cube, stage, **settings):
    """A long job that has come as far as ``stage``."""
    record = api.texture_around([cube], wait=False, num_inference_steps=LONG, **settings)
    until(api, lambda: api.job(record.id).stage == stage, stage)
    return record


@pytest.mark.parametrize("method", ["synchronised", "sequential"])
@pytest.mark.parametrize("stage", ["placing", "denoising"])
def test_cancel_leaves_the_scene_as_it_was(api, part, scene, cube, stage, method):
    before = fingerprint(scene)
    record = begun(api, cube, stage, method=method)
    api.cancel(record.id)
    until(api, lambda: api.job(record.id).state.ended, "the end")
    assert api.job(record.id).state == "cancelled"
    assert fingerprint(scene) == before


def test_cancel_while_looking_round_ends_it_there(api, part, scene, cube):
    before = fingerprint(scene)
    cube.select_set(True)
    bpy.ops.scumble.texture_around()
    assert bpy.ops.scumble.stop_looking() == {"FINISHED"}
    for _ in range(20):
        api.step()
    assert fingerprint(scene) == before
    assert not part("texture_all.actions").is_looking()


def test_disconnecting_leaves_the_scene_as_it_was_and_try_again_does_it(api, part, scene, cube):
    before = fingerprint(scene)
    record = begun(api, cube, "denoising")
    api.disconnect()
    assert api.job(record.id).state == "failed"
    assert fingerprint(scene) == before
    bpy.ops.scumble.retry()
    again = part("state").session().jobs.live()[-1]
    until(api, lambda: api.job(again.id).step > 0, "the first step")
    live = part("texture_all.live")
    assert live._plan_of(api.job(again.id)) is not None  # its previews are shown, too
    api.cancel(again.id)
    until(api, lambda: api.job(again.id).state.ended, "the end")
    assert fingerprint(scene) == before


def test_a_killed_server_leaves_the_scene_as_it_was(api, part, scene, cube):
    before = fingerprint(scene)
    record = begun(api, cube, "denoising")
    os.kill(part("state").session().server_pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    assert refusal(lambda: api.wait(record.id, 30.0)).code == "server_unreachable"
    assert fingerprint(scene) == before
    assert api.texture_around([cube]).state == "done"


def workers_of(server_pid):
    """Processes that the server spawned to work, by what Linux tells of processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server_pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended since
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes as Linux has them")
@pytest.mark.parametrize("stage", ["placing", "denoising"])
def test_a_worker_that_dies_is_told_and_the_next_job_works(api, part, scene, cube, stage):
    before = fingerprint(scene)
    record = begun(api, cube, stage)
    for worker in workers_of(part("state").session().server_pid):
        os.kill(worker, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    assert refusal(lambda: api.wait(record.id, 60.0)).code == "worker_lost"
    assert fingerprint(scene) == before
    assert api.texture_around([cube]).state == "done"


def test_an_object_deleted_meanwhile_is_told_and_the_others_are_textured(api, scene, cube):
    bpy.ops.mesh.primitive_cube_add(size=1.0, location=(3.0, 0.0, 0.0))
    gone = bpy.context.object
    record = api.texture_around([cube, gone], wait=False, num_inference_steps=6)
    bpy.data.objects.remove(gone)
    api.wait(record.id, 60.0)
    assert "Cube.001 is gone" in api.job(record.id).note
    assert cube.active_material.name == "Scumble Cube"


# --- surfaces of all sorts --------------------------------------------------------------------------


def solid_colors(points):
    """A colour for each place in space, 0 to 255."""
    return 127.5 + 100.0 * np.sin(points * 2.0 + (0.0, 1.0, 2.0))


def photographed(part, plan, camera):
    """What a camera would see of the plan's meshes if each place had its solid colour."""
    sight, surface = part("texture_all.sight"), part("texture_all.surface")
    scanner = surface.Scanner(plan.wish.meshes)
    seen = sight.nearest(camera, scanner._vertices, scanner._triangles, scanner._outward)
    depth = np.where(np.isfinite(seen.depth), seen.depth, 1.0)
    return np.clip(solid_colors(camera.unproject(camera.pixel_centres(), depth)), 0, 255).astype(np.uint8)


def mirrored(thing):
    thing.scale = (-1.0, 1.0, 1.0)


def stretched(thing):
    thing.scale = (0.4, 1.5, 2.0)
    thing.rotation_euler = (0.3, 0.2, 0.1)


def parented(thing):
    owner = bpy.data.objects.new("Owner", None)
    bpy.context.scene.collection.objects.link(owner)
    owner.matrix_world = Matrix.Translation((5.0, 1.0, 0.0)) @ Matrix.Rotation(1.0, 4, (1, 2, 3))
    owner.scale = (1.0, 2.0, 0.5)
    thing.parent = owner


def modified(thing):
    thing.modifiers.new("Bend", "SIMPLE_DEFORM").angle = 0.8
    thing.modifiers.new("Subdivision", "SUBSURF").levels = 1


@pytest.mark.parametrize("change", [mirrored, stretched, parented, modified])
def test_paint_lands_where_the_views_saw_it(api, part, scene, cube, change):
    """Pictures of a solid colour, baked by the server, must give that colour back at each texel's place."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16)
    ball = bpy.context.object
    change(ball)
    scene.scumble.width = scene.scumble.height = 128
    drafts, planning = part("texture_all.drafts"), part("texture_all.planning")
    draft = drafts.around(bpy.context, part("state").session().capabilities, [ball])
    plan = planning.make_plan(draft.wish)
    views = tuple(
        planning.GivenView(str(index), view.camera, "", photographed(part, plan, view.camera))
        for index, view in enumerate(plan.views)
    )
    from dataclasses import replace

    locked = replace(draft, wish=replace(draft.wish, given=views, automatic=False))
    record = api.wait(part("texture_all.actions").start(locked).id)
    mesh = plan.wish.meshes[0]
    texture = record.prepared["texture/Sphere"].pixels[..., :3].astype(float)
    centres = mesh.uvs.mean(1)
    matrix = np.array(mesh.matrix_world).reshape(4, 4)
    places = mesh.vertices[mesh.triangles].mean(1) @ matrix[:3, :3].T + matrix[:3, 3]
    side = len(texture)
    column, row = (centres[:, 0] * side).astype(int) % side, ((1.0 - centres[:, 1]) * side).astype(int) % side
    wrong = np.abs(texture[row, column] - solid_colors(places)).max(1)
    assert np.median(wrong) < 8.0
    assert np.percentile(wrong, 90) < 25.0


@pytest.mark.parametrize("way", ["all around", "from view"])
def test_udim_tiles_become_one_tiled_image(api, scene, cube, tmp_path, way):
    layer = cube.data.uv_layers[0]
    for corner in range(12, 24):
        layer.uv[corner].vector.x += 1.0
    if way == "all around":
        record = api.texture_around([cube])
    else:
        record = api.texture_from_view(api.generate(result_actions=set()), [cube])
    assert {"texture/Cube.1001", "texture/Cube.1002"} <= set(record.prepared)
    path = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    image = bpy.data.images["Scumble Cube"]
    assert (image.source, [tile.number for tile in image.tiles]) == ("TILED", [1001, 1002])
    assert bpy.data.objects["Cube"].active_material.node_tree.nodes.active.image == image
    for packed in image.packed_files:
        tile = packed.filepath[-8:-4]
        assert bytes(packed.packed_file.data) == record.prepared[f"texture/Cube.{tile}"].png
