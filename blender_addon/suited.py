"""Settings that follow the model until the artist gives them a value of their own.

A small model paints well in eight steps, a full one in twenty; nobody should have to know that before the first
picture. So such a property shows what suits the model, and what was set by hand, by a preset or by a script stays.
The own value lies in a hidden property beside it, so that files remember only what somebody chose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from scumble_shared.job import SAMPLERS, GenerateJob
from scumble_shared.limits import DEFAULT_LIMITS

from .choices import sampler_items, settings_of_model

__all__ = ["add_suited_properties", "follow_the_model"]

DEFAULTS: dict[str, Any] = {
    name: GenerateJob.__dataclass_fields__[name].default
    for name in ("width", "height", "sampler", "num_inference_steps", "guidance_scale")
}


def follow_the_model(settings: bpy.types.PropertyGroup) -> None:
    """Forget own values: from now on these settings are what suits the model."""
    for name in DEFAULTS:
        settings.property_unset(_own(name))


def add_suited_properties(group: type[bpy.types.PropertyGroup]) -> None:
    """Declare the properties on a property group that has ``model_id`` and ``loras``; call it before the group is
    registered."""
    side = {"min": 1, "max": DEFAULT_LIMITS.generate_side, "step": 64, "subtype": "PIXEL"}
    _add(group, "width", bpy.props.IntProperty, name="Width", **side)
    _add(group, "height", bpy.props.IntProperty, name="Height", **side)
    _add(
        group,
        "num_inference_steps",
        bpy.props.IntProperty,
        name="Steps",
        description="More take longer",
        min=1,
        max=DEFAULT_LIMITS.num_inference_steps,
        soft_max=60,
    )
    _add(
        group,
        "guidance_scale",
        bpy.props.FloatProperty,
        name="Guidance",
        description="How strictly the picture follows the prompt",
        min=0.0,
        max=DEFAULT_LIMITS.guidance_scale,
        soft_max=20.0,
    )
    group.__annotations__[_own("sampler")] = bpy.props.StringProperty(default=DEFAULTS["sampler"], options={"HIDDEN"})
    group.__annotations__["sampler"] = bpy.props.EnumProperty(
        name="Sampler",
        description="How the noise is taken away",
        items=sampler_items(),
        default=DEFAULTS["sampler"],
        get=lambda settings: SAMPLERS.index(_value(settings, "sampler")),
        set=lambda settings, index: setattr(settings, _own("sampler"), SAMPLERS[index]),
    )


def _add(group: type[bpy.types.PropertyGroup], key: str, property_: Callable[..., Any], **options: Any) -> None:
    default = DEFAULTS[key]
    group.__annotations__[_own(key)] = property_(default=default, options={"HIDDEN"})
    group.__annotations__[key] = property_(
        default=default,
        get=lambda settings: _value(settings, key),
        set=lambda settings, value: setattr(settings, _own(key), value),
        **options,
    )


def _own(name: str) -> str:
    return f"own_{name}"


def _value(settings: bpy.types.PropertyGroup, name: str) -> Any:
    if settings.is_property_set(_own(name)):
        return getattr(settings, _own(name))
    loras = [lora.lora_id for lora in settings.loras if lora.enabled and lora.weight]
    return settings_of_model(settings.model_id, loras).get(name, DEFAULTS[name])
