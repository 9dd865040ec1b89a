"""What controls show of pictures: the colours themselves, lines found without a model, and which picture is taken."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scipy import ndimage
from scumble_server.engine.conditioning import color_image, control_image, tile_image
from scumble_server.engine.conditioning.buffers import ViewBuffers
from scumble_server.engine.conditioning.detect import BUILT_IN, detected
from scumble_server.engine.control_pictures import Shown, control_pictures
from scumble_server.engine.executor import EngineExecutor
from scumble_shared.detectors import BUILT_IN_DETECTED
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, ControlImagesJob, GenerateJob, View
from scumble_shared.tensor import digest_of

from .conftest import Hooks, picture
from .test_conditioning import camera
from .test_openpose import t_pose, view


@pytest.fixture(scope="module")
def executor() -> EngineExecutor:
    return EngineExecutor((), "cpu")


LINES = ("canny", "lineart", "softedge", "scribble")


def square(side=128, shade=255) -> np.ndarray:
    """Dark on bright, in the middle."""
    image = np.full((side, side, 3), shade, np.uint8)
    image[side // 4 : -side // 4, side // 4 : -side // 4] = 0
    return image


class TestColours:
    def test_a_tile_is_the_picture_itself(self):
        values = torch.rand(2, 3, 24, 40)
        assert torch.equal(tile_image(values), values)
        assert tile_image(values, (20, 12)).shape == (2, 3, 12, 20)

    def test_a_colour_grid_has_the_mean_of_each_square(self):
        values = torch.rand(1, 3, 128, 192)
        grid = color_image(values)
        assert grid.shape == values.shape
        for row in (0, 64):
            for column in (0, 64, 128):
                block = (..., slice(row, row + 64), slice(column, column + 64))
                mean = values[block].mean(dim=(2, 3), keepdim=True)
                assert torch.allclose(grid[block], mean.expand(-1, -1, 64, 64), atol=1e-6)

    def test_squares_cut_off_by_the_edge_keep_their_own_mean(self):
        values = torch.zeros(1, 3, 70, 100)
        values[..., 64:, :] = 1.0
        grid = color_image(values)
        assert grid.shape == (1, 3, 70, 100)
        assert grid[..., 64:, :].min() == 1.0
        assert grid[..., :64, :].max() == 0.0

    @pytest.mark.parametrize("kind", ["tile", "color"])
    def test_of_a_view_they_are_its_colours(self, kind):
        colors = np.dstack([picture(1, 64, 64), np.full((64, 64, 1), 255, np.uint8)])
        shown = control_image(Control(kind), ViewBuffers(camera(), color=colors), 64, 64)
        assert (shown == detected(kind, colors[..., :3])).all()
        with pytest.raises(ScumbleError) as caught:
            control_image(Control(kind), ViewBuffers(camera()), 8, 8)
        assert caught.value.info.field == "job.view.color"


class TestLines:
    def test_what_the_built_in_detector_knows_is_said_once(self):
        assert set(BUILT_IN) == set(BUILT_IN_DETECTED)

    @pytest.mark.parametrize("kind", LINES)
    def test_an_even_picture_has_none(self, kind):
        assert not detected(kind, np.full((64, 48, 3), 130, np.uint8)).any()

    @pytest.mark.parametrize("kind", LINES)
    def test_they_are_where_colours_change_and_nowhere_else(self, kind):
        lines = detected(kind, square())[..., 0]
        inner = np.zeros((128, 128), bool)
        inner[32:96, 32:96] = True
        edge = ndimage.binary_dilation(inner, iterations=6) & ~ndimage.binary_erosion(inner, iterations=6)
        assert lines[edge].max() > 200
        if kind != "lineart":  # which fills what is dark
            assert not lines[~edge].any()
        assert not lines[:20].any()

    def test_canny_is_one_pixel_wide_and_closed(self):
        lines = detected("canny", square())[..., 0] > 0
        assert set(lines.sum(axis=1)[40:90]) == {2}
        _, count = ndimage.label(~lines)
        assert count == 2  # within and without

    def test_canny_follows_the_colour_that_changes_even_where_brightness_does_not(self):
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, :16], image[:, 16:] = (0, 130, 0), (255, 0, 0)
        assert detected("canny", image).any()

    def test_weak_edges_count_where_they_go_on_from_strong_ones(self):
        image = np.full((64, 64, 3), 100, np.uint8)
        image[:32, 32:], image[32:, 32:] = 160, 135  # sums of gradients of 240 and 140
        assert detected("canny", image)[50].any()
        image[:32, 32:] = 135
        assert not detected("canny", image).any()

    def test_lineart_is_what_is_darker_than_around(self):
        paper = np.full((256, 256, 3), 240, np.uint8)
        paper[:, 127:129] = 20
        lines = detected("lineart", paper)[..., 0]
        assert lines[:, 127:129].min() > 100
        assert lines[:, :100].max() == 0
        assert not detected("lineart", 255 - paper)[:, 127:129].any()

    def test_softer_edges_are_darker(self):
        sharp = np.zeros((128, 256, 3), np.float32)
        sharp[:, 64:192] = 200.0
        sharp[:, 128:] = ndimage.gaussian_filter1d(sharp, 12.0, axis=1)[:, 128:]
        lines = detected("softedge", sharp.astype(np.uint8))[64, :, 0].astype(int)
        assert lines[:128].max() > 2 * lines[140:].max() > 0

    @pytest.mark.parametrize("kind", BUILT_IN_DETECTED)
    @pytest.mark.parametrize("size", [(1, 1), (1, 90), (300, 2)])
    def test_of_pictures_of_any_shape(self, kind, size):
        image = picture(3, *size)
        assert detected(kind, image).shape == image.shape
        assert detected(kind, image).dtype == np.uint8


class TestWhichPicture:
    """An own picture comes first, then the job's, then the view's colours."""

    def shown(self, executor, controls, tensors=(), init=None, **buffers):
        stored = {digest_of(array): array for array in tensors}
        seen = View(camera(), **buffers)
        job = ControlImagesJob(controls, seen, 64, 64, init_image=init)
        output = executor.run(job, stored, Hooks())
        return [output.tensors[f"control/{number}"] for number in range(len(controls))], output

    def test_in_that_order(self, executor):
        own, start = picture(1, 64, 64), picture(2, 64, 64)
        colors = np.dstack([picture(3, 64, 64), np.full((64, 64), 255, np.uint8)])
        names = [digest_of(array) for array in (own, start, colors)]
        controls = (Control("tile", image=names[0]), Control("tile"))
        all_of_them = [own, start, colors]
        images, _ = self.shown(executor, controls, all_of_them, names[1], color=names[2])
        assert [(image == expected).all() for image, expected in zip(images, (own, start), strict=True)] == [True, True]
        (image,), _ = self.shown(executor, controls[1:], all_of_them, None, color=names[2])
        assert (image == colors[..., :3]).all()

    def test_a_detector_looks_at_the_same(self, executor):
        start = picture(2, 64, 64)
        controls = tuple(Control(kind, detector="built-in") for kind in LINES)
        images, output = self.shown(executor, controls, [start], digest_of(start))
        assert all((image == detected(kind, start)).all() for image, kind in zip(images, LINES, strict=True))
        assert output.provenance["detectors"] == ["built-in"] * 4

    def test_what_was_found_is_kept_for_the_same_picture_kind_and_size(self):
        photo, other = picture(1, 64, 64), picture(2, 64, 64)
        names = [digest_of(array) for array in (photo, other)]
        shown = Shown({names[0]: photo, names[1]: other}, detect=lambda *_: pytest.fail("no model is asked"))

        def found(kind, name, side=64):
            return control_pictures([Control(kind, image=name, detector="auto")], shown, side, side).shown[0]

        first = found("canny", names[0])
        assert found("canny", names[0]) is first
        assert found("canny", names[1]) is not first
        assert found("scribble", names[0]) is not first
        assert found("canny", names[0], 32).shape == (32, 32, 3)
        assert (first == detected("canny", photo)).all()

    def test_without_any_it_is_told(self, executor):
        for control in (Control("tile"), Control("canny", detector="auto")):
            with pytest.raises(ScumbleError) as caught:
                self.shown(executor, (control,))
            assert caught.value.code is ErrorCode.INVALID_FIELD

    def test_a_missing_model_is_told_with_what_to_get(self, executor):
        photo = picture(1, 64, 64)
        for detector in ("auto", "built-in"):
            with pytest.raises(ScumbleError) as caught:
                self.shown(executor, (Control("depth", image=digest_of(photo), detector=detector),), [photo])
            assert caught.value.code is ErrorCode.MODEL_MISSING
            assert caught.value.info.field == "job.controls[0].detector"
            assert "scumble download get depth-anything/" in caught.value.info.remedy.label

    def test_a_pose_nobody_sees_is_told(self, executor):
        behind = View(view(), poses=(t_pose(x=50.0),))
        job = ControlImagesJob((Control("openpose"),), behind, 64, 64)
        with pytest.raises(ScumbleError) as caught:
            executor.run(job, {}, Hooks())
        assert caught.value.code is ErrorCode.SCENE
        there = View(view(), poses=(t_pose(),))
        assert (
            executor.run(ControlImagesJob((Control("openpose"),), there, 64, 64), {}, Hooks())
            .tensors["control/0"]
            .any()
        )

    def test_sixteen_bits_and_grey_are_refused_by_the_controls_field(self, executor):
        for bad in (np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8), np.uint8)):
            with pytest.raises(ScumbleError) as caught:
                self.shown(executor, (Control("canny", image=digest_of(bad), detector="auto"),), [bad])
            assert caught.value.info.field == "job.controls[0].image"


def test_a_generation_is_steered_by_a_photo_as_by_the_image_made_of_it(models_folder, tmp_path):
    shutil.copytree(models_folder / "tiny" / "controlnet_depth", tmp_path / "edges")
    said = {"family": "starter", "control_kinds": ["canny"]}
    (tmp_path / "edges" / "scumble_model.json").write_text(json.dumps(said))
    executor = EngineExecutor((models_folder, tmp_path), "cpu")
    photo = picture(5, 64, 64)
    made = detected("canny", photo)
    stored = {digest_of(array): array for array in (photo, made)}

    def painted(*controls):
        job = GenerateJob("moss", model="tiny", width=64, height=64, num_inference_steps=2, controls=controls)
        return executor.run(job, stored, Hooks())

    found = painted(Control("canny", image=digest_of(photo), detector="auto"))
    ready = painted(Control("canny", image=digest_of(made)))
    assert (found.tensors["image/0"] == ready.tensors["image/0"]).all()
    assert (found.tensors["image/0"] != painted().tensors["image/0"]).any()
    assert found.provenance["detectors"] == ["built-in"]
    assert "detectors" not in ready.provenance
