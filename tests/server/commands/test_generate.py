"""``scumble generate`` from arguments to files, with a real executor in this process."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from brush import Brush, paint
from PIL import Image
from scumble_server import cli
from scumble_server.commands.generate import add_arguments, generate
from scumble_server.commands.generate_job import made_of
from scumble_server.commands.generate_runner import LocalRunner
from scumble_server.metadata import read_settings
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control
from scumble_shared.schema import dumps


def parse(*words) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--prompt", "a wall", "--model", "brush", *map(str, words)])


def job(*words):
    return made_of(parse(*words), Brush().capabilities()).job


def refusal(*words) -> ScumbleError:
    with pytest.raises(ScumbleError) as refused:
        job(*words)
    return refused.value


@pytest.fixture
def depth(tmp_path):
    path = tmp_path / "depth.npy"
    np.save(path, np.linspace(1, 9, 40 * 56, dtype=np.float32).reshape(40, 56))
    return path


@pytest.fixture
def normal(tmp_path):
    path = tmp_path / "normal.npy"
    np.save(path, np.broadcast_to(np.array([0, 0, 1], np.float32), (40, 56, 3)))
    return path


@pytest.fixture
def camera():
    return Camera(look_at((3, -5, 2), (0, 0, 0)), perspective(0.7, 1.4, 0.1, 100), 56, 40, 0.1, 100)


class TestTheJob:
    def test_takes_what_is_not_said_from_the_model(self):
        made = job("--seed", 5)
        assert (made.sampler, made.num_inference_steps, made.guidance_scale) == ("euler", 4, 1.0)
        assert (made.width, made.height, made.seed) == (64, 64, 5)

    def test_takes_its_size_from_the_buffers(self, depth):
        made = job("--depth", depth)
        assert (made.width, made.height) == (56, 40)
        assert (made.view.camera.width, made.view.camera.height) == (56, 40)

    def test_a_size_that_is_said_wins_and_leaves_the_buffers_as_they_are(self, depth):
        made = job("--depth", depth, "--size", "128x96")
        assert (made.width, made.height) == (128, 96)
        assert made.view.camera.width == 56

    def test_carries_every_tensor_it_names(self, depth, normal):
        made = made_of(parse("--depth", depth, "--normal", normal), Brush().capabilities())
        assert set(made.tensors) == {made.job.view.depth, made.job.view.normal}
        assert made.tensors[made.job.view.depth].shape == (40, 56)

    def test_seeds_are_different_each_time_unless_said(self):
        assert job().seed != job().seed

    def test_an_unknown_model_is_told_with_those_known(self):
        error = refusal("--model", "other")
        assert error.code is ErrorCode.MODEL_MISSING
        assert error.info.remedy.argument == "brush"

    def test_buffers_of_two_sizes_are_refused(self, depth, tmp_path):
        Image.new("RGB", (8, 8)).save(tmp_path / "i.png")
        error = refusal("--depth", depth, "--init-image", tmp_path / "i.png")
        assert error.info.field == "init_image"
        assert "56x40" in error.info.message

    def test_a_mask_needs_a_picture(self, tmp_path):
        Image.new("L", (8, 8)).save(tmp_path / "m.png")
        assert refusal("--mask", tmp_path / "m.png").info.field == "job.mask"

    @pytest.mark.parametrize(
        ("words", "field"),
        [
            (("--steps", 0), "num_inference_steps"),
            (("--count", 17), "batch_size"),
            (("--size", "0x64"), "width"),
            (("--guidance-scale", "nan"), "guidance_scale"),
            (("--seed", -1), "seed"),
            (("--denoising-strength", 2), "denoising_strength"),
        ],
    )
    def test_what_no_server_would_take_is_refused_before_anything_is_loaded(self, words, field):
        assert refusal(*words).info.field == f"job.{field}"


class TestControls:
    @pytest.mark.parametrize(
        ("text", "control"),
        [
            ("depth", Control("depth")),
            ("depth:0.5", Control("depth", strength=0.5)),
            ("normal:0.5:0.1", Control("normal", strength=0.5, start=0.1)),
            ("normal:1:0:0.6", Control("normal", end=0.6)),
        ],
    )
    def test_are_kind_strength_start_end(self, depth, normal, text, control):
        assert job("--depth", depth, "--normal", normal, "--control", text).controls == (control,)

    def test_may_be_several_in_their_order(self, depth, normal):
        made = job("--depth", depth, "--normal", normal, "--control", "normal", "--control", "depth:2")
        assert [control.kind for control in made.controls] == ["normal", "depth"]

    @pytest.mark.parametrize("text", ["pose", "depth:x", "depth:1:2:3:4", "depth:nan", "depth:inf", ""])
    def test_anything_else_is_refused(self, text):
        assert refusal("--control", text).info.field == "control"

    def test_default_to_what_is_given_and_the_model_knows(self, depth):
        assert job("--depth", depth).controls == (Control("depth"),)
        assert job().controls == ()


class TestCamera:
    def test_as_text_or_file_with_the_size_of_the_buffers(self, depth, camera, tmp_path):
        text = json.loads(dumps(camera))
        del text["width"], text["height"]
        file = tmp_path / "camera.json"
        file.write_text(json.dumps(text))
        assert job("--depth", depth, "--camera", json.dumps(text)).view.camera == camera
        assert job("--depth", depth, "--camera", file).view.camera == camera

    def test_matrices_may_be_rows_as_blender_prints_them(self, depth, camera):
        text = json.loads(dumps(camera))
        text["view"] = camera.view_matrix.tolist()
        assert job("--depth", depth, "--camera", json.dumps(text)).view.camera == camera

    @pytest.mark.parametrize("text", ["{", "{}", '{"view": [1, 2]}', "no-such-file.json", "[1]"])
    def test_that_is_none_is_refused_by_name(self, depth, text):
        assert refusal("--depth", depth, "--camera", text).info.field.startswith("camera")

    def test_a_field_of_view_stands_for_one(self, depth):
        made = job("--depth", depth, "--fov", 90).view.camera
        assert made.projection_matrix[1, 1] == pytest.approx(1.0)
        assert made.projection_matrix[0, 0] == pytest.approx(40 / 56)

    @pytest.mark.parametrize("fov", [0, 180, -5, "nan"])
    def test_a_field_of_view_must_be_one(self, depth, fov):
        assert refusal("--depth", depth, "--fov", fov).info.field == "fov"

    def test_world_normals_come_out_in_its_view(self, tmp_path, camera):
        world = -camera.forward
        np.save(tmp_path / "n.npy", np.broadcast_to(world, (40, 56, 3)))
        words = ("--normal", tmp_path / "n.npy", "--normal-space", "world", "--camera", dumps(camera))
        made = made_of(parse(*words), Brush().capabilities())
        np.testing.assert_allclose(made.tensors[made.job.view.normal][0, 0], (0, 0, 1), atol=1e-6)


class TestTheFiles:
    def test_are_the_pictures_with_the_job_that_made_them(self, tmp_path, depth):
        arguments = parse("--depth", depth, "--seed", 7, "--output", tmp_path / "out")
        (path,) = generate(arguments, LocalRunner(Brush()))
        settings = read_settings(path)
        assert settings.job == job("--depth", depth, "--seed", 7)
        assert json.loads(settings.provenance)["executor"] == "brush"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), paint(settings.job))

    def test_never_overwrite(self, tmp_path):
        arguments = parse("--seed", 7, "--output", tmp_path)
        first, second = (generate(arguments, LocalRunner(Brush()))[0] for _ in range(2))
        assert (first.name, second.name) == ("scumble-7.png", "scumble-7-2.png")

    def test_progress_goes_to_standard_error_alone(self, tmp_path, capsys):
        generate(parse("--output", tmp_path), LocalRunner(Brush()))
        assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_built_in_model_paints_over_a_depth_map(tmp_path, depth, capsys, monkeypatch):
    """The whole command with the real engine, as somebody without Blender uses it."""
    monkeypatch.setenv("SCUMBLE_MODELS", str(tmp_path / "models"))
    words = ["generate", "--prompt", "a wall", "--depth", str(depth), "--seed", "7", "--steps", "2", "--count", "2"]
    assert cli.main([*words, "--device", "cpu", "--output", str(tmp_path)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == ["scumble-7.png", "scumble-8.png"]
    settings = read_settings(paths[1])
    assert settings.single().seed == 8
    assert [control.kind for control in settings.job.controls] == ["depth"]
    assert json.loads(settings.provenance)["versions"]["torch"]
    assert Image.open(paths[0]).size == (56, 40)
