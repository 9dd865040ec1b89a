"""Conventions of buffers that need no renderer to be told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_shared.camera import normals_of


@given(st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3))
def test_normals_of_8_bits_are_half_a_step_off_at_most(direction):
    rounded = np.rint(128.0 + 127.0 * np.array(direction)).astype(np.uint8)
    np.testing.assert_allclose(normals_of(rounded[None, None])[0, 0], direction, atol=0.5 / 127.0 + 1e-6)


def test_axes_are_exact_and_nothing_is_zero():
    told = np.array([[[255, 128, 128], [128, 1, 128], [0, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(normals_of(told), [[[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 0.0]]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_floats_stay_as_they_are(dtype):
    normals = np.ones((2, 2, 3), dtype)
    assert normals_of(normals) is normals
