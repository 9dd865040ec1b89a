"""How a job is fitted into a machine's memory: a ladder of ways to need less, and how much each of them needs.

All is arithmetic on sizes that are known before anything is loaded, so that it can be told before a job starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from scumble_shared.job import MEMORIES

from .machine import MPS, Bytes, Machine
from .sizes import Sizes

__all__ = ["TILE", "Estimate", "Plan", "Work", "estimate", "lower", "plan_for", "rungs", "words"]

TILE = 512
"""Image pixels a side that the autoencoder is shown at a time where it works in tiles."""

BITS = {"plain": 16, "fp8": 8, "int8": 8, "nf4": 5}
"""Per weight of a network that is stored so; NF4 with its scales."""

SPARE = 1.05
"""What is lost between allocations, and layers that stay as they are when others are stored smaller."""

SMALL = 256 * 1024**2
"""Prompts, latents, pictures, the small autoencoder."""

AHEAD = 3
"""Layers that are on the device at a time where each comes when it is needed: the one that runs, the one that comes,
and the one that goes."""

RESIDUALS = 0.4
"""What ControlNets add within the network, as a part of its activations: their sum, and one more to be added."""


@dataclass(frozen=True, slots=True)
class Work:
    """What decides how much a job needs beside its weights. width, height: of what is generated, pixels. images: that
    the network could be shown at once. guided: each of them twice, with and without the prompt. controlnets: parameters
    of each. adapters: likewise, of IP-Adapters; encoder: of the largest of their image encoders, which is on the device
    only while it looks at a picture. scale: pixels per latent pixel. bytes_each: of a number in the network's format on
    this device."""

    width: int
    height: int
    images: int = 1
    guided: bool = True
    controlnets: tuple[int, ...] = ()
    adapters: tuple[int, ...] = ()
    encoder: int = 0
    scale: int = 8
    bytes_each: int = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """storage: of the network's and ControlNets' weights: "plain", "fp8" (cast layer by layer for computing), "int8"
    or "nf4" (quantized). placement: of the weights: all "resident" on the device; "staged", each part there while it
    works; or "grouped", each layer. tiled: the autoencoder works in tiles. at_once: images that the network is shown at
    a time, 0 is all. text_grouped: text encoders come a layer at a time, for they are too large as a whole."""

    storage: str = "plain"
    placement: str = "resident"
    tiled: bool = False
    at_once: int = 0
    text_grouped: bool = False

    @property
    def is_plain(self) -> bool:
        """Weights lie where and as they were loaded."""
        return self.storage == "plain" and self.placement == "resident"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most that a job takes at any moment, and what does then: "text", "network" or "autoencoder"."""

    peak: Bytes
    stage: str
    weights: Bytes


def plan_for(sizes: Sizes, work: Work, machine: Machine, choice: str = "automatic") -> Plan:
    """The first of the :func:`rungs` that fits, the last if none does. choice: one of ``MEMORIES``; "low" begins where
    parts of the model come and go, "lowest" is the last rung, "off" the first whether it fits or not."""
    assert choice in MEMORIES
    ladder = [_with_text(rung, sizes, machine) for rung in rungs(sizes, work, machine)]
    if choice == "off":
        return ladder[0]
    if choice == "lowest":
        return ladder[-1]
    if choice == "low":
        ladder = [rung for rung in ladder if rung.tiled and rung.at_once <= 1 and _is_low(rung, machine)] or ladder[-1:]
    return next((rung for rung in ladder if estimate(sizes, work, machine, rung).peak.fits(machine.room)), ladder[-1])


def lower(plan: Plan, sizes: Sizes, work: Work, machine: Machine) -> Plan | None:
    """The next rung below ``plan``, None below the last."""
    ladder = [_with_text(rung, sizes, machine) for rung in rungs(sizes, work, machine)]
    place = ladder.index(plan) + 1
    return ladder[place] if place < len(ladder) else None


def rungs(sizes: Sizes, work: Work, machine: Machine) -> Sequence[Plan]:
    """From the quickest to the smallest; up to "staged" all give the same picture, but for what tiles blend."""
    return tuple(dict.fromkeys(_rungs(sizes, work, machine)))


def _rungs(sizes: Sizes, work: Work, machine: Machine) -> Iterator[Plan]:
    yield Plan()
    plan = replace(Plan(), tiled=True)
    yield plan
    if work.images > 1:
        plan = replace(plan, at_once=1)
        yield plan
    if machine.is_apart:
        plan = replace(plan, placement="staged")
        yield plan
    for storage in _storages(sizes, machine):
        yield replace(plan, storage=storage)
    if machine.is_apart:
        storage = "plain" if sizes.packed else "fp8"
        yield replace(plan, storage=storage, placement="grouped")


def _storages(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """Apple's devices know no eight-bit floats; what is quantized in its file stays as it is. Quantizing is for layers
    that multiply matrices, which is nearly all of a transformer and half of a UNet."""
    if sizes.packed or machine.kind == MPS:
        return
    if sizes.is_transformer and "torchao" in machine.quantizers:
        yield "int8"
    else:
        yield "fp8"
    if sizes.is_transformer and machine.is_apart and "bitsandbytes" in machine.quantizers:
        yield "nf4"


def _is_low(rung: Plan, machine: Machine) -> bool:
    return rung.placement != "resident" or not machine.is_apart


def _with_text(plan: Plan, sizes: Sizes, machine: Machine) -> Plan:
    """Text encoders come whole if they fit."""
    if plan.placement == "resident":
        return plan
    grouped = plan.placement == "grouped" or int(sizes.text * 2 * SPARE) + SMALL > machine.room.device
    return replace(plan, text_grouped=grouped)


# --- how much -----------------------------------------------------------------------------------------


def estimate(sizes: Sizes, work: Work, machine: Machine, plan: Plan) -> Estimate:
    """What a job takes if it is done so."""
    each = work.bytes_each
    text, vae = _bytes(sizes.text * each), _bytes(sizes.vae * 4)
    networks = _networks(sizes, work, plan)
    layer = AHEAD * sizes.largest * each
    adapters, encoder = _bytes(sum(work.adapters) * each), _bytes(work.encoder * each)
    text_there = layer if plan.text_grouped else text
    networks_there = min(layer, networks) if plan.placement == "grouped" else networks
    takes = {
        "text": text_there + encoder + SMALL,
        "network": networks_there + adapters + _network_activations(sizes, work, plan) + SMALL,
        "autoencoder": vae + _autoencoder_activations(work, plan) + SMALL,
    }
    if plan.placement == "resident":
        takes["text"] += networks + adapters + vae
        takes["network"] += text + vae
        takes["autoencoder"] += text + networks + adapters
    if not machine.is_apart:
        takes = {stage: least + (0 if stage == "text" else encoder) for stage, least in takes.items()}
    stage = max(takes, key=lambda name: takes[name])
    every = text + networks + adapters + vae
    if not machine.is_apart:
        return Estimate(Bytes(takes[stage]), stage, Bytes(every))
    loading = max(text, _bytes(sizes.packed or sizes.network * each), vae, encoder)
    if plan.placement == "resident":
        return Estimate(Bytes(takes[stage], loading), stage, Bytes(every, 0))
    return Estimate(Bytes(takes[stage], max(every + encoder, loading)), stage, Bytes(0, every))


def _bytes(count: int) -> int:
    return int(count * SPARE)


def _networks(sizes: Sizes, work: Work, plan: Plan) -> int:
    bits = 8 * work.bytes_each if plan.storage == "plain" else BITS[plan.storage]
    network = sizes.packed or sizes.network * bits // 8
    return _bytes(network + sum(work.controlnets) * (8 if plan.storage == "fp8" else 8 * work.bytes_each) // 8)


def _network_activations(sizes: Sizes, work: Work, plan: Plan) -> int:
    images = (plan.at_once or work.images) * (2 if work.guided else 1)
    latents = (work.width // work.scale) * (work.height // work.scale)
    plain = images * (sizes.per_latent * latents + sizes.per_image) * work.bytes_each // 2
    return int(plain * (1.0 + (RESIDUALS if work.controlnets else 0.0)))


PER_PIXEL = 3_073
"""Bytes that the autoencoder's float32 activations take at their peak, for each pixel it is shown."""


def _autoencoder_activations(work: Work, plan: Plan) -> int:
    pixels = work.width * work.height
    shown = min(pixels, TILE * TILE) if plan.tiled else pixels
    return shown * PER_PIXEL + pixels * 24


# --- in words -----------------------------------------------------------------------------------------


def words(plan: Plan) -> str:
    """What is done to need less memory, "" if nothing is."""
    stored = {"plain": "", "fp8": "weights in 8 bits", "int8": "weights quantized to 8 bits", "nf4": "to 4 bits"}
    placed = {"resident": "", "staged": "parts come and go", "grouped": "layers come and go"}
    parts = [
        placed[plan.placement],
        stored[plan.storage].replace("to 4 bits", "weights quantized to 4 bits"),
        "one picture at a time" if plan.at_once == 1 else "",
        "decoding in tiles" if plan.tiled else "",
    ]
    return ", ".join(part for part in parts if part)
