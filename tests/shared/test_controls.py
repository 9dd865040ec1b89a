"""What controls are made of, as jobs say it: names of ControlNets, poses, photos and who looks at them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.control_names import kinds_named
from scumble_shared.detectors import BUILT_IN_DETECTED, DETECTED, SUGGESTED_DETECTORS
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import (
    CONTROL_KINDS,
    Control,
    ControlImagesJob,
    GenerateJob,
    MeshRef,
    Pose,
    TextureJob,
    View,
    tensors_of,
    with_tensors,
)
from scumble_shared.messages import Capabilities, DetectorInfo, ModelInfo, UnusableModel
from scumble_shared.metadata.settings import control_kind
from scumble_shared.pose import BODY_POINTS
from scumble_shared.schema import decode, dumps, loads
from scumble_shared.validate import validate_job

PHOTO, BASE = "a" * 64, "b" * 64
CAMERA = Camera(look_at((0.0, -3.0, 0.0), (0.0, 0.0, 0.0)), perspective(0.7, 1.0, 0.1, 100.0), 64, 64, 0.1, 100.0)
POSE = Pose(tuple((float(number), 0.0, 1.5) if number % 2 else None for number in range(len(BODY_POINTS))))
MODEL = ModelInfo("sd", "SD", "sd15", "euler", 20, 7.0, 64, 64, control_kinds=CONTROL_KINDS)
SERVER = Capabilities(
    tasks=("generate", "control_images", "texture"),
    samplers=("euler", "dpmpp_2m_karras"),
    models=(MODEL,),
    unusable=(UnusableModel("torn", "Torn", "it is damaged"),),
    detectors=(DetectorInfo("built-in", "Built-in", BUILT_IN_DETECTED), DetectorInfo("dpt", "DPT", ("depth",))),
)


def job(*controls, view=None, **changes) -> GenerateJob:
    return GenerateJob("moss", model="sd", sampler="euler", controls=controls, view=view, **changes)


def refused(asked, known=SERVER) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        validate_job(asked, capabilities=known)
    return caught.value


class TestNames:
    @pytest.mark.parametrize(
        ("name", "kinds"),
        [
            ("control_v11f1p_sd15_depth_fp16.safetensors", ("depth",)),
            ("sd-controlnet-hed", ("softedge",)),
            ("controlnet-hedsafe", ("softedge",)),
            ("ControlNetHED", ("softedge",)),
            ("t2i-pidi-sd15", ("softedge",)),
            ("softedge_pidinet", ("softedge",)),
            ("soft-edge-sdxl", ("softedge",)),
            ("scribble_hed", ("scribble",)),
            ("noobaiXLControlnet_openposeModel", ("openpose",)),
            ("OpenPoseXL2", ("openpose",)),
            ("dw_openpose_full", ("openpose",)),
            ("xinsir_controlnet-tile-sdxl", ("tile",)),
            ("depth_midas", ("depth",)),
            ("line_art_v2", ("lineart",)),
            ("hed/pidi/scribble/ted", ("scribble",)),
            ("finished_models", ()),
            ("reptile", ()),
            ("recolor_luminance", ()),
        ],
    )
    def test_kinds_are_told_by_words(self, name, kinds):
        assert kinds_named(name) == kinds

    def test_pictures_of_other_programs_are_read_the_same_way(self):
        assert control_kind("softedge_hedsafe", "control_x") == "softedge"
        assert control_kind("none", "control-hed [1234abcd]") == "softedge"
        assert control_kind("dw_openpose_full") == "openpose"
        assert control_kind("tile_resample") == "tile"
        assert control_kind("reference_only") is None

    def test_everything_that_can_be_found_in_a_picture_is_a_kind_of_control(self):
        assert set(DETECTED) == set(CONTROL_KINDS)
        assert not set(BUILT_IN_DETECTED) & set(SUGGESTED_DETECTORS)


class TestPoses:
    def test_they_travel_and_hold_no_tensors(self):
        seen = View(CAMERA, poses=(POSE, replace(POSE, left_hand=(None,) * 21)))
        asked = job(Control("openpose"), view=seen)
        assert decode(GenerateJob, loads(dumps(asked))) == asked
        assert list(tensors_of(asked)) == []
        assert with_tensors(asked, {}) == asked
        validate_job(asked, capabilities=SERVER)

    @pytest.mark.parametrize(
        ("bad", "part"),
        [
            (Pose(POSE.body[:-1]), "body"),
            (replace(POSE, left_hand=((0.0, 0.0, 0.0),)), "left_hand"),
            (replace(POSE, body=((float("nan"), 0.0, 0.0), *POSE.body[1:])), "body"),
        ],
    )
    def test_what_is_no_pose_is_named(self, bad, part):
        error = refused(job(Control("openpose"), view=View(CAMERA, poses=(POSE, bad))))
        assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, f"job.view.poses[1].{part}")

    def test_too_many_are_too_many(self):
        validate_job(job(view=View(CAMERA, poses=(POSE,) * 64)), capabilities=SERVER)
        assert refused(job(view=View(CAMERA, poses=(POSE,) * 65))).code is ErrorCode.TOO_LARGE

    def test_without_any_a_pose_control_is_refused_with_a_way_out(self):
        error = refused(job(Control("depth", image=PHOTO), Control("openpose"), view=View(CAMERA)))
        assert (error.code, error.info.remedy.argument) == (ErrorCode.SCENE, "1")


class TestPictures:
    @pytest.mark.parametrize("kind", ["tile", "color"])
    def test_colours_are_of_an_image_the_jobs_own_or_the_views(self, kind):
        validate_job(job(Control(kind, image=PHOTO)), capabilities=SERVER)
        validate_job(job(Control(kind), init_image=PHOTO), capabilities=SERVER)
        validate_job(job(Control(kind), view=View(CAMERA, color=PHOTO)), capabilities=SERVER)
        assert refused(job(Control(kind), view=View(CAMERA, depth=PHOTO))).info.field == "job.view.color"
        assert refused(job(Control(kind))).info.field == "job.controls[0].image"

    @pytest.mark.parametrize("detector", ["auto", "dpt"])
    def test_a_detector_looks_at_any_of_them(self, detector):
        control = Control("depth", detector=detector)
        validate_job(job(replace(control, image=PHOTO)), capabilities=SERVER)
        validate_job(job(control, init_image=PHOTO), capabilities=SERVER)
        validate_job(job(control, view=View(CAMERA, color=PHOTO)), capabilities=SERVER)
        validate_job(ControlImagesJob((control,), View(CAMERA), model="sd", init_image=PHOTO), capabilities=SERVER)
        assert refused(job(control)).info.field == "job.controls[0].image"

    def test_lines_and_colours_need_no_model(self):
        for kind in BUILT_IN_DETECTED:
            for detector in ("auto", "built-in"):
                validate_job(job(Control(kind, image=PHOTO, detector=detector)), capabilities=SERVER)

    @pytest.mark.parametrize("kind", SUGGESTED_DETECTORS)
    def test_others_are_told_which_one_to_get(self, kind):
        error = refused(job(Control(kind, image=PHOTO, detector="built-in")))
        assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.controls[0].detector")
        assert error.info.remedy.label == f"Get it: scumble download get {SUGGESTED_DETECTORS[kind]}"

    def test_a_server_without_a_model_says_so_before_anything_is_sent(self):
        assert refused(job(Control("normal", image=PHOTO, detector="auto"))).code is ErrorCode.MODEL_MISSING
        validate_job(job(Control("normal", image=PHOTO, detector="auto")))  # nobody knows yet

    @pytest.mark.parametrize(
        ("detector", "code"),
        [
            ("nobody", ErrorCode.MODEL_MISSING),
            ("torn", ErrorCode.MODEL_INVALID),
            ("dpt", ErrorCode.MODEL_MISMATCH),
        ],
    )
    def test_a_detector_that_cannot_is_refused_by_name(self, detector, code):
        assert refused(job(Control("normal", image=PHOTO, detector=detector))).code is code


class TestTextures:
    def texture(self, control, **changes) -> TextureJob:
        mesh = MeshRef("Cube", 1, CAMERA.view, PHOTO, PHOTO, PHOTO, PHOTO)
        return TextureJob("moss", (mesh,), model="sd", sampler="euler", controls=(control,), **changes)

    def test_colours_are_the_bases_and_poses_the_jobs(self):
        validate_job(self.texture(Control("tile"), base=(BASE,)), capabilities=SERVER)
        assert refused(self.texture(Control("tile"))).info.field == "job.base"
        validate_job(self.texture(Control("openpose"), poses=(POSE,)), capabilities=SERVER)
        assert refused(self.texture(Control("openpose"))).info.field == "job.poses"

    @pytest.mark.parametrize("control", [Control("depth", image=PHOTO), Control("canny", detector="auto")])
    def test_one_picture_is_not_right_for_many_views(self, control):
        assert refused(self.texture(control)).info.field == "job.controls[0].image"
