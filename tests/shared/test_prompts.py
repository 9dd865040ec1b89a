"""Words of a prompt: chosen by the seed and nothing else, styles as A1111 keeps them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Lora
from scumble_shared.prompts import (
    LoraTag,
    Style,
    WildcardFolder,
    apply_styles,
    escaped,
    expand,
    has_choices,
    read_style_file,
    read_styles,
    take_loras,
    with_loras,
    write_style_file,
    write_styles,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\"), max_size=60)
PLAIN = st.text(st.sampled_from("ab ,()[]:1.2<>|"), max_size=40)
SEEDS = st.integers(0, 2**63 - 1)
LINES = {"color": ("red", "green"), "tree": ("{tall|old} oak", "__color__ beech"), "me": ("__me__",), "empty": ()}


def lookup(name):
    return LINES[name]


class TestChoices:
    @given(PLAIN, SEEDS)
    def test_text_without_any_stays_as_it_is(self, text, seed):
        assert expand(text, seed, lookup) == text
        assert not has_choices(text)

    @given(TEXTS, SEEDS)
    def test_escaped_text_is_taken_as_it_is(self, text, seed):
        assert expand(escaped(text), seed, lookup) == text

    @given(SEEDS)
    def test_the_seed_decides_and_decides_the_same_again(self, seed):
        text = "a {red|green|blue} __tree__, {2$$fog|rain|sun}"
        assert expand(text, seed, lookup) == expand(text, seed, lookup)

    def test_it_is_the_same_on_every_machine(self):
        assert [expand("{a|b|c|d|e|f}", seed, lookup) for seed in range(8)] == list("daaafede")

    def test_each_comes_about_as_often_as_its_weight_says(self):
        counts = Counter(expand("{3::a|b}", seed, lookup) for seed in range(4000))
        assert 0.71 < counts["a"] / 4000 < 0.79
        assert set(counts) == {"a", "b"}

    def test_several_are_different_and_joined(self):
        for seed in range(50):
            chosen = expand("{2$$a|b|c}", seed, lookup).split(", ")
            assert len(set(chosen)) == 2
            assert set(expand("{3$$ and $$a|b|c}", seed, lookup).split(" and ")) == {"a", "b", "c"}
            assert len(expand("{1-3$$a|b|c}", seed, lookup).split(", ")) in (1, 2, 3)
        assert expand("{9$$a|b}", 0, lookup).count(",") == 1  # no more than there are

    def test_one_may_be_nothing_and_they_nest(self):
        assert {expand("a{ big|} tree", seed, lookup) for seed in range(20)} == {"a big tree", "a tree"}
        assert {expand("{x{1|2}|y}", seed, lookup) for seed in range(40)} == {"x1", "x2", "y"}

    def test_files_have_choices_and_files_in_them(self):
        assert {expand("__tree__", seed, lookup) for seed in range(60)} == {
            *("tall oak", "old oak", "red beech", "green beech")
        }

    @pytest.mark.parametrize("text", ["{", "}", "a { b", "a } b", "{a|b", "\\{a|b\\}", "snake_case", "__", "____"])
    def test_what_is_no_choice_stays(self, text):
        assert expand(text, 1, lookup) == text.replace("\\", "")

    def test_weights_and_other_brackets_stay(self):
        assert expand("(word:1.2) [a:b:0.5] <lora:moss:0.8>", 1, lookup) == "(word:1.2) [a:b:0.5] <lora:moss:0.8>"

    def test_what_leads_round_in_a_circle_is_refused(self):
        for text in ("__me__", "__empty__", "{" * 17 + "a" + "}" * 17, "{a|b}" * 2001):
            with pytest.raises(ScumbleError) as caught:
                expand(text, 1, lookup)
            assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "prompt")


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "trees").mkdir()
        (tmp_path / "color.txt").write_text("\ufeff# remark\nred\n\n  green  \n", encoding="utf-8")
        (tmp_path / "trees" / "Oak.txt").write_text("oak")
        (tmp_path / "trees" / "elm.txt").write_text("elm")
        return WildcardFolder(tmp_path)

    def test_lines_are_what_is_between_blanks_and_remarks(self, folder):
        assert folder("color") == ("red", "green")

    def test_folders_and_stars(self, folder):
        assert folder.names() == ("color", "trees/Oak", "trees/elm")
        assert folder("trees/oak") == ("oak",)
        assert set(folder("trees/*")) == {"oak", "elm"}
        assert expand("an __trees/oak__", 3, folder) == "an oak"

    @pytest.mark.parametrize(
        "name", ["nothing", "../secret", "/etc/passwd", "trees", "C:/x", "..", "trees/../../secret"]
    )
    def test_only_what_is_in_the_folder_has_a_name(self, folder, tmp_path, name):
        (tmp_path.parent / "secret.txt").write_text("no")
        with pytest.raises(ScumbleError) as caught:
            folder(name)
        assert str(folder.folder) in caught.value.info.remedy.label

    def test_a_file_beyond_all_measure_is_refused(self, folder, tmp_path):
        with (tmp_path / "huge.txt").open("wb") as file:
            file.truncate(5 * 1024 * 1024)
        with pytest.raises(ScumbleError) as caught:
            folder("huge")
        assert caught.value.code is ErrorCode.TOO_LARGE


STYLES = st.lists(
    st.builds(Style, *(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20).map(str.strip),) * 3),
    max_size=6,
    unique_by=lambda style: style.name,
)


class TestStyles:
    @given(STYLES)
    def test_a_file_brings_them_back(self, styles):
        named = [style for style in styles if style.name and (style.prompt or style.negative_prompt)]
        assert read_styles(write_styles(styles)) == tuple(named)

    def test_around_the_words_or_behind_them(self):
        ink = Style("Ink", "ink drawing of {prompt}, on paper", "photo")
        night = Style("Night", "at night")
        assert apply_styles("a tower", "", [ink, night]) == ("ink drawing of a tower, on paper, at night", "photo")
        assert apply_styles("", "blurry", [night]) == ("at night", "blurry")

    def test_a1111s_file_with_headings_quotes_and_line_breaks(self):
        text = '\ufeffname,prompt,negative_prompt\n--- Looks ---,,\nInk,"ink, ""fine""\nline",photo\nInk,ink,\n'
        assert read_styles(text) == (Style("Ink", "ink", ""),)

    @pytest.mark.parametrize("text", ["title,words\na,b\n", 'name,prompt\n"a,b'])
    def test_other_files_are_refused(self, text):
        with pytest.raises(ScumbleError) as caught:
            read_styles(text)
        assert caught.value.info.field == "styles"

    def test_on_disk(self, tmp_path):
        path = tmp_path / "new" / "styles.csv"
        assert read_style_file(path) == ()
        write_style_file(path, [Style("Ink", "ink")])
        assert read_style_file(path) == (Style("Ink", "ink"),)
        (tmp_path / "file").write_text("")
        with pytest.raises(ScumbleError):
            write_style_file(tmp_path / "file" / "styles.csv", [])


class TestLoras:
    def test_are_taken_out_of_the_words(self):
        text = "a castle <lora:Moss Stone_v2:0.8>, (fog:1.1) <lora:ink>, <lora:a/b.safetensors:te=0.5:unet=1>"
        plain, tags = take_loras(text)
        assert plain == "a castle, (fog:1.1)"
        assert tags == (LoraTag("Moss Stone_v2", 0.8), LoraTag("ink"), LoraTag("a/b.safetensors", 0.5))
        assert [tag.lora for tag in tags] == [Lora("moss-stone-v2", 0.8), Lora("ink"), Lora("b", 0.5)]

    @given(PLAIN)
    def test_words_without_any_stay_as_they_are(self, text):
        assert take_loras(text) == (text, ())

    @pytest.mark.parametrize(("weight", "taken"), [("x", 1.0), ("nan", 1.0), ("99", 10.0), ("-3", -3.0), ("", 1.0)])
    def test_a_weight_is_always_one(self, weight, taken):
        assert take_loras(f"<lora:ink:{weight}>")[1][0].weight == taken

    def test_there_and_back(self):
        loras = (Lora("ink", 0.5), Lora("moss", -1.0))
        plain, tags = take_loras(with_loras("a castle", loras))
        assert (plain, tuple(tag.lora for tag in tags)) == ("a castle", loras)
        assert with_loras("", loras[:1]) == "<lora:ink:0.5>"
