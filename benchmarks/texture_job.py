"""Texture all around with the built-in model on this machine's CPU: where the time goes, and how well views agree.

Suzanne, 8 views and more, both controls. Agreement is measured where views overlap: each view against what the texture
made of all views says that it should show (the cross-view PSNR of MatLat). Agreement alone rewards blur, so the part of
fine detail that the pictures keep is printed beside it: energy of the Laplacian on the object, beside that of the views
made apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from engine_cpu import Silent, peak_memory
from report import Report, parser

SUZANNE = Path(__file__).parent.parent / "tests/server/texturing/data/suzanne.npz"
METHODS: Mapping[str, Mapping[str, object]] = {
    "apart": {"sync_end": 0.0},
    "synchronised": {},
    "sequential": {"method": "sequential"},
}


def main() -> int:
    arguments = parser("Texture all around.", repeat=1).parse_args()
    import torch
    from scumble_server.engine.executor import EngineExecutor
    from scumble_server.texturing.mesh import Mesh
    from scumble_server.texturing.render import render_view
    from scumble_server.texturing.shapes import smooth
    from scumble_server.texturing.sync import plan_sync
    from scumble_shared.camera import Camera, pack_matrix
    from scumble_shared.job import Control, MeshRef, TextureJob
    from scumble_shared.schema import decode

    side = 256
    report = Report("texture_job", arguments.output)
    data = np.load(SUZANNE)
    shape = smooth(data["vertices"], data["triangles"].astype(np.int32), data["uvs"])
    tensors = {"v": shape.vertices, "t": shape.triangles, "n": shape.normals, "u": shape.uvs}
    ref = MeshRef("Suzanne", 1, pack_matrix(np.eye(4)), "v", "t", "n", "u")
    executor = EngineExecutor(device="cpu")
    info = next(model for model in executor.capabilities().models if model.id == "starter")
    executor.warm_up(Silent())

    def job(**changes: object) -> TextureJob:
        settings: dict[str, object] = {
            "sampler": info.sampler, "num_inference_steps": info.num_inference_steps,
            "guidance_scale": info.guidance_scale, "controls": (Control("depth"), Control("normal")),
            "view_size": side, "texture_size": 1024,
        }  # fmt: skip
        return TextureJob("mossy stone wall, flat light", (ref,), **{**settings, **changes})  # type: ignore[arg-type]

    def compare(mesh: Mesh, cameras: list[Camera], pictures: torch.Tensor) -> tuple[float, float]:
        """Cross-view PSNR in dB, and energy of fine detail on the object."""
        hit = torch.stack([render_view([mesh], camera).mesh >= 0 for camera in cameras])[:, None]
        apart = (plan_sync([mesh], cameras, (side, side), 2 * side).synchronise(pictures, 1.0) - pictures) * hit
        error = float(apart.square().sum() / (3 * hit.sum()))
        kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
        detail = torch.nn.functional.conv2d(pictures.mean(1, keepdim=True), kernel, padding=1) * hit
        return -10.0 * float(np.log10(error)), float(detail.square().sum() / hit.sum())

    plain = 0.0
    for name, settings in METHODS.items():
        begin = time.perf_counter()
        output = executor.run(job(**settings), tensors, Silent())
        seconds = time.perf_counter() - begin
        placed: list[dict[str, object]] = output.provenance["views"]  # type: ignore[assignment]
        cameras = [decode(Camera, view["camera"]) for view in placed]
        views = [output.tensors[f"view/{index}"] for index in range(len(cameras))]
        pictures = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float() / 255.0
        agreement, detail = compare(shape.mesh(), cameras, pictures)
        plain = plain or detail
        stages = ", ".join(f"{stage} {taken:.2f}" for stage, taken in output.provenance["timings"].items())  # type: ignore[attr-defined]
        report.add(f"{name}: {len(views)} views of {side}² into 1024²", seconds, "s", note=stages)
        report.add(f"{name}: agreement of views", agreement, "dB", note="cross-view PSNR, more is better")
        report.add(f"{name}: fine detail kept", detail / plain, "of apart")
    peak = peak_memory()
    if peak is not None:
        report.add("peak memory", peak, "MB")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
