"""The kubelet's certificate is replaced where it could not be verified."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from stack.minikube.kubelet import is_verified


@pytest.fixture
def certificates() -> Callable[..., str]:
    """An authority's certificate, or another one's by it."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("minikubeCA", "another", "kubelet")}

    def make(name: str, issuer: str, *addresses: str, days: int = 1000) -> str:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            keys[name].public_key(),
            x509.random_serial_number(),
            now - datetime.timedelta(days=1),
            now + datetime.timedelta(days=days),
        )
        if addresses:
            names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(keys[issuer], hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    return make


def test_the_certificate_of_the_kubelet(certificates: Callable[..., str]) -> None:
    authority = certificates("minikubeCA", "minikubeCA")
    now = datetime.datetime.now(datetime.UTC)
    cases = {
        certificates("kubelet", "minikubeCA", "192.0.2.9"): True,
        certificates("kubelet", "minikubeCA", "192.0.2.8"): False,
        certificates("kubelet", "minikubeCA", "192.0.2.9", "192.0.2.8"): False,
        certificates("kubelet", "minikubeCA", "192.0.2.9", days=29): False,
        certificates("kubelet", "minikubeCA"): False,
        certificates("kubelet", "another", "192.0.2.9"): False,
        certificates("kubelet", "kubelet", "192.0.2.9"): False,
        "": False,
        "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----": False,
    }
    assert {shown: is_verified(authority, shown, "192.0.2.9", now) for shown in cases} == cases
    assert not is_verified(authority, None, "192.0.2.9", now)
    assert not is_verified("", next(iter(cases)), "192.0.2.9", now)
