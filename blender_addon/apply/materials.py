"""A texture on to an object: a new material per slot, a copy of what was there with the texture mixed over it.

The old materials stay in the file as they were; one undo puts them back.
"""

from __future__ import annotations

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError

__all__ = ["apply_texture", "editable_object"]

NODE_GAP = 320.0
"""Between two nodes in the editor, its own units."""


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


def apply_texture(thing: bpy.types.Object, image: bpy.types.Image, uv_map: str) -> list[bpy.types.Material]:
    """Shows ``image`` on ``thing``, where its alpha says it was painted; elsewhere its material stays as it looked.

    Other objects that share the mesh keep their materials. Returns the new materials, one per slot.
    """
    editable_object(thing)
    if not thing.material_slots:
        thing.data.materials.append(None)
    made = []
    for slot in thing.material_slots:
        material = _textured(slot.material, thing.name, image, uv_map)
        if thing.data.users > 1:
            slot.link = "OBJECT"
        slot.material = material
        made.append(material)
    return made


def _textured(old: bpy.types.Material | None, name: str, image: bpy.types.Image, uv_map: str) -> bpy.types.Material:
    shader = _principled_of(old) if old is not None else None
    if old is None or shader is None:
        material = _plain(name, tuple(old.diffuse_color) if old is not None else (0.8, 0.8, 0.8, 1.0))
    else:
        material = old.copy()
    material.name = f"Scumble {name}"
    _mix_over(material.node_tree, _principled_of(material), image, uv_map)
    return material


def _plain(name: str, color: tuple[float, ...]) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    shader = _principled_of(material)
    shader.inputs["Base Color"].default_value = color
    shader.inputs["Roughness"].default_value = 0.8
    return material


def _principled_of(material: bpy.types.Material) -> bpy.types.Node | None:
    """The shader that makes the material's surface, if it is a Principled one."""
    tree = material.node_tree
    output = tree.get_output_node("ALL") if tree is not None else None
    if output is None or not output.inputs["Surface"].links:
        return None
    node = output.inputs["Surface"].links[0].from_node
    return node if node.type == "BSDF_PRINCIPLED" else None


def _mix_over(tree: bpy.types.NodeTree, shader: bpy.types.Node, image: bpy.types.Image, uv_map: str) -> None:
    """Base colour = what it was, with the image over it by the image's alpha."""
    color = shader.inputs["Base Color"]
    x, y = shader.location
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    mix.location = (x - NODE_GAP * 0.75, y)
    mix.label = "Scumble"
    before, over, factor, result = _color_sockets(mix)
    if color.links:
        source = color.links[0].from_socket
        tree.links.new(source, before)
    else:
        before.default_value = color.default_value
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    texture.location = (x - NODE_GAP * 1.75, y)
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map = uv_map
    coordinates.location = (x - NODE_GAP * 2.5, y)
    tree.links.new(coordinates.outputs["UV"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], over)
    tree.links.new(texture.outputs["Alpha"], factor)
    tree.links.new(result, color)
    tree.nodes.active = texture  # what texture painting and the solid viewport's texture mode show


def _color_sockets(mix: bpy.types.Node) -> tuple[bpy.types.NodeSocket, ...]:
    """A, B, factor and result of a colour Mix node, which hides those of its other data types."""
    inputs = {socket.identifier: socket for socket in mix.inputs}
    outputs = {socket.identifier: socket for socket in mix.outputs}
    return inputs["A_Color"], inputs["B_Color"], inputs["Factor_Float"], outputs["Result_Color"]
