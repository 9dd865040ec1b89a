"""The buttons that need no server, and why the others are disabled without one."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import pytest
from scumble_shared.job import Control, GenerateJob
from scumble_shared.messages import Capabilities, ControlNetInfo, ModelInfo

MODULE = "bl_ext.user_default.scumble"
SMALL = ModelInfo("small", "Small", "tiny", "euler", 6, 2.5, 320, 256, ("depth",))
LARGE = replace(SMALL, id="large", name="Large", num_inference_steps=30, width=1024, height=1024)


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def settings(extension, empty_scene):
    return empty_scene.scumble


@pytest.fixture
def offered(part):
    """A server's offer, as it would be after connecting."""
    session = part("state").session()
    session.capabilities = Capabilities(
        models=(SMALL, LARGE), controlnets=(ControlNetInfo("edge", "Edge", "tiny", ("canny",)),)
    )
    yield session
    session.capabilities = Capabilities()


def test_generate_is_disabled_without_a_prompt_and_says_so(settings):
    assert not bpy.ops.scumble.generate.poll()
    settings.prompt = "stone"
    assert bpy.ops.scumble.generate.poll()
    settings.source = "CAMERA"
    assert not bpy.ops.scumble.generate.poll()


def test_an_empty_view_is_told_in_the_panel_too(settings, part):
    settings.prompt = "stone"
    with pytest.raises(RuntimeError, match="Nothing is visible"):
        bpy.ops.scumble.generate()
    assert part("state").session().problem.code == "scene"
    bpy.ops.scumble.dismiss_error()
    assert part("state").session().problem is None


def test_results_and_cancel_are_disabled_while_there_is_nothing(settings):
    for name in ("cancel", "keep_image", "texture_from_view", "restore_settings", "disconnect"):
        assert not getattr(bpy.ops.scumble, name).poll()


def test_controls_are_added_and_removed_with_undo(settings):
    assert settings.use_default_controls
    bpy.ops.scumble.control_add(kind="normal")
    bpy.ops.scumble.control_add(kind="canny")
    assert [control.kind for control in settings.controls] == ["normal", "canny"]
    assert not settings.use_default_controls
    bpy.ops.scumble.control_remove(index=0)
    assert [control.kind for control in settings.controls] == ["canny"]
    assert bpy.ops.scumble.control_remove(index=5) == {"CANCELLED"}


def test_choosing_a_model_sets_what_suits_it(settings, offered):
    settings.model = "large"
    assert (settings.model_id, settings.num_inference_steps, settings.width) == ("large", 30, 1024)
    settings.num_inference_steps = 7
    settings.model_id = "small"  # a preset's way: everything else stays
    assert (settings.model, settings.num_inference_steps) == ("small", 7)


def test_what_nobody_chose_follows_the_model_and_what_somebody_chose_stays(settings, part):
    session = part("state").session()
    assert (settings.width, settings.num_inference_steps, settings.sampler) == (512, 20, "dpmpp_2m_karras")
    settings.model_id = "small"
    session.capabilities = Capabilities(models=(SMALL, LARGE))
    try:
        followed = (settings.width, settings.height, settings.num_inference_steps, settings.guidance_scale)
        assert (*followed, settings.sampler) == (320, 256, 6, 2.5, "euler")
        settings.sampler, settings.guidance_scale = "ddim", 4.0
    finally:
        session.capabilities = Capabilities()
    assert (settings.sampler, settings.guidance_scale, settings.width) == ("ddim", 4.0, 512)


def test_a_model_the_server_lacks_stays_chosen_and_is_shown(settings, offered, part):
    settings.model_id = "elsewhere"
    assert settings.model == "elsewhere"
    items = part("choices").model_items(settings, None)
    assert items[-1][:3] == ("elsewhere", "elsewhere", "Not offered by this server")
    settings.model_id = "small"
    assert [item[0] for item in part("choices").model_items(settings, None)] == ["small", "large"]


def test_the_menus_strings_are_the_same_objects_each_time(settings, offered, part):
    """Blender keeps pointers to them."""
    first, again = (part("choices").model_items(settings, None) for _ in range(2))
    assert first is again


def test_without_a_server_the_scenes_model_is_the_only_one(settings):
    assert settings.model == settings.model_id == "starter"


def test_controls_of_separate_networks_count(offered, part):
    assert part("choices").control_kinds_of(offered.capabilities, "small") == ("depth", "canny")


def test_what_a_model_cannot_follow_is_not_sent_by_default(settings, offered, part):
    controls = part("control_list").controls_of
    assert controls(settings, ("depth",), {}) == (Control("depth"),)
    settings.controls.add().kind = "canny"
    control = settings.controls[0]
    control.strength, control.start, control.end = 0.5, 0.25, 0.75
    assert controls(settings, ("depth",), {}) == (Control("canny", strength=0.5, start=0.25, end=0.75),)
    control.use_range, control.near, control.far = True, 2.0, 4.0
    assert controls(settings, (), {})[0].near == 2.0
    control.enabled = False
    assert controls(settings, ("depth",), {}) == ()


@pytest.mark.parametrize(
    ("resolution", "asked", "size"),
    [((1920, 1080), (512, 512), (512, 288)), ((1080, 1920), (512, 256), (288, 512)), ((100, 100), (64, 64), (64, 64))],
)
def test_the_camera_keeps_the_renders_aspect(part, settings, resolution, asked, size):
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = resolution
    assert part("request").camera_size(render, *asked) == size


def test_a_cropped_border_has_its_own_aspect(part, settings):
    render = bpy.context.scene.render
    render.resolution_x = render.resolution_y = 100
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.0, 1.0, 0.0, 0.5
    assert part("request").camera_size(render, 64, 64) == (64, 32)


@pytest.mark.parametrize("name", ["Draft", "Standard", "Fine"])
def test_each_preset_that_comes_along_is_found_and_sets_everything(settings, name):
    folders = bpy.utils.preset_paths("scumble")
    path = next(f"{folder}/{name}.py" for folder in folders if "user_default" in folder)
    settings.num_inference_steps = 3
    bpy.ops.script.execute_preset(filepath=path, menu_idname="SCUMBLE_PT_presets")
    assert settings.num_inference_steps != 3


def test_an_artists_own_preset_comes_back(settings, blender_profile):
    settings.num_inference_steps, settings.negative_prompt, settings.prompt = 13, "blurry", "kept out"
    bpy.ops.scumble.preset_add(name="Mine")
    path = next(blender_profile.rglob("presets/scumble/[Mm]ine.py"))
    settings.num_inference_steps, settings.negative_prompt, settings.prompt = 1, "", "another"
    bpy.ops.script.execute_preset(filepath=str(path), menu_idname="SCUMBLE_PT_presets")
    assert (settings.num_inference_steps, settings.negative_prompt) == (13, "blurry")
    assert settings.prompt == "another"


# --- remedies ---------------------------------------------------------------------------------------


def test_choose_model_takes_the_one_that_works(settings, offered):
    settings.model_id = "elsewhere"
    bpy.ops.scumble.choose_model(model_id="large")
    assert settings.model_id == "large"
    bpy.ops.scumble.choose_model()
    assert settings.model_id == "small"
    with pytest.raises(RuntimeError, match="no model"):
        bpy.ops.scumble.choose_model(model_id="nonsense")


def test_reduce_size_takes_the_size_that_fits(settings):
    bpy.ops.scumble.reduce_size(size="320x200")
    assert (settings.width, settings.height) == (320, 200)
    bpy.ops.scumble.reduce_size()
    assert (settings.width, settings.height) == (160, 100)


def test_remove_control_counts_only_those_in_the_job(settings):
    for kind in ("depth", "normal", "canny"):
        settings.controls.add().kind = kind
    settings.controls[0].enabled = False
    bpy.ops.scumble.remove_job_control(index="1")
    assert [control.enabled for control in settings.controls] == [False, True, False]


def test_a_new_uv_map_disturbs_nothing_else(settings):
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    while cube.data.uv_layers:
        cube.data.uv_layers.remove(cube.data.uv_layers[0])
    bpy.ops.mesh.primitive_plane_add()
    plane = bpy.context.object
    assert bpy.ops.scumble.add_uv_map(object_name=cube.name) == {"FINISHED"}
    assert len(cube.data.uv_layers) == 1
    corners = {tuple(round(value, 4) for value in item.uv) for item in cube.data.uv_layers[0].data}
    assert len(corners) > 4
    assert bpy.context.view_layer.objects.active == plane
    assert [thing.name for thing in bpy.context.selected_objects] == [plane.name]
    assert bpy.context.mode == "OBJECT"


def test_a_uv_map_for_what_is_no_mesh_is_refused(settings):
    with pytest.raises(RuntimeError, match="convert"):
        bpy.ops.scumble.add_uv_map(object_name="nothing")


def test_the_settings_of_a_picture_can_be_taken_over(part, settings):
    session, jobs = part("state").session(), part("jobs")
    job = GenerateJob("castle", "fog", "small", seed=77, num_inference_steps=9, sampler="euler")
    session.jobs.add(jobs.JobRecord("done", job, jobs.Target(0), jobs.JobState.DONE))
    try:
        bpy.ops.scumble.restore_settings()
    finally:
        session.jobs.clear()
    taken = (settings.prompt, settings.negative_prompt, settings.model_id, settings.seed, settings.sampler)
    assert taken == ("castle", "fog", "small", 77, "euler")
    assert settings.lock_seed
    assert settings.num_inference_steps == 9


def test_the_example_scene_comes_beside_the_others_and_is_ready_to_generate(settings):
    scene = bpy.context.scene
    before = {thing.name for thing in scene.objects}
    bpy.ops.scumble.add_example_scene()
    assert {thing.name for thing in scene.objects} == before
    added = bpy.context.window.scene
    assert added != scene
    assert added.camera is not None
    assert all(thing.data.uv_layers for thing in added.objects if thing.type == "MESH")
    assert bpy.ops.scumble.generate.poll()
