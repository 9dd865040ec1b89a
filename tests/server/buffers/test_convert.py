"""Files of other programs, held to the conventions of a View by scenes whose truth is known."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from PIL import Image
from scumble_server.buffers.convert import read_color, read_depth, read_mask, read_normal
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS

HEIGHT, WIDTH = 6, 8
PLANE = np.linspace(2.0, 5.0, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
BLENDER_BACKGROUND = np.float32(1e10)


def blender_exr(path: Path, *, multipart: bool, depth=PLANE, normal=None) -> Path:
    """As Blender 4.5 (one part) and 5.2 (a part per pass) write a multilayer file."""
    normal = np.zeros((HEIGHT, WIDTH, 3), np.float32) if normal is None else normal
    grey = np.zeros((HEIGHT, WIDTH), np.float32)
    passes = {
        "ViewLayer.Combined": dict.fromkeys("RGBA", grey),
        "ViewLayer.Depth": {"Z": depth},
        "ViewLayer.Normal": {axis: np.ascontiguousarray(normal[..., i]) for i, axis in enumerate("XYZ")},
    }
    if multipart:
        parts = [
            OpenEXR.Part({}, {f"{name}.{channel}": pixels for channel, pixels in channels.items()}, name)
            for name, channels in passes.items()
        ]
        OpenEXR.File(parts).write(str(path))
    else:
        flat = {
            f"{name}.{channel}": pixels for name, channels in passes.items() for channel, pixels in channels.items()
        }
        OpenEXR.File({"type": OpenEXR.scanlineimage}, flat).write(str(path))
    return path


def refusal(function, *arguments, **keywords) -> ScumbleError:
    with pytest.raises(ScumbleError) as refused:
        function(*arguments, **keywords)
    return refused.value


@pytest.mark.parametrize("multipart", [False, True], ids=["Blender 4.5", "Blender 5.2"])
class TestBlendersMultilayerFiles:
    def test_depth_is_planar_and_its_background_infinite(self, tmp_path, multipart):
        depth = PLANE.copy()
        depth[0, 0] = BLENDER_BACKGROUND
        read = read_depth(blender_exr(tmp_path / "a.exr", multipart=multipart, depth=depth))
        assert read[0, 0] == np.inf
        np.testing.assert_array_equal(read.ravel()[1:], PLANE.ravel()[1:])

    def test_world_normals_are_turned_into_the_cameras_view(self, tmp_path, multipart):
        camera = Camera(look_at((0, -5, 0), (0, 0, 0)), perspective(0.7, 1, 0.1, 100), WIDTH, HEIGHT, 0.1, 100)
        towards_the_camera, up = (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)
        normal = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        normal[1, 1], normal[2, 2] = towards_the_camera, up
        read = read_normal(blender_exr(tmp_path / "a.exr", multipart=multipart, normal=normal), "world", camera)
        np.testing.assert_allclose(read[1, 1], (0, 0, 1), atol=1e-6)
        np.testing.assert_allclose(read[2, 2], (0, 1, 0), atol=1e-6)
        assert not read[0].any()

    def test_world_normals_without_a_camera_are_refused(self, tmp_path, multipart):
        error = refusal(read_normal, blender_exr(tmp_path / "a.exr", multipart=multipart), "world")
        assert error.info.field == "normal"
        assert "--camera" in error.info.remedy.label


class TestOtherExrFiles:
    def write(self, path, channels, header=None):
        OpenEXR.File({"type": OpenEXR.scanlineimage, **(header or {})}, channels).write(str(path))
        return path

    def test_a_bare_z_channel_is_depth_at_half_precision_too(self, tmp_path):
        path = self.write(tmp_path / "z.exr", {"Z": PLANE.astype(np.float16)})
        np.testing.assert_array_equal(read_depth(path), PLANE.astype(np.float16).astype(np.float32))

    def test_an_rgb_file_given_as_normal_is_taken_as_such(self, tmp_path):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        pixels[..., 2] = 1.0
        path = self.write(tmp_path / "n.exr", {"RGB": pixels})
        np.testing.assert_array_equal(read_normal(path), pixels)

    def test_a_file_without_the_layer_says_which_it_has(self, tmp_path):
        path = self.write(tmp_path / "c.exr", {"RGB": np.zeros((HEIGHT, WIDTH, 3), np.float32)})
        error = refusal(read_depth, path)
        assert error.code is ErrorCode.INVALID_FIELD
        assert "R" in error.info.message
        assert "Depth pass" in error.info.remedy.label

    @pytest.mark.parametrize("keep", [0, 4, 100, 300])
    def test_a_file_cut_off_is_an_error_not_a_picture(self, tmp_path, keep):
        whole = self.write(tmp_path / "z.exr", {"Z": PLANE}).read_bytes()
        cut = tmp_path / "cut.exr"
        cut.write_bytes(whole[:keep])
        assert refusal(read_depth, cut).code is ErrorCode.INVALID_FIELD

    def test_something_else_by_that_name_is_refused(self, tmp_path):
        path = tmp_path / "text.exr"
        path.write_text("not a picture")
        assert "text.exr" in refusal(read_depth, path).info.message

    def test_a_missing_file_is_refused(self, tmp_path):
        assert refusal(read_depth, tmp_path / "none.exr").code is ErrorCode.INVALID_FIELD


class TestDepth:
    def save(self, path, array):
        np.save(path, array)
        return path

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint16])
    def test_npy_of_any_number_type(self, tmp_path, dtype):
        values = np.array([[1, 2], [3, 4]], dtype)
        read = read_depth(self.save(tmp_path / "d.npy", values))
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, [[1, 2], [3, 4]])

    def test_one_channel_is_as_good_as_none(self, tmp_path):
        assert read_depth(self.save(tmp_path / "d.npy", PLANE[..., None])).shape == PLANE.shape

    def test_inverse_depth_is_one_over_it(self, tmp_path):
        read = read_depth(self.save(tmp_path / "d.npy", np.array([[0.5, 0.25, 0.0]])), "inverse")
        np.testing.assert_array_equal(read, [[2.0, 4.0, np.inf]])

    @pytest.mark.parametrize(("mode", "top"), [("L", 255), ("I;16", 65535)])
    def test_a_grey_picture_is_inverse_depth(self, tmp_path, mode, top):
        path = tmp_path / "d.png"
        Image.fromarray(np.array([[top, top // 5, 0]], np.uint8 if mode == "L" else np.uint16)).save(path)
        np.testing.assert_allclose(read_depth(path, "inverse"), [[1.0, 5.0, np.inf]], rtol=1e-6)

    @pytest.mark.parametrize(
        ("values", "word"),
        [
            (np.array([[1.0, np.nan]]), "NaN"),
            (np.array([[1.0, 0.0]]), "zero"),
            (np.array([[1.0, -2.0]]), "zero"),
            (np.zeros((2, 2, 3)), "shape"),
            (np.zeros(5), "shape"),
            (np.zeros((2, 2), np.complex64), "complex"),
            (np.zeros((0, 4)), "no pixels"),
            (np.array([["a"]]), "<U1"),
        ],
    )
    def test_what_is_no_depth_is_refused_by_name(self, tmp_path, values, word):
        error = refusal(read_depth, self.save(tmp_path / "d.npy", values))
        assert error.info.field == "depth"
        assert word in error.info.message

    def test_pickled_objects_are_never_loaded(self, tmp_path):
        path = tmp_path / "d.npy"
        np.save(path, np.array([[{}]], dtype=object), allow_pickle=True)
        assert refusal(read_depth, path).code is ErrorCode.INVALID_FIELD

    def test_a_picture_is_no_planar_depth(self, tmp_path):
        path = tmp_path / "d.png"
        Image.new("L", (4, 4)).save(path)
        assert "--depth-kind inverse" in refusal(read_depth, path).info.remedy.label

    def test_a_coloured_picture_is_no_depth(self, tmp_path):
        path = tmp_path / "d.png"
        Image.new("RGB", (4, 4), (1, 2, 3)).save(path)
        assert "grey" in refusal(read_depth, path, "inverse").info.message

    def test_negative_inverse_depth_is_refused(self, tmp_path):
        assert "0 or more" in refusal(read_depth, self.save(tmp_path / "d.npy", -PLANE), "inverse").info.message

    def test_a_side_over_the_limit_is_refused_before_it_is_read(self, tmp_path):
        side = DEFAULT_LIMITS.image_side
        assert read_depth(self.save(tmp_path / "fits.npy", np.ones((1, side)))).shape == (1, side)
        assert refusal(read_depth, self.save(tmp_path / "d.npy", np.ones((1, side + 1)))).code is ErrorCode.TOO_LARGE


class TestNormal:
    def test_a_picture_of_them(self, tmp_path):
        path = tmp_path / "n.png"
        right, up, viewer, black, grey = (255, 128, 128), (128, 255, 128), (128, 128, 255), (0, 0, 0), (128, 128, 128)
        Image.fromarray(np.array([[right, up, viewer, black, grey]], np.uint8)).save(path)
        expected = [[(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0)]]
        np.testing.assert_allclose(read_normal(path), expected, atol=0.01)

    def test_come_out_as_unit_vectors(self, tmp_path):
        np.save(tmp_path / "n.npy", np.full((2, 2, 3), 0.5))
        np.testing.assert_allclose(read_normal(tmp_path / "n.npy"), math.sqrt(1 / 3), rtol=1e-6)

    @pytest.mark.parametrize("values", [np.zeros((2, 2)), np.zeros((2, 2, 4)), np.full((2, 2, 3), np.nan)])
    def test_what_is_no_normal_is_refused(self, tmp_path, values):
        np.save(tmp_path / "n.npy", values)
        assert refusal(read_normal, tmp_path / "n.npy").info.field == "normal"

    def test_a_grey_picture_is_refused(self, tmp_path):
        Image.new("L", (4, 4)).save(tmp_path / "n.png")
        assert "three channels" in refusal(read_normal, tmp_path / "n.png").info.message


class TestPictures:
    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
    def test_of_any_kind_become_rgb(self, tmp_path, mode):
        path = tmp_path / "p.png"
        Image.new(mode, (4, 3)).save(path)
        picture = read_color(path, "init_image")
        assert (picture.shape, picture.dtype) == ((3, 4, 3), np.uint8)

    def test_a_mask_is_the_brightness(self, tmp_path):
        Image.fromarray(np.array([[(255, 255, 255), (0, 0, 0)]], np.uint8)).save(tmp_path / "m.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), [[255, 0]])

    def test_a_broken_one_is_refused(self, tmp_path):
        path = tmp_path / "p.png"
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:1500])
        assert refusal(read_color, path, "init_image").info.field == "init_image"

    @pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("L", "jpg"), ("RGBA", "webp"), ("P", "png")])
    def test_colours_are_those_that_are_seen(self, tmp_path, mode, suffix):
        """A printer's red, too."""
        red = Image.new("RGB", (16, 16), (250, 10, 10) if mode != "L" else (90, 90, 90))
        path = tmp_path / f"p.{suffix}"
        red.convert(mode).save(path, **({"lossless": True} if suffix == "webp" else {}))
        seen = read_color(path, "init_image").reshape(-1, 3).mean(0)
        np.testing.assert_allclose(seen, red.getpixel((0, 0)), atol=8)

    def test_sixteen_bits_are_scaled_not_cut(self, tmp_path):
        grey = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(3, 0)
        Image.fromarray(grey).save(tmp_path / "p.png")
        seen = read_color(tmp_path / "p.png", "init_image")
        np.testing.assert_allclose(seen[0, :, 0], np.arange(256), atol=1)

    @pytest.mark.parametrize("suffix", ["png", "webp"])
    def test_of_a_moving_one_the_first_is_taken(self, tmp_path, suffix):
        first, second = (Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 0, 200)))
        path = tmp_path / f"p.{suffix}"
        first.save(path, save_all=True, append_images=[second], duration=100, lossless=True)
        seen = read_color(path, "init_image")
        assert seen.shape == (8, 8, 3)
        assert seen[0, 0, 0] > 150 > seen[0, 0, 2]

    def test_one_pixel_is_a_picture(self, tmp_path):
        Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "p.png")
        assert read_color(tmp_path / "p.png", "init_image").tolist() == [[[1, 2, 3]]]

    @pytest.mark.parametrize("size", [(30_000, 1), (30_000, 30_000)])
    def test_thirty_thousand_pixels_are_refused_before_they_are_read(self, tmp_path, size):
        path = tmp_path / "p.png"
        path.write_bytes(png_head(*size))
        error = refusal(read_color, path, "init_image")
        assert (error.code, error.info.field) == (ErrorCode.TOO_LARGE, "init_image")
        assert f"at most {DEFAULT_LIMITS.image_side}" in error.info.message
        assert "smaller" in error.info.remedy.label

    @pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP"])
    def test_other_formats_are_refused_with_those_that_are_read(self, tmp_path, kind):
        Image.new("RGB", (4, 4)).save(tmp_path / "p.png", kind)
        assert "PNG, JPEG, WEBP" in refusal(read_color, tmp_path / "p.png", "init_image").info.message


def png_head(width: int, height: int) -> bytes:
    """Of a picture whose pixels don't follow."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
