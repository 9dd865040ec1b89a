"""Random scenes and their exact geometry buffers, batched: a ray-caster of convex solids, quadrics and distance fields.

A scene holds up to ``SLOTS`` objects; slot 0 is the ground and slots 1-2 walls where the scene has them. Rays are
grouped by object kind, so one call traces all boxes of all scenes at once. Camera and buffers follow
:mod:`scumble_shared.camera`: world z up, planar depth, inf where nothing is hit, top row first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "HELD_OUT_KINDS", "KINDS", "OTHER", "SLOTS", "Buffers", "Scene", "Window", "occluded", "random_scenes", "rays",
    "trace",
]  # fmt: skip

SLOTS = 8
KINDS = (
    "none", "box", "prism", "pyramid", "gem", "sphere", "cylinder", "cone",
    "torus", "rounded box", "blob", "vase", "twisted column", "rock",
)  # fmt: skip
OTHER = len(KINDS)
"""A captured thing that no equation stands for."""
FAR = 1.0e4
PLANES = 14


@dataclass(frozen=True, slots=True)
class Scene:
    """A batch of B scenes.

    kind: (B, K) index into KINDS. centre: (B, K, 3) world. rotation: (B, K, 3, 3) local -> world.
    size: (B, K, 3) half extents. shape: (B, K, 8) what else the kind wants, each in [0, 1].
    view: (B, 4, 4) world -> view. tan_half: (B,) tangent of half the vertical field of view.
    window: (B,) half the view's height at the target, world units. parallel: (B,) orthographic camera.
    """

    kind: Tensor
    centre: Tensor
    rotation: Tensor
    size: Tensor
    shape: Tensor
    view: Tensor
    tan_half: Tensor
    window: Tensor
    parallel: Tensor


@dataclass(frozen=True, slots=True)
class Buffers:
    """What each pixel sees: position and normal in world space (B, H, W, 3), depth (B, H, W) planar, inf outside,
    slot (B, H, W) of the object hit or -1, direction (B, H, W, 3) of the ray, unit."""

    position: Tensor
    normal: Tensor
    depth: Tensor
    slot: Tensor
    direction: Tensor

    def view_normal(self, view: Tensor) -> Tensor:
        """Normals in view space, zero where nothing is hit."""
        return torch.einsum("bij,bhwj->bhwi", view[:, :3, :3], self.normal)


class Draw:
    """Random numbers of one seeded generator, made on the CPU so that every device gets the same scenes."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator) * (high - low) + low

    def chance(self, probability: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator) < probability

    def pick(self, weights: list[float], *shape: int) -> Tensor:
        count = math.prod(shape)
        return torch.multinomial(torch.tensor(weights), count, True, generator=self.generator).reshape(shape)


LAYOUTS = ("still life", "object", "wall", "room", "blocks", "close-up")


def _turn_z(angle: Tensor) -> Tensor:
    c, s, o = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack([c, -s, o, s, c, o, o, o, o + 1.0], dim=-1).unflatten(-1, (3, 3))


def _random_rotation(draw: Draw, *shape: int) -> Tensor:
    q = torch.randn(*shape, 4, generator=draw.generator)
    w, x, y, z = (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _look_at(eye: Tensor, target: Tensor) -> Tensor:
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(forward)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(right, forward), -forward], dim=-2)
    view = torch.eye(4).repeat(len(eye), 1, 1)
    view[:, :3, :3] = rotation
    view[:, :3, 3] = -torch.einsum("bij,bj->bi", rotation, eye)
    return view


HELD_OUT_KINDS = ("prism", "vase")
"""Shapes that training never sees; evaluation's objects are these half of the time."""
OBJECT_WEIGHTS = (1.6, 0.8, 0.6, 0.6, 1.6, 1.2, 0.7, 1.0, 0.9, 1.6, 0.9, 0.6, 1.0)


def random_scenes(count: int, generator: torch.Generator, held_out: bool = False) -> Scene:
    """``count`` scenes on the CPU, decided by the generator alone. held_out: with the shapes kept from training."""
    draw = Draw(generator)
    b, k = count, SLOTS
    layout = draw.pick([5.0, 3.0, 2.0, 1.5, 2.0, 2.0], b)
    objects = k - 3
    kind = torch.zeros(b, k, dtype=torch.long)
    reserved = 4.0 if held_out else 0.0
    weights = zip(KINDS[1:], OBJECT_WEIGHTS, strict=True)
    kind[:, 3:] = 1 + draw.pick([reserved if name in HELD_OUT_KINDS else w for name, w in weights], b, objects)
    count_of = torch.tensor([3, 1, 1, 2, 5, 1])[layout] + draw.uniform(-1.2, 1.6, b).long()
    count_of = torch.where(layout == 2, draw.pick([1.0, 1.0, 0.6], b), count_of.clamp(1, objects))
    kind[:, 3:][torch.arange(objects) >= count_of[:, None]] = 0
    blocks = (layout == 4)[:, None] & draw.chance(0.75, b, objects) & (kind[:, 3:] > 0)
    kind[:, 3:][blocks] = 1

    size = draw.uniform(0.28, 0.62, b, k, 1) * draw.uniform(0.65, 1.45, b, k, 3)
    size[:, 3:][blocks] = size[:, 3:][blocks] * torch.tensor([1.0, 1.0, 1.7])
    even = draw.chance(0.5, b, k, 1)
    size = torch.where(even, size.mean(-1, keepdim=True).expand_as(size), size)
    rotation = _turn_z(draw.uniform(0.0, 2 * math.pi, b, k))
    tumbled = draw.chance(0.25, b, k)
    rotation = torch.where(tumbled[..., None, None], _random_rotation(draw, b, k), rotation)

    # Objects stand on the ground, spread around the origin on a ring so that they rarely run into each other.
    angle = draw.uniform(0, 2 * math.pi, b, 1) + torch.arange(k) * 2.39996 + draw.uniform(-0.3, 0.3, b, k)
    spread = (0.42 * (torch.arange(k) - 3).clamp(0).sqrt() + 0.35) * (count_of[:, None] > 1)
    height = torch.where(tumbled, size.norm(dim=-1) * 0.62, size[..., 2])
    centre = torch.stack([angle.cos() * spread * 1.25, angle.sin() * spread * 1.25, height], dim=-1)
    stacked = draw.chance(0.3, b) & (count_of > 1) & (layout == 0)
    top = torch.stack([centre[:, 3, 0], centre[:, 3, 1], centre[:, 3, 2] + size[:, 3, 2] + height[:, 4]], dim=-1)
    centre[:, 4] = torch.where(stacked[:, None], top, centre[:, 4])

    azimuth = draw.uniform(0, 2 * math.pi, b)
    elevation = draw.uniform(0.06, 0.6, b)
    elevation = torch.where(layout == 1, draw.uniform(-0.5, 0.9, b), elevation)
    elevation = torch.where((layout == 2) | (layout == 3), draw.uniform(0.02, 0.3, b), elevation)
    wall_turn = azimuth + math.pi / 2 + draw.uniform(-0.5, 0.5, b)

    has_ground = (layout != 1) & ~((layout == 5) & draw.chance(0.6, b))
    has_wall = (layout == 2) | (layout == 3) | ((layout == 0) & draw.chance(0.15, b))
    extent = draw.uniform(2.2, 9.0, b)
    kind[:, 0] = has_ground.long()
    kind[:, 1] = has_wall.long()
    kind[:, 2] = (layout == 3).long()
    size[:, 0] = torch.stack([extent, extent * draw.uniform(0.7, 1.4, b), torch.full((b,), 0.2)], dim=-1)
    centre[:, 0] = torch.tensor([0.0, 0.0, -0.2])
    wall_height = draw.uniform(0.7, 3.5, b)
    back = -torch.stack([azimuth.cos(), azimuth.sin(), torch.zeros(b)], dim=-1)
    distance = draw.uniform(0.8, 2.0, b)[:, None]
    size[:, 1] = torch.stack([draw.uniform(1.5, 7.0, b), torch.full((b,), 0.15), wall_height], dim=-1)
    centre[:, 1] = back * distance + torch.stack([torch.zeros(b), torch.zeros(b), wall_height], dim=-1)
    rotation[:, 1] = _turn_z(wall_turn)
    size[:, 2] = size[:, 1]
    centre[:, 2] = centre[:, 1] + rotation[:, 1, :, 0] * draw.uniform(1.6, 2.4, b)[:, None]
    rotation[:, 2] = _turn_z(wall_turn + math.pi / 2)
    rotation[:, 0] = _turn_z(azimuth + draw.uniform(-0.8, 0.8, b))

    # Frame the biggest object or the whole group.
    reach = torch.where(kind[:, 3:] > 0, centre[:, 3:, :2].norm(dim=-1) + size[:, 3:].amax(-1), 0.0).amax(1).clamp(0.8)
    reach = torch.where(layout == 5, reach * 0.5, reach)
    reach = torch.where((layout == 2) & (count_of == 0), draw.uniform(0.6, 1.6, b), reach)
    mid = torch.where(kind[:, 3:] > 0, centre[:, 3:, 2], 0.0).sum(1) / count_of.clamp(1)
    mid = torch.where(count_of == 0, wall_height * 0.8, mid)
    target = torch.stack([draw.uniform(-0.15, 0.15, b), draw.uniform(-0.15, 0.15, b), mid], dim=-1)
    tan_half = torch.tan(draw.uniform(0.3, 0.9, b) / 2)
    window = reach * draw.uniform(0.62, 1.2, b)
    direction = torch.stack([azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()], dim=-1)
    eye = target + direction * (window / tan_half)[:, None]
    eye[:, 2] = torch.where(has_ground, eye[:, 2].clamp(0.12), eye[:, 2])
    return Scene(
        kind, centre, rotation, size, draw.uniform(0, 1, b, k, 8),
        _look_at(eye, target), tan_half, window, draw.chance(0.1, b),
    )  # fmt: skip


# --- intersections: origins and directions (M, P, 3) in object space -> distance (M, P), FAR where missed


def _convex(o: Tensor, d: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    """Convex solid of planes n.x <= c. normals (M, F, 3), offsets (M, F)."""
    near = torch.full_like(o[..., 0], -FAR)
    far = torch.full_like(o[..., 0], FAR)
    slopes = normals @ d.mT
    gaps = offsets[..., None] - normals @ o.mT
    for face in range(normals.shape[1]):
        slope, gap = slopes[:, face], gaps[:, face]
        t = gap / torch.where(slope.abs() < 1e-9, torch.full_like(slope, 1e-9), slope)
        near = torch.where(slope < 0, torch.maximum(near, t), near)
        far = torch.where(slope > 0, torch.minimum(far, t), far)
    return torch.where((near < far) & (near > 1e-4), near, FAR)


def _quadric(o: Tensor, d: Tensor, size: Tensor, kind: str) -> Tensor:
    """Ellipsoid, or capped cylinder/cone (apex up) of half height size.z."""
    o, d = o / size[:, None], d / size[:, None]
    if kind == "sphere":
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1.0
    else:
        # radius r(z) = p + q z: a cylinder has q = 0, the cone narrows to a tenth at the top
        p, q = (1.0, 0.0) if kind == "cylinder" else (0.55, -0.45)
        r0, r1 = p + q * o[..., 2], q * d[..., 2]
        a = d[..., 0] ** 2 + d[..., 1] ** 2 - r1 * r1
        b = o[..., 0] * d[..., 0] + o[..., 1] * d[..., 1] - r0 * r1
        c = o[..., 0] ** 2 + o[..., 1] ** 2 - r0 * r0
    root = (b * b - a * c).clamp(min=0.0).sqrt()
    real = b * b - a * c > 0
    a = torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a)
    best = torch.full_like(a, FAR)
    for sign in (-1.0, 1.0):
        t = (-b + sign * root) / a
        inside = (o[..., 2] + t * d[..., 2]).abs() <= 1.0 if kind != "sphere" else torch.ones_like(real)
        best = torch.where(real & inside & (t > 1e-4), torch.minimum(best, t), best)
    if kind == "sphere":
        return best
    for z in (-1.0, 1.0):
        t = (z - o[..., 2]) / torch.where(d[..., 2].abs() < 1e-9, torch.full_like(b, 1e-9), d[..., 2])
        x, y = o[..., 0] + t * d[..., 0], o[..., 1] + t * d[..., 1]
        best = torch.where((x * x + y * y <= (p + q * z) ** 2) & (t > 1e-4), torch.minimum(best, t), best)
    return best


def _planes(kind: str, size: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """Face normals (M, F, 3) and offsets (M, F) of the convex kinds; all fit the half extents."""
    m = len(size)
    axes = torch.eye(3, device=size.device)
    if kind == "box":
        return torch.cat([axes, -axes]).expand(m, 6, 3), torch.cat([size, size], dim=-1)
    if kind == "gem":
        i = torch.arange(PLANES, device=size.device)
        z = 1.0 - (2.0 * i + 1.0) / PLANES
        a = i * 2.39996 + shape[:, :1] * 6.28
        ring = (1 - z * z).sqrt()
        n = torch.stack([ring * a.cos(), ring * a.sin(), z.expand_as(a)], dim=-1)
        bevel = 0.72 + 0.28 * torch.frac(shape[:, 1:2] * 7.1 + i * 0.618)
        n = n / size[:, None]
        length = n.norm(dim=-1)
        return n / length[..., None], bevel / length
    sides = 3.0 + (shape[:, :1] * 4).floor()
    i = torch.arange(6, device=size.device).remainder(sides)
    a = i * (2 * math.pi / sides)
    lean = 0.55 if kind == "pyramid" else 0.0
    n = torch.stack([a.cos(), a.sin(), torch.full_like(a, lean)], dim=-1) / size[:, None]
    length = n.norm(dim=-1)
    caps = torch.tensor([[0.0, 0, 1], [0.0, 0, -1]], device=size.device).expand(m, 2, 3)
    offsets = torch.cat([(0.75 if lean else 0.9) / length, size[:, 2:], size[:, 2:]], dim=-1)
    return torch.cat([n / length[..., None], caps], dim=1), offsets


def _distance(kind: str, p: Tensor, size: Tensor, shape: Tensor) -> Tensor:
    """Signed distance (a lower bound where bent) of points (N, 3); size (N, 3), shape (N, 8)."""
    if kind == "torus":
        tube = size[:, 2].clamp(max=0.3) * 0.8
        ring = p[:, :2].norm(dim=-1) - (size[:, 0] - tube).clamp(min=0.05)
        return torch.stack([ring, p[:, 2]], dim=-1).norm(dim=-1) - tube
    if kind == "rounded box":
        radius = size.amin(-1) * (0.2 + 0.5 * shape[:, 0])
        q = p.abs() - size + radius[:, None]
        return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0) - radius
    if kind == "blob":
        total = torch.zeros_like(p[:, 0])
        scale = size.mean(-1)
        for i in range(4):
            a, b = shape[:, i] * 6.28 + i * 1.7, shape[:, (i + 3) % 8] * 2 - 1
            offset = torch.stack([a.cos() * 0.55, a.sin() * 0.55, b * 0.6], dim=-1) * size
            radius = scale * (0.32 + 0.3 * shape[:, i + 4])
            total = total + torch.exp(-((p - offset).norm(dim=-1) - radius) / scale * 9.0)
        return -torch.log(total + 1e-20) / 9.0 * scale
    if kind == "vase":
        z = p[:, 2] / size[:, 2]
        profile = 0.62 + 0.3 * torch.sin(z * (1.6 + 2.4 * shape[:, 0]) + shape[:, 1] * 6.28) - 0.1 * z
        side = (p[:, :2].norm(dim=-1) - size[:, 0] * profile) * 0.6
        return torch.maximum(side, p[:, 2].abs() - size[:, 2])
    if kind == "twisted column":
        a = p[:, 2] / size[:, 2] * (0.5 + 1.4 * shape[:, 0])
        c, s = a.cos(), a.sin()
        x, y = (c * p[:, 0] - s * p[:, 1]).abs(), (s * p[:, 0] + c * p[:, 1]).abs()
        half = size[:, 0] * 0.7
        q = torch.stack([x - half, y - half, p[:, 2].abs() - size[:, 2]], dim=-1) + 0.06
        return (q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0) - 0.06) * 0.55
    phase = shape[:, :3] * 6.28
    q = p / size
    bumps = (
        torch.sin(q[:, 0] * 5 + phase[:, 0])
        * torch.sin(q[:, 1] * 4 + phase[:, 1])
        * torch.sin(q[:, 2] * 5 + phase[:, 2])
    )
    fine = torch.sin(q[:, 0] * 11 + q[:, 1] * 9 + phase[:, 1]) * torch.sin(q[:, 2] * 12 + phase[:, 0])
    return (q.norm(dim=-1) - 0.86 + 0.12 * bumps + 0.025 * fine) * size.amin(-1) * 0.62


def _march(kind: str, o: Tensor, d: Tensor, size: Tensor, shape: Tensor, steps: int) -> Tensor:
    """Sphere tracing inside the bounding sphere; only rays that meet it are followed."""
    radius = size.norm(dim=-1)[:, None]
    b = (o * d).sum(-1)
    gap = b * b - (o * o).sum(-1) + radius * radius
    result = torch.full_like(b, FAR)
    row, ray = torch.nonzero((gap > 0) & (gap.clamp(min=0).sqrt() > b), as_tuple=True)
    if not len(row):
        return result
    root = gap[row, ray].sqrt()
    end = -b[row, ray] + root
    t = (-b[row, ray] - root).clamp(min=2e-3)
    origin, direction, size, shape = o[row, ray], d[row, ray], size[row], shape[row]
    live = torch.arange(len(row), device=o.device)
    for step in range(steps):
        distance = _distance(kind, origin[live] + t[live, None] * direction[live], size[live], shape[live])
        t[live] += distance
        if step % 6 == 5:
            live = live[(distance > 8e-4) & (t[live] < end[live])]
            if not len(live):
                break
    final = _distance(kind, origin + t[:, None] * direction, size, shape)
    result[row, ray] = torch.where((final < 6e-3) & (t < end) & (t > 1e-3), t, FAR)
    return result


CONVEX, QUADRIC = ("box", "prism", "pyramid", "gem"), ("sphere", "cylinder", "cone")


def _intersect(kind: str, o: Tensor, d: Tensor, size: Tensor, shape: Tensor, steps: int) -> Tensor:
    if kind in CONVEX:
        return _convex(o, d, *_planes(kind, size, shape))
    if kind in QUADRIC:
        return _quadric(o, d, size, kind)
    return _march(kind, o, d, size, shape, steps)


def _surface_normal(kind: str, p: Tensor, size: Tensor, shape: Tensor) -> Tensor:
    """Unit outward normals (N, 3) at surface points (N, 3), object space."""
    if kind in CONVEX:
        normals, offsets = _planes(kind, size, shape)
        gap = torch.einsum("nfj,nj->nf", normals, p) - offsets
        return normals.gather(1, gap.argmax(1)[:, None, None].expand(-1, 1, 3))[:, 0]
    if kind == "sphere":
        return torch.nn.functional.normalize(p / size**2, dim=-1)
    if kind in QUADRIC:
        q = p / size
        taper = 0.0 if kind == "cylinder" else 0.45
        radius = q[:, :2].norm(dim=-1)
        n = torch.cat([q[:, :2] / radius[:, None].clamp(min=1e-6), torch.full_like(q[:, :1], taper)], dim=-1) / size
        cap = q[:, 2].abs() > 1.0 - 1e-3
        flat = torch.cat([torch.zeros_like(q[:, :2]), q[:, 2:].sign()], dim=-1)
        return torch.nn.functional.normalize(torch.where(cap[:, None], flat, n), dim=-1)
    step = 1.5e-3
    axes = torch.eye(3, device=p.device) * step
    slope = [_distance(kind, p + a, size, shape) - _distance(kind, p - a, size, shape) for a in axes]
    return torch.nn.functional.normalize(torch.stack(slope, dim=-1), dim=-1)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a picture, pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, grid: Tensor) -> Tensor:
        """That part of B x H x W or B x H x W x C."""
        return grid[:, self.top : self.top + self.height, self.left : self.left + self.width]


def rays(scene: Scene, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Origins and unit directions (B, H*W, 3) of the rays through the pixel centres, world space."""
    device = scene.view.device
    y = 1.0 - (torch.arange(height, device=device) + 0.5) * (2.0 / height)
    x = ((torch.arange(width, device=device) + 0.5) * (2.0 / width) - 1.0) * (width / height)
    y, x = torch.meshgrid(y, x, indexing="ij")
    plane = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(1, -1, 3)
    toward = torch.tensor([0.0, 0.0, -1.0], device=device)
    perspective = torch.nn.functional.normalize(plane * scene.tan_half[:, None, None] + toward, dim=-1)
    parallel = scene.parallel[:, None, None]
    direction = torch.where(parallel, toward, perspective)
    origin = torch.where(parallel, plane * scene.window[:, None, None], 0.0)
    rotation = scene.view[:, :3, :3]
    eye = -torch.einsum("bji,bj->bi", rotation, scene.view[:, :3, 3])
    to_world = "bji,bpj->bpi"
    return torch.einsum(to_world, rotation, origin) + eye[:, None], torch.einsum(to_world, rotation, direction)


def _cast(scene: Scene, o: Tensor, d: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Nearest hit of world rays (B, P, 3): distance (B, P), FAR where missed, and slot (B, P), -1 where missed."""
    best = torch.full_like(o[..., 0], FAR)
    slot = torch.full(o.shape[:2], -1, dtype=torch.long, device=o.device)
    for index, kind in enumerate(KINDS):
        if kind == "none":
            continue
        scenes, slots = torch.nonzero(scene.kind == index, as_tuple=True)
        for s in slots.unique().tolist():
            b = scenes[slots == s]
            rotation = scene.rotation[b, s]
            local_o = torch.einsum("mpj,mji->mpi", o[b] - scene.centre[b, s][:, None], rotation)
            local_d = torch.einsum("mpj,mji->mpi", d[b], rotation)
            t = _intersect(kind, local_o, local_d, scene.size[b, s], scene.shape[b, s], steps)
            closer = t < best[b]
            slot[b] = torch.where(closer, s, slot[b])
            best[b] = torch.where(closer, t, best[b])
    return best, slot


def to_local(scene: Scene, vectors: Tensor, owner: tuple[Tensor, Tensor], points: bool) -> Tensor:
    """World points or directions (N, 3) in the space of the objects (scene, slot) that own them."""
    if points:
        vectors = vectors - scene.centre[owner]
    return torch.einsum("nj,nji->ni", vectors, scene.rotation[owner])


def trace(scene: Scene, height: int, width: int, window: Window | None = None) -> Buffers:
    """The geometry buffers of every scene, or of that window of its picture."""
    o, d = rays(scene, height, width)
    if window is not None:
        o, d = (window.of(x.unflatten(1, (height, width))).flatten(1, 2) for x in (o, d))
        height, width = window.height, window.width
    t, slot = _cast(scene, o, d, 42)
    position = o + t[..., None] * d
    normal = torch.zeros_like(position)
    owner_scene = torch.arange(len(o), device=o.device)[:, None].expand_as(slot)
    kind = torch.where(slot >= 0, scene.kind[owner_scene, slot.clamp(0)], 0)
    for index, name in enumerate(KINDS):
        at = torch.nonzero(kind == index, as_tuple=True)
        if name == "none" or not len(at[0]):
            continue
        owner = (at[0], slot[at])
        local = to_local(scene, position[at], owner, points=True)
        n = _surface_normal(name, local, scene.size[owner], scene.shape[owner])
        normal[at] = torch.einsum("nij,nj->ni", scene.rotation[owner], n)
    hit = slot >= 0
    depth = -(torch.einsum("bj,bpj->bp", scene.view[:, 2, :3], position) + scene.view[:, 2, 3:4])
    grid = (len(o), height, width)
    return Buffers(
        torch.where(hit[..., None], position, 0.0).reshape(*grid, 3),
        normal.reshape(*grid, 3),
        torch.where(hit, depth, torch.inf).reshape(grid),
        slot.reshape(grid),
        d.reshape(*grid, 3),
    )


def occluded(scene: Scene, buffers: Buffers, toward: Tensor) -> Tensor:
    """Whether something stands between each pixel's surface and the light in direction ``toward`` (B, 3). (B, H, W)."""
    b, h, w, _ = buffers.position.shape
    o = (buffers.position + 4e-3 * buffers.normal).reshape(b, -1, 3)
    d = toward[:, None].expand_as(o)
    t, _ = _cast(scene, o, d, 24)
    return (t < FAR).reshape(b, h, w) & (buffers.slot >= 0)
