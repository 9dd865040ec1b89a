"""How large models are: those on disk by the headers of their files, others as published."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..models.entries import AdapterEntry, ControlNetEntry, EncoderEntry, ModelEntry
from ..models.gguf_header import read_gguf_header
from ..models.safetensors_header import TensorEntry, read_header

__all__ = ["CONTROLNETS", "PUBLISHED", "Sizes", "size_of", "sizes_of"]

Header = Mapping[str, TensorEntry]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Parameters of a model's network, text encoders and autoencoder, and of their largest tensor.

    per_latent, per_image: bytes that the network's 16-bit activations take at their peak, for each latent pixel of an
    image and for each image besides; attention never writes out who looks at whom. packed: bytes of a network that is
    quantized in its file (GGUF), 0 for others.
    """

    network: int
    text: int
    vae: int
    largest: int
    per_latent: int
    per_image: int = 0
    is_transformer: bool = False
    packed: int = 0


PUBLISHED: Mapping[str, Sizes] = {
    "sd15": Sizes(859_520_964, 123_060_480, 83_653_863, 37_945_344, 16_641),
    "sdxl": Sizes(2_567_463_684, 817_720_320, 83_653_863, 63_242_240, 10_082),
    "sd3": Sizes(2_028_328_000, 5_580_620_800, 83_819_683, 131_596_288, 9_984, 3_145_728, True),
    "sd35-large": Sizes(8_056_627_520, 5_580_620_800, 83_819_683, 131_596_288, 15_812, 4_882_432, True),
    "flux": Sizes(11_901_408_320, 4_885_371_136, 83_819_683, 131_596_288, 26_368, 54_000_000, True),
}
"""Of the released models. Activations: the most that was alive at once when the networks were run on tensors without
contents, in half precision (tests/server/memory/test_sizes.py)."""

CONTROLNETS: Mapping[str, int] = {"sd15": 361_279_120, "sdxl": 1_251_014_160}
"""Parameters of the usual ones."""

TEXT = ("cond_stage_model.", "conditioner.", "text_encoders.")
VAE = ("first_stage_model.", "vae.")
UNUSED = ("model_ema.",)


def sizes_of(entry: ModelEntry) -> Sizes:
    """Raises BadFileError if a header can't be read; weights aren't."""
    if entry.path.is_dir():
        parts = _parts_of_folder(entry.path)
    else:
        header = read_gguf_header(entry.path) if _is_gguf(entry.path) else read_header(entry.path)
        parts = _parts_of_file(header)
        if entry.lender is not None:
            lent = _parts_of_folder(entry.lender)
            parts = {part: numbers or lent[part] for part, numbers in parts.items()}
    counts = {part: sum(numbers) for part, numbers in parts.items()}
    largest = max((count for numbers in parts.values() for count in numbers), default=0)
    like = _like(entry.family, counts["network"])
    packed = entry.path.stat().st_size if _is_gguf(entry.path) else 0
    return replace(
        like,
        network=counts["network"],
        text=counts["text"],
        vae=counts["vae"],
        largest=largest,
        packed=packed,
    )


def size_of(entry: ControlNetEntry | AdapterEntry | EncoderEntry) -> int:
    """Parameters of what goes with a model. Raises BadFileError likewise."""
    return sum(_counts(_weights(entry.path)) if entry.path.is_dir() else _numbers(read_header(entry.path)))


def _is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf"


def _like(family: str, network: int) -> Sizes:
    """The published model that is nearest: what its activations take is told by its width."""
    if family == "sd3":
        return min((PUBLISHED["sd3"], PUBLISHED["sd35-large"]), key=lambda sizes: abs(sizes.network - network))
    return PUBLISHED.get(family, PUBLISHED["sd15"])


def _parts_of_folder(folder: Path) -> dict[str, list[int]]:
    network = folder / ("transformer" if (folder / "transformer").is_dir() else "unet")
    texts = sorted(path for path in folder.glob("text_encoder*") if path.is_dir())
    return {
        "network": _counts(_weights(network)),
        "text": [count for path in texts for count in _counts(_weights(path))],
        "vae": _counts(_weights(folder / "vae")),
    }


def _parts_of_file(header: Header) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {"network": [], "text": [], "vae": []}
    for name, entry in header.items():
        if not name.startswith(UNUSED):
            part = "text" if name.startswith(TEXT) else "vae" if name.startswith(VAE) else "network"
            parts[part].append(math.prod(entry.shape))
    return parts


def _weights(folder: Path) -> list[Path]:
    """Those that would be loaded: not the half-precision variant beside the full one."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [path for path in files if ".fp16" not in path.name]
    return plain or files


def _counts(files: Iterable[Path]) -> list[int]:
    return [count for path in files for count in _numbers(read_header(path))]


def _numbers(header: Header) -> list[int]:
    return [math.prod(entry.shape) for entry in header.values()]
