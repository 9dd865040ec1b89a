"""Kinds of Blender scenes that only evaluation shows. Runs in Blender's Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import blender_bare  # noqa: F401
import bmesh
import bpy
from blender_stage import Stage, shaped
from mathutils import Vector, noise

from blender_addon import example_scene

__all__ = ["HELD_OUT"]

PROFILES = {
    "vase": ((0.0, 0.0), (0.3, 0.0), (0.45, 0.3), (0.42, 0.65), (0.2, 0.95), (0.17, 1.1), (0.28, 1.25)),
    "bottle": ((0.0, 0.0), (0.26, 0.0), (0.28, 0.1), (0.28, 0.75), (0.12, 0.95), (0.1, 1.3), (0.13, 1.32)),
    "goblet": ((0.0, 0.0), (0.3, 0.0), (0.08, 0.1), (0.06, 0.55), (0.25, 0.7), (0.34, 1.0), (0.3, 1.2)),
    "pawn": ((0.0, 0.0), (0.36, 0.0), (0.36, 0.1), (0.2, 0.25), (0.13, 0.7), (0.25, 0.78), (0.1, 0.82), (0.22, 1.0),
             (0.2, 1.15), (0.0, 1.25)),
    "bowl": ((0.0, 0.0), (0.22, 0.0), (0.25, 0.06), (0.5, 0.25), (0.6, 0.5), (0.56, 0.5), (0.42, 0.24)),
}  # fmt: skip


def _turned(stage: Stage, group: int, name: str, at: tuple[float, float, float], size: float) -> None:
    profile = PROFILES[name]

    def outline(shape: bmesh.types.BMesh) -> None:
        verts = [shape.verts.new((radius, 0.0, height)) for radius, height in profile]
        for one, other in itertools.pairwise(verts):
            shape.edges.new((one, other))

    thing = stage.add(stage.mesh(outline), group, "vase", at, scale=size)
    screw = thing.modifiers.new("Screw", "SCREW")
    screw.steps, screw.use_smooth_shade, screw.use_merge_vertices = 48, True, True
    stage.subdivide(thing, 1)


def _pottery(stage: Stage) -> None:
    rng = stage.rng
    stage.ground()
    if rng.random() < 0.5:
        stage.wall(1, (0, 2.2, 0), 0.0, 8.0, 3.0)
    names = rng.sample(list(PROFILES), 3)
    for index, name in enumerate(names):
        _turned(stage, 3 + index, name, (index - 1.0, rng.uniform(-0.3, 0.3), 0.0), rng.uniform(0.8, 1.2))


def _column(stage: Stage, at: tuple[float, float, float], height: float, sides: int) -> None:
    stage.box(4, (0.5, 0.5, 0.12), at, bevel=0.02)

    def shaft(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_cone(shape, cap_ends=True, segments=sides, radius1=0.2, radius2=0.17, depth=height)

    stage.add(stage.mesh(shaft, 30.0), 4, "prism", (at[0], at[1], at[2] + height / 2 + 0.1))
    stage.box(4, (0.5, 0.5, 0.14), (at[0], at[1], at[2] + height + 0.08), bevel=0.02)


def _arcade(stage: Stage) -> None:
    rng = stage.rng
    stage.ground()
    bays, height, sides = rng.randint(2, 3), rng.uniform(1.2, 1.8), rng.choice((6, 8))
    middle = (bays - 1) / 2
    beam = stage.box(3, (bays * 1.3 + 0.5, 0.45, 1.1), (0, 0, height + 0.2))
    arch = stage.add(
        stage.mesh(lambda b: bmesh.ops.create_cone(b, cap_ends=True, segments=40, radius1=0.48, radius2=0.48, depth=2)),
        7, "other", (-middle * 1.3, 0, height + 0.2), (math.pi / 2, 0, 0),
    )  # fmt: skip
    stage.repeat(arch, bays, (1.3, 0.0, 0.0))
    stage.boolean(beam, arch)
    for index in range(bays + 1):
        _column(stage, ((index - bays / 2) * 1.3, 0.0, 0.0), height, sides)
    shaped(stage, 5, "other", (0, -0.7, 0), 0.35, 0.0)


def _trees(stage: Stage) -> None:
    rng = stage.rng
    stage.ground()
    for index in range(rng.randint(1, 3)):
        x, y, tall = (index - 0.8) * 1.3, rng.uniform(-0.6, 0.6), rng.uniform(0.7, 1.2)
        lean = rng.uniform(-0.15, 0.15)
        stage.tube(4, [(x, y, 0), (x + lean, y, tall * 0.6), (x, y + lean, tall * 1.2)], 0.1)
        for crown in range(rng.randint(1, 4)):
            at = (x + rng.uniform(-0.3, 0.3), y + rng.uniform(-0.3, 0.3), tall + 0.25 * crown)

            def leaf(shape: bmesh.types.BMesh, shift: float = index * 7.0 + crown) -> None:
                bmesh.ops.create_icosphere(shape, subdivisions=4, radius=0.45)
                for vertex in shape.verts:
                    vertex.co *= 1.0 + 0.5 * noise.fractal(vertex.co * 3.0 + Vector((shift, 0, 0)), 1.0, 2.0, 4)

            stage.add(stage.mesh(leaf, 180.0), 3, "rock", at)
    stage.add(stage.mesh(lambda b: bmesh.ops.create_cone(b, cap_ends=True, segments=32, radius1=0.35, radius2=0.05,
                                                         depth=0.25)), 5, "cone", (0.5, -0.9, 0.5))  # fmt: skip
    stage.tube(5, [(0.5, -0.9, 0), (0.52, -0.9, 0.2), (0.5, -0.9, 0.45)], 0.07)


def _vehicle(stage: Stage) -> None:
    rng = stage.rng
    stage.ground()
    turn = rng.uniform(-0.4, 0.4)
    body = stage.box(3, (2.2, 0.9, 0.5), (0, 0, 0.3), (0, 0, turn), 0.12)
    cabin = stage.box(3, (1.1, 0.8, 0.42), (-0.1 * math.cos(turn), -0.1 * math.sin(turn), 0.8), (0, 0, turn), 0.1)
    stage.bend(cabin, "TAPER", -0.5)
    for x in (-0.7, 0.7):
        for y in (-0.45, 0.45):
            at = body.matrix_world @ Vector((x, y, 0.0))
            ring = shaped(stage, 4, "torus", (0, 0, 0), 0.32, 0.0)
            ring.location, ring.rotation_euler, ring.scale = (at.x, at.y, 0.32), (math.pi / 2, 0, turn), (0.32,) * 3


def _castle(stage: Stage) -> None:
    rng = stage.rng
    stage.ground()
    corners = [(-1.3, -1.3), (1.3, -1.3), (1.3, 1.3), (-1.3, 1.3)]
    height, round_towers = rng.uniform(1.2, 1.9), rng.random() < 0.6
    for index, (x, y) in enumerate(corners):
        if round_towers:
            stage.add(
                stage.mesh(lambda b: bmesh.ops.create_cone(b, cap_ends=True, segments=8, radius1=0.45, radius2=0.4,
                                                           depth=height + 0.5), 30.0),
                3, "prism", (x, y, (height + 0.5) / 2),
            )  # fmt: skip
            stage.add(
                stage.mesh(lambda b: bmesh.ops.create_cone(b, cap_ends=True, segments=8, radius1=0.55, radius2=0.0,
                                                           depth=0.7), None),
                4, "cone", (x, y, height + 0.85),
            )  # fmt: skip
        else:
            stage.box(3, (0.8, 0.8, height + 0.4), (x, y, 0))
        other = corners[(index + 1) % 4]
        turn = math.atan2(other[1] - y, other[0] - x)
        middle = ((x + other[0]) / 2, (y + other[1]) / 2)
        stage.box(3, (2.6, 0.3, height * 0.7), (*middle, 0), (0, 0, turn))
        tooth = stage.box(3, (0.18, 0.3, 0.2), (*middle, height * 0.7), (0, 0, turn))
        tooth.location = (x + 0.25 * (other[0] - x), y + 0.25 * (other[1] - y), height * 0.7)
        stage.repeat(tooth, 6, (0.27, 0.0, 0.0))


def _ruin(stage: Stage) -> None:
    """The add-on's own example."""
    scene = example_scene.build()
    stage.scene = scene
    bpy.context.window.scene = scene
    groups = {"Ground": "0:other", "Step": "4:box", "Plinth": "4:box", "Column": "3:cylinder", "Lintel": "3:box",
              "Rock": "5:rock", "Scumble": "6:other"}  # fmt: skip
    for thing in [thing for thing in scene.objects if thing.type == "MESH"]:
        thing.name = f"{groups[thing.name.split()[0]]}:{thing.name}"


HELD_OUT: dict[str, Callable[[Stage], None]] = {
    "pottery": _pottery, "arcade": _arcade, "trees": _trees, "vehicle": _vehicle, "castle": _castle, "ruin": _ruin,
}  # fmt: skip
