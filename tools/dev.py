"""Sets up a clone and runs it: ``python tools/dev.py demo`` on any system, ``make demo`` where there is make.

Needs Python 3.11 or newer and nothing else; everything is installed into ``.venv*`` folders of this clone.
The server's environment is ``.venv``. Blender's own Python is stood for by ``.venv-blender-<version>``, which
holds the official ``bpy`` wheel: Blender 5.2 LTS where a Python 3.13 is found, 4.5 LTS where a 3.11 is.
"""

from __future__ import annotations

import argparse
import ctypes.util
import glob
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLENDERS = {"5.2": ("3.13", "bpy==5.2.3"), "4.5": ("3.11", "bpy==4.5.15")}
"""Blender version -> the Python it is built for and the wheel; best first."""

BENCHMARKS = ("cold_start", "server_overhead", "loopback", "engine_cpu", "starter", "texturing", "texture_job")
BLENDER_BENCHMARKS = ("capture", "blender_bake", "live")
"""In Blender's Python. Besides there are gpu.py, for CUDA; live_window.py, with real windows; soak.py, for hours."""

LINUX_LIBRARIES = {  # what `import bpy` and its software renderer load -> the Debian package that has it
    "GL": "libgl1",
    "EGL": "libegl1",
    "X11": "libx11-6",
    "Xrender": "libxrender1",
    "Xxf86vm": "libxxf86vm1",
    "Xfixes": "libxfixes3",
    "Xi": "libxi6",
    "xkbcommon": "libxkbcommon0",
    "SM": "libsm6",
    "ICE": "libice6",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--blender", default="best", choices=["best", "all", *BLENDERS], help="which Blender to use")
    # REMAINDER would swallow --blender too; what this parser doesn't know is for the task's own command.
    arguments, rest = parser.parse_known_args()
    TASKS[arguments.task](arguments.blender, rest)
    return 0


# --- tasks ------------------------------------------------------------------------------------------


def setup(blender: str, rest: Sequence[str]) -> list[Path]:
    """Returns the Python of each Blender environment that was asked for."""
    system_packages()
    environment(
        ROOT / ".venv",
        sys.executable,
        ["-c", "constraints.txt", "-e", ".[dev,tls,exr,lora]"],
        [ROOT / "pyproject.toml", ROOT / "constraints.txt"],
        # Without torchvision, which they ask for: from an index it is rarely the one that was built for this torch.
        alone=["-c", "constraints.txt", "spandrel", "einops"],
    )
    pythons = [blender_environment(version) for version in chosen_blenders(blender)]
    run([server_python(), "-m", "scumble_server.cli", "build-addon"])
    return pythons


def demo(blender: str, rest: Sequence[str]) -> None:
    python = setup(blender if blender != "all" else "best", rest)[0]
    run([server_python(), "-m", "scumble_server.cli", "demo", "--blender", python, *rest])


def lint(blender: str, rest: Sequence[str]) -> None:
    python = server_python()
    run([python, "-m", "ruff", "check", "."])
    run([python, "-m", "ruff", "format", "--check", "."])
    run([python, "-m", "mypy"])


def test(blender: str, rest: Sequence[str]) -> None:
    """Everything headless: lint and types, shared and server, then each Blender with the built extension."""
    pythons = setup(blender, rest)
    lint(blender, rest)
    failed = [] if pytest(server_python(), ["tests", *ignored("blender", "end_to_end", "gui"), *rest]) else ["server"]
    for python in pythons:
        # The bpy module is one Blender session per process: the groups don't share one.
        for group in ("tests/blender/capture", "tests/blender/addon", "tests/end_to_end"):
            failed += [] if pytest(python, [group, *rest]) else [f"{python.parent.parent.name}: {group}"]
    if failed:
        sys.exit("failed: " + ", ".join(failed))


def bench(blender: str, rest: Sequence[str]) -> None:
    """All benchmarks that any machine can run in some minutes, as tables and as JSON files in benchmark_output/."""
    python = setup(blender if blender != "all" else "best", rest)[0]
    for name, value in (("OMP_WAIT_POLICY", "passive"), ("GOMP_SPINCOUNT", "2000")):
        os.environ.setdefault(name, value)  # as the server's workers have it
    missed = []
    for name in (*BENCHMARKS, *BLENDER_BENCHMARKS):
        command = [python if name in BLENDER_BENCHMARKS else server_python(), ROOT / "benchmarks" / f"{name}.py", *rest]
        if subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode:
            missed.append(name)
    if missed:
        sys.exit("failed, or over a goal: " + ", ".join(missed))


def test_gui(blender: str, rest: Sequence[str]) -> None:
    """Real Blender windows under Xvfb; sets Debian's Blenders up in build/gui. Needs root on Debian."""
    setup(blender if blender != "all" else "best", rest)
    if not pytest(server_python(), ["tests/gui", *rest]):
        sys.exit("failed: tests/gui")


TASKS = {"setup": setup, "demo": demo, "test": test, "test-gui": test_gui, "lint": lint, "bench": bench}


# --- environments -----------------------------------------------------------------------------------


def chosen_blenders(blender: str) -> list[str]:
    available = [version for version, (python, _) in BLENDERS.items() if find_python(python)]
    if blender in BLENDERS:
        available = [version for version in available if version == blender]
    if not available:
        wanted = blender if blender in BLENDERS else ", or ".join(BLENDERS)
        needed = " or ".join(python for version, (python, _) in BLENDERS.items() if blender in ("best", "all", version))
        sys.exit(f"Blender {wanted} as a Python module needs Python {needed}, and none was found. Install one.")
    return available if blender == "all" else available[:1]


def find_python(version: str) -> str | None:
    """A working interpreter of exactly ``version`` ("3.13"): on PATH, in pyenv's or uv's folder, by the py launcher."""
    home = Path.home()
    pyenv = os.environ.get("PYENV_ROOT", str(home / ".pyenv"))
    candidates: list[list[str]] = [
        [sys.executable],
        [f"python{version}"],
        ["python3"],
        ["python"],
        ["py", f"-{version}"],
    ]
    for pattern in (
        f"{pyenv}/versions/{version}.*/bin/python",
        f"{pyenv}/pyenv-win/versions/{version}.*/python.exe",
        f"{home}/.local/share/uv/python/cpython-{version}.*/bin/python3",
        f"/opt/homebrew/opt/python@{version}/bin/python{version}",
    ):
        candidates += [[path] for path in sorted(glob.glob(pattern))]
    probe = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for command in candidates:
        if not shutil.which(command[0]):
            continue
        answer = subprocess.run([*command, "-c", probe], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.startswith(version + " "):
            return answer.stdout.split(maxsplit=1)[1].strip()
    return None


def blender_environment(version: str) -> Path:
    python, wheel = BLENDERS[version]
    base = find_python(python)
    assert base, f"chosen_blenders() offered {version} without a Python {python}"
    packages = ["-c", "constraints-blender.txt", wheel, "pytest", "pytest-timeout", "hypothesis"]
    return environment(ROOT / f".venv-blender-{version}", base, packages, [ROOT / "constraints-blender.txt"])


def environment(folder: Path, base: str, packages: list[str], inputs: list[Path], alone: Sequence[str] = ()) -> Path:
    """Makes or refreshes a virtual environment; does nothing when neither ``packages`` nor ``inputs`` changed.

    alone: packages that are installed without what they need.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / ".scumble-stamp"
    wanted = [packages, *alone, *(path.read_text(encoding="utf-8") for path in inputs)]
    key = hashlib.sha256(repr(wanted).encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == key:
        return python
    print(f"== {folder.name}: installing (minutes the first time)", flush=True)
    if not python.exists():
        run([base, "-m", "venv", "--clear", folder])
        run([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip"])
    run([python, "-m", "pip", "install", "--quiet", *packages])
    if alone:
        run([python, "-m", "pip", "install", "--quiet", "--no-deps", *alone])
    stamp.write_text(key)
    return python


def system_packages() -> None:
    """On Linux, the libraries Blender's module needs: installed if we may, named if not."""
    if not sys.platform.startswith("linux"):
        return
    missing = [package for library, package in LINUX_LIBRARIES.items() if not ctypes.util.find_library(library)]
    if not has_venv():
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if not shutil.which("apt-get"):
        sys.exit(f"Please install what your system calls these Debian packages: {' '.join(missing)}")
    if os.geteuid() != 0:
        sys.exit("Blender's module needs system packages. Please run, then try again:\n  sudo " + " ".join(command))
    run(["apt-get", "update", "-qq"])
    run(command)


def has_venv() -> bool:
    """Debian splits venv from python3; the module imports but can't make an environment without ensurepip."""
    return (
        subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
        == 0
    )


# --- running ----------------------------------------------------------------------------------------


def server_python() -> Path:
    return ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ignored(*groups: str) -> list[str]:
    return [f"--ignore=tests/{group}" for group in groups]


def pytest(python: Path, arguments: Sequence[str]) -> bool:
    print(f"== {python.parent.parent.name}: pytest {' '.join(arguments)}", flush=True)
    command = [str(python), "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def run(command: Sequence[str | Path]) -> None:
    result = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    if result.returncode:
        sys.exit(result.returncode)


if __name__ == "__main__":
    sys.exit(main())
