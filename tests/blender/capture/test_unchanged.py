"""A capture leaves no trace in the file, whatever happens during it."""

from __future__ import annotations

import bpy
import pytest
from capture import scenes
from capture.fingerprint import differences, fingerprint
from scumble_shared.errors import ErrorCode, ScumbleError

from blender_addon import capture
from blender_addon.capture import cycles_path


@pytest.fixture
def studio():
    """A scene with something of everything that a capture goes near."""
    scenes.still_life()
    scene = bpy.context.scene
    bpy.data.objects["Monkey"].modifiers.new("Subdivision", "SUBSURF").levels = 1
    material = bpy.data.materials.new("Clay")
    if material.node_tree is None:
        material.use_nodes = True
    bpy.data.objects["Monkey"].data.materials.append(material)
    image = bpy.data.images.new("Painted", 8, 8)
    image.generated_color = (0.2, 0.4, 0.6, 1.0)
    texture = material.node_tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    scene.world = bpy.data.worlds.new("World")
    bpy.data.objects["Box"].select_set(True)
    bpy.data.objects["Ground"].hide_set(True)
    bpy.context.view_layer.objects.active = bpy.data.objects["Monkey"]
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.filepath = "//somewhere/else"
    scene.render.use_border = True
    scene.frame_set(7)
    scenes.render_size(320, 200, 50)
    bpy.context.view_layer.update()
    return scene


def assert_unchanged(before):
    assert differences(before, fingerprint()) == []


@pytest.mark.parametrize("buffers", [capture.GEOMETRY, {"depth"}])
def test_capturing_changes_nothing(method, studio, buffers):
    before = fingerprint()
    frame = capture.capture_camera(studio, width=32, height=24, buffers=buffers, method=method)
    assert frame.objects
    assert_unchanged(before)


def test_what_was_rendered_is_still_there(method, studio):
    bpy.ops.render.render()
    before = fingerprint()
    capture.capture_camera(studio, width=16, height=16, method=method)
    assert_unchanged(before)


def test_refusing_changes_nothing(method, studio):
    studio.camera.data.type = "PANO"
    before = fingerprint()
    with pytest.raises(ScumbleError) as caught:
        capture.capture_camera(studio, width=16, height=16, method=method)
    assert caught.value.code is ErrorCode.SCENE
    assert_unchanged(before)


def test_a_failure_in_the_middle_changes_nothing(empty_scene, studio, monkeypatch):
    before = fingerprint()
    monkeypatch.setattr(cycles_path.tempfile, "tempdir", "/nowhere/to/write")
    with pytest.raises(FileNotFoundError):
        capture.capture_camera(studio, width=16, height=16, method="cycles")
    assert_unchanged(before)


def test_a_projection_cycles_doesn_t_have_changes_nothing(empty_scene, studio):
    before = fingerprint()
    skewed = [[1.0, 0.4, 0, 0], [0, 1.0, 0, 0], [0, 0, -1.002, -0.2], [0, 0, -1.0, 0]]
    view = studio.camera.matrix_world.inverted()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    with pytest.raises(ScumbleError) as caught:
        capture.capture_matrices(depsgraph, view, skewed, 16, 16, method="cycles")
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert_unchanged(before)


def test_reading_meshes_changes_nothing(empty_scene, studio):
    before = fingerprint()
    capture.meshes(bpy.context.evaluated_depsgraph_get(), [bpy.data.objects["Monkey"], bpy.data.objects["Box"]])
    assert_unchanged(before)


def test_nobody_s_render_handlers_are_called(empty_scene, studio):
    heard = []
    handlers = [
        getattr(bpy.app.handlers, name) for name in ("render_init", "render_pre", "render_post", "render_complete")
    ]
    for index, handler in enumerate(handlers):
        handler.append(lambda *_, index=index: heard.append(index))
    try:
        before = fingerprint()
        capture.capture_camera(studio, width=16, height=16, method="cycles")
        assert heard == []
        assert_unchanged(before)
    finally:
        for handler in handlers:
            handler.pop()


def test_the_fingerprint_sees_small_changes(empty_scene, studio):
    """Guards the guard: each of these must show."""
    box = bpy.data.objects["Box"]

    def flip(owner, name, value):
        return lambda: setattr(owner, name, value)

    changes = {
        "objects/Box": flip(box, "hide_render", True),
        "meshes/Box": lambda: box.data.uv_layers[0].uv.foreach_set("vector", [0.5] * 48),
        "images/Painted": flip(bpy.data.images["Painted"], "pixels", [0.1] * 256),
        "materials/Clay": lambda: bpy.data.materials["Clay"].node_tree.nodes.new("ShaderNodeMath"),
        "scenes/Scene": flip(studio.render, "film_transparent", True),
        "worlds/World": flip(studio.world, "color", (1.0, 0.0, 0.0)),
        "cameras/Camera": flip(studio.camera.data, "lens", 51.0),
        "counts": lambda: bpy.data.meshes.new("More"),
        "window": lambda: (
            bpy.context.window.scene.view_layers.new("Layer")
            and setattr(bpy.context.window, "view_layer", studio.view_layers["Layer"])
        ),
    }
    for name, change in changes.items():
        before = fingerprint()
        change()
        assert name in differences(before, fingerprint())
