"""Joins diffusion trainings that went on from one state with different seeds, each on a processor of its own.

    python starter/average.py WORK_A WORK_B OUT

The mean of their weights learns from both, as a batch of twice the size would: OUT goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import checkpoint
import torch

__all__ = ["average"]

STAGE = "diffusion"
CPU = torch.device("cpu")


def average(works: list[Path], out: Path) -> None:
    """Weights, their averages and the optimiser's moments of all ``works``; the longest one's clock.

    Raises ValueError for a folder without that stage, and for networks of different sizes.
    """
    states = []
    for work in works:
        found = checkpoint.load(work / STAGE, CPU)
        if found is None:
            raise ValueError(f"{work} has no checkpoint of the stage {STAGE!r}")
        states.append(found)
    if len({facts["size"] for _, facts in states}) > 1:
        raise ValueError(f"these are of different sizes: {', '.join(facts['size'] for _, facts in states)}")
    names = states[0][0].keys()
    mean = {name: torch.stack([tensors[name] for tensors, _ in states]).mean(0) for name in names}
    facts = {key: max(facts[key] for _, facts in states) for key in ("step", "minutes")}
    checkpoint.save(out / STAGE, mean, {**facts, "size": states[0][1]["size"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    a = parser.parse_args()
    average(a.works, a.out)


if __name__ == "__main__":
    main()
