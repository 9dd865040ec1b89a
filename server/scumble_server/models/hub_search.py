"""Looking for models on the hub by words: ``GET /api/models?search=...``, and what the answers' tags tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.library import SearchHit

from .download_hub import fetch_json, nonsense
from .transfer import TransferHooks, with_retries
from .transfer_http import Network

__all__ = ["search_hub"]

HITS = 30
WORDS = 200
EXPANDED = ("downloads", "likes", "tags", "gated", "pipeline_tag")
PAINTERS = ("", "text-to-image", "image-to-image", "unconditional-image-generation", "inpainting")
"""Tasks of repositories that are shown; language models and the like aren't."""

FAMILY_WORDS = (
    ("sdxl", ("stable-diffusion-xl", "sdxl", "StableDiffusionXL")),
    ("sd3", ("stable-diffusion-3", "StableDiffusion3", "sd3")),
    ("flux", ("FLUX.1", "flux", "FluxPipeline")),
    ("sd15", ("stable-diffusion-v1", "stable-diffusion-1", "sd15", "sd-1.5", "sd1.5")),
)
"""What a tag has in it -> family; the first that fits."""


def search_hub(words: str, network: Network, hooks: TransferHooks) -> tuple[SearchHit, ...]:
    """The most downloaded repositories whose names have ``words``, those that say their family first.

    Raises ScumbleError INVALID_FIELD for no words, and those of :func:`~.transfer_http.open_url`.
    """
    wanted = " ".join(words.split())[:WORDS]
    if not wanted:
        raise ScumbleError(ErrorCode.INVALID_FIELD, "say what to look for", field="target")
    query = [("search", wanted), ("sort", "downloads"), ("limit", str(HITS))]
    query += [("expand", name) for name in EXPANDED]
    url = f"{network.hub}/api/models?{urlencode(query, quote_via=quote)}"
    answer = with_retries(lambda: fetch_json(url, network), network, hooks)
    try:
        hits = tuple(_hit(item) for item in answer if (item.get("pipeline_tag") or "") in PAINTERS)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise nonsense(url) from error
    return tuple(sorted(hits, key=lambda hit: not hit.family))


def _hit(item: Any) -> SearchHit:
    repo, tags = item["id"], item.get("tags") or []
    if not isinstance(repo, str) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("no repository")
    return SearchHit(
        repo=repo,
        kind=_kind(tags, repo),
        family=_family((*tags, repo)),
        licence=next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), ""),
        downloads=_count(item.get("downloads")),
        likes=_count(item.get("likes")),
        gated=bool(item.get("gated")),
    )


def _kind(tags: Iterable[str], repo: str) -> str:
    words = [tag.lower() for tag in tags]
    for word in ("controlnet", "lora"):
        if word in words or word in repo.lower():
            return word
    return "checkpoint" if any(word.startswith("diffusers:") for word in words) else ""


def _family(texts: Iterable[str]) -> str:
    folded = [text.casefold() for text in texts]
    for family, words in FAMILY_WORDS:
        if any(word.casefold() in text for text in folded for word in words):
            return family
    return ""


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
