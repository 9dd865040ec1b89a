"""Texturing all around, as far as no server is needed: what is seen, what is refused, what is drawn, what is kept."""

from __future__ import annotations

import importlib
import math
import time
from dataclasses import replace

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from scumble_shared.errors import ScumbleError
from scumble_shared.job import TextureJob, TextureView
from scumble_shared.placement import MIN_COSINE, Sphere, place, sheet_columns

MODULE = "bl_ext.user_default.scumble"

AHEAD = Camera(look_at((0.0, -5.0, 0.0), (0.0, 0.0, 0.0)), perspective(0.8, 1.0, 0.1, 50.0), 128, 128, 0.1, 50.0)
PARALLEL = Camera(look_at((0.0, -5.0, 0.0), (0.0, 0.0, 0.0)), orthographic(4.0, 4.0, 0.1, 50.0), 128, 128, 0.1, 50.0)


@pytest.fixture
def part(extension):
    """A part of texture_all by its name."""
    return lambda name: importlib.import_module(f"{MODULE}.texture_all.{name}")


@pytest.fixture
def module(extension):
    """Any module of the add-on by its name."""
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def scene(extension, empty_scene):
    empty_scene.scumble.width = empty_scene.scumble.height = 128
    return empty_scene


@pytest.fixture
def cube(scene):
    bpy.ops.mesh.primitive_cube_add(size=2.0)
    return bpy.context.object


@pytest.fixture
def wish(part):
    """What would be textured, of objects, as the scene's settings say."""
    return lambda *objects: part("scene").wish_of(bpy.context, list(objects))


@pytest.fixture
def refused(wish):
    """The error an object is refused with."""

    def ask(*objects):
        with pytest.raises(ScumbleError) as caught:
            wish(*objects)
        return caught.value.info

    return ask


def wall(y, size=1.0):
    """A square facing -y: its vertices and triangles."""
    corners = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], np.float64) * size
    return corners + np.array([0.0, y, 0.0]), np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def together(*meshes):
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    vertices = np.concatenate([vertices for vertices, _ in meshes])
    return vertices, np.concatenate([faces + start for (_, faces), start in zip(meshes, starts, strict=False)])


# --- sight ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("camera", [AHEAD, PARALLEL], ids=["perspective", "orthographic"])
def test_depth_of_a_slanted_plane_is_exact(part, camera):
    corners, faces = wall(0.0, 20.0)
    slanted = corners @ np.array(Matrix.Rotation(0.7, 3, "Z") @ Matrix.Rotation(0.4, 3, "X")).T
    seen = part("sight").nearest(camera, slanted, faces, np.ones(2))
    normal = np.cross(slanted[1] - slanted[0], slanted[2] - slanted[0])
    hits = camera.unproject(camera.pixel_centres().reshape(-1, 2), seen.depth.reshape(-1).astype(float))
    assert np.isfinite(seen.depth).all()
    assert np.abs(hits @ normal / np.linalg.norm(normal)).max() < 1e-4
    assert seen.front.all()


@pytest.mark.parametrize("camera", [AHEAD, PARALLEL], ids=["perspective", "orthographic"])
def test_what_is_behind_is_hidden_and_what_is_beside_is_not(part, camera):
    sight = part("sight")
    vertices, faces = together(wall(0.0, 0.5), wall(1.0, 1.5))
    seen = sight.nearest(camera, vertices, faces, np.ones(4))
    points = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.2, 1.0, 0.0], [9.0, 1.0, 0.0]])
    cosines = sight.cosines_seen(seen, points, np.tile([0.0, -1.0, 0.0], (4, 1)))
    assert (cosines > 0).tolist() == [True, False, True, False]
    to_eye = camera.position - points[2]
    expected = 1.0 if camera.is_orthographic else -to_eye[1] / np.linalg.norm(to_eye)
    assert cosines[2] == pytest.approx(expected, abs=1e-6)


def test_a_wall_as_thin_as_paper_lets_nothing_through(part):
    """Two sheets a hundredth of a pixel apart; the far one belongs to the other side."""
    sight = part("sight")
    front, faces = wall(0.0)
    back = front + np.array([0.0, 1e-4, 0.0])
    vertices, triangles = together((front, faces), (back, faces[:, ::-1]))
    seen = sight.nearest(AHEAD, vertices, triangles, np.ones(4))
    points = np.array([[0.1, 0.0, 0.1], [0.1, 1e-4, 0.1]])
    cosines = sight.cosines_seen(seen, points, np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]))
    assert cosines[0] > 0.9
    assert cosines[1] == 0.0


def test_a_floor_that_runs_under_the_camera_is_cut_where_it_begins(part):
    sight = part("sight")
    floor = np.array([[-50, -50, -1], [50, -50, -1], [50, 50, -1], [-50, 50, -1]], np.float64)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    seen = sight.nearest(AHEAD, floor, faces, np.ones(2))
    below = seen.depth[100]  # 36 rows under the middle
    f = AHEAD.projection_matrix[1, 1]
    assert below == pytest.approx(np.full(128, f * 64.0 / 36.5), rel=1e-5)
    assert np.isinf(seen.depth[:60]).all()


def test_slivers_and_triangles_without_area_do_no_harm(part):
    vertices, faces = together(wall(0.0), (np.zeros((3, 3)) - (0, 2, 0), np.array([[0, 1, 2]], np.int32)))
    vertices[4:] += np.array([[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [0.0, 0.0, 3.0]])
    seen = part("sight").nearest(AHEAD, vertices, faces, np.ones(3))
    assert seen.depth[64, 40] == pytest.approx(5.0)


def test_mirroring_turns_a_mesh_inside_out_and_its_outside_is_still_known(part):
    vertices, faces = wall(0.0)
    seen = part("sight").nearest(AHEAD, vertices * (-1.0, 1.0, 1.0), faces, np.full(2, -1.0))
    assert seen.front[64, 64]


def test_ten_thousand_layers_take_bounded_memory(part):
    """Each triangle fills the picture: 16 million fragments from ten thousand triangles."""
    sight = part("sight")
    corners, faces = wall(0.0, 9.0)
    small = replace(AHEAD, width=40, height=40)
    layers = together(*((corners + np.array([0.0, index * 1e-3, 0.0]), faces) for index in range(5000)))
    seen = sight.nearest(small, *layers, np.ones(10000))
    assert seen.depth == pytest.approx(np.full((40, 40), 5.0))


# --- surfaces ---------------------------------------------------------------------------------------


def test_facets_are_the_triangles_cut_up(part):
    surface = part("surface")
    rng = np.random.default_rng(1)
    corners = rng.normal(size=(20, 3, 3))
    facets = surface.cut(corners, np.ones(20), np.zeros(20, np.int32), 0.3)
    sides = np.linalg.norm(facets.corners - np.roll(facets.corners, 1, 1), axis=2)
    assert sides.max() <= 0.3 + 1e-9
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2.0
    assert facets.areas.sum() == pytest.approx(areas.sum())
    each = np.cross(facets.corners[:, 1] - facets.corners[:, 0], facets.corners[:, 2] - facets.corners[:, 0])
    np.testing.assert_allclose(np.linalg.norm(each, axis=1) / 2.0, facets.areas, rtol=1e-9)
    assert (np.einsum("fc,fc->f", each, facets.normals) > 0.0).all()


def test_cutting_stays_within_bounds_whatever_the_sizes(part):
    surface = part("surface")
    corners = np.random.default_rng(2).normal(size=(300, 3, 3))
    facets = surface.cut(corners, np.ones(300), np.zeros(300, np.int32), 1e-6)
    assert 300 <= len(facets.areas) <= surface.FACETS
    flat = surface.cut(np.zeros((5, 3, 3)), np.ones(5), np.zeros(5, np.int32), 0.1)
    assert (flat.areas == 0.0).all()
    assert np.isfinite(flat.normals).all()


def test_coverage_of_a_sphere_is_that_of_its_cap(part, wish, scene):
    """The closed form that the server's own coverage is held to, tests/server/texturing/test_views.py."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=128, ring_count=64, radius=1.0)
    given = part("planning").GivenView("0", place(Sphere((0.0, 0.0, 0.0), 1.0), 0.0, 0.0, (256, 256)).camera)
    plan = part("planning").make_plan(replace(wish(bpy.context.object), given=(given,), automatic=False))
    distance = float(np.linalg.norm(given.camera.position))
    t = np.linspace(0.0, math.pi, 200001)
    cosine = (distance * np.cos(t) - 1.0) / np.sqrt(distance**2 - 2 * distance * np.cos(t) + 1.0)
    cap = (1.0 - np.cos(t[np.argmax(cosine < MIN_COSINE)])) / 2.0
    assert plan.coverage == pytest.approx(cap, abs=0.01)


def test_a_mesh_inside_out_is_seen_as_well_as_any(part, wish, cube):
    assert part("planning").make_plan(wish(cube)).coverage > 0.99
    cube.data.flip_normals()
    assert part("planning").make_plan(wish(cube)).coverage > 0.99


def test_a_mesh_shrunk_to_a_point_is_refused(part, wish, cube):
    for vertex in cube.data.vertices:
        vertex.co = (0.0, 0.0, 0.0)
    with pytest.raises(ScumbleError, match="none of the views sees"):
        part("planning").make_plan(wish(cube))


def test_loose_edges_and_faces_in_a_fan_do_no_harm(part, wish, scene):
    """Three faces on one edge, and an edge that belongs to none."""
    mesh = bpy.data.meshes.new("Fan")
    corners = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (-1, 1, 0), (-1, -1, 0), (3, 0, 0), (3, 0, 1)]
    mesh.from_pydata(corners, [(5, 6)], [(0, 1, 2), (0, 1, 3), (0, 1, 4)])
    mesh.uv_layers.new(name="UVMap")
    fan = bpy.data.objects.new("Fan", mesh)
    scene.collection.objects.link(fan)
    assert part("planning").make_plan(wish(fan)).coverage > 0.99


def test_places_in_the_sheet_are_where_the_views_show_them(part, wish, cube):
    plan = part("planning").make_plan(wish(cube))
    places, shares = plan.sheet
    seen = shares.sum(1) > 0.0
    np.testing.assert_allclose(shares[seen].sum(1), 1.0, atol=1e-5)
    count = len(plan.views)
    columns = sheet_columns(count, 1, 1)
    rows = -(-count // columns)
    corners = plan.facets.corners.reshape(-1, 3)
    for index in np.flatnonzero(seen)[::997]:
        rank = int(shares[index].argmax())
        u, v = places[index, 2 * rank : 2 * rank + 2]
        column, row = int(u * columns), int((1.0 - v) * rows)
        camera = plan.cameras[row * columns + column]
        inside = np.array([u * columns - column, (1.0 - v) * rows - row]) * 128
        np.testing.assert_allclose(camera.project(corners[index])[0], inside, atol=0.01)


# --- plans ------------------------------------------------------------------------------------------


def test_views_are_combined_and_keep_their_prompts(part, wish, cube, scene):
    data = bpy.data.cameras.new("Side")
    camera = bpy.data.objects.new("Side", data)
    camera.matrix_world = Matrix.Translation((6, 0, 0)) @ Matrix.Rotation(math.pi / 2, 4, "Y")
    scene.collection.objects.link(camera)
    camera.select_set(True)
    assert bpy.ops.scumble.around_camera_add() == {"FINISHED"}
    around = scene.scumble_around
    assert around.views == {"AUTOMATIC", "CAMERAS"}
    around.cameras[0].prompt = "a door"
    entry = around.prompts.add()
    entry.name, entry.prompt = "180° +30°", "a window"
    plan = part("planning").make_plan(wish(cube))
    assert [view.key for view in plan.views[:3]] == ["Side", "0° +30°", "45° -30°"]
    told = {view.key: view.prompt for view in plan.views if view.prompt}
    assert told == {"Side": "a door", "180° +30°": "a window"}
    assert plan.views[0].words == "side view"
    bpy.ops.scumble.around_camera_remove(index=0)
    assert not around.cameras


def test_what_is_known_is_used_again_only_while_it_holds(part, wish, cube):
    planning = part("planning")
    first = planning.make_plan(wish(cube))
    again = planning.make_plan(wish(cube), first)
    assert again.facets is first.facets
    cube.location.x = 0.5
    assert planning.make_plan(wish(cube), first).facets is not first.facets
    cube.location.x = 0.0
    cube.data.vertices[0].co.x -= 0.5
    assert planning.make_plan(wish(cube), first).facets is not first.facets


def test_a_planner_that_is_stopped_ends_without_a_plan(part, wish, scene):
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=300, y_subdivisions=300)
    planner = part("planning").Planner(wish(bpy.context.object))
    planner.stop()
    planner._thread.join(10.0)
    assert planner.done
    assert planner.plan is None
    assert planner.error is None


def test_cameras_that_look_elsewhere_are_refused(part, wish, cube):
    away = part("planning").GivenView("0", Camera(look_at((0, -5, 0), (0, -9, 0)), AHEAD.projection, 64, 64, 0.1, 50.0))
    with pytest.raises(ScumbleError, match="none of the views sees"):
        part("planning").make_plan(replace(wish(cube), given=(away,), automatic=False))


def test_a_million_triangles_are_looked_at(part, scene):
    """A grid thrown over a hill, from arrays: Blender's own operators take minutes to make one."""
    side = 708
    x, y = (axis.ravel() / (side - 1.0) * 2.0 - 1.0 for axis in np.indices((side, side)))
    vertices = np.stack([x, y, np.exp(-3.0 * (x * x + y * y))], 1).astype(np.float32)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    quads = np.stack([corner, corner + side, corner + side + 1, corner + 1], 1)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    unit = tuple(np.eye(4).ravel())
    normals, uvs = np.zeros((len(triangles), 3, 3), np.float32), np.zeros((len(triangles), 3, 2), np.float32)
    mesh = importlib.import_module(f"{MODULE}.capture").MeshArrays(
        "Hill", 1, unit, vertices, triangles, normals, uvs, "UVMap"
    )
    assert len(triangles) >= 999_000
    plan = part("planning").make_plan(part("planning").Wish((mesh,), (), automatic=True, size=(512, 512)))
    assert plan.coverage > 0.98


# --- what is refused --------------------------------------------------------------------------------


def without_uvs(thing):
    while thing.data.uv_layers:
        thing.data.uv_layers.remove(thing.data.uv_layers[0])


def without_faces(thing):
    thing.data.clear_geometry()


def flat_scale(thing):
    thing.scale.z = 0.0


def hidden(thing):
    thing.hide_set(True)


def disabled(thing):
    thing.hide_viewport = True


def excluded(thing):
    collection = bpy.data.collections.new("Away")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(thing)
    bpy.context.scene.collection.objects.unlink(thing)
    bpy.context.view_layer.layer_collection.children["Away"].exclude = True


def nowhere(thing):
    thing.data.vertices[0].co.x = math.nan


@pytest.mark.parametrize(
    ("spoil", "reason", "action"),
    [
        (without_uvs, "has no UV map", "add_uv_map"),
        (without_faces, "has no faces", None),
        (flat_scale, "scaled to zero", None),
        (hidden, "is hidden", None),
        (disabled, "is hidden", None),
        (excluded, "isn't in this view layer", None),
        (nowhere, "vertices that are nowhere", None),
    ],
)
def test_what_cannot_be_textured_is_refused_with_its_name_and_reason(refused, cube, spoil, reason, action):
    spoil(cube)
    error = refused(cube)
    assert error.code == "scene"
    assert error.message.startswith("Cube ")
    assert reason in error.message
    assert (error.remedy and error.remedy.action) == action


def test_more_triangles_than_a_job_may_have_are_refused_before_they_are_looked_at(part, cube, monkeypatch):
    mesh = part("scene").capture.meshes(bpy.context.evaluated_depsgraph_get(), [cube])[0]
    limits = part("scene").DEFAULT_LIMITS
    monkeypatch.setattr(part("scene"), "DEFAULT_LIMITS", replace(limits, triangles=2 * len(mesh.triangles)))
    assert len(part("scene").surfaces(bpy.context, [cube])) == 1
    copies = [cube]
    for _ in range(2):
        copies.append(cube.copy())
        bpy.context.scene.collection.objects.link(copies[-1])
    assert len(part("scene").surfaces(bpy.context, copies[:2])) == 2
    with pytest.raises(ScumbleError, match="36 triangles are more than the 24") as caught:
        part("scene").surfaces(bpy.context, copies)
    assert caught.value.code == "too_large"


def test_linked_objects_are_refused(refused, cube, tmp_path):
    path = str(tmp_path / "library.blend")
    bpy.data.libraries.write(path, {cube})
    with bpy.data.libraries.load(path, link=True) as (source, into):
        into.objects = source.objects
    linked = into.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    assert "linked from another file" in refused(linked).message


def test_instances_of_collections_are_refused_with_what_helps(refused, cube, scene):
    collection = bpy.data.collections.new("Parts")
    collection.objects.link(cube)
    empty = bpy.data.objects.new("Empty", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    scene.collection.objects.link(empty)
    assert "Make Instances Real" in refused(empty).message


def test_cameras_and_lights_in_a_selection_are_left_out(wish, refused, cube, scene):
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    assert [mesh.name for mesh in wish(lamp, cube, cube).meshes] == ["Cube"]
    assert "select the objects" in refused(lamp).message


def test_nothing_to_look_from_is_refused(refused, cube, scene):
    scene.scumble_around.views = set()
    assert "where to look from" in refused(cube).message
    scene.scumble_around.views = {"CAMERAS"}
    assert "no camera in the list" in refused(cube).message
    scene.scumble_around.views = {"CURRENT"}
    scene.scumble.source = "CAMERA"
    assert "no camera" in refused(cube).message


def test_udim_tiles_are_told_from_uvs_that_repeat(module):
    tiles = module("capture.tiles").udim_tiles
    corner = np.float32([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert tiles(corner[None]) == ()
    assert tiles(np.stack([corner, corner + np.float32([1.0, 0.0]), corner + np.float32([0.0, 1.0])])) == (
        1001,
        1002,
        1011,
    )
    assert tiles(np.stack([corner, corner * 3.0])) == ()  # a wall of bricks
    assert tiles(np.stack([corner, corner - np.float32([1.0, 0.0])])) == ()
    assert tiles((corner + np.float32([4.0, 0.0]))[None]) == ()  # all of it elsewhere: it repeats there
    assert tiles(np.stack([corner, np.full((3, 2), np.nan, np.float32), corner + 1.0])) == (1001, 1012)


def test_an_unwrap_goes_into_a_new_map_that_is_painted_on_from_then(wish, cube):
    assert bpy.ops.scumble.add_uv_map(object_name="Cube") == {"FINISHED"}
    assert [layer.name for layer in cube.data.uv_layers] == ["UVMap", "Scumble"]
    assert cube.data.uv_layers["UVMap"].active_render
    assert cube.data.uv_layers.active.name == "UVMap"
    assert wish(cube).meshes[0].uv_map == "Scumble"


def test_a_ninth_uv_map_is_refused_in_words(cube):
    while len(cube.data.uv_layers) < 8:
        cube.data.uv_layers.new(name="More")
    with pytest.raises(RuntimeError, match="8 UV maps"):
        bpy.ops.scumble.add_uv_map(object_name="Cube")


def test_the_look_that_only_nodes_make_cannot_be_kept(part, module, cube):
    material = bpy.data.materials.new("Noise")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    noise = tree.nodes.new("ShaderNodeTexNoise")
    tree.links.new(noise.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    cube.data.materials.append(material)
    capabilities = module("state").session().capabilities
    with pytest.raises(ScumbleError, match="can't be kept"):
        part("drafts").around(bpy.context, capabilities, [cube], unseen="KEEP")
    assert part("drafts").around(bpy.context, capabilities, [cube], unseen="FILL").job.base == ()


def test_settings_that_a_script_makes_up_are_refused(part, module, cube):
    for name in ("colour", "meshes", "base"):
        with pytest.raises(ScumbleError, match="there is no setting"):
            part("drafts").around(bpy.context, module("state").session().capabilities, [cube], **{name: 1})


def test_kinds_of_views_that_a_script_makes_up_are_refused(part, module, cube):
    capabilities = module("state").session().capabilities
    with pytest.raises(ScumbleError, match="not ABOVE"):
        part("drafts").around(bpy.context, capabilities, [cube], views=frozenset({"ABOVE"}))
    with pytest.raises(ScumbleError, match="unseen is FILL or KEEP"):
        part("drafts").around(bpy.context, capabilities, [cube], unseen="HIDE")


def test_cameras_alone_are_enough(part, module, cube, scene):
    camera = bpy.data.objects.new("Side", bpy.data.cameras.new("Side"))
    camera.matrix_world = Matrix.Translation((6, 0, 0)) @ Matrix.Rotation(math.pi / 2, 4, "Y")
    scene.collection.objects.link(camera)
    draft = part("drafts").around(bpy.context, module("state").session().capabilities, [cube], cameras=[camera])
    plan = part("planning").make_plan(draft.wish)
    assert [view.key for view in plan.views] == ["Side"]
    assert plan.coverage == pytest.approx(1.0 / 6.0, abs=1e-6)


def test_a_refusal_leaves_the_seed_alone(part, module, cube, scene):
    scene.scumble.seed = 5
    cube.hide_set(True)
    with pytest.raises(ScumbleError):
        part("drafts").around(bpy.context, module("state").session().capabilities, [cube])
    assert scene.scumble.seed == 5


def test_settings_begin_as_the_jobs_do(scene):
    job = TextureJob("x", ())
    around = scene.scumble_around
    assert (around.method, around.view_words) == (job.method, job.view_words)
    assert around.sync_end == pytest.approx(job.sync_end)
    assert around.angle_exponent == pytest.approx(job.angle_exponent)


# --- recipes ----------------------------------------------------------------------------------------


@pytest.fixture
def kept(part, cube):
    """A cube and a ball with a recipe, as if they had been textured together."""
    bpy.ops.mesh.primitive_uv_sphere_add(location=(3.0, 0.0, 0.0))
    things = [cube, bpy.context.object]
    bpy.context.view_layer.update()
    views = [part("recipe").KeptView(AHEAD, "front view", "a face", 5, False, None)]
    matrices = [[value for row in thing.matrix_world for value in row] for thing in things]
    part("recipe").keep(things, matrices, TextureJob("stone", (), seed=2**40), views, [0.5, 0.6])
    return things


def test_a_recipe_reads_as_it_was_written(part, kept):
    recipe = part("recipe").read(kept[1])
    assert recipe.job == TextureJob("stone", (), seed=2**40)
    assert recipe.objects == tuple(kept)
    assert [(view.camera, view.prompt, view.seed) for view in recipe.views] == [(AHEAD, "a face", 5)]


def test_renaming_and_copying_do_not_confuse_who_belongs_together(part, kept):
    cube, ball = kept
    copy = cube.copy()
    bpy.context.scene.collection.objects.link(copy)
    assert part("recipe").members(ball) == (cube, ball)
    assert part("recipe").members(copy) == (copy, ball)
    cube.name = "Renamed"
    bpy.data.objects.remove(copy)
    assert part("recipe").members(ball) == (cube, ball)
    bpy.data.objects.remove(ball)
    assert part("recipe").members(cube) == (cube,)


def test_cameras_follow_when_all_move_as_one(part, kept):
    before = AHEAD.project(np.array([0.3, -1.0, 0.2]))[0]
    moved = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.6, 4, (1, 1, 0))
    for thing in kept:
        thing.matrix_world = moved @ thing.matrix_world
    bpy.context.view_layer.update()
    camera = part("recipe").read(kept[0]).views[0].camera
    after = camera.project(np.array(moved @ Matrix.Translation((0.3, -1.0, 0.2)).to_translation()))[0]
    np.testing.assert_allclose(after, before, atol=1e-3)


def scale_one(things):
    things[0].scale *= 1.5


def move_one(things):
    things[1].location.y += 0.5


@pytest.mark.parametrize(("change", "reason"), [(scale_one, "another size"), (move_one, "moved against")])
def test_what_no_longer_fits_together_is_refused(part, kept, change, reason):
    change(kept)
    bpy.context.view_layer.update()
    with pytest.raises(ScumbleError, match=reason):
        part("recipe").read(kept[0])


def test_a_recipe_from_another_time_is_refused_not_raised(part, kept):
    kept[0].scumble_texture.recipe = '{"task": "texture", "seed": "x"}'
    with pytest.raises(ScumbleError, match="can't be read"):
        part("recipe").read(kept[0])
    with pytest.raises(ScumbleError, match="hasn't been textured"):
        part("recipe").read(bpy.data.objects.new("New", None))


def test_a_picture_that_is_gone_is_told_by_its_side(part, kept):
    with pytest.raises(ScumbleError, match="the picture of the front view is gone"):
        part("recipe").read(kept[0]).given([True])


def test_again_is_disabled_without_a_recipe(cube):
    for name in ("texture_again", "texture_view_again", "rebake_texture"):
        assert not getattr(bpy.ops.scumble, name).poll()


# --- the preview of views, without a server ---------------------------------------------------------


@pytest.fixture
def turn(module):
    """Turns until something has happened."""

    def until(condition, patience=30.0):
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline
            module("pump").step()
            time.sleep(0.002)

    return until


def test_views_are_previewed_and_hidden_again(part, turn, cube, scene):
    live = part("live")
    assert bpy.ops.scumble.preview_views() == {"FINISHED"}
    turn(lambda: live.coverage_plan() is not None)
    plan = live.coverage_plan()
    assert len(plan.views) >= 8
    assert plan.coverage > 0.98
    assert [entry.name for entry in scene.scumble_around.prompts] == [view.key for view in plan.views]
    scene.scumble_around.prompts[1].prompt = "kept"
    assert bpy.ops.scumble.preview_views() == {"FINISHED"}
    assert live.coverage_plan() is None
    bpy.ops.scumble.preview_views()
    turn(lambda: live.coverage_plan() is not None)
    assert scene.scumble_around.prompts[1].prompt == "kept"
    live.clear()


def test_an_error_on_the_other_thread_is_told_in_the_panel(part, module, turn, cube):
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.camera.location.z = -9.0  # looks down, with its back to the cube
    scene.scumble.source, scene.scumble_around.views = "CAMERA", {"CURRENT"}
    assert bpy.ops.scumble.preview_views() == {"FINISHED"}
    turn(lambda: not part("actions").is_looking())
    problem = module("state").session().problem
    assert "none of the views sees" in problem.message
    bpy.ops.scumble.dismiss_error()


def test_a_new_file_ends_what_was_shown(part, turn, cube):
    bpy.ops.scumble.preview_views()
    turn(lambda: part("live").coverage_plan() is not None)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert part("live").coverage_plan() is None


def test_nothing_is_drawn_of_an_object_that_has_moved_or_is_hidden(part, wish, cube):
    plan = part("planning").make_plan(wish(cube))
    stands = part("live")._stands
    assert stands(plan)
    cube.location.x = 1.0
    bpy.context.view_layer.update()
    assert not stands(plan)
    cube.location.x = 0.0
    bpy.context.view_layer.update()
    assert stands(plan)
    cube.hide_set(True)
    assert not stands(plan)
    bpy.data.objects.remove(cube)
    assert not stands(plan)


# --- drawing ----------------------------------------------------------------------------------------

SIDE = 96


@pytest.fixture
def draw(part, module, gpu_ready):
    """Pixels, float32 SIDE x SIDE x 4, top row first, of a drawing seen by a camera; target: format of the texture."""
    if not module("capture").gpu_available():
        pytest.skip("this Blender can't draw")
    import gpu

    def shot(drawing, camera, shaded, target="RGBA32F"):
        color = gpu.types.GPUTexture((SIDE, SIDE), format=target)
        depth = gpu.types.GPUTexture((SIDE, SIDE), format="DEPTH_COMPONENT32F")
        framebuffer = gpu.types.GPUFrameBuffer(depth_slot=depth, color_slots=[color])
        with framebuffer.bind():
            framebuffer.clear(color=(0.0, 0.0, 0.0, 1.0), depth=1.0)
            drawing.draw(camera.view_matrix, camera.projection_matrix, shaded=shaded)
            pixels = np.zeros((SIDE, SIDE, 4), np.float32)
            into = gpu.types.Buffer("FLOAT", pixels.shape, pixels)
            framebuffer.read_color(0, 0, SIDE, SIDE, 4, 0, "FLOAT", data=into)
        return pixels[::-1]

    return shot


def solid_colors(points):
    """A colour for each place in space."""
    return 0.5 + 0.4 * np.sin(points * 1.5 + (0.0, 1.0, 2.0))


def test_a_preview_lies_on_the_surface_where_the_views_show_it(part, wish, draw, scene):
    """Views of a solid colour; a camera that is none of them must see that colour in place."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24)
    plan = part("planning").make_plan(wish(bpy.context.object))
    sight, scanner = part("sight"), part("surface").Scanner(plan.wish.meshes)
    columns = sheet_columns(len(plan.views), 128, 128)
    rows = -(-len(plan.views) // columns)
    sheet = np.ones((rows * 128, columns * 128, 4), np.float32)
    for index, camera in enumerate(plan.cameras):
        seen = sight.nearest(camera, scanner._vertices, scanner._triangles, scanner._outward)
        depth = np.where(np.isfinite(seen.depth), seen.depth, 1.0)
        row, column = divmod(index, columns)
        tile = sheet[row * 128 : row * 128 + 128, column * 128 : column * 128 + 128]
        tile[..., :3] = solid_colors(camera.unproject(camera.pixel_centres(), depth))
    drawing = part("draw").Drawing(plan)
    drawing.set_preview(np.ascontiguousarray(sheet[::-1]))
    camera = place(scanner.sphere, 20.0, 15.0, (SIDE, SIDE)).camera
    pixels = draw(drawing, camera, True)
    seen = sight.nearest(camera, scanner._vertices, scanner._triangles, scanner._outward)
    hit = np.isfinite(seen.depth)
    wanted = solid_colors(camera.unproject(camera.pixel_centres(), np.where(hit, seen.depth, 1.0)))
    wrong = np.abs(pixels[..., :3] - wanted).max(-1)[hit]
    assert np.median(wrong) < 0.02
    assert np.percentile(wrong, 98) < 0.08


def test_views_that_wait_for_their_turn_are_not_mixed_in(part, module, wish, cube):
    live, jobs = part("live"), module("jobs")
    views = tuple(TextureView(AHEAD, image="f" * 64 if index == 1 else None) for index in range(5))
    job = TextureJob("x", (), views=views, method="sequential")
    sheet = np.ones((20, 30, 4), np.float32)  # three columns, two rows
    for step, shown in ((1, [0, 1]), (10, [0, 1]), (11, [0, 1, 2]), (40, [0, 1, 2, 3, 4])):
        record = jobs.JobRecord("1", job, jobs.Target(0), step=step, steps=40)
        alpha = live.begun_only(record, sheet)[::-1, :, 3].reshape(2, 10, 3, 10)[:, 5, :, 5].ravel()
        assert np.flatnonzero(alpha[:5]).tolist() == shown
        together = replace(record, job=replace(job, method="synchronised"))
        assert live.begun_only(together, sheet) is sheet


def test_coverage_of_a_cube_seen_from_the_front_is_a_sixth(part, wish, cube):
    """Sides that turn away don't count, however near their edge is to the silhouette."""
    planning = part("planning")
    front = planning.GivenView("0", place(Sphere((0.0, 0.0, 0.0), 1.8), 0.0, 0.0, (128, 128)).camera)
    plan = planning.make_plan(replace(wish(cube), given=(front,), automatic=False))
    assert plan.coverage == pytest.approx(1.0 / 6.0, abs=1e-6)


def test_coverage_is_green_where_it_is_seen_and_red_where_not(part, wish, draw, scene):
    planning, drawing = part("planning"), part("draw")
    walls = []
    for x in (-1.5, 1.5):
        bpy.ops.mesh.primitive_plane_add(size=2.0, location=(x, 0.0, 0.0), rotation=(math.pi / 2, 0.0, 0.0))
        walls.append(bpy.context.object)
    left = planning.GivenView("0", place(Sphere((-1.5, 0.0, 0.0), 1.5), 0.0, 0.0, (128, 128), ortho=True).camera)
    plan = planning.make_plan(replace(wish(*walls), given=(left,), automatic=False))
    assert plan.coverage == pytest.approx(0.5, abs=0.05)
    camera = place(Sphere((0.0, 0.0, 0.0), 3.0), 0.0, 0.0, (SIDE, SIDE), ortho=True).camera
    pixels = draw(drawing.Drawing(plan), camera, False)[40:56, :, :3]
    tint = np.float32(drawing.TINT)
    assert pixels[:, 20:28] == pytest.approx(np.broadcast_to(tint * np.float32(drawing.WELL), (16, 8, 3)), abs=1e-4)
    assert pixels[:, 76:80] == pytest.approx(np.broadcast_to(tint * np.float32(drawing.UNSEEN), (16, 4, 3)), abs=1e-4)


def test_viewports_that_encode_get_the_same_colours(part, wish, draw, cube):
    drawing = part("draw").Drawing(part("planning").make_plan(wish(cube)))
    camera = place(Sphere((0.0, 0.0, 0.0), 2.0), 10.0, 20.0, (SIDE, SIDE)).camera
    sheet = np.full((6, 6, 4), 0.6, np.float32)
    drawing.set_preview(sheet)
    plain = draw(drawing, camera, True)[40:50, 40:50, :3]
    encoded = draw(drawing, camera, True, "SRGB8_A8")[40:50, 40:50, :3]
    assert plain == pytest.approx(np.full_like(plain, 0.6), abs=0.005)
    # Reading an encoding target gives back linear values or the bytes, by version; 0.6 is one of both.
    linear = ((0.6 + 0.055) / 1.055) ** 2.4
    assert min(np.abs(encoded - 0.6).max(), np.abs(encoded - linear).max()) < 0.01


def test_a_camera_is_drawn_where_it_stands(part):
    lines = part("draw").camera_lines(AHEAD, np.zeros(3))
    assert (lines == AHEAD.position).all(1).sum() == 4
    pixels, depth = AHEAD.project(lines[(lines != AHEAD.position).any(1)])
    assert depth == pytest.approx(np.full(len(depth), 5.0 * part("draw").FRAME))
    assert {(round(x), round(y)) for x, y in pixels} >= {(0, 0), (128, 0), (128, 128), (0, 128)}
