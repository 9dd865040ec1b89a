"""Pictures into Blender's data, and only where they belong."""

from __future__ import annotations

import importlib
import json

import bpy
import numpy as np
import pytest
from scumble_shared.camera import Camera, look_at, orthographic, perspective
from scumble_shared.client import Arrived
from scumble_shared.job import GenerateJob
from scumble_shared.messages import Result, TensorInfo

MODULE = "bl_ext.user_default.scumble"


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def picture(part):
    """Pixels -> the picture the network thread makes of them."""
    jobs, prepare = part("jobs"), part("prepare")

    def make(pixels, provenance="{}"):
        info = TensorInfo("image/0", "uint8", pixels.shape)
        arrived = Arrived(Result("1", 1, (info,), provenance), {"image/0": pixels})
        return prepare.prepare(arrived, jobs.JobRecord("1", GenerateJob("x", seed=9), jobs.Target(0)))["image/0"]

    return make


def pixels_of(image):
    width, height = image.size
    values = np.zeros(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values.reshape(height, width, 4)[::-1] * 255.0).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 48)])
def test_blender_reads_our_png_to_the_byte(part, picture, empty_scene, channels, size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], channels), np.uint8)
    image = part("apply.images").keep_image(picture(noise), "Noise")
    read = pixels_of(image)
    np.testing.assert_array_equal(read[..., :channels], noise)
    if channels < 4:
        assert (read[..., 3] == 255).all()


def test_an_image_carries_the_job_that_made_it(part, picture, empty_scene):
    made = picture(np.zeros((2, 2, 3), np.uint8), '{"device": "cpu", "job": {"prompt": "twice"}}')
    image = part("apply.images").keep_image(made, "x")
    facts = json.loads(image["scumble"])
    assert facts["job"]["seed"] == 9
    assert facts["provenance"] == {"device": "cpu"}
    assert image["scumble"].encode() in made.png


def test_a_result_that_is_no_picture_is_an_error_not_a_crash(part):
    jobs, prepare = part("jobs"), part("prepare")
    record = jobs.JobRecord("1", GenerateJob("x"), jobs.Target(0))
    for array in (np.zeros((2, 2, 3), np.float32), np.zeros(4, np.uint8), np.zeros((0, 2, 3), np.uint8)):
        arrived = Arrived(Result("1", 1, (TensorInfo("image/0", array.dtype.name, array.shape),)), {"image/0": array})
        assert prepare.prepare(arrived, record).code == "invalid_result"


def test_provenance_that_is_not_json_does_no_harm(picture):
    assert json.loads(picture(np.zeros((2, 2, 3), np.uint8), "{").record)["provenance"] == {}


# --- overlay ----------------------------------------------------------------------------------------

EYE, LENS = look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.0)), perspective(0.8, 1.0, 0.1, 100.0)


def view_of(view, projection):
    """World -> clip."""
    return np.reshape(projection, (4, 4)) @ np.reshape(view, (4, 4))


def test_the_overlay_fills_the_view_it_was_made_from(part):
    camera = Camera(EYE, LENS, 64, 64, 0.1, 100.0)
    rectangle = part("apply.overlay").place(camera, view_of(EYE, LENS), 800, 800)
    assert rectangle == pytest.approx((0.0, 0.0, 800.0, 800.0))


def test_a_wide_view_shows_a_square_picture_in_its_middle(part):
    camera = Camera(EYE, LENS, 64, 64, 0.1, 100.0)
    rectangle = part("apply.overlay").place(camera, view_of(EYE, perspective(0.8, 2.0, 0.1, 100.0)), 800, 400)
    assert rectangle == pytest.approx((200.0, 0.0, 600.0, 400.0))


@pytest.mark.parametrize("eye", [(3.1, -4.0, 2.0), (3.0, -4.0, 2.2), (-3.0, 4.0, 2.0), (2.7, -3.6, 1.8)])
def test_the_overlay_is_gone_when_the_view_moves(part, eye):
    camera = Camera(EYE, LENS, 64, 64, 0.1, 100.0)
    assert part("apply.overlay").place(camera, view_of(look_at(eye, (0.0, 0.0, 0.0)), LENS), 800, 800) is None


def test_an_orthographic_view_may_slide_under_its_overlay(part):
    """There is no parallax: the picture still belongs where it lies."""
    lens = orthographic(4.0, 4.0, 0.1, 100.0)
    camera = Camera(look_at((0.0, 0.0, 5.0), (0.0, 0.0, 0.0)), lens, 64, 64, 0.1, 100.0)
    moved = look_at((1.0, 0.0, 5.0), (1.0, 0.0, 0.0))
    assert part("apply.overlay").place(camera, view_of(moved, lens), 400, 400) == pytest.approx(
        (-100.0, 0.0, 300.0, 400.0)
    )


def test_the_overlay_reaches_the_gpu(part, gpu_ready):
    import gpu

    if bpy.app.version < (5, 2, 0):
        pytest.skip("no drawing in background before 5.2 without a render")
    gpu.init()
    pixels = np.random.default_rng(2).integers(0, 256, (3, 5, 3), np.uint8)
    overlay, prepare = part("apply.overlay"), part("prepare")
    texture = overlay.make_texture(prepare.float_pixels(pixels))
    read = np.asarray(texture.read()).reshape(3, 5, 4)[::-1, :, :3]
    values = read if read.dtype == np.uint8 else np.rint(np.asarray(read, np.float32) * 255.0).astype(np.uint8)
    np.testing.assert_array_equal(values, pixels)


def test_control_icons_hold_pixels_of_any_aspect_without_a_datablock(part, empty_scene):
    """Icon numbers are only given out where there are windows; 0 shows nothing."""
    icons = part("apply.icons")
    before = len(bpy.data.images)
    pixels = np.random.default_rng(4).random((20, 10, 4), np.float32)
    icons.set_control_icon(7, 0, pixels)
    preview = icons._collection["7/0"]
    held = np.zeros(pixels.size, np.float32)
    preview.image_pixels_float.foreach_get(held)
    assert tuple(preview.image_size) == (10, 20)
    np.testing.assert_allclose(held, pixels.reshape(-1), atol=1.0 / 255.0)
    assert len(bpy.data.images) == before
    assert icons.control_icon(7, 1) == 0
    icons.clear()
    assert icons.control_icon(7, 0) == 0


# --- materials --------------------------------------------------------------------------------------


@pytest.fixture
def cube(empty_scene):
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


@pytest.fixture
def textured(part, picture):
    def apply(thing, complete=False):
        image = part("apply.images").keep_image(picture(np.zeros((4, 4, 4), np.uint8)), "Texture")
        return part("apply.materials").apply_texture(thing, image, "UVMap", complete)

    return apply


def test_each_slot_gets_its_own_copy(cube, textured):
    for name in ("Wood", "Brass"):
        material = bpy.data.materials.new(name)
        cube.data.materials.append(material)
        material.metallic = 0.0 if name == "Wood" else 1.0
    textured(cube)
    assert [slot.material.metallic for slot in cube.material_slots] == [0.0, 1.0]
    assert {"Wood", "Brass"} <= {material.name for material in bpy.data.materials}


def test_a_shader_that_is_not_principled_keeps_its_viewport_colour(cube, textured):
    material = bpy.data.materials.new("Glow")
    material.diffuse_color = (0.1, 0.2, 0.3, 1.0)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.links.new(tree.nodes.new("ShaderNodeEmission").outputs[0], tree.get_output_node("ALL").inputs["Surface"])
    cube.data.materials.append(material)
    made = textured(cube)[0]
    mix = next(node for node in made.node_tree.nodes if node.type == "MIX")
    before = next(socket for socket in mix.inputs if socket.identifier == "A_Color")
    assert tuple(before.default_value) == pytest.approx((0.1, 0.2, 0.3, 1.0))


def test_the_base_of_a_plain_surface_is_its_colour(part, cube):
    base = part("apply.base").base_texture(cube, "UVMap", 8)
    assert base.shape == (8, 8, 4)
    assert {tuple(texel) for texel in base.reshape(-1, 4)} == {(231, 231, 231, 255)}  # 0.8 linear


def test_the_base_of_a_painted_surface_is_its_picture(part, picture, cube, textured):
    noise = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    image = part("apply.images").keep_image(picture(noise), "Noise")
    part("apply.materials").apply_texture(cube, image, "UVMap", True)
    np.testing.assert_array_equal(part("apply.base").base_texture(cube, "UVMap", 8)[..., :3], noise)
    assert part("apply.base").base_texture(cube, "Other", 8) is None
    assert part("apply.base").base_texture(cube, "UVMap", 16) is None


def test_things_without_a_surface_are_refused(part, empty_scene):
    from scumble_shared.errors import ScumbleError

    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    for thing in (lamp, bpy.data.objects.new("Empty", None)):
        with pytest.raises(ScumbleError):
            part("apply.materials").editable_object(thing)
