"""The demo's Blender side: the main job as a script would do it, in a Blender of its own with the built extension.

Run by ``scumble demo`` (not part of the extension zip). Reports on standard output, one JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
from mathutils import Matrix

MARK = "@scumble "
OTHER_WORDS = ("red brick", "gold, studio lighting", "blue glazed ceramic", "snow on a sunny day")
HERO_PROMPT = "verdigris copper, flat light"
HERO_MAPS = ("normal", "roughness", "metallic")
SAMPLES = 24
"""Of the pictures Cycles renders; enough to judge a texture by."""


def report(event: str, **facts: object) -> None:
    print(MARK + json.dumps({"event": event, **facts}), flush=True)


@contextmanager
def stage(label: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    report("stage", label=label, seconds=time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--extension", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :])
    with stage("Install the extension"):
        install(options.extension)
    from bl_ext.user_default.scumble import api, example_scene

    with stage("Start the server"):
        api.connect()
    scene = example_scene.build()
    bpy.context.window_manager.windows[0].scene = scene
    for thing in [other for other in bpy.data.scenes if other != scene]:
        bpy.data.scenes.remove(thing)
    demo = Demo(api, scene, options)
    demo.look("input", "scene", "the scene, before")
    demo.control_images()
    picture = demo.generate()
    demo.texture(picture)
    demo.look("result", "textured", "textured, same view")
    with camera_at(scene.camera, orbited(scene.camera, 38.0)):
        demo.look("result", "textured_turned", "textured, another view")
    demo.other_words()
    hero = bpy.data.objects[example_scene.HERO]
    demo.texture_around(hero)
    for degrees in (0.0, 90.0, 180.0, 270.0):
        with alone(scene, hero), camera_at(scene.camera, close_by(scene.camera, hero, degrees)):
            demo.look("around", f"around_{degrees:.0f}", f"“{HERO_PROMPT}”, from {degrees:.0f}°")
    demo.save()
    api.disconnect()


class Demo:
    """The stages that need the same scene, options and API."""

    def __init__(self, api: object, scene: bpy.types.Scene, options: argparse.Namespace) -> None:
        self.api, self.scene, self.options = api, scene, options

    def path(self, name: str) -> Path:
        return self.options.output / name

    def picture(self, kind: str, name: str, label: str, png: bytes) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(png)
        report("picture", kind=kind, label=label, path=str(self.path(name)))

    def control_images(self) -> None:
        settings = self.scene.scumble
        settings.source = "CAMERA"
        settings.width = settings.height = self.options.size
        for kind in ("depth", "normal"):
            settings.controls.add().kind = kind
        with stage("Capture and control images"):
            record = self.api.control_images()
        for kind, picture in zip(("depth", "normal"), record.prepared.values(), strict=True):
            self.picture("input", f"control_{kind}.png", f"{kind} control", picture.png)

    def generate(self) -> object:
        with stage("Generate"):
            record = self.api.generate(
                prompt=self.options.prompt,
                seed=self.options.seed,
                result_actions={"IMAGE"},
                wait=False,
                on_preview=self.preview,
            )
            while not (now := self.api.job(record.id)).state.ended:
                self.api.step()
                report("progress", label=now.stage or "waiting", fraction=now.fraction, detail=told(now))
                time.sleep(0.05)
            record = self.api.wait(record.id)
        self.picture("result", "result.png", self.options.prompt, record.prepared["image/0"].png)
        return record

    def preview(self, record: object, pixels: object) -> None:
        from bl_ext.user_default.scumble.png import png_bytes

        picture = (pixels[::-1, :, :3] * 255.0 + 0.5).astype("uint8")
        self.picture("preview", f"previews/step_{record.step:03}.png", f"step {record.step}", png_bytes(picture, ""))

    def texture(self, record: object) -> None:
        things = [thing for thing in self.scene.objects if thing.type == "MESH"]
        with stage("Texture from view"):
            result = self.api.texture_from_view(record, things)
        for name, picture in result.prepared.items():
            path = self.path(f"textures/{name.removeprefix('texture/')}.png")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture.png)

    def other_words(self) -> None:
        with stage("Other words"):
            for index, prompt in enumerate(OTHER_WORDS):
                record = self.api.generate(prompt=prompt, seed=self.options.seed, result_actions=set())
                self.picture("words", f"words_{index}.png", f"“{prompt}”", record.prepared["image/0"].png)

    def texture_around(self, thing: bpy.types.Object) -> None:
        with stage("Texture all around"):
            self.api.texture_around([thing], prompt=HERO_PROMPT, seed=self.options.seed, maps=HERO_MAPS)

    def look(self, kind: str, name: str, label: str) -> None:
        """What Blender renders now, from the scene's camera."""
        with stage(f"Render {label}"):
            self.scene.render.engine = "CYCLES"
            self.scene.cycles.samples, self.scene.cycles.use_denoising = SAMPLES, False
            self.scene.render.resolution_x = self.scene.render.resolution_y = self.options.size
            self.scene.render.filepath = str(self.path(f"{name}.png"))
            bpy.ops.render.render(scene=self.scene.name, write_still=True)
        report("picture", kind=kind, label=label, path=str(self.path(f"{name}.png")))

    def save(self) -> None:
        with stage("Save .blend and .glb"):
            bpy.ops.wm.save_as_mainfile(filepath=str(self.path("scene.blend")), compress=True)
            bpy.ops.export_scene.gltf(filepath=str(self.path("scene.glb")))
        for name in ("scene.blend", "scene.glb"):
            report("file", path=str(self.path(name)))


def install(extension: Path) -> None:
    bpy.ops.extensions.package_install_files(
        filepath=str(extension), repo="user_default", enable_on_install=True, overwrite=True
    )


def orbited(camera: bpy.types.Object, degrees: float) -> Matrix:
    """The camera's place turned about the world's vertical axis."""
    return Matrix.Rotation(math.radians(degrees), 4, "Z") @ camera.matrix_world


def close_by(camera: bpy.types.Object, thing: bpy.types.Object, degrees: float) -> Matrix:
    """A place nearer to a thing than the camera, turned about it, looking at it."""
    target = thing.matrix_world.translation
    eye = target + Matrix.Rotation(math.radians(degrees), 3, "Z") @ (camera.matrix_world.translation - target) * 0.42
    return Matrix.Translation(eye) @ (target - eye).to_track_quat("-Z", "Y").to_matrix().to_4x4()


@contextmanager
def camera_at(camera: bpy.types.Object, place: Matrix) -> Iterator[None]:
    before = camera.matrix_world.copy()
    camera.matrix_world = place
    bpy.context.view_layer.update()
    yield
    camera.matrix_world = before
    bpy.context.view_layer.update()


@contextmanager
def alone(scene: bpy.types.Scene, thing: bpy.types.Object) -> Iterator[None]:
    """Renders show this mesh and no other."""
    others = [other for other in scene.objects if other.type == "MESH" and other != thing and not other.hide_render]
    for other in others:
        other.hide_render = True
    yield
    for other in others:
        other.hide_render = False


def told(record: object) -> str:
    steps = f"step {record.step}/{record.steps}" if record.steps else ""
    return steps if record.eta is None else f"{steps}  {record.eta:.0f} s left"


if __name__ == "__main__":
    status = 0
    try:
        main()
    except BaseException:  # noqa: BLE001 - the process ends below whatever happened, having said so
        traceback.print_exc()
        status = 1
    # Ending Python with Blender's module and drawing contexts alive can crash; everything is written by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
