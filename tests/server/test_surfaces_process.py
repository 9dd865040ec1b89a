"""Tiles, larger pictures and refined textures by the real server process over a real socket, with a tiny model."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import numpy as np
import pytest
from scumble_server.models.seeded import write_seeded_model
from scumble_server.service import JobCancelled
from scumble_server.texturing.shapes import torus
from scumble_server.texturing.views import place
from scumble_shared.camera import pack_matrix
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import GenerateJob, MeshRef, ProjectJob, TextureJob, TextureView, UpscaleJob, View
from scumble_shared.messages import Progress
from scumble_shared.tensor import digest_of

from .test_server_process import serving

SHAPE = torus(rings=10, segments=20)
SIZE = 32
ARRAYS = {
    "vertices": SHAPE.vertices,
    "triangles": SHAPE.triangles,
    "normals": SHAPE.normals,
    "uvs": SHAPE.uvs,
    "picture": np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8),
    "fine": np.random.default_rng(1).integers(0, 65536, (24, 32, 4), np.uint16),
    "base": np.full((SIZE, SIZE, 4), 90, np.uint8),
    "keep": np.full((SIZE, SIZE), 255, np.uint8),
}
DIGESTS = {name: digest_of(array) for name, array in ARRAYS.items()}
TENSORS = {DIGESTS[name]: array for name, array in ARRAYS.items()}
PARTS = (DIGESTS[name] for name in ("vertices", "triangles", "normals", "uvs"))
MESH = MeshRef("Ring", 1, pack_matrix(np.eye(4)), *PARTS)
CAMERA = place([SHAPE.mesh()], 0.0, 20.0, (64, 64)).camera
QUICK = {"model": "tiny", "num_inference_steps": 2}

TILE = GenerateJob("moss", width=64, height=64, tiling="xy", **QUICK)
LARGER = UpscaleJob(DIGESTS["picture"], prompt="moss", tile_size=64, tile_overlap=16, tiling="xy", **QUICK)
AROUND = TextureJob(
    "moss",
    (MESH,),
    views=(TextureView(CAMERA),),
    base=(DIGESTS["base"],),
    keep=(DIGESTS["keep"],),
    texture_size=SIZE,
    bit_depth=16,
    extra_views=1,
    refine_strength=0.6,
    refine_scale=2.0,
    **QUICK,
)
FLAT = ProjectJob(
    DIGESTS["fine"], View(CAMERA), (MESH,), base=(DIGESTS["base"],), keep=(DIGESTS["keep"],), texture_size=SIZE,
    bit_depth=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_seeded_model(home / "models" / "tiny")
    with serving(home, "--device", "cpu") as running:
        yield running


def done(server, job, heard=lambda arrived: None):
    with server.connect() as client:
        return client.run_job(job, TENSORS, heard)


class TestResults:
    def test_a_tile(self, server):
        assert done(server, TILE).tensors["image/0"].shape == (64, 64, 3)

    def test_a_larger_picture(self, server):
        result = done(server, LARGER)
        assert result.tensors["image/0"].shape == (96, 128, 3)
        # Not by what was told meanwhile: of progress only the latest is sent.
        assert "denoising" in json.loads(result.provenance)["timings"]
        fine = done(server, replace(LARGER, image=DIGESTS["fine"], method="lanczos", factor=4))
        assert (fine.tensors["image/0"].dtype, fine.tensors["image/0"].shape) == (np.uint16, (96, 128, 4))

    def test_a_texture_with_all_of_it(self, server):
        result = done(server, AROUND)
        texture = result.tensors["texture/Ring"]
        assert texture.dtype == np.uint16
        assert (texture[..., :3] == 90 * 257).all()  # all of it is kept
        assert result.tensors["view/1"].shape == (128, 128, 3)
        provenance = json.loads(result.provenance)
        assert "refining" in provenance["timings"]
        assert [view["extra"] for view in provenance["views"]] == [False, True]

    def test_a_projection(self, server):
        texture = done(server, FLAT).tensors["texture/Ring"]
        assert (texture.dtype, texture.shape) == (np.uint16, (SIZE, SIZE, 4))
        assert (texture[..., :3] == 90 * 257).all()


@pytest.mark.parametrize("job", [TILE, LARGER, AROUND], ids=["tile", "larger", "texture"])
def test_cancelled_while_it_is_denoised(server, job):
    job_id, long = str(uuid.uuid4()), replace(job, num_inference_steps=400, sampler="ddim")
    with server.connect() as client:

        def cancel(arrived):
            if isinstance(arrived.message, Progress) and arrived.message.stage == "denoising":
                client.session.cancel(job_id)

        with pytest.raises(JobCancelled):
            client.run_job(long, TENSORS, cancel, job_id=job_id)
        assert client.run_job(TILE).tensors


@pytest.mark.parametrize(
    ("job", "field"),
    [
        (replace(TILE, tiling="yx"), "job.tiling"),
        (replace(LARGER, factor=3), "job.factor"),
        (replace(LARGER, method="magic"), "job.method"),
        (replace(LARGER, method="model", upscaler="gone"), "job.upscaler"),
        (replace(LARGER, tile_size=1), "job.tile_size"),
        (replace(LARGER, tile_overlap=500), "job.tile_overlap"),
        (replace(LARGER, image=DIGESTS["uvs"]), "job.image"),
        (replace(AROUND, refine_strength=2.0), "job.refine_strength"),
        (replace(AROUND, refine_scale=9.0), "job.refine_scale"),
        (replace(AROUND, extra_views=-1), "job.extra_views"),
        (replace(AROUND, bit_depth=10), "job.bit_depth"),
        (replace(AROUND, keep=(DIGESTS["base"],)), "job.keep[0]"),
        (replace(FLAT, base=()), "job.keep"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_the_server_goes_on(server, job, field):
    with pytest.raises(ScumbleError) as caught:
        done(server, job)
    assert caught.value.info.field == field
    assert caught.value.code in (ErrorCode.INVALID_FIELD, ErrorCode.TOO_LARGE, ErrorCode.MODEL_MISSING)
