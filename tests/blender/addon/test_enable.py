"""Switching the extension on and off, by the built zip, leaves Blender as it was."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import threading
from pathlib import Path

import bpy
import pytest

MODULE = "bl_ext.user_default.scumble"
VALIDATOR = Path(bpy.utils.system_resource("SCRIPTS"), "addons_core/bl_pkg/cli/blender_ext.py")


def traces():
    """Everything of ours that Blender holds."""
    bpy.context.window_manager.keyconfigs.update()
    handlers = [
        f"{name}: {function.__module__}"
        for name in dir(bpy.app.handlers)
        if isinstance(functions := getattr(bpy.app.handlers, name), list)
        for function in functions
        if "scumble" in function.__module__
    ]
    classes = [name for name in dir(bpy.types) if name.startswith("SCUMBLE_")]
    operators = dir(bpy.ops.scumble)
    properties = [kind for kind in ("Scene", "WindowManager", "Object") if hasattr(getattr(bpy.types, kind), "scumble")]
    threads = [thread.name for thread in threading.enumerate() if "scumble" in thread.name]
    presets = [path for path in bpy.utils.preset_paths("scumble") if "extensions" in path]
    return {
        "handlers": handlers,
        "classes": classes,
        "operators": operators,
        "properties": properties,
        "threads": threads,
        "presets": presets,
    }


NOTHING = {"handlers": [], "classes": [], "operators": [], "properties": [], "threads": [], "presets": []}


def test_blenders_own_validator_takes_the_zip(extension_zip):
    done = subprocess.run(
        [sys.executable, VALIDATOR, "validate", extension_zip], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_off_leaves_nothing_and_on_again_brings_everything_back(extension):
    on = traces()
    assert "SCUMBLE_OT_generate" in on["classes"]
    assert on["properties"] == ["Scene"]
    assert len(on["presets"]) == 1
    for _ in range(3):
        bpy.ops.preferences.addon_disable(module=MODULE)
        assert traces() == NOTHING
        bpy.ops.preferences.addon_enable(module=MODULE)
        assert traces() == on


def test_nothing_runs_until_there_is_something_to_do(extension):
    assert traces()["threads"] == []
    pump = importlib.import_module(f"{MODULE}.pump")
    assert not bpy.app.timers.is_registered(pump._tick)


def test_settings_stay_with_the_scene_while_the_extension_is_off(extension, empty_scene):
    empty_scene.scumble.prompt = "a red castle"
    bpy.ops.preferences.addon_disable(module=MODULE)
    bpy.ops.preferences.addon_enable(module=MODULE)
    assert bpy.context.scene.scumble.prompt == "a red castle"


@pytest.mark.parametrize("panels", ["main", "live"])
def test_every_property_and_operator_the_panels_name_exists(extension, panels):
    """Panels can't be drawn without a window, so what they mention is looked up instead."""
    source = Path(importlib.import_module(f"{MODULE}.panels.{panels}").__file__).read_text()
    settings = bpy.context.scene.scumble.bl_rna.properties.keys()
    control = importlib.import_module(f"{MODULE}.properties").SCUMBLE_PG_control.bl_rna.properties.keys()
    live = bpy.context.scene.scumble.live.bl_rna.properties.keys()
    lora = importlib.import_module(f"{MODULE}.properties").SCUMBLE_PG_lora.bl_rna.properties.keys()
    known = {"settings": settings, "control": control, "live": live, "lora": lora}
    for call in ast.walk(ast.parse(source)):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
            continue
        if call.func.attr == "prop" and isinstance(call.args[0], ast.Name):
            assert call.args[1].value in known[call.args[0].id]
        if call.func.attr.startswith("operator") and isinstance(call.args[0], ast.Constant):
            prefix, _, name = call.args[0].value.partition(".")
            assert hasattr(bpy.types, f"{prefix.upper()}_OT_{name}")


def test_every_remedy_that_can_be_done_from_here_has_its_operator(extension):
    errors = importlib.import_module("scumble_shared.errors")
    remedies = importlib.import_module(f"{MODULE}.operators.remedies")
    elsewhere = {errors.RemedyAction.NONE, errors.RemedyAction.UPDATE_SERVER}
    assert set(remedies.REMEDY_OPERATORS) == set(errors.RemedyAction) - elsewhere
    for operator, argument in remedies.REMEDY_OPERATORS.values():
        assert hasattr(bpy.types, operator.replace("scumble.", "SCUMBLE_OT_"))
        rna = getattr(bpy.ops.scumble, operator.removeprefix("scumble.")).get_rna_type()
        assert not argument or rna.properties[argument].type == "STRING"


def test_german_is_spoken(extension):
    view = bpy.context.preferences.view
    if "de_DE" not in bpy.app.translations.locales:
        pytest.skip("this Blender was built without languages")
    before = view.language
    try:
        view.language = "de_DE"
        view.use_translate_interface = True
        assert bpy.app.translations.pgettext_iface("Texture from View") == "Textur aus Ansicht"
        assert bpy.app.translations.pgettext_iface("Generate", "Operator") == "Erzeugen"
    finally:
        view.language = before
