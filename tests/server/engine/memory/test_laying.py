"""Each lever by itself, on diffusers' real classes: what it does to weights, and that what comes out is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scumble_server.engine.families import family_of
from scumble_server.engine.latents import _tiled, colours, moments
from scumble_server.engine.memory.stages import Room, Stages, group
from scumble_server.engine.memory.storing import check_quantizer, store
from scumble_server.models.entries import ModelEntry
from scumble_shared.errors import ErrorCode, ScumbleError

from ..conftest import CPU, picture

HERE = torch.device("cpu")
FAMILIES = ("sd15", "sdxl", "sd3", "flux")


@pytest.fixture
def fresh(models_folder, family_folders) -> Any:
    """Loads a model of a family that no other test has."""

    def load(family: str) -> Any:
        folder = models_folder / "tiny" if family == "sd15" else family_folders[family]
        return family_of(family).load_model(ModelEntry(family, family, family, folder), CPU)

    return load


def weights_bytes(module: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


class TestEightBitFloats:
    @pytest.mark.supports("weights in 8-bit floats, unpacked to compute")
    @pytest.mark.parametrize("family", FAMILIES)
    def test_they_take_a_quarter_and_compute_in_the_old_format(self, fresh, family):
        module = fresh(family).network.module
        before = {name: parameter.clone() for name, parameter in module.named_parameters()}
        full = weights_bytes(module)
        store(module, "fp8", HERE)
        assert 0.25 <= weights_bytes(module) / full < 0.5
        assert module.dtype == torch.float32
        for name, parameter in module.named_parameters():
            if parameter.dtype == torch.float8_e4m3fn:
                torch.testing.assert_close(parameter.float(), before[name].to(torch.float8_e4m3fn).float())
            else:
                assert torch.equal(parameter, before[name])

    def test_normalisation_is_left_alone(self, fresh):
        module = fresh("sd3").network.module
        store(module, "fp8", HERE)
        kept = [name for name, parameter in module.named_parameters() if parameter.dtype == torch.float32]
        assert all("norm" in name or "pos_embed" in name or name.startswith("proj_out") for name in kept)
        assert kept


class TestQuantized:
    @pytest.mark.supports("weights quantized to 8 bits (torchao)")
    @pytest.mark.parametrize("family", ["sd3", "flux"])
    def test_rows_are_rounded_to_255_steps(self, fresh, family):
        pytest.importorskip("torchao")
        module = fresh(family).network.module
        before = module.transformer_blocks[0].ff.net[0].proj.weight.clone()
        store(module, "int8", HERE)
        weight = module.transformer_blocks[0].ff.net[0].proj.weight
        assert weight.qdata.dtype == torch.int8
        step = before.abs().amax(dim=1, keepdim=True) / 127.0
        assert bool(((weight.dequantize() - before).abs() <= 0.6 * step).all())
        assert not any(parameter.requires_grad for parameter in module.parameters())

    def test_what_is_not_there_is_said_with_what_to_do(self):
        """bitsandbytes isn't installed here, or finds no GPU."""
        with pytest.raises(ScumbleError) as caught:
            check_quantizer("nf4", HERE)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.UNSUPPORTED, "job.memory")
        assert "scumble[nf4]" in caught.value.info.remedy.label


class TestComingAndGoing:
    def test_only_one_stage_is_there_at_a_time(self):
        """Meta tensors stand for the device: what was moved there has no contents, what is at home has."""
        parts = {name: torch.nn.Linear(2, 2) for name in ("text", "network", "autoencoder")}
        moves: list[tuple[str, str]] = []
        for name, part in parts.items():
            part.to = lambda device, name=name: moves.append((name, str(device)))  # type: ignore[method-assign]
        stages = Stages(torch.device("meta"), {name: [part] for name, part in parts.items()})  # type: ignore[misc]
        stages.show("text")
        assert moves[-1] == ("text", "meta")
        assert {name for name, device in moves if device == "cpu"} == {"network", "autoencoder"}
        moves.clear()
        stages.show("text")
        assert moves == []
        stages.show("network")
        assert moves == [("text", "cpu"), ("autoencoder", "cpu"), ("network", "meta")]

    def test_the_next_job_finds_nothing_of_the_one_before(self):
        part, room = torch.nn.Linear(2, 2), Room()
        stages = Stages(HERE, {"network": [part]})
        room.lay(True, 1, stages, False)
        room.show("network")
        room.tell("something")
        room.lay(False, 0, None, True)
        assert stages.now is None
        assert (room.tiled, room.at_once, room.stages, room.is_plain, room.told) == (False, 0, None, True, [])

    @pytest.mark.supports("layers that come and go")
    @pytest.mark.parametrize("family", FAMILIES)
    def test_layers_compute_what_they_did(self, fresh, family):
        model = fresh(family)
        texts = model.prompt_encoder.text(["a wall"], None, 1.0)
        for module in model.components.values():
            group(module, HERE)
        model.prompt_encoder.forget()
        again = model.prompt_encoder.text(["a wall"], None, 1.0)
        assert torch.equal(again.positive, texts.positive)


class TestTiles:
    def test_encoding_in_tiles_is_near_and_leaves_nothing_behind(self, fresh):
        model = fresh("sdxl")
        pixels = torch.from_numpy(picture(3, 768, 512)).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        whole = moments(model, pixels)[0]
        before = model.vae.use_tiling, model.vae.tile_sample_min_size, model.vae.tile_latent_min_size
        model.room.tiled = True
        tiled = moments(model, pixels)[0]
        assert (model.vae.use_tiling, model.vae.tile_sample_min_size, model.vae.tile_latent_min_size) == before
        assert not torch.equal(tiled, whole)
        assert (tiled - whole).abs().mean() < 0.2 * whole.std()
        model.room.tiled = False
        assert torch.equal(moments(model, pixels)[0], whole)

    def test_decoding_in_tiles_is_near(self, fresh):
        model = fresh("sdxl")
        latents = torch.nn.functional.interpolate(
            torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(5)), (72, 96), mode="bicubic"
        )
        whole = colours(model, latents)
        model.room.tiled = True
        tiled = colours(model, latents)
        assert (tiled - whole).abs().mean() < 0.02

    def test_a_tile_that_fails_leaves_nothing_behind(self, fresh):
        vae = fresh("sdxl").vae
        before = vae.use_tiling
        with pytest.raises(MemoryError), _tiled(vae, True):
            raise MemoryError
        assert vae.use_tiling == before


class TestNumbersThatAreNone:
    def test_an_autoencoder_that_overflows_is_run_in_full_precision(self, fresh, monkeypatch):
        """float16's largest number is 65504; a decoder that goes beyond it gives black without this."""
        model = fresh("sdxl")
        plain = colours(model, torch.zeros(1, 4, 8, 8) + 0.3)
        with torch.no_grad():
            norm = model.vae.decoder.conv_norm_out
            model.vae.decoder.mid_block.resnets[0].conv2.weight *= 3e5
        expected = colours(model, torch.zeros(1, 4, 8, 8) + 0.3)
        assert norm.weight.dtype == torch.float32
        model.vae.to(torch.float16)
        found = colours(model, torch.zeros(1, 4, 8, 8) + 0.3)
        assert model.vae.dtype == torch.float16
        assert bool(torch.isfinite(found).all())
        assert (found - expected).abs().max() < 0.05
        assert model.room.told == ["decoded in full precision, since half of it overflowed"]
        assert not torch.equal(plain, expected)

    def test_what_is_none_before_decoding_is_an_error(self, fresh):
        with pytest.raises(ScumbleError) as caught:
            colours(fresh("sdxl"), torch.full((1, 4, 8, 8), torch.nan))
        assert caught.value.code is ErrorCode.INVALID_RESULT
