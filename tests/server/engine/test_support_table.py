"""The support table in the docs says what the tests of this folder show, no more and no less."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support_table import Cell, cells_of, table

DOCUMENT = Path(__file__).parents[3] / "docs" / "support.md"


def test_the_table_is_that_of_the_tests(request):
    """Where all of them are collected, as in a whole run."""
    modules = {item.path for item in request.session.items}
    if (
        not modules.issuperset(Path(__file__).parent.rglob("test_*.py"))
        or request.config.option.keyword
        or request.config.option.markexpr
    ):
        pytest.skip("only in a run of all of the engine's tests")
    declared = [cell for item in request.session.items for cell in cells_of(item)]
    assert DOCUMENT.read_text(encoding="utf-8") == table(declared)


def test_a_cell_is_as_good_as_its_best_witness():
    row = "text-to-image"
    text = table([Cell(row, "sd15", True), Cell(row, "sd15", False), Cell(row, "flux", False)])
    assert "| text-to-image | ● | | | ○ |" in text


def test_rows_that_have_no_place_are_told():
    with pytest.raises(KeyError):
        table([Cell("telepathy", "sd15", True)])
