"""Certificates for servers that others can reach: given ones, or one made on the spot and pinned by fingerprint."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.pinning import fingerprint_of

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

__all__ = ["Certificate", "load_certificate", "self_signed"]

SELF_SIGNED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """context: for the listening socket. fingerprint: SHA-256 of the certificate, hexadecimal."""

    context: ssl.SSLContext
    fingerprint: str


def load_certificate(certificate: Path | None, key: Path | None) -> Certificate:
    """From PEM files; ``key`` may be in the certificate's file. Raises ScumbleError INVALID_FIELD."""
    if certificate is None:
        raise ScumbleError(ErrorCode.INVALID_FIELD, "a key needs its certificate, too", field="--tls-cert")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        pem = certificate.read_text(encoding="ascii", errors="replace")
        start, end = pem.index(ssl.PEM_HEADER), pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
        der = ssl.PEM_cert_to_DER_cert(pem[start:end])
    except (OSError, ValueError) as error:
        raise ScumbleError(
            ErrorCode.INVALID_FIELD, f"can't use {certificate} and its key: {error}", field="--tls-cert"
        ) from None
    return Certificate(context, fingerprint_of(der))


def self_signed(hosts: tuple[str, ...]) -> Certificate:
    """A fresh key and certificate for these names; clients trust it by its fingerprint alone.

    Raises ScumbleError UNSUPPORTED without the ``tls`` extra.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError:
        raise ScumbleError(
            ErrorCode.UNSUPPORTED,
            "making a certificate needs the cryptography package",
            field="--self-signed",
            remedy=Remedy("Install it: pip install 'scumble[tls]'"),
        ) from None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scumble")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [_alternative(host) for host in dict.fromkeys((*hosts, "localhost", socket.gethostname()))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _from_memory(private + certificate.public_bytes(serialization.Encoding.PEM))


def _alternative(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host.partition(":")[0])


def _from_memory(pem: bytes) -> Certificate:
    """ssl reads files only; this one is private, and gone at once."""
    handle, name = tempfile.mkstemp(prefix="scumble-", suffix=".pem")  # 0600
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        return load_certificate(path, None)
    finally:
        path.unlink()
