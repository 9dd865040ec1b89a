"""Other servers as they are: refusals with the cause, redirects, proxies, certificates; tokens stay with their host."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import ssl
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from file_server import FileServer, status
from scumble_server.models.transfer import Source, fetch
from scumble_server.models.transfer_http import HUB, Network, open_url, shown
from scumble_shared.errors import ErrorCode, ScumbleError

BODY = os.urandom(1000)
TOKEN = "hf_" + "s3cret" * 6


@pytest.fixture
def refusal(tmp_path, network, watch):
    """Fetches and returns the error. The token is in no error and no representation."""

    def refusal(url, network=network):
        with pytest.raises(ScumbleError) as caught:
            fetch(Source(url), tmp_path / "f", network, watch)
        assert list(tmp_path.glob("f*")) == []
        assert TOKEN not in f"{caught.value!r} {caught.value} {caught.value.info} {network!r}"
        return caught.value

    return refusal


def tokens_seen(server):
    return [seen.headers.get("Authorization") for seen in server.seen]


# --- answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "requests"),
    [
        (status(400), ErrorCode.DOWNLOAD_FAILED, 1),
        (status(401), ErrorCode.UNAUTHORIZED, 1),
        (status(403), ErrorCode.UNAUTHORIZED, 1),
        (status(404), ErrorCode.MODEL_MISSING, 1),
        (status(410), ErrorCode.MODEL_MISSING, 1),
        (status(407), ErrorCode.UNAUTHORIZED, 1),
        (status(429), ErrorCode.DOWNLOAD_FAILED, 3),
        (status(500), ErrorCode.DOWNLOAD_FAILED, 3),
        (status(503), ErrorCode.DOWNLOAD_FAILED, 3),
    ],
)
def test_refusals_are_typed_and_only_passing_ones_are_tried_again(server, refusal, answer, code, requests):
    error = refusal(server.put("/f", BODY, *[answer] * 5))
    assert error.code is code
    assert error.info.field
    assert error.info.retryable == (requests > 1)
    assert len(server.seen) == requests


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_passing_refusal_passes(server, tmp_path, network, watch, code):
    fetch(Source(server.put("/f", BODY, status(code, Retry_After="0"))), tmp_path / "f", network, watch)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_gated_model_says_what_its_owner_wants(server, refusal):
    error = refusal(server.put("/f", BODY, status(403, X_Error_Code="GatedRepo")))
    assert "accepted its licence" in str(error)
    assert "Accept the licence" in error.info.remedy.label


def test_a_wrong_token_is_told_apart_from_a_missing_one(server, network, refusal):
    url = server.put("/f", BODY, status(401), status(401))
    assert "needs a token" in str(refusal(url))
    assert "doesn't accept the token" in str(refusal(url, replace(network, tokens={server.url: TOKEN})))


def test_nobody_listening_is_told_after_the_attempts(refusal, start_server):
    gone = start_server()
    gone.shutdown()
    gone.server_close()
    error = refusal(gone.url + "/f")
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert "refuses connections (3 attempts)" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/f",
        "file:///etc/passwd",
        "//example.org/f",
        "https://",
        "https://me:secret@example.org/f",
        "http://[::1/f",
        "http://example.org:99999/f",
        "http://example.org/a b",
        "http://example.org/\r\nX: 1",
        "http://example.org/ü",
    ],
)
def test_what_is_no_web_address_is_refused(refusal, url):
    error = refusal(url)
    assert (error.code, error.info.field) == (ErrorCode.INVALID_FIELD, "url")
    assert "secret" not in str(error)


def test_offline_means_no_request(server, network, refusal):
    error = refusal(server.put("/f", BODY), replace(network, offline=True))
    assert error.code is ErrorCode.OFFLINE
    assert "--offline" in error.info.remedy.label
    assert server.seen == []


# --- redirects and tokens ---------------------------------------------------------------------------


def test_a_token_goes_to_its_host_and_no_further(server, start_server, tmp_path, network, watch):
    storage = start_server()
    signed = storage.put("/blob", BODY) + "?signature=x"
    url = server.put("/f", BODY, status(302, Location=signed))
    fetch(Source(url), tmp_path / "f", replace(network, tokens={server.url: TOKEN}), watch)
    assert tokens_seen(server) == [f"Bearer {TOKEN}"]
    assert tokens_seen(storage) == [None]
    assert (tmp_path / "f").read_bytes() == BODY


def test_another_name_of_the_same_machine_is_another_host(server, tmp_path, network, watch):
    server.put("/g", BODY)
    url = server.put("/f", BODY, status(307, Location=f"http://localhost:{server.port}/g"))
    fetch(Source(url), tmp_path / "f", replace(network, tokens={server.url: TOKEN}), watch)
    assert tokens_seen(server) == [f"Bearer {TOKEN}", None]


def test_a_renamed_model_on_the_same_host_keeps_its_token(server, tmp_path, network, watch):
    server.put("/g", BODY)
    url = server.put("/f", BODY, status(307, Location="/g"))
    fetch(Source(url), tmp_path / "f", replace(network, tokens={server.url: TOKEN}), watch)
    assert tokens_seen(server) == [f"Bearer {TOKEN}"] * 2


def test_a_token_never_travels_in_clear_over_a_network(monkeypatch, start_server, network):
    """Through a proxy, so that the request to the far host can be looked at."""
    proxy = start_server()
    monkeypatch.setenv("http_proxy", proxy.url)
    proxy.put("http://models.invalid/f", BODY)
    open_url("http://models.invalid/f", replace(network, tokens={"http://models.invalid": TOKEN})).close()
    assert tokens_seen(proxy) == [None]


def test_a_range_survives_a_redirect(server, start_server, tmp_path, network, watch):
    storage = start_server()
    signed = storage.put("/blob", BODY)
    (tmp_path / "f.part").write_bytes(BODY[:400])
    note = {"url": f"{server.url}/f", "validator": '"v1"', "total": 1000}
    (tmp_path / "f.part.json").write_text(json.dumps(note))
    fetch(Source(server.put("/f", BODY, status(302, Location=signed))), tmp_path / "f", network, watch)
    assert storage.seen[0].headers["Range"] == "bytes=400-"
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/f", "data:text/plain,x"])
def test_a_redirect_leads_to_the_web_or_nowhere(server, refusal, location):
    error = refusal(server.put("/f", BODY, status(302, Location=location)))
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert len(server.seen) == 1


def test_redirects_in_a_circle_end(server, refusal):
    url = server.put("/f", BODY, *[status(302, Location="/f")] * 30)
    assert refusal(url).code is ErrorCode.DOWNLOAD_FAILED


def test_addresses_are_shown_without_their_secrets():
    assert shown("https://me:pw@host.org:8/a/b?token=1#x") == "https://host.org:8/a/b"


# --- proxies ----------------------------------------------------------------------------------------


def test_the_proxy_of_the_environment_is_used(monkeypatch, start_server, tmp_path, network, watch):
    proxy = start_server()
    monkeypatch.setenv("http_proxy", proxy.url)
    proxy.put("http://models.invalid/f", BODY)
    fetch(Source("http://models.invalid/f"), tmp_path / "f", network, watch)
    assert (tmp_path / "f").read_bytes() == BODY


def test_hosts_may_be_excepted_from_the_proxy(monkeypatch, server, start_server, tmp_path, network, watch):
    proxy = start_server()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(Source(server.put("/f", BODY)), tmp_path / "f", network, watch)
    assert proxy.seen == []


def test_a_proxy_that_wants_a_password_is_named(monkeypatch, start_server, refusal):
    proxy = start_server()
    monkeypatch.setenv("http_proxy", proxy.url)
    proxy.put("http://models.invalid/f", BODY, status(407))
    error = refusal("http://models.invalid/f")
    assert (error.code, error.info.field) == (ErrorCode.UNAUTHORIZED, "proxy")


def test_a_socks_proxy_is_refused_with_what_would_work(monkeypatch, refusal):
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    error = refusal("https://models.invalid/f")
    assert (error.code, error.info.field) == (ErrorCode.UNSUPPORTED, "proxy")


# --- certificates -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody knows, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secure_server(start_server, certificate):
    def prepare(server: FileServer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"

    return start_server(prepare)


def test_a_host_that_cannot_prove_who_it_is_gets_no_request(secure_server, refusal):
    error = refusal(secure_server.put("/f", BODY))
    assert error.code is ErrorCode.DOWNLOAD_FAILED
    assert "can't prove who it is" in str(error)
    assert "SSL_CERT_FILE" in error.info.remedy.label
    assert secure_server.seen == []


def test_certificates_of_a_company_can_be_added(secure_server, certificate, monkeypatch, tmp_path, network, watch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    url = secure_server.put("/f", BODY)
    fetch(Source(url), tmp_path / "f", replace(network, tokens={secure_server.url: TOKEN}), watch)
    assert (tmp_path / "f").read_bytes() == BODY
    assert tokens_seen(secure_server) == [f"Bearer {TOKEN}"]


def test_a_redirect_out_of_https_is_refused(secure_server, server, certificate, monkeypatch, refusal):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    error = refusal(secure_server.put("/f", BODY, status(302, Location=server.put("/g", BODY))))
    assert "insecure" in str(error)
    assert server.seen == []


# --- settings ---------------------------------------------------------------------------------------


def test_without_settings_it_is_the_public_hub_without_a_token():
    network = Network.from_environment()
    assert (network.hub, network.tokens, network.offline) == (HUB, {}, False)


@pytest.mark.parametrize("name", ["SCUMBLE_MIRROR", "HF_ENDPOINT"])
def test_a_mirror_replaces_the_hub_but_does_not_get_its_token(monkeypatch, name):
    monkeypatch.setenv(name, "https://mirror.example/")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    network = Network.from_environment()
    assert network.hub == "https://mirror.example"
    assert network.tokens == {HUB: TOKEN}
    monkeypatch.setenv("SCUMBLE_HUB_TOKEN", "for the mirror")
    assert Network.from_environment().tokens["https://mirror.example"] == "for the mirror"


def test_a_mirror_named_with_the_command_wins(monkeypatch):
    monkeypatch.setenv("SCUMBLE_MIRROR", "https://mirror.example")
    assert Network.from_environment(mirror="https://other.example").hub == "https://other.example"


@pytest.mark.parametrize("mirror", ["mirror.example", "ftp://mirror.example", "https://a:b@mirror.example"])
def test_a_mirror_that_is_no_address_is_refused(mirror):
    with pytest.raises(ScumbleError) as caught:
        Network.from_environment(mirror=mirror)
    assert (caught.value.code, caught.value.info.field) == (ErrorCode.INVALID_FIELD, "mirror")


@pytest.mark.parametrize("name", ["SCUMBLE_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_by_environment(monkeypatch, name, value, offline):
    monkeypatch.setenv(name, value)
    assert Network.from_environment().offline == offline


def test_whoever_logged_in_with_the_hubs_own_command_needs_no_variable(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("hf_abc\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    assert Network.from_environment().tokens == {"https://huggingface.co": "hf_abc"}
    monkeypatch.setenv("HF_TOKEN", "another")
    assert Network.from_environment().tokens == {"https://huggingface.co": "another"}
