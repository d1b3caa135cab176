"""Clients that are slow, or break off, in all the ways that they can be."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from conftest import AUTHORIZATION, Service, fresh_database, run_service
from flask_postgres_app.connection import Chunks
from postgres import Server, until
from wsgi_apps import PIECE, PIECES

REQUEST_TIMEOUT_S = 2
THREADS = 2
# More than there are threads, in both workers together.
MANY = 12
TOKEN_HEADER = f"Authorization: {AUTHORIZATION['Authorization']}\r\n"
POST = f"POST /api/data HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{TOKEN_HEADER}"
BODY = b'{"name": "slow"}'


@pytest.fixture(scope="module")
def service(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all clients, of which none may leave anything behind."""
    settings = {
        "WEB_THREADS": str(THREADS),
        "WEB_REQUEST_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
        "WEB_RESPONSE_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
    }
    with (
        fresh_database(server, template) as environ,
        run_service({**environ, **settings}, tmp_path_factory.mktemp("clients")) as service,
    ):
        yield service


def connect(service: Service, stack: ExitStack, receive_buffer: int | None = None) -> socket.socket:
    address = urlsplit(service.url)
    client = stack.enter_context(socket.socket())
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(10)
    client.connect((address.hostname, address.port))
    return client


def read_answer(client: socket.socket) -> tuple[int, dict[str, object], str]:
    """Read until the service closes the connection; return the status, the document and the head."""
    answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body), head.decode()


def check_408(client: socket.socket) -> None:
    status, document, head = read_answer(client)
    assert status == 408
    assert (document["type"], document["title"], document["status"]) == ("about:blank", "Request Timeout", 408)
    assert "Content-Type: application/problem+json" in head
    assert "Connection: close" in head
    assert f"X-Request-ID: {document['request_id']}" in head


def serves(service: Service) -> None:
    """Others are served at once, in every worker."""
    for _ in range(8):
        started = time.monotonic()
        assert service.get("/api/data").status_code == 200
        assert time.monotonic() - started < 1


BEGINNINGS = {
    "a line": b"POST /api/da",
    "a head": POST.encode() + b"Content-Le",
    "a head without its end": POST.encode() + b"Content-Length: 5\r\n",
    "a body": POST.encode() + b"Content-Length: 50000\r\n\r\n" + b'{"name": "',
    "no body": POST.encode() + b"Content-Length: 50000\r\n\r\n",
    "chunks": POST.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12",
    "a chunk's size": POST.encode() + b"Transfer-Encoding: chunked\r\n\r\n5",
    "trailers": POST.encode() + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nA: ",
    "a body that no view reads": b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
    "a second request": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /heal",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_clients_that_stop_within_a_request_get_408_and_hold_no_thread(service: Service, beginning: bytes) -> None:
    with ExitStack() as stack:
        started = time.monotonic()
        clients = [connect(service, stack) for _ in range(MANY)]
        for client in clients:
            client.sendall(beginning)
        if beginning.endswith(b"GET /heal"):
            for client in clients:
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        serves(service)
        assert time.monotonic() - started < REQUEST_TIMEOUT_S
        for client in clients:
            check_408(client)
        assert REQUEST_TIMEOUT_S <= time.monotonic() - started < REQUEST_TIMEOUT_S + 2
        serves(service)


def test_clients_that_trickle_get_408(service: Service) -> None:
    """They send all the time, so that no timeout of a single read would end them."""
    with ExitStack() as stack:
        clients = [connect(service, stack) for _ in range(MANY)]
        for client in clients:
            client.sendall(POST.encode() + b"Content-Length: 50000\r\n\r\n")
        until_s = time.monotonic() + REQUEST_TIMEOUT_S - 0.5
        while time.monotonic() < until_s:
            for client in clients:
                client.sendall(b" ")
            serves(service)
        for client in clients:
            check_408(client)


@pytest.mark.parametrize("transfer", ["length", "chunks"])
def test_clients_that_are_slow_but_in_time_are_served(service: Service, transfer: str) -> None:
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    request = {
        "length": POST.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        "chunks": POST.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
    }[transfer]
    with ExitStack() as stack:
        clients = [connect(service, stack) for _ in range(MANY)]
        for position in range(len(request)):
            for client in clients:
                client.sendall(request[position : position + 1])
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_clients_that_send_nothing_hold_no_thread_and_are_served_later(service: Service) -> None:
    with ExitStack() as stack:
        clients = [connect(service, stack) for _ in range(MANY)]
        serves(service)
        time.sleep(REQUEST_TIMEOUT_S + 1)  # A proxy may open a connection before it has a request.
        for client in clients:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_clients_that_leave_their_answers_hold_no_thread(service: Service) -> None:
    log = "a client has not taken its answer in time"
    before = service.log.read_text().count(log)
    path = "/api/docs/swagger-ui-bundle.js"
    whole = service.get(path, headers={"Accept-Encoding": "identity"}).content
    # More than the buffers of a connection on this machine take at once.
    count = (6 << 20) // len(whole)
    with ExitStack() as stack:
        clients = [connect(service, stack), *(connect(service, stack, receive_buffer=4096) for _ in range(MANY))]
        for client in clients:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * count)
        for client in clients:
            assert client.recv(10).startswith(b"HTTP/1.1")
        serves(service)
        # One of them goes on in time, and gets all of it.
        answer = b""
        while piece := answer.count(whole[-1000:]) < count and clients[0].recv(1 << 20):
            answer += piece
        assert answer.count(whole) == count
        until(lambda: service.log.read_text().count(log) - before == MANY, timeout_s=REQUEST_TIMEOUT_S + 5)


def test_clients_that_keep_the_connection_after_its_end_hold_nothing(service: Service) -> None:
    """gunicorn's own worker waits for each of them for two seconds, and for nobody else."""
    with ExitStack() as stack:
        started = time.monotonic()
        for _ in range(MANY):
            client = connect(service, stack)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_answer(client)[0] == 200
        serves(service)
        assert time.monotonic() - started < 5


def test_clients_whose_large_bodies_are_refused_hold_no_thread(service: Service) -> None:
    with ExitStack() as stack:
        clients = [connect(service, stack) for _ in range(MANY)]
        for client in clients:
            client.sendall(POST.encode() + b"Content-Length: 1000000\r\n\r\n" + b" " * 1000)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
        serves(service)


def test_a_client_that_waits_to_be_asked_for_the_body(service: Service) -> None:
    with ExitStack() as stack:
        client = connect(service, stack)
        client.sendall(POST.encode() + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        answer = client.recv(65536)
        while b"201" not in answer:
            answer += client.recv(65536)


def test_requests_sent_together_are_answered_in_order(service: Service) -> None:
    with ExitStack() as stack:
        client = connect(service, stack)
        paths = ["/healthz", "/nowhere", "/version"]
        requests_ = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths]
        client.sendall("".join(requests_[:-1]).encode() + requests_[-1].encode()[:-2])
        client.sendall(b"Connection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert [int(part.split()[0]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 404, 200]


def test_clients_that_break_off_leave_nothing_behind(service: Service) -> None:
    for beginning in BEGINNINGS.values():
        with ExitStack() as stack:
            for _ in range(MANY):
                connect(service, stack).sendall(beginning)
    serves(service)
    sockets = {
        link
        for pid in service.workers()
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if (link := _link(entry)).startswith("socket:")
    }
    # The pool's connections, and what listens.
    assert len(sockets) < 2 * (4 + 4)
    assert "Traceback" not in service.log.read_text()


def _link(entry: Path) -> str:
    with suppress(FileNotFoundError):
        return str(entry.readlink())
    return ""


def test_what_slow_clients_have_sent_has_a_bound(environ: dict[str, str], tmp_path: Path) -> None:
    settings = {"WEB_CONCURRENCY": "1", "MAX_CONTENT_LENGTH": str(4 << 20)}
    with run_service({**environ, **settings}, tmp_path) as service, ExitStack() as stack:
        small = connect(service, stack)
        small.sendall(POST.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:-1])
        clients = []
        for _ in range(8):
            client = connect(service, stack)
            client.sendall(POST.encode() + b"Content-Length: %d\r\n\r\n" % (4 << 20))
            client.sendall(b" " * ((4 << 20) - 1))
            clients.append(client)
        until(lambda: "wait for slow clients" in service.log.read_text())
        serves(service)
        refused = 0
        for client in clients:
            client.settimeout(0.2)
            with suppress(TimeoutError):
                answer = client.recv(65536)
                refused += answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in answer
        assert 1 <= refused <= 4
        # One that takes little is not the one to go.
        small.sendall(BODY[-1:])
        assert small.recv(65536).startswith(b"HTTP/1.1 201 ")


@pytest.fixture
def other_service(environ: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    """Another application than the service, with one thread to be held up."""
    settings = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "1", "WEB_RESPONSE_TIMEOUT_S": str(REQUEST_TIMEOUT_S)}
    wrapper = ["env", f"PYTHONPATH={Path(__file__).parent}:{Path(__file__).parents[1] / 'src'}"]
    with run_service({**environ, **settings}, tmp_path, wrapper, "wsgi_apps:create()") as service:
        yield service


def test_an_answer_larger_than_what_is_kept(other_service: Service) -> None:
    assert len(other_service.get("/").content) == len(PIECE) * PIECES
    with ExitStack() as stack:
        client = connect(other_service, stack)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        # Its thread waits for the client, for as long as an answer may take.
        started = time.monotonic()
        assert len(other_service.get("/").content) == len(PIECE) * PIECES
        assert time.monotonic() - started < REQUEST_TIMEOUT_S + 2
        rest = 0
        with suppress(ConnectionResetError):
            while piece := client.recv(1 << 20):
                rest += len(piece)
        assert rest < len(PIECE) * PIECES


def test_an_application_that_fails(other_service: Service) -> None:
    response = other_service.get("/fails")
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "secret" not in response.text
    assert response.json()["request_id"] in other_service.log.read_text()
    with ExitStack() as stack:
        client = connect(other_service, stack)
        client.sendall(b"GET /breaks HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
    # The client can tell that it is not whole, and is not told twice.
    assert answer.count(b"HTTP/1.1") == 1
    assert len(answer) < 2 * len(PIECE)
    assert len(other_service.get("/").content) == len(PIECE) * PIECES


def test_a_stop_waits_for_a_slow_client(environ: dict[str, str], tmp_path: Path) -> None:
    with run_service(environ, tmp_path) as service, ExitStack() as stack:
        client = connect(service, stack)
        request = POST.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        client.sendall(request[:-1])
        serves(service)
        service.process.terminate()
        until(lambda: "Handling signal: term" in service.log.read_text())
        client.sendall(request[-1:])
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert b"Connection: close" in answer
        assert service.process.wait(10) == 0


chunk_bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(chunk_bodies, st.lists(st.integers(1, 30), min_size=1), st.sampled_from([b"", b";a=b", b" ;x"]))
def test_the_end_of_chunks_is_found_however_they_come(pieces: list[bytes], steps: list[int], extension: bytes) -> None:
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\nA: b\r\n\r\n"
    rest = b"GET / HTTP/1.1\r\n"
    chunks, pending, taken, position = Chunks(), bytearray(), 0, 0
    stream = framed + rest
    while position < len(stream):
        step = steps[position % len(steps)]
        pending += stream[position : position + step]
        position += step
        used = chunks.take(pending)
        taken += used
        del pending[:used]
        assert chunks.is_whole == (taken == len(framed))
    assert chunks.size == sum(map(len, pieces))
    assert bytes(pending) == rest


@pytest.mark.parametrize(
    "framed",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"5 5\r\n",
        b"1\r\n1xx",
        b"1\r\n1x\r\n",
        b"0x5\r\n",
        b"1" * 20 + b"\r\n",
        b"1" * 9000,
    ],
)
def test_broken_chunks_have_ended(framed: bytes) -> None:
    chunks = Chunks()
    chunks.take(bytearray(framed))
    assert chunks.is_whole


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"5\r\n12345xx", b"1" * 9000, b"5;\x00\r\n12345\r\n0\r\n\r\n", b"0\r\n" + b"a\r\n\r\n"],
    ids=["size", "end", "line", "extension", "trailers"],
)
def test_broken_chunks_get_400_at_once(service: Service, chunks: bytes) -> None:
    with ExitStack() as stack:
        client = connect(service, stack)
        started = time.monotonic()
        client.sendall(POST.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
        assert time.monotonic() - started < REQUEST_TIMEOUT_S


def test_a_busy_service_lets_threads_go_on(service: Service) -> None:
    """Slow clients at their worst, and others under load meanwhile."""
    with ExitStack() as stack:
        for _ in range(5 * MANY):
            connect(service, stack).sendall(BEGINNINGS["a body"])

        def session(_: int) -> list[int]:
            with requests.Session() as session:
                return [session.get(service.url + "/healthz", timeout=10).status_code for _ in range(20)]

        with ThreadPoolExecutor(MANY) as pool:
            statuses = [status for result in pool.map(session, range(MANY)) for status in result]
    assert statuses == [200] * 20 * MANY
