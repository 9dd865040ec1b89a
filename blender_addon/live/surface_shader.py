"""The shader that lays a picture on to surfaces, seen from one view, as another view saw them."""

from __future__ import annotations

from functools import cache

import gpu

__all__ = ["INSTANCES_PER_BLOCK", "INSTANCE_ROWS", "LOOK_ROWS", "forget", "surface_shader"]

INSTANCE_ROWS = 6
"""Rows of four floats per instance: object -> world (3), object -> view space of the capture (3)."""

INSTANCES_PER_BLOCK = 128
"""12 KiB of instances in a block; every graphics API takes 16."""

LOOK_ROWS = 6
"""Rows after them: the capture's projection (4), the eye, and opacity, wipe in pixels, size of a pixel, perspective."""

_VERTEX = """
vec3 turned(int row, vec3 direction)
{
  /* By the cofactors: right for normals under any transform, up to a factor. */
  vec3 x = paint.rows[row].xyz, y = paint.rows[row + 1].xyz, z = paint.rows[row + 2].xyz;
  return vec3(dot(cross(y, z), direction), dot(cross(z, x), direction), dot(cross(x, y), direction));
}

vec3 placed(int row, vec3 point)
{
  vec4 p = vec4(point, 1.0);
  return vec3(dot(paint.rows[row], p), dot(paint.rows[row + 1], p), dot(paint.rows[row + 2], p));
}

void main()
{
  int row = (first + gl_InstanceID) * INSTANCE_ROWS;
  vec3 world = placed(row, position);
  in_capture = placed(row + 3, position);
  capture_normal = turned(row + 3, normal);
  vec4 eye = paint.rows[LOOK_ROW + 4];
  to_eye = eye.w > 0.5 ? eye.xyz - world : eye.xyz;
  facing = dot(turned(row, normal), to_eye);

  /* A little nearer than the surface itself, which is in the depth buffer already. */
  gl_Position = perspective * vec4(world, 1.0);
  vec4 nearer = perspective * vec4(world + to_eye * NEARER, 1.0);
  gl_Position.z = nearer.z / nearer.w * gl_Position.w;
}
"""

_FRAGMENT = """
vec3 to_linear(vec3 color)
{
  return mix(color / 12.92, pow((color + 0.055) / 1.055, vec3(2.4)), greaterThan(color, vec3(0.04045)));
}

/* Of the four pixels of the capture around a place, those that saw as far, by how near they are: a soft edge. */
float part_seen(vec2 place, float distance_away)
{
  ivec2 size = textureSize(depth, 0);
  vec2 corner = place * vec2(size) - 0.5;
  vec2 part = fract(corner);
  float seen = 0.0;
  for (int number = 0; number < 4; number++) {
    ivec2 step_to = ivec2(number & 1, number >> 1);
    ivec2 pixel = clamp(ivec2(floor(corner)) + step_to, ivec2(0), size - 1);
    vec2 share = mix(1.0 - part, part, vec2(step_to));
    seen += share.x * share.y * step(distance_away, texelFetch(depth, pixel, 0).r);
  }
  return seen;
}

void main()
{
  vec4 look = paint.rows[LOOK_ROW + 5];
  if (gl_FragCoord.x > look.y) {
    discard;
  }
  vec4 point = vec4(in_capture, 1.0);
  float w = dot(paint.rows[LOOK_ROW + 3], point);
  if (w <= 0.0) {
    discard;
  }
  vec2 place = vec2(dot(paint.rows[LOOK_ROW], point), dot(paint.rows[LOOK_ROW + 1], point)) / w * 0.5 + 0.5;
  if (any(lessThan(place, vec2(0.0))) || any(greaterThan(place, vec2(1.0)))) {
    discard;
  }

  bool has_perspective = look.w > 0.5;
  vec3 to_captor = has_perspective ? normalize(-in_capture) : vec3(0.0, 0.0, 1.0);
  float cosine = dot(normalize(capture_normal), to_captor);
  if (cosine * facing <= 0.0) {
    discard; /* the other side of what was painted */
  }

  float distance_away = -in_capture.z;
  float pixel = look.z * (has_perspective ? distance_away : 1.0);
  float slope = sqrt(max(1.0 - cosine * cosine, 0.0)) / max(abs(cosine), 0.1);
  float slack = distance_away * 0.001 + 1.5 * pixel * (1.0 + slope);
  float seen = part_seen(place, distance_away - slack);
  if (seen <= 0.0) {
    discard; /* something was in front of it */
  }

  vec4 color = texture(picture, place);
  color.a = look.x * seen * smoothstep(0.05, 0.2, abs(cosine));
  painted = srgbTarget ? vec4(to_linear(color.rgb), color.a) : color;
}
"""


@cache
def surface_shader() -> gpu.types.GPUShader:
    """Compiled once. Vertices carry ``position`` and ``normal``; the block ``paint`` has the rest, see above."""
    between = gpu.types.GPUStageInterfaceInfo("scumble_surface_paint")
    between.smooth("VEC3", "in_capture")
    between.smooth("VEC3", "capture_normal")
    between.smooth("VEC3", "to_eye")
    between.smooth("FLOAT", "facing")
    info = gpu.types.GPUShaderCreateInfo()
    info.define("INSTANCE_ROWS", str(INSTANCE_ROWS))
    info.define("LOOK_ROW", str(INSTANCES_PER_BLOCK * INSTANCE_ROWS))
    info.define("NEARER", "0.001")
    rows = INSTANCES_PER_BLOCK * INSTANCE_ROWS + LOOK_ROWS
    info.typedef_source(f"struct ScumblePaint {{ vec4 rows[{rows}]; }};")
    info.vertex_in(0, "VEC3", "position")
    info.vertex_in(1, "VEC3", "normal")
    info.uniform_buf(0, "ScumblePaint", "paint")
    info.sampler(0, "FLOAT_2D", "picture")
    info.sampler(1, "FLOAT_2D", "depth")
    info.push_constant("MAT4", "perspective")
    info.push_constant("INT", "first")
    info.push_constant("BOOL", "srgbTarget")  # set by Blender itself: whether the framebuffer encodes what it gets
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "painted")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)


def forget() -> None:
    """Lets go of the compiled shader."""
    surface_shader.cache_clear()
