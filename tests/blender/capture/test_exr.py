"""The reader takes exactly the files that Blender is told to write, and nothing else crashes it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_addon.capture.exr import read_exr


def exr_bytes(channels: dict[str, np.ndarray], compression=0, version=2, kind=2) -> bytes:
    """An EXR file, written from its specification."""
    names = sorted(channels)
    height, width = channels[names[0]].shape
    table = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", kind, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)

    def attribute(name, type_name, value):
        return name + b"\0" + type_name + b"\0" + struct.pack("<I", len(value)) + value

    header = struct.pack("<2I", 20000630, version) + attribute(b"channels", b"chlist", table)
    header += attribute(b"compression", b"compression", bytes([compression]))
    header += attribute(b"dataWindow", b"box2i", window) + b"\0"
    lines = []
    for y in range(height):
        body = b"".join(channels[name][y].astype("<f4").tobytes() for name in names)
        lines.append(struct.pack("<iI", y, len(body)) + body)
    first = len(header) + 8 * height
    offsets = [first + sum(map(len, lines[:y])) for y in range(height)]
    return header + struct.pack(f"<{height}Q", *offsets) + b"".join(lines)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "passes.exr"


def test_what_was_written_is_read(file):
    written = {"Depth.Z": np.arange(12, dtype=np.float32).reshape(3, 4), "Normal.X": -np.ones((3, 4), np.float32)}
    file.write_bytes(exr_bytes(written))
    found = read_exr(file)
    assert found.keys() == written.keys()
    for name, pixels in written.items():
        assert (found[name] == pixels).all()


@pytest.mark.parametrize("change", [{"compression": 3}, {"version": 0x1002}, {"version": 0x202}, {"kind": 1}])
def test_other_kinds_of_exr_are_refused(file, change):
    file.write_bytes(exr_bytes({"R": np.zeros((2, 2), np.float32)}, **change))
    with pytest.raises(ValueError):
        read_exr(file)


def test_every_truncation_is_refused(file):
    whole = exr_bytes({"R": np.zeros((2, 3), np.float32)})
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError):
            read_exr(file)


@settings(max_examples=200)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_flipped_byte_is_read_or_refused(tmp_path_factory, position, value):
    whole = bytearray(exr_bytes({"R": np.zeros((2, 3), np.float32)}))
    whole[position % len(whole)] = value
    file = tmp_path_factory.getbasetemp() / "flipped.exr"
    file.write_bytes(whole)
    try:
        found = read_exr(file)
    except ValueError:
        return
    assert all(pixels.dtype == np.float32 for pixels in found.values())
