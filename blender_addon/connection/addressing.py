"""Content addresses without the main thread hashing: stand-ins now, the addresses themselves on the network thread.

A stand-in is a one-off name, so that what is needed but once can travel under it, and is never hashed.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from scumble_shared.job import Job, with_tensors
from scumble_shared.tensor import DTYPES, AnyArray, Digest, digest_of

__all__ = ["addressed", "stand_in"]

AnyJob = TypeVar("AnyJob", bound=Job)

_PREFIX = f"once:{secrets.token_hex(16)}:"
_numbers = itertools.count(1)

WORTH_A_THREAD = 512 * 1024
"""Bytes that take longer to hash than a thread to start."""


def stand_in(array: AnyArray) -> Digest:
    """A name for a tensor whose content nobody has looked at; never given twice by this process.

    Raises ValueError for an element type that can't travel, here rather than on the network thread.
    """
    if array.dtype.name not in DTYPES:
        raise ValueError(f"dtype {array.dtype.name} can't travel; use one of {', '.join(DTYPES)}")
    return f"{_PREFIX}{next(_numbers)}"


def addressed(
    job: AnyJob, tensors: Mapping[Digest, AnyArray], once: Collection[Digest] = ()
) -> tuple[AnyJob, dict[Digest, AnyArray]]:
    """The same job and tensors, named by content but for ``once``, which no other job will name. Takes about a
    millisecond for each 1.5 MB, of two threads' time."""
    names = {name: name for name in tensors} | _digests(
        {name: array for name, array in tensors.items() if name.startswith(_PREFIX) and name not in once}
    )
    return with_tensors(job, names), {names[name]: array for name, array in tensors.items()}


def _digests(arrays: Mapping[Digest, AnyArray]) -> dict[Digest, Digest]:
    """Content addresses by name. The largest array is left to this thread while another does the rest."""
    found: dict[Digest, Digest] = {}

    def hash_all(names: Sequence[Digest]) -> None:
        found.update((name, digest_of(arrays[name])) for name in names)

    largest, *rest = sorted(arrays, key=lambda name: arrays[name].nbytes, reverse=True) or [""]
    if not largest or sum(arrays[name].nbytes for name in rest) < WORTH_A_THREAD:
        hash_all(list(arrays))
        return found
    beside = threading.Thread(target=hash_all, args=(rest,), name="scumble-hash")
    beside.start()
    hash_all([largest])
    beside.join()
    return found
