"""Which weights files are upscaling networks, told by the names of their tensors; ``spandrel`` runs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib.util import find_spec

__all__ = ["can_run_upscalers", "is_upscaler"]

SIGNATURES: tuple[tuple[str, ...], ...] = (
    ("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"),  # ESRGAN
    ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight"),  # Real-ESRGAN
    ("conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "conv_last.weight"),  # BSRGAN
    ("body.0.weight", "body.1.weight", "body.2.weight"),  # Real-ESRGAN compact
    ("layers.0.residual_group.blocks.0.norm1.weight", "layers.0.residual_group.blocks.0.mlp.fc1.bias"),  # SwinIR, HAT
    ("conv_first.weight", "layers.0.residual_group.td"),  # ATD
    ("conv_first.weight", "layers.0.residual_group.hf_blocks.0.attn.temperature"),  # CRAFT
    ("conv_first.weight", "before_RG.1.weight", "layers.0.blocks.0.attn.qkv.weight"),  # DAT, RGT
    ("conv_first.weight", "layers.0.swin1.attn.qkv.weight"),  # DRCT
    ("conv_1.sk.weight", "block_1.c1_r.sk.weight"),  # SPAN
    ("unet1.conv1.conv.0.weight", "unet2.conv_bottom.weight"),  # Real-CUGAN
    ("residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "up.0.weight"),  # OmniSR
    ("feats.0.weight", "feats.1.refine.weight"),  # PLKSR
    ("to_feat.weight", "feats.0.safm.mfr.0.weight"),  # SAFMN
    ("gblocks.0.weight", "gblocks.1.fc1.weight"),  # MoSR
    ("tail.1.weight", "body.0.body.0.body.0.weight"),  # RCAN
    ("initial.cnn.depthwise.weight", "final_conv.pointwise.weight"),  # Swift-SRGAN
)
"""Names that an architecture's files have all of."""

PREFIXES = ("module.", "netG.", "params_ema.", "params.")


def is_upscaler(names: Collection[str]) -> bool:
    """Whether tensors of these names make an upscaling network."""
    plain = set(_without_prefix(names))
    return any(all(name in plain for name in signature) for signature in SIGNATURES)


def can_run_upscalers() -> bool:
    """Whether ``spandrel`` is installed."""
    return find_spec("spandrel") is not None


def _without_prefix(names: Collection[str]) -> Iterable[str]:
    for prefix in PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            return [name.removeprefix(prefix) for name in names]
    return names
