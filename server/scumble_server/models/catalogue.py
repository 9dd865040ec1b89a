"""A few models that go well together, by the graphics memory they need.

Nothing here is fetched by itself. ``revision`` is a commit that several independent public projects name for that
repository, and ``sha256`` a checksum that several name for that file. Where none could be confirmed it is "": the
first download then resolves the main branch, checks every file against the hub's own checksums, and the library pins
the commit it got. Sizes are those published with the files.
"""

from __future__ import annotations

from dataclasses import dataclass

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError

__all__ = ["CATALOGUE", "SETS", "CatalogueEntry", "StarterSet", "entry_of", "set_of"]

OPENRAIL_M = "CreativeML OpenRAIL-M"
OPENRAIL_PP = "CreativeML OpenRAIL++-M"

IP_ADAPTER = "018e402774aeeddd60609b4ecdb7e298259dc729"
"""Commit of h94/IP-Adapter."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """kind, family: as in the library. files: () chooses by the repository's layout. gigabytes: to download."""

    id: str
    name: str
    kind: str
    family: str
    licence: str
    repo: str
    gigabytes: float
    about: str
    revision: str = ""
    files: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class StarterSet:
    """entries: ids of the catalogue, all of one family. vram: gigabytes of graphics memory it is meant for."""

    id: str
    vram: int
    entries: tuple[str, ...]
    about: str


CATALOGUE = (
    CatalogueEntry(
        id="sd15",
        name="Stable Diffusion 1.5",
        kind="checkpoint",
        family="sd15",
        licence=OPENRAIL_M,
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        gigabytes=2.1,
        about="The base that most checkpoints, LoRAs and ControlNets are made for. 512 pixels.",
    ),
    CatalogueEntry(
        id="sd15-depth",
        name="ControlNet 1.1 depth",
        kind="controlnet",
        family="sd15",
        licence="OpenRAIL",
        repo="lllyasviel/control_v11f1p_sd15_depth",
        revision="539f99181d33db39cf1af2e517cd8056785f0a87",
        gigabytes=0.7,
        about="Follows the scene's depth: the one to have first.",
    ),
    CatalogueEntry(
        id="sd15-normalbae",
        name="ControlNet 1.1 normal (BAE)",
        kind="controlnet",
        family="sd15",
        licence="OpenRAIL",
        repo="lllyasviel/control_v11p_sd15_normalbae",
        revision="cb7296e6587a219068e9d65864e38729cd862aa8",
        gigabytes=0.7,
        about="Follows the scene's normals: relief and edges that depth alone blurs.",
    ),
    CatalogueEntry(
        id="sd15-canny",
        name="ControlNet 1.1 canny",
        kind="controlnet",
        family="sd15",
        licence="OpenRAIL",
        repo="lllyasviel/control_v11p_sd15_canny",
        revision="115a470d547982438f70198e353a921996e2e819",
        gigabytes=0.7,
        about="Follows edges, creases and borders between objects.",
    ),
    CatalogueEntry(
        id="sd15-lineart",
        name="ControlNet 1.1 lineart",
        kind="controlnet",
        family="sd15",
        licence="OpenRAIL",
        repo="lllyasviel/control_v11p_sd15_lineart",
        gigabytes=0.7,
        about="Follows drawn lines, softer than canny.",
    ),
    CatalogueEntry(
        id="sd15-lcm-lora",
        name="LCM LoRA for SD 1.5",
        kind="lora",
        family="sd15",
        licence="OpenRAIL++",
        repo="latent-consistency/lcm-lora-sdv1-5",
        revision="cf2fced511dbe7e26c8d1d397e728fbab875db4b",
        files=("pytorch_lora_weights.safetensors",),
        sha256="8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4",
        gigabytes=0.13,
        about="Pictures in 4 to 8 steps: for live mode.",
    ),
    CatalogueEntry(
        id="sd15-ip-adapter",
        name="IP-Adapter for SD 1.5",
        kind="adapter",
        family="sd15",
        licence="Apache-2.0",
        repo="h94/IP-Adapter",
        revision=IP_ADAPTER,
        files=("models/ip-adapter_sd15.safetensors",),
        sha256="289b45f16d043d0bf542e45831f971dcdaabe18b656f11e86d9dfba7e9ee3369",
        gigabytes=0.045,
        about="Reference pictures beside the prompt. Needs ip-adapter-encoder.",
    ),
    CatalogueEntry(
        id="ip-adapter-encoder",
        name="Image encoder of IP-Adapters (CLIP ViT-H)",
        kind="encoder",
        family="",
        licence="Apache-2.0",
        repo="h94/IP-Adapter",
        revision=IP_ADAPTER,
        files=("models/image_encoder/model.safetensors",),
        sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
        gigabytes=2.5,
        about="What both IP-Adapters here look at reference pictures with.",
    ),
    CatalogueEntry(
        id="sdxl",
        name="Stable Diffusion XL 1.0",
        kind="checkpoint",
        family="sdxl",
        licence=OPENRAIL_PP,
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        gigabytes=6.9,
        about="Larger and better at long prompts. 1024 pixels.",
    ),
    CatalogueEntry(
        id="sdxl-vae-fp16-fix",
        name="SDXL VAE for half precision",
        kind="vae",
        family="sdxl",
        licence="MIT",
        repo="madebyollin/sdxl-vae-fp16-fix",
        revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
        gigabytes=0.33,
        about="Keeps SDXL from black pictures in half precision.",
    ),
    CatalogueEntry(
        id="sdxl-depth",
        name="ControlNet depth for SDXL",
        kind="controlnet",
        family="sdxl",
        licence=OPENRAIL_PP,
        repo="diffusers/controlnet-depth-sdxl-1.0",
        revision="17bb97973f29801224cd66f192c5ffacf82648b4",
        gigabytes=2.5,
        about="Follows the scene's depth.",
    ),
    CatalogueEntry(
        id="sdxl-lcm-lora",
        name="LCM LoRA for SDXL",
        kind="lora",
        family="sdxl",
        licence="OpenRAIL++",
        repo="latent-consistency/lcm-lora-sdxl",
        revision="a18548dd4956b174ec5b0d78d340c8dae0a129cd",
        files=("pytorch_lora_weights.safetensors",),
        gigabytes=0.39,
        about="Pictures in 4 to 8 steps.",
    ),
    CatalogueEntry(
        id="sdxl-ip-adapter",
        name="IP-Adapter for SDXL",
        kind="adapter",
        family="sdxl",
        licence="Apache-2.0",
        repo="h94/IP-Adapter",
        revision=IP_ADAPTER,
        files=("sdxl_models/ip-adapter_sdxl_vit-h.safetensors",),
        sha256="ebf05d918348aec7abb02a5e9ecef77e0aaea6914a5c4ea13f50d45eb1681831",
        gigabytes=0.7,
        about="Reference pictures beside the prompt. Needs ip-adapter-encoder.",
    ),
    CatalogueEntry(
        id="depth-anything-v2",
        name="Depth Anything V2 (small)",
        kind="detector",
        family="",
        licence="Apache-2.0",
        repo="depth-anything/Depth-Anything-V2-Small-hf",
        gigabytes=0.1,
        about="Finds the depth of photos and paintings, for depth controls.",
    ),
    CatalogueEntry(
        id="marigold-normals",
        name="Marigold normals 1.1",
        kind="detector",
        family="",
        licence="OpenRAIL++",
        repo="prs-eth/marigold-normals-v1-1",
        gigabytes=2.6,
        about="Finds which way surfaces face in photos and paintings, for normal controls.",
    ),
    CatalogueEntry(
        id="upernet-ade20k",
        name="UperNet (ConvNeXt tiny) of ADE20K",
        kind="detector",
        family="",
        licence="MIT",
        repo="openmmlab/upernet-convnext-tiny",
        gigabytes=0.24,
        about="Finds what is what in photos and paintings, for segmentation controls.",
    ),
    CatalogueEntry(
        id="vitpose",
        name="ViTPose (base, simple)",
        kind="detector",
        family="",
        licence="Apache-2.0",
        repo="usyd-community/vitpose-base-simple",
        gigabytes=0.34,
        about="Finds a person's pose in photos and paintings, for pose controls.",
    ),
)

SETS = (
    StarterSet("4gb", 4, ("sd15", "sd15-depth"), "The least that follows a scene's shape."),
    StarterSet(
        "8gb", 8, ("sd15", "sd15-depth", "sd15-normalbae", "sd15-lcm-lora"), "Shape and relief together, and live mode."
    ),
    StarterSet(
        "12gb", 12, ("sdxl", "sdxl-vae-fp16-fix", "sdxl-depth", "sdxl-lcm-lora"), "Larger pictures, longer prompts."
    ),
)


def entry_of(entry_id: str) -> CatalogueEntry:
    """Raises ScumbleError MODEL_MISSING."""
    for entry in CATALOGUE:
        if entry.id == entry_id:
            return entry
    raise _unknown(f"the catalogue has no model {entry_id[:80]!r}")


def set_of(set_id: str) -> tuple[CatalogueEntry, ...]:
    """The models of a starter set. Raises ScumbleError MODEL_MISSING."""
    for item in SETS:
        if item.id == set_id:
            return tuple(entry_of(entry) for entry in item.entries)
    raise _unknown(f"there is no starter set {set_id[:80]!r}")


def _unknown(message: str) -> ScumbleError:
    remedy = Remedy("See what there is with: scumble download catalogue")
    return ScumbleError(ErrorCode.MODEL_MISSING, message, field="id", remedy=remedy)
