"""On the GPU, only what changed is built again."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
import pytest
from capture import scenes
from mathutils import Matrix

from blender_addon import capture
from blender_addon.capture.api import gpu_path


@pytest.fixture
def built(gpu):
    """Says how many batches were built since it was asked last."""
    gpu_path.free()
    count = 0

    def since() -> int:
        nonlocal count
        before, count = count, gpu_path.batches_built
        return count - before

    return since


def look(width=32, height=32):
    return capture.capture_camera(bpy.context.scene, width=width, height=height, method="gpu")


def test_a_second_look_builds_nothing(built):
    scenes.still_life()
    first = look()
    assert built() == 3
    second = look()
    assert built() == 0
    assert (first.depth == second.depth).all()


def test_a_new_view_builds_nothing(built):
    scenes.still_life()
    first = look()
    built()
    bpy.context.scene.camera.location.x += 1.0
    second = look(48, 40)
    assert built() == 0
    assert second.camera.view != first.camera.view


def test_moving_an_object_builds_nothing_and_shows(built):
    scenes.still_life()
    first = look()
    built()
    bpy.data.objects["Monkey"].location.z += 0.7
    second = look()
    assert built() == 0
    assert (first.object_id != second.object_id).any()


@pytest.mark.parametrize("tell", ["update", "update_tag"])
def test_an_edited_mesh_alone_is_built_again(built, tell):
    scenes.still_life()
    first = look()
    built()
    mesh = bpy.data.objects["Box"].data
    points = np.zeros(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    mesh.vertices.foreach_set("co", points * 1.5)
    getattr(mesh, tell)()
    second = look()
    assert built() == 1
    assert (second.object_id == 2).sum() > 1.5 * (first.object_id == 2).sum()


def test_a_changed_modifier_builds_its_object_alone(built):
    scenes.still_life()
    modifier = bpy.data.objects["Box"].modifiers.new("Subdivision", "SUBSURF")
    look()
    built()
    modifier.levels = 3
    look()
    assert built() == 1


def test_what_follows_another_object_is_built_again(built):
    scenes.still_life()
    wrap = bpy.data.objects["Ground"].modifiers.new("Shrinkwrap", "SHRINKWRAP")
    wrap.target = bpy.data.objects["Box"]
    look()
    built()
    bpy.data.objects["Box"].location.x -= 0.5
    look()
    assert built() == 1


def test_instances_and_shared_meshes_are_built_once(built):
    box = scenes.add_box(0.5)
    for x in range(1, 6):
        scenes.add_object(f"Copy {x}", box.data, Matrix.Translation((0.6 * x, 0, 0)))
    grid = scenes.add_mesh("Grid", lambda b: bmesh.ops.create_grid(b, x_segments=9, y_segments=9, size=2.0))
    scenes.instance_on_points(grid, box)
    scenes.add_camera()
    frame = look()
    assert len(frame.objects) == 6 + 100
    assert built() == 1


def test_editing_in_edit_mode_shows_at_once(built):
    scenes.still_life()
    box = bpy.data.objects["Box"]
    bpy.context.view_layer.objects.active = box
    bpy.ops.object.mode_set(mode="EDIT")
    first = look()
    built()
    shape = bmesh.from_edit_mesh(box.data)
    for vertex in shape.verts:
        vertex.co *= 1.5
    bmesh.update_edit_mesh(box.data)
    second = look()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert built() == 1
    assert (second.object_id == 2).sum() > 1.5 * (first.object_id == 2).sum()


def test_a_cycles_capture_spoils_no_batch(built):
    scenes.still_life()
    look()
    built()
    capture.capture_camera(bpy.context.scene, width=16, height=16, method="cycles")
    look()
    assert built() == 0


def test_a_new_file_starts_afresh(built):
    scenes.still_life()
    look()
    assert built() == 3
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scenes.add_box(2.0)
    scenes.add_camera()
    frame = look()
    assert built() == 1
    assert [entry.name for entry in frame.objects] == ["Box"]
    assert frame.object_id[16, 16] == 1


def test_undo_shows_what_is_there_again(built):
    scenes.still_life()
    bpy.ops.ed.undo_push(message="before")
    first = look()
    bpy.data.objects["Box"].location.x -= 5.0
    bpy.data.objects["Monkey"].data.transform(Matrix.Scale(0.3, 4))
    bpy.ops.ed.undo_push(message="after")
    moved = look()
    assert (moved.object_id != first.object_id).any()
    bpy.ops.ed.undo()
    again = look()
    assert (again.object_id == first.object_id).all()
    assert (again.depth == first.depth).all()


def test_after_unregister_a_capture_works_from_a_cold_start(built):
    scenes.still_life()
    first = look()
    capture.unregister()
    second = look()
    assert gpu_path.batches_built == 3
    assert (first.depth == second.depth).all()


def test_frames_don_t_share_memory(built):
    scenes.still_life()
    first = look()
    kept = first.depth.copy()
    bpy.context.scene.camera.location.x += 2.0
    look()
    assert (first.depth == kept).all()
