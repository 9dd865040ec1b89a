"""Pictures that go on where they began: convolutions that look round the edge instead of at nothing.

A network of convolutions, normalisation over the whole picture and attention without places knows no edge then; what
it makes of a picture that was rolled is what it makes of the picture, rolled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from torch import Tensor
from torch.nn import Conv2d, Module

__all__ = ["seamless", "tiling_now"]

_tiling: ContextVar[str] = ContextVar("tiling", default="")
_lock = Lock()
_users: WeakKeyDictionary[Conv2d, int] = WeakKeyDictionary()


def tiling_now() -> str:
    """Directions in which what this thread computes repeats."""
    return _tiling.get()


@contextmanager
def seamless(modules: Iterable[Any], tiling: str) -> Iterator[None]:
    """Within it the modules' convolutions wrap round in the directions of ``tiling``, "x", "y" or both.

    For this thread alone: others that run the same modules meanwhile see nothing of it. Afterwards the modules are what
    they were. Autoencoders that are set to work in tiles don't while it lasts, since tiles have edges.
    """
    if not tiling:
        yield
        return
    modules = list(modules)
    convolutions = {conv: padded for module in modules for conv, padded in _convolutions(module)}
    tiled = [module for module in modules if getattr(module, "use_tiling", False)]
    token = _tiling.set(tiling)
    _wrap(convolutions)
    for module in tiled:
        module.disable_tiling()
    try:
        yield
    finally:
        for module in tiled:
            module.enable_tiling()
        _unwrap(convolutions)
        _tiling.reset(token)


def _convolutions(module: Module) -> Iterator[tuple[Conv2d, bool]]:
    """Those that have padding, and whether it was put on before, to the right and below, as autoencoders do."""
    for part in module.modules():
        if isinstance(part, Downsample2D) and part.use_conv and part.padding == 0:
            yield part.conv, True
        elif isinstance(part, Conv2d) and any(side for side in part.padding if isinstance(side, int)):
            yield part, False


def _wrap(convolutions: dict[Conv2d, bool]) -> None:
    with _lock:
        for conv, padded in convolutions.items():
            _users[conv] = _users.get(conv, 0) + 1
            if _users[conv] == 1:
                conv._conv_forward = partial(_forward, conv, padded)  # type: ignore[method-assign]


def _unwrap(convolutions: dict[Conv2d, bool]) -> None:
    with _lock:
        for conv in convolutions:
            _users[conv] -= 1
            if not _users[conv]:
                del _users[conv], conv._conv_forward


def _forward(conv: Conv2d, padded: bool, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    tiling = _tiling.get()
    if not tiling:
        plain: Tensor = Conv2d._conv_forward(conv, image, weight, bias)
        return plain
    if padded:
        image, margin = image[..., :-1, :-1], ((0, 1), (0, 1))
    else:
        below, right = (int(side) for side in conv.padding)
        margin = ((below, below), (right, right))
    image = _padded(image, (*margin[1], 0, 0), "x" in tiling)
    image = _padded(image, (0, 0, *margin[0]), "y" in tiling)
    return F.conv2d(image, weight, bias, stride=conv.stride, dilation=conv.dilation, groups=conv.groups)


def _padded(image: Tensor, margin: tuple[int, int, int, int], round_the_edge: bool) -> Tensor:
    return F.pad(image, margin, mode="circular" if round_the_edge else "constant")
