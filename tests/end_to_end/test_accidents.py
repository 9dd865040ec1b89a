"""What goes wrong between Blender and its server, and that nothing is lost by it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import pytest

SECOND_BLENDER = Path(__file__).with_name("second_blender.py")
QUITTING_BLENDER = Path(__file__).with_name("quitting_blender.py")
LONG = 400
"""Steps that take longer than any of these tests."""


def until(api, condition, what, patience=60.0):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        api.step()
        time.sleep(0.005)


def started(api, **settings):
    """A long job that has begun to paint."""
    record = api.generate(wait=False, num_inference_steps=LONG, result_actions={"IMAGE"}, **settings)
    until(api, lambda: api.job(record.id).step > 0, "the first step")
    return record


def refusal(call):
    """The error a call ends with, as it travels. (The class comes from the extension's own wheel.)"""
    from scumble_shared.errors import ScumbleError

    with pytest.raises(ScumbleError) as caught:
        call()
    return caught.value.info


def test_cancel_ends_a_running_job_and_leaves_nothing(api, scene):
    record = started(api)
    images = [image.name for image in bpy.data.images]
    begin = time.monotonic()
    api.cancel(record.id)
    until(api, lambda: api.job(record.id).state.ended, "the end of the job")
    assert api.job(record.id).state == "cancelled"
    assert time.monotonic() - begin < 10.0
    assert [image.name for image in bpy.data.images] == images
    assert api.generate(result_actions=set()).state == "done"


def test_progress_tells_steps_and_time_left(api, scene):
    record = started(api)
    until(api, lambda: api.job(record.id).eta is not None, "an estimate")
    seen = api.job(record.id)
    assert (seen.steps, seen.state) == (LONG, "running")
    assert 0.0 < seen.fraction < 1.0
    bpy.ops.scumble.cancel()
    until(api, lambda: api.job(record.id).state.ended, "the end of the job")


def test_a_killed_server_is_a_typed_error_and_the_next_job_starts_another(api, addon, scene):
    record = started(api)
    session = sys.modules[f"{addon.__name__}.state"].session()
    pid = session.server_pid
    os.kill(pid, signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    error = refusal(lambda: api.wait(record.id, 30.0))
    assert (error.code, error.retryable, error.remedy.action) == ("server_unreachable", True, "start_server")
    assert session.problem == error
    assert api.generate(result_actions=set()).state == "done"
    assert session.server_pid != pid


def test_try_again_does_the_failed_job_again(api, addon, scene):
    record = started(api)
    session = sys.modules[f"{addon.__name__}.state"].session()
    api.disconnect()
    assert api.job(record.id).error.remedy.action == "retry"
    bpy.ops.scumble.retry()
    again = session.jobs.live()[-1]
    assert again.job == api.job(record.id).job
    until(api, lambda: api.job(again.id).step > 0, "the first step")
    api.cancel(again.id)
    until(api, lambda: api.job(again.id).state.ended, "the end of the job")


def test_a_new_file_during_a_job_gets_nothing_of_it(api, addon, scene):
    record = api.generate(wait=False, num_inference_steps=12, result_actions={"IMAGE", "OVERLAY"})
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    before = [image.name for image in bpy.data.images]
    done = api.wait(record.id, 60.0)
    assert [image.name for image in bpy.data.images] == before
    assert "gone" in api.job(record.id).note
    assert done.prepared["image/0"].pixels.shape == (64, 64, 3)
    assert bpy.ops.scumble.keep_image() == {"FINISHED"}
    assert "old stone" in bpy.data.images


def test_opening_a_file_during_a_job_gets_nothing_of_it(api, scene, tmp_path):
    path = str(tmp_path / "other.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
    record = api.generate(wait=False, num_inference_steps=12, result_actions={"IMAGE"})
    bpy.ops.wm.open_mainfile(filepath=path)
    api.wait(record.id, 60.0)
    assert "old stone" not in bpy.data.images


def test_undo_during_a_job_still_gets_its_result(api, scene):
    bpy.context.object.location.x = 0.25
    bpy.ops.ed.undo_push(message="Move")
    record = api.generate(wait=False, num_inference_steps=12, result_actions={"IMAGE"})
    bpy.ops.ed.undo()
    api.wait(record.id, 60.0)
    assert bpy.data.objects["Plane"].location.x == 0.0
    assert "old stone" in bpy.data.images


def test_switching_off_during_a_job_is_clean_and_on_again_works(api, addon, scene):
    started(api)
    bpy.ops.preferences.addon_disable(module=addon.__name__)
    assert not hasattr(bpy.types.Scene, "scumble")
    bpy.ops.preferences.addon_enable(module=addon.__name__)
    bpy.context.preferences.addons[addon.__name__].preferences.server_path = str(SERVER)
    fresh = sys.modules[f"{addon.__name__}.api"]
    assert fresh.generate(result_actions=set()).state == "done"


# --- refusals ---------------------------------------------------------------------------------------


def test_a_wrong_token_is_refused_and_says_where_to_mend_it(api, preferences, scene):
    server = start_server()
    try:
        record = running_record(server)
        preferences.connection, preferences.url, preferences.token = "ADDRESS", record.url, "wrong" * 8
        api.disconnect()
        error = refusal(api.connect)
        assert (error.code, error.remedy.action) == ("unauthorized", "open_preferences")
        preferences.token = record.token
        assert api.connect().models
    finally:
        end_server(server)


def test_a_server_that_comes_back_elsewhere_is_found_again_by_the_button(api, preferences, scene):
    preferences.connection = "RUNNING"
    api.disconnect()
    error = refusal(api.connect)
    assert (error.code, error.remedy.action) == ("server_unreachable", "start_server")
    server = start_server()
    try:
        running_record(server)
        bpy.ops.scumble.start_server()
        assert api.connect().models
    finally:
        end_server(server)


@pytest.mark.parametrize(
    ("url", "code"),
    [("wss://example.com:7860", "offline"), ("http://127.0.0.1:1", "invalid_field"), ("ws://[", "invalid_field")],
)
def test_addresses_that_may_not_or_can_not_be_used_are_refused_at_once(api, preferences, scene, url, code):
    preferences.connection, preferences.url, preferences.token = "ADDRESS", url, "x" * 40
    api.disconnect()
    assert refusal(api.connect).code == code


def test_a_server_program_that_is_not_there_is_named(api, preferences, scene):
    preferences.server_path = "/nowhere/scumble"
    api.disconnect()
    error = refusal(api.connect)
    assert (error.code, error.remedy.action) == ("server_unreachable", "open_preferences")
    assert "/nowhere/scumble" in error.message


def test_a_program_that_is_no_server_is_found_out(api, preferences, scene, tmp_path):
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\necho out of paint >&2\nexit 3\n")
    program.chmod(0o755)
    preferences.server_path = str(program)
    api.disconnect()
    assert "out of paint" in refusal(api.connect).message


def test_an_empty_scene_is_an_error_about_the_scene(api, scene):
    bpy.data.objects.remove(bpy.data.objects["Plane"])
    assert refusal(api.generate).code == "scene"


def test_a_scene_without_a_camera_is_an_error_about_the_scene(api, scene):
    scene.camera = None
    assert refusal(api.generate).code == "scene"


def test_an_unknown_model_is_refused_with_one_that_works(api, scene):
    error = refusal(lambda: api.generate(model="../../etc/passwd"))
    assert error.code in ("model_missing", "invalid_field")
    assert api.generate(result_actions=set()).state == "done"


def test_a_prompt_of_100_kilobytes_is_refused_by_its_size(api, scene):
    assert refusal(lambda: api.generate(prompt="x" * 100_000)).code == "too_large"


def test_an_object_without_uvs_gets_them_by_the_button(api, scene):
    plane = bpy.context.object
    plane.data.uv_layers.remove(plane.data.uv_layers[0])
    picture = api.generate(result_actions=set())
    error = refusal(lambda: api.texture_from_view(picture, [plane]))
    assert (error.code, error.remedy.action, error.remedy.argument) == ("scene", "add_uv_map", "Plane")
    bpy.ops.scumble.add_uv_map(object_name=error.remedy.argument)
    assert api.texture_from_view(picture, [plane]).state == "done"


def test_an_object_that_moved_since_is_refused(api, scene):
    picture = api.generate(result_actions=set())
    bpy.context.object.location.x = 0.5
    assert "moved" in refusal(lambda: api.texture_from_view(picture, [bpy.context.object])).message


def test_an_object_that_was_not_in_the_picture_is_refused(api, scene):
    picture = api.generate(result_actions=set())
    bpy.ops.mesh.primitive_cube_add()
    assert "isn't in that picture" in refusal(lambda: api.texture_from_view(picture, [bpy.context.object])).message


# --- two at once ------------------------------------------------------------------------------------


def test_two_blenders_work_with_one_server(api, preferences, scene, extension_zip, tmp_path):
    server = start_server()
    try:
        record = running_record(server)
        preferences.connection, preferences.url, preferences.token = "ADDRESS", record.url, record.token
        api.disconnect()
        command = [sys.executable, str(SECOND_BLENDER), str(extension_zip), record.url, str(tmp_path)]
        second = subprocess.Popen(
            command, env={**os.environ, "SCUMBLE_TEST_TOKEN": record.token}, stdout=subprocess.PIPE, text=True
        )
        pictures = [api.generate(result_actions=set(), seed=seed) for seed in range(3)]
        said, _ = second.communicate(timeout=120)
        assert second.returncode == 0, said
        assert all(picture.state == "done" for picture in pictures)
        assert "3 pictures" in said
    finally:
        end_server(server)


@pytest.mark.parametrize("way", ["quits", "is killed"])
def test_when_blender_ends_in_a_job_its_server_ends_too(addon, extension_zip, tmp_path, way):
    from scumble_shared.runtime import process_runs

    command = [sys.executable, str(QUITTING_BLENDER), str(extension_zip), str(SERVER), str(tmp_path)]
    if way == "is killed":
        command[1:1] = ["-i"]  # stays until it is killed
    blender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        pid = int(next(line for line in blender.stdout if line.strip().isdecimal()))
        if way == "is killed":
            blender.kill()
        status = blender.wait(30.0)
        assert way == "is killed" or status == 0
        deadline = time.monotonic() + 20.0
        while process_runs(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not process_runs(pid)
    finally:
        blender.kill()
        blender.wait()
        blender.stdin.close()
        blender.stdout.close()


def start_server():
    command = [SERVER, "-m", "scumble_server.cli", "serve", "--exit-with-stdin"]
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def running_record(process):
    from scumble_shared.runtime import read_records

    process.stdout.readline()  # ready
    return next(record for record in read_records() if record.pid == process.pid)


def end_server(process):
    process.stdin.close()
    process.wait(20.0)
    process.stdout.close()


SERVER = Path(__file__).parents[2] / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
