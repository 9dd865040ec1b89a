"""ComfyUI and AUTOMATIC1111 as the worker: what is asked of them is valid there, and what comes means the same here."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from comfyui_server import noise
from scumble_server.engines.comfyui.painter import comfyui_executor
from scumble_server.engines.http import checked_url
from scumble_server.engines.webui.painter import webui_executor
from scumble_server.health.engines import engine_findings
from scumble_server.health.finding import Level
from scumble_server.service import JobCancelled
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import SAMPLERS, Control, ControlImagesJob, GenerateJob, Lora, Region, TextureJob, View
from scumble_shared.tensor import digest_of
from scumble_shared.validate import validate_job
from webui_server import load

H, W = 70, 100
DEPTH = np.tile(np.linspace(1.0, 9.0, W, dtype=np.float32), (H, 1))
START = np.full((H, W, 3), 200, np.uint8)
MASK = np.zeros((H, W), np.uint8)
MASK[20:40, 30:60] = 255
TENSORS = {digest_of(array): array for array in (DEPTH, START, MASK)}
CAMERA = Camera(look_at((3.0, 1.0, 2.0), (0.0, 0.0, 0.0)), perspective(0.9, W / H, 0.1, 100.0), W, H, 0.1, 100.0)
VIEW = View(CAMERA, depth=digest_of(DEPTH))
JOB = GenerateJob("a wall", "fog", model="dream", width=W, height=H, num_inference_steps=3, sampler="euler", seed=5)


@pytest.fixture(params=["comfyui", "webui"])
def program(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def executor(program):
    make = comfyui_executor if type(program).__name__ == "ComfyServer" else webui_executor
    return make(program.url)


def done(executor, job, hooks):
    validate_job(job, capabilities=executor.capabilities())
    return executor.run(job, TENSORS, hooks)


def refusal(executor, job, hooks) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        executor.run(job, TENSORS, hooks)
    return caught.value


class TestBoth:
    def test_say_what_they_have(self, executor):
        known = executor.capabilities()
        assert {model.id for model in known.models} == {"dream", "bigxl"}
        assert next(model for model in known.models if model.id == "bigxl").width == 1024
        assert set(known.models[0].control_kinds) == {"depth", "normal"}
        assert set(known.samplers) == set(SAMPLERS) - {"tcd"}
        assert len(known.loras) == 1
        assert "generate" in known.tasks
        assert "texture" not in known.tasks

    def test_a_picture_is_of_the_size_that_was_asked_for_though_they_make_multiples_of_eight(self, executor, hooks):
        heard = hooks()
        output = done(executor, JOB, heard)
        np.testing.assert_array_equal(output.tensors["image/0"], noise(5, "a wall", (72, 104))[:H, :W])
        assert output.provenance["timings"]["painting"] >= 0

    def test_image_i_of_a_batch_is_what_its_seed_makes_alone(self, executor, hooks):
        batch = done(executor, replace(JOB, batch_size=3), hooks()).tensors
        for index in range(3):
            alone = done(executor, replace(JOB, seed=5 + index), hooks()).tensors["image/0"]
            np.testing.assert_array_equal(batch[f"image/{index}"], alone)

    @pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"tcd"}))
    def test_every_sampler_is_one_that_they_know(self, executor, hooks, sampler):
        assert done(executor, replace(JOB, sampler=sampler), hooks()).tensors

    def test_one_that_they_lack_is_refused(self, executor, hooks):
        with pytest.raises(ScumbleError) as caught:
            done(executor, replace(JOB, sampler="tcd"), hooks())
        assert caught.value.info.field == "job.sampler"

    def test_what_a_mask_keeps_is_kept_to_the_byte(self, executor, hooks):
        job = replace(JOB, init_image=digest_of(START), mask=digest_of(MASK), denoising_strength=0.5)
        image = done(executor, job, hooks()).tensors["image/0"]
        np.testing.assert_array_equal(image[MASK == 0], START[MASK == 0])
        assert (image[MASK == 255] != 200).any()

    def test_from_a_picture_without_a_mask(self, executor, hooks):
        job = replace(JOB, init_image=digest_of(START), denoising_strength=0.5)
        image = done(executor, job, hooks()).tensors["image/0"]
        np.testing.assert_array_equal(image, (START // 2 + noise(5, "a wall", (72, 104))[:H, :W] // 2))

    def test_control_images_are_ours(self, executor, hooks):
        job = ControlImagesJob((Control("depth"),), VIEW, W, H, "dream")
        image = executor.run(job, TENSORS, hooks()).tensors["control/0"]
        assert image[0, 0, 0] > image[0, -1, 0]  # near is white

    def test_a_lora_that_is_not_there_is_refused_by_place(self, executor, hooks):
        executor.capabilities()
        error = refusal(executor, replace(JOB, loras=(Lora("nothing"),)), hooks())
        assert (error.code, error.info.remedy.action) == (ErrorCode.MODEL_MISSING, RemedyAction.REMOVE_LORA)

    def test_what_only_our_own_engine_can_do_is_refused_and_not_left_out(self, executor, hooks):
        asked = {"tiling": "x", "noise_anchor": "surface", "maps": ("albedo",), "regions": (Region("moss", (1,)),)}
        for job in (replace(JOB, **{name: value}) for name, value in asked.items()):
            assert refusal(executor, job, hooks()).code is ErrorCode.UNSUPPORTED
        assert refusal(executor, TextureJob("x", ()), hooks()).code is ErrorCode.UNSUPPORTED

    def test_away_it_says_so_and_works_again_once_it_is_back(self, program, executor, hooks):
        program.server_close()
        assert executor.capabilities().models == ()
        error = refusal(executor, JOB, hooks())
        assert (error.code, error.info.retryable) == (ErrorCode.SERVER_UNREACHABLE, True)
        assert "Start" in error.info.remedy.label

    def test_something_else_at_its_address_is_found_out(self, program, executor, hooks):
        program.html = True
        assert refusal(executor, JOB, hooks()).code is ErrorCode.SERVER_UNREACHABLE

    def test_cancelling_takes_effect_within_a_step_and_stops_them(self, program, executor, hooks):
        executor.capabilities()
        program.paced = True
        for _ in range(2):
            program.step.release()
        with pytest.raises(JobCancelled):
            executor.run(replace(JOB, num_inference_steps=50), TENSORS, hooks(cancel_at=2))
        assert program.interrupted.wait(10)


class TestComfyUI:
    @pytest.fixture
    def executor(self, comfyui):
        return comfyui_executor(comfyui.url)

    def test_steps_and_previews_are_told(self, executor, hooks):
        heard = hooks()
        done(executor, JOB, heard)
        assert heard.steps == [(1, 3), (2, 3), (3, 3)]
        assert heard.previews[0].shape == (8, 8, 3)

    def test_both_ways_of_listing_choices(self, comfyui, executor):
        comfyui.new_style = True
        assert {model.id for model in executor.capabilities().models} == {"dream", "bigxl"}

    def test_several_controls_and_a_lora_in_one_graph(self, comfyui, executor, hooks):
        normal = np.zeros((H, W, 3), np.float32)
        normal[..., 2] = 1.0
        view = replace(VIEW, normal=digest_of(normal))
        controls = (Control("depth", strength=0.75, end=0.5), Control("normal", start=0.25))
        job = replace(JOB, controls=controls, view=view, loras=(Lora("moss-stone", 0.5),))
        validate_job(job, capabilities=executor.capabilities())
        executor.run(job, {**TENSORS, digest_of(normal): normal}, hooks())
        (graph,) = comfyui.graphs
        first, second = (graph[f"control{index}"]["inputs"] for index in range(2))
        assert (first["strength"], first["end_percent"], second["start_percent"]) == (0.75, 0.5, 0.25)
        assert second["positive"] == ["control0", 0]
        assert graph["net0"]["inputs"]["control_net_name"] == "control_v11f1p_sd15_depth.pth"
        assert (
            graph["lora0"]["inputs"] | {"lora_name": "Moss Stone.safetensors", "strength_clip": 0.5}
            == (graph["lora0"]["inputs"])
        )
        shown = comfyui.load(graph["shown0"]["inputs"]["image"])
        assert shown.shape == (72, 104, 3)
        assert shown[0, 0, 0] > shown[0, -1, 0]

    def test_the_controlnet_goes_with_the_models_name(self, comfyui, executor, hooks):
        done(executor, replace(JOB, model="bigxl", controls=(Control("depth"),), view=VIEW), hooks())
        assert comfyui.graphs[0]["net0"]["inputs"]["control_net_name"] == "depth_xl.safetensors"

    def test_a_node_it_lacks_is_named(self, comfyui, executor, hooks):
        del comfyui.nodes["ControlNetApplyAdvanced"]
        error = refusal(executor, JOB, hooks())
        assert error.code is ErrorCode.UNSUPPORTED
        assert "ControlNetApplyAdvanced" in error.info.message
        assert error.info.remedy.label == "Update ComfyUI"

    def test_a_model_that_went_meanwhile(self, comfyui, executor, hooks):
        executor.capabilities()
        comfyui.choices["ckpt_name"] = ["other.safetensors"]
        error = refusal(executor, JOB, hooks())
        assert (error.code, error.info.field) == (ErrorCode.MODEL_MISSING, "job.model")

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ({"exception_type": "torch.OutOfMemoryError", "exception_message": "x"}, ErrorCode.OUT_OF_MEMORY),
            ({"exception_message": "mat1 and mat2 shapes cannot be multiplied"}, ErrorCode.MODEL_MISMATCH),
            ({"exception_message": "anything"}, ErrorCode.INVALID_RESULT),
        ],
    )
    def test_its_failures_are_typed(self, comfyui, executor, hooks, words, code):
        comfyui.fail = words
        assert refusal(executor, JOB, hooks()).code is code

    def test_a_broken_connection_is_told_and_may_be_tried_again(self, comfyui, executor, hooks):
        comfyui.cut = True
        error = refusal(executor, JOB, hooks())
        assert (error.code, error.info.retryable) == (ErrorCode.SERVER_UNREACHABLE, True)

    def test_only_our_own_work_is_interrupted(self, comfyui, executor, hooks):
        executor.capabilities()
        comfyui.paced = True
        comfyui.step.release()
        with pytest.raises(JobCancelled):
            executor.run(replace(JOB, num_inference_steps=9), TENSORS, hooks(cancel_at=1))
        asked = dict(comfyui.asked)
        assert asked["/queue"]["delete"] == [asked["/interrupt"]["prompt_id"]]


class TestWebui:
    @pytest.fixture
    def executor(self, webui):
        return webui_executor(webui.url)

    def test_controls_are_units_without_a_preprocessor_and_loras_stand_in_the_prompt(self, webui, executor, hooks):
        control = Control("depth", strength=0.75, start=0.25, end=0.5)
        done(executor, replace(JOB, controls=(control,), view=VIEW, loras=(Lora("moss", 0.5),)), hooks())
        (content,) = (content for path, content in webui.requests if path.endswith("txt2img"))
        (unit,) = content["alwayson_scripts"]["controlnet"]["args"]
        assert (unit["module"], unit["weight"], unit["guidance_start"], unit["guidance_end"]) == (
            "none",
            0.75,
            0.25,
            0.5,
        )
        assert unit["model"] == "control_v11f1p_sd15_depth [cfd03158]"
        assert content["prompt"] == "a wall <lora:moss:0.5>"
        shown = load(unit["image"])
        assert shown.shape == (72, 104, 3)
        assert shown[0, 0, 0] > shown[0, -1, 0]

    def test_forge_spells_nothing_with_a_capital(self, webui, executor, hooks):
        webui.modules = ["None", "Canny"]
        done(executor, replace(JOB, controls=(Control("depth"),), view=VIEW), hooks())
        (unit,) = webui.requests[-1][1]["alwayson_scripts"]["controlnet"]["args"]
        assert unit["module"] == "None"

    def test_progress_and_previews_while_it_works(self, webui, executor, hooks):
        executor.capabilities()
        webui.paced = True
        heard = hooks()

        def pace():
            for _ in range(3):
                webui.step.release()
                webui.progress_asked.clear()
                webui.progress_asked.wait(10)

        threading.Thread(target=pace, daemon=True).start()
        executor.run(JOB, TENSORS, heard)
        assert heard.steps
        assert heard.previews[0].shape == (8, 8, 3)

    def test_without_its_interface_or_extension_it_says_what_to_start_or_install(self, webui, executor, hooks):
        webui.nets = None
        error = refusal(executor, replace(JOB, controls=(Control("depth"),), view=VIEW), hooks())
        assert (error.code, error.info.remedy.action) == (ErrorCode.UNSUPPORTED, RemedyAction.REMOVE_CONTROL)
        webui.api = False
        executor.look_for_models()
        assert "--api" in refusal(executor, JOB, hooks()).info.remedy.label

    @pytest.mark.parametrize(
        ("failure", "code"),
        [
            ((500, {"error": "OutOfMemoryError", "errors": "CUDA out of memory"}), ErrorCode.OUT_OF_MEMORY),
            ((500, {"errors": "mat1 and mat2 shapes cannot be multiplied"}), ErrorCode.MODEL_MISMATCH),
            ((500, {"error": "x"}), ErrorCode.INVALID_RESULT),
            ((422, {"detail": "always on script controlnet not found"}), ErrorCode.UNSUPPORTED),
        ],
    )
    def test_its_failures_are_typed(self, webui, executor, hooks, failure, code):
        webui.failure = failure
        assert refusal(executor, JOB, hooks()).code is code


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8188", "ftp://x", "http://", "http://a b", "http://me:secret@x", "http://x:0"]
)
def test_what_is_no_address_is_refused_before_anything_is_asked(url):
    with pytest.raises(ScumbleError) as caught:
        checked_url(url)
    assert caught.value.info.field == "--engine-url"


@pytest.mark.parametrize(("engine", "words"), [("comfyui", "2 models, 3 ControlNets, 1 LoRAs"), ("a1111", "2 models")])
def test_the_doctor_says_what_it_found(request, engine, words):
    program = request.getfixturevalue({"comfyui": "comfyui", "a1111": "webui"}[engine])
    (finding,) = engine_findings(engine, program.url)
    assert finding.level is Level.OK
    assert words in finding.text
