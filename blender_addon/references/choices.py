"""Which IP-Adapters there are for the scene's model, as Blender's menus have them."""

from __future__ import annotations

from functools import cache

from scumble_shared.messages import AdapterInfo

from ..choices import EnumItem, model_info
from ..state import session

__all__ = ["adapter_items", "adapter_of", "fitting_adapters", "why_none"]

AUTOMATIC = "AUTOMATIC"
"""In the place of an id; the adapter that the server offers for the model."""


def fitting_adapters(model_id: str) -> tuple[AdapterInfo, ...]:
    """The server's, of the model's family."""
    capabilities = session().capabilities
    info = model_info(capabilities, model_id)
    return () if info is None else tuple(one for one in capabilities.adapters if one.family == info.family)


def adapter_items(reference: object, context: object) -> tuple[EnumItem, ...]:
    """Those that fit the scene's model, and the one that was chosen if it doesn't."""
    scene = getattr(reference, "id_data", None)
    fitting = () if scene is None else fitting_adapters(scene.scumble.model_id)
    return _items(fitting, getattr(reference, "adapter_id", ""))


@cache
def _items(adapters: tuple[AdapterInfo, ...], chosen: str) -> tuple[EnumItem, ...]:
    offered = [(AUTOMATIC, "Automatic", "The adapter that suits the model", "NONE")]
    offered += [(one.id, one.name, f"For {one.family} models", "NONE") for one in adapters]
    if chosen and chosen not in {one.id for one in adapters}:
        offered.append((chosen, chosen, "Not offered by this server for this model", "ERROR"))
    return tuple((*item, index) for index, item in enumerate(offered))


def adapter_of(reference: object) -> int:
    """Value of a reference's adapter in :func:`adapter_items`."""
    ids = [item[0] for item in adapter_items(reference, None)]
    chosen = getattr(reference, "adapter_id", "") or AUTOMATIC
    return ids.index(chosen)


def why_none(model_id: str) -> str:
    """Why the scene's model can't be shown pictures, "" if it can or nobody knows yet."""
    capabilities = session().capabilities
    info = model_info(capabilities, model_id)
    if info is None or fitting_adapters(model_id):
        return ""
    if not info.takes_references:
        return f"{info.name} can't be shown pictures here; models of SD 1.5 and SDXL can"
    return f"The server has no IP-Adapter for {info.name}; the Models panel has some"
