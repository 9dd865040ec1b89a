"""Dependencies point one way: the extension and the server know the shared package, and never each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED, SERVER, ADDON = ROOT / "shared/scumble_shared", ROOT / "server/scumble_server", ROOT / "blender_addon"
BLENDER = {
    *("bpy", "bpy_extras", "bmesh", "mathutils", "gpu", "gpu_extras", "blf", "bl_math", "imbuf", "idprop"),
    *("addon_utils", "bl_ext", "bl_operators", "bl_ui", "rna_prop_ui"),
}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "peft"}
ADDON_MAY_USE = {"scumble_shared", "numpy", "websockets"} | BLENDER | set(sys.stdlib_module_names)
SHARED_MAY_USE = {"scumble_shared", "numpy"} | set(sys.stdlib_module_names)


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "vendor" not in path.parts and "wheels" not in path.parts)


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """First parts of all modules imported absolutely anywhere in a file, functions included, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno


def offences(folder: Path, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for name, line in imported(path)
        if name in forbidden
    ]


def strangers(folder: Path, allowed: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for name, line in imported(path)
        if name not in allowed
    ]


@pytest.mark.parametrize("folder", [SHARED, SERVER], ids=["shared", "server"])
def test_blender_is_imported_by_the_extension_alone(folder):
    assert offences(folder, BLENDER) == []


def test_the_extension_needs_nothing_that_blender_or_its_own_zip_lacks():
    assert strangers(ADDON, ADDON_MAY_USE) == []


def test_the_shared_package_needs_numpy_alone():
    assert strangers(SHARED, SHARED_MAY_USE) == []


def test_the_shared_package_never_imports_torch_or_the_server():
    assert offences(SHARED, HEAVY | {"scumble_server"}) == []


@pytest.mark.parametrize("part", ["net", "workers", "service.py", "cli.py"])
def test_what_runs_in_the_server_process_never_names_torch(part):
    path = SERVER / part
    files = sources(path) if path.is_dir() else [path]
    assert [f"{file.name}:{line}" for file in files for name, line in imported(file) if name in HEAVY] == []


def test_the_import_contracts_hold_through_any_number_of_steps():
    """The contracts of pyproject.toml, on the whole import graph."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "import scumble_server.cli",
        "import scumble_server.commands.serve",
        "from scumble_server.workers.service import engine_service; assert engine_service(()).capabilities().models",
    ],
    ids=["command", "serve", "capabilities"],
)
def test_starting_up_does_not_load_torch(statement):
    code = f"import sys\n{statement}\nprint([m for m in {sorted(HEAVY)!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_states_what_it_offers():
    """``__all__`` in each module of the two packages, so that what is private is known to be."""
    silent = []
    for path in sources(SHARED) + sources(SERVER):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)
        if defines and "__all__" not in names:
            silent.append(str(path.relative_to(ROOT)))
    assert silent == []
