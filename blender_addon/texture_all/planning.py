"""From meshes and wishes to views: what is to be looked at from where, and how much of it will be seen.

A plan is made on a thread of its own, as a dense mesh takes seconds; nothing in here knows Blender.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.placement import PlacedView, choose_views, sheet_columns, words_of
from scumble_shared.tensor import AnyArray

from ..capture import MeshArrays
from .surface import Facets, Scanner, drawn_corners

__all__ = ["CURRENT", "GivenView", "Plan", "PlannedView", "Planner", "Wish", "make_plan"]


CURRENT = "current"
"""Key of the view that the artist looks through."""


class _Stopped(Exception):
    """Nobody waits for this plan any longer."""


@dataclass(frozen=True, slots=True)
class GivenView:
    """A view that somebody chose. key: what its prompt is kept under. locked: its finished picture, uint8 H x W x 3."""

    key: str
    camera: Camera
    prompt: str = ""
    locked: AnyArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """meshes: what is textured. given: chosen views, all of ``size``, (width, height). automatic: views are placed in
    addition; ortho: those are orthographic. prompts: of placed views, by their key or by their words."""

    meshes: tuple[MeshArrays, ...]
    given: tuple[GivenView, ...]
    automatic: bool
    size: tuple[int, int]
    ortho: bool = False
    prompts: Mapping[str, str] | None = None

    def looks_alike(self, other: Wish) -> bool:
        """Whether the same cameras see the same of both."""
        return (
            [view.camera for view in self.given] == [view.camera for view in other.given]
            and (self.automatic, self.size, self.ortho) == (other.automatic, other.size, other.ortho)
            and len(self.meshes) == len(other.meshes)
            and all(_same_shape(mine, theirs) for mine, theirs in zip(self.meshes, other.meshes, strict=True))
        )


@dataclass(frozen=True, slots=True)
class PlannedView:
    """key: as in :class:`GivenView`. words: what a prompt may call this side."""

    key: str
    words: str
    camera: Camera
    prompt: str = ""
    locked: AnyArray | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """facets, cosines: what each view sees of the surface, per view (F,). coverage: share of the area seen, 0 to 1."""

    wish: Wish
    views: tuple[PlannedView, ...]
    facets: Facets
    cosines: tuple[NDArray[np.float32], ...]
    coverage: float

    @property
    def cameras(self) -> tuple[Camera, ...]:
        return tuple(view.camera for view in self.views)

    @cached_property
    def middle(self) -> NDArray[np.float64]:
        """Of the surface, world space, (3,)."""
        return np.asarray(self.facets.centres.mean(0))

    @cached_property
    def positions(self) -> NDArray[np.float32]:
        """Facets' corners about the middle, (F * 3, 3)."""
        return (self.facets.corners.reshape(-1, 3) - self.middle).astype(np.float32)

    @cached_property
    def best(self) -> NDArray[np.float32]:
        """Cosine of the view that sees a facet best, (F,); 0 where none does."""
        return np.max(np.stack(self.cosines, 1), axis=1, initial=0.0)

    @cached_property
    def sheet(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where facets' corners lie in a preview of all views; see :func:`.surface.drawn_corners`."""
        columns = sheet_columns(len(self.views), *self.wish.size)
        return drawn_corners(self.facets, self.cameras, self.cosines, columns, -(-len(self.views) // columns))

    def get_ready(self) -> None:
        """Works out all that drawing needs, which takes seconds for a dense mesh."""
        _ = (self.positions, self.best, self.sheet)


def make_plan(wish: Wish, known: Plan | None = None, planner: Planner | None = None) -> Plan:
    """Raises ScumbleError SCENE if no view sees anything.

    known: an earlier plan; what it found out is used again if it still holds.
    """
    if known is not None and wish.looks_alike(known.wish):
        return replace(known, wish=wish, views=_renamed(wish, known.views))
    scanner = Scanner(wish.meshes, planner.check if planner else lambda: None)
    given = [view.camera for view in wish.given]
    placed: Sequence[PlacedView] = ()
    if wish.automatic:
        facets = scanner.facets
        placed, _ = choose_views(
            scanner.sphere, facets.normals, scanner.sees, wish.size, given=given, areas=facets.areas, ortho=wish.ortho
        )
    views = (*map(_given, wish.given), *(_placed(view, wish.prompts or {}) for view in placed))
    cosines = tuple(scanner.cosines(view.camera) for view in views)
    seen = np.any([scanner.sees(view.camera) for view in views], axis=0)
    if not seen.any():
        raise ScumbleError(
            ErrorCode.SCENE,
            "none of the views sees anything of the objects; point the cameras at them, or let views be placed",
            field="views",
        )
    return Plan(wish, views, scanner.facets, cosines, scanner.share(seen))


def _given(view: GivenView) -> PlannedView:
    return PlannedView(view.key, words_of(view.camera), view.camera, view.prompt, view.locked)


def _placed(view: PlacedView, prompts: Mapping[str, str]) -> PlannedView:
    key = f"{round(view.azimuth)}° {round(view.elevation):+d}°"
    return PlannedView(key, view.words, view.camera, prompts.get(key, prompts.get(view.words, "")))


def _renamed(wish: Wish, views: Sequence[PlannedView]) -> tuple[PlannedView, ...]:
    """The same views with the prompts and pictures that they have by now."""
    prompts = wish.prompts or {}
    placed = views[len(wish.given) :]
    return (
        *map(_given, wish.given),
        *(replace(view, prompt=prompts.get(view.key, prompts.get(view.words, ""))) for view in placed),
    )


def _same_shape(mine: MeshArrays, theirs: MeshArrays) -> bool:
    return mine.matrix_world == theirs.matrix_world and all(
        np.array_equal(getattr(mine, name), getattr(theirs, name)) for name in ("vertices", "triangles")
    )


class Planner:
    """Makes one plan in the background. Afterwards ``plan`` or ``error`` is set."""

    def __init__(self, wish: Wish, known: Plan | None = None) -> None:
        self.plan: Plan | None = None
        self.error: ScumbleError | None = None
        self._wish, self._known = wish, known
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scumble-planner", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """The work ends soon, without a plan."""
        self._stopped.set()

    def check(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _work(self) -> None:
        try:
            plan = make_plan(self._wish, self._known, self)
            self.check()
            plan.get_ready()
            self.plan = plan
        except ScumbleError as error:
            self.error = error
        except _Stopped:
            return
        except MemoryError:
            self.error = ScumbleError(ErrorCode.OUT_OF_MEMORY, "not enough memory to look at so many triangles")
