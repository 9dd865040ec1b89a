"""The list of reference pictures: files and images in it, what it asks of jobs, and pictures that can't be shown."""

from __future__ import annotations

import importlib
import struct
import zlib

import bpy
import numpy as np
import pytest
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Reference, TextureJob
from scumble_shared.messages import AdapterInfo, Capabilities, ModelInfo
from scumble_shared.tensor import digest_of

MODULE = "bl_ext.user_default.scumble"
MODEL = ModelInfo("small", "Small", "tiny", "euler", 20, 7.0, 64, 64, takes_references=True)
OFFER = Capabilities(
    models=(MODEL, ModelInfo("flow", "Flow", "flow", "euler", 20, 7.0, 64, 64)),
    adapters=(AdapterInfo("ip", "Plain Adapter", "tiny"), AdapterInfo("ip-huge", "Huge Adapter", "huge")),
)


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def scene(extension, empty_scene, part):
    session = part("state").session()
    session.capabilities = OFFER
    empty_scene.scumble.model_id = "small"
    yield empty_scene
    session.capabilities = Capabilities()


def image(name="Moss", width=3, height=2, **settings) -> bpy.types.Image:
    """Red goes up to the right, green up, and blue is a half."""
    made = bpy.data.images.new(name, width, height, **settings)
    across, up = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([across, up, np.full_like(up, 0.5), np.ones_like(up)], axis=2).astype(np.float32)
    made.pixels.foreach_set(pixels.ravel())
    return made


def asked(part, scene, **settings):
    tensors = {}
    return part("references.request").references_of(scene, tensors, **settings), tensors


def refused(part, scene) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        asked(part, scene)
    assert caught.value.info.field == "references"
    return caught.value


def add(scene, picture, **settings):
    entry = scene.scumble_references.pictures.add()
    entry.image = picture
    for name, value in settings.items():
        setattr(entry, name, value)
    return entry


class TestWhatAJobHas:
    def test_rows_from_the_top_in_eight_bits(self, scene, part):
        add(scene, image())
        (reference,), tensors = asked(part, scene)
        pixels = tensors[reference.image]
        assert (pixels.dtype, pixels.shape) == (np.uint8, (2, 3, 3))
        assert pixels[0, 0].tolist() == [0, 255, 128]
        assert pixels[1, 2].tolist() == [255, 0, 128]

    def test_settings_of_each(self, scene, part):
        add(scene, image(), weight=0.25, use="style", start=0.125, end=0.5, adapter_id="ip", mask=image("Where", 4, 4))
        add(scene, image("Second"))
        (first, second), tensors = asked(part, scene)
        assert (first.weight, first.use, first.start, first.end) == (0.25, "style", 0.125, 0.5)
        assert first.model == "ip"
        assert tensors[first.mask].shape == (4, 4)
        assert second == Reference(second.image, weight=pytest.approx(0.6))

    def test_what_is_off_or_empty_is_left_out(self, scene, part):
        add(scene, image(), enabled=False)
        add(scene, None)
        assert asked(part, scene) == ((), {})

    def test_masks_have_no_place_in_many_views(self, scene, part):
        add(scene, image(), mask=image("Where"))
        (reference,), tensors = asked(part, scene, masks=False)
        assert reference.mask is None
        assert list(tensors) == [reference.image]

    def test_light_becomes_the_colours_of_a_screen(self, scene, part):
        add(scene, image(float_buffer=True))
        (reference,), tensors = asked(part, scene)
        assert tensors[reference.image][0, 0, 2] == round(255 * (1.055 * 0.5 ** (1 / 2.4) - 0.055))

    def test_a_single_pixel(self, scene, part):
        add(scene, image(width=1, height=1))
        (reference,), tensors = asked(part, scene)
        assert tensors[reference.image].shape == (1, 1, 3)

    def test_live_mode_does_not_read_it_again(self, scene, part):
        add(scene, image())
        (first,), before = asked(part, scene)
        (second,), after = asked(part, scene, fresh=False)
        assert after[second.image] is before[first.image]

    def test_live_mode_notices_what_is_asked(self, scene, part):
        key = part("references.request").references_key
        entry = add(scene, image())
        keys = [key(scene)]
        for name, value in (("weight", 0.1), ("use", "content"), ("image", image("Other")), ("enabled", False)):
            setattr(entry, name, value)
            keys.append(key(scene))
        assert len(set(keys)) == len(keys)


class TestPicturesThatCannotBeShown:
    def test_a_file_that_is_gone(self, scene, part, tmp_path):
        path = tmp_path / "gone.png"
        image().save(filepath=str(path))
        picture = bpy.data.images.load(str(path))
        path.unlink()
        picture.reload()
        add(scene, picture)
        error = refused(part, scene)
        assert error.code is ErrorCode.SCENE
        assert "missing or damaged" in error.info.message

    def test_a_file_that_is_no_picture(self, scene, tmp_path, part):
        path = tmp_path / "words.png"
        path.write_bytes(b"not a picture at all")
        bpy.ops.scumble.reference_open(filepath=str(path), directory=str(tmp_path), files=[{"name": path.name}])
        assert "words.png" in refused(part, scene).info.message

    def test_one_over_the_limit(self, scene, part, tmp_path):
        path = tmp_path / "long.png"
        path.write_bytes(grey_png(30_000, 2))
        add(scene, bpy.data.images.load(str(path)))
        assert refused(part, scene).code is ErrorCode.TOO_LARGE

    def test_one_that_moves(self, scene, part):
        picture = image()
        picture.source = "SEQUENCE"
        add(scene, picture)
        assert "one picture" in refused(part, scene).info.message


def grey_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class TestTheList:
    def test_files_and_images_come_and_go(self, scene, tmp_path):
        for name in ("one", "two"):
            image(name).save(filepath=str(tmp_path / f"{name}.png"))
        names = [{"name": "one.png"}, {"name": "two.png"}]
        bpy.ops.scumble.reference_open(filepath="", directory=str(tmp_path), files=names)
        bpy.ops.scumble.reference_add(image_name="one")
        pictures = scene.scumble_references.pictures
        assert [entry.image.name for entry in pictures] == ["one.png", "two.png", "one"]
        bpy.ops.scumble.reference_remove(index=1)
        assert [entry.image.name for entry in pictures] == ["one.png", "one"]
        assert bpy.ops.scumble.reference_remove(index=7) == {"CANCELLED"}
        with pytest.raises(RuntimeError, match="no image"):
            bpy.ops.scumble.reference_add(image_name="nothing")

    def test_adapters_of_the_model_are_offered(self, scene, part):
        entry = add(scene, image())
        items = part("references.choices").adapter_items(entry, None)
        assert [item[1] for item in items] == ["Automatic", "Plain Adapter"]
        entry.adapter = "ip"
        assert entry.adapter_id == "ip"
        entry.adapter = "AUTOMATIC"
        assert entry.adapter_id == ""
        entry.adapter_id = "ip-huge"
        assert entry.adapter == "ip-huge", "what was chosen stays, marked as not offered"

    def test_models_that_cannot_are_told(self, scene, part):
        why_none = part("references.choices").why_none
        assert why_none("small") == ""
        assert "Flow can't" in why_none("flow")
        part("state").session().capabilities = Capabilities(models=OFFER.models)
        assert "no IP-Adapter for Small" in why_none("small")

    def test_the_button_of_an_error_turns_off_the_one_it_is_about(self, scene):
        entries = [add(scene, image(), enabled=enabled) for enabled in (False, True, True)]
        bpy.ops.scumble.remove_job_reference(index="1")
        assert [entry.enabled for entry in scene.scumble_references.pictures] == [False, True, False]
        assert len(entries) == 3


class TestSettingsOutOfAPicture:
    def test_those_of_the_list_act_as_they_did_and_others_do_not(self, scene, part):
        take = part("references.request").take_references
        first, second = add(scene, image("First", 5, 4)), add(scene, image("Second"))
        (name,) = asked_of(part, first)
        assert take(scene, (Reference(name, "ip", 0.25, "content", 0.125, 0.5),))
        first, second = scene.scumble_references.pictures
        assert (first.enabled, second.enabled) == (True, False)
        assert (first.weight, first.use, first.adapter_id, first.start, first.end) == (
            0.25,
            "content",
            "ip",
            0.125,
            0.5,
        )
        assert not take(scene, (Reference("f" * 64),))
        assert not any(entry.enabled for entry in scene.scumble_references.pictures)


class TestTexturesOnceMore:
    def test_pictures_are_found_by_what_they_show(self, scene, part):
        known = part("references.request").known_pictures
        entry = add(scene, image(), enabled=False)
        (name,) = asked_of(part, entry)
        job = TextureJob("moss", (), references=(Reference(name),))
        tensors = {}
        assert known(scene, job.references, tensors, needed=True) == job.references
        assert list(tensors) == [name]
        lost = (Reference("f" * 64),)
        assert known(scene, lost, {}, needed=False) == ()
        with pytest.raises(ScumbleError, match="isn't in the list"):
            known(scene, lost, {}, needed=True)


def asked_of(part, entry) -> list[str]:
    return [digest_of(part("references.pixels").picture_pixels(entry.image))]
