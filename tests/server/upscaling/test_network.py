"""Upscaling networks: found, loaded, and run in parts that nobody can tell from the whole."""

from __future__ import annotations

import pytest
import torch
from networks import write_compact, write_esrgan
from safetensors.torch import save_file
from scumble_server.models.scan import scan
from scumble_server.upscaling.halo import Network, run_in_parts, side_that_fits
from scumble_server.upscaling.network import load_network
from scumble_shared.errors import ErrorCode, ScumbleError

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["compact", "esrgan"])
def network(request, tmp_path_factory) -> Network:
    write = {"compact": write_compact, "esrgan": write_esrgan}[request.param]
    return load_network(write(tmp_path_factory.mktemp("nets") / "net.safetensors"), "Net", CPU)


def untold(done: int, count: int) -> None:
    pass


class TestParts:
    @pytest.mark.parametrize("side", [8, 16, 25])
    def test_are_the_whole(self, network, side):
        image = torch.rand(1, 3, 61, 47)
        whole = run_in_parts(network, image, 1000, "", untold)
        assert whole.shape == (1, 3, 61 * network.scale, 47 * network.scale)
        torch.testing.assert_close(run_in_parts(network, image, side, "", untold), whole, rtol=0.0, atol=1e-5)

    def test_the_reach_is_enough_and_no_more_than_it_takes(self, network):
        image = torch.rand(1, 3, 9, 4 * network.reach)
        changed = image.clone()
        changed[..., 0] = 1.0 - changed[..., 0]
        touched = (network.run(image) != network.run(changed)).any(0).any(0).any(0).nonzero().max()
        assert touched < (network.reach + 1) * network.scale

    @pytest.mark.parametrize("tiling", ["x", "y", "xy"])
    def test_round_the_edge_of_what_repeats(self, network, tiling):
        image = torch.rand(1, 3, 20, 24)
        rolled = image.roll((8 if "y" in tiling else 0, 8 if "x" in tiling else 0), (2, 3))
        plain, other = (run_in_parts(network, some, 16, tiling, untold) for some in (image, rolled))
        shift = [8 * network.scale if axis in tiling else 0 for axis in "yx"]
        torch.testing.assert_close(plain.roll(shift, (2, 3)), other, rtol=0.0, atol=1e-5)

    def test_each_part_is_told_and_may_stop_it(self, network):
        seen = []
        run_in_parts(network, torch.rand(1, 3, 20, 20), 16, "", lambda *count: seen.append(count))
        assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]

    def test_out_of_memory_makes_parts_smaller(self):
        sizes = []

        def run(part):
            sizes.append(part.shape[2])
            if part.shape[2] > 100:
                raise torch.OutOfMemoryError
            return part

        image = torch.rand(1, 3, 200, 200)
        assert (run_in_parts(Network(run, 1, 4), image, 256, "", untold) == image).all()
        assert max(sizes[2:]) <= 100

    def test_memory_decides_the_size(self):
        assert side_that_fits(2**40, 4) == 1024
        assert side_that_fits(2**20, 4) == 64
        assert 128 <= side_that_fits(4 * 2**30, 4) <= 512


class TestLibrary:
    def test_files_are_found_by_the_names_of_their_tensors(self, tmp_path):
        write_compact(tmp_path / "upscalers" / "Sharp 2x.safetensors")
        write_esrgan(tmp_path / "4x-old.safetensors", prefix="module.")
        index = scan((tmp_path,), builtin=False)
        assert [entry.id for entry in index.upscalers] == ["4x-old", "sharp-2x"]
        assert not index.unusable
        assert [info.id for info in index.capabilities("").upscalers] == ["4x-old", "sharp-2x"]
        assert index.upscaler("sharp-2x").name == "Sharp 2x"

    def test_prefixes_of_training_are_no_hindrance(self, tmp_path):
        plain = load_network(write_esrgan(tmp_path / "a.safetensors"), "A", CPU)
        wrapped = load_network(write_esrgan(tmp_path / "b.safetensors", prefix="module."), "B", CPU)
        image = torch.rand(1, 3, 12, 12)
        assert (plain.run(image) == wrapped.run(image)).all()

    def test_pickles_are_never_opened(self, tmp_path):
        (tmp_path / "4x.pth").write_bytes(b"\x80\x04.")
        (entry,) = scan((tmp_path,), builtin=False).unusable
        assert "run code" in entry.reason

    def test_one_that_is_not_there(self):
        with pytest.raises(ScumbleError) as caught:
            scan(builtin=False).upscaler("sharp")
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_MISSING, "job.upscaler")

    @pytest.mark.parametrize("damage", ["truncated", "unknown", "one to one"])
    def test_files_that_do_not_fit(self, tmp_path, damage):
        path = write_compact(tmp_path / "net.safetensors", scale=1 if damage == "one to one" else 2)
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:-50])
        elif damage == "unknown":
            save_file({"body.0.weight": torch.zeros(2, 2)}, path)
        with pytest.raises(ScumbleError) as caught:
            load_network(path, "Net", CPU)
        assert (caught.value.code, caught.value.info.field) == (ErrorCode.MODEL_INVALID, "job.upscaler")
