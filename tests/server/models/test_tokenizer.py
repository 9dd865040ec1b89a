"""CLIP tokenizers made from merges alone."""

from __future__ import annotations

from scumble_server.models.tokenizer import clip_tokenizer_tables, learn_merges, vocabulary, write_tokenizer
from transformers import CLIPTokenizer


def test_the_shipped_merges_are_clips():
    """Known ids of OpenAI's CLIP."""
    vocab, merges = clip_tokenizer_tables()
    assert len(vocab) == 49408
    tokenizer = CLIPTokenizer(vocab, merges, model_max_length=77)
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer.pad_token_id == 49407


def test_learnt_words_become_one_token(tmp_path):
    words = ["brick", "brick", "brass", "oak"]
    merges = learn_merges(words, 100)
    size = write_tokenizer(tmp_path, merges)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == size == len(vocabulary(merges))
    for word in words:
        assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1
    assert len(tokenizer("zebra ☃", add_special_tokens=False).input_ids) > 2


def test_merges_do_not_depend_on_the_order_of_the_words():
    assert learn_merges(["oak", "brass", "brick"], 20) == learn_merges(["brick", "oak", "brass"], 20)
    assert len(learn_merges(["brick"], 2)) == 2
