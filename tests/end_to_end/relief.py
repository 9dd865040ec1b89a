"""In the server's Python: the normal map of a known relief on a mesh. IN.npz OUT.npz SIZE"""

from __future__ import annotations

import sys

import numpy as np
import torch
from scumble_server.texturing.dilate import nearest_filled, padding
from scumble_server.texturing.maps.estimate import NEUTRAL, SLOPE, SLOPE_MAX
from scumble_server.texturing.maps.texture import TextureMaps
from scumble_server.texturing.mesh import make_mesh
from scumble_server.texturing.raster import rasterise
from scumble_server.texturing.surface import Surface, dot
from torch.nn.functional import normalize


def main(source: str, target: str, size: int) -> None:
    """OUT: map, uint16 S x S x 3; index, int64 (N,) of the texels on the mesh; wanted, float (N, 3), the unit normals
    in world space that the map stands for; plain, the same without relief."""
    torch.set_num_threads(1)
    given = np.load(source)
    names = ("vertices", "triangles", "normals", "uvs")
    mesh = make_mesh("it", *(given[name] for name in names), matrix_world=given["matrix_world"])
    surface = Surface(mesh, rasterise(mesh, size))
    some = surface.texels.all()
    points = surface.points(some)
    x, y, z = points.position
    slope = 0.5 * torch.stack([torch.sin(4.0 * y), torch.cos(3.0 * z), torch.sin(5.0 * x)])
    channels = torch.full((8, size * size), NEUTRAL)
    channels[SLOPE, some.index] = slope / (2.0 * SLOPE_MAX) + NEUTRAL
    matrix = torch.from_numpy(given["matrix_world"].reshape(4, 4)[:3, :3].astype(np.float64))
    pads = nearest_filled(surface.texels.covered, padding(size))
    maps = TextureMaps(surface, channels, torch.ones(size * size), 16, matrix, pads, None, lambda: None)
    along = slope - points.normal * dot(slope, points.normal)
    centred = ~np.isin(some.index.numpy(), surface.texels.border.numpy())
    np.savez(
        target,
        map=maps.map("normal", np.zeros((size, size, 4), np.uint8), None),
        index=some.index.numpy()[centred],
        wanted=normalize(points.normal - along, dim=0).numpy().T[centred],
        plain=points.normal.numpy().T[centred],
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
