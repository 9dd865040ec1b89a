"""What a texture job does besides: places to keep, views of what is unseen, painting over once more, 16 bits."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scumble_server.engine.denoise import Text
from scumble_server.engine.executor import EngineExecutor
from scumble_server.engine.family import LoadedModel
from scumble_server.engine.progress import Share, shares
from scumble_server.engine.texture_generate import Painting
from scumble_server.engine.texture_refine import rendered, repainted
from scumble_server.engine.texture_views import WorkView
from scumble_server.service import Executor, JobCancelled
from scumble_server.texturing.bake import bake
from scumble_server.texturing.color import display, srgb_to_linear
from scumble_server.texturing.fuse import ViewImage
from scumble_server.texturing.shapes import torus
from scumble_server.texturing.synthetic import marble, photograph, psnr
from scumble_server.texturing.textured import textured_view
from scumble_server.texturing.views import coverage, further_views, place, render_geometry
from scumble_shared.camera import Camera, pack_matrix
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import TEXTURE_METHODS, Control, MeshRef, TextureJob, TextureView
from scumble_shared.schema import decode

from .conftest import CPU, Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE, SIZE = 64, 48
SHAPE = torus(rings=12, segments=24)
MESH = MeshRef("Ring", 1, pack_matrix(np.eye(4)), "vertices", "triangles", "normals", "uvs")
BASE = np.full((SIZE, SIZE, 4), (10, 200, 30, 255), np.uint8)
TENSORS = {
    "vertices": SHAPE.vertices,
    "triangles": SHAPE.triangles,
    "normals": SHAPE.normals,
    "uvs": SHAPE.uvs,
    "photo": picture(3, SIDE, SIDE),
    "base": BASE,
    "fine base": BASE.astype(np.uint16) * 257,
    "left": np.repeat([[255] * (SIZE // 2) + [0] * (SIZE // 2)], SIZE, 0).astype(np.uint8),
}
VIEWS = tuple(TextureView(place([SHAPE.mesh()], azimuth, 20.0, (SIDE, SIDE)).camera) for azimuth in (0.0, 60.0, 180.0))


@pytest.fixture(scope="module")
def executor(models_folder) -> Executor:
    return EngineExecutor((models_folder,), "cpu")


def job(**changes) -> TextureJob:
    settings = {"model": "tiny", "views": VIEWS, "num_inference_steps": 2, "texture_size": SIZE, "guidance_scale": 3.0}
    return TextureJob("a brick wall", (MESH,), **{**settings, **changes})


def run(executor, hooks=None, **changes):
    return executor.run(job(**changes), TENSORS, hooks or Hooks())


def stages(hooks: Hooks) -> list[str]:
    return list(dict.fromkeys(stage for stage, *_ in hooks.stages if stage != "loading"))


class TestKeep:
    def test_what_is_kept_is_the_base_to_the_byte_and_the_rest_is_as_without(self, executor):
        kept, without = (run(executor, base=("base",), keep=keep).tensors for keep in (("left",), ()))
        texture, half = kept["texture/Ring"], SIZE // 2
        assert (texture[:, :half] == BASE[:, :half]).all()
        assert (kept["weight/Ring"][:, :half] == 0).all()
        assert (texture[:, half:] == without["texture/Ring"][:, half:]).all()
        assert (kept["view/0"] == without["view/0"]).all()

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"keep": ("left",)}, "job.keep"),
            ({"keep": ("left", "left"), "base": ("base",)}, "job.keep"),
            ({"keep": ("photo",), "base": ("base",)}, "job.keep[0]"),
            ({"base": ("left",)}, "job.base[0]"),
        ],
    )
    def test_what_does_not_fit_is_named(self, executor, changes, field):
        with pytest.raises(ScumbleError) as caught:
            run(executor, **changes)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, field)


class TestSixteenBits:
    def test_a_texture_of_numbers_finer_than_its_views(self, executor):
        shallow, deep = (run(executor, bit_depth=bits, texture_size=128).tensors for bits in (8, 16))
        texture = deep["texture/Ring"]
        assert (texture.dtype, shallow["texture/Ring"].dtype) == (np.uint16, np.uint8)
        assert (texture[..., 3] == 65535).all()
        assert len(np.unique(texture[..., 0])) > 1000
        assert deep["view/0"].dtype == deep["weight/Ring"].dtype == np.uint8
        assert (deep["view/0"] == shallow["view/0"]).all()
        assert np.abs(texture[..., :3] / 257.0 - shallow["texture/Ring"][..., :3]).max() < 2.0

    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    @pytest.mark.parametrize("base", ["base", "fine base"])
    def test_over_a_base_of_either_kind(self, executor, method, base):
        made = run(executor, bit_depth=16, base=(base,), keep=("left",), method=method, views=VIEWS[:2]).tensors
        assert (made["texture/Ring"][:, : SIZE // 2] == TENSORS["fine base"][:, : SIZE // 2]).all()


class TestExtraViews:
    @pytest.mark.parametrize("method", TEXTURE_METHODS)
    def test_show_what_the_others_leave_unseen(self, executor, method):
        plain = run(executor, views=VIEWS[:1], method=method, controls=(Control("depth"),))
        more = run(executor, views=VIEWS[:1], method=method, controls=(Control("depth"),), extra_views=3)
        views = more.provenance["views"]
        assert [view["extra"] for view in views] == [False, True, True, True]
        assert more.provenance["coverage"] > plain.provenance["coverage"] + 0.2
        assert {"view/0", "view/1", "view/2", "view/3"} <= set(more.tensors)
        coverage_of = {id(out): out.provenance["meshes"]["Ring"]["coverage"] for out in (plain, more)}
        assert coverage_of[id(more)] > coverage_of[id(plain)] + 0.2

    def test_show_what_was_seen_as_it_was(self, executor):
        mesh, side = SHAPE.mesh(), 192
        camera = place([mesh], 0.0, 20.0, (side, side)).camera
        tensors = TENSORS | {"photo": pixels_of(photograph([mesh], camera, marble(3.0)).image)}
        out = executor.run(job(views=(TextureView(camera, image="photo"),), extra_views=1), tensors, Hooks())
        other = decode(Camera, out.provenance["views"][1]["camera"])
        shot = photograph([mesh], other, marble(3.0))
        apart = np.abs(out.tensors["view/1"].astype(int) - pixels_of(shot.image)).max(2)
        held = (apart < 16)[(shot.visible.mesh == 0).numpy()].mean()
        assert held > 0.1  # what a network of random weights paints is as near in one pixel of a hundred

    def test_none_are_added_where_nothing_is_unseen(self, executor):
        mesh = SHAPE.mesh()
        around = [place([mesh], 45.0 * j, 30.0 * (-1) ** j, (SIDE, SIDE)).camera for j in range(8)]
        views, seen = further_views([mesh], around, 4, (SIDE, SIDE))
        assert seen >= coverage([mesh], around)
        assert len(views) <= 2

    def test_all_locked_they_alone_are_generated(self, executor):
        hooks = Hooks()
        locked = tuple(replace(view, image="photo") for view in VIEWS[:1])
        made = run(executor, hooks, views=locked, extra_views=1).tensors
        assert (made["view/0"] == TENSORS["photo"]).all()
        assert "denoising" in stages(hooks)


class TestRefining:
    def test_its_stages_are_named_and_fractions_never_fall(self, executor):
        for changes in ({}, {"extra_views": 2, "views": VIEWS[:1]}, {"method": "sequential"}):
            hooks = Hooks()
            run(executor, hooks, refine_strength=0.5, controls=(Control("depth"),), **changes)
            told = [stage for stage in stages(hooks) if stage != "decoding"]
            assert told == ["placing", "conditioning", "denoising", "projecting", "rendering", "refining"]
            fractions = [fraction for *_, fraction in hooks.stages if fraction is not None]
            assert fractions == sorted(fractions)

    def test_larger_views(self, executor):
        made = run(executor, refine_strength=0.5, refine_scale=2.0, controls=(Control("depth"),)).tensors
        assert made["view/1"].shape == (2 * SIDE, 2 * SIDE, 3)
        assert made["texture/Ring"].std() > 0

    def test_locked_views_stay_to_the_byte(self, executor):
        views = (replace(VIEWS[0], image="photo"), *VIEWS[1:])
        plain, refined = (run(executor, views=views, refine_strength=some).tensors for some in (0.0, 0.7))
        assert (refined["view/0"] == TENSORS["photo"]).all()
        assert (refined["view/1"] != plain["view/1"]).any()

    @pytest.mark.parametrize("stage", ["rendering", "refining"])
    def test_cancelled(self, executor, stage):
        class UpTo(Hooks):
            def check_cancelled(self) -> None:
                if any(seen == stage for seen, *_ in self.stages):
                    raise JobCancelled

        with pytest.raises(JobCancelled):
            run(executor, UpTo(), refine_strength=0.6)

    def test_models_made_for_inpainting(self, executor):
        assert run(executor, model="tiny-inpainting", refine_strength=0.6).tensors["texture/Ring"].std() > 0


class TestRendered:
    def test_what_views_baked_is_what_they_see_again(self):
        """Without a change of the pictures, a texture taken back into views and baked once more is the same texture."""
        mesh = torus(rings=48, segments=96).mesh()
        cameras = [place([mesh], 45.0 * j, 30.0 * (-1) ** j, (256, 256)).camera for j in range(8)]
        shots = [photograph([mesh], camera, marble(4.0)).image for camera in cameras]
        first = baked(mesh, cameras, shots)
        finished = [SimpleNamespace(mesh=mesh, texture=first, composite=lambda: first.colour)]
        views = [WorkView(camera, "", "") for camera in cameras]
        pictures = {i: display(srgb_to_linear(bytes_of(shot)), 8) for i, shot in enumerate(shots)}
        pictures = {index: np.ascontiguousarray(image.transpose(1, 2, 0)) for index, image in pictures.items()}
        again = rendered(views, pictures, finished, Hooks())
        second = baked(mesh, cameras, [image[0] for image in again])
        seen = (first.seen == 255).flatten()
        one, other = (image.image.view(-1, 3)[seen] / 255.0 for image in (first, second))
        assert psnr(one, other) > 36.0

    def test_a_texture_finer_than_the_picture_is_averaged(self):
        mesh = torus(rings=24, segments=48).mesh()
        camera = place([mesh], 0.0, 20.0, (48, 48)).camera
        texture = baked(mesh, [camera], [photograph([mesh], camera, marble(4.0)).image], 1024)
        chequered = texture.colour.clone()
        place_ = torch.arange(1024)
        chequered[:] = ((place_[:, None] + place_[None]) % 2).float().flatten()
        shown, hit = textured_view([mesh], [texture.texels], [chequered], camera)
        assert hit.any()
        assert (shown[:, hit] - 0.5).abs().mean() < 0.05


class Teacher:
    """A network that knows what it wants of each view, and gets it where there is noise enough to hide the rest."""

    patch = stride = 1
    in_channels = 3
    embeds_guidance = False
    dtype = torch.float32
    module = SimpleNamespace(attn_processors={}, set_attn_processor=lambda processors: None)

    def __init__(self, wanted: torch.Tensor, scatter: float = 0.3) -> None:
        self.wanted, self.scatter = wanted, scatter

    def predict(self, step, appended, residuals):
        signal, noise = float(step.signal), (1.0 - float(step.signal) ** 2) ** 0.5
        trust = self.scatter**2 / (self.scatter**2 + (noise / signal) ** 2)
        clean = (1.0 - trust) * self.wanted[step.images] + trust * step.model_input / signal
        return (step.model_input - signal * clean) / noise


class Through:
    """An autoencoder of pictures that are latents already."""

    dtype = torch.float32
    config = SimpleNamespace(
        block_out_channels=(1,), latent_channels=3, scaling_factor=1.0, shift_factor=None, latents_mean=None,
        latents_std=None,
    )  # fmt: skip

    def encode(self, image):
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=image, std=torch.zeros_like(image)))

    def decode(self, latents, return_dict):
        return (latents,)


class TestASyntheticDenoiser:
    """Views of a marble ring, which the network wants otherwise: each in its own way."""

    SIDE = 64

    @pytest.fixture(scope="class")
    def ring(self):
        mesh = torus(rings=24, segments=48).mesh()
        cameras = [place([mesh], 45.0 * j, 30.0 * (-1) ** j, (self.SIDE, self.SIDE)).camera for j in range(8)]
        shots = [photograph([mesh], camera, marble(4.0)) for camera in cameras]
        hit = torch.stack([shot.visible.mesh >= 0 for shot in shots])[:, None]
        return mesh, cameras, torch.stack([shot.image for shot in shots]), hit

    def painted(self, ring, wanted, strength: float, until: float = 1.0) -> torch.Tensor:
        """Views, 0 to 1. wanted: 8 x 3 x H x W, -1 to 1."""
        mesh, cameras, true, _ = ring
        encoder = SimpleNamespace(
            text=lambda prompts, negative, scale: Text(torch.zeros(len(prompts), 1, 1), None, 1.0)
        )
        schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
        model = LoadedModel(None, CPU, encoder, Teacher(wanted), Through(), schedule, None)
        one = job(refine_strength=strength, sync_end=until, num_inference_steps=30, sampler="ddim", bit_depth=16)
        views = [WorkView(camera, "", "") for camera in cameras]
        painting = Painting(one, model, [mesh], views, [], Hooks(looking=False))
        pictures, _ = repainted(painting, [image[None] for image in true])
        stacked = np.stack([pictures[index] for index in range(8)])
        return torch.from_numpy(stacked.astype(np.float32) / 65535.0).permute(0, 3, 1, 2)

    def test_the_less_the_strength_the_less_is_changed_and_next_to_none_changes_next_to_nothing(self, ring):
        _, _, true, _ = ring
        wanted = 2.0 * (1.0 - true) - 1.0
        change = [float((self.painted(ring, wanted, some, 0.0) - true).abs().mean()) for some in (0.01, 0.3, 0.6, 0.9)]
        assert change[0] < 0.015
        assert change == sorted(change)
        assert change[3] > 0.1

    def test_detail_that_is_added_is_the_same_in_all_views(self, ring):
        """Each view wants detail of its own on what all want; together they settle for what is on the surface."""
        mesh, cameras, true, hit = ring
        detail = torch.stack([photograph([mesh], camera, marble(9.0)).image for camera in cameras]) - 0.5
        own = 0.4 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
        truth = true + 0.5 * detail
        errors = []
        for until in (0.0, 1.0):
            made = self.painted(ring, 2.0 * truth - 1.0 + own, 0.7, until)
            errors.append(float((made - truth)[hit.expand_as(made)].abs().mean()))
        apart, together = errors
        assert together < 0.7 * apart
        assert together < 0.7 * float((true - truth)[hit.expand_as(true)].abs().mean())


def bytes_of(image):
    return (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def pixels_of(image):
    """H x W x 3"""
    return bytes_of(image).permute(1, 2, 0).contiguous().numpy()


def baked(mesh, cameras, images, size: int = 512):
    views = [
        ViewImage(render_geometry([mesh], camera), srgb_to_linear(bytes_of(image))[None].contiguous())
        for camera, image in zip(cameras, images, strict=True)
    ]
    return bake(mesh, views, size)


class TestShares:
    def test_pieces_follow_one_another(self):
        hooks = Hooks()
        parts = shares(hooks, 0.2, 1.0, [1.0, 3.0])
        assert [(part.first, part.last) for part in parts] == [(0.2, 0.4), (0.4, pytest.approx(1.0))]
        inner = Share(parts[1], 0.5, 1.0, (("denoising", "refining"),))
        inner.progress("denoising", 1, 2, 0.5)
        inner.progress("loading")
        assert hooks.stages[0] == ("refining", 1, 2, pytest.approx(0.85))
        assert hooks.stages[1] == ("loading", 0, 0, None)
