"""Text encoders of transformers: T5 beside one or two CLIPs; and both from single files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
)

from ...models.tokenizer import clip_tokenizer_tables
from ..cache import Cache
from ..embedding import CACHED_PROMPTS
from ..prompt import parse
from .loading import options

__all__ = [
    "T5Encoder",
    "clip_from_folder",
    "clip_from_state",
    "clip_tokenizer",
    "prefixed",
    "t5_from_folder",
    "t5_from_state",
    "t5_tokenizer",
]

State = Mapping[str, torch.Tensor]


class T5Encoder:
    """A T5 tokenizer and encoder. Weights of A1111's syntax are CLIP's business; T5 reads the words.

    length: tokens of every prompt, filled up or cut off.
    """

    def __init__(self, tokenizer: Any, encoder: Any, length: int) -> None:
        self._tokenizer = tokenizer
        self.module = encoder
        self._length = length
        self._cache: Cache[str, torch.Tensor] = Cache(CACHED_PROMPTS)

    def encode(self, prompt: str) -> torch.Tensor:
        """1 x length x width."""
        return self._cache.get(prompt, lambda: self._encode(prompt))

    def forget(self) -> None:
        """Prompts are encoded anew: the encoder's weights have changed."""
        self._cache.clear()

    @torch.inference_mode()
    def _encode(self, prompt: str) -> torch.Tensor:
        tokens = self._tokenizer(
            _words(prompt), padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
        )
        return self.module(tokens.input_ids.to(self.module.device))[0]  # type: ignore[no-any-return]


def _words(prompt: str) -> str:
    return "".join(f" {piece.text}" if piece.starts_chunk else piece.text for piece in parse(prompt))


def clip_tokenizer(padding: str = "<|endoftext|>") -> Any:
    """The one that all checkpoints share but for what fills up the end."""
    vocab, merges = clip_tokenizer_tables()
    return CLIPTokenizer(vocab, merges, model_max_length=77, pad_token=padding)


def clip_from_folder(folder: Path, number: str, projected: bool, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and text encoder ``number`` ("" or "_2") of a diffusers folder."""
    kind, weights = CLIPTextModelWithProjection if projected else CLIPTextModel, folder / f"text_encoder{number}"
    tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{number}", local_files_only=True)
    return tokenizer, kind.from_pretrained(weights, dtype=dtype, **options(weights, "model"))


def t5_tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def t5_from_folder(folder: Path, number: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and text encoder ``number`` ("_2" or "_3") of a diffusers folder."""
    weights = folder / f"text_encoder{number}"
    encoder = T5EncoderModel.from_pretrained(weights, dtype=dtype, **options(weights, "model"))
    return t5_tokenizer(folder / f"tokenizer{number}"), encoder


def clip_from_state(state: State, config: Path, projected: bool, dtype: torch.dtype) -> Any:
    """From tensors under the library's own names. Without a projection of its own there is none to speak of."""
    settings = CLIPTextConfig.from_pretrained(config, local_files_only=True)
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    state = dict(state)
    if projected:
        state.setdefault("text_projection.weight", torch.eye(settings.hidden_size))
    else:
        state.pop("text_projection.weight", None)
    with init_empty_weights():
        model = kind(settings)
    if not hasattr(model, "text_model"):
        state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    return _filled(model, state, dtype)


def t5_from_state(state: State, config: Path, dtype: torch.dtype) -> Any:
    with init_empty_weights():
        model = T5EncoderModel(T5Config.from_pretrained(config, local_files_only=True))
    shared = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    if shared is None:
        raise KeyError("its T5 encoder has no word embeddings")
    return _filled(model, {**state, "shared.weight": shared, "encoder.embed_tokens.weight": shared}, dtype)


def _filled(model: Any, state: State, dtype: torch.dtype) -> Any:
    """Raises RuntimeError or KeyError if weights don't fit or are missing."""
    missing, _ = model.load_state_dict(
        {name: tensor.to(dtype) for name, tensor in state.items()}, strict=False, assign=True
    )
    if missing:
        raise KeyError(f"its text encoder lacks {missing[0]} and {len(missing) - 1} more")
    model.tie_weights()
    return model


def prefixed(state: State, prefixes: Sequence[str]) -> dict[str, torch.Tensor]:
    """Tensors whose names begin with one of the ``prefixes``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for prefix in prefixes
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
