"""Prompts to text embeddings: chunks of 75 tokens, weights, and a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .cache import Cache
from .prompt import Piece, parse

__all__ = ["PromptEncoder"]

CACHED_PROMPTS = 64
CHUNKS_AT_ONCE = 8

Chunk = tuple[list[int], list[float]]
"""Token ids with marks and padding, and a weight for each."""


class PromptEncoder:
    """A CLIP tokenizer and text encoder. A plain prompt of up to 75 tokens gives exactly what diffusers gives."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._length: int = tokenizer.model_max_length
        self._cache: Cache[str, torch.Tensor] = Cache(CACHED_PROMPTS)

    def encode(self, prompt: str) -> torch.Tensor:
        """1 x (chunks * 77) x width. Weighted embeddings keep the mean of the plain ones, as A1111 does."""
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
    def _encode(self, prompt: str) -> torch.Tensor:
        chunks = self.chunks(parse(prompt))
        embeddings = [
            self._encode_chunks(chunks[start : start + CHUNKS_AT_ONCE])
            for start in range(0, len(chunks), CHUNKS_AT_ONCE)
        ]
        return torch.cat(embeddings).flatten(0, 1)[None]

    def _encode_chunks(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        device = self._text_encoder.device
        ids = torch.tensor([ids for ids, _ in chunks], device=device)
        mask = None
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            mask = (ids != self._tokenizer.pad_token_id).long()
        plain = self._text_encoder(ids, attention_mask=mask)[0]
        weights = torch.tensor([weights for _, weights in chunks], device=device, dtype=plain.dtype)
        if bool((weights == 1.0).all()):
            return plain  # type: ignore[no-any-return]
        weighted = plain * weights[..., None]
        mean, weighted_mean = plain.mean(dim=(1, 2), keepdim=True), weighted.mean(dim=(1, 2), keepdim=True)
        return torch.where(weighted_mean.abs() > 1e-6, weighted * (mean / weighted_mean), weighted)

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
