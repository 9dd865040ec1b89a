"""Styles: words under a name that are added to prompts. Kept and shared as A1111's ``styles.csv``.

A style whose prompt has ``{prompt}`` is put around the artist's words, any other one behind them. A style with all of a
picture's words is a prompt preset.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import ErrorCode, Remedy, ScumbleError

__all__ = ["PLACE", "Style", "apply_styles", "read_styles", "write_styles"]

PLACE = "{prompt}"
COLUMNS = ("name", "prompt", "negative_prompt")
STYLES = 5000


@dataclass(frozen=True, slots=True)
class Style:
    name: str
    prompt: str = ""
    negative_prompt: str = ""


def apply_styles(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str]:
    """Prompt and negative prompt with ``styles`` added, one after the other."""
    for style in styles:
        prompt = _merged(prompt, style.prompt)
        negative_prompt = _merged(negative_prompt, style.negative_prompt)
    return prompt, negative_prompt


def _merged(words: str, style: str) -> str:
    if PLACE in style:
        return style.replace(PLACE, words)
    return ", ".join(part for part in (words.strip(), style.strip()) if part)


def read_styles(text: str) -> tuple[Style, ...]:
    """The styles of a CSV file, by its columns' names; of equal names the last, lines without a name are headings.

    Raises ScumbleError INVALID_FIELD (field "styles") for text that is no such file.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True))
    except csv.Error as error:
        raise _refused(f"the styles can't be read: {error}") from error
    if rows and "name" not in rows[0]:
        raise _refused("the styles have no column called name")
    if len(rows) > STYLES:
        raise _refused(f"more than {STYLES} styles")
    found: dict[str, Style] = {}
    for row in rows:
        name, prompt, negative_prompt = ((row.get(column) or "").strip() for column in COLUMNS)
        if name and (prompt or negative_prompt):
            found[name] = Style(name, prompt, negative_prompt)
    return tuple(found.values())


def write_styles(styles: Sequence[Style]) -> str:
    """A CSV file that A1111 and :func:`read_styles` read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((style.name, style.prompt, style.negative_prompt) for style in styles)
    return out.getvalue()


def _refused(message: str) -> ScumbleError:
    remedy = Remedy("Use a CSV file with the columns name, prompt and negative_prompt, as A1111 has it")
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field="styles", remedy=remedy)
