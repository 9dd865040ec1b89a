"""Prompts for parts of a picture, and what objects are: what makes sense, and what is refused by the field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scumble_shared.ade20k import COLOURS, KINDS, SYNONYMS, guessed_kind, kind_named, kinds_like
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import (
    Control,
    ControlImagesJob,
    GenerateJob,
    Label,
    Lora,
    MeshRef,
    Region,
    TextureJob,
    UpscaleJob,
    View,
    tensors_of,
    with_tensors,
)
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.prompts import with_final_words
from scumble_shared.schema import decode, encode
from scumble_shared.tensor import digest_of
from scumble_shared.validate import facts_of, validate_job

IDS, MASK, PICTURE = np.ones((4, 6), np.uint16), np.zeros((3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)
FACTS = {digest_of(array): facts_of(array) for array in (IDS, MASK, PICTURE)}
IDENTITY = tuple(np.eye(4).ravel())
CAMERA = Camera(
    IDENTITY, (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, -0.2, 0.0, 0.0, -1.0, 0.0), 6, 4, 0.1, 9
)
VIEW = View(CAMERA, object_id=digest_of(IDS))
MESHES = tuple(MeshRef(f"Cube{number}", number, IDENTITY, *["0" * 64] * 4) for number in (1, 2))
SOME = (Region("gold", objects=(1, 2)), Region("moss", mask=digest_of(MASK), weight=0.5))


def picture(*regions: Region, **changes) -> GenerateJob:
    return GenerateJob("a ruin", **{"view": VIEW, "regions": regions, **changes})


def texture(*regions: Region, **changes) -> TextureJob:
    return TextureJob("a ruin", MESHES, **{"regions": regions, **changes})


def error(job):
    with pytest.raises(ScumbleError) as caught:
        validate_job(job, facts=FACTS)
    return caught.value.info


class TestRegions:
    def test_of_objects_and_of_masks(self):
        validate_job(picture(*SOME), facts=FACTS)
        validate_job(picture(SOME[1], view=None), facts=FACTS)
        validate_job(texture(SOME[0], Region("rust", objects=(2,), weight=0.0)), facts=FACTS)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"weight": -0.1}, "weight"),
            ({"weight": 1.1}, "weight"),
            ({"weight": float("nan")}, "weight"),
            ({"objects": ()}, "objects"),
            ({"objects": (0,)}, "objects[0]"),
            ({"objects": (1, 65536)}, "objects[1]"),
            ({"mask": digest_of(MASK)}, "mask"),
        ],
    )
    @pytest.mark.parametrize("job", [picture, texture])
    def test_what_is_wrong_is_named(self, job, changes, field):
        fine = Region("gold", objects=(1,))
        assert error(job(fine, replace(fine, **changes))).field == f"job.regions[1].{field}"

    def test_long_prompts_and_many_regions(self):
        long = Region("x" * (DEFAULT_LIMITS.prompt_bytes + 1), objects=(1,))
        info = error(picture(long))
        assert (info.code, info.field) == (ErrorCode.TOO_LARGE, "job.regions[0].prompt")
        most = (Region("gold", objects=(1,)),) * DEFAULT_LIMITS.regions
        validate_job(picture(*most), facts=FACTS)
        info = error(picture(*most, most[0]))
        assert (info.code, info.field) == (ErrorCode.TOO_LARGE, "job.regions")
        assert info.remedy is not None

    def test_objects_need_the_buffer_they_are_in(self):
        assert error(picture(SOME[0], view=None)).field == "job.view.object_id"
        assert error(picture(SOME[0], view=View(CAMERA))).field == "job.view.object_id"

    def test_a_mask_is_grey_and_has_one_frame(self):
        assert error(picture(Region("gold", mask=digest_of(PICTURE)))).field == "job.regions[0].mask"
        assert error(picture(Region("gold", mask="mask.png"))).field == "job.regions[0].mask"
        assert error(texture(SOME[1])).field == "job.regions[0].mask"

    def test_textures_know_only_their_meshes(self):
        assert error(texture(Region("gold", objects=(1, 3)))).field == "job.regions[0].objects[1]"

    def test_they_travel_with_the_job(self):
        job = picture(*SOME)
        assert decode(GenerateJob, encode(job)) == job
        assert set(tensors_of(job)) == {digest_of(IDS), digest_of(MASK)}
        assert with_tensors(job, {digest_of(MASK): "other"}).regions[1].mask == "other"
        assert picture() == GenerateJob("a ruin", view=VIEW)


class TestWords:
    """Prompts of regions are written as the job's own."""

    def final(self, *regions: Region, **changes) -> GenerateJob:
        return with_final_words(picture(*regions, **changes), {"stone": ["slate"]}.__getitem__)

    def test_choices_are_the_seeds(self):
        written = Region("{a|b|c|d} __stone__", objects=(1,), weight=0.5)
        found = {self.final(written, seed=seed).regions[0].prompt for seed in range(20)}
        assert found == {f"{letter} slate" for letter in "abcd"}
        assert self.final(written).regions[0].objects == (1,)

    def test_a_lora_acts_everywhere_and_once(self):
        gold, moss = (
            Region("gold <lora:ink:0.5>", objects=(1,)),
            Region("moss <lora:ink:0.9> <lora:rust>", objects=(2,)),
        )
        job = self.final(gold, moss)
        assert [region.prompt.strip() for region in job.regions] == ["gold", "moss"]
        assert job.loras == (Lora("ink", 0.5), Lora("rust", 1.0))
        assert self.final(gold, loras=(Lora("ink", 0.1),)).loras == (Lora("ink", 0.1),)

    def test_without_regions_nothing_is_different(self):
        assert self.final() == picture()


class TestLabels:
    def view(self, *labels: Label) -> View:
        return replace(VIEW, labels=labels)

    def test_of_views_and_of_meshes(self):
        view = self.view(Label(1, "chair"), Label(2, "sky"))
        validate_job(picture(view=view), facts=FACTS)
        validate_job(ControlImagesJob((), view), facts=FACTS)
        validate_job(replace(texture(), meshes=(replace(MESHES[0], kind="tree"), MESHES[1])), facts=FACTS)
        assert decode(View, encode(view)) == view

    @pytest.mark.parametrize(
        ("labels", "field"),
        [
            ([Label(0, "chair")], "[0].object_id"),
            ([Label(1, "chair"), Label(1, "table")], "[1].object_id"),
            ([Label(1, "chair"), Label(2, "teapot")], "[1].kind"),
        ],
    )
    def test_what_is_wrong_is_named(self, labels, field):
        view = self.view(*labels)
        for job in (
            picture(view=view),
            ControlImagesJob((Control("segmentation"),), view),
            UpscaleJob(digest_of(PICTURE), view=view),
        ):
            assert error(job).field == f"job.view.labels{field}"

    def test_what_may_have_been_meant_is_said(self):
        info = error(picture(view=self.view(Label(1, "Couch"))))
        assert info.remedy.label == "Use sofa"
        assert error(replace(texture(), meshes=(replace(MESHES[0], kind="chiar"),))).remedy.label == "Use chair"
        assert "150" in error(picture(view=self.view(Label(1, "xyzzy")))).remedy.label


class TestAde20k:
    def test_as_the_benchmark_has_it(self):
        assert len(KINDS) == 150
        assert KINDS[:3] == ("wall", "building", "sky")
        assert KINDS[-1] == "flag"
        assert COLOURS["wall"] == (120, 120, 120)
        assert COLOURS["person"] == (150, 5, 61)
        assert COLOURS["flag"] == (92, 0, 255)
        same = [kind for kind in KINDS if list(COLOURS.values()).count(COLOURS[kind]) > 1]
        assert same == ["road", "skyscraper"], "the benchmark's own palette has one colour twice"

    def test_synonyms_lead_to_kinds_and_hide_none(self):
        assert set(SYNONYMS.values()) <= set(KINDS)
        assert not set(SYNONYMS) & set(KINDS)

    @pytest.mark.parametrize(
        ("text", "kind"),
        [("Couch", "sofa"), ("chairs", "chair"), ("boxes", "box"), (" TV ", "television receiver"), ("glass", "glass")],
    )
    def test_what_people_call_things(self, text, kind):
        assert kind_named(text) == kind

    @pytest.mark.parametrize(
        ("names", "kind"),
        [
            (["oak_Table.003"], "table"),
            (["KitchenChair"], "chair"),
            (["tree house"], "house"),
            (["Coffee-Table"], "coffee table"),
            (["Cube.001", "Trees"], "tree"),
            (["Cube", "Icosphere", "Plane.001"], None),
            (["Carpet"], "rug"),
            ([""], None),
        ],
    )
    def test_guesses(self, names, kind):
        assert guessed_kind(names) == kind

    def test_a_search_as_it_is_typed(self):
        assert kinds_like("") == KINDS
        assert kinds_like("cou")[0] == "sofa"
        assert kinds_like("wind") == ("windowpane",)
        assert kinds_like("chair")[0] == "chair"
        assert "armchair" in kinds_like("chair")
        assert kinds_like("teapot") == ()
