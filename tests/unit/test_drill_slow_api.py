"""The proxy that makes the API server slow, before a server that stands for it."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stack.drill import slow_api

# Longer than a busy machine takes for an answer that is not late.
LATE_S = 0.5


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, as kubeadm leaves it."""
    folder = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.key").write_bytes(private)
    return folder


class ApiServer(BaseHTTPRequestHandler):
    """Answers with the method, the path, the token and the body that it was sent."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        text = f"{self.command} {self.path} {self.headers['Authorization']} {body}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PATCH = answer  # noqa: N815 - as the base class has them

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(handler: Any, certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def proxy(authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    certificate = slow_api.certificate(authority, "127.0.0.1", tmp_path)
    handler = slow_api.Handler
    with serving(ApiServer, certificate) as upstream:
        monkeypatch.setattr(slow_api, "LATE_S", LATE_S)
        monkeypatch.setattr(handler, "server_address", f"127.0.0.1:{upstream}")
        context = ssl.create_default_context(cafile=str(authority / "ca.crt"))
        monkeypatch.setattr(handler, "context", context, raising=False)
        monkeypatch.setattr(handler, "requests", itertools.count())
        with serving(handler, certificate) as port:
            yield f"https://127.0.0.1:{port}"


def test_answers_are_late_or_refused_by_turns(proxy: str, authority: Path) -> None:
    """A client that verifies as strictly as Patroni's gets each answer whole."""
    client = urllib3.PoolManager(ca_certs=str(authority / "ca.crt"), retries=False)
    headers = {"Authorization": "Bearer x"}
    seen = []
    for _ in range(slow_api.TURNS):
        began = time.monotonic()
        found = client.request("PATCH", f"{proxy}/a?b=c", body="{}", headers=headers)
        seen.append((found.status, time.monotonic() - began >= LATE_S))
        if found.status == 200:
            assert found.data == b"PATCH /a?b=c Bearer x {}"
        else:
            assert found.json()["code"] == found.status
    assert seen == [(200, False), (200, True), (200, True), (409, False), (200, True), (500, False)]


def test_reads_are_never_refused(proxy: str, authority: Path) -> None:
    client = urllib3.PoolManager(ca_certs=str(authority / "ca.crt"), retries=False)
    assert {client.request("GET", f"{proxy}/a").status for _ in range(slow_api.TURNS)} == {200}


def test_an_address_of_another_certificate_is_noticed(authority: Path, tmp_path: Path) -> None:
    found = x509.load_pem_x509_certificate(slow_api.certificate(authority, "192.0.2.1", tmp_path).read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("192.0.2.1")]
