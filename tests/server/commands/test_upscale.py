"""``scumble upscale`` from arguments to files, with the real engine in this process."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from PIL import Image
from scumble_server import cli
from scumble_server.metadata.png import deep_png_bytes


@pytest.fixture
def picture(tmp_path):
    """With a hole in its alpha."""
    values = np.zeros((24, 32, 4), np.uint8)
    values[..., 0], values[..., 3] = np.arange(32) * 8, 255
    values[:, 28:, 3] = 0
    path = tmp_path / "wall.png"
    Image.fromarray(values).save(path)
    return path


def said(*words):
    return ["upscale", *map(str, words), "--device", "cpu"]


def test_larger_files_beside_the_old_ones(tmp_path, picture, capsys, monkeypatch):
    monkeypatch.setenv("SCUMBLE_MODELS", str(tmp_path / "models"))
    out = tmp_path / "out"
    assert cli.main(said(picture, "--method", "lanczos", "--factor", 4, "--output", out)) == 0
    assert capsys.readouterr().out.split() == [str(out / "wall-4x.png")]
    with Image.open(out / "wall-4x.png") as image:
        assert (image.size, image.mode) == ((128, 96), "RGBA")
        told = json.loads(image.text["scumble"])
        assert np.asarray(image)[:, :100, 3].min() == 255
    assert (told["job"]["task"], told["job"]["factor"]) == ("upscale", 4)
    words = (
        "--steps",
        2,
        "--seed",
        3,
        "--tile-size",
        64,
        "--tile-overlap",
        16,
        "--prompt",
        "a wall",
        "--memory",
        "low",
    )
    assert cli.main(said(picture, *words, "--output", out)) == 0
    with Image.open(out / "wall-2x.png") as image:
        assert image.size == (64, 48)
        assert json.loads(image.text["scumble"])["job"]["memory"] == "low"


def test_sixteen_bits_in_and_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SCUMBLE_MODELS", str(tmp_path / "models"))
    np.save(tmp_path / "ramp.npy", np.broadcast_to(np.arange(0, 64000, 1000, np.uint16)[None, :, None], (8, 64, 3)))
    assert cli.main(said(tmp_path / "ramp.npy", "--method", "lanczos", "--output", tmp_path)) == 0
    data = (tmp_path / "ramp-2x.png").read_bytes()
    assert struct.unpack(">IIBB", data[16:26]) == (128, 16, 16, 2)
    assert Image.open(tmp_path / "ramp-2x.png").size == (128, 16)


@pytest.mark.parametrize("channels", [3, 4])
def test_pillow_reads_what_is_written(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 255, (5, 7, channels), np.uint8)
    (tmp_path / "a.png").write_bytes(deep_png_bytes(values, "{}"))
    assert (np.asarray(Image.open(tmp_path / "a.png")) == values).all()


@pytest.mark.parametrize(
    ("words", "said_of_it"),
    [
        (("gone.png",), "gone.png can't be read"),
        (("WALL", "--upscaler", "sharp"), "no upscaler"),
        (("WALL", "--tile-size", "10"), "job.tile_size"),
        (("WALL", "--model", "gone"), "no model"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, picture, capsys, monkeypatch, words, said_of_it):
    monkeypatch.setenv("SCUMBLE_MODELS", str(tmp_path / "models"))
    assert cli.main(said(*(picture if word == "WALL" else word for word in words), "--output", tmp_path)) == 1
    assert said_of_it in capsys.readouterr().err
