"""The shader that writes geometry: normal, depth and id of the nearest surface, in one pass."""

from __future__ import annotations

import gpu

__all__ = ["INSTANCES_PER_BLOCK", "INSTANCE_ROWS", "geometry_shader", "vertex_format"]

INSTANCE_ROWS = 6
"""Rows of four floats per instance: model-view matrix (3), normal matrix with id and side as fourth column (3)."""

INSTANCES_PER_BLOCK = 128
"""Instances in one uniform block; 12 KiB, where every graphics API takes 16."""

_VERTEX = """
void main()
{
  int row = (first + gl_InstanceID) * INSTANCE_ROWS;
  vec4 point = vec4(position, 1.0);
  vec4 normal_x = instances.rows[row + 3];
  vec4 normal_y = instances.rows[row + 4];
  vec4 normal_z = instances.rows[row + 5];
  vec4 in_view = vec4(
      dot(instances.rows[row], point), dot(instances.rows[row + 1], point), dot(instances.rows[row + 2], point), 1.0);
  surface = vec4(
      dot(normal_x.xyz, normal), dot(normal_y.xyz, normal), dot(normal_z.xyz, normal), -in_view.z);
  id_and_side = vec2(normal_x.w, normal_y.w);
  gl_Position = projection * in_view;
}
"""

_FRAGMENT = """
/* The bits of a number in [-1, 1] as a half float, rounded to the nearest, ties to even, as numpy does. */
uint half_bits(float value)
{
  uint bits = floatBitsToUint(value);
  uint magnitude = bits & 0x7fffffffu;
  uint rounded = magnitude < 0x38800000u ?
      uint(roundEven(uintBitsToFloat(magnitude) * 16777216.0)) :
      (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
  return ((bits >> 16u) & 0x8000u) | rounded;
}

void main()
{
  float facing = (gl_FrontFacing ? 1.0 : -1.0) * id_and_side.y;
  vec3 normal = normalize(surface.xyz) * facing;
  depth_bits = floatBitsToUint(surface.w);
  normal_bits = half_bits(normal.x) | (half_bits(normal.y) << 16u);
  rest_bits = half_bits(normal.z) | (uint(id_and_side.x + 0.5) << 16u);
}
"""

_FRAGMENT_IN_BYTES = """
void main()
{
  float facing = (gl_FrontFacing ? 1.0 : -1.0) * id_and_side.y;
  uvec3 normal = uvec3(normalize(surface.xyz) * facing * 127.0 + 128.5);
  depth_bits = floatBitsToUint(surface.w);
  rest_bits = normal.x | (normal.y << 8u) | (normal.z << 16u) | (min(uint(id_and_side.x + 0.5), 255u) << 24u);
}
"""


def geometry_shader(*, in_bytes: bool) -> gpu.types.GPUShader:
    """Compiles it. It writes the very bits that buffers have, so that nothing has to be converted after it is read.
    Outputs, R32UI each, as Blender can read whole numbers from targets of one channel alone: slot 0 the planar depth, a
    float; slot 1 x and y of the view-space normal, half floats, x in the lower bits; slot 2 its z, and the object's id.

    in_bytes: two outputs instead: the depth; and, from the lowest bits up, the normal's x, y and z, 128 + 127 times
    each, and the id, 255 for those beyond it.

    Vertices carry ``position`` and ``normal``; everything about the object comes from the block ``instances``, at
    ``first`` plus the instance's number. ``id_and_side.y`` is -1 for mirrored objects, whose front faces wind the other
    way round.
    """
    between = gpu.types.GPUStageInterfaceInfo("scumble_geometry")
    between.smooth("VEC4", "surface")
    between.flat("VEC2", "id_and_side")
    info = gpu.types.GPUShaderCreateInfo()
    info.define("INSTANCE_ROWS", str(INSTANCE_ROWS))
    info.typedef_source(f"struct ScumbleInstances {{ vec4 rows[{INSTANCES_PER_BLOCK * INSTANCE_ROWS}]; }};")
    info.vertex_in(0, "VEC3", "position")
    info.vertex_in(1, "VEC3", "normal")
    info.uniform_buf(0, "ScumbleInstances", "instances")
    info.push_constant("MAT4", "projection")
    info.push_constant("INT", "first")
    info.vertex_out(between)
    info.fragment_out(0, "UINT", "depth_bits")
    if not in_bytes:
        info.fragment_out(1, "UINT", "normal_bits")
    info.fragment_out(1 if in_bytes else 2, "UINT", "rest_bits")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT_IN_BYTES if in_bytes else _FRAGMENT)
    return gpu.shader.create_from_info(info)


def vertex_format() -> gpu.types.GPUVertFormat:
    """The layout of a vertex: position and normal, three floats each."""
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="position", comp_type="F32", len=3, fetch_mode="FLOAT")
    layout.attr_add(id="normal", comp_type="F32", len=3, fetch_mode="FLOAT")
    return layout
