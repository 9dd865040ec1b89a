"""Lean residual blocks give what diffusers' give, to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from scumble_server.engine.fast.resnets import LeanResnet, trim_resnets


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("out_channels", "temb_channels"), [(16, 24), (32, 24), (16, None)])
@torch.inference_mode()
def test_to_the_bit(dtype, layout, out_channels, temb_channels):
    torch.manual_seed(0)
    block = ResnetBlock2D(in_channels=16, out_channels=out_channels, temb_channels=temb_channels, groups=4)
    block = block.eval().to(dtype, memory_format=layout)
    lean = copy.deepcopy(block)
    trim_resnets(lean)
    assert type(lean) is LeanResnet
    picture = torch.randn(2, 16, 6, 5).to(dtype, memory_format=layout)
    time = None if temb_channels is None else torch.randn(2, temb_channels).to(dtype)
    given = (picture.clone(), None if time is None else time.clone())
    assert torch.equal(lean(*given), block(picture, time))
    assert torch.equal(given[0], picture)  # what it is given is the caller's
    assert time is None or torch.equal(given[1], time)


@pytest.mark.parametrize(
    "settings",
    [
        {"output_scale_factor": 2.0},
        {"time_embedding_norm": "scale_shift"},
        {"skip_time_act": True},
        {"non_linearity": "gelu"},
        {"up": True},
        {"down": True},
    ],
)
def test_other_blocks_stay_as_they_are(settings):
    block = ResnetBlock2D(in_channels=8, temb_channels=8, groups=4, **settings)
    trim_resnets(block)
    assert type(block) is ResnetBlock2D
