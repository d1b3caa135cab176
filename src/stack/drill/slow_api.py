"""``python -m stack.drill.slow_api``: a proxy before the API server that answers late, and now and then with an error.

It runs in the network of a pod, whose own connections to the API server it takes over, and has a certificate by the
cluster's own authority. When it ends, the pod reaches the API server as before.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import ipaddress
import itertools
import json
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LATE_S = 5.0
# By turns: what is answered late, and what is refused at once without being passed on, if it writes, and how.
TURNS = 6
LATE = {1, 2, 4}
REFUSED = {
    3: (409, "Conflict", "the object has been modified"),
    5: (500, "InternalError", "etcdserver: request timed out"),
}
UPSTREAM_TIMEOUT_S = 600
CHUNK = 65536
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


def certificate(authority: Path, address: str, folder: Path) -> Path:
    """Write a certificate for an address, with its key, and return its path."""
    issuer = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    issuer_key: Any = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    found = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "drill")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.touch(0o600)
    path.write_bytes(found.public_bytes(serialization.Encoding.PEM) + private)
    return path


@contextlib.contextmanager
def taken_over(address: str, port: int) -> Iterator[None]:
    """Lead the connections to the API server, but for those of root, to a port of this network while the block runs."""
    lead = ["-d", address, "-p", "tcp", "--dport", "443", "-m", "owner", "!", "--uid-owner", "0"]
    rules = (
        ("nat", "OUTPUT", [*lead, "-j", "REDIRECT", "--to-ports", str(port)]),
        # Those that are open already do not go through the table above.
        ("filter", "OUTPUT", [*lead, "-j", "REJECT", "--reject-with", "tcp-reset"]),
    )
    try:
        for table, chain, rule in rules:
            subprocess.run(["iptables", "--wait", "-t", table, "-A", chain, *rule], check=True)
        yield
    finally:
        for table, chain, rule in rules:
            subprocess.run(["iptables", "--wait", "-t", table, "-D", chain, *rule], check=False)


class Handler(BaseHTTPRequestHandler):
    """Passes a request on, and its answer back at once or late; or refuses it."""

    protocol_version = "HTTP/1.1"
    server_address: ClassVar[str] = ""
    context: ClassVar[ssl.SSLContext]
    requests: ClassVar[Iterator[int]] = itertools.count()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.pass_on
        raise AttributeError(name)

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        turn = next(self.requests) % TURNS
        if turn in REFUSED and self.command in WRITES:
            self.refuse(*REFUSED[turn])
            return
        upstream = http.client.HTTPSConnection(self.server_address, context=self.context, timeout=UPSTREAM_TIMEOUT_S)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            if turn in LATE:
                time.sleep(LATE_S)
            self.give_back(answer)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            upstream.close()

    def give_back(self, answer: http.client.HTTPResponse) -> None:
        """Send an answer piece by piece, for a watch has no end."""
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := answer.read1(CHUNK):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def refuse(self, code: int, reason: str, message: str) -> None:
        """Answer as the API server does where it refuses."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        body = json.dumps({**status, "reason": reason, "message": message}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The drill counts what its clients see."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stack.drill.slow_api", description=__doc__)
    parser.add_argument("--server", required=True, help="the address by which the pod knows the API server")
    parser.add_argument("--authority", required=True, type=Path, help="the folder with ca.crt and ca.key")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long it runs at most")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Handler.server_address = arguments.server
    Handler.context = ssl.create_default_context(cafile=str(arguments.authority / "ca.crt"))
    with tempfile.TemporaryDirectory() as folder:
        own = certificate(arguments.authority, arguments.server, Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        with ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler) as server:
            server.daemon_threads = True
            # The handshake in the connection's own thread.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with taken_over(arguments.server, arguments.port):
                time.sleep(arguments.seconds)
            server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
