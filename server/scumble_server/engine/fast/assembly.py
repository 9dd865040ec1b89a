"""A network and its ControlNets as the denoise loop calls them, with what they save from step to step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..denoise import Residuals, Step
from ..extensions.controls import Controls
from .compiling import Compiler
from .graphs import Graphs
from .joint import Joint, Plan
from .saving import EVERYTHING, Saving, Work
from .tensors import Given, Made

__all__ = ["Assembly"]


@dataclass(slots=True)
class _Kept:
    """Of some images of the batch, from the latest step that made it. acting: which ControlNets ran. difference: from
    the prompt's prediction to the negative one's."""

    made: Made
    acting: tuple[int, ...]
    difference: Tensor | None


class Assembly:
    """Implements :class:`..denoise.Network` for one run of the loop, ControlNets included.

    timesteps: of the run; copied to the device once, since a single one copied in a step is waited for. graphs,
    compiler: None does without. variant: what else the network's doing depends on, asked before each step; None if
    nothing does.
    """

    def __init__(
        self,
        joint: Joint,
        controls: Controls,
        timesteps: Tensor,
        saving: Saving,
        graphs: Graphs | None = None,
        compiler: Compiler | None = None,
        variant: Callable[[], Hashable] | None = None,
    ) -> None:
        self._joint, self._controls, self._saving = joint, controls, saving
        self._graphs, self._compiler, self._variant = graphs, compiler, variant
        self._timesteps = timesteps.to(joint.device)
        self._strengths: dict[tuple[int, int], tuple[float, Tensor]] = {}
        self._kept: dict[tuple[int | None, int | None], _Kept] = {}

    @property
    def dtype(self) -> torch.dtype:
        return self._joint.network.dtype

    def predict(self, step: Step, appended: Sequence[Tensor], residuals: Residuals | None) -> Tensor:
        """residuals: None, since it runs the ControlNets itself."""
        assert residuals is None, "an assembly has its own ControlNets"
        where = (step.images.start, step.images.stop)
        kept = self._kept.get(where)
        guided = len(step.model_input) == 2 * len(step.latents)
        acting = tuple(index for index, run in enumerate(self._controls.runs) if run.acts(step))
        work = self._work(step, acting, kept)
        shown = step if work.guided or not guided else _of_prompt(step)
        count = len(shown.model_input)
        made = self._made(shown, [part[-count:] for part in appended], acting, work, kept)
        prediction, difference = made.prediction, None
        if guided and work.guided:
            negative, positive = prediction.chunk(2)
            difference = negative - positive
        elif guided and kept is not None and kept.difference is not None:
            difference, prediction = kept.difference, torch.cat([prediction + kept.difference, prediction])
        if self._saves:
            self._kept[where] = _Kept(made if work.deep or kept is None else kept.made, acting, difference)
        return prediction

    @property
    def _saves(self) -> bool:
        return self._saving != Saving()

    def _work(self, step: Step, acting: tuple[int, ...], kept: _Kept | None) -> Work:
        if kept is None or kept.acting != acting:
            return EVERYTHING
        work = self._saving.work(step.index, step.count)
        return work if self._joint.outermost is not None else replace(work, deep=True)

    def _made(
        self, step: Step, appended: Sequence[Tensor], acting: tuple[int, ...], work: Work, kept: _Kept | None
    ) -> Made:
        variant = None if self._variant is None else self._variant()
        guidance = step.guidance_scale if self._joint.network.embeds_guidance else None
        plan = Plan(work, acting if work.controls else (), self._saves, guidance, variant)
        given = self._given(step, appended, plan, kept)
        compiler, joint = self._compiler, self._joint
        if compiler is not None:
            joint = compiler.best(joint, given, step, plan)
        compute = partial(joint, like=step, plan=plan)
        if self._graphs is None:
            return compute(given)
        return self._graphs.run((joint.key, plan), compute, given, compiler is None or not compiler.is_busy)

    def _given(self, step: Step, appended: Sequence[Tensor], plan: Plan, kept: _Kept | None) -> Given:
        shown = [run.shown(step) for run in self._controls.runs] if plan.work.controls else []
        count = len(step.model_input)
        earlier = None if plan.work.controls or kept is None else kept.made
        return Given(
            model_input=step.model_input,
            timestep=self._timesteps[step.index],
            text=step.text,
            pooled=step.pooled,
            appended=tuple(appended),
            conditions=tuple(tuple(one.condition for one in several) for several in shown),
            strengths=tuple(
                tuple(self._strength(run, place, float(one.strength)) for place, one in enumerate(several))
                for run, several in enumerate(shown)
            ),
            residuals=() if earlier is None else tuple(_last(part, count) for part in earlier.residuals),
            deep=None if plan.work.deep or earlier is None else _last(earlier.deep, count),
        )

    def _strength(self, run: int, place: int, value: float) -> Tensor:
        """As a tensor on the device, filled there and only when it changes."""
        known = self._strengths.get((run, place))
        if known is None or known[0] != value:
            filled = torch.full((), value, dtype=self.dtype, device=self._joint.device)
            known = self._strengths[run, place] = (value, filled)
        return known[1]


def _of_prompt(step: Step) -> Step:
    """Without the negative half."""
    count = len(step.latents)
    pooled = None if step.pooled is None else step.pooled[-count:]
    return replace(step, model_input=step.model_input[-count:], text=step.text[-count:], pooled=pooled)


def _last(part: Tensor | None, count: int) -> Tensor | None:
    return None if part is None else part[-count:]
