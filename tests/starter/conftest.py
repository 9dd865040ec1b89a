"""The recipe is a folder of scripts, not a package: its modules are found by path."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "starter"))
torch.set_num_threads(1)
