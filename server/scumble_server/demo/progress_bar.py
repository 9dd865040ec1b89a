"""One line in the terminal that fills up; plain lines where there is no terminal."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

__all__ = ["ProgressBar"]

WIDTH = 28


class ProgressBar:
    """Shows the stage under way; ``done`` leaves a line with its time behind."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._live = stream.isatty()

    def update(self, label: str, fraction: float | None, detail: str = "") -> None:
        """fraction: 0..1, None while it can't be told."""
        if not self._live:
            return
        filled = 0 if fraction is None else round(WIDTH * min(max(fraction, 0.0), 1.0))
        bar = "█" * filled + "░" * (WIDTH - filled)
        line = f"  {label:<28} {bar} {detail}"
        columns = shutil.get_terminal_size().columns
        self._stream.write("\r" + line[: columns - 1].ljust(columns - 1))
        self._stream.flush()

    def done(self, label: str, seconds: float) -> None:
        if self._live:
            self._stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        self._stream.write(f"  {label:<48} {seconds:6.2f} s\n")
        self._stream.flush()
