"""Texture from view: what the picture shows is where the texture says it is, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scumble_server.texturing.project import run_project
from scumble_server.texturing.render import render_view
from scumble_server.texturing.shapes import Shape, cube, plane, uv_sphere
from scumble_shared.camera import Camera, look_at, orthographic, pack_matrix, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import MeshRef, ProjectJob, View
from scumble_shared.tensor import AnyArray, Digest, digest_of

torch.set_num_threads(1)


class Hooks:
    """Listens; cancels after ``patience`` questions."""

    def __init__(self, patience: int = 1_000_000) -> None:
        self.patience = patience
        self.fractions: list[float | None] = []

    def progress(self, stage: str, step: int = 0, steps: int = 0, fraction: float | None = None) -> None:
        self.fractions.append(fraction)

    def wants_preview(self) -> bool:
        return False

    def preview(self, image: AnyArray, step: int, steps: int) -> None:
        raise AssertionError("nobody asked for a preview")

    def check_cancelled(self) -> None:
        from scumble_server.service import JobCancelled

        self.patience -= 1
        if self.patience < 0:
            raise JobCancelled


class Desk:
    """Tensors of a job under construction."""

    def __init__(self) -> None:
        self.tensors: dict[Digest, AnyArray] = {}

    def put(self, array: AnyArray) -> Digest:
        digest = digest_of(array)
        self.tensors[digest] = array
        return digest

    def mesh(self, shape: Shape, name: str = "it", object_id: int = 1, matrix: AnyArray | None = None) -> MeshRef:
        return MeshRef(
            name,
            object_id,
            pack_matrix(np.eye(4) if matrix is None else matrix),
            self.put(shape.vertices),
            self.put(shape.triangles),
            self.put(shape.normals),
            self.put(shape.uvs),
        )

    def run(self, job: ProjectJob, hooks: Hooks | None = None) -> dict[str, AnyArray]:
        return dict(run_project(job, self.tensors, "cpu", hooks or Hooks()).tensors)


FRONT = look_at((0.0, -5.0, 0.0), (0.0, 0.0, 0.0))


def square_on(size: int) -> Camera:
    """Sees exactly the 2 x 2 plane."""
    return Camera(FRONT, orthographic(2.0, 2.0, 0.1, 10.0), size, size, 0.1, 10.0)


def seen_depth(shape: Shape, camera: Camera) -> AnyArray:
    return render_view([shape.mesh()], camera).depth.numpy()


def gradient(size: int) -> AnyArray:
    """Red grows to the right, green downwards."""
    ramp = np.linspace(20, 235, size).astype(np.uint8)
    return np.stack(
        [np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), np.full((size, size), 77, np.uint8)], -1
    )


def test_a_plane_seen_square_on_gets_the_picture_pixel_for_pixel() -> None:
    desk, camera, picture = Desk(), square_on(64), gradient(64)
    view = View(camera, depth=desk.put(seen_depth(plane(), camera)))
    job = ProjectJob(desk.put(picture), view, (desk.mesh(plane()),), texture_size=64)
    texture = desk.run(job)["texture/it"]
    inner = slice(6, -6)
    np.testing.assert_array_equal(texture[inner, inner, :3], picture[inner, inner])
    assert (texture[inner, inner, 3] == 255).all()


def test_only_what_the_view_sees_is_painted_and_the_base_is_kept_elsewhere() -> None:
    desk = Desk()
    camera = Camera(FRONT, perspective(0.6, 1.0, 0.1, 10.0), 128, 128, 0.1, 10.0)
    red = np.full((128, 128, 3), (255, 0, 0), np.uint8)
    base = np.random.default_rng(0).integers(0, 256, (256, 256, 4), dtype=np.uint8)
    view = View(camera, depth=desk.put(seen_depth(cube(), camera)))
    job = ProjectJob(desk.put(red), view, (desk.mesh(cube()),), base=(desk.put(base),), texture_size=256)
    out = desk.run(job)
    texture, weight = out["texture/it"], out["weight/it"]
    front = (slice(140, 244), slice(12, 74))  # the first chart, lower left, clear of the silhouette
    assert (texture[front][..., :3] == (255, 0, 0)).all()
    assert (texture[front][..., 3] == 255).all()
    assert weight[front].min() > 200
    far = np.ones((256, 256), bool)
    far[118:, :96] = False
    np.testing.assert_array_equal(texture[far][:, :3], base[far][:, :3])
    assert (texture[far][:, 3] == 0).all()
    assert (weight[far] == 0).all()


def test_an_object_that_is_not_textured_still_hides_what_is_behind_it() -> None:
    desk, camera = Desk(), square_on(64)
    depth = seen_depth(plane(), camera)
    depth[:, 32:] = 2.0  # something stands in front of the right half
    green = np.full((64, 64, 3), (0, 255, 0), np.uint8)
    job = ProjectJob(desk.put(green), View(camera, depth=desk.put(depth)), (desk.mesh(plane()),), texture_size=64)
    alpha = desk.run(job)["texture/it"][..., 3]
    assert (alpha[6:-6, 6:26] == 255).all()
    assert (alpha[6:-6, 32] == 255).all(), "a rim that filtering may look at"
    assert (alpha[:, 33:] == 0).all()


@pytest.mark.parametrize(("degrees", "painted"), [(83.0, True), (89.5, False)])
def test_what_is_seen_from_the_side_is_painted_up_to_where_it_is_but_a_line(degrees: float, painted: bool) -> None:
    desk = Desk()
    turn = np.radians(degrees)
    eye = (0.0, -5.0 * np.cos(turn), 5.0 * np.sin(turn))
    camera = Camera(look_at(eye, (0.0, 0.0, 0.0)), orthographic(2.5, 2.5, 0.1, 10.0), 256, 256, 0.1, 10.0)
    green = np.full((256, 256, 3), (0, 255, 0), np.uint8)
    job = ProjectJob(desk.put(green), View(camera), (desk.mesh(plane()),), texture_size=64)
    alpha = desk.run(job)["texture/it"][..., 3]
    assert (alpha[8:-8, 8:-8] == (255 if painted else 0)).mean() > 0.95


def test_a_picture_that_misses_the_silhouette_paints_neither_rims_nor_gaps() -> None:
    """A generated picture's object may be a pixel smaller than the real one: here the plane's outer pixel is red."""
    desk, camera = Desk(), Camera(FRONT, orthographic(4.0, 4.0, 0.1, 100.0), 128, 128, 0.1, 100.0)
    depth = seen_depth(plane(), camera)
    green = np.full((128, 128, 3), (255, 0, 0), np.uint8)
    green[33:95, 33:95] = (0, 255, 0)  # the plane covers pixels 32 to 95
    job = ProjectJob(desk.put(green), View(camera, depth=desk.put(depth)), (desk.mesh(plane()),), texture_size=64)
    texture = desk.run(job)["texture/it"]
    assert (texture[..., 3] == 255).all()
    assert (texture[..., 0] == 0).all()


def test_paint_runs_past_island_borders_by_eight_texels_per_1024() -> None:
    desk, camera = Desk(), square_on(256)
    shape = plane(margin=0.25)
    blue = np.full((256, 256, 3), (10, 20, 200), np.uint8)
    # The plane fills only the middle of the frame, so its border isn't at the picture's edge.
    wide = replace(camera, projection=orthographic(2.5, 2.5, 0.1, 10.0))
    view = View(wide, depth=desk.put(seen_depth(shape, wide)))
    texture = desk.run(ProjectJob(desk.put(blue), view, (desk.mesh(shape),), texture_size=1024))["texture/it"]
    assert (texture[512, 248:, :3][:8] == (10, 20, 200)).all()


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_mirrored_objects_are_painted_on_the_side_that_faces_the_viewer(mirror: float) -> None:
    desk = Desk()
    matrix = np.diag([mirror, 1.0, 1.0, 1.0])
    camera = Camera(FRONT, perspective(0.6, 1.0, 0.1, 10.0), 128, 128, 0.1, 10.0)
    white = np.full((128, 128, 3), 255, np.uint8)
    view = View(camera, depth=desk.put(seen_depth(uv_sphere(), camera)))
    job = ProjectJob(desk.put(white), view, (desk.mesh(uv_sphere(), matrix=matrix),), texture_size=256)
    alpha = desk.run(job)["texture/it"][128, :, 3]
    assert alpha[192] == 255  # u = 3/4 is -y, towards the viewer, mirrored or not
    assert alpha[64] == 0


def refused(desk: Desk, job: ProjectJob) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        desk.run(job)
    return caught.value


def test_what_cannot_be_painted_on_is_refused_by_name() -> None:
    desk, camera = Desk(), square_on(16)
    view = View(camera, depth=desk.put(np.full((16, 16), 5.0, np.float32)))
    picture = desk.put(gradient(16))
    good = ProjectJob(picture, view, (desk.mesh(plane()),), texture_size=32)

    collapsed = replace(plane(), uvs=np.zeros_like(plane().uvs))
    error = refused(desk, replace(good, meshes=(desk.mesh(collapsed),)))
    assert (error.code, error.info.field) == (ErrorCode.SCENE, "job.meshes[0].uvs")

    flat = refused(desk, replace(good, meshes=(desk.mesh(plane(), matrix=np.diag([1.0, 1.0, 0.0, 1.0])),)))
    assert (flat.code, flat.info.field) == (ErrorCode.SCENE, "job.meshes[0].matrix_world")

    astray = replace(plane(), triangles=plane().triangles + 100)
    assert refused(desk, replace(good, meshes=(desk.mesh(astray),))).info.field == "job.meshes[0].triangles"

    small = replace(view, depth=desk.put(np.zeros((8, 8), np.float32)))
    assert refused(desk, replace(good, view=small)).info.field == "job.view.depth"

    assert refused(desk, replace(good, base=(picture,))).info.field == "job.base[0]"
    assert refused(desk, replace(good, image=desk.put(np.zeros((4, 4), np.uint8)))).info.field == "job.image"


def test_cancelling_stops_between_chunks() -> None:
    from scumble_server.service import JobCancelled

    desk, camera = Desk(), square_on(16)
    view = View(camera, depth=desk.put(np.full((16, 16), 5.0, np.float32)))
    job = ProjectJob(desk.put(gradient(16)), view, (desk.mesh(plane()),), texture_size=32)
    with pytest.raises(JobCancelled):
        desk.run(job, Hooks(patience=1))


def test_each_udim_tile_gets_a_texture_over_a_base_of_its_own() -> None:
    """A plane over two tiles side by side: the left half of the picture is on one, the right half on the other."""
    desk = Desk()
    shape = plane(cells=2)
    shape = replace(shape, uvs=(shape.uvs * np.float32([2.0, 1.0]) + np.float32([4.0, 2.0])))
    ref = replace(desk.mesh(shape, "Wall"), tiles=(1025, 1026))
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32, 0] = picture[:, 32:, 1] = 255
    bases = tuple(desk.put(np.full((32, 32, 4), value, np.uint8)) for value in (7, 9))
    job = ProjectJob(desk.put(picture), View(square_on(64)), (ref,), bases, texture_size=32)
    results = desk.run(job)
    assert list(results) == ["texture/Wall.1025", "weight/Wall.1025", "texture/Wall.1026", "weight/Wall.1026"]
    assert (results["texture/Wall.1025"][4:-4, 4:-4, :3] == (255, 0, 0)).all()
    assert (results["texture/Wall.1026"][4:-4, 4:-4, :3] == (0, 255, 0)).all()
    assert results["weight/Wall.1025"][16, 16] > 250


def test_bases_are_one_for_each_tile() -> None:
    desk = Desk()
    ref = replace(
        desk.mesh(replace(plane(cells=2), uvs=plane(cells=2).uvs * np.float32([2.0, 1.0]))), tiles=(1001, 1002)
    )
    base = desk.put(np.zeros((32, 32, 4), np.uint8))
    job = ProjectJob(desk.put(np.zeros((64, 64, 3), np.uint8)), View(square_on(64)), (ref,), (base,), texture_size=32)
    with pytest.raises(ScumbleError, match="2 textures need as many bases"):
        desk.run(job)


class TestSixteenBits:
    def ramp(self, size: int) -> AnyArray:
        """From black to white over the width, as fine as 16 bits tell."""
        row = np.linspace(0.0, 65535.0, size)
        return np.broadcast_to(row[None, :, None], (size, size, 3)).round().astype(np.uint16)

    def test_a_smooth_gradient_keeps_its_levels(self) -> None:
        desk, size = Desk(), 512
        mesh = desk.mesh(plane(cells=4))
        job = ProjectJob(desk.put(self.ramp(size)), View(square_on(size)), (mesh,), texture_size=size, bit_depth=16)
        texture = desk.run(job)["texture/it"]
        assert (texture.dtype, texture.shape) == (np.uint16, (size, size, 4))
        assert len(np.unique(texture[size // 2, :, 0])) > 500
        inside = slice(8, -8)
        np.testing.assert_allclose(texture[inside, inside, :3].astype(int), self.ramp(size)[inside, inside], atol=24)
        assert (texture[inside, inside, 3] == 65535).all()
        shallow = desk.run(replace(job, bit_depth=8))["texture/it"]
        assert (shallow.dtype, len(np.unique(shallow[..., 0]))) == (np.uint8, 256)
        np.testing.assert_allclose(texture / 257.0, shallow, atol=0.53)

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_a_base_of_either_kind_stays_to_the_last_bit(self, bits: int, dtype: type) -> None:
        desk, size = Desk(), 64
        base = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (size, size, 4), dtype, endpoint=True)
        elsewhere = Camera(look_at((0.0, -5.0, 0.0), (0.0, -9.0, 0.0)), orthographic(2, 2, 0.1, 9), 32, 32, 0.1, 9.0)
        job = ProjectJob(desk.put(self.ramp(32)), View(elsewhere), (desk.mesh(plane(cells=4)),), (desk.put(base),))
        texture = desk.run(replace(job, texture_size=size, bit_depth=bits))["texture/it"]
        scale = (2**bits - 1) / np.iinfo(dtype).max
        assert (texture[..., :3] == np.rint(base[..., :3] * scale)).all()
        assert (texture[..., 3] == 0).all()


class TestKeep:
    def painted(self, keep: AnyArray) -> tuple[AnyArray, AnyArray]:
        desk, size = Desk(), 64
        white, base = np.full((size, size, 3), 255, np.uint8), np.full((size, size, 4), (10, 20, 30, 255), np.uint8)
        job = ProjectJob(desk.put(white), View(square_on(size)), (desk.mesh(plane(cells=4)),), (desk.put(base),))
        results = desk.run(replace(job, keep=(desk.put(keep),), texture_size=size))
        return results["texture/it"], results["weight/it"]

    def test_what_is_kept_is_the_base_to_the_byte(self) -> None:
        keep = np.zeros((64, 64), np.uint8)
        keep[:, :32] = 255
        texture, weight = self.painted(keep)
        assert (texture[:, :32, :3] == (10, 20, 30)).all()
        assert (weight[:, :32] == 0).all()
        assert (texture[8:-8, 32:-8, :3] == 255).all()
        assert (texture[8:-8, 32:-8, 3] == 255).all()

    def test_half_kept_is_half_painted_in_linear_light(self) -> None:
        texture, _ = self.painted(np.full((64, 64), 128, np.uint8))
        share = 1.0 - 128 / 255
        below = ((30 / 255 + 0.055) / 1.055) ** 2.4
        mixed = 1.055 * (below * (1.0 - share) + share) ** (1 / 2.4) - 0.055
        assert abs(int(texture[32, 32, 2]) - mixed * 255) < 1.0

    @pytest.mark.parametrize(("shape", "dtype"), [((32, 64), np.uint8), ((64, 64), np.uint16), ((64, 64, 1), np.uint8)])
    def test_masks_that_do_not_fit(self, shape: tuple[int, ...], dtype: type) -> None:
        with pytest.raises(ScumbleError) as caught:
            self.painted(np.zeros(shape, dtype))
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "job.keep[0]")
