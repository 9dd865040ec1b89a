"""Jobs that ask for maps: what comes, of what form, and what it has to do with the textures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scumble_server.engine.executor import EngineExecutor
from scumble_server.service import Executor, JobCancelled
from scumble_server.texturing.shapes import plane, torus
from scumble_server.texturing.views import place
from scumble_shared.camera import Camera, look_at, orthographic, pack_matrix
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import MAPS, BaseMap, GenerateJob, MeshRef, ProjectJob, TextureJob, TextureView, View

from .conftest import Hooks, picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE, SIZE = 64, 48
RING, SQUARE = torus(rings=12, segments=24), plane(2.0)
MESH = MeshRef("Ring", 1, pack_matrix(np.eye(4)), "vertices", "triangles", "normals", "uvs")
WALL = MeshRef("Wall", 1, pack_matrix(np.eye(4)), "wall v", "wall t", "wall n", "wall u")
TENSORS = {
    **{name: getattr(RING, name) for name in ("vertices", "triangles", "normals", "uvs")},
    **{f"wall {name[0]}": getattr(SQUARE, name) for name in ("vertices", "triangles", "normals", "uvs")},
    **{f"photo{number}": picture(number, SIDE, SIDE) for number in range(4)},
}
VIEWS = tuple(
    TextureView(place([RING.mesh()], azimuth, 20.0, (SIDE, SIDE)).camera, image=f"photo{number}")
    for number, azimuth in enumerate((0.0, 90.0, 180.0, 270.0))
)
AHEAD = Camera(look_at((0.0, -3.0, 0.0), (0.0, 0.0, 0.0)), orthographic(2.0, 2.0, 0.1, 9.0), SIDE, SIDE, 0.1, 9.0)
SHAPES = {"albedo": (SIZE, SIZE, 3), "normal": (SIZE, SIZE, 3)}


@pytest.fixture(scope="module")
def executor(models_folder) -> Executor:
    return EngineExecutor((models_folder,), "cpu")


def rebake(**changes) -> TextureJob:
    """Of pictures that are there."""
    return replace(TextureJob("a wall", (MESH,), model="tiny", views=VIEWS, texture_size=SIZE, maps=MAPS), **changes)


def project(**changes) -> ProjectJob:
    return replace(ProjectJob("photo0", View(AHEAD), (WALL,), texture_size=SIZE, maps=MAPS, prompt="gold"), **changes)


def run(executor, job, tensors=None, hooks=None):
    return executor.run(job, {**TENSORS, **(tensors or {})}, hooks or Hooks())


class TestOfTextures:
    @pytest.mark.parametrize(("job", "name"), [(rebake(), "Ring"), (project(), "Wall")], ids=["all around", "one view"])
    def test_have_the_form_that_the_contract_says(self, executor, job, name):
        output = run(executor, job)
        for kind in MAPS:
            found = output.tensors[f"{kind}/{name}"]
            assert found.shape == SHAPES.get(kind, (SIZE, SIZE)), kind
            assert found.dtype == (np.uint16 if kind == "height" else np.uint8), kind
        told = output.provenance["maps"]
        assert told["estimators"] == dict.fromkeys(MAPS, "built-in")
        assert 0.0 < told["height_range"][name] < 0.2

    def test_only_those_are_made_that_are_asked_for_in_that_order(self, executor):
        output = run(executor, rebake(maps=("height", "normal")))
        assert [name for name in output.tensors if name.split("/")[0] in MAPS] == ["height/Ring", "normal/Ring"]
        assert "maps" not in run(executor, rebake(maps=())).provenance

    def test_come_for_a_texture_there_is_without_changing_it(self, executor):
        plain, mapped = run(executor, rebake(maps=())), run(executor, rebake())
        for name, array in plain.tensors.items():
            np.testing.assert_array_equal(mapped.tensors[name], array)
        assert "loading" not in mapped.provenance["timings"]

    def test_and_with_generating_they_are_those_of_what_was_generated(self, executor):
        fresh = replace(rebake(num_inference_steps=2), views=tuple(replace(view, image=None) for view in VIEWS))
        made = run(executor, fresh)
        given = {f"made{i}": made.tensors[f"view/{i}"] for i in range(4)}
        again = run(executor, rebake(views=tuple(replace(v, image=f"made{i}") for i, v in enumerate(VIEWS))), given)
        for kind in MAPS:
            np.testing.assert_array_equal(again.tensors[f"{kind}/Ring"], made.tensors[f"{kind}/Ring"])

    def test_albedo_of_even_pictures_is_the_texture_to_the_byte_and_there_is_no_relief(self, executor):
        grey = {f"photo{number}": np.full((SIDE, SIDE, 3), 127, np.uint8) for number in range(4)}
        output = run(executor, rebake(), grey)
        np.testing.assert_array_equal(output.tensors["albedo/Ring"], output.tensors["texture/Ring"][..., :3])
        assert np.abs(output.tensors["height/Ring"].astype(int) - 32768).max() <= 1
        assert np.abs(output.tensors["normal/Ring"].astype(int) - (128, 128, 255)).max() <= 1

    def test_what_the_base_keeps_is_its_colour_still(self, executor):
        base = np.concatenate([picture(9, SIZE, SIZE), np.full((SIZE, SIZE, 1), 255, np.uint8)], axis=2)
        output = run(executor, rebake(views=VIEWS[:1], base=("base",)), {"base": base})
        unseen = output.tensors["weight/Ring"] == 0
        assert 0.2 < unseen.mean() < 0.9
        np.testing.assert_array_equal(output.tensors["albedo/Ring"][unseen], output.tensors["texture/Ring"][unseen, :3])

    def test_what_the_artist_painted_is_a_plain_surface_in_all_of_them(self, executor):
        base = np.concatenate([picture(9, SIZE, SIZE), np.full((SIZE, SIZE, 1), 255, np.uint8)], axis=2)
        kept, none = np.full((SIZE, SIZE), 255, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        job = rebake(prompt="polished gold", base=("base",), keep=("keep",))
        painted = run(executor, job, {"base": base, "keep": kept}).tensors
        np.testing.assert_array_equal(painted["albedo/Ring"], base[..., :3])
        assert painted["metallic/Ring"].max() == 0
        assert len(np.unique(painted["roughness/Ring"])) == 1
        assert np.abs(painted["height/Ring"].astype(int) - 32768).max() <= 1
        assert np.abs(painted["normal/Ring"].astype(int) - (128, 128, 255)).max() <= 1
        free = run(executor, job, {"base": base, "keep": none}).tensors
        assert free["metallic/Ring"].min() == 255
        assert np.ptp(free["height/Ring"].astype(int)) > 100

    @pytest.mark.parametrize("around", [True, False], ids=["all around", "one view"])
    def test_what_the_base_had_stays_where_its_colours_do(self, executor, around):
        """Beside a half that is kept, one that views paint; numbers that no job would make."""
        had = {"roughness": np.full((SIZE, SIZE), 33, np.uint8), "metallic": np.full((SIZE, SIZE), 77, np.uint8)}
        had["normal"] = np.broadcast_to(np.uint8((200, 128, 232)), (SIZE, SIZE, 3)).copy()
        had["height"], had["ao"] = np.full((SIZE, SIZE), 50000, np.uint16), np.full((SIZE, SIZE), 99, np.uint8)
        base = np.concatenate([picture(9, SIZE, SIZE), np.full((SIZE, SIZE, 1), 255, np.uint8)], axis=2)
        kept = np.zeros((SIZE, SIZE), np.uint8)
        kept[:, : SIZE // 2] = 255
        maps = tuple(BaseMap(kind, (kind,), 5.0 if kind == "height" else 0.0) for kind in had)
        job, name = (rebake(), "Ring") if around else (project(), "Wall")
        given = {"base": base, "keep": kept, **had}
        plain = run(executor, replace(job, base=("base",), keep=("keep",)), given).tensors
        output = run(executor, replace(job, base=("base",), keep=("keep",), base_maps=maps), given)
        pad = 8  # what is kept runs round islands as far as they are padded
        for kind, before in had.items():
            found = output.tensors[f"{kind}/{name}"]
            np.testing.assert_array_equal(found[:, : SIZE // 2 - pad], before[:, : SIZE // 2 - pad], err_msg=kind)
            assert (found[:, SIZE // 2 + pad :] != before[:, SIZE // 2 + pad :]).any(), kind
        new = output.tensors[f"weight/{name}"] if around else output.tensors[f"texture/{name}"][..., 3]
        painted = (new == 255) & (np.arange(SIZE) >= SIZE // 2 + pad)
        assert painted.sum() > 20
        for kind in ("roughness", "metallic"):
            np.testing.assert_array_equal(output.tensors[f"{kind}/{name}"][painted], plain[f"{kind}/{name}"][painted])
        np.testing.assert_array_equal(output.tensors[f"albedo/{name}"], plain[f"albedo/{name}"])
        assert output.provenance["maps"]["height_range"][name] == 5.0

    def test_a_map_that_does_not_fit_the_texture_is_refused(self, executor):
        base = np.concatenate([picture(9, SIZE, SIZE), np.full((SIZE, SIZE, 1), 255, np.uint8)], axis=2)
        job = rebake(base=("base",), base_maps=(BaseMap("roughness", ("small",)),))
        with pytest.raises(ScumbleError) as caught:
            run(executor, job, {"base": base, "small": np.zeros((SIZE, SIZE // 2), np.uint8)})
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "job.base_maps[0].textures[0]")

    def test_words_tell_the_material(self, executor):
        metal, stone = run(executor, rebake(prompt="polished gold")), run(executor, rebake(prompt="a mossy rock"))
        assert metal.tensors["metallic/Ring"].min() == 255
        assert stone.tensors["metallic/Ring"].max() == 0
        assert metal.tensors["roughness/Ring"].max() < stone.tensors["roughness/Ring"].min()

    def test_where_nothing_was_painted_surfaces_are_plain(self, executor):
        aside = replace(
            AHEAD, projection=orthographic(4.0, 4.0, 0.1, 9.0), view=look_at((-2.0, -3.0, 0.0), (-2.0, 0.0, 0.0))
        )
        output = run(executor, project(view=View(aside)))
        assert (output.tensors["metallic/Wall"][4:-4, :14] == 255).all()
        assert (output.tensors["metallic/Wall"][4:-4, -14:] == 0).all()

    def test_tiles_get_theirs(self, executor):
        half = np.arange(len(RING.triangles)) >= len(RING.triangles) // 2
        uvs = RING.uvs + np.float32([1.0, 0.0]) * half[:, None, None]
        output = run(executor, rebake(meshes=(replace(MESH, tiles=(1001, 1002)),), maps=("normal",)), {"uvs": uvs})
        assert {"normal/Ring.1001", "normal/Ring.1002"} <= set(output.tensors)

    def test_sixteen_bits_are_finer_than_eight(self, executor):
        eight, sixteen = run(executor, project()).tensors, run(executor, project(bit_depth=16)).tensors
        for kind in MAPS:
            fine = sixteen[f"{kind}/Wall"]
            assert fine.dtype == np.uint16
            scale = 1.0 if kind == "height" else 257.0
            assert np.abs(fine - eight[f"{kind}/Wall"] * scale).max() <= scale * 1.01


class TestOfPictures:
    def job(self, **changes) -> GenerateJob:
        job = GenerateJob("bricks", model="tiny", width=96, height=SIDE, num_inference_steps=1, maps=MAPS, batch_size=2)
        return replace(job, **changes)

    def test_each_gets_its_own(self, executor):
        output = run(executor, self.job())
        for kind in MAPS:
            for index in range(2):
                found = output.tensors[f"{kind}/{index}"]
                assert found.shape[:2] == (SIDE, 96)
                assert found.dtype == (np.uint16 if kind == "height" else np.uint8)
        np.testing.assert_array_equal(output.tensors["albedo/1"], output.tensors["image/1"])
        assert set(output.provenance["maps"]["height_range"]) == {"0", "1"}

    def test_of_a_tile_repeat_as_it_does(self, executor):
        """Across the edge they change no more than elsewhere."""
        output = run(executor, self.job(tiling="xy", batch_size=1))
        for kind in ("normal", "height", "roughness"):
            values = output.tensors[f"{kind}/0"].astype(float).reshape(SIDE, 96, -1)
            inside = np.abs(np.diff(values, axis=1)).max()
            assert np.abs(values[:, 0] - values[:, -1]).max() <= 1.05 * inside, kind


class TestStopping:
    @pytest.mark.parametrize("job", [rebake(), project()], ids=["all around", "one view"])
    def test_within_the_maps_at_any_point(self, executor, job):
        class Counting(Hooks):
            left = 10**9
            asked = 0

            def check_cancelled(self):
                if any(stage == "maps" for stage, *_ in self.stages):
                    self.asked += 1
                    self.left -= 1
                    if self.left < 0:
                        raise JobCancelled

        whole = Counting()
        run(executor, job, hooks=whole)
        assert whole.asked > 20
        for left in (0, whole.asked // 3, whole.asked - 1):
            hooks = Counting()
            hooks.left = left
            with pytest.raises(JobCancelled):
                run(executor, job, hooks=hooks)

    def test_an_estimator_nobody_has_is_refused_before_anything_is_done(self, executor):
        hooks = Hooks()
        with pytest.raises(ScumbleError) as caught:
            run(executor, rebake(map_estimator="nobody"), hooks=hooks)
        assert caught.value.code is ErrorCode.MODEL_MISSING
        assert not hooks.stages
