"""What makes no sense is refused before it costs anything, with the field's name and a way out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from messages_made_up import error_code, of
from scumble_shared.camera import Camera, look_at, orthographic, pack_matrix, perspective
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import (
    SAMPLERS,
    BaseMap,
    Control,
    ControlImagesJob,
    GenerateJob,
    Job,
    Lora,
    MeshRef,
    ProjectJob,
    TextureJob,
    TextureView,
    UpscaleJob,
    View,
    texture_names,
)
from scumble_shared.limits import Limits
from scumble_shared.messages import Capabilities, ControlNetInfo, LoraInfo, ModelInfo, UnusableModel, UpscalerInfo
from scumble_shared.tensor import digest_of
from scumble_shared.validate import check_camera, check_model_id, facts_of, validate_job

H, W = 6, 8
CAMERA = Camera(look_at((3.0, 1.0, 2.0), (0.0, 0.0, 0.0)), perspective(0.9, W / H, 0.1, 100.0), W, H, 0.1, 100.0)
KNOWN = Capabilities(
    tasks=("generate", "control_images", "project", "texture", "upscale"),
    samplers=SAMPLERS,
    models=(ModelInfo("starter", "Starter", "sd15", "euler", 20, 7.0, 512, 512, control_kinds=("depth", "normal")),),
    controlnets=(
        ControlNetInfo("cn-depth", "Depth 1.5", "sd15", ("depth",)),
        ControlNetInfo("cn-depth-xl", "Depth XL", "sdxl", ("depth",)),
        ControlNetInfo("cn-pose", "Pose 1.5", "sd15", ("pose",)),
        ControlNetInfo("cn-tile", "Tile 1.5", "sd15", ("tile",)),
    ),
    upscalers=(UpscalerInfo("sharp", "Sharp 4x"),),
    loras=(LoraInfo("ink", "Ink", "sd15"), LoraInfo("ink-xl", "Ink XL", "sdxl")),
    unusable=(UnusableModel("old", "old.ckpt", "it is a pickle, which can run programs"),),
)

ARRAYS = {
    "depth": np.full((H, W), 2.0, np.float32),
    "normal": np.zeros((H, W, 3), np.float16),
    "object_id": np.zeros((H, W), np.uint16),
    "color": np.zeros((H, W, 4), np.uint8),
    "image": np.zeros((H, W, 3), np.uint8),
    "mask": np.zeros((H, W), np.uint8),
    "vertices": np.zeros((5, 3), np.float32),
    "triangles": np.zeros((4, 3), np.int32),
    "normals": np.zeros((4, 3, 3), np.float32),
    "uvs": np.zeros((4, 3, 2), np.float32),
    "base": np.zeros((64, 64, 4), np.uint8),
    "fine_base": np.zeros((64, 64, 4), np.uint16),
    "keep": np.zeros((64, 64), np.uint8),
    "relief": np.zeros((64, 64), np.uint16),
    "bumps": np.zeros((64, 64, 3), np.uint8),
}
IDENTITY = pack_matrix(np.eye(4))


class Bench:
    """Jobs on named arrays, and what is said about them."""

    def __init__(self, **arrays):
        self.arrays = {**ARRAYS, **arrays}
        self.digest = {name: digest_of(array) for name, array in self.arrays.items()}
        self.facts = {digest_of(array): facts_of(array) for array in self.arrays.values()}

    def view(self, **changes):
        names = ("depth", "normal", "object_id", "color")
        return replace(View(CAMERA, **{name: self.digest[name] for name in names}), **changes)

    def generate(self, **changes):
        controls = (Control("depth"), Control("normal", strength=0.5, start=0.1, end=0.9))
        return replace(GenerateJob("a ruin", controls=controls, view=self.view()), **changes)

    def control(self, **changes):
        return self.generate(controls=(replace(Control("depth"), **changes),))

    def project(self, **changes):
        d = self.digest
        mesh = MeshRef("Cube", 1, IDENTITY, d["vertices"], d["triangles"], d["normals"], d["uvs"])
        return replace(ProjectJob(d["image"], self.view(), (mesh,), texture_size=64), **changes)

    def mesh(self, **changes):
        return self.project(meshes=(replace(self.project().meshes[0], **changes),))

    def texture(self, **changes):
        views = (TextureView(CAMERA, "with a door"), TextureView(CAMERA, image=self.digest["image"]))
        job = TextureJob("a ruin", self.project().meshes, views=views, controls=(Control("depth"),), texture_size=64)
        return replace(job, **changes)

    def upscale(self, **changes):
        return replace(UpscaleJob(self.digest["image"], controls=(Control("tile", "cn-tile"),)), **changes)

    def error(self, job, limits=None, known=KNOWN):
        with pytest.raises(ScumbleError) as caught:
            validate_job(job, limits or Limits(), known, self.facts)
        return caught.value.info

    def passes(self, job, limits=None, known=KNOWN):
        validate_job(job, limits or Limits(), known, self.facts)


BENCH = Bench()


class TestWhatMakesSensePasses:
    def test_each_task(self):
        BENCH.passes(BENCH.generate())
        BENCH.passes(ControlImagesJob((Control("depth"),), BENCH.view()))
        BENCH.passes(BENCH.project(base=(BENCH.digest["base"],)))
        BENCH.passes(BENCH.texture(base=(BENCH.digest["base"],)))
        BENCH.passes(BENCH.texture(views=()))
        BENCH.passes(BENCH.upscale())
        BENCH.passes(BENCH.upscale(image=BENCH.digest["fine_base"], factor=4, method="model", upscaler="sharp"))
        BENCH.passes(BENCH.upscale(controls=(Control("depth"),), view=BENCH.view()))
        BENCH.passes(BENCH.generate(init_image=BENCH.digest["image"], mask=BENCH.digest["mask"]))

    def test_an_orthographic_camera_that_sees_behind_itself(self):
        near = replace(CAMERA, projection=orthographic(4.0, 3.0, -50.0, 50.0), near=-50.0, far=50.0)
        BENCH.passes(BENCH.generate(view=BENCH.view(camera=near)))

    def test_what_is_not_known_yet_is_not_asked_for(self):
        job = replace(BENCH.generate(model="anything"), controls=(Control("depth", model="whatever"),))
        validate_job(job)
        validate_job(job, capabilities=Capabilities())


class TestGenerate:
    @pytest.mark.parametrize(
        ("changes", "field", "code"),
        [
            ({"width": 0}, "job.width", ErrorCode.INVALID_FIELD),
            ({"height": -8}, "job.height", ErrorCode.INVALID_FIELD),
            ({"width": 4097}, "job.width", ErrorCode.TOO_LARGE),
            ({"batch_size": 0}, "job.batch_size", ErrorCode.INVALID_FIELD),
            ({"batch_size": 17}, "job.batch_size", ErrorCode.TOO_LARGE),
            ({"num_inference_steps": 0}, "job.num_inference_steps", ErrorCode.INVALID_FIELD),
            ({"num_inference_steps": 501}, "job.num_inference_steps", ErrorCode.TOO_LARGE),
            ({"guidance_scale": -0.1}, "job.guidance_scale", ErrorCode.INVALID_FIELD),
            ({"guidance_scale": 100.1}, "job.guidance_scale", ErrorCode.INVALID_FIELD),
            ({"guidance_scale": float("nan")}, "job.guidance_scale", ErrorCode.INVALID_FIELD),
            ({"seed": -1}, "job.seed", ErrorCode.INVALID_FIELD),
            ({"sampler": "magic"}, "job.sampler", ErrorCode.INVALID_FIELD),
            ({"denoising_strength": 1.01}, "job.denoising_strength", ErrorCode.INVALID_FIELD),
            ({"noise_anchor": "sky"}, "job.noise_anchor", ErrorCode.INVALID_FIELD),
            ({"noise_anchor": "surface", "view": None, "controls": ()}, "job.noise_anchor", ErrorCode.INVALID_FIELD),
            ({"tiling": "z"}, "job.tiling", ErrorCode.INVALID_FIELD),
            ({"quality": "best"}, "job.quality", ErrorCode.INVALID_FIELD),
            ({"memory": "none"}, "job.memory", ErrorCode.INVALID_FIELD),
            ({"decoder": "none"}, "job.decoder", ErrorCode.INVALID_FIELD),
            ({"tiling": "x", "noise_anchor": "surface"}, "job.tiling", ErrorCode.INVALID_FIELD),
            ({"mask": BENCH.digest["mask"]}, "job.mask", ErrorCode.INVALID_FIELD),
            ({"init_image": "../../etc/passwd"}, "job.init_image", ErrorCode.INVALID_FIELD),
            ({"init_image": BENCH.digest["depth"]}, "job.init_image", ErrorCode.INVALID_FIELD),
        ],
    )
    def test_is_refused(self, changes, field, code):
        error = BENCH.error(BENCH.generate(**changes))
        assert (error.field, error.code) == (field, code)

    def test_prompt_bytes_to_the_byte(self):
        limits = Limits(prompt_bytes=10)
        for field in ("prompt", "negative_prompt"):
            job = BENCH.generate(prompt="", negative_prompt="")
            BENCH.passes(replace(job, **{field: "ä" * 5}), limits)
            error = BENCH.error(replace(job, **{field: "ä" * 5 + "!"}), limits)
            assert (error.code, error.field) == (ErrorCode.TOO_LARGE, f"job.{field}")

    def test_sizes_to_the_pixel(self):
        limits = Limits(generate_side=100, generate_pixels=5000)
        BENCH.passes(BENCH.generate(width=100, height=50), limits)
        BENCH.passes(BENCH.generate(width=1, height=1), limits)
        assert BENCH.error(BENCH.generate(width=101, height=1), limits).code is ErrorCode.TOO_LARGE
        assert BENCH.error(BENCH.generate(width=100, height=51), limits).code is ErrorCode.TOO_LARGE

    @given(st.integers(1, 20_000), st.integers(1, 20_000))
    def test_the_size_that_is_offered_instead_is_accepted(self, width, height):
        job = GenerateJob("", width=width, height=height)
        try:
            validate_job(job)
        except ScumbleError as error:
            remedy = error.info.remedy
        else:
            return
        assert remedy is not None
        assert remedy.action is RemedyAction.REDUCE_SIZE
        offered = tuple(map(int, remedy.argument.split("x")))
        validate_job(replace(job, width=offered[0], height=offered[1]))

    def test_a_mask_of_another_size_than_its_image(self):
        bench = Bench(mask=np.zeros((H, W + 1), np.uint8))
        error = bench.error(bench.generate(init_image=bench.digest["image"], mask=bench.digest["mask"]))
        assert error.field == "job.mask"


class TestModels:
    @pytest.mark.parametrize(
        "model",
        ["", ".", "..", "../x", "a/b", "a\\b", "C:evil", "C:", "/etc/passwd", "\\\\host\\share", "a\0b", "~/x", "nul",
         "CON", "com1.txt", "a..b", "-rf", "a\nb", "x ", "x.", " x", "a" * 201, "a|b", "a*", "a?"],
    )  # fmt: skip
    def test_whatever_looks_like_a_path_is_no_id(self, model):
        error = BENCH.error(BENCH.generate(model=model))
        assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, "job.model")
        if model:
            assert BENCH.error(BENCH.control(model=model)).field == "job.controls[0].model"

    @pytest.mark.parametrize("model", ["starter", "v1-5-pruned.emaonly", "Dream_Shaper 8", "モデル", "a" * 200])
    def test_names_are_ids(self, model):
        check_model_id(model, "job.model")

    def test_an_unknown_model_is_missing_and_another_is_offered(self):
        error = BENCH.error(BENCH.generate(model="startr"))
        assert error.code is ErrorCode.MODEL_MISSING
        assert error.remedy.action is RemedyAction.CHOOSE_MODEL
        assert error.remedy.argument == "starter"

    def test_an_unusable_model_is_refused_by_its_reason(self):
        for error in (BENCH.error(BENCH.generate(model="old")), BENCH.error(BENCH.control(model="old"))):
            assert error.code is ErrorCode.MODEL_INVALID
            assert "pickle" in error.message

    def test_a_task_the_server_does_not_do(self):
        error = BENCH.error(BENCH.generate(), known=replace(KNOWN, tasks=("project",)))
        assert (error.code, error.field) == (ErrorCode.UNSUPPORTED, "job.task")


class TestControls:
    @pytest.mark.parametrize(
        ("changes", "field", "code"),
        [
            ({"strength": -0.1}, "strength", ErrorCode.INVALID_FIELD),
            ({"strength": float("inf")}, "strength", ErrorCode.INVALID_FIELD),
            ({"start": 1.1}, "start", ErrorCode.INVALID_FIELD),
            ({"end": -0.1}, "end", ErrorCode.INVALID_FIELD),
            ({"start": 0.6, "end": 0.5}, "end", ErrorCode.INVALID_FIELD),
            ({"near": 0.0}, "near", ErrorCode.INVALID_FIELD),
            ({"far": float("nan")}, "far", ErrorCode.INVALID_FIELD),
            ({"near": 2.0, "far": 2.0}, "far", ErrorCode.INVALID_FIELD),
            ({"kind": "smell"}, "kind", ErrorCode.INVALID_FIELD),
            ({"kind": "canny"}, "model", ErrorCode.MODEL_MISSING),
            ({"model": "cn-none"}, "model", ErrorCode.MODEL_MISSING),
            ({"model": "cn-depth-xl"}, "model", ErrorCode.MODEL_MISMATCH),
            ({"model": "cn-depth", "kind": "normal"}, "model", ErrorCode.MODEL_MISMATCH),
            ({"image": BENCH.digest["mask"]}, "image", ErrorCode.INVALID_FIELD),
        ],
    )
    def test_is_refused(self, changes, field, code):
        error = BENCH.error(BENCH.control(**changes))
        assert (error.field, error.code) == (f"job.controls[0].{field}", code)

    def test_of_another_family_the_right_one_is_offered(self):
        error = BENCH.error(BENCH.control(model="cn-depth-xl"))
        assert "sdxl" in error.message
        assert error.remedy.argument == "cn-depth"

    def test_without_a_controlnet_its_removal_is_offered(self):
        job = BENCH.generate(controls=(Control("depth"), Control("canny")))
        assert BENCH.error(job).remedy.action is RemedyAction.REMOVE_CONTROL
        assert BENCH.error(job).remedy.argument == "1"

    def test_number_of_them(self):
        job = BENCH.generate(controls=(Control("depth"),) * 3)
        BENCH.passes(job, Limits(controls=3))
        assert BENCH.error(job, Limits(controls=2)).code is ErrorCode.TOO_LARGE

    def test_need_a_picture_or_the_buffer_it_is_made_from(self):
        assert BENCH.error(BENCH.generate(view=None)).field == "job.controls[0].image"
        assert BENCH.error(BENCH.generate(view=BENCH.view(depth=None))).field == "job.view.depth"
        image = BENCH.digest["image"]
        BENCH.passes(BENCH.generate(view=None, controls=(Control("depth", image=image),)))

    def test_a_picture_may_be_of_any_kind_the_server_has_a_controlnet_for(self):
        pose = Control("pose", model="cn-pose", image=BENCH.digest["image"])
        BENCH.passes(BENCH.generate(controls=(pose,)))
        assert BENCH.error(BENCH.generate(controls=(replace(pose, image=None),))).field == "job.controls[0].kind"


class TestLoras:
    def jobs(self, *loras: Lora):
        return [BENCH.generate(loras=loras), BENCH.texture(loras=loras), BENCH.upscale(loras=loras)]

    def test_several_of_the_models_family(self):
        for job in self.jobs(Lora("ink", 0.8), Lora("ink", -0.5)):
            BENCH.passes(job)

    @pytest.mark.parametrize(
        ("lora", "code", "field"),
        [
            (Lora("ink-xl"), ErrorCode.MODEL_MISMATCH, "model"),
            (Lora("gone"), ErrorCode.MODEL_MISSING, "model"),
            (Lora("old"), ErrorCode.MODEL_INVALID, "model"),
            (Lora("../ink"), ErrorCode.INVALID_FIELD, "model"),
            (Lora("ink", 10.1), ErrorCode.INVALID_FIELD, "weight"),
            (Lora("ink", -10.1), ErrorCode.INVALID_FIELD, "weight"),
            (Lora("ink", float("nan")), ErrorCode.INVALID_FIELD, "weight"),
        ],
    )
    def test_others_are_refused(self, lora, code, field):
        for job in self.jobs(Lora("ink"), lora):
            error = BENCH.error(job)
            assert (error.code, error.field) == (code, f"job.loras[1].{field}")

    def test_removal_is_offered(self):
        remedy = BENCH.error(BENCH.generate(loras=(Lora("ink"), Lora("ink-xl")))).remedy
        assert (remedy.action, remedy.argument) == (RemedyAction.REMOVE_LORA, "1")

    def test_number_of_them(self):
        job = BENCH.generate(loras=(Lora("ink"),) * 3)
        BENCH.passes(job, Limits(loras=3))
        assert BENCH.error(job, Limits(loras=2)).code is ErrorCode.TOO_LARGE

    def test_a_model_may_know_few_samplers(self):
        flow = replace(KNOWN.models[0], id="flow", samplers=("euler", "unipc"))
        known = replace(KNOWN, models=(*KNOWN.models, flow))
        BENCH.passes(BENCH.generate(model="flow", sampler="euler"), known=known)
        error = BENCH.error(BENCH.generate(model="flow", sampler="ddim"), known=known)
        assert (error.code, error.field) == (ErrorCode.UNSUPPORTED, "job.sampler")
        assert "euler, unipc" in error.message


class TestViews:
    @pytest.mark.parametrize(
        ("name", "array"),
        [
            ("depth", np.full((H, W), np.nan, np.float32)),
            ("depth", np.zeros((H, W), np.float16)),
            ("depth", np.full((H, W), -1.0, np.float32)),
            ("depth", np.ones((H, W), np.uint8)),
            ("depth", np.ones((W, H), np.float32)),
            ("depth", np.ones((H, W, 1), np.float32)),
            ("depth", np.ones((0, W), np.float32)),
            ("normal", np.full((H, W, 3), np.inf, np.float16)),
            ("normal", np.zeros((H, W, 4), np.float16)),
            ("object_id", np.zeros((H, W), np.int32)),
            ("color", np.zeros((H, W, 3), np.uint8)),
        ],
    )
    def test_buffers_that_are_not_what_the_view_says(self, name, array):
        bench = Bench(**{name: array})
        error = bench.error(bench.generate())
        assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, f"job.view.{name}")

    def test_nothing_hit_is_infinitely_deep(self):
        bench = Bench(depth=np.full((H, W), np.inf, np.float16))
        bench.passes(bench.generate())

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"width": 0}, "width"),
            ({"height": 8193}, "height"),
            ({"view": pack_matrix(np.diag([2.0, 1.0, 1.0, 1.0]))}, "view"),
            ({"view": pack_matrix(np.diag([-1.0, 1.0, 1.0, 1.0]))}, "view"),
            ({"view": pack_matrix(np.full((4, 4), np.nan))}, "view"),
            ({"view": pack_matrix(np.eye(4) + np.eye(4)[::-1])}, "view"),
            ({"view": IDENTITY[:15]}, "view"),
            ({"projection": (*IDENTITY[:12], 0.0, 1.0, 0.0, 0.0)}, "projection"),
            ({"projection": pack_matrix(np.zeros((4, 4)))}, "projection"),
            ({"projection": orthographic(-4.0, 3.0, 0.1, 10.0)}, "projection"),
            ({"near": 0.0}, "near"),
            ({"far": 0.1}, "far"),
            ({"far": float("inf")}, "far"),
        ],
    )
    def test_what_is_no_camera(self, changes, field):
        with pytest.raises(ScumbleError) as caught:
            check_camera(replace(CAMERA, **changes))
        assert caught.value.info.field == f"job.view.camera.{field}"

    def test_a_camera_of_single_precision_is_rigid_enough(self):
        rounded = tuple(float(np.float32(value)) for value in CAMERA.view)
        check_camera(replace(CAMERA, view=rounded))


class TestTexturing:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"texture_size": 0}, "job.texture_size"),
            ({"texture_size": 8193}, "job.texture_size"),
            ({"angle_exponent": -1.0}, "job.angle_exponent"),
            ({"meshes": ()}, "job.meshes"),
            ({"base": (BENCH.digest["base"],) * 2}, "job.base"),
            ({"base": (BENCH.digest["image"],)}, "job.base[0]"),
            ({"image": BENCH.digest["depth"]}, "job.image"),
            ({"meshes": BENCH.project().meshes * 2}, "job.meshes[1].name"),
            ({"keep": (BENCH.digest["keep"],)}, "job.keep"),
            ({"keep": (BENCH.digest["keep"],) * 2, "base": (BENCH.digest["base"],)}, "job.keep"),
            ({"keep": (BENCH.digest["base"],), "base": (BENCH.digest["base"],)}, "job.keep[0]"),
            ({"bit_depth": 12}, "job.bit_depth"),
        ],
    )
    def test_is_refused(self, changes, field):
        assert BENCH.error(BENCH.project(**changes)).field == field

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": ""}, "name"),
            ({"object_id": 0}, "object_id"),
            ({"object_id": 65536}, "object_id"),
            ({"matrix_world": (float("nan"),) * 16}, "matrix_world"),
            ({"vertices": BENCH.digest["triangles"]}, "vertices"),
            ({"triangles": BENCH.digest["vertices"]}, "triangles"),
            ({"normals": BENCH.digest["uvs"]}, "normals"),
            ({"uvs": BENCH.digest["normals"]}, "uvs"),
        ],
    )
    def test_meshes_are_refused(self, changes, field):
        assert BENCH.error(BENCH.mesh(**changes)).field == f"job.meshes[0].{field}"

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            (BaseMap("gloss", ("keep",)), "kind"),
            (BaseMap("albedo", ("bumps",)), "kind"),
            (BaseMap("ao", ("keep",)), "kind"),
            (BaseMap("normal", ("bumps",)), "kind"),
            (BaseMap("roughness", ()), "textures"),
            (BaseMap("roughness", ("bumps",)), "textures[0]"),
            (BaseMap("height", ("relief",)), "height_range"),
            (BaseMap("height", ("keep",), 0.5), "textures[0]"),
        ],
    )
    def test_maps_of_the_base_are_refused(self, wrong, field):
        """Two that are right stand before each; ao isn't among the job's maps, a second normal is one too many."""
        maps = (BaseMap("normal", ("bumps",)), BaseMap("metallic", ("relief",)), wrong)
        named = tuple(replace(each, textures=tuple(BENCH.digest[name] for name in each.textures)) for each in maps)
        wanted = {"maps": ("albedo", "normal", "metallic", "roughness", "height"), "base": (BENCH.digest["base"],)}
        for job in (BENCH.project(**wanted), BENCH.texture(**wanted)):
            BENCH.passes(replace(job, base_maps=named[:2]))
            assert BENCH.error(replace(job, base_maps=named)).field == f"job.base_maps[2].{field}"
            assert BENCH.error(replace(job, base_maps=named[:1], base=())).field == "job.base_maps[0]"

    def test_corners_of_another_number_than_triangles(self):
        bench = Bench(uvs=np.zeros((3, 3, 2), np.float32))
        assert bench.error(bench.project()).field == "job.meshes[0].uvs"

    def test_triangles_to_the_last(self):
        BENCH.passes(BENCH.project(), Limits(triangles=4))
        assert BENCH.error(BENCH.project(), Limits(triangles=3)).code is ErrorCode.TOO_LARGE

    @pytest.mark.parametrize("tiles", [(1000,), (2001,), (1002, 1001), (1001, 1001)])
    def test_tiles_that_are_none(self, tiles):
        assert BENCH.error(BENCH.mesh(tiles=tiles)).field == "job.meshes[0].tiles"

    def test_a_base_for_each_tile(self):
        job = BENCH.mesh(tiles=(1001, 2000))
        BENCH.passes(replace(job, base=(BENCH.digest["base"],) * 2))
        assert BENCH.error(replace(job, base=(BENCH.digest["base"],))).field == "job.base"

    def test_textures_to_the_last(self):
        job = BENCH.mesh(tiles=(1001, 1002))
        BENCH.passes(job, Limits(textures=2, texture_pixels=2 * 64 * 64))
        assert BENCH.error(job, Limits(textures=1)).field == "job.meshes"
        error = BENCH.error(job, Limits(texture_pixels=2 * 64 * 64 - 1))
        assert (error.code, error.field) == (ErrorCode.TOO_LARGE, "job.texture_size")
        assert error.remedy.label == "Use textures of 32 x 32"

    def test_a_texture_of_16_bits_takes_the_room_of_two(self):
        job = BENCH.project(bit_depth=16, base=(BENCH.digest["fine_base"],), keep=(BENCH.digest["keep"],))
        BENCH.passes(job, Limits(texture_pixels=2 * 64 * 64))
        error = BENCH.error(job, Limits(texture_pixels=2 * 64 * 64 - 1))
        assert (error.code, error.field) == (ErrorCode.TOO_LARGE, "job.texture_size")

    def test_an_object_called_as_another_ones_tile(self):
        mesh = replace(BENCH.project().meshes[0], tiles=(1001,))
        other = replace(mesh, name="Cube.1001", object_id=2, tiles=())
        assert texture_names((mesh, replace(other, name="Lid"))) == ("Cube.1001", "Lid")
        assert "Cube.1001" in BENCH.error(BENCH.project(meshes=(mesh, other))).message

    def test_two_objects_with_one_id(self):
        mesh = BENCH.project().meshes[0]
        error = BENCH.error(BENCH.project(meshes=(mesh, replace(mesh, name="Other"))))
        assert error.field == "job.meshes[1].object_id"


class TestTexturingAllAround:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"method": "magic"}, "job.method"),
            ({"sync_end": 1.5}, "job.sync_end"),
            ({"quality": "fast"}, "job.quality"),
            ({"memory": "much"}, "job.memory"),
            ({"view_size": 0, "views": ()}, "job.view_size"),
            ({"view_size": 4097, "views": ()}, "job.view_size"),
            ({"sampler": "magic"}, "job.sampler"),
            ({"seed": -1}, "job.seed"),
            ({"texture_size": 0}, "job.texture_size"),
            ({"meshes": ()}, "job.meshes"),
            ({"base": (BENCH.digest["image"],)}, "job.base[0]"),
            ({"keep": (BENCH.digest["keep"],)}, "job.keep"),
            ({"extra_views": -1}, "job.extra_views"),
            ({"extra_views": 63}, "job.extra_views"),
            ({"refine_strength": 1.1}, "job.refine_strength"),
            ({"refine_scale": 0.5}, "job.refine_scale"),
            ({"refine_scale": 4.5}, "job.refine_scale"),
            ({"bit_depth": 0}, "job.bit_depth"),
            ({"controls": (Control("depth", image=BENCH.digest["image"]),)}, "job.controls[0].image"),
            ({"controls": (Control("pose"),)}, "job.controls[0].kind"),
            ({"controls": (Control("depth", strength=-1.0),)}, "job.controls[0].strength"),
            ({"controls": (Control("depth", model="cn-depth-xl"),)}, "job.controls[0].model"),
        ],
    )
    def test_is_refused(self, changes, field):
        assert BENCH.error(BENCH.texture(**changes)).field == field

    @pytest.mark.parametrize(
        ("view", "field"),
        [
            (TextureView(replace(CAMERA, near=0.0)), "camera.near"),
            (TextureView(replace(CAMERA, width=W * 2)), "camera.width"),
            (TextureView(CAMERA, "x" * 20_000), "prompt"),
            (TextureView(CAMERA, image=BENCH.digest["depth"]), "image"),
        ],
    )
    def test_views_are_refused(self, view, field):
        job = BENCH.texture(views=(TextureView(CAMERA), view))
        assert BENCH.error(job).field == f"job.views[1].{field}"

    def test_views_too_many_or_too_large(self):
        BENCH.passes(BENCH.texture(), Limits(views=2, generate_side=W))
        assert BENCH.error(BENCH.texture(), Limits(views=1)).field == "job.views"
        error = BENCH.error(BENCH.texture(views=(TextureView(CAMERA),)), Limits(generate_side=W - 1))
        assert (error.code, error.field) == (ErrorCode.TOO_LARGE, "job.views[0].camera.width")

    def test_views_too_large_once_they_are_refined(self):
        job = BENCH.texture(refine_strength=0.3, refine_scale=2.0)
        BENCH.passes(job, Limits(generate_side=2 * W))
        error = BENCH.error(job, Limits(generate_side=2 * W - 2))
        assert (error.code, error.field) == (ErrorCode.TOO_LARGE, "job.refine_scale")
        BENCH.passes(replace(job, refine_strength=0.0), Limits(generate_side=W))


class TestUpscaling:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"image": BENCH.digest["mask"]}, "job.image"),
            ({"image": "../etc"}, "job.image"),
            ({"factor": 3}, "job.factor"),
            ({"method": "magic"}, "job.method"),
            ({"method": "model"}, "job.upscaler"),
            ({"upscaler": "../x"}, "job.upscaler"),
            ({"upscaler": "blurred"}, "job.upscaler"),
            ({"denoising_strength": 1.5}, "job.denoising_strength"),
            ({"tile_size": 63}, "job.tile_size"),
            ({"tile_size": 4097}, "job.tile_size"),
            ({"tile_overlap": -1}, "job.tile_overlap"),
            ({"tile_overlap": 257}, "job.tile_overlap"),
            ({"tiling": "yx"}, "job.tiling"),
            ({"model": "startr"}, "job.model"),
            ({"controls": (Control("depth"),)}, "job.controls[0].image"),
            ({"controls": (Control("tile", "cn-depth"),)}, "job.controls[0].model"),
            ({"prompt": "x" * 20_000}, "job.prompt"),
        ],
    )
    def test_is_refused(self, changes, field):
        assert BENCH.error(BENCH.upscale(**changes)).field == field

    def test_an_upscaler_that_cannot_be_used_is_refused_by_its_reason(self):
        assert "pickle" in BENCH.error(BENCH.upscale(upscaler="old")).message

    def test_the_result_to_the_pixel(self):
        BENCH.passes(BENCH.upscale(factor=4), Limits(image_side=4 * W))
        for limits in (Limits(image_side=4 * W - 1), Limits(image_pixels=16 * H * W - 1)):
            error = BENCH.error(BENCH.upscale(factor=4), limits)
            assert (error.code, error.field) == (ErrorCode.TOO_LARGE, "job.factor")


class TestFacts:
    @given(hnp.arrays(st.sampled_from(["float16", "float32"]), hnp.array_shapes(min_side=0), elements=None))
    def test_are_what_numpy_says(self, array):
        facts = facts_of(array)
        assert facts.finite == bool(np.isfinite(array).all())
        assert facts.positive == bool((array > 0).all())

    def test_whole_numbers_are_always_fine(self):
        assert facts_of(np.zeros((2, 2), np.uint8)).positive


@given(of(Job), st.sampled_from([None, KNOWN]))
def test_any_job_passes_or_gets_a_typed_error_with_a_field(job, known):
    code = error_code(lambda: validate_job(job, Limits(), known))
    assert code in (
        None,
        ErrorCode.INVALID_FIELD,
        ErrorCode.TOO_LARGE,
        ErrorCode.MODEL_MISSING,
        ErrorCode.MODEL_MISMATCH,
        ErrorCode.SCENE,
    )
