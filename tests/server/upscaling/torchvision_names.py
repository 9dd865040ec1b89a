"""``spandrel`` takes three names from torchvision, for networks that aren't run here (LaMa and RestoreFormer).

torchvision has to be built for the very torch that is installed, and from a package index it often isn't. Where there
is none that works, these names are enough to import it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType


@contextmanager
def importable():
    """Within it ``import spandrel`` works, whether torchvision is installed or not."""
    if find_spec("torchvision") is not None:
        yield
        return
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: ModuleType(name) for name in names}
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(modules[names[-1]], name, None)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
