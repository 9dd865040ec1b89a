"""The verbs: look round, texture, texture again. Main thread; what waits says so."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import MAPS

from .. import pump
from ..jobs import JobRecord
from ..preferences import preferences
from ..request import SEED_LIMIT, maps_of
from ..runtime import ensure_connection
from ..state import session
from . import live
from .drafts import Draft, again, around, completed
from .planning import Plan, Planner, Wish, make_plan
from .recipe import Recipe
from .scene import wish_of

__all__ = [
    "begin_again",
    "begin_around",
    "begin_maps",
    "begin_one_view",
    "begin_rebake",
    "is_looking",
    "new_seed",
    "plan_now",
    "start",
    "start_later",
    "start_preview",
    "stop_looking",
]

_planner: Planner | None = None


# --- what to do, as drafts ---------------------------------------------------------------------------


def begin_around(context: bpy.types.Context, objects: Sequence[bpy.types.Object], **overrides: Any) -> Draft:
    """See :func:`.drafts.around`."""
    return around(context, session().capabilities, objects, **overrides)


def begin_again(context: bpy.types.Context, thing: bpy.types.Object, **overrides: Any) -> Draft:
    """The object's recipe once more; views whose lock is on keep their pictures."""
    return again(context, thing, locked=lambda recipe: [view.locked for view in recipe.views], **overrides)


def begin_one_view(context: bpy.types.Context, thing: bpy.types.Object, index: int, **overrides: Any) -> Draft:
    """One view of the object's recipe anew, all others as they are. Raises ScumbleError SCENE if there is none such."""

    def locked(recipe: Recipe) -> list[bool]:
        if not 0 <= index < len(recipe.views):
            raise ScumbleError(
                ErrorCode.SCENE, f"{thing.name} has {len(recipe.views)} views, and none is {index}", field="index"
            )
        return [place != index for place in range(len(recipe.views))]

    return again(context, thing, locked=locked, **overrides)


def begin_rebake(context: bpy.types.Context, thing: bpy.types.Object, **overrides: Any) -> Draft:
    """The pictures as they are into new textures; nothing is generated."""
    return again(context, thing, locked=lambda recipe: [True] * len(recipe.views), **overrides)


def begin_maps(context: bpy.types.Context, thing: bpy.types.Object, **overrides: Any) -> Draft:
    """The pictures as they are into new textures with maps: those that the scene's settings tick, or all."""
    wanted = maps_of(context.scene.scumble)
    return begin_rebake(context, thing, **{**wanted, "maps": wanted["maps"] or MAPS, **overrides})


# --- doing it ----------------------------------------------------------------------------------------


def start(draft: Draft, *, watched: bool = False) -> JobRecord:
    """Begin once it has looked round, which takes seconds for a dense mesh. Raises ScumbleError as planning does."""
    return _submit(draft, plan_now(draft.wish), watched=watched)


def start_later(draft: Draft) -> None:
    """Begin as soon as another thread has looked round; errors are told in the panel."""
    _plan_later(draft.wish, lambda plan: _submit(draft, plan))


def start_preview(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> None:
    """Show the views and what they see, as soon as another thread has found out."""
    scene_uid = context.scene.session_uid

    def show(plan: Plan) -> None:
        live.show_coverage(plan)
        scene = next((scene for scene in bpy.data.scenes if scene.session_uid == scene_uid), None)
        if scene is not None:
            _list_prompts(scene, plan)

    _plan_later(wish_of(context, objects), show)


def plan_now(wish: Wish) -> Plan:
    """Raises ScumbleError as :func:`.planning.make_plan` does."""
    return make_plan(wish, live.coverage_plan())


def new_seed() -> int:
    return secrets.randbelow(SEED_LIMIT)


def is_looking() -> bool:
    """Whether a plan is being made."""
    return _planner is not None


def stop_looking() -> None:
    global _planner
    if _planner is not None:
        _planner.stop()
        _planner = None


def _plan_later(wish: Wish, then: Callable[[Plan], object]) -> None:
    global _planner
    stop_looking()
    planner = _planner = Planner(wish, live.coverage_plan())

    def look() -> bool:
        global _planner
        if planner is not _planner:
            return False
        if not planner.done:
            return True
        _planner = None
        session().changes += 1
        try:
            if planner.error is not None:
                raise planner.error
            if planner.plan is not None:
                then(planner.plan)
        except ScumbleError as error:
            session().report(error.info)
        return False

    pump.tasks.append(look)
    pump.ensure_running()


def _submit(draft: Draft, plan: Plan, *, watched: bool = False) -> JobRecord:
    made = completed(draft, plan)
    previews = watched or preferences().show_previews
    record = session().submit(made.job, made.tensors, made.target, previews=previews)
    live.clear_coverage()
    live.remember(record.id, plan)
    ensure_connection()
    return record


def _list_prompts(scene: bpy.types.Scene, plan: Plan) -> None:
    """Placed views get a line each for what they show besides; what has been written is kept."""
    prompts = scene.scumble_around.prompts
    for view in plan.views[len(plan.wish.given) :]:
        if view.key not in prompts:
            entry = prompts.add()
            entry.name, entry.words = view.key, view.words
