"""Everything with faces is seen as Blender evaluates it, and the two paths see the same."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
import pytest
from capture import scenes, truth
from mathutils import Matrix, Vector

from blender_addon import capture


def capture_still(method, width=72, height=64):
    return capture.capture_camera(bpy.context.scene, width=width, height=height, method=method)


def assert_same_as_rays(frame, things):
    """Depth everywhere and names of the objects hit equal exact ray casts, away from edges."""
    exact = truth.ray_cast(frame.camera, things, bpy.context.evaluated_depsgraph_get())
    near = truth.continuous(exact.depth)
    assert near.sum() > 50
    assert (np.abs(frame.depth[near] - exact.depth[near]) <= 2.0 * truth.depth_allowance(exact.depth)[near]).all()
    names = {entry.id: entry.name for entry in frame.objects}
    found = np.vectorize(lambda value: names.get(value, ""))(frame.object_id)
    assert (found == exact.name).mean() > 0.985  # silhouettes may differ by a pixel
    return exact, truth.smooth_regions(exact.depth, exact.facet)


def add_text():
    curve = bpy.data.curves.new("Text", "FONT")
    curve.body, curve.extrude, curve.size = "ab", 0.2, 1.8
    return scenes.add_object("Text", curve, Matrix.Rotation(1.2, 4, "X") @ Matrix.Translation((-0.8, -0.3, 0.0)))


def add_curve():
    curve = bpy.data.curves.new("Curve", "CURVE")
    curve.dimensions, curve.bevel_depth = "3D", 0.25
    spline = curve.splines.new("POLY")
    spline.points.add(3)
    for point, place in zip(spline.points, [(-1, 0, 0), (0, 1, 0.5), (1, 0, 0), (1, -1, 1)], strict=True):
        point.co = (*place, 1.0)
    return scenes.add_object("Curve", curve)


def add_nurbs_surface():
    surface = bpy.data.curves.new("Surface", "SURFACE")
    surface.dimensions = "3D"
    for row in range(4):
        spline = surface.splines.new("NURBS")
        spline.points.add(3)
        for column, point in enumerate(spline.points):
            point.co = (2 * column - 3, 2 * row - 3, 0.4 * ((row + column) % 2), 1.0)
    thing = scenes.add_object("Surface", surface)
    for spline in surface.splines:
        for point in spline.points:
            point.select = True
    bpy.context.view_layer.objects.active = thing
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.curve.make_segment()
    bpy.ops.object.mode_set(mode="OBJECT")
    return thing


def add_metaball():
    ball = bpy.data.metaballs.new("Ball")
    ball.resolution = 0.2
    for x in (-0.6, 0.6):
        ball.elements.new().co = (x, 0.0, 0.0)
    return scenes.add_object("Ball", ball)


@pytest.mark.parametrize("add", [add_text, add_curve, add_nurbs_surface, add_metaball])
def test_what_isn_t_a_mesh_is_seen_as_the_mesh_it_makes(method, add):
    thing = add()
    scenes.add_camera()
    frame = capture_still(method)
    assert_same_as_rays(frame, [thing])
    assert [(entry.name, entry.instancer) for entry in frame.objects] == [(thing.name, "")]
    assert frame.ids_of(thing.session_uid) == (1,)


def test_modifiers_are_applied(method):
    box = scenes.add_box(1.0)
    array = box.modifiers.new("Array", "ARRAY")
    array.count = 3
    box.modifiers.new("Subdivision", "SUBSURF").levels = 2
    scenes.add_camera()
    assert_same_as_rays(capture_still(method), [box])


@pytest.mark.parametrize(
    "matrix",
    [
        Matrix.Diagonal((-1.0, 1.0, 1.0, 1.0)),
        Matrix.Diagonal((-0.7, -1.2, -1.0, 1.0)),
        Matrix.Diagonal((2.0, 0.3, 1.0, 1.0)) @ Matrix.Rotation(0.7, 4, "Z"),
        Matrix.Rotation(0.6, 4, "X") @ Matrix.Diagonal((1.0, -2.0, 0.5, 1.0)),
    ],
    ids=["mirrored", "turned_inside_out", "sheared", "mirrored_and_turned"],
)
def test_normals_point_outwards_whatever_the_scale(method, matrix):
    box = scenes.add_box(1.5)
    parent = scenes.add_object("Parent", None)
    box.parent, box.matrix_parent_inverse = parent, matrix  # parenting is how shear comes about
    scenes.add_camera()
    frame = capture_still(method)
    exact, where = assert_same_as_rays(frame, [box])
    assert truth.angles(truth.to_world(frame.camera, frame.normal), exact.facet)[where].max() < 0.1


def test_backs_of_faces_have_the_normal_of_the_side_that_is_seen(method):
    scenes.add_plane(400.0)
    scenes.add_camera(eye=(0.0, 0.0, -5.0), target=(0.0, 1.0, 0.0))
    frame = capture_still(method)
    hit = frame.object_id > 0
    world = truth.to_world(frame.camera, frame.normal)
    assert truth.angles(world[hit], np.array([0.0, 0.0, -1.0])).max() < 0.1


def test_smooth_and_flat_faces_share_a_mesh(method):
    sphere = scenes.add_sphere(1.3, segments=48)
    for face in sphere.data.polygons:
        face.use_smooth = face.center.z > 0.0
    scenes.add_camera()
    frame = capture_still(method, 120, 120)
    exact = truth.ray_cast(frame.camera, [sphere], bpy.context.evaluated_depsgraph_get())
    _, round_normal = truth.sphere(frame.camera, (0, 0, 0), 1.3)
    points = frame.camera.unproject(frame.camera.pixel_centres(), np.where(np.isfinite(frame.depth), frame.depth, 1.0))
    world = truth.to_world(frame.camera, frame.normal)
    inside = truth.inner(np.isfinite(exact.depth), 3)
    flat = inside & (points[..., 2] < -0.2) & truth.smooth_regions(exact.depth, exact.facet)
    smooth = inside & (points[..., 2] > 0.4)
    assert truth.angles(world, exact.facet)[flat].max() < 0.1
    assert truth.angles(world, round_normal)[smooth].max() < 0.8
    assert np.median(truth.angles(world, exact.facet)[smooth]) > 1.0


def test_a_warped_flat_quad_is_two_planes(method):
    def make(shape):
        corners = [shape.verts.new(place) for place in [(-1, -1, 0), (1, -1, 0.6), (1, 1, 0), (-1, 1, 0.6)]]
        shape.faces.new(corners)

    quad = scenes.add_mesh("Quad", make)
    scenes.add_camera(eye=(0.0, -3.0, 5.0))
    frame = capture_still(method)
    exact, where = assert_same_as_rays(frame, [quad])
    assert truth.angles(truth.to_world(frame.camera, frame.normal), exact.facet)[where].max() < 0.1
    assert len(np.unique(exact.facet[where].round(3), axis=0)) == 2


def test_custom_normals_are_the_shading_normals(method):
    plane = scenes.add_plane(400.0)
    tilted = Vector((0.3, -0.2, 1.0)).normalized()
    for face in plane.data.polygons:
        face.use_smooth = True
    plane.data.normals_split_custom_set([tilted] * len(plane.data.loops))
    scenes.add_camera()
    frame = capture_still(method)
    hit = frame.object_id > 0
    assert truth.angles(truth.to_world(frame.camera, frame.normal)[hit], np.array(tilted)).max() < 0.2


def test_collection_instances_are_drawn_where_they_are(method):
    box = scenes.add_box(0.8)
    collection = bpy.data.collections.new("Boxes")
    bpy.context.scene.collection.objects.unlink(box)
    collection.objects.link(box)
    for x in (-1.2, 1.2):
        stand = scenes.add_object(f"Stand {x}", None, Matrix.Translation((x, 0, 0)) @ Matrix.Rotation(x, 4, "Z"))
        stand.instance_type, stand.instance_collection = "COLLECTION", collection
    scenes.add_camera()
    frame = capture_still(method)
    assert [(e.id, e.name, e.instancer) for e in frame.objects] == [(1, "Box", "Stand -1.2"), (2, "Box", "Stand 1.2")]
    assert frame.ids_of(box.session_uid) == (1, 2)
    for entry in frame.objects:
        pixels = np.argwhere(frame.object_id == entry.id).mean(axis=0)[::-1]
        centre, _ = frame.camera.project(np.array(entry.matrix_world).reshape(4, 4)[:3, 3])
        assert np.abs(pixels - centre).max() < 4.0


def test_geometry_nodes_instances_are_drawn_where_they_are(method):
    points = scenes.add_plane(2.4, name="Points")
    box = scenes.add_box(0.5)
    box.location.z = -50.0  # out of the picture itself
    scenes.instance_on_points(points, box)
    scenes.add_camera()
    frame = capture_still(method)
    instances = [entry for entry in frame.objects if entry.instancer == "Points"]
    assert len(instances) == 4
    assert {entry.name for entry in instances} == {"Box"}
    assert len({entry.matrix_world for entry in instances}) == 4
    assert set(np.unique(frame.object_id)) == {0, *(entry.id for entry in instances)}
    assert frame.ids_of(box.session_uid)[1:] == tuple(entry.id for entry in instances)


def test_many_instances_keep_their_ids(method):
    grid = scenes.add_mesh("Grid", lambda b: bmesh.ops.create_grid(b, x_segments=19, y_segments=19, size=2.0))
    dot = scenes.add_mesh("Dot", lambda b: bmesh.ops.create_grid(b, x_segments=1, y_segments=1, size=0.08))
    dot.location.z = -90.0
    scenes.instance_on_points(grid, dot)
    scenes.add_camera(eye=(0.0, 0.0, 9.0), type="ORTHO", ortho_scale=5.0)
    frame = capture_still(method, 200, 200)
    instances = [entry for entry in frame.objects if entry.instancer]
    assert len(instances) == 400
    for entry in instances:
        x, y = frame.camera.project(np.array(entry.matrix_world).reshape(4, 4)[:3, 3])[0].astype(int)
        assert frame.object_id[y, x] == entry.id


def test_a_mesh_in_edit_mode_is_seen_as_it_is_edited(method):
    box = scenes.add_box(1.0)
    scenes.add_camera()
    bpy.context.view_layer.objects.active = box
    bpy.ops.object.mode_set(mode="EDIT")
    shape = bmesh.from_edit_mesh(box.data)
    for vertex in shape.verts:
        vertex.co *= 1.5
    bmesh.update_edit_mesh(box.data)
    frame = capture_still(method)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert_same_as_rays(frame, [box])


def test_loose_edges_and_empty_meshes_are_no_surface(method):
    mesh = bpy.data.meshes.new("Wire")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0)], [(0, 1)], [])
    scenes.add_object("Wire", mesh)
    scenes.add_object("Empty mesh", bpy.data.meshes.new("Empty mesh"))
    scenes.add_box(1.0)
    scenes.add_camera()
    frame = capture_still(method)
    assert [entry.name for entry in frame.objects] == ["Box"]


def test_both_paths_agree_on_a_scene_of_many_kinds(gpu):
    scenes.still_life()
    add_metaball().location = (1.7, 0.2, 0.3)
    first, second = capture_still("gpu", 256, 192), capture_still("cycles", 256, 192)
    same = first.object_id == second.object_id
    assert same.mean() > 0.999
    both = same & (first.object_id > 0)
    assert np.percentile(np.abs(first.depth[both] / second.depth[both] - 1.0), 99.9) < 1e-4
    where = truth.inner(same, 1) & both
    apart = truth.angles(first.normal[where].astype(float), second.normal[where].astype(float))
    assert np.percentile(apart, 99.5) < 0.5
    assert first.objects == second.objects
    assert first.camera == second.camera
