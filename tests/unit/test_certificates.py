"""Names on certificates, and which are issued."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stack.certificates import (
    certificate_readers,
    certificate_secrets,
    certificate_states,
    common_name,
    is_issued,
    is_trusted_everywhere,
    issued_secrets,
    issuer_problem,
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["app.example.com", "b.example.com"], "app.example.com"),
        (["a" * 64], "a" * 64),
        (["a" * 65, "b.example.com"], "b.example.com"),
        (["a" * 65, "b" * 253], ""),
        ([], ""),
    ],
)
def test_the_common_name_is_the_first_that_fits(names: list[str], expected: str) -> None:
    assert common_name(names) == expected


NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
AUTHORITY = {"common_name": "shop CA", "days": 365, "renew_days": 30}
WANTED = [{"secret": "tls-secret", "names": ["b.example.com", "a.example.com"], "kept": True}]
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(
    name: str,
    days: int,
    issuer: str = "shop CA",
    names: Sequence[str] = (),
    key: ec.EllipticCurvePrivateKey = KEY,
) -> str:
    """A certificate that ends days after NOW, by an authority with this key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1000))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


OTHER = ec.generate_private_key(ec.SECP256R1())
NAMES = ["a.example.com", "b.example.com"]
CA = {"tls.crt": pem("shop CA", 3650), "tls.key": "key"}
GOOD = {"tls.crt": pem("a.example.com", 365, names=NAMES), "tls.key": "key"}


def state(found: dict[str, str], ca: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    secrets = {"stack-ca": CA if ca is None else ca, "tls-secret": found}
    result = certificate_states([{**WANTED[0], **changes}], secrets, AUTHORITY, NOW)
    return {**result["certificates"][0], "good": result["authority_is_good"]}


def test_a_certificate_that_is_as_it_should_be_stays() -> None:
    found = state(GOOD)
    assert found["good"]
    assert [found[key] for key in ("due", "foreign", "expired")] == [False, False, False]
    assert found["not_after"] == "20270301000000Z"


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        ({}, {}),
        ({**GOOD, "tls.key": ""}, {}),
        (GOOD, {"names": ["a.example.com"]}),
        (GOOD, {"names": [*NAMES, "c.example.com"]}),
        ({**GOOD, "tls.crt": pem("a.example.com", 29, names=NAMES)}, {}),
        ({**GOOD, "tls.crt": pem("a.example.com", -1, names=NAMES)}, {}),
        ({**GOOD, "tls.crt": pem("a.example.com", 365)}, {}),
        ({**GOOD, "tls.crt": pem("a.example.com", 365, names=NAMES, key=OTHER)}, {}),
        ({**GOOD, "tls.crt": pem("a.example.com", 365, issuer="another", names=NAMES, key=OTHER)}, {"kept": False}),
        ({"tls.crt": "-----BEGIN CERTIFICATE-----\nx", "tls.key": "key"}, {"kept": False}),
    ],
)
def test_a_certificate_that_is_due(found: dict[str, str], changes: dict[str, Any]) -> None:
    result = state(found, **changes)
    assert result["due"]
    assert not result["foreign"]


@pytest.mark.parametrize(
    ("certificate", "readable", "expired"),
    [
        (pem("a", 365, issuer="another", key=OTHER), True, False),
        (pem("a", -1, issuer="another", key=OTHER), True, True),
        ("no certificate", False, False),
        ("-----BEGIN CERTIFICATE-----\nx", False, False),
    ],
)
def test_a_certificate_of_somebody_else_stays(certificate: str, readable: bool, expired: bool) -> None:
    found = state({"tls.crt": certificate})
    assert (found["foreign"], found["due"]) == (True, False)
    assert (found["readable"], found["expired"]) == (readable, expired)


@pytest.mark.parametrize(
    "ca",
    [
        {},
        {"tls.crt": CA["tls.crt"]},
        {**CA, "tls.crt": pem("another CA", 3650)},
        {**CA, "tls.crt": pem("shop CA", 394)},
        {**CA, "tls.crt": "none"},
    ],
)
def test_an_authority_that_is_replaced_issues_everything_anew(ca: dict[str, str]) -> None:
    found = state(GOOD, ca)
    assert not found["good"]
    assert found["due"]


def test_an_authority_that_outlives_what_it_issues_stays() -> None:
    assert state(GOOD, {**CA, "tls.crt": pem("shop CA", 396)})["good"]


def test_secrets_get_what_was_issued_and_what_to_trust() -> None:
    states = [{"secret": "a", "foreign": False}, {"secret": "b", "foreign": True}]
    issued = issued_secrets([states[0]], [{"certificate": "new"}], [{"privatekey": "key"}])
    assert certificate_secrets(states, {"a": {"tls.crt": "old", "more": "x"}}, issued, "ca") == {
        "a": {"tls.crt": "new", "tls.key": "key", "more": "x", "ca.crt": "ca"}
    }


@pytest.mark.parametrize(
    ("shown", "secret", "expected"), [("ca", "ca", True), ("old", "ca", False), ("ca", "", False), ("", "", False)]
)
def test_what_clients_trust_is_published(shown: str, secret: str, expected: bool) -> None:
    states = [{"secret": "a", "foreign": False}, {"secret": "b", "foreign": True}]
    objects = {"ConfigMap/ca-certificates": {"data": {"ca.crt": shown}}} if shown else {}
    assert is_trusted_everywhere(states, {"a": {"ca.crt": secret}}, objects, "ca") is expected


def issuer(**condition: Any) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", **condition}]}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"api_found": False, "resources": []}, "has no cert-manager"),
        ({"failed": True}, ""),
        ({"resources": []}, "no Issuer of that name in shop"),
        ({"resources": [{}]}, "has not looked at it yet"),
        ({"resources": [issuer(status="False", message="no account")]}, "not ready: no account"),
        ({"resources": [issuer(status="True")]}, ""),
    ],
)
def test_an_issuer_that_cannot_issue(found: dict[str, Any], expected: str) -> None:
    problem = issuer_problem(found, "Issuer", "shop")
    assert expected in problem
    assert bool(problem) == bool(expected)


def test_a_certificate_of_cert_manager_counts_of_its_generation_alone() -> None:
    found = issuer(status="True", observedGeneration=2)
    assert is_issued(found, 2)
    assert not is_issued(found, 3)
    assert not is_issued({}, 1)
    assert not is_issued(issuer(status="False", observedGeneration=2), 2)


def reader(app: str, secret: str = "", **metadata: Any) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if secret:
        volumes.append({"name": "client-certificate", "secret": {"secretName": secret}})
    return {"metadata": {"name": f"{app}-0", "labels": {"app": app}, **metadata}, "spec": {"volumes": volumes}}


def test_what_a_pod_has_to_have_read() -> None:
    readers = {"flask-app": {}, "postgres": {"hashes": "/run/certificates.sha256", "secret": "postgres-tls"}}
    secrets = {"postgres-tls": {"tls.crt": "server"}, "flask-app-db-tls": {"tls.crt": "client"}}
    pods = [
        reader("flask-app"),
        reader("flask-app", "flask-app-db-tls"),
        reader("flask-app", deletionTimestamp="2026-03-01T00:00:00Z"),
        reader("postgres"),
    ]
    plain, shows, server = certificate_readers(pods, readers, secrets, "authority")
    trusted = hashlib.sha256(b"authority").hexdigest()
    assert (plain["command"], plain["hashes"]) == (["sha256sum", "/etc/ssl/stack/ca.crt"], [trusted])
    assert shows["command"][1:] == ["/etc/ssl/stack/ca.crt", "/etc/ssl/client/tls.crt"]
    assert shows["hashes"] == [trusted, hashlib.sha256(b"client").hexdigest()]
    assert (server["name"], server["container"]) == ("postgres-0", "postgres")
    assert server["command"] == ["cat", "/run/certificates.sha256"]
    assert server["hashes"] == [trusted, hashlib.sha256(b"server").hexdigest()]
