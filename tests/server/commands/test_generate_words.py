"""Words of ``scumble generate`` and ``scumble sheet``: chosen by the seed, styled, or taken from a picture."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from brush import Brush, paint
from PIL import Image
from scumble_server.commands import generate as generate_command
from scumble_server.commands import sheet as sheet_command
from scumble_server.commands.generate_job import made_of
from scumble_server.commands.generate_runner import LocalRunner
from scumble_server.metadata import png_bytes, read_settings
from scumble_shared.errors import ScumbleError
from scumble_shared.job import Control, GenerateJob

PICTURE = np.zeros((8, 8, 3), np.uint8)
LIKE = GenerateJob(
    "a {curly} wall",
    negative_prompt="fog",
    model="brush",
    width=96,
    height=80,
    batch_size=4,
    sampler="euler",
    num_inference_steps=3,
    guidance_scale=2.5,
    seed=40,
    controls=(Control("depth", strength=0.5, end=0.75, near=1.0),),
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path))
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "stone.txt").write_text("granite\nslate\n")
    (tmp_path / "styles.csv").write_text('name,prompt,negative_prompt\nInk,"ink of {prompt}",photo\n')
    return tmp_path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "like.png"
    path.write_bytes(png_bytes(PICTURE, LIKE, index=2))
    return path


def arguments(command, *words) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(map(str, words)))


def made(*words):
    return made_of(arguments(generate_command, "--model", "brush", *words), Brush().capabilities())


def sheet(tmp_path, *words):
    given = arguments(sheet_command, "--model", "brush", "--seed", 5, "--output", tmp_path / "out", *words)
    return sheet_command.make_sheet(given, LocalRunner(Brush()))


class TestWords:
    def test_the_seed_chooses_and_the_job_has_what_it_chose(self):
        found = {made("--prompt", "{red|blue} __stone__", "--seed", seed).job.prompt for seed in range(40)}
        assert found == {f"{color} {stone}" for color in ("red", "blue") for stone in ("granite", "slate")}

    def test_each_picture_of_a_batch_has_the_words_of_its_own_seed(self):
        jobs = made("--prompt", "__stone__", "--seed", 3, "--count", 6).jobs()
        assert [job.seed for job in jobs] == [3, 4, 5, 6, 7, 8]
        assert [job.prompt for job in jobs] == [
            made("--prompt", "__stone__", "--seed", seed).job.prompt for seed in range(3, 9)
        ]
        assert len({job.prompt for job in jobs}) == 2

    def test_without_choices_a_batch_is_one_job(self):
        (job,) = made("--prompt", "stone", "--count", 6).jobs()
        assert job.batch_size == 6

    def test_styles_by_name(self):
        job = made("--prompt", "a wall", "--negative-prompt", "fog", "--style", "Ink").job
        assert (job.prompt, job.negative_prompt) == ("ink of a wall", "fog, photo")

    @pytest.mark.parametrize(
        ("words", "field"),
        [
            ((), "prompt"),
            (("--prompt", "x", "--style", "Oil"), "style"),
            (("--prompt", "__brick__"), "prompt"),
            (("--prompt", "x", "--styles", __file__, "--style", "Ink"), "styles"),
        ],
    )
    def test_what_nobody_knows_is_refused_by_name(self, words, field):
        with pytest.raises(ScumbleError) as caught:
            made(*words)
        assert caught.value.info.field == field


class TestLike:
    def test_everything_that_is_not_said_comes_from_the_picture(self, picture):
        job = made("--like", picture).job
        assert (job.prompt, job.negative_prompt, job.seed) == ("a {curly} wall", "fog", 42)
        assert (job.width, job.height, job.sampler, job.num_inference_steps) == (96, 80, "euler", 3)
        assert (job.guidance_scale, job.batch_size) == (2.5, 1)

    def test_what_is_said_wins(self, picture):
        job = made("--like", picture, "--prompt", "moss", "--seed", 1, "--steps", 9, "--size", "64x64").job
        assert (job.prompt, job.seed, job.num_inference_steps, job.width, job.sampler) == ("moss", 1, 9, 64, "euler")

    def test_controls_are_as_strong_as_they_were(self, picture, tmp_path):
        np.save(tmp_path / "depth.npy", np.ones((8, 8), np.float32))
        job = made("--like", picture, "--depth", tmp_path / "depth.npy").job
        assert job.controls == (Control("depth", strength=0.5, end=0.75),)

    def test_a_sampler_that_is_not_here_is_told(self, tmp_path):
        (tmp_path / "other.png").write_bytes(png_bytes(PICTURE, GenerateJob("x", model="brush", sampler="ddim")))
        found = made("--like", tmp_path / "other.png")
        assert found.job.sampler == "euler"
        assert "ddim" in found.notes[0]

    def test_a_model_that_is_not_here_is_told(self, tmp_path):
        (tmp_path / "other.png").write_bytes(png_bytes(PICTURE, GenerateJob("x", model="dreams")))
        given = arguments(generate_command, "--like", tmp_path / "other.png")
        with pytest.raises(ScumbleError) as caught:  # the brush isn't the built-in model either
            made_of(given, Brush().capabilities())
        assert caught.value.info.field == "model"
        assert made("--like", tmp_path / "other.png").job.sampler == "euler"


class TestSheet:
    def test_every_picture_is_a_file_and_all_are_on_the_sheet(self, tmp_path):
        *pictures, together = sheet(tmp_path, "--prompt", "stone wall", "--x", "steps=2,4", "--y", "prompt=stone,moss")
        jobs = [read_settings(path).job for path in pictures]
        assert [(job.num_inference_steps, job.prompt) for job in jobs] == [
            *((2, "stone wall"), (4, "stone wall"), (2, "moss wall"), (4, "moss wall"))
        ]
        whole = np.asarray(Image.open(together)).astype(int)
        assert whole.shape[0] > 2 * 64
        assert whole.shape[1] > 2 * 64
        corner = paint(jobs[0]).astype(int)
        rows, columns = (range(length - 63) for length in whole.shape[:2])
        assert any((whole[y, x] == corner[0, 0]).all() for y in rows for x in columns)

    def test_seeds_are_varied_if_nothing_is_said(self, tmp_path):
        *pictures, _ = sheet(tmp_path, "--prompt", "__stone__", "--variations", 3)
        jobs = [read_settings(path).job for path in pictures]
        assert [job.seed for job in jobs] == [5, 6, 7]
        assert all(job.prompt in ("granite", "slate") for job in jobs)

    def test_words_are_replaced_before_the_seed_chooses(self, tmp_path):
        *pictures, _ = sheet(tmp_path, "--prompt", "a {red|blue} wall", "--x", "prompt=wall,{old|new} tower")
        first, second = (read_settings(path).job.prompt for path in pictures)
        assert "{" not in second
        assert first.split()[1] == second.split()[1]

    def test_nothing_is_made_if_one_of_them_cannot_be(self, tmp_path):
        with pytest.raises(ScumbleError):
            sheet(tmp_path, "--prompt", "x", "--x", "guidance=1,5000")
        assert not (tmp_path / "out").exists()
