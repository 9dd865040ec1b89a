"""Shaders that show a plan in a viewport: coverage in colours, cameras as frames, pictures on the surface."""

from __future__ import annotations

from functools import cache

import gpu
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scumble_shared.camera import Camera
from scumble_shared.placement import MIN_COSINE

from .planning import CURRENT, Plan
from .surface import BLENDED

__all__ = ["Drawing", "camera_lines", "coverage_colors"]

NEARER = 2e-3
"""Part of its distance by which what is drawn comes forward, so that it isn't lost in the surface it lies on."""

UNSEEN, BARELY, WELL = (0.85, 0.16, 0.10), (0.95, 0.72, 0.18), (0.20, 0.65, 0.30)
"""Colours of coverage, sRGB: not seen, seen at a slant, seen face on."""

TINT = 0.55
"""Opacity of coverage, under which the shading shows."""

LINE_COLOR = (1.0, 0.55, 0.1, 1.0)
FRAME = 0.18
"""Depth at which a camera's frame is drawn, in its distance to the objects' middle."""

_TO_FRAMEBUFFER = """
vec4 to_framebuffer(vec4 color)
{
  vec3 low = color.rgb / 12.92;
  vec3 high = pow((max(color.rgb, vec3(0.0)) + 0.055) / 1.055, vec3(2.4));
  vec3 linear = mix(low, high, vec3(greaterThan(color.rgb, vec3(0.04045))));
  return srgbTarget ? vec4(linear, color.a) : color;
}
"""
"""Blender sets ``srgbTarget`` by its name when the shader is bound: viewports encode what is written to them."""

_COVERAGE_VERTEX = """
void main()
{
  tint = color;
  gl_Position = transform * vec4(position, 1.0);
}
"""

_COVERAGE_FRAGMENT = (
    _TO_FRAMEBUFFER
    + """
void main()
{
  drawn = to_framebuffer(tint);
}
"""
)

_PREVIEW_VERTEX = """
void main()
{
  first = place_a;
  second = place_b;
  third = place_c;
  part = share;
  gl_Position = transform * vec4(position, 1.0);
}
"""

_PREVIEW_FRAGMENT = (
    _TO_FRAMEBUFFER
    + """
void main()
{
  vec4 a = texture(views, first), b = texture(views, second), c = texture(views, third);
  vec3 parts = part * vec3(a.a, b.a, c.a);
  float all_parts = parts.x + parts.y + parts.z;
  vec3 mixed = parts.x * a.rgb + parts.y * b.rgb + parts.z * c.rgb;
  vec3 seen = all_parts > 0.001 ? mixed / all_parts : vec3(0.35);
  drawn = to_framebuffer(vec4(seen, 1.0));
}
"""
)


class Drawing:
    """What is on the GPU for one plan. To be made and used where there is a GPU context."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._texture: gpu.types.GPUTexture | None = None
        self._coverage: gpu.types.GPUBatch | None = None
        self._preview: gpu.types.GPUBatch | None = None
        self._lines: gpu.types.GPUBatch | None = None

    def set_preview(self, pixels: NDArray[np.float32]) -> None:
        """pixels: float32 h x w x 4, bottom row first: all views side by side; alpha 0 for those not begun."""
        height, width, _ = pixels.shape
        flat = np.ascontiguousarray(pixels).reshape(-1)
        buffer = gpu.types.Buffer("FLOAT", flat.size, flat)
        self._texture = gpu.types.GPUTexture((width, height), format="RGBA8", data=buffer)

    def draw(self, view: NDArray[np.floating], projection: NDArray[np.floating], *, shaded: bool) -> None:
        """view: world -> view, projection: view -> clip, 4 x 4. shaded: the preview, if one has come; else coverage."""
        transform = self._transform(view, projection)
        test, mask, blend = gpu.state.depth_test_get(), gpu.state.depth_mask_get(), gpu.state.blend_get()
        gpu.state.depth_test_set("LESS_EQUAL")
        try:
            if shaded:
                self._draw_preview(transform)
            else:
                self._draw_coverage(transform)
        finally:
            gpu.state.depth_test_set(test)
            gpu.state.depth_mask_set(mask)
            gpu.state.blend_set(blend)

    def _draw_preview(self, transform: Matrix) -> None:
        if self._texture is None:
            return
        if self._preview is None:
            self._preview = _batch(_preview_format(), self._plan.positions, *self._sheet())
        shader = _preview_shader()
        gpu.state.blend_set("NONE")
        gpu.state.depth_mask_set(True)
        shader.bind()
        shader.uniform_float("transform", transform)
        shader.uniform_sampler("views", self._texture)
        self._preview.draw(shader)

    def _sheet(self) -> list[NDArray[np.float32]]:
        places, shares = self._plan.sheet
        return [*(np.ascontiguousarray(places[:, 2 * i : 2 * i + 2]) for i in range(BLENDED)), shares]

    def _draw_coverage(self, transform: Matrix) -> None:
        if self._coverage is None:
            layout = _coverage_format()
            colors = np.repeat(coverage_colors(self._plan), 3, 0)
            self._coverage = _batch(layout, self._plan.positions, colors)
            # The frame of the view that is looked through would only lie round the viewport's edge.
            cameras = [view.camera for view in self._plan.views if view.key != CURRENT]
            points = [camera_lines(camera, self._plan.middle) - self._plan.middle for camera in cameras]
            lines = np.concatenate([np.zeros((0, 3)), *points]).astype(np.float32)
            opaque = np.broadcast_to(np.float32(LINE_COLOR), (len(lines), 4)).copy()
            self._lines = _batch(layout, lines, opaque, kind="LINES") if len(lines) else None
        shader = _coverage_shader()
        gpu.state.depth_mask_set(False)
        gpu.state.blend_set("ALPHA")
        shader.bind()
        shader.uniform_float("transform", transform)
        self._coverage.draw(shader)
        if self._lines is not None:
            self._lines.draw(shader)

    def _transform(self, view: NDArray[np.floating], projection: NDArray[np.floating]) -> Matrix:
        """From positions about the origin to clip space, a little towards the eye."""
        centred = np.asarray(view, np.float64).copy()
        centred[:3, 3] += centred[:3, :3] @ self._plan.middle
        nearer = np.eye(4)
        if projection[3, 3] == 0.0:
            nearer[:3, :3] *= 1.0 - NEARER
        else:
            nearer[2, 3] = NEARER * float(np.abs(self._plan.positions).max())
        return Matrix((np.asarray(projection, np.float64) @ nearer @ centred).tolist())


def coverage_colors(plan: Plan) -> NDArray[np.float32]:
    """RGBA per facet, sRGB, (F, 4)."""
    share = np.clip((plan.best - MIN_COSINE) / (0.8 - MIN_COSINE), 0.0, 1.0)[:, None]
    colors = np.float32(BARELY) * (1.0 - share) + np.float32(WELL) * share
    colors[plan.best <= MIN_COSINE] = UNSEEN
    return np.concatenate([colors, np.full((len(colors), 1), TINT)], 1).astype(np.float32)


def camera_lines(camera: Camera, middle: NDArray[np.floating]) -> NDArray[np.float64]:
    """A camera as Blender draws it, a frame with lines to the eye and a mark on top: pairs of points, (16, 3)."""
    _, distance = camera.project(np.asarray(middle)[None])
    depth = FRAME * max(abs(float(distance[0])), 1e-3)
    width, height = camera.width, camera.height
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    frame = camera.unproject(corners, np.full(4, depth))
    back = camera.unproject(corners, np.full(4, 0.0)) if camera.is_orthographic else np.tile(camera.position, (4, 1))
    mark = frame[0] + (frame[1] - frame[0]) / 2.0 - (frame[3] - frame[0]) * 0.2
    pairs = [(frame[i], frame[(i + 1) % 4]) for i in range(4)] + [(back[i], frame[i]) for i in range(4)]
    return np.array([*pairs, (frame[0], mark), (mark, frame[1])]).reshape(-1, 3)


def _batch(
    layout: gpu.types.GPUVertFormat, positions: NDArray[np.float32], *columns: NDArray[np.float32], kind: str = "TRIS"
) -> gpu.types.GPUBatch:
    """columns: what each vertex carries besides, in the format's order."""
    vertices = gpu.types.GPUVertBuf(layout, len(positions))
    for number, column in enumerate((positions, *columns)):
        vertices.attr_fill(number, np.ascontiguousarray(column, np.float32))
    return gpu.types.GPUBatch(type=kind, buf=vertices)


def _format(**widths: int) -> gpu.types.GPUVertFormat:
    layout = gpu.types.GPUVertFormat()
    for name, width in widths.items():
        layout.attr_add(id=name, comp_type="F32", len=width, fetch_mode="FLOAT")
    return layout


def _coverage_format() -> gpu.types.GPUVertFormat:
    return _format(position=3, color=4)


def _preview_format() -> gpu.types.GPUVertFormat:
    return _format(position=3, place_a=2, place_b=2, place_c=2, share=3)


@cache
def _coverage_shader() -> gpu.types.GPUShader:
    between = gpu.types.GPUStageInterfaceInfo("scumble_coverage")
    between.smooth("VEC4", "tint")
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC3", "position")
    info.vertex_in(1, "VEC4", "color")
    info.push_constant("MAT4", "transform")
    info.push_constant("BOOL", "srgbTarget")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "drawn")
    info.vertex_source(_COVERAGE_VERTEX)
    info.fragment_source(_COVERAGE_FRAGMENT)
    return gpu.shader.create_from_info(info)


@cache
def _preview_shader() -> gpu.types.GPUShader:
    between = gpu.types.GPUStageInterfaceInfo("scumble_preview")
    for name in ("first", "second", "third"):
        between.smooth("VEC2", name)
    between.smooth("VEC3", "part")
    info = gpu.types.GPUShaderCreateInfo()
    for number, (kind, name) in enumerate(
        (("VEC3", "position"), ("VEC2", "place_a"), ("VEC2", "place_b"), ("VEC2", "place_c"), ("VEC3", "share"))
    ):
        info.vertex_in(number, kind, name)
    info.push_constant("MAT4", "transform")
    info.push_constant("BOOL", "srgbTarget")
    info.sampler(0, "FLOAT_2D", "views")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "drawn")
    info.vertex_source(_PREVIEW_VERTEX)
    info.fragment_source(_PREVIEW_FRAGMENT)
    return gpu.shader.create_from_info(info)
