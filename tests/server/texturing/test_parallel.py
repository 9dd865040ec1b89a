"""Parts of a piece of work done at the same time: all of them, once, and no more after something has gone wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from scumble_server.texturing.parallel import in_parallel

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_part_is_done_once(threads: int) -> None:
    values = torch.zeros(100)

    def work(part: int) -> None:
        values[part] += part + 1

    in_parallel(work, range(100), CPU)
    assert torch.equal(values, torch.arange(1.0, 101.0))
    assert torch.get_num_threads() == threads


def test_an_error_in_a_part_comes_out_and_no_further_part_is_begun(threads: int) -> None:
    done = []

    def work(part: int) -> None:
        if part == 2:
            raise KeyError(part)
        done.append(part)

    with pytest.raises(KeyError):
        in_parallel(work, range(1000), CPU)
    assert len(done) < 2 + 2 * threads + 2
    assert torch.get_num_threads() == threads


def test_a_check_that_raises_stops_the_work(threads: int) -> None:
    done = []
    checks = iter([None, None, None])

    def check() -> None:
        if next(checks, 0) == 0:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        in_parallel(done.append, range(1000), CPU, check)
    assert set(done) <= {0, 1, 2}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("inference", [True, False])
def test_parts_may_write_to_what_was_made_in_inference_mode(threads: int, inference: bool) -> None:
    with torch.inference_mode(inference):
        values = torch.zeros(8)
        in_parallel(lambda part: values[part : part + 1].fill_(1.0), range(8), CPU)
        assert torch.equal(values, torch.ones(8))
