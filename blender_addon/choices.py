"""Menus that depend on what the server offers.

Blender keeps pointers to the strings of dynamic menus without owning them, so every list that was ever handed out for
the same offer is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from scumble_shared.job import BUILT_IN_ESTIMATOR, DEFAULT_MODEL, SAMPLERS
from scumble_shared.messages import Capabilities, LoraInfo, MapEstimatorInfo, ModelInfo

from .state import session

__all__ = [
    "control_kinds_of",
    "estimator_items",
    "estimator_of",
    "fitting_lora_items",
    "lora_info",
    "model_info",
    "model_items",
    "model_of",
    "sampler_items",
    "settings_of_model",
]

EnumItem = tuple[str, str, str, str, int]

SAMPLER_NAMES = {
    "ddim": "DDIM",
    "euler": "Euler",
    "euler_a": "Euler Ancestral",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "unipc": "UniPC",
    "lcm": "LCM",
    "tcd": "TCD",
}


def sampler_items() -> tuple[EnumItem, ...]:
    return tuple((name, SAMPLER_NAMES[name], "", "NONE", index) for index, name in enumerate(SAMPLERS))


def model_items(settings: object, context: object) -> tuple[EnumItem, ...]:
    """The server's models, and the scene's own if the server lacks it."""
    return _model_items(session().capabilities.models, getattr(settings, "model_id", DEFAULT_MODEL))


@cache
def _model_items(models: tuple[ModelInfo, ...], chosen: str) -> tuple[EnumItem, ...]:
    offered = [(model.id, model.name, model.note or f"{model.family} model", "NONE") for model in models]
    if chosen not in {model.id for model in models}:
        known = bool(models)
        offered.append((chosen, chosen, "Not offered by this server" if known else "", "ERROR" if known else "NONE"))
    return tuple((*item, index) for index, item in enumerate(offered))


def model_of(model_id: str) -> int:
    """Value of a model in :func:`model_items`."""
    ids = [model.id for model in session().capabilities.models]
    return ids.index(model_id) if model_id in ids else len(ids)


def estimator_items(settings: object, context: object) -> tuple[EnumItem, ...]:
    """What the server can make maps with, and the scene's own choice if the server lacks it."""
    chosen = getattr(settings, "map_estimator_id", BUILT_IN_ESTIMATOR)
    return _estimator_items(session().capabilities.map_estimators, chosen)


@cache
def _estimator_items(estimators: tuple[MapEstimatorInfo, ...], chosen: str) -> tuple[EnumItem, ...]:
    offered = [(info.id, info.name, f"Makes {', '.join(info.maps)}", "NONE") for info in estimators]
    if chosen not in {info.id for info in estimators}:
        name = "Built-in" if chosen == BUILT_IN_ESTIMATOR else chosen
        offered.append((chosen, name, "Not offered by this server" if estimators else "", "NONE"))
    return tuple((*item, index) for index, item in enumerate(offered))


def estimator_of(estimator_id: str) -> int:
    """Value of an estimator in :func:`estimator_items`."""
    ids = [info.id for info in session().capabilities.map_estimators]
    return ids.index(estimator_id) if estimator_id in ids else len(ids)


def model_info(capabilities: Capabilities, model_id: str) -> ModelInfo | None:
    return next((model for model in capabilities.models if model.id == model_id), None)


def lora_info(capabilities: Capabilities, lora_id: str) -> LoraInfo | None:
    return next((lora for lora in capabilities.loras if lora.id == lora_id), None)


def fitting_lora_items(operator: object, context: object) -> tuple[EnumItem, ...]:
    """The server's LoRAs for the scene's model."""
    scene = getattr(context, "scene", None)
    capabilities = session().capabilities
    info = None if scene is None else model_info(capabilities, scene.scumble.model_id)
    return () if info is None else _lora_items(capabilities.loras, info.family)


@cache
def _lora_items(loras: tuple[LoraInfo, ...], family: str) -> tuple[EnumItem, ...]:
    fitting = [lora for lora in loras if lora.family == family]
    return tuple(
        (lora.id, lora.name, "Made for few steps" if lora.sampler else f"For {family} models", "NONE", index)
        for index, lora in enumerate(fitting)
    )


def settings_of_model(model_id: str, lora_ids: Iterable[str] = ()) -> dict[str, object]:
    """Values of settings that suit a model; empty for an unknown one. lora_ids: on top; the first one that saves steps
    decides how many there are."""
    info = model_info(session().capabilities, model_id)
    if info is None:
        return {}
    loras = (lora_info(session().capabilities, lora_id) for lora_id in lora_ids)
    way = next((lora for lora in loras if lora is not None and lora.sampler and lora.family == info.family), info)
    return {
        "sampler": way.sampler,
        "num_inference_steps": way.num_inference_steps,
        "guidance_scale": way.guidance_scale,
        "width": info.width,
        "height": info.height,
    }


def control_kinds_of(capabilities: Capabilities, model_id: str) -> tuple[str, ...]:
    """Kinds of controls a model can follow, its family's separate ControlNets included."""
    info = model_info(capabilities, model_id)
    if info is None:
        return ()
    separate = [kind for net in capabilities.controlnets if net.family == info.family for kind in net.kinds]
    return tuple(dict.fromkeys((*info.control_kinds, *separate)))
