"""The table in the docs is what the planner says."""

from __future__ import annotations

from pathlib import Path

from scumble_server.memory.table import memory_table

DOCUMENT = Path(__file__).parents[3] / "docs" / "memory.md"


def test_it_is_in_the_document():
    """``python -m scumble_server.memory.table`` prints it."""
    assert memory_table() in DOCUMENT.read_text(encoding="utf-8")
