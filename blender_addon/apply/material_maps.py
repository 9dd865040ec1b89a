"""Maps of a material into its nodes, so that Cycles, EEVEE, Material Preview and the glTF exporter all read them.

Roughness and metallic go to the shader as they are, normals through a Normal Map node, height through a Bump node where
there are no normals: they hold the same relief, and twice is too much. Ambient occlusion goes into the group that the
glTF exporter knows; Blender's renderers work out their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import bpy

__all__ = ["Maps", "add_maps", "color_sockets", "is_occlusion_group"]

GLTF_GROUP = "glTF Material Output Scumble"
"""The exporter takes any group whose name begins like this and has a socket "Occlusion"."""

GAP = 320.0
"""Between two nodes in the editor, its own units."""

HEIGHT = 280.0


@dataclass(frozen=True, slots=True)
class Maps:
    """images: by kind, of ``scumble_shared.job.MAPS``. height_range: how far apart black and white of the height are,
    scene units."""

    images: Mapping[str, bpy.types.Image] = field(default_factory=dict)
    height_range: float = 0.0


def add_maps(
    tree: bpy.types.NodeTree,
    shader: bpy.types.Node,
    maps: Maps,
    uv_map: str,
    coordinates: bpy.types.NodeSocket,
    alpha: bpy.types.NodeSocket | None,
) -> None:
    """Every map but the albedo, which is the shader's colour. Links that were there are replaced.

    coordinates: UVs. alpha: how far the surface was painted; None is wholly. Elsewhere it stays as it was.
    """
    nodes = {
        kind: _image_node(tree, image, coordinates, shader, row)
        for row, (kind, image) in enumerate(maps.images.items(), 1)
        if kind != "albedo"
    }
    for kind, socket in (("roughness", "Roughness"), ("metallic", "Metallic")):
        if kind in nodes:
            _number(tree, nodes[kind].outputs["Color"], shader.inputs[socket], alpha)
    if "normal" in nodes:
        _normal(tree, nodes["normal"], shader, uv_map, alpha)
    elif "height" in nodes:
        _bump(tree, nodes["height"], shader, maps.height_range, alpha)
    if "ao" in nodes:
        _occlusion(tree, nodes["ao"], shader)


def color_sockets(mix: bpy.types.Node, kind: str = "Color") -> tuple[bpy.types.NodeSocket, ...]:
    """A, B, factor and result of a Mix node of a data type, which hides those of its other types."""
    inputs = {socket.identifier: socket for socket in mix.inputs}
    outputs = {socket.identifier: socket for socket in mix.outputs}
    return inputs[f"A_{kind}"], inputs[f"B_{kind}"], inputs["Factor_Float"], outputs[f"Result_{kind}"]


def _image_node(
    tree: bpy.types.NodeTree,
    image: bpy.types.Image,
    coordinates: bpy.types.NodeSocket,
    shader: bpy.types.Node,
    row: int,
) -> bpy.types.Node:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    node.location = (shader.location[0] - GAP * 1.75, shader.location[1] - HEIGHT * row)
    tree.links.new(coordinates, node.inputs["Vector"])
    return node


def _number(
    tree: bpy.types.NodeTree,
    found: bpy.types.NodeSocket,
    target: bpy.types.NodeSocket,
    alpha: bpy.types.NodeSocket | None,
) -> None:
    if alpha is None:
        tree.links.new(found, target)
        return
    mix = _mix(tree, "FLOAT", target)
    before, over, factor, result = color_sockets(mix, "Float")
    if target.links:
        tree.links.new(target.links[0].from_socket, before)
    else:
        before.default_value = target.default_value
    tree.links.new(found, over)
    tree.links.new(alpha, factor)
    tree.links.new(result, target)


def _normal(
    tree: bpy.types.NodeTree,
    texture: bpy.types.Node,
    shader: bpy.types.Node,
    uv_map: str,
    alpha: bpy.types.NodeSocket | None,
) -> None:
    reader = tree.nodes.new("ShaderNodeNormalMap")
    reader.space, reader.uv_map = "TANGENT", uv_map
    reader.location = (shader.location[0] - GAP * 0.75, texture.location[1])
    tree.links.new(texture.outputs["Color"], reader.inputs["Color"])
    if alpha is not None:
        tree.links.new(alpha, reader.inputs["Strength"])
    tree.links.new(reader.outputs["Normal"], shader.inputs["Normal"])


def _bump(
    tree: bpy.types.NodeTree,
    texture: bpy.types.Node,
    shader: bpy.types.Node,
    height_range: float,
    alpha: bpy.types.NodeSocket | None,
) -> None:
    bump = tree.nodes.new("ShaderNodeBump")
    bump.location = (shader.location[0] - GAP * 0.75, texture.location[1])
    bump.inputs["Distance"].default_value = height_range
    bump.inputs["Strength"].default_value = 1.0
    tree.links.new(texture.outputs["Color"], bump.inputs["Height"])
    if alpha is not None:
        tree.links.new(alpha, bump.inputs["Strength"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _occlusion(tree: bpy.types.NodeTree, texture: bpy.types.Node, shader: bpy.types.Node) -> None:
    group = next((node for node in tree.nodes if is_occlusion_group(node)), None)
    if group is None:
        group = tree.nodes.new("ShaderNodeGroup")
        group.node_tree = _gltf_group()
        group.location = (shader.location[0], shader.location[1] + HEIGHT)
    tree.links.new(texture.outputs["Color"], group.inputs["Occlusion"])


def is_occlusion_group(node: bpy.types.Node) -> bool:
    """Whether the exporter looks there for occlusion."""
    tree = node.node_tree if node.type == "GROUP" else None
    return tree is not None and tree.name.startswith("glTF Material Output") and "Occlusion" in node.inputs


def _gltf_group() -> bpy.types.NodeTree:
    """The file's own; made if there is none."""
    for group in bpy.data.node_groups:
        if group.name.startswith(GLTF_GROUP) and group.library is None:
            return group
    group = bpy.data.node_groups.new(GLTF_GROUP, "ShaderNodeTree")
    group.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    group.nodes.new("NodeGroupInput")
    return group


def _mix(tree: bpy.types.NodeTree, data_type: str, target: bpy.types.NodeSocket) -> bpy.types.Node:
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = data_type
    mix.location = (target.node.location[0] - GAP * 0.75, target.node.location[1] - HEIGHT)
    mix.label = "Scumble"
    return mix
