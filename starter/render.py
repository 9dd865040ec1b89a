"""Pictures of traced scenes: procedural surfaces under a sun, a sky, shadows, contact darkening, fog and a film curve.

One vectorised pass over all pixels of a batch, on any device. Colours are linear until the last line.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fields import cells, fbm, smooth
from materials import Point, evaluate, linear
from scenes import Buffers, Scene, occluded, to_local
from torch import Tensor

__all__ = ["LIGHTS", "Baked", "Light", "Look", "render"]


@dataclass(frozen=True, slots=True)
class Light:
    """A lighting mood. sun, zenith, horizon, ground: hex colours; power: of the sun; height: its elevation range,
    radians; fill: strength of the sky's light; fog: density range per view height; backdrop: what stands behind."""

    sun: str
    power: float
    height: tuple[float, float]
    zenith: str
    horizon: str
    ground: str
    fill: float
    fog: tuple[float, float]
    backdrop: str
    phrases: tuple[str, ...]


LIGHTS = {
    "daylight": Light("fff4e0", 3.0, (0.5, 1.2), "3f74c4", "b8d4ee", "8a8478", 0.75, (0.0, 0.02), "clouds",
        ("in daylight", "on a sunny day", "at noon", "in bright sunlight", "under a blue sky")),
    "sunset": Light("ff9a4a", 3.2, (0.12, 0.4), "54609c", "ffae6b", "7a5a4c", 0.6, (0.0, 0.06), "clouds",
        ("at sunset", "in golden hour light", "at golden hour", "in warm evening light", "at sunrise")),
    "dusk": Light("7f86d8", 0.9, (0.15, 0.6), "161d45", "6a5a8c", "24243a", 0.75, (0.01, 0.09), "clouds",
        ("at dusk", "at twilight", "in the blue hour", "at nightfall")),
    "night": Light("9db8ff", 1.1, (0.5, 1.1), "05070f", "111a33", "0a0c14", 0.55, (0.0, 0.03), "stars",
        ("at night", "in moonlight", "under the stars", "by moonlight")),
    "overcast": Light("ffffff", 0.5, (0.8, 1.4), "aab2ba", "d4d9dd", "86868a", 1.1, (0.0, 0.06), "clouds",
        ("on an overcast day", "in soft light", "under a cloudy sky", "in diffuse light")),
    "fog": Light("fff8ee", 0.5, (0.6, 1.2), "b9c0c6", "cfd4d8", "a5a8aa", 1.0, (0.22, 0.6), "plain",
        ("in fog", "in thick fog", "on a misty morning", "in the mist", "foggy")),
    "studio": Light("ffffff", 2.2, (0.5, 1.1), "8d9096", "d5d6da", "77777a", 0.75, (0.0, 0.0), "plain",
        ("in studio light", "on a plain backdrop", "product photo", "studio lighting", "softbox lighting")),
    "dramatic": Light("ffe6c8", 4.2, (0.15, 0.6), "121216", "1c1b20", "0c0b0b", 0.45, (0.0, 0.0), "plain",
        ("in dramatic light", "with hard side light", "low key lighting", "chiaroscuro")),
    "candlelight": Light("ff9138", 2.6, (0.2, 0.7), "1a0d07", "3a1d0c", "1c0f08", 0.7, (0.0, 0.04), "plain",
        ("by candlelight", "in warm lamp light", "by the fire", "in firelight")),
    "neon": Light("ff2fb4", 2.4, (0.2, 0.8), "0b1a4a", "1c7fb0", "12071f", 0.95, (0.0, 0.1), "plain",
        ("in neon light", "with pink and blue neon lights", "cyberpunk lighting", "in a neon city")),
    "flat": Light("ffffff", 0.0, (0.5, 1.0), "808080", "808080", "808080", 1.0, (0.0, 0.0), "plain",
        ("flat light", "flat lighting", "unlit albedo", "albedo texture, flat light", "even flat light, no shadows")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How B scenes are dressed. material, finish (B, K): indices, finish -1 for none; tint (B, K, 3) linear,
    tinted (B, K); grain (B, K) scale of the pattern; random (B, K, 8); light (B,) index into LIGHTS;
    sun (B, 3) unit, towards it; mood (B, 4): exposure, fog, cloud, saturation, each in [0, 1]."""

    material: Tensor
    finish: Tensor
    tint: Tensor
    tinted: Tensor
    grain: Tensor
    random: Tensor
    light: Tensor
    sun: Tensor
    mood: Tensor


@dataclass(frozen=True, slots=True)
class Baked:
    """What is known beforehand of the light in B scenes. lit: (B, H, W) in [0, 1], whether nothing stands between a
    surface and the sun. open_sky: (B, H, W) share of the sky that a surface sees."""

    lit: Tensor
    open_sky: Tensor


def _table(codes: list[str], device: torch.device) -> Tensor:
    return torch.stack([linear(code) for code in codes]).to(device)


def _sky(direction: Tensor, look: Look, rough: Tensor) -> Tensor:
    """Light (B, P, 3) from directions (B, P, 3), blurred as a surface of that roughness (B, P) reflects it."""
    presets = list(LIGHTS.values())
    device = direction.device
    zenith, horizon, ground, sun = (
        _table([getattr(p, name) for p in presets], device)[look.light][:, None]
        for name in ("zenith", "horizon", "ground", "sun")
    )
    z = direction[..., 2]
    width = 0.04 + 0.9 * rough
    above = _blend(horizon, zenith, smooth(0.0, 1.0, (z + 0.1) / (0.75 + 0.5 * rough)))
    colour = _blend(ground, above, ((z / width) * 0.5 + 0.5).clamp(0, 1))
    facing = (direction * look.sun[:, None]).sum(-1).clamp(min=0)
    power = torch.tensor([p.power for p in presets], device=device)[look.light][:, None, None]
    # A broad glow around the sun: it reads as a softbox in glossy reflections.
    sharp = 6.0 + 60.0 * (1.0 - rough) ** 2
    return colour + sun * power * (0.04 * sharp.sqrt() * facing**sharp)[..., None]


def _blend(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + (b - a) * t[..., None]


def _backdrop(direction: Tensor, look: Look) -> Tensor:
    """Background colours (B, P, 3)."""
    presets = list(LIGHTS.values())
    sky = _sky(direction, look, torch.full_like(direction[..., 0], 0.25))
    kinds = torch.tensor([("plain", "clouds", "stars").index(p.backdrop) for p in presets], device=direction.device)
    kind = kinds[look.light]
    horizon = _table([p.horizon for p in presets], direction.device)[look.light][:, None]
    flat = direction / (direction[..., 2:].abs() + 0.25)
    seed = look.random[:, :1, :3] * 40
    for b in torch.nonzero(kind == 1)[:, 0].tolist():
        cloud = smooth(0.35 - 0.5 * float(look.mood[b, 2]), 0.9, fbm(flat[b] * 1.6 + seed[b], 4))
        cloud = cloud * smooth(-0.02, 0.2, direction[b, :, 2])
        sky[b] = _blend(sky[b], horizon[b] * 1.25 + 0.06, 0.75 * cloud)
    for b in torch.nonzero(kind == 2)[:, 0].tolist():
        star = smooth(0.10, 0.02, cells(direction[b] * 9 + seed[b])[0])
        sky[b] = sky[b] + (0.9 * star * smooth(0.0, 0.1, direction[b, :, 2]))[:, None]
    return sky


def _bump(buffers: Buffers, height: Tensor, window: Tensor) -> Tensor:
    """Shading normals (B, H, W, 3): the surface normals tilted by the height field (B, H, W), world units."""
    p, n, slot = buffers.position, buffers.normal, buffers.slot

    def step(x: Tensor, axis: int) -> Tensor:
        return torch.roll(x, -1, axis) - x

    same_x = (torch.roll(slot, -1, 2) == slot) & (slot >= 0)
    same_y = (torch.roll(slot, -1, 1) == slot) & (slot >= 0)
    dx, dy = step(p, 2), step(p, 1)
    hx, hy = step(height, 2) * same_x, step(height, 1) * same_y
    r1, r2 = torch.linalg.cross(dy, n), torch.linalg.cross(n, dx)
    det = (dx * r1).sum(-1)
    gradient = (hx[..., None] * r1 + hy[..., None] * r2) * det.sign()[..., None]
    strength = gradient.norm(dim=-1) / det.abs().clamp(min=1e-9)
    limit = (1.2 / strength.clamp(min=1e-6)).clamp(max=1.0)
    return F.normalize(n - gradient / det.abs().clamp(min=1e-9)[..., None] * limit[..., None], dim=-1)


def _contact(scene: Scene, buffers: Buffers) -> Tensor:
    """Ambient occlusion (B, H, W) by the objects' bounding ellipsoids, and by the ground below."""
    b, h, w, _ = buffers.position.shape
    open_sky = torch.ones(b, h * w, device=buffers.position.device)
    p, n = buffers.position.reshape(b, -1, 3), buffers.normal.reshape(b, -1, 3)
    slot = buffers.slot.reshape(b, -1)
    for k in range(3, scene.kind.shape[1]):
        there = (scene.kind[:, k] > 0)[:, None]
        toward = scene.centre[:, k][:, None] - p
        distance = toward.norm(dim=-1).clamp(min=1e-3)
        radius = scene.size[:, k].mean(-1)[:, None] * 1.1
        facing = ((n * toward).sum(-1) / distance).clamp(min=0)
        cover = facing * (radius / distance).clamp(max=1.0) ** 2
        open_sky = torch.where(there & (slot != k), open_sky * (1 - 0.8 * cover), open_sky)
    grounded = (scene.kind[:, 0] > 0)[:, None] & (slot > 0)
    near_ground = torch.exp(-p[..., 2].clamp(min=0) * 5.0) * (0.5 - 0.35 * n[..., 2])
    return torch.where(grounded, open_sky * (1 - 0.7 * near_ground.clamp(0, 1)), open_sky).reshape(b, h, w)


def render(scene: Scene, look: Look, buffers: Buffers, baked: Baked | None = None) -> Tensor:
    """sRGB pictures (B, H, W, 3) in [0, 1]. baked: shadows for a scene that can't be traced."""
    b, h, w, _ = buffers.position.shape
    presets = list(LIGHTS.values())
    device = buffers.position.device
    hit = buffers.slot >= 0
    at = torch.nonzero(hit, as_tuple=True)
    owner = (at[0], buffers.slot[at])
    scale = 1.0 / (scene.window[at[0]] * look.grain[owner])
    local = to_local(scene, buffers.position[at], owner, points=True)
    point = Point(
        local * scale[:, None] + look.random[owner][:, :3] * 50.0,
        to_local(scene, buffers.normal[at], owner, points=False),
        look.random[owner],
        look.tint[owner],
        look.tinted[owner],
    )
    surface = evaluate(look.material[owner], look.finish[owner], point, buffers.normal[at][:, 2])

    def spread(values: Tensor) -> Tensor:
        image = torch.zeros(b, h, w, *values.shape[1:], device=device)
        image[at] = values
        return image

    albedo, rough, metal, emit = (spread(x) for x in (surface.albedo, surface.rough, surface.metal, surface.emit))
    normal = _bump(buffers, spread(surface.height / scale), scene.window)
    direction, sun = buffers.direction, look.sun[:, None, None]
    facing = (normal * sun).sum(-1)
    if baked is None:
        baked = Baked((~occluded(scene, buffers, look.sun)).float(), _contact(scene, buffers))
    lit, contact = (facing.clamp(min=0) * baked.lit).clamp(max=1.0), baked.open_sky
    power = torch.tensor([p.power for p in presets], device=device)[look.light][:, None, None, None]
    fill = torch.tensor([p.fill for p in presets], device=device)[look.light][:, None, None, None]
    sun_colour = _table([p.sun for p in presets], device)[look.light][:, None, None]

    def sky(d: Tensor, roughness: Tensor) -> Tensor:
        return _sky(d.reshape(b, -1, 3), look, roughness.reshape(b, -1)).reshape(b, h, w, 3)

    ambient = sky(normal, torch.ones_like(rough)) * (fill * contact[..., None])
    diffuse = albedo * (1 - metal)[..., None] * (ambient + sun_colour * power * lit[..., None] * 0.55)
    against = (-(normal * direction).sum(-1)).clamp(0.02, 1.0)
    mirror = F.normalize(direction + 2 * against[..., None] * normal, dim=-1)
    fresnel = (1 - against) ** 5 * (1 - rough)
    base = 0.04 * (1 - metal)[..., None] + albedo * metal[..., None]
    reflectance = base + (1 - base) * fresnel[..., None]
    gloss = (1 - 0.9 * rough) ** 2
    half = F.normalize(sun - direction, dim=-1)
    shine = 2.0 + 300.0 * (1 - rough) ** 4
    highlight = (half * normal).sum(-1).clamp(min=0) ** shine * (lit > 0) * (shine + 8) / 40
    reflected = sky(mirror, rough) * (0.35 + 0.65 * contact[..., None])
    weight = torch.maximum(gloss, metal)[..., None]
    shaded = diffuse + reflectance * (
        reflected * weight * fill.clamp(0.6, 1.0) + sun_colour * power * highlight[..., None]
    )
    shaded = shaded + emit

    background = _backdrop(direction.reshape(b, -1, 3), look).reshape(b, h, w, 3)
    low = torch.tensor([p.fog[0] for p in presets], device=device)[look.light]
    high = torch.tensor([p.fog[1] for p in presets], device=device)[look.light]
    density = (low + (high - low) * look.mood[:, 1]) / scene.window
    distance = torch.where(hit, buffers.depth - (scene.window / scene.tan_half * 0.75)[:, None, None], 0.0).clamp(min=0)
    haze = 1 - torch.exp(-distance * density[:, None, None])
    image = torch.where(hit[..., None], _blend(shaded, _sky_level(look, presets), haze), background)
    # Half-way automatic exposure, as a camera would: nights stay darker than days, but never black.
    level = image.mean(-1).clamp(max=1.5).mean((1, 2)).clamp(min=1e-3)
    exposure = (0.24 / level) ** 0.6 * (0.8 + 0.4 * look.mood[:, 0])
    image = image * exposure[:, None, None, None]
    grey = image.mean(-1, keepdim=True)
    image = (grey + (image - grey) * (0.85 + 0.35 * look.mood[:, 3])[:, None, None, None]).clamp(min=0)
    film = (image * (2.51 * image + 0.03)) / (image * (2.43 * image + 0.59) + 0.14)
    unlit = torch.where(hit[..., None], (albedo + 0.6 * emit).clamp(max=1.0), 0.214)
    flat = (look.light == list(LIGHTS).index("flat"))[:, None, None, None]
    return _srgb(torch.where(flat, unlit, film.clamp(0, 1)))


def _sky_level(look: Look, presets: list[Light]) -> Tensor:
    return _table([p.horizon for p in presets], look.light.device)[look.light][:, None, None]


def _srgb(x: Tensor) -> Tensor:
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
