"""Jobs that memory runs out for: begun again with less, told to the artist, and nothing of it left for the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
from scumble_server.engine.executor import EngineExecutor
from scumble_server.memory.machine import GIB, Machine
from scumble_server.service import Output
from scumble_shared.errors import ErrorCode, RemedyAction, ScumbleError
from scumble_shared.job import Control, GenerateJob

from ..conftest import Hooks, picture

APART = Machine("cuda", 80 * GIB, 80 * GIB, 64 * GIB, 64 * GIB)
"""A device with memory of its own. In these tests it is the computer's all the same: what moves there and back arrives
where it was, so that all rungs run without such a device."""

CAST = torch.float8_e4m3fn
TENSORS = {"image": picture(1)}


@pytest.fixture(scope="module")
def folders(models_folder, family_folders):
    return (models_folder, family_folders["sd3"].parent)


@pytest.fixture
def executor(folders) -> EngineExecutor:
    return EngineExecutor(folders, "cpu", machine=APART)


def job(**changes: Any) -> GenerateJob:
    settings = {"prompt": "a brick wall", "model": "tiny", "width": 64, "height": 64, "num_inference_steps": 2}
    return GenerateJob(**{**settings, **changes})


def run(executor: EngineExecutor, wanted: GenerateJob, hooks: Hooks | None = None) -> Output:
    return executor.run(wanted, TENSORS, hooks or Hooks())


@contextmanager
def memory_runs_out(kind: type, unless: Callable[[Any], bool]) -> Iterator[list[bool]]:
    """For every module of ``kind`` that is run, as a device that is full tells it, unless it is how it should be."""
    seen: list[bool] = []

    def allocate(module: Any, arguments: Any) -> None:
        if isinstance(module, kind):
            seen.append(unless(module))
            if not seen[-1]:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    handle = torch.nn.modules.module.register_module_forward_pre_hook(allocate)
    try:
        yield seen
    finally:
        handle.remove()


def is_cast(module: Any) -> bool:
    return any(parameter.dtype == CAST for parameter in module.parameters())


def never(module: Any) -> bool:
    return False


def is_grouped(module: Any) -> bool:
    hooks = (getattr(part, "_diffusers_hook", None) for part in module.modules())
    return any(hook is not None and hook.get_hook("group_offloading") is not None for hook in hooks)


class TestLadder:
    def test_with_room_nothing_is_done(self, executor):
        memory = run(executor, job()).provenance["memory"]
        assert (memory["done"], memory["told"]) == ("", [])
        assert memory["expected_gib"] > 0.0

    def test_down_to_weights_in_eight_bits(self, executor):
        with memory_runs_out(UNet2DConditionModel, unless=is_cast) as seen:
            hooks = Hooks()
            output = run(executor, job(), hooks)
        assert seen[-2:] == [True, True]
        memory = output.provenance["memory"]
        assert memory["done"] == "parts come and go, weights in 8 bits, decoding in tiles"
        assert memory["told"] == [
            "memory ran out: decoding in tiles",
            "memory ran out: parts come and go, decoding in tiles",
            "memory ran out: parts come and go, weights in 8 bits, decoding in tiles",
        ]
        assert [stage for stage, *_ in hooks.stages].count("making room") == 3

    def test_down_to_layers_that_come_and_go(self, executor):
        with memory_runs_out(UNet2DConditionModel, unless=is_grouped):
            output = run(executor, job(controls=(Control("depth", image="image"),)))
        assert output.provenance["memory"]["done"].startswith("layers come and go")

    def test_fewer_pictures_at_once_before_anything_is_moved(self, executor):
        one_guided = 2

        def few(module: Any) -> bool:
            return len(shown[-1]) <= one_guided

        shown: list[Any] = []

        def look(module: Any, arguments: Any) -> None:
            if isinstance(module, UNet2DConditionModel):
                shown.append(arguments[0])

        handle = torch.nn.modules.module.register_module_forward_pre_hook(look)
        try:
            with memory_runs_out(UNet2DConditionModel, unless=few):
                output = run(executor, job(batch_size=3))
        finally:
            handle.remove()
        assert output.provenance["memory"]["done"] == "one picture at a time, decoding in tiles"
        assert len(output.tensors) == 3

    def test_what_earlier_jobs_left_goes_first(self, executor):
        run(executor, job(model="tiny-inpainting"))
        models = []

        def alone(module: Any) -> bool:
            models.append(module)
            return len(executor._resident._models) == 1

        with memory_runs_out(UNet2DConditionModel, unless=alone):
            memory = run(executor, job()).provenance["memory"]
        assert memory["done"] == ""
        assert memory["told"] == ["memory ran out: what was kept of earlier jobs was given back"]

    def test_below_the_last_a_smaller_size_is_offered(self, executor):
        with (
            memory_runs_out(UNet2DConditionModel, unless=lambda module: False) as seen,
            pytest.raises(ScumbleError) as e,
        ):
            run(executor, job(width=1024, height=512))
        assert len(seen) == 5
        assert (e.value.code, e.value.info.retryable) == (ErrorCode.OUT_OF_MEMORY, True)
        assert (e.value.info.remedy.action, e.value.info.remedy.argument) == (RemedyAction.REDUCE_SIZE, "704x320")
        assert run(executor, job()).provenance["memory"]["done"] == ""

    def test_off_means_that_nothing_is_tried(self, executor):
        with memory_runs_out(UNet2DConditionModel, unless=is_cast) as seen, pytest.raises(ScumbleError) as caught:
            run(executor, job(memory="off"))
        assert (len(seen), caught.value.code) == (1, ErrorCode.OUT_OF_MEMORY)

    def test_the_computers_own_memory(self, folders):
        """torch's allocator for CPUs raises a RuntimeError, numpy a MemoryError."""
        machine = Machine("cpu", 16 * GIB, 16 * GIB, 16 * GIB, 16 * GIB)
        words = (
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"
        )
        for complaint in (RuntimeError(words), MemoryError()):
            executor = EngineExecutor(folders, "cpu", machine=machine)

            def allocate(module: Any, arguments: Any, complaint: BaseException = complaint) -> None:
                if isinstance(module, UNet2DConditionModel) and not is_cast(module):
                    raise complaint

            handle = torch.nn.modules.module.register_module_forward_pre_hook(allocate)
            try:
                done = run(executor, job()).provenance["memory"]["done"]
            finally:
                handle.remove()
            assert done == "weights in 8 bits, decoding in tiles"

    def test_an_error_that_has_nothing_to_do_with_memory_is_not_tried_again(self, executor):
        calls = []

        def wrong(module: Any, arguments: Any) -> None:
            if isinstance(module, UNet2DConditionModel):
                calls.append(module)
                raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

        handle = torch.nn.modules.module.register_module_forward_pre_hook(wrong)
        try:
            with pytest.raises(RuntimeError, match="mat1"):
                run(executor, job())
        finally:
            handle.remove()
        assert len(calls) == 1

    def test_decoding_that_overflows_memory_alone_needs_no_second_run(self, executor):
        """Only the autoencoder runs out, and only for the whole picture."""
        steps = []

        def allocate(module: Any, arguments: Any) -> None:
            if isinstance(module, UNet2DConditionModel):
                steps.append(module)
            if type(module).__name__ == "Decoder" and arguments[0].shape[-1] > 64:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        handle = torch.nn.modules.module.register_module_forward_pre_hook(allocate)
        try:
            memory = run(executor, job(width=1024, height=64), Hooks(looking=False)).provenance["memory"]
        finally:
            handle.remove()
        assert memory["told"] == ["decoded in tiles, since memory ran out"]
        assert len(steps) == 2


class TestBeforeTheStart:
    def test_what_is_expected_is_told_where_it_is_not_the_usual(self, executor):
        usual, low = Hooks(), Hooks()
        run(executor, job(), usual)
        run(executor, job(memory="low"), low)
        assert not any("GiB" in stage for stage, *_ in usual.stages)
        assert low.stages[0][0].endswith("GiB: parts come and go, decoding in tiles")

    def test_what_can_not_be_quantized_is_done_without(self, folders):
        """The package is said to be there; diffusers wants a GPU for it, too, and says so before anything is loaded."""
        machine = Machine("cuda", 80 * GIB, 80 * GIB, 64 * GIB, 64 * GIB, frozenset({"bitsandbytes"}))
        executor = EngineExecutor(folders, "cpu", machine=machine)
        with memory_runs_out(SD3Transformer2DModel, unless=is_grouped):
            memory = run(executor, job(model="sd3", sampler="euler")).provenance["memory"]
        assert memory["done"].startswith("layers come and go")
        assert any("bitsandbytes" in one for one in memory["told"])


class TestNothingIsLeft:
    """What one job needed doesn't show in the next: bitwise."""

    @pytest.mark.parametrize("choice", ["low", "lowest"])
    def test_for_a_job_that_wants_nothing_done(self, executor, choice):
        controls = (Control("depth", image="image"), Control("normal", image="image"))
        before = run(executor, job(controls=controls)).tensors["image/0"]
        run(executor, job(controls=controls, memory=choice))
        after = run(executor, job(controls=controls)).tensors["image/0"]
        assert np.array_equal(before, after)

    def test_after_memory_ran_out(self, executor):
        before = run(executor, job()).tensors["image/0"]
        with memory_runs_out(UNet2DConditionModel, unless=is_cast):
            cast = run(executor, job()).tensors["image/0"]
        assert np.array_equal(run(executor, job()).tensors["image/0"], before)
        assert not np.array_equal(cast, before)

    def test_after_an_encoder_in_tiles(self, executor):
        wide = job(init_image="image", denoising_strength=0.5, width=640)
        model = executor._resident.model(executor._index.model("tiny"), Hooks())
        before = model.vae.use_tiling, model.vae.tile_sample_min_size
        run(executor, job(init_image="image", denoising_strength=0.5, width=640, memory="low"))
        run(executor, wide)
        assert isinstance(model.vae, AutoencoderKL)
        assert (model.vae.use_tiling, model.vae.tile_sample_min_size) == before


class TestChoices:
    """The same picture as long as weights are what they were, from every family."""

    @pytest.mark.supports("parts that come and go")
    @pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
    def test_parts_that_come_and_go_change_nothing(self, executor, family):
        wanted = job(model={"sd15": "tiny"}.get(family, family), sampler="euler")
        plain = run(executor, wanted)
        low = run(executor, job(model=wanted.model, sampler="euler", memory="low"))
        assert low.provenance["memory"]["done"] == "parts come and go, decoding in tiles"
        assert np.array_equal(plain.tensors["image/0"], low.tensors["image/0"])

    @pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
    def test_the_lowest_is_near(self, executor, family):
        model = {"sd15": "tiny"}.get(family, family)
        settings = {"model": model, "sampler": "euler", "controls": (Control("depth", image="image"),)}
        plain = run(executor, job(**settings)).tensors["image/0"].astype(float)
        lowest = run(executor, job(**settings, memory="lowest"))
        assert lowest.provenance["memory"]["done"] == "layers come and go, weights in 8 bits, decoding in tiles"
        assert np.abs(lowest.tensors["image/0"] - plain).mean() < 6.0
        assert np.abs(lowest.tensors["image/0"] - plain).max() > 0.0

    def test_too_little_for_a_plain_one_is_seen_before_it_starts(self, folders):
        """Nothing runs out, since nothing is tried that can't fit."""
        tight = Machine("cuda", 2 * GIB, GIB // 4, 64 * GIB, 64 * GIB)
        memory = run(EngineExecutor(folders, "cpu", machine=tight), job(model="sd3", sampler="euler")).provenance[
            "memory"
        ]
        assert memory["done"].startswith("layers come and go")
        assert memory["told"] == []

    def test_transformers_are_quantized_where_torchao_is(self, folders):
        pytest.importorskip("torchao")
        machine = Machine("cpu", 16 * GIB, 16 * GIB, 16 * GIB, 16 * GIB, frozenset({"torchao"}))
        executor = EngineExecutor(folders, "cpu", machine=machine)
        plain = run(executor, job(model="sd3", sampler="euler")).tensors["image/0"].astype(float)
        with memory_runs_out(SD3Transformer2DModel, unless=is_quantized):
            output = run(executor, job(model="sd3", sampler="euler"))
        assert output.provenance["memory"]["done"] == "weights quantized to 8 bits, decoding in tiles"
        assert 0.0 < np.abs(output.tensors["image/0"] - plain).mean() < 3.0
        again = run(executor, job(model="sd3", sampler="euler")).tensors["image/0"]
        assert np.array_equal(again, plain)


def is_quantized(module: Any) -> bool:
    return type(module.transformer_blocks[0].attn.to_q.weight).__name__ == "Int8Tensor"
