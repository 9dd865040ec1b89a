"""Control images of a photo or painting, without a model: lines where colours change, and colours themselves.

Canny is OpenCV's (3 x 3 Sobel, sum of absolute gradients, thresholds 100 and 200), lineart is ``controlnet_aux``'s
LineartStandard, both as the ControlNets saw them; scribbles are drawn along the same edges. There are no open weights
of HED or PiDiNet that aren't pickles, so soft edges are gradients over several scales, which look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scumble_shared.tensor import AnyArray

from .picture import color_image, tile_image
from .pixels import to_bytes

__all__ = ["BUILT_IN", "canny_of", "detected", "lineart_of", "scribble_of", "softedge_of"]

CANNY = (100, 200)
"""Gradients, in levels of 255, from which an edge goes on, and from which it begins."""
SCRIBBLE_CANNY = (60, 150)

SIDE = 512
"""Shorter side of the picture that these lengths are for, in pixels."""
SHADE = 6.0
"""Width of the blur that a line has to be darker than."""
EDGE_SCALES = (1.0, 2.0, 4.0)
SCRIBBLE_BLUR, SCRIBBLE_REACH = 2.0, 2.0

NOISE = 8
"""Levels of 255 by which paper is uneven, where no line is."""
FAINT = 0.08
"""Gradient that is drawn white at least, so that an even picture stays black."""

FloatArray = NDArray[np.float32]


def detected(kind: str, picture: AnyArray) -> AnyArray:
    """The control image of ``picture``, uint8 H x W x 3 both; kind: one of :data:`BUILT_IN`."""
    return BUILT_IN[kind](picture)


def canny_of(picture: AnyArray) -> AnyArray:
    """White edges one pixel wide."""
    return _grey(_canny(picture, *CANNY).astype(np.uint8) * 255)


def lineart_of(picture: AnyArray) -> AnyArray:
    """White where the picture is darker than around: the drawn lines of a drawing, and the dark ones of a photo."""
    values = picture.astype(np.float32)
    around = _blurred(values, SHADE * _scale(picture))
    darker = (around - values).min(axis=2).clip(0.0, 255.0)
    lines = darker[darker > NOISE]
    usual = float(np.median(lines)) if len(lines) else 0.0
    return _grey((darker / max(16.0, usual) * 127.0).clip(0.0, 255.0).astype(np.uint8))


def softedge_of(picture: AnyArray) -> AnyArray:
    """Edges as edge networks draw them: white in the middle of strong ones, the softer the more gradual they are."""
    values, scale = picture.astype(np.float32) / 255.0, _scale(picture)
    strength = np.zeros(picture.shape[:2], np.float32)
    for width in EDGE_SCALES:
        blurred = _blurred(values, width * scale)
        across, down = _sobel(blurred)
        strength += np.hypot(across, down).max(axis=2) / 8.0 * width * scale
    white = max(float(np.percentile(strength, 99.0)), FAINT)
    soft = ndimage.gaussian_filter((strength / white).clip(0.0, 1.0), scale, mode="nearest")
    return _grey(np.rint(soft * 255.0).astype(np.uint8))


def scribble_of(picture: AnyArray) -> AnyArray:
    """The edges of a blurred picture, drawn with a thick pen."""
    scale = _scale(picture)
    blurred = np.rint(_blurred(picture.astype(np.float32), SCRIBBLE_BLUR * scale)).astype(np.uint8)
    reach = max(1, round(SCRIBBLE_REACH * scale))
    lines = ndimage.maximum_filter(_canny(blurred, *SCRIBBLE_CANNY), 2 * reach + 1)
    return _grey(lines.astype(np.uint8) * 255)


def _colours(draw: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[AnyArray], AnyArray]:
    def of(picture: AnyArray) -> AnyArray:
        values = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255.0
        drawn: AnyArray = to_bytes(draw(values))[0].numpy()
        return drawn

    return of


BUILT_IN: Mapping[str, Callable[[AnyArray], AnyArray]] = {
    "canny": canny_of,
    "lineart": lineart_of,
    "softedge": softedge_of,
    "scribble": scribble_of,
    "tile": _colours(tile_image),
    "color": _colours(color_image),
}
"""Kind of control -> picture to control image, uint8 H x W x 3 both."""


def _scale(picture: AnyArray) -> float:
    return float(min(picture.shape[:2])) / SIDE


def _blurred(values: FloatArray, width: float) -> FloatArray:
    """H x W x C, colours apart. width: standard deviation, pixels."""
    blurred: FloatArray = ndimage.gaussian_filter(values, (width, width, 0.0), mode="nearest")
    return blurred


def _grey(values: AnyArray) -> AnyArray:
    return np.repeat(values[..., None], 3, axis=2)


def _sobel(values: AnyArray) -> tuple[AnyArray, AnyArray]:
    """How H x W x C changes to the right and downwards, each colour by itself."""
    across = ndimage.correlate1d(
        ndimage.correlate1d(values, (-1, 0, 1), 1, mode="nearest"), (1, 2, 1), 0, mode="nearest"
    )
    down = ndimage.correlate1d(ndimage.correlate1d(values, (-1, 0, 1), 0, mode="nearest"), (1, 2, 1), 1, mode="nearest")
    return across, down


def _canny(picture: AnyArray, low: int, high: int) -> NDArray[np.bool_]:
    """Of the colour that changes most at each pixel, as OpenCV does it."""
    values = picture.astype(np.int32)
    across, down = _sobel(values)
    most = (np.abs(across) + np.abs(down)).argmax(axis=2)[..., None]
    across, down = (np.take_along_axis(part, most, axis=2)[..., 0] for part in (across, down))
    change = np.abs(across) + np.abs(down)
    thin = _greatest_across(change, across, down) & (change > low)
    labels, _ = ndimage.label(thin, structure=np.ones((3, 3)))
    begun = np.unique(labels[thin & (change > high)])
    return np.isin(labels, begun[begun > 0])


def _greatest_across(change: AnyArray, across: AnyArray, down: AnyArray) -> NDArray[np.bool_]:
    """Whether no neighbour in the direction of the gradient, of four, changes more."""
    around = np.pad(change, 1)
    height, width = change.shape

    def beside(row: int, column: int) -> AnyArray:
        return around[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    steep, flat = np.tan(np.pi * 3 / 8), np.tan(np.pi / 8)
    is_level = np.abs(down) < flat * np.abs(across)
    is_upright = np.abs(down) > steep * np.abs(across)
    falling = (across < 0) != (down < 0)
    level = (change > beside(0, -1)) & (change >= beside(0, 1))
    upright = (change > beside(-1, 0)) & (change >= beside(1, 0))
    down_right = (change > beside(-1, -1)) & (change > beside(1, 1))
    down_left = (change > beside(-1, 1)) & (change > beside(1, -1))
    return np.where(is_level, level, np.where(is_upright, upright, np.where(falling, down_left, down_right)))
