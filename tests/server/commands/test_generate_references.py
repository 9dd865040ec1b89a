"""``scumble generate --reference``: what follows a file's name, and every kind of file somebody may come with."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pytest
from brush import Brush
from PIL import Image
from scumble_server.commands.generate import add_arguments
from scumble_server.commands.generate_job import made_of
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.messages import AdapterInfo

CAPABILITIES = replace(
    Brush().capabilities(),
    models=(replace(Brush().capabilities().models[0], takes_references=True),),
    adapters=(AdapterInfo("ip", "Adapter", "test"),),
)


def made(*words, capabilities=CAPABILITIES):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return made_of(parser.parse_args(["--prompt", "a wall", "--model", "brush", *map(str, words)]), capabilities)


def refusal(*words, **settings) -> ScumbleError:
    with pytest.raises(ScumbleError) as refused:
        made(*words, **settings)
    return refused.value


@pytest.fixture
def moss(tmp_path):
    path = tmp_path / "moss.png"
    Image.new("RGB", (8, 6), (10, 200, 30)).save(path)
    return path


@pytest.mark.parametrize(
    ("rest", "weight", "use"),
    [("", 0.6, "all"), (":0.25", 0.25, "all"), (":style", 0.6, "style"), (":1:content", 1.0, "content")],
)
def test_weight_and_use_follow_the_file(moss, rest, weight, use):
    (reference,) = made("--reference", f"{moss}{rest}", "--adapter", "ip").job.references
    assert (reference.weight, reference.use, reference.model) == (weight, use, "ip")


def test_a_name_with_colons_is_a_name(tmp_path, moss):
    path = tmp_path / "moss:0.5"
    try:
        path.write_bytes(moss.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    assert made("--reference", path).job.references[0].weight == 0.6
    assert made("--reference", f"{path}:0.2").job.references[0].weight == 0.2


def test_several_are_sent_with_the_job(moss, tmp_path):
    Image.new("L", (3, 3), 77).save(tmp_path / "grey.png")
    done = made("--reference", moss, "--reference", f"{tmp_path / 'grey.png'}:0.1")
    first, second = (done.tensors[reference.image] for reference in done.job.references)
    assert first.shape == (6, 8, 3)
    assert second.tolist() == np.full((3, 3, 3), 77).tolist()


class TestFilesSomebodyMayHave:
    def colours(self, path):
        done = made("--reference", path)
        pixels = done.tensors[done.job.references[0].image]
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        return pixels

    def test_a_printers_colours(self, tmp_path):
        Image.new("CMYK", (4, 4), (255, 0, 255, 0)).save(tmp_path / "print.jpg", quality=100)
        red, green, blue = self.colours(tmp_path / "print.jpg")[0, 0].astype(int)
        assert green > red + 50
        assert green > blue + 50

    def test_sixteen_bits(self, tmp_path):
        Image.fromarray(np.full((4, 4), 0x8080, np.uint16)).save(tmp_path / "deep.png")
        assert self.colours(tmp_path / "deep.png")[0, 0].tolist() == [128, 128, 128]

    def test_one_that_moves_is_its_first_picture(self, tmp_path):
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
        assert self.colours(tmp_path / "moving.png")[0, 0].tolist() == [255, 0, 0]

    def test_a_single_pixel(self, tmp_path):
        Image.new("RGBA", (1, 1), (1, 2, 3, 0)).save(tmp_path / "dot.png")
        assert self.colours(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]

    def test_thirty_thousand_pixels(self, tmp_path):
        Image.new("1", (30_000, 4)).save(tmp_path / "long.png")
        error = refusal("--reference", tmp_path / "long.png")
        assert (error.code, error.info.field) == (ErrorCode.TOO_LARGE, "reference[0]")

    @pytest.mark.parametrize("content", [b"", b"GIF89a not at all", b"\x89PNG\r\n\x1a\n cut off"])
    def test_no_picture_at_all(self, tmp_path, moss, content):
        (tmp_path / "broken.png").write_bytes(content)
        error = refusal("--reference", moss, "--reference", tmp_path / "broken.png")
        assert error.info.field == "reference[1]"

    def test_none_there(self, tmp_path):
        assert "gone.png" in refusal("--reference", tmp_path / "gone.png:0.5:style").info.message


def test_a_weight_beyond_all_measure(moss):
    assert refusal("--reference", f"{moss}:11").info.field == "job.references[0].weight"
    assert refusal("--reference", f"{moss}:nan").info.field == "job.references[0].weight"


def test_models_that_cannot_are_told(moss):
    error = refusal("--reference", moss, capabilities=Brush().capabilities())
    assert (error.code, error.info.field) == (ErrorCode.UNSUPPORTED, "job.references[0].model")
