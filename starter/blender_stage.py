"""What Blender scenes are put together from: shapes, modifiers, curves, text, metaballs. Runs in Blender's Python.

Every object says in its name which group of the captured view it belongs to and what captions may call it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import bmesh
import bpy
from mathutils import Euler, Matrix, Vector

__all__ = ["SHAPES", "Stage", "shaped", "worked"]

Maker = Callable[[bmesh.types.BMesh], object]
Triple = tuple[float, float, float]


class Stage:
    """A scene being built, decided by the seed alone. Starts with an empty file."""

    def __init__(self, seed: int) -> None:
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        self.rng = random.Random(seed)
        self.scene = bpy.context.scene

    def add(
        self,
        data: bpy.types.ID | None,
        group: int,
        kind: str = "other",
        at: Sequence[float] = (0.0, 0.0, 0.0),
        turn: Sequence[float] = (0.0, 0.0, 0.0),
        scale: float | Sequence[float] = 1.0,
    ) -> bpy.types.Object:
        """Link an object. group: index of :data:`views.GROUPS`. kind: of scenes.KINDS, or ``other``."""
        thing = bpy.data.objects.new(f"{group}:{kind}:", data)
        sizes = (scale,) * 3 if isinstance(scale, (int, float)) else tuple(scale)
        thing.matrix_world = Matrix.Translation(at) @ Euler(turn).to_matrix().to_4x4() @ Matrix.Diagonal((*sizes, 1.0))
        self.scene.collection.objects.link(thing)
        return thing

    def mesh(self, make: Maker, smooth: float | None = 40.0) -> bpy.types.Mesh:
        """A mesh that ``make`` draws. smooth: faces that meet at less than this angle, degrees, are; None: none are."""
        mesh = bpy.data.meshes.new("mesh")
        shape = bmesh.new()
        make(shape)
        for face in shape.faces:
            face.smooth = smooth is not None
        shape.to_mesh(mesh)
        shape.free()
        if smooth is not None and smooth < 180.0:
            mesh.set_sharp_from_angle(angle=math.radians(smooth))
        return mesh

    def box(
        self, group: int, size: Triple, at: Triple, turn: Triple = (0.0, 0.0, 0.0), bevel: float = 0.0
    ) -> bpy.types.Object:
        """A box of that size, standing on ``at``."""
        lift = Matrix.Translation((0.0, 0.0, size[2] / 2)) @ Matrix.Diagonal((*size, 1.0))
        thing = self.add(
            self.mesh(lambda b: bmesh.ops.create_cube(b, size=1.0, matrix=lift), None), group, "box", at, turn
        )
        if bevel > 0.0:
            self.bevel(thing, bevel)
        return thing

    def ground(self, reach: float = 9.0) -> bpy.types.Object:
        """A floor, flat or a little rolling."""
        if self.rng.random() < 0.6:
            return self.add(self.mesh(lambda b: bmesh.ops.create_grid(b, size=reach), None), 0)
        thing = self.add(
            self.mesh(lambda b: bmesh.ops.create_grid(b, x_segments=90, y_segments=90, size=reach), 180.0), 0
        )
        self.displace(thing, self.rng.uniform(0.05, 0.35), self.rng.uniform(0.8, 2.5))
        return thing

    def wall(self, group: int, at: Triple, turn: float, width: float, height: float) -> bpy.types.Object:
        return self.box(group, (width, 0.2, height), at, (0.0, 0.0, turn))

    # --- modifiers

    def bevel(self, thing: bpy.types.Object, width: float) -> None:
        modifier = thing.modifiers.new("Bevel", "BEVEL")
        modifier.width, modifier.segments, modifier.limit_method = width, self.rng.randint(1, 3), "ANGLE"
        modifier.harden_normals = True
        thing.data.shade_smooth() if self.rng.random() < 0.7 else None

    def subdivide(self, thing: bpy.types.Object, levels: int = 2, simple: bool = False) -> None:
        modifier = thing.modifiers.new("Subdivision", "SUBSURF")
        modifier.levels = levels
        modifier.subdivision_type = "SIMPLE" if simple else "CATMULL_CLARK"

    def displace(self, thing: bpy.types.Object, strength: float, scale: float, kind: str = "") -> None:
        texture = bpy.data.textures.new("relief", kind or self.rng.choice(("CLOUDS", "CLOUDS", "VORONOI", "STUCCI")))
        texture.noise_scale = scale
        modifier = thing.modifiers.new("Displace", "DISPLACE")
        modifier.texture, modifier.strength, modifier.mid_level = texture, strength, 0.5
        modifier.texture_coords = "GLOBAL"

    def boolean(self, thing: bpy.types.Object, cutter: bpy.types.Object, operation: str = "DIFFERENCE") -> None:
        """The cutter itself isn't seen any more."""
        modifier = thing.modifiers.new("Boolean", "BOOLEAN")
        modifier.object, modifier.operation, modifier.solver = cutter, operation, "EXACT"
        self.scene.collection.objects.unlink(cutter)

    def repeat(self, thing: bpy.types.Object, count: int, step: Triple) -> None:
        modifier = thing.modifiers.new("Array", "ARRAY")
        modifier.fit_type, modifier.count = "FIXED_COUNT", count
        modifier.use_relative_offset, modifier.use_constant_offset = False, True
        modifier.constant_offset_displace = step

    def thicken(self, thing: bpy.types.Object, thickness: float) -> None:
        modifier = thing.modifiers.new("Solidify", "SOLIDIFY")
        modifier.thickness = thickness

    def bend(self, thing: bpy.types.Object, method: str, amount: float) -> None:
        """method: TWIST or BEND (amount radians), TAPER or STRETCH (amount a factor)."""
        modifier = thing.modifiers.new("Deform", "SIMPLE_DEFORM")
        modifier.deform_method, modifier.deform_axis = method, "Z"
        if method in {"TWIST", "BEND"}:
            modifier.angle = amount
        else:
            modifier.factor = amount

    def remesh(self, thing: bpy.types.Object, mode: str, detail: float) -> None:
        """mode: VOXEL (detail: the edge's length) or BLOCKS (detail: octree depth)."""
        modifier = thing.modifiers.new("Remesh", "REMESH")
        modifier.mode = mode
        if mode == "VOXEL":
            modifier.voxel_size = detail
        else:
            modifier.octree_depth, modifier.scale = int(detail), 0.9

    def facet(self, thing: bpy.types.Object, ratio: float) -> None:
        modifier = thing.modifiers.new("Decimate", "DECIMATE")
        modifier.ratio = ratio
        thing.data.shade_flat()

    def lattice(self, thing: bpy.types.Object, thickness: float) -> None:
        """Only the edges, as bars."""
        modifier = thing.modifiers.new("Wireframe", "WIREFRAME")
        modifier.thickness = thickness

    # --- curves, text, metaballs

    def tube(
        self, group: int, points: Sequence[Triple], radius: float, kind: str = "other", closed: bool = False
    ) -> bpy.types.Object:
        """A smooth round tube through the points."""
        curve = bpy.data.curves.new("tube", "CURVE")
        curve.dimensions, curve.bevel_depth, curve.bevel_resolution = "3D", radius, 4
        curve.use_fill_caps, curve.resolution_u = True, 8
        spline = curve.splines.new("BEZIER")
        spline.bezier_points.add(len(points) - 1)
        for knot, point in zip(spline.bezier_points, points, strict=True):
            knot.co, knot.handle_left_type, knot.handle_right_type = point, "AUTO", "AUTO"
        spline.use_cyclic_u = closed
        return self.add(curve, group, kind)

    def letters(self, group: int, text: str, depth: float, size: float) -> bpy.types.Object:
        """Standing letters, their middle at the origin."""
        curve = bpy.data.curves.new("letters", "FONT")
        curve.body, curve.extrude, curve.size = text, depth, size
        curve.bevel_depth, curve.align_x = self.rng.choice((0.0, 0.015, 0.04)) * size, "CENTER"
        return self.add(curve, group, "other", turn=(math.pi / 2, 0.0, 0.0))

    def drops(self, group: int, balls: Sequence[tuple[Triple, float]]) -> bpy.types.Object:
        """Metaballs that run together."""
        family = bpy.data.metaballs.new("drops")
        family.resolution = family.render_resolution = 0.07
        for at, radius in balls:
            ball = family.elements.new()
            ball.co, ball.radius = at, radius
        return self.add(family, group, "blob")


def _torus(major: float, minor: float) -> Maker:
    def make(shape: bmesh.types.BMesh) -> None:
        ring = [shape.verts.new((major + minor * math.cos(a), 0.0, minor * math.sin(a))) for a in _turns(16)]
        edges = [shape.edges.new((ring[i - 1], ring[i])) for i in range(16)]
        bmesh.ops.spin(shape, geom=edges, cent=(0, 0, 0), axis=(0, 0, 1), angle=2 * math.pi, steps=40, use_merge=True)
        bmesh.ops.recalc_face_normals(shape, faces=shape.faces)

    return make


def _turns(count: int) -> list[float]:
    return [2 * math.pi * i / count for i in range(count)]


def _cone(bottom: float, top: float, segments: int = 32) -> Maker:
    return lambda b: bmesh.ops.create_cone(b, cap_ends=True, segments=segments, radius1=bottom, radius2=top, depth=2.0)


SHAPES: dict[str, Maker] = {
    "box": lambda b: bmesh.ops.create_cube(b, size=1.8),
    "sphere": lambda b: bmesh.ops.create_uvsphere(b, u_segments=40, v_segments=20, radius=1.0),
    "gem": lambda b: bmesh.ops.create_icosphere(b, subdivisions=1, radius=1.0),
    "rock": lambda b: bmesh.ops.create_icosphere(b, subdivisions=5, radius=1.0),
    "cylinder": _cone(0.9, 0.9),
    "cone": _cone(0.9, 0.1),
    "pyramid": _cone(1.1, 0.0, 4),
    "torus": _torus(0.75, 0.25),
    "other": lambda b: bmesh.ops.create_monkey(b),
}
"""Base shapes of about unit radius, by what captions call them."""


def shaped(stage: Stage, group: int, kind: str, at: Triple, size: float, tumble: float = 0.15) -> bpy.types.Object:
    """One of SHAPES, about ``size`` in radius, resting about on the ground where ``at`` is."""
    rng = stage.rng
    smooth = {"gem": None, "box": None, "pyramid": None}.get(kind, 50.0)
    stretch = [size * rng.uniform(0.7, 1.3) for _ in range(3)] if rng.random() < 0.4 and kind != "other" else [size] * 3
    turn = [rng.uniform(-math.pi, math.pi) for _ in range(3)] if rng.random() < tumble else [0, 0, rng.uniform(-3, 3)]
    lift = {"box": 0.9, "torus": 0.25, "other": 0.85}.get(kind, 1.0) * stretch[2]
    lift = lift if not any(turn[:2]) else max(stretch)
    at = (at[0], at[1], at[2] + lift)
    return stage.add(stage.mesh(SHAPES[kind], smooth), group, kind, at, turn, stretch)


def worked(stage: Stage, thing: bpy.types.Object, kind: str) -> bpy.types.Object:
    """Zero to two modifiers that suit the shape."""
    rng = stage.rng
    for _ in range(rng.choices((0, 1, 2), (0.3, 0.5, 0.2))[0]):
        choice = rng.choice(("bevel", "round", "relief", "twist", "taper", "facet", "remesh", "bars", "carve", "shell"))
        if choice == "bevel" and kind in {"box", "cylinder", "pyramid", "gem"}:
            stage.bevel(thing, rng.uniform(0.04, 0.3))
        elif choice == "round" and kind in {"box", "gem", "other", "pyramid"}:
            stage.subdivide(thing, 2)
            thing.data.shade_smooth()
        elif choice == "relief":
            stage.subdivide(thing, {"box": 5, "pyramid": 5, "gem": 3, "rock": 0}.get(kind, 2), kind != "other")
            stage.displace(thing, rng.uniform(0.08, 0.5), rng.uniform(0.15, 0.8))
        elif choice in {"twist", "taper"} and kind in {"box", "cylinder", "pyramid", "other"}:
            stage.subdivide(thing, 4 if kind in {"box", "pyramid"} else 1, True)
            stage.bend(thing, choice.upper(), rng.uniform(0.4, 2.2) if choice == "twist" else rng.uniform(-0.8, 0.8))
        elif choice == "facet" and kind in {"sphere", "rock", "other", "torus"}:
            stage.facet(thing, {"rock": 0.02, "other": 0.3}.get(kind, 0.2) * rng.uniform(0.7, 1.8))
        elif choice == "remesh" and kind != "gem":
            if rng.random() < 0.5:
                stage.remesh(thing, "BLOCKS", rng.randint(3, 5))
                thing.data.shade_flat()
            else:
                stage.remesh(thing, "VOXEL", 0.09)
                thing.data.shade_smooth()
        elif choice == "bars" and kind in {"box", "gem", "other", "pyramid"}:
            stage.lattice(thing, rng.uniform(0.06, 0.16))
        elif choice == "carve" and kind in {"box", "sphere", "cylinder", "cone"}:
            cutter = stage.add(stage.mesh(SHAPES[rng.choice(("sphere", "box", "cylinder"))]), 3)
            away = Vector([rng.choice((-1, 1)) * rng.uniform(0.5, 1.0) for _ in range(3)]).normalized()
            cutter.matrix_world = thing.matrix_world @ Matrix.Translation(away) @ Matrix.Scale(rng.uniform(0.4, 0.8), 4)
            stage.boolean(thing, cutter)
        elif choice == "shell" and kind in {"sphere", "torus", "cylinder"}:
            stage.lattice(thing, rng.uniform(0.05, 0.1))
    return thing
