"""A job names its tensors, wherever in its tree they are."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages_made_up import of
from scumble_shared.job import ControlImagesJob, GenerateJob, Job, ProjectJob, TextureJob, tensors_of, with_tensors

jobs = st.one_of(*map(of, (GenerateJob, ControlImagesJob, ProjectJob, TextureJob)))


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(jobs)
def test_renamed_tensors_are_renamed_everywhere_and_nothing_else_changes(job: Job) -> None:
    before = list(tensors_of(job))
    there = {name: f"new {name}" for name in before}
    back = {new: old for old, new in there.items()}
    renamed = with_tensors(job, there)
    assert list(tensors_of(renamed)) == [there[name] for name in before]
    assert with_tensors(renamed, back) == job


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(jobs)
def test_names_without_another_stay(job: Job) -> None:
    assert with_tensors(job, {}) == job
