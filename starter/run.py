"""The whole recipe in parts of at most nine minutes, for one GPU (or, at tiny size, a rehearsal anywhere).

    python starter/run.py 1 WORK OUT      what words mean, a first decoder, the first of the diffusion training
    python starter/run.py 2 WORK OUT      more diffusion training
    python starter/run.py 3 WORK OUT      the rest of both

Every part goes on from WORK, or from OUT of the part before it copied to WORK/final on a fresh machine, and leaves in
OUT the packed weights (files of at most 15 MB, at most eight) and the sheet. Then, anywhere:

    cp -r OUT WORK/final && python starter/export.py WORK server/scumble_server/models/starter --size gpu
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from export import export, pack

__all__ = ["PARTS"]


@dataclass(frozen=True, slots=True)
class Stage:
    """minutes: of this part; total: of the stage over all parts."""

    name: str
    minutes: float
    total: float
    batch: int
    crop: int
    learning_rate: float
    painted: float = 0.0


PARTS = {
    1: (
        Stage("words", 0.6, 0.6, 128, 128, 2e-3),
        Stage("decoder", 1.2, 5.2, 48, 128, 8e-4),
        Stage("diffusion", 6.6, 19.0, 256, 128, 8e-4),
    ),
    2: (Stage("diffusion", 8.4, 19.0, 96, 256, 8e-4),),
    3: (Stage("diffusion", 4.0, 19.0, 96, 256, 8e-4), Stage("decoder", 4.0, 5.2, 48, 128, 8e-4, painted=0.5)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", type=int, choices=tuple(PARTS))
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="gpu")
    parser.add_argument("--time", type=float, default=1.0, help="scales all minutes; 0.01 is a rehearsal")
    parser.add_argument("--batch", type=float, default=1.0, help="scales all batches")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--captured", type=Path, help="folder of views that capture.py made")
    a = parser.parse_args()
    here = Path(__file__).parent
    for stage in PARTS[a.part]:
        options = {
            "size": a.size, "minutes": stage.minutes * a.time, "total": stage.total * a.time,
            "batch": max(4, round(stage.batch * a.batch)), "crop": stage.crop, "resolution": a.resolution,
            "learning-rate": stage.learning_rate, "seed": 1000000 * a.part,
            "painted": stage.painted,
        }  # fmt: skip
        if a.captured is not None:
            options["captured"] = a.captured
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        subprocess.run([sys.executable, str(here / "train.py"), stage.name, str(a.work), *words], check=True)
    pack(a.work, a.out, a.size)
    with tempfile.TemporaryDirectory() as folder:
        export(a.work, Path(folder), a.size)
        command = [
            sys.executable,
            str(here / "sample.py"),
            folder,
            str(a.out / "sheet.png"),
            "--size",
            str(a.resolution),
        ]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
