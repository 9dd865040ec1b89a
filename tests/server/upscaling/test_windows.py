"""Overlapping windows: cut apart and put together again, a plane is what it was, round the edge too."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.upscaling.windows import cover

sides = st.integers(1, 70)
tilings = st.sampled_from(["", "x", "y", "xy"])


@given(sides, sides, st.integers(2, 32), st.integers(0, 16), tilings, st.sampled_from([1, 4]))
def test_together_they_are_the_plane(height, width, side, overlap, tiling, multiple):
    plane = torch.rand(1, 2, height, width)
    cut = cover(height, width, side, overlap, tiling, multiple=multiple)
    parts = cut.split(plane)
    assert parts.shape == (len(cut), 2, cut.rows, cut.columns)
    torch.testing.assert_close(cut.merge(parts), plane)


@given(sides, sides, st.integers(2, 32), st.integers(0, 16), tilings, st.integers(1, 4))
def test_scaled_windows_show_the_same_places(height, width, side, overlap, tiling, factor):
    plane = torch.arange(height * width).float().view(1, 1, height, width)
    cut = cover(height, width, side, overlap, tiling)
    large = plane.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    small = cut.split(plane).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert (cut.scaled(factor).split(large) == small).all()


@given(st.integers(20, 90), st.integers(8, 20), st.integers(0, 9))
def test_neighbours_overlap_by_what_was_asked(length, side, overlap):
    cut = cover(1, length, side, overlap)
    if length <= side:
        assert cut.lefts == (0,)
    else:
        assert cut.lefts[0] == 0
        assert cut.lefts[-1] + cut.columns == length
        gaps = [after - before for before, after in zip(cut.lefts, cut.lefts[1:], strict=False)]
        assert max(gaps) <= cut.columns - min(overlap, side // 2)


@pytest.mark.parametrize("length", [16, 24, 40])
def test_round_the_edge_no_place_is_at_the_edge_of_all_its_windows(length):
    """What each window spoils at its rim, another one has in its middle."""
    cut = cover(length, length, 16, 4, "xy")
    spoilt = torch.zeros(len(cut), 1, cut.rows, cut.columns)
    spoilt[..., 0] = spoilt[..., -1] = spoilt[:, :, 0] = spoilt[:, :, -1] = 1.0
    assert cut.merge(spoilt).max() <= 0.45
