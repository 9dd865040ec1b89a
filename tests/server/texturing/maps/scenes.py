"""Objects of known colour in known light, as views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from scumble_server.texturing.fuse import ViewImage
from scumble_server.texturing.maps.views import Picture, picture_of
from scumble_server.texturing.mesh import Mesh
from scumble_server.texturing.synthetic import photograph
from scumble_server.texturing.views import place, render_geometry
from torch import Tensor

torch.set_num_threads(1)

SIDE = 128

Shade = Callable[[Tensor], Tensor]
"""Unit normals (3, h, w) -> light that arrives (h, w)."""


def checker(cells: float, dark: float = 0.2, bright: float = 0.8) -> Callable[[Tensor], Tensor]:
    """Grey cubes in space, ``cells`` to a scene unit."""

    def colour(position: Tensor) -> Tensor:
        odd = torch.floor(position * cells).sum(0) % 2
        return (dark + (bright - dark) * odd).expand(3, -1)

    return colour


def unlit(normal: Tensor) -> Tensor:
    return torch.ones_like(normal[0])


def harmonic(normal: Tensor) -> Tensor:
    """Second-order light, brightest from above and the right; 0.2 to 0.95."""
    x, y, z = normal
    return 0.55 + 0.3 * z + 0.15 * x + 0.08 * x * y + 0.06 * (z * z - 1.0 / 3.0)


def lit(
    mesh: Mesh, colour: Callable[[Tensor], Tensor], shade: Shade, count: int = 8, *, by_view: bool = False
) -> list[tuple[Picture, Tensor, Tensor]]:
    """Pictures from all around; with each the colour without light (3, h, w), and the light (h, w).

    by_view: the light comes along with the camera.
    """
    found = []
    for number in range(count):
        camera = place([mesh], 360.0 / count * number, 30.0 * (-1) ** number, (SIDE, SIDE)).camera
        shot = photograph([mesh], camera, colour)
        geometry = render_geometry([mesh], camera)
        plain = picture_of([mesh], ViewImage(geometry, shot.image[None]))
        normal = plain.normal if by_view else torch.einsum("ji,jhw->ihw", plain.rotation, plain.normal)
        light = torch.where(plain.hit, shade(normal), 1.0)
        found.append((picture_of([mesh], ViewImage(geometry, (shot.image * light)[None])), shot.image, light))
    return found


def views_of(pictures: Sequence[tuple[Picture, Tensor, Tensor]]) -> list[ViewImage]:
    return [picture.view for picture, _, _ in pictures]
