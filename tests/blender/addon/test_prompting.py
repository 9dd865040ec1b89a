"""Styles and wildcards of a scene, and settings taken from pictures of all kinds."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from scumble_shared.client import Arrived
from scumble_shared.job import Control, GenerateJob, Lora
from scumble_shared.messages import Capabilities, ModelInfo, Result, TensorInfo
from scumble_shared.metadata import infotext, record
from scumble_shared.metadata.chunks import text_chunks
from scumble_shared.prompts import Style, read_style_file, write_style_file

MODULE = "bl_ext.user_default.scumble"
JOB = GenerateJob(
    "old {stone}",
    negative_prompt="fog",
    model="dreams",
    width=640,
    height=384,
    batch_size=2,
    sampler="ddim",
    num_inference_steps=9,
    guidance_scale=4.5,
    seed=41,
    controls=(Control("depth", strength=0.5, end=0.75, near=1.0, far=4.0), Control("pose")),
    loras=(Lora("ink", 0.5),),
)


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def scene(extension, empty_scene):
    return empty_scene


@pytest.fixture
def files(part, tmp_path):
    """Files of this test's own, as the preferences have them."""
    preferences = part("preferences").preferences()
    preferences.styles_file, preferences.wildcard_folder = str(tmp_path / "styles.csv"), str(tmp_path / "wildcards")
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "stone.txt").write_text("granite\nslate\n")
    write_style_file(tmp_path / "styles.csv", [Style("Ink", "ink of {prompt}", "photo"), Style("Night", "at night")])
    yield tmp_path
    preferences.styles_file = preferences.wildcard_folder = ""


def picture(part, path: Path, **texts: str) -> str:
    """A small PNG with these text chunks."""
    png = part("png")
    data = png.png_bytes(np.zeros((4, 4, 3), np.uint8))
    for keyword, text in texts.items():
        chunk = png._chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode())
        data = data[:33] + chunk + data[33:]
    path.write_bytes(data)
    return str(path)


class TestWords:
    def test_styles_are_put_on_and_off_and_around_the_prompt(self, part, scene, files):
        words = part("words")
        scene.scumble.prompt = "a wall"
        bpy.ops.scumble.style_toggle(name="Ink")
        bpy.ops.scumble.style_toggle(name="Night")
        assert words.written(scene) == words.Written("ink of a wall, at night", "photo")
        bpy.ops.scumble.style_toggle(name="Ink")
        assert words.written(scene).prompt == "a wall, at night"
        bpy.ops.scumble.style_into_prompt()
        assert (scene.scumble.prompt, words.names_of(scene)) == ("a wall, at night", [])

    def test_the_job_has_what_its_seed_chose_and_the_loras_that_were_named(self, part, scene, files):
        final = part("words").with_final_words
        jobs = [final(GenerateJob("{red|blue} __stone__ <lora:Ink:0.5>", seed=seed)) for seed in range(40)]
        assert {job.prompt for job in jobs} == {f"{a} {b}" for a in ("red", "blue") for b in ("granite", "slate")}
        assert {job.loras for job in jobs} == {(Lora("ink", 0.5),)}
        assert final(jobs[0]).prompt == jobs[0].prompt

    def test_a_lora_that_cannot_be_used_is_taken_out_of_the_prompt(self, scene):
        scene.scumble.prompt = "a wall <lora:ink:0.5>, <lora:moss:1>"
        bpy.ops.scumble.remove_lora(index="1")
        assert scene.scumble.prompt == "a wall <lora:ink:0.5>"

    def test_a_style_that_is_gone_is_told_when_it_matters(self, scene, files):
        scene.scumble.prompt = "a wall"
        bpy.ops.scumble.style_toggle(name="Oil")
        with pytest.raises(RuntimeError, match="Oil"):
            bpy.ops.scumble.generate()

    def test_a_wildcard_that_is_nowhere_is_told_with_the_folder(self, part, scene, files):
        with pytest.raises(Exception, match="brick") as caught:
            part("words").with_final_words(GenerateJob("__brick__"))
        assert str(files) in caught.value.info.remedy.label

    def test_styles_are_kept_shared_and_deleted(self, part, scene, files):
        scene.scumble.prompt, scene.scumble.negative_prompt = "oil of {prompt}", "ink"
        bpy.ops.scumble.style_save(name="Oil")
        bpy.ops.scumble.styles_export(filepath=str(files / "shared.csv"))
        bpy.ops.scumble.style_remove(name="Oil")
        assert [style.name for style in part("words").known_styles()] == ["Ink", "Night"]
        bpy.ops.scumble.styles_import(filepath=str(files / "shared.csv"))
        assert Style("Oil", "oil of {prompt}", "ink") in read_style_file(files / "styles.csv")

    def test_a_file_that_is_no_style_file_is_told_and_changes_nothing(self, scene, files):
        (files / "bad.csv").write_text("title,words\na,b\n")
        for path in ("bad.csv", "nowhere.csv"):
            with pytest.raises(RuntimeError):
                bpy.ops.scumble.styles_import(filepath=str(files / path))
        assert len(read_style_file(files / "styles.csv")) == 2


class TestSettingsFromPictures:
    def took(self, scene):
        settings = scene.scumble
        assert (settings.prompt, settings.negative_prompt) == ("old \\{stone\\} <lora:ink:0.5>", "fog")
        assert (settings.width, settings.height, settings.sampler) == (640, 384, "ddim")
        assert (settings.num_inference_steps, settings.guidance_scale) == (9, 4.5)
        assert settings.lock_seed
        assert settings.batch_size == 1

    def test_our_own(self, part, scene, tmp_path):
        path = picture(part, tmp_path / "own.png", scumble=record(JOB, "{}", 1))
        bpy.ops.scumble.settings_from_image(filepath=path)
        self.took(scene)
        assert (scene.scumble.seed, scene.scumble.model_id) == (42, "dreams")
        (depth,) = scene.scumble.controls  # a pose can't be made from the scene
        assert (depth.kind, depth.strength, depth.end, depth.use_range, depth.far) == ("depth", 0.5, 0.75, True, 4.0)
        again = part("words").with_final_words(GenerateJob(scene.scumble.prompt, seed=3))
        assert (again.prompt, again.loras) == (JOB.prompt, JOB.loras)

    def test_a1111s(self, part, scene, tmp_path):
        job = replace(JOB, controls=JOB.controls[:1])
        path = picture(part, tmp_path / "a1111.png", parameters=infotext(job))
        bpy.ops.scumble.settings_from_image(filepath=path)
        self.took(scene)
        assert scene.scumble.seed == 41

    def test_comfyuis(self, part, scene, tmp_path):
        graph = {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dreams.safetensors"}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a tower", "clip": ["1", 1]}},
            "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
            "4": {
                "class_type": "KSampler",
                "inputs": {
                    "model": ["1", 0],
                    "positive": ["2", 0],
                    "negative": ["2", 0],
                    "latent_image": ["3", 0],
                    "seed": 5,
                    "steps": 12,
                    "cfg": 3.0,
                    "sampler_name": "euler",
                    "scheduler": "normal",
                    "denoise": 1,
                },
            },
        }
        bpy.ops.scumble.settings_from_image(filepath=picture(part, tmp_path / "c.png", prompt=json.dumps(graph)))
        settings = scene.scumble
        assert (settings.prompt, settings.height, settings.num_inference_steps) == ("a tower", 768, 12)

    def test_what_blender_packs_says_it_in_both_ways(self, part, scene, tmp_path):
        jobs, pixels = part("jobs"), np.zeros((4, 4, 3), np.uint8)
        arrived = Arrived(Result("1", 1, (TensorInfo("image/1", "uint8", pixels.shape),)), {"image/1": pixels})
        job = replace(JOB, controls=(), view=None)
        made = part("prepare").prepare(arrived, jobs.JobRecord("1", job, jobs.Target(0)))["image/1"]
        (tmp_path / "packed.png").write_bytes(made.png)
        texts = text_chunks(tmp_path / "packed.png")
        assert set(texts) == {"scumble", "parameters"}
        assert "Seed: 42" in texts["parameters"]
        bpy.ops.scumble.settings_from_image(filepath=str(tmp_path / "packed.png"))
        self.took(scene)

    def test_an_image_of_the_file(self, scene):
        image = bpy.data.images.new("made", 4, 4)
        image["scumble"] = record(JOB, "{}", 0)
        bpy.ops.scumble.settings_from_datablock(image="made")
        self.took(scene)
        with pytest.raises(RuntimeError, match="wasn't made by Scumble"):
            bpy.ops.scumble.settings_from_datablock(image="nothing")

    def test_what_the_server_lacks_stays_and_is_told(self, part, scene):
        known = Capabilities(models=(ModelInfo("starter", "Starter", "x", "euler", 8, 3.0, 512, 512),))
        notes = part("prompting.taking").take_job(scene, replace(JOB, seed=2**40), known)
        assert scene.scumble.model_id == "starter"
        assert {"dreams", str(2**40), "pose"} <= {word for note in notes for word in note.replace(";", "").split()}

    @pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\xff" * 40])
    def test_what_says_nothing_is_refused_and_changes_nothing(self, scene, tmp_path, content):
        (tmp_path / "bad.png").write_bytes(content)
        scene.scumble.prompt = "mine"
        with pytest.raises(RuntimeError):
            bpy.ops.scumble.settings_from_image(filepath=str(tmp_path / "bad.png"))
        assert scene.scumble.prompt == "mine"

    def test_a_picture_is_taken_where_it_falls_on_the_sidebar_alone(self, part, extension):
        handler = part("prompting.taking").SCUMBLE_FH_picture
        assert hasattr(bpy.types, "SCUMBLE_FH_picture")

        def dropped(area, region):
            return handler.poll_drop(
                SimpleNamespace(area=SimpleNamespace(type=area), region=SimpleNamespace(type=region))
            )

        assert dropped("VIEW_3D", "UI")
        assert not dropped("VIEW_3D", "WINDOW")
        assert not dropped("IMAGE_EDITOR", "UI")
