"""Writes samples to disk once, for training on a CPU, where making them costs more than a training step.

    python starter/prerender.py SHARDS --minutes 20 --size 256 --part 0/2
    python starter/prerender.py SHARDS --minutes 10 --captured CAPTURED --share 1 --first 400000

Each shard is one .safetensors file of uint8 image, depth and normal pictures with the captions as metadata; its
seed is its name. --captured takes a share of the geometry from views of Blender scenes (capture.py). A GPU makes fresh
samples faster than it trains and needs none of this.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from captions import Caption
from captured import Captured
from data import make
from safetensors import safe_open
from safetensors.torch import save_file

__all__ = ["SHARD", "read_captions", "read_shard", "write_shard"]

SHARD = 32


def write_shard(
    path: Path, seed: int, size: int, count: int = SHARD, captured: Captured | None = None, share: float = 1.0
) -> None:
    """Make ``count`` samples and store them; readers only ever see whole files."""
    parts = [
        make(count // 4, seed * 4 + i, size, torch.device("cpu"), captured=captured, share=share) for i in range(4)
    ]
    tensors = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("image", "depth", "normal")}
    tensors["depth"] = tensors["depth"][:, :1]
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    captions = [asdict(caption) for part in parts for caption in part.captions]
    temporary = path.with_suffix(".part")
    save_file(tensors, temporary, {"captions": json.dumps(captions)})
    temporary.replace(path)


def read_captions(path: Path) -> list[Caption]:
    """The captions of a shard."""
    with safe_open(path, "pt") as file:
        return [Caption(**caption) for caption in json.loads(file.metadata()["captions"])]


def read_shard(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """image, depth, normal: uint8 N x 3 x H x W (depth N x 1 x H x W)."""
    with safe_open(path, "pt") as file:
        return file.get_tensor("image"), file.get_tensor("depth"), file.get_tensor("normal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--part", default="0/1", help="this process's share, such as 0/2 and 1/2 for two processes")
    parser.add_argument("--captured", type=Path, help="folder of views that capture.py made")
    parser.add_argument("--share", type=float, default=0.35, help="of samples whose geometry is captured")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, arguments.part.split("/"))
    end = time.monotonic() + arguments.minutes * 60
    seed = arguments.first + part
    captured = None
    if arguments.captured is not None:
        captured = Captured(arguments.captured, torch.device("cpu"), arguments.size)
    while time.monotonic() < end:
        path = arguments.folder / f"{seed:06d}.safetensors"
        if not path.exists():
            write_shard(path, seed, arguments.size, captured=captured, share=arguments.share)
        seed += parts


if __name__ == "__main__":
    main()
