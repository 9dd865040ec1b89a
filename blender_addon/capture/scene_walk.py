"""Which surfaces a view shows: a walk over the evaluated dependency graph, instances included.

Everything with faces arrives there as a mesh: modifiers are applied, and curves, text, surfaces and metaballs come as
mesh instances of themselves. A mesh's ``session_uid`` is new after every re-evaluation, so it says exactly
whether an earlier extraction still holds; no handler is needed, and nothing of Blender's is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import bpy

from .frame import MAX_OBJECT_ID, ObjectEntry, scene_error

__all__ = [
    "HOLDOUT_ID",
    "Evaluated",
    "ShownSurface",
    "Visibility",
    "render_enabled",
    "shown_in_render",
    "shown_in_viewport",
    "walk",
]

HOLDOUT_ID = 65535
"""Drawn by surfaces that only hide what is behind them; such pixels become background."""

Visibility = Callable[[bpy.types.DepsgraphObjectInstance], bool]
MeshVisitor = Callable[[int, bpy.types.Object], bool]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What is walked: a dependency graph, and which of its instances are shown.

    stand_ins: copies of objects in it, by ``session_uid``, with the objects that they stand for.
    """

    depsgraph: bpy.types.Depsgraph
    visible: Visibility
    stand_ins: Mapping[int, bpy.types.Object] = field(default_factory=dict)

    def original(self, thing: bpy.types.Object) -> bpy.types.Object:
        """The file's own object that an evaluated one is of."""
        found = thing.original
        return self.stand_ins.get(found.session_uid, found)


@dataclass(frozen=True, slots=True)
class ShownSurface:
    """One mesh drawn once: mesh_uid names the evaluated mesh, entry says where and as what."""

    mesh_uid: int
    entry: ObjectEntry

    @property
    def drawn_id(self) -> int:
        return HOLDOUT_ID if self.entry.holdout else self.entry.id


def walk(
    sources: Sequence[Evaluated], holdout: Callable[[bpy.types.Object], bool], visit: MeshVisitor
) -> list[ShownSurface]:
    """All surfaces that ``sources`` show, in the order of their graphs, numbered from 1.

    visit: called once for every mesh met, with its uid and an evaluated object that carries it (valid only during the
    call); says whether it has faces. What has none isn't shown.
    Raises SCENE for more surfaces than an id buffer can tell apart.
    """
    shown: list[ShownSurface] = []
    solid: dict[int, bool] = {}
    for source in sources:
        for instance in source.depsgraph.object_instances:
            thing = instance.object
            if thing.type != "MESH" or not source.visible(instance):
                continue
            mesh_uid = int(thing.data.session_uid)
            if mesh_uid not in solid:
                solid[mesh_uid] = visit(mesh_uid, thing)
            if solid[mesh_uid]:
                shown.append(_surface(source, instance, mesh_uid, len(shown) + 1, holdout))
    if len(shown) > MAX_OBJECT_ID:
        raise scene_error(
            f"the view shows {len(shown)} surfaces; at most {MAX_OBJECT_ID} can be told apart. Hide some.", field="view"
        )
    return shown


def _surface(
    source: Evaluated,
    instance: bpy.types.DepsgraphObjectInstance,
    mesh_uid: int,
    number: int,
    holdout: Callable[[bpy.types.Object], bool],
) -> ShownSurface:
    original = source.original(instance.object)
    owner = source.original(instance.parent) if instance.is_instance and instance.parent else original
    foreign = owner != original
    entry = ObjectEntry(
        id=number,
        name=original.name,
        session_uid=original.session_uid,
        matrix_world=tuple(chain.from_iterable(instance.matrix_world)),
        instancer=owner.name if foreign else "",
        instancer_uid=owner.session_uid if foreign else 0,
        holdout=holdout(owner) or (foreign and original.is_holdout),
    )
    return ShownSurface(mesh_uid, entry)


def shown_in_viewport(space: bpy.types.SpaceView3D) -> Visibility:
    """What one 3D viewport shows as surfaces: local view, local collections and type filters count.

    Objects displayed as wire or bounds are no surfaces.
    """

    def visible(instance: bpy.types.DepsgraphObjectInstance) -> bool:
        thing = instance.object
        owner = instance.parent if instance.is_instance and instance.parent else thing
        return (
            instance.show_self and thing.display_type not in {"WIRE", "BOUNDS"} and owner.visible_in_viewport_get(space)
        )

    return visible


def shown_in_render(enabled: Mapping[int, bpy.types.Object]) -> Visibility:
    """What is directly visible to the camera, of the objects ``enabled`` and what they instance; by uid, stand-ins'
    own included."""

    def visible(instance: bpy.types.DepsgraphObjectInstance) -> bool:
        thing = instance.object.original
        owner = instance.parent.original if instance.is_instance and instance.parent else thing
        if owner.session_uid not in enabled or thing.hide_render or not thing.visible_camera:
            return False
        return instance.is_instance or not thing.is_instancer or thing.show_instancer_for_render

    return visible


def render_enabled(view_layer: bpy.types.ViewLayer) -> dict[int, bpy.types.Object]:
    """The objects that some chain of collections brings into the render of this view layer, by ``session_uid``."""
    enabled: dict[int, bpy.types.Object] = {}

    def enter(layer: bpy.types.LayerCollection) -> None:
        if layer.collection.hide_render:
            return
        if not layer.exclude and not layer.indirect_only:
            enabled.update((thing.session_uid, thing) for thing in layer.collection.objects if not thing.hide_render)
        for child in layer.children:
            enter(child)

    enter(view_layer.layer_collection)
    return enabled
