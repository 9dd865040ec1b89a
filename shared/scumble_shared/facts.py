"""What a check needs to know of a tensor after its bytes are put away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .tensor import AnyArray

__all__ = ["TensorFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """finite: no NaN and no inf. positive: all greater than zero, inf allowed, no NaN. Both True for integers."""

    dtype: str
    shape: tuple[int, ...]
    finite: bool = True
    positive: bool = True


def facts_of(array: AnyArray) -> TensorFacts:
    """Looks at every element once."""
    if array.dtype.kind != "f" or array.size == 0:
        return TensorFacts(array.dtype.name, array.shape)
    # As integers, IEEE floats of one sign are in the order of their values, and NaN comes after inf.
    signed = np.dtype(f"i{array.dtype.itemsize}")
    bits = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).view(signed)
    infinity = np.array(np.inf, array.dtype).view(signed)
    highest, lowest = bits.max(), bits.min()
    magnitude = (bits & np.iinfo(signed).max).max()
    return TensorFacts(
        array.dtype.name,
        array.shape,
        finite=bool(magnitude < infinity),
        positive=bool(lowest > 0 and highest <= infinity),
    )
