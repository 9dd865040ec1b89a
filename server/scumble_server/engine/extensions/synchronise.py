"""Views of one object in the loop: made to agree on its texture in each step, before the sampler moves on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scumble_shared.placement import sheet_columns

from ...service import JobHooks
from ...texturing.sync import SyncPlan, SyncSchedule
from ..denoise import Extension, Step
from ..family import LoadedModel
from .preview import Preview

__all__ = ["Contact", "Synchronise"]


class Synchronise(Extension):
    """What the model takes the views to be without noise meets in the shared texture; each goes on with what it sees of
    that, and with its own background. The sampler isn't concerned: it is told the prediction that says so.

    After SyncTweedies (NeurIPS 2024), case 2, with the rising exponent of SyncMVD (SIGGRAPH Asia 2024).
    """

    def __init__(self, plan: SyncPlan, schedule: SyncSchedule, free: Sequence[int], known: torch.Tensor) -> None:
        """free: which of the plan's views the batch is. known: V x C x h x w, latents of the others, clean."""
        self._plan, self._schedule = plan, schedule
        self._free = list(free)
        self._known = known

    def predicted(self, step: Step) -> torch.Tensor | None:
        exponent = self._schedule.exponent(step.index, step.count)
        if exponent is None:
            return None
        clean = step.clean()
        views = self._known.clone()
        views[self._free] = clean.to(views.device)
        agreed = self._plan.synchronise(views, exponent)[self._free].to(clean.device)
        return step.moved(agreed - clean)


class Contact(Preview):
    """Previews of all views side by side."""

    def __init__(
        self,
        model: LoadedModel,
        hooks: JobHooks,
        span: tuple[float, float],
        free: Sequence[int],
        known: torch.Tensor,
        turn: tuple[int, int] = (0, 1),
    ) -> None:
        """span: fraction of the whole job before and after the loop. free, known: as for :class:`Synchronise`.
        turn: which loop of how many, where views are made in several."""
        super().__init__(model, hooks, *span)
        self._free = list(free)
        self._known = known
        self._turn = turn

    def told(self, step: Step) -> tuple[int, int]:
        turn, turns = self._turn
        return turn * step.count + step.index + 1, turns * step.count

    def picture(self, clean: torch.Tensor) -> torch.Tensor:
        views = self._known.to(clean.device, clean.dtype, copy=True)
        views[self._free] = clean
        return contact_sheet(views)


def contact_sheet(views: torch.Tensor) -> torch.Tensor:
    """V x C x h x w -> 1 x C x rows * h x columns * w, about square; what stays empty is 0."""
    count, channels, height, width = views.shape
    columns = sheet_columns(count, width, height)
    rows = -(-count // columns)
    sheet = views.new_zeros(rows * columns, channels, height, width)
    sheet[:count] = views
    return (
        sheet.view(rows, columns, channels, height, width)
        .permute(2, 0, 3, 1, 4)
        .reshape(1, channels, rows * height, columns * width)
    )
