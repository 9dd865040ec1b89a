"""The recipe from end to end at tiny size, through the command line of each script, and what comes out of it."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import checkpoint
import pytest
import torch
from autoencoder import OFFSET, pixels_to_latents
from average import average
from captured import Captured
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from evaluate import HELD_OUT, Bench, geometry, table
from judges import PICTURE, trained_judge
from model import (
    CONTROLS,
    MAX_SHIPPED_BYTES,
    SIZES,
    build_controlnet,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    build_vae,
    scheduler,
)
from painted import COVERED, Repainter
from safetensors.torch import load_file
from sample import Painter
from trainer import Run
from transformers import CLIPTextModel, CLIPTokenizer

CPU = torch.device("cpu")
STARTER = Path(__file__).parents[2] / "starter"
TINY = ("--size", "tiny", "--batch", "4", "--resolution", "64")


def script(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, str(STARTER / name), *arguments], check=True, timeout=600)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``work`` (all stages, a few steps each, the second run resumed) and ``model`` (the export)."""
    root = tmp_path_factory.mktemp("starter")
    work = str(root / "work")
    script("train.py", "words", work, *TINY, "--minutes", "0.02")
    script("train.py", "diffusion", work, *TINY, "--minutes", "0.03")
    steps = json.loads((root / "work" / "diffusion" / "state.json").read_text())["step"]
    script("train.py", "diffusion", work, *TINY, "--minutes", "0.03", "--crop", "32")
    assert json.loads((root / "work" / "diffusion" / "state.json").read_text())["step"] > steps
    script("train.py", "decoder", work, *TINY, "--minutes", "0.02")
    script("train.py", "decoder", work, *TINY, "--minutes", "0.02", "--painted", "1")
    script("export.py", work, str(root / "model"), "--size", "tiny")
    script("judges.py", work, "--minutes", "0.05")
    return root


def test_the_export_loads_through_the_classes_of_a_full_checkpoint(trained: Path) -> None:
    folder = trained / "model"
    assert isinstance(UNet2DConditionModel.from_pretrained(folder / "unet"), UNet2DConditionModel)
    assert isinstance(AutoencoderKL.from_pretrained(folder / "vae"), AutoencoderKL)
    assert isinstance(CLIPTextModel.from_pretrained(folder / "text_encoder"), CLIPTextModel)
    for kind in ("depth", "normal"):
        assert isinstance(ControlNetModel.from_pretrained(folder / f"controlnet_{kind}"), ControlNetModel)
    assert DDIMScheduler.from_pretrained(folder / "scheduler").config.prediction_type == "v_prediction"
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    assert tokenizer("Mossy STONE, 3 cubes é").input_ids == build_tokenizer()("Mossy STONE, 3 cubes é").input_ids
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    assert pipeline.vae_scale_factor == 8


def test_the_export_is_half_precision_and_says_what_it_is(trained: Path) -> None:
    for file in (trained / "model").rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(file).values() if tensor.is_floating_point()} == {torch.float16}, (
            file
        )
    manifest = json.loads((trained / "model" / "scumble_model.json").read_text())
    assert manifest["id"] == "starter"
    assert manifest["control_kinds"] == ["depth", "normal"]


def test_the_export_paints_the_same_picture_for_the_same_seed_and_minds_its_controls(trained: Path) -> None:
    painter = Painter(trained / "model")
    hint = {"depth": torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)}
    first = painter.paint(["sand"], hint, size=64, steps=2)
    assert first.shape == (1, 3, 64, 64)
    assert torch.equal(first, painter.paint(["sand"], hint, size=64, steps=2))
    assert not torch.equal(first, painter.paint(["sand"], hint, size=64, steps=2, seed=1))
    assert not torch.equal(first, painter.paint(["sand"], {}, size=64, steps=2))


def test_the_evaluation_puts_real_renders_of_the_same_scenes_beside_what_was_painted(trained: Path) -> None:
    bench = Bench(Painter(trained / "model"), trained_judge(trained / "work"), Captured(HELD_OUT, CPU, PICTURE))
    rows = geometry(bench, 2, blender=True)
    assert [name.rpartition(": ")[2] for name, _, _ in rows] == [
        "depth", "normal", "both", "no control", "both, of another scene", "one guess for all",
    ]  # fmt: skip
    assert all(0.0 < float(made.removesuffix("°")) < 180.0 for _, made, _ in rows)
    assert len({real for _, _, real in rows[:-1]}) == 1, "one judge, one set of real renders"
    page = table(rows)
    assert page.count("\n") == len(rows) + 1


def test_checkpoints_come_back_whole_in_small_files(tmp_path: Path) -> None:
    tensors = {f"part {i}": torch.randn(700, 1000) for i in range(12)}
    for generation in range(3):
        checkpoint.save(tmp_path, tensors, {"step": generation})
        loaded = checkpoint.load(tmp_path, torch.device("cpu"))
        assert loaded is not None
        assert loaded[1]["step"] == generation
        assert loaded[0].keys() == tensors.keys()
        assert all(torch.equal(loaded[0][name], tensors[name]) for name in tensors)
        files = list(tmp_path.glob("*.safetensors"))
        assert len(files) == 3
        assert max(file.stat().st_size for file in files) <= 15_000_000


def test_an_untrained_stage_is_named(tmp_path: Path) -> None:
    from trainer import averaged

    with pytest.raises(FileNotFoundError, match="'decoder'"):
        averaged(tmp_path, "decoder", "decoder", torch.device("cpu"))


def test_trainings_side_by_side_are_joined_by_their_mean(trained: Path, tmp_path: Path) -> None:
    tensors, facts = checkpoint.load(trained / "work" / "diffusion", CPU)
    for name, factor, steps in (("a", 1.0, 10), ("b", 3.0, 12)):
        checkpoint.save(tmp_path / name / "diffusion", {key: part * factor for key, part in tensors.items()},
                        {**facts, "step": steps})  # fmt: skip
    script("average.py", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "both"))
    joined, told = checkpoint.load(tmp_path / "both" / "diffusion", CPU)
    assert (told["step"], told["size"], joined.keys()) == (12, "tiny", tensors.keys())
    for key, part in tensors.items():
        torch.testing.assert_close(joined[key], part * 2.0)
    with pytest.raises(ValueError, match="no checkpoint"):
        average([tmp_path / "a", tmp_path / "none"], tmp_path / "out")


def test_painting_again_follows_the_schedule(trained: Path) -> None:
    """With a network that never says anything, each step turns picture and noise by the angle between two steps."""
    repainter = Repainter(Run(trained / "work", "tiny", 1.0, 1.0, 2, 64, 64, 1e-3))
    torch.nn.init.zeros_(repainter._unet.conv_out.weight)
    torch.nn.init.zeros_(repainter._unet.conv_out.bias)
    latent, hints = torch.randn(2, 6, 8, 8), {kind: torch.rand(2, 3, 64, 64) for kind in CONTROLS}
    torch.manual_seed(3)
    found = repainter.paint(latent, ["gold", "moss"], hints)
    torch.manual_seed(3)
    first = COVERED[0] + (COVERED[1] - COVERED[0]) * float(torch.rand(()))
    alphas = scheduler().alphas_cumprod
    times = [int(first * share * 999) for share in (1.0, 2 / 3, 1 / 3)]
    angles = [float(alphas[time].sqrt().acos()) for time in times] + [0.0]
    begun = math.cos(angles[0]) * latent + math.sin(angles[0]) * torch.randn_like(latent)
    turned = math.prod(math.cos(a - b) for a, b in itertools.pairwise(angles))
    torch.testing.assert_close(found, turned * begun, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", ["tiny", "cpu", "gpu"])
def test_the_encoder_is_the_algebra_it_is_set_to(size: str) -> None:
    """Through every layer of the network, in the half precision it is shipped in, to a five-hundredth."""
    vae = build_vae(SIZES[size]).half().float()
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        posterior = vae.encode(image).latent_dist
    assert float((posterior.mean - pixels_to_latents(image)).abs().max()) < 5e-3
    assert float(posterior.std.max()) < 1e-3


def test_latents_are_mean_colour_and_how_brightness_leans() -> None:
    grey = torch.zeros(1, 3, 8, 8)
    assert torch.allclose(pixels_to_latents(grey)[0, :, 0, 0], torch.tensor(OFFSET))
    left_bright = grey.clone()
    left_bright[..., :4], left_bright[..., 4:] = 0.5, -0.5
    change = pixels_to_latents(left_bright)[0, :, 0, 0] - torch.tensor(OFFSET)
    assert torch.allclose(change, torch.tensor([0.0, 0.0, 0.0, 8 * 0.5, 0.0, 0.0]), atol=1e-6)
    red = grey.clone()
    red[:, 0] = 0.3
    change = pixels_to_latents(red)[0, :, 0, 0] - torch.tensor(OFFSET)
    assert torch.allclose(change, torch.tensor([0.2, 0.6, -0.6, 0.0, 0.0, 0.0]), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_fits_into_the_package(size: str) -> None:
    shape = SIZES[size]
    networks = (
        build_text_encoder(shape, build_tokenizer()), build_vae(shape), build_unet(shape),
        *(build_controlnet(shape) for _ in CONTROLS),
    )  # fmt: skip
    assert sum(2 * weight.numel() for network in networks for weight in network.parameters()) < MAX_SHIPPED_BYTES


@pytest.mark.parametrize("size", ["tiny", "cpu", "gpu"])
def test_a_fresh_decoder_gives_mean_colours_back(size: str) -> None:
    torch.manual_seed(0)
    vae = build_vae(SIZES[size])
    colour = torch.tensor([0.5, -0.2, -0.7])[None, :, None, None]
    image = colour.expand(1, 3, 128, 128).contiguous()
    with torch.no_grad():
        back = vae.decode(pixels_to_latents(image)).sample
    # Convolutions see black beyond the rim; what is promised holds inside.
    assert float((back - image)[..., 48:-48, 48:-48].abs().max()) < 0.1
