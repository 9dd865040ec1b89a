"""What controls are made of: the scene with its colours and poses, photos, and control images that are ready."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import CONTROL_KINDS, Control, GenerateJob
from scumble_shared.messages import Capabilities, DetectorInfo, ModelInfo
from scumble_shared.validate import facts_of, validate_job

from .test_posing import armature, bones_of

MODULE = "bl_ext.user_default.scumble"
MODEL = ModelInfo("small", "Small", "tiny", "euler", 20, 7.0, 64, 64, control_kinds=CONTROL_KINDS)
OFFER = Capabilities(
    tasks=("generate", "control_images", "texture"),
    samplers=("euler",),
    models=(MODEL,),
    detectors=(DetectorInfo("built-in", "Built-in", ("canny", "tile", "color")),),
)


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def scene(extension, empty_scene, part, gpu_ready):
    session = part("state").session()
    session.capabilities = OFFER
    empty_scene.scumble.model_id = "small"
    empty_scene.scumble.source = "CAMERA"
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0.0, -4.0, 1.0), (np.pi / 2, 0.0, 0.0)
    empty_scene.collection.objects.link(camera)
    empty_scene.camera = camera
    empty_scene.render.resolution_x = empty_scene.render.resolution_y = 64
    bpy.ops.mesh.primitive_cube_add(size=0.5, location=(1.0, 0.0, 1.0))
    yield empty_scene
    session.capabilities = Capabilities()


def add(scene, kind, source="SCENE", image=None, **values):
    control = scene.scumble.controls.add()
    control.kind, control.source, control.image = kind, source, image
    for name, value in values.items():
        setattr(control, name, value)
    return control


def red(name="Photo", side=4) -> bpy.types.Image:
    image = bpy.data.images.new(name, side, side)
    image.pixels.foreach_set(np.tile(np.array([1, 0, 0, 1], np.float32), side * side))
    return image


def asked(part, **values):
    made = part("request").generation(bpy.context, OFFER, prompt="stone", **values)
    facts = {name: facts_of(array) for name, array in made.tensors.items()}
    return made, facts


def accepted(part, made) -> None:
    """As a server checks it."""
    job, tensors = part("connection.addressing").addressed(made.job, made.tensors)
    validate_job(job, capabilities=OFFER, facts={name: facts_of(array) for name, array in tensors.items()})


class TestPictures:
    def test_a_photo_is_sent_to_whoever_can_read_it_and_a_ready_image_as_it_is(self, scene, part):
        add(scene, "canny", "PHOTO", red(), strength=0.5)
        add(scene, "depth", "READY", red("Ready"), start=0.25)
        made, _ = asked(part)
        photo, ready = made.job.controls
        assert (photo.kind, photo.detector, photo.strength) == ("canny", "auto", 0.5)
        assert (ready.kind, ready.detector, ready.start) == ("depth", "", 0.25)
        for control in (photo, ready):
            assert made.tensors[control.image].shape == (4, 4, 3)
            assert (made.tensors[control.image] == (255, 0, 0)).all()

    def test_who_looks_at_a_photo_can_be_chosen(self, scene, part):
        add(scene, "depth", "PHOTO", red(), detector="dpt")
        assert asked(part)[0].job.controls[0].detector == "dpt"

    def test_what_is_switched_off_needs_no_image(self, scene, part):
        add(scene, "canny", "PHOTO").enabled = False
        assert asked(part)[0].job.controls == ()

    def test_a_missing_image_is_told_with_a_way_out(self, scene, part):
        add(scene, "depth")
        add(scene, "canny", "PHOTO")
        with pytest.raises(ScumbleError) as caught:
            asked(part)
        info = caught.value.info
        assert (info.code, info.field) == (ErrorCode.SCENE, "job.controls[1].image")
        assert (info.remedy.action, info.remedy.argument) == (RemedyAction.REMOVE_CONTROL, "1")

    def test_an_image_without_a_file_is_told_as_the_controls(self, scene, part):
        image = red()
        image.filepath, image.source = "//nowhere.png", "FILE"
        add(scene, "depth", "READY", image)
        with pytest.raises(ScumbleError) as caught:
            asked(part)
        assert caught.value.info.field == "job.controls[0].image"

    def test_live_mode_notices_another_image(self, scene, part):
        key = part("control_list").controls_key
        control = add(scene, "canny", "PHOTO", red())
        before = key(scene.scumble)
        assert key(scene.scumble) == before
        control.image = red("Other")
        assert key(scene.scumble) != before
        control.source = "READY"
        assert key(scene.scumble) != before

    def test_the_preview_shows_all_of_them(self, scene, part):
        add(scene, "canny", "PHOTO", red())
        add(scene, "tile")
        made = part("request").control_images(bpy.context, OFFER)
        assert [control.kind for control in made.job.controls] == ["canny", "tile"]
        accepted(part, made)

    def test_the_panel_says_what_nothing_on_the_server_can_find(self, scene, part):
        hint = part("control_list").detectors_hint
        add(scene, "canny", "PHOTO", red())
        assert hint(OFFER, scene.scumble) == ""
        add(scene, "openpose", "PHOTO", red())
        assert hint(OFFER, scene.scumble) == "The server has no model that finds in photos: openpose"
        assert hint(Capabilities(), scene.scumble) == ""


class TestOfTheScene:
    @pytest.mark.parametrize("kind", ["tile", "color"])
    def test_colours_are_captured_where_a_control_needs_them(self, scene, part, kind):
        add(scene, "depth")
        assert asked(part)[0].job.view.color is None
        add(scene, kind)
        made, facts = asked(part)
        assert facts[made.job.view.color].shape == (64, 64, 4)
        accepted(part, made)

    def test_poses_of_armatures_go_along(self, scene, part):
        armature(bones_of("mixamo"), scene)
        add(scene, "openpose")
        made, _ = asked(part)
        (pose,) = made.job.view.poses
        assert pose.body[7] == pytest.approx((0.7, 0.0, 1.45), abs=1e-5)  # the left wrist

    def test_without_an_armature_the_artist_is_told(self, scene, part):
        add(scene, "openpose")
        with pytest.raises(ScumbleError) as caught:
            asked(part)
        assert caught.value.code is ErrorCode.SCENE
        assert "armature" in caught.value.info.message

    def test_a_photos_pose_needs_no_armature(self, scene, part):
        add(scene, "openpose", "PHOTO", red())
        assert asked(part)[0].job.view.poses == ()

    def test_live_mode_spares_what_such_controls_do_not_read(self, scene, part):
        spared = part("live.frames")._spared
        add(scene, "tile")
        add(scene, "canny", "PHOTO", red())
        assert set(spared(asked(part)[0].job)) == {"normal", "object_id"}
        add(scene, "canny")
        assert spared(asked(part)[0].job) == {}


class TestAllAround:
    def draft(self, part, **values):
        things = [thing for thing in bpy.context.scene.objects if thing.type == "MESH"]
        return part("texture_all.drafts").around(bpy.context, OFFER, things, prompt="stone", **values)

    def test_poses_go_along_in_world_space(self, scene, part):
        armature(bones_of("rigify"), scene)
        add(scene, "openpose")
        job = self.draft(part).job
        assert job.poses[0].body[7] == pytest.approx((0.7, 0.0, 1.45), abs=1e-5)

    def test_colours_are_those_that_are_kept(self, scene, part):
        add(scene, "tile")
        with pytest.raises(ScumbleError) as caught:
            self.draft(part, unseen="FILL")
        assert caught.value.code is ErrorCode.SCENE
        assert len(self.draft(part, unseen="KEEP").job.base) == 1


def test_a_job_taken_over_takes_the_scene_in_the_place_of_its_images(scene, part):
    job = GenerateJob("stone", controls=(Control("canny", image="a" * 64, detector="auto"), Control("openpose")))
    notes = part("prompting.taking").take_job(scene, job, Capabilities())
    assert [control.kind for control in scene.scumble.controls] == ["canny", "openpose"]
    assert any("image of the canny control" in note for note in notes)
