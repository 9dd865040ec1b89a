"""Meshes as texturing needs them: the evaluated surface, per triangle corner."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from capture import scenes, truth
from mathutils import Matrix
from scumble_shared.errors import ErrorCode, ScumbleError

from blender_addon import capture


def arrays(*things, uv_map=""):
    return capture.meshes(bpy.context.evaluated_depsgraph_get(), things, uv_map)


def test_a_box_comes_as_twelve_triangles(empty_scene):
    box = scenes.add_box(2.0, Matrix.Translation((1, 2, 3)))
    (mesh,) = arrays(box)
    assert (mesh.vertices.dtype, mesh.vertices.shape) == (np.float32, (8, 3))
    assert (mesh.triangles.dtype, mesh.triangles.shape) == (np.int32, (12, 3))
    assert (mesh.normals.dtype, mesh.normals.shape) == (np.float32, (12, 3, 3))
    assert (mesh.uvs.dtype, mesh.uvs.shape) == (np.float32, (12, 3, 2))
    assert np.abs(mesh.vertices).max() == 1.0
    assert np.array(mesh.matrix_world).reshape(4, 4)[:3, 3] == pytest.approx((1, 2, 3))
    assert (mesh.name, mesh.uv_map, mesh.session_uid) == ("Box", "UVMap", box.session_uid)


def test_triangles_wind_around_their_normals(empty_scene):
    (mesh,) = arrays(scenes.add_sphere(1.0, segments=96))
    corners = mesh.vertices[mesh.triangles]
    plane = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((plane[:, None] * mesh.normals).sum(-1) > 0.0).all()
    assert np.linalg.norm(mesh.normals, axis=-1) == pytest.approx(1.0, abs=1e-5)
    assert truth.angles(mesh.normals, corners).max() < 0.2  # a smooth unit sphere: normals are positions


def test_uvs_are_those_of_the_corners(empty_scene):
    box = scenes.add_box(2.0)
    layer = box.data.uv_layers[0]
    for loop, uv in zip(box.data.loops, layer.uv, strict=True):
        place = box.data.vertices[loop.vertex_index].co
        uv.vector = (place.x + 10.0 * place.z, place.y)
    (mesh,) = arrays(box)
    corners = mesh.vertices[mesh.triangles]
    assert mesh.uvs[..., 0] == pytest.approx(corners[..., 0] + 10.0 * corners[..., 2])
    assert mesh.uvs[..., 1] == pytest.approx(corners[..., 1])


def test_the_map_marked_for_rendering_is_read_unless_one_is_named(empty_scene):
    box = scenes.add_box(2.0)
    second = box.data.uv_layers.new(name="Second")
    second.uv.foreach_set("vector", [0.25] * (2 * len(box.data.loops)))
    assert arrays(box)[0].uv_map == "UVMap"
    assert (arrays(box, uv_map="Second")[0].uvs == 0.25).all()
    second.active_render = True
    assert arrays(box)[0].uv_map == "Second"


def test_modifiers_and_instances_of_other_kinds_of_object(empty_scene):
    box = scenes.add_box(1.0)
    box.modifiers.new("Subdivision", "SUBSURF").levels = 2
    curve = bpy.data.curves.new("Text", "FONT")
    curve.body = "x"
    text = scenes.add_object("Text", curve)
    first, second = arrays(box, text)
    assert len(first.triangles) == 6 * 16 * 2
    assert first.uvs.shape == (192, 3, 2)
    assert second.name == "Text"
    assert second.uvs is None or second.uvs.shape == (len(second.triangles), 3, 2)


def test_mesh_and_id_buffer_belong_together(gpu):
    scenes.still_life()
    frame = capture.capture_camera(bpy.context.scene, width=64, height=64)
    things = [bpy.data.objects[name] for name in ("Monkey", "Box", "Ground")]
    for thing, mesh in zip(things, arrays(*things), strict=True):
        (number,) = frame.ids_of(mesh.session_uid)
        entry = frame.objects[number - 1]
        assert (entry.name, entry.matrix_world) == (thing.name, mesh.matrix_world)


def test_a_mesh_without_a_map_has_no_uvs(empty_scene):
    box = scenes.add_box(1.0)
    box.data.uv_layers.remove(box.data.uv_layers[0])
    (mesh,) = arrays(box)
    assert mesh.uvs is None
    assert mesh.uv_map == ""


def assert_refused(*things, **options):
    with pytest.raises(ScumbleError) as caught:
        arrays(*things, **options)
    assert caught.value.code is ErrorCode.SCENE
    assert caught.value.info.field == things[-1].name


def test_an_unknown_map_is_refused(empty_scene):
    assert_refused(scenes.add_box(1.0), uv_map="Elsewhere")


def test_an_object_without_faces_is_refused(empty_scene):
    assert_refused(scenes.add_object("Bare", bpy.data.meshes.new("Bare")))


def test_an_object_that_can_t_have_faces_is_refused(empty_scene):
    assert_refused(scenes.add_object("Empty", None))
