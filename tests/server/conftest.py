"""``brush``, the executor of these tests, is importable by that name here and in the processes that are spawned."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "workers"))
