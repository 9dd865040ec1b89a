"""What the artist reads of what was done about memory."""

from __future__ import annotations

import importlib
import json

import pytest

from .conftest import MODULE


@pytest.fixture(scope="module")
def memory_note(extension):
    return importlib.import_module(f"{MODULE}.memory_note").memory_note


@pytest.mark.parametrize(
    ("done", "told", "note"),
    [
        ("", [], ""),
        ("parts come and go", [], "To save memory: parts come and go"),
        (
            "weights in 8 bits",
            ["memory ran out: decoding in tiles", "memory ran out: weights in 8 bits"],
            "Memory ran out; so: weights in 8 bits",
        ),
        ("", ["decoded in tiles, since memory ran out"], "Decoded in tiles, since memory ran out"),
    ],
)
def test_words(memory_note, done, told, note):
    assert memory_note(json.dumps({"memory": {"done": done, "told": told}})) == note


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"memory": 3}', '{"memory": {"done": "x"}}', "nonsense"])
def test_what_other_servers_write_is_no_error(memory_note, text):
    assert memory_note(text) == ""
