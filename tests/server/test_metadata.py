"""A picture says how it was made: our record comes back equal, other tools' words as far as they go."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scumble_server.metadata import png_bytes, read_settings
from scumble_server.models.scan import scan
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import SAMPLERS, Control, GenerateJob, Lora, View
from scumble_shared.metadata.chunks import TEXT_BYTES
from scumble_shared.metadata.infotext import infotext, read_infotext
from scumble_shared.prompts import LoraTag
from scumble_shared.validate import validate_job

IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
CAMERA = Camera(look_at((3.0, -2.0, 1.7), (0.0, 0.0, 0.1)), perspective(0.8, 1.5, 0.1, 90.0), 48, 32, 0.1, 90.0)
JOB = GenerateJob(
    "mossy “stone”, (wet:1.2)\nsecond line: 木 \\ ü",
    negative_prompt="blurry, low: quality",
    model="sd15",
    width=640,
    height=384,
    batch_size=4,
    sampler="euler_a",
    num_inference_steps=12,
    guidance_scale=5.5,
    seed=41,
    controls=(Control("depth", strength=0.75, start=0.125, end=0.5, near=0.3), Control("normal", "own/normal")),
    view=View(CAMERA, depth="a" * 64, normal="b" * 64),
    init_image="c" * 64,
    denoising_strength=0.6,
)
A1111 = """a castle <lora:moss:0.8>, (fog:1.1)
on a hill
Negative prompt: people,
cars
Steps: 31, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 965400086, Size: 768x512, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, \
ControlNet 0: "Module: depth_midas, Model: control_v11f1p_sd15_depth [cfd03158], Weight: 0.8, Resize Mode: Crop and \
Resize, Processor Res: 512, Guidance Start: 0.1, Guidance End: 0.9, Pixel Perfect: False", \
Lora hashes: "moss: 1b2c3d", Version: v1.10.1"""


def graph() -> dict[str, object]:
    """A ComfyUI graph as SaveImage stores it: a checkpoint, a LoRA, a depth ControlNet, text to image."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd\\dream.v8.safetensors"}},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": "moss.safetensors",
                "strength_model": 0.7,
                "strength_clip": 1.0,
                "model": ["4", 0],
                "clip": ["4", 1],
            },
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 512, "batch_size": 2}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a castle", "clip": ["10", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["10", 1]}},
        "11": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "control_sd15_depth.pth"}},
        "12": {
            "class_type": "ControlNetApplyAdvanced",
            "inputs": {
                "strength": 0.9,
                "start_percent": 0.0,
                "end_percent": 0.8,
                "positive": ["6", 0],
                "negative": ["7", 0],
                "control_net": ["11", 0],
                "image": ["20", 0],
            },
        },
        "20": {"class_type": "LoadImage", "inputs": {"image": "depth.png"}, "is_changed": [float("nan")]},
        "13": {"class_type": "PrimitiveNode", "inputs": {"value": 2**63 - 100}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": ["13", 0],
                "steps": 25,
                "cfg": 6.5,
                "sampler_name": "euler_ancestral",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["10", 0],
                "positive": ["12", 0],
                "negative": ["12", 1],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
    }


@pytest.fixture
def save(tmp_path):
    """Writes a PNG file with the given text chunks and returns its path."""

    def save(compressed=False, **texts):
        info = PngInfo()
        for keyword, text in texts.items():
            info.add_text(keyword, text, zip=compressed)
        path = tmp_path / "image.png"
        Image.fromarray(IMAGE).save(path, pnginfo=info)
        return path

    return save


def refusal(call, *arguments) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        call(*arguments)
    return caught.value


# --- ours -------------------------------------------------------------------------------------------


def test_a_job_comes_back_equal_from_the_picture_it_made(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(png_bytes(IMAGE, JOB, json.dumps({"device": "cpu", "job": {"prompt": "the same"}}), index=3))
    found = read_settings(path)
    assert (found.job, found.index, found.source, found.notes) == (JOB, 3, "scumble", ())
    assert json.loads(found.provenance) == {"device": "cpu"}
    assert found.single() == replace(JOB, seed=44, batch_size=1)


def test_the_pixels_stay_as_they_were():
    decoded = Image.open(io.BytesIO(png_bytes(IMAGE, JOB)))
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(decoded), IMAGE)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE.astype(np.float32),
        IMAGE[..., 0],
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_only_rgb_bytes_are_written(image):
    assert refusal(png_bytes, image, JOB).info.field == "image"


@pytest.mark.parametrize("provenance", ["", "[]", "{"])
def test_provenance_is_a_json_object(provenance):
    assert refusal(png_bytes, IMAGE, JOB, provenance).info.field == "provenance"


@pytest.mark.parametrize("job", [replace(JOB, prompt="\ud800"), replace(JOB, guidance_scale=float("nan"))])
def test_a_job_that_cannot_be_written_down_is_told(job):
    assert refusal(png_bytes, IMAGE, job).code is ErrorCode.INVALID_FIELD


def test_settings_of_a_newer_version_are_named_not_dropped_silently(save):
    record = {"format": 1, "scumble": "9.1", "job": {"prompt": "x", "hat": 1, "controls": [{"kind": "depth", "b": 2}]}}
    found = read_settings(save(scumble=json.dumps(record)))
    assert found.job == GenerateJob("x", controls=(Control("depth"),))
    assert found.notes == ("Written by Scumble 9.1; not known here: job.hat, job.controls[0].b",)


@pytest.mark.parametrize(
    ("record", "code", "field"),
    [
        ("nonsense", ErrorCode.INVALID_MESSAGE, ""),
        ("[]", ErrorCode.INVALID_MESSAGE, ""),
        ("[" * 100_000, ErrorCode.INVALID_MESSAGE, ""),
        ("9" * 5000, ErrorCode.INVALID_MESSAGE, ""),
        ('{"format": 2}', ErrorCode.UNSUPPORTED, "format"),
        ('{"format": 1}', ErrorCode.INVALID_FIELD, "job"),
        ('{"format": 1, "index": -1, "job": {"prompt": ""}}', ErrorCode.INVALID_FIELD, "index"),
        ('{"format": 1, "job": {}}', ErrorCode.INVALID_FIELD, "job.prompt"),
        ('{"format": 1, "job": {"prompt": "", "seed": 1.5}}', ErrorCode.INVALID_FIELD, "job.seed"),
        ('{"format": 1, "job": {"prompt": "", "controls": [{}]}}', ErrorCode.INVALID_FIELD, "job.controls[0].kind"),
        ('{"format": 1, "job": {"prompt": "", "task": "project"}}', ErrorCode.INVALID_FIELD, "job.task"),
        ('{"format": 1, "job": {"prompt": "", "view": {"camera": 3}}}', ErrorCode.INVALID_FIELD, "job.view.camera"),
    ],
)
def test_a_spoilt_record_is_refused_with_the_field_at_fault(save, record, code, field):
    error = refusal(read_settings, save(scumble=record))
    assert (error.code, error.info.field) == (code, field)


def test_a_spoilt_record_falls_back_to_the_text_beside_it(save):
    found = read_settings(save(scumble="{}", parameters=A1111))
    assert found.source == "a1111"
    assert "record can't be read" in found.notes[0]


# --- A1111 ------------------------------------------------------------------------------------------


def test_a1111_reads_what_we_write():
    """Against the words of stable-diffusion-webui's own parser: prompt lines, then key-value pairs."""
    *prompts, last = infotext(JOB, index=2, version="1.0").split("\n")
    assert prompts == [*JOB.prompt.split("\n"), "Negative prompt: blurry, low: quality"]
    pairs = dict(re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last))
    assert pairs == {
        "Steps": "12",
        "Sampler": "Euler a",
        "CFG scale": "5.5",
        "Seed": "43",
        "Size": "640x384",
        "Model": "sd15",
        "Denoising strength": "0.6",
        "ControlNet 0": '"Module: depth, Model: depth, Weight: 0.75, Guidance Start: 0.125, Guidance End: 0.5"',
        "ControlNet 1": '"Module: normal, Model: own/normal, Weight: 1, Guidance Start: 0, Guidance End: 1"',
        "Version": "Scumble 1.0",
    }


def test_an_a1111_picture_gives_its_settings(save):
    found = read_settings(save(parameters=A1111))
    assert found.source == "a1111"
    assert (found.model_name, found.model_hash) == ("v1-5-pruned-emaonly", "6ce0161689")
    assert found.job == GenerateJob(
        "a castle, (fog:1.1)\non a hill",
        negative_prompt="people,\ncars",
        model="v1-5-pruned-emaonly",
        width=768,
        height=512,
        sampler="dpmpp_2m_karras",
        num_inference_steps=31,
        guidance_scale=6.5,
        seed=965400086,
        controls=(Control("depth", strength=0.8, start=0.1, end=0.9),),
        loras=(Lora("moss", 0.8),),
    )
    assert found.notes == ("Not carried over: Clip skip",)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_survives_a1111_text(sampler):
    found = read_infotext(infotext(replace(JOB, sampler=sampler)))
    assert (found.job.sampler, found.notes) == (sampler, ())


@pytest.mark.parametrize(
    ("words", "sampler", "noted"),
    [
        ("Sampler: DPM++ 2M Karras", "dpmpp_2m_karras", False),
        ("Sampler: DPM++ 2M", "dpmpp_2m", False),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", "dpmpp_2m_karras", False),
        ("Sampler: Euler, Schedule type: Karras", "euler", True),
        ("Sampler: Heun", "dpmpp_2m_karras", True),
    ],
)
def test_samplers_of_any_age_are_understood_or_replaced_aloud(words, sampler, noted):
    found = read_infotext(f"x\nSteps: 20, {words}, CFG scale: 7, Seed: 1, Size: 512x512, Model: m")
    assert found.job.sampler == sampler
    assert any("isn't offered" in note for note in found.notes) == noted


def test_a_seed_that_this_version_cannot_use_is_said():
    """ComfyUI's go up to 2**64 - 1."""
    found = read_infotext(f"x\nSteps: 20, Seed: {2**64 - 1}, Size: 512x512, Model: m")
    assert found.job.seed == 0
    assert any(note.startswith("Seed '18446744073709551615' is not a number from 0 to") for note in found.notes)


@pytest.mark.parametrize("name", ["sd\\..\\dream.safetensors", "../../dream", "a" * 300, "x\0y", "ü"])
def test_settings_of_others_are_a_job_that_may_be_submitted(save, name):
    text = f"x\nSteps: 20, Seed: 5, Size: 512x512, Model: {name}"
    graph_text = json.dumps(graph() | {"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}})
    for found in (read_infotext(text), read_settings(save(prompt=graph_text))):
        validate_job(replace(found.job, controls=()))


def test_a_model_of_another_tool_has_the_id_that_the_index_gives_it(tmp_path):
    """Both make it of the file's name, so that an artist who has the same file needn't choose it."""
    name = "DreamShaper_8 (pruned).safetensors"
    (tmp_path / name).write_bytes(b"")
    (entry,) = scan((tmp_path,), builtin=False).unusable
    found = read_infotext(f"x\nSteps: 20, Seed: 1, Model: {name.removesuffix('.safetensors')}")
    assert found.job.model == entry.id == "dreamshaper-8-pruned"


def test_numbers_that_cannot_be_are_left_at_the_default_and_said():
    found = read_infotext("x\nSteps: 1000000, CFG scale: nan, Seed: -3, Size: 9x99999999999999999999, Model: m")
    assert found.job == GenerateJob("x", model="m", width=9)
    assert [note.split(" ")[0] for note in found.notes] == ["Height", "Steps", "CFG", "Seed"]


@pytest.mark.parametrize("text", ["", "just a prompt", "time: now, place: here", "\n\n"])
def test_a_prompt_alone_is_not_settings(text):
    assert refusal(read_infotext, text).info.field == "parameters"


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=60).map(str.strip)


@given(
    prompt=WORDS.filter(lambda text: not text.startswith("Negative prompt:")),
    negative_prompt=WORDS,
    seed=st.integers(0, 2**63 - 100),
    width=st.integers(1, 4096),
    strength=st.integers(0, 1000).map(lambda value: value / 100),
)
def test_text_we_write_reads_back(prompt, negative_prompt, seed, width, strength):
    """Up to what the format has no escape for: line breaks, and spaces around a prompt."""
    job = GenerateJob(prompt, negative_prompt=negative_prompt, seed=seed, width=width)
    job = replace(job, controls=(Control("lineart", strength=strength),))
    assert read_infotext(infotext(job)).job == job


@given(st.text(max_size=300))
def test_parameters_are_found_in_arbitrary_text(text):
    """With three pairs for certain it is settings, whatever stands around them."""
    assert read_infotext(text + "\nSteps: 1, Sampler: x, Seed: 2, " + text.replace("\n", "")).source == "a1111"


# --- ComfyUI ----------------------------------------------------------------------------------------


def test_a_comfyui_picture_gives_its_settings(save):
    found = read_settings(save(prompt=json.dumps(graph()), workflow="{}"))
    assert found.job == GenerateJob(
        "a castle",
        negative_prompt="people",
        model="dream-v8",
        width=768,
        height=512,
        batch_size=2,
        sampler="euler_a",
        num_inference_steps=25,
        guidance_scale=6.5,
        seed=2**63 - 100,
        controls=(Control("depth", strength=0.9, end=0.8),),
        loras=(Lora("moss", 0.7),),
    )
    assert found.model_name == "sd\\dream.v8.safetensors"
    assert (found.source, found.loras, found.notes) == ("comfyui", (LoraTag("moss", 0.7),), ())


def test_custom_samplers_spread_over_several_nodes_are_read(save):
    nodes = graph() | {
        "30": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "31": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
        "32": {
            "class_type": "BasicScheduler",
            "inputs": {"scheduler": "karras", "steps": 9, "denoise": 0.5, "model": ["4", 0]},
        },
        "33": {
            "class_type": "CFGGuider",
            "inputs": {"cfg": 3, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]},
        },
        "3": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["30", 0],
                "guider": ["33", 0],
                "sampler": ["31", 0],
                "sigmas": ["32", 0],
                "latent_image": ["5", 0],
            },
        },
    }
    job = read_settings(save(prompt=json.dumps(nodes))).job
    assert (job.prompt, job.negative_prompt, job.model) == ("a castle", "people", "dream-v8")
    assert (job.seed, job.sampler, job.num_inference_steps, job.guidance_scale) == (5, "dpmpp_2m_karras", 9, 3.0)
    assert (job.denoising_strength, job.controls) == (0.5, ())


def test_the_last_sampler_before_the_file_counts(save):
    """A high-resolution fix: the second pass made the picture; its size is that of the upscaled latent."""
    nodes = graph()
    second = {**nodes["3"]["inputs"], "seed": 8, "denoise": 0.4, "latent_image": ["40", 0]}
    nodes["40"] = {"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0], "width": 1536, "height": 1024}}
    nodes["41"] = {"class_type": "KSampler", "inputs": second}
    nodes["8"]["inputs"]["samples"] = ["41", 0]
    job = read_settings(save(prompt=json.dumps(nodes))).job
    assert (job.seed, job.denoising_strength, job.width, job.height) == (8, 0.4, 1536, 1024)


def test_what_a_graph_does_not_tell_is_said(save):
    nodes = graph()
    nodes["6"]["inputs"]["text"] = ["99", 0]
    nodes["11"]["inputs"]["control_net_name"] = "control_v11e_sd15_shuffle.pth"
    nodes["5"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}}
    nodes["3"]["inputs"] |= {"sampler_name": "heun", "cfg": 1e9}
    notes = " | ".join(read_settings(save(prompt=json.dumps(nodes))).notes)
    for words in ("positive prompt", "shuffle", "started from an image", "'heun'", "CFG scale"):
        assert words in notes


def test_a_graph_that_bites_its_tail_ends(save):
    tail = ["1", 0]
    loop = {"class_type": "KSampler", "inputs": {"model": tail, "positive": tail, "latent_image": tail, "seed": tail}}
    assert read_settings(save(prompt=json.dumps({"1": loop}))).source == "comfyui"


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"1": {"class_type": "KSampler"}}', '{"1": 3}'])
def test_what_is_no_graph_is_refused(save, text):
    error = refusal(read_settings, save(prompt=text))
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "prompt")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(list(graph()["3"]["inputs"])), JSON), JSON)
def test_any_values_in_a_graph_give_settings_or_a_typed_error(spoilt, text):
    from scumble_shared.metadata.comfy import read_graph

    nodes = graph()
    nodes["3"]["inputs"] |= spoilt
    nodes["6"]["inputs"]["text"] = text
    assert read_graph(json.dumps(nodes)).source == "comfyui"


# --- files ------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def test_compressed_and_international_text_is_read(save):
    assert read_settings(save(parameters=A1111 + ", Note: 木", compressed=True)).job.seed == 965400086


def test_text_after_the_pixels_and_in_a_cut_off_file_is_found(tmp_path):
    path = tmp_path / "late.png"
    path.write_bytes(SIGNATURE + chunk(b"IDAT", b"x" * 50) + chunk(b"tEXt", b"parameters\0" + A1111.encode()) + b"\0\0")
    assert read_settings(path).job.num_inference_steps == 31


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a PNG"),
        (b"\xff\xd8\xff\xe0 JPEG", "not a PNG"),
        (SIGNATURE, "carries no settings"),
        (SIGNATURE + chunk(b"tEXt", b"parameters\0x")[:-1] + b"!", "wrong checksum"),
        (SIGNATURE + chunk(b"tEXt", b"parameters\0x")[:-2], "wrong checksum"),
        (SIGNATURE + chunk(b"zTXt", b"parameters\0\0not zlib"), "compressed text"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path, content, words):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    error = refusal(read_settings, path)
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "path")
    assert words in str(error)
    assert error.info.remedy is not None


def test_a_missing_file_and_a_folder_are_told_apart_from_bad_ones(tmp_path):
    assert "can't be read" in str(refusal(read_settings, tmp_path / "none.png"))
    assert "can't be read" in str(refusal(read_settings, tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(50 * TEXT_BYTES))),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(bytes(TEXT_BYTES + 1))),
        struct.pack(">I", TEXT_BYTES + 1) + b"tEXt",
    ],
)
def test_text_that_would_fill_the_memory_is_refused(tmp_path, text):
    path = tmp_path / "bomb.png"
    path.write_bytes(SIGNATURE + text)
    assert refusal(read_settings, path).code is ErrorCode.TOO_LARGE


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_typed_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.png"
    path.write_bytes(SIGNATURE + data)
    assert refusal(read_settings, path).code in (ErrorCode.INVALID_FIELD, ErrorCode.TOO_LARGE)
