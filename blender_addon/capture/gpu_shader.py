"""The shader that writes geometry: normal, depth and id of the nearest surface, in one pass."""

from __future__ import annotations

import gpu

__all__ = ["INSTANCE_TEXELS", "TEXTURE_WIDTH", "geometry_shader", "vertex_format"]

INSTANCE_TEXELS = 8
"""RGBA texels per instance: model-view rows (3), normal matrix rows (3), id and side (1), one spare."""

TEXTURE_WIDTH = 1024
"""Texels per row of the texture that holds the instances; a multiple of INSTANCE_TEXELS."""

_VERTEX = """
vec4 texel(int row)
{
  int index = (first + gl_InstanceID) * INSTANCE_TEXELS + row;
  return texelFetch(instances, ivec2(index % TEXTURE_WIDTH, index / TEXTURE_WIDTH), 0);
}

void main()
{
  vec4 point = vec4(position, 1.0);
  vec4 in_view = vec4(dot(texel(0), point), dot(texel(1), point), dot(texel(2), point), 1.0);
  view_normal = vec3(dot(texel(3).xyz, normal), dot(texel(4).xyz, normal), dot(texel(5).xyz, normal));
  depth = -in_view.z;
  id_and_side = texel(6).xy;
  gl_Position = projection * in_view;
}
"""

_FRAGMENT = """
void main()
{
  float facing = (gl_FrontFacing ? 1.0 : -1.0) * id_and_side.y;
  normal_and_depth = vec4(normalize(view_normal) * facing, depth);
  object_id = id_and_side.x;
}
"""


def geometry_shader() -> gpu.types.GPUShader:
    """Compiles it. Outputs: slot 0 RGBA32F view-space normal and planar depth, slot 1 R32F object id.

    Vertices carry ``position`` and ``normal``; everything about the object comes from the texture ``instances``, at
    ``first`` plus the instance's number. ``id_and_side.y`` is -1 for mirrored objects, whose front faces wind the other
    way round.
    """
    between = gpu.types.GPUStageInterfaceInfo("scumble_geometry")
    between.smooth("VEC3", "view_normal")
    between.smooth("FLOAT", "depth")
    between.flat("VEC2", "id_and_side")
    info = gpu.types.GPUShaderCreateInfo()
    info.define("INSTANCE_TEXELS", str(INSTANCE_TEXELS))
    info.define("TEXTURE_WIDTH", str(TEXTURE_WIDTH))
    info.vertex_in(0, "VEC3", "position")
    info.vertex_in(1, "VEC3", "normal")
    info.sampler(0, "FLOAT_2D", "instances")
    info.push_constant("MAT4", "projection")
    info.push_constant("INT", "first")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "normal_and_depth")
    info.fragment_out(1, "FLOAT", "object_id")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)


def vertex_format() -> gpu.types.GPUVertFormat:
    """The layout of a vertex: position and normal, three floats each."""
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="position", comp_type="F32", len=3, fetch_mode="FLOAT")
    layout.attr_add(id="normal", comp_type="F32", len=3, fetch_mode="FLOAT")
    return layout
