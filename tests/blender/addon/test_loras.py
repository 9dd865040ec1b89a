"""The list of LoRAs: what the server has for the model, what it asks of a job, and what it does to other settings."""

from __future__ import annotations

import importlib

import bpy
import pytest
from scumble_shared.job import Lora
from scumble_shared.messages import Capabilities, LoraInfo, ModelInfo

MODULE = "bl_ext.user_default.scumble"
OFFER = Capabilities(
    models=(ModelInfo("small", "Small", "tiny", "euler", 20, 7.0, 512, 512),),
    loras=(
        LoraInfo("ink", "Ink", "tiny"),
        LoraInfo("quick", "Quick", "tiny", 0.125, "lcm", 6, 1.0),
        LoraInfo("grand", "Grand", "huge"),
    ),
)


@pytest.fixture
def part(extension):
    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def settings(extension, empty_scene, part):
    session = part("state").session()
    session.capabilities = OFFER
    empty_scene.scumble.model_id = "small"
    yield empty_scene.scumble
    session.capabilities = Capabilities()


def test_those_that_fit_the_model_are_offered(settings, part):
    items = part("choices").fitting_lora_items(None, bpy.context)
    assert [item[:2] for item in items] == [("ink", "Ink"), ("quick", "Quick")]
    assert part("choices").fitting_lora_items(None, bpy.context) is items, "Blender keeps pointers to its strings"


def test_added_with_the_weight_that_suits_it_and_removed(settings, part):
    bpy.ops.scumble.lora_add(lora_id="ink")
    bpy.ops.scumble.lora_add(lora_id="quick")
    assert part("request").loras_of(settings) == (Lora("ink"), Lora("quick", 0.125))
    settings.loras[0].enabled = False
    assert part("request").loras_of(settings) == (Lora("quick", 0.125),)
    bpy.ops.scumble.lora_remove(index=1)
    assert [lora.lora_id for lora in settings.loras] == ["ink"]
    assert bpy.ops.scumble.lora_remove(index=5) == {"CANCELLED"}


def test_without_any_for_the_model_there_is_nothing_to_add(settings, part):
    part("state").session().capabilities = Capabilities(models=OFFER.models)
    assert not bpy.ops.scumble.lora_add.poll()


def test_one_that_saves_steps_decides_how_many_there_are(settings):
    assert (settings.sampler, settings.num_inference_steps, settings.guidance_scale) == ("euler", 20, 7.0)
    bpy.ops.scumble.lora_add(lora_id="quick")
    assert (settings.sampler, settings.num_inference_steps, settings.guidance_scale) == ("lcm", 6, 1.0)
    settings.num_inference_steps = 4  # chosen by hand
    assert settings.num_inference_steps == 4
    settings.loras[0].enabled = False
    assert (settings.sampler, settings.num_inference_steps) == ("euler", 4)


def test_the_button_of_an_error_turns_off_the_one_it_is_about(settings):
    bpy.ops.scumble.lora_add(lora_id="ink")
    bpy.ops.scumble.lora_add(lora_id="quick")
    settings.loras[0].enabled = False
    settings.prompt = "a wall <lora:grand:0.5>"
    bpy.ops.scumble.remove_lora(index="1")
    assert "grand" not in settings.prompt
    assert settings.loras[1].enabled
    bpy.ops.scumble.remove_lora(index="0")
    assert not settings.loras[1].enabled
