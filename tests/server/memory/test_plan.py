"""Fitting jobs into memory, as arithmetic: which rung is taken, and that each needs no more than the one before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_server.memory.machine import GIB, Bytes, Machine, tier_of
from scumble_server.memory.plan import TILE, Plan, Work, estimate, lower, plan_for, rungs, words
from scumble_server.memory.sizes import CONTROLNETS, PUBLISHED
from scumble_shared.job import MEMORIES

EXACT = {"plain"}


def device(size: float, ram: float = 32, quantizers: frozenset[str] = frozenset()) -> Machine:
    return Machine("cuda", int(size * GIB), int(size * GIB), int(ram * GIB), int(ram * GIB), quantizers)


def computer(ram: float, kind: str = "cpu") -> Machine:
    return Machine(kind, int(ram * GIB), int(ram * GIB), int(ram * GIB), int(ram * GIB))


MACHINES = st.builds(
    Machine,
    st.sampled_from(["cuda", "mps", "cpu"]),
    st.integers(GIB, 100 * GIB),
    st.integers(GIB, 100 * GIB),
    st.integers(GIB, 200 * GIB),
    st.integers(GIB, 200 * GIB),
    st.frozensets(st.sampled_from(["torchao", "bitsandbytes"])),
)
WORKS = st.builds(
    Work,
    st.integers(8, 512).map(lambda side: 8 * side),
    st.integers(8, 512).map(lambda side: 8 * side),
    st.integers(1, 16),
    st.booleans(),
    st.lists(st.integers(10**6, 2 * 10**9), max_size=3).map(tuple),
    st.lists(st.integers(2 * 10**7, 4 * 10**8), max_size=2).map(tuple),
    st.integers(0, 2 * 10**9),
)
SIZES = st.sampled_from(list(PUBLISHED.values()))


class TestRungs:
    @given(SIZES, WORKS, MACHINES)
    def test_each_takes_no_more_of_the_device_than_the_one_before(self, sizes, work, machine):
        takes = [estimate(sizes, work, machine, rung).peak.device for rung in rungs(sizes, work, machine)]
        assert takes == sorted(takes, reverse=True)

    @given(SIZES, WORKS, MACHINES)
    def test_what_changes_weights_comes_after_all_that_does_not(self, sizes, work, machine):
        changed = [rung.storage not in EXACT for rung in rungs(sizes, work, machine)]
        assert changed == sorted(changed)

    @given(SIZES, WORKS, MACHINES)
    def test_going_down_step_by_step_is_the_ladder(self, sizes, work, machine):
        plan = plan_for(sizes, work, machine, "off")
        seen = [plan]
        while (plan := lower(plan, sizes, work, machine)) is not None:
            seen.append(plan)
        assert len(seen) == len(rungs(sizes, work, machine)) == len(set(seen))
        assert seen[-1] == plan_for(sizes, work, machine, "lowest")

    def test_memory_of_the_computer_can_only_be_saved_not_moved(self):
        for kind in ("cpu", "mps"):
            placed = {rung.placement for rung in rungs(PUBLISHED["flux"], Work(512, 512), computer(16, kind))}
            assert placed == {"resident"}

    def test_apples_devices_know_no_eight_bit_floats(self):
        machine = replace(computer(16, "mps"), quantizers=frozenset({"torchao"}))
        for family in ("sdxl", "flux"):
            assert {rung.storage for rung in rungs(PUBLISHED[family], Work(512, 512), machine)} == {"plain"}

    def test_what_is_quantized_in_its_file_stays_so(self):
        packed = replace(PUBLISHED["flux"], packed=7 * GIB)
        for rung in rungs(packed, Work(1024, 1024), device(8, quantizers=frozenset({"torchao", "bitsandbytes"}))):
            assert rung.storage == "plain"

    @pytest.mark.parametrize(
        ("family", "packages", "stored"),
        [
            ("flux", {"torchao"}, ["int8", "fp8"]),
            ("flux", {"torchao", "bitsandbytes"}, ["int8", "nf4", "fp8"]),
            ("flux", set(), ["fp8", "fp8"]),
            ("sdxl", {"torchao", "bitsandbytes"}, ["fp8", "fp8"]),
        ],
    )
    def test_transformers_are_quantized_where_there_is_what_does_it(self, family, packages, stored):
        ladder = rungs(PUBLISHED[family], Work(1024, 1024), device(12, quantizers=frozenset(packages)))
        assert [rung.storage for rung in ladder if rung.storage != "plain"] == stored


class TestPlan:
    @given(SIZES, WORKS, MACHINES)
    def test_automatic_is_the_first_that_fits(self, sizes, work, machine):
        plan = plan_for(sizes, work, machine)
        ladder = [plan_for(sizes, work, machine, "off")]
        while ladder[-1] != plan:
            assert not estimate(sizes, work, machine, ladder[-1]).peak.fits(machine.room)
            ladder.append(lower(ladder[-1], sizes, work, machine))
        is_last = lower(plan, sizes, work, machine) is None
        assert is_last or estimate(sizes, work, machine, plan).peak.fits(machine.room)

    @given(SIZES, WORKS, MACHINES)
    def test_choices_are_in_order(self, sizes, work, machine):
        takes = {
            choice: estimate(sizes, work, machine, plan_for(sizes, work, machine, choice)).peak.device
            for choice in MEMORIES
        }
        assert takes["lowest"] <= takes["low"] <= takes["automatic"] <= takes["off"]

    @given(SIZES, WORKS, MACHINES)
    def test_it_goes_by_values_alone(self, sizes, work, machine):
        assert plan_for(sizes, work, machine) == plan_for(sizes, work, machine)

    @pytest.mark.parametrize(
        ("family", "side", "size", "placement", "storage"),
        [
            ("sd15", 512, 8, "resident", "plain"),
            ("sd15", 512, 4, "resident", "plain"),
            ("sdxl", 1024, 24, "resident", "plain"),
            ("sdxl", 1024, 12, "resident", "plain"),
            ("sdxl", 1024, 8, "staged", "plain"),
            ("sdxl", 1024, 4, "staged", "fp8"),
            ("sd3", 1024, 24, "resident", "plain"),
            ("sd3", 1024, 12, "staged", "plain"),
            ("flux", 1024, 48, "resident", "plain"),
            ("flux", 1024, 16, "staged", "fp8"),
            ("flux", 1024, 8, "grouped", "fp8"),
        ],
    )
    def test_usual_devices(self, family, side, size, placement, storage):
        plan = plan_for(PUBLISHED[family], Work(side, side), device(size))
        assert (plan.placement, plan.storage) == (placement, storage)

    def test_t5_that_is_too_large_as_a_whole_comes_a_layer_at_a_time(self):
        work = Work(1024, 1024)
        assert plan_for(PUBLISHED["sd3"], work, device(8)).text_grouped
        assert not plan_for(PUBLISHED["sd3"], work, device(16), "low").text_grouped

    def test_what_other_programs_hold_counts(self):
        full, work = device(24), Work(1024, 1024)
        busy = replace(full, free=6 * GIB)
        assert plan_for(PUBLISHED["sdxl"], work, full) == Plan()
        assert plan_for(PUBLISHED["sdxl"], work, busy).placement == "staged"


class TestEstimate:
    def test_weights_that_stay_are_the_sum_of_their_bytes(self):
        sizes, work = PUBLISHED["sd15"], Work(512, 512)
        found = estimate(sizes, work, device(8), Plan()).weights.device
        assert found == pytest.approx(1.05 * (2 * (sizes.network + sizes.text) + 4 * sizes.vae), rel=1e-6)

    def test_parts_that_come_and_go_take_the_largest_and_not_the_sum(self):
        work, machine = Work(512, 512), device(8)
        sizes = replace(PUBLISHED["sdxl"], per_latent=0)
        staged = estimate(sizes, work, machine, Plan(placement="staged"))
        assert staged.stage == "network"
        assert staged.peak.device - int(1.05 * 2 * sizes.network) < 2**29

    @given(SIZES, MACHINES, st.integers(1, 8))
    def test_activations_grow_with_images_and_area(self, sizes, machine, images):
        def takes(work: Work) -> int:
            return estimate(sizes, work, machine, Plan(tiled=True)).peak.device

        assert takes(Work(512, 512, images)) <= takes(Work(512, 512, images + 1))
        assert takes(Work(512, 512, images)) <= takes(Work(1024, 512, images))

    def test_tiles_cap_what_the_autoencoder_takes_but_for_the_picture(self):
        sizes, machine = replace(PUBLISHED["sd15"], network=0, text=0, per_latent=0), device(8)
        small, large = (
            estimate(sizes, Work(side, side), machine, Plan(placement="staged", tiled=True)).peak.device
            for side in (TILE, 2 * TILE)
        )
        whole = estimate(sizes, Work(2 * TILE, 2 * TILE), machine, Plan(placement="staged")).peak.device
        assert large - small == 3 * TILE * TILE * 24
        assert whole - large > 2 * GIB

    @pytest.mark.parametrize("family", ["sd15", "sdxl"])
    @pytest.mark.parametrize("placement", ["resident", "staged", "grouped"])
    def test_what_looks_at_references(self, family, placement):
        """The adapter is there with the network; its encoder only looks, with the text encoders at most beside it."""
        sizes, plan, encoder, adapter = PUBLISHED[family], Plan(placement=placement), 632_000_000, 349_000_000
        plain = Work(64, 64)
        without, with_both = (
            estimate(sizes, work, device(80), plan)
            for work in (plain, replace(plain, adapters=(adapter,), encoder=encoder))
        )
        more = with_both.peak.device - without.peak.device
        assert int(2 * adapter) <= more <= int(1.06 * 2 * (adapter + encoder))
        kept = "device" if placement == "resident" else "ram"
        assert getattr(with_both.weights, kept) - getattr(without.weights, kept) == pytest.approx(
            2.1 * adapter, rel=1e-6
        )
        assert with_both.peak.ram >= 2 * encoder

    def test_controlnets_count_in_the_format_they_are_stored_in(self):
        sizes, machine = PUBLISHED["sd15"], device(24)
        with_net, without = (
            estimate(sizes, Work(512, 512, controlnets=nets), machine, Plan()).weights.device
            for nets in ((CONTROLNETS["sd15"],), ())
        )
        assert with_net - without == pytest.approx(1.05 * 2 * CONTROLNETS["sd15"], rel=1e-6)


class TestMachine:
    @pytest.mark.parametrize(
        ("size", "name"),
        [(79, "48 GB"), (23.6, "24 GB"), (11.8, "12 GB"), (7.6, "8 GB"), (3.7, "4 GB"), (2, "under 4 GB")],
    )
    def test_tiers_are_what_devices_are_sold_as(self, size, name):
        assert tier_of(device(size)) == name

    def test_the_computers_memory_is_no_tier(self):
        assert (tier_of(computer(64)), tier_of(computer(64, "mps"))) == ("CPU", "Apple")

    def test_bytes(self):
        assert Bytes(1, 2) + Bytes(3, 4) == Bytes(4, 6)
        assert Bytes(1, 2).fits(Bytes(1, 2))
        assert not Bytes(1, 3).fits(Bytes(9, 2))


def test_the_words_say_what_is_done_and_nothing_else():
    assert words(Plan()) == ""
    assert words(Plan("fp8", "grouped", True, 1)) == (
        "layers come and go, weights in 8 bits, one picture at a time, decoding in tiles"
    )
