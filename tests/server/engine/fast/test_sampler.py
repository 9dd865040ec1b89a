"""A scheduler as a table gives the scheduler's own numbers: within 2e-6 of the largest, for every sampler there is."""

from __future__ import annotations

import pytest
import torch
from scumble_server.engine.denoise import FLOW, signal_of, step_arguments
from scumble_server.engine.fast.sampler import TabledSampler
from scumble_server.engine.samplers import FLOW_TABLE, TABLE, make_scheduler

TOLERANCE = 2e-6
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
VELOCITY = {**NOISE, "prediction_type": "v_prediction"}
CASES = [
    *((name, NOISE) for name in TABLE),
    *((name, VELOCITY) for name in TABLE),
    *((name, {"prediction_type": FLOW, "shift": 3.0}) for name in FLOW_TABLE),
]


def network(latents: torch.Tensor, index: int) -> torch.Tensor:
    """Something that isn't linear and changes from step to step."""
    return torch.tanh(0.7 * latents + 0.1 * index)


def largest(difference: torch.Tensor, of: torch.Tensor) -> float:
    return float(difference.abs().max() / of.abs().max())


@pytest.mark.parametrize(("steps", "skipped"), [(1, 0), (4, 0), (20, 0), (20, 8)])
@pytest.mark.parametrize(("sampler", "config"), CASES)
def test_every_step_is_the_schedulers(sampler, config, steps, skipped):
    scheduler = make_scheduler(sampler, config)
    scheduler.set_timesteps(steps)
    if skipped and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    timesteps = scheduler.timesteps[skipped:]
    tabled = TabledSampler(scheduler, timesteps)
    seeds = [torch.Generator().manual_seed(image) for image in range(2)]
    same_seeds = [torch.Generator().manual_seed(image) for image in range(2)]
    extra, same_extra = step_arguments(scheduler, seeds), step_arguments(tabled, same_seeds)
    clean, noise = (torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9 + i)) for i in range(2))
    ours = theirs = scheduler.add_noise(clean, noise, timesteps[:1].repeat(2))
    assert largest(tabled.add_noise(clean, noise, timesteps[:1].repeat(2)) - theirs, theirs) <= TOLERANCE
    for index, timestep in enumerate(timesteps):
        assert float(signal_of(tabled, timestep)) == pytest.approx(float(signal_of(scheduler, timestep)), abs=1e-6)
        noisy, same = (s.add_noise(clean, noise, timestep.reshape(1)) for s in (scheduler, tabled))
        assert largest(same - noisy, noisy) <= TOLERANCE
        expected = network(scheduler.scale_model_input(theirs, timestep), index)
        found = network(tabled.scale_model_input(ours, timestep), index)
        theirs = scheduler.step(expected, timestep, theirs, **extra, return_dict=False)[0]
        ours = tabled.step(found, timestep, ours, **same_extra, return_dict=False)[0]
        assert largest(ours - theirs, theirs) <= TOLERANCE


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "lcm", "tcd"])
def test_noise_to_the_very_end(sampler):
    """Zero terminal signal: the first latents are nothing but noise."""
    config = {**VELOCITY, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler = make_scheduler(sampler, config)
    scheduler.set_timesteps(5)
    tabled = TabledSampler(scheduler, scheduler.timesteps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    generators = [torch.Generator().manual_seed(1)], [torch.Generator().manual_seed(1)]
    expected = scheduler.step(
        network(latents, 0), scheduler.timesteps[0], latents, **step_arguments(scheduler, generators[0])
    ).prev_sample
    found = tabled.step(network(latents, 0), scheduler.timesteps[0], latents, **step_arguments(tabled, generators[1]))[
        0
    ]
    assert largest(found - expected, expected) <= TOLERANCE


def test_the_scheduler_stays_as_it_was():
    scheduler = make_scheduler("dpmpp_2m_karras", NOISE)
    scheduler.set_timesteps(6)
    TabledSampler(scheduler, scheduler.timesteps)
    assert scheduler.step_index is None
    assert scheduler.model_outputs == [None, None]
