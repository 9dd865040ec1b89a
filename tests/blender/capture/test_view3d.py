"""The viewport as the artist has it: perspective, orthographic, camera view, local view."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from capture import scenes, truth
from capture.fingerprint import differences, fingerprint
from mathutils import Matrix, Quaternion
from scumble_shared.errors import ErrorCode, ScumbleError

from blender_addon import capture


@pytest.fixture
def view(gpu_ready):
    """The 3D viewport of the factory layout: its area, region and space."""
    assert capture.gpu_available()  # in background, updating a viewport before the GPU is started ends the process
    area = next(area for area in bpy.context.window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    space = area.spaces.active
    space.region_3d.view_distance = 9.0
    space.region_3d.view_rotation = Quaternion((0.8, 0.4, 0.2, 0.4)).normalized()
    space.region_3d.view_perspective = "PERSP"
    space.region_3d.update()
    return area, region, space


def look(view, method, width=64, height=48, **more):
    return capture.capture_view3d(view[0], width, height, method=method, **more)


@pytest.mark.parametrize("perspective", ["PERSP", "ORTHO"])
def test_the_view_is_exact(method, view, perspective):
    box = scenes.add_box(2.0, Matrix.Rotation(0.5, 4, (1, 2, 3)))
    view[2].region_3d.view_perspective = perspective
    view[2].region_3d.update()
    frame = look(view, method)
    exact = truth.ray_cast(frame.camera, [box], bpy.context.evaluated_depsgraph_get())
    where = truth.smooth_regions(exact.depth, exact.facet)
    assert where.sum() > 50
    assert (np.abs(frame.depth[where] - exact.depth[where]) <= truth.depth_allowance(exact.depth)[where]).all()
    assert truth.angles(truth.to_world(frame.camera, frame.normal), exact.facet)[where].max() < 0.1
    assert frame.camera.is_orthographic == (perspective == "ORTHO")


@pytest.mark.parametrize("perspective", ["PERSP", "ORTHO"])
@pytest.mark.parametrize("size", [(64, 48), (64, 20), (24, 48)])
def test_the_picture_is_the_viewports_middle(gpu, view, perspective, size):
    """Blender's own projection of a point into the region, and the camera's, say the same."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    scenes.add_box(1.0)
    _, region, space = view
    space.region_3d.view_perspective = perspective
    space.region_3d.update()
    camera = look(view, gpu, *size).camera
    scale = min(region.width / size[0], region.height / size[1])
    for point in [(0.0, 0.0, 0.0), (0.5, -0.3, 0.8), (-0.7, 0.4, -0.2)]:
        there = np.array(location_3d_to_region_2d(region, space.region_3d, point))
        pixels, depth = camera.project(np.array(point))
        from_middle = (pixels - np.array(size) / 2.0) * (scale, -scale)
        assert from_middle + np.array([region.width, region.height]) / 2.0 == pytest.approx(there, abs=0.05)
        assert depth > 0.0


def test_an_orthographic_view_sees_what_is_behind_its_eye(method, view):
    scenes.add_box(2.0)
    region = view[2].region_3d
    region.view_perspective, region.view_distance = "ORTHO", 0.5  # the eye is inside the box
    region.update()
    frame = look(view, method)
    assert frame.camera.near == 0.0
    assert (frame.depth[np.isfinite(frame.depth)] > 0.0).all()
    assert np.isfinite(frame.depth).all()


def test_local_view_hides_the_rest(method, view):
    scenes.add_box(1.0, Matrix.Translation((-1.0, 0, 0)), name="Alone")
    scenes.add_box(1.0, Matrix.Translation((1.0, 0, 0)), name="Away")
    assert {entry.name for entry in look(view, method).objects} == {"Alone", "Away"}
    bpy.data.objects["Away"].select_set(False)
    bpy.data.objects["Alone"].select_set(True)
    with bpy.context.temp_override(area=view[0], region=view[1]):
        bpy.ops.view3d.localview(frame_selected=False)
    try:
        assert view[2].local_view is not None
        assert {entry.name for entry in look(view, method).objects} == {"Alone"}
    finally:
        with bpy.context.temp_override(area=view[0], region=view[1]):
            bpy.ops.view3d.localview(frame_selected=False)


def hide_by_eye(thing, space):
    thing.hide_set(True)


def hide_in_viewports(thing, space):
    thing.hide_viewport = True


def show_as_wire(thing, space):
    thing.display_type = "WIRE"


def hide_its_type(thing, space):
    curve = bpy.data.curves.new("Bar", "CURVE")
    curve.dimensions, curve.extrude = "3D", 0.5
    curve.splines.new("POLY").points.add(1)
    scenes.add_object("Bar", curve)
    thing.hide_set(True)
    space.show_object_viewport_curve = False


@pytest.mark.parametrize("hide", [hide_by_eye, hide_in_viewports, show_as_wire, hide_its_type])
def test_what_the_viewport_hides_is_hidden(method, view, hide):
    scenes.add_box(1.0, Matrix.Translation((-1.0, 0, 0)), name="Shown")
    hide(scenes.add_box(1.0, Matrix.Translation((1.0, 0, 0)), name="Hidden"), view[2])
    try:
        assert {entry.name for entry in look(view, method).objects} == {"Shown"}
    finally:
        view[2].show_object_viewport_curve = True


def test_what_only_renders_hide_is_shown(method, view):
    box = scenes.add_box(1.0)
    box.hide_render = True
    assert [entry.name for entry in look(view, method).objects] == ["Box"]


@pytest.mark.parametrize("shading", ["WIREFRAME", "SOLID", "MATERIAL"])
def test_shading_makes_no_difference(gpu, view, shading):
    scenes.still_life()
    before = look(view, gpu)
    view[2].shading.type = shading
    after = look(view, gpu)
    view[2].shading.type = "SOLID"
    assert (before.depth == after.depth).all()
    assert (before.normal == after.normal).all()


def test_looking_changes_nothing(method, view):
    scenes.still_life()
    bpy.context.view_layer.update()
    before = fingerprint()
    look(view, method)
    assert differences(before, fingerprint()) == []


def test_a_context_in_the_viewport_will_do(gpu, view):
    scenes.add_box(1.0)
    with bpy.context.temp_override(area=view[0], region=view[1]):
        frame = capture.capture_view3d(bpy.context, 32, 32, method=gpu)
    assert [entry.name for entry in frame.objects] == ["Box"]


def test_without_a_viewport_there_is_nothing_to_look_through(empty_scene):
    scenes.add_box(1.0)
    other = next(area for area in bpy.context.window.screen.areas if area.type != "VIEW_3D")
    with pytest.raises(ScumbleError) as caught:
        capture.capture_view3d(other, 32, 32)
    assert caught.value.code is ErrorCode.SCENE
    assert "viewport" in caught.value.info.message
