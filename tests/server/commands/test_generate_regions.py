"""``scumble generate --region``: ids and masks, weights and words, and every file of ids somebody may come with."""

from __future__ import annotations

import argparse

import numpy as np
import OpenEXR
import pytest
from brush import Brush
from PIL import Image
from scumble_server.buffers.convert import read_ids
from scumble_server.commands.generate import add_arguments
from scumble_server.commands.generate_job import made_of
from scumble_server.metadata import png_bytes
from scumble_shared.errors import ScumbleError
from scumble_shared.job import GenerateJob, Label, Region

IDS = np.array([[0, 1, 1], [0, 4, 300]], np.uint16)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCUMBLE_HOME", str(tmp_path))
    (tmp_path / "styles.csv").write_text('name,prompt,negative_prompt\nInk,"ink of {prompt}",photo\n')
    return tmp_path


@pytest.fixture
def ids(tmp_path):
    np.save(tmp_path / "ids.npy", IDS)
    return tmp_path / "ids.npy"


def made(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = parser.parse_args(["--prompt", "a wall", "--model", "brush", *map(str, words)])
    return made_of(given, Brush().capabilities())


def test_of_objects(ids):
    done = made("--ids", ids, "--region", "1,4=gold", "--region", "300@0.5=moss, wet")
    assert done.job.regions == (Region("gold", (1, 4)), Region("moss, wet", (300,), weight=0.5))
    assert (done.tensors[done.job.view.object_id] == IDS).all()
    assert (done.job.width, done.job.height) == (3, 2)


def test_of_masks(tmp_path):
    for name in ("left.png", "a=b.png", "c@0.5"):
        Image.new("L", (5, 4), 255).save(tmp_path / name, format="PNG")
    regions = made(
        "--region", f"{tmp_path / 'left.png'}@.25=x = y", "--region", f"{tmp_path / 'a=b.png'}=gold"
    ).job.regions
    assert [(region.prompt, region.weight) for region in regions] == [("x = y", 0.25), ("gold", 1.0)]
    (region,) = made("--region", f"{tmp_path / 'c@0.5'}=gold").job.regions
    assert region.weight == 1.0, "what a file is called isn't a weight"
    assert region.mask is not None


def test_words_are_as_in_the_prompt(ids):
    job = made("--ids", ids, "--style", "Ink", "--seed", "1", "--region", "1={gold|gold}").job
    assert job.regions[0].prompt == "ink of gold"


def test_where_the_seed_chooses_each_picture_has_its_own(ids):
    jobs = made("--ids", ids, "--count", "6", "--seed", "3", "--region", "1={gold|moss|rust}").jobs()
    assert len(jobs) == 6
    assert len({job.regions[0].prompt for job in jobs}) > 1


def test_what_objects_are(ids):
    view = made("--ids", ids, "--kind", "1,4=chair", "--kind", "300=sky").job.view
    assert view.labels == (Label(1, "chair"), Label(4, "chair"), Label(300, "sky"))


@pytest.mark.parametrize("text", ["gold", "=gold", "nowhere.png=gold", "1,=gold", "@0.5=gold"])
def test_what_names_no_place_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        made("--region", text)
    assert "1,4=gold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--region", "1=gold"], "job.view.object_id"),
        (["--ids", "IDS", "--region", "0=gold"], "job.regions[0].objects[0]"),
        (["--ids", "IDS", "--region", "1@1.5=gold"], "job.regions[0].weight"),
        (["--ids", "IDS", "--kind", "1=teapot"], "job.view.labels[0].kind"),
    ],
)
def test_what_makes_no_sense_is_named(ids, words, field):
    with pytest.raises(ScumbleError) as refused:
        made(*[ids if word == "IDS" else word for word in words])
    assert refused.value.info.field == field


class TestFilesOfIds:
    def test_pictures(self, tmp_path):
        Image.fromarray(IDS).save(tmp_path / "deep.png")
        Image.fromarray((IDS % 256).astype(np.uint8)).save(tmp_path / "flat.png")
        assert (read_ids(tmp_path / "deep.png") == IDS).all()
        assert (read_ids(tmp_path / "flat.png") == IDS % 256).all()

    @pytest.mark.parametrize("channel", ["ViewLayer.IndexOB.X", "ViewLayer.Object Index.X", "Y"])
    def test_blenders_object_index(self, tmp_path, channel):
        pixels = {"ViewLayer.Depth.Z": np.ones((2, 3), np.float32), channel: IDS.astype(np.float32)}
        OpenEXR.File({"type": OpenEXR.scanlineimage}, pixels).write(str(tmp_path / "ids.exr"))
        found = read_ids(tmp_path / "ids.exr")
        assert found.dtype == np.uint16
        assert (found == IDS).all()

    def test_without_that_pass_it_says_which_to_switch_on(self, tmp_path):
        OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Depth.Z": np.ones((2, 3), np.float32)}).write(
            str(tmp_path / "depth.exr")
        )
        with pytest.raises(ScumbleError) as refused:
            read_ids(tmp_path / "depth.exr")
        assert "Object Index pass" in refused.value.info.remedy.label

    @pytest.mark.parametrize(
        "values", [[[0.5]], [[-1.0]], [[70000.0]], [[np.nan]], [[np.inf]], np.zeros((2, 2, 3), np.uint8)]
    )
    def test_what_are_no_ids_is_refused(self, tmp_path, values):
        np.save(tmp_path / "ids.npy", np.array(values))
        with pytest.raises(ScumbleError) as refused:
            read_ids(tmp_path / "ids.npy")
        assert refused.value.info.field == "ids"


def test_those_of_a_picture_to_be_like_are_left_out_and_told(tmp_path):
    like = GenerateJob("a wall", model="brush", view=None, regions=(Region("gold", mask="0" * 64),))
    (tmp_path / "like.png").write_bytes(png_bytes(np.zeros((8, 8, 3), np.uint8), like))
    done = made("--like", tmp_path / "like.png")
    assert done.job.regions == ()
    assert any("--region" in note for note in done.notes)
