"""Blender scenes of many kinds, built from a seed: what captured views show. Runs in Blender's Python.

``KINDS`` are for training. ``HELD_OUT`` are evaluation's alone: turned pottery, arcades, trees, vehicles, a castle and
the add-on's own example scene, which no training view resembles.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import bmesh
import bpy
from blender_held_out import HELD_OUT
from blender_stage import SHAPES, Stage, shaped, worked
from mathutils import Matrix, Vector, noise

__all__ = ["HELD_OUT", "KINDS", "build"]

WORDS = ("SCUMBLE", "HELLO", "STONE", "ART", "Paint", "GOLD", "fox", "Moss", "R2", "2049", "&", "Ag", "OK", "love")
SOLID = ("box", "sphere", "gem", "rock", "cylinder", "cone", "pyramid", "torus", "other")


def _backed(stage: Stage, share: float = 0.3) -> None:
    """A ground, and a wall behind it now and then."""
    stage.ground()
    if stage.rng.random() < share:
        turn = stage.rng.uniform(0.0, 2 * math.pi)
        far = stage.rng.uniform(1.8, 3.0)
        at = (far * math.sin(turn), -far * math.cos(turn), 0.0)
        stage.wall(1, at, turn, stage.rng.uniform(5, 9), stage.rng.uniform(1.5, 4))


def _bust(stage: Stage) -> None:
    rng = stage.rng
    height = 0.0
    if rng.random() < 0.7:
        _backed(stage)
        if rng.random() < 0.6:
            height = rng.uniform(0.3, 1.0)
            stage.box(rng.choice((0, 4)), (0.9, 0.9, height), (0, 0, 0), (0, 0, rng.uniform(0, 3)), 0.04)
    head = shaped(stage, 3, "other", (0, 0, height), rng.uniform(0.6, 0.9), 0.2)
    worked(stage, head, "other")
    if rng.random() < 0.6:
        stage.subdivide(head, rng.choice((1, 2)))
        head.data.shade_smooth()


def _still_life(stage: Stage) -> None:
    rng = stage.rng
    _backed(stage)
    count = rng.randint(2, 5)
    for index in range(count):
        kind, size = rng.choice(SOLID), rng.uniform(0.28, 0.6)
        angle, far = index * 2.39996 + rng.uniform(-0.3, 0.3), 0.35 + 0.5 * math.sqrt(index)
        worked(stage, shaped(stage, 3 + index, kind, (far * math.cos(angle), far * math.sin(angle), 0.0), size), kind)


def _single(stage: Stage) -> None:
    """One object in the void."""
    kind = stage.rng.choice(SOLID)
    worked(stage, worked(stage, shaped(stage, 3, kind, (0, 0, 0), 0.8, 0.5), kind), kind)


def _letters(stage: Stage) -> None:
    rng = stage.rng
    if rng.random() < 0.7:
        _backed(stage, 0.5)
    text = stage.letters(3, rng.choice(WORDS), rng.uniform(0.05, 0.25), 1.0)
    text.location.z = rng.uniform(0.0, 0.1)
    text.rotation_euler.z = rng.uniform(-3, 3)
    if rng.random() < 0.3:
        text.rotation_euler.x = 0.0
        text.location.z += text.data.extrude
    if rng.random() < 0.4:
        kind = rng.choice(SOLID)
        worked(stage, shaped(stage, 4, kind, (rng.uniform(-1, 1), rng.choice((-0.9, 0.9)), 0.0), 0.35), kind)


def _tubes(stage: Stage) -> None:
    rng = stage.rng
    if rng.random() < 0.6:
        _backed(stage)
    for group in range(3, 3 + rng.randint(1, 3)):
        form = rng.choice(("knot", "wander", "spring"))
        if form == "knot":
            p, q = rng.choice(((2, 3), (3, 2), (3, 4), (2, 5)))
            turns = [2 * math.pi * i / 40 for i in range(40)]
            path = [
                ((0.7 + 0.3 * math.cos(q * a)) * math.cos(p * a), (0.7 + 0.3 * math.cos(q * a)) * math.sin(p * a),
                 0.9 + 0.4 * math.sin(q * a)) for a in turns
            ]  # fmt: skip
            stage.tube(group, path, rng.uniform(0.05, 0.13), closed=True)
        elif form == "wander":
            path = [tuple(rng.uniform(-1, 1) for _ in range(3)) for _ in range(rng.randint(4, 8))]
            stage.tube(group, [(x, y, 0.6 + 0.5 * z) for x, y, z in path], rng.uniform(0.06, 0.2))
        else:
            spring = stage.add(
                stage.mesh(lambda b: bmesh.ops.create_circle(b, segments=12, radius=0.09), 60.0), group, "other",
                (rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), 0.15), scale=rng.uniform(0.8, 1.5),
            )  # fmt: skip
            for vertex in spring.data.vertices:
                vertex.co = (vertex.co.x + 0.4, 0.0, vertex.co.y)
            screw = spring.modifiers.new("Screw", "SCREW")
            screw.screw_offset, screw.iterations, screw.steps = rng.uniform(0.2, 0.4), rng.randint(3, 5), 24


def _drops(stage: Stage) -> None:
    rng = stage.rng
    if rng.random() < 0.6:
        _backed(stage)
    balls = [
        ((rng.gauss(0, 0.5), rng.gauss(0, 0.5), rng.uniform(0.2, 1.4)), rng.uniform(0.3, 0.7))
        for _ in range(rng.randint(3, 9))
    ]
    stage.drops(3, balls)


def _terrain(stage: Stage) -> None:
    rng = stage.rng
    rough, lift, offset = rng.uniform(0.3, 0.9), rng.uniform(0.4, 1.6), Vector((rng.uniform(0, 99), 0.0, 0.0))

    def height(x: float, y: float) -> float:
        return lift * noise.fractal(Vector((x, y, 0.0)) * rough + offset, 1.0, 2.0, 6)

    def land(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_grid(shape, x_segments=160, y_segments=160, size=5.0)
        for vertex in shape.verts:
            vertex.co.z = height(vertex.co.x, vertex.co.y)

    stage.add(stage.mesh(land, 180.0 if rng.random() < 0.8 else None), 0)
    for index in range(rng.randint(0, 5)):
        x, y = rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)
        kind = rng.choice(("rock", "box", "gem", "other", "cone"))
        worked(stage, shaped(stage, 3 + index % 2, kind, (x, y, height(x, y) - 0.1), rng.uniform(0.15, 0.4)), kind)


def _house(stage: Stage, group: int, at: tuple[float, float, float], turn: float) -> None:
    rng = stage.rng
    wide, deep, tall = rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.4), rng.uniform(0.6, 1.8)
    turned = (0.0, 0.0, turn)
    body = stage.box(group, (wide, deep, tall), at, turned)
    rows, columns = max(1, int(tall / 0.55)), max(1, int(wide / 0.4))
    step_x, step_z = wide / columns, tall / rows
    hole = stage.box(7, (step_x * 0.5, deep + 0.4, step_z * 0.5), (0, 0, 0))
    stage.repeat(hole, columns, (step_x, 0.0, 0.0))
    stage.repeat(hole, rows, (0.0, 0.0, step_z))
    inward = Vector((-wide / 2 + step_x / 2, deep * rng.choice((0.85, -0.85)), step_z * 0.25))
    hole.matrix_world = body.matrix_world @ Matrix.Translation(inward)
    if rng.random() < 0.7:
        stage.boolean(body, hole)
    else:
        bpy.data.objects.remove(hole)
    rise = rng.uniform(0.2, 0.8)

    def roof(shape: bmesh.types.BMesh) -> None:
        x, y = wide / 2 + 0.08, deep / 2 + 0.08
        low = [shape.verts.new(corner) for corner in ((-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0))]
        top = [shape.verts.new((0, -y, rise)), shape.verts.new((0, y, rise))]
        for face in (low[::-1], (low[0], low[1], top[0]), (low[2], low[3], top[1]),
                     (low[1], low[2], top[1], top[0]), (low[3], low[0], top[0], top[1])):  # fmt: skip
            shape.faces.new(face)

    stage.add(stage.mesh(roof, None), group + 1, "other", (at[0], at[1], at[2] + tall), turned)
    if rng.random() < 0.4:
        stage.box(group, (0.14, 0.14, rise + 0.3), (at[0], at[1] + 0.1, at[2] + tall), turned)


def _houses(stage: Stage) -> None:
    rng = stage.rng
    stage.ground()
    for index in range(rng.randint(1, 4)):
        at = ((index - 1.2) * rng.uniform(1.5, 1.8), rng.uniform(-0.6, 0.6), 0.0)
        _house(stage, 3, at, rng.choice((0.0, 0.0, math.pi / 2, rng.uniform(-0.5, 0.5))))


def _room(stage: Stage) -> None:
    rng = stage.rng
    stage.box(0, (8, 8, 0.2), (0, 0, -0.2))
    stage.wall(1, (0, 1.9, 0), 0.0, 8.0, 2.8)
    if rng.random() < 0.7:
        stage.wall(2, (2.2, 0, 0), math.pi / 2, 8.0, 2.8)
    top, x, y = rng.uniform(0.6, 0.9), rng.uniform(-0.4, 0.4), rng.uniform(-0.2, 0.4)
    if rng.random() < 0.8:
        stage.box(3, (1.5, 0.9, 0.08), (x, y, top), bevel=0.02)
        for side_x in (-0.65, 0.65):
            for side_y in (-0.35, 0.35):
                stage.box(3, (0.09, 0.09, top), (x + side_x, y + side_y, 0))
        for _ in range(rng.randint(0, 3)):
            kind = rng.choice(SOLID)
            at = (x + rng.uniform(-0.6, 0.6), y + rng.uniform(-0.3, 0.3), top + 0.08)
            worked(stage, shaped(stage, 5, kind, at, rng.uniform(0.1, 0.2)), kind)
    for _ in range(rng.randint(0, 2)):
        chair_x, chair_y, turn = x + rng.uniform(-1.2, 1.2), y - rng.uniform(0.6, 1.1), rng.uniform(-0.6, 0.6)
        stage.box(4, (0.45, 0.45, 0.45), (chair_x, chair_y, 0), (0, 0, turn), 0.03)
        back = (chair_x + 0.2 * math.sin(turn), chair_y - 0.2 * math.cos(turn), 0.45)
        stage.box(4, (0.45, 0.06, 0.5), back, (0, 0, turn))
    if rng.random() < 0.6:
        for shelf in range(rng.randint(2, 4)):
            stage.box(4, (1.4, 0.35, 0.05), (-1.2, 1.6, 0.5 + 0.5 * shelf))
            for item in range(rng.randint(1, 6)):
                tall = rng.uniform(0.15, 0.4)
                stage.box(5, (0.08, 0.25, tall), (-1.8 + 0.2 * item, 1.6, 0.55 + 0.5 * shelf))


def _steps(stage: Stage) -> None:
    """Stairs, fences, rows and grids: arrays."""
    rng = stage.rng
    _backed(stage, 0.4)
    form = rng.choice(("stairs", "fence", "grid", "spiral", "stack"))
    if form == "stairs":
        count, rise = rng.randint(4, 9), rng.uniform(0.12, 0.25)
        step = stage.box(3, (rng.uniform(1.2, 2.5), 0.34, rise), (0, -1, 0), bevel=0.015)
        stage.repeat(step, count, (0.0, 0.3, rise))
        if rng.random() < 0.5:
            shaped(stage, 4, rng.choice(SOLID), (0, -1 + 0.3 * count + 0.2, rise * count), 0.4)
    elif form == "fence":
        post = stage.box(3, (0.12, 0.08, rng.uniform(0.7, 1.3)), (-1.8, 0, 0))
        stage.repeat(post, 12, (0.33, 0.0, 0.0))
        for height in (0.25, 0.6):
            stage.box(3, (4.0, 0.05, 0.09), (0, 0.06, height))
    elif form == "grid":
        kind = rng.choice(("box", "sphere", "gem", "cylinder", "other"))
        thing = shaped(stage, 3, kind, (-0.9, -0.9, 0), 0.25, 0.0)
        thing.rotation_euler = (0.0, 0.0, 0.0)
        thing.scale = (0.25, 0.25, 0.25)
        for step in ((2.6, 0.0, 0.0), (0.0, 2.6, 0.0)):
            stage.repeat(thing, rng.randint(2, 4), step)
    elif form == "spiral":
        for index in range(14):
            a = index * 0.4
            stage.box(3, (1.0, 0.4, 0.1), (0.6 * math.cos(a), 0.6 * math.sin(a), 0.16 * index), (0, 0, a))
        stage.add(stage.mesh(SHAPES["cylinder"]), 4, "cylinder", (0, 0, 1.2), scale=(0.15, 0.15, 1.2))
    else:
        for level in range(rng.randint(3, 6)):
            side = 1.5 - 0.22 * level
            stage.box(3 + level % 2, (side, side, 0.3), (0, 0, 0.3 * level), (0, 0, rng.uniform(-0.4, 0.4)), 0.03)


def _machine(stage: Stage) -> None:
    rng = stage.rng
    if rng.random() < 0.6:
        _backed(stage)
    for index in range(rng.randint(2, 5)):
        teeth, thick = rng.randint(8, 20), rng.uniform(0.15, 0.4)

        def gear(shape: bmesh.types.BMesh, teeth: int = teeth, thick: float = thick) -> None:
            rim = []
            for i in range(teeth * 4):
                radius = 1.0 if i % 4 < 2 else 0.82
                a = 2 * math.pi * i / (teeth * 4)
                rim.append(shape.verts.new((radius * math.cos(a), radius * math.sin(a), 0.0)))
            face = shape.faces.new(rim)
            raised = bmesh.ops.extrude_face_region(shape, geom=[face])["geom"]
            corners = [part for part in raised if isinstance(part, bmesh.types.BMVert)]
            bmesh.ops.translate(shape, vec=(0, 0, thick), verts=corners)
            bmesh.ops.recalc_face_normals(shape, faces=shape.faces)

        size = rng.uniform(0.4, 0.9)
        at = (rng.uniform(-0.9, 0.9), rng.uniform(-0.5, 0.5), size * rng.uniform(0.9, 1.4))
        turn = (rng.uniform(0.9, 2.2), 0.0, rng.uniform(-1, 1))
        wheel = stage.add(stage.mesh(gear, None), 3 + index, "other", at, turn, size)
        hole = stage.add(stage.mesh(SHAPES["cylinder"]), 7)
        hole.matrix_world = wheel.matrix_world.copy()
        hole.scale = [size * s for s in (0.35, 0.35, 2.0)]
        stage.boolean(wheel, hole)
    if rng.random() < 0.4:
        for _ in range(rng.randint(1, 3)):
            z = rng.uniform(0.3, 1.5)
            stage.tube(6, [(-1.6, rng.uniform(-1, 1), z), (0, rng.uniform(-1, 1), z), (1.6, 0.5, z + 0.3)], 0.12)


def _cloth(stage: Stage) -> None:
    rng = stage.rng
    if rng.random() < 0.7:
        _backed(stage, 0.5)
    standing = rng.random() < 0.5
    kind = rng.choice(("sphere", "box", "other"))
    fold, folds, phase = rng.uniform(0.08, 0.25), rng.uniform(3, 9), rng.uniform(0, 6)

    def sheet(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_grid(shape, x_segments=90, y_segments=90, size=1.3)
        for vertex in shape.verts:
            x, y = vertex.co.x, vertex.co.y
            away = math.hypot(x, y)
            wave = fold * math.sin(folds * x + phase + 0.6 * math.sin(2 * y))
            around = fold * math.sin(6 * math.atan2(y, x) + phase) * min(1.0, max(0.0, away - 0.5))
            vertex.co.z = (
                wave
                if standing
                else around - 0.9 * max(0.0, away - 0.45) ** 1.2 + 0.08 * noise.noise(Vector((x, y, phase)) * 2)
            )

    turn = (math.pi / 2, 0.0, rng.uniform(-3, 3)) if standing else (0.0, 0.0, 0.0)
    drape = stage.add(stage.mesh(sheet, 180.0), 3, "other", (0, 0, 1.3 if standing else 1.0), turn)
    stage.thicken(drape, 0.03)
    if not standing:
        shaped(stage, 4, kind, (0, 0, 0), 0.42, 0.0)


def _relief(stage: Stage) -> None:
    """A carved panel, seen from near."""
    rng = stage.rng
    kind = rng.choice(("VORONOI", "STUCCI", "CLOUDS", "WOOD", "MARBLE"))

    def panel(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_grid(shape, x_segments=180, y_segments=180, size=2.2)

    wall = stage.add(stage.mesh(panel, 180.0), rng.choice((1, 3)), "other", (0, 0, 1.6), (math.pi / 2, 0, 0))
    stage.displace(wall, rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.7), kind)
    if rng.random() < 0.5:
        stage.ground()
    if rng.random() < 0.5:
        shaped(stage, 4, rng.choice(SOLID), (rng.uniform(-0.6, 0.6), -0.7, 0.9), 0.4)


def _scatter(stage: Stage) -> None:
    """Many instances of one thing."""
    rng = stage.rng
    stage.ground()
    kind = rng.choice(("rock", "gem", "box", "sphere", "other", "cone"))
    pattern = stage.mesh(SHAPES["gem"] if kind == "rock" else SHAPES[kind], None if kind in {"gem", "box"} else 50.0)
    source = bpy.data.collections.new("source")
    thing = bpy.data.objects.new(f"3:{kind}:", pattern)
    source.objects.link(thing)
    if kind == "rock":
        stage.subdivide(thing, 3)
        stage.displace(thing, 0.5, 0.6, "CLOUDS")
    for _ in range(rng.randint(8, 60)):
        size = rng.uniform(0.08, 0.32)
        empty = stage.add(None, 3, kind, (rng.uniform(-1.3, 1.3), rng.uniform(-1.3, 1.3), size * 0.6),
                          [rng.uniform(-3, 3) for _ in range(3)], size)  # fmt: skip
        empty.instance_type, empty.instance_collection = "COLLECTION", source


def _greeble(stage: Stage) -> None:
    """A block, or a ground, whose faces grow towers."""
    rng = stage.rng

    def city(shape: bmesh.types.BMesh) -> None:
        if flat:
            bmesh.ops.create_grid(shape, x_segments=rng.randint(5, 9), y_segments=rng.randint(5, 9), size=1.6)
        else:
            bmesh.ops.create_cube(shape, size=1.4)
            bmesh.ops.subdivide_edges(shape, edges=shape.edges, cuts=rng.randint(1, 3), use_grid_fill=True)
        for face in list(shape.faces):
            if rng.random() < 0.7:
                bmesh.ops.inset_individual(shape, faces=[face], thickness=rng.uniform(0.01, 0.06))
                top = bmesh.ops.extrude_discrete_faces(shape, faces=[face])["faces"][0]
                out = top.normal * (rng.uniform(0.1, 1.2) if flat else rng.uniform(-0.15, 0.35))
                bmesh.ops.translate(shape, vec=out, verts=top.verts)

    flat = rng.random() < 0.5
    if not flat and rng.random() < 0.6:
        _backed(stage)
    thing = stage.add(stage.mesh(city, None), 3, "box", (0, 0, 0.0 if flat else 0.85), (0, 0, rng.uniform(0, 3)))
    if rng.random() < 0.3:
        stage.bevel(thing, 0.015)


KINDS: dict[str, Callable[[Stage], None]] = {
    "bust": _bust, "still life": _still_life, "single": _single, "letters": _letters, "tubes": _tubes,
    "drops": _drops, "terrain": _terrain, "houses": _houses, "room": _room, "steps": _steps, "machine": _machine,
    "cloth": _cloth, "relief": _relief, "scatter": _scatter, "greeble": _greeble,
}  # fmt: skip


def build(kind: str, seed: int) -> bpy.types.Scene:
    """The scene of that kind and seed, in an otherwise empty file."""
    stage = Stage(seed)
    (KINDS | HELD_OUT)[kind](stage)
    return bpy.context.scene
