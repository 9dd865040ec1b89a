"""Posed armatures of what is shown, as poses of people."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np
from mathutils import Matrix
from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.limits import DEFAULT_LIMITS
from scumble_shared.pose import Pose

from .bones import BonePlace, joints_of, pose_of

__all__ = ["poses_of"]


def poses_of(depsgraph: bpy.types.Depsgraph) -> tuple[Pose, ...]:
    """Of armatures that move what is shown, hidden or not; where none does, of those that are shown.

    Raises ScumbleError SCENE without any, and if none has bones that are named as a person's.
    """
    armatures, moving, others = 0, list[Pose](), list[Pose]()
    for armature, matrix_world, moves in _armatures(depsgraph):
        armatures += 1
        bones = armature.pose.bones
        joints = {joint: _place(bones[name]) for joint, name in joints_of(tuple(bones.keys())).items()}
        pose = pose_of(joints, np.array(matrix_world, np.float64))
        if pose is not None:
            (moving if moves else others).append(pose)
    poses = moving or others  # a meta-rig that the rig was made from is nobody
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


def _armatures(depsgraph: bpy.types.Depsgraph) -> Iterator[tuple[bpy.types.Object, Matrix, bool]]:
    """Each once where it stands, evaluated, and whether it moves what is shown; those that don't count only where they
    are shown themselves. Use each before the next one is asked for."""
    moving: dict[int, bpy.types.Object] = {}
    for instance in depsgraph.object_instances:
        if instance.object.type == "MESH":
            moving.update((armature.session_uid, armature) for armature in _movers(instance.object.original))
    met: set[tuple[int, tuple[float, ...]]] = set()
    for instance in depsgraph.object_instances:
        thing = instance.object
        if thing.type != "ARMATURE" or thing.pose is None:
            continue
        uid = thing.original.session_uid
        key = (uid, _numbers(instance.matrix_world))
        if key not in met:
            met.add(key)
            yield thing, instance.matrix_world.copy(), uid in moving
    shown = {uid for uid, _ in met}
    for uid, armature in moving.items():
        if uid not in shown and armature.pose is not None:
            evaluated = armature.evaluated_get(depsgraph)
            yield evaluated, evaluated.matrix_world.copy(), True


def _movers(thing: bpy.types.Object) -> Iterator[bpy.types.Object]:
    """The armatures that deform an object or carry it."""
    for modifier in thing.modifiers:
        if modifier.type == "ARMATURE" and modifier.object is not None:
            yield modifier.object
    if thing.parent is not None and thing.parent.type == "ARMATURE":
        yield thing.parent


def _numbers(matrix: Matrix) -> tuple[float, ...]:
    return tuple(value for row in matrix for value in row)


def _place(bone: bpy.types.PoseBone) -> BonePlace:
    return BonePlace(
        head=np.array(bone.head, np.float64),
        tail=np.array(bone.tail, np.float64),
        matrix=np.array(bone.matrix, np.float64),
        rest=np.array(bone.bone.matrix_local, np.float64),
    )
