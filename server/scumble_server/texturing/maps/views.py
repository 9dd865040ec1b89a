"""Pictures with the geometry of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scumble_shared.camera import Camera
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ..fuse import ViewImage
from ..mesh import Mesh
from ..render import Visible, render_view
from ..visibility import pixel_footprint

__all__ = ["Picture", "picture_of"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A view's picture and what lies behind its h x w pixels.

    colour: float32 (3, h, w), linear. camera: of the picture's size. hit: bool (h, w), pixels that show the meshes.
    trust: float32 (h, w), 0 where nothing is hit and at depth edges, 1 away from them. normal: float32 (3, h, w), unit,
    view space, towards the viewer. side: float32 (h, w), -1 where the inner side of a mesh is seen, else 1.
    depth: float32 (h, w), planar, 0 where nothing is hit. footprint: world size of a pixel, typically.
    """

    view: ViewImage
    colour: Tensor
    camera: Camera
    hit: Tensor
    trust: Tensor
    normal: Tensor
    side: Tensor
    depth: Tensor
    footprint: float

    @property
    def rotation(self) -> Tensor:
        """World -> view, float32 (3, 3)."""
        return torch.from_numpy(self.camera.view_matrix[:3, :3]).float().to(self.colour.device)


def picture_of(meshes: Sequence[Mesh], view: ViewImage) -> Picture:
    """view: with a picture of three channels, which may have more pixels than its buffers, or fewer."""
    rows, columns = view.image.shape[2:]
    camera = replace(view.geometry.camera, width=columns, height=rows)
    visible = render_view(meshes, camera)
    buffers = view.geometry.camera
    seen = view.geometry.depth.view(1, 1, buffers.height, buffers.width)
    in_front = interpolate(seen, (rows, columns), mode="nearest")[0, 0]
    size = pixel_footprint(camera, visible.depth)
    # What else is in the scene hides some of the meshes, and its pixels say nothing of them.
    hit = (visible.mesh >= 0) & (in_front >= visible.depth - 4.0 * size - 0.01 * visible.depth.abs())
    border = interpolate(view.geometry.sheet[:, 1:], (rows, columns), mode="bilinear", align_corners=False)[0, 0]
    return Picture(
        view=view,
        colour=view.image[0, :3],
        camera=camera,
        hit=hit,
        trust=torch.where(hit, border, 0.0),
        normal=_normals(meshes, visible, camera),
        side=torch.where(visible.front | (visible.mesh < 0), 1.0, -1.0),
        depth=torch.where(visible.mesh >= 0, visible.depth, 0.0),
        footprint=float(size[hit].median()) if bool(hit.any()) else 1.0,
    )


def _normals(meshes: Sequence[Mesh], visible: Visible, camera: Camera) -> Tensor:
    """Shading normals towards the viewer, view space, float32 (3, h, w); zero where nothing is hit."""
    rotation = torch.from_numpy(camera.view_matrix[:3, :3]).float().to(visible.depth.device)
    normals = torch.zeros(visible.depth.numel(), 3, device=visible.depth.device)
    for number, mesh in enumerate(meshes):
        where = torch.nonzero((visible.mesh == number).flatten())[:, 0]
        corners = mesh.normals[visible.triangle.flatten()[where]]
        mean = torch.einsum("pk,pkc->pc", visible.weights.view(-1, 3)[where].float(), corners)
        side = torch.where(visible.front.flatten()[where], 1.0, -1.0)[:, None]
        normals[where] = normalize(mean, dim=1) @ rotation.T * side
    return normals.T.reshape(3, *visible.depth.shape).contiguous()
