"""An AUTOMATIC1111 of this test's own: the routes of its ``modules/api``, and requests checked by their fields."""

from __future__ import annotations

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from comfyui_server import noise, picture
from PIL import Image

TEXT, WHOLE, REAL, YES = str, int, (int, float), bool
COMMON = {
    "prompt": TEXT,
    "negative_prompt": TEXT,
    "seed": WHOLE,
    "subseed_strength": REAL,
    "width": WHOLE,
    "height": WHOLE,
    "steps": WHOLE,
    "cfg_scale": REAL,
    "sampler_name": TEXT,
    "scheduler": TEXT,
    "batch_size": WHOLE,
    "n_iter": WHOLE,
    "send_images": YES,
    "save_images": YES,
    "override_settings": dict,
    "override_settings_restore_afterwards": YES,
    "alwayson_scripts": dict,
}
IMG2IMG = {
    "init_images": list,
    "denoising_strength": REAL,
    "resize_mode": WHOLE,
    "mask": TEXT,
    "mask_blur": WHOLE,
    "inpainting_fill": WHOLE,
    "inpaint_full_res": YES,
}
UNIT = {
    "enabled": YES,
    "module": TEXT,
    "model": TEXT,
    "image": TEXT,
    "weight": REAL,
    "guidance_start": REAL,
    "guidance_end": REAL,
    "resize_mode": TEXT,
    "control_mode": TEXT,
    "pixel_perfect": YES,
    "save_detected_map": YES,
}
RESIZE = ("Just Resize", "Crop and Resize", "Resize and Fill")
MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")


class WebuiServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = ["dream.safetensors [6ce0161689]", "bigXL.safetensors"]
        self.samplers = ["DDIM", "Euler", "Euler a", "DPM++ 2M", "UniPC", "LCM"]
        self.schedulers = ["Automatic", "Uniform", "Karras"]
        self.nets: list[str] | None = ["None", "control_v11f1p_sd15_depth [cfd03158]", "control_normalbae [316696f1]"]
        self.modules = ["none", "canny"]
        self.loras = ["moss"]
        self.api = True
        self.failure: tuple[int, dict] | None = None
        self.html = False
        self.paced = False
        self.step = threading.Semaphore(0)
        self.interrupted = threading.Event()
        self.over = threading.Event()
        self.requests: list[tuple[str, dict]] = []
        self.state = {"sampling_step": 0, "sampling_steps": 0}
        self.progress_asked = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients that go away are part of it."""

    def problem(self, path: str, content: dict) -> tuple[int, dict] | None:
        """What FastAPI, pydantic and the extension refuse."""
        known = COMMON | (IMG2IMG if path.endswith("img2img") else {})
        for name, value in content.items():
            if name not in known:
                return 422, {"detail": [{"loc": ["body", name], "msg": "extra fields not permitted"}]}
            if not isinstance(value, known[name]) or (known[name] is not bool and isinstance(value, bool)):
                return 422, {"detail": [{"loc": ["body", name], "msg": "type_error"}]}
        if content["sampler_name"] not in self.samplers or content["scheduler"] not in self.schedulers:
            return 400, {"detail": "Sampler not found"}
        if content["width"] % 8 or content["height"] % 8:
            return 500, {"error": "RuntimeError", "errors": "sides must be multiples of 8"}
        if content["override_settings"]["sd_model_checkpoint"] not in self.models:
            return 500, {"error": "RuntimeError", "errors": "Unknown checkpoint"}
        if path.endswith("img2img") and not content.get("init_images"):
            return 404, {"detail": "Init image not found"}
        return self._script_problem(content.get("alwayson_scripts", {}))

    def _script_problem(self, scripts: dict) -> tuple[int, dict] | None:
        for name, script in scripts.items():
            if name != "controlnet" or self.nets is None:
                return 422, {"detail": f"always on script {name} not found"}
            for unit in script["args"]:
                wrong = [key for key, value in unit.items() if key not in UNIT or not isinstance(value, UNIT[key])]
                if wrong or unit["resize_mode"] not in RESIZE or unit["control_mode"] not in MODES:
                    return 422, {"detail": f"bad ControlNet unit: {wrong}"}
                if unit["model"] not in self.nets or unit["module"] != self.modules[0]:
                    return 500, {"error": "RuntimeError", "errors": f"model {unit['model']} not found"}
                if not 0.0 <= unit["guidance_start"] <= unit["guidance_end"] <= 1.0:
                    return 422, {"detail": "guidance_start > guidance_end"}
        return None

    def work(self, content: dict) -> list[bytes]:
        steps = content["steps"]
        self.interrupted.clear()
        self.state = {"sampling_step": 0, "sampling_steps": steps}
        for step in range(1, steps + 1):
            if self.paced:
                self.step.acquire(timeout=20)
            if self.interrupted.is_set():
                break
            self.state = {"sampling_step": step, "sampling_steps": steps}
        pictures = []
        for index in range(content["batch_size"]):
            made = noise(content["seed"] + index, content["prompt"], (content["height"], content["width"]))
            if content.get("init_images"):
                made = load(content["init_images"][0]) // 2 + made // 2
            pictures.append(picture(made))
        self.state = {"sampling_step": 0, "sampling_steps": 0}
        return pictures


def load(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebuiServer

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        server = self.server
        if server.html:
            return self.answer(200, b"<html></html>")
        if path.startswith("/sdapi") and not server.api:
            return self.json(404, {"detail": "Not Found"})
        if path == "/sdapi/v1/progress":
            return self.progress(query)
        lists = {
            "/sdapi/v1/sd-models": [{"title": title, "model_name": title.split(".")[0]} for title in server.models],
            "/sdapi/v1/samplers": [{"name": name, "aliases": [], "options": {}} for name in server.samplers],
            "/sdapi/v1/loras": [{"name": name, "alias": name, "path": "/x", "metadata": {}} for name in server.loras],
        }
        if server.nets is not None:
            lists["/controlnet/model_list"] = {"model_list": server.nets}
            lists["/controlnet/module_list"] = {"module_list": server.modules, "module_detail": {}}
        return self.json(200, lists[path]) if path in lists else self.json(404, {"detail": "Not Found"})

    def progress(self, query: dict):
        self.server.progress_asked.set()
        state = self.server.state
        total = state["sampling_steps"]
        image = None
        if total and query["skip_current_image"] == ["false"]:
            image = base64.b64encode(picture(np.full((8, 8, 3), 77, np.uint8))).decode()
        fraction = state["sampling_step"] / total if total else 0.0
        self.json(200, {"progress": fraction, "eta_relative": 0.0, "state": state, "current_image": image})

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, content))
        if self.path == "/sdapi/v1/interrupt":
            self.server.interrupted.set()
            self.server.step.release()
            return self.json(200, {})
        failure = self.server.failure or self.server.problem(self.path, content)
        if failure is not None:
            return self.json(*failure)
        images = [base64.b64encode(data).decode() for data in self.server.work(content)]
        return self.json(200, {"images": images, "parameters": {}, "info": "{}"})

    def json(self, status: int, content: object) -> None:
        self.answer(status, json.dumps(content).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
