"""ComfyUI's ``prompt`` graph (its API format) into settings: what led to the sampler, followed link by link.

A node is ``{"class_type": NAME, "inputs": {...}}``; an input is a value or a link ``[NODE_ID, OUTPUT]``. Custom
nodes are passed through where an input of the same name leads on; nothing in a graph is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ErrorCode, ScumbleError
from ..job import Control, GenerateJob
from ..prompts.lora_tags import LoraTag
from .settings import ImageSettings, Numbers, control_kind, model_id, stem

__all__ = ["read_graph"]

SAMPLERS = {
    "ddim": "ddim",
    "euler": "euler",
    "euler_ancestral": "euler_a",
    "dpmpp_2m": "dpmpp_2m",
    "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
    "lcm": "lcm",
}
"""ComfyUI's sampler -> ours, with its plain schedules."""

PLAIN_SCHEDULES = ("normal", "simple", "sgm_uniform", "ddim_uniform")
NODES = 10_000
DEPTH = 200
"""Most nodes in a graph, and most links followed in a row."""

Node = Mapping[str, Any]


def read_graph(text: str) -> ImageSettings:
    """The settings in a ``prompt`` graph: of its last sampler, the one that made the picture's pixels.

    Raises ScumbleError INVALID_FIELD (field ``prompt``) if it is no graph or has no sampler node.
    """
    graph = _Graph(_parsed(text))
    sampler = graph.sampler()
    if sampler is None:
        raise _refused("the ComfyUI graph in the picture has no sampler node that is known here")
    reader = _Reader(graph, sampler)
    job = reader.job()
    notes = (*reader.numbers.notes, *reader.notes)
    return ImageSettings(job, "comfyui", model_name=reader.model_name, loras=tuple(reader.loras), notes=notes)


def _refused(message: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field="prompt")


def _parsed(text: str) -> dict[str, Node]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused("the picture's ComfyUI graph is not JSON") from error
    if not isinstance(content, dict) or len(content) > NODES:
        raise _refused("the picture's ComfyUI text is not a graph")
    nodes = {key: node for key, node in content.items() if isinstance(node, dict)}
    return {
        key: node
        for key, node in nodes.items()
        if isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    }


class _Graph:
    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes

    def linked(self, node: Node, name: str) -> Node | None:
        """The node that feeds input ``name``, None if that is a value, absent, or leads nowhere."""
        value = node["inputs"].get(name)
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            return self.nodes.get(value[0])
        return None

    def chain(self, node: Node, *names: str) -> Iterator[Node]:
        """The nodes upstream of ``node``, nearest first, always through the first of ``names`` that is linked."""
        for _ in range(DEPTH):
            following = next((found for name in names if (found := self.linked(node, name))), None)
            if following is None:
                return
            yield following
            node = following

    def literal(self, node: Node, name: str) -> object:
        """Input ``name``, also where a primitive node holds it; None if it can't be told."""
        for _ in range(DEPTH):
            value = node["inputs"].get(name)
            source = self.linked(node, name)
            if source is None:
                return None if isinstance(value, list | dict) else value
            keys = [key for key in (name, "value", "text", "string", "seed", "int", "float") if key in source["inputs"]]
            if not keys:
                return None
            node, name = source, keys[0]
        return None

    def sampler(self) -> Node | None:
        """The sampler nearest to an output node; the first of the file where none is reached."""
        found = [node for node in self.nodes.values() if _samples(node)]
        for node in self.nodes.values():
            if node["class_type"] in ("SaveImage", "PreviewImage"):
                for upstream in self.chain(node, "images", "image", "samples", "pixels", "latent_image"):
                    if _samples(upstream):
                        return upstream
        return found[0] if found else None


def _samples(node: Node) -> bool:
    return node["class_type"].startswith(("KSampler", "SamplerCustom")) and "Select" not in node["class_type"]


class _Reader:
    def __init__(self, graph: _Graph, sampler: Node) -> None:
        self.graph, self.sampler = graph, sampler
        self.numbers = Numbers()
        self.notes: list[str] = []
        self.loras: list[LoraTag] = []
        self.model_name = ""

    def job(self) -> GenerateJob:
        guider = self.graph.linked(self.sampler, "guider") or self.sampler
        self.model_name = self._model(guider)
        width, height, batch_size, from_image = self._latent()
        if from_image:
            self.notes.append("The picture started from an image, which is not in it")
        return GenerateJob(
            self._text(guider, "positive", "conditioning"),
            negative_prompt=self._text(guider, "negative"),
            model=model_id(self.model_name),
            width=width,
            height=height,
            batch_size=batch_size,
            sampler=self._sampler_name(),
            num_inference_steps=self.numbers.steps(self._near("steps", 20)),
            guidance_scale=self.numbers.guidance(self._first(guider, ("cfg", "guidance"), 7.0)),
            seed=self.numbers.seed(self._near("seed", self._near("noise_seed", 0))),
            controls=self._controls(guider),
            loras=tuple(tag.lora for tag in self.loras),
            denoising_strength=self.numbers.fraction("Denoise", self._near("denoise", 1.0), 1.0),
        )

    def _near(self, name: str, default: object) -> object:
        """An input of the sampler, or of the noise, sigmas and sampler nodes that SamplerCustom spreads it over."""
        helpers = [self.graph.linked(self.sampler, part) for part in ("noise", "sigmas", "sampler")]
        for node in (self.sampler, *helpers):
            if node is not None and (value := self.graph.literal(node, name)) is not None:
                return value
        return default

    def _first(self, node: Node, names: tuple[str, ...], default: object) -> object:
        values = (self.graph.literal(node, name) for name in names)
        return next((value for value in values if value is not None), default)

    def _sampler_name(self) -> str:
        name, schedule = str(self._near("sampler_name", "dpmpp_2m")), str(self._near("scheduler", "karras"))
        if (name, schedule) == ("dpmpp_2m", "karras"):
            return "dpmpp_2m_karras"
        sampler = SAMPLERS.get(name, "dpmpp_2m_karras")
        if name not in SAMPLERS or schedule not in PLAIN_SCHEDULES:
            self.notes.append(f"Sampler {name!r} with schedule {schedule!r} isn't offered: {sampler} is used")
        return sampler

    def _model(self, guider: Node) -> str:
        """File name of the checkpoint; the LoRAs on the way are collected, first applied first."""
        for node in self.graph.chain(guider, "model"):
            if isinstance(lora := self.graph.literal(node, "lora_name"), str):
                weight = self.numbers.real("LoRA weight", self.graph.literal(node, "strength_model"), -10.0, 10.0, 1.0)
                self.loras.insert(0, LoraTag(stem(lora), float(weight)))
            name = self._first(node, ("ckpt_name", "unet_name"), None)
            if isinstance(name, str):
                return name
        return ""

    def _latent(self) -> tuple[int, int, int, bool]:
        """Width, height, batch size, and whether it came from an image."""
        from_image = False
        for node in self.graph.chain(self.sampler, "latent_image", "samples", "latent"):
            from_image = from_image or "pixels" in node["inputs"]
            if "width" in node["inputs"] and "height" in node["inputs"]:
                width, height = (self.graph.literal(node, name) for name in ("width", "height"))
                batch = self.graph.literal(node, "batch_size")
                count = 1 if batch is None else self.numbers.whole("Batch size", batch, 1, 16, 1)
                return self.numbers.side("Width", width), self.numbers.side("Height", height), count, from_image
        if not from_image:
            self.notes.append("The picture's size can't be told from its graph; 512x512 is used")
        return 512, 512, 1, from_image

    def _text(self, node: Node, *names: str) -> str:
        """The text at the end of a conditioning chain; "" for a zeroed one."""
        way = (*names, *names, "conditioning", "conditioning_1", "conditioning_to")
        for upstream in self.graph.chain(node, *way):
            if upstream["class_type"] == "ConditioningZeroOut":
                return ""
            text = self._first(upstream, ("text", "text_g", "clip_l", "t5xxl"), None)
            if isinstance(text, str):
                return text
            if "conditioning_2" in upstream["inputs"]:
                self.notes.append("Of combined prompts only the first is carried over")
        self.notes.append(f"The {names[0]} prompt can't be told from the graph")
        return ""

    def _controls(self, guider: Node) -> tuple[Control, ...]:
        """ControlNets on the way to the positive prompt, first applied first."""
        controls: list[Control] = []
        for node in self.graph.chain(guider, "positive", "conditioning", "conditioning_1"):
            loader = self.graph.linked(node, "control_net")
            if loader is None:
                continue
            union = self.graph.literal(loader, "type")
            for upstream in (loader, *self.graph.chain(loader, "control_net")):
                name = self.graph.literal(upstream, "control_net_name")
                if isinstance(name, str):
                    break
            control = self._control(node, str(union or ""), str(name or ""))
            controls[:0] = [control] if control else []
        return tuple(controls)

    def _control(self, node: Node, union: str, name: str) -> Control | None:
        kind = control_kind(union, name)
        if kind is None:
            self.notes.append(f"ControlNet {name or '?'!r} isn't of a kind that is offered")
            return None
        return Control(
            kind,
            strength=float(
                self.numbers.real("ControlNet strength", self._first(node, ("strength",), 1.0), 0.0, 10.0, 1.0)
            ),
            start=self.numbers.fraction("ControlNet start", self._first(node, ("start_percent",), 0.0), 0.0),
            end=self.numbers.fraction("ControlNet end", self._first(node, ("end_percent",), 1.0), 1.0),
        )
