"""Who is let in, by the headers of the request alone."""

from __future__ import annotations

import pytest
from scumble_server.net.guard import Guard, check_bind, is_loopback
from scumble_shared.errors import ErrorCode, ScumbleError

LOCAL = Guard("secret", 7000)
REMOTE = Guard("secret", 7000, loopback=False, names=("render.example", "gateway.example:443"))


class TestOrigin:
    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:7000", "", "file://"])
    def test_any_is_refused(self, origin):
        assert LOCAL.check_origin([origin], ["127.0.0.1:7000"]).status == 403

    def test_none_is_fine(self):
        assert LOCAL.check_origin([], ["127.0.0.1:7000"]) is None


class TestHost:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1:7000", "localhost:7000", "LOCALHOST:7000", "[::1]:7000", "127.9.9.9:7000"]
    )
    def test_this_machine_by_any_of_its_own_names(self, host):
        assert LOCAL.check_origin([], [host]) is None

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example:7000",
            "evil.example",
            "127.0.0.1",
            "127.0.0.1:7001",
            "localhost.evil.example:7000",
            "127.0.0.1.evil.example:7000",
            "192.168.1.5:7000",
            "",
            ":7000",
            "[::1",
            "::1:7000x",
            "127.0.0.1:7000:7000",
            "127.0.0.1:٧٠٠٠",
            "127.0.0.1:99999999999999",
        ],
    )
    def test_anything_else_may_be_a_rebound_name(self, host):
        assert LOCAL.check_origin([], [host]).status == 403

    def test_none_or_two_are_refused(self):
        assert LOCAL.check_origin([], []).status == 403
        assert LOCAL.check_origin([], ["127.0.0.1:7000", "127.0.0.1:7000"]).status == 403

    @pytest.mark.parametrize(
        "host", ["192.168.1.5:7000", "[2001:db8::1]:7000", "render.example:9", "gateway.example:443"]
    )
    def test_a_server_for_others_is_known_by_address_and_configured_names(self, host):
        assert REMOTE.check_origin([], [host]) is None

    @pytest.mark.parametrize("host", ["evil.example:7000", "192.168.1.5:80", "gateway.example:80"])
    def test_and_by_nothing_else(self, host):
        assert REMOTE.check_origin([], [host]).status == 403


class TestToken:
    def test_the_right_one(self):
        assert LOCAL.check_token(["Bearer secret"]) is None

    @pytest.mark.parametrize(
        "given",
        [[], [""], ["secret"], ["Bearer"], ["Bearer "], ["Bearer secre"], ["Bearer secret "], ["bearer secret"],
         ["Basic secret"], ["Bearer secret", "Bearer secret"], ["Bearer sécret"], ["Bearer \udcff"]],
    )  # fmt: skip
    def test_anything_else_is_unauthorized(self, given):
        refusal = LOCAL.check_token(given)
        assert refusal.status == 401
        assert refusal.error.code is ErrorCode.UNAUTHORIZED
        assert "secret" not in refusal.error.message


class TestSubprotocol:
    @pytest.mark.parametrize("offers", [["scumble.v1"], ["scumble.v2, scumble.v1"], ["x", "scumble.v1"]])
    def test_ours_among_others(self, offers):
        assert LOCAL.check_subprotocol(offers) is None

    @pytest.mark.parametrize("offers", [[], [""], ["scumble.v2"], ["scumble.v11"]])
    def test_none_of_ours(self, offers):
        refusal = LOCAL.check_subprotocol(offers)
        assert (refusal.status, refusal.error.code) == (400, ErrorCode.PROTOCOL_VERSION)


class TestBinding:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.5.5.5"])
    def test_this_machine_needs_no_tls(self, host):
        assert is_loopback(host)
        check_bind(host, tls=False)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "render.example", ""])
    def test_others_do(self, host):
        assert not is_loopback(host)
        check_bind(host, tls=True)
        with pytest.raises(ScumbleError) as caught:
            check_bind(host, tls=False)
        assert caught.value.info.remedy is not None
