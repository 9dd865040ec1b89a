"""Models that make control images of a photo: found, loaded, asked, refused; from the real classes at tiny size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from scumble_server.commands.models import as_table, text_of
from scumble_server.engine.conditioning.openpose import COLORS
from scumble_server.engine.detectors import Detectors
from scumble_server.engine.executor import EngineExecutor
from scumble_server.models.library_import import describe
from scumble_server.models.places import roots_of
from scumble_server.models.scan import scan
from scumble_server.service import JobCancelled
from scumble_shared.ade20k import COLOURS
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, ControlImagesJob, View
from scumble_shared.tensor import digest_of

from .conftest import CPU, Hooks, picture
from .test_conditioning import camera
from .tiny_detectors import NETWORKS, write_marigold, write_network

KINDS = {
    "depth-anything": "depth",
    "depth-anything-metric": "depth",
    "dpt": "depth",
    "marigold-normals": "normal",
    "marigold-depth": "depth",
    "segformer": "segmentation",
    "upernet": "segmentation",
    "vitpose": "openpose",
    "vitpose-plus": "openpose",
    "yolos": "people",
}
SIZE = (80, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("detectors") / "library"
    for name in NETWORKS:
        write_network(found / name, name)
    for kind in ("normals", "depth"):
        write_marigold(found / f"marigold-{kind}", kind)
        shutil.rmtree(found / f"marigold-{kind}-parts")
    return found


def entry(folder: Path, name: str):
    return next(one for one in scan((folder,), builtin=False).detectors if one.id == name)


def made(folder: Path, name: str, image, size=SIZE):
    return Detectors(CPU).control(entry(folder, name), 0, image, size, Hooks())


def own(folder: Path, name: str, image, **more):
    """The network's and the processor's own answer."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder / name, backend="pil")
    kind = json.loads((folder / name / "config.json").read_text())["architectures"][0]
    network = getattr(transformers, kind).from_pretrained(folder / name)
    with torch.inference_mode():
        return network(**processor(images=Image.fromarray(image), return_tensors="pt"), **more), processor


def say(path: Path, **more) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def forget(path: Path) -> None:
    """As the first versions of Marigold were."""
    said = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in said.items() if not key.startswith("default")}))


class TestInTheLibrary:
    def test_they_are_listed_with_their_kind_and_are_nothing_else(self, folder):
        index = scan((folder,), builtin=False)
        assert {one.id: one.kind for one in index.detectors} == KINDS
        assert (index.models, index.controlnets, index.unusable) == ((), (), ())
        told = {info.id: info.kinds for info in index.capabilities("CPU").detectors}
        assert told.pop("built-in") == ("canny", "lineart", "softedge", "scribble", "tile", "color")
        assert told == {name: (kind,) for name, kind in KINDS.items() if kind != "people"}
        assert describe(folder / "dpt") == ("detector", "")

    def test_the_command_lists_them(self, folder):
        index = scan((folder,), builtin=False)
        assert {one["id"]: one["kind"] for one in as_table(index)["detectors"]} == KINDS
        assert "DETECTOR" in text_of(index, (folder,))

    def test_they_are_found_in_the_hugging_face_cache(self, folder, tmp_path):
        shutil.copytree(folder / "dpt", tmp_path / "models--Intel--dpt-tiny" / "snapshots" / ("a" * 40))
        assert [root.name for root in roots_of(tmp_path)] == ["dpt-tiny"]
        assert [one.kind for one in scan((tmp_path,), builtin=False).detectors] == ["depth"]

    @pytest.mark.parametrize(
        ("name", "change", "reason"),
        [
            ("dpt", lambda it: (it / "preprocessor_config.json").unlink(), "preprocessor_config.json is missing"),
            ("dpt", lambda it: (it / "model.safetensors").write_bytes(b""), "dpt/model.safetensors"),
            ("dpt", lambda it: (it / "model.safetensors").rename(it / "pytorch_model.bin"), "can run code"),
            ("dpt", lambda it: say(it / "config.json", use_pretrained_backbone=True), "would fetch a part"),
            ("marigold-normals", lambda it: shutil.rmtree(it / "vae"), "vae has no .safetensors"),
            ("marigold-depth", lambda it: forget(it / "model_index.json"), "default_denoising_steps"),
        ],
    )
    def test_what_is_not_whole_is_listed_with_the_reason(self, folder, tmp_path, name, change, reason):
        shutil.copytree(folder / name, tmp_path / name)
        change(tmp_path / name)
        index = scan((tmp_path,), builtin=False)
        assert index.detectors == ()
        assert reason in index.unusable[0].reason
        with pytest.raises(ScumbleError) as caught:
            index.detector(Control("depth", detector=name), 1)
        assert (caught.value.code, caught.value.info.field) == (
            ErrorCode.MODEL_INVALID,
            "job.controls[1].detector",
        )

    def test_segmentation_of_other_things_than_ade20ks_is_refused(self, tmp_path):
        write_network(tmp_path / "segformer", "segformer", labels=19)
        (unusable,) = scan((tmp_path,), builtin=False).unusable
        assert "19 kinds of things" in unusable.reason

    def test_a_missing_one_is_told_with_what_to_get(self):
        for kind in ("depth", "normal", "segmentation", "openpose"):
            with pytest.raises(ScumbleError) as caught:
                scan((), builtin=False).detector(Control(kind, detector="auto"), 0)
            assert caught.value.code is ErrorCode.MODEL_MISSING
            assert caught.value.info.remedy.label.startswith("Get it: scumble download get ")

    def test_one_for_another_kind_is_refused_by_name(self, folder):
        with pytest.raises(ScumbleError) as caught:
            scan((folder,), builtin=False).detector(Control("normal", detector="dpt"), 0)
        assert caught.value.code is ErrorCode.MODEL_MISMATCH


class TestWhatItMakes:
    @pytest.mark.parametrize("name", ["depth-anything", "dpt"])
    def test_near_is_white_between_the_nearest_and_the_farthest(self, folder, name):
        image = picture(1, 96, 64)
        told, processor = own(folder, name, image)
        near = processor.post_process_depth_estimation(told, [(64, 96)])[0]["predicted_depth"]
        near = ((near - near.min()) / (near.max() - near.min()) * 255.0).numpy()
        shown = made(folder, name, image, (96, 64))
        assert (shown == shown[..., :1]).all()
        assert np.abs(shown[..., 0] - near).max() <= 0.51

    def test_distances_are_turned_round(self, folder):
        image = picture(1, 96, 64)
        told, processor = own(folder, "depth-anything-metric", image)
        far = processor.post_process_depth_estimation(told, [(64, 96)])[0]["predicted_depth"].numpy()
        shown = made(folder, "depth-anything-metric", image, (96, 64))[..., 0]
        assert shown.flat[far.argmin()] == 255
        assert shown.flat[far.argmax()] == 0

    @pytest.mark.parametrize("name", ["segformer", "upernet"])
    def test_things_have_the_colours_of_ade20k_unmixed(self, folder, name):
        image = picture(2, 96, 64)
        told, processor = own(folder, name, image)
        kinds = processor.post_process_semantic_segmentation(told, [(64, 96)])[0].numpy()
        shown = made(folder, name, image, (96, 64))
        palette = np.array(list(COLOURS.values()))
        assert (shown == palette[kinds]).all(axis=-1).mean() > 0.98  # but for ties at the borders of areas
        smaller = made(folder, name, image, (37, 25)).reshape(-1, 3)
        assert {tuple(color) for color in smaller} <= set(COLOURS.values())

    @pytest.mark.parametrize("name", ["vitpose", "vitpose-plus"])
    def test_points_of_a_person_are_where_the_network_finds_them(self, folder, name):
        image = picture(3, 192, 256)
        more = {"dataset_index": torch.tensor([0])} if name == "vitpose-plus" else {}
        boxes = [[[0.0, 0.0, 192.0, 256.0]]]
        processor = transformers.AutoImageProcessor.from_pretrained(folder / name, backend="pil")
        network = transformers.VitPoseForPoseEstimation.from_pretrained(folder / name)
        with torch.inference_mode():
            inputs = processor(images=Image.fromarray(image), boxes=boxes, return_tensors="pt")
            told = processor.post_process_pose_estimation(network(**inputs, **more), boxes=boxes)[0][0]["keypoints"]
        shown = made(folder, name, image, (192, 256))
        x, y = told[15].tolist()  # of COCO's, the left ankle
        if 0 <= x < 192 and 0 <= y < 256:
            assert tuple(shown[int(y), int(x)]) in COLORS
        assert shown.any()

    def test_people_are_found_one_by_one(self, folder):
        image = picture(3, 192, 256)
        told, processor = own(folder, "yolos", image)
        found = processor.post_process_object_detection(told, 0.5, [(256, 192)])[0]
        assert len(found["boxes"]) == 3
        boxes = [(x, y, right - x, bottom - y) for x, y, right, bottom in found["boxes"].tolist()]
        processor = transformers.AutoImageProcessor.from_pretrained(folder / "vitpose", backend="pil")
        network = transformers.VitPoseForPoseEstimation.from_pretrained(folder / "vitpose")
        shown = Detectors(CPU).control(entry(folder, "vitpose"), 0, image, (192, 256), Hooks(), entry(folder, "yolos"))
        alone = made(folder, "vitpose", image, (192, 256))
        assert (shown != alone).any()
        for box in boxes:
            inside = [[list(box)]]
            with torch.inference_mode():
                inputs = processor(images=Image.fromarray(image), boxes=inside, return_tensors="pt")
                points = processor.post_process_pose_estimation(network(**inputs), boxes=inside)[0][0]["keypoints"]
            drawn = [tuple(shown[int(y), int(x)]) for x, y in points.tolist() if 0 <= x < 192 and 0 <= y < 256]
            assert drawn
            assert (0, 0, 0) not in drawn

    def test_what_finds_no_people_is_refused(self, folder, tmp_path):
        shutil.copytree(folder / "yolos", tmp_path / "yolos")
        config = json.loads((tmp_path / "yolos/config.json").read_text())
        (tmp_path / "yolos/config.json").write_text(json.dumps({**config, "id2label": {"0": "cat", "1": "chair"}}))
        assert "no people" in scan((tmp_path,), builtin=False).unusable[0].reason

    def test_normals_are_turned_to_what_controlnets_know(self, folder):
        shown = made(folder, "marigold-normals", picture(4, 64, 64), (64, 64))
        assert shown.shape == (64, 64, 3)
        unit = np.linalg.norm(shown.astype(float) / 127.5 - 1.0, axis=-1)
        assert np.abs(unit - 1.0).mean() < 0.05

    def test_marigold_depth(self, folder):
        shown = made(folder, "marigold-depth", picture(4, 64, 64), (64, 64))
        assert (shown.min(), shown.max()) == (0, 255)

    @pytest.mark.parametrize("name", ["dpt", "segformer", "marigold-normals"])
    @pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3)])
    def test_pictures_of_any_shape(self, folder, name, size):
        assert made(folder, name, picture(5, *size), (40, 24)).shape == (24, 40, 3)

    def test_the_same_picture_is_looked_at_once(self, folder):
        class Counting(Hooks):
            looks = 0

            def progress(self, stage, *more, **others):
                self.looks += stage == "detecting"

        detectors, hooks, dpt = Detectors(CPU), Counting(), entry(folder, "dpt")
        first, again = (detectors.control(dpt, 0, picture(1), SIZE, hooks) for _ in range(2))
        other = detectors.control(dpt, 0, picture(2), SIZE, hooks)
        assert (first == again).all()
        assert (first != other).any()
        assert hooks.looks == 2

    def test_it_stops_before_it_looks(self, folder):
        class Stopping(Hooks):
            def check_cancelled(self):
                raise JobCancelled

        with pytest.raises(JobCancelled):
            Detectors(CPU).control(entry(folder, "dpt"), 0, picture(1), SIZE, Stopping())

    def test_weights_of_another_network_are_refused_with_the_controls_field(self, folder, tmp_path):
        shutil.copytree(folder / "dpt", tmp_path / "dpt")
        config = json.loads((tmp_path / "dpt/config.json").read_text())
        (tmp_path / "dpt/config.json").write_text(json.dumps({**config, "hidden_size": 24}))
        with pytest.raises(ScumbleError) as caught:
            made(tmp_path, "dpt", picture(1))
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_INVALID, "job.controls[0].detector")


def test_a_job_shows_what_a_photo_tells_and_who_told_it(folder):
    executor = EngineExecutor((folder,), "cpu")
    photo = picture(6, 100, 70)
    name = digest_of(photo)
    controls = (
        Control("depth", image=name, detector="auto"),
        Control("depth", image=name, detector="dpt"),
        Control("canny", image=name, detector="auto"),
        Control("segmentation", detector="upernet"),  # of the job's own picture
        Control("tile"),
        Control("tile", image=name),
    )
    job = ControlImagesJob(controls, View(camera()), *SIZE, init_image=name)
    output = executor.run(job, {name: photo}, Hooks())
    images = [output.tensors[f"control/{number}"] for number in range(len(controls))]
    assert {image.shape for image in images} == {(48, 80, 3)}
    assert (images[4] == images[5]).all()
    assert output.provenance["detectors"] == ["depth-anything", "dpt", "built-in", "upernet", "", ""]


def test_memory_that_runs_out_has_it_given_back(folder):
    detectors = Detectors(CPU)
    assert detectors.clear() is False
    detectors.control(entry(folder, "dpt"), 0, picture(1), SIZE, Hooks())
    assert detectors.clear() is True
    assert detectors.clear() is False
