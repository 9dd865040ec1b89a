"""Servers for other machines: encrypted, and trusted by fingerprint."""

from __future__ import annotations

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from desk import paint
from running import TOKEN
from scumble_server.net.blocking_client import connect
from scumble_server.net.codecs import EDGE_CODECS
from scumble_server.net.tls import load_certificate, self_signed
from scumble_shared.errors import ErrorCode, ScumbleError
from wire import job


@pytest.fixture(scope="module")
def certificate():
    return self_signed(("127.0.0.1", "render.example"))


@pytest.fixture
def secure(run_server, certificate):
    with run_server(tls=certificate.context, codecs=EDGE_CODECS) as server:
        yield server


class TestPinning:
    def test_the_right_certificate(self, secure, certificate):
        assert secure.url.startswith("wss://")
        with connect(secure.url, TOKEN, fingerprint=certificate.fingerprint) as client:
            result = client.run_job(job(seed=3))
        assert (result.tensors["image/0"] == paint(job(seed=3))).all()

    def test_its_fingerprint_as_people_write_it(self, secure, certificate):
        pairs = [certificate.fingerprint[i : i + 2] for i in range(0, 64, 2)]
        with connect(secure.url, TOKEN, fingerprint=":".join(pairs).upper()):
            pass

    @pytest.mark.parametrize("fingerprint", ["0" * 64, "", "garbage"])
    def test_another_or_none_that_an_authority_signed(self, secure, fingerprint):
        with pytest.raises(ScumbleError) as caught, connect(secure.url, TOKEN, fingerprint=fingerprint):
            pass
        assert caught.value.code is ErrorCode.SERVER_UNREACHABLE

    def test_plain_text_gets_no_answer(self, secure):
        with pytest.raises(ScumbleError), connect(secure.url.replace("wss", "ws"), TOKEN, timeout=5):
            pass


class TestCertificates:
    def test_each_is_new(self, certificate):
        assert self_signed(("127.0.0.1",)).fingerprint != certificate.fingerprint

    def test_from_files(self, tmp_path, run_server):
        pem = tmp_path / "both.pem"
        pem.write_bytes(_pem())
        loaded = load_certificate(pem, None)
        with (
            run_server(tls=loaded.context) as server,
            connect(server.url, TOKEN, fingerprint=loaded.fingerprint) as client,
        ):
            client.run_job(job())

    @pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"])
    def test_what_is_none(self, tmp_path, content):
        path = tmp_path / "x.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ScumbleError) as caught:
            load_certificate(path, None)
        assert caught.value.info.field == "--tls-cert"

    def test_old_protocols_are_off(self, certificate):
        assert certificate.context.minimum_version >= ssl.TLSVersion.TLSv1_2


def _pem() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(encoding)
