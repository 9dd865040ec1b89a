"""Who gets in over a real socket, and what plain HTTP is told."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from desk import CAPABILITIES
from running import TOKEN
from scumble_server.net.blocking_client import connect
from scumble_server.net.connection import CLOSE_NOT_IDENTIFIED
from scumble_shared.errors import ErrorCode
from scumble_shared.limits import Limits
from scumble_shared.messages import (
    Cancel,
    Hello,
    Identify,
    Ready,
    Submit,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from wire import Wire, job


def refused(server, **options):
    with pytest.raises(InvalidStatus) as caught, server.open(**options):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["code"]


class TestTheDoor:
    def test_a_wrong_token(self, server):
        for value in ("Bearer wrong", "Bearer", "", TOKEN):
            assert refused(server, headers={"Authorization": value}) == (401, "unauthorized")

    def test_a_foreign_origin(self, server):
        for origin in ("http://evil.example", "null", server.url.replace("ws", "http")):
            assert refused(server, origin=origin) == (403, "unauthorized")

    def test_a_foreign_host(self, server):
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(
                b"GET / HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Protocol: scumble.v1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
            )
            assert plain.recv(100).startswith(b"HTTP/1.1 403 ")

    def test_no_or_another_subprotocol(self, server):
        for offer in (None, ["scumble.v2"], ["chat"]):
            assert refused(server, subprotocols=offer) == (400, "protocol_version")

    def test_another_path(self, server):
        with pytest.raises(InvalidStatus) as caught, server.open(url=server.url + "/etc/passwd"):
            pass
        assert caught.value.response.status_code == 404

    def test_more_clients_than_the_limit(self, run_server):
        with run_server(limits=Limits(connections=2)) as server, server.open(), server.open():
            assert refused(server) == (503, "busy")

    def test_what_is_no_http_at_all(self, server):
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(b"\x16\x03\x01\x02\x00" + bytes(200) + b"\r\n\r\n")
            plain.settimeout(5)
            while plain.recv(1000):
                pass
        with connect(server.url, TOKEN) as client:
            client.run_job(job())


class TestHandshake:
    def test_hello_says_versions_limits_and_instance(self, server):
        with server.open() as websocket:
            hello, ready = Wire(websocket).identify()
        assert isinstance(hello, Hello)
        assert (hello.protocol, hello.instance_id, hello.limits) == ((1, 1), "instance", Limits())
        assert ready == Ready(1, replace(CAPABILITIES, codecs=("raw",)), "raw", ())

    def test_another_protocol_version_is_a_typed_error_and_may_be_mended(self, server):
        with server.open() as websocket:
            wire = Wire(websocket)
            _, problem = wire.identify(protocol=2)
            assert problem.error.code is ErrorCode.PROTOCOL_VERSION
            assert problem.error.remedy.action == "update_server"
            wire.send(Identify("wire"))
            assert isinstance(wire.receive(), Ready)

    def test_nothing_is_done_for_who_has_not_said_who_they_are(self, server):
        with server.open() as websocket:
            wire = Wire(websocket)
            wire.receive()
            wire.send(Submit("j", job()), Cancel("j"))
            wire.upload()
            for _ in range(3):
                assert wire.receive().error.code is ErrorCode.INVALID_MESSAGE
        assert server.on_loop(lambda: (len(server.desk.queue), len(server.desk.store))) == (0, 0)

    def test_who_never_says_who_they_are_is_shown_out(self, run_server):
        with run_server(identify_seconds=0.05) as server, server.open() as websocket:
            wire = Wire(websocket)
            wire.receive()
            with pytest.raises(ConnectionClosed) as caught:
                wire.receive()
            assert caught.value.rcvd.code == CLOSE_NOT_IDENTIFIED


class TestHttp:
    def get(self, server, path, **headers):
        request = urllib.request.Request(server.url.replace("ws", "http", 1) + path, headers=headers)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_health_is_open_and_tells_nothing_private(self, server):
        status, body = self.get(server, "/healthz")
        assert status == 200
        assert json.loads(body)["status"] == "ok"
        assert TOKEN not in body

    def test_health_is_not_for_web_pages(self, server):
        assert self.get(server, "/healthz", Origin="http://evil.example")[0] == 403

    def test_metrics_need_the_token(self, server):
        assert self.get(server, "/metrics")[0] == 401
        with connect(server.url, TOKEN) as client:
            client.run_job(job())
            status, body = self.get(server, "/metrics", Authorization=f"Bearer {TOKEN}")
        assert status == 200
        assert "scumble_connections 1.0" in body.splitlines()

    def test_nothing_else_is_served(self, server):
        assert self.get(server, "/metrics/../healthz", Authorization=f"Bearer {TOKEN}")[0] == 404
        assert self.get(server, "/", Authorization=f"Bearer {TOKEN}")[0] == 400
