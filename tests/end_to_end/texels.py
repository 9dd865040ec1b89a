"""In the server's Python: where the texels of a mesh are, by the server's own rasteriser. IN.npz OUT.npz SIZE"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from scumble_server.texturing.mesh import make_mesh
from scumble_server.texturing.raster import rasterise
from scumble_server.texturing.surface import Surface


def main(source: str, target: str, size: int) -> None:
    """OUT: index, int64 (N,) of the texels whose centres are on the mesh; position and normal, float (N, 3), world;
    seconds that it took."""
    torch.set_num_threads(1)
    given = np.load(source)
    names = ("vertices", "triangles", "normals", "uvs")
    mesh = make_mesh("it", *(given[name] for name in names), matrix_world=given["matrix_world"])
    started = time.perf_counter()
    texels = rasterise(mesh, size)
    surface = Surface(mesh, texels)
    some = texels.all()
    points = surface.points(some)
    seconds = time.perf_counter() - started
    centred = ~np.isin(some.index.numpy(), texels.border.numpy())
    np.savez(
        target,
        index=some.index.numpy()[centred],
        position=(points.position.double() + surface.origin[:, None]).numpy().T[centred],
        normal=points.normal.numpy().T[centred],
        seconds=seconds,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
