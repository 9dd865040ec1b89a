"""Dataclasses to JSON and back: identity for all that fits, an error that names the field for all that doesn't."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_made_up import error_code, json_values, text_messages
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.errors import ErrorCode, ScumbleError
from scumble_shared.job import Control, GenerateJob, View
from scumble_shared.messages import Cancel, ClientMessage, Hello, ServerMessage, Submit
from scumble_shared.schema import decode, dumps, encode, loads

CAMERA = Camera(look_at((1.0, 2.0, 3.0), (0.0, 0.0, 0.0)), perspective(0.9, 1.5, 0.1, 100.0), 96, 64, 0.1, 100.0)
JOB = GenerateJob("a ruin", controls=(Control("depth"), Control("normal", strength=0.5)), view=View(CAMERA, depth="d"))
SUBMIT = Submit("job-1", JOB)
ANY = ClientMessage | ServerMessage
REFUSALS = (None, ErrorCode.INVALID_MESSAGE, ErrorCode.INVALID_FIELD, ErrorCode.UNSUPPORTED)


def changed(path: list[str | int], value: object) -> dict:
    """SUBMIT as JSON with one value replaced."""
    message = encode(SUBMIT)
    inner = message
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return message


def refusal(kind: object, value: object) -> ScumbleError:
    with pytest.raises(ScumbleError) as caught:
        decode(kind, value)
    return caught.value


class TestRoundTrip:
    @given(text_messages)
    def test_every_message_survives(self, message):
        assert decode(ANY, loads(dumps(message))) == message

    def test_a_whole_number_is_a_number(self):
        message = decode(ClientMessage, changed(["job", "guidance_scale"], 7))
        assert repr(message.job.guidance_scale) == "7.0"

    def test_unknown_fields_are_ignored(self):
        message = encode(SUBMIT)
        message["colour"] = message["job"]["mood"] = {"nested": [1, 2]}
        assert decode(ClientMessage, message) == SUBMIT

    def test_missing_fields_take_their_default(self):
        hello = decode(ServerMessage, {"type": "hello", "server": "s", "instance_id": "i", "limits": {"controls": 3}})
        assert hello == Hello("s", "i", limits=replace(Hello("", "").limits, controls=3))


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "value", "field"),
        [
            (["job", "controls", 1, "strength"], "strong", "job.controls[1].strength"),
            (["job", "controls", 1, "strength"], None, "job.controls[1].strength"),
            (["job", "controls", 1, "strength"], True, "job.controls[1].strength"),
            (["job", "controls"], {}, "job.controls"),
            (["job", "controls", 0], 7, "job.controls[0]"),
            (["job", "seed"], 1.0, "job.seed"),
            (["job", "seed"], True, "job.seed"),
            (["job", "seed"], 2**63, "job.seed"),
            (["job", "guidance_scale"], 10**400, "job.guidance_scale"),
            (["job", "guidance_scale"], float("nan"), "job.guidance_scale"),
            (["job", "guidance_scale"], float("inf"), "job.guidance_scale"),
            (["job", "prompt"], "\ud800", "job.prompt"),
            (["job", "prompt"], 5, "job.prompt"),
            (["job", "view", "camera", "view"], [0.0] * 15, "job.view.camera.view"),
            (["job", "view", "camera", "view", 3], "x", "job.view.camera.view[3]"),
            (["job", "view", "camera"], None, "job.view.camera"),
            (["job", "view", "depth"], 3, "job.view.depth"),
            (["previews"], 1, "previews"),
            (["job_id"], None, "job_id"),
            (["job"], None, "job"),
        ],
    )
    def test_a_misfit_is_named_by_its_path(self, path, value, field):
        error = refusal(ClientMessage, changed(path, value))
        assert error.info.field == field
        assert error.code is ErrorCode.INVALID_FIELD

    def test_a_missing_field_is_named(self):
        message = encode(SUBMIT)
        del message["job"]["view"]["camera"]["near"]
        error = refusal(ClientMessage, message)
        assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "job.view.camera.near")

    @pytest.mark.parametrize("value", [None, [], "submit", 3, {}, {"type": 3}, {"type": None}])
    def test_what_is_no_message_at_all(self, value):
        assert refusal(ClientMessage, value).code is ErrorCode.INVALID_MESSAGE

    def test_a_type_from_the_future_is_told_from_garbage(self):
        error = refusal(ClientMessage, {"type": "telepathy"})
        assert (error.code, error.info.field) == (ErrorCode.UNSUPPORTED, "type")
        error = refusal(ClientMessage, changed(["job", "task"], "animate"))
        assert (error.code, error.info.field) == (ErrorCode.UNSUPPORTED, "job.task")

    @pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": Infinity}', "[" * 100_000, "1" * 5000, b"\xff\xfe{"])
    def test_what_is_no_json(self, text):
        with pytest.raises(ScumbleError) as caught:
            loads(text)
        assert caught.value.code is ErrorCode.INVALID_MESSAGE

    @given(json_values)
    def test_any_json_gives_a_message_or_a_typed_error(self, value):
        for tag in ("submit", "identify", "hello", "result"):
            given_value = {**value, "type": tag} if isinstance(value, dict) else value
            assert error_code(lambda value=given_value: decode(ANY, value)) in REFUSALS

    @settings(max_examples=300)
    @given(st.data())
    def test_any_change_to_a_message_gives_a_message_or_a_typed_error(self, data):
        message = json.loads(dumps(SUBMIT))
        inner = message
        while True:
            key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
            if isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans()):
                inner = inner[key]
                continue
            inner[key] = data.draw(json_values)
            break
        assert error_code(lambda: decode(ClientMessage, message)) in REFUSALS

    @given(st.binary(max_size=64) | st.text(max_size=64))
    def test_any_text_gives_json_or_a_typed_error(self, text):
        assert error_code(lambda: loads(text)) in (None, ErrorCode.INVALID_MESSAGE)


class TestEncoding:
    def test_what_cannot_travel_is_named(self):
        for control, field in (
            (Control("depth", strength=float("nan")), "job.controls[0].strength"),
            (Control("depth", near=float("inf")), "job.controls[0].near"),
            (Control("\udfff"), "job.controls[0].kind"),
            (Control("depth", strength=object()), "job.controls[0].strength"),
        ):
            with pytest.raises(ScumbleError) as caught:
                dumps(Submit("j", GenerateJob("", controls=(control,))))
            assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, field)

    def test_is_compact_utf8(self):
        assert dumps(Cancel("ä")) == '{"job_id":"ä","type":"cancel"}'
