"""Prompts for parts of a picture: exact in the limits, each where it is in between, and gone afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scumble_server.engine.denoise import Text, denoise
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.extensions.controls import ActiveControl, Controls
from scumble_server.engine.fast.assembly import Assembly
from scumble_server.engine.fast.attention import fuse_projections
from scumble_server.engine.fast.graphs import Graphs
from scumble_server.engine.fast.joint import Joint
from scumble_server.engine.fast.saving import Saving
from scumble_server.engine.fast.traced import traced
from scumble_server.engine.generate import Timings, generate
from scumble_server.engine.references import attending, load_adapter, load_encoder, prepared
from scumble_server.engine.regions.coupling import Coupling, coupled
from scumble_server.engine.regions.masks import levels, shares
from scumble_server.engine.regions.mixing import Mixing
from scumble_server.engine.samplers import make_scheduler
from scumble_server.service import Executor, JobCancelled
from scumble_shared.camera import Camera, pack_matrix
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import TEXTURE_METHODS, GenerateJob, MeshRef, Reference, Region, TextureJob, View

from .conftest import CPU, Example, Hooks, load_example, picture
from .test_texture import TENSORS as MESH_TENSORS
from .test_texture import VIEWS
from .tiny_adapters import write_adapter, write_encoder

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed.*:FutureWarning"),
]
ALL = pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
SIDE = 64
LEFT = np.zeros((SIDE, SIDE), np.uint8)
LEFT[:, : SIDE // 2] = 255
TENSORS = {"left": LEFT, "right": 255 - LEFT, "all": np.full_like(LEFT, 255), "none": np.zeros_like(LEFT)}
MASKS = arrays(np.float32, (2, 3, 12, 20), elements=st.sampled_from([0.0, 0.5, 1.0]))


class TestShares:
    @given(MASKS, st.tuples(*[st.floats(0.0, 1.0)] * 3))
    def test_they_are_parts_of_a_whole(self, masks, weights):
        parts = shares(torch.from_numpy(masks), weights, (6, 10))
        assert parts.shape == (2, 4, 6, 10)
        assert ((parts >= 0.0) & (parts <= 1.0)).all()
        assert torch.allclose(parts.sum(1), torch.ones(2, 6, 10), atol=1e-6)

    def test_one_that_is_everywhere_leaves_nothing(self):
        parts = shares(torch.ones(1, 1, 16, 16), [1.0], (4, 4))
        assert (parts[0, 0] == 0.0).all()
        assert (parts[0, 1] == 1.0).all()

    def test_a_weight_leaves_the_rest_to_the_picture(self):
        parts = shares(torch.ones(1, 1, 16, 16), [0.75], (4, 4))
        assert (parts[0, 0] == 0.25).all()

    def test_away_from_edges_each_has_its_own(self):
        halves = torch.zeros(1, 2, 32, 32)
        halves[:, 0, :, :16], halves[:, 1, :, 16:] = 1.0, 1.0
        parts = shares(halves, [1.0, 1.0], (8, 8))
        assert (parts[0, 1, :, :3] == 1.0).all()
        assert (parts[0, 2, :, 5:] == 1.0).all()
        assert torch.allclose(parts[0, 1, :, 3:5].sum(1), torch.ones(8)), "the edge is soft, and fair"
        assert parts[0, 0].abs().max() < 1e-6

    def test_who_overlaps_shares(self):
        parts = shares(torch.ones(1, 2, 8, 8), [1.0, 0.5], (4, 4))
        assert torch.allclose(parts[0, :, 0, 0], torch.tensor([0.0, 2 / 3, 1 / 3]))

    @pytest.mark.parametrize("size", [(8, 8), (5, 9), (1, 3)])
    def test_at_every_level_they_stay_a_whole(self, size):
        mask = torch.rand(1, 2, 40, 40, generator=torch.Generator().manual_seed(1))
        found = levels(shares(mask, [1.0, 1.0], size), 4)
        rows, columns = size
        for _ in range(4):
            assert torch.allclose(found[rows * columns].sum(1), torch.ones(1, rows * columns, 1))
            rows, columns = -(-rows // 2), -(-columns // 2)


@pytest.fixture(scope="module")
def examples(models_folder, families) -> dict[str, Example]:
    return {"sd15": load_example("sd15", models_folder / "tiny"), **families}


def made(example: Example, prompt: str = "a brick wall", tensors=None, controls=(), hooks=None, **changes):
    settings = {"width": SIDE, "height": SIDE, "sampler": "euler", "num_inference_steps": 3, "guidance_scale": 3.0}
    job = GenerateJob(prompt, **{**settings, "seed": 4, **changes})
    hooks = hooks or Hooks(looking=False)
    return generate(job, example.model, list(controls), {**TENSORS, **(tensors or {})}, hooks, Timings())


def everywhere(prompt: str) -> tuple[Region, ...]:
    return (Region(prompt, mask="all"),)


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    assert other.std() > 8, "a flat picture would prove nothing"
    assert np.abs(one.astype(int) - other).max() <= 1


@ALL
class TestLimits:
    @pytest.mark.supports("prompts of objects (regions)")
    def test_a_region_that_is_everywhere_is_a_prompt(self, examples, family):
        alone = made(examples[family], "moss")[0]
        assert np.abs(alone.astype(int) - made(examples[family])[0]).max() > 2, "the prompt must count for something"
        assert_same(made(examples[family], regions=everywhere("moss"))[0], alone)

    def test_with_all_that_there_is_besides(self, examples, family):
        """A ControlNet, an image with a mask, a batch and no guidance."""
        example = examples[family]
        changes = {
            "controls": [
                ActiveControl(net, picture(number), 0.6, 0.0, 0.7, "depth" if "union" in name else name)
                for number, (name, net) in enumerate(example.nets.items())
            ],
            "tensors": {"photo": picture(2)},
            "init_image": "photo",
            "mask": "left",
            "denoising_strength": 0.7,
            "batch_size": 2,
        }
        for guidance_scale in (3.0, 1.0):
            alone = made(example, "moss", guidance_scale=guidance_scale, **changes)
            here = made(example, regions=everywhere("moss"), guidance_scale=guidance_scale, **changes)
            assert len(here) == 2
            for one, other in zip(here, alone, strict=True):
                assert_same(one, other)

    @pytest.mark.parametrize("quality", ["balanced", "draft"])
    def test_when_work_is_saved(self, examples, family, quality):
        changes = {"quality": quality, "num_inference_steps": 6}
        alone = made(examples[family], "moss", **changes)[0]
        assert_same(made(examples[family], regions=everywhere("moss"), **changes)[0], alone)

    def test_nothing_is_left_of_it(self, examples, family):
        before = made(examples[family])[0]
        made(examples[family], regions=(Region("moss", mask="left"), Region("gold", mask="right")))
        with pytest.raises(JobCancelled):
            made(examples[family], regions=everywhere("moss"), hooks=Hooks(cancel_after=1))
        assert (made(examples[family])[0] == before).all()

    @pytest.mark.parametrize("region", [Region("moss", mask="none"), Region("moss", mask="all", weight=0.0)])
    def test_one_that_nothing_is_seen_of_changes_nothing(self, examples, family, region):
        assert (made(examples[family], regions=(region,))[0] == made(examples[family])[0]).all()

    def test_of_one_prompt_several_regions_are_one(self, examples, family):
        both = (Region("moss", mask="left"), Region("moss", mask="right"))
        assert_same(made(examples[family], regions=both)[0], made(examples[family], "moss")[0])

    def test_the_same_job_gives_the_same_pixels(self, examples, family):
        regions = (Region("moss", mask="left", weight=0.7), Region("(gold:1.4) BREAK shiny", mask="right"))
        first, second = (made(examples[family], regions=regions, batch_size=2) for _ in range(2))
        assert all((one == other).all() for one, other in zip(first, second, strict=True))
        plain = made(examples[family], regions=(regions[0], replace(regions[1], prompt="gold BREAK shiny")))
        if family != "flux":
            assert (plain[0] != first[0]).any(), "weights of words count"


@pytest.mark.parametrize("changes", [{"width": 60, "height": 100}, {"width": 72, "height": 90, "tiling": "xy"}])
def test_of_any_size_and_seamless(examples, changes):
    example = examples["sd15"]
    assert_same(made(example, regions=everywhere("moss"), **changes)[0], made(example, "moss", **changes)[0])


def test_objects_are_where_their_ids_are(examples):
    ids = np.zeros((SIDE, SIDE), np.uint16)
    ids[:, : SIDE // 2], ids[:, SIDE // 2 :] = 7, 3
    view = View(Camera(pack_matrix(np.eye(4)), pack_matrix(np.eye(4)), SIDE, SIDE, 0.1, 9.0), object_id="ids")
    changes = {"view": view, "tensors": {"ids": ids}}
    by_object = made(examples["sd15"], regions=(Region("moss", objects=(7, 9)),), **changes)[0]
    assert (by_object == made(examples["sd15"], regions=(Region("moss", mask="left"),))[0]).all()
    nobody = made(examples["sd15"], regions=(Region("moss", objects=(9,)),), **changes)[0]
    assert (nobody == made(examples["sd15"])[0]).all()


def test_objects_without_a_buffer_are_refused(examples):
    with pytest.raises(ScumbleError) as caught:
        made(examples["sd15"], regions=(Region("moss", objects=(7,)),))
    assert (caught.value.info.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "job.view.object_id")


class TestTogether:
    """With what else stands before a UNet's attentions, or in the network's place."""

    REGIONS = (Region("moss", mask="left", weight=0.8), Region("gold", mask="right"))

    def test_with_a_reference_picture(self, examples, tmp_path):
        example = examples["sd15"]
        encoder = load_encoder(write_encoder(tmp_path / "encoder"), CPU)
        unet = example.model.unet
        adapter = load_adapter(write_adapter(tmp_path / "adapter.safetensors", unet), unet, "the model", CPU)
        tensors = {"photo": picture(5), **TENSORS}
        references = (Reference("photo", weight=0.9, mask="left"),)
        seen = prepared(references, [adapter], lambda number: encoder, tensors, (SIDE, SIDE), np.asarray)
        with attending(example.model, seen):
            alone = made(example, "moss")[0]
            assert_same(made(example, regions=everywhere("moss"))[0], alone)
            assert np.abs(made(example, regions=self.REGIONS)[0].astype(int) - alone).max() > 2
        without = made(example, "moss")[0]
        assert np.abs(without.astype(int) - alone).max() > 2

    def test_with_projections_in_one(self, models_folder):
        """As on CUDA, where attentions have processors of their own."""
        example = load_example("sd15", models_folder / "tiny")
        before = made(example, regions=self.REGIONS)[0]
        assert fuse_projections(example.model.unet) > 0
        assert_same(made(example, regions=self.REGIONS)[0], before)
        assert_same(made(example, regions=everywhere("moss"))[0], made(example, "moss")[0])

    @pytest.mark.parametrize("way", ["sd15 coupled", "sdxl coupled", "sd15 mixed", "sd3 mixed", "flux mixed"])
    def test_with_graphs(self, examples, way):
        """What is recorded goes for other prompts and other masks, too."""
        family, how = way.split()
        model, graphs = examples[family].model, traced()
        paint = coupled_latents if how == "coupled" else mixed_latents
        levels_of_unet = len(model.network.module.config.get("block_out_channels", ()))
        coupling = Coupling((1, 3, 8, 8), levels_of_unet)
        found = []
        for number, prompts in enumerate((["stone", "moss", "gold"], ["sand", "rust", "snow"])):
            masks = (torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(number)) > 0.5).float()
            parts = shares(masks, [1.0, 0.8], (8, 8))
            recorded = paint(model, prompts, parts, graphs, coupling)
            plain = paint(model, prompts, parts, None, Coupling((1, 3, 8, 8), levels_of_unet))
            assert torch.allclose(recorded, plain, atol=1e-5 * float(plain.abs().max()))
            found.append(plain)
        assert not torch.allclose(found[0], found[1], atol=1e-3)
        assert len(graphs) == (1 if how == "coupled" or family == "flux" else 2)


def mixed_latents(model, prompts, parts, graphs, coupling) -> torch.Tensor:
    return recorded_latents(
        model,
        prompts,
        graphs,
        lambda made: (Mixing([made() for _ in prompts], parts, saves=False), []),
        lambda pooled, count: torch.cat(pooled.chunk(count), 1),
    )


def coupled_latents(model, prompts, parts, graphs, coupling) -> torch.Tensor:
    coupling.show(parts)
    with coupled([model.network.module], coupling):
        return recorded_latents(
            model, prompts, graphs, lambda made: (made(coupling.variant), [coupling]), lambda pooled, count: pooled[:1]
        )


def recorded_latents(model, prompts, graphs: Graphs | None, ways, pooled_of) -> torch.Tensor:
    """ways: of what makes an assembly: the network and the extensions to run. pooled_of: prompts as a whole."""
    scheduler = make_scheduler("euler", model.scheduler_config, 16)
    scheduler.set_timesteps(3)
    text = model.prompt_encoder.text(prompts, None if model.network.embeds_guidance else "", 3.0)
    count, controls = len(prompts), Controls([])
    joint = Joint.of(model.network, controls.runs, torch.device("cpu"))

    def made(variant=None) -> Assembly:
        return Assembly(joint, controls, scheduler.timesteps, Saving(), graphs, None, variant)

    network, extensions = ways(made)
    negative = None if text.negative is None else torch.cat([text.negative] * count, 1)
    whole = None if text.pooled is None else pooled_of(text.pooled, count)
    beside = None
    if text.negative_pooled is not None:
        beside = pooled_of(torch.cat([text.negative_pooled] * count), count)
    side_by_side = Text(torch.cat(text.positive.chunk(count), 1), negative, 3.0, whole, beside)
    noise = torch.randn(1, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(2))
    start, generators = noise * scheduler.init_noise_sigma, [torch.Generator().manual_seed(3)]
    hooks = Hooks(looking=False)
    return denoise(network, scheduler, scheduler.timesteps, start, side_by_side, generators, extensions, hooks)


def test_a_batch_in_parts_is_the_batch(examples):
    example = examples["sd15"]
    regions = (Region("moss", mask="left"),)
    whole = made(example, regions=regions, batch_size=3)
    singles = [made(example, regions=regions, seed=4 + index)[0] for index in range(3)]
    for one, other in zip(whole, singles, strict=True):
        assert_same(one, other)


@pytest.fixture(scope="module")
def executor(models_folder, family_folders, tmp_path_factory) -> Executor:
    place = tmp_path_factory.mktemp("library")
    (place / "sd15").symlink_to(models_folder / "tiny", target_is_directory=True)
    for name, path in family_folders.items():
        (place / name).symlink_to(path, target_is_directory=True)
    return EngineExecutor((place,), "cpu")


class TestTextures:
    """On two rings, one beside the other."""

    MESHES = (
        MeshRef("Ring", 1, pack_matrix(np.eye(4)), "vertices", "triangles", "normals", "uvs"),
        MeshRef("Other", 5, pack_matrix(np.eye(4) + np.eye(4, k=3) * 0.5), "vertices", "triangles", "normals", "uvs"),
    )

    def views(self, executor, family: str, method: str, prompt: str, *regions: Region, **changes) -> list[np.ndarray]:
        job = TextureJob(
            prompt,
            self.MESHES,
            model=family,
            views=VIEWS[:2],
            num_inference_steps=2,
            texture_size=32,
            sampler="euler",
            guidance_scale=3.0,
            method=method,
            regions=regions,
            **changes,
        )
        tensors = executor.run(job, MESH_TENSORS, Hooks()).tensors
        return [tensors[name] for name in sorted(tensors) if name.startswith("view/")]

    @ALL
    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    @pytest.mark.supports("prompts of objects (regions)")
    def test_each_object_its_own(self, executor, family, method):
        plain = self.views(executor, family, method, "a brick wall")
        changed = self.views(executor, family, method, "a brick wall", Region("moss", objects=(5,)))
        assert all((one != other).any() for one, other in zip(plain, changed, strict=True))

    @pytest.mark.parametrize("family", ["sd15", "sd3"])
    def test_drafts(self, executor, family):
        region = Region("moss", objects=(5,))
        views = self.views(executor, family, "synchronised", "a wall", region, quality="draft")
        assert all(view.std() > 1 for view in views)

    def test_added_views_and_refined_ones(self, executor):
        region = Region("moss", objects=(1, 5), weight=0.8)
        views = self.views(
            executor, "sd15", "synchronised", "a wall", region, extra_views=1, refine_strength=0.5, refine_scale=1.5
        )
        assert len(views) == 3
        assert all(view.std() > 1 for view in views)


class TestStarter:
    """The model that ships with Scumble, on two objects before a wall of stone."""

    def test_gold_is_gold_and_grass_is_grass(self, executor):
        side = 192
        ids = np.zeros((side, side), np.uint16)
        ids[40:150, 16:84], ids[40:150, 108:176] = 1, 2
        tensors = {"ids": ids}
        view = View(Camera(pack_matrix(np.eye(4)), pack_matrix(np.eye(4)), side, side, 0.1, 9.0), object_id="ids")
        job = GenerateJob(
            "stone",
            width=side,
            height=side,
            sampler="ddim",
            num_inference_steps=8,
            guidance_scale=4.0,
            seed=3,
            view=view,
            regions=(Region("gold", objects=(1,)), Region("grass", objects=(2,))),
        )

        def colours(job: GenerateJob) -> list[np.ndarray]:
            image = executor.run(job, tensors, Hooks(looking=False)).tensors["image/0"].astype(float)
            return [image[ids == number].mean(0) for number in (0, 1, 2)]

        def greenness(colour: np.ndarray) -> float:
            return float(colour[1] / colour[0])

        def goldness(colour: np.ndarray) -> float:
            return float((colour[0] + colour[1]) / (2.0 * colour[2]))

        stone, gold, grass = colours(job)
        assert goldness(gold) > 1.3 * goldness(stone)
        assert greenness(grass) > 1.3 * greenness(stone)
        assert greenness(grass) > 1.3 * greenness(gold)
        assert gold.mean() > 1.1 * grass.mean()
        _, other, last = colours(
            replace(job, regions=(replace(job.regions[0], objects=(2,)), replace(job.regions[1], objects=(1,))))
        )
        assert greenness(other) > 1.3 * greenness(last), "they change places with their objects"
        plain = colours(replace(job, regions=()))
        assert np.abs(plain[1] - plain[2]).max() < 25, "without them it is stone everywhere"
