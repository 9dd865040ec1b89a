"""Prompts to text embeddings: chunks of 75 tokens, weights, and a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .cache import Cache
from .denoise import Text
from .prompt import Piece, parse

__all__ = ["PromptEncoder"]

CACHED_PROMPTS = 64
CHUNKS_AT_ONCE = 8

Chunk = tuple[list[int], list[float]]
"""Token ids with marks and padding, and a weight for each."""


class PromptEncoder:
    """A CLIP tokenizer and text encoder. A plain prompt of up to 75 tokens gives exactly what diffusers gives.

    layer: which of the encoder's hidden states is taken; None: its output.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, layer: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._layer = layer
        self._length: int = tokenizer.model_max_length
        self._cache: Cache[str, tuple[torch.Tensor, torch.Tensor]] = Cache(CACHED_PROMPTS)

    @property
    def module(self) -> Any:
        """The text encoder."""
        return self._text_encoder

    def modules(self) -> dict[str, Any]:
        """See :class:`.family.TextEncoder`."""
        return {"text_encoder": self._text_encoder}

    def text(self, prompts: Sequence[str], negative: str | None, guidance_scale: float) -> Text:
        """See :class:`.family.TextEncoder`."""
        every = [*prompts] if negative is None else [*prompts, negative]
        length = self.longest(every)
        positive = torch.cat([self.extended(prompt, length) for prompt in prompts])
        return Text(positive, None if negative is None else self.extended(negative, length), guidance_scale)

    def encode(self, prompt: str) -> torch.Tensor:
        """1 x (chunks * 77) x width. Weighted embeddings keep the mean of the plain ones, as A1111 does."""
        return self._kept(prompt)[0]

    def pooled(self, prompt: str) -> torch.Tensor:
        """1 x width, the prompt as a whole: of its first chunk, its words weighted alike."""
        return self._kept(prompt)[1]

    def longest(self, prompts: Sequence[str]) -> int:
        """Tokens that hold any of the prompts."""
        return max(self.encode(prompt).shape[1] for prompt in prompts)

    def extended(self, prompt: str, length: int) -> torch.Tensor:
        """1 x ``length`` x width, continued with empty chunks."""
        return self._extend(self.encode(prompt), length)

    def forget(self) -> None:
        """Prompts are encoded anew: the encoder's weights have changed."""
        self._cache.clear()

    def _kept(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self._cache.get(prompt, lambda: self._encode(prompt))

    def encode_pair(self, prompt: str, negative_prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Both, the shorter one continued with empty chunks."""
        positive, negative = self.encode(prompt), self.encode(negative_prompt)
        length = max(positive.shape[1], negative.shape[1])
        return self._extend(positive, length), self._extend(negative, length)

    def _extend(self, embedding: torch.Tensor, length: int) -> torch.Tensor:
        missing = (length - embedding.shape[1]) // self._length
        return torch.cat([embedding, *[self.encode("")] * missing], dim=1)

    @torch.inference_mode()
    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        chunks = self.chunks(parse(prompt))
        encoded = [
            self._encode_chunks(chunks[start : start + CHUNKS_AT_ONCE])
            for start in range(0, len(chunks), CHUNKS_AT_ONCE)
        ]
        return torch.cat([tokens for tokens, _ in encoded]).flatten(0, 1)[None], encoded[0][1][:1]

    def _encode_chunks(self, chunks: Sequence[Chunk]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens, chunks x 77 x width, and the chunks as a whole, chunks x width."""
        device = self._text_encoder.device
        ids = torch.tensor([ids for ids, _ in chunks], device=device)
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            mask = (ids != self._tokenizer.pad_token_id).long()
        output = self._text_encoder(ids, attention_mask=mask, output_hidden_states=self._layer is not None)
        pooled = output.text_embeds if "text_embeds" in output else output.pooler_output
        plain = output.last_hidden_state if self._layer is None else output.hidden_states[self._layer]
        weights = torch.tensor([weights for _, weights in chunks], device=plain.device, dtype=plain.dtype)
        if bool((weights == 1.0).all()):
            return plain, pooled
        weighted = plain * weights[..., None]
        mean, weighted_mean = plain.mean(dim=(1, 2), keepdim=True), weighted.mean(dim=(1, 2), keepdim=True)
        return torch.where(weighted_mean.abs() > 1e-6, weighted * (mean / weighted_mean), weighted), pooled

    def chunks(self, pieces: Sequence[Piece]) -> list[Chunk]:
        """Cut into chunks of up to 75 tokens, at least one."""
        room = self._length - 2
        lines: list[tuple[list[int], list[float]]] = [([], [])]
        for piece in pieces:
            if piece.starts_chunk:
                lines.append(([], []))
            tokens = self._tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids
            while tokens:
                free = room - len(lines[-1][0])
                if free == 0:
                    lines.append(([], []))
                    continue
                taken, tokens = tokens[:free], tokens[free:]
                lines[-1][0].extend(taken)
                lines[-1][1].extend([piece.weight] * len(taken))
        return [self._complete(ids, weights) for ids, weights in lines]

    def _complete(self, ids: list[int], weights: list[float]) -> Chunk:
        tokenizer = self._tokenizer
        full = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        full += [tokenizer.pad_token_id] * (self._length - len(full))
        return full, [1.0, *weights, *[1.0] * (self._length - 1 - len(weights))]
