"""The support table of the docs, made of what the tests show.

A test says with the mark ``supports`` which cell of the table it stands for: ``supports(row, family=..., equal=...)``.
Without a family it is that of its own parameter ``family``; ``{name}`` in a row is what its parameter of that name is.
equal: its pictures are those of diffusers' pipelines. A test may have several marks.

A new row: its place in ``TITLES``, the mark at the tests, and the table written anew:
``pytest tests/server/engine --support-table docs/support.md`` writes the cells whose tests all passed, and with
``--collect-only`` besides at once what the tests declare, which is the same while all of them pass. In a run of all
tests, ``test_support_table`` holds the document to what is declared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scumble_shared.job import CONTROL_KINDS

FAMILIES = {"sd15": "SD 1.5", "sdxl": "SDXL", "sd3": "SD 3, 3.5", "flux": "FLUX.1"}
TITLES = {
    "Tasks": (
        "text-to-image",
        "image-to-image",
        "inpainting, outpainting",
        "models made for inpainting",
        "textures all around, synchronised",
        "textures all around, sequential",
        "enlarging",
        "noise on the surface",
        "drafts of live mode",
        "seamless pictures",
        "prompts of objects (regions)",
    ),
    "Controls": (
        "text-to-image + ControlNet",
        "text-to-image + several ControlNets",
        "text-to-image + ControlNet-Union",
        "image-to-image + ControlNet",
        "image-to-image + several ControlNets",
        "image-to-image + ControlNet-Union",
        "inpainting + ControlNet",
        "inpainting + several ControlNets",
        "inpainting + ControlNet-Union",
    ),
    "Kinds of control": (*(f"control, {kind}" for kind in CONTROL_KINDS), "control, found in photos and paintings"),
    "LoRAs": (
        "LoRA, names of peft",
        "LoRA, names of kohya",
        "LoRA, original names",
        "LoRA, weight-decomposed (DoRA)",
        "LoRA, on weights quantized in the file (GGUF)",
        "LoRA, weights taken back to the bit",
    ),
    "References": (
        "references, plain adapters",
        "references, plus adapters",
        "references, full adapters",
        "references, several pictures",
        "references, several adapters",
        "references, masks",
        "references, style alone",
        "references, part of the steps",
        "references, with a ControlNet",
        "references, textures all around",
        "references, enlarging",
        "references, gone with the job",
    ),
    "Models": ("diffusers folder", "single file", "v-prediction, zero terminal SNR", "made for few steps"),
    "Memory": (
        "parts that come and go",
        "layers that come and go",
        "weights in 8-bit floats, unpacked to compute",
        "weights quantized to 8 bits (torchao)",
        "weights quantized in the file (GGUF)",
    ),
    "Previews": ("linear colours", "small autoencoder"),
}
PREFIXES = {"Kinds of control": "control, ", "LoRAs": "LoRA, ", "References": "references, "}
"""What rows have in common, and their heading says."""

HEAD = """# What is supported

Written by the tests, and held to them: `pytest tests/server/engine --support-table docs/support.md`.

● gives the pixels of diffusers' own pipelines, to one level of 255. ○ works; there is nothing in diffusers to compare
it with. An empty cell is refused, with the reason, or means nothing there.
"""


@dataclass(frozen=True)
class Cell:
    row: str
    family: str
    equal: bool


def cells_of(item: pytest.Item) -> list[Cell]:
    """Of the test's marks."""
    cells = []
    for mark in item.iter_markers("supports"):
        parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        family = mark.kwargs.get("family", parameters.get("family"))
        cells.append(Cell(mark.args[0].format(**parameters), family, mark.kwargs.get("equal", False)))
    return cells


def table(cells: Iterable[Cell]) -> str:
    """As Markdown. Raises KeyError for a row that has no place."""
    found = {(cell.row, cell.family): False for cell in cells}
    for cell in cells:
        found[cell.row, cell.family] |= cell.equal
    known = {row for rows in TITLES.values() for row in rows}
    for row, family in found:
        if row not in known or family not in FAMILIES:
            raise KeyError(f"{row}, {family}")
    lines = [HEAD]
    for title, rows in TITLES.items():
        lines += [f"| {title} | {' | '.join(FAMILIES.values())} |", f"| --- |{' :-: |' * len(FAMILIES)}"]
        for row in rows:
            marks = [{True: " ● ", False: " ○ ", None: " "}[found.get((row, family))] for family in FAMILIES]
            lines.append(f"| {row.removeprefix(PREFIXES.get(title, ''))} |{'|'.join(marks)}|")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


class Plugin:
    """Remembers which cells were shown, and by which tests they weren't."""

    def __init__(self, path: Path, declared: bool) -> None:
        """declared: nothing is run, the tests are taken at their word."""
        self._path, self._declared = path, declared
        self._shown: list[Cell] = []
        self._failed: set[tuple[str, str]] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        cells = cells_of(item)
        if report.failed:
            self._failed |= {(cell.row, cell.family) for cell in cells}
        elif report.when == "call" and report.passed:
            self._shown += cells
        return report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self._declared:
            self._shown = [cell for item in session.items for cell in cells_of(item)]

    def pytest_sessionfinish(self) -> None:
        shown = [cell for cell in self._shown if (cell.row, cell.family) not in self._failed]
        self._path.write_text(table(shown), encoding="utf-8")
