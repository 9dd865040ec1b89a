"""A real Blender with windows, for tests: Debian's Blender under Xvfb in a folder of its own. Needs root on Debian.

``python tools/gui_root.py setup sid`` makes the folder (about two minutes, 2 GB). Several may run at a time. Suites:
trixie has Blender 4.3, sid has 5.2.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ROOTS = Path(os.environ.get("SCUMBLE_GUI_ROOTS", REPOSITORY / "build" / "gui"))
SUITES = ("trixie", "sid")
PACKAGES = (
    *("blender", "python3-numpy", "python3-requests", "python3-cattr"),
    *("xvfb", "xauth", "xdotool", "imagemagick", "procps", "fonts-dejavu-core"),
    *("libgl1-mesa-dri", "libegl1"),
)
SHARED = "/shared"
"""Where the folder of a run appears inside the root."""


def setup(suite: str) -> Path:
    """Makes the root if it isn't there. Returns its folder."""
    root = ROOTS / suite
    if (root / "usr/bin/blender").exists() and (root / "usr/bin/Xvfb").exists():
        return root
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("GUI tests need root on a Debian-like system: they install Blender into a folder with debootstrap.")
    if not shutil.which("debootstrap"):
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "debootstrap")
    root.mkdir(parents=True, exist_ok=True)
    _run("debootstrap", "--variant=minbase", suite, str(root))
    _take_over_network_settings(root)
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends " + " ".join(PACKAGES)
    _run("env", "DEBIAN_FRONTEND=noninteractive", *inside(root, None, install, []))
    return root


def blender_command(root: Path, shared: Path, script: str, arguments: list[str], size: str = "1600x1000") -> list[str]:
    """Blender with a window on a virtual screen of its own; ``script`` and ``arguments`` as seen below /shared.

    size: of screen and window, pixels.
    """
    width, height = size.split("x")
    start = (
        f"export LIBGL_ALWAYS_SOFTWARE=1 HOME={SHARED}/home SCUMBLE_HOME={SHARED}/scumble; "
        "mkdir -p $HOME; rm -f $HOME/display; "
        f"Xvfb -displayfd 1 -dpi 96 -screen 0 {size}x24 2>/dev/null >$HOME/display & server=$!; "
        "trap 'kill $server' EXIT; "
        "until [ -s $HOME/display ]; do sleep 0.05; done; export DISPLAY=:$(cat $HOME/display); "
        f'blender --factory-startup --window-geometry 0 0 {width} {height} --python "$@"'
    )
    return inside(root, shared, start, [script, "--", *arguments])


def inside(root: Path, shared: Path | None, command: str, arguments: list[str]) -> list[str]:
    """A shell command in the root. What is mounted for it nobody else sees, and it goes when the command ends."""
    mounts = (
        'set -e; root=$1 shared=$2 command=$3; shift 3; mount -t proc proc "$root/proc"; '
        'for name in sys dev; do mount --rbind /$name "$root/$name"; done; '
        f'if [ -n "$shared" ]; then mkdir -p "$root{SHARED}"; mount --bind "$shared" "$root{SHARED}"; fi; '
        'exec chroot "$root" bash -c "$command" bash "$@"'
    )
    isolated = ["unshare", "--mount", "--propagation", "private", "bash", "-c", mounts, "bash"]
    return [*isolated, str(root), str(shared or ""), command, *arguments]


def _take_over_network_settings(root: Path) -> None:
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for settings in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(settings, root / "etc/apt/apt.conf.d")
    certificates = root / "etc/ssl/certs"
    certificates.mkdir(parents=True, exist_ok=True)
    if (bundle := Path("/etc/ssl/certs/ca-certificates.crt")).exists():
        shutil.copy(bundle, certificates)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["setup"])
    parser.add_argument("suite", choices=SUITES)
    print(setup(parser.parse_args().suite))


if __name__ == "__main__":
    main()
