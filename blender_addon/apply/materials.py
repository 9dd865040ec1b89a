"""A texture on to an object: a new material per slot, a copy of what was there with the texture mixed over it.

The old materials stay in the file as they were; one undo puts them back.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError

from .images import PROVENANCE

__all__ = ["apply_texture", "base_color_of", "editable_object", "principled_of"]

NODE_GAP = 320.0
"""Between two nodes in the editor, its own units."""

PLAIN_COLOR = (0.8, 0.8, 0.8, 1.0)
PLAIN_ROUGHNESS = 0.8
"""Of a surface without a material, as Blender shows it."""


def editable_object(thing: bpy.types.Object) -> None:
    """Raises ScumbleError SCENE for an object whose materials can't be changed here."""
    data = thing.data
    if data is None or not hasattr(data, "materials"):
        raise ScumbleError(ErrorCode.SCENE, f"{thing.name} has no surface to paint on", field="objects")
    if not thing.is_editable or not data.is_editable:
        raise ScumbleError(
            ErrorCode.SCENE,
            f"{thing.name} is linked from another file; make it local or a library override first",
            field="objects",
        )


def apply_texture(
    thing: bpy.types.Object, image: bpy.types.Image, uv_map: str, complete: bool
) -> list[bpy.types.Material]:
    """Shows ``image`` on ``thing``, where its alpha says it was painted; elsewhere its material stays as it looked.

    complete: the image's colours already hold what was there before; its alpha isn't needed. Other objects that share
    the mesh keep their materials. Returns the new materials, one per slot.
    """
    editable_object(thing)
    if not thing.material_slots:
        thing.data.materials.append(None)
    made = []
    for slot in thing.material_slots:
        material = _textured(slot.material, thing.name, image, uv_map, complete)
        if thing.data.users > 1:
            slot.link = "OBJECT"
        slot.material = material
        made.append(material)
    return made


def base_color_of(material: bpy.types.Material | None) -> tuple[float, ...] | None:
    """Linear RGBA where it is one plain colour; None where nodes make it."""
    if material is None:
        return PLAIN_COLOR
    shader = principled_of(material)
    if shader is None:
        return tuple(material.diffuse_color)
    color = shader.inputs["Base Color"]
    return None if color.links else tuple(color.default_value)


def principled_of(material: bpy.types.Material) -> bpy.types.Node | None:
    """The shader that makes the material's surface, if it is a Principled one."""
    tree = material.node_tree
    output = tree.get_output_node("ALL") if tree is not None else None
    if output is None or not output.inputs["Surface"].links:
        return None
    node = output.inputs["Surface"].links[0].from_node
    return node if node.type == "BSDF_PRINCIPLED" else None


def _textured(
    old: bpy.types.Material | None, name: str, image: bpy.types.Image, uv_map: str, complete: bool
) -> bpy.types.Material:
    reusable = old is not None and principled_of(old) is not None
    material = old.copy() if reusable else _plain(name, old)
    material.name = f"Scumble {name}"
    shader = principled_of(material)
    texture = _texture_node(material.node_tree, shader, image, uv_map)
    color = shader.inputs["Base Color"]
    if complete:
        replaced = color.links[0].from_node if color.links else None
        material.node_tree.links.new(texture.outputs["Color"], color)
        _remove_unused(material.node_tree, replaced)
    else:
        _mix_over(material.node_tree, texture, color, shader.location)
    return material


def _plain(name: str, old: bpy.types.Material | None) -> bpy.types.Material:
    """A Principled material that looks as ``old`` does in a solid viewport."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    if old is not None:
        material.diffuse_color, material.metallic, material.roughness = old.diffuse_color, old.metallic, old.roughness
    shader = principled_of(material)
    shader.inputs["Base Color"].default_value = base_color_of(old) or PLAIN_COLOR
    shader.inputs["Metallic"].default_value = material.metallic
    shader.inputs["Roughness"].default_value = material.roughness if old is not None else PLAIN_ROUGHNESS
    return material


def _texture_node(
    tree: bpy.types.NodeTree, shader: bpy.types.Node, image: bpy.types.Image, uv_map: str
) -> bpy.types.Node:
    x, y = shader.location
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    texture.location = (x - NODE_GAP * 1.75, y)
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map = uv_map
    coordinates.location = (x - NODE_GAP * 2.5, y)
    tree.links.new(coordinates.outputs["UV"], texture.inputs["Vector"])
    tree.nodes.active = texture  # what texture painting and the solid viewport's texture mode show
    return texture


def _remove_unused(tree: bpy.types.NodeTree, node: bpy.types.Node | None) -> None:
    """A picture of ours that a new one took the place of would be kept in the file by a node that nothing uses."""
    if node is None or node.type != "TEX_IMAGE" or node.image is None or PROVENANCE not in node.image:
        return
    if any(output.links for output in node.outputs):
        return
    coordinates = [link.from_node for link in node.inputs["Vector"].links]
    tree.nodes.remove(node)
    for source in coordinates:
        if source.type == "UVMAP" and not source.outputs["UV"].links:
            tree.nodes.remove(source)


def _mix_over(
    tree: bpy.types.NodeTree, texture: bpy.types.Node, color: bpy.types.NodeSocket, location: Sequence[float]
) -> None:
    """Base colour = what it was, with the image over it by the image's alpha."""
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    mix.location = (location[0] - NODE_GAP * 0.75, location[1])
    mix.label = "Scumble"
    before, over, factor, result = _color_sockets(mix)
    if color.links:
        tree.links.new(color.links[0].from_socket, before)
    else:
        before.default_value = color.default_value
    tree.links.new(texture.outputs["Color"], over)
    tree.links.new(texture.outputs["Alpha"], factor)
    tree.links.new(result, color)


def _color_sockets(mix: bpy.types.Node) -> tuple[bpy.types.NodeSocket, ...]:
    """A, B, factor and result of a colour Mix node, which hides those of its other data types."""
    inputs = {socket.identifier: socket for socket in mix.inputs}
    outputs = {socket.identifier: socket for socket in mix.outputs}
    return inputs["A_Color"], inputs["B_Color"], inputs["Factor_Float"], outputs["Result_Color"]
