"""Geometry truth out of a Blender scene, without changing it. What the add-on calls is here.

Three ways to say what to look through (a viewport, a scene camera, matrices), two ways to look: the GPU, a few
milliseconds from cached batches, and Cycles, where nothing can draw. Both see the same surfaces: the evaluated
dependency graph as viewports evaluate it (modifiers at viewport levels; what is disabled or hidden in viewports isn't
there, even if a render would show it), every face solid whatever its material. Things without faces (hair curves, point
clouds, volumes, grease pencil) aren't seen.
"""

from __future__ import annotations

from .api import METHODS, capture_camera, capture_matrices, capture_view3d, drawn_surfaces, unregister
from .frame import BUFFERS, GEOMETRY, CapturedFrame, MeshArrays, ObjectEntry
from .gpu_path import DrawnSurface
from .gpu_start import gpu_available, ready_to_capture
from .meshes import meshes

__all__ = [
    "BUFFERS",
    "GEOMETRY",
    "METHODS",
    "CapturedFrame",
    "DrawnSurface",
    "MeshArrays",
    "ObjectEntry",
    "capture_camera",
    "capture_matrices",
    "capture_view3d",
    "drawn_surfaces",
    "gpu_available",
    "meshes",
    "ready_to_capture",
    "unregister",
]
