"""Live mode in real Blender, with a real server: pictures follow what is to be seen, and nothing else happens."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Quaternion

MODULE = "bl_ext.user_default.scumble"


def fingerprint(scene):
    """What a capture, a generation or a frame of live mode might be tempted to touch."""
    things = [
        (thing.name, [tuple(row) for row in thing.matrix_world], thing.select_get(), thing.hide_render,
         [slot.material and slot.material.name for slot in thing.material_slots])
        for thing in scene.objects
    ]  # fmt: skip
    blocks = {
        name: sorted(block.name for block in getattr(bpy.data, name))
        for name in dir(bpy.data)
        if isinstance(getattr(bpy.data, name), bpy.types.bpy_prop_collection)
    }
    settings = {
        item.identifier: str(getattr(scene.scumble, item.identifier)) for item in scene.scumble.bl_rna.properties
    }
    return things, blocks, settings, scene.frame_current, bpy.context.view_layer.objects.active.name


def traces():
    """Everything of live mode that Blender still holds; what ends it when Blender quits is there all the time."""
    found = [
        f"{name}: {function}"
        for name in dir(bpy.app.handlers)
        if name != "exit_pre" and isinstance(functions := getattr(bpy.app.handlers, name), list)
        for function in functions
        if ".live." in getattr(function, "__module__", "")
    ]
    pump = sys.modules[f"{MODULE}.pump"]
    return found + [str(follow) for follow in pump.followers if ".live." in follow.__module__]


def viewport():
    area = next(area for area in bpy.context.screen.areas if area.type == "VIEW_3D")
    return area.spaces.active.region_3d


def turn(degrees):
    """Orbit the viewport."""
    view = viewport()
    view.view_rotation = Quaternion((0.0, 0.0, 1.0), np.radians(degrees)) @ view.view_rotation
    view.update()


@pytest.fixture
def canvas(api, scene):
    """The scene, with the viewport looking at its square at an angle, and the smallest pictures there are."""
    if not importlib.import_module(f"{MODULE}.capture").gpu_available():
        pytest.skip("updating a viewport needs a GPU (or Mesa's libEGL)")
    settings = scene.scumble
    settings.source = "VIEWPORT"
    settings.num_inference_steps = 4
    settings.live.rate = 10.0
    view = viewport()
    view.view_perspective = "PERSP"
    view.view_location, view.view_distance = (0.0, 0.0, 0.0), 4.0
    view.view_rotation = Quaternion((1.0, 0.0, 0.0), 0.7)
    view.update()
    return scene


@contextmanager
def lively(api):
    with api.live() as view:
        view.settle()
        yield view
    assert traces() == []


def test_moving_the_view_makes_a_picture_of_what_is_seen_then(api, canvas):
    with lively(api) as view:
        first = view.record.job
        turn(30.0)
        view.settle()
        second = view.record.job
    assert first.view.camera != second.view.camera
    wanted = viewport().view_matrix
    np.testing.assert_allclose(second.view.camera.view_matrix, wanted, atol=1e-6)


def test_it_is_the_picture_that_the_same_job_gives_at_any_time(api, canvas):
    with lively(api) as view:
        live, job = view.pixels.copy(), view.record.job
    alone = api.generate(
        seed=job.seed,
        num_inference_steps=job.num_inference_steps,
        width=job.width,
        height=job.height,
        result_actions=set(),
    )
    assert job.view.object_id is None  # no control reads it, so it isn't sent
    assert replace(alone.job, view=replace(alone.job.view, object_id=None)) == job
    np.testing.assert_array_equal(alone.prepared["image/0"].pixels, live)


def test_a_burst_of_changes_is_few_jobs_and_the_last_picture_shows_the_last_view(api, canvas):
    canvas.scumble.num_inference_steps = 8
    with lively(api) as view:
        before = view.submitted
        for _ in range(50):
            turn(3.0)
            api.step()
            time.sleep(0.01)
        view.settle()
        made = view.submitted - before
        last = view.record.job.view.camera.view_matrix
    assert 1 <= made <= 12
    np.testing.assert_allclose(last, viewport().view_matrix, atol=1e-6)


def test_a_still_view_makes_no_jobs_and_no_captures(api, canvas):
    with lively(api) as view:
        jobs, captures = view.submitted, len(view.timings.captures)
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            api.step()
            time.sleep(0.005)
        assert (view.submitted, len(view.timings.captures)) == (jobs, captures)


def test_what_changes_nothing_to_be_seen_makes_no_jobs(api, canvas):
    plane = bpy.context.object
    with lively(api) as view:
        jobs = view.submitted
        plane.select_set(not plane.select_get())
        view.settle()
        plane.location.x += 0.0
        view.settle()
        canvas.scumble.texture_size = 128
        view.settle()
        assert view.submitted == jobs


@pytest.mark.parametrize("change", ["move", "sculpt", "hide", "prompt", "size", "frame"])
def test_whatever_changes_the_picture_is_noticed(api, canvas, change):
    plane = bpy.context.object
    bpy.ops.mesh.primitive_cube_add(size=0.5, location=(0.3, 0.0, 0.4))
    cube = bpy.context.object
    if change == "frame":
        cube.keyframe_insert("location", frame=1)
        cube.location.x = -0.5
        cube.keyframe_insert("location", frame=20)
        canvas.frame_set(1)
    with lively(api) as view:
        before, jobs = view.record, view.submitted
        match change:
            case "move":
                cube.location.y += 0.2
            case "sculpt":
                plane.data.vertices[0].co.z += 0.5
                plane.data.update_tag()
            case "hide":
                cube.hide_set(True)
            case "prompt":
                canvas.scumble.prompt = "wet clay"
            case "size":
                canvas.scumble.width = 128
            case "frame":
                canvas.frame_set(20)
        view.settle()
        assert view.submitted > jobs
        assert view.record.id != before.id
        assert view.record.job != before.job


def test_the_file_is_as_it_was(api, canvas):
    before = fingerprint(canvas)
    with lively(api) as view:
        turn(20.0)
        view.settle()
        assert fingerprint(canvas) == before
    assert fingerprint(canvas) == before


def test_drafts_are_small_and_quick_and_a_rested_view_gets_the_artists_own(api, canvas):
    settings = canvas.scumble
    settings.width = settings.height = 320
    settings.num_inference_steps = 12
    sizes = []
    with lively(api) as view:
        turn(5.0)
        seen = view.pictures
        while view.pictures == seen:
            api.step()
            time.sleep(0.002)
        sizes.append((view.record.job.width, view.record.job.num_inference_steps, view.refined))
        view.settle()
        sizes.append((view.record.job.width, view.record.job.num_inference_steps, view.refined))
    assert sizes[1] == (320, 12, True)
    assert sizes[0][0] * sizes[0][1] < 320 * 12
    assert sizes[0][2] is False


def test_without_refining_the_draft_stays(api, canvas):
    canvas.scumble.width = canvas.scumble.height = 320
    canvas.scumble.num_inference_steps = 12
    canvas.scumble.live.refine = False
    with lively(api) as view:
        assert not view.refined
        assert view.submitted == 1


@pytest.mark.parametrize("refine", [True, False])
def test_a_rested_view_is_painted_from_exact_buffers(api, canvas, refine):
    """Drafts that will be refined have normals of 8 bits, even at the artist's own size and steps."""
    digest_of = importlib.import_module("scumble_shared.tensor").digest_of
    canvas.scumble.live.refine = refine
    normals = []
    with lively(api) as view:
        turn(5.0)
        seen = view.pictures
        while view.pictures == seen:
            api.step()
            time.sleep(0.002)
        for record in (view.record, view.settle()):
            normals.append(record.tensors[record.job.view.normal])
            assert record.job.view.normal == digest_of(normals[-1])  # whatever name it travelled under
        assert view.refined or not refine
    assert [array.dtype.name for array in normals] == ["uint8" if refine else "float16", "float16"]


def test_the_seed_and_with_it_the_noise_stays(api, canvas):
    canvas.scumble.lock_seed = False
    with lively(api) as view:
        first = view.record.job.seed
        turn(10.0)
        view.settle()
        assert view.record.job.seed == first == canvas.scumble.seed


def test_noise_on_the_surface_is_asked_for(api, canvas):
    with lively(api) as view:
        assert view.record.job.noise_anchor == "screen"
        canvas.scumble.live.noise = "surface"
        view.settle()
        assert view.record.job.noise_anchor == "surface"


def test_the_cameras_picture_follows_the_camera(api, canvas):
    canvas.scumble.source = "CAMERA"
    with lively(api) as view:
        jobs = view.submitted
        turn(30.0)  # of the viewport: nobody asked for that
        view.settle()
        assert view.submitted == jobs
        canvas.camera.location.x = 0.5
        view.settle()
        assert view.submitted > jobs


def test_nothing_to_see_is_said_and_comes_right_by_itself(api, canvas):
    errors = importlib.import_module("scumble_shared.errors")
    plane = bpy.context.object
    plane.hide_set(True)
    with api.live() as view:
        with pytest.raises(errors.ScumbleError, match=r"(?i)nothing is visible"):
            view.settle()
        assert view.submitted == 0
        plane.hide_set(False)
        assert view.settle() is not None


def test_without_a_prompt_it_waits_for_one(api, canvas):
    errors = importlib.import_module("scumble_shared.errors")
    canvas.scumble.prompt = ""
    control = importlib.import_module(f"{MODULE}.live.control")
    with api.live() as view:
        for _ in range(20):
            api.step()
        assert (view.submitted, control.painter().status()) == (0, "Write a prompt first")
        with pytest.raises(errors.ScumbleError, match="Write a prompt first"):
            view.settle()
        canvas.scumble.prompt = "moss"
        view.settle()
        assert view.submitted > 0


# --- keeping ----------------------------------------------------------------------------------------


def test_keeping_a_frame_packs_it_and_one_undo_takes_it_back(api, canvas):
    bpy.ops.ed.undo_push(message="Before")
    with lively(api) as view:
        image = view.keep()
        assert (image.packed_file is not None, tuple(image.size)) == (True, (64, 64))
        assert "old stone" in image["scumble"]
        values = np.zeros(64 * 64 * 4, np.float32)
        image.pixels.foreach_get(values)
        kept = np.rint(values.reshape(64, 64, 4)[::-1, :, :3] * 255.0).astype(np.uint8)
        np.testing.assert_array_equal(kept, view.pixels)
    bpy.data.images.remove(image)
    assert bpy.ops.scumble.live_keep() == {"FINISHED"}  # also afterwards
    bpy.ops.ed.undo_push(message="Kept")
    assert "old stone" in bpy.data.images
    bpy.ops.ed.undo()
    assert "old stone" not in bpy.data.images


def test_a_frame_becomes_a_texture_as_seen_from_its_view(api, canvas):
    bpy.context.object.select_set(True)
    with lively(api):
        assert bpy.ops.scumble.live_texture(wait=True) == {"FINISHED"}
    projected = next(
        record.job for record in sys.modules[f"{MODULE}.state"].session().jobs.all() if record.job.task == "project"
    )
    assert projected.view.object_id  # what wasn't sent for the picture is there for what goes on from it
    assert bpy.data.objects["Plane"].active_material.name == "Scumble Plane"


# --- accidents --------------------------------------------------------------------------------------


def test_a_new_file_ends_it_cleanly(api, canvas):
    view = api.live()
    view.settle()
    turn(10.0)
    api.step()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert traces() == []
    control = importlib.import_module(f"{MODULE}.live.control")
    assert not control.is_on()
    assert control.latest() is None
    for _ in range(50):
        api.step()


def test_opening_a_file_ends_it_cleanly(api, canvas, tmp_path):
    path = str(tmp_path / "other.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
    view = api.live()
    view.settle()
    bpy.ops.wm.open_mainfile(filepath=path)
    assert traces() == []
    with api.live() as again:  # and on again
        assert again.settle() is not None


def test_switching_the_extension_off_ends_it_cleanly(api, canvas):
    view = api.live()
    view.settle()
    turn(10.0)
    api.step()
    package = sys.modules[MODULE]
    package.unregister()
    try:
        assert not [name for name in traces() if "live" in name]
    finally:
        package.register()


def test_undo_is_a_change_like_any_other(api, canvas):
    bpy.ops.ed.undo_push(message="Before")
    bpy.context.object.location.x = 0.5
    bpy.ops.ed.undo_push(message="Move")
    with lively(api) as view:
        moved = view.record.job
        bpy.ops.ed.undo()
        view.settle()
        assert view.record.job != moved
        assert bpy.data.objects["Plane"].location.x == 0.0


def test_a_killed_server_is_waited_for_and_painting_goes_on(api, canvas):
    session = sys.modules[f"{MODULE}.state"].session()
    with api.live() as view:
        view.settle()
        pid = session.server_pid
        os.kill(pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        turn(10.0)
        control = importlib.import_module(f"{MODULE}.live.control")
        deadline = time.monotonic() + 20.0
        while control.painter().status() != "Not connected" and time.monotonic() < deadline:
            api.step()
            time.sleep(0.01)
        assert session.state == "failed"
        api.connect()
        view.settle()
    np.testing.assert_allclose(view.record.job.view.camera.view_matrix, viewport().view_matrix, atol=1e-6)


def test_an_ordinary_generation_goes_on_beside_it(api, canvas):
    with lively(api) as view:
        record = api.generate(result_actions=set(), width=128, height=128, num_inference_steps=3)
        assert record.prepared["image/0"].pixels.shape == (128, 128, 3)
        turn(10.0)
        view.settle()
    assert api.actions.latest_generation().id == record.id  # frames don't push results out


def test_turning_an_object_turns_it_in_the_picture(api, canvas):
    """Closed form: the capture of a turned object is what the job shows."""
    plane = bpy.context.object
    with lively(api) as view:
        before = view.record
        plane.matrix_world = Matrix.Rotation(0.5, 4, "Z") @ plane.matrix_world
        view.settle()
        depths = [record.tensors[record.job.view.depth] for record in (before, view.record)]
    assert (np.isfinite(depths[0]) != np.isfinite(depths[1])).any()
    assert before.job.view.camera == view.record.job.view.camera


def test_an_error_nobody_foresaw_ends_live_mode_and_nothing_else(api, canvas):
    """Here: another script takes the scene's settings away."""
    control = importlib.import_module(f"{MODULE}.live.control")
    session = sys.modules[f"{MODULE}.state"].session()
    settings = sys.modules[f"{MODULE}.properties"].SCUMBLE_PG_settings
    view = api.live()
    view.settle()
    del bpy.types.Scene.scumble
    try:
        with pytest.raises(AttributeError):
            api.step()
        assert not control.is_on()
        assert traces() == []
        assert session.problem.code == "internal"
        api.step()
    finally:
        bpy.types.Scene.scumble = bpy.props.PointerProperty(type=settings, name="Scumble")
