"""Poses of armatures: whose bone is what in the rigs people have, and where the points are in the world."""

from __future__ import annotations

import importlib
import math

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Quaternion, Vector
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.pose import BODY_POINTS, HAND_POINTS

T_POSE = {
    "upper_arm": ((0.18, 0.0, 1.45), (0.45, 0.0, 1.45)),
    "forearm": ((0.45, 0.0, 1.45), (0.7, 0.0, 1.45)),
    "hand": ((0.7, 0.0, 1.45), (0.8, 0.0, 1.45)),
    "thigh": ((0.1, 0.0, 0.95), (0.1, 0.0, 0.5)),
    "shin": ((0.1, 0.0, 0.5), (0.1, 0.0, 0.08)),
    "foot": ((0.1, 0.0, 0.08), (0.1, -0.15, 0.0)),
}
"""Of the left side; head and tail."""

RIGIFY = {name: name for name in T_POSE}
NAMINGS = {
    "rigify": ("{}.L", "{}.R", {**RIGIFY, "head": "spine.006"}),
    "rigify generated": ("DEF-{}.L", "DEF-{}.R", {**RIGIFY, "head": "head"}),
    "mixamo": (
        "mixamorig:Left{}",
        "mixamorig:Right{}",
        {
            "upper_arm": "Arm",
            "forearm": "ForeArm",
            "hand": "Hand",
            "thigh": "UpLeg",
            "shin": "Leg",
            "foot": "Foot",
            "head": "mixamorig:Head",
        },
    ),
    "makehuman": (
        "{}.L",
        "{}.R",
        {
            "upper_arm": "upperarm01",
            "forearm": "lowerarm01",
            "hand": "wrist",
            "thigh": "upperleg01",
            "shin": "lowerleg01",
            "foot": "foot",
            "head": "head",
        },
    ),
    "unreal": (
        "{}_l",
        "{}_r",
        {
            "upper_arm": "upperarm",
            "forearm": "lowerarm",
            "hand": "hand",
            "thigh": "thigh",
            "shin": "calf",
            "foot": "foot",
            "head": "head",
        },
    ),
    "biped": (
        "Bip01 L {}",
        "Bip01 R {}",
        {
            "upper_arm": "UpperArm",
            "forearm": "Forearm",
            "hand": "Hand",
            "thigh": "Thigh",
            "shin": "Calf",
            "foot": "Foot",
            "head": "Bip01 Head",
        },
    ),
    "vrm": (
        "J_Bip_L_{}",
        "J_Bip_R_{}",
        {
            "upper_arm": "UpperArm",
            "forearm": "LowerArm",
            "hand": "Hand",
            "thigh": "UpperLeg",
            "shin": "LowerLeg",
            "foot": "Foot",
            "head": "J_Bip_C_Head",
        },
    ),
    "generic": (
        "left {}",
        "right {}",
        {
            "upper_arm": "arm",
            "forearm": "elbow",
            "hand": "wrist",
            "thigh": "leg",
            "shin": "knee",
            "foot": "ankle",
            "head": "Head",
        },
    ),
}
DECOYS = ("upper_arm_ik.L", "hand_ik.L", "MCH-forearm.L", "upperarm_twist_01_l", "LeftArmRoll", "Armature", "root")


MODULE = "bl_ext.user_default.scumble"


@pytest.fixture
def posing(extension):
    return importlib.import_module(f"{MODULE}.posing.bones"), importlib.import_module(f"{MODULE}.posing.reading")


@pytest.fixture
def scene(extension, empty_scene):
    return empty_scene


@pytest.fixture
def cube(scene):
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def bones_of(naming: str) -> dict[str, tuple]:
    """Name -> head and tail, of both sides."""
    left, right, words = NAMINGS[naming]
    bones = {}
    for bone, (head, tail) in T_POSE.items():
        bones[left.format(words[bone])] = (head, tail)
        bones[right.format(words[bone])] = tuple((-x, y, z) for x, y, z in (head, tail))
    bones[words["head"]] = ((0.0, 0.0, 1.6), (0.0, 0.0, 1.82))
    return bones


def armature(bones: dict[str, tuple], scene: bpy.types.Scene, name: str = "Person") -> bpy.types.Object:
    thing = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    bpy.ops.object.mode_set(mode="EDIT")
    for bone, (head, tail) in bones.items():
        made = thing.data.edit_bones.new(bone)
        made.head, made.tail = head, tail
    bpy.ops.object.mode_set(mode="OBJECT")
    return thing


def points(pose) -> dict[str, tuple]:
    return dict(zip(BODY_POINTS, pose.body, strict=True))


@pytest.mark.parametrize("naming", NAMINGS)
def test_joints_are_known_by_the_names_of_the_rigs_people_have(posing, naming):
    left, right, words = NAMINGS[naming]
    found = posing[0].joints_of((*bones_of(naming), *DECOYS))
    joints = {"shoulder": "upper_arm", "elbow": "forearm", "wrist": "hand"}
    joints |= {"hip": "thigh", "knee": "shin", "ankle": "foot"}
    for joint, bone in joints.items():
        assert found[f"left_{joint}"] == left.format(words[bone])
        assert found[f"right_{joint}"] == right.format(words[bone])
    assert found["head"] == words["head"]


@pytest.mark.parametrize(
    "names",
    [
        [f"f_{finger}.0{joint}.L" for finger in ("index", "middle", "ring", "pinky") for joint in (1, 2, 3)],
        [
            f"mixamorig:LeftHand{finger}{joint}"
            for finger in ("Index", "Middle", "Ring", "Pinky")
            for joint in (1, 2, 3)
        ],
        [f"{finger}_0{joint}_l" for finger in ("index", "middle", "ring", "pinky") for joint in (1, 2, 3)],
        [f"finger{finger}-{joint}.L" for finger in (2, 3, 4, 5) for joint in (1, 2, 3)],
        [f"J_Bip_L_{finger}{joint}" for finger in ("Index", "Middle", "Ring", "Little") for joint in (1, 2, 3)],
    ],
)
def test_so_are_fingers(posing, names):
    found = posing[0].joints_of(tuple(names))
    joints = [f"left_{finger}_{joint}" for finger in ("index", "middle", "ring", "pinky") for joint in (1, 2, 3)]
    assert [found[joint] for joint in joints] == names


def test_a_t_pose_is_where_its_bones_are(posing, scene):
    thing = armature(bones_of("rigify"), scene)
    thing.matrix_world = Matrix.Translation((2.0, 0.0, 0.5)) @ Matrix.Rotation(math.pi / 2, 4, "Z")
    bpy.context.view_layer.update()
    (pose,) = posing[1].poses_of(bpy.context.evaluated_depsgraph_get())
    found = points(pose)
    # A quarter turn takes +x to +y: the person's left arm points along +y, and the face looks along +x.
    assert found["left_wrist"] == pytest.approx((2.0, 0.7, 1.95), abs=1e-5)
    assert found["right_wrist"] == pytest.approx((2.0, -0.7, 1.95), abs=1e-5)
    assert found["neck"] == pytest.approx((2.0, 0.0, 1.95), abs=1e-5)
    assert found["left_knee"] == pytest.approx((2.0, 0.1, 1.0), abs=1e-5)
    assert found["nose"][0] > 2.05
    assert found["nose"][1] == pytest.approx(0.0, abs=1e-5)
    assert found["left_eye"][1] > 0.0 > found["right_eye"][1]
    assert found["left_ear"][1] > found["left_eye"][1]
    assert (pose.left_hand, pose.right_hand) == ((), ())


def test_a_pose_moves_the_points_and_a_turned_head_the_face(posing, scene):
    thing = armature(bones_of("mixamo"), scene)
    at_rest = points(posing[1].poses_of(bpy.context.evaluated_depsgraph_get())[0])
    hand, head = thing.pose.bones["mixamorig:LeftHand"], thing.pose.bones["mixamorig:Head"]
    hand.location = Vector((0.0, 0.2, 0.0))  # along the bone
    head.rotation_mode = "QUATERNION"
    head.rotation_quaternion = Quaternion((0.0, 1.0, 0.0), math.pi / 2)  # about itself: it looks aside
    bpy.context.view_layer.update()
    found = points(posing[1].poses_of(bpy.context.evaluated_depsgraph_get())[0])
    assert found["left_wrist"] == pytest.approx((0.9, 0.0, 1.45), abs=1e-5)
    assert found["left_elbow"] == at_rest["left_elbow"]
    before, after = (np.array(it["nose"]) - np.array(at_rest["neck"]) for it in (at_rest, found))
    assert before[0] == pytest.approx(0.0, abs=1e-5)
    assert before[1] < 0.0  # to where Blender's front is
    assert abs(after[0]) == pytest.approx(-before[1], abs=1e-5)
    assert after[1:] == pytest.approx([0.0, before[2]], abs=1e-5)


def test_hands_come_with_their_fingers(posing, scene):
    bones = bones_of("rigify")
    for number, finger in enumerate(("thumb", "f_index", "f_middle", "f_ring", "f_pinky")):
        for joint in range(3):
            x, y = 0.8 + 0.03 * joint, 0.02 * (number - 2)
            bones[f"{finger}.0{joint + 1}.L"] = ((x, y, 1.45), (x + 0.03, y, 1.45))
    armature(bones, scene)
    (pose,) = posing[1].poses_of(bpy.context.evaluated_depsgraph_get())
    assert len(pose.left_hand) == HAND_POINTS
    assert pose.right_hand == ()
    assert pose.left_hand[0] == pytest.approx((0.7, 0.0, 1.45), abs=1e-5)
    assert pose.left_hand[8] == pytest.approx((0.89, -0.02, 1.45), abs=1e-5)  # the tip of the index finger


def test_a_hidden_armature_counts_while_what_it_deforms_is_shown(posing, scene, cube):
    thing = armature(bones_of("unreal"), scene)
    thing.hide_set(True)
    bpy.context.view_layer.update()
    with pytest.raises(ScumbleError) as caught:
        posing[1].poses_of(bpy.context.evaluated_depsgraph_get())
    assert caught.value.code is ErrorCode.SCENE
    assert "Show the armature" in caught.value.info.remedy.label
    cube.modifiers.new("Armature", "ARMATURE").object = thing
    bpy.context.view_layer.update()
    assert len(posing[1].poses_of(bpy.context.evaluated_depsgraph_get())) == 1


def test_where_one_moves_what_is_shown_others_do_not_count(posing, scene, cube):
    armature(bones_of("rigify"), scene, "metarig")
    rig = armature(bones_of("rigify generated"), scene, "rig")
    rig.location.x = 2.0
    bpy.context.view_layer.update()
    assert len(posing[1].poses_of(bpy.context.evaluated_depsgraph_get())) == 2
    crane = armature({"Hook": ((0, 0, 0), (0, 0, 1))}, scene, "crane")
    cube.modifiers.new("Armature", "ARMATURE").object = crane  # which is nobody
    bpy.context.view_layer.update()
    assert len(posing[1].poses_of(bpy.context.evaluated_depsgraph_get())) == 2
    cube.parent, cube.parent_type, cube.parent_bone = rig, "BONE", "DEF-forearm.L"
    bpy.context.view_layer.update()
    (pose,) = posing[1].poses_of(bpy.context.evaluated_depsgraph_get())
    assert points(pose)["neck"][0] == pytest.approx(2.0)


def test_an_armature_that_is_nobodys_is_told_how_bones_are_named(posing, scene):
    armature({"Bone": ((0, 0, 0), (0, 0, 1)), "Bone.001": ((0, 0, 1), (0, 0, 2))}, scene)
    with pytest.raises(ScumbleError) as caught:
        posing[1].poses_of(bpy.context.evaluated_depsgraph_get())
    assert "upper_arm.L" in caught.value.info.remedy.label


def test_instances_of_a_person_stand_where_they_are(posing, scene):
    thing = armature(bones_of("rigify"), scene)
    group = bpy.data.collections.new("Crowd")
    group.objects.link(thing)
    scene.collection.objects.unlink(thing)
    for x in (0.0, 3.0):
        empty = bpy.data.objects.new("Instance", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", group
        empty.location.x = x
        scene.collection.objects.link(empty)
    bpy.context.view_layer.update()
    poses = posing[1].poses_of(bpy.context.evaluated_depsgraph_get())
    assert sorted(round(points(pose)["neck"][0], 4) for pose in poses) == [0.0, 3.0]
