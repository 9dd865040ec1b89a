"""A real Blender with windows, for tests: Debian's Blender under Xvfb in a folder of its own. Needs root on Debian.

``python tools/gui_root.py setup sid`` makes the folder (about two minutes, 2 GB); ``run`` starts Blender in it with
a script and a virtual screen. Suites: trixie has Blender 4.3, sid has 5.2.
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
"""Where :func:`run`'s folder appears inside the root."""


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
    _mount(root)
    _run("chroot", str(root), "apt-get", "update", "-qq")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["chroot", str(root), "apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    subprocess.run(command, check=True, env=environment)
    return root


def blender_command(root: Path, shared: Path, display: int, script: str, arguments: list[str]) -> list[str]:
    """Blender with a window on its own virtual screen; ``script`` and ``arguments`` as seen below /shared."""
    _mount(root)
    _bind(shared, root / SHARED.strip("/"))
    inside = (
        f"Xvfb :{display} -screen 0 1600x1000x24 >/dev/null 2>&1 & server=$!; trap 'kill $server' EXIT; "
        f"export DISPLAY=:{display} LIBGL_ALWAYS_SOFTWARE=1 HOME={SHARED}/home SCUMBLE_HOME={SHARED}/scumble; "
        f"mkdir -p $HOME; until [ -e /tmp/.X11-unix/X{display} ]; do :; done; "
        f'blender --factory-startup --window-geometry 0 0 1600 1000 --python "$@"'
    )
    return ["chroot", str(root), "bash", "-c", inside, "blender", script, "--", *arguments]


def _take_over_network_settings(root: Path) -> None:
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for settings in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(settings, root / "etc/apt/apt.conf.d")
    certificates = root / "etc/ssl/certs"
    certificates.mkdir(parents=True, exist_ok=True)
    if (bundle := Path("/etc/ssl/certs/ca-certificates.crt")).exists():
        shutil.copy(bundle, certificates)


def _mount_points() -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]


def _mount(root: Path) -> None:
    if not (root / "proc/self").exists():
        _run("mount", "-t", "proc", "proc", str(root / "proc"))
    for name in ("sys", "dev"):
        if not any((root / name).iterdir()) or not os.path.ismount(root / name):
            _run("mount", "--rbind", f"/{name}", str(root / name))


def _bind(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    # os.path.ismount can't tell a folder that is bound over another of the same disk.
    while str(target.resolve()) in _mount_points():
        _run("umount", str(target))
    _run("mount", "--bind", str(source), str(target))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["setup"])
    parser.add_argument("suite", choices=SUITES)
    print(setup(parser.parse_args().suite))


if __name__ == "__main__":
    main()
