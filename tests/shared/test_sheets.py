"""Sheets: what axes mean, which jobs they make, and where each picture and label lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, GenerateJob
from scumble_shared.lettering import HEIGHT, draw_text, shortened, text_width
from scumble_shared.sheet_picture import sheet_picture
from scumble_shared.sheets import AXES, CELLS, NOTHING, Axis, cells, parse_axis, variations

JOB = GenerateJob(
    "old stone, stone wall", "stone dust", seed=7, batch_size=4, controls=(Control("depth"), Control("normal"))
)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class TestAxes:
    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("steps=8, 20,30", ("8", "20", "30")),
            ("steps=8-20 (+6)", ("8", "14", "20")),
            ("seed=1-4", ("1", "2", "3", "4")),
            ("seed=4-2", ("4", "3", "2")),
            ("guidance=3-9 (+2.5)", ("3", "5.5", "8")),
            ("strength=0-1 [5]", ("0", "0.25", "0.5", "0.75", "1")),
            ("steps=1-10 [4], 50", ("1", "4", "7", "10", "50")),
            ("sampler=euler,dpmpp_2m", ("euler", "dpmpp_2m")),
            ('prompt=stone,moss,"old, wet brick"', ("stone", "moss", "old, wet brick")),
            ("prompt=stone,", ("stone", "")),
        ],
    )
    def test_values_as_they_are_written(self, text, values):
        assert parse_axis(text).values == values

    @pytest.mark.parametrize(
        "text",
        [
            *("steps", "colour=1", "steps=", "steps=a", "steps=1.5", "seed=-1", "guidance=nan", "steps=1-9999"),
            *("strength=0-1 (+0)", "strength=0-1 [0]", 'prompt="a', "steps=1-10 [999999999]", "guidance=1-..", "=1"),
        ],
    )
    def test_nonsense_is_refused_with_an_example_or_a_reason(self, text):
        with pytest.raises(ScumbleError) as caught:
            parse_axis(text)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "axis")

    @given(st.text(max_size=30), st.sampled_from(list(AXES)))
    def test_nothing_but_its_own_error_comes_of_any_text(self, text, kind):
        try:
            axis = parse_axis(f"{kind}={text}")
        except ScumbleError:
            return
        assert 0 < len(axis.values) <= CELLS


class TestCells:
    def test_each_is_the_job_with_that_one_value(self):
        grid = cells(JOB, parse_axis("steps=8,20"), parse_axis("seed=1,2,3"))
        assert [[(job.num_inference_steps, job.seed) for job in row] for row in grid] == [
            [(8, 1), (20, 1)],
            [(8, 2), (20, 2)],
            [(8, 3), (20, 3)],
        ]
        assert {job.batch_size for row in grid for job in row} == {1}

    def test_words_are_replaced_wherever_they_stand(self):
        (row,) = cells(JOB, parse_axis("prompt=stone,moss"))
        assert row[0].prompt == JOB.prompt
        assert (row[1].prompt, row[1].negative_prompt) == ("old moss, moss wall", "moss dust")

    def test_strength_is_that_of_all_controls(self):
        (row,) = cells(JOB, parse_axis("strength=0.25"))
        assert [control.strength for control in row[0].controls] == [0.25, 0.25]

    def test_variations_go_on_from_the_jobs_own_seed(self):
        (row,) = cells(JOB, variations(JOB, 3))
        assert [job.seed for job in row] == [7, 8, 9]

    @pytest.mark.parametrize(
        ("x", "y"),
        [
            (Axis("prompt", ("marble", "x")), NOTHING),
            (Axis("sampler", ("magic",)), NOTHING),
            (variations(JOB, 20), Axis("steps", tuple(map(str, range(1, 15))))),
        ],
    )
    def test_what_cannot_be_varied_is_refused(self, x, y):
        with pytest.raises(ScumbleError) as caught:
            cells(JOB, x, y)
        assert caught.value.info.field == "axis"

    def test_without_controls_there_is_no_strength(self):
        with pytest.raises(ScumbleError):
            cells(GenerateJob("x"), parse_axis("strength=1"))


class TestPicture:
    def flat(self, value, height=30, width=50):
        return np.full((height, width, 3), value, np.uint8)

    def place(self, sheet, value):
        rows, columns = np.nonzero((sheet == value).all(-1))
        return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1

    def test_rows_and_columns_as_the_axes_have_them(self):
        x, y = parse_axis("steps=8,20"), parse_axis("seed=1,2")
        sheet = sheet_picture([[self.flat(100), self.flat(110)], [self.flat(120), None]], x, y)
        places = {value: self.place(sheet, value) for value in (100, 110, 120)}
        for top, bottom, left, right in places.values():
            assert (bottom - top, right - left) == (30, 50)
        assert places[100][:2] == places[110][:2]
        assert places[100][2:] == places[120][2:]
        assert places[110][2] > places[100][3]
        assert places[120][0] > places[100][1]

    def test_many_of_one_axis_are_broken_into_rows_each_with_its_label(self):
        axis = variations(JOB, 7)
        sheet = sheet_picture([[self.flat(100 + number) for number in range(7)]], axis)
        places = [self.place(sheet, 100 + number) for number in range(7)]
        assert [place[2] for place in places] == [places[number % 3][2] for number in range(7)]
        for top, _, left, right in places:
            label = sheet[top - HEIGHT : top, left:right]
            assert (label > 200).any()

    def test_pictures_of_different_sizes_have_room_for_the_largest(self):
        sheet = sheet_picture([[self.flat(100, 10, 20), self.flat(110, 40, 60)]], parse_axis("steps=1,2"))
        assert self.place(sheet, 100)[3] <= self.place(sheet, 110)[2]

    def test_a_sheet_of_nothing_is_still_one(self):
        assert sheet_picture([[None]], NOTHING, title="a title").shape[2] == 3


class TestLetters:
    def test_ink_is_where_the_letters_are(self):
        picture = np.zeros((HEIGHT, 200, 3), np.uint8)
        draw_text(picture, 10, 0, "Steps 8", WHITE)
        columns = np.nonzero(picture.any((0, 2)))[0]
        assert columns.min() >= 10
        assert columns.max() < 10 + text_width("Steps 8")

    @given(st.text(max_size=12), st.integers(-80, 80), st.integers(-40, 40))
    def test_any_text_anywhere_stays_inside(self, text, x, y):
        around = np.zeros((60, 90, 3), np.uint8)
        draw_text(around[10:50, 10:80], x, y, text, WHITE)
        around[10:50, 10:80] = 0
        assert not around.any()

    def test_accents_are_left_out_and_the_unknown_is_shown(self):
        assert text_width("Ü") == text_width("U")
        assert text_width("木") == text_width("?")

    @given(st.text(max_size=60), st.integers(20, 300))
    def test_what_is_too_long_is_cut_and_says_so(self, text, width):
        line = shortened(text, width)
        assert text_width(line) <= max(width, text_width("…"))
        assert line == " ".join(text.split()) or line.endswith("…")
