"""A texture on to an object: a new material per slot, a copy of what was there with the texture mixed over it.

The old materials stay in the file as they were; one undo puts them back.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
from scumble_shared.errors import ErrorCode, ScumbleError

from .images import PROVENANCE
from .material_maps import Maps, add_maps, color_sockets, is_occlusion_group

__all__ = ["PLAIN_ROUGHNESS", "apply_texture", "base_color_of", "editable_object", "principled_of"]

NODE_GAP = 320.0
"""Between two nodes in the editor, its own units."""

READERS = ("NORMAL_MAP", "BUMP")
"""Nodes between a picture and the shader that are of no use without it."""

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
    thing: bpy.types.Object, image: bpy.types.Image, uv_map: str, complete: bool, maps: Maps | None = None
) -> list[bpy.types.Material]:
    """Shows ``image`` on ``thing``, where its alpha says it was painted; elsewhere its material stays as it looked.

    complete: the image's colours already hold what was there before; its alpha isn't needed. maps: of the material;
    with an albedo, that is its colour, and the image stays in the material unused. Other objects that share the mesh
    keep their materials. Returns the new materials, one per slot.
    """
    editable_object(thing)
    if not thing.material_slots:
        thing.data.materials.append(None)
    made = []
    for slot in thing.material_slots:
        material = _textured(slot.material, thing.name, image, uv_map, complete, maps or Maps())
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
    old: bpy.types.Material | None, name: str, image: bpy.types.Image, uv_map: str, complete: bool, maps: Maps
) -> bpy.types.Material:
    reusable = old is not None and principled_of(old) is not None
    material = old.copy() if reusable else _plain(name, old)
    material.name = f"Scumble {name}"
    tree, shader = material.node_tree, principled_of(material)
    if complete:
        _remove_ours(tree, shader)
    texture, coordinates = _texture_node(tree, shader, image, uv_map)
    shown = texture
    if "albedo" in maps.images:
        texture.label = "With its light"
        texture.location[1] += 2.0 * NODE_GAP
        shown = _shown_node(tree, shader, maps.images["albedo"], coordinates)
    color = shader.inputs["Base Color"]
    if complete:
        tree.links.new(shown.outputs["Color"], color)
        add_maps(tree, shader, maps, uv_map, coordinates, None)
    else:
        _mix_over(tree, shown, texture, color, shader.location)
        add_maps(tree, shader, maps, uv_map, coordinates, texture.outputs["Alpha"])
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
) -> tuple[bpy.types.Node, bpy.types.NodeSocket]:
    """The image's node, and the UVs that it and others read."""
    x, y = shader.location
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map = uv_map
    coordinates.location = (x - NODE_GAP * 2.5, y)
    uvs = coordinates.outputs["UV"]
    return _shown_node(tree, shader, image, uvs), uvs


def _shown_node(
    tree: bpy.types.NodeTree, shader: bpy.types.Node, image: bpy.types.Image, coordinates: bpy.types.NodeSocket
) -> bpy.types.Node:
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    texture.location = (shader.location[0] - NODE_GAP * 1.75, shader.location[1])
    tree.links.new(coordinates, texture.inputs["Vector"])
    tree.nodes.active = texture  # what texture painting and the solid viewport's texture mode show
    return texture


def _remove_ours(tree: bpy.types.NodeTree, shader: bpy.types.Node) -> None:
    """Pictures of an earlier job, with the nodes that read them for the shader: new ones take their place, and those
    without a successor belong to another texture. What an artist uses them for besides stays."""
    pictures = [node for node in tree.nodes if node.type == "TEX_IMAGE" and node.image is not None]
    for node in [node for node in pictures if PROVENANCE in node.image]:
        links = [link for output in node.outputs for link in output.links]
        for link in [link for link in links if link.to_node == shader or is_occlusion_group(link.to_node)]:
            tree.links.remove(link)
        for reader in {link.to_node for output in node.outputs for link in output.links}:
            onward = [link.to_node for output in reader.outputs for link in output.links]
            if reader.type in READERS and all(target == shader for target in onward):
                tree.nodes.remove(reader)
        if not any(output.links for output in node.outputs):
            _remove_with_coordinates(tree, node)


def _remove_with_coordinates(tree: bpy.types.NodeTree, node: bpy.types.Node) -> None:
    sources = [link.from_node for link in node.inputs["Vector"].links]
    tree.nodes.remove(node)
    for source in sources:
        if source.type == "UVMAP" and not source.outputs["UV"].links:
            tree.nodes.remove(source)


def _mix_over(
    tree: bpy.types.NodeTree,
    shown: bpy.types.Node,
    texture: bpy.types.Node,
    color: bpy.types.NodeSocket,
    location: Sequence[float],
) -> None:
    """Base colour = what it was, with one image over it by the other's alpha."""
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    mix.location = (location[0] - NODE_GAP * 0.75, location[1])
    mix.label = "Scumble"
    before, over, factor, result = color_sockets(mix)
    if color.links:
        tree.links.new(color.links[0].from_socket, before)
    else:
        before.default_value = color.default_value
    tree.links.new(shown.outputs["Color"], over)
    tree.links.new(texture.outputs["Alpha"], factor)
    tree.links.new(result, color)
