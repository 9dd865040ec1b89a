"""A1111's prompt syntax, and embeddings that equal diffusers' where both know what to do."""

from __future__ import annotations

import time

import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.engine.prompt import Piece, parse


def weights(prompt: str) -> list[tuple[str, float]]:
    return [(piece.text, round(piece.weight, 4)) for piece in parse(prompt)]


class TestSyntax:
    @pytest.mark.parametrize(
        ("prompt", "expected"),
        [
            ("", []),
            ("a red ball", [("a red ball", 1.0)]),
            ("a (red) ball", [("a ", 1.0), ("red", 1.1), (" ball", 1.0)]),
            ("a [red] ball", [("a ", 1.0), ("red", 0.9091), (" ball", 1.0)]),
            ("((red))", [("red", 1.21)]),
            ("([red])", [("red", 1.0)]),
            ("(red:1.3)", [("red", 1.3)]),
            ("(red: .5 )", [("red", 0.5)]),
            ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3.0), (" c", 1.5)]),
            (r"a \(red\) \[ball\]", [("a (red) [ball]", 1.0)]),
            (r"\\", [("\\", 1.0)]),
            ("a: b, 16:9", [("a: b, 16:9", 1.0)]),
            ("open (red ball", [("open ", 1.0), ("red ball", 1.1)]),
            ("closed) here] too:1.2)", [("closed) here] too:1.2)", 1.0)]),
            ("(red:99)", [("red", 10.0)]),
            ("(red:-2)", [("red", 0.0)]),
        ],
    )
    def test_weights(self, prompt, expected):
        assert weights(prompt) == expected

    def test_break_starts_a_chunk(self):
        assert parse("a BREAK b") == (Piece("a"), Piece("b", starts_chunk=True))
        assert parse("(a BREAK b:1.2)") == (Piece("a", 1.2), Piece("b", 1.2, starts_chunk=True))
        assert parse("BREAKFAST") == (Piece("BREAKFAST"),)

    @given(st.text(max_size=200))
    def test_any_text_has_weights_in_range(self, prompt):
        for piece in parse(prompt):
            assert 0.0 <= piece.weight <= 10.0

    @given(st.text(alphabet="abc ,.:-", max_size=80))
    def test_text_without_brackets_is_itself(self, prompt):
        assert "".join(piece.text for piece in parse(prompt)) == prompt

    @pytest.mark.parametrize("pattern", ["(", "(a", "[a(", "(a:2)", "\\(", "BREAK "])
    def test_the_longest_prompt_is_quick(self, pattern):
        start = time.perf_counter()
        parse(pattern * (16384 // len(pattern)))
        assert time.perf_counter() - start < 1.0


@pytest.fixture(scope="module")
def diffusers_encode(tiny):
    encoder = tiny.prompt_encoder
    pipe = StableDiffusionPipeline(
        vae=tiny.vae,
        text_encoder=encoder._text_encoder,
        tokenizer=encoder._tokenizer,
        unet=tiny.unet,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return lambda prompt: pipe.encode_prompt(prompt, "cpu", 1, False)[0]


class TestEmbedding:
    @pytest.mark.parametrize("prompt", ["", "a mossy brick wall", "Schöne ☃ Wörter, 3.5%", "stone " * 75])
    def test_plain_prompts_are_those_of_diffusers(self, tiny, diffusers_encode, prompt):
        assert torch.equal(tiny.prompt_encoder.encode(prompt), diffusers_encode(prompt))

    def test_long_prompts_are_chunks_of_75_side_by_side(self, tiny, diffusers_encode):
        embedding = tiny.prompt_encoder.encode("stone " * 76)
        assert embedding.shape[1] == 2 * 77
        parts = torch.cat([diffusers_encode("stone " * 75), diffusers_encode("stone")], dim=1)
        assert torch.allclose(embedding, parts, atol=1e-5)

    def test_break_pads_the_chunk(self, tiny, diffusers_encode):
        parts = torch.cat([diffusers_encode("red brick"), diffusers_encode("blue sky")], dim=1)
        assert torch.allclose(tiny.prompt_encoder.encode("red brick BREAK blue sky"), parts, atol=1e-5)

    def test_the_shorter_of_a_pair_is_continued_with_nothing(self, tiny, diffusers_encode):
        positive, negative = tiny.prompt_encoder.encode_pair("stone " * 160, "dark")
        assert positive.shape == negative.shape == (1, 3 * 77, 64)
        expected = torch.cat([diffusers_encode("dark"), diffusers_encode(""), diffusers_encode("")], dim=1)
        assert torch.allclose(negative, expected, atol=1e-5)

    def test_weights_scale_their_tokens_and_keep_the_mean(self, tiny):
        plain, weighted = tiny.prompt_encoder.encode("red brick"), tiny.prompt_encoder.encode("(red:1.5) brick")
        assert torch.allclose(plain.mean(), weighted.mean(), atol=1e-5)
        ratio = weighted[0] / plain[0]
        first = ratio[1].median()
        assert torch.allclose(first / ratio[2].median(), torch.tensor(1.5), atol=1e-3)

    def test_the_longest_prompt_has_an_embedding(self, tiny):
        embedding = tiny.prompt_encoder.encode("old red (brick:1.2), " * 780)
        assert torch.isfinite(embedding).all()
        assert embedding.shape[1] % 77 == 0

    def test_embeddings_are_kept(self, tiny):
        assert tiny.prompt_encoder.encode("kept") is tiny.prompt_encoder.encode("kept")
