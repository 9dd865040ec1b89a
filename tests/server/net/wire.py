"""A bare connection for tests: it speaks whole messages, or whatever a test wants."""

from __future__ import annotations

import numpy as np
from scumble_shared.codec import Assembler, decode_binary, decode_text, describe, encode_binary, encode_text
from scumble_shared.job import GenerateJob
from scumble_shared.messages import (
    Identify,
    Problem,
    Result,
    ServerMessage,
    Submit,
    Upload,
)
from scumble_shared.tensor import digest_of

IMAGE = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
DIGEST = digest_of(IMAGE)


def job(prompt="a ruin", **changes):
    return GenerateJob(prompt, **{"model": "brush", "width": 64, "height": 64, "num_inference_steps": 3, **changes})


class Wire:
    """A bare connection that speaks whole messages, or whatever a test wants."""

    def __init__(self, websocket):
        self.websocket = websocket
        self.assembler = Assembler()

    def send(self, *messages):
        for message in messages:
            self.websocket.send(message if isinstance(message, str | bytes) else encode_text(message))

    def upload(self, array=IMAGE, digest=None):
        message = Upload((describe("", array, digest or digest_of(array)),))
        self.send(encode_binary(message, [array]))

    def receive(self):
        while True:
            data = self.websocket.recv(10)
            if isinstance(data, str):
                return decode_text(data, ServerMessage)
            whole = self.assembler.feed(data)
            if whole is not None:
                return decode_binary(whole, ServerMessage).message

    def until(self, kind):
        while True:
            message = self.receive()
            if isinstance(message, kind):
                return message

    def identify(self, **changes):
        hello = self.receive()
        self.send(Identify("wire", **changes))
        return hello, self.receive()

    def still_works(self):
        """Nothing that came before did any harm."""
        self.send(Submit("still-works", job()))
        assert self.until((Result, Problem)).type == "result"
