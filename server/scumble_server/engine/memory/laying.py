"""Puts a model that was loaded where a plan wants it, stored as the plan wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import send_to_device

from ...memory.plan import Plan
from ..device import Device
from ..family import LoadedControlNet, LoadedModel
from ..references import LoadedAdapter, LoadedEncoder
from .stages import HOME, Stage, Stages, group
from .storing import store

__all__ = ["lay", "modules_of", "own_memory", "settled", "settled_adapter", "settled_controlnet", "where_to_load"]


def where_to_load(device: Device, plan: Plan) -> Device:
    """The device itself, or the computer's memory where something is still to be done to the weights."""
    return device if plan.is_plain else replace(device, torch_device=HOME)


def settled(model: LoadedModel, device: Device, plan: Plan) -> None:
    """A model that was loaded as :func:`where_to_load` says, from now on a model of ``device``.

    Raises ScumbleError UNSUPPORTED if its weights can't be quantized.
    """
    model.device = device
    if plan.is_plain:
        return
    there = device.torch_device
    store(model.network.module, plan.storage, there if plan.placement == "resident" else HOME)
    if plan.placement == "grouped":
        group(model.network.module, there)
    for encoder in model.prompt_encoder.modules().values():
        if plan.text_grouped:
            group(encoder, there)
        elif plan.placement != "resident":
            _come_when_called(encoder, model)
    for module in _staying(model, plan):
        module.to(there)


def _come_when_called(encoder: Any, model: LoadedModel) -> None:
    """Only then, since most prompts were encoded before; with what it is called with."""

    def arrive(module: Any, arguments: Any, named: Any) -> tuple[Any, Any]:
        model.room.show("text")
        device = model.device.torch_device
        return send_to_device(arguments, device), send_to_device(named, device)

    encoder.register_forward_pre_hook(arrive, with_kwargs=True)


def settled_controlnet(net: LoadedControlNet, device: Device, plan: Plan) -> None:
    """A ControlNet for such a model; where the model is quantized, it is cast layer by layer."""
    if plan.storage != "plain":
        store(net.net, "fp8", HOME)
    if plan.placement == "grouped":
        group(net.net, device.torch_device)
    elif plan.placement == "staged":
        net.net.to(HOME)


def settled_adapter(adapter: LoadedAdapter, device: Device, plan: Plan) -> None:
    """An IP-Adapter for such a model. What makes tokens of pictures is small, and stays on the device; what looks at
    them comes and goes as a whole, when the network does or its layers begin to."""
    adapter.projection.to(device.torch_device)
    for attention in adapter.attentions.values():
        attention.to(device.torch_device if plan.placement == "resident" else HOME)


def lay(
    model: LoadedModel, nets: Sequence[LoadedControlNet], plan: Plan, adapters: Sequence[LoadedAdapter] = ()
) -> None:
    """For the job that begins, with these ControlNets and IP-Adapters."""
    model.room.lay(plan.tiled, plan.at_once, _stages(model, nets, adapters, plan), plan.is_plain)


def modules_of(loaded: LoadedModel | LoadedControlNet | LoadedAdapter | LoadedEncoder) -> list[Any]:
    """All that has weights."""
    if isinstance(loaded, LoadedControlNet | LoadedAdapter):
        return list(loaded.modules)
    if isinstance(loaded, LoadedEncoder):
        return [loaded.module]
    return [*loaded.components.values(), loaded.vae]


def own_memory(modules: Sequence[Any]) -> None:
    """Weights that may still be read from their file lie in memory when this returns. Packed ones do anyway."""
    for module in modules:
        for parameter in module.parameters():
            if type(parameter) is torch.nn.Parameter and parameter.device == HOME:
                parameter.data = parameter.data.clone()


def _stages(
    model: LoadedModel, nets: Sequence[LoadedControlNet], adapters: Sequence[LoadedAdapter], plan: Plan
) -> Stages | None:
    if plan.placement == "resident":
        return None
    parts: dict[Stage, list[Any]] = {"text": [], "network": [], "autoencoder": []}
    if not plan.text_grouped:
        parts["text"] = list(model.prompt_encoder.modules().values())
    if plan.placement == "staged":
        parts["network"] = [model.network.module, *(net.net for net in nets)]
    parts["network"] += [one for adapter in dict.fromkeys(adapters) for one in adapter.attentions.values()]
    if not _draws_previews(model):
        parts["autoencoder"] = [model.vae]
    return Stages(model.device.torch_device, parts)


def _staying(model: LoadedModel, plan: Plan) -> list[Any]:
    """What is on the device all the time."""
    staying = [model.preview_vae] if model.preview_vae is not None else []
    if plan.placement == "resident":
        return [*staying, model.network.module, model.vae, *model.prompt_encoder.modules().values()]
    return [*staying, model.vae] if _draws_previews(model) else staying


def _draws_previews(model: LoadedModel) -> bool:
    """Small autoencoders are wanted in the middle of the loop."""
    return model.colours is None
