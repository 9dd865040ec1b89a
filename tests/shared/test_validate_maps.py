"""Which maps a job may ask for, and of whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scumble_shared.camera import Camera, look_at, pack_matrix, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import MAPS, GenerateJob, MeshRef, ProjectJob, TextureJob, View
from scumble_shared.limits import Limits
from scumble_shared.messages import Capabilities, MapEstimatorInfo, ModelInfo, UnusableModel
from scumble_shared.validate import validate_job

DIGEST = "0" * 64
CAMERA = Camera(look_at((0.0, -5.0, 0.0), (0.0, 0.0, 0.0)), perspective(0.8, 1.0, 0.1, 50.0), 8, 8, 0.1, 50.0)
MESHES = tuple(
    MeshRef(f"Cube {number}", number, pack_matrix(np.eye(4)), DIGEST, DIGEST, DIGEST, DIGEST) for number in (1, 2)
)
JOBS = [
    GenerateJob("a ruin"),
    ProjectJob(DIGEST, View(CAMERA), MESHES, texture_size=64),
    TextureJob("a ruin", MESHES, texture_size=64),
]
KNOWN = Capabilities(
    tasks=("generate", "project", "texture"),
    samplers=("dpmpp_2m_karras",),
    models=(ModelInfo("starter", "Starter", "starter", "dpmpp_2m_karras", 20, 7.0, 512, 512),),
    map_estimators=(MapEstimatorInfo("built-in", "Built-in", MAPS), MapEstimatorInfo("marigold", "Marigold", MAPS[:3])),
    unusable=(UnusableModel("broken", "Broken", "it is cut off"),),
)


def error(job, limits=None, known=KNOWN):
    with pytest.raises(ScumbleError) as caught:
        validate_job(job, limits or Limits(), known)
    return caught.value.info


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.task)
class TestAnyJob:
    def test_may_have_all_maps_of_any_estimator_there_is(self, job):
        validate_job(replace(job, maps=MAPS), Limits(), KNOWN)
        validate_job(replace(job, maps=("normal",), map_estimator="marigold"), Limits(), KNOWN)
        validate_job(replace(job, map_estimator="whatever"))  # nobody has said yet what there is

    @pytest.mark.parametrize(
        ("changes", "field", "code"),
        [
            ({"maps": ("normal", "gloss")}, "job.maps[1]", ErrorCode.INVALID_FIELD),
            ({"maps": ("normal", "ao", "normal")}, "job.maps[2]", ErrorCode.INVALID_FIELD),
            ({"map_estimator": "../x"}, "job.map_estimator", ErrorCode.INVALID_FIELD),
            ({"map_estimator": ""}, "job.map_estimator", ErrorCode.INVALID_FIELD),
            ({"map_estimator": "nobody"}, "job.map_estimator", ErrorCode.MODEL_MISSING),
            ({"map_estimator": "broken"}, "job.map_estimator", ErrorCode.MODEL_INVALID),
        ],
    )
    def test_is_refused(self, job, changes, field, code):
        told = error(replace(job, **changes))
        assert (told.field, told.code) == (field, code)


@pytest.mark.parametrize("job", JOBS[1:], ids=lambda job: job.task)
class TestWithTextures:
    def test_maps_count_half_a_texture_each(self, job):
        six = replace(job, maps=MAPS)
        validate_job(six, Limits(texture_pixels=2 * 64 * 64 * 4))
        told = error(six, Limits(texture_pixels=2 * 64 * 64 * 4 - 1))
        assert (told.field, told.code) == ("job.texture_size", ErrorCode.TOO_LARGE)

    def test_all_tensors_of_the_answer_fit_one_frame(self, job):
        six = replace(job, maps=MAPS)
        validate_job(six, Limits(views=10, blobs_per_frame=26))
        told = error(six, Limits(views=10, blobs_per_frame=25))
        assert (told.field, told.code) == ("job.maps", ErrorCode.TOO_LARGE)


def test_what_a_projected_picture_shows_is_a_prompt_like_others():
    told = error(replace(JOBS[1], prompt="ruin!"), Limits(prompt_bytes=4))
    assert (told.field, told.code) == ("job.prompt", ErrorCode.TOO_LARGE)
