"""What is done when memory runs out in the middle of a job: it begins again with less, and the artist is told."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from scumble_shared.errors import ScumbleError

from ...memory.machine import GIB
from ...memory.plan import words
from ...service import JobHooks, Output
from .fit import Fit
from .storing import QUANTIZING

__all__ = ["descend", "is_out_of_memory"]

Done = TypeVar("Done")

CPU_WORDS = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Torch's allocator for CPUs raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in CPU_WORDS)


def descend(
    fit: Fit,
    work: Callable[[Fit], Output],
    lower: Callable[[Fit], Fit | None],
    make_room: Callable[[], bool],
    hooks: JobHooks,
) -> Output:
    """``work`` done with ``fit``, or, each time memory runs out, with the next lower one; before that once more as it
    is if :func:`make_room` finds anything to give back.

    The provenance then says "memory": {"done", "expected_gib", "expected_ram_gib", "told": what ran out and what was
    done about it}. Raises what ``work`` raises; its last complaint of memory if there is no lower one.
    """
    told: list[str] = []
    may_retry = True
    while True:
        _announce(fit, hooks)
        complaint = _complaint(work, fit)
        if isinstance(complaint, Output):
            return _told(complaint, fit, told)
        _give_back()
        hooks.check_cancelled()
        if may_retry and is_out_of_memory(complaint) and make_room():
            told.append("memory ran out: what was kept of earlier jobs was given back")
        else:
            less = lower(fit)
            if less is None:
                raise complaint
            fit = less
            told.append(f"{_reason(complaint)}: {words(fit.plan)}")
        may_retry = False
        hooks.progress("making room", fraction=0.0)


def _announce(fit: Fit, hooks: JobHooks) -> None:
    """What is expected, before anything is loaded, where it isn't done in the usual way."""
    if how := words(fit.plan):
        hooks.progress(f"needs {fit.estimate.peak.device / GIB:.1f} GiB: {how}")


def _reason(complaint: BaseException) -> str:
    return "memory ran out" if is_out_of_memory(complaint) else str(complaint)


def _complaint(work: Callable[[Fit], Output], fit: Fit) -> Output | BaseException:
    """The output, or why it can't be done so: memory ran out, or there is nothing to quantize with; without the frames
    that hold on to what was made until then."""
    try:
        return work(fit)
    except ScumbleError as error:
        if error.info.field != QUANTIZING:
            raise
        return error.with_traceback(None)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return error.with_traceback(None)


def _give_back() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _told(output: Output, fit: Fit, told: list[str]) -> Output:
    inside = output.provenance.get("memory")
    also = list(inside) if isinstance(inside, list) else []
    return replace(output, provenance={**output.provenance, "memory": {**fit.facts(), "told": [*told, *also]}})
