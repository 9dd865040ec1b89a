"""Objects that a render shows and viewports don't: evaluated in a scratch scene, since no viewport's graph has them.

The eye icon, and "disable in viewports" of a collection, hold for one view layer, or for what is reached through the
collection; such objects are simply linked into the scratch scene. "Disable in viewports" of an object holds everywhere;
a copy that lacks it stands in for the object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from .scene_walk import Evaluated, render_enabled, shown_in_render
from .scratch_scene import scratch_scene, unheard

__all__ = ["evaluated_for_render"]

SURFACES = frozenset({"MESH", "CURVE", "SURFACE", "FONT", "META", "CURVES", "POINTCLOUD"})
SIMPLIFY = ("use_simplify", "simplify_subdivision", "simplify_child_particles", "simplify_volumes")


@contextmanager
def evaluated_for_render(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, depsgraph: bpy.types.Depsgraph
) -> Iterator[tuple[Evaluated, ...]]:
    """``depsgraph``, the view layer's own, and beside it whatever it lacks of what is enabled for renders."""
    enabled = render_enabled(layer)
    here = Evaluated(depsgraph, shown_in_render(enabled))
    lacking = [thing for thing in enabled.values() if _is_surface(thing) and not thing.visible_get(view_layer=layer)]
    if not lacking:
        yield (here,)
        return
    with scratch_scene() as scratch:
        yield (here, _evaluated(scratch, scene, lacking))


def _is_surface(thing: bpy.types.Object) -> bool:
    return thing.type in SURFACES or thing.instance_type != "NONE"


def _evaluated(scratch: bpy.types.Scene, scene: bpy.types.Scene, lacking: list[bpy.types.Object]) -> Evaluated:
    stand_ins, shown = {}, {}
    for thing in lacking:
        linked = thing
        if thing.hide_viewport:
            linked = thing.copy()
            linked.hide_viewport = False
            stand_ins[linked.session_uid] = thing
        scratch.collection.objects.link(linked)
        shown[linked.session_uid] = linked
    for name in SIMPLIFY:
        setattr(scratch.render, name, getattr(scene.render, name))
    layer = scratch.view_layers[0]
    with unheard():
        scratch.frame_current, scratch.frame_subframe = scene.frame_current, scene.frame_subframe
        layer.update()
    return Evaluated(layer.depsgraph, shown_in_render(shown), stand_ins)
