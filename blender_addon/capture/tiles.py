"""Whether a UV map lies on UDIM tiles. Nothing in here knows Blender."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["udim_tiles"]

COLUMNS, ROWS = 10, 100
MARGIN = 1e-4
"""How far a face may reach over the edge of its tile."""


def udim_tiles(uvs: NDArray[np.float32]) -> tuple[int, ...]:
    """Numbers of the tiles that the triangles (T, 3, 2) lie on, ascending; () for a map of one texture.

    Each triangle of a tiled map lies within one tile. A map that merely repeats has faces that go on from one to the
    next.
    """
    low, high = np.floor(uvs.min(1) + MARGIN), np.ceil(uvs.max(1) - MARGIN) - 1.0
    used = np.isfinite(uvs).all((1, 2)) & (high >= low).all(1)
    low, high = low[used], high[used]
    if not len(low) or not (low == high).all() or (low < 0).any() or (low >= (COLUMNS, ROWS)).any():
        return ()
    tiles = np.unique(1001 + low[:, 0] + COLUMNS * low[:, 1]).astype(int)
    return tuple(tiles.tolist()) if len(tiles) > 1 else ()
