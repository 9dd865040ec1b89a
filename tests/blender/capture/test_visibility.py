"""What is hidden stays hidden, in the way each view hides things."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from capture import scenes
from capture.fingerprint import differences, fingerprint
from mathutils import Matrix

from blender_addon import capture


@pytest.fixture
def pair():
    """A small box in front of a large one."""
    front = scenes.add_box(0.8, Matrix.Translation((0.0, -3.0, 0.0)), name="Front")
    back = scenes.add_box(3.0, Matrix.Translation((0.0, 2.0, 0.0)), name="Back")
    scenes.add_camera(eye=(0.0, -9.0, 0.0))
    return front, back


def seen(method) -> set[str]:
    frame = capture.capture_camera(bpy.context.scene, width=48, height=48, method=method)
    return {entry.name for entry in frame.objects if (frame.object_id == entry.id).any()}


def into_collection(thing: bpy.types.Object) -> bpy.types.Collection:
    collection = bpy.data.collections.new("Some")
    bpy.context.scene.collection.children.link(collection)
    bpy.context.scene.collection.objects.unlink(thing)
    collection.objects.link(thing)
    return collection


def test_all_is_seen_when_nothing_is_hidden(method, pair):
    assert seen(method) == {"Front", "Back"}


def test_disabled_for_renders(method, pair):
    pair[0].hide_render = True
    assert seen(method) == {"Back"}


def test_in_a_collection_disabled_for_renders(method, pair):
    into_collection(pair[0]).hide_render = True
    assert seen(method) == {"Back"}


def hide_from_viewports(thing: bpy.types.Object, how: str) -> None:
    if how == "eye":
        thing.hide_set(True)
    elif how == "object":
        thing.hide_viewport = True
    elif how == "collection":
        into_collection(thing).hide_viewport = True
    elif how == "collection's eye":
        into_collection(thing)
        bpy.context.view_layer.layer_collection.children[0].hide_viewport = True
    else:
        hide_from_viewports(thing, "eye")
        hide_from_viewports(thing, "object")


HIDDEN = ("eye", "object", "collection", "collection's eye", "eye and object")


@pytest.mark.parametrize("how", HIDDEN)
def test_hidden_in_viewports_only_a_render_shows_it(method, pair, how):
    """With its own name and id, evaluated with its modifiers, and the file as it was before."""
    pair[0].modifiers.new("Array", "ARRAY").count = 3
    everything = capture.capture_camera(bpy.context.scene, width=48, height=48, method=method)
    hide_from_viewports(pair[0], how)
    bpy.context.view_layer.update()
    before = fingerprint()
    hidden = capture.capture_camera(bpy.context.scene, width=48, height=48, method=method)
    assert differences(before, fingerprint()) == []
    assert all(hidden.ids_of(thing.session_uid) for thing in pair)
    np.testing.assert_allclose(hidden.depth, everything.depth, rtol=1e-5)
    names = [{entry.id: entry.name for entry in frame.objects} for frame in (everything, hidden)]
    assert {entry.name for entry in hidden.objects} == {"Front", "Back"}
    for row, other in zip(everything.object_id.flat, hidden.object_id.flat, strict=True):
        assert names[0].get(row) == names[1].get(other)


@pytest.mark.parametrize("how", HIDDEN)
def test_hidden_in_viewports_and_disabled_for_renders(method, pair, how):
    hide_from_viewports(pair[0], how)
    pair[0].hide_render = True
    assert seen(method) == {"Back"}


def test_a_parent_hidden_in_viewports_moves_its_children_all_the_same(method, pair):
    parent = scenes.add_object("Parent", None)
    pair[0].parent = parent
    parent.location = (50.0, 0.0, 0.0)
    for thing in (parent, pair[0]):
        thing.hide_viewport = True
    assert seen(method) == {"Back"}
    parent.location = (0.0, 0.0, 0.0)
    assert seen(method) == {"Front", "Back"}


def test_what_is_hidden_in_viewports_is_simplified_as_the_scene_is(method, pair):
    pair[0].modifiers.new("Subdivision", "SUBSURF").levels = 3
    render = bpy.context.scene.render
    render.use_simplify, render.simplify_subdivision = True, 0
    pair[0].hide_viewport = True
    frame = capture.capture_camera(bpy.context.scene, width=48, height=48, method=method)
    box = frame.object_id == frame.ids_of(pair[0].session_uid)[0]
    assert frame.depth[box].max() - frame.depth[box].min() < 1e-4  # a flat front, not a round one


def test_text_hidden_in_viewports_is_seen_as_the_mesh_it_makes(method, pair):
    curve = bpy.data.curves.new("Text", "FONT")
    curve.body, curve.extrude = "I", 0.2
    text = scenes.add_object("Text", curve, Matrix.Translation((-2.0, -3.0, 0.0)) @ Matrix.Rotation(1.57, 4, "X"))
    text.hide_viewport = True
    assert seen(method) == {"Front", "Back", "Text"}


def test_an_instancer_hidden_in_viewports_shows_its_instances(method, pair):
    collection = into_collection(pair[0])
    bpy.context.view_layer.layer_collection.children[0].exclude = True
    stand = scenes.add_object("Stand", None)
    stand.instance_type, stand.instance_collection = "COLLECTION", collection
    stand.hide_viewport = True
    frame = capture.capture_camera(bpy.context.scene, width=48, height=48, method=method)
    (entry,) = (entry for entry in frame.objects if entry.name == "Front")
    assert (entry.instancer, entry.instancer_uid) == ("Stand", stand.session_uid)
    assert seen(method) == {"Front", "Back"}


def test_nobody_hears_of_what_is_evaluated_aside(method, pair):
    pair[0].hide_viewport = True
    bpy.context.view_layer.update()
    heard = []
    handlers = [bpy.app.handlers.depsgraph_update_pre, bpy.app.handlers.depsgraph_update_post]
    for handler in handlers:
        handler.append(lambda scene, *_: heard.append(scene.name))
    try:
        assert seen(method) == {"Front", "Back"}
    finally:
        for handler in handlers:
            handler.pop()
    assert set(heard) <= {"Scene"}


def test_in_a_second_collection_that_is_enabled(method, pair):
    into_collection(pair[0]).hide_render = True
    bpy.context.scene.collection.objects.link(pair[0])
    assert seen(method) == {"Front", "Back"}


def test_in_an_excluded_collection(method, pair):
    into_collection(pair[0])
    bpy.context.view_layer.layer_collection.children[0].exclude = True
    assert seen(method) == {"Back"}


def test_in_an_indirect_only_collection(method, pair):
    into_collection(pair[0])
    bpy.context.view_layer.layer_collection.children[0].indirect_only = True
    assert seen(method) == {"Back"}


def test_invisible_to_the_camera(method, pair):
    pair[0].visible_camera = False
    assert seen(method) == {"Back"}


def test_a_hidden_instancer_hides_its_instances(method, pair):
    collection = into_collection(pair[0])
    bpy.context.view_layer.layer_collection.children[0].exclude = True
    stand = scenes.add_object("Stand", None)
    stand.instance_type, stand.instance_collection = "COLLECTION", collection
    assert seen(method) == {"Front", "Back"}
    stand.hide_render = True
    assert seen(method) == {"Back"}


@pytest.mark.parametrize("how", ["object", "collection"])
def test_a_holdout_is_a_hole(method, pair, how):
    if how == "object":
        pair[0].is_holdout = True
    else:
        into_collection(pair[0])
        bpy.context.view_layer.layer_collection.children[0].holdout = True
    frame = capture.capture_camera(bpy.context.scene, width=48, height=48, method=method)
    assert seen(method) == {"Back"}
    assert frame.object_id[24, 24] == 0
    assert np.isinf(frame.depth[24, 24])
    assert (frame.normal[24, 24] == 0).all()
    assert {entry.name: entry.holdout for entry in frame.objects} == {"Front": True, "Back": False}
    assert frame.object_id.max() == next(entry.id for entry in frame.objects if entry.name == "Back")


def test_a_view_layer_sees_its_own_collections(method, pair):
    scene = bpy.context.scene
    into_collection(pair[0])
    other = scene.view_layers.new("Other")
    other.layer_collection.children[0].exclude = True
    frame = capture.capture_camera(scene, other, width=48, height=48, method=method)
    assert [entry.name for entry in frame.objects] == ["Back"]
    assert seen(method) == {"Front", "Back"}


def test_another_scene_can_be_captured(method, pair):
    scene = bpy.data.scenes.new("Elsewhere")
    scene.collection.objects.link(pair[1])
    frame = capture.capture_camera(scene, camera_object=bpy.context.scene.camera, width=32, height=32, method=method)
    assert [entry.name for entry in frame.objects] == ["Back"]
    assert bpy.context.scene.name == "Scene"


def test_another_object_can_be_the_camera(method, pair):
    data = bpy.data.cameras.new("Second")
    second = scenes.add_object("Second", data, bpy.context.scene.camera.matrix_world @ Matrix.Translation((0, 0, 2)))
    frame = capture.capture_camera(bpy.context.scene, camera_object=second, width=32, height=32, method=method)
    assert frame.camera.position == pytest.approx((0.0, -11.0, 0.0), abs=1e-5)
    assert bpy.context.scene.camera.name == "Camera"
