"""Live mode in a real window, from a turn of the view to its picture drawn: ``benchmarks/live_window.py --suite sid``.

Blender runs under Xvfb on the software renderer, in a folder that ``make test-gui`` sets up (Debian, root). The
server's executor costs next to nothing, so that what is left is everything but the model.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from report import Report, parser

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "gui"))

from stagehand import SUITES, Server, furnish, play  # noqa: E402 - a script of the clone, not of a package


def main() -> int:
    arguments = parser("Live mode in a window.", repeat=100)
    arguments.add_argument("--suite", choices=SUITES, default="sid", help="of Debian: trixie has Blender 4.3, sid 5.2")
    options = arguments.parse_args()
    report = Report("live_window", options.output)
    with tempfile.TemporaryDirectory(prefix="scumble-window-") as parent:
        folder = Path(parent, options.suite, "chain")
        os.environ["SCUMBLE_HOME"] = str(folder / "scumble")
        os.environ["SCUMBLE_TURNS"] = str(options.repeat)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
        furnish(folder)
        server = Server("--executor", "still:Still")
        server.start()
        try:
            facts = play(folder, "chain", server, size="800x600")
        finally:
            server.stop()
    note = f"{facts['size']} x {facts['size']}, no model, Blender {facts['blender']}, software renderer"
    for name, seconds in facts["seconds"].items():
        report.add_times(name, seconds)
    report.add("Blender's processor time per turn of the view", facts["cpu"] * 1e3, "ms", note=note)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
