"""Small autoencoders that draw previews and sketches (TAESD and its kin): which they are, and for which family."""

from __future__ import annotations

from collections.abc import Mapping

from .safetensors_header import BadFileError, TensorEntry

__all__ = ["LATENTS", "latents_of_decoder", "previews_for"]

LATENTS = 16
"""Channels of SD 3's and FLUX's autoencoders."""

FIRST, BLOCK, LAST = "1.weight", "3.conv.0.weight", "18.conv.0.weight"
"""Of the decoder in a file of its own, whose layers are only numbered."""


def latents_of_decoder(header: Mapping[str, TensorEntry]) -> int | None:
    """Channels that the decoder takes; None for other files. Raises BadFileError for the half that encodes."""
    if FIRST in header and BLOCK in header and LAST in header:
        return header[FIRST].shape[1]
    if "0.weight" in header and "1.conv.0.weight" in header and header["0.weight"].shape[1:2] == (3,):
        raise BadFileError("the half of a small autoencoder that encodes, which isn't needed; the other half decodes")
    return None


def previews_for(name: str, latents: int) -> str:
    """The family whose latents it draws. name: of the file or folder, which tells where channels don't."""
    name = name.lower()
    if latents == LATENTS:
        return "sd3" if "sd3" in name else "flux"
    return "sdxl" if "xl" in name else "sd15"
