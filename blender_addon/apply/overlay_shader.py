"""The shader of a picture on the screen. Blender's own for images leaves sRGB pixels too bright in viewports of 4.x."""

from __future__ import annotations

from functools import cache

import gpu

__all__ = ["forget", "overlay_shader"]

_VERTEX = """
void main()
{
  at = texCoord;
  gl_Position = ModelViewProjectionMatrix * vec4(pos, 0.0, 1.0);
}
"""

_FRAGMENT = """
vec3 to_linear(vec3 color)
{
  return mix(color / 12.92, pow((color + 0.055) / 1.055, vec3(2.4)), greaterThan(color, vec3(0.04045)));
}

void main()
{
  vec4 color = texture(image, at);
  color.a *= opacity;
  painted = srgbTarget ? vec4(to_linear(color.rgb), color.a) : color;
}
"""


@cache
def overlay_shader() -> gpu.types.GPUShader:
    """Compiled once. Vertices carry ``pos``, in pixels of the region, and ``texCoord``; the image's pixels are sRGB."""
    between = gpu.types.GPUStageInterfaceInfo("scumble_overlay")
    between.smooth("VEC2", "at")
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC2", "pos")
    info.vertex_in(1, "VEC2", "texCoord")
    info.sampler(0, "FLOAT_2D", "image")
    info.push_constant("MAT4", "ModelViewProjectionMatrix")  # set by Blender itself, by its name
    info.push_constant("FLOAT", "opacity")
    info.push_constant("BOOL", "srgbTarget")  # so is this: whether the framebuffer encodes what it gets
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "painted")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)


def forget() -> None:
    """Lets go of the compiled shader."""
    overlay_shader.cache_clear()
