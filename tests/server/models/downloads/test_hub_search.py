"""Words into repositories: what is asked, what the tags tell, and answers that are none."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from file_server import status
from scumble_server.models.hub_search import search_hub
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.library import SearchHit


@pytest.fixture
def search(server, network, watch):
    def search(answer, *faults, words="stone ruin"):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        server.put("/api/models", body, *faults)
        return search_hub(words, network, watch)

    return search


def repository(name, *tags, **more):
    return {"id": name, "tags": list(tags), "downloads": 5, "likes": 1, "gated": False, **more}


def test_asks_for_the_most_downloaded_with_what_is_shown(search, server):
    search([])
    asked = parse_qsl(urlsplit(server.seen[0].path).query)
    assert asked[:3] == [("search", "stone ruin"), ("sort", "downloads"), ("limit", "30")]
    assert {value for name, value in asked if name == "expand"} >= {"tags", "gated", "downloads", "pipeline_tag"}


def test_the_tags_tell_kind_family_and_licence(search):
    hits = search(
        [
            repository("a/words", pipeline_tag="text-generation"),
            repository("a/who-knows"),
            repository("a/big", "diffusers:StableDiffusionXLPipeline", "license:mit", pipeline_tag="text-to-image"),
            repository("a/edges", "controlnet", "base_model:runwayml/stable-diffusion-v1-5", gated="auto"),
            repository("a/style", "lora", "base_model:adapter:black-forest-labs/FLUX.1-dev"),
        ]
    )
    assert hits == (
        SearchHit("a/big", "checkpoint", "sdxl", "mit", 5, 1),
        SearchHit("a/edges", "controlnet", "sd15", "", 5, 1, gated=True),
        SearchHit("a/style", "lora", "flux", "", 5, 1),
        SearchHit("a/who-knows", "", "", "", 5, 1),
    )


def test_a_hub_that_is_busy_is_asked_again(search):
    assert search([repository("a/b")], status(503))[0].repo == "a/b"


@pytest.mark.parametrize("answer", [b"<html>Sign in</html>", {"error": "x"}, [{"tags": []}], [{"id": 3}], [3]])
def test_an_answer_that_is_none_is_told(search, answer):
    with pytest.raises(ScumbleError) as caught:
        search(answer)
    assert caught.value.code is ErrorCode.DOWNLOAD_FAILED
    assert "mirror" in caught.value.info.remedy.label


def test_no_words_are_refused_before_anything_is_asked(search, server):
    with pytest.raises(ScumbleError) as caught:
        search([], words="  ")
    assert (caught.value.code, server.seen) == (ErrorCode.INVALID_FIELD, [])
