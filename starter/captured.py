"""Captured views as batches for training: the same buffers that the ray-caster gives, of Blender's meshes.

What a view can't be asked any more, where its shadows fall and how much sky each place sees, was captured with it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from render import Baked, Look
from scenes import Buffers, Scene, Window, rays
from torch import Tensor
from views import FARTHEST, HELD_OUT_SEED, NEAREST, NOTHING, Views, load_views

__all__ = ["Captured", "Shot"]

LOADERS = 8


@dataclass(frozen=True, slots=True)
class Shot:
    """B captured views. scene: with PARTS slots; its kinds are those of the groups that the parts belong to.
    group: B x PARTS, index into dressing's slots. kinds: B x GROUPS, what captions are told.
    suns: B x SUNS x 3. lit: B x SUNS x H x W in [0, 1]. open_sky: B x H x W in [0, 1]."""

    scene: Scene
    buffers: Buffers
    group: Tensor
    kinds: Tensor
    suns: Tensor
    lit: Tensor
    open_sky: Tensor

    def dressing(self) -> Scene:
        """The scene as :func:`captions.dress` wants it, on the CPU: one slot for all that is dressed alike."""
        return replace(self.scene, kind=self.kinds.cpu(), view=self.scene.view.cpu())

    def worn(self, look: Look) -> tuple[Look, Baked]:
        """That look on every part, its sun moved to the nearest direction whose shadows are known."""
        rows = torch.arange(len(self.group), device=self.group.device)[:, None]
        by_part = {
            name: getattr(look, name)[rows, self.group]
            for name in ("material", "finish", "tint", "tinted", "grain", "random")
        }
        nearest = torch.einsum("bsj,bj->bs", self.suns, look.sun).argmax(1)
        row = rows[:, 0]
        return replace(look, **by_part, sun=self.suns[row, nearest]), Baked(self.lit[row, nearest], self.open_sky)


class Captured:
    """All views of a folder, on a device.

    size: pixels, the views' own or a whole fraction of it.
    Raises FileNotFoundError for a folder without views, ValueError for a size that doesn't fit and for a folder that
    mixes training's scenes with evaluation's.
    """

    def __init__(self, folder: Path, device: torch.device, size: int) -> None:
        paths = sorted(folder.glob("*.npz"))
        if not paths:
            raise FileNotFoundError(f"no captured views (*.npz) in {folder}; make them with capture.py")
        with ThreadPoolExecutor(LOADERS) as pool:
            views = Views.joined(list(pool.map(load_views, paths)))
        if views.part.shape[1] % size:
            raise ValueError(f"views of {views.part.shape[1]} pixels can't be shown in {size}")
        self.held_out = bool(views.source[0, 1] >= HELD_OUT_SEED)
        if ((views.source[:, 1] >= HELD_OUT_SEED) != self.held_out).any():
            raise ValueError(f"{folder} holds views for training and for evaluation")
        self.views, self.device, self.size = views, device, size
        step = views.part.shape[1] // size
        self._depth = self._kept(views.depth.astype("int16")[:, ::step, ::step])
        self._normal = self._kept(views.normal[:, ::step, ::step])
        self._part = self._kept(views.part[:, ::step, ::step])
        self._lit = self._kept(views.lit)
        self._sky = self._kept(views.open_sky)

    def __len__(self) -> int:
        return len(self.views.part)

    def _kept(self, array: object) -> Tensor:
        return torch.tensor(array, device=self.device)

    def shot(self, at: Tensor, window: Window | None = None) -> Shot:
        """The views of these numbers (B,), or that window of their pictures."""
        window = window or Window(0, 0, self.size, self.size)
        views, chosen, at = self.views, at.numpy(), at.to(self.device)
        kinds = self._kept(views.kind[chosen]).long()
        group = self._kept(views.group[chosen]).long()
        scene = Scene(
            kind=kinds.gather(1, group),
            centre=self._kept(views.centre[chosen]),
            rotation=self._kept(views.rotation[chosen]),
            size=torch.ones(*group.shape, 3, device=self.device),
            shape=torch.zeros(*group.shape, 8, device=self.device),
            view=self._kept(views.view[chosen]),
            tan_half=self._kept(views.tan_half[chosen]),
            window=self._kept(views.window[chosen]),
            parallel=self._kept(views.parallel[chosen]),
        )
        near, far = (self._kept(part[chosen])[:, None, None] for part in (views.nearest, views.farthest))
        lit, open_sky = self._lit[at].float(), self._sky[at].float() / 255.0
        return Shot(
            scene, self._buffers(scene, at, near, far, window), group, kinds, self._kept(views.suns[chosen]),
            self._spread(lit, window), self._spread(open_sky[:, None], window)[:, 0],
        )  # fmt: skip

    def _spread(self, small: Tensor, window: Window) -> Tensor:
        whole = F.interpolate(small, (self.size, self.size), mode="bilinear", align_corners=False)
        return window.of(whole.flatten(0, 1)).unflatten(0, whole.shape[:2])

    def _buffers(self, scene: Scene, at: Tensor, near: Tensor, far: Tensor, window: Window) -> Buffers:
        part, code = window.of(self._part[at]).long(), window.of(self._depth[at]).float()
        hit, parallel = part != NOTHING, scene.parallel[:, None, None]
        along = (code - FARTHEST) / (NEAREST - FARTHEST)
        inverse = 1.0 / (1.0 / far + along * (1.0 / near - 1.0 / far))
        depth = torch.where(parallel, far + along * (near - far), inverse)
        full = self.views.part.shape[1]
        step = full // self.size
        origin, direction = (
            window.of(x.unflatten(1, (full, full))[:, ::step, ::step]) for x in rays(scene, full, full)
        )
        forward = -scene.view[:, 2, :3]
        length = depth / torch.einsum("bhwj,bj->bhw", direction, forward)
        position = origin + direction * length[..., None]
        normal = torch.einsum("bji,bhwj->bhwi", scene.view[:, :3, :3], _directions(window.of(self._normal[at])))
        there = hit[..., None]
        return Buffers(
            torch.where(there, position, 0.0), torch.where(there, normal, 0.0), torch.where(hit, depth, torch.inf),
            torch.where(hit, part, -1), direction,
        )  # fmt: skip


def _directions(code: Tensor) -> Tensor:
    """:func:`views.from_octahedron`, on the device."""
    flat = code.float() / 127.0 - 1.0
    z = 1.0 - flat.abs().sum(-1, keepdim=True)
    below = (-z).clamp(min=0.0)
    return F.normalize(torch.cat([flat - torch.where(flat >= 0.0, below, -below), z], dim=-1), dim=-1)
