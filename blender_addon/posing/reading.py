"""Posed armatures of what is shown, as poses of people."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np
from mathutils import Matrix
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.pose import Pose

from .bones import BonePlace, pose_of

__all__ = ["poses_of"]


def poses_of(depsgraph: bpy.types.Depsgraph) -> tuple[Pose, ...]:
    """Of armatures that are shown, and of hidden ones that deform what is shown.

    Raises ScumbleError SCENE without any, and if none has bones that are named as a person's.
    """
    armatures, poses = 0, []
    for armature, matrix_world in _armatures(depsgraph):
        armatures += 1
        places = {bone.name: _place(bone) for bone in armature.pose.bones}
        pose = pose_of(places, np.array(matrix_world, np.float64))
        if pose is not None:
            poses.append(pose)
    if not armatures:
        raise ScumbleError(
            ErrorCode.SCENE,
            "there is no armature whose pose could be followed",
            field="controls",
            remedy=Remedy("Show the armature, or give the control an image"),
        )
    if not poses:
        raise ScumbleError(
            ErrorCode.SCENE,
            "no armature has bones that are named as a person's",
            field="controls",
            remedy=Remedy("Name arms and legs with their sides, as in upper_arm.L, forearm.L, thigh.L, shin.L"),
        )
    return tuple(poses[: DEFAULT_LIMITS.poses])


def _armatures(depsgraph: bpy.types.Depsgraph) -> Iterator[tuple[bpy.types.Object, Matrix]]:
    """Each once where it stands, evaluated; use it before the next one is asked for."""
    met: set[tuple[int, tuple[float, ...]]] = set()
    behind: dict[int, bpy.types.Object] = {}
    for instance in depsgraph.object_instances:
        thing = instance.object
        if thing.type == "ARMATURE" and thing.pose is not None:
            key = (thing.original.session_uid, _numbers(instance.matrix_world))
            if key not in met:
                met.add(key)
                yield thing, instance.matrix_world.copy()
        elif thing.type == "MESH" and not instance.is_instance:
            deforming = [m.object for m in thing.original.modifiers if m.type == "ARMATURE" and m.object is not None]
            behind.update((armature.session_uid, armature) for armature in deforming)
    shown = {uid for uid, _ in met}
    for uid, armature in behind.items():
        if uid not in shown and armature.pose is not None:
            evaluated = armature.evaluated_get(depsgraph)
            yield evaluated, evaluated.matrix_world.copy()


def _numbers(matrix: Matrix) -> tuple[float, ...]:
    return tuple(value for row in matrix for value in row)


def _place(bone: bpy.types.PoseBone) -> BonePlace:
    return BonePlace(
        head=np.array(bone.head, np.float64),
        tail=np.array(bone.tail, np.float64),
        matrix=np.array(bone.matrix, np.float64),
        rest=np.array(bone.bone.matrix_local, np.float64),
    )
