"""Every error status: a problem document with nothing in it that clients should not see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from conftest import AUTHORIZATION, run_app, settings_of
from postgres import Server

Send = Callable[[FlaskClient], TestResponse]

HEADERS = {
    "Content-Security-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Request-ID",
}
LEAKS = ("Traceback", "psycopg2", "sqlalchemy", "flask", "werkzeug", "SELECT", "/app/", ".py", "secret")


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    with run_app(settings_of(environ, max_content_length=1000)) as app:

        @app.get("/fails")
        def fails() -> str:
            raise RuntimeError("secret of the inside")

        @app.get("/aborts/<int:status>")
        def aborts(status: int) -> str:
            abort(status)

        yield app


def post(**kwargs: Any) -> Send:
    return lambda client: client.post("/api/data", **{"headers": AUTHORIZATION, **kwargs})


TABLE: list[tuple[int, str, Send, set[str]]] = [
    (400, "broken JSON", post(data=b"{", content_type="application/json"), set()),
    (400, "no body", post(content_type="application/json"), set()),
    (401, "no token", post(json={"name": "x"}, headers={}), {"WWW-Authenticate"}),
    (401, "wrong token", post(json={"name": "x"}, headers={"Authorization": "Bearer no"}), {"WWW-Authenticate"}),
    (401, "other scheme", post(json={"name": "x"}, headers={"Authorization": "Basic eDp5"}), {"WWW-Authenticate"}),
    (404, "no such route", lambda client: client.get("/nowhere"), set()),
    (404, "no such record", lambda client: client.get("/api/data/99"), set()),
    (404, "id out of range", lambda client: client.get(f"/api/data/{2**63}"), set()),
    (405, "no such method", lambda client: client.delete("/api/data"), {"Allow"}),
    (405, "no error page is asked for", lambda client: client.post("/"), {"Allow"}),
    (
        412,
        "stale",
        lambda client: client.delete("/api/data/1", headers={**AUTHORIZATION, "If-Match": '"0"'}),
        set(),
    ),
    (413, "large body", post(data=b" " * 1001, content_type="application/json"), set()),
    (413, "large body where none is read", lambda client: client.get("/healthz", data=b" " * 1001), set()),
    (415, "form", post(data={"name": "x"}), set()),
    (422, "wrong body", post(json={"name": 1}), set()),
    (422, "wrong query", lambda client: client.get("/api/data?limit=0"), set()),
    (429, "too many requests", lambda client: client.get("/aborts/429"), set()),
    (500, "exception", lambda client: client.get("/fails"), set()),
]


def check(response: TestResponse, status: int) -> None:
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert set(response.headers.keys()) >= HEADERS
    document = response.json
    assert document is not None
    assert (document["type"], document["status"]) == ("about:blank", status)
    assert document["title"]
    assert document["request_id"] == response.headers["X-Request-ID"]
    text = json.dumps(document) + str(response.headers)
    assert [leak for leak in LEAKS if leak.lower() in text.lower()] == []


@pytest.mark.parametrize(("status", "send", "headers"), [pytest.param(s, f, h, id=f"{s}-{n}") for s, n, f, h in TABLE])
def test_every_error_is_a_problem_document(client: FlaskClient, status: int, send: Send, headers: set[str]) -> None:
    client.get("/api/setup")
    response = send(client)
    check(response, status)
    assert set(response.headers.keys()) >= headers


@pytest.mark.parametrize("status", [403, 406, 409, 410, 414, 416, 417, 423, 424, 428, 431, 451, 501, 502, 504])
def test_statuses_that_only_an_extension_would_use(client: FlaskClient, status: int) -> None:
    check(client.get(f"/aborts/{status}"), status)


@pytest.mark.parametrize("status", [403, 413, 429, 499])
def test_pages_for_a_proxy(client: FlaskClient, status: int) -> None:
    check(client.get("/", headers={"X-Code": str(status)}), status)
    check(client.post("/", headers={"X-Code": str(status)}), status)


@pytest.mark.parametrize("headers", [{"X-Code": "200"}, {"X-Code": "503"}, {"X-Code": "x"}])
def test_no_page_without_an_error(client: FlaskClient, headers: dict[str, str]) -> None:
    check(client.get("/", headers=headers), 404)
    check(client.post("/", headers=headers), 404)


def test_503_of_a_lost_database(environ: dict[str, str]) -> None:
    with run_app(settings_of(environ, db_port=1)) as app:
        response = app.test_client().get("/api/data")
        check(response, 503)
        assert response.headers["Retry-After"] == "1"
        ready = app.test_client().get("/readyz")
    assert ready.status_code == 503
    assert ready.json == {
        "status": "not ready",
        "checks": {"database": {"status": "failed", "reason": "unreachable"}, "migrations": {"status": "unknown"}},
    }


def test_500_of_a_database_error(client: FlaskClient, server: Server, environ: dict[str, str]) -> None:
    server.execute("ALTER TABLE data ADD CONSTRAINT secret CHECK (name <> 'secret')", environ["DB_NAME"])
    check(post(json={"name": "secret"})(client), 500)


def test_validation_errors_say_where(client: FlaskClient) -> None:
    response = post(json={"name": "", "other": 1})(client)
    assert response.json is not None
    errors = sorted((error["in"], error["name"]) for error in response.json["errors"])
    assert errors == [("body", "name"), ("body", "other")]


@pytest.mark.parametrize("supplied", ["abc-123", "x" * 128])
def test_a_request_id_is_kept(client: FlaskClient, supplied: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": supplied})
    assert response.headers["X-Request-ID"] == supplied


@pytest.mark.parametrize("supplied", ["", "a b", "x" * 129, '{"a":1}'])
def test_a_strange_request_id_is_replaced(client: FlaskClient, supplied: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": supplied})
    assert len(response.headers["X-Request-ID"]) == 32


def test_transport_security_only_where_transport_is_secure(environ: dict[str, str]) -> None:
    with run_app(settings_of(environ, trusted_proxies=1)) as app:
        client = app.test_client()
        assert "Strict-Transport-Security" not in client.get("/healthz").headers
        secure = client.get("/healthz", headers={"X-Forwarded-Proto": "https"})
        assert secure.headers["Strict-Transport-Security"].startswith("max-age=")


def test_forwarded_headers_of_strangers_are_ignored(client: FlaskClient) -> None:
    response = client.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in response.headers
