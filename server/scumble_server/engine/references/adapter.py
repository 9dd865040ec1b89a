"""An IP-Adapter for one model: made of its file by diffusers' own converter, without touching the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection
from safetensors.torch import load_file
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.tensor import AnyArray, digest_of
from torch import Tensor

from ...models.adapters import SAVED_PROJECTION
from ...models.entries import AdapterEntry
from ..cache import Cache
from ..device import Device
from ..families.loading import guarded
from .encoder import LoadedEncoder

__all__ = ["LoadedAdapter", "Tokens", "load_adapter"]

PICTURES_KEPT = 16
"""Pictures that were looked at, kept per adapter: in live mode the same ones are in job after job."""

Tokens = tuple[Tensor, Tensor]
"""Of no picture and of a picture, 1 x tokens x width of the text each."""

State = dict[str, Tensor]


@dataclass(slots=True, eq=False)
class LoadedAdapter:
    """projection: what the encoder sees -> tokens beside those of the prompt. attentions: what looks at them, by the
    names of the model's attention processors. pictures: tokens by the digest of what was looked at."""

    entry: AdapterEntry
    projection: MultiIPAdapterImageProjection
    attentions: Mapping[str, IPAdapterAttnProcessor2_0]
    pictures: Cache[str, Tokens] = field(default_factory=lambda: Cache(PICTURES_KEPT))

    @property
    def modules(self) -> Sequence[torch.nn.Module]:
        """All that has weights."""
        return [self.projection, *self.attentions.values()]

    def tokens(self, image: AnyArray, encoder: Callable[[], LoadedEncoder]) -> Tokens:
        """image: uint8 H x W x 3. encoder: asked for only if the picture wasn't looked at before."""
        return self.pictures.get(digest_of(image), lambda: self._looked(image, encoder()))

    @torch.inference_mode()
    def _looked(self, image: AnyArray, encoder: LoadedEncoder) -> Tokens:
        (projection,) = self.projection.image_projection_layers
        weight = next(projection.parameters())
        seen, of_nothing = encoder.look(image, hidden=not isinstance(projection, ImageProjection))
        both = torch.stack([of_nothing, seen]).to(weight.device, weight.dtype)
        nothing, picture = self.projection([both])[0]
        return nothing, picture


class _Unet(UNet2DConditionLoadersMixin):  # type: ignore[misc]
    """What the converter asks of a UNet, so that the UNet itself stays as it is."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        self.attn_processors = {name: AttnProcessor2_0() for name in module.attn_processors}
        self.config = module.config
        self.device, self.dtype = torch.device("cpu"), dtype

    def attentions(self, state: Mapping[str, State]) -> dict[str, IPAdapterAttnProcessor2_0]:
        made = self._convert_ip_adapter_attn_to_diffusers([state], low_cpu_mem_usage=True)
        return {name: one for name, one in made.items() if isinstance(one, IPAdapterAttnProcessor2_0)}

    def projection(self, state: Mapping[str, State]) -> MultiIPAdapterImageProjection:
        made = self._convert_ip_adapter_image_proj_to_diffusers(state["image_proj"], low_cpu_mem_usage=True)
        return MultiIPAdapterImageProjection([made])


def load_adapter(entry: AdapterEntry, module: Any, model: str, device: Device) -> LoadedAdapter:
    """For a UNet of diffusers. model: its name. Weights are in the computer's memory, in the device's format.

    Raises ScumbleError MODEL_INVALID for files that don't open, MODEL_MISMATCH for what was made for another UNet.
    """
    tensors = guarded(entry.name, lambda: load_file(entry.path))
    shape = _Unet(module, device.dtype)
    try:
        state = _state(tensors, [name for name in shape.attn_processors if name.endswith("attn2.processor")])
        attentions, projection = shape.attentions(state), shape.projection(state)
        for one in (projection, *attentions.values()):
            one.requires_grad_(False).eval().to(dtype=device.dtype)  # complains of tensors that weren't in the file
    except (KeyError, ValueError, RuntimeError) as error:
        message = f"{entry.name} was made for a model of another size than {model}"
        raise ScumbleError(ErrorCode.MODEL_MISMATCH, message) from error
    return LoadedAdapter(entry, projection, attentions)


def _state(tensors: State, names: Sequence[str]) -> dict[str, State]:
    """As the converter wants it. names: of the processors of the UNet's cross-attentions, in its order."""
    if not any(name.startswith(SAVED_PROJECTION) for name in tensors):
        parts = {name: name.partition(".")[::2] for name in tensors}
        return {
            part: {rest: tensors[name] for name, (own, rest) in parts.items() if own == part}
            for part in ("image_proj", "ip_adapter")
        }
    saved = {
        name.removeprefix(SAVED_PROJECTION): tensor
        for name, tensor in tensors.items()
        if name.startswith(SAVED_PROJECTION)
    }
    of_faces = any(name.startswith("ff.net.") for name in saved)
    projection = {_original(name, of_faces): tensor for name, tensor in saved.items()}
    attentions = {
        f"{2 * place + 1}.to_{which}_ip.weight": tensors[f"{name}.to_{which}_ip.0.weight"]
        for place, name in enumerate(names)
        for which in ("k", "v")
    }
    return {"image_proj": projection, "ip_adapter": attentions}


def _original(name: str, of_faces: bool) -> str:
    """Of a projection as diffusers saves it -> of the original code. of_faces: of whole ones, "full face"."""
    if of_faces:
        return name.replace("ff.net.0.proj", "proj.0").replace("ff.net.2", "proj.2").replace("norm", "proj.3")
    return name.replace("image_embeds", "proj").replace("to_out.0", "to_out")
