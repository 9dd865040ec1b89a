"""A client written from docs/protocol.md with nothing of ours: JSON, struct, SHA-256 and a websocket."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path

from running import TOKEN
from websockets.sync.client import connect

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"


def frame(message: dict, blobs: list[bytes]) -> bytes:
    text = json.dumps(message).encode()
    data = b"SCMB" + struct.pack("<BBHI", 1, 0, len(blobs), len(text))
    data += b"".join(struct.pack("<Q", len(blob)) for blob in blobs) + text
    for blob in blobs:
        data += bytes(-len(data) % 8) + blob
    return data


def parse(data: bytes) -> tuple[dict, list[bytes]]:
    assert data[:6] == b"SCMB\x01\x00"
    count, length = struct.unpack_from("<HI", data, 6)
    sizes = struct.unpack_from(f"<{count}Q", data, 12)
    at = 12 + 8 * count
    message = json.loads(data[at : at + length])
    at += length
    blobs = []
    for size in sizes:
        at += -at % 8
        blobs.append(data[at : at + size])
        at += size
    return message, blobs


def test_a_picture_made_by_a_foreign_client(server):
    pixels = bytes(range(48)) * 256  # 64 x 64 x 3
    digest = hashlib.sha256(b"uint8:64,64,3:" + pixels).hexdigest()
    job = {"task": "generate", "prompt": "x", "model": "brush", "width": 64, "height": 64, "init_image": digest}
    submit = json.dumps({"type": "submit", "job_id": "foreign-1", "job": job, "previews": False})
    with connect(
        server.url,
        subprotocols=["scumble.v1"],
        additional_headers={"Authorization": f"Bearer {TOKEN}"},
        compression=None,
        proxy=None,
    ) as websocket:
        assert json.loads(websocket.recv())["type"] == "hello"
        websocket.send('{"type":"identify","client":"foreign"}')
        assert json.loads(websocket.recv())["codec"] == "raw"
        websocket.send(submit)
        assert json.loads(websocket.recv()) == {"type": "need_tensors", "job_id": "foreign-1", "digests": [digest]}
        tensor = {"name": "", "dtype": "uint8", "shape": [64, 64, 3], "codec": "raw", "digest": digest}
        websocket.send(frame({"type": "upload", "tensors": [tensor]}, [pixels]))
        websocket.send(submit)
        while isinstance(data := websocket.recv(), str):
            assert json.loads(data)["type"] in ("accepted", "started", "progress")
        message, blobs = parse(data)
        websocket.send(json.dumps({"type": "ack", "job_id": "foreign-1", "seq": message["seq"]}))
    assert message["type"] == "result"
    assert message["tensors"][0]["name"] == "image/0"
    assert blobs == [bytes(255 - value for value in pixels)]


def test_the_bytes_in_the_document():
    """The example of a binary frame, put together from the hexadecimal lines and the JSON line between them."""
    block = re.search(r"```\n(53 43 4D 42  01 00.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL).group(1)
    data = b""
    for line in block.splitlines():
        if line.startswith("{"):
            data += line.encode()
        else:
            data += bytes.fromhex(re.match(r"(?:[0-9A-F]{2} ? ?)+", line + " ").group(0))
    message, blobs = parse(data)
    assert message["tensors"][0]["name"] == "ramp"
    assert struct.unpack("<6H", blobs[0]) == (0, 1, 2, 3, 4, 5)
    assert len(data) == 128 + 12
