"""Which texels a view sees, and what colour it sees there.

A texel at view position P with face normal n is compared with the view's depth buffer at the four pixels
around it. At each, the depth its own plane would have at that pixel's centre is predicted, so sloping surfaces
need no large tolerance; a pixel whose depth differs by more than the tolerance, that carries another object, or
on which the mesh turns its other side to the camera, shows something else and is left out. A texel is visible if
the pixels that show it hold at least half of the bilinear weight, and its colour comes from those alone:
nothing is mixed across a silhouette.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scumble_shared.camera import Camera
from torch import Tensor

__all__ = ["Seen", "SurfacePoints", "ViewBuffers", "depth_edges", "pixel_footprint", "sample_view", "soft_border"]

FOOTPRINT_SLACK = 1.0
"""Depth tolerance in pixel footprints, for a surface that faces the camera; grows with the slope."""

MAX_SLOPE = 10.0
"""Depth change per pixel footprint beyond which a surface counts as seen edge-on (84 degrees)."""

MIN_COSINE = 0.05


@dataclass(frozen=True, slots=True)
class ViewBuffers:
    """One view's geometry, at its buffers' resolution H x W (that of ``camera``).

    depth: float32, inf where nothing. border: float32 in [0, 1], 0 at silhouettes and depth edges, 1 away from
    them. object_id: int32, or None. facing: int8, +1 where the front-most triangle of the textured meshes turns its
    outward side to the camera, -1 the inward side, 0 none of them; or None. rounding: relative error of the depth's
    number format.
    """

    camera: Camera
    depth: Tensor
    border: Tensor
    object_id: Tensor | None = None
    facing: Tensor | None = None
    rounding: float = 2e-4


@dataclass(frozen=True, slots=True)
class SurfacePoints:
    """N surface points in view space, float32 (N, 3) each. face_normal: outward, unit. normal: shading normal, unit."""

    position: Tensor
    face_normal: Tensor
    normal: Tensor
    object_id: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a view says of N points. color: float32 (N, C). visible: bool (N,). border: float32 (N,) in [0, 1].
    cosine: float32 (N,), of the angle between shading normal and viewer, 0 where not visible."""

    color: Tensor
    visible: Tensor
    border: Tensor
    cosine: Tensor


def pixel_footprint(camera: Camera, depth: Tensor) -> Tensor:
    """World size of a pixel at planar depths (any shape), the larger of width and height."""
    p = camera.projection_matrix
    unit = max(2.0 / (p[0, 0] * camera.width), 2.0 / (p[1, 1] * camera.height))
    return torch.full_like(depth, unit) if camera.is_orthographic else depth * unit


def depth_edges(camera: Camera, depth: Tensor, object_id: Tensor | None = None) -> Tensor:
    """Pixels at a silhouette or depth discontinuity, bool (H, W), both sides of it.

    A step between neighbours is an edge if neither side's own slope explains it, or if the object changes.
    """
    edges = torch.zeros_like(depth, dtype=torch.bool)
    for axis in (0, 1):
        length = depth.shape[axis]
        if length < 2:
            continue
        low, high = depth.narrow(axis, 0, length - 1), depth.narrow(axis, 1, length - 1)
        both = torch.isfinite(low) & torch.isfinite(high)
        step = torch.where(both, (high - low).abs(), 0.0)
        before, after = step.roll(1, axis), step.roll(-1, axis)
        before.narrow(axis, 0, 1).zero_()
        after.narrow(axis, length - 2, 1).zero_()
        nearer = torch.where(both, torch.minimum(low, high), 1.0)
        slope = torch.minimum(torch.maximum(before, after), pixel_footprint(camera, nearer) * MAX_SLOPE)
        jump = step > 3.0 * pixel_footprint(camera, nearer) + 1.5 * slope
        jump |= torch.isfinite(low) != torch.isfinite(high)
        if object_id is not None:
            jump |= object_id.narrow(axis, 0, length - 1) != object_id.narrow(axis, 1, length - 1)
        edges.narrow(axis, 0, length - 1).logical_or_(jump)
        edges.narrow(axis, 1, length - 1).logical_or_(jump)
    return edges


def soft_border(edges: Tensor, margin: int, feather: int) -> Tensor:
    """0 within ``margin`` pixels of an edge pixel, rising to 1 over ``feather`` more. float32 (H, W)."""
    distance = torch.full(edges.shape, float(margin + feather), device=edges.device)
    grown = edges[None].float()
    for ring in range(margin + feather):
        distance = torch.where(grown[0] > 0.0, distance.clamp(max=ring), distance)
        kernel = (3, 3) if ring % 2 else (1, 3)
        grown = torch.nn.functional.max_pool2d(grown, kernel, 1, (kernel[0] // 2, 1))
        if ring % 2 == 0:
            grown = torch.nn.functional.max_pool2d(grown, (3, 1), 1, (1, 0))
    return ((distance - margin + 1.0) / (feather + 1.0)).clamp_(0.0, 1.0)


def sample_view(view: ViewBuffers, image: Tensor, points: SurfacePoints) -> Seen:
    """Look the points up in the view.

    image: float32 (h, w, C), linear light, of the same picture at any resolution.
    """
    position, face = points.position, points.face_normal
    depth = -position[:, 2]
    camera = view.camera
    to_eye = _to_eye(position, camera)
    turned = (face * to_eye).sum(1)
    cosine = (points.normal * to_eye).sum(1) * torch.sign(turned)
    pixel = _pixels(position, camera)
    usable = (depth > camera.near) | torch.tensor(camera.is_orthographic, device=depth.device)
    usable &= (turned.abs() > 1e-4) & (cosine > MIN_COSINE)
    usable &= (pixel >= 0.0).all(1) & (pixel[:, 0] <= camera.width) & (pixel[:, 1] <= camera.height)
    chosen = torch.nonzero(usable)[:, 0]

    color = torch.zeros(len(depth), image.shape[2], device=depth.device)
    visible = torch.zeros_like(usable)
    border = torch.zeros_like(depth)
    weight, mixed, soft = _taps(view, image, points, chosen, pixel[chosen], turned[chosen])
    shown = weight >= 0.5
    chosen, mixed, soft = chosen[shown], mixed[shown], soft[shown]
    color[chosen] = mixed / weight[shown][:, None]
    visible[chosen] = True
    border[chosen] = soft
    return Seen(color, visible, border, torch.where(visible, cosine.clamp(0.0, 1.0), 0.0))


def _taps(
    view: ViewBuffers, image: Tensor, points: SurfacePoints, chosen: Tensor, pixel: Tensor, turned: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Bilinear weight of the image pixels that show each chosen point, their summed colour, and the border there."""
    camera = view.camera
    rows, columns = image.shape[:2]
    ratio_x, ratio_y = camera.width / columns, camera.height / rows
    x = (pixel[:, 0] / ratio_x - 0.5).clamp(0.0, columns - 1.0)
    y = (pixel[:, 1] / ratio_y - 0.5).clamp(0.0, rows - 1.0)
    left, top = x.floor(), y.floor()
    fx, fy = x - left, y - top
    left, top = left.long(), top.long()

    position, face = points.position[chosen], points.face_normal[chosen]
    depth = -position[:, 2]
    footprint = pixel_footprint(camera, depth)
    slope = (torch.sqrt((1.0 - turned * turned).clamp(min=0.0)) / turned.abs()).clamp(max=MAX_SLOPE)
    tolerance = footprint * FOOTPRINT_SLACK * (1.0 + slope) + view.rounding * depth.abs()
    plane = (face * position).sum(1)
    reach = footprint * MAX_SLOPE * max(1.0, ratio_x, ratio_y)
    side = torch.sign(turned).to(torch.int8)

    total = torch.zeros_like(depth)
    mixed = torch.zeros(len(depth), image.shape[2], device=depth.device)
    soft = torch.zeros_like(depth)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = (left + dx).clamp(max=columns - 1), (top + dy).clamp(max=rows - 1)
        weight = (fx if dx else 1.0 - fx) * (fy if dy else 1.0 - fy)
        buffer_x = ((column + 0.5) * ratio_x).long().clamp(max=camera.width - 1)
        buffer_y = ((row + 0.5) * ratio_y).long().clamp(max=camera.height - 1)
        at = buffer_y * camera.width + buffer_x
        expected = _plane_depth(face, plane, buffer_x + 0.5, buffer_y + 0.5, camera)
        expected = torch.minimum(torch.maximum(expected, depth - reach), depth + reach)
        same = (view.depth.flatten()[at] - expected).abs() <= tolerance
        if view.object_id is not None:
            same &= view.object_id.flatten()[at] == points.object_id
        if view.facing is not None:
            same &= view.facing.flatten()[at] != -side
        weight = torch.where(same, weight, 0.0)
        total += weight
        mixed += image[row, column] * weight[:, None]
        soft += view.border.flatten()[at] * weight
    return total, mixed, soft / total.clamp(min=1e-6)


def _to_eye(position: Tensor, camera: Camera) -> Tensor:
    """Unit vectors from view-space positions to the viewer."""
    if camera.is_orthographic:
        return position.new_tensor([0.0, 0.0, 1.0]).expand_as(position)
    return -torch.nn.functional.normalize(position, dim=1)


def _pixels(position: Tensor, camera: Camera) -> Tensor:
    p = camera.projection_matrix
    x, y, z = position.unbind(1)
    w = torch.ones_like(z) if camera.is_orthographic else (-z).clamp(min=1e-12)
    u = (float(p[0, 0]) * x + float(p[0, 2]) * z + float(p[0, 3])) / w
    v = (float(p[1, 1]) * y + float(p[1, 2]) * z + float(p[1, 3])) / w
    return torch.stack([(u * 0.5 + 0.5) * camera.width, (0.5 - v * 0.5) * camera.height], 1)


def _plane_depth(face: Tensor, plane: Tensor, x: Tensor, y: Tensor, camera: Camera) -> Tensor:
    """Depth at which rays through pixel positions meet the planes face . p = plane (view space)."""
    p = camera.projection_matrix
    u = (x / camera.width * 2.0 - 1.0 - float(p[0, 3])) / float(p[0, 0])
    v = (1.0 - y / camera.height * 2.0 - float(p[1, 3])) / float(p[1, 1])
    if camera.is_orthographic:
        towards, offset = -face[:, 2], plane - face[:, 0] * u - face[:, 1] * v
    else:
        u, v = u + float(p[0, 2] / p[0, 0]), v + float(p[1, 2] / p[1, 1])
        towards, offset = face[:, 0] * u + face[:, 1] * v - face[:, 2], plane
    return offset / torch.where(towards.abs() < 1e-9, 1e-9, towards)
