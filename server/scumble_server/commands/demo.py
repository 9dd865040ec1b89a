"""``scumble demo``: a Blender scene in, generated pictures and a textured scene out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..demo.blender import REPOSITORY, find_blender, run_in_blender
from ..demo.contact_sheet import Picture, Row, contact_sheet
from ..demo.progress_bar import ProgressBar
from ..installation import remember_installation
from ..packaging.extension import build_extension

__all__ = ["add_arguments", "run"]

ROWS = {
    "input": "What the artist sees, and what the model is told",
    "preview": "The picture, step by step",
    "result": "The result, and the scene textured with it",
    "words": "The same view in other words",
    "around": "One object textured all around, in its own UVs, with maps",
}
"""Contact sheet rows by the kind of picture the Blender side reports, top to bottom."""

PREVIEWS_SHOWN = 6
STAGES_SHOWN = ("Start the server", "Capture and control images", "Generate", "Texture from view", "Texture all around")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--blender", type=Path, help="Blender, or a Python that has the bpy module")
    parser.add_argument("--prompt", default="wooden planks at golden hour")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=int, default=512, help="side of the picture, pixels")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))


def run(arguments: argparse.Namespace) -> int:
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    print(f"Scumble demo: “{arguments.prompt}”")
    remember_installation()
    begin = time.perf_counter()
    times, pictures, files = _run_stages(
        arguments.blender or find_blender(),
        [
            *("--extension", str(build_extension(REPOSITORY / "blender_addon", REPOSITORY / "dist"))),
            *("--prompt", arguments.prompt),
            *("--seed", str(arguments.seed)),
            *("--size", str(arguments.size)),
            *("--output", str(output)),
        ],
    )
    subtitle = "  ·  ".join(f"{stage} {times[stage]:.1f} s" for stage in STAGES_SHOWN if stage in times)
    rows = [Row(title, _thinned(pictures.get(kind, []))) for kind, title in ROWS.items()]
    sheet = output / "contact_sheet.png"
    contact_sheet(f"Scumble: “{arguments.prompt}”", subtitle, rows).save(sheet)
    print(f"All in {time.perf_counter() - begin:.1f} s. Look at:")
    for path in (*files, sheet):
        print(f"  {path}")
    return 0


def _run_stages(blender: Path, arguments: list[str]) -> tuple[dict[str, float], dict[str, list[Picture]], list[Path]]:
    """Returns seconds by stage, pictures by kind, and the other files made."""
    bar = ProgressBar()
    times: dict[str, float] = {}
    pictures: dict[str, list[Picture]] = {}
    files: list[Path] = []
    for report in run_in_blender(blender, arguments):
        label = str(report.get("label", ""))
        match report["event"]:
            case "progress":
                fraction = report["fraction"]
                bar.update(label, float(fraction) if isinstance(fraction, int | float) else None, str(report["detail"]))
            case "stage":
                times[label] = float(str(report["seconds"]))
                bar.done(label, times[label])
            case "picture":
                pictures.setdefault(str(report["kind"]), []).append(Picture(Path(str(report["path"])), label))
            case "file":
                files.append(Path(str(report["path"])))
    return times, pictures, files


def _thinned(pictures: list[Picture]) -> list[Picture]:
    """At most PREVIEWS_SHOWN, evenly spread, the last always among them."""
    if len(pictures) <= PREVIEWS_SHOWN:
        return pictures
    last = len(pictures) - 1
    return [pictures[round(index * last / (PREVIEWS_SHOWN - 1))] for index in range(PREVIEWS_SHOWN)]
