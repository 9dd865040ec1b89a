"""A UNet in two halves, which do what diffusers' ``UNet2DConditionModel.forward`` does, in its order.

Between them it takes in what ControlNets add: so its first half and the ControlNets can run side by side. And its
outermost level can run alone, on what the deeper ones made of an earlier step (DeepCache, CVPR 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Halfway", "UNetHalves", "can_be_halved"]

PLAIN = {
    "center_input_sample": False,
    "class_embed_type": None,
    "num_class_embeds": None,
    "time_embedding_act_fn": None,
    "attention_type": "default",
}
"""Settings of the UNets that the halves are written for: all of Stable Diffusion's."""


def can_be_halved(module: Any) -> bool:
    """Is it a UNet without what Stable Diffusion doesn't have?"""
    config = getattr(module, "config", {})
    return (
        type(module).__name__ == "UNet2DConditionModel"
        and not hasattr(module, "_diffusers_hook")  # what a hook does, it does when the whole is called
        and all(config[name] == value for name, value in PLAIN.items())
        and config["addition_embed_type"] in (None, "text", "text_time")
        and module.mid_block is not None
        and len(module.up_blocks) > 1
    )


@dataclass(frozen=True, slots=True)
class Halfway:
    """A UNet after its middle. sample: of the middle. skips: what goes over to the other side, the outermost first.
    time, text: as the blocks want them."""

    sample: Tensor
    skips: tuple[Tensor, ...]
    time: Tensor
    text: Tensor


@dataclass(frozen=True, slots=True)
class UNetHalves:
    """module: diffusers UNet2DConditionModel that :func:`can_be_halved`. Of one call, all images are of one size."""

    module: Any

    @property
    def outer_skips(self) -> int:
        """How many of the skips the outermost level takes in."""
        return len(self.module.up_blocks[-1].resnets)

    def down(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        timestep_cond: Tensor | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
    ) -> Halfway:
        """From the input to after the middle. Arguments as of the module's ``forward``."""
        sample, time, text = self._begin(sample, timestep, encoder_hidden_states, timestep_cond, added_cond_kwargs)
        skips = [sample]
        for block in self.module.down_blocks:
            sample, further = _run(block, text, hidden_states=sample, temb=time)
            skips += further
        return Halfway(_run(self.module.mid_block, text, hidden_states=sample, temb=time), tuple(skips), time, text)

    def up(self, halfway: Halfway, residuals: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
        """To the prediction; and what enters the outermost level, to be used again.

        residuals: to add to the skips and, last, to the middle; empty for none.
        """
        sample, skips = halfway.sample, list(halfway.skips)
        if residuals:
            *on_skips, on_middle = residuals
            skips = [_sum(skip, part) for skip, part in zip(skips, on_skips, strict=True)]
            sample = _sum(sample, on_middle)
        deep = sample
        *inner, outermost = self.module.up_blocks
        for block in inner:
            taken = tuple(skips[-len(block.resnets) :])
            del skips[-len(block.resnets) :]
            deep = _run(
                block,
                halfway.text,
                hidden_states=deep,
                temb=halfway.time,
                res_hidden_states_tuple=taken,
                upsample_size=skips[-1].shape[2:],
            )
        return self._end(outermost, deep, skips, halfway.time, halfway.text), deep

    def outermost(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        timestep_cond: Tensor | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        *,
        deep: Tensor,
        residuals: Sequence[Tensor | None],
    ) -> Tensor:
        """The prediction of the outermost level alone. deep: what :meth:`up` gave at an earlier step. residuals: as
        there; those of deeper levels aren't looked at."""
        sample, time, text = self._begin(sample, timestep, encoder_hidden_states, timestep_cond, added_cond_kwargs)
        further = _run(self.module.down_blocks[0], text, hidden_states=sample, temb=time)[1]
        skips = [sample, *further][: self.outer_skips]
        if residuals:
            skips = [_sum(skip, part) for skip, part in zip(skips, residuals[: self.outer_skips], strict=True)]
        return self._end(self.module.up_blocks[-1], deep, skips, time, text)

    def _begin(
        self,
        sample: Tensor,
        timestep: Tensor,
        text: Tensor,
        guidance: Tensor | None,
        conditions: Mapping[str, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        module = self.module
        time = module.time_embedding(module.get_time_embed(sample=sample, timestep=timestep), guidance)
        more = module.get_aug_embed(emb=time, encoder_hidden_states=text, added_cond_kwargs=conditions)
        time = time if more is None else time + more
        text = module.process_encoder_hidden_states(encoder_hidden_states=text, added_cond_kwargs=conditions)
        return module.conv_in(sample), time, text

    def _end(self, block: Any, deep: Tensor, skips: Sequence[Tensor], time: Tensor, text: Tensor) -> Tensor:
        module = self.module
        sample = _run(block, text, hidden_states=deep, temb=time, res_hidden_states_tuple=tuple(skips))
        if module.conv_norm_out:
            sample = module.conv_act(module.conv_norm_out(sample))
        return module.conv_out(sample)  # type: ignore[no-any-return]


def _run(block: Any, text: Tensor, **arguments: Any) -> Any:
    """Only blocks with cross-attention want the text."""
    if getattr(block, "has_cross_attention", False):
        return block(**arguments, encoder_hidden_states=text)
    return block(**arguments)


def _sum(value: Tensor, more: Tensor | None) -> Tensor:
    return value if more is None else value + more
