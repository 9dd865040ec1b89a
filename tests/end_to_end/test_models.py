"""Models through the whole product: pressed in Blender, fetched by the server's process, usable at once."""

from __future__ import annotations

import importlib
import json
import struct
import threading
import time
from pathlib import Path

import bpy
import pytest

HELPERS = Path(__file__).parents[1] / "server" / "models" / "downloads"


def controlnet() -> bytes:
    """A sound ControlNet file of SD 1.5's shape, one byte a number."""
    shapes = {
        "control_model.zero_convs.0.0.weight": (1,),
        "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
    }
    header, position = {}, 0
    for name, shape in shapes.items():
        size = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "U8", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(position)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.syspath_prepend(str(HELPERS))
    server = importlib.import_module("file_server").FileServer()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def online():
    system = bpy.context.preferences.system
    before, system.use_online_access = system.use_online_access, True
    yield
    system.use_online_access = before


def controlnets(api, *, having=None, lacking=None):
    """Ids and kinds, once the server's word of what came or went is here."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        api.step()
        found = {net.id: net.kinds for net in api.capabilities().controlnets}
        if (having is None or having in found) and lacking not in found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{found}, not {having or 'without ' + lacking}")


def test_a_model_is_fetched_listed_verified_used_and_deleted(api, web, online):
    url = web.put("/my-depth.safetensors", controlnet())
    answer = api.manage_models("get", url)
    (model,) = [model for model in answer.listing.models if model.id == "my-depth"]
    assert (model.kind, model.family, model.state, model.own) == ("controlnet", "sd15", "ready", True)
    assert controlnets(api, having="my-depth")["my-depth"] == ("depth",)  # without asking again
    assert api.manage_models("verify", "my-depth").problems == ()
    bpy.ops.scumble.model_delete(model_id="my-depth", wait=True)
    controlnets(api, lacking="my-depth")


def test_a_folder_of_another_program_is_read_where_it_is(api, tmp_path):
    nets = tmp_path / "ComfyUI" / "models" / "controlnet"
    nets.mkdir(parents=True)
    (nets.parent / "checkpoints").mkdir()
    (nets / "edges-canny.safetensors").write_bytes(controlnet())
    api.connect()
    bpy.ops.scumble.model_folder_add(directory=str(tmp_path / "ComfyUI"), wait=True)
    assert controlnets(api, having="edges-canny")["edges-canny"] == ("canny",)
    bpy.ops.scumble.model_folder_remove(directory=str(tmp_path / "ComfyUI"), wait=True)
    controlnets(api, lacking="edges-canny")
    assert (nets / "edges-canny.safetensors").exists()


def test_what_goes_wrong_is_told_in_the_panel_and_pictures_go_on(api, web, online, scene):
    url = web.put("/login.safetensors", b"<html>Sign in to this network</html>")
    with pytest.raises(api.ScumbleError) as caught:
        api.manage_models("get", url)
    assert caught.value.code == "model_invalid"
    with pytest.raises(api.ScumbleError) as caught:
        api.manage_models("get", web.url + "/model.ckpt")
    assert "can run code" in caught.value.info.message
    assert api.generate(width=64, height=64).prepared
