"""The server's models as Blender's lists want them: in the window manager, where nothing is saved with a file."""

from __future__ import annotations

import bpy

from .shelf import FAMILIES, KINDS, Shelf

__all__ = ["SCUMBLE_PG_models", "register", "show", "unregister"]


class SCUMBLE_PG_shelved(bpy.types.PropertyGroup):
    """A model on the server's disk, or a repository that was found. ``name`` is what a list filters by."""

    model_id: bpy.props.StringProperty(name="Id")


class SCUMBLE_PG_models(bpy.types.PropertyGroup):
    models: bpy.props.CollectionProperty(type=SCUMBLE_PG_shelved)
    active: bpy.props.IntProperty(name="Model", description="On the server's disk", default=0, min=0)
    hits: bpy.props.CollectionProperty(type=SCUMBLE_PG_shelved)
    active_hit: bpy.props.IntProperty(name="Found", description="On the model hub", default=0, min=0)
    words: bpy.props.StringProperty(
        name="Search", description="Words to look for on the model hub", options={"TEXTEDIT_UPDATE"}
    )
    target: bpy.props.StringProperty(
        name="Id or Address",
        description="OWNER/NAME on the model hub, the address of a .safetensors file, or an id of the catalogue",
        options={"TEXTEDIT_UPDATE"},
    )


def show(shelf: Shelf) -> None:
    """Fill the lists with what the server said last."""
    lists: SCUMBLE_PG_models = bpy.context.window_manager.scumble_models
    chosen = lists.models[lists.active].model_id if lists.active < len(lists.models) else ""
    models = shelf.listing.models if shelf.listing else ()
    lists.models.clear()
    for model in models:
        item = lists.models.add()
        item.model_id = model.id
        item.name = f"{model.name} {KINDS.get(model.kind, model.kind)} {FAMILIES.get(model.family, model.family)}"
    lists.active = next((index for index, model in enumerate(models) if model.id == chosen), 0)
    lists.hits.clear()
    for hit in shelf.hits:
        item = lists.hits.add()
        item.model_id, item.name = hit.repo, hit.repo
    lists.active_hit = min(lists.active_hit, max(len(shelf.hits) - 1, 0))


_register_classes, _unregister_classes = bpy.utils.register_classes_factory((SCUMBLE_PG_shelved, SCUMBLE_PG_models))


def register() -> None:
    _register_classes()
    bpy.types.WindowManager.scumble_models = bpy.props.PointerProperty(
        type=SCUMBLE_PG_models, name="Scumble Models", options={"SKIP_SAVE"}
    )


def unregister() -> None:
    del bpy.types.WindowManager.scumble_models
    _unregister_classes()
