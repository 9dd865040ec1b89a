"""Decoders by graphs, where there are any."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..family import LoadedModel
from ..seamless import tiling_now
from .graphs import weights_of

__all__ = ["decoded"]


def decoded(model: LoadedModel, vae: Any, latents: Tensor) -> Tensor:
    """What ``vae``, one of the model's, makes of latents as it wants them."""

    def decode(given: Tensor) -> Tensor:
        return vae.decode(given, return_dict=False)[0]  # type: ignore[no-any-return]

    if model.graphs is None or tiling_now():
        return decode(latents)
    places = tuple(weight.data_ptr() for weight in weights_of(vae.decoder))
    may_record = model.compiler is None or not model.compiler.is_busy
    return model.graphs.run(("decode", id(vae), hash(places)), decode, latents, may_record)
