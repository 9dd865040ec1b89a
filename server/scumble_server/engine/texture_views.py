"""The views of a texture job: where they stand, what they are told, and what their ControlNets are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scumble_shared.camera import Camera
from scumble_shared.detectors import PICTURE_KINDS
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import Control, Label, Pose, TextureJob
from scumble_shared.placement import words_of
from scumble_shared.tensor import AnyArray, Digest

from ..texturing.base import Base
from ..texturing.mesh import Mesh, load_meshes, no_area
from ..texturing.raster import rasterise
from ..texturing.render import Visible, render_view
from ..texturing.views import automatic_views, coverage, further_views
from .conditioning import ViewBuffers, control_image
from .control_pictures import unseen_pose
from .pixels import rounded_up
from .texture_base import base_colors

__all__ = ["WorkView", "control_images", "paintable_meshes", "work_views"]

CHECK_SIZE = 64
"""Side of the texture on which it is found out whether a UV map has any area; islands of any size touch a texel."""


@dataclass(frozen=True, slots=True)
class WorkView:
    """camera: of the size that is generated. words: for this side of the object. prompt: all of what the model is told.
    image: uint8 H x W x 3 of a view that is locked. is_extra: it was added for what the others leave unseen."""

    camera: Camera
    words: str
    prompt: str
    image: AnyArray | None = None
    is_extra: bool = False

    @property
    def is_locked(self) -> bool:
        return self.image is not None


def paintable_meshes(job: TextureJob, tensors: Mapping[Digest, AnyArray], device: torch.device) -> list[Mesh]:
    """One for each texture. Raises ScumbleError SCENE for meshes without faces or without area in their UV maps, and
    as :func:`..texturing.mesh.load_meshes` does."""
    if not job.meshes:
        raise ScumbleError(ErrorCode.SCENE, "there is no mesh to texture", field="job.meshes")
    meshes = load_meshes(job.meshes, tensors, device)
    for mesh in meshes:
        if not bool(rasterise(mesh, CHECK_SIZE).covered.any()):
            raise no_area(mesh, job.meshes)
    return meshes


def work_views(
    job: TextureJob, meshes: Sequence[Mesh], tensors: Mapping[Digest, AnyArray], scale: int
) -> tuple[list[WorkView], float]:
    """The job's views, or views placed round the meshes, then extra ones; and the share of the surface that is seen.

    scale: image pixels per latent pixel, of which sides are made multiples; the frame stays as it is, so that pixels
    get a little narrower at most. Raises ScumbleError SCENE if no view sees any of the meshes.
    """
    if job.views:
        views = [
            _work_view(job, view.camera, words_of(view.camera), view.prompt, scale, _locked(tensors, view.image, i))
            for i, view in enumerate(job.views)
        ]
        share = coverage(meshes, [view.camera for view in views])
    else:
        placed, share = automatic_views(meshes, (job.view_size, job.view_size))
        views = [_work_view(job, view.camera, view.words, "", scale, None) for view in placed]
    if share <= 0.0:
        raise ScumbleError(
            ErrorCode.SCENE,
            "none of the views sees anything of the meshes",
            field="job.views",
            remedy=Remedy("Point the cameras at the object, or let the views be placed automatically"),
        )
    if job.extra_views:
        size = views[0].camera.width, views[0].camera.height
        placed, share = further_views(meshes, [view.camera for view in views], job.extra_views, size)
        further = [_work_view(job, view.camera, view.words, "", scale, None) for view in placed]
        views += [replace(view, is_extra=True) for view in further]
    return views, share


def _work_view(
    job: TextureJob, camera: Camera, words: str, prompt: str, scale: int, image: AnyArray | None
) -> WorkView:
    said = (job.prompt, prompt, words if job.view_words else "")
    whole = replace(camera, width=rounded_up(camera.width, scale), height=rounded_up(camera.height, scale))
    return WorkView(whole, words, ", ".join(part for part in said if part.strip()), image)


def _locked(tensors: Mapping[Digest, AnyArray], digest: Digest | None, position: int) -> AnyArray | None:
    if digest is None:
        return None
    image = tensors[digest]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD,
            f"expected a uint8 picture, height x width x 3, got {image.dtype.name} of shape {image.shape}",
            field=f"job.views[{position}].image",
        )
    return image


# --- what ControlNets are shown ---------------------------------------------------------------------


def control_images(
    controls: Sequence[Control],
    meshes: Sequence[Mesh],
    views: Sequence[WorkView],
    poses: Sequence[Pose] = (),
    bases: Sequence[Base | None] = (),
    labels: Sequence[Label] = (),
) -> list[AnyArray]:
    """Per control a picture for each view, uint8 V x H x W x 3. Depth has one range over all views.

    poses: of people. bases: what is painted already, of each mesh. labels: what meshes are. Raises ScumbleError
    INVALID_FIELD where a control needs colours and nothing is painted, SCENE if no view sees anybody's pose.
    """
    if not controls:
        return []
    buffers = [_buffers(meshes, view.camera) for view in views]
    hits = [depth[np.isfinite(depth)] for depth in (view.depth for view in buffers) if depth is not None]
    depths = np.concatenate(hits)
    near, far = (float(depths.min()), float(depths.max())) if depths.size else (None, None)
    if any(control.kind in PICTURE_KINDS for control in controls) and any(base is not None for base in bases):
        colors = base_colors(meshes, bases, [view.camera for view in views])
        buffers = [replace(view, color=color) for view, color in zip(buffers, colors, strict=True)]
    buffers = [replace(view, poses=tuple(poses), labels=tuple(labels)) for view in buffers]
    images = []
    for number, control in enumerate(controls):
        near_wanted = near if control.near is None else control.near
        far_wanted = far if control.far is None else control.far
        ranged = replace(control, near=near_wanted, far=far_wanted)
        pictures = [control_image(ranged, view, view.camera.width, view.camera.height) for view in buffers]
        images.append(np.stack(pictures))
        if control.kind == "openpose" and not images[-1].any():
            raise unseen_pose(number)
    return images


def _buffers(meshes: Sequence[Mesh], camera: Camera) -> ViewBuffers:
    """As Blender would render them."""
    visible = render_view(meshes, camera)
    ids = np.array([0, *(mesh.object_id for mesh in meshes)], np.uint16)
    return ViewBuffers(
        camera,
        depth=visible.depth.cpu().numpy(),
        normal=_normals(meshes, visible, camera).cpu().numpy(),
        object_id=ids[visible.mesh.cpu().numpy() + 1],
    )


def _normals(meshes: Sequence[Mesh], visible: Visible, camera: Camera) -> torch.Tensor:
    """View-space shading normals, float32 H x W x 3, turned to the viewer; zero where nothing is hit."""
    rotation = torch.from_numpy(camera.view_matrix[:3, :3]).float().to(visible.depth.device)
    normals = torch.zeros(visible.depth.numel(), 3, device=visible.depth.device)
    for number, mesh in enumerate(meshes):
        where = torch.nonzero((visible.mesh == number).flatten())[:, 0]
        corners = mesh.normals[visible.triangle.flatten()[where]]
        mean = torch.einsum("pk,pkc->pc", visible.weights.view(-1, 3)[where].float(), corners)
        side = torch.where(visible.front.flatten()[where], 1.0, -1.0)[:, None]
        normals[where] = torch.nn.functional.normalize(mean, dim=1) @ rotation.T * side
    return normals.view(*visible.depth.shape, 3)
