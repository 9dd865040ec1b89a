"""Which surface points a view sees, and where in its picture; see :mod:`.visibility` for what it is judged by.

Millions of points are looked up in each view, so every pass over them counts. On a CPU comparing takes longer than
adding does: conditions are brought to a number whose sign is looked at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from torch import Tensor
from torch.nn.functional import grid_sample

from .surface import SurfacePoints
from .visibility import CAREFUL, MAX_SLOPE, NO_OUTER_SIDE, ViewGeometry, pixel_footprint, pixel_size

__all__ = ["Lookup", "look", "sample"]

NEARER = (0.5, 0.5)
"""How much nearer than a point the buffer may be, in pixel footprints: for a surface that faces the camera, and more
per unit of slope. Anything beyond it hides the point."""

FARTHER = (1.0, 1.5)
"""The same for what is farther away. It hides nothing, and near a convex edge it still belongs to the surface."""

ENOUGH = 0.3
"""Bilinear weight that the pixels which show a point must have for it to count as seen."""

EDGE_ON = 1e-3
"""Cosine of the angle between face and viewer below which a face isn't seen from either side."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The M of N points that a view sees.

    index: int64 (M,), which points.
    grid: float32 (M, 2), x and y in the picture, -1..1 from edge to edge, y down.
    cosine: float32 (M,), of the angle between shading normal and viewer.
    border: float32 (M,), 0 at depth edges, 1 away from them.
    footprint: float32 (M,), world size of a buffer pixel there.
    careful: int64 (K,), those of the M that have taps of their own.
    taps: int64 (K, 4), pixels of the picture. tap_weights: float32 (K, 4), summing to 1.
    """

    index: Tensor
    grid: Tensor
    cosine: Tensor
    border: Tensor
    footprint: Tensor
    careful: Tensor
    taps: Tensor
    tap_weights: Tensor

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """M of the points, inside the frame, that turn the side to the viewer which their normals say they do.

    index: int64 (M,). turned, cosine: of the angles of faces (below 0: the
    inner side is seen) and of shading normals to the viewer, (M,). grid: as in :class:`Lookup`, but (2, M). depth:
    planar, (M,).
    """

    index: Tensor
    turned: Tensor
    cosine: Tensor
    grid: Tensor
    depth: Tensor

    def at(self, which: Tensor) -> _Candidates:
        rows = self.turned, self.cosine, self.grid, self.depth
        return _Candidates(_picked(self.index, which), *(_picked(row, which) for row in rows))


def look(view: ViewGeometry, points: SurfacePoints, origin: Tensor, min_cosine: float = 0.05) -> Lookup:
    """Find what the view sees of the points. origin: float64 (3,), of the points' positions."""
    middle = origin.cpu().numpy()
    cosine, turned = _facing(points, view.camera, middle)
    if view.inner_side_shows:
        # Which side of a mesh is seen is the face normal's to say.
        cosine.mul_(torch.sign(turned))
        margin = torch.minimum(cosine - min_cosine, turned.abs().sub_(EDGE_ON))
    else:
        margin = torch.minimum(cosine - min_cosine, turned - EDGE_ON)
    index = _places(_exceeds(margin, 0.0))
    position, turned, cosine = (_picked(values, index) for values in (points.position, turned, cosine))
    return _judge(view, _framed(view.camera, index, position, turned, cosine, middle), points, middle)


def _facing(points: SurfacePoints, camera: Camera, middle: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Cosines (N,) of the angles of shading normals and of faces to the viewer; below 0 seen from behind."""
    if camera.is_orthographic:
        backward = _like(points.position, -camera.forward)
        return backward @ points.normal, backward @ points.face_normal
    place = camera.position - middle
    eye = _like(points.position, place)
    closeness = torch.addmv(points.square, points.position.T, eye, alpha=-2.0).add_(float(place @ place))
    closeness = closeness.clamp_(min=1e-30).rsqrt_()
    cosine = torch.addmv(points.plane, points.normal.T, eye, beta=-1.0).mul_(closeness)
    return cosine, torch.addmv(points.face_plane, points.face_normal.T, eye, beta=-1.0).mul_(closeness)


def _framed(
    camera: Camera, index: Tensor, position: Tensor, turned: Tensor, cosine: Tensor, middle: NDArray[np.float64]
) -> _Candidates:
    """Those of M points, position (3, M) from ``middle``, that lie in the frame."""
    matrix = camera.view_matrix
    offset = matrix[:3, :3] @ middle + matrix[:3, 3]
    onto = np.stack([camera.projection_matrix[0], -camera.projection_matrix[1], [0.0, 0.0, -1.0, 0.0]])
    projected = _like(position, onto[:, :3] @ matrix[:3, :3]) @ position
    projected += _like(position, onto[:, :3] @ offset + onto[:, 3])[:, None]
    near = _Candidates(index, turned, cosine, projected[:2], projected[2])
    if not camera.is_orthographic:
        if len(near.index) and float(near.depth.amin()) <= camera.near:
            near = near.at(_places(_exceeds(near.depth, camera.near)))
        near.grid.div_(near.depth)
    if len(near.index) and float(near.grid.abs().amax()) > 1.0:
        near = near.at(_places(~_exceeds(near.grid.abs().amax(0), 1.0)))
    return near


def _judge(view: ViewGeometry, near: _Candidates, points: SurfacePoints, middle: NDArray[np.float64]) -> Lookup:
    sheet, border = grid_sample(
        view.sheet, near.grid.T[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]
    pixel = _pixel_of(near.grid, view.camera.width, view.camera.height)
    marks = view.marks.index_select(0, pixel)
    shown = _exceeds(_agreement(view, near, sheet), 0.0) & _same_side(view, marks, near.turned)
    if view.object_id is not None and view.only_object != points.object_id:
        shown &= _at(view.object_id, pixel) == points.object_id

    careful = _places(_exceeds(marks, CAREFUL - 1))
    taps, weights = _taps(view, near, points, careful, middle)
    total = weights.sum(1)
    shown[careful] = total >= ENOUGH
    kept = _places(shown)
    own = _places(_picked(shown, careful))
    return Lookup(
        index=_picked(near.index, kept),
        grid=_picked(near.grid, kept).T,
        cosine=_picked(near.cosine, kept).clamp_(max=1.0),
        border=_picked(border, kept),
        footprint=pixel_footprint(view.camera, _picked(near.depth, kept)),
        careful=torch.searchsorted(kept, _picked(careful, own)),
        taps=taps.index_select(0, own),
        tap_weights=weights.index_select(0, own) / _picked(total, own)[:, None],
    )


def _agreement(view: ViewGeometry, near: _Candidates, sheet: Tensor) -> Tensor:
    """Above 0 where the buffer's depth is the points' own within what :data:`NEARER` and :data:`FARTHER` say, (M,).

    sheet: what the view's says there, (M,).
    """
    unit = pixel_size(view.camera)
    slope = _slope(near.turned)
    if view.camera.is_orthographic:
        away, rounding = sheet - near.depth, near.depth.abs() * view.rounding
        nearer, farther = (slope * (limit[1] * unit) + (limit[0] * unit) + rounding for limit in (NEARER, FARTHER))
        return torch.minimum(nearer + away, farther - away)
    # Everything in parts of the point's own depth: the buffer's is 1 / ratio.
    ratio = sheet * near.depth
    least = (slope * (-NEARER[1] * unit)).add_(1.0 - NEARER[0] * unit - view.rounding)
    most = slope.mul_(FARTHER[1] * unit).add_(1.0 + FARTHER[0] * unit + view.rounding)
    return torch.minimum(least.mul_(ratio).neg_().add_(1.0), most.mul_(ratio).sub_(1.0))


def _slope(turned: Tensor) -> Tensor:
    """Depth change per pixel footprint of faces at these cosines to the viewer."""
    return (turned * turned).reciprocal_().sub_(1.0).clamp_(0.0, MAX_SLOPE**2).sqrt_()


def _same_side(view: ViewGeometry, marks: Tensor, turned: Tensor) -> Tensor:
    """Whether the buffer may show, at pixels with these marks, the side of the mesh that is turned to the viewer."""
    if view.inner_side_shows:
        marks = torch.where(turned < 0.0, marks >> 1, marks)
    return ~_exceeds(marks & NO_OUTER_SIDE, 0)


def _taps(
    view: ViewGeometry, near: _Candidates, points: SurfacePoints, which: Tensor, middle: NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """The four picture pixels around each point and their bilinear weights, 0 where they show something else."""
    camera, (rows, columns) = view.camera, view.image_size
    grid, depth, turned = (_picked(values, which)[..., None] for values in (near.grid, near.depth, near.turned))
    x = ((grid[0] * 0.5 + 0.5) * columns - 0.5).clamp_(0.0, columns - 1.0)
    y = ((grid[1] * 0.5 + 0.5) * rows - 0.5).clamp_(0.0, rows - 1.0)
    left, top = x.floor(), y.floor()
    fx, fy = x - left, y - top
    weight = torch.cat([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)
    column = torch.cat([left, left + 1.0], 1).int().clamp_(max=columns - 1).repeat(1, 2)
    row = torch.cat([top, top + 1.0], 1).int().clamp_(max=rows - 1).repeat_interleave(2, 1)

    ratio_x, ratio_y = camera.width / columns, camera.height / rows
    buffer_x = column if ratio_x == 1.0 else ((column + 0.5) * ratio_x).int().clamp_(max=camera.width - 1)
    buffer_y = row if ratio_y == 1.0 else ((row + 0.5) * ratio_y).int().clamp_(max=camera.height - 1)
    pixel = buffer_y * camera.width + buffer_x
    footprint = pixel_footprint(camera, depth)
    face, plane = _faces(camera, points, _picked(near.index, which), middle)
    reach = footprint * (MAX_SLOPE * max(1.0, ratio_x, ratio_y))
    expected = _plane_depth(face[..., None], plane[:, None], buffer_x, buffer_y, camera)
    expected = torch.minimum(torch.maximum(expected, depth - reach), depth + reach)
    away = _at(view.depth, pixel) - expected
    slope, rounding = _slope(turned), depth.abs() * view.rounding
    nearer, farther = (torch.addcmul(rounding, footprint, slope * limit[1] + limit[0]) for limit in (NEARER, FARTHER))
    same = _exceeds(torch.minimum(nearer + away, farther - away), 0.0) & _same_side(
        view, _at(view.marks, pixel), turned
    )
    if view.object_id is not None and view.only_object != points.object_id:
        same &= _at(view.object_id, pixel) == points.object_id
    return (row * columns + column).long(), weight * same


def _faces(camera: Camera, points: SurfacePoints, which: Tensor, middle: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Planes of some points' faces in view space: normals (3, K), and normal . position (K,)."""
    matrix = camera.view_matrix
    offset = matrix[:3, :3] @ middle + matrix[:3, 3]
    normal = _picked(points.face_normal, which)
    face = _like(normal, matrix[:3, :3]) @ normal
    return face, torch.addmv(_picked(points.face_plane, which), face.T, _like(face, offset))


def _plane_depth(face: Tensor, plane: Tensor, x: Tensor, y: Tensor, camera: Camera) -> Tensor:
    """Depth at which rays through the centres of pixels x, y (K, 4) meet planes face (3, K, 1) . p = plane (K, 1)."""
    p = camera.projection_matrix
    u = ((x + 0.5) / camera.width * 2.0 - 1.0 - float(p[0, 3])) / float(p[0, 0])
    v = (1.0 - (y + 0.5) / camera.height * 2.0 - float(p[1, 3])) / float(p[1, 1])
    nx, ny, nz = face
    if camera.is_orthographic:
        towards, offset = -nz.expand_as(u), plane - nx * u - ny * v
    else:
        u, v = u + float(p[0, 2] / p[0, 0]), v + float(p[1, 2] / p[1, 1])
        towards, offset = nx * u + ny * v - nz, plane
    depth: Tensor = offset / torch.where(towards.abs() < 1e-9, 1e-9, towards)
    return depth


def sample(lookup: Lookup, image: Tensor) -> Tensor:
    """Colours (C, M) of the seen points. image: float32 (1, C, h, w), linear light, of the view's image_size."""
    colour = grid_sample(image, lookup.grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)[
        0, :, 0
    ]
    if len(lookup.careful):
        taps = image[0].flatten(1).index_select(1, lookup.taps.flatten()).view(-1, *lookup.taps.shape)
        colour[:, lookup.careful] = (taps * lookup.tap_weights).sum(2)
    return colour


# --- tensors ------------------------------------------------------------------------------------------


def _like(values: Tensor, array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32)).to(values.device)


def _places(mask: Tensor) -> Tensor:
    """Where a mask (N,) is true, int64, ascending. numpy's way takes a third of the time of torch's on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return torch.nonzero(mask)[:, 0]


def _exceeds(values: Tensor, limit: float) -> Tensor:
    """``values > limit``. numpy's way takes a ninth of the time of torch's on a CPU."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.asarray(values.numpy() > values.numpy().dtype.type(limit)))
    return values > limit


def _at(values: Tensor, place: Tensor) -> Tensor:
    """``values[place]``, values (N,), place of any shape."""
    return values.index_select(0, place.flatten()).view(place.shape)


def _picked(values: Tensor, index: Tensor) -> Tensor:
    """``values[..., index]``, index (N,): this way it takes a third of the time on a CPU."""
    return values.index_select(-1, index)


def _pixel_of(grid: Tensor, width: int, height: int) -> Tensor:
    x = ((grid[0] * (0.5 * width)).add_(0.5 * width)).int().clamp_(0, width - 1)
    y = ((grid[1] * (0.5 * height)).add_(0.5 * height)).int().clamp_(0, height - 1)
    return y.mul_(width).add_(x)
