"""``scumble generate --control KIND=PHOTO``: photos and ready images as controls, whatever their files are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from brush import Brush
from PIL import Image
from scumble_server.commands.generate_job import made_of
from scumble_shared.detectors import BUILT_IN_DETECTED
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import CONTROL_KINDS
from scumble_shared.messages import Capabilities, DetectorInfo
from scumble_shared.tensor import digest_of

from .test_generate import parse


def offer() -> Capabilities:
    brush = Brush().capabilities()
    models = tuple(replace(model, control_kinds=CONTROL_KINDS) for model in brush.models)
    detectors = (
        DetectorInfo("built-in", "Built-in", BUILT_IN_DETECTED),
        DetectorInfo("dpt", "DPT", ("depth",)),
    )
    return replace(brush, models=models, detectors=detectors)


def made(*words):
    return made_of(parse(*words), offer())


def refusal(*words) -> ScumbleError:
    with pytest.raises(ScumbleError) as refused:
        made(*words)
    return refused.value


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 6), (255, 0, 0)).save(path)
    return path


def test_a_photo_is_looked_at_and_a_ready_image_is_not(photo):
    found = made("--control", f"canny={photo}:0.5:0:0.8", "--control-image", f"depth={photo}")
    canny, depth = found.job.controls
    assert (canny.kind, canny.detector, canny.strength, canny.end) == ("canny", "auto", 0.5, 0.8)
    assert (depth.kind, depth.detector, depth.strength) == ("depth", "", 1.0)
    assert canny.image == depth.image
    assert (found.tensors[canny.image] == np.array((255, 0, 0))).all()


def test_who_looks_can_be_said(photo):
    assert made("--control", f"depth={photo}", "--detector", "dpt").job.controls[0].detector == "dpt"
    assert refusal("--control", f"depth={photo}", "--detector", "built-in").code is ErrorCode.MODEL_MISSING
    assert "scumble download get" in refusal("--control", f"openpose={photo}").info.remedy.label


def test_a_files_name_may_have_colons(photo, tmp_path):
    odd = tmp_path / "photo:2.png"
    odd.write_bytes(photo.read_bytes())
    assert made("--control", f"tile={odd}").job.controls[0].strength == 1.0
    assert made("--control", f"tile={odd}:0.25").job.controls[0].strength == 0.25


def test_colours_come_from_the_picture_to_start_from(photo):
    found = made("--init-image", str(photo), "--denoising-strength", "0.5", "--control", "tile")
    assert found.job.controls[0].image is None


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "L", "P", "I;16"])
def test_pictures_of_all_kinds_are_read_as_colours(tmp_path, mode):
    path = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    if mode == "I;16":
        Image.fromarray(np.full((6, 8), 65535, np.uint16)).save(path)
    else:
        Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(path)
    found = made("--control", f"canny={path}")
    (picture,) = found.tensors.values()
    assert (picture.shape, picture.dtype) == ((6, 8, 3), np.uint8)
    assert picture.min() > 250


def test_of_one_that_moves_the_first_is_taken_and_one_on_its_side_is_turned(tmp_path):
    moving, turned = tmp_path / "moving.webp", tmp_path / "turned.jpg"
    first, second = (Image.new("RGB", (8, 6), color) for color in ("white", "black"))
    first.save(moving, save_all=True, append_images=[second], lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    first.save(turned, exif=exif)
    shown = made("--control", f"canny={moving}", "--control", f"tile={turned}")
    shapes = [shown.tensors[control.image].shape for control in shown.job.controls]
    assert shapes == [(6, 8, 3), (8, 6, 3)]
    assert shown.tensors[shown.job.controls[0].image].min() == 255


def test_one_pixel_is_enough(tmp_path):
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), "white").save(path)
    assert made("--control", f"canny={path}").job.controls[0].image == digest_of(np.full((1, 1, 3), 255, np.uint8))


def test_thirty_thousand_pixels_are_too_many(tmp_path):
    wide, huge = tmp_path / "wide.png", tmp_path / "huge.png"
    Image.new("1", (30_000, 2)).save(wide)
    Image.new("1", (30_000, 30_000)).save(huge)
    for path in (wide, huge):
        error = refusal("--control", f"canny={path}")
        assert (error.code, error.info.field) == (ErrorCode.TOO_LARGE, "control")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--control", "canny=nowhere.png"), "control"),
        (("--control", "sketch=nowhere.png"), "control"),
        (("--control-image", "canny"), "control_image"),
        (("--control", "depth:x"), "control"),
    ],
)
def test_what_is_not_understood_is_named(words, field):
    assert refusal(*words).info.field == field
