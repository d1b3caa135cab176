"""Traces as a collector gets them, and comments as PostgreSQL gets them.

The collector is one for tests only: OTLP's own messages, as its authors generate them, behind an HTTP server.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errorcodes
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from conftest import Service, run_app, run_service, settings_of
from flask_postgres_app.tracing import EXPORT_TIMEOUT_S, QUEUE_SIZE
from postgres import Server, free_port, until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


class Collector:
    """What was received.

    Attributes:
        spans: With their attributes as a dictionary.
        resources: The resources that they are of.
        key: What the last request had in its header ``api-key``.
    """

    def __init__(self, port: int) -> None:
        self.spans: list[tuple[Span, dict[str, Any]]] = []
        self.resources: list[dict[str, Any]] = []
        self.key = ""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.receive(self)

            def log_message(self, *_: object) -> None:
                """The test looks at what was received."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def receive(self, handler: BaseHTTPRequestHandler) -> None:
        assert handler.path == "/v1/traces"
        self.key = handler.headers.get("api-key", "")
        message = ExportTraceServiceRequest.FromString(handler.rfile.read(int(handler.headers["Content-Length"])))
        for resource in message.resource_spans:
            self.resources.append(values(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans += [(span, values(span.attributes)) for span in scope.spans]
        body = ExportTraceServiceResponse().SerializeToString()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-protobuf")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def only(self, kind: Span.SpanKind) -> tuple[Span, dict[str, Any]]:
        [found] = [(span, attributes) for span, attributes in self.spans if span.kind == kind]
        return found


def values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


@pytest.fixture
def port() -> int:
    return free_port()


@contextmanager
def run_collector(port: int) -> Iterator[Collector]:
    collector = Collector(port)
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()


@pytest.fixture
def collector(port: int) -> Iterator[Collector]:
    with run_collector(port) as collector:
        yield collector


@contextmanager
def locked(server: Server, database: str) -> Iterator[None]:
    """Keep the service's table from everybody else."""
    other = server.connect(database)
    try:
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE data")
        yield
    finally:
        other.close()


@pytest.fixture
def traced(environ: dict[str, str], collector: Collector) -> Iterator[Flask]:
    """The service in this process; what it has traced arrives when it is closed."""
    with run_app(settings_of(environ, otel_endpoint=collector.url, db_lock_timeout_ms=100)) as app:
        yield app


def lines(service: Service, logger: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, service.log.read_text().splitlines()) if line["logger"] == logger]


def test_a_request_and_its_call_of_the_database(environ: dict[str, str], collector: Collector, tmp_path: Path) -> None:
    """Each worker process sends its own spans, and those that are left when it ends."""
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=any"}
    with run_service({**environ, **traced, "APP_VERSION": "7"}, tmp_path) as service:
        headers = {"traceparent": TRACEPARENT, "X-Request-ID": "the-id"}
        assert service.get("/api/data?name=private", headers=headers).ok
        until(lambda: "the-id" in service.log.read_text())
        [line] = [line for line in lines(service, "flask_postgres_app.access") if line["request_id"] == "the-id"]
        assert line["trace_id"] == TRACE_ID
    collector.spans = [(span, found) for span, found in collector.spans if span.trace_id.hex() == TRACE_ID]
    server, request = collector.only(Span.SPAN_KIND_SERVER)
    client, call = collector.only(Span.SPAN_KIND_CLIENT)
    assert server.name == "GET /api/data"
    assert server.parent_span_id.hex() == PARENT_ID
    assert request == request | {
        "http.request.method": "GET",
        "http.route": "/api/data",
        "http.response.status_code": 200,
        "url.path": "/api/data",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "request_id": "the-id",
    }
    assert client.name == "SELECT data"
    assert client.parent_span_id == server.span_id
    assert call == call | {
        "db.system.name": "postgresql",
        "db.namespace": environ["DB_NAME"],
        "db.query.summary": "SELECT data",
        "server.address": environ["DB_HOST"],
        "server.port": int(environ["DB_PORT"]),
    }
    assert "WHERE name = %s" in call["db.query.text"]
    assert "private" not in str(collector.spans)
    assert server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.end_time_unix_nano <= server.end_time_unix_nano
    resource = collector.resources[0]
    assert (resource["service.name"], resource["service.version"]) == ("flask-postgres-app", "7")
    assert resource["host.name"] == socket.gethostname()
    assert collector.key == "any"


def test_what_a_lock_does_is_in_the_trace(traced: Flask, server: Server, collector: Collector) -> None:
    with locked(server, traced.extensions["settings"].db_name):
        assert traced.test_client().get("/api/data").status_code == 503
    traced.extensions["tracing"].close()
    span, request = collector.only(Span.SPAN_KIND_SERVER)
    assert (span.status.code, request["error.type"]) == (Status.STATUS_CODE_ERROR, "503")
    span, call = collector.only(Span.SPAN_KIND_CLIENT)
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert call["db.response.status_code"] == call["error.type"] == psycopg2.errorcodes.LOCK_NOT_AVAILABLE
    assert [event.name for event in span.events] == ["exception"]


def test_what_never_gets_to_a_view_has_a_span(traced: Flask, collector: Collector) -> None:
    body = b" " * (traced.extensions["settings"].max_content_length + 1)
    assert traced.test_client().post("/api/data", data=body).status_code == 413
    assert traced.test_client().open("/nowhere", method="BREW", headers={"traceparent": "nonsense"}).status_code == 404
    traced.extensions["tracing"].close()
    found = {span.name: attributes for span, attributes in collector.spans}
    assert found["POST /api/data"]["http.response.status_code"] == 413
    assert found["HTTP"]["http.request.method"] == "_OTHER"
    assert all(not span.parent_span_id and span.status.code == Status.STATUS_CODE_UNSET for span, _ in collector.spans)


@pytest.mark.parametrize(
    ("sampler", "flags", "kept"),
    [
        ("parentbased_always_on", "01", True),
        ("parentbased_always_on", "00", False),
        ("always_on", "00", True),
        ("parentbased_always_off", "01", True),
        ("always_off", "01", False),
        ("traceidratio", "01", False),
    ],
)
def test_samplers(environ: dict[str, str], collector: Collector, sampler: str, flags: str, kept: bool) -> None:
    settings = settings_of(environ, otel_endpoint=collector.url, otel_sampler=sampler, otel_sampler_arg=0.0)
    with run_app(settings) as app:
        headers = {"traceparent": f"{TRACEPARENT[:-2]}{flags}"}
        assert app.test_client().get("/healthz", headers=headers).status_code == 200
        app.extensions["tracing"].close()
    assert len(collector.spans) == kept


def test_a_collector_that_is_not_there(environ: dict[str, str], port: int, tmp_path: Path) -> None:
    """It costs the requests nothing and the log one line, however many spans are lost, until it is there."""
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "WEB_CONCURRENCY": "1", "LOG_LEVEL": "WARNING"}

    def session(service: Service) -> list[int]:
        with requests.Session() as session:
            # Two spans each, and in the end more than wait for the collector.
            return [session.get(service.url + "/api/data", timeout=10).status_code for _ in range(QUEUE_SIZE // 6)]

    with run_service({**environ, **own}, tmp_path) as service:
        with ThreadPoolExecutor(4) as pool:
            statuses = [status for result in pool.map(session, [service] * 4) for status in result]
        assert set(statuses) == {200}
        until(lambda: service.log.read_text())
        with run_collector(port) as collector:
            until(lambda: collector.spans)
            until(lambda: len(service.log.read_text().splitlines()) == 2)
        assert service.get("/healthz").ok
        ending = time.monotonic()
    assert time.monotonic() - ending < 2 * EXPORT_TIMEOUT_S
    messages = [line["message"] for line in lines(service, "flask_postgres_app.tracing")]
    assert len(messages) == len(service.log.read_text().splitlines()) == 3
    assert messages[1] == f"http://127.0.0.1:{port}/v1/traces takes spans again"
    for message in messages[::2]:
        assert message.startswith(f"spans are dropped, since http://127.0.0.1:{port}/v1/traces does not take them: ")
        assert "Connection refused" in message


def test_no_trace_unless_asked_for(client: FlaskClient, app: Flask) -> None:
    assert client.get("/api/data", headers={"traceparent": TRACEPARENT}).status_code == 200
    assert "tracing" not in app.extensions


def test_a_log_line_has_the_request(environ: dict[str, str], server: Server, tmp_path: Path) -> None:
    with run_service({**environ, "DB_LOCK_TIMEOUT_MS": "100"}, tmp_path) as service:
        with locked(server, environ["DB_NAME"]):
            assert service.get("/api/data", headers={"X-Request-ID": "the-id"}).status_code == 503
        [line] = until(lambda: lines(service, "flask_postgres_app"))
    assert line["request_id"] == "the-id"
    assert "lock timeout" in line["message"]


def statements(server: Server, database: str) -> list[str]:
    """What each connection of the service has executed last."""
    rows = server.execute(
        f"SELECT query FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'flask-postgres-app'"
    )
    return [query for (query,) in rows]


def test_a_statement_has_its_request(environ: dict[str, str], server: Server) -> None:
    with run_app(settings_of(environ, db_comments=True, db_pool_size=1)) as app:
        client, database = app.test_client(), app.extensions["database"]
        assert client.get("/api/data/7", headers={"X-Request-ID": "the-id"}).status_code == 404
        route = "/api/data/%3Cint%28min%3D1%2C%20max%3D9223372036854775807%29%3Arecord_id%3E"
        assert statements(server, environ["DB_NAME"]) == [f"EXECUTE s0 (7) /*request_id='the-id',route='{route}'*/"]
        for number in range(3):
            assert client.get("/readyz", headers={"X-Request-ID": f"id-{number}"}).status_code == 200
        assert statements(server, environ["DB_NAME"]) == ["EXECUTE s2 /*request_id='id-2',route='/readyz'*/"]
        # Prepared once for each route, for the ids are not part of the text.
        prepared = [text for (text,) in database.execute("SELECT statement FROM pg_prepared_statements ORDER BY name")]
    assert [text.rpartition(" /*")[2] for text in prepared[:3]] == [f"route='{route}'*/", *["route='/readyz'*/"] * 2]
    assert len(prepared) == 4


def test_a_statement_has_its_trace(environ: dict[str, str], server: Server, collector: Collector) -> None:
    with run_app(settings_of(environ, db_comments=True, otel_endpoint=collector.url)) as app:
        assert app.test_client().get("/api/data", headers={"traceparent": TRACEPARENT}).status_code == 200
        [statement] = statements(server, environ["DB_NAME"])
        app.extensions["tracing"].close()
    span, _ = collector.only(Span.SPAN_KIND_SERVER)
    assert statement.endswith(f",route='/api/data',traceparent='00-{TRACE_ID}-{span.span_id.hex()}-01'*/")


def test_no_comment_unless_asked_for(client: FlaskClient, server: Server, environ: dict[str, str]) -> None:
    assert client.get("/api/data").status_code == 200
    assert statements(server, environ["DB_NAME"]) == ["EXECUTE s0 (101)"]
