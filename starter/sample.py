"""Contact sheets: what the exported model paints over scenes it has never seen.

python starter/sample.py server/scumble_server/models/starter sheet.png --steps 10 --size 256
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from data import HELD_OUT_SEED, make
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
    UNet2DConditionModel,
)
from model import CONTROLS
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

__all__ = ["Painter", "sheet"]

PROMPTS = (
    "red brick wall", "mossy stone at dusk", "brushed gold", "a mossy stone wall on sand", "blue glazed ceramic",
    "cracked ice", "wooden planks at golden hour", "lava at night", "green knitted wool, studio lighting",
    "white marble on grass", "rusty iron, flat light", "sci-fi panels in neon light",
)  # fmt: skip


class Painter:
    """The exported model behind one call. It needs only diffusers, as any user of the folder would."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).to(device)
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).to(device)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).to(device)
        self.controlnets = {
            name: ControlNetModel.from_pretrained(folder / f"controlnet_{name}", torch_dtype=torch.float32).to(device)
            for name in CONTROLS
        }
        for module in (self.unet, self.vae, *self.controlnets.values()):
            module.to(memory_format=torch.channels_last)
        self.folder = folder

    def words(self, prompts: list[str]) -> Tensor:
        """Prompt embeddings, N x 77 x width."""
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text_encoder(tokens.to(self.device)).last_hidden_state

    def schedule(self, sampler: str) -> SchedulerMixin:
        """The named sampler on the model's own noise schedule."""
        config = DDIMScheduler.from_pretrained(self.folder / "scheduler").config
        if sampler == "ddim":
            return DDIMScheduler.from_config(config)
        return DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=sampler.endswith("karras"))

    @torch.no_grad()
    def paint(
        self,
        prompts: list[str],
        controls: dict[str, Tensor],
        *,
        seed: int = 0,
        size: int = 256,
        steps: int = 8,
        guidance: float = 2.0,
        negative: str = "",
        sampler: str = "ddim",
    ) -> Tensor:
        """Pictures uint8 N x 3 x size x size. controls: uint8 N x 3 x size x size by kind; those left out are off."""
        count = len(prompts)
        words = torch.cat([self.words([negative] * count), self.words(prompts)])
        schedule = self.schedule(sampler)
        schedule.set_timesteps(steps, device=self.device)
        shape = (self.unet.config.in_channels, size // 8, size // 8)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)]
        x = torch.stack(noise).to(self.device) * schedule.init_noise_sigma
        hints = {name: hint.to(self.device).float().repeat(2, 1, 1, 1) / 255 for name, hint in controls.items()}
        for t in schedule.timesteps:
            both = schedule.scale_model_input(torch.cat([x, x]), t)
            extra = self._residuals(both, t, words, hints)
            without, with_ = self.unet(both, t, words, **extra).sample.chunk(2)
            x = schedule.step(without + guidance * (with_ - without), t, x).prev_sample
        image = torch.cat([self.vae.decode(part / self.vae.config.scaling_factor).sample for part in x.split(4)])
        return ((image.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8).cpu()

    def _residuals(self, x: Tensor, t: Tensor, words: Tensor, hints: dict[str, Tensor]) -> dict[str, object]:
        parts = [self.controlnets[name](x, t, words, hint, return_dict=False) for name, hint in hints.items()]
        if not parts:
            return {}
        down = [sum(layers) for layers in zip(*(part[0] for part in parts), strict=True)]
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": sum(p[1] for p in parts)}


def sheet(rows: list[Tensor]) -> Image.Image:
    """One picture of rows of uint8 N x 3 x H x W."""
    lines = [torch.cat(list(row), dim=-1) for row in rows]
    return Image.fromarray(torch.cat(lines, dim=-2).permute(1, 2, 0).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    a = parser.parse_args()
    painter = Painter(a.folder)
    scenes = make(a.scenes, HELD_OUT_SEED + 7, a.size, torch.device("cpu"))
    rows = []
    for index in range(a.scenes):
        count = a.prompts
        controls = {name: getattr(scenes, name)[index : index + 1].expand(count, -1, -1, -1) for name in CONTROLS}
        made = painter.paint(
            list(PROMPTS[:count]), controls, size=a.size, steps=a.steps, guidance=a.guidance, sampler=a.sampler
        )
        rows.append(torch.cat([scenes.depth[index : index + 1], made]))
    sheet(rows).save(a.out)


if __name__ == "__main__":
    main()
