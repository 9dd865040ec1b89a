"""Which kind of control a ControlNet, a preprocessor or a file was made for, read from its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["kinds_named"]

WORDS_OF_KIND: Mapping[str, frozenset[str]] = {
    "depth": frozenset({"depth", "midas", "zoe", "leres", "depthanything", "depthmap"}),
    "normal": frozenset({"normal", "normals", "normalbae", "normalmap", "bae"}),
    "canny": frozenset({"canny"}),
    "lineart": frozenset({"lineart"}),
    "segmentation": frozenset({"seg", "segmentation", "segment"}),
    "scribble": frozenset({"scribble", "scribbles"}),
    "softedge": frozenset({"softedge", "hed", "hedsafe", "pidi", "pidinet", "pidsafe", "pidisafe", "pidinetsafe"}),
    "openpose": frozenset({"openpose", "dwpose", "dwopenpose", "pose"}),
    "tile": frozenset({"tile"}),
    "color": frozenset({"color", "colour", "colorgrid"}),
}

WRITTEN_TOGETHER = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Between the words of "OpenPoseXL"."""

ENDING = re.compile(r"\.(safetensors|ckpt|pth|pt|bin|sft|gguf)$", re.IGNORECASE)


def kinds_named(name: str) -> tuple[str, ...]:
    """Kinds whose words stand in ``name``, in a fixed order: "control_v11p_sd15_softedge", "sd-controlnet-hed",
    "OpenPoseXL2". "scribble_hed" is a scribble alone, for it is drawn along HED's edges. () if none does."""
    words = re.findall(r"[a-z]+", WRITTEN_TOGETHER.sub(" ", ENDING.sub("", name)).lower())
    said = {*words, *(first + second for first, second in pairwise(words))}
    kinds = tuple(kind for kind, known in WORDS_OF_KIND.items() if said & known)
    return tuple(kind for kind in kinds if kind != "softedge") if "scribble" in kinds else kinds
