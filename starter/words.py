"""Teaches the text encoder what captions mean before it meets a picture: it costs a minute and saves hours.

Left to the diffusion loss alone, a small model with little training never notices its prompt. So the encoder first
learns to tell, from the mean of its output (what an untrained cross-attention reads), which material, colour, finish,
ground and light a caption speaks of. Captions are free: no picture is rendered.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from captions import dress
from materials import FINISHES, MATERIALS
from model import SIZES, build_text_encoder, build_tokenizer
from render import LIGHTS
from scenes import random_scenes
from torch import Tensor, nn
from trainer import Run, Trainer

__all__ = ["train_words"]


def examples(count: int, seed: int) -> tuple[list[str], dict[str, Tensor], Tensor]:
    """Captions, the classes they speak of, and the colour asked for (RGB and whether there is one), count x 4."""
    scene = random_scenes(count, torch.Generator().manual_seed(seed))
    look, captions = dress(scene, seed)
    row = torch.arange(count)
    main = torch.where(scene.kind[:, 3] > 0, 3, 1)
    ground = torch.where(scene.kind[:, 0] > 0, 0, main)
    classes = {
        "material": look.material[row, main],
        "finish": look.finish[row, main] + 1,
        "ground": look.material[row, ground],
        "light": look.light,
    }
    colour = torch.cat([look.tint[row, main].sqrt(), look.tinted[row, main].float()[:, None]], dim=-1)
    return [caption.text for caption in captions], classes, colour


class Heads(nn.Module):
    """Linear readers of the mean embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        materials, finishes = len(MATERIALS), len(FINISHES) + 1
        counts = {"material": materials, "finish": finishes, "ground": materials, "light": len(LIGHTS)}
        self.classes = nn.ModuleDict({name: nn.Linear(width, count) for name, count in counts.items()})
        self.colour = nn.Linear(width, 4)


def train_words(run: Run) -> None:
    """Stage ``words``."""
    device = torch.device(run.device)
    tokenizer = build_tokenizer()
    text = build_text_encoder(SIZES[run.size], tokenizer).to(device)
    heads = Heads(SIZES[run.size].text[0]).to(device)
    trainer = Trainer(run, "words", {"text_encoder": text, "heads": heads})

    def loss_of() -> Tensor:
        captions, classes, colour = examples(run.batch, run.seed + trainer.step)
        tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        mean = text(tokens).last_hidden_state.mean(1)
        loss = F.mse_loss(heads.colour(mean).float(), colour.to(device)) * 8
        for name, head in heads.classes.items():
            loss = loss + F.cross_entropy(head(mean).float(), classes[name].to(device))
        return loss

    trainer.loop(loss_of)
