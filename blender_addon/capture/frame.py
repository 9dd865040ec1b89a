"""What a capture hands back: buffers in the conventions of ``scumble_shared``, and what their ids stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scumble_shared.camera import Camera, Matrix4
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["BUFFERS", "GEOMETRY", "MAX_OBJECT_ID", "CapturedFrame", "MeshArrays", "ObjectEntry", "scene_error"]

GEOMETRY = frozenset({"depth", "normal", "object_id"})
"""The buffers that don't depend on light, materials or how the viewport is shaded."""

BUFFERS = GEOMETRY | {"color"}
"""Everything a capture can be asked for."""

MAX_OBJECT_ID = 65534
"""Largest value in an id buffer that stands for an object."""


def scene_error(message: str, *, field: str = "") -> ScumbleError:
    """The error for a scene, or a request about one, that can't be captured."""
    return ScumbleError(ErrorCode.SCENE, message, field=field)


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """What one value of the id buffer stands for: an object, or one instance of it.

    name, session_uid: of the object whose surface it is (``bpy.types.ID.session_uid``, valid until the file is closed).
    instancer, instancer_uid: of the object that instances it; "" and 0 for an object that simply stands there.
    matrix_world: object -> world of this instance.
    holdout: a hole in the picture; its pixels are background and no pixel has its id.
    """

    id: int
    name: str
    session_uid: int
    matrix_world: Matrix4
    instancer: str = ""
    instancer_uid: int = 0
    holdout: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CapturedFrame:
    """One view of the scene, top row first; a buffer that wasn't asked for is None.

    depth: float32 H x W, planar, scene units, inf where nothing is hit.
    normal: float16 H x W x 3, unit, view space, zero where nothing is hit; uint8 as a View has it if it was captured
    without precision. It is the shading normal, negated where
    the camera sees the back of a face (as Cycles does), so that it belongs to the side that is seen.
    object_id: uint16 H x W, 0 is background.
    color: uint8 H x W x 4, sRGB, display-referred, the view's own background included.
    objects: what the ids stand for, in ascending order of id, hidden behind others or not.
    """

    camera: Camera
    depth: NDArray[np.float32] | None
    normal: NDArray[np.float16] | NDArray[np.uint8] | None
    object_id: NDArray[np.uint16] | None
    color: NDArray[np.uint8] | None
    objects: tuple[ObjectEntry, ...]

    def ids_of(self, session_uid: int) -> tuple[int, ...]:
        """All ids under which an object's surface appears: its own first, then its instances'."""
        found = [entry for entry in self.objects if entry.session_uid == session_uid]
        return tuple(entry.id for entry in sorted(found, key=lambda entry: (entry.instancer_uid != 0, entry.id)))


@dataclass(frozen=True, slots=True, eq=False)
class MeshArrays:
    """One object's evaluated, triangulated mesh in object space; ``scumble_shared.job.MeshRef`` with the arrays.

    vertices: float32 V x 3. triangles: int32 T x 3, indices into vertices.
    normals: float32 T x 3 x 3, shading normal per triangle corner. uvs: float32 T x 3 x 2, v up, or None without a map.
    uv_map: name of the map, "" without one. matrix_world: object -> world.
    """

    name: str
    session_uid: int
    matrix_world: Matrix4
    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32] | None
    uv_map: str
