"""What the noise of a checkpoint was in training, where its tensors don't tell but its name does."""

from __future__ import annotations

import re
from dataclasses import replace

from .detect import Weights

__all__ = ["as_named"]

FAMILIES = ("sd15", "sd15-custom", "sdxl", "starter")
"""Of noise; flow is flow, whatever the name."""

V_PREDICTION = re.compile(r"(?<![a-z])v[ _.-]?pred(iction)?(?![a-z])", re.IGNORECASE)
ZERO_SNR = re.compile(r"(?<![a-z])zt?[ _.-]?snr(?![a-z])", re.IGNORECASE)


def as_named(weights: Weights, name: str, family: str) -> Weights:
    """``weights`` of a single file with what its ``name`` says: "v-pred", "vPrediction", "ztsnr", "zsnr"."""
    if family not in FAMILIES:
        return weights
    said = V_PREDICTION.search(name) is not None
    return replace(
        weights,
        prediction_type="v_prediction" if said else weights.prediction_type,
        zero_terminal_snr=weights.zero_terminal_snr or ZERO_SNR.search(name) is not None,
    )
