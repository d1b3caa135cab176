"""The service as it is deployed: under gunicorn, with several workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from conftest import AUTHORIZATION, Service, run_service
from postgres import Server, until


def samples(service: Service) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = requests.get(service.metrics_url, timeout=10).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def count(service: Service, route: str, status: str = "200", method: str = "GET") -> float:
    labels = (("method", method), ("route", route), ("status", status))
    return samples(service).get(("http_request_duration_seconds_count", labels), 0)


def test_the_metrics_of_all_workers_add_up(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: service.get("/api/data").status_code, range(100)))
    assert statuses == [200] * 100
    # A response may be out before its count.
    until(lambda: count(service, "/api/data") == 100)
    before = service.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    until(lambda: set(service.workers()) != set(before) and len(service.workers()) == 2)
    until(lambda: service.get("/healthz").ok)
    assert count(service, "/api/data") == 100
    assert ("app_info", (("version", "unknown"),)) in samples(service)


def test_a_method_that_somebody_made_up_is_no_series_of_its_own(service: Service) -> None:
    for method in ("BREW", "WHEN"):
        assert requests.request(method, service.url + "/api/data", timeout=10).status_code == 405
    until(lambda: count(service, "", "405", "_OTHER") == 2)
    assert {dict(labels).get("method") for _, labels in samples(service)} <= {None, "GET", "_OTHER"}


def test_metrics_are_not_on_the_port_of_the_service(service: Service) -> None:
    assert service.get("/metrics").status_code == 404


def test_one_json_line_a_request(service: Service) -> None:
    service.get("/api/data/7?secret=1", headers={"X-Request-ID": "the-id"})
    service.get("/nowhere")

    def lines() -> list[dict[str, object]]:
        return [
            line
            for line in map(json.loads, service.log.read_text().splitlines())
            if line["logger"] == "flask_postgres_app.access" and line["path"] != "/healthz"
        ]

    first, second = until(lambda: len(lines()) == 2 and lines())
    assert (first["request_id"], first["method"], first["path"]) == ("the-id", "GET", "/api/data/7")
    assert (first["status"], first["client"]) == (404, "127.0.0.1")
    assert isinstance(first["duration_ms"], float)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(first["time"]))
    assert (second["path"], second["status"]) == ("/nowhere", 404)


def test_the_pool_is_full_before_the_first_request(server: Server, environ: dict[str, str], tmp_path: Path) -> None:
    opened = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{environ['DB_NAME']}' AND application_name <> ''"
    with run_service({**environ, "DB_POOL_SIZE": "3", "WEB_CONCURRENCY": "2"}, tmp_path):
        until(lambda: server.execute(opened) == [(6,)])


def test_it_starts_without_a_database(environ: dict[str, str], tmp_path: Path) -> None:
    with run_service({**environ, "DB_PORT": "1"}, tmp_path) as service:
        assert service.get("/api/data").status_code == 503


def test_a_request_under_way_is_answered_when_the_service_stops(
    server: Server, environ: dict[str, str], tmp_path: Path
) -> None:
    name = environ["DB_NAME"]
    patient = {"DB_LOCK_TIMEOUT_MS": "20000", "DB_STATEMENT_TIMEOUT_MS": "20000", "DB_DEADLINE_MS": "21000"}
    waiting = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
    with run_service({**environ, **patient}, tmp_path) as service, ThreadPoolExecutor(1) as pool:
        other = server.connect(name)
        try:
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE data")
            answer = pool.submit(
                requests.post, service.url + "/api/data", json={"name": "last"}, headers=AUTHORIZATION, timeout=20
            )
            until(lambda: server.execute(waiting))
            service.process.terminate()
            until(lambda: "Handling signal: term" in service.log.read_text())
        finally:
            other.close()
        assert answer.result().status_code == 201
        assert service.process.wait(30) == 0


def test_a_body_too_large_in_chunks(service: Service) -> None:
    chunks = iter([b" " * 40_000] * 3)
    response = requests.post(
        service.url + "/api/data",
        data=chunks,
        headers={**AUTHORIZATION, "Content-Type": "application/json"},
        timeout=10,
    )
    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("connection_header", ["keep-alive", "close"])
def test_a_client_can_send_all_of_a_body_that_is_refused(service: Service, connection_header: str) -> None:
    # More than the buffers of a connection on this machine take at once.
    size = 12 << 20
    head = (
        f"POST /api/data HTTP/1.1\r\nHost: a\r\nConnection: {connection_header}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    )
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        connection.sendall(b" " * size)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbroken header\r\n\r\n", 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: odd\r\n\r\n", 501),
    ],
    ids=["line", "header", "long line", "long header", "transfer coding"],
)
def test_what_is_hardly_http_gets_a_problem_document(service: Service, request_bytes: bytes, status: int) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request_bytes)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in head
    names = {line.split(b":")[0].decode() for line in head.splitlines()[1:]}
    assert names >= {"Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Request-ID"}
    document = json.loads(body)
    assert (document["type"], document["status"]) == ("about:blank", status)
    assert set(document) == {"type", "title", "status", "request_id"}


def test_no_neighbour_is_trusted_as_a_proxy(service: Service) -> None:
    answer = service.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in answer.headers


def test_more_busy_connections_than_threads(service: Service) -> None:
    """A thread that stays with a connection must not keep the others waiting."""

    def session(_: int) -> list[int]:
        with requests.Session() as session:
            return [session.get(service.url + "/healthz", timeout=10).status_code for _ in range(50)]

    with ThreadPoolExecutor(24) as pool:
        statuses = [status for result in pool.map(session, range(24)) for status in result]
    assert statuses == [200] * 1200


def test_memory_stays_well_below_the_limit(service: Service) -> None:
    """The pod has 256 MiB; the share of each process counts shared pages once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: service.get("/api/data"), range(200)))
    pids = [service.process.pid, *service.workers()]
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    kilobytes = sum(int(match[1]) for text in rollups if (match := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)))
    assert 0 < kilobytes < 160 * 1024


def test_log_level(environ: dict[str, str], tmp_path: Path) -> None:
    with run_service({**environ, "LOG_LEVEL": "WARNING"}, tmp_path) as service:
        assert service.get("/healthz").ok
        assert service.log.read_text() == ""
