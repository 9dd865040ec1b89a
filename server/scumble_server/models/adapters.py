"""IP-Adapters and the image encoders they read with: told by the names and shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .entries import AdapterEntry, EncoderEntry
from .families import FAMILY_BY_CONTEXT
from .manifest import read_json
from .safetensors_header import BadFileError, TensorEntry

__all__ = [
    "ADAPTER_KEY",
    "SAVED_PROJECTION",
    "adapter_reads",
    "encoder_sizes",
    "family_of_adapter",
    "is_adapter",
    "is_encoder",
    "is_encoder_folder",
    "read_encoder_folder",
    "with_encoders",
]

Header = Mapping[str, TensorEntry]

SAVED_PROJECTION = "encoder_hid_proj.image_projection_layers.0."
"""Before the names of an adapter's projection where diffusers saved it with the UNet."""

ADAPTER_KEY = re.compile(r"(?:ip_adapter\.\d+\.|attn2\.processor\.)to_k_ip(?:\.0)?\.weight$")
"""Of each attention that looks at reference pictures: the original's numbers, and diffusers' names."""

ENCODER_MARKS = ("vision_model.embeddings.class_embedding", "visual_projection.weight")
HIDDEN, PROJECTION = "hidden", "projection"


def is_adapter(header: Header) -> bool:
    return any(ADAPTER_KEY.search(name) for name in header)


def family_of_adapter(header: Header) -> str:
    """By the width of the text that stands beside pictures. Raises BadFileError if nothing tells."""
    for name, entry in header.items():
        if ADAPTER_KEY.search(name) and len(entry.shape) == 2:
            return FAMILY_BY_CONTEXT.get(entry.shape[1], f"context-{entry.shape[1]}")
    raise BadFileError("an IP-Adapter without the attentions that would look at pictures")


def adapter_reads(header: Header) -> tuple[str, int]:
    """What of an image encoder the adapter reads, "projection" or "hidden", and how wide that is.

    Raises BadFileError for what it can't read: faces by another network, or nothing.
    """
    shapes = {
        name.removeprefix("image_proj.").removeprefix(SAVED_PROJECTION): one.shape for name, one in header.items()
    }
    if "perceiver_resampler.proj_in.weight" in shapes or ("proj.0.weight" in shapes and "norm.weight" in shapes):
        raise BadFileError("an IP-Adapter that reads faces by a network of its own (FaceID), which isn't known here")
    places = (
        ("proj.weight", PROJECTION),
        ("image_embeds.weight", PROJECTION),
        ("proj_in.weight", HIDDEN),
        ("proj.0.weight", HIDDEN),
        ("ff.net.0.proj.weight", HIDDEN),
    )
    for name, what in places:
        if name in shapes and len(shapes[name]) == 2:
            return what, shapes[name][1]
    raise BadFileError("an IP-Adapter without the projection that reads pictures")


# --- image encoders -----------------------------------------------------------------------------------


def is_encoder(header: Header) -> bool:
    return all(mark in header for mark in ENCODER_MARKS)


def encoder_sizes(header: Header) -> tuple[int, int]:
    """Width of an encoder's layers and of its projection. Raises BadFileError."""
    shape = header["visual_projection.weight"].shape
    if len(shape) != 2:
        raise BadFileError("an image encoder whose projection is none")
    return shape[1], shape[0]


def is_encoder_folder(folder: Path) -> bool:
    """Whether it is a CLIP image encoder of transformers."""
    try:
        config = read_json(folder / "config.json")
    except BadFileError:
        return False
    return config.get("architectures") == ["CLIPVisionModelWithProjection"]


def read_encoder_folder(folder: Path) -> tuple[int, int]:
    """As :func:`encoder_sizes`."""
    config = read_json(folder / "config.json")
    hidden, projection = config.get("hidden_size"), config.get("projection_dim")
    if not isinstance(hidden, int) or not isinstance(projection, int):
        raise BadFileError("its config.json doesn't tell how wide it is")
    return hidden, projection


def with_encoders(adapters: Iterable[AdapterEntry], encoders: Sequence[EncoderEntry]) -> Iterator[AdapterEntry]:
    """Each with an encoder of the width it reads: of several the one that lies nearest to it."""
    for adapter in adapters:
        fits = [one for one in encoders if adapter.width == (one.hidden if adapter.reads == HIDDEN else one.projection)]
        nearest = max(fits, key=lambda one: _shared_parts(one.path, adapter.path), default=None)
        yield replace(adapter, encoder=nearest)


def _shared_parts(one: Path, other: Path) -> int:
    """How many folders two paths have in common, from the root on."""
    count = 0
    for mine, theirs in zip(one.parts, other.parts, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
