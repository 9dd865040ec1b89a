"""A ComfyUI of this test's own: the routes of its ``server.py``, and graphs checked as its ``execution.py`` does."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import struct
import threading
import uuid
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

COMBO = {"ckpt_name": "models", "control_net_name": "nets", "lora_name": "loras"}
CLOSE, PING, PONG = 8, 9, 10
INT, FLOAT, STRING = "INT", "FLOAT", "STRING"

NODES = {
    "CheckpointLoaderSimple": ({"ckpt_name": "COMBO"}, ("MODEL", "CLIP", "VAE")),
    "LoraLoader": (
        {
            "model": "MODEL",
            "clip": "CLIP",
            "lora_name": "COMBO",
            "strength_model": (FLOAT, -100.0, 100.0),
            "strength_clip": (FLOAT, -100.0, 100.0),
        },
        ("MODEL", "CLIP"),
    ),
    "CLIPTextEncode": ({"text": (STRING,), "clip": "CLIP"}, ("CONDITIONING",)),
    "EmptyLatentImage": (
        {"width": (INT, 16, 16384, 8), "height": (INT, 16, 16384, 8), "batch_size": (INT, 1, 4096)},
        ("LATENT",),
    ),
    "KSampler": (
        {
            "model": "MODEL",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "latent_image": "LATENT",
            "seed": (INT, 0, 2**64 - 1),
            "steps": (INT, 1, 10000),
            "cfg": (FLOAT, 0.0, 100.0),
            "sampler_name": "COMBO",
            "scheduler": "COMBO",
            "denoise": (FLOAT, 0.0, 1.0),
        },
        ("LATENT",),
    ),
    "VAEDecode": ({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "VAEEncode": ({"pixels": "IMAGE", "vae": "VAE"}, ("LATENT",)),
    "LoadImage": ({"image": "FILE"}, ("IMAGE", "MASK")),
    "LoadImageMask": ({"image": "FILE", "channel": "COMBO"}, ("MASK",)),
    "SetLatentNoiseMask": ({"samples": "LATENT", "mask": "MASK"}, ("LATENT",)),
    "ControlNetLoader": ({"control_net_name": "COMBO"}, ("CONTROL_NET",)),
    "ControlNetApplyAdvanced": (
        {
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "control_net": "CONTROL_NET",
            "image": "IMAGE",
            "strength": (FLOAT, 0.0, 10.0),
            "start_percent": (FLOAT, 0.0, 1.0),
            "end_percent": (FLOAT, 0.0, 1.0),
            "vae": "VAE",  # optional there
        },
        ("CONDITIONING", "CONDITIONING"),
    ),
    "PreviewImage": ({"images": "IMAGE"}, ()),
}
"""Class -> required inputs (a link's type, or a value's type and bounds), and outputs."""


class ComfyServer(ThreadingHTTPServer):
    """paces: steps wait for ``step``, one permit each, where ``paced``. fail: an ``execution_error`` instead."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.choices = {
            "ckpt_name": ["sd15\\dream.safetensors", "bigXL.safetensors"],
            "control_net_name": ["control_v11f1p_sd15_depth.pth", "depth_xl.safetensors", "normalbae.safetensors"],
            "lora_name": ["Moss Stone.safetensors"],
            "sampler_name": ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "uni_pc", "lcm"],
            "scheduler": ["normal", "karras", "ddim_uniform", "sgm_uniform"],
            "channel": ["alpha", "red", "green", "blue"],
        }
        self.nodes = dict(NODES)
        self.files: dict[str, bytes] = {}
        self.graphs: list[dict] = []
        self.history: dict[str, dict] = {}
        self.sockets: dict[str, Handler] = {}
        self.asked: list[tuple[str, object]] = []
        self.new_style = False
        self.previews = False
        self.html = False
        self.fail: dict | None = None
        self.paced = False
        self.cut = False
        self.step = threading.Semaphore(0)
        self.interrupted = threading.Event()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients that go away are part of it."""

    # --- what ComfyUI says of itself ---------------------------------------------------------------

    def object_info(self) -> dict:
        return {
            name: {"input": {"required": self._inputs(name)}, "output": out} for name, (_, out) in self.nodes.items()
        }

    def _inputs(self, node: str) -> dict:
        found = {}
        for name, kind in self.nodes[node][0].items():
            if kind == "COMBO":
                choices = self.choices[name]
                found[name] = ["COMBO", {"options": choices}] if self.new_style else [choices, {}]
            else:
                found[name] = [kind[0] if isinstance(kind, tuple) else kind]
        return found

    def validate(self, graph: dict) -> dict:
        """Node errors, as ``validate_prompt`` has them; {} if all is well."""
        errors = {}
        for key, node in graph.items():
            found = list(self._problems(graph, node))
            if found:
                errors[key] = {"errors": found, "dependent_outputs": ["output"], "class_type": node["class_type"]}
        return errors

    def _problems(self, graph, node):
        wanted, given = self.nodes[node["class_type"]][0], node["inputs"]
        for name in given.keys() - wanted.keys():
            yield problem("unknown_input", name, name)
        for name, kind in wanted.items():
            if name not in given:
                yield problem("required_input_missing", name, name)
                continue
            value = given[name]
            if isinstance(value, list):
                source, index = value
                out = self.nodes[graph[source]["class_type"]][1]
                if isinstance(kind, tuple) or out[index] != kind:
                    yield problem("return_type_mismatch", name, f"{out[index]} for {kind}")
            elif kind == "COMBO":
                if value not in self.choices[name]:
                    yield problem("value_not_in_list", name, f"{name}: '{value}' not in {self.choices[name]}")
            elif kind == "FILE":
                if not value.endswith(" [temp]") or value.removesuffix(" [temp]") not in self.files:
                    yield problem("custom_validation_failed", name, f"Invalid image file: {value}")
            elif not isinstance(kind, tuple):
                yield problem("bad_linked_input", name, f"{kind} needs a link")
            elif kind[0] == STRING:
                if not isinstance(value, str):
                    yield problem("invalid_input_type", name, repr(value))
            elif value < kind[1]:
                yield problem("value_smaller_than_min", name, repr(value))
            elif value > kind[2]:
                yield problem("value_bigger_than_max", name, repr(value))
            elif kind[0] == INT and (not isinstance(value, int) or (len(kind) > 3 and value % kind[3])):
                yield problem("invalid_input_type", name, repr(value))

    # --- work --------------------------------------------------------------------------------------

    def work(self, prompt_id: str, graph: dict, client: str) -> None:
        line = self.sockets[client]
        self.interrupted.clear()
        sampler = graph["sampler"]["inputs"]
        line.say("execution_start", {"prompt_id": prompt_id})
        line.say("executing", {"node": "sampler", "prompt_id": prompt_id})
        steps = sampler["steps"]
        for step in range(1, steps + 1):
            if self.paced and not self.step.acquire(timeout=20):
                return
            if self.interrupted.is_set():
                line.say("execution_interrupted", {"prompt_id": prompt_id})
                return
            line.say("progress", {"value": step, "max": steps, "prompt_id": prompt_id, "node": "sampler"})
            if self.previews:
                line.send(2, struct.pack(">II", 1, 1) + picture(np.full((8, 8, 3), step * 9 % 256, np.uint8), "JPEG"))
            if self.cut:
                line.close()
                return
        if self.fail is not None:
            line.say(
                "execution_error", {"prompt_id": prompt_id, "node_id": "sampler", "node_type": "KSampler", **self.fail}
            )
            return
        name = f"out-{prompt_id}.png"
        self.files[name] = picture(self.paint(graph))
        image = {"filename": name, "subfolder": "", "type": "temp"}
        line.say("executed", {"node": "output", "output": {"images": [image]}, "prompt_id": prompt_id})
        line.say("execution_success", {"prompt_id": prompt_id, "timestamp": 1})
        self.history[prompt_id] = {"outputs": {"output": {"images": [image]}}, "status": {"completed": True}}
        line.say("executing", {"node": None, "prompt_id": prompt_id})

    def paint(self, graph: dict) -> np.ndarray:
        """By seed and prompt; where there is a picture to begin with, half of it."""
        sampler = graph["sampler"]["inputs"]
        latent = graph[sampler["latent_image"][0]]
        if latent["class_type"] == "SetLatentNoiseMask":
            latent = graph[latent["inputs"]["samples"][0]]
        text = graph[follow(graph, sampler["positive"])]["inputs"]["text"]
        if latent["class_type"] == "EmptyLatentImage":
            size = latent["inputs"]["height"], latent["inputs"]["width"]
            return noise(sampler["seed"], text, size)
        start = self.load(graph[latent["inputs"]["pixels"][0]]["inputs"]["image"])
        return start // 2 + noise(sampler["seed"], text, start.shape[:2]) // 2

    def load(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.files[name.removesuffix(" [temp]")])).convert("RGB"))


def follow(graph: dict, link: list) -> str:
    while graph[link[0]]["class_type"] != "CLIPTextEncode":
        link = graph[link[0]]["inputs"]["positive"]
    return link[0]


def noise(seed: int, text: str, size: tuple[int, int]) -> np.ndarray:
    key = int.from_bytes(hashlib.sha256(f"{seed}{text}".encode()).digest()[:8], "big")
    return np.random.default_rng(key).integers(0, 256, (*size, 3), np.uint8)


def picture(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def problem(kind: str, name: str, details: str) -> dict:
    return {"type": kind, "message": kind.replace("_", " "), "details": details, "extra_info": {"input_name": name}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ComfyServer

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if self.server.html:
            return self.answer(200, b"<html>Sign in</html>", "text/html")
        if path == "/ws":
            return self.listen(query["clientId"][0])
        if path == "/object_info":
            return self.json(200, self.server.object_info())
        if path == "/system_stats":
            return self.json(200, {"system": {}, "devices": [{"name": "cuda:0 Test Card"}]})
        if path.startswith("/history/"):
            prompt_id = path.rpartition("/")[2]
            return self.json(200, {key: value for key, value in self.server.history.items() if key == prompt_id})
        if path == "/view" and query["type"] == ["temp"]:
            return self.answer(200, self.server.files[query["filename"][0]], "image/png")
        return self.json(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            return self.upload(body)
        content = json.loads(body)
        self.server.asked.append((self.path, content))
        if self.path == "/prompt":
            return self.prompt(content)
        if self.path == "/interrupt":
            self.server.interrupted.set()
            self.server.step.release()
        return self.json(200, {})

    def upload(self, body: bytes):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = BytesParser(policy=HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        assert parts["type"].get_content().strip() == "temp"
        name = parts["image"].get_filename()
        self.server.files[name] = parts["image"].get_payload(decode=True)
        self.json(200, {"name": name, "subfolder": "", "type": "temp"})

    def prompt(self, content: dict):
        graph = content["prompt"]
        unknown = [node["class_type"] for node in graph.values() if node["class_type"] not in self.server.nodes]
        if unknown:
            error = {"type": "invalid_prompt", "message": f"Cannot execute because node {unknown[0]} does not exist."}
            return self.json(400, {"error": error, "node_errors": {}})
        errors = self.server.validate(graph)
        if errors:
            error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
            return self.json(400, {"error": error, "node_errors": errors})
        prompt_id = str(uuid.uuid4())
        self.server.graphs.append(graph)
        self.server.previews = content.get("extra_data", {}).get("preview_method", "none") != "none"
        arguments = (prompt_id, graph, content["client_id"])
        threading.Thread(target=self.server.work, args=arguments, daemon=True).start()
        return self.json(200, {"prompt_id": prompt_id, "number": 1, "node_errors": {}})

    # --- the websocket, as far as a server that only speaks needs it -------------------------------

    def listen(self, client: str):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.server.sockets[client] = self
        self.gone = threading.Event()
        self.say("status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client})
        self.hear()
        self.gone.set()
        self.close_connection = True

    def hear(self) -> None:
        """Until the client closes, or goes: pings and the closing frame are answered, as aiohttp does by itself."""
        while (head := self.rfile.read(2)) and not self.server.over.is_set():
            opcode, length = head[0] & 15, head[1] & 127
            if length == 126:
                (length,) = struct.unpack(">H", self.rfile.read(2))
            mask, data = self.rfile.read(4), self.rfile.read(length)
            said = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
            if opcode == PING:
                self.send(PONG, said)
            elif opcode == CLOSE:
                self.send(CLOSE, said)
                return

    def say(self, kind: str, data: dict) -> None:
        self.send(1, json.dumps({"type": kind, "data": data}).encode())

    def send(self, opcode: int, data: bytes) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
        try:
            self.wfile.write(bytes([0x80 | opcode]) + size + data)
            self.wfile.flush()
        except OSError:
            self.gone.set()

    def close(self) -> None:
        self.gone.set()
        self.connection.shutdown(socket.SHUT_RDWR)

    def json(self, status: int, content: object) -> None:
        self.answer(status, json.dumps(content).encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
