"""What a model says of itself: ``scumble_model.json`` in its folder, or ``NAME.json`` beside a single file.

Keys, all optional: name, family, note, sampler, num_inference_steps, guidance_scale, width, height,
prediction_type ("epsilon" or "v_prediction"), zero_terminal_snr, control_kinds (what a ControlNet was trained on).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scumble_shared.job import CONTROL_KINDS, SAMPLERS
from scumble_shared.limits import DEFAULT_LIMITS

from .safetensors_header import BadFileError

__all__ = ["MANIFEST_NAME", "Manifest", "parse_manifest", "read_json"]

MANIFEST_NAME = "scumble_model.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Checked; None is what wasn't said."""

    name: str = ""
    family: str = ""
    note: str = ""
    sampler: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    prediction_type: str | None = None
    zero_terminal_snr: bool | None = None
    control_kinds: tuple[str, ...] = ()
    licence: str = ""


def parse_manifest(table: Mapping[str, object]) -> Manifest:
    """Unknown keys are ignored (the file may be another program's). Raises BadFileError for wrong values."""
    steps, side = (1, DEFAULT_LIMITS.num_inference_steps), (8, DEFAULT_LIMITS.generate_side)
    kinds = table.get("control_kinds", [])
    if not isinstance(kinds, list) or not all(kind in CONTROL_KINDS for kind in kinds):
        raise BadFileError(f"its manifest says control_kinds {kinds!r}; known are {', '.join(CONTROL_KINDS)}")
    zero = table.get("zero_terminal_snr")
    return Manifest(
        name=_text(table, "name"),
        family=_text(table, "family"),
        note=_text(table, "note"),
        sampler=_choice(table, "sampler", SAMPLERS),
        num_inference_steps=_whole(_number(table, "num_inference_steps", steps)),
        guidance_scale=_number(table, "guidance_scale", (0, DEFAULT_LIMITS.guidance_scale)),
        width=_whole(_number(table, "width", side)),
        height=_whole(_number(table, "height", side)),
        prediction_type=_choice(table, "prediction_type", ("epsilon", "v_prediction")),
        zero_terminal_snr=zero if isinstance(zero, bool) else None,
        control_kinds=tuple(kinds),
        licence=_text(table, "licence"),
    )


def read_json(path: Path) -> Mapping[str, object]:
    """A JSON table; {} if there is no such file. Raises BadFileError if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadFileError(f"{path.name} can't be read; it is damaged") from error
    if not isinstance(value, dict):
        raise BadFileError(f"{path.name} isn't a table; it is damaged")
    return value


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key, "")
    return value if isinstance(value, str) else ""


def _choice(table: Mapping[str, object], key: str, allowed: tuple[str, ...]) -> str | None:
    value = table.get(key)
    if value is None or value in allowed:
        return value
    raise BadFileError(f"its manifest says {key} {value!r}; known are {', '.join(allowed)}")


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _number(table: Mapping[str, object], key: str, bounds: tuple[float, float]) -> float | None:
    value = table.get(key)
    if key not in table:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not bounds[0] <= value <= bounds[1]:
        raise BadFileError(f"its manifest says {key} {value!r}; it must lie in {bounds[0]} to {bounds[1]}")
    return value
