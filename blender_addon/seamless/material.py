"""A seamless picture, with its maps, as a material of its own."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from scumble_shared.errors import ScumbleError

from ..apply.images import MAP_NAMES, PROVENANCE, height_range, keep_image
from ..apply.material_maps import Maps, add_maps
from ..apply.materials import editable_object, principled_of
from ..apply.results import NAME_LENGTH, undo_step
from ..jobs import JobRecord
from ..state import session

__all__ = ["About", "apply_seamless", "material_of"]

GAP = 320.0
"""Between two nodes in the editor, its own units."""

BLEND = 0.25
"""Part of a side over which a box's sides fade into each other."""


@dataclass(frozen=True, slots=True)
class About:
    """What becomes of a seamless picture. objects: session_uids of those that get the material. projection: "FLAT" or
    "BOX". scale: repeats in the UV map, or per unit of length."""

    objects: tuple[int, ...]
    projection: str
    scale: float
    as_asset: bool


def apply_seamless(record: JobRecord) -> None:
    """One undo step: the images, the material, and what it is given to."""
    about: About = record.target.about
    words = " ".join(record.job.prompt.split())[:NAME_LENGTH] or "Seamless"
    images = {name.split("/")[0]: keep_image(picture, _name(words, name)) for name, picture in record.prepared.items()}
    material = _material(words, images, about, height_range(record.provenance, "0"))
    material[PROVENANCE] = record.id
    material.use_fake_user = True
    for image in images.values():
        image.use_fake_user = False  # the material uses it
    if about.as_asset:
        _mark(material, record)
    lost = _assign(material, about)
    undo_step("Scumble: Seamless Material")
    session().jobs.annotate(record.id, "; ".join([f"The material is called {material.name}", *lost]))


def material_of(record: JobRecord) -> bpy.types.Material | None:
    """The material that a job became."""
    return next((material for material in bpy.data.materials if material.get(PROVENANCE) == record.id), None)


def _name(words: str, result: str) -> str:
    kind = MAP_NAMES.get(result.split("/", 1)[0])
    return words if kind is None else f"{words} {kind}"


def _material(words: str, images: dict[str, bpy.types.Image], about: About, relief: float) -> bpy.types.Material:
    material = bpy.data.materials.new(words)
    if material.node_tree is None:
        material.use_nodes = True
    tree, shader = material.node_tree, principled_of(material)
    coordinates = _coordinates(tree, shader, about)
    maps = dict(images)
    picture = maps.pop("image")
    if about.projection == "BOX":
        maps.pop("normal", None)  # its directions are those of a UV map; relief is a bump instead
    shown = tree.nodes.new("ShaderNodeTexImage")
    shown.image = maps.get("albedo", picture)
    shown.location = (shader.location[0] - GAP, shader.location[1])
    tree.links.new(coordinates, shown.inputs["Vector"])
    tree.links.new(shown.outputs["Color"], shader.inputs["Base Color"])
    add_maps(tree, shader, Maps(maps, relief / about.scale), "", coordinates, None)
    for node in tree.nodes:
        if node.type == "TEX_IMAGE":
            node.extension = "REPEAT"
            node.projection = about.projection
            node.projection_blend = BLEND if about.projection == "BOX" else 0.0
    tree.nodes.active = shown
    if shown.image != picture:
        picture.use_fake_user = True
    return material


def _coordinates(tree: bpy.types.NodeTree, shader: bpy.types.Node, about: About) -> bpy.types.NodeSocket:
    """Where pictures are looked up: UVs, or for a box places on the object, as often as the scale says."""
    source = tree.nodes.new("ShaderNodeTexCoord")
    mapping = tree.nodes.new("ShaderNodeMapping")
    x, y = shader.location
    source.location, mapping.location = (x - GAP * 2.6, y), (x - GAP * 1.9, y)
    mapping.inputs["Scale"].default_value = (about.scale,) * 3
    tree.links.new(source.outputs["Object" if about.projection == "BOX" else "UV"], mapping.inputs["Vector"])
    socket: bpy.types.NodeSocket = mapping.outputs["Vector"]
    return socket


def _mark(material: bpy.types.Material, record: JobRecord) -> None:
    material.asset_mark()
    material.asset_data.description = record.job.prompt[:255]
    material.asset_data.tags.new("Scumble", skip_if_exists=True)
    if not bpy.app.background:
        material.asset_generate_preview()


def _assign(material: bpy.types.Material, about: About) -> list[str]:
    """Into the slot that is active, or a first one; the old material stays in the file. Says who was left out."""
    lost = []
    known = {thing.session_uid: thing for thing in bpy.data.objects}
    for uid in about.objects:
        thing = known.get(uid)
        if thing is None:
            lost.append("an object is gone")
            continue
        try:
            editable_object(thing)
        except ScumbleError as error:
            lost.append(str(error))
            continue
        _give(thing, material)
    return lost


def _give(thing: bpy.types.Object, material: bpy.types.Material) -> None:
    if not thing.material_slots:
        thing.data.materials.append(None)
    slot = thing.material_slots[min(thing.active_material_index, len(thing.material_slots) - 1)]
    if slot.material is not None and slot.material.library is None:
        slot.material.use_fake_user = True
    if thing.data.users > 1:
        slot.link = "OBJECT"
    slot.material = material
