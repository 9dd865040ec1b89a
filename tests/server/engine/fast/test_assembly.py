"""Network and ControlNets as one give what they give apart: to the bit plainly, within 2e-6 by table and graph."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scumble_server.engine.denoise import AtOnce, denoise
from scumble_server.engine.fast.assembly import Assembly
from scumble_server.engine.fast.joint import Joint
from scumble_server.engine.fast.saving import SAVINGS, Saving
from scumble_server.engine.fast.tensors import Given, Made
from scumble_server.engine.fast.traced import WaitError, traced
from scumble_server.engine.samplers import make_scheduler

from ..conftest import Hooks
from .conftest import CPU, Setting

GIVEN = Given(torch.ones(1, 4, 8, 8), torch.tensor(1.0), torch.ones(1, 77, 64))

TOLERANCE = 2e-6
"""Of the largest latent."""

SETTINGS = [
    Setting(),
    Setting(prompt="rust, (red:1.4)"),
    Setting(sampler="lcm"),
    Setting(sampler="euler_a", seed=3),
    Setting(guidance=2.0),
    Setting(steps=7),
    Setting(pictures=5),
    Setting(first=(0.3, 0.0, 1.0)),
    Setting(first=(0.8, 0.0, 0.5)),
    Setting(first=(0.8, 0.5, 1.0), second=(1.0, 0.0, 0.25)),
    Setting(first=(0.0, 0.0, 1.0)),
]


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_assembly_is_the_plain_loop_to_the_bit(bench, setting):
    assert torch.equal(bench.run(setting, "assembly"), bench.expected(setting))


def test_several_images(bench):
    setting = Setting(batch=2, guidance=1.0)
    assert torch.equal(bench.run(setting, "assembly"), bench.expected(setting))


class TestGraphs:
    """One recording goes on being right whatever changes; only another shape, or other ControlNets, wants another."""

    def test_nothing_is_built_in(self, bench):
        graphs = traced()
        for setting in SETTINGS:
            assert apart(bench.run(setting, "tabled", graphs=graphs), bench.expected(setting)) <= TOLERANCE, setting
        # By which ControlNets act: both, the first, the second, none; and where one has strength 0, it isn't there.
        assert len(graphs) <= 5

    def test_weights_changed_in_place_are_seen(self, bench):
        graphs, setting = traced(), Setting(steps=3)
        before = bench.run(setting, "tabled", graphs=graphs)
        weights = [bench.model.network.module.mid_block.attentions[0].proj_in.weight]
        weights.append(bench.nets["depth"].net.controlnet_mid_block.weight)
        kept = [weight.data.clone() for weight in weights]
        try:
            for weight in weights:
                weight.data.mul_(2.0)
            after = bench.run(setting, "tabled", graphs=graphs)
            assert len(graphs) == 1
            assert apart(after, bench.run(setting)) <= TOLERANCE < apart(after, before)
        finally:
            for weight, own in zip(weights, kept, strict=True):
                weight.data.copy_(own)

    def test_weights_in_another_place_are_another_recording(self, bench):
        graphs, setting = traced(), Setting(steps=3)
        bench.run(setting, "tabled", graphs=graphs)
        weight = bench.model.network.module.conv_in.weight
        kept = weight.data
        try:
            weight.data = kept * 2.0
            assert apart(bench.run(setting, "tabled", graphs=graphs), bench.run(setting)) <= TOLERANCE
            assert len(graphs) == 2
        finally:
            weight.data = kept

    def test_a_step_asks_the_device_for_nothing(self, bench, caplog):
        """The tape refuses whatever a host would have to wait for, and what it refuses runs plainly with a warning."""
        graphs = traced()
        bench.run(Setting(), "tabled", graphs=graphs)
        assert len(graphs) == 1
        assert not caplog.records

    def test_what_asks_is_refused(self):
        with pytest.raises(WaitError):
            traced()._record(lambda given: Made(given.model_input * given.timestep.item()), GIVEN)


class TestSavings:
    def test_exact_saves_nothing(self, bench):
        assert SAVINGS["exact"] == Saving()
        assert torch.equal(bench.run(Setting(), "assembly", SAVINGS["exact"]), bench.expected(Setting()))

    @pytest.mark.parametrize("quality", ["balanced", "draft"])
    def test_the_same_with_a_graph(self, bench, quality):
        setting = Setting(steps=8)
        plain = bench.run(setting, "assembly", SAVINGS[quality])
        assert torch.equal(bench.run(setting, "assembly", SAVINGS[quality], traced()), plain)

    def test_a_draft_is_further_from_exact_than_balanced(self, bench):
        setting = Setting(steps=12)
        exact = bench.expected(setting)
        balanced, draft = (
            apart(bench.run(setting, "assembly", SAVINGS[name]), exact) for name in ("balanced", "draft")
        )
        assert 0.0 < balanced < draft < 0.2

    @pytest.mark.parametrize(
        "saving", [Saving(controls_every=3), Saving(deep_every=3), Saving(guided_until=0.5), Saving(2, 2, 0.5, 0.5)]
    )
    def test_each_saving_alone_stays_near(self, bench, saving):
        setting = Setting(steps=9)
        assert 0.0 < apart(bench.run(setting, "assembly", saving), bench.expected(setting)) < 0.2

    def test_a_control_that_begins_later_is_run_when_it_begins(self, bench):
        """Otherwise what is kept of the steps before would stand for it: nothing at all."""
        late = Setting(steps=8, first=(1.0, 0.5, 1.0), second=(0.0, 0.0, 1.0))
        every = bench.run(late, "assembly", Saving(controls_every=8))
        without = bench.run(replace(late, first=(0.0, 0.0, 1.0)), "assembly", Saving(controls_every=8))
        assert apart(every, bench.expected(late)) < apart(without, bench.expected(late))

    def test_parts_of_a_batch_save_apart(self, bench):
        """Shown one after the other, images take over what is theirs."""
        setting = Setting(batch=3, steps=6)
        model, controls = bench.model, bench.controls(setting)
        text = model.prompt_encoder.text([setting.prompt], "", setting.guidance)
        noise = torch.randn(3, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))

        def run(at_once):
            scheduler = make_scheduler("ddim", model.scheduler_config)
            scheduler.set_timesteps(setting.steps)
            joint = Joint.of(model.network, controls.runs, CPU)
            network = Assembly(joint, controls, scheduler.timesteps, SAVINGS["draft"])
            generators = [torch.Generator() for _ in range(3)]
            return denoise(
                network, scheduler, scheduler.timesteps, noise, text, generators, [], Hooks(looking=False), at_once
            )

        assert apart(run(AtOnce(1)), run(None)) <= 1e-4


def test_work_of_each_step():
    work = [Saving(controls_every=2, deep_every=2, guided_until=0.5, lead=0.25).work(index, 8) for index in range(8)]
    assert [step.guided for step in work] == [True] * 4 + [False] * 4
    assert [step.deep for step in work] == [True, True, False, True, False, True, False, True]
    assert [step.controls for step in work] == [True, True, False, True, False, True, False, True]
