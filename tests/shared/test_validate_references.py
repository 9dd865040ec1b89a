"""Reference pictures: what makes sense, and what is refused by the field that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.facts import TensorFacts
from scumble_shared.job import GenerateJob, MeshRef, Reference, TextureJob, UpscaleJob, tensors_of, with_tensors
from scumble_shared.limits import Limits
from scumble_shared.messages import AdapterInfo, Capabilities, ModelInfo, UnusableModel
from scumble_shared.schema import decode, encode
from scumble_shared.tensor import digest_of
from scumble_shared.validate import facts_of, validate_job

PICTURE, MASK = np.zeros((6, 8, 3), np.uint8), np.zeros((4, 4), np.uint8)
IMAGE, AREA = digest_of(PICTURE), digest_of(MASK)
FACTS = {digest_of(array): facts_of(array) for array in (PICTURE, MASK)}
MODEL = ModelInfo("sd", "SD 1.5", "sd15", "euler", 20, 7.0, 512, 512, takes_references=True)
KNOWN = Capabilities(
    tasks=("generate", "texture", "upscale"),
    samplers=("euler",),
    models=(MODEL, replace(MODEL, id="flux", name="FLUX", family="flux", takes_references=False)),
    adapters=(AdapterInfo("ip", "IP-Adapter", "sd15"), AdapterInfo("ip-xl", "IP-Adapter XL", "sdxl")),
    unusable=(UnusableModel("old", "old.bin", "it can run programs"),),
)
REFERENCE = Reference(IMAGE)


def jobs(*references: Reference, model: str = "sd"):
    mesh = MeshRef("Cube", 1, tuple(np.eye(4).ravel()), *["0" * 64] * 4)
    common = {"model": model, "sampler": "euler", "references": references}
    return [
        GenerateJob("a ruin", **common),
        TextureJob("a ruin", (mesh,), **common),
        UpscaleJob(IMAGE, **common),
    ]


def error(job, known=KNOWN, limits=None, facts=FACTS):
    with pytest.raises(ScumbleError) as caught:
        validate_job(job, limits or Limits(), known, facts)
    return caught.value.info


def test_several_of_every_use():
    several = (
        REFERENCE,
        replace(REFERENCE, model="ip", use="style", weight=0.0),
        replace(REFERENCE, use="content", start=0.2, end=0.2, weight=10.0),
    )
    for job in jobs(*several):
        validate_job(job, Limits(), KNOWN, FACTS)


def test_a_mask_has_its_place_in_pictures_of_one_frame():
    generate, texture, upscale = jobs(REFERENCE, replace(REFERENCE, mask=AREA))
    validate_job(generate, Limits(), KNOWN, FACTS)
    validate_job(upscale, Limits(), KNOWN, FACTS)
    assert error(texture).field == "job.references[1].mask"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"weight": -0.1}, ErrorCode.INVALID_FIELD, "weight"),
        ({"weight": 10.1}, ErrorCode.INVALID_FIELD, "weight"),
        ({"weight": float("nan")}, ErrorCode.INVALID_FIELD, "weight"),
        ({"use": "mood"}, ErrorCode.INVALID_FIELD, "use"),
        ({"start": -0.1}, ErrorCode.INVALID_FIELD, "start"),
        ({"end": 1.1}, ErrorCode.INVALID_FIELD, "end"),
        ({"start": 0.6, "end": 0.5}, ErrorCode.INVALID_FIELD, "end"),
        ({"image": "picture.png"}, ErrorCode.INVALID_FIELD, "image"),
        ({"image": AREA}, ErrorCode.INVALID_FIELD, "image"),
        ({"mask": IMAGE}, ErrorCode.INVALID_FIELD, "mask"),
        ({"model": "../ip"}, ErrorCode.INVALID_FIELD, "model"),
        ({"model": "gone"}, ErrorCode.MODEL_MISSING, "model"),
        ({"model": "ip-xl"}, ErrorCode.MODEL_MISMATCH, "model"),
        ({"model": "old"}, ErrorCode.MODEL_INVALID, "model"),
    ],
)
def test_others_are_refused(changes, code, field):
    generate, _, upscale = jobs(REFERENCE, replace(REFERENCE, **changes))
    for job in (generate, upscale):
        info = error(job)
        assert (info.code, info.field) == (code, f"job.references[1].{field}")


@pytest.mark.parametrize("field", ["image", "mask"])
def test_a_picture_over_the_limit(field):
    huge = {"f" * 64: TensorFacts("uint8", (30_000, 20, 3) if field == "image" else (30_000, 20))}
    info = error(jobs(replace(REFERENCE, **{field: "f" * 64}))[0], facts=huge)
    assert (info.code, info.field) == (ErrorCode.TOO_LARGE, f"job.references[0].{field}")


def test_number_of_them():
    job = jobs(*[REFERENCE] * 3)[0]
    validate_job(job, Limits(references=3), KNOWN, FACTS)
    assert error(job, limits=Limits(references=2)).code is ErrorCode.TOO_LARGE


def test_without_an_adapter_of_the_family_removal_is_offered():
    info = error(jobs(REFERENCE)[0], known=replace(KNOWN, adapters=KNOWN.adapters[1:]))
    assert (info.code, info.field) == (ErrorCode.MODEL_MISSING, "job.references[0].model")
    assert (info.remedy.action, info.remedy.argument) == (RemedyAction.REMOVE_REFERENCE, "0")


def test_families_that_cannot_are_named():
    info = error(jobs(REFERENCE, model="flux")[0])
    assert (info.code, info.field) == (ErrorCode.UNSUPPORTED, "job.references[0].model")
    assert "flux" in info.message


def test_what_is_not_known_yet_is_not_asked_for():
    for job in jobs(replace(REFERENCE, model="whatever")):
        validate_job(job)


def test_pictures_and_masks_are_tensors_of_the_job():
    job = jobs(replace(REFERENCE, mask=AREA))[0]
    assert list(tensors_of(job)) == [IMAGE, AREA]
    assert with_tensors(job, {AREA: "a"}).references[0].mask == "a"


def test_they_travel():
    for job in jobs(replace(REFERENCE, mask=AREA, use="style", model="ip", start=0.1, end=0.9, weight=0.4)):
        assert decode(type(job), encode(job)) == job
